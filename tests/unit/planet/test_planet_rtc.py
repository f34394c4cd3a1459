"""RTC-S1 of the planet: bursts of 30 m, gamma nought that slopes explain little of, codes by the relief itself."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import numpy as np
import pytest
import shapely

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import Planet, rtc
from dwplus.embedded_earth.planet.landscape import TREES
from dwplus.embedded_earth.planet.orbits import ms_of
from dwplus.embedded_earth.planet.sentinel1 import ANGLES
from dwplus.embedded_earth.planet.terrain import area_gain, local_incidence
from tests.unit.planet.conftest import END, S1, START, around, named, read_fresh, scenes, window_at

CASCADES = named("cascades")


def at(planet, site, x, y, start=START, end=END):
    """Bursts that hold a point of a site's grid, metres."""
    return [s for s in scenes(planet, rtc.COLLECTION, site, start, end, 0.4)
            if s.burst.outline.contains(shapely.Point(x, y).buffer(3_000))]


@pytest.fixture(scope="module")
def hill(planet):
    """A burst over the Cascades, a window of it, and the slopes of its cells: metres per metre, in look and flight."""
    x, y = CASCADES.center
    scene = at(planet, CASCADES, x, y)[0]
    window = window_at(scene, "VV", x - 3_000, y + 3_000, 150)
    x0, y0, _, _ = scene.burst.grid
    land = scene.landscape
    box = land.box(x0 + 30 * window.col, y0 - 30 * window.row, 450, 450)
    cover = land.cover(box, scene.flight.day)
    here = cover.patch.box.slices(box)
    east, north = (slope[here] / 100 for slope in (cover.patch.slope.east, cover.patch.slope.north))
    (lx, ly), (ax, ay) = scene.flight.track.across, scene.flight.track.along
    return scene, window, east * lx + north * ly, east * ax + north * ay, cover.label[here]


def angles_of(scene, window):
    """Incidence angle on the ellipsoid at the cells of 10 m, radians."""
    x0, y0, _, _ = scene.burst.grid
    x = x0 + 30 * window.col + 10 * (np.arange(3 * window.width) + 0.5)[None]
    y = y0 - 30 * window.row - 10 * (np.arange(3 * window.height) + 0.5)[:, None]
    (near, far), half = ANGLES["IW"], scene.flight.track.half_swath
    middle = scene.flight.track.from_middle(x, y)
    return np.radians((near + far) / 2 + middle * (far - near) / 2 / half)


def test_products_have_the_archives_form(planet):
    """One image a burst, 30 m on multiples of 30 m in the site's zone, properties as the catalogue lists them."""
    found = scenes(planet, rtc.COLLECTION, CASCADES)
    for one in found[:8]:
        vv, vh, mask = one.bands
        assert (vv.id, vh.id, mask.id) == ("VV", "VH", "mask") and (vv.precision, mask.precision) == ("float", "int")
        assert vv.crs == f"EPSG:{CASCADES.epsg}" and vv.transform[0] == 30 and not vv.transform[2] % 30
        said = one.properties
        assert said["BURST_ID"] == f"T{said['TRACK_NUMBER']:03d}-{one.burst.number:06d}-{said['SUB_SWATH_ID']}"
        assert said["BURST_ID"] in one.index and said["ORBIT_PASS_DIRECTION"] in ("ascending", "descending")
        assert said["INPUT_L1_SLC_GRANULES"][0].startswith(f"S1{one.flight.platform}_IW_SLC__1SDV_")
        assert not {"platform", "platform_number", "orbitProperties_pass"} & set(said)
        assert planet.image(one.id).index == one.index
    assert planet.asset_type(rtc.COLLECTION) == "IMAGE_COLLECTION"
    assert planet.image(f"{rtc.COLLECTION}/OPERA_L2_RTC-S1_x") is None


def test_bursts_of_three_swaths_begin_within_a_second_of_each_other(planet):
    """Neighbours in time are neighbours in the next sub-swath; all bursts of a pass cover the site without a hole."""
    site = named("hesse")
    one = [s for s in scenes(planet, rtc.COLLECTION, site, reach=0.5) if s.flight.platform == "A"]
    of_pass = [s for s in one if s.flight == one[0].flight]
    first, second = next((a, b) for a in of_pass for b in of_pass
                         if b.burst.swath == a.burst.swath + 1 and b.burst.number == a.burst.number)
    assert 0 < second.time - first.time < 1_100
    assert first.burst.outline.intersection(second.burst.outline).area > 1e7
    assert Counter(s.time // 1000 for s in one).most_common(1)[0][1] > 1
    west, south, east, north = site.square
    outlines = [b.outline for track, _ in planet._worlds[[w.site for w in planet._worlds].index(site)].s1[:1]
                for b in rtc.bursts(track, 0)]
    assert shapely.union_all(outlines).contains(shapely.box(west, south, east, north))


def test_codes_are_those_of_the_relief(hill):
    """Shadow where the ground falls steeper than the ray, layover where it rises steeper than the wave front: any cell
    of 10 m counts, and both are 3. The values there are no holes."""
    scene, window, rise, _, _ = hill
    theta = angles_of(scene, window)
    got = scene.read(("VV", "mask"), window)
    # an angle within an eighth of a degree, a slope within half a hundredth, of the limit may fall on either side
    sure = {}
    for code, reach in ((1, -rise - 1 / np.tan(theta)), (2, rise - np.tan(theta))):
        cells = reach.reshape(150, 3, 150, 3)
        sure[code] = (cells > 0.012).any(axis=(1, 3)), (cells < -0.012).all(axis=(1, 3))
    code = got["mask"][0]
    for bit, (yes, no) in sure.items():
        assert (code[yes] & bit).all() and not (code[no] & bit).any()
    assert (code > 0).sum() > 20
    assert got["mask"][1] is None and (got["VV"][0][code > 0] > 0).all()


def test_gamma_nought_is_power_over_the_area_seen(hill):
    """Of woods the mean over cells of one view: sigma nought of flat ground, moved by the class's slope with the local
    angle, over the cosine of the local angle; slopes explain a tenth of what they explain of GRD."""
    scene, window, rise, side, label = hill
    theta = angles_of(scene, window)
    cosine = (np.sin(theta) * rise + np.cos(theta)) / np.sqrt(1 + rise**2 + side**2)
    power, mask = (scene.read((name,), window)[name][0] for name in ("VV", "mask"))
    woods = (label == TREES).reshape(150, 3, 150, 3).all(axis=(1, 3)) & (mask == 0)
    lean = np.degrees(theta - np.arctan(rise)) - 38.25
    expected = (10 ** (-0.1 * lean / 10) / np.maximum(cosine, 0.05)).reshape(150, 3, 150, 3).mean(axis=(1, 3))
    ratio = 10 * np.log10(power[woods] / expected[woods])
    steep = rise.reshape(150, 3, 150, 3).mean(axis=(1, 3))[woods]
    bins = np.digitize(steep, np.quantile(steep, np.linspace(0, 1, 9)[1:-1]))
    means = np.array([ratio[bins == k].mean() for k in range(8)])
    assert np.ptp(means) < 0.7  # states of the woods, which differ from place to place, are left
    raw = np.array([10 * np.log10(power[woods][bins == k].mean()) for k in range(8)])
    grd = 10 ** (-0.1 * lean / 10) * np.clip(area_gain(np.degrees(theta), rise, side), 0.01, 10)
    grd = grd.reshape(150, 3, 150, 3).mean(axis=(1, 3))[woods]
    assert np.var(raw) < 0.2 * np.var([10 * np.log10(grd[bins == k].mean()) for k in range(8)])


def test_a_pixel_does_not_depend_on_the_window(hill):
    scene, window, *_ = hill
    part = Window(window.row + 5, window.col + 7, 11, 13)
    alone = read_fresh(scene.id, ("VH", "mask"), part)
    for name in ("VH", "mask"):
        np.testing.assert_array_equal(alone[name][0], scene.read((name,), window)[name][0][5:16, 7:20])


def test_outside_the_burst_there_is_nothing(hill):
    scene = hill[0]
    corner = scene.read(("VV", "mask"), Window(0, 0, 4, 4))
    assert (corner["mask"][0] == 255).all() and not corner["VV"][1].any()


def count(planet, site, start, end):
    span = ms_of(start), ms_of(end)
    flown = {(s.acquisition.flight.platform, s.acquisition.flight.day) for s in scenes(planet, S1, site, *span, 0.3)
             if s.acquisition.flight.track.mode == "IW"}
    made = {(s.flight.platform, s.flight.day) for s in scenes(planet, rtc.COLLECTION, site, *span, 0.3)}
    return flown, made


def test_not_every_pass_is_processed(planet):
    """From 2016-04-14, a part until 2022, nearly all since; of C from 2025-05-19 on, of D none."""
    site = named("hesse")
    flown, made = count(planet, site, dt.date(2015, 7, 1), dt.date(2016, 6, 1))
    assert min(day for _, day in made) >= dt.date(2016, 4, 14) > min(day for _, day in flown)
    flown, made = count(planet, site, dt.date(2019, 1, 1), dt.date(2020, 1, 1))
    assert 0.4 < len(flown & made) / len(flown) < 0.8
    flown, made = count(planet, site, dt.date(2023, 1, 1), dt.date(2024, 1, 1))
    assert len(flown & made) / len(flown) > 0.9
    flown, made = count(planet, site, dt.date(2025, 1, 1), dt.date(2026, 9, 1))
    assert min(day for name, day in made if name == "C") >= dt.date(2025, 5, 19)
    assert any(name == "D" for name, _ in flown) and not any(name == "D" for name, _ in made)


def test_some_bursts_are_listed_twice():
    found = Planet().scenes(rtc.COLLECTION, START, END, around(CASCADES, 0.3))
    often = Counter((s.flight, s.burst) for s in found)
    assert {1, 2} == set(often.values())
    again = next(key for key, number in often.items() if number == 2)
    one, two = (s for s in found if (s.flight, s.burst) == again)
    assert one.index != two.index and one.properties["BURST_ID"] == two.properties["BURST_ID"]


def test_static_layers_are_joined_by_burst(planet, hill):
    """Every burst of the archive has its layers; angles by vectors, factors by the area of the ground that is seen."""
    scene, window, rise, side, _ = hill
    layers = {one.properties["BURST_ID"]: one for one in planet.scenes(rtc.STATIC, bounds=around(CASCADES, 0.3))}
    assert {s.burst_id for s in scenes(planet, rtc.COLLECTION, CASCADES, reach=0.2)} <= set(layers)
    one = layers[scene.burst_id]
    assert [band.id for band in one.bands] == [*rtc.STATIC_BANDS, "mask"] and planet.image(one.id).index == one.index
    assert one.bands[0].transform == scene.bands[0].transform and one.time == ms_of(dt.date(2014, 4, 3))
    got = {name: found[0] for name, found in one.read((*rtc.STATIC_BANDS, "mask"), window).items()}
    np.testing.assert_array_equal(got["mask"], scene.read(("mask",), window)["mask"][0])
    theta = angles_of(scene, window)
    mean = {"theta": theta, "local": local_incidence(np.degrees(theta), rise, side)}
    flat, local = (values.reshape(150, 3, 150, 3).mean(axis=(1, 3)) for values in mean.values())
    assert np.abs(got["incidence_angle"] - np.degrees(flat)).max() < 0.01
    off = np.cos(np.radians(got["local_incidence_angle"])) - np.cos(np.radians(local))
    assert np.abs(off).max() < 0.015  # slopes are kept in hundredths
    gentle = (np.abs(rise) < 0.3).reshape(150, 3, 150, 3).all(axis=(1, 3))
    seen = np.cos(np.radians(mean["local"])) * np.clip(area_gain(np.degrees(theta), rise, side), 0, 10)
    seen = seen.reshape(150, 3, 150, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(got["rtc_anf_gamma0_to_sigma0"][gentle], seen[gentle], rtol=0.03)
    beta = got["rtc_anf_gamma0_to_beta0"] * np.sin(flat)
    np.testing.assert_allclose(beta, got["rtc_anf_gamma0_to_sigma0"], rtol=0.01)
    assert set(np.unique(got["number_of_looks"])) <= {15, 16, 17, 18, 19}
