"""Fixtures made by code: plans and stores without an Earth."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

# One thread for sums, here and in every process that a test starts: threads that wait for each other on small arrays
# burn more than they add. Before numpy and torch are loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import geopandas as gpd  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402

from dwplus.grid import PixelGrid, tile_on_grid  # noqa: E402
from dwplus.planning.plan import COLUMNS  # noqa: E402
from dwplus.spec import make_spec  # noqa: E402

#: Real pixels may not be shipped here. The folder is laid out as Earth Engine's archive (docs: WORLD=).
REALWORLD = Path(os.environ.get("DWPLUS_REALWORLD", Path(__file__).parents[2] / "shared" / "realworld"))
NO_REALWORLD = ("no asset tree of real pixels in DWPLUS_REALWORLD or ../shared/realworld: TerraMesh example patches "
                "(github.com/IBM/terramind), labels by the model of github.com/google/dynamicworld, RESOLVE's "
                "ecoregions 2017")


@pytest.fixture
def realworld() -> Path:
    """The asset tree of real pixels; skips where the folder is missing."""
    if not REALWORLD.is_dir():
        pytest.skip(NO_REALWORLD)
    return REALWORLD


@pytest.fixture
def small_spec():
    """32-pixel tiles, shards of four."""
    return make_spec({
        "name": "small", "region": {"bbox": [2, 50, 3, 51]}, "windows": [["2020-01-01", "2020-06-01"]],
        "tile": {"size": 32}, "store": {"shard_tiles": 4}, "sentinel2": {"bands": ["B2", "B3", "B4"]}})


@pytest.fixture
def small_plan(small_spec):
    """Ten planned tiles in biome 4, three in biome 12, one rejected."""
    rows = []
    for i in range(14):
        grid = PixelGrid(32631, 500000.0 + 320 * i, 5600000.0, 10.0, 32, 32)
        day = pd.Timestamp("2020-01-10", tz="UTC") + pd.Timedelta(days=i)
        rows.append({
            "tile_id": tile_on_grid(grid).id, "window": "2020-01-01/2020-06-01", "epsg": 32631, "x0": grid.x0,
            "y0": grid.y0, "size": 32, "scale": 10.0, "biome": 4 if i < 10 else 12, "ecoregion": "somewhere",
            "coastal": False, "label_id": f"label{i}", "s2_id": f"s2_{i}", "s1_id": f"s1_{i}", "s2_time": day,
            "s1_time": day - pd.Timedelta(hours=i), "gap_hours": -float(i), "s1_count": 1, "s1_coverage": 1.0,
            "s2_cloud": 1.0, "orbit_pass": "ASCENDING", "relative_orbit": 8, "split": ["train", "val", "test"][i % 3],
            "state": "rejected" if i == 13 else "planned", "reason": "no_s1" if i == 13 else "",
            "spec": small_spec.to_json(), "geometry": grid.footprint()})
    plan = gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
    for column in ("s2_time", "s1_time"):
        plan[column] = plan[column].astype("datetime64[ms, UTC]")
    return plan[[*COLUMNS, "geometry"]]


@pytest.fixture
def pixels_of():
    """Deterministic pixels of tile i: (s2, s1, label)."""
    def make(i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(i)
        return (rng.integers(0, 4000, (3, 32, 32)).astype("uint16"),
                rng.integers(-3000, 200, (2, 32, 32)).astype("int16"),
                rng.choice(np.array([0, 1, 4, 8, 255], "uint8"), (32, 32)))

    return make


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory):
    """A program that answers as ``python`` does, without the seconds of imports (``tests/forks.py``)."""
    folder = tmp_path_factory.mktemp("forks")
    forks, door = Path(__file__).with_name("forks.py"), folder / "door"
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(forks), str(door)])} "$@"\n')
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen([sys.executable, str(forks), "serve", str(door)], env=environment, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None and server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    yield program
    server.stdin.close()
    server.wait()
    server.stdout.close()
