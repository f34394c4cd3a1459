"""Triplets from the spec to the store, to folders of GeoTIFFs and back, and under a network."""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from dwplus.earth import EarthConfig, connect, connect_config
from dwplus.earth.probes import cloud_shares
from dwplus.earth.stack import fetch_tile
from dwplus.errors import InputError
from dwplus.export.run import export, repair
from dwplus.grid import tile_from_id
from dwplus.planning.plan import describe, make_plan, summary, write_plan
from dwplus.planning.preview import preview
from dwplus.spec import make_spec
from dwplus.store import writer
from dwplus.store.folder import read_folder, write_folder
from dwplus.store.reader import tile_table
from dwplus.store.verify import verify
from dwplus.taxonomy import from_six, stratum_of, to_six
from model.config import make_config
from model.data import TileDataset
from model.evaluate import evaluate, lines
from model.train import train

BASE = {"name": "c", "region": {"bbox": [9.05, 50.35, 9.55, 50.75]}, "windows": [["2021-06-01", "2021-09-01"]],
        "tile": {"size": 96}, "sentinel1": {"max_gap_hours": 288}, "sentinel2": {"bands": ["B2", "B4", "B8", "B11"]}}
SPEC = make_spec(BASE | {"sampling": {"per_biome": 15, "seed": 3}, "triplets": {"looks": 5},
                         "store": {"shard_tiles": 4}})


@pytest.fixture(scope="module")
def plan():
    return make_plan(connect(), SPEC)


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triplets")
    write_plan(plan, folder / "plan.parquet")
    found = export(folder / "plan.parquet", folder / "c.zarr", EarthConfig())
    assert found.exported == 15, found.line
    return folder / "c.zarr"


def test_the_plan_balances_the_strata_and_adds_up(plan):
    rows = plan[plan["state"] == "planned"]
    assert rows["stratum"].value_counts().to_dict() == dict.fromkeys(range(5), 3)
    assert [stratum_of(c) for c in rows["cloud_fraction"]] == rows["stratum"].tolist()
    assert rows["label_gap_hours"].abs().max() <= 15 * 24 and rows["gap_hours"].abs().max() <= 288
    own = rows["s2_id"] == rows["clear_id"]
    assert (own == (rows["label_gap_hours"] == 0)).all() and rows.loc[own, "stratum"].eq(0).all() and own.any()
    # Windows are the clouded scene's; the clear one may lie outside, and is measured to be clear.
    assert rows["s2_time"].between("2021-06-01", "2021-09-01").all()
    grids = [tile_from_id(t).grid for t in rows["tile_id"]]
    clear = cloud_shares(connect(), "cloud-score-plus", list(zip(grids, rows["clear_id"], strict=True)))
    assert max(clear) <= 0.05
    numbers = summary(plan)
    assert numbers["candidates"] == numbers["planned"] + sum(numbers["rejected"].values()) == len(plan)
    text = "\n".join(preview(plan))
    row = next(line for line in text.splitlines() if line.startswith("all") and "15" in line.split()[-1]
               and len(line.split()) == 7)
    assert row.split()[1:] == ["3"] * 5 + ["15"] and "15 planned" in describe(plan)


def test_no_clear_scene_is_nearer_than_the_labels(plan):
    """Of the Dynamic World scenes between a clouded scene and its clear one, none is clear over the tile and there as
    surface reflectance (which some lack)."""
    import ee

    session, rows = connect(), plan[(plan["state"] == "planned") & (plan["label_gap_hours"].abs() > 48)]
    looked_at = 0
    for row in rows.itertuples():
        grid = tile_from_id(row.tile_id).grid
        hours = abs(row.label_gap_hours) - 1
        labels, reflectances = (
            set(session.compute(
                ee.ImageCollection(name)
                .filterDate(row.s2_time - pd.Timedelta(hours=hours), row.s2_time + pd.Timedelta(hours=hours))
                .filterBounds(ee.Geometry.Point(list(grid.center))).aggregate_array("system:index")))
            for name in ("GOOGLE/DYNAMICWORLD/V1", "COPERNICUS/S2_SR_HARMONIZED"))
        shares = cloud_shares(session, "cloud-score-plus", [(grid, i) for i in sorted(labels & reflectances)])
        looked_at += len(shares)
        assert all(share > 0.05 for share in shares)
    assert looked_at


def test_the_store_holds_what_the_scenes_show(store, plan):
    table, rows = tile_table(store), plan[plan["state"] == "planned"].reset_index(drop=True)
    group = zarr.open_group(str(store), mode="r")[table["group"][0]]
    assert {"cloud", "s2_clear", "clear_id", "cloud_fraction", "stratum", "label_gap_hours"} <= set(group.array_keys())
    assert table["clear_id"].tolist() == rows["clear_id"].tolist()
    mask = group["cloud"][:]
    shares = [(m == 1).sum() / (m < 255).sum() for m in mask]
    assert np.allclose(table["cloud_fraction"], shares) and table["stratum"].tolist() == [
        stratum_of(float(np.float32(s))) for s in shares]
    assert np.abs(table["cloud_fraction"] - rows["cloud_fraction"]).max() < 0.1  # a coarse look while planning
    blue = group["s2"][:, 0].astype(float)
    assert blue[mask == 1].mean() > 2 * blue[mask == 0].mean()
    # The clear scene and the label are those of a plain export of that scene.
    place = int(np.argmax(table["stratum"]))
    row = rows.iloc[place]
    plain = fetch_tile(connect(), make_spec(BASE), tile_from_id(row["tile_id"]).grid, row["label_id"], row["clear_id"],
                       row["s1_id"].split(","))
    assert np.array_equal(group["s2_clear"][place], plain.s2) and np.array_equal(group["label"][place], plain.label)
    assert np.array_equal(group["s1"][place], plain.s1) and plain.cloud is None
    assert not np.array_equal(group["s2"][place], plain.s2)


def test_verify_and_repair_know_the_arrays(store, tmp_path):
    assert not verify(store).faults
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    name = tile_table(copy)["group"][0]
    group = zarr.open_group(str(copy), path=name, mode="r+", use_consolidated=False)
    shares = np.asarray(group["cloud_fraction"][:])
    group["cloud_fraction"][:] = np.roll(shares, 1)
    assert any("cloud_fraction" in fault.what for fault in verify(copy).faults)
    group["cloud_fraction"][:] = shares
    path = writer.formats(copy, group)["cloud"].path(1)
    broken = bytearray(path.read_bytes())
    broken[20] ^= 255
    path.write_bytes(broken)
    assert [f.shard for f in verify(copy).faults] == [(name, 4)]
    _, left = repair(copy, EarthConfig())
    assert not left and filecmp.cmp(path, writer.formats(store, group)["cloud"].path(1), shallow=False)


@pytest.mark.parametrize("source", ["s2cloudless", "scl"])
def test_other_masks(source, plan):
    """All agree where it is overcast and where it is clear. Between, s2cloudless knows neither shadows nor thin cloud,
    so it has less than Cloud Score+; the scene classification counts all cirrus, so it has more."""
    rows = plan[plan["state"] == "planned"].reset_index(drop=True)
    grids = [tile_from_id(t).grid for t in rows["tile_id"]]
    shares = np.array(cloud_shares(connect_config(EarthConfig()), source, list(zip(grids, rows["s2_id"], strict=True))))
    score = rows["cloud_fraction"].to_numpy()
    assert (score < 0.02).any() and (shares[score < 0.02] < 0.02).all()
    assert (score > 0.95).any() and (shares[score > 0.95] > 0.8).all()
    more, less = (score, shares) if source == "s2cloudless" else (shares, score)
    assert (more - less > -0.02).all() and (more - less > 0.05).any()
    wanted = make_spec(BASE | {"triplets": {"cloud": source, "keep_clear": False}})
    index = int(np.argmax(rows["stratum"].eq(2)))
    row = rows.loc[index]
    pixels = fetch_tile(connect(), wanted, grids[index], row["label_id"], row["s2_id"], row["s1_id"].split(","),
                        clear_id=row["clear_id"])
    assert pixels.s2_clear is None and set(np.unique(pixels.cloud)) <= {0, 1}
    assert abs(pixels.cloud.mean() - shares[index]) < 0.1  # a coarse look while planning


def same(one: Path, other: Path) -> list[str]:
    """Files that differ between two stores."""
    names = [{str(p.relative_to(s)) for p in s.rglob("*") if p.is_file()} for s in (one, other)]
    return sorted(names[0] ^ names[1]) + [n for n in names[0] & names[1] if not filecmp.cmp(one / n, other / n, False)]


def test_the_published_layout_and_back(store, tmp_path):
    assert write_folder(store, tmp_path / "set") == 15
    for sub in ("SAR_S1/VH", "SAR_S1/VV", "Opt_S2_cloudy", "Opt_S2_clear", "Label"):
        names = sorted(p.name for p in (tmp_path / "set" / sub).iterdir())
        assert len(names) == 15 and all(n.startswith("patch_ROIs_") and n.endswith(".tif") for n in names)
    assert read_folder(tmp_path / "set", tmp_path / "back.zarr") == 15
    assert same(store, tmp_path / "back.zarr") == ["zarr.json"] and (store / "tiles.parquet").exists()
    assert not verify(tmp_path / "back.zarr").faults
    one, other = (dict(zarr.open_group(str(s), mode="r").attrs) for s in (store, tmp_path / "back.zarr"))
    assert one.pop("plan") != other.pop("plan")  # the folder knows nothing of the rejected
    shared = (one.keys() & other.keys()) - {"seal", "plan_digest"}
    assert {"spec", "classes", "label_source"} <= shared
    assert {key: one[key] for key in shared} == {key: other[key] for key in shared}
    with pytest.raises(InputError, match="is there"):
        read_folder(tmp_path / "set", tmp_path / "back.zarr")
    with pytest.raises(InputError, match="not empty"):
        write_folder(store, tmp_path / "set")


def test_six_classes_and_a_foreign_folder(store, tmp_path):
    """Only what is published: no header, no clouds, six classes, the published columns."""
    folder = tmp_path / "foreign"
    write_folder(store, folder, six=True)
    (folder / "dwplus.json").unlink()
    shutil.rmtree(folder / "Cloud")
    table = pd.read_csv(folder / "split/split.csv")
    keep = ["split_id", "sar_vh", "sar_vv", "opt_cloudy", "opt_clear", "label"]
    for column in keep[1:]:
        table[column] = table[column].str.split("/").str[-1]
    table[keep].to_csv(folder / "split/split.csv", index=False)
    with pytest.raises(InputError, match="biome"):
        read_folder(folder, tmp_path / "f.zarr")
    read_folder(folder, tmp_path / "f.zarr", biome=4)
    assert not verify(tmp_path / "f.zarr").faults and (tmp_path / "f.zarr/tiles.parquet").exists()
    ours, theirs = (TileDataset(s, "all") for s in (store, tmp_path / "f.zarr"))
    assert not theirs.has_cloud and theirs.table["gap_hours"].isna().all() and theirs.table["s1_time"].isna().all()
    assert theirs.table["split"].astype(str).tolist() == ours.table["split"].astype(str).tolist()
    for i in range(len(ours)):
        a, b = ours.tile(i), theirs.tile(i)
        assert np.array_equal(a.s2, b.s2) and np.array_equal(a.s1, b.s1)
        assert np.array_equal(to_six(a.label), to_six(b.label)) and np.array_equal(b.label, from_six(to_six(a.label)))
    wrong = next((folder / "Label").iterdir())
    wrong.unlink()
    with pytest.raises(InputError, match="has no file"):
        read_folder(folder, tmp_path / "g.zarr", biome=4)
    assert not (tmp_path / "g.zarr").exists() and not list(tmp_path.glob(".g.zarr*"))


def test_networks_see_the_clouded_scene_and_are_judged_by_stratum(store, tmp_path):
    data = TileDataset(store, "all")
    group = zarr.open_group(str(store), mode="r")[data.table["group"][0]]
    assert data.has_cloud and np.array_equal(data.tile(3).s2, group["s2"][3])
    assert np.array_equal(data.cloud(3), group["cloud"][3])
    config = make_config({
        "model": {"name": "cloudlulc_net", "options": {"variant": "small"}}, "data": {"crop": 64, "threads": 1},
        "optim": {"epochs": 1, "batch_size": 4}, "run": {"tensorboard": False}}, "test")
    train(store, tmp_path / "run", config, device="cpu")
    found = evaluate(store, tmp_path / "run", tmp_path / "page", split="all", device="cpu", shown=1, draws=10)
    tiles = {name: g["tiles"] for name, g in found["by_cloud_stratum"].items()}
    counts = tile_table(store)["stratum"].value_counts()
    assert list(tiles.values()) == [counts[i] for i in sorted(counts.index)]
    trust = json.loads((tmp_path / "page/metrics.json").read_text())["reliability"]
    mask = group["cloud"][:]
    assert trust["cloudy_pixels"] == (mask == 1).sum() and trust["clear_pixels"] == (mask == 0).sum()
    assert 0 <= trust["auc"] <= 1 and "AUC" in lines(found)[-1]
    assert "reliability map" in (tmp_path / "page/index.html").read_text()
