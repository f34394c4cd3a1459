"""The store on disk: what is written is what three readers read, shard by shard, status last."""

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr

import dwplus
from dwplus.errors import InputError
from dwplus.spec import make_spec
from dwplus.store import kept, layout, writer
from dwplus.store.reader import tile_table
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path, small_plan, small_spec):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    return path


def fill(path, pixels_of, start, stop, group="biome_04", skip=()):
    results = {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop) if i not in skip}
    results |= {i: TileResult(layout.REJECTED, "few_labels: 0.1") for i in skip}
    writer.write_shard(layout.open_root(path, "r+")[group], start, stop, results)


def test_a_new_store_is_whole_and_pending(store, small_plan):
    root = layout.open_root(store)
    assert layout.biome_groups(root) == ["biome_04", "biome_12"]
    for key in ("dwplus_version", "spec", "classes", "biomes", "label_source", "created", "sources"):
        assert key in root.attrs
    table = tile_table(store)
    assert len(table) == 13 and (table["status"] == "pending").all()
    assert table["tile_id"].tolist() == small_plan["tile_id"].tolist()[:13]
    assert root.attrs["plan"] == {"candidates": 14, "planned": 13, "rejected": {"no_s1": 1}}
    assert not list(store.parent.glob(".small.zarr*"))


def test_three_readers_agree(store, pixels_of):
    fill(store, pixels_of, 4, 8)
    s2, s1, label = pixels_of(5)
    tree = xr.open_datatree(store, engine="zarr")
    node = tree["biome_04"]
    assert node["s2"].dims == ("tile", "s2_band", "y", "x") and node["s1"].dims == ("tile", "s1_band", "y", "x")
    assert node["label"].dims == ("tile", "y", "x") and node["label"].dtype == "uint8"
    np.testing.assert_array_equal(node["s2"][5], s2)
    np.testing.assert_allclose(node["s1"][5], s1 / 100, atol=1e-4)
    np.testing.assert_array_equal(node["label"][5], label)
    assert np.isnan(node["s1"][0]).all() and np.isnan(node["s2"][0]).all() and (node["label"][0] == 255).all()
    raw = zarr.open_group(store, mode="r")["biome_04"]
    assert raw["s1"].dtype == "int16" and raw["s2"].dtype == "uint16"
    for name, want in (("s2", s2), ("s1", s1), ("label", label)):
        np.testing.assert_array_equal(raw[name][5], want)
        kvstore = {"driver": "file", "path": str(store / "biome_04" / name)}
        ts = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True).result()
        np.testing.assert_array_equal(ts[5].read().result(), want)
        assert raw[name].chunks[0] == 1 and raw[name].shards[0] == 4


def test_decoded_units_and_times(store, small_plan, pixels_of):
    fill(store, pixels_of, 0, 4)
    node = dwplus.open_store(store)["biome_04"]
    assert node["s1_time"].dtype.kind == "M" and node["gap_hours"].dtype == "float64"
    gap = (node["s1_time"] - node["s2_time"]) / np.timedelta64(1, "h")
    np.testing.assert_allclose(gap, node["gap_hours"])
    assert node["s1"].attrs["units"] == "dB"
    for name in ("tile_id", "lon", "lat", "epsg", "x0", "y0", "s2_id", "s1_id", "orbit_pass", "relative_orbit", "biome",
                 "ecoregion", "split", "status", "valid_fraction"):
        assert name in node.coords, name
    assert node["s2_band"].values.tolist() == ["B2", "B3", "B4"] and node["s1_band"].values.tolist() == ["VV", "VH"]
    assert set(node["status"].values) <= {"pending", "exported", "rejected", "failed"}
    assert set(node["split"].values) <= {"train", "val", "test"}
    assert node["tile_id"].values.tolist() == small_plan["tile_id"].tolist()[:10]


def test_counts_and_fractions(store, pixels_of):
    fill(store, pixels_of, 0, 4, skip=(2,))
    table = tile_table(store)
    _, _, label = pixels_of(1)
    assert table.loc[1, "count_trees"] == (label == 1).sum()
    assert table.loc[1, "count_snow_and_ice"] == (label == 8).sum()
    assert table.loc[1, "valid_fraction"] == pytest.approx((label != 255).mean())
    assert table["status"].tolist()[:4] == ["exported", "exported", "rejected", "exported"]
    assert table.loc[2, "reason"] == "few_labels: 0.1" and table.loc[2, "valid_fraction"] == 0


def test_valid_fraction_needs_all_three(pixels_of):
    s2, s1, label = pixels_of(0)
    label[:] = 1
    s2[1, :8] = layout.S2_NODATA
    s1[0, 4:16] = layout.S1_NODATA
    for radar in (s1, np.where(s1 == layout.S1_NODATA, np.nan, s1 / 100)):
        assert writer.valid_fraction(*writer.has_data(s2, radar), label) == pytest.approx(0.5)


def files(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_bytes_do_not_depend_on_order_or_interruption(tmp_path, small_plan, small_spec, pixels_of):
    stores = []
    for name, order in (("a", [(0, 4), (4, 8), (8, 10)]), ("b", [(8, 10), (0, 4), (4, 8)])):
        path = tmp_path / name
        layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
        if name == "b":  # a shard half done by a failing run is completed later, tile by tile
            writer.write_shard(layout.open_root(path, "r+")["biome_04"], 0, 4, {
                0: TileResult(layout.EXPORTED, "", *pixels_of(0)), 1: TileResult(layout.FAILED, "transient: x"),
                2: TileResult(layout.EXPORTED, "", *pixels_of(2)), 3: TileResult(layout.FAILED, "transient: x")})
        for start, stop in order:
            group = layout.open_root(path, "r+")["biome_04"]
            todo = writer.unfinished(group, start, stop)
            writer.write_shard(group, start, stop, {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in todo})
        stores.append(files(path))
    assert stores[0].keys() == stores[1].keys()
    assert [k for k in stores[0] if stores[0][k] != stores[1][k]] == []


def test_unfinished_are_pending_and_failed(store, pixels_of):
    fill(store, pixels_of, 0, 4, skip=(1,))
    group = layout.open_root(store, "r+")["biome_04"]
    assert writer.unfinished(group, 0, 4) == [] and writer.unfinished(group, 4, 8) == [4, 5, 6, 7]
    writer.write_shard(group, 4, 8, {
        4: TileResult(layout.FAILED, "x"), 5: TileResult(layout.EXPORTED, "", *pixels_of(5)),
        6: TileResult(layout.REJECTED, "y"), 7: TileResult(layout.FAILED, "x")})
    assert writer.unfinished(group, 4, 8) == [4, 7]


def test_float_radar(tmp_path, small_plan, small_spec, pixels_of):
    spec = make_spec({**small_spec.model_dump(mode="json"), "store": {"shard_tiles": 4, "s1_dtype": "float32"}})
    layout.create(tmp_path / "f", small_plan, spec, created=CREATED, earth="embedded-earth")
    s2, s1, label = pixels_of(0)
    decibels = (s1 / 100).astype("float32")
    decibels[0, 0, 0] = np.nan
    writer.write_shard(layout.open_root(tmp_path / "f", "r+")["biome_12"], 0, 3,
                       {0: TileResult(layout.EXPORTED, "", s2, decibels, label)})
    node = dwplus.open_store(tmp_path / "f")["biome_12"]
    np.testing.assert_array_equal(node["s1"][0], decibels)
    assert np.isnan(node["s1"][1]).all()


def test_another_spec_plan_or_earth_is_refused(store, small_plan, small_spec):
    kept.check_same(store, small_plan, small_spec, "embedded-earth")
    other = make_spec({**small_spec.model_dump(mode="json"), "sentinel1": {"max_gap_hours": 24}})
    with pytest.raises(InputError, match=r"another spec \(sentinel1.max_gap_hours: 144.0 -> 24.0\)"):
        kept.check_same(store, small_plan, other, "embedded-earth")
    with pytest.raises(InputError, match="another plan"):
        kept.check_same(store, small_plan.iloc[1:], small_spec, "embedded-earth")
    with pytest.raises(InputError, match="pixels of embedded-earth"):
        kept.check_same(store, small_plan, small_spec, "earth-engine")


def test_places_that_are_no_store(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        dwplus.open_store(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is no dwplus store"):
        dwplus.open_store(tmp_path / "folder")
    (tmp_path / "folder" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="is no dwplus store"):
        tile_table(tmp_path / "folder")


def test_a_place_that_cannot_be_written(tmp_path, small_plan, small_spec):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        layout.create(tmp_path / "file" / "x.zarr", small_plan, small_spec, created=CREATED, earth="embedded-earth")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
