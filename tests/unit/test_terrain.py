"""Slopes and speckle: against formulas of their own, on a cone, on gamma distributed noise, on the planet's relief."""

from __future__ import annotations

import dataclasses

import ee
import numpy as np
import pytest

from dwplus.earth import connect, pixels
from dwplus.earth.images import extras, sentinel1, speckle, terrain
from dwplus.embedded_earth.planet import Planet
from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.spec import make_spec
from dwplus.spec.extras import GLO30, SRTM

SIZE = 96
CONE = PixelGrid(32632, 500_000.0, 5_700_000.0, 10.0, SIZE, SIZE)
#: Right of flight, degrees clockwise from north: the look of an ascending and of a descending pass at 50 N.
LOOKS = {"ascending": 78.0, "descending": 282.0}


@pytest.fixture(scope="module")
def session():
    return connect()


def bands(session, image, names, grid):
    found = pixels.fetch(session, image.rename(list(names)).toFloat(), grid, np.dtype([(n, "f4") for n in names]))
    return [found[n].astype("f8") for n in names]


def cone():
    """Metres: flanks of 25 degrees around the middle of the grid, as an image and as an array with its gradient."""
    x = 10 * (np.arange(-1, SIZE + 1) + 0.5) - 480
    x, y = np.meshgrid(x, -x)
    fall = np.tan(np.radians(25))
    at = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632")).subtract(
        ee.Image.constant([CONE.x0 + 480, CONE.y0 - 480]))
    image = at.pow(2).reduce(ee.Reducer.sum()).sqrt().multiply(-fall).add(500)
    z = 500 - fall * np.hypot(x, y)
    flank = np.hypot(x, y)[1:-1, 1:-1] > 60  # the tip has no slope
    return image, (z[1:-1, 2:] - z[1:-1, :-2]) / 20, (z[:-2, 1:-1] - z[2:, 1:-1]) / 20, flank


def angle_seen(look):
    """Incidence angle, degrees, growing away from the sensor as across a swath."""
    east, north = np.sin(np.radians(look)), np.cos(np.radians(look))
    at = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632"))
    return at.select("x").subtract(CONE.x0).multiply(east).add(
        at.select("y").subtract(CONE.y0).multiply(north)).multiply(6e-5).add(38).toDouble()


@pytest.mark.parametrize("way", LOOKS)
def test_the_cone_from_both_passes(session, way):
    """The flank that faces the sensor looks too bright, so its factor is above 1; all by vectors, without aspects."""
    height, east, north, flank = cone()
    angle = angle_seen(LOOKS[way])
    view = terrain.view(angle, height)
    names = ("theta", "local", "volume", "surface")
    theta, local, volume, surface = bands(session, ee.Image.cat(
        angle, view.local_incidence(), view.factor("volume"), view.factor("surface")), names, CONE)
    look = np.radians(LOOKS[way])
    theta = np.radians(theta)
    rise, side = (east * np.sin(look) + north * np.cos(look)), (-east * np.cos(look) + north * np.sin(look))
    ray = np.stack([np.sin(theta) * np.sin(look), np.sin(theta) * np.cos(look), -np.cos(theta)])
    normal = np.stack([-east, -north, np.ones_like(east)]) / np.sqrt(1 + east**2 + north**2)
    wanted = np.degrees(np.arccos(-(ray * normal).sum(axis=0)))
    assert np.abs(local - wanted)[flank].max() < 0.02
    towards = theta - np.arctan(rise)
    formulas = {"volume": np.tan(np.pi / 2 - towards) / np.tan(np.pi / 2 - theta),
                "surface": np.cos(np.pi / 2 - theta) / (np.cos(np.arctan(side)) * np.cos(np.pi / 2 - towards))}
    for found, right in ((volume, formulas["volume"]), (surface, formulas["surface"])):
        assert np.abs(10 * np.log10(found / right))[flank].max() < 0.01
        bright, dark = found[flank & (rise > 0.3)], found[flank & (rise < -0.3)]
        assert bright.min() > 1 > dark.max()
    # The sensor of an ascending pass stands in the west.
    middle = SIZE // 2
    assert (volume[middle, 10] > volume[middle, -10]) == (way == "ascending")


def test_level_ground_is_kept_though_it_has_no_aspect(session, monkeypatch):
    """As a service that masks the aspect of level ground would have it: factors are 1, nothing is lost."""
    aspect = ee.Terrain.aspect
    monkeypatch.setattr(ee.Terrain, "aspect", lambda image: aspect(image).updateMask(ee.Terrain.slope(image).gt(0)))
    view = terrain.view(angle_seen(78.0), ee.Image.constant(300).toFloat())
    image = ee.Image.cat(view.factor("volume"), view.factor("surface"), view.layover_shadow()).unmask(-1, False)
    for found, wanted in zip(bands(session, image, ["volume", "surface", "codes"], CONE), (1, 1, 0), strict=True):
        assert np.abs(found - wanted).max() < 1e-6


# ------------------------------------------------------------------------------------------------------ the planet


HILLS = PixelGrid(32610, 586_660.0, 4_939_750.0, 10.0, 128, 128)
#: One pass each over the hills of the Cascades.
PASSES = {"ascending": "S1A_IW_GRDH_1SDV_20210602T020930_20210602T020955_038155_055AC5_1944",
          "descending": "S1B_IW_GRDH_1SDV_20210603T140135_20210603T140200_027193_04FC0B_6148"}


@pytest.fixture(scope="module")
def seen(session):
    """(pass, flatten) -> gamma nought of VV and VH in dB; (pass, "rise") -> the slope towards range that the planet's
    radar sees, not that of the elevation model; and the woods that neither pass hides."""
    land = next(world for world in Planet()._worlds if world.site.name == "cascades").landscape
    east, north = land.slopes(land.box(HILLS.x0, HILLS.y0, *HILLS.shape))
    height = extras.elevation(extras.area_of(HILLS))
    truth, = bands(session, ee.ImageCollection("SAMPLE/TRUTH").mosaic().select(["label"]), ["truth"], HILLS)
    woods, out = truth == 1, {}
    for way, index in PASSES.items():
        angle = ee.Image(f"{sentinel1.COLLECTION}/{index}").select("angle").resample("bilinear")
        view = terrain.view(angle, height)
        theta, towards, codes = bands(session, ee.Image.cat(view.theta, ee.Terrain.aspect(angle),
                                                            view.layover_shadow()), ["theta", "to", "codes"], HILLS)
        towards = np.radians(towards.mean())  # to the sensor: ground that faces it rises the other way
        woods, out[way, "rise"] = woods & (codes == 0), -east * np.sin(towards) - north * np.cos(towards)
        for flatten in ("none", "volume", "surface"):
            image = sentinel1.backscatter([index], dtype="float32",
                                          ground=dataclasses.replace(sentinel1.PLAIN, flatten=flatten, height=height))
            found = np.stack(bands(session, image, ["VV", "VH"], HILLS))
            assert ((found == -9999) == (codes > 0)).all() or flatten == "none"
            out[way, flatten] = found - (10 * np.log10(np.cos(theta)) if flatten == "none" else 0)
    return out, woods


def explained(decibels, rise):
    """Variance of the means of twenty classes of slope, dB squared."""
    edges = np.quantile(rise, np.linspace(0, 1, 21))
    each = np.digitize(rise, edges[1:-1])
    means, share = (np.array([decibels[each == i].mean() for i in range(20)]), np.bincount(each) / len(each))
    return float((share * (means - share @ means) ** 2).sum())


@pytest.mark.parametrize("flatten", ["volume", "surface"])
def test_slopes_explain_a_fifth_at_most_and_passes_agree_better(seen, flatten):
    found, woods = seen
    assert woods.sum() > 3000
    for way in PASSES:
        for band in range(2):
            before, after = (explained(found[way, name][band][woods], found[way, "rise"][woods])
                             for name in ("none", flatten))
            assert before > 3 and after < 0.2 * before
    apart = {name: (found["ascending", name][0] - found["descending", name][0])[woods].std()
             for name in ("none", flatten)}
    assert apart[flatten] < 0.6 * apart["none"]


def test_slopes_of_the_other_elevation_model(session):
    """SRTM has whole metres: the same slopes but for its steps, and none of layover's codes far from GLO-30's."""
    here, index = extras.area_of(HILLS), PASSES["descending"]
    angle = ee.Image(f"{sentinel1.COLLECTION}/{index}").select("angle").resample("bilinear")
    one, other = (bands(session, ee.Image.cat(view.rise, view.factor("volume").log10().multiply(10)),
                        ["rise", "factor"], HILLS) for view in (
        terrain.view(angle, extras.elevation(here, model)) for model in (GLO30, SRTM)))
    assert np.abs(one[0] - other[0]).max() > 0 and np.degrees(np.abs(one[0] - other[0]).mean()) < 1
    assert np.corrcoef(one[0].ravel(), other[0].ravel())[0, 1] > 0.99
    assert np.median(np.abs(one[1] - other[1])) < 0.3


def test_layover_and_shadow_grow_by_the_buffer(session):
    height = extras.elevation(extras.area_of(HILLS))
    view = terrain.view(ee.Image(f"{sentinel1.COLLECTION}/{PASSES['descending']}").select("angle").resample("bilinear"),
                        height)
    bare, grown = bands(session, ee.Image.cat(view.layover_shadow(), view.layover_shadow(50)), ["bare", "grown"], HILLS)
    assert set(np.unique(bare)) <= {0, 1, 2} and 0 < (bare > 0).sum() < (grown > 0).sum() < HILLS.shape[0] ** 2
    assert (grown[bare > 0] > 0).all()


# --------------------------------------------------------------------------------------------------------- speckle


LOOKS_OF_NOISE = 4


def noise():
    """Gamma distributed power of four looks and mean 1: means of four exponential draws."""
    draws = [ee.Image.random(seed).log().multiply(-1) for seed in range(1, 2 * LOOKS_OF_NOISE + 1)]
    one, other = (ee.Image.cat(*draws[i::2]).reduce(ee.Reducer.mean()) for i in range(2))
    return ee.Image.cat(one, other).rename(["VV", "VH"])


@pytest.mark.parametrize("name", sorted(speckle.FILTERS))
def test_looks_before_and_after_edges_and_nodata(session, name):
    """On even ground the looks grow and the mean stays; an edge of 10 dB stays where it is; what is masked stays so and
    spreads nowhere."""
    column = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632")).select("x").subtract(CONE.x0)
    bright = column.gte(480).multiply(9).add(1)
    hole = column.gte(200).And(column.lt(240))
    power = noise().multiply(bright).updateMask(hole.Not())
    filtered = speckle.FILTERS[name](power, 7, LOOKS_OF_NOISE)
    before, after = (bands(session, image.unmask(-1).toFloat(), ["VV", "VH"], CONE)[0] for image in (power, filtered))
    assert ((after == -1) == (before == -1)).all() and (after[:, 20:24] == -1).all()

    def looks(values):
        return values.mean() ** 2 / values.var()

    even = np.s_[:, 27:44]
    assert looks(before[even]) == pytest.approx(LOOKS_OF_NOISE, rel=0.15)
    assert looks(after[even]) > (3 if name == "refined-lee" else 4) * looks(before[even])
    assert after[even].mean() == pytest.approx(before[even].mean(), rel=0.03)
    if name != "boxcar":
        dark, light = after[:, 46].mean(), after[:, 49].mean()  # one and two pixels beside the edge
        assert light > 4 * dark and abs(dark - 1) < 1.5


def test_filters_by_hand(session):
    """The middle of the grid against formulas in NumPy."""
    x = bands(session, noise(), ["VV", "VH"], CONE)[0]
    row, col = 50, 60
    window = x[row - 3:row + 4, col - 3:col + 4]
    mean, noisy = window.mean(), 1 / 3.0
    spread = window.var() / mean**2
    weight = max(0.0, (1 - noisy / spread) / (1 + noisy))
    alpha = (1 + noisy) / max(spread - noisy, noisy / 1000)
    free = alpha - 3.0 - 1
    between = (free * mean + np.sqrt((free * mean) ** 2 + 4 * alpha * 3.0 * mean * x[row, col])) / (2 * alpha)
    wanted = {"boxcar": mean, "lee": mean + weight * (x[row, col] - mean),
              "gamma-map": mean if spread <= noisy else x[row, col] if spread >= 2 * noisy else between}
    for name, value in wanted.items():
        found = bands(session, speckle.FILTERS[name](noise(), 7, 3.0), ["VV", "VH"], CONE)[0][row, col]
        assert found == pytest.approx(value, rel=1e-3), name


def refined_by_hand(window, looks):
    """Lee 1981 for the middle of a window of 7 x 7, its halves by triangles and slices."""
    full, below = np.ones((7, 7), bool), np.tri(7, dtype=bool)
    right, lower = np.arange(7) >= 3 * full, (np.arange(7) >= 3)[:, None] & full
    middle, strongest, chosen = window[2:5, 2:5].mean(), -1.0, None
    for half in (right, below, lower, below[:, ::-1]):
        sides = [window[half], window[half[::-1, ::-1]]]
        apart = abs(sides[0].mean() - sides[1].mean())
        if apart > strongest:
            strongest, chosen = apart, min(sides, key=lambda side: abs(side.mean() - middle))
    mean, spread = chosen.mean(), chosen.var() / chosen.mean() ** 2
    return mean + max(0.0, (1 - 1 / looks / spread) / (1 + 1 / looks)) * (window[3, 3] - mean)


def test_refined_lee_by_hand_beside_edges_of_all_directions(session):
    """On noise with a bright square turned by 30 degrees, whose sides and corners run every way."""
    at = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632"))
    x, y = at.select("x").subtract(CONE.x0 + 480), at.select("y").subtract(CONE.y0 - 480)
    turned = [x.multiply(a).add(y.multiply(b)).abs() for a, b in ((0.866, 0.5), (-0.5, 0.866))]
    power = noise().multiply(turned[0].max(turned[1]).lt(200).multiply(9).add(1))
    given, found = (bands(session, image, ["VV", "VH"], CONE)[0] for image in (
        power, speckle.FILTERS["refined-lee"](power, 7, 3.0)))
    wanted = [[refined_by_hand(given[r - 3:r + 4, c - 3:c + 4], 3.0) for c in range(20, 76)] for r in range(20, 76)]
    assert np.abs(10 * np.log10(found[20:76, 20:76] / wanted)).max() < 0.01


# ----------------------------------------------------------------------------------------------------------- specs


BASE = {"name": "hills", "region": {"bbox": [-121.93, 44.56, -121.87, 44.62]},
        "windows": [["2021-06-01", "2021-07-01"]]}


def test_what_cannot_be_is_said():
    for radar, words in (({"speckle_window": 6}, "odd"), ({"speckle": "refined-lee", "speckle_window": 9}, "7 pixels"),
                         ({"terrain": "flattened", "policy": "mean", "average": "db"}, "linear"),
                         ({"keep": ["layover_shadow"], "policy": "mean"}, "no mean"),
                         ({"keep": ["layover_shadow", "layover_shadow"]}, "twice"), ({"terrain": "flat"}, "terrain")):
        with pytest.raises(InputError, match=words):
            make_spec(BASE | {"sentinel1": radar})


def test_a_plain_spec_does_not_speak_of_it():
    text = make_spec(BASE).to_json()
    assert "speckle" not in text and "terrain" not in text and '"keep"' not in text
    spec = make_spec(BASE | {"sentinel1": {"keep": ["layover_shadow", "local_incidence"], "keep_angle": True}})
    assert spec.s1_bands == ("VV", "VH", "angle", "local_incidence", "layover_shadow")
    assert type(spec).from_json(spec.to_json()) == spec
