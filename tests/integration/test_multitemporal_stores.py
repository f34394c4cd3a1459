"""A store whose speckle is filtered over dates: planned, exported, checked, mended, copied, and asked for by a map."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

from dwplus.earth import EarthConfig, connect
from dwplus.earth.stack import fetch_inputs
from dwplus.errors import InputError
from dwplus.export import export, repair
from dwplus.export.extend import extend
from dwplus.grid import tile_from_id
from dwplus.maps.inputs import blocks_of_plan
from dwplus.planning.measure import measure
from dwplus.planning.plan import make_plan, read_plan, spec_of, write_plan
from dwplus.planning.preview import cost, megapixels, preview
from dwplus.scenes.records import passes_of
from dwplus.spec import make_spec
from dwplus.store.copies import merge, subset
from dwplus.store.reader import tile_table
from dwplus.store.verify import verify

#: Hesse where two slices of the ascending relative orbit 161 meet.
RADAR = {"speckle": "multitemporal", "speckle_scenes": 4, "orbit": "ascending", "max_gap_hours": 288}


def spec(radar=RADAR, **more):
    return make_spec({
        "name": "calm", "region": {"bbox": [9.191, 51.2453, 9.209, 51.2513]}, "windows": [["2021-06-01", "2021-08-01"]],
        "tile": {"size": 64}, "store": {"shard_tiles": 2}, "sampling": {"per_biome": 3},
        "sentinel2": {"bands": ["B4", "B8"]}, "sentinel1": radar, **more})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    write_plan(make_plan(connect(), spec()), folder / "plan.parquet")
    summary = export(folder / "plan.parquet", folder / "store.zarr", EarthConfig())
    assert summary.exported == summary.planned > 1, summary.line
    return folder / "plan.parquet", folder / "store.zarr"


def test_the_plan_names_the_nearest_passes(made):
    plan = read_plan(made[0])
    rows = plan[plan["state"] == "planned"]
    assert rows["s1_id"].str.contains(",").any()  # the seam
    for row in rows.itertuples():
        further = passes_of(row.speckle_ids)
        days = [np.datetime64(one[0][17:21] + "-" + one[0][21:23] + "-" + one[0][23:25]) for one in
                (row.s1_id.split(","), *further)]
        gaps = [abs((day - days[0]).astype(int)) for day in days[1:]]
        assert len(further) == 3 and gaps == sorted(gaps) and 6 in gaps and max(gaps) <= 12
        # Both satellites of the time, and both slices wherever the tile lies on both.
        assert {one[0][:3] for one in further} <= {"S1A", "S1B"} and "S1B" in row.speckle_ids + row.s1_id
        assert all(len(one) == row.s1_id.count(",") + 1 for one in further)


def test_figures_count_the_further_passes(made):
    plan = read_plan(made[0])
    rows = plan[plan["state"] == "planned"]
    own = (rows["s1_id"].str.count(",") + 1).to_numpy()
    wanted = 64**2 / 1e6 * (2 + 2 * own + 2 * 3 * own + 1)
    np.testing.assert_allclose(megapixels(rows, spec()), wanted)
    assert cost(plan, spec()).requests == len(rows)
    text = "\n".join(preview(plan))
    priced, found = measure(connect(), plan)
    assert found.tile > 0 and priced["eecu_seconds"].notna().sum() == len(rows)
    assert "speckle multitemporal: 3.0 further passes a tile" in text and "in no assumed figure" in text


@pytest.mark.parametrize(("change", "words"), [
    (lambda ids, own: "", "3 further passes"),
    (lambda ids, own: ids.replace(";", " "), "slices of a pass by commas, passes by semicolons"),
    (lambda ids, own: ids.rpartition(";")[0], "3 further passes"),
    (lambda ids, own: f"{ids};{ids.split(';')[0]}", "ids that differ"),
    (lambda ids, own: f"{own};{ids.partition(';')[2]}", "ids that differ from each other and from s1_id")])
def test_an_edited_plan_is_checked(made, tmp_path, change, words):
    plan = read_plan(made[0])
    at = plan.index[plan["state"] == "planned"][0]
    plan.loc[at, "speckle_ids"] = change(plan.loc[at, "speckle_ids"], plan.loc[at, "s1_id"])
    write_plan(plan, tmp_path / "plan.parquet")
    with pytest.raises(InputError, match=words) as error:
        read_plan(tmp_path / "plan.parquet")
    assert "speckle_ids" in str(error.value) and "\n" not in str(error.value)


def test_a_plan_without_the_column_is_refused_and_a_plain_one_has_none(made, tmp_path):
    write_plan(read_plan(made[0]).drop(columns="speckle_ids"), tmp_path / "plan.parquet")
    with pytest.raises(InputError, match="lacks the column 'speckle_ids'"):
        read_plan(tmp_path / "plan.parquet")
    assert "speckle_ids" not in make_plan(connect(), spec({}))


def test_too_few_passes_reject_a_tile_unless_the_spec_is_content():
    with pytest.raises(InputError, match=r"no tile can be planned.*\(few_passes\)"):
        make_plan(connect(), spec(RADAR | {"speckle_days": 7}))
    content = make_plan(connect(), spec(RADAR | {"speckle_days": 7, "speckle_least": 2}))
    ids = content.loc[content["state"] == "planned", "speckle_ids"]
    assert len(ids) and ids.map(lambda text: len(passes_of(text))).between(1, 2).all()


def test_the_store_keeps_and_mends_them(made, tmp_path):
    path, store = made
    assert verify(store).faults == []
    plan = read_plan(path).query("state == 'planned'").set_index("tile_id")
    group = zarr.open_group(str(store), mode="r")["biome_04"]
    kept = dict(zip(map(str, group["tile_id"][:]), map(str, group["speckle_ids"][:]), strict=True))
    assert kept == plan["speckle_ids"].astype(str).to_dict()
    assert "speckle filter multitemporal of 4 passes" in group["s1"].attrs["long_name"]
    assert "speckle_ids" in tile_table(store)
    broken = tmp_path / "broken.zarr"
    shutil.copytree(store, broken)
    chunk = next(file for file in (broken / "biome_04" / "speckle_ids" / "c").rglob("*") if file.is_file())
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 1
    chunk.write_bytes(raw)
    damaged = zarr.open_group(str(broken), mode="r+", path="biome_04", use_consolidated=False)
    right = damaged["s1"][0]
    damaged["s1"][0] = np.zeros_like(right)
    assert verify(broken).faults
    _, left = repair(broken, EarthConfig())
    assert not left and not verify(broken).faults
    assert (zarr.open_group(str(broken), mode="r", path="biome_04")["s1"][0] == right).all()


def test_copies_keep_them(made, tmp_path):
    path, store = made
    first = str(zarr.open_group(str(store), mode="r")["biome_04"]["tile_id"][0])
    one, two = tmp_path / "one.zarr", tmp_path / "two.zarr"
    assert subset(store, one, f"tile_id == '{first}'") == [] and subset(store, two, f"tile_id != '{first}'") == []
    assert merge([one, two], tmp_path / "both.zarr") == []
    summary, faults = extend(one, path, tmp_path / "grown.zarr", EarthConfig())
    assert faults == [] and not summary.failed
    for name in ("both", "grown"):
        table = tile_table(tmp_path / f"{name}.zarr").set_index("tile_id")["speckle_ids"]
        assert table.to_dict() == tile_table(store).set_index("tile_id")["speckle_ids"].to_dict()


def test_a_map_asks_for_the_same(made):
    path, store = made
    plan = read_plan(path)
    block = next(block for block in blocks_of_plan(plan, 1, False) if block.scenes)
    scene = block.scenes[0]
    _, radar, _ = fetch_inputs(connect(), spec_of(plan), tile_from_id(block.id).grid, scene.s2_id,
                               scene.s1_id.split(","), speckle_ids=scene.speckle_ids)
    group = zarr.open_group(str(store), mode="r")["biome_04"]
    at = [str(name) for name in group["tile_id"][:]].index(block.id)
    assert scene.speckle_ids and (radar == group["s1"][at]).all()
    assert scene.as_kept()["speckle_ids"] == scene.speckle_ids
