"""WorldCover and annual embeddings of the planet: their form is the archive's, their content the planet's truth."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import Planet, embeddings, worldcover
from dwplus.embedded_earth.planet.sites import LATTICE_NORTH

PLANET = Planet()
SITE = next(world.landscape for world in PLANET._worlds if world.site.name == "hesse")


def scene(year=2021, site=SITE):
    x, y = site.site.center
    return next(found for found in PLANET.scenes(embeddings.COLLECTION) if found.year == year
                and found.landscape.site is site.site and found.west <= x < found.west + 163_840
                and found.north - 163_840 < y <= found.north)


def window_of(found, size=48):
    x, y = found.landscape.site.center
    return Window(int(found.north - y) // 10, int(x - found.west) // 10, size, size)


def vectors(found, window):
    return np.stack([found.read((name,), window)[name][0] for name in embeddings.BANDS])


def test_embeddings_have_the_archives_form():
    """64 bands of unit length at 10 m on squares of 163,840 m in UTM, a year each, 2017 to 2024."""
    found = PLANET.scenes(embeddings.COLLECTION)
    assert {one.year for one in found} == set(range(2017, 2025))
    one = scene()
    assert [band.id for band in one.bands] == [f"A{i:02d}" for i in range(64)]
    assert all((band.precision, band.width, band.transform[0]) == ("double", 16_384, 10) for band in one.bands)
    start = dt.datetime(2021, 1, 1, tzinfo=dt.UTC).timestamp() * 1000
    assert one.properties["system:time_start"] == start and one.properties["UTM_ZONE"] == "32N"
    length = np.sqrt((vectors(one, window_of(one)) ** 2).sum(axis=0))
    assert np.abs(length - 1).max() < 2e-4
    assert PLANET.image(one.id).index == one.index and PLANET.image(f"{embeddings.COLLECTION}/x0") is None


def test_a_pixel_does_not_depend_on_the_window():
    one = scene()
    whole = window_of(one)
    part = Window(whole.row + 7, whole.col + 11, 9, 5)
    np.testing.assert_array_equal(vectors(one, whole)[:, 7:16, 11:16], vectors(scene(), part))


def test_embeddings_tell_classes_and_change_with_the_year():
    """Pixels of one class are nearer to each other than to those of another; two years are alike and not the same."""
    one, window = scene(), window_of(scene(), 128)
    found = vectors(one, window).reshape(64, -1)
    box = SITE.box(one.west + 10 * window.col, one.north - 10 * window.row, 128, 128)
    label = SITE.label(box, dt.date(2021, 7, 15)).ravel()
    often = [k for k in range(9) if (label == k).sum() > 200]
    assert len(often) >= 2
    means = np.stack([found[:, label == k].mean(axis=1) for k in often])
    said = np.array(often)[(means @ found).argmax(axis=0)]
    counts = np.isin(label, often)
    assert 0.6 < (said == label)[counts].mean() < 0.99
    other = vectors(scene(2020), window).reshape(64, -1)
    assert 0.5 < (found * other).sum(axis=0).mean() < 0.95


def test_the_open_sea_has_no_embedding():
    coast = next(world.landscape for world in PLANET._worlds if world.site.recipe.coast is not None)
    south = coast.site.center[1] + coast.site.recipe.coast - 10_000
    one = next(found for found in PLANET.scenes(embeddings.COLLECTION) if found.landscape.site is coast.site
               and found.north - 163_840 < south - 100 < found.north and found.west <= coast.site.center[0]
               < found.west + 163_840)
    valid = one.read(("A00",), Window(int(one.north - south) // 10 - 4, int(coast.site.center[0] - one.west) // 10, 8,
                                      3))["A00"][1]
    assert valid[0].all() and not valid[-1].any()


@pytest.mark.parametrize(("collection", "year"), [("ESA/WorldCover/v100", 2020), ("ESA/WorldCover/v200", 2021)])
def test_worldcover_is_the_truth_with_errors(collection, year):
    (one,) = PLANET.scenes(collection)
    assert one.id == f"{collection}/{year}" and one.bands[0].transform[0] == 1 / 12_000
    window = Window(int((84 - SITE.site.lat) * 12_000), int((SITE.site.lon + 180) * 12_000), 80, 100)
    codes, valid = one.read(("Map",), window)["Map"]
    assert valid is None and set(np.unique(codes)) <= {10, 20, 30, 40, 50, 60, 70, 80, 90}
    lon, lat = SITE.site.lon, SITE.site.lat
    from dwplus.embedded_earth.planet.sites import to_utm

    cols, rows = window.col + np.arange(100) + 0.5, window.row + np.arange(80) + 0.5
    x, y = to_utm(SITE.site.epsg).transform(*np.meshgrid(-180 + cols / 12_000, 84 - rows / 12_000))
    assert abs(x.mean() - to_utm(SITE.site.epsg).transform(lon, lat)[0]) < 1_000
    box = SITE.box(x.min() // 10 * 10, y.max() // 10 * 10 + 10, 140, 140)
    label = SITE.label(box, dt.date(year, 7, 1))
    row, col = ((LATTICE_NORTH - y) // 10).astype(int) - box.row, (x // 10).astype(int) - box.col
    truth = np.array([80, 10, 30, 90, 40, 20, 50, 60, 70])[label[row, col]]
    assert 0.7 < (truth == codes).mean() < 0.97
    part = one.read(("Map",), Window(window.row + 9, window.col + 20, 11, 13))["Map"][0]
    np.testing.assert_array_equal(part, codes[9:20, 20:33])
    sea = one.read(("Map",), Window(0, 0, 4, 4))["Map"][1]
    assert not sea.any()


def test_worldcover_years_are_two_maps():
    assert set(worldcover.YEARS.values()) == {2020, 2021}
