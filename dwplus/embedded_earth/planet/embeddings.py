"""Annual satellite embeddings: a fixed random projection of a year's land cover, its seasons, its place, and noise.

The real ones are learned; what these share with them is their form: 64 bands of unit length, 10 m, a year each, land
and shallow water. Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_SATELLITE_EMBEDDING_V1_ANNUAL
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.landscape import BLENDS, CLASS_COUNT, STATES, Landscape
from dwplus.embedded_earth.planet.noise import (
    TABLE_BITS,
    draw_normal,
    hash_grid,
    normal_quantiles,
    seed_of,
)
from dwplus.embedded_earth.planet.orbits import Footprint, ms_of
from dwplus.embedded_earth.planet.sites import box_ring

COLLECTION = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
BANDS = tuple(f"A{number:02d}" for number in range(64))
#: Years that are there. What the archive's last one is in late 2026 is not established; 2024 was its last in August.
YEARS = range(2017, 2025)
#: Side of an image, metres and pixels.
_SIDE, _PIXELS = 163_840, 16_384
#: Days of a year by which its seasons are known.
_DAYS = ((1, 15), (4, 15), (7, 15), (10, 15))
#: Weights of what a vector is made of, the classes' being 1: how classes differ by season, by their state, by place,
#: and what says nothing. By hand, so that a linear head tells the classes, but not all of them everywhere.
_SEASON, _STATE, _PLACE, _GREEN, _NOISE = 0.5, 0.5, 0.6, 0.4, 0.5
#: Directions that the noise has; the first half of it is the place's and the same every year.
_DIRECTIONS = 6
#: Metres south of a coast within which the water counts as shallow.
_SHALLOW = 10_000
#: Kept parts of 1.
_UNIT = 32767
#: Metres around a site within which there are images.
_MARGIN = 6_000
#: Rows worked at a time.
_ROWS = 64


@functools.cache
def _vectors(name: str, count: int) -> np.ndarray:
    """Fixed random vectors (count, 64), float32, of unit variance; the same on every planet."""
    return np.array([[draw_normal("embedding", name, i, band) for band in range(len(BANDS))] for i in range(count)],
                    np.float32)


@functools.lru_cache(maxsize=256)
def _band_specs(epsg: int, west: int, north: int) -> tuple[BandSpec, ...]:
    return tuple(BandSpec(name, "double", f"EPSG:{epsg}", (10, 0, west, 0, -10, north), _PIXELS, _PIXELS, -1, 1)
                 for name in BANDS)


@functools.lru_cache(maxsize=256)
def _footprint(epsg: int, west: int, north: int) -> Footprint:
    return Footprint.of(epsg, box_ring(west, north - _SIDE, west + _SIDE, north))


class EmbeddingScene:
    """A year of a square of 163,840 m: A00..A63, of unit length; masked at sea."""

    def __init__(self, landscape: Landscape, west: int, north: int, year: int) -> None:
        self.landscape, self.west, self.north, self.year = landscape, west, north, year
        epsg = landscape.site.epsg
        self.index = f"x{seed_of('embedding', epsg, west, north, year):016x}"
        self.id = f"{COLLECTION}/{self.index}"
        self.bands: tuple[BandSpec, ...] = _band_specs(epsg, west, north)
        self._last: tuple[Window, np.ndarray] | None = None

    @property
    def time(self) -> int:
        return ms_of(dt.date(self.year, 1, 1))

    @property
    def bounds(self) -> Bounds:
        return _footprint(self.landscape.site.epsg, self.west, self.north).bounds

    @property
    def properties(self) -> dict[str, Any]:
        epsg = self.landscape.site.epsg
        return {"system:index": self.index, "system:time_start": self.time,
                "system:time_end": ms_of(dt.date(self.year + 1, 1, 1)), "DATASET_VERSION": "1.1",
                "MODEL_VERSION": "planet", "UTM_ZONE": f"{epsg % 100}{'N' if epsg < 32700 else 'S'}",
                "system:footprint": _footprint(epsg, self.west, self.north).geojson()}

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels. All bands of a window are made at once and kept for the next band that is asked for."""
        kept = self._last
        if kept is None or kept[0] != window:
            kept = self._last = window, self._make(window)
        valid = None
        recipe = self.landscape.site.recipe
        if recipe.coast is not None:
            deep = self.landscape.site.center[1] + recipe.coast - _SHALLOW
            northing = self.north - 10 * (window.row + np.arange(window.height) + 0.5)
            if (northing < deep).any():
                valid = np.broadcast_to((northing >= deep)[:, None], (window.height, window.width))
        return {name: (kept[1][BANDS.index(name)] * (1 / _UNIT), valid) for name in bands}

    def _make(self, window: Window) -> np.ndarray:
        """int16 (64, h, w), parts of 1."""
        land, h, w = self.landscape, window.height, window.width
        out = np.empty((len(BANDS), h, w), np.int16)
        box = land.box(self.west + 10 * window.col, self.north - 10 * window.row, h, w)
        covers = [land.cover(box, dt.date(self.year, *day)) for day in _DAYS]
        table = _seasons()
        everywhere = _vectors("place", 15)[land.site.biome] * np.float32(_PLACE)
        green = sum(land.greenness(dt.date(self.year, *day)) for day in _DAYS) / len(_DAYS)
        everywhere = everywhere + _vectors("green", 1)[0] * np.float32(_GREEN * 2 * (green - 0.5))
        state, noise = _vectors("state", CLASS_COUNT), _vectors("noise", _DIRECTIONS)
        keys = [seed_of(land.seed, "embedding", number, self.year if number >= _DIRECTIONS // 2 else 0)
                for number in range(_DIRECTIONS)]
        for top in range(0, h, _ROWS):
            rows = slice(top, min(top + _ROWS, h))
            labels, code = [], np.zeros((rows.stop - top, w), np.intp)
            for cover in covers:
                here = cover.patch.box.slices(box)
                labels.append(cover.label[here][rows])
                code *= CLASS_COUNT
                code += labels[-1]
            unique, place = np.unique(code, return_inverse=True)
            vector = np.ascontiguousarray((table[unique] + everywhere).T)[:, place.reshape(code.shape)]
            summer = covers[2]
            index = summer.index[summer.patch.box.slices(box)][rows]
            vigor = ((index % STATES) // BLENDS).astype(np.float32) * np.float32(2 * _STATE / (STATES // BLENDS))
            vigor -= np.float32(_STATE)
            vector += np.ascontiguousarray(state.T)[:, labels[2]] * vigor
            at_rows, at_cols = np.arange(box.row + top, box.row + rows.stop), np.arange(box.col, box.col + w)
            for key, direction in zip(keys, noise, strict=True):
                slot = hash_grid(key, at_rows, at_cols) >> np.uint32(32 - TABLE_BITS)
                vector += direction[:, None, None] * (normal_quantiles().take(slot) * np.float32(_NOISE))
            length = np.sqrt(np.square(vector).sum(axis=0))
            vector *= np.float32(_UNIT) / length
            out[:, rows] = np.rint(vector, out=vector)
        return out


@functools.cache
def _seasons() -> np.ndarray:
    """Vectors by the classes of the four days, float32 (9 ** 4, 64)."""
    classes = _vectors("class", CLASS_COUNT)
    table = np.zeros((1, len(BANDS)), np.float32)
    for number in range(len(_DAYS)):
        own = (classes + np.float32(_SEASON) * _vectors(f"season {number}", CLASS_COUNT)) * np.float32(1 / len(_DAYS))
        table = (table[:, None] + own[None]).reshape(-1, len(BANDS))
    return table


def squares(landscapes: Sequence[Landscape]) -> list[tuple[Landscape, int, int]]:
    """The squares that hold a site, with their upper left corner, each of the site nearest to its middle."""
    nearest: dict[tuple[int, int, int], tuple[float, Landscape]] = {}
    for landscape in landscapes:
        west, south, east, north = landscape.site.square
        x, y = landscape.site.center
        for i in range(int((west - _MARGIN) // _SIDE), int((east + _MARGIN) // _SIDE) + 1):
            for j in range(int((south - _MARGIN) // _SIDE), int((north + _MARGIN) // _SIDE) + 1):
                key = landscape.site.epsg, i, j
                far = math.hypot((i + 0.5) * _SIDE - x, (j + 0.5) * _SIDE - y)
                if key not in nearest or far < nearest[key][0]:
                    nearest[key] = far, landscape
    return [(landscape, i * _SIDE, (j + 1) * _SIDE) for (_, i, j), (_, landscape) in sorted(
        nearest.items(), key=lambda item: item[0])]


def scenes(found: Sequence[tuple[Landscape, int, int]]) -> Iterator[EmbeddingScene]:
    """A scene of every square and year, each new, so that what it keeps goes with the request."""
    for year in YEARS:
        for landscape, west, north in found:
            yield EmbeddingScene(landscape, west, north, year)
