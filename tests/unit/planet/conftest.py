"""The sample planet for its tests, and how they find their way about it."""

from __future__ import annotations

import datetime as dt

import pytest
import shapely

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import SITES, Planet
from dwplus.embedded_earth.planet.orbits import (
    ms_of,
)
from dwplus.embedded_earth.planet.sites import Site

TOA, SR = "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2_SR_HARMONIZED"
DW, S1, TRUTH = "GOOGLE/DYNAMICWORLD/V1", "COPERNICUS/S1_GRD", "SAMPLE/TRUTH"
SCORE, PROBABILITY = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "COPERNICUS/S2_CLOUD_PROBABILITY"
DRAWN = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"
START, END = ms_of(dt.date(2021, 6, 1)), ms_of(dt.date(2021, 9, 1))
TILE = 5_100


@pytest.fixture(scope="module")
def planet() -> Planet:
    return Planet()


def around(site: Site, reach: float = 0.02):
    return site.lon - reach, site.lat - reach, site.lon + reach, site.lat + reach


def scenes(planet: Planet, collection: str, site: Site, start: float = START, end: float = END, reach: float = 0.02):
    return planet.scenes(collection, start, end, around(site, reach)) or []


def spec_of(scene, band: str):
    return next(b for b in scene.bands if b.id == band)


def window_at(scene, band: str, x: float, y: float, size: int) -> Window:
    """A window of ``size`` pixels whose upper-left pixel holds (x, y) metres."""
    sx, _, tx, _, sy, ty = spec_of(scene, band).transform
    return Window(int((y - ty) // sy), int((x - tx) // sx), size, size)


def covering(found, site: Site):
    """The first dual-polarised radar scene with 36 km around the site's centre in it."""
    core = shapely.Point(*site.center).buffer(36_000)
    return next(s for s in found if s.acquisition.polarisations == ("VV", "VH")
                and shapely.Polygon(s.acquisition.piece.ring).contains(core))


def named(name: str) -> Site:
    return next(site for site in SITES if site.name == name)


def tiles_of(site: Site) -> list[tuple[int, int]]:
    west, south, east, north = site.square
    return [(k * TILE, m * TILE) for k in range(int(west) // TILE - 1, int(east) // TILE + 2)
            for m in range(int(south) // TILE - 1, int(north) // TILE + 3)
            if west <= k * TILE + TILE / 2 <= east and south <= m * TILE - TILE / 2 <= north]


def read_fresh(scene_id: str, bands: tuple[str, ...], window: Window, seed: int = 0):
    """Pixels from a planet that has computed nothing yet."""
    scene = Planet(seed).image(scene_id)
    assert scene is not None
    return scene.read(bands, window)
