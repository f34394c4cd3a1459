"""The procedural planet: facts of the domain (orbits, grids, speckle) and of a function of absolute coordinates."""

from __future__ import annotations

import datetime as dt
import threading
import time
from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import SITES, Planet
from dwplus.embedded_earth.planet.dw_labels import (
    EXPERT,
    NON_EXPERT,
    SHARES,
    VALIDATION,
    AnnotationScene,
    center_of,
    point_of,
)
from dwplus.embedded_earth.planet.landscape import BARE, BUILT, FLOODED, GRASS, SNOW, STATES, TREES, Cache
from dwplus.embedded_earth.planet.orbits import (
    GRANULE_SIZE,
    Granule,
    day_of,
    ms_of,
    parse_stamp,
    passes,
    s1_tracks,
    s2_tracks,
    stamp,
)
from dwplus.embedded_earth.planet.sentinel1 import LOOKS, Sentinel1Scene, gamma_quantiles, sigma_table
from dwplus.embedded_earth.planet.sentinel2 import BAND_NAMES, Sentinel2Scene, spectra
from dwplus.embedded_earth.planet.sites import Site
from dwplus.taxonomy import BIOMES, CLASSES, IGNORE, annotation_to_label

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


# ---- sites and tables ------------------------------------------------------------------------------------------------

def test_every_biome_and_both_hemispheres_have_a_site(planet):
    assert {site.biome for site in SITES} == set(BIOMES)
    assert sum(site.lat < 0 for site in SITES) >= 4
    assert planet.describe() == f"the procedural sample planet (seed 0, {len(SITES)} sites, 14 biomes)"


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
    assert set(planet.children("")) == {"COPERNICUS", "GOOGLE", "RESOLVE", "SAMPLE", "projects"}
    assert list(planet.children("GOOGLE")) == ["GOOGLE/CLOUD_SCORE_PLUS", "GOOGLE/DYNAMICWORLD"]
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
    # S1A_IW_GRDH_1SDV_20210721T084010 is absolute orbit 38881; 175 orbits later the same relative orbit comes back
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
    found = [s for site in SITES for s in scenes(planet, S1, site)]
    kinds = {(s.properties["instrumentMode"], tuple(s.properties["transmitterReceiverPolarisation"])) for s in found}
    assert kinds == {("IW", ("VV", "VH")), ("IW", ("VV",)), ("EW", ("HH", "HV"))}
    ways = {site.name: {s.properties["orbitProperties_pass"] for s in scenes(planet, S1, site)} for site in SITES}
    assert {len(w) for w in ways.values()} == {1, 2}
    for scene in found[::10]:
        names = tuple(b.id for b in scene.bands)
        assert names == (*scene.properties["transmitterReceiverPolarisation"], "angle")


# ---- pixels ----------------------------------------------------------------------------------------------------------

def read_fresh(scene_id: str, bands: tuple[str, ...], window: Window, seed: int = 0):
    """Pixels from a planet that has computed nothing yet."""
    return Planet(seed).image(scene_id).read(bands, window)


@pytest.mark.parametrize(("collection", "bands"), [
    (TOA, ("B2", "B8")), (TOA, ("B5", "B12")), (TOA, ("B1", "B10", "QA60")), (SR, ("B4", "B3")), (SR, ("SCL",)),
    (DW, ("label", "trees", "water")), (SCORE, ("cs", "cs_cdf")), (PROBABILITY, ("probability",)),
    (S1, ("VV", "VH", "angle")), (TRUTH, ("label",))])
def test_a_pixel_does_not_depend_on_its_window(planet, collection, bands):
    site = named("pampas")
    found = scenes(planet, collection, site)
    if collection in (TOA, SR, SCORE, PROBABILITY):  # one with clouds
        found = [s for s in found if 20 < s.overpass.cover < 80]
    scene = found[len(found) // 2]
    x, y = site.center
    whole = window_at(scene, bands[0], x, y, 180)
    full = scene.read(bands, whole)
    for dr, dc, h, w in ((0, 0, 50, 70), (31, 47, 149, 133), (101, 7, 1, 90), (179, 179, 1, 1)):
        part = read_fresh(scene.id, bands, Window(whole.row + dr, whole.col + dc, h, w))
        for band in bands:
            values, valid = part[band]
            expected = full[band][0][dr:dr + h, dc:dc + w]
            assert values.shape == (h, w)
            assert values.dtype == expected.dtype
            assert np.array_equal(values, expected)
            if full[band][1] is not None:
                assert np.array_equal(np.ones((h, w), bool) if valid is None else valid,
                                      full[band][1][dr:dr + h, dc:dc + w])
    alone = read_fresh(scene.id, bands[-1:], whole)[bands[-1]][0]
    assert np.array_equal(alone, full[bands[-1]][0])


def test_windows_reach_the_corners_of_every_raster(planet):
    site = named("kangerlussuaq")
    for collection, band in ((TOA, "B1"), (TOA, "B4"), (SR, "SCL"), (DW, "label"), (S1, "angle"), (TRUTH, "label"),
                             (SCORE, "cs"), (PROBABILITY, "probability")):
        scene = scenes(planet, collection, site)[0]
        spec = spec_of(scene, band)
        for row, col in ((0, 0), (spec.height - 7, spec.width - 7)):
            values, _ = scene.read((band,), Window(row, col, 7, 7))[band]
            assert values.shape == (7, 7)


def test_types_and_ranges(planet):
    site = named("hesse")
    x, y = site.center
    scene = scenes(planet, SR, site)[0]
    assert {b.id for b in scene.bands} >= {"B1", "B8A", "B9", "B12", "SCL", "QA60"}
    assert "B10" not in {b.id for b in scene.bands}
    assert scene.read(("B2",), window_at(scene, "B2", x, y, 20))["B2"][0].dtype == np.uint16
    assert scene.read(("SCL",), window_at(scene, "SCL", x, y, 20))["SCL"][0].dtype == np.uint8
    scene = scenes(planet, S1, site)[0]
    result = scene.read(("VV", "angle"), window_at(scene, "VV", x, y, 20))
    assert (result["VV"][0].dtype, result["angle"][0].dtype) == (np.float64, np.float32)
    assert 29 < result["angle"][0].min() < result["angle"][0].max() < 47
    sx, _, tx, _, _, ty = spec_of(scene, "VV").transform
    assert sx == 10
    assert tx % 10 != 0
    assert ty % 10 != 0


def test_the_seed_makes_the_world(planet):
    site = named("hesse")
    scene = scenes(planet, TRUTH, site)[0]
    window = Window(2_000, 2_000, 100, 100)
    here = scene.read(("label",), window)["label"][0]
    assert np.array_equal(here, read_fresh(scene.id, ("label",), window)["label"][0])
    assert not np.array_equal(here, read_fresh(scene.id, ("label",), window, seed=1)["label"][0])


def test_threads_see_the_same_pixels(planet):
    site = named("sonora")
    scene = scenes(planet, DW, site)[0]
    x, y = site.center
    windows = [window_at(scene, "label", x + 700 * k, y, 96) for k in range(8)]
    expected = [scene.read(("label",), w)["label"][0] for w in windows]
    got: dict[int, np.ndarray] = {}
    again = Planet().image(scene.id)

    def work(k: int) -> None:
        got[k] = again.read(("label",), windows[k])["label"][0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(got[k], expected[k]) for k in range(8))


def test_the_neighbouring_granule_shows_the_same_land(planet):
    """Granules overlap by 9.8 km; without clouds both hold one ground, on one 10 m lattice."""
    site = named("hesse")
    found = [s for s in scenes(planet, DW, site, reach=0.5) if s.overpass.granule.site is site]
    labels = {}
    east = max(s.overpass.granule.ulx for s in found)
    north = max(s.overpass.granule.uly for s in found) - GRANULE_SIZE + 4_000
    for scene in found:
        box = scene.overpass.box(window_at(scene, "label", east + 1_000, north, 60), 10)
        labels[scene.overpass.granule.tile] = scene.overpass.landscape.label(box, dt.date(2021, 7, 1))
    assert len(labels) > 1
    first, *others = labels.values()
    assert all(np.array_equal(first, other) for other in others)


def test_cloud_percentage_agrees_with_the_pixels(planet):
    site = named("hesse")
    found = [s for s in scenes(planet, SR, site) if 10 < s.properties["CLOUDY_PIXEL_PERCENTAGE"] < 95]
    for scene in found[::max(len(found) // 3, 1)]:
        cloudy = []
        n = spec_of(scene, "QA60").width
        for row in range(20, n - 20, n // 24):
            for col in range(20, n - 20, n // 24):
                quality, valid = scene.read(("QA60",), Window(row, col, 2, 2))["QA60"]
                if valid is None or valid.all():
                    cloudy.append((quality == 1024).mean())
        assert abs(100 * np.mean(cloudy) - scene.properties["CLOUDY_PIXEL_PERCENTAGE"]) < 5


def test_speckle_has_the_looks_of_iw_grd():
    table = gamma_quantiles(LOOKS, 1 << 13)
    assert abs(table.mean() - 1) < 1e-12
    assert abs(1 / table.var() - LOOKS) < 0.03


def test_speckle_of_a_scene(planet):
    """Over one class in one state the intensity is Gamma distributed: mean**2 / variance is the number of looks."""
    site = named("rondonia")
    world = next(w for w in planet._worlds if w.site is site)
    scene = covering(scenes(planet, S1, site), site)
    window = window_at(scene, "VV", *site.center, 400)
    result = scene.read(("VV", "VH"), window)
    x0, y0, _, _ = scene.acquisition.piece.grid
    box = world.landscape.box(x0 + window.col * 10 + 5, y0 - window.row * 10 - 5, 400, 400)
    cover = world.landscape.cover(box, scene.acquisition.flight.day)
    index = cover.index[cover.patch.box.slices(box)]
    intensity = {band: 10 ** (values / 10) for band, (values, _) in result.items()}
    commonest = np.bincount(index.ravel()).argmax()
    looks = [i[index == commonest].mean() ** 2 / i[index == commonest].var() for i in intensity.values()]
    assert np.allclose(looks, LOOKS, rtol=0.12)
    vv, vh = (i[index == commonest] for i in intensity.values())
    assert abs(np.corrcoef(vv, vh)[0, 1]) < 0.1
    label = index // STATES
    wood = np.where(label == TREES, 10 * np.log10(intensity["VV"]), np.nan)
    a, b = wood[:, :-1].ravel(), wood[:, 1:].ravel()
    both = ~np.isnan(a) & ~np.isnan(b)
    assert abs(np.corrcoef(a[both], b[both])[0, 1]) < 0.15


def test_border_noise_ends_in_march_2018(planet):
    site = named("durango")
    for day, dirty in ((dt.date(2017, 6, 1), True), (dt.date(2018, 6, 1), False)):
        found = scenes(planet, S1, site, ms_of(day), ms_of(day + dt.timedelta(days=40)), 0.4)
        scene = next(s for s in found if s.acquisition.flight.track.key == 2 and len(s.bands) == 3)
        track = scene.acquisition.flight.track
        x0, y0, height, width = scene.acquisition.piece.grid
        row = height // 2
        t = track.from_middle(x0 + (np.arange(width) + 0.5)[None, :] * 10, np.array([[y0 - row * 10 - 5]]))[0]
        inside = np.flatnonzero(np.abs(t) <= track.half_swath)
        values, valid = scene.read(("VV",), Window(row, inside[0], 1, 300))["VV"]
        assert valid is None or valid[0, 1:].all()
        assert bool(np.median(values[0, :40]) < -45) == dirty
        outside = scene.read(("VV",), Window(row, max(inside[0] - 40, 0), 1, 30))["VV"]
        assert not outside[1].any()


@pytest.mark.parametrize("name", ["rondonia", "hesse", "sonora", "pantanal"])
def test_dynamic_world_errs_but_not_much(planet, name):
    site = named(name)
    world = next(w for w in planet._worlds if w.site is site)
    found = sorted(scenes(planet, DW, site), key=lambda s: s.overpass.cover)
    wrong = total = 0
    for scene in found[:2]:
        for dx in range(-24_000, 25_000, 12_000):
            for dy in (-20_000, 0, 20_000):
                x, y = site.center[0] + dx, site.center[1] + dy
                window = window_at(scene, "label", x, y, 100)
                spec = spec_of(scene, "label")
                if min(window.row, window.col) < 0 or max(window.row, window.col) > spec.width - 100:
                    continue
                result = scene.read((*CLASSES, "label"), window)
                label, valid = result["label"]
                valid = np.ones_like(label, bool) if valid is None else valid
                odds = np.stack([result[c][0] for c in CLASSES])
                assert np.array_equal(odds.argmax(0)[valid], label[valid])
                assert odds.max() <= 0.80
                assert np.allclose(odds.sum(0)[valid], 1, atol=1e-5)
                truth = world.landscape.label(scene.overpass.box(window, 10), scene.overpass.flight.day)
                wrong += (label != truth)[valid].sum()
                total += valid.sum()
    assert total > 50_000
    assert 0.05 < wrong / total < 0.35


def separation(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of means in pooled standard deviations."""
    return abs(a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2)


def test_radar_tells_apart_what_optics_cannot(planet):
    """Flooded woods: like woods in Sentinel-2, brighter by the double bounce in VV; towns against bare ground too."""
    site = named("sundarbans")
    world = next(w for w in planet._worlds if w.site is site)
    day = dt.date(2021, 7, 1)
    radar = covering(scenes(planet, S1, site), site)
    optical = min(scenes(planet, SR, site), key=lambda s: s.properties["CLOUDY_PIXEL_PERCENTAGE"])
    assert isinstance(radar, Sentinel1Scene)
    assert isinstance(optical, Sentinel2Scene)
    pixels: dict[int, list[np.ndarray]] = {k: [] for k in range(9)}
    bands = ("B2", "B3", "B4", "B8")
    for dx in range(-24_000, 25_000, 8_000):
        for dy in range(-8_000, 25_000, 8_000):
            x, y = site.center[0] + dx, site.center[1] + dy
            window = window_at(optical, "B2", x, y, 60)
            if min(window.row, window.col) < 0 or max(window.row, window.col) > 10_920:
                continue
            sky = optical.overpass.sky(optical.overpass.box(window, 10), 1)
            if sky is not None and max(sky.alpha.max(), sky.shadow.max()) > 0:
                continue
            reflectance = optical.read(bands, window)
            at = window_at(radar, "VV", x + 5, y - 5, 60)
            sigma, valid = radar.read(("VV",), at)["VV"]
            assert valid is None or valid.all()
            label = world.landscape.label(optical.overpass.box(window, 10), day)
            stack = np.stack([reflectance[b][0] for b in bands] + [sigma])
            for k in (TREES, FLOODED, BUILT, BARE):
                pixels[k].append(stack[:, label == k])
    trees, flooded, built, bare = (np.concatenate(pixels[k], axis=1) for k in (TREES, FLOODED, BUILT, BARE))
    assert min(a.shape[1] for a in (trees, flooded)) > 2_000
    assert all(separation(trees[k], flooded[k]) < 0.6 for k in range(4))
    assert separation(trees[4], flooded[4]) > 1.2
    assert 3 < flooded[4].mean() - trees[4].mean() < 6
    assert built[4].mean() - bare[4].mean() > 5


def test_truth_changes_with_season_and_year(planet):
    def shares(name: str, day: dt.date) -> np.ndarray:
        world = next(w for w in planet._worlds if w.site.name == name)
        (x, y), land = world.site.center, world.landscape
        label = np.concatenate([land.label(land.box(x + dx, y + dy, 64, 64), day).ravel()
                                for dx in range(-28_000, 29_000, 14_000) for dy in range(-28_000, 29_000, 14_000)])
        return np.bincount(label, minlength=9) / label.size

    names = dict(zip(CLASSES, range(9), strict=True))
    winter, summer = (shares("hardangervidda", dt.date(2021, m, 15)) for m in (1, 8))
    assert winter[names["snow_and_ice"]] > 0.5
    assert summer[names["snow_and_ice"]] < 0.15
    high, low = (shares("pantanal", dt.date(2021, m, 20)) for m in (4, 10))
    assert high[names["water"]] > low[names["water"]] + 0.03
    wet, dry = (shares("matopiba", dt.date(2021, m, 20)) for m in (2, 8))
    assert dry[names["bare"]] > wet[names["bare"]] + 0.03
    before, after = (shares("rondonia", dt.date(year, 7, 1)) for year in (2016, 2025))
    assert after[names["trees"]] < before[names["trees"]] - 0.02


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_most_tiles_find_a_label_and_a_radar_pass_within_six_days(planet, site):
    labels = [s for s in scenes(planet, DW, site, reach=0.5) if s.overpass.granule.site is site]
    radar = [s for s in scenes(planet, S1, site, START - 6 * 86_400_000, END + 6 * 86_400_000, 0.5)
             if s.properties["instrumentMode"] == "IW" and s.acquisition.polarisations == ("VV", "VH")
             and s.acquisition.flight.track.site is site]
    strips = [shapely.Polygon(s.acquisition.piece.ring) for s in radar]
    tiles = tiles_of(site)[::9]
    paired = 0
    for x, y in tiles:
        square = shapely.box(x, y - TILE, x + TILE, y)
        hit = False
        for scene in labels:
            window = window_at(scene, "label", x, y, 510)
            if min(window.row, window.col) < 0 or max(window.row, window.col) + 510 > GRANULE_SIZE // 10:
                continue
            # nine spots of the tile
            o = scene.overpass
            spots = [Window(window.row + r, window.col + c, 2, 2) for r in (20, 255, 490) for c in (20, 255, 490)]
            if any(v is not None and not v.all() for v in (o.valid(spot, 10) for spot in spots)):
                continue
            skies = [o.sky(o.box(spot, 10), 1) for spot in spots]
            if sum(sky is not None and sky.excess.max() > -0.1 for sky in skies) > 2:
                continue
            if any(abs(s.time - scene.time) <= 144 * 3_600_000 and strip.contains(square)
                   for s, strip in zip(radar, strips, strict=True)):
                hit = True
                break
        paired += hit
    assert paired >= 0.85 * len(tiles)


def test_flooded_vegetation_is_wood_in_swamps_only(planet):
    """A mangrove has a wood's spectrum; a sedge marsh has a wet meadow's."""
    day = dt.date(2021, 7, 25)
    for world in planet._worlds:
        table = spectra(world.landscape, 0, day).reshape(len(BAND_NAMES), 9, -1)
        trees, flooded, grass = (table[:, k].mean(1) for k in (TREES, FLOODED, GRASS))
        red, infrared, short = (BAND_NAMES.index(b) for b in ("B4", "B8", "B11"))
        like_wood = np.abs(flooded / trees - 1)[[red, infrared]].max()
        if world.site.biome == 14:
            assert like_wood < 0.15
        if world.site.biome in (10, 11, 13):
            assert like_wood > 0.25
            assert np.abs(flooded / grass - 1)[infrared] < 0.25
            assert flooded[short] < 0.9 * grass[short]  # water under it
        flight = passes(s1_tracks(world.site, 0)[0], START, END)[0]
        sigma = sigma_table(world.landscape, 0, flight, "VV").reshape(9, -1).mean(1)
        assert sigma[FLOODED] > sigma[GRASS] + 2  # the double bounce stays the radar's to see
    share = {}
    for name in ("sonora", "drakensberg", "kangerlussuaq", "pantanal", "sundarbans"):
        land = next(w for w in planet._worlds if w.site.name == name).landscape
        x, y = land.site.center
        label = [land.label(land.box(x + dx, y + dy, 32, 32), day)
                 for dx in range(-27_000, 28_000, 9_000) for dy in range(-27_000, 28_000, 9_000)]
        share[name] = float(np.mean(np.stack(label) == FLOODED))
    assert max(share["sonora"], share["drakensberg"], share["kangerlussuaq"]) < 0.06
    assert min(share["pantanal"], share["sundarbans"]) > 0.12


# ---- cloud masks -----------------------------------------------------------------------------------------------------

def test_cloud_masks_are_the_twins_of_the_scenes(planet):
    site = named("pampas")
    ids = {c: {s.id.split("/")[-1] for s in scenes(planet, c, site)} for c in (TOA, SCORE, PROBABILITY)}
    assert ids[TOA] == ids[SCORE] == ids[PROBABILITY]
    score, probability = (scenes(planet, c, site)[0] for c in (SCORE, PROBABILITY))
    assert [(b.id, b.precision, b.transform[0]) for b in score.bands] == [("cs", "float", 10), ("cs_cdf", "float", 10)]
    assert [(b.id, b.precision, b.transform[0]) for b in probability.bands] == [("probability", "int", 10)]
    source = planet.image(score.properties["SOURCE_ASSET_ID"])
    assert source.properties["PRODUCT_ID"] == score.properties["SOURCE_PRODUCT_ID"]
    assert source.properties["system:time_start"] == score.properties["system:time_start"]


def sky_samples(planet, name: str, day: dt.date):
    """Cloud masks, the sky and the truth at spots of half-cloudy scenes: dict of 1-D arrays."""
    site = named(name)
    world = next(w for w in planet._worlds if w.site is site)
    found: dict[str, list[np.ndarray]] = {k: [] for k in ("cs", "cs_cdf", "p", "alpha", "shadow", "excess", "label")}
    some = [s for s in scenes(planet, SCORE, site, ms_of(day), ms_of(day) + 60 * 86_400_000)
            if 10 < s.overpass.cover < 90]
    for scene in some[:4]:
        twin = planet.image(scene.id.replace(SCORE, PROBABILITY))
        for dx in range(-20_000, 21_000, 10_000):
            window = window_at(scene, "cs", site.center[0] + dx, site.center[1] + dx / 2, 100)
            if min(window.row, window.col) < 0 or max(window.row, window.col) > 10_870:
                continue
            o = scene.overpass
            sky = o.sky(o.box(window, 10), 1)
            if sky is None:
                continue
            read = scene.read(("cs", "cs_cdf"), window)
            valid = read["cs"][1]
            valid = np.ones((100, 100), bool) if valid is None else valid
            parts = {"cs": read["cs"][0], "cs_cdf": read["cs_cdf"][0], "alpha": sky.alpha, "shadow": sky.shadow,
                     "p": twin.read(("probability",), window)["probability"][0], "excess": sky.excess,
                     "label": world.landscape.label(o.box(window, 10), o.flight.day)}
            for key, values in parts.items():
                found[key].append(values[valid])
    return {k: np.concatenate(v) for k, v in found.items()}


def test_cloud_masks_see_the_sky_and_err(planet):
    """At the thresholds in use (0.60 for Cloud Score+, 65 % for s2cloudless) both are good, and each fails its way."""
    s = sky_samples(planet, "hesse", dt.date(2021, 5, 1))
    thick, clear, dark = s["alpha"] > 0.95, (s["excess"] < -0.2) & (s["shadow"] == 0), s["shadow"] > 0.95
    dark &= s["alpha"] == 0
    thin = (s["alpha"] > 0.2) & (s["alpha"] < 0.4)
    assert min(x.sum() for x in (thick, clear, dark, thin)) > 1_000
    for band in ("cs", "cs_cdf"):
        assert s[band].dtype == np.float32
        assert 0 <= s[band].min() < s[band].max() <= 1
        assert (s[band][thick] < 0.6).mean() > 0.99
        assert (s[band][clear] > 0.6).mean() > 0.99
        assert (s[band][dark] < 0.6).mean() > 0.75  # Cloud Score+ sees shadows, mostly
    assert s["p"].dtype == np.uint8
    assert (s["p"][thick] > 65).mean() > 0.95
    assert 0.9 < (s["p"][clear] < 65).mean() < 1.0
    assert (s["p"][dark] < 65).mean() > 0.9  # s2cloudless knows no shadows
    assert (s["p"][thin] < 65).mean() > 0.8  # and lets thin cloud pass
    assert (s["cs"][thin] < 0.75).mean() > 0.8  # where Cloud Score+ is warned


def test_bright_ground_passes_for_cloud(planet):
    """s2cloudless takes roofs and snow for cloud now and then, woods hardly ever."""
    s = sky_samples(planet, "hesse", dt.date(2021, 6, 1))
    cold = sky_samples(planet, "hardangervidda", dt.date(2021, 3, 15))
    clear, white = s["excess"] < -0.2, (cold["excess"] < -0.2) & (cold["label"] == SNOW)
    wrong = {k: (s["p"][clear & (s["label"] == k)] > 40).mean() for k in (TREES, BUILT)}
    assert (clear & (s["label"] == BUILT)).sum() > 500
    assert wrong[TREES] < 0.01 < 0.03 < wrong[BUILT] < 0.4
    assert white.sum() > 5_000
    assert (cold["p"][white] > 40).mean() > 0.2


# ---- annotated tiles -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def drawn(planet) -> list[AnnotationScene]:
    """A few sites' annotated tiles; all sites' take 2 s."""
    return [tile for world in planet._worlds if world.site.name in ("hesse", "pampas", "sundarbans")
            for tile in world.annotated]


def test_annotated_tiles_lie_as_their_ids_say():
    """The one tile whose outline is public: EPSG:32720, x 458460..463560, y 9565330..9570430."""
    site = Site("x", 1, "x", 0, "x", -63.35, -3.9, SITES[0].recipe)
    assert center_of(site, -63.3512901800, -3.9093045532) == (461_010, 9_567_880)
    assert point_of("label_dw_-63p3512901800_-3p9093045532-20190812") == (-63.3512901800, -3.9093045532)
    assert point_of("dw_-63.35_-3.9-20190812") is None


def test_annotated_tiles_have_the_rows_of_the_real_collection(planet, drawn):
    for tile in drawn:
        p = tile.properties
        site = tile.annotation.overpass.granule.site
        assert tile.id == f"{DRAWN}/{p['system:index']}"
        assert p["dw_id"] == f"dw_{p['lon']:.10f}_{p['lat']:.10f}-{p['date'].replace('-', '')}"
        assert p["system:index"] == "label_" + p["dw_id"].replace(".", "p")
        assert p["system:time_start"] == p["timestamp"] == ms_of(dt.date.fromisoformat(p["date"]))
        assert p["system:time_end"] - p["system:time_start"] == 86_400_000
        assert (p["biome"], p["biome_name"], p["crs"]) == (site.biome, BIOMES[site.biome], f"epsg:{site.epsg}")
        assert p["eco_region"] == site.ecoregion
        (spec,) = tile.bands
        assert (spec.id, spec.width, spec.height, spec.pyramid, spec.crs) == ("lulc", 510, 510, "mode",
                                                                              p["crs"].upper())
        x, y = center_of(site, p["lon"], p["lat"])
        assert spec.transform == (10, 0, x - 2_550, 0, -10, y + 2_550)
        assert int((p["lon"] + 180) // 6) + 1 == site.zone
        assert p["S2_LEVEL"] in ("1C", "2A")
        assert p["S2_PRODUCT_ID"].split("_")[5] == "T" + p["S2_GRID"]
        assert p["S2_DATASTRIP_ID"].startswith(p["S2_PRODUCT_ID"][:3] + "_OPER_MSI_L")
    again = planet.image(drawn[30].id)
    assert again is not None
    assert again.properties == drawn[30].properties
    assert planet.asset_type(drawn[30].id) == "IMAGE"
    assert planet.asset_type(DRAWN) == "IMAGE_COLLECTION"
    assert planet.image(drawn[30].id[:-1] + "0") is None
    site = named("pampas")
    there = planet.scenes(DRAWN, ms_of(dt.date(2019, 1, 1)), ms_of(dt.date(2019, 7, 1)), around(site, 0.5))
    assert there
    assert {t.properties["eco_region"] for t in there} == {"Humid Pampas"}
    assert all(t.properties["date"].startswith("2019-0") for t in there)


def test_the_scene_of_an_annotated_tile_is_there_and_holds_it(planet, drawn):
    for tile in drawn:
        p = tile.properties
        index = p.get("S2_GEE_ID")
        if not index:
            continue
        scene = planet.image(f"{SR if p['S2_LEVEL'] == '2A' else TOA}/{index}")
        assert scene is not None
        assert scene.properties["PRODUCT_ID"] == p["S2_PRODUCT_ID"]
        assert scene.properties["MGRS_TILE"] == p["S2_GRID"]
        assert day_of(scene.properties["system:time_start"]).isoformat() == p["date"]
        window = tile.annotation.window
        sx, _, tx, _, _, ty = spec_of(scene, "B4").transform
        _, _, left, _, _, top = tile.bands[0].transform
        assert (tx + sx * window.col, ty - sx * window.row) == (left, top)
        assert 0 <= min(window.row, window.col) <= max(window.row, window.col) <= 10_980 - 510
        assert scene.overpass.valid(window, 10) is None


def test_every_biome_has_annotated_tiles_by_all_three(planet):
    tiles = planet.scenes(DRAWN)
    by_biome = {b: [t for t in tiles if t.properties["biome"] == b] for b in BIOMES}
    assert min(map(len, by_biome.values())) >= 20
    assert len({t.id for t in tiles}) == len(tiles)
    for found in by_biome.values():
        kinds = {t.properties["folder"].split("/")[3] for t in found}
        assert kinds == {"Validation", "Experts", "WorkForce"}
    years = [t.properties["date"][:4] for t in tiles]
    assert set(years) == {"2017", "2018", "2019"}
    assert years.count("2019") > 0.8 * len(years)
    empty = [t.properties.get("S2_GEE_ID", "absent") for t in tiles]
    assert 0 < empty.count("") < 0.1 * len(tiles)
    assert 0 < empty.count("absent") < 0.1 * len(tiles)
    starts = [t.properties["system:time_start"] for t in tiles]
    assert starts == sorted(starts)


def test_drawings_are_like_people_s(planet, drawn):
    from scipy.ndimage import label as components
    marked, clouds = [], 0
    for tile in drawn[::5]:
        a = tile.annotation
        (codes, valid), = tile.read(("lulc",), Window(0, 0, 510, 510)).values()
        assert codes.dtype == np.uint8
        assert codes.max() <= 10
        assert np.array_equal(valid, codes > 0) if valid is not None else codes.all()
        p = tile.properties
        assert p["NBPixels"] == (codes > 0).sum()
        for code, name in enumerate(SHARES, 1):
            assert p[name] == pytest.approx((codes == code).sum() / p["NBPixels"])
        assert sum(p[name] for name in SHARES) == pytest.approx(1)
        if tile is drawn[0]:
            part = read_fresh(tile.id, ("lulc",), Window(100, 37, 21, 300))["lulc"]
            assert np.array_equal(part[0], codes[100:121, 37:337])
        # nothing smaller than 5 x 5 pixels was drawn
        sizes = np.concatenate([np.bincount(components(codes == k)[0].ravel())[1:] for k in range(11)])
        assert sizes[sizes < 25].sum() < 0.002 * codes.size
        truth = a.overpass.landscape.label(a.overpass.box(a.window, 10), a.overpass.flight.day)
        edges = [np.mean(m[:, 1:] != m[:, :-1]) for m in (truth, codes)]
        assert edges[1] < 0.05
        assert edges[1] < max(0.7 * edges[0], 0.03)  # outlines are rounder than the land's
        marked.append(p["NBPixels"] / codes.size)
        clouds += int((codes == 10).sum())
    assert clouds > 0
    assert 0.4 < min(marked) < max(marked) < 1
    assert 0.7 < np.mean(marked) < 0.95


def test_experts_draw_better_than_others(drawn):
    """The same tiles by each: three experts' consensus is nearest to the truth, at the price of unmarked places."""
    right = {kind: 0 for kind in (VALIDATION, EXPERT, NON_EXPERT)}
    known = dict(right)
    for tile in drawn[2::12]:
        o = tile.annotation.overpass
        truth = o.landscape.label(o.box(tile.annotation.window, 10), o.flight.day)
        for kind in right:
            label = annotation_to_label(AnnotationScene(replace(tile.annotation, labeler=kind), Cache(0)).codes())
            known[kind] += int((label != IGNORE).sum())
            right[kind] += int((label == truth).sum())
    share = {kind: right[kind] / known[kind] for kind in right}
    assert share[NON_EXPERT] + 0.03 < share[EXPERT] < share[VALIDATION] - 0.03
    assert 0.65 < share[NON_EXPERT] < 0.9
    assert known[VALIDATION] < known[EXPERT]


def test_listing_annotated_tiles_draws_none(planet):
    """The shares of the classes cost pixels: a filter by biome or date must not pay for them."""
    tile = next(t for world in Planet()._worlds if world.site.name == "sonora" for t in world.annotated)
    p = tile.properties
    assert "Water" in p
    assert p.get("biome") == 13
    assert p.get("nothing") is None
    assert tile.id not in tile._drawn._items
    assert 0 <= p["Water"] <= 1
    assert tile.id in tile._drawn._items
    assert set(SHARES) | {"NBPixels", "dw_id"} <= set(dict(p)) == set({**p}) == set(p.keys())
    with pytest.raises(KeyError):
        p["nothing"]
