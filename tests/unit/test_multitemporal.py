"""Speckle averaged over dates: against NumPy at a seam of slices, on noise, on the planet; passes chosen by rules."""

from __future__ import annotations

import json

import ee
import numpy as np
import pytest
import shapely

from dwplus.earth import connect, pixels
from dwplus.earth.images import sentinel1, speckle
from dwplus.errors import InputError
from dwplus.grid import PixelGrid, transformer
from dwplus.maps.plan import map_spec
from dwplus.planning import pairing
from dwplus.planning.pairing import Rules, pair_radar, passes
from dwplus.scenes.records import RadarScene, passes_of
from dwplus.spec import DatasetSpec, make_spec
from dwplus.spec.extras import GLO30, SRTM

#: Hesse where two slices of the ascending relative orbit 161 meet, and the same with three pixels around it.
X, Y = (round(v / 10) * 10.0 for v in transformer(4326, 32632).transform(9.2, 51.248335))
SEAM = PixelGrid(32632, X - 240, Y + 240, 10.0, 48, 48)
AROUND = PixelGrid(32632, X - 270, Y + 270, 10.0, 54, 54)


@pytest.fixture(scope="module")
def session():
    return connect()


@pytest.fixture(scope="module")
def dates(session):
    """Slices of each pass of that orbit from June 2021 on, two a pass."""
    found = sentinel1.scenes("ascending").filterDate("2021-06-01", "2021-08-01").filterBounds(
        ee.Geometry.Point([9.2, 51.248335]).buffer(500)).filter(ee.Filter.eq("relativeOrbitNumber_start", 161)).sort(
        "system:time_start")
    indices = session.compute(found.aggregate_array("system:index"))
    days = sorted({index[17:25] for index in indices})
    both = [[index for index in indices if index[17:25] == day] for day in days]
    both = [one for one in both if len(one) == 2]  # of some passes a slice is not there
    assert len(both) >= 8
    return both


def bands(session, image, grid):
    names = sentinel1.POLARISATIONS
    found = pixels.fetch(session, image.rename(list(names)).toFloat(), grid, np.dtype([(n, "f4") for n in names]))
    values = np.stack([found[name].astype("f8") for name in names])
    return np.where(values == sentinel1.NODATA["float32"], np.nan, values)


def box(power):
    """Means of 7 x 7 pixels without what is missing: (band, y + 6, x + 6) -> (band, y, x)."""
    windows = np.lib.stride_tricks.sliding_window_view(power, (7, 7), axis=(1, 2))
    return np.nanmean(windows, axis=(3, 4))


def by_hand(powers):
    """Quegan & Yu (2001) of the first of some dates, (band, y, x) each with three pixels around it."""
    inner = (slice(None), slice(3, -3), slice(3, -3))
    ratios = np.stack([power[inner] / box(power) for power in powers])
    own = powers[0][inner]
    return np.where(np.isnan(own), np.nan, box(powers[0]) * np.nanmean(ratios, axis=0)), np.isfinite(ratios).sum(axis=0)


def test_numpy_agrees_where_slices_meet(session, dates):
    """As one image: pixels of the seam see their neighbours of the other slice."""
    alone = [10 ** (bands(session, sentinel1.backscatter(one, dtype="float32"), AROUND) / 10) for one in dates[:5]]
    wanted, _ = by_hand(alone)
    found = bands(session, sentinel1.backscatter(
        dates[0], dtype="float32", ground=sentinel1.Ground(speckle="multitemporal"), further=dates[1:5]), SEAM)
    assert np.isfinite(wanted).mean() > 0.99 and (np.isnan(found) == np.isnan(wanted)).all()
    assert np.nanmax(np.abs(found - 10 * np.log10(wanted))) < 0.01
    one_slice = bands(session, sentinel1.backscatter(dates[0][:1], dtype="float32"), SEAM)
    assert 0.2 < np.isnan(one_slice[0]).mean() < 0.8


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_numpy_agrees_where_dates_miss_pixels(session, dates):
    """Each date without its own dark pixels: N differs by pixel, and what the first date lacks stays masked."""
    decibels = [sentinel1.backscatter(one[:1], dtype="float32") for one in dates[:5]]
    inside = PixelGrid(32632, AROUND.x0, AROUND.y0 - 2_000, 10.0, 54, 54)
    shown = PixelGrid(32632, SEAM.x0, SEAM.y0 - 2_000, 10.0, 48, 48)
    powers = [one.multiply(np.log(10) / 10).exp().updateMask(one.gt(ee.Image.constant([-10, -17]))) for one in decibels]
    arrays = [bands(session, one.unmask(sentinel1.NODATA["float32"], False), inside) for one in powers]
    wanted, counts = by_hand(arrays)
    filtered = speckle.multitemporal(powers[0], powers[1:], 7).updateMask(powers[0].mask())
    found = bands(session, filtered.log10().multiply(10).unmask(sentinel1.NODATA["float32"], False), shown)
    assert len(np.unique(counts[np.isfinite(wanted)])) > 3 and 0.05 < np.isnan(wanted).mean() < 0.6
    assert (np.isnan(found) == np.isnan(wanted)).all()
    assert np.nanmax(np.abs(found - 10 * np.log10(wanted))) < 0.01


# ------------------------------------------------------------------------------------------------------------- noise

CONE = PixelGrid(32632, 500_000.0, 5_700_000.0, 10.0, 96, 96)
DATES, LOOKS_OF_NOISE = 7, 4


def noise(date):
    """Gamma distributed power of four looks and mean 1, of its own in each date."""
    draws = [ee.Image.random(100 * date + seed).log().multiply(-1) for seed in range(1, 2 * LOOKS_OF_NOISE + 1)]
    one, other = (ee.Image.cat(*draws[i::2]).reduce(ee.Reducer.mean()) for i in range(2))
    return ee.Image.cat(one, other).rename(["VV", "VH"])


def looks(values):
    return values.mean() ** 2 / values.var()


def test_looks_edges_and_nodata(session):
    """On even ground the looks grow by nearly the number of dates and the mean stays; an edge of 10 dB stays between
    its two pixels; what is masked in the date stays so, and what is masked in others is missed by nothing."""
    column = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632")).select("x").subtract(CONE.x0)
    bright = column.gte(480).multiply(9).add(1)
    hole, elsewhere = (column.gte(first).And(column.lt(first + 40)) for first in (200, 700))
    own = noise(1).multiply(bright).updateMask(hole.Not())
    others = [noise(date).multiply(bright).updateMask(elsewhere.Not()) for date in range(2, DATES + 1)]
    before, after = (bands(session, image.unmask(-1), CONE)[0] for image in (
        own, speckle.multitemporal(own, others, 7).updateMask(own.mask())))
    assert ((after == -1) == (before == -1)).all() and (after[:, 20:24] == -1).all() and (after[:, 70:74] > 0).all()
    even = np.s_[:, 27:44]
    assert looks(before[even]) == pytest.approx(LOOKS_OF_NOISE, rel=0.15)
    assert looks(after[even]) > 0.75 * DATES * looks(before[even])
    assert after[even].mean() == pytest.approx(before[even].mean(), rel=0.03)
    # Where no other date has data, the date stays as it was.
    np.testing.assert_allclose(after[:, 70:74], before[:, 70:74], rtol=1e-5)
    dark, light = after[:, 47].mean(), after[:, 48].mean()
    assert dark == pytest.approx(1, rel=0.1) and light == pytest.approx(10, rel=0.1)


def test_what_one_date_alone_has_stays_its_own(session):
    """A square of 13 dB more: kept where the date has it; as faint as its share of the dates' ratios where it has
    not."""
    at = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632"))
    x, y = at.select("x").subtract(CONE.x0 + 480).abs(), at.select("y").subtract(CONE.y0 - 480).abs()
    square = x.max(y).lt(150).multiply(19).add(1)
    plain, changed = [noise(date) for date in range(2, DATES + 1)], noise(1).multiply(square)
    with_it = bands(session, speckle.multitemporal(changed, plain, 7), CONE)[0]
    without = bands(session, speckle.multitemporal(noise(2), [changed, *plain[1:]], 7), CONE)[0]
    middle = np.s_[38:58, 38:58]
    assert with_it[middle].mean() == pytest.approx(20, rel=0.1)
    assert without[middle].mean() == pytest.approx(1, rel=0.1) and without.max() < 3


def test_the_planets_speckle(session, dates):
    """Woods and fields of Hesse: speckle of 4.4 looks is most of the variance within a class, and most of it goes."""
    truth = bands(session, ee.ImageCollection("SAMPLE/TRUTH").mosaic().select(["label", "label"]), SEAM)[0]
    before, after = (10 ** (bands(session, image, SEAM)[0] / 10) for image in (
        sentinel1.backscatter(dates[3], dtype="float32"),
        sentinel1.backscatter(dates[3], dtype="float32", ground=sentinel1.Ground(speckle="multitemporal"),
                              further=[*dates[:3], *dates[4:7]])))
    most = np.bincount(truth.astype(int).ravel()).argmax()
    own = (truth == most) & np.isfinite(before)
    assert own.sum() > 500
    assert looks(after[own]) > 2 * looks(before[own])
    assert after[own].mean() == pytest.approx(before[own].mean(), rel=0.05)


# ------------------------------------------------------------------------------------------------------------ passes

GRID = PixelGrid(32631, 500000.0 - 2550, 5700000.0, 10.0, 510, 510)
LON, LAT = GRID.center
WIDE = shapely.box(LON - 1, LAT - 1, LON + 1, LAT + 1)
DAY, NOON = 86_400_000, 1_600_000_000_000
RULES = Rules(passes=4, least=4, pass_hours=24 * 30)


def radar(day, orbit=8, platform="A", shape=WIDE, name="", way="DESCENDING"):
    return RadarScene(name or f"{platform}{day:+.4f}{way[0]}{orbit}", NOON + round(day * DAY), way, orbit, platform,
                      shape)


def test_nearest_of_the_same_orbit_whatever_the_satellite():
    north = shapely.box(LON - 1, LAT + 2, LON + 1, LAT + 3)  # of the tile's own pass, and beside the tile
    scenes = [radar(1), radar(-5, platform="B"), radar(13), radar(7, platform="C"), radar(-11), radar(2, orbit=9),
              radar(-8, way="ASCENDING"), radar(1.0001, name="next slice", shape=north)]
    found = pair_radar(GRID.footprint(), NOON, passes(scenes), RULES)
    assert found.indices == ("A+1.0000D8",)
    # Days 13 and -11 are as far from day 1: the first by its index.
    assert found.further == (("B-5.0000D8",), ("C+7.0000D8",), ("A+13.0000D8",))
    # Plain rules look for none.
    assert pair_radar(GRID.footprint(), NOON, passes(scenes), Rules()).further == ()


def test_too_few_passes_have_their_reason():
    scenes = [radar(1), radar(-5), radar(7), radar(40)]  # the fourth is too far
    tile = GRID.footprint()
    assert pair_radar(tile, NOON, passes(scenes), RULES) is pairing.FEW_PASSES
    content = Rules(passes=4, least=3, pass_hours=24 * 30)
    assert len(pair_radar(tile, NOON, passes(scenes), content).further) == 2
    half = shapely.box(LON - 1, LAT - 1, LON, LAT + 1)
    assert pair_radar(tile, NOON, passes([radar(1), radar(-5, shape=half), radar(7)]), content) is pairing.FEW_PASSES
    # Of an orbit that is not known nobody can say which is the same.
    assert pair_radar(tile, NOON, passes([radar(d, orbit=-1) for d in (1, 7, 13)]), content) is pairing.FEW_PASSES


def test_slices_of_a_further_pass_stand_together():
    north, south = shapely.box(LON - 1, LAT, LON + 1, LAT + 1), shapely.box(LON - 1, LAT - 1, LON + 1, LAT)
    scenes = [radar(d + i / 3456, shape=shape, name=f"{d}{name}") for d in (1, 7) for i, (name, shape) in enumerate(
        (("n", north), ("s", south)))]
    found = pair_radar(GRID.footprint(), NOON, passes(scenes), Rules(passes=2, least=2, pass_hours=1000))
    assert len(found.further) == 1 and set(found.further[0]) == {"7n", "7s"}


def test_columns_are_read_back():
    assert passes_of("") == () and passes_of("a,b;c") == (("a", "b"), ("c",))


# ------------------------------------------------------------------------------------------------------------- specs

BASE = {"name": "hills", "region": {"bbox": [-121.93, 44.56, -121.87, 44.62]},
        "windows": [["2021-06-01", "2021-07-01"]]}


@pytest.mark.parametrize(("more", "words"), [
    ({"policy": "mean"}, "policy nearest"), ({"speckle_scenes": 1}, "greater than or equal to 2"),
    ({"speckle_least": 8}, "must not exceed speckle_scenes"), ({"speckle_looks": 3}, "leave speckle_looks out"),
    ({"speckle": "lee", "speckle_scenes": 5}, "is of speckle multitemporal, found speckle 'lee'"),
    ({"speckle": "none", "speckle_days": 5}, "is of speckle multitemporal"), ({"speckle_window": 6}, "odd")])
def test_what_cannot_be_is_said(more, words):
    with pytest.raises(InputError, match=words) as error:
        make_spec(BASE | {"sentinel1": {"speckle": "multitemporal", **more}})
    assert "\n" not in str(error.value)


def test_a_spec_says_it_only_where_it_is_asked():
    assert "speckle" not in make_spec(BASE).to_json()
    spec = make_spec(BASE | {"sentinel1": {"speckle": "multitemporal", "speckle_scenes": 5}})
    assert '"speckle_scenes": 5' in spec.to_json() and "speckle_days" not in spec.to_json()
    assert DatasetSpec.from_json(spec.to_json()) == spec and spec.sentinel1.least_scenes == 5


def test_a_map_looks_at_the_elevation_and_passes_of_the_training_data():
    trained = json.loads(make_spec(BASE | {
        "sentinel1": {"speckle": "multitemporal", "speckle_scenes": 5, "terrain": "flattened"},
        "elevation": SRTM}).to_json())
    spec = map_spec(make_spec(BASE), trained, 1)
    assert spec.elevation == SRTM and spec.sentinel1.multitemporal and spec.sentinel1.speckle_scenes == 5
    # What looks at no heights asks for no model of them.
    plain = json.loads(make_spec(BASE | {"extras": ["dem"], "elevation": SRTM}).to_json())
    assert map_spec(make_spec(BASE), plain, 1).elevation == GLO30
    assert map_spec(make_spec(BASE), plain, 1, ["dem"]).elevation == SRTM
