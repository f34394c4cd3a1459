"""What really grows on a store's tiles, where that is known: on the sample planet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dwplus.earth import connect
from dwplus.earth.truth import land_cover
from dwplus.splits import grids_of
from dwplus.store import layout
from dwplus.store.legend import legend_of
from dwplus.taxonomy import CLASSES

if TYPE_CHECKING:
    from model.data import TileDataset


def truth_of(stores: list[str]) -> Callable[[TileDataset, int], np.ndarray] | None:
    """A function from a dataset and a tile's number in it to the truth, uint8 (y, x), 255 where there is none; None
    where a store was not made from the sample planet as it is today.

    The truth is that of 1 July of the year of the tile's Sentinel-2 scene; each tile is asked for once.
    """
    attributes = [layout.open_root(store).attrs.asdict() for store in stores]
    if not all(str(attrs.get("earth_version", "")).startswith("planet ") and legend_of(attrs).classes == CLASSES
               for attrs in attributes):
        return None
    session = connect()
    if any(attrs["earth_version"] != session.version for attrs in attributes):
        return None
    kept: dict[tuple[str, str, int], np.ndarray] = {}

    def truth(data: TileDataset, number: int) -> np.ndarray:
        row = data.table.iloc[[number]]
        year = int(pd.Timestamp(row["s2_time"].iloc[0]).year)
        key = data.stores[int(row["store"].iloc[0])], str(row["tile_id"].iloc[0]), year
        if key not in kept:
            kept[key] = land_cover(session, grids_of(row, data.window, 10.0)[0], year)
        return kept[key]

    return truth
