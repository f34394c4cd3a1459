"""`tiles.parquet`: a row a tile for everybody, and one object in place of hundreds for who reads from afar."""

import http.server
import shutil
import threading

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from dwplus.grid import PixelGrid, tile_on_grid
from dwplus.spec import make_spec
from dwplus.store import layout, tables, writer
from dwplus.store.reader import tile_table
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult
from model.data import TileDataset

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def server(tmp_path):
    """A folder on loopback, and the paths that were asked for."""
    asked = []

    class Counting(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_):
            asked.append(self.path)

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}", asked
    found.shutdown()


def many(path, count):
    """A store of tiles of 16 pixels in two biomes, all exported."""
    spec = make_spec({"name": "many", "region": {"bbox": [2, 50, 3, 51]}, "windows": [["2020-01-01", "2020-06-01"]],
                      "tile": {"size": 16}, "store": {"shard_tiles": 1024}, "sentinel2": {"bands": ["B2"]}})
    grids = [PixelGrid(32631, 400_000.0 + 160 * (i % 200), 5_600_000.0 + 160 * (i // 200), 10.0, 16, 16)
             for i in range(count)]
    day = pd.Timestamp("2020-01-10", tz="UTC")
    plan = pd.DataFrame({
        "tile_id": [tile_on_grid(grid).id for grid in grids], "window": "2020-01-01/2020-06-01", "epsg": 32631,
        "x0": [grid.x0 for grid in grids], "y0": [grid.y0 for grid in grids], "size": 16, "scale": 10.0,
        "biome": np.where(np.arange(count) < count // 2, 4, 12), "ecoregion": "somewhere", "coastal": False,
        "label_id": "l", "s2_id": "s2", "s1_id": "s1", "s2_time": day, "s1_time": day, "gap_hours": 0.0, "s1_count": 1,
        "s1_coverage": 1.0, "s2_cloud": 1.0, "orbit_pass": "ASCENDING", "relative_orbit": 8, "split": "train",
        "state": "planned", "reason": ""})
    for column in ("s2_time", "s1_time"):
        plan[column] = plan[column].astype("datetime64[ms, UTC]")
    plan = plan.sort_values(["biome", "epsg", "x0", "y0"], ignore_index=True)
    layout.create(path, gpd.GeoDataFrame(plan), spec, created=CREATED, earth="embedded-earth")
    one = TileResult(layout.EXPORTED, "", np.ones((1, 16, 16), "u2"), np.ones((2, 16, 16), "i2"),
                     np.ones((16, 16), "u1"))
    root = layout.open_root(path, "r+")
    for name in layout.biome_groups(root):
        size = root[name]["status"].shape[0]
        for start in range(0, size, 1024):
            stop = min(start + 1024, size)
            writer.write_shard(root[name], start, stop, dict.fromkeys(range(start, stop), one))
    assert tables.finish(path)


def test_a_remote_data_set_of_20000_tiles_opens_with_few_requests(tmp_path, server):
    url, asked = server
    many(tmp_path / "m.zarr", 20_000)
    data = TileDataset(f"{url}/m.zarr", "train")
    assert len(data) == 20_000 and len(asked) <= 50, len(asked)
    data.tile(0)
    assert len(asked) <= 70 and (tmp_path / "m.zarr" / tables.FILE).exists()


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "s.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    assert not tables.finish(path)  # all is pending
    for group, start, stop in (("biome_04", 0, 4), ("biome_04", 4, 8), ("biome_04", 8, 10), ("biome_12", 0, 3)):
        writer.write_shard(layout.open_root(path, "r+")[group], start, stop, {
            i: TileResult(layout.REJECTED, "few_labels: 0.1") if i == 5
            else TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop)})
    assert tables.finish(path)
    return path


def test_what_it_holds(store, tmp_path):
    table = gpd.read_parquet(store / tables.FILE)
    own = tile_table(store)
    assert table["tile_id"].tolist() == own["tile_id"].tolist() and table["status"].tolist() == own["status"].tolist()
    assert {"group", "index", "gap_hours", "s2_time", "split", "count_trees", "digest_s2", "digest_outcome"} <= {*table}
    centres = gpd.GeoSeries(gpd.points_from_xy(table["lon"], table["lat"]), crs=table.crs)
    assert table.geometry.contains(centres).all()
    kept = pyarrow.parquet.read_schema(store / tables.FILE).metadata[b"geo"]
    assert b'"1.1.0"' in kept and b'"covering"' in kept
    near = gpd.read_parquet(store / tables.FILE, bbox=(3.0, 50.5, 3.005, 50.6))
    assert 0 < len(near) < len(table)
    before = (store / tables.FILE).read_bytes()
    assert tables.drop(store) and not (store / tables.FILE).exists() and verify(store).faults == []
    assert tables.finish(store) and (store / tables.FILE).read_bytes() == before


def test_far_readers_take_it_where_it_is_the_stores_own(store, tmp_path, server):
    url, asked = server
    home = tile_table(store)
    assert tile_table(f"{url}/s.zarr").equals(home)
    few = len(asked)
    assert not [path for path in asked if "/c/" in path]
    assert tile_table(f"{url}/s.zarr", only=("tile_id", "status"))["status"].equals(home["status"])
    shutil.copyfile(store / "zarr.json", store / tables.FILE)
    assert tile_table(f"{url}/s.zarr").equals(home) and len(asked) > 3 * few  # by the columns


def test_footprints_across_the_antimeridian():
    table = pd.DataFrame({"epsg": [32601, 32601], "x0": [298_000.0, 400_000.0], "y0": [5_600_000.0] * 2})
    for shape in tables.footprints(table, 20_000.0):
        west, south, east, north = shape.bounds
        assert west >= -180 and east <= 180 and shape.is_valid and 49 < south < north < 51
    assert tables.footprints(table.assign(x0=[280_000.0, 400_000.0]), 20_000.0)[0].geom_type == "MultiPolygon"
