"""The procedural planet: sites, tables, and scenes whose orbits and grids are those of the missions."""

from __future__ import annotations

import datetime as dt
import time

import numpy as np
import pyproj
import pytest
import shapely

from dwplus.embedded_earth.planet import ALL_SITES, SITES, Planet
from dwplus.embedded_earth.planet.orbits import (
    Granule,
    day_of,
    ms_of,
    parse_stamp,
    passes,
    s1_tracks,
    s2_tracks,
    stamp,
)
from dwplus.embedded_earth.planet.sites import Site
from dwplus.taxonomy import BIOMES
from tests.unit.planet.conftest import (
    DW,
    END,
    PROBABILITY,
    S1,
    SCORE,
    SR,
    START,
    TILE,
    TOA,
    TRUTH,
    around,
    named,
    scenes,
    tiles_of,
)

# ---- sites and tables ------------------------------------------------------------------------------------------------

def test_every_biome_and_both_hemispheres_have_a_site(planet):
    assert {site.biome for site in SITES} == set(BIOMES)
    assert sum(site.lat < 0 for site in SITES) >= 4
    assert planet.describe() == f"the procedural sample planet (seed 0, {len(ALL_SITES)} sites, 14 biomes)"


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_a_site_holds_many_lattice_tiles_within_its_zone_and_granules(site):
    tiles = tiles_of(site)
    assert len(tiles) >= 64
    to_lonlat = pyproj.Transformer.from_crs(site.epsg, 4326, always_xy=True)
    lon, lat = to_lonlat.transform([x + TILE / 2 for x, _ in tiles], [y - TILE / 2 for _, y in tiles])
    assert {int((v + 180) // 6) + 1 for v in lon} == {site.zone}
    assert {v >= 0 for v in lat} == {site.epsg < 32700}
    squares = [shapely.box(*g.square) for g in {g for world in Planet()._worlds if world.site is site
                                                for _, found in world.s2 for g, _, _ in found}]
    for x, y in tiles:
        tile = shapely.box(x, y - TILE, x + TILE, y)
        assert any(square.contains(tile) for square in squares)


def test_tables(planet):
    rows = planet.table("SAMPLE/SITES")
    assert [row.properties["name"] for row in rows] == [site.name for site in SITES]
    assert set(rows[0].properties) == {"name", "biome", "biome_name", "ecoregion", "epsg"}
    for row, site in zip(rows, SITES, strict=True):
        to_utm = pyproj.Transformer.from_crs(4326, site.epsg, always_xy=True)
        x, y = to_utm.transform(*np.array(row.geometry["coordinates"][0]).T)
        assert shapely.Polygon(np.column_stack([x, y])).symmetric_difference(shapely.box(*site.square)).area < 1e5

    regions = planet.table("RESOLVE/ECOREGIONS/2017")
    shapes = [shapely.geometry.shape(row.geometry) for row in regions]
    assert all(shape.is_valid for shape in shapes)
    for i, a in enumerate(shapes):
        for j in range(i):
            assert a.intersection(shapes[j]).area < 1e-9
    ice = [row for row in regions if row.properties["ECO_NAME"] == "Rock and Ice"]
    assert [(row.properties["BIOME_NUM"], row.properties["BIOME_NAME"]) for row in ice] == [(11, "N/A")]
    for site in SITES:
        at = [row.properties["BIOME_NUM"] for row, shape in zip(regions, shapes, strict=True)
              if shape.contains(shapely.Point(site.lon, site.lat))]
        assert at == [site.biome]


def test_folders(planet):
    assert set(planet.children("")) == {"COPERNICUS", "ESA", "GOOGLE", "OPERA", "RESOLVE", "SAMPLE", "USGS", "projects"}
    assert list(planet.children("GOOGLE")) == ["GOOGLE/CLOUD_SCORE_PLUS", "GOOGLE/DYNAMICWORLD",
                                               "GOOGLE/SATELLITE_EMBEDDING"]
    assert list(planet.children("projects")) == ["projects/wri-datalab"]
    assert planet.asset_type("projects/wri-datalab/dynamic_world") == "FOLDER"
    assert planet.asset_type("projects/someone-else/labels") is None
    assert planet.asset_type("COPERNICUS") == "FOLDER"
    assert planet.asset_type(S1) == "IMAGE_COLLECTION"
    assert planet.asset_type("SAMPLE/SITES") == "TABLE"
    assert planet.asset_type("COPERNICUS/S3") is None
    assert planet.scenes("COPERNICUS/S3") is None
    assert planet.table("SAMPLE/NOTHING") is None


# ---- scenes ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("lon", "lat", "east", "north", "tile", "ulx", "uly"), [
    (9.0, 57.2, 500_000, 6_300_000, "32VNJ", 499_980, 6_400_020),  # S2 tile of an annotated Dynamic World scene
    (11.9, 53.0, 700_000, 5_800_000, "32UQD", 699_960, 5_900_040),
    # S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD: corner (199980, 5900020), a test file of stactools
    (-54.0, -37.0, 200_000, 5_800_000, "22HBD", 199_980, 5_900_020),
    (-49.0, -26.0, 700_000, 7_100_000, "22JGS", 699_960, 7_200_040),
])
def test_granules_have_the_names_and_corners_of_the_tiling_grid(lon, lat, east, north, tile, ulx, uly):
    granule = Granule(Site("x", 4, "x", 0, "x", lon, lat, SITES[0].recipe), east, north)
    assert (granule.tile, granule.ulx, granule.uly) == (tile, ulx, uly)


def test_orbits_are_those_of_the_missions():
    site = named("hesse")
    # relative = (absolute - k) mod 175 + 1; the names of real products are in test_orbits.py
    for track in s1_tracks(site, 0):
        for flight in passes(track, START, END):
            offset = {"A": 73, "B": 27, "C": 172}[flight.platform]
            assert flight.relative_orbit == (flight.orbit - offset) % 175 + 1
    for track in s2_tracks(site, 0):
        flights = passes(track, START, END)
        assert len({f.relative_orbit for f in flights}) == 1
        gaps = np.diff([f.time for f in flights]) / 86_400_000
        assert np.allclose(gaps, 5, atol=0.01)  # two satellites, ten-day repeat each
        assert {f.platform for f in flights} == {"A", "B"}


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_headings_are_from_grid_north(site):
    """A track's heading plus the grid's convergence is its true azimuth: asin(cos i / cos lat) from the meridian."""
    convergence = pyproj.Proj(site.epsg).get_factors(site.lon, site.lat).meridian_convergence
    assert abs(site.convergence - convergence) < 0.02
    for tracks, inclination in ((s1_tracks(site, 0), 98.18), (s2_tracks(site, 0), 98.62)):
        for track in tracks:
            lean = np.degrees(np.arcsin(np.cos(np.radians(inclination)) / np.cos(np.radians(site.lat))))
            azimuth = lean if track.ascending else 180 - lean
            assert abs((track.heading + convergence - azimuth + 180) % 360 - 180) < 0.02


def test_sentinel1b_falls_silent(planet):
    site = named("hesse")
    found = planet.scenes(S1, ms_of(dt.date(2021, 10, 1)), ms_of(dt.date(2025, 6, 1)), around(site))
    days = {p: [day_of(s.time) for s in found if s.properties["platform_number"] == p]
            for p in "ABC"}
    assert max(days["B"]) < dt.date(2021, 12, 23)
    assert min(days["C"]) >= dt.date(2025, 3, 26)
    assert max(days["A"]) > dt.date(2025, 5, 1)
    assert not planet.scenes(S1, ms_of(dt.date(2014, 1, 1)), ms_of(dt.date(2015, 6, 26)))


def test_ids_resolve_and_only_those(planet):
    for site in SITES[::4]:
        for collection in (TOA, SR, DW, S1, TRUTH, SCORE, PROBABILITY):
            found = scenes(planet, collection, site)
            assert found
            keys = [(s.properties["system:time_start"], s.properties["system:index"]) for s in found]
            assert keys == sorted(keys)
            assert len({s.id for s in found}) == len(found)
            for scene in found[:3] + found[-3:]:
                again = planet.image(scene.id)
                assert again is not None
                assert again.properties == scene.properties
                assert scene.id == f"{collection}/{scene.properties['system:index']}"
    for wrong in ("", "x", f"{TOA}/20210101T000000_20210101T000000_T32UNB", f"{S1}/S1A_IW", f"{DW}/a_b_c",
                  f"{TRUTH}/hesse_1999", f"{TRUTH}/hesse_abcd", f"{TOA}/20211399T000000_20210101T000000_T32UNB"):
        assert planet.image(wrong) is None
    assert parse_stamp(stamp(START)) == START


def test_a_quarter_at_one_site_is_enumerated_in_milliseconds(planet):
    site = named("hesse")
    scenes(planet, S1, site)
    began = time.perf_counter()
    found = [s for collection in (TOA, DW, S1) for s in scenes(planet, collection, site)]
    for scene in found:
        assert scene.properties["system:footprint"]["type"] == "LinearRing"
    assert time.perf_counter() - began < 0.2  # about 6 ms here


def test_limits_only_leave_out_what_lies_outside(planet):
    site = named("sonora")
    every = {s.id for s in planet.scenes(DW, START - 10 * 86_400_000, END + 10 * 86_400_000)
             if START <= s.properties["system:time_start"] < END
             and shapely.box(*s.bounds).intersects(shapely.box(*around(site)))}
    assert every == {s.id for s in scenes(planet, DW, site)}


def test_surface_reflectance_misses_some_twins(planet):
    site = named("guadalquivir")
    for first, least, most in ((dt.date(2016, 1, 1), 0.0, 0.4), (dt.date(2021, 1, 1), 0.9, 1.0)):
        limits = ms_of(first), ms_of(first + dt.timedelta(days=365))
        toa, sr = ({s.id.split("/")[-1] for s in planet.scenes(c, *limits, around(site))} for c in (TOA, SR))
        assert least <= len(toa & sr) / len(toa) < most
    assert {s.properties["CLOUDY_PIXEL_PERCENTAGE"] <= 35 for s in scenes(planet, TOA, site)} == {True, False}
    toa = {s.id.split("/")[-1]: s for s in scenes(planet, TOA, site)}
    dw = {s.id.split("/")[-1] for s in scenes(planet, DW, site)}
    assert dw == {k for k, s in toa.items() if s.properties["CLOUDY_PIXEL_PERCENTAGE"] <= 35}


def test_filters_have_something_to_reject(planet):
    early = planet.scenes(S1, ms_of(dt.date(2016, 1, 1)), ms_of(dt.date(2016, 6, 1)), around(named("hesse")))
    found = [*early, *(s for site in SITES for s in scenes(planet, S1, site))]
    kinds = {(s.properties["instrumentMode"], tuple(s.properties["transmitterReceiverPolarisation"])) for s in found}
    assert kinds == {("IW", ("VV", "VH")), ("IW", ("VV",)), ("EW", ("HH", "HV"))}
    ways = {site.name: {s.properties["orbitProperties_pass"] for s in scenes(planet, S1, site)} for site in SITES}
    assert {len(w) for w in ways.values()} == {1, 2}
    for scene in found[::10]:
        names = tuple(b.id for b in scene.bands)
        assert names == (*scene.properties["transmitterReceiverPolarisation"], "angle")
