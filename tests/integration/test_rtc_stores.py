"""RTC-S1 from a plan to a tile: one request each, checked, described and read; networks of GRD are not let on it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from torch import nn

import dwplus
from dwplus.earth import EarthConfig, connect
from dwplus.earth.bundles import requests_of
from dwplus.earth.stack import fetch_inputs
from dwplus.earth.tables import processed
from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import Planet
from dwplus.embedded_earth.planet import rtc as planet_rtc
from dwplus.errors import InputError
from dwplus.export import export, repair
from dwplus.export.extend import extend
from dwplus.planning.plan import make_plan, read_plan, write_plan
from dwplus.planning.preview import megapixels, preview
from dwplus.report.text import describe
from dwplus.spec import make_spec, radar
from dwplus.store.card import write_card
from dwplus.store.copies import subset
from dwplus.store.reader import tile_table
from dwplus.store.relabel import relabel
from dwplus.store.verify import verify
from model.checkpoint import Checkpoint, check_radar, check_store
from model.data import TileDataset

HILLS = {"name": "hills", "region": {"bbox": [-121.92, 44.58, -121.86, 44.62]},
         "windows": [["2021-06-01", "2021-09-01"]], "tile": {"size": 32}, "store": {"shard_tiles": 2},
         "sampling": {"per_biome": 4}, "sentinel2": {"bands": ["B4", "B8"]}, "quality": {"min_s1_valid": 0.1}}
FLAT = HILLS | {"sentinel1": {"product": "rtc"}}


def made(folder, raw):
    write_plan(make_plan(connect(), make_spec(raw)), folder / f"{raw['name']}.parquet")
    summary = export(folder / f"{raw['name']}.parquet", folder / f"{raw['name']}.zarr", EarthConfig())
    assert summary.exported == 4, summary.line
    return folder / f"{raw['name']}.zarr", summary


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made(tmp_path_factory.mktemp("rtc"), FLAT)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("grd"), HILLS | {"name": "plain"})[0]


def test_what_the_store_says(store, plain):
    path, summary = store
    root = zarr.open_group(str(path), mode="r")
    assert (root.attrs["s1_product"], root.attrs["s1_backscatter"]) == ("rtc", radar.GAMMA_RTC)
    flown, there = root.attrs["s1_passes"]["flown"], root.attrs["s1_passes"]["rtc"]
    assert 0 < there < flown and summary.radar == radar.share(flown, there)
    assert root.attrs["sources"]["sentinel1"]["collection"] == radar.RTC and "NASA/JPL" in root.attrs["source"]
    assert root.attrs["band_units"]["VV"] == "dB" and "gamma nought" in root["biome_05"]["s1"].attrs["long_name"]
    assert summary.radar in describe(path) and radar.GAMMA_RTC in describe(path)
    other = zarr.open_group(str(plain), mode="r").attrs
    assert not [key for key in other if key.startswith("s1_")] and "OPERA" not in json.dumps(other.asdict())


def test_preview_and_plan_say_the_share(store):
    plan = read_plan(store[0].with_suffix(".parquet"))
    assert (plan["s1_passes"] >= plan["rtc_passes"]).all() and (plan["rtc_passes"] > 0).all()
    assert radar.share(*radar.passes(plan)) in preview(plan)
    assert requests_of(make_spec(FLAT), 510) == 1


def test_credits_stand_in_the_card(store, tmp_path):
    write_card(store[0], tmp_path)
    stac = json.loads((tmp_path / "collection.json").read_text())
    assert "OPERA, NASA/JPL" in [one["name"] for one in stac["providers"]] and radar.GAMMA_RTC in stac["description"]
    assert "OPERA_L2_RTC-S1_V1" in json.dumps(stac["links"]) and "CC0-1.0" in (tmp_path / "README.md").read_text()
    assert "OPERA" in json.loads((tmp_path / "croissant.json").read_text())["creditText"]


def test_pixels_are_the_bursts_own_in_linear_power(store):
    """Of a tile under one burst: the planet's power, interpolated by NumPy, to a hundredth of a dB."""
    rows = tile_table(store[0])
    row = rows[~rows["s1_id"].str.contains(",")].iloc[0]
    scene = Planet().image(f"{radar.RTC}/{row['s1_id']}")
    x0, y0, _, _ = scene.burst.grid
    left, top = (row["x0"] + 5 - x0) / 30 - 0.5, (y0 - row["y0"] + 5) / 30 - 0.5
    at = Window(int(top) - 1, int(left) - 1, 16, 16)
    found = scene.read(("VV", "VH", "mask"), at)
    cols, lines = (np.arange(32) / 3 + start - base for start, base in ((left, at.col), (top, at.row)))
    c, r = np.floor(cols).astype(int), np.floor(lines).astype(int)
    a, b = (lines - r)[:, None], (cols - c)[None]
    stored = zarr.open_group(str(store[0]), mode="r")[row["group"]]["s1"][int(row["index"])]
    good = found["mask"][0] == 0
    sure = np.all([good[np.ix_(r + i, c + j)] for i in (0, 1) for j in (0, 1)], axis=0)
    assert sure.sum() > 200
    for band, name in enumerate(("VV", "VH")):
        power = found[name][0].astype("float64")
        p = [power[np.ix_(r + i, c + j)] for i in (0, 1) for j in (0, 1)]
        want = 10 * np.log10((p[0] * (1 - b) + p[1] * b) * (1 - a) + (p[2] * (1 - b) + p[3] * b) * a)
        assert np.abs(stored[band][sure] / 100 - want[sure]).max() < 0.0101


def test_angles_and_codes_are_those_of_the_bursts_layers(store, tmp_path):
    """Of one tile: angles of the static layers, between their pixels, codes of the burst; VV and VH as without."""
    row = tile_table(store[0])[lambda t: ~t["s1_id"].str.contains(",")].iloc[0]
    grid = dwplus.grid.tile_from_id(row["tile_id"]).grid
    spec = make_spec(FLAT | {"sentinel1": {"product": "rtc", "keep_angle": True,
                                           "keep": ["layover_shadow", "local_incidence"]}})
    assert spec.s1_bands == ("VV", "VH", "angle", "local_incidence", "layover_shadow")
    ids = row["s1_id"].split(",")
    _, radar_bands, _ = fetch_inputs(connect(), spec, grid, row["s2_id"], ids)
    plain = zarr.open_group(str(store[0]), mode="r")[row["group"]]["s1"][int(row["index"])]
    np.testing.assert_array_equal(radar_bands[:2], plain)
    planet = Planet()
    scene = planet.image(f"{radar.RTC}/{ids[0]}")
    static, = (one for one in planet.scenes(planet_rtc.STATIC) if one.burst_id == scene.burst_id)
    x0, y0, _, _ = scene.burst.grid
    cols = ((grid.x0 - x0 + 5 + 10 * np.arange(32)) // 30).astype(int)
    rows = ((y0 - grid.y0 + 5 + 10 * np.arange(32)) // 30).astype(int)
    at = Window(rows[0], cols[0], rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1)
    here = np.ix_(rows - rows[0], cols - cols[0])
    layers = static.read(("incidence_angle", "mask"), at)
    assert np.abs(radar_bands[2] / 100 - layers["incidence_angle"][0][here]).max() < 0.02
    np.testing.assert_array_equal(radar_bands[4] / 100, layers["mask"][0][here])
    assert (radar_bands[0] == -32768)[layers["mask"][0][here] > 0].all()
    assert 0 < radar_bands[3].min() < radar_bands[3].max()


def test_it_is_checked_mended_read_and_mapped(store):
    path = store[0]
    assert not verify(path).faults
    group = zarr.open_group(str(path), mode="r+", path="biome_05", use_consolidated=False)
    right = group["s1"][0]
    group["s1"][0] = np.zeros_like(right)
    assert verify(path).faults
    assert not repair(path, EarthConfig())[1] and (group["s1"][0] == right).all()
    row = tile_table(path).iloc[0]
    grid = dwplus.grid.tile_from_id(row["tile_id"]).grid
    _, seen, _ = fetch_inputs(connect(), make_spec(FLAT), grid, row["s2_id"], row["s1_id"].split(","))
    assert (seen == group["s1"][0]).all()


def test_a_root_that_lies_of_its_radar_is_found(store, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store[0], copy)
    meta = json.loads((copy / "zarr.json").read_text())
    meta["attributes"]["s1_backscatter"] = "sigma nought"
    (copy / "zarr.json").write_text(json.dumps(meta))
    assert "zarr.json" in [fault.place for fault in verify(copy).faults]
    assert not repair(copy, EarthConfig())[1] and not verify(copy).faults
    assert zarr.open_group(str(copy), mode="r").attrs["s1_backscatter"] == radar.GAMMA_RTC


def test_copies_say_the_share_of_their_sources(store, tmp_path):
    """A part and a relabelled store say what the plan of the whole found."""
    rows = tile_table(store[0])
    first = str(rows["tile_id"].iat[0])
    assert subset(store[0], tmp_path / "part.zarr", f"tile_id == '{first}'") == []
    relabel(store[0], tmp_path / "six.zarr", "cloudlulc")
    want = zarr.open_group(str(store[0]), mode="r").attrs["s1_passes"]
    for name in ("part", "six"):
        attrs = zarr.open_group(str(tmp_path / f"{name}.zarr"), mode="r").attrs
        assert attrs["s1_passes"] == want and attrs["s1_product"] == "rtc"
        assert not verify(tmp_path / f"{name}.zarr").faults


def test_a_store_that_grows_says_the_share_of_all(store, tmp_path):
    """A plan that has the store's tiles speaks for both; what another has beyond them is added."""
    plan = make_plan(connect(), make_spec(FLAT | {"sampling": {"per_biome": 6}}))
    more = plan[~plan["tile_id"].isin(tile_table(store[0])["tile_id"])]
    before = zarr.open_group(str(store[0]), mode="r").attrs["s1_passes"]
    assert (more["state"] == "planned").sum() == 2 and radar.passes(more)[0] > 0
    added = [one + before[key] for one, key in zip(radar.passes(more), ("flown", "rtc"), strict=True)]
    for name, rows, want in (("whole", plan, list(radar.passes(plan))), ("more", more, added)):
        write_plan(rows, tmp_path / f"{name}.parquet")
        out = tmp_path / f"{name}.zarr"
        summary, faults = extend(store[0], tmp_path / f"{name}.parquet", out, EarthConfig())
        assert faults == [] and summary.exported == 6 and summary.radar == radar.share(*want)
        assert zarr.open_group(str(out), mode="r").attrs["s1_passes"] == dict(zip(("flown", "rtc"), want, strict=True))


def test_a_burst_has_a_ninth_of_the_pixels_of_a_scene(store):
    """30 m against 10 m: VV, VH and the mask of each burst, beside two bands of Sentinel-2 and the label."""
    planned = read_plan(store[0].with_suffix(".parquet"))
    bursts = planned["s1_id"].str.count(",") + 1
    np.testing.assert_allclose(megapixels(planned, make_spec(FLAT)), 32**2 / 1e6 * (2 + 1 + 3 * bursts / 9))


def checkpoint(**info):
    return Checkpoint(Path("run.safetensors"), nn.Identity(), None, {
        "model": {"name": "unet", "options": {}}, "s2_bands": ["B4", "B8"], "s1_bands": ["VV", "VH"]} | info)


def test_networks_of_one_radar_are_not_let_on_the_other(store, plain):
    """Bands are alike, their numbers are not: said in one sentence, both ways; runs that say nothing learned GRD."""
    flat, sigma = (zarr.open_group(str(path), mode="r").attrs["spec"] for path in (store[0], plain))
    for trained, other in ((flat, sigma), (sigma, flat)):
        run = checkpoint(specs=[trained])
        check_store(run, ("B4", "B8"), ("VV", "VH"), "x", spec=trained)
        with pytest.raises(InputError, match="was trained on .*nought of") as caught:
            check_store(run, ("B4", "B8"), ("VV", "VH"), "x", spec=other)
        assert "\n" not in str(caught.value)
    divided = sigma | {"sentinel1": sigma["sentinel1"] | {"terrain": "flattened"}}
    for wrong in (flat, divided):
        with pytest.raises(InputError, match="gamma nought"):
            check_radar(checkpoint(), wrong, "REGION x")
    check_radar(checkpoint(), sigma, "REGION x")
    check_radar(checkpoint(model={"name": "unet", "options": {"sensors": "s2"}}), flat, "x")
    with pytest.raises(InputError, match="has radar gamma nought of OPERA"):
        TileDataset([plain, store[0]], "all")
    assert len(TileDataset(store[0], "all")) == 4


def test_windows_without_are_one_sentence(monkeypatch):
    """None at all over the region; or some, but none beside a scene that has a label."""
    raw = FLAT | {"windows": [["2021-08-10", "2021-08-31"]], "sentinel1": {"product": "rtc", "max_gap_hours": 72}}
    with monkeypatch.context() as patch, pytest.raises(InputError, match="has no RTC-S1 over the region") as caught:
        patch.setattr(planet_rtc, "processed", lambda flight, seed: False)
        make_plan(connect(), make_spec(raw))
    assert "\n" not in str(caught.value) and "Sentinel-1D" in str(caught.value)
    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"none has RTC-S1 .*\(no_rtc\)") as caught:
        patch.setattr(planet_rtc, "processed", lambda flight, seed: flight.day == dt.date(2021, 8, 7))
        make_plan(connect(), make_spec(raw))
    assert "\n" not in str(caught.value)


def test_tiles_without_are_rows_of_a_plan(monkeypatch):
    """Rejected with their reason and the passes that flew, beside tiles of a window that has it."""
    raw = FLAT | {"windows": [["2021-06-01", "2021-06-20"], ["2021-08-10", "2021-08-31"]],
                  "sentinel1": {"product": "rtc", "max_gap_hours": 72}}
    monkeypatch.setattr(planet_rtc, "processed", lambda flight, seed: flight.day < dt.date(2021, 8, 8))
    plan = make_plan(connect(), make_spec(raw))
    late = plan[plan["window"] == "2021-08-10/2021-08-31"]
    assert set(late["reason"]) == {"no_rtc"} and (late["s1_passes"] > 0).all() and not late["rtc_passes"].any()
    assert (plan["state"] == "planned").sum() == 4


def test_an_earth_without_the_collection_says_so(tmp_path):
    table = tmp_path / "RESOLVE/ECOREGIONS"
    table.mkdir(parents=True)
    (table / "2017.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match="sentinel1.product rtc: OPERA/RTC/L2_V1/S1 is not on this Earth .*take"):
        processed(connect(world=str(tmp_path)), dt.date(2021, 6, 1), dt.date(2021, 9, 1), dt.timedelta(0), None)


@pytest.mark.parametrize(("ids", "words"), [
    ("S1A_IW_GRDH_1SDV_20210829T135336_20210829T135401_039444_04A8F0_1234", "bursts of RTC-S1"),
    ("OPERA_L2_RTC-S1_T173-370526-IW3_20260829T135336Z_20260903T180544Z_S1D_30_v1_0", "of Sentinel-1D there is no RTC"),
])
def test_plans_by_hand_with_other_radar_are_refused(store, tmp_path, ids, words):
    plan = read_plan(store[0].with_suffix(".parquet"))
    plan.loc[plan.index[0], "s1_id"] = ids
    write_plan(plan, tmp_path / "hand.parquet")
    with pytest.raises(InputError, match=words):
        read_plan(tmp_path / "hand.parquet")
