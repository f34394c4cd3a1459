"""Stores whose metadata nobody wrote: one sentence, exit code 1 or 2, in bounded memory and time."""

import json
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr

from dwplus.errors import InputError
from dwplus.store import layout, stats, writer
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "s.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    writer.write_shard(layout.open_root(path, "r+")["biome_04"], 0, 4, {
        i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(4)})
    return path


def both(name, change):
    def damage(store):
        root = json.loads((store / "zarr.json").read_text())
        own = json.loads((store / name / "zarr.json").read_text())
        change(own)
        (store / name / "zarr.json").write_text(json.dumps(own))
        root["consolidated_metadata"]["metadata"][name] = own
        (store / "zarr.json").write_text(json.dumps(root))
    return damage


def code(name, value):
    def damage(store):
        zarr.open_array(store / "biome_04" / name, mode="r+", zarr_format=3)[1] = value
    return damage


def text(name, content):
    return lambda store: (store / name).write_text(content)


def shape(name, *sizes):
    return both(name, lambda m: m.update(shape=list(sizes)))


def huge_chunk(store):
    def change(meta):
        meta["shape"] = [10**12]
        meta["chunk_grid"]["configuration"]["chunk_shape"] = [10**12]
    both("biome_04/lon", change)(store)


def a_folder_for_a_file(store):
    (store / "biome_04/lon/c/0").unlink()
    (store / "biome_04/lon/c/0").mkdir()


def text_for_a_group(store):
    shutil.rmtree(store / "biome_12")
    (store / "biome_12").write_text("x")


DEEP = "[" * 200_000 + "]" * 200_000
DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bad status": code("status", 9), "a bad split": code("split", 200),
    "10^12 tiles in a column": shape("biome_04/lon", 10**12),
    "10^12 tiles in all of it": huge_chunk,
    "10^12 pixels": shape("biome_04/s2", 10, 3, 10**12, 32),
    "many tiles": lambda s: [shape(f"biome_04/{n}", 10**12, *t)(s) for n, t in (
        ("s2", (3, 32, 32)), ("s1", (2, 32, 32)), ("label", (32, 32)), ("tile_id", ()))],
    "another number of tiles": shape("biome_04/lon", 9),
    "a negative shape": shape("biome_04/lon", -3),
    "a shape of text": shape("biome_04/lon", "ten"),
    "deep JSON in the root": text("zarr.json", DEEP),
    "deep JSON in the attributes": text("zarr.json", '{"zarr_format": 3, "node_type": "group", "attributes": {"spec": '
                                        + DEEP + '}}'),
    "deep JSON in an array": text("biome_04/s2/zarr.json", DEEP),
    "no JSON in the root": text("zarr.json", "{"), "a list as root": text("zarr.json", "[]"),
    "nothing in the root": text("zarr.json", ""),
    "bytes in the root": lambda s: (s / "zarr.json").write_bytes(bytes(range(256))),
    "a spec of text": lambda s: (s / "zarr.json").write_text(json.dumps(
        {**json.loads((s / "zarr.json").read_text()), "attributes": {"dwplus_version": "1", "spec": "x"}})),
    "codecs of nobody": both("biome_04/s2", lambda m: m.update(codecs=[{"name": "nobody"}])),
    "no codecs": both("biome_04/lon", lambda m: m.update(codecs=[])),
    "a type of nobody": both("biome_04/lon", lambda m: m.update(data_type="complex999")),
    "a fill value of text": both("biome_04/lon", lambda m: m.update(fill_value="x")),
    "an array where a group was": lambda s: shutil.copyfile(s / "biome_04/lon/zarr.json", s / "biome_04/zarr.json"),
    "a folder where a file was": a_folder_for_a_file,
    "a group of text": text_for_a_group,
    "no scale": both("biome_04", lambda m: m["attributes"].pop("scale")),
    "a reference system that is none": code("epsg", 99),
    "places beyond all bounds": code("x0", 1e300), "places that are none": code("y0", float("nan")),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_one_sentence(store, kind):
    DAMAGES[kind](store)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        faults = verify(store).faults
        assert faults and all("\n" not in str(fault) for fault in faults)
    except InputError as error:
        assert "\n" not in str(error)
    for read in (tile_table, TileReader, lambda s: stats.measure(s, "all", scheduler="sync")):
        try:
            read(store)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # KiB


def test_a_zipped_store(store, tmp_path, capsys, monkeypatch):
    from dwplus.cli import main

    path = tmp_path / "s.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in store.rglob("*"):
            archive.write(file, file.relative_to(store))
    for words in (["verify", path], ["describe", path], ["stats", path]):
        monkeypatch.setattr(sys, "argv", ["dwplus", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        assert capsys.readouterr().err == (f"error: store {path}: is a file, must be the folder; unpack it first, if "
                                           "it is an archive\n")


def test_a_store_that_vanishes_meanwhile(store):
    def vanish(done, total):
        shutil.rmtree(store, ignore_errors=True)

    try:
        assert verify(store, vanish).faults
    except InputError as error:
        assert "\n" not in str(error)
    with pytest.raises(InputError):
        tile_table(store)


def test_a_reader_of_a_store_that_is_gone(store):
    reader = TileReader(store)
    shutil.rmtree(store)
    for index in (0, 9):
        with pytest.raises(InputError, match="missing"):
            reader.read("biome_04", index)
