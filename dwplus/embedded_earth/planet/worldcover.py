"""ESA WorldCover of 2020 and 2021: the truth of a year through a classifier that errs, in eleven classes.

Sources: https://developers.google.com/earth-engine/datasets/catalog/ESA_WorldCover_v100 and ESA_WorldCover_v200
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.dem import box_ring, ground_of
from dwplus.embedded_earth.planet.dynamic_world import DOUBT_OCTAVES, doubt_tables
from dwplus.embedded_earth.planet.landscape import (
    BARE,
    BUILT,
    CLASS_COUNT,
    CROPS,
    FLOODED,
    GRASS,
    NODE,
    SHRUB,
    SNOW,
    TREES,
    WATER,
    Landscape,
)
from dwplus.embedded_earth.planet.noise import fbm, node_range, seed_of, upsample
from dwplus.embedded_earth.planet.orbits import ms_of
from dwplus.embedded_earth.planet.patches import Box
from dwplus.embedded_earth.planet.sites import LATTICE_NORTH, LATTICE_STEP, to_utm

#: Year of the map by collection.
YEARS = {"ESA/WorldCover/v100": 2020, "ESA/WorldCover/v200": 2021}
#: Pixels a degree, and the latitudes of the first and last row.
_DEGREE, _NORTH, _SOUTH = 12_000, 84, -60
#: Codes by true class.
_CODES = {WATER: 80, TREES: 10, GRASS: 30, FLOODED: 90, CROPS: 40, SHRUB: 20, BUILT: 50, BARE: 60, SNOW: 70}
_MANGROVE, _MOSS = 95, 100
_TUNDRA_BIOME, _MANGROVE_BIOME = 11, 14
#: Errors as a share of Dynamic World's, which sees one day and not a year. By hand: 77 and 74 % of WorldCover's and of
#: Dynamic World's pixels are right (their validation reports), on other classes.
_ERRORS = 0.85
#: Rows of pixels worked at a time.
_ROWS = 256


class WorldCoverScene:
    """The one image of a collection: ``Map`` (uint8), 1/12,000 degree, masked where the planet has no land."""

    def __init__(self, collection: str, landscapes: Sequence[Landscape]) -> None:
        self.collection, self.year, self.landscapes = collection, YEARS[collection], landscapes
        self.id = f"{collection}/{self.year}"
        step = 1 / _DEGREE
        self.bands: tuple[BandSpec, ...] = (BandSpec(
            "Map", "int", "EPSG:4326", (step, 0, -180, 0, -step, _NORTH), 360 * _DEGREE,
            (_NORTH - _SOUTH) * _DEGREE, 0, 255, "mode"),)

    @property
    def time(self) -> int:
        return ms_of(dt.date(self.year, 1, 1))

    @property
    def bounds(self) -> Bounds:
        return -180, _SOUTH, 180, _NORTH

    @property
    def properties(self) -> dict[str, Any]:
        return {"system:index": str(self.year), "system:time_start": self.time,
                "system:time_end": ms_of(dt.date(self.year + 1, 1, 1)),
                "system:footprint": {"type": "LinearRing", "coordinates": box_ring(*self.bounds)}}

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels of ``Map``."""
        lon = -180 + (window.col + np.arange(window.width) + 0.5) / _DEGREE
        lat = _NORTH - (window.row + np.arange(window.height) + 0.5) / _DEGREE
        out = np.zeros((window.height, window.width), np.uint8)
        valid = np.zeros(out.shape, bool)
        for landscape in self.landscapes:
            west, south, east, north = ground_of(landscape)
            cols = np.flatnonzero((lon >= west) & (lon <= east))
            rows = np.flatnonzero((lat >= south) & (lat <= north))
            for start in range(0, len(rows) if len(cols) else 0, _ROWS):
                part = rows[start:start + _ROWS]
                where = slice(part[0], part[-1] + 1), slice(cols[0], cols[-1] + 1)
                out[where] = _codes(landscape, self.year, lon[cols], lat[part])
                valid[where] = True
        return {name: (out.copy(), None if valid.all() else valid) for name in bands}


def _codes(landscape: Landscape, year: int, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Codes (lat, lon) uint8 on a grid of longitudes and latitudes."""
    x, y = to_utm(landscape.site.epsg).transform(*np.meshgrid(lon, lat))
    row = ((LATTICE_NORTH - y) // LATTICE_STEP).astype(np.int64)
    col = (x // LATTICE_STEP).astype(np.int64)
    top, left = int(row.min()), int(col.min())
    box = Box(top, left, int(row.max()) - top + 1, int(col.max()) - left + 1)
    # Snow and water of the warm season: the map is of a year, and calls snow what stays.
    label = landscape.label(box, dt.date(year, 7 if landscape.site.lat >= 0 else 1, 1))
    nodes = fbm([seed_of(landscape.seed, "worldcover", year)], DOUBT_OCTAVES, node_range(box.row, box.height, NODE),
                node_range(box.col, box.width, NODE))[0]
    doubt = upsample(nodes, NODE, box.row, box.col, box.height, box.width)
    low, high, first, second = doubt_tables(landscape.site.swamp > 0.5, _ERRORS)
    seen = np.where(doubt < low.take(label), first.take(label), label)
    seen = np.where(doubt > high.take(label), second.take(label), seen)
    codes = np.array([_CODES[number] for number in range(CLASS_COUNT)], np.uint8)
    if landscape.site.biome == _MANGROVE_BIOME:
        codes[FLOODED] = _MANGROVE
    found: np.ndarray = codes.take(seen)
    if landscape.site.biome == _TUNDRA_BIOME:
        found[(seen == GRASS) & (doubt > 0)] = _MOSS
    return found[row - top, col - left]
