"""New dates for the tiles of a store: same ids, biomes and splits, other scenes; both stores read together."""

from __future__ import annotations

import contextlib
import io

import pytest

from dwplus.earth import EarthConfig, connect
from dwplus.export.run import export
from dwplus.planning.plan import make_plan, read_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store.reader import tile_table
from pipelines.regenerate import run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    spec = make_spec({"name": "old", "region": "sample", "windows": [["2021-06-01", "2021-08-01"]],
                      "tile": {"size": 128}, "sampling": {"per_biome": 2}, "store": {"shard_tiles": 4}})
    write_plan(make_plan(connect(), spec), folder / "old.parquet")
    export(folder / "old.parquet", folder / "old.zarr", EarthConfig())
    return folder / "old.zarr"


@pytest.fixture(scope="module")
def regenerated(store):
    """The same tiles two years earlier, and what was printed."""
    target = store.parent / "new.zarr"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert run(str(store), "2019-06-01", "2019-08-01", str(target), None, None, "threads") == 0
    return target, said.getvalue()


def test_from_a_store(store, regenerated):
    target, printed = regenerated
    old, new = tile_table(store).set_index("tile_id"), tile_table(target).set_index("tile_id")
    assert set(new.index) <= set(old.index) and len(new) >= 0.8 * len(old)
    for column in ("biome", "ecoregion", "split", "epsg", "x0", "y0"):
        assert (new[column] == old.loc[new.index, column]).all(), column
    assert (new["s2_time"].dt.year == 2019).all() and (old["s2_time"].dt.year == 2021).all()
    kept = len(set(new.index))
    assert f"kept{kept:>14}" in printed and f"lost{len(old) - kept:>14}" in printed
    rows = read_plan(f"{target}.plan.parquet")
    assert set(rows["tile_id"]) == set(old.index)  # every tile ends in a state


def test_and_back_again_gives_the_first_scenes(store, regenerated, tmp_path):
    there, back = regenerated[0], tmp_path / "back.zarr"
    assert run(f"{there}.plan.parquet", "2021-06-01", "2021-08-01", str(back), None, None, "threads") == 0
    old, new = tile_table(store).set_index("tile_id"), tile_table(back).set_index("tile_id")
    same = old.loc[new.index]
    assert (new["s1_id"] == same["s1_id"]).all() and (new["label_id"] == same["label_id"]).all()
    assert (new["gap_hours"] == same["gap_hours"]).all()
