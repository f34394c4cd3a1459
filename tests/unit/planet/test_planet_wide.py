"""Sites in the wide zones of the military grid, and granules that a datastrip's end cuts in two."""

from __future__ import annotations

import collections
import datetime as dt

import numpy as np
import pytest
import shapely

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import ALL_SITES, MORE_SITES, SITES, Planet
from dwplus.embedded_earth.planet.orbits import ms_of
from dwplus.embedded_earth.planet.sites import WIDE_SITES, grid_zone
from tests.unit.planet.conftest import DW, END, S1, SCORE, SR, START, TOA, around, named


def wide(name: str):
    return next(site for site in WIDE_SITES if site.name == name)


@pytest.mark.parametrize(("lon", "lat", "zone"), [
    (5.3, 60.4, 32), (2.9, 60.4, 31), (5.3, 55.9, 31), (5.3, 64.1, 31), (11.9, 78.9, 33), (8.9, 78.9, 31),
    (20.9, 78.0, 33), (21.1, 78.0, 35), (33.1, 80.0, 37), (43.0, 80.0, 38), (11.9, 71.0, 32), (-0.5, 78.0, 30)])
def test_zones_are_those_of_the_military_grid(lon, lat, zone):
    assert grid_zone(lon, lat) == zone


def test_wide_sites_have_granules_of_their_zones_and_stand_apart_from_the_sample(planet):
    assert len(SITES) == 15
    assert [row.properties["name"] for row in planet.table("SAMPLE/MORE_SITES")] == [s.name for s in MORE_SITES]
    names = {site.name: {world_tile for world in planet._worlds if world.site is site for world_tile in world.tiles}
             for site in WIDE_SITES}
    assert {tile[:3] for tile in names["bergen"]} == {"32V"}
    assert {tile[:3] for tile in names["ny_alesund"]} == {"33X"}
    assert {tile[:3] for tile in names["ny_alesund_west"]} == {"31X"}
    assert {wide(n).epsg for n in names} == {32632, 32633, 32631}


@pytest.mark.parametrize("site", WIDE_SITES, ids=lambda site: site.name)
def test_wide_sites_are_seen_by_everything(planet, site):
    for collection in (TOA, SR, DW, S1, SCORE):
        assert planet.scenes(collection, START, END, around(site))


def test_no_two_sites_show_different_land_of_one_place(planet):
    """Radar slices are 250 km wide: those of near sites end between them, and no granule is in two sites."""
    for world in planet._worlds:
        core = shapely.box(*world.site.square)
        for other in planet._worlds:
            if other is world or other.site.epsg != world.site.epsg:
                continue
            assert not world.tiles & other.tiles
            for _, pieces in other.s1:
                assert not any(shapely.Polygon(piece.ring).intersects(core) for piece in pieces)


def test_pixels_of_a_slice_end_where_its_outline_does(planet):
    site = wide("bergen")
    scene = next(s for s in planet.scenes(S1, START, END, around(site)) if "VH" in [b.id for b in s.bands]
                 and s.acquisition.piece.ring[:, 0].max() == site.reach[1])
    x0, y0, height, width = scene.acquisition.piece.grid
    row = int(y0 - site.center[1]) // 10
    values, valid = scene.read(("VV",), Window(row, width - 60, 1, 60))["VV"]
    x = x0 + (np.arange(width - 60, width) + 0.5) * 10
    assert site.reach[1] - 20 < x[-1] < site.reach[1] + 20
    seen = np.ones(values.shape, bool) if valid is None else valid
    assert seen[0, x < site.reach[1]].all() and not seen[0, x >= site.reach[1]].any()
    assert (values[~seen] == 0).all()


# ---- half products ---------------------------------------------------------------------------------------------------

YEAR = ms_of(dt.date(2021, 1, 1)), ms_of(dt.date(2022, 1, 1))


@pytest.fixture(scope="module")
def products(planet):
    found = collections.defaultdict(list)
    for scene in planet.scenes(TOA, *YEAR):
        if scene.overpass.copy:
            continue
        found[scene.overpass.granule.site.name, scene.index[:15], scene.index[-5:]].append(scene)
    return found


def test_a_few_percent_of_the_granules_are_two_products(products):
    cut = [parts for parts in products.values() if len(parts) > 1]
    assert 0.01 < len(cut) / len(products) < 0.05
    assert {len(parts) for parts in products.values()} == {1, 2}
    assert len({parts[0].overpass.granule.site.name for parts in cut}) > len(ALL_SITES) / 2


def test_halves_share_the_sensing_and_no_ground(planet, products):
    for parts in [parts for parts in products.values() if len(parts) > 1][::7]:
        one, two = sorted(parts, key=lambda s: s.index)
        assert one.index[:15] == two.index[:15] and one.index[-5:] == two.index[-5:]
        assert one.index[16:31] < two.index[16:31]
        a, b = (shapely.Polygon(s.overpass.footprint.ring) for s in (one, two))
        assert a.intersection(b).area < 1e-4 * min(a.area, b.area)
        for scene in parts:
            again = planet.image(scene.id)
            assert again is not None
            assert again.properties == scene.properties
            clear = scene.properties["CLOUDY_PIXEL_PERCENTAGE"] <= 35
            assert (planet.image(scene.id.replace(TOA, DW)) is not None) == clear
            assert planet.image(scene.id.replace(TOA, SCORE)) is not None


def test_halves_put_together_are_the_whole(products):
    """Each pixel of the swath is in one half, and both halves tell the same where neither is masked."""
    one, two = next(parts for parts in products.values()
                    if len(parts) > 1 and all(p.overpass.footprint.bounds[3] - p.overpass.footprint.bounds[1] > 0.4
                                              for p in parts))
    o, track = one.overpass, one.overpass.flight.track
    x, y = track.site.center
    border = np.array([x, y]) + o.border * np.array(track.along)
    window = Window(int(o.granule.uly - border[1]) // 10 - 60, int(border[0] - o.granule.ulx) // 10 - 60, 120, 120)
    window = Window(min(max(window.row, 0), 10_860), min(max(window.col, 0), 10_860), 120, 120)
    shown = [scene.read(("B4", "B8"), window) for scene in (one, two)]
    masks = [m["B4"][1] if m["B4"][1] is not None else np.ones((120, 120), bool) for m in shown]
    assert not (masks[0] & masks[1]).any()
    assert np.array_equal(masks[0] | masks[1], o._in_swath(
        o.granule.ulx + (np.arange(window.col, window.col + 120) + 0.5)[None, :] * 10,
        o.granule.uly - (np.arange(window.row, window.row + 120) + 0.5)[:, None] * 10))
    both = shown[0]["B4"][0] + shown[1]["B4"][0]
    assert (both[masks[0] | masks[1]] > 0).all()


def test_cloud_of_a_half_is_its_own(products):
    differ = [abs(a.properties["CLOUDY_PIXEL_PERCENTAGE"] - b.properties["CLOUDY_PIXEL_PERCENTAGE"])
              for a, b in (parts for parts in products.values() if len(parts) > 1)]
    assert max(differ) > 5


def test_another_seed_cuts_other_granules():
    def cut(seed):
        found = collections.Counter(s.index[:15] + s.index[-6:] for s in Planet(seed).scenes(
            TOA, *YEAR, around(named("hesse"), 0.3)))
        return {key for key, n in found.items() if n > 1}

    assert any(cut(0) != cut(seed) for seed in (1, 2, 3))
