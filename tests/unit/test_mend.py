"""What was fixed when a store was made comes back to the byte where it is lost, and never anything else."""

import json
import shutil

import numpy as np
import pytest
import zarr

from dwplus.store import layout, mend, seal, tables, writer
from dwplus.store.resplit import resplit
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult

FIXED = ("lon", "lat", "tile_id", "window", "label_id", "s2_id", "s1_id", "orbit_pass", "ecoregion", "epsg", "x0", "y0",
         "gap_hours", "s2_time", "s1_time", "s1_count", "s2_cloud", "relative_orbit", "biome", "coastal", "split",
         "tile_digest", "s2_band", "s1_band", "class", "digested")


def made(path, plan, spec, pixels_of, finished=True):
    layout.create(path, plan, spec, created="2026-01-02T03:04:05Z", earth="embedded-earth", earth_version="planet 2")
    writer.write_shard(layout.open_root(path, "r+")["biome_04"], 0, 4, {
        i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(4 if finished else 3)})
    tables.finish(path)
    return path


@pytest.fixture
def plan(small_plan):
    """Four tiles of one biome and a rejected one; no gap is -0."""
    return small_plan.iloc[[0, 1, 2, 3, 13]].assign(gap_hours=small_plan["gap_hours"] + 0.0).reset_index(drop=True)


@pytest.fixture
def store(tmp_path, plan, small_spec, pixels_of):
    return made(tmp_path / "a.zarr", plan, small_spec, pixels_of)


def files(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def lose(store, name):
    (store / name / "c" / "0").unlink()


def overwrite(store, name):
    array = zarr.open_array(store / name, mode="r+", zarr_format=3).with_config({"write_empty_chunks": True})
    array[...] = np.asarray(array[...])[::-1].copy()


@pytest.mark.parametrize("damage", [lose, overwrite, lambda store, name: shutil.rmtree(store / name)])
def test_every_fixed_column_comes_back(store, damage):
    before = files(store)
    for name in FIXED:
        damage(store, f"biome_04/{name}")
    # Of a column that is the same in all rows, the other way round is what it was.
    changed = {name for name in FIXED if any(key.startswith(f"biome_04/{name}/") and files(store).get(key) != content
                                             for key, content in before.items())}
    assert len(changed) >= 15
    words = "\n".join(str(fault) for fault in verify(store).faults)
    assert [name for name in changed if f"biome_04/{name}" not in words] == []
    back = "\n".join(mend.restore(store))
    assert [name for name in changed if f"biome_04/{name}" not in back] == []
    assert files(store) == before and verify(store).faults == []


def test_without_a_table_what_follows_from_other_columns_comes_back(tmp_path, plan, small_spec, pixels_of):
    store = made(tmp_path / "b.zarr", plan, small_spec, pixels_of, finished=False)
    before = files(store)
    assert tables.FILE not in before
    for names in (("lon", "lat", "window", "gap_hours", "s1_count", "biome", "coastal", "tile_digest", "s2_band",
                   "class", "digested"), ("tile_id", "s1_time"), ("epsg", "y0", "s2_time")):
        for name in names:
            lose(store, f"biome_04/{name}")
        mend.restore(store)
        assert files(store) == before, names
    # What a scene's id was follows from nothing but the plan.
    lose(store, "biome_04/s1_id")
    assert mend.restore(store) == [] and verify(store).faults
    assert mend.restore(store, plan) == ["biome_04/s1_id: put back"]
    assert files(store) == before
    # Another plan's columns are not the ones it was made with.
    lose(store, "biome_04/s1_id")
    assert mend.restore(store, plan.assign(s1_id="another")) == []
    assert not (store / "biome_04/s1_id/c/0").exists()


def test_metadata_comes_back(store):
    before = files(store)
    for name in ("biome_04", "biome_04/s2", "biome_04/status", "biome_04/digest", "biome_04/x0"):
        (store / name / "zarr.json").unlink()
        assert mend.restore(store) == [f"{name}/zarr.json: put back"]
        assert files(store) == before
    root = json.loads(before["zarr.json"])
    for change in (lambda m: m.pop("consolidated_metadata"),
                   lambda m: m["consolidated_metadata"]["metadata"].pop("biome_04/s1"),
                   lambda m: m["attributes"]["classes"].reverse(),
                   lambda m: m["attributes"].update(label_source="annotations", license="none")):
        changed = json.loads(before["zarr.json"])
        change(changed)
        (store / "zarr.json").write_text(json.dumps(changed))
        assert verify(store).faults
        mend.restore(store)
        assert verify(store).faults == [] and json.loads((store / "zarr.json").read_text()) == root


def test_a_whole_group_of_columns_and_their_metadata(store):
    before = files(store)
    for name in FIXED:
        shutil.rmtree(store / "biome_04" / name)
    root = json.loads(before["zarr.json"])
    root.pop("consolidated_metadata")
    (store / "zarr.json").write_text(json.dumps(root))
    mend.restore(store)
    assert json.loads((store / "zarr.json").read_text()) == json.loads(before["zarr.json"])
    assert {**files(store), "zarr.json": b""} == {**before, "zarr.json": b""}


def test_splits_are_those_of_the_last_split(store, plan):
    assert set(plan["split"][:4]) == {"train", "val", "test"}
    resplit([store], seed=9)
    before = files(store)
    assert len(set(np.asarray(zarr.open_array(store / "biome_04/split", mode="r")))) == 1  # one block of ground
    lose(store, "biome_04/split")
    assert mend.restore(store, plan) == ["biome_04/split: put back"] and files(store) == before


def test_a_sound_store_and_one_without_a_seal_stay_as_they_are(store):
    before = files(store)
    assert mend.restore(store) == [] and files(store) == before
    root = json.loads(before["zarr.json"])
    root["attributes"].pop(seal.KEY)
    (store / "zarr.json").write_text(json.dumps(root))
    lose(store, "biome_04/lon")
    assert mend.restore(store) == [] and not (store / "biome_04/lon/c/0").exists()
