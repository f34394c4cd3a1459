"""Windows of a map from Earth Engine: one request each, with the quality gates of an export."""

from __future__ import annotations

from dataclasses import dataclass

from dwplus.earth import allowance
from dwplus.earth.session import EarthConfig, connect_config
from dwplus.earth.stack import fetch_inputs
from dwplus.errors import RejectedError
from dwplus.maps.blocks import Block, Scene, WindowShape, overlap
from dwplus.maps.inputs import WindowPixels
from dwplus.planning import quality
from dwplus.spec import DatasetSpec
from dwplus.store.writer import has_data


@dataclass(frozen=True)
class EarthInputs:
    """Windows from Earth Engine: one request each, of the block's own scenes, with the quality gates of an export.

    ``quality.min_label_fraction`` is none of them, for a map needs no labels.

    Attributes
    ----------
    shared : whether this process is one of several that share an allowance.
    """

    config: EarthConfig
    spec: DatasetSpec
    shape: WindowShape
    shared: bool = False

    def begin(self) -> None:
        connect_config(self.config)
        if self.shared:
            allowance.share_allowance(self.config)

    def read(self, block: Block, scene: Scene) -> WindowPixels:
        session = connect_config(self.config)
        window = self.shape.window(block.grid)
        s2, s1, clear = fetch_inputs(session, self.spec, window, scene.s2_id, scene.s1_id.split(","),
                                     scene.product or None, scene.mask_id, bool(self.spec.extras), scene.speckle_ids)
        core = overlap(window, block.grid)
        assert core is not None
        here = (slice(None), *core[0])
        if reason := quality.refuse(*has_data(s2[here][:len(self.spec.sentinel2.bands)], s1[here]), self.spec.quality):
            raise RejectedError(reason)
        return WindowPixels(s2, s1, clear)
