"""RTC-S1: bursts paired by pass, codes masked, power interpolated in linear units, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from dwplus.earth import connect, pixels
from dwplus.earth.images import rtc
from dwplus.errors import InputError
from dwplus.errors.reasons import Reason
from dwplus.grid import PixelGrid
from dwplus.planning import pairing
from dwplus.planning.pairing import Rejection, Rules, burst_passes, pair_radar, passes
from dwplus.scenes.records import RadarScene
from dwplus.spec import DatasetSpec, make_spec, radar

GRID = PixelGrid(32631, 500000.0 - 2550, 5700000.0, 10.0, 510, 510)
TILE = GRID.footprint()
LON, LAT = GRID.center
HOUR, TIME = 3_600_000, 1_600_000_000_000


def box(west=-1.0, south=-1.0, east=1.0, north=1.0):
    return shapely.box(LON + west, LAT + south, LON + east, LAT + north)


def grd(hours, footprint=None, platform="A", orbit=8):
    return RadarScene(f"S1{platform}_IW_GRDH_{hours:+.3f}", TIME + round(hours * HOUR), "DESCENDING", orbit, platform,
                      footprint or box())


def burst(hours, number, swath, footprint, platform="A", made="a", late=0.0, orbit=8):
    """A burst ``late`` seconds after the pass began."""
    name = f"T{orbit:03d}-{number:06d}-IW{swath}"
    return RadarScene(f"OPERA_L2_RTC-S1_{name}_{hours:+.3f}_{made}", TIME + round(hours * HOUR + late * 1000),
                      "DESCENDING", orbit, platform, footprint, name)


# West and east of a line through the tile, in two sub-swaths that begin in one second.
WEST, EAST = box(east=0.001), box(west=-0.001)


def test_bursts_of_one_second_are_one_pass_and_all_are_kept():
    """A key of satellite and second, as slices of GRD have it, would lose one of the two."""
    both = [burst(20, 100, 1, WEST, late=0.1), burst(20, 100, 2, EAST, late=0.9)]
    assert len({(s.platform, s.time_ms // 1000) for s in both}) == 1
    assert pair_radar(TILE, TIME, passes([RadarScene(*list(vars(s).values())[:6]) for s in both]), Rules()) is (
        pairing.S1_PARTIAL)
    one, = burst_passes([], both)
    found = pair_radar(TILE, TIME, [one], Rules())
    assert sorted(found.indices) == sorted(s.index for s in both) and found.count == 1 and found.coverage > 0.999


def test_a_burst_made_anew_counts_once_and_the_last_wins():
    old, new = burst(20, 100, 1, box(), made="a"), burst(20, 100, 1, box(), made="b")
    found = pair_radar(TILE, TIME, burst_passes([], [new, old]), Rules())
    assert found.indices == (new.index,)


def test_bursts_that_touch_are_taken_though_one_promises_to_cover():
    """Footprints may be a raster's box, larger than the burst's ground: what misses in one is its neighbour's."""
    first, second = burst(20, 100, 1, box()), burst(20, 101, 1, EAST, late=2.8)
    found = pair_radar(TILE, TIME, burst_passes([], [first, second]), Rules())
    assert found.indices == (first.index, second.index)
    slices = [grd(20), grd(20.006, EAST)]
    assert len(pair_radar(TILE, TIME, passes(slices), Rules()).indices) == 1


def test_a_pass_goes_on_where_orbits_are_numbered_anew():
    """At the ascending node the track's number changes between two bursts."""
    both = [burst(20, 1, 1, WEST, orbit=8), burst(20, 2, 1, EAST, late=2.8, orbit=9)]
    assert len(burst_passes([], both)) == 1


def test_the_nearest_pass_that_has_it_is_taken_and_the_share_is_counted():
    flown = [grd(h) for h in (-100, -50, 10, 30)]
    made = [burst(-50, 100, 1, box()), burst(30, 200, 1, box())]
    found = pair_radar(TILE, TIME, burst_passes(flown, made), Rules())
    assert found.gap_hours == pytest.approx(30) and (found.flown, found.processed) == (4, 2)
    assert found.indices == (made[1].index,) and found.platform == "A"


@pytest.mark.parametrize("made", [[], [burst(10, 100, 1, WEST)], [burst(400, 100, 1, box())]])
def test_passes_without_product_have_their_own_reason(made):
    """None at all, a part of the tile, out of reach."""
    found = pair_radar(TILE, TIME, burst_passes([grd(10), grd(-20)], made), Rules())
    assert found == Rejection(Reason.NO_RTC, 8, 2)


def test_where_nothing_flew_the_reasons_are_the_old_ones():
    assert pair_radar(TILE, TIME, burst_passes([], []), Rules()) is pairing.NO_S1
    assert pair_radar(TILE, TIME, burst_passes([grd(10, WEST)], [burst(10, 1, 1, WEST)]), Rules()) is pairing.S1_PARTIAL


def test_the_satellite_stands_in_the_input_or_the_name():
    slc = "S1C_IW_SLC__1SDV_20250601T000000_20250601T000027_002600_0056AB_1234"
    assert rtc.platform({"granules": [slc], "index": "x"}) == "C"
    index = "OPERA_L2_RTC-S1_T114-243014-IW1_20231213T121230Z_20231213T184607Z_S1A_30_v1_0"
    assert rtc.platform({"index": index}) == "A"
    assert rtc.platform({"index": "unknown"}) == ""


# ------------------------------------------------------------------------------------------------------------- pixels


@pytest.fixture
def world(tmp_path):
    """Two bursts of 12 x 12 pixels of 30 m, side by side with two columns in common, in an asset tree."""
    folder = tmp_path / radar.RTC
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    made = {}
    for name, left in (("one", 600_000), ("two", 600_300)):
        power = rng.gamma(4, 0.05, (2, 12, 12)).astype("float32") + 0.001
        codes = np.zeros((12, 12), "float32")
        if name == "one":
            codes[2, 2], codes[2, 6], codes[6, 2], codes[6, 6] = 1, 2, 3, 255
            power[:, codes > 0] = 1e6  # what is folded over may be bright
            power[1, 9, 3] = 0
        made[name] = power, codes
        with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", height=12, width=12, count=3, dtype="float32",
                           crs="EPSG:32631", transform=from_origin(left, 5_000_010, 30, 30)) as file:
            file.write(np.concatenate([power, codes[None]]))
            file.descriptions = ("VV", "VH", "mask")
        (folder / f"{name}.json").write_text(json.dumps({"bands": ["VV", "VH", "mask"], "properties": {
            "system:time_start": 1_600_000_000_000, "system:index": name}}))
    return tmp_path, made


def fetched(root, names, dtype="float32", side=60, x0=600_000.0):
    grid = PixelGrid(32631, x0, 5_000_010.0, 10.0, 36, side)
    bands = np.dtype([(name, "<f4" if dtype == "float32" else "<i2") for name in ("VV", "VH")])
    found = pixels.fetch(connect(world=str(root)), rtc.backscatter(names, dtype=dtype), grid, bands)
    return np.stack([found["VV"], found["VH"]])


def bilinear(power, rows, cols):
    """Power at fractional pixel centres, by NumPy alone; power (row, col)."""
    r, c = np.floor(rows).astype(int), np.floor(cols).astype(int)
    a, b = (rows - r)[:, None], (cols - c)[None]
    at = [power[np.ix_(r + i, c + j)] for i in (0, 1) for j in (0, 1)]
    return (at[0] * (1 - a) * (1 - b) + at[1] * (1 - a) * b + at[2] * a * (1 - b) + at[3] * a * b)


def test_power_is_interpolated_not_decibels(world):
    """Against NumPy, to 0.001 dB; interpolated dB are off by more than a dB somewhere."""
    root, made = world
    power, codes = made["one"]
    got = fetched(root, ["one"])
    # centres of the request's pixels 4..31 in pixels of 30 m
    where = (np.arange(4, 32) + 0.5) / 3 - 0.5
    for band, name in enumerate(("VV", "VH")):
        good = (codes == 0) & (power[band] > 0)
        sure = bilinear((~good).astype(float), where, where) == 0
        want = 10 * np.log10(bilinear(power[band].astype("float64"), where, where)[sure])
        have = got[band][4:32, 4:32][sure]
        assert np.abs(have - want).max() < 1e-3, name
        wrong = bilinear(10 * np.log10(np.maximum(power[band], 1e-9)), where, where)[sure]
        assert np.abs(have - wrong).max() > 1


def test_shadow_layover_both_and_invalid_are_masked(world):
    """All four codes in both bands, power of zero in its own band: all 30 m of the pixel, and no pixel more."""
    root, made = world
    got = fetched(root, ["one"])
    power, codes = made["one"]
    hidden = np.repeat(np.repeat((codes > 0)[None] | (power <= 0), 3, axis=1), 3, axis=2)
    assert hidden.sum() == 9 * (2 * 4 + 1)
    np.testing.assert_array_equal(got[:, :, :36] == -9999, hidden)
    assert got.max() <= 10 * np.log10(power[:, codes == 0].max()) + 1e-4  # no neighbour takes of it
    whole = fetched(root, ["one"], "int16")
    assert ((whole == -32768) == (got == -9999)).all()
    np.testing.assert_allclose(whole[whole > -32768] / 100, got[got > -9999], atol=0.0051)


def test_the_first_burst_lies_on_top(world):
    """Bursts overlap; where the first has data it is taken, elsewhere the second."""
    root, made = world
    one, both = fetched(root, ["one"]), fetched(root, ["one", "two"])
    seen = one > -9999
    np.testing.assert_array_equal(both[seen], one[seen])
    assert (both[:, 10:20, 40:60] > -9999).all() and (one[:, 10:20, 40:60] == -9999).all()
    assert (fetched(root, ["two", "one"])[:, 10:20, 31:35] != both[:, 10:20, 31:35]).any()


# ---------------------------------------------------------------------------------------------------------------- spec


def spec(radar_keys, **more):
    return make_spec({"name": "r", "region": {"bbox": [10, 50, 11, 51]}, "windows": [["2021-06-01", "2021-09-01"]],
                      "sentinel1": {"product": "rtc"} | radar_keys} | more)


@pytest.mark.parametrize(("keys", "words"), [
    ({"policy": "mean"}, "policy mean is of product grd, for bursts of RTC-S1 overlap"),
    ({"terrain": "flattened"}, "terrain flattened is of product grd, for RTC-S1 is flattened already"),
    ({"speckle": "lee"}, "speckle is of product grd, for pixels of 30 m are interpolated"),
    ({"product": "slc"}, "'grd' or 'rtc'"),
])
def test_keys_of_grd_are_refused(keys, words):
    with pytest.raises(InputError, match=words) as caught:
        spec(keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("more", "words"), [
    ({"windows": [["2016-01-01", "2016-04-01"]]}, "rtc begins with 2016-04-14, window 2016-01-01/2016-04-01 "),
    ({"quality": {"s1_edges": "angle"}}, "quality.s1_edges angle and both"),
    ({"quality": {"s1_edge_erode": 100}}, "s1_edge_erode"),
])
def test_dates_and_edges_are_refused(more, words):
    with pytest.raises(InputError, match=words):
        spec({}, **more)
    assert spec({}, windows=[["2016-04-01", "2016-04-10"]])  # the pass may come up to six days later


def test_a_spec_of_grd_keeps_its_text():
    plain = make_spec({"name": "plain", "region": "sample", "windows": [["2021-06-01", "2021-08-01"]]})
    assert "product" not in json.loads(plain.to_json())["sentinel1"]
    assert DatasetSpec.from_json(spec({}).to_json()) == spec({})
    assert radar.quantity(json.loads(plain.to_json())) == radar.SIGMA
    assert "surface" in radar.quantity({"sentinel1": {"terrain": "flattened", "terrain_model": "surface"}})
    assert radar.quantity({}) == radar.SIGMA  # imported sets, and what says nothing


def test_the_share_of_passes_adds_up_over_rows():
    plan = pd.DataFrame({"s1_passes": [4, 2, None], "rtc_passes": [3, 0, None]})
    assert radar.passes(plan) == (6, 3)
    assert radar.share(6, 3).endswith("3 of 6 passes in reach that cover a tile have it, 50%")
    assert radar.passes(plan.drop(columns="rtc_passes")) is None and radar.share_of({}) == ""
    assert radar.attributes({}, plan) == {}
