"""What scenes hold of a tile: shares of it, and which products of one sensing to take. Pure.

A sensing of a granule may lie in the archive as several products: parts of it on either side of a datastrip border, and
what was processed again. Nothing here looks beyond the tile, so that its choice does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import shapely

from dwplus.grid.longitude import near_longitude
from dwplus.scenes.records import LabelScene, OpticalScene

_Granule = TypeVar("_Granule", LabelScene, OpticalScene)
#: A product is replaced by newer ones of its sensing where they leave less than this share of the tile to it.
REPLACED = 1e-3
#: A granule that a datastrip border cuts comes as two products (PlanetaryComputer #256), so that many make a mosaic.
PARTS = 2


def placed(footprint: shapely.Geometry, lon: float) -> shapely.Geometry:
    """A footprint as a valid shape in the turn around a longitude."""
    shape = near_longitude(footprint, lon)
    return shape if shape.is_valid else shapely.make_valid(shape)


def coverage(tile: shapely.Geometry, footprints: Sequence[shapely.Geometry]) -> float:
    """Share of a tile inside the union of footprints, 0..1 (all EPSG:4326; a share of a few km needs no projection)."""
    lon = tile.centroid.x
    shapes = [placed(footprint, lon) for footprint in footprints]
    union = shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)
    return float(shapely.intersection(union, tile).area / tile.area)


def newest(scenes: Iterable[_Granule], tile: shapely.Geometry | None = None) -> list[_Granule]:
    """Products without those whose ground newer ones of the same sensing hold; of equal ground the last index stays.

    Parameters
    ----------
    tile : where given, only ground within it counts.

    Returns
    -------
    In order of time, then index.
    """
    kept: list[_Granule] = []
    newer: dict[str, list[shapely.Geometry]] = {}
    for scene in sorted(scenes, key=lambda s: s.index, reverse=True):
        over = newer.setdefault(scene.sensing, [])
        own = placed(scene.footprint, (scene.footprint if tile is None else tile).centroid.x)
        if tile is not None:
            own = shapely.intersection(own, tile)
        whole = own.area if tile is None else tile.area
        rest = shapely.difference(own, shapely.union_all([placed(o, own.centroid.x) for o in over])) \
            if over and not own.is_empty else own
        if own.area and rest.area > REPLACED * whole:
            kept.append(scene)
            over.append(scene.footprint)
    return sorted(kept, key=lambda s: (s.time_ms, s.index))


def chosen(tile: shapely.Geometry, products: Sequence[_Granule], enough: float) -> tuple[tuple[_Granule, ...], float]:
    """The fewest products of one sensing that hold ``enough`` of a tile, the most covering first, and the share they
    hold; all that add something where even together they hold less.

    A product whose part of the tile newer ones hold is not taken, unless without it too little is held.
    """
    found = _fewest(tile, newest(products, tile), enough)
    return found if found[1] >= enough else _fewest(tile, products, enough)


def _fewest(tile: shapely.Geometry, products: Iterable[_Granule], enough: float) -> tuple[tuple[_Granule, ...], float]:
    newest_first = sorted(products, key=lambda s: s.index, reverse=True)
    alone = {scene.index: coverage(tile, [scene.footprint]) for scene in newest_first}
    rest = sorted((s for s in newest_first if alone[s.index] > 0), key=lambda s: -round(alone[s.index], 3))
    taken: list[_Granule] = []
    share = 0.0
    while rest and share < enough and len(taken) < PARTS:
        footprints: list[shapely.Geometry] = [s.footprint for s in taken]
        together = [coverage(tile, [*footprints, s.footprint]) if taken else alone[s.index] for s in rest]
        best = int(np.argmax(np.round(together, 3)))  # of equals the first
        if together[best] <= share + 1e-9:
            break
        share = together[best]
        taken.append(rest.pop(best))
    return tuple(taken), share
