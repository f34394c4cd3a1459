"""The image of one tile: label, Sentinel-2 and Sentinel-1 in one stack, each band with its own type and fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwplus.earth import pixels
from dwplus.earth.images import dynamic_world, sentinel1, sentinel2
from dwplus.earth.session import Session
from dwplus.grid import PixelGrid
from dwplus.spec import DatasetSpec


@dataclass(frozen=True)
class TilePixels:
    """Pixels of one tile.

    Attributes
    ----------
    s2 : uint16 (s2_band, y, x), DN, 65535 = no data.
    s1 : int16 (s1_band, y, x), hundredths of dB, -32768 = no data; or float32 dB, -9999 = no data.
    label : uint8 (y, x), 0..8, 255 = ignore.
    """

    s2: np.ndarray
    s1: np.ndarray
    label: np.ndarray


def fetch_tile(session: Session, spec: DatasetSpec, grid: PixelGrid, label_id: str, s2_id: str,
               s1_ids: list[str]) -> TilePixels:
    """All pixels of a tile in one request (more only where the tile exceeds the limits).

    Parameters
    ----------
    label_id, s2_id, s1_ids : ``system:index`` of the scenes, as the plan pins them.

    Raises
    ------
    EarthError
        As :func:`dwplus.earth.pixels.fetch`.
    """
    s1_dtype = spec.store.s1_dtype
    bands = spec.sentinel2.bands
    image = (
        sentinel2.reflectance(s2_id, spec.sentinel2.product, bands)
        .addBands(sentinel1.backscatter(
            s1_ids, policy=spec.sentinel1.policy, average=spec.sentinel1.average, edge_db=spec.quality.s1_edge_db,
            keep_angle=spec.sentinel1.keep_angle, dtype=s1_dtype))
        .addBands(dynamic_world.label(label_id, spec.labels.min_confidence))
    )
    dtype = np.dtype([*((band, "<u2") for band in bands), *((band, np.dtype(s1_dtype)) for band in spec.s1_bands),
                      ("label", "u1")])
    answer = pixels.fetch(session, image, grid, dtype)
    return TilePixels(
        s2=np.stack([answer[band] for band in bands]),
        s1=np.stack([answer[band] for band in spec.s1_bands]),
        label=np.ascontiguousarray(answer["label"]),
    )
