"""What `dwplus.open_store` gives: decoded in half the memory, and saved again, whole or in part, without a thought."""

import numpy as np
import pytest
import xarray as xr
import zarr

import dwplus
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
    "a split": lambda node: node.isel(tile=np.flatnonzero(node["split"] == 0)),
    "exported ones": lambda node: node.isel(tile=np.flatnonzero(node["status"] == 1)),
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
        for array in old[name].array_keys():  # the very integers
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
