"""A far store of 20,000 tiles opens in a few requests: its table is one object, not some small ones a shard."""

import numpy as np
import pandas as pd
import pytest

from dwplus.grid import PixelGrid, tile_on_grid
from dwplus.spec import make_spec
from dwplus.store import digests, layout, tables, writer
from dwplus.store.reader import tile_table
from model.data import TileDataset
from tests.integration.test_remote import Ranges, serving

TILES, BIOMES, MOST = 20_000, 10, 50


class Counting(Ranges):
    """Counts whatever is asked for."""

    def parse_request(self):
        fine = super().parse_request()
        if fine:
            self.server.asked.append(f"{self.command} {self.path}")
        return fine


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store whose tiles count as exported, with every column and no pixels: opening must ask for none."""
    path = tmp_path_factory.mktemp("large") / "a.zarr"
    spec = make_spec({"name": "large", "region": {"bbox": [2, 50, 3, 51]}, "windows": [["2020-01-01", "2020-06-01"]],
                      "tile": {"size": 16}, "store": {"shard_tiles": 200}})
    grids = [PixelGrid(32631, 400000.0 + 160.0 * (i % 200), 5600000.0 + 160.0 * (i // 200), 10.0, 16, 16)
             for i in range(TILES)]
    numbers = np.arange(TILES)
    day = pd.Timestamp("2020-01-10", tz="UTC")
    rows = pd.DataFrame({
        "tile_id": [tile_on_grid(grid).id for grid in grids], "window": "2020-01-01/2020-06-01", "epsg": 32631,
        "x0": [grid.x0 for grid in grids], "y0": [grid.y0 for grid in grids], "size": 16, "scale": 10.0,
        "biome": 1 + numbers * BIOMES // TILES, "ecoregion": "somewhere", "coastal": False,
        "label_id": [f"label{i}" for i in numbers], "s2_id": [f"s2_{i}" for i in numbers],
        "s1_id": [f"s1_{i}" for i in numbers], "s2_time": day, "s1_time": day, "gap_hours": 0.0, "s1_count": 1,
        "s2_cloud": 1.0, "orbit_pass": "ASCENDING", "relative_orbit": 8, "state": "planned", "reason": "",
        "split": np.array(["train", "val"])[numbers % 2]})
    layout.create(path, rows, spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    root = layout.open_root(path, "r+")
    for name in layout.biome_groups(root):
        group = layout.open_biome(path, name, "r+")
        for column in writer.columns_of(group):
            array = writer.array_of(group, column)
            value = {"status": layout.EXPORTED, "class_counts": 7, "valid_fraction": 1.0, digests.DIGESTS: "0" * 32,
                     "reason": ""}[column]
            array.with_config({"write_empty_chunks": True})[...] = np.full(array.shape, value, array.dtype)
    assert tables.finish(path)
    return path


def test_a_data_set_opens_in_few_requests(home):
    with serving(home.parent, Counting) as server:
        server.asked = []
        url = f"http://127.0.0.1:{server.server_port}/a.zarr"
        data = TileDataset(url, "train")
        assert len(data) == TILES // 2
        assert len(server.asked) <= MOST, server.asked
        asked = len(server.asked)
        assert len(tile_table(url)) == TILES and len(server.asked) - asked <= 10
        # It is the table that spares them: without it each shard's columns are asked for.
        (home / tables.FILE).rename(home / "hidden")
        server.asked.clear()
        assert len(TileDataset(url, "train")) == TILES // 2
        assert len(server.asked) > TILES / 200
        (home / "hidden").rename(home / tables.FILE)
