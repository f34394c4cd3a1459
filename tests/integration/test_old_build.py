"""What commit 12d83e5 left behind (``tests/data/old_build``) opens, reads, resumes, is repaired and trains today."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import dwplus
from dwplus.earth import EarthConfig, connect
from dwplus.errors import InputError
from dwplus.export.run import export, summarise
from dwplus.planning.plan import make_plan, read_plan
from dwplus.spec import load_spec
from dwplus.store import layout
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.verify import verify
from dwplus.taxonomy import CLASSES
from model import checkpoint as checkpoints
from model.config import load_config
from model.data import TileDataset
from model.evaluate import evaluate
from model.train import train
from tests.commands import here

DATA = Path(__file__).parents[1] / "data" / "old_build"
ARRAYS = ("s2", "s1", "label", "class_counts")


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The folder as that build left it; whoever writes takes a copy."""
    folder = tmp_path_factory.mktemp("old")
    packed = base64.b64decode((DATA / "old_build.tar.xz.txt").read_text())
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def known():
    """What that build read of its stores."""
    return json.loads((DATA / "known.json").read_text())


@pytest.fixture
def copy(old, tmp_path):
    """Copies a store, or whatever else, with its run folder."""
    def make(name):
        for part in (name, f"{name}.run"):
            if (old / part).is_dir():
                shutil.copytree(old / part, tmp_path / part)
        return tmp_path / name

    return make


def digests(store):
    """The stored values of each tile, as ``known.json`` has them."""
    found = {}
    for node in xr.open_datatree(store, engine="zarr", mask_and_scale=False).children.values():
        for i, tile_id in enumerate(node["tile_id"].values):
            found[str(tile_id)] = {name: hashlib.sha256(np.ascontiguousarray(
                node[name].values[i]).tobytes()).hexdigest()[:16] for name in ARRAYS}
    return found


def right_or_gone(store, said):
    """Every tile has its values of then, or is rejected because this planet lacks its scenes: never other pixels."""
    table = tile_table(store).set_index("tile_id")
    for tile_id, found in digests(store).items():
        row = table.loc[tile_id]
        assert found == said[tile_id] if row["status"] == "exported" else row["reason"].startswith("asset_gone"), row
    assert not verify(store).faults


def resumed_or_refused(action):
    """Whether an action on pixels of the planet was done; a later planet may refuse it, in one sentence saying so."""
    try:
        action()
    except InputError as error:
        assert "planet" in str(error) and "\n" not in str(error)
        return False
    return True


@pytest.mark.parametrize("name", ["tree", "planet"])
def test_its_stores_open_and_read_as_it_read_them(old, known, name):
    store, said = old / f"{name}.zarr", known[name]
    assert digests(store) == said["digests"]
    table = tile_table(store)
    for column in ("s2_time", "s1_time"):
        table[column] = table[column].astype(str)
    wanted = pd.DataFrame(said["rows"])
    pd.testing.assert_frame_equal(table[list(wanted)].astype(object), wanted.astype(object), check_dtype=False)
    tree = dwplus.open_store(store)
    for group, node in tree.children.items():
        size = node.sizes["y"]
        assert node["s2"].dims == ("tile", "s2_band", "y", "x") and node["label"].dtype == "uint8"
        assert -40 < float(node["s1"].min()) < float(node["s1"].max()) < 20
        assert np.issubdtype(node["s2_time"].dtype, np.datetime64)
        gaps = (node["s1_time"] - node["s2_time"]) / np.timedelta64(1, "h")
        np.testing.assert_allclose(gaps, node["gap_hours"], atol=1e-3)
        # Pixels beside the counts the store keeps of them, and beside the other two readers.
        counts = [np.bincount(tile[tile != 255], minlength=len(CLASSES)) for tile in node["label"].values]
        np.testing.assert_array_equal(node["class_counts"].values, counts)
        pixels = TileReader(store).read(group, 0)
        assert pixels.s2.shape[1:] == pixels.label.shape == (size, size)
        np.testing.assert_array_equal(pixels.s2, node["s2"].isel(tile=0).values)
        np.testing.assert_array_equal(pixels.label, node["label"].isel(tile=0).values)


def test_samples_for_training(old, known):
    for split in ("train", "val", "test"):
        data = TileDataset(old / "tree.zarr", split)
        assert len(data) == sum(row["split"] == split for row in known["tree"]["rows"]) > 0
        tile = data.tile(0)
        assert tile.s2.shape == (4, 64, 64) and tile.s1.shape == (2, 64, 64) and tile.label.shape == (64, 64)


def test_verify_tells_whole_from_damaged(old):
    assert not verify(old / "tree.zarr").faults and not verify(old / "planet.zarr").faults
    assert not verify(old / "tree_half.zarr").faults
    assert here("dwplus", "verify", old / "tree.zarr").returncode == 0
    report = verify(old / "tree_damaged.zarr")
    groups = layout.biome_groups(layout.open_root(old / "tree_damaged.zarr"))
    assert sorted(report.shards) == [(groups[0], 2), (groups[1], 0), (groups[1], 4)]  # first tiles
    assert here("dwplus", "verify", old / "tree_damaged.zarr").returncode == 1


def test_a_half_export_goes_on_to_the_same_values(old, known, copy):
    store, world = copy("tree_half.zarr"), str(old / "tree")
    before = summarise(store)
    assert (before.exported, before.pending) == (5, 19)
    done = here("dwplus", "export", old / "tree.parquet", store, "--world", world, "--no-quicklooks")
    assert done.returncode == 0 and "24 planned = 24 exported" in done.stdout, done.stderr
    assert digests(store) == known["tree"]["digests"] and not verify(store).faults
    assert (tile_table(store)["split"] == tile_table(old / "tree.zarr")["split"]).all()


def test_a_half_export_of_the_planet(old, known, copy):
    store = copy("planet_half.zarr")
    assert summarise(store).pending == 2
    if resumed_or_refused(lambda: export(old / "planet.parquet", store, EarthConfig())):
        assert summarise(store).complete
        right_or_gone(store, known["planet"]["digests"])
    else:
        assert summarise(store).pending == 2


def test_damage_is_repaired_to_the_same_values(old, known, copy):
    store = copy("tree_damaged.zarr")
    done = here("dwplus", "repair", store, "--world", old / "tree")
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(store) == known["tree"]["digests"] and not verify(store).faults


def test_damage_of_the_planets_pixels(old, known, copy):
    from dwplus.export.run import repair

    store = copy("planet.zarr")
    group = layout.biome_groups(layout.open_root(store))[0]
    path = store / group / "s2/c/1/0/0/0"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert verify(store).shards == [(group, 2)]
    if resumed_or_refused(lambda: repair(store, EarthConfig())):
        right_or_gone(store, known["planet"]["digests"])
    else:
        assert path.read_bytes() == bytes(content)


def test_describe_report_and_tables(old, copy, tmp_path):
    store = copy("tree.zarr")
    said = here("dwplus", "describe", store)
    assert said.returncode == 0 and "24 planned = 24 exported" in said.stdout, said.stderr
    done = here("dwplus", "report", store, "-o", tmp_path / "report.html")
    assert done.returncode == 0 and "Region 7" in (tmp_path / "report.html").read_text(), done.stderr
    done = here("dwplus", "stats", store)
    assert done.returncode == 0 and "VV" in done.stdout, done.stderr
    assert not verify(store).faults


def test_other_splits(old, known, copy):
    store = copy("tree.zarr")
    done = here("dwplus", "split", store, "--seed", 3)
    assert done.returncode == 0 and "tiles changed" in done.stdout, done.stderr
    counts = tile_table(store)["split"].value_counts()
    assert counts.sum() == 24 and digests(store) == known["tree"]["digests"] and not verify(store).faults
    # The plan of that build still goes on with it, and brings no split back.
    assert export(old / "tree.parquet", store, EarthConfig(world=str(old / "tree"))).complete
    assert tile_table(store)["split"].value_counts().equals(counts)


def test_its_spec_makes_its_plan_and_its_plan_exports(old, known, tmp_path):
    plan = read_plan(old / "tree.parquet")
    again = make_plan(connect(world=old / "tree"), load_spec(old / "tree.yaml"))
    for column in ("tile_id", "epsg", "x0", "y0", "size", "biome", "label_id", "s2_id", "s1_id", "gap_hours", "split",
                   "state"):
        assert plan[column].tolist() == again[column].tolist(), column
    assert export(old / "tree.parquet", tmp_path / "new.zarr", EarthConfig(world=str(old / "tree"))).complete
    assert digests(tmp_path / "new.zarr") == known["tree"]["digests"]


def test_its_spec_and_plan_of_the_planet(old, known, tmp_path):
    load_spec(old / "planet.yaml")
    assert len(read_plan(old / "planet.parquet")) == len(known["planet"]["rows"])
    if resumed_or_refused(lambda: export(old / "planet.parquet", tmp_path / "p.zarr", EarthConfig())):
        assert summarise(tmp_path / "p.zarr").planned == len(known["planet"]["rows"])


def test_its_run_goes_on_and_is_evaluated(old, known, copy, tmp_path, monkeypatch):
    """Paused after one epoch by that build; the second ends where its own uninterrupted run ended."""
    copy("tree.zarr")
    run = copy("run")
    monkeypatch.chdir(tmp_path)  # the checkpoint knows the store as `tree.zarr`
    tensors, info = checkpoints.read(run / "last.safetensors")
    assert info["epoch"] == 1 and all(torch.isfinite(tensor).all() for tensor in tensors.values())
    kept = checkpoints.load(run)
    assert kept.name == "unet" and kept.info["s2_bands"] == ["B2", "B3", "B4", "B8"]
    assert kept.normalisation == TileDataset("tree.zarr").normalisation
    summary = train(["tree.zarr"], "run", load_config(str(run / "config.yaml")), device="cpu")
    assert summary.epochs == 2
    assert [record["loss"] for record in summary.history] == pytest.approx(known["losses"], rel=1e-3)
    found = evaluate("tree.zarr", run, tmp_path / "page", split="test", device="cpu", shown=1, draws=10)
    assert found["overall"]["tiles"] == 4 and 0 <= found["overall"]["miou"] <= 1
