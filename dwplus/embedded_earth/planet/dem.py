"""Terrain models: the heights that the sensors' slopes are of, as Copernicus GLO-30 and SRTM deliver them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.landscape import Landscape
from dwplus.embedded_earth.planet.sites import ring_bounds, to_utm

#: Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_DEM_GLO30_2024_1 and
#: https://developers.google.com/earth-engine/datasets/catalog/USGS_SRTMGL1_003
GLO30, SRTM = "COPERNICUS/DEM/GLO30_2024_1", "USGS/SRTMGL1_003"
#: Pixels a degree of latitude: one arc second.
_SECONDS = 3600
#: GLO-30: columns a degree are fewer towards the poles, by latitude up to which and divisor. Source: Copernicus DEM
#: product handbook.
_COLUMNS = ((50, 1.0), (60, 1.5), (70, 2.0), (80, 3.0), (85, 5.0), (90, 10.0))
#: SRTM's rows end at 60 N and 56 S.
_SRTM_NORTH, _SRTM_SOUTH = 60, -56
#: Degrees of latitude around a site for which there are heights.
_MARGIN = 0.2
#: Milliseconds of 2010-12-01 and 2000-02-11: when TanDEM-X and the shuttle began to measure.
_TANDEM, _SHUTTLE = 1_291_161_600_000, 950_227_200_000
#: Rows of pixels worked at a time.
_ROWS = 256


@functools.lru_cache(maxsize=64)
def ground_of(landscape: Landscape) -> Bounds:
    """Where a site has heights, degrees."""
    west, south, east, north = ring_bounds(landscape.site.ring)
    wide = _MARGIN / math.cos(math.radians(landscape.site.lat))
    return west - wide, south - _MARGIN, east + wide, north + _MARGIN


def _heights(landscape: Landscape, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Metres (lat, lon) float32 on a grid of longitudes and latitudes."""
    out = np.empty((len(lat), len(lon)), np.float32)
    for top in range(0, len(lat), _ROWS):
        rows = slice(top, top + _ROWS)
        x, y = to_utm(landscape.site.epsg).transform(*np.meshgrid(lon, lat[rows]))
        out[rows] = landscape.height(x, y)
    return out


def box_ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


class Glo30Scene:
    """One degree of ``COPERNICUS/DEM/GLO30_2024_1``: ``DEM`` in metres (float32) on one arc second of latitude."""

    def __init__(self, landscape: Landscape, west: int, south: int) -> None:
        self.landscape, self.west, self.south = landscape, west, south
        self.index = (f"Copernicus_DSM_COG_10_{'N' if south >= 0 else 'S'}{abs(south):02d}_00_"
                      f"{'E' if west >= 0 else 'W'}{abs(west):03d}_00_DEM")
        self.id = f"{GLO30}/{self.index}"
        pole = max(abs(south), abs(south + 1))
        divisor = next(d for limit, d in _COLUMNS if pole <= limit)
        columns = round(_SECONDS / divisor)
        self.bands: tuple[BandSpec, ...] = (BandSpec(
            "DEM", "float", "EPSG:4326", (1 / columns, 0, west, 0, -1 / _SECONDS, south + 1), columns, _SECONDS),)

    @property
    def time(self) -> int:
        return _TANDEM

    @property
    def bounds(self) -> Bounds:
        return self.west, self.south, self.west + 1, self.south + 1

    @property
    def properties(self) -> dict[str, Any]:
        return {"system:index": self.index, "system:time_start": self.time,
                "system:footprint": {"type": "LinearRing", "coordinates": box_ring(*self.bounds)}}

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels of ``DEM``."""
        scale_x, _, west, _, scale_y, north = self.bands[0].transform
        lon = west + (window.col + np.arange(window.width) + 0.5) * scale_x
        lat = north + (window.row + np.arange(window.height) + 0.5) * scale_y
        return {name: (_heights(self.landscape, lon, lat), None) for name in bands}


def glo30(landscapes: Sequence[Landscape]) -> Iterator[Glo30Scene]:
    """The degrees that hold a site, each of the site nearest to its middle."""
    nearest: dict[tuple[int, int], tuple[float, Landscape]] = {}
    for landscape in landscapes:
        west, south, east, north = ground_of(landscape)
        for lon in range(math.floor(west), math.floor(east) + 1):
            for lat in range(math.floor(south), math.floor(north) + 1):
                far = math.hypot(lon + 0.5 - landscape.site.lon, lat + 0.5 - landscape.site.lat)
                if (lon, lat) not in nearest or far < nearest[lon, lat][0]:
                    nearest[lon, lat] = far, landscape
    for (lon, lat), (_, landscape) in sorted(nearest.items(), key=lambda item: item[0]):
        yield Glo30Scene(landscape, lon, lat)


class SrtmScene:
    """``USGS/SRTMGL1_003``: ``elevation`` in whole metres (int16), one arc second, 56 S to 60 N; masked where the
    planet has no land."""

    def __init__(self, landscapes: Sequence[Landscape]) -> None:
        self.landscapes = landscapes
        self.id = SRTM
        step = 1 / _SECONDS
        self.bands: tuple[BandSpec, ...] = (BandSpec(
            "elevation", "int", "EPSG:4326", (step, 0, -180, 0, -step, _SRTM_NORTH), 360 * _SECONDS,
            (_SRTM_NORTH - _SRTM_SOUTH) * _SECONDS, -32_768, 32_767),)

    @property
    def time(self) -> int:
        return _SHUTTLE

    @property
    def bounds(self) -> Bounds:
        return -180, _SRTM_SOUTH, 180, _SRTM_NORTH

    @property
    def properties(self) -> dict[str, Any]:
        return {"system:index": "SRTMGL1_003", "system:time_start": self.time,
                "system:footprint": {"type": "LinearRing", "coordinates": box_ring(*self.bounds)}}

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels of ``elevation``."""
        lon = -180 + (window.col + np.arange(window.width) + 0.5) / _SECONDS
        lat = _SRTM_NORTH - (window.row + np.arange(window.height) + 0.5) / _SECONDS
        out = np.zeros((window.height, window.width), np.int16)
        valid = np.zeros(out.shape, bool)
        for landscape in self.landscapes:
            west, south, east, north = ground_of(landscape)
            cols = np.flatnonzero((lon >= west) & (lon <= east))
            rows = np.flatnonzero((lat >= south) & (lat <= north))
            if len(cols) and len(rows):
                where = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
                out[where] = np.rint(_heights(landscape, lon[cols], lat[rows]))
                valid[where] = True
        return {name: (out.copy(), None if valid.all() else valid) for name in bands}
