"""Flattened, filtered radar with its bands of slopes, from a plan to a tile: one request each, checked and mended."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

import dwplus
from dwplus.earth import EarthConfig, connect
from dwplus.earth.stack import fetch_inputs
from dwplus.export import export, repair
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store.reader import tile_table
from dwplus.store.verify import verify
from model.data import TileDataset

HILLS = {"name": "hills", "region": {"bbox": [-121.92, 44.58, -121.88, 44.61]},
         "windows": [["2021-06-01", "2021-09-01"]], "tile": {"size": 32}, "store": {"shard_tiles": 2},
         "sampling": {"per_biome": 3}, "sentinel2": {"bands": ["B4", "B8"]}, "quality": {"min_s1_valid": 0.1}}
RADAR = {"terrain": "flattened", "keep": ["layover_shadow", "local_incidence"], "keep_angle": True,
         "speckle": "lee", "speckle_window": 5}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hills")
    write_plan(make_plan(connect(), make_spec(HILLS | {"sentinel1": RADAR})), folder / "plan.parquet")
    summary = export(folder / "plan.parquet", folder / "hills.zarr", EarthConfig())
    assert summary.exported == 3, summary.line
    return folder / "hills.zarr"


def test_bands_units_and_sources(store):
    root = zarr.open_group(str(store), mode="r")
    assert list(root["biome_05"]["s1_band"]) == ["VV", "VH", "angle", "local_incidence", "layover_shadow"]
    units = root.attrs["band_units"]
    assert (units["VV"], units["local_incidence"], units["layover_shadow"]) == ("dB", "degree", "code")
    assert "gamma nought" in root["biome_05"]["s1"].attrs["long_name"] and "GLO-30" in root.attrs["sources"]["dem"][
        "licence"]
    radar = dwplus.open_store(store)["biome_05"]["s1"].sel(s1_band=["local_incidence", "layover_shadow"]).load()
    assert 0 <= float(radar[:, 0].min()) < float(radar[:, 0].max()) <= 180
    assert set(np.unique(radar[:, 1])) <= {0, 1, 2, 3}
    hidden = radar[:, 1].to_numpy() > 0
    assert (np.isnan(xr.open_datatree(store, engine="zarr")["biome_05"]["s1"][:, 0]).to_numpy() >= hidden).all()


def test_it_is_checked_mended_and_read(store, tmp_path):
    assert not verify(store).faults
    group = zarr.open_group(str(store), mode="r+", path="biome_05", use_consolidated=False)
    right = group["s1"][0]
    group["s1"][0] = np.zeros_like(right)
    assert verify(store).faults
    _, left = repair(store, EarthConfig())
    assert not left and not verify(store).faults and (group["s1"][0] == right).all()
    data = TileDataset(store, "all")
    assert data.raw(0).s1.shape == (5, 32, 32)
    assert set(np.unique(data[0]["s1"][4])) <= {0.0, 1.0}  # codes are a mask to a network


def test_a_map_sees_what_the_store_has(store):
    row = tile_table(store).iloc[0]
    spec = make_spec(HILLS | {"sentinel1": RADAR})
    grid = dwplus.grid.tile_from_id(row["tile_id"]).grid
    _, radar, _ = fetch_inputs(connect(), spec, grid, row["s2_id"], row["s1_id"].split(","))
    assert (radar == zarr.open_group(str(store), mode="r")["biome_05"]["s1"][0]).all()
