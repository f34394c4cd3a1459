"""How far the splits lie apart, and which tiles to leave out so that they lie at least a guard apart. Pure.

Blocks of ground go to one split as a whole, but two blocks share an edge: without a guard, tiles of different splits
may touch. A guard leaves out tiles at such edges: those of train give way to those of val and test, those of val to
those of test, so that what is evaluated on stays whole and the annotations' own test set is never thinned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
import shapely

from dwplus.grid import PixelGrid, transformer

#: Who gives way to whom: an earlier one keeps its tiles.
PRECEDENCE = ("test", "val", "train")
#: UTM stretches lengths by 0.9996 to 1.001 within a zone, and little more just outside.
_STRETCH = 1.004


def _neighbours(epsg: int) -> list[int]:
    """Zones that touch a zone, itself first; both hemispheres."""
    zone = epsg % 100
    around = [zone, zone % 60 + 1, (zone - 2) % 60 + 1]
    return [epsg, *(code for z in around for code in (32600 + z, 32700 + z) if code != epsg)]


def near_pairs(grids: Sequence[PixelGrid], splits: Sequence[str], metres: float) -> list[tuple[int, int]]:
    """Pairs of tiles of different splits that lie nearer than so many metres, across zones too.

    Distances are between footprints, in the UTM zone of one of the two; to be on the safe side, pairs up to 0.4 %
    farther count as well.

    Returns
    -------
    Pairs (i, j) with i < j, sorted.
    """
    by_zone: dict[int, list[int]] = defaultdict(list)
    for i, grid in enumerate(grids):
        by_zone[grid.epsg].append(i)
    boxes = np.array([shapely.box(*grid.bounds) for grid in grids], dtype=object)
    split = np.asarray(splits)
    found: set[tuple[int, int]] = set()
    for epsg, members in by_zone.items():
        here = np.array(members)
        # Only what lies near: another zone's far side would be stretched without bounds.
        west, south, east, north = shapely.total_bounds(boxes[here])
        reach = metres + 1000.0
        others: list[int] = []
        shapes: list[shapely.Geometry] = []
        for code in _neighbours(epsg):
            if code == epsg or code not in by_zone:
                continue
            to = transformer(code, epsg)
            there = np.array(by_zone[code])
            centers = np.array([(b[0] + b[2], b[1] + b[3]) for b in shapely.bounds(boxes[there])]) / 2
            x, y = to.transform(centers[:, 0], centers[:, 1])
            side = max(grids[i].bounds[2] - grids[i].bounds[0] for i in there)
            close = ((x > west - reach - side) & (x < east + reach + side) & (y > south - reach - side)
                     & (y < north + reach + side))
            for i in there[close]:
                others.append(int(i))
                shapes.append(shapely.transform(boxes[i], lambda xy, to=to: np.column_stack(to.transform(*xy.T))))
        rows = np.concatenate([here, np.array(others, int)])
        tree = shapely.STRtree(np.concatenate([boxes[here], np.array(shapes, object)]) if shapes else boxes[here])
        a, b = tree.query(boxes[here], predicate="dwithin", distance=metres * _STRETCH)
        for i, j in zip(here[a].tolist(), rows[b].tolist(), strict=True):
            if split[i] != split[j]:
                found.add((min(i, j), max(i, j)))
    return sorted(found)


def outside_guard(grids: Sequence[PixelGrid], splits: Sequence[str], metres: float) -> list[bool]:
    """Which tiles to keep so that no two of different splits lie nearer than the guard; see the module on who yields.

    Parameters
    ----------
    metres : the guard; 0 keeps all.
    """
    keep = [True] * len(grids)
    if metres <= 0:
        return keep
    rank = [PRECEDENCE.index(split) for split in splits]
    pairs = near_pairs(grids, splits, metres)
    # In order of precedence: a val tile that gave way to a test tile pushes no train tile out.
    for level in (1, 2):
        for i, j in pairs:
            first, last = (i, j) if rank[i] < rank[j] else (j, i)
            if rank[last] == level and keep[first]:
                keep[last] = False
    return keep


def grids_of(table: pd.DataFrame, size: int, scale: float) -> list[PixelGrid]:
    """Grids of the rows of a tile table (see :func:`dwplus.store.reader.tile_table`)."""
    return [PixelGrid(int(row.epsg), float(row.x0), float(row.y0), scale, size, size)
            for row in table[["epsg", "x0", "y0"]].itertuples()]


def guarded(table: pd.DataFrame, size: int, scale: float, metres: float) -> pd.DataFrame:
    """The rows of a tile table that keep the guard: for stores that were planned without one.

    Tiles of several windows lie on each other and share their split; they stay or go together.
    """
    unique = table.drop_duplicates("tile_id")
    keep = outside_guard(grids_of(unique, size, scale), unique["split"].astype(str).tolist(), metres)
    return table[table["tile_id"].isin(unique["tile_id"][keep])]
