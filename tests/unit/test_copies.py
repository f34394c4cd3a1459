"""Stores from stores: the same tiles with the same digests, checked on the way, and gone on with after a stop."""

import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from dwplus.errors import InputError, StopError
from dwplus.store import copies, layout, tables, writer
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.verify import verify
from dwplus.store.where import chosen
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


def fill(path, plan, spec, pixels_of, first=0):
    layout.create(path, plan, spec, created=CREATED, earth="embedded-earth", earth_version="planet 2")
    root = layout.open_root(path, "r+")
    for name in layout.biome_groups(root):
        count = root[name]["status"].shape[0]
        for start in range(0, count, 4):
            stop = min(start + 4, count)
            writer.write_shard(root[name], start, stop, {
                i: TileResult(layout.REJECTED, "few_labels: 0.1") if i == 5
                else TileResult(layout.EXPORTED, "", *pixels_of(i + first)) for i in range(start, stop)})
    tables.finish(path)
    return path


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    return fill(tmp_path / "a.zarr", small_plan, small_spec, pixels_of)


def files(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_subset(store, tmp_path):
    out = tmp_path / "b.zarr"
    assert copies.subset(store, out, "biome == 4 and gap_hours < -2 or tile_id in ['x']") == []
    table, whole = tile_table(out), tile_table(store)
    want = whole[(whole["biome"] == 4) & (whole["gap_hours"] < -2)].reset_index(drop=True)
    same = [c for c in want if c not in ("index", "group")]
    pd.testing.assert_frame_equal(table[same], want[same])
    far, near = TileReader(out), TileReader(store)
    for row in want.assign(place=range(len(want))).itertuples():
        if row.status == "exported":
            for one, other in zip(far.read("biome_04", row.place), near.read("biome_04", int(row[2])), strict=True):
                np.testing.assert_array_equal(one, other)
    digest = {p: tables.whole(p).set_index("tile_id")["digest_s2"] for p in (store, out)}
    assert (digest[out] == digest[store][digest[out].index]).all()
    with pytest.raises(InputError, match="no tile of store .* meets it"):
        copies.subset(store, tmp_path / "c.zarr", "biome == 9")
    with pytest.raises(InputError, match="is there and is another"):
        copies.subset(store, out, "biome == 12")


def test_a_copy_goes_on_after_a_stop(store, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.zarr", tmp_path / "b.zarr"
    assert copies.subset(store, whole, "True") == []
    real, calls = writer.write_shard, []

    def stops(*args):
        calls.append(args)
        if len(calls) == 3:
            raise StopError("the disk is full")
        real(*args)

    monkeypatch.setattr(writer, "write_shard", stops)
    with pytest.raises(StopError):
        copies.subset(store, out, "True")
    assert copies.subset(store, out, "True") == []
    assert len(calls) == 3 + 2 and files(out) == files(whole)


def test_damage_is_not_copied(store, tmp_path):
    for name in ("s2", "class_counts"):
        bad = tmp_path / f"{name}.zarr"
        shutil.copytree(store, bad)
        paths = [bad / "biome_04" / name / "c" / n / "0" for n in ("0", "1")]
        paths = [p / "0" / "0" if name == "s2" else p for p in paths]
        shutil.copyfile(paths[0], paths[1])
        with pytest.raises(InputError, match=r"biome_04/\w+ tile [4-7] .* is not what was written of this tile"):
            copies.subset(bad, tmp_path / "out.zarr", "biome == 4")
        shutil.rmtree(tmp_path / "out.zarr")


def test_a_merge(store, tmp_path, small_plan, small_spec, pixels_of):
    parts = [tmp_path / "p.zarr", tmp_path / "q.zarr"]
    copies.subset(store, parts[0], "lon < 3.03")
    copies.subset(store, parts[1], "lon >= 3.02")  # some tiles are in both
    out = tmp_path / "m.zarr"
    assert copies.merge(parts, out) == []
    a, b = (tables.whole(p).drop(columns=["index"]) for p in (out, store))
    pd.testing.assert_frame_equal(a, b)
    other = fill(tmp_path / "o.zarr", small_plan.assign(s1_id="another"), small_spec, pixels_of)
    with pytest.raises(InputError, match="is not the same in"):
        copies.merge([store, other], tmp_path / "n.zarr")


@pytest.mark.parametrize("where, words", [
    ("biome = 4", "cannot be read"), ("__import__('os').system('x')", "is not allowed"),
    ("tile_id.str.len() > 3", "is not allowed"), ("[x for x in biome]", "is not allowed"),
    ("nothing == 4", "is no column"),
    ("biome", "must be true or false"), ("biome and lon", "join comparisons"), ("lambda: 1", "is not allowed"),
    ("biome == 4 and", "cannot be read"), ("(" * 300 + ")" * 300, "cannot be read"), ("1" * 5000, "at most 4000"),
    ("biome in 4", "takes a column and a list"), ("tile_id < 4", "cannot be read"),
    ("biome ** 9 > 1", "is not allowed"),
    ("f'{biome}' == '4'", "is not allowed"), ("biome[0] == 4", "is not allowed")])
def test_conditions_that_are_none(where, words):
    table = pd.DataFrame({"biome": [4, 12], "lon": [1.0, 2.0], "tile_id": ["a", "b"]})
    with pytest.raises(InputError, match=words) as caught:
        chosen(table, where)
    assert "\n" not in str(caught.value)


def test_conditions():
    table = pd.DataFrame({"biome": [4, 12, 9], "gap_hours": [-3.0, 30.0, float("nan")], "split": pd.Categorical(
        ["train", "val", "train"]), "s2_time": pd.to_datetime(["2021-05-01", "2021-06-01", "2021-07-01"], utc=True)})
    for where, want in (("biome == 9 or gap_hours < 24", [True, False, True]),
                        ("not biome in [4, 9]", [False, True, False]),
                        ("-24 < gap_hours < 24", [True, False, False]), ("split == 'train'", [True, False, True]),
                        ("s2_time >= '2021-06-01'", [False, True, True]),
                        ("biome % 4 == 0 and True", [True, True, False]),
                        ("True", [True] * 3), ("biome not in (4,)", [False, True, True])):
        assert chosen(table, where).tolist() == want, where


def test_commands(store, tmp_path, capsys, monkeypatch):
    from dwplus.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["dwplus", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    code, out = run("subset", store, tmp_path / "b.zarr", "--where", "biome == 12")
    assert code == 0 and "3 planned = 3 exported" in out.out and "no fault" in out.out
    code, out = run("merge", store, tmp_path / "b.zarr", tmp_path / "c.zarr")
    assert code == 0 and "13 planned" in out.out and verify(tmp_path / "c.zarr").faults == []
    code, out = run("merge", store, tmp_path / "d.zarr")
    assert code == 2 and out.err.count("\n") == 1
    code, out = run("subset", store, tmp_path / "e.zarr", "--where", "biome.x == 1")
    assert code == 2 and "is not allowed" in out.err and not (tmp_path / "e.zarr").exists()
