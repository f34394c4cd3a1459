"""Where a map's pixels come from: windows of a block's own scenes, here out of a store; :mod:`dwplus.maps.earth_inputs`
asks Earth Engine for them."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.maps.blocks import Block, Frame, Scene, WindowShape, overlap
from dwplus.runtime import names as _names
from dwplus.scenes.records import sensing_groups
from dwplus.spec.extras import Extra, as_input
from dwplus.store import layout
from dwplus.store.tiles import Pixels, TileReader
from dwplus.taxonomy import IGNORE

#: Where they lay until version 0.1.
__getattr__ = _names.lazy(__name__, {"EarthInputs": "dwplus.maps.earth_inputs", "RejectedError": "dwplus.errors"})

#: Tiles of a store kept in memory, for their neighbours' windows.
KEPT_TILES = 16


@dataclass(frozen=True)
class WindowPixels:
    """A window as stored, and where it may be believed.

    Attributes
    ----------
    s2 : uint16 (band, y, x) DN, 65535 = no data. s1 : int16 hundredths of dB, -32768 = no data, or float32 dB with NaN.
    clear : bool (y, x), False under clouds and shadows; None where nothing is known of them.
    """

    s2: np.ndarray
    s1: np.ndarray
    clear: np.ndarray | None = None


class Inputs(Protocol):
    """A source of windows; picklable, and safe for threads."""

    def begin(self) -> None:
        """Make ready, in the thread that works a task; before any other thread reads."""

    def read(self, block: Block, scene: Scene) -> WindowPixels:
        """The window of a block at one of its dates.

        Raises
        ------
        RejectedError
            Where the scene fails a quality gate, as it would in an export.
        DwplusError
            Where it cannot be had.
        """


@dataclass
class StoreInputs:
    """Windows from a store: the block's tile, and around it what the neighbours' tiles hold at the nearest date.

    Attributes
    ----------
    blocks : all blocks of the map, with their rows in the store.
    clouds : whether pixels without a label are taken for clouded, as Dynamic World's labels mean it.
    extras : of the store, bands behind Sentinel-2's.
    """

    store: str
    blocks: Sequence[Block]
    shape: WindowShape
    clouds: bool = True
    extras: Sequence[Extra] = ()
    _ready: tuple[TileReader, Frame] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._lock, self._kept = threading.Lock(), OrderedDict[tuple[str, int], Pixels]()

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "blocks": self.blocks, "shape": self.shape, "clouds": self.clouds,
                "extras": self.extras}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _ready=None)
        self.__post_init__()

    def begin(self) -> None:
        if self._ready is None:
            self._ready = TileReader(self.store), Frame(self.blocks, self.shape)

    def _tile(self, reader: TileReader, scene: Scene) -> Pixels:
        key = scene.group, scene.row
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = reader.read(*key)
        if self.extras:
            more = [as_input(one, reader.array(scene.group, one.name, scene.row)) for one in self.extras]
            found = found._replace(s2=np.concatenate([found.s2, *more]))
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT_TILES:
                self._kept.popitem(last=False)
        return found

    def read(self, block: Block, scene: Scene) -> WindowPixels:
        assert self._ready is not None
        reader, frame = self._ready
        own = self._tile(reader, scene)
        window = self.shape.window(block.grid)
        nothing = math.nan if own.s1.dtype.kind == "f" else layout.S1_NODATA
        s2 = np.full((len(own.s2), *window.shape), layout.S2_NODATA, own.s2.dtype)
        s1 = np.full((len(own.s1), *window.shape), nothing, own.s1.dtype)
        clear = np.zeros(window.shape, bool)
        # The block itself comes last, over whatever else there is.
        names = [name for name in frame.around(window) if name != block.id]
        for other in [*(frame.blocks[name] for name in names), block]:
            if not other.scenes:
                continue
            date = scene if other is block else min(
                other.scenes, key=lambda s: (abs(s.s2_ms - scene.s2_ms), s.s2_ms, s.group, s.row))
            shared = overlap(window, other.grid)
            assert shared is not None
            tile = self._tile(reader, date)
            for target, source in ((s2, tile.s2), (s1, tile.s1)):
                target[(slice(None), *shared[0])] = source[(slice(None), *shared[1])]
            clear[shared[0]] = tile.label[shared[1]] != IGNORE
        return WindowPixels(s2, s1, clear if self.clouds else None)


def blocks_of_plan(plan: pd.DataFrame, dates: int | None, masked: bool) -> list[Block]:
    """Blocks of a plan, north to south and west to east in each zone; those without a pair keep their reason.

    Parameters
    ----------
    dates : of each block at most so many, the clearest; None for all.
    masked : whether Dynamic World's mask of each scene is wanted.
    """
    blocks = []
    for key, rows in plan.groupby("tile_id", sort=False):
        planned = rows[rows["state"] == "planned"]
        scenes = {Scene(str(r.s2_id), str(r.s1_id), _mask_of(str(r.label_id)) if masked else "", str(r.s2_product),
                        _ms(r.s2_time), _ms(r.s1_time), float(r.s2_cloud),
                        speckle_ids=str(getattr(r, "speckle_ids", ""))) for r in planned.itertuples()}
        first = rows.iloc[0]
        grid = PixelGrid(int(first["epsg"]), float(first["x0"]), float(first["y0"]), float(first["scale"]),
                         int(first["size"]), int(first["size"]))
        blocks.append(Block(str(key), grid, clearest(scenes, dates), "" if scenes else str(first["reason"])))
    return in_order(blocks)


def _mask_of(label_id: str) -> str:
    """The label images of the first scene: more than one where a datastrip border cuts its granule."""
    return ",".join(sensing_groups(label_id)[0])


def blocks_of_store(table: pd.DataFrame, scale: float, size: int, dates: int | None) -> list[Block]:
    """Blocks of a store's table (:func:`dwplus.store.reader.tile_table`); tiles that were not exported keep why."""
    blocks = []
    for key, rows in table.groupby("tile_id", sort=False):
        exported = rows[rows["status"] == "exported"]
        scenes = {Scene(str(r.s2_id), str(r.s1_id), "", "", _ms(r.s2_time), _ms(r.s1_time), float(r.s2_cloud),
                        str(r.group), int(r.row)) for r in exported.rename(columns={"index": "row"}).itertuples()}
        first = rows.iloc[0]
        grid = PixelGrid(int(first["epsg"]), float(first["x0"]), float(first["y0"]), scale, size, size)
        reason = "" if scenes else str(first["reason"]) or str(first["status"])
        blocks.append(Block(str(key), grid, clearest(scenes, dates), reason))
    return in_order(blocks)


def clearest(scenes: set[Scene], dates: int | None) -> tuple[Scene, ...]:
    """The least cloudy scenes, the first of equal ones by time."""
    order = sorted(scenes, key=lambda s: (math.inf if math.isnan(s.cloud) else s.cloud, s.s2_ms, s.s2_id, s.row))
    return tuple(order[:dates])


def in_order(blocks: list[Block]) -> list[Block]:
    """By zone, then north to south, then west to east: neighbours are worked soon after each other."""
    return sorted(blocks, key=lambda b: (b.grid.epsg, -b.grid.y0, b.grid.x0, b.id))


def _ms(time: pd.Timestamp) -> int:
    return int(round(time.timestamp() * 1000))


def check_dates(text: str) -> int | None:
    """DATES: ``best`` is 1, ``all`` is None, else a number of dates.

    Raises
    ------
    InputError
        On anything else.
    """
    if text in ("best", "all"):
        return 1 if text == "best" else None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"DATES {text!r}: must be best, all, or a number of dates (the clearest are taken)")
    return int(text)
