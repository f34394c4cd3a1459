"""Stores of the first build, without digests: read, gone on with, checked as far as that goes, and given digests."""

import json
import shutil

import numpy as np
import pytest
import zarr

from dwplus.errors import InputError
from dwplus.export.run import check_version
from dwplus.store import digests, layout, seal, tables, writer
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.upgrade import add_digests
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"
NEW = (digests.ROW, digests.NAMES, digests.DIGESTS)


def older(store):
    """Take from a store what the first build did not write: it left out chunks of nothing but zeros, too."""
    root = json.loads((store / "zarr.json").read_text())
    members = root["consolidated_metadata"]["metadata"]
    for key in (seal.KEY, tables.KEY, "plan_digest", "earth_version"):
        root["attributes"].pop(key, None)
    (store / tables.FILE).unlink(missing_ok=True)
    for name in [*members]:
        group, _, array = name.partition("/")
        if array in NEW:
            shutil.rmtree(store / name)
            del members[name]
        elif not array:
            members[name]["attributes"]["coordinates"] = members[name]["attributes"]["coordinates"].removesuffix(
                f" {digests.ROW}")
            own = json.loads((store / name / "zarr.json").read_text())
            (store / name / "zarr.json").write_text(json.dumps({**own, "attributes": members[name]["attributes"]}))
        elif array not in writer.PIXELS:
            own = zarr.open_array(store / name, mode="r+", zarr_format=3)
            own.with_config({"write_empty_chunks": False})[...] = own[...]
    (store / "zarr.json").write_text(json.dumps(root))
    return store


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "s.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth", earth_version="planet 1")
    for group, start, stop in (("biome_04", 0, 4), ("biome_04", 4, 8), ("biome_12", 0, 3)):
        writer.write_shard(layout.open_root(path, "r+")[group], start, stop, {
            i: TileResult(layout.REJECTED, "few_labels: 0.1") if i == 5
            else TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop)})
    return older(path)


def test_read_and_gone_on_with(store, pixels_of):
    report = verify(store)
    assert report.faults == [] and len(report.notes) == 1 and "no digests" in report.notes[0]
    assert not (store / "biome_04/coastal/c/0").exists() and not (store / "biome_04/reason/c/0").exists()
    assert tile_table(store)["status"].value_counts()["exported"] == 10
    group = layout.open_root(store, "r+")["biome_04"]
    writer.write_shard(group, 8, 10, {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in (8, 9)})
    np.testing.assert_array_equal(TileReader(store).read("biome_04", 9).s2, pixels_of(9)[0])
    assert verify(store).faults == [] and not tables.finish(store)


def test_what_is_found_without_digests(store):
    def meta(name, change):
        for path in (store / name / "zarr.json", store / "zarr.json"):
            whole = json.loads(path.read_text())
            change(whole if path.parent != store else whole["consolidated_metadata"]["metadata"][name])
            path.write_text(json.dumps(whole))

    sound = store.with_name("sound")
    shutil.copytree(store, sound)
    for name, change in (("biome_04/s1", lambda m: m["attributes"].update(scale_factor=0.1)),
                         ("biome_04/s1", lambda m: m["attributes"].pop("_FillValue")),
                         ("biome_04/s2", lambda m: m.update(fill_value=0)),
                         ("biome_04/label", lambda m: m["attributes"].update(flag_meanings="a b")),
                         ("biome_04/x0", lambda m: m["attributes"].update(units="km")),
                         ("biome_12", lambda m: m["attributes"].update(biome_name="Tundra"))):
        meta(name, change)
        assert verify(store).faults, name
        shutil.rmtree(store)
        shutil.copytree(sound, store)
    bands = zarr.open_array(store / "biome_04/s2_band", mode="r+", zarr_format=3)
    bands[...] = bands[...][::-1]
    assert verify(store).faults
    for name in ("tile_id", "lon", "epsg"):
        (store / "biome_12" / name / "c" / "0").unlink()
        with pytest.raises(InputError, match=f"column {name} .* is missing"):
            tile_table(store)
        shutil.copyfile(sound / "biome_12" / name / "c" / "0", store / "biome_12" / name / "c" / "0")


def test_digests_are_added(store, monkeypatch, pixels_of):
    real, calls = digests.of_rows, []

    def breaks(columns):
        calls.append(columns)
        if len(calls) == 3:
            raise OSError(5, "Input/output error")
        return real(columns)

    monkeypatch.setattr(digests, "of_rows", breaks)
    with pytest.raises(InputError, match="run the same command again"):
        add_digests(store)
    before = {name: TileReader(store).read("biome_04", 1)[i] for i, name in enumerate(writer.PIXELS)}
    assert add_digests(store) == []
    report = verify(store)
    assert report.faults == [] and report.notes == [] and add_digests(store) == []
    for name, pixels in before.items():
        np.testing.assert_array_equal(TileReader(store).array("biome_04", name, 1), pixels)
    writer.write_shard(layout.open_root(store, "r+")["biome_04"], 8, 10,
                       {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in (8, 9)})
    assert tables.finish(store) and verify(store).faults == []
    one, other = (store / "biome_04" / "s2" / "c" / n / "0" / "0" / "0" for n in "01")
    shutil.copyfile(one, other)
    assert [f for f in verify(store).faults if "is not what was written of this tile" in str(f)]


def test_a_damaged_store_gets_no_digests(store):
    (store / "biome_04" / "s2" / "c" / "0" / "0" / "0" / "0").write_bytes(b"x" * 200)
    assert add_digests(store) and seal.KEY not in layout.open_root(store).attrs


def test_planets_do_not_mix(store, tmp_path, small_plan, small_spec):
    check_version(store, "planet 1")
    check_version(store, "asset tree")
    check_version(store, "")
    with pytest.raises(InputError, match="holds pixels of planet 1, this run has planet 2"):
        check_version(store, "planet 2")
    assert add_digests(store) == []
    check_version(store, "asset tree")
    with pytest.raises(InputError, match="this run has planet 2"):
        check_version(store, "planet 2")
    new = tmp_path / "n.zarr"
    layout.create(new, small_plan, small_spec, created=CREATED, earth="embedded-earth", earth_version="planet 2")
    check_version(new, "planet 2")
    for version in ("planet 3", "asset tree", "planet 2 seed 5"):
        with pytest.raises(InputError, match=f"holds pixels of planet 2, this run has {version}"):
            check_version(new, version)
