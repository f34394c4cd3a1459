"""What `dwplus.open_store` gives: decoded in half the memory, and saved again, whole or in part, without a thought."""

import numpy as np
import pytest
import xarray as xr
import zarr

import dwplus
from dwplus.errors import InputError
from dwplus.store import layout, writer
from dwplus.store.writer import TileResult


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    """All 13 tiles exported but one, with pixels that have no data."""
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    for name, tiles in (("biome_04", 10), ("biome_12", 3)):
        group = layout.open_root(path, "r+")[name]
        for start in range(0, tiles, 4):
            stop = min(start + 4, tiles)
            results = {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop)}
            for result in results.values():
                result.s2[:, :3], result.s1[:, 5] = layout.S2_NODATA, layout.S1_NODATA
            if start == 4:
                results[5] = TileResult(layout.REJECTED, "few_labels: 0.1")
            writer.write_shard(group, start, stop, results)
    return path


def test_types_and_memory(store):
    """2 bytes a pixel are 4 when decoded: NaN needs a float, and single precision holds every value there is."""
    node, raw = dwplus.open_store(store)["biome_04"], zarr.open_group(store, mode="r")["biome_04"]
    assert {name: str(node[name].dtype) for name in ("s2", "s1", "label")} == {
        "s2": "float32", "s1": "float32", "label": "uint8"}
    for name, nodata, scale in (("s2", 65535, 1.0), ("s1", -32768, 0.01)):
        assert node[name].nbytes == 2 * raw[name].nbytes
        stored, decoded = np.asarray(raw[name]), node[name].values
        np.testing.assert_array_equal(np.isnan(decoded), stored == nodata)
        want = (stored[stored != nodata] * scale).astype("float32")
        np.testing.assert_array_equal(decoded[stored != nodata], want)
        assert node[name].chunks[0] == (1,) * 10  # a tile is read alone


SAVED = {
    "the group": lambda node: node,
    "a range": lambda node: node.isel(tile=slice(2, 9)),
    "every other": lambda node: node.isel(tile=slice(None, None, 2)),
    "a split": lambda node: node.isel(tile=np.flatnonzero(node["split"] == "train")),
    "exported ones": lambda node: node.isel(tile=np.flatnonzero(node["status"] == "exported")),
    "in another order, cropped": lambda node: node.isel(tile=[7, 2, 6], y=slice(3, 20), x=slice(0, 16)),
    "one band": lambda node: node[["s1", "label"]].isel(s1_band=[1]),
    "one tile": lambda node: node.isel(tile=[3]),
}


@pytest.mark.parametrize("what", SAVED)
def test_a_selection_is_saved(store, tmp_path, what):
    chosen = SAVED[what](dwplus.open_store(store)["biome_04"].to_dataset())
    chosen.to_zarr(tmp_path / "copy.zarr")
    chosen.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
    for copy in (xr.open_zarr(tmp_path / "copy.zarr"), xr.open_dataset(tmp_path / "copy.nc", engine="h5netcdf")):
        assert set(copy.variables) == set(chosen.variables)
        for name, values in chosen.variables.items():
            if values.dtype.kind == "f":
                np.testing.assert_array_equal(copy[name].values.astype(values.dtype), values.values, err_msg=str(name))
            else:
                assert (copy[name].values == values.values).all(), name
    raw = zarr.open_group(tmp_path / "copy.zarr", mode="r")
    assert raw["s1"].dtype == "int16" and raw["s1"].attrs["scale_factor"] == 0.01
    if "s2" in chosen:
        assert raw["s2"].dtype == "uint16"


def test_the_tree_is_saved(store, tmp_path):
    tree = dwplus.open_store(store)
    tree.to_zarr(tmp_path / "copy.zarr")
    copy, old, new = (xr.open_datatree(tmp_path / "copy.zarr", engine="zarr"), zarr.open_group(store, mode="r"),
                      zarr.open_group(tmp_path / "copy.zarr", mode="r"))
    assert [node.path for node in tree.subtree] == ["/", "/biome_04", "/biome_12"]
    assert set(copy.children) == set(tree.children) and copy.attrs == tree.attrs
    for name in ("biome_04", "biome_12"):
        for array in set(old[name].array_keys()) - {"split", "status"}:  # the very integers; these two as words
            np.testing.assert_array_equal(np.asarray(new[name][array]), np.asarray(old[name][array]), err_msg=array)
    some = tree.map_over_datasets(lambda node: node.isel(tile=slice(1, 3)) if "tile" in node.dims else node)
    some.to_zarr(tmp_path / "some.zarr")
    assert xr.open_datatree(tmp_path / "some.zarr", engine="zarr")["biome_12"].sizes["tile"] == 2


def test_tiles_are_appended_to_a_copy(store, tmp_path):
    node = dwplus.open_store(store)["biome_04"].to_dataset()
    node.isel(tile=[1]).to_zarr(tmp_path / "copy.zarr")
    node.isel(tile=slice(4, 7)).to_zarr(tmp_path / "copy.zarr", append_dim="tile")
    found = xr.open_zarr(tmp_path / "copy.zarr")["tile_id"].values.tolist()
    assert found == node["tile_id"].values[[1, 4, 5, 6]].tolist()


def test_codes_are_words_and_tiles_have_names(store, small_plan):
    node = dwplus.open_store(store)["biome_04"].to_dataset()
    assert node["split"].values.tolist() == small_plan["split"].tolist()[:10]
    assert node["status"].values.tolist() == ["exported"] * 5 + ["rejected"] + ["exported"] * 4
    assert node["status"].attrs["flag_meanings"].split() == list(layout.STATUSES)
    raw = zarr.open_group(store, mode="r")["biome_04/status"]
    assert raw.dtype == "uint8" and raw.attrs["flag_meanings"] == "pending exported rejected failed"
    name = small_plan["tile_id"].iat[7]
    one = node.sel(tile_id=name)
    assert one["x0"].item() == small_plan["x0"].iat[7] and one["s1"].dims == ("s1_band", "y", "x")
    np.testing.assert_array_equal(one["s1"].values, node["s1"][7].values)
    assert node.query(tile="status == 'rejected'")["tile_id"].values.tolist() == [small_plan["tile_id"].iat[5]]


def test_columns_are_in_memory_and_in_order(store):
    node = dwplus.open_store(store)["biome_04"].to_dataset()
    of_tiles = [name for name in node.coords if node[name].dims == ("tile",)]
    assert of_tiles[:4] == ["tile_id", "window", "split", "status"]
    assert all(values.chunks is None for values in node.variables.values() if values.dims == ("tile",))
    assert all(node[name].chunks for name in ("s2", "s1", "label"))


def test_a_plot_is_upright(store):
    """y falls from row to row, as northing does: what xarray draws first is at the top."""
    node = dwplus.open_store(store)["biome_04"].to_dataset()
    size, scale = node.sizes["y"], node.attrs["scale"]
    np.testing.assert_allclose(node["y"], -scale * (np.arange(size) + 0.5))
    np.testing.assert_allclose(node["x"], scale * (np.arange(size) + 0.5))
    one = node.isel(tile=2)
    placed = one.assign_coords(y=one["y"] + one["y0"], x=one["x"] + one["x0"])
    there = dwplus.tile(store, one["tile_id"].item())
    np.testing.assert_allclose(placed["y"], there["y"])
    np.testing.assert_allclose(placed["x"], there["x"])


def test_opening_warns_of_nothing(store, recwarn):
    (store / "tiles.parquet").write_bytes(b"")  # what stands beside the groups
    dwplus.open_store(store)
    assert not [str(warning.message) for warning in recwarn if "tiles.parquet" in str(warning.message)]


def test_a_code_without_a_word_is_one_sentence(store):
    zarr.open_group(store, mode="r+")["biome_04/status"][2] = 9
    with pytest.raises(InputError, match=r"biome_04 .*status of tile 2 is 9, which is none of 0 pending, 1 exported"):
        dwplus.open_store(store)


def test_a_tile_without_a_name_is_the_first_exported(store, tmp_path, capsys, small_plan):
    from dwplus.cli import app

    def say(*words):
        with pytest.raises(SystemExit) as stop:
            app(["tile", str(store), *words])
        return stop.value.code, capsys.readouterr().out.splitlines()

    code, lines = say("--list")
    assert code == 0 and len(lines) == 13 and not list(tmp_path.glob("*.tif"))
    assert lines[5].split()[0] == small_plan["tile_id"].iat[5] and "  rejected  " in lines[5]
    code, lines = say("-o", str(tmp_path))
    assert code == 0 and sorted(p.name for p in tmp_path.glob("*.tif")) == sorted(
        f"{small_plan['tile_id'].iat[0]}_{name}.tif" for name in ("s2", "s1", "label"))
