"""Splits of stores that are there are put in place whole, for all their windows alike."""

import shutil
import sys

import numpy as np
import pandas as pd
import pytest

import dwplus
from dwplus.errors import InputError
from dwplus.grid import PixelGrid, tile_on_grid
from dwplus.splits import grids_of, near_pairs, split_of
from dwplus.store import card, layout, writer
from dwplus.store.reader import tile_table
from dwplus.store.resplit import KEY, resplit
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


def spread(plan, seed=0):
    """The small plan's tiles, moved onto many blocks; a third of the neighbours nearly touch across block edges."""
    rows = []
    for i in range(len(plan)):
        grid = PixelGrid(32631, 510_000.0 + 25_500 * i - 160 * (i % 3), 5_610_000.0, 10.0, 32, 32)
        rows.append({"tile_id": tile_on_grid(grid).id, "x0": grid.x0, "y0": grid.y0, "geometry": grid.footprint(),
                     "split": split_of(seed, grid)})
    return plan.assign(**{key: [r[key] for r in rows] for key in rows[0]})


@pytest.fixture
def stores(tmp_path, small_plan, small_spec, pixels_of):
    """Two windows of the same tiles."""
    found = []
    for name in ("a", "b"):
        plan = spread(small_plan)
        layout.create(tmp_path / name, plan, small_spec, created=CREATED, earth="embedded-earth")
        for group, n in (("biome_04", 10), ("biome_12", 3)):
            for start in range(0, n, 4):
                writer.write_shard(layout.open_root(tmp_path / name, "r+")[group], start, min(start + 4, n), {
                    i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, min(start + 4, n))})
        found.append(tmp_path / name)
    return found


def files(store, but=("split/", "zarr.json")):
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*")
            if p.is_file() and not any(word in str(p) for word in but)}


def test_stores_agree_and_stay_sound(stores):
    before = [files(s) for s in stores]
    found = resplit(stores, stratify="biome", seed=5)
    tables = [tile_table(s) for s in stores]
    assert (tables[0]["split"] == tables[1]["split"]).all()
    assert dict(zip(found["tile_id"], found["split"], strict=True)) == dict(
        zip(tables[0]["tile_id"], tables[0]["split"].astype(str), strict=True))
    assert set(found["split"]) == {"train", "val", "test"}
    assert [files(s) for s in stores] == before  # nothing else has changed
    for store in stores:
        assert verify(store).faults == []
        kept = layout.open_root(store).attrs[KEY]
        assert (kept["seed"], kept["stratify"], kept["guard_metres"]) == (5, "biome", 0.0)
    node = dwplus.open_store(stores[0])["biome_04"]
    assert node["split"].attrs["flag_meanings"] == "train val test"
    # With nothing given, it is again what the plan says.
    resplit(stores[:1])
    assert tile_table(stores[0])["split"].astype(str).tolist() == spread_splits(stores[0])
    assert verify(stores[0]).faults == []


def spread_splits(store):
    return [split_of(0, grid) for grid in grids_of(tile_table(store), 32, 10.0)]


def test_the_guard_is_a_fourth_word(stores):
    (store, _) = stores
    grids = grids_of(tile_table(store), 32, 10.0)
    guard = 26_000.0  # neighbours lie 25.2 km apart
    resplit([store], seed=9)
    table = tile_table(store)
    assert near_pairs(grids, table["split"].tolist(), guard)
    found = resplit([store], seed=9, guard_metres=guard)
    table = tile_table(store)
    assert (table["split"] == "guard").any() and (found["split"] == "guard").sum() == (table["split"] == "guard").sum()
    kept = table[table["split"] != "guard"]
    assert near_pairs(grids_of(kept, 32, 10.0), kept["split"].astype(str).tolist(), guard / 1.004) == []
    meanings = {name: dwplus.open_store(store)[name]["split"].attrs["flag_meanings"] for name in ("biome_04",
                                                                                                  "biome_12")}
    assert "train val test guard" in meanings.values()
    assert verify(store).faults == []
    # Data sets, cards and plans of new dates know it.
    from model.data import TileDataset

    sizes = {name: int((table["split"] == name).sum()) for name in layout.SPLITS}
    assert sum(sizes.values()) < len(table)
    for name, n in sizes.items():
        assert not n or len(TileDataset(store, name)) == n
    folder = card.write_card(store)
    assert f"guard {(table['split'] == 'guard').sum()}" in (folder / "README.md").read_text()
    mlc = pytest.importorskip("mlcroissant")
    assert {r["tiles/split"].decode() for r in mlc.Dataset(str(folder / "croissant.json")).records("tiles")} == set(
        table["split"])


def test_a_store_of_train_alone(stores, monkeypatch):
    monkeypatch.setattr("dwplus.store.resplit.assigned", lambda unique, *_: ["train"] * len(unique))
    resplit(stores[:1])
    assert (tile_table(stores[0])["split"] == "train").all() and verify(stores[0]).faults == []


def test_a_broken_off_change_is_found_and_mended(stores, monkeypatch):
    from dwplus.store.places import Folder

    (store, _) = stores
    real, calls = Folder.write, []

    def breaks(place, key, parts):
        calls.append(key)
        if len(calls) == 3:
            raise OSError(5, "Input/output error")
        real(place, key, parts)

    monkeypatch.setattr(Folder, "write", breaks)
    with pytest.raises(InputError, match="cannot be written .* run the same command again"):
        resplit([store], seed=9, guard_metres=26_000.0)
    monkeypatch.setattr(Folder, "write", real)
    assert verify(store).faults
    resplit([store], seed=9, guard_metres=26_000.0)
    assert verify(store).faults == []


def test_tiles_of_several_sizes(stores, tmp_path, small_plan, small_spec):
    from dwplus.spec import make_spec

    spec = make_spec({**small_spec.model_dump(mode="json"), "tile": {"size": 16}})
    layout.create(tmp_path / "c", spread(small_plan).assign(size=16), spec, created=CREATED, earth="embedded-earth")
    with pytest.raises(InputError, match="tiles are of several sizes"):
        resplit([stores[0], tmp_path / "c"])


def test_command(stores, capsys, monkeypatch, tmp_path):
    from dwplus.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["dwplus", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    code, out = run("split", *stores, "--seed", 9, "--guard", 26_000, "--stratify", "class")
    assert code == 0 and "set aside for the guard" in out.out and "of 13 tiles changed" in out.out
    code, out = run("split", stores[0], "--stratify", "continent")
    assert code == 2 and out.err.count("\n") == 1
    assert all(word in out.err for word in ("--stratify", "'continent'", "'none', 'biome', 'class'"))
    code, out = run("describe", stores[0])
    assert code == 0 and ", guard " in out.out and (tmp_path / "a.card" / "croissant.json").exists()
    shutil.rmtree(tmp_path / "a.card")
    code, out = run("describe", stores[0], "--no-card")
    assert code == 0 and not (tmp_path / "a.card").exists()


def test_new_dates_keep_the_splits(stores):
    from dwplus.planning.candidates import candidates_of

    resplit(stores, seed=3, stratify="biome", guard_metres=26_000.0)
    table = tile_table(stores[0])
    kept = pd.Series({c.tile.id: c.split for c in candidates_of(table)})
    assert (kept[table["tile_id"]].to_numpy() == table["split"].astype(str).to_numpy()).all()
    assert np.isin(kept, layout.SPLIT_FLAGS).all()
