"""Whatever is changed in a store behind dwplus' back, `dwplus verify` says so; what is as it was, it leaves alone.

A small store is damaged in one way after the other, always with sound checksums: through zarr, or by moving whole
files. Sound bytes in the wrong place are what digests are for.
"""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from dwplus.errors import InputError
from dwplus.store import layout, seal, stats, tables, writer
from dwplus.store.resplit import resplit
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"
DYNAMIC = ("class_counts", "valid_fraction", "reason", "status", "digest")


def fill(path, plan, spec, pixels_of, step=0):
    layout.create(path, plan, spec, created=CREATED, earth="embedded-earth")
    for group, start, stop in (("biome_04", 0, 4), ("biome_04", 4, 8), ("biome_12", 0, 3)):
        writer.write_shard(layout.open_root(path, "r+")[group], start, stop, {
            i: TileResult(layout.REJECTED, "few_labels: 0.1") if i == 5
            else TileResult(layout.EXPORTED, "", *pixels_of(i + step)) for i in range(start, stop)})
    tables.finish(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store, and one of the same plan with other pixels; made once, though its parts come for each test."""
    folder = tmp_path_factory.mktemp("damage")
    return functools.cache(lambda: (folder / "s.zarr", folder / "other.zarr"))


@pytest.fixture
def store(made, tmp_path, small_plan, small_spec, pixels_of):
    sound, other = made()
    if not sound.exists():
        plan = small_plan[small_plan["x0"].rank().le(8) | (small_plan["biome"] == 12)].reset_index(drop=True)
        fill(sound, plan, small_spec, pixels_of)
        fill(other, plan, small_spec, pixels_of, 50)
        stats.store_statistics(sound, stats.measure(sound, "all"))
        assert (sound / tables.FILE).exists() and verify(sound).faults == []
    shutil.copytree(sound, tmp_path / "s.zarr")
    return tmp_path / "s.zarr"


def found(store):
    """Whether a check finds anything, which it says in sentences."""
    try:
        report = verify(store)
    except InputError as error:
        assert "\n" not in str(error)
        return True
    return bool(report.faults)


def meta(change, name=""):
    """Change a `zarr.json` and the copy that the root keeps of it, as somebody would who knows of both."""
    def damage(store):
        root = json.loads((store / "zarr.json").read_text())
        if not name:
            change(root)
        else:
            own = json.loads((store / name / "zarr.json").read_text())
            change(own)
            (store / name / "zarr.json").write_text(json.dumps(own))
            root["consolidated_metadata"]["metadata"][name] = own
        (store / "zarr.json").write_text(json.dumps(root))
    return damage


def attribute(key, value, name=""):
    def change(content):
        content["attributes"].pop(key, None) if value is None else content["attributes"].update({key: value})
    return meta(change, name)


def entry(key, value, name=""):
    return meta(lambda content: content.update({key: value}), name)


def value(name, change):
    """Change the values of a column or of pixels through zarr."""
    def damage(store):
        array = zarr.open_array(store / name, mode="r+", zarr_format=3).with_config({"write_empty_chunks": True})
        array[...] = change(np.asarray(array[...]).copy())
    return damage


def put(i, new):
    def change(values):
        values[i] = new(values[i]) if callable(new) else new
        return values
    return change


def exchange(i, j):
    def change(values):
        values[[i, j]] = values[[j, i]]
        return values
    return change


def swap(*pairs):
    """Exchange files or folders."""
    def damage(store):
        for one, other in pairs:
            (store / one).rename(store / "between")
            (store / other).rename(store / one)
            (store / "between").rename(store / other)
    return damage


def remove(*names):
    def damage(store):
        for name in names:
            path = store / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return damage


def all_of(*damages):
    def damage(store):
        for one in damages:
            one(store)
    return damage


def write(name, content=b"x"):
    def damage(store):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(content)
    return damage


def copy(one, other):
    return lambda store: shutil.copyfile(store / one, store / other)


def shard(group, name, number):
    return f"{group}/{name}/c/{number}" if name in DYNAMIC[1:4] else f"{group}/{name}/c/{number}" + (
        "/0" if name in ("class_counts", "digest") else "/0/0" if name == "label" else "/0/0/0")


def rows(change, group="biome_04", but=()):
    """The same change in every column and every pixel array of a group."""
    def damage(store):
        for name in sorted(p.name for p in (store / group).iterdir() if p.is_dir() and p.name not in but):
            array = zarr.open_array(store / group / name, mode="r", zarr_format=3)
            if array.metadata.dimension_names[0] == "tile":
                value(f"{group}/{name}", change)(store)
    return damage


def from_other(*names):
    def damage(store, other):
        for name in names:
            shutil.copyfile(other / name, store / name)
    return damage


def reversed_classes(store):
    """Labels and their counts, both the other way round, and consistent."""
    value("biome_12/label", lambda x: np.where(x == 255, x, 8 - x).astype("u1"))(store)
    value("biome_12/class_counts", lambda x: x[:, ::-1])(store)


S2, S1, LABEL = ("biome_04/s2", "biome_04/s1", "biome_04/label")
PIXELS = [shard("biome_04", name, 0) for name in writer.PIXELS]
DAMAGES = {
    # shards
    "S2 shard deleted": remove(shard("biome_04", "s2", 0)),
    "S1 shard deleted": remove(shard("biome_04", "s1", 1)),
    "label shard deleted": remove(shard("biome_12", "label", 0)),
    "all shards of a row of arrays deleted": remove(*PIXELS),
    "a shard with its columns deleted": remove(*PIXELS, *(shard("biome_04", name, 0) for name in DYNAMIC)),
    "shards swapped in a group": swap((shard("biome_04", "s2", 0), shard("biome_04", "s2", 1))),
    "all shards swapped in a group": swap(*((shard("biome_04", n, 0), shard("biome_04", n, 1)) for n in writer.PIXELS)),
    "shards swapped with their columns": swap(*((shard("biome_04", n, 0), shard("biome_04", n, 1))
                                                for n in (*writer.PIXELS, *DYNAMIC))),
    "shards swapped between groups": swap(*((shard("biome_04", n, 0), shard("biome_12", n, 0))
                                            for n in (*writer.PIXELS, *DYNAMIC))),
    "one array's shard swapped between groups": swap((shard("biome_04", "s1", 0), shard("biome_12", "s1", 0))),
    "a shard copied over another": all_of(*(copy(shard("biome_04", n, 0), shard("biome_04", n, 1))
                                            for n in (*writer.PIXELS, *DYNAMIC))),
    "a shard too many": copy(shard("biome_04", "s2", 0), "biome_04/s2/c/0/0/0/1"),
    "a shard past the end": all_of(write("biome_04/s2/c/9/0/0/0")),
    "tiles swapped in a shard": value(S2, exchange(0, 1)),
    "tiles swapped in a shard, all arrays": all_of(*(value(n, exchange(0, 1)) for n in (S2, S1, LABEL))),
    "tiles swapped with what became of them": all_of(*(value(n, exchange(0, 1)) for n in (
        S2, S1, LABEL, *(f"biome_04/{d}" for d in DYNAMIC)))),
    "whole rows swapped": rows(exchange(0, 6)),
    "whole rows swapped, splits stay": rows(exchange(0, 6), but=("split",)),
    "groups swapped": swap(("biome_04", "biome_12")),
    "a group deleted": remove("biome_12"),
    "a group deleted, and from the copy": all_of(remove("biome_12"), meta(lambda m: [
        m["consolidated_metadata"]["metadata"].pop(k) for k in [*m["consolidated_metadata"]["metadata"]]
        if k.startswith("biome_12")])),
    "one pixel": value(S2, put((0, 0, 0, 0), lambda x: x + 1)),
    "one label that stays its class elsewhere": value(LABEL, put((0, slice(0, 2)), lambda x: x[::-1])),
    "bands reversed": value(S2, lambda x: x[:, ::-1]),
    "bands of S1 reversed": value(S1, lambda x: x[:, ::-1]),
    "turned upside down": value(S2, lambda x: x[..., ::-1, :]),
    "classes reversed with their counts": reversed_classes,
    "no data made zero": value(S1, lambda x: np.where(x == x.min(), 0, x).astype(x.dtype)),
    "a tile emptied": value(S2, put(0, layout.S2_NODATA)),
    # bands and classes
    "names of bands reversed": value("biome_04/s2_band", lambda x: x[::-1]),
    "a band renamed": value("biome_12/s1_band", put(0, "HH")),
    "names of classes reversed": value("biome_04/class", lambda x: x[::-1]),
    "names of digests reversed": value("biome_04/digested", lambda x: x[::-1]),
    # metadata of arrays
    "scale factor": attribute("scale_factor", 0.02, S1),
    "scale factor removed": attribute("scale_factor", None, S1),
    "scale factor added": attribute("scale_factor", 0.1, S2),
    "offset added": attribute("add_offset", 5, S2),
    "fill value": entry("fill_value", 0, S2),
    "fill value of S1": entry("fill_value", 0, S1),
    "fill value of labels": entry("fill_value", 0, LABEL),
    "_FillValue": attribute("_FillValue", 0, S2),
    "_FillValue removed": attribute("_FillValue", None, S1),
    "flag meanings of labels": attribute("flag_meanings", "trees water grass flooded_vegetation crops shrub_and_scrub "
                                         "built bare snow_and_ice", LABEL),
    "flag values of labels": attribute("flag_values", list(range(1, 10)), LABEL),
    "ignored label": attribute("ignore", 0, LABEL),
    "flag meanings of status": attribute("flag_meanings", "exported pending rejected failed", "biome_04/status"),
    "flag meanings of split": attribute("flag_meanings", "val train test", "biome_04/split"),
    "units of S2": attribute("units", "1", S2),
    "units of S1": attribute("units", "m", S1),
    "units of times": attribute("units", "seconds since 1970-01-01T00:00:00", "biome_04/s1_time"),
    "calendar": attribute("calendar", "noleap", "biome_04/s2_time"),
    "units of the gap": attribute("units", "d", "biome_04/gap_hours"),
    "long name": attribute("long_name", "something else", S2),
    "an attribute added": attribute("note", "mine", LABEL),
    "dimension names": entry("dimension_names", ["tile", "s2_band", "x", "y"], S2),
    "type": entry("data_type", "int16", S2),
    "shape": meta(lambda m: m["shape"].__setitem__(0, 4), S2),
    "shape of all": all_of(*(meta(lambda m: m["shape"].__setitem__(0, 4), n) for n in (S2, S1, LABEL))),
    "chunks": meta(lambda m: m["chunk_grid"]["configuration"]["chunk_shape"].__setitem__(0, 2), S2),
    "codec": meta(lambda m: m["codecs"][0]["configuration"]["codecs"][1]["configuration"].update(cname="lz4"), S2),
    "byte order": meta(lambda m: m["codecs"][0]["configuration"]["codecs"][0]["configuration"].update(endian="big"),
                       S2),
    "where the index lies": meta(lambda m: m["codecs"][0]["configuration"].update(index_location="start"), S2),
    "names of chunks": entry("chunk_key_encoding", {"name": "default", "configuration": {"separator": "."}}, S2),
    "kind of node": entry("node_type", "group", S2),
    "metadata of the file alone": lambda store: (store / S1 / "zarr.json").write_text(
        (store / S1 / "zarr.json").read_text().replace("0.01", "0.02")),
    "metadata of the copy alone": lambda store: (store / "zarr.json").write_text(
        (store / "zarr.json").read_text().replace("0.01", "0.02")),
    "an array's metadata deleted": remove(f"{S1}/zarr.json"),
    "an array deleted": remove("biome_04/coastal"),
    "an array added": lambda store: shutil.copytree(store / "biome_04" / "lon", store / "biome_04" / "more"),
    # metadata of groups and root
    "biome of a group": attribute("biome", 5, "biome_04"),
    "name of a group's biome": attribute("biome_name", "Tundra", "biome_04"),
    "scale of a group": attribute("scale", 20.0, "biome_04"),
    "coordinates of a group": attribute("coordinates", "lon lat", "biome_04"),
    "spec": meta(lambda m: m["attributes"]["spec"]["sentinel1"].update(max_gap_hours=12)),
    "bands of the spec": meta(lambda m: m["attributes"]["spec"]["sentinel2"].update(bands=["B4", "B3", "B2"])),
    "no spec": attribute("spec", None),
    "label source": attribute("label_source", "annotations"),
    "classes": meta(lambda m: m["attributes"]["classes"].reverse()),
    "palette": meta(lambda m: m["attributes"]["palette"].reverse()),
    "biomes": meta(lambda m: m["attributes"]["biomes"].update({"4": "Tundra"})),
    "sources": meta(lambda m: m["attributes"]["sources"]["labels"].update(licence="none")),
    "earth": attribute("earth", "earth-engine"),
    "version": attribute("dwplus_version", "9.9"),
    "created": attribute("created", "2020-01-01T00:00:00Z"),
    "counts of the plan": meta(lambda m: m["attributes"]["plan"].update(planned=3)),
    "rejects of the plan": meta(lambda m: m["attributes"]["plan"]["rejected"].update(no_s1=7)),
    "history": attribute("history", "made by hand"),
    "licence": attribute("license", "CC0"),
    "a root attribute added": attribute("note", "mine"),
    "statistics": meta(lambda m: m["attributes"]["statistics"]["s2"][0].update(mean=1.0)),
    "splits that never were made": attribute("splits", {"seed": 3, "stratify": "none"}),
    "no copies of metadata": meta(lambda m: m.pop("consolidated_metadata")),
    "no seal": attribute("seal", None),
    "half a seal": meta(lambda m: m["attributes"]["seal"].pop("columns")),
    "a seal of no columns": meta(lambda m: m["attributes"]["seal"]["columns"].clear()),
    "a seal without a column": meta(lambda m: m["attributes"]["seal"]["columns"].pop("biome_04/split")),
    "seal of another kind": meta(lambda m: m["attributes"]["seal"].update(algorithm="md5")),
    "names of a column's file and another's swapped": swap(("biome_04/s2_id", "biome_04/label_id")),
    "corners swapped": swap(("biome_04/x0/c/0", "biome_04/y0/c/0")),
    # what became of tiles
    "exported called rejected": value("biome_04/status", put(0, layout.REJECTED)),
    "exported called rejected, with a reason": all_of(value("biome_04/status", put(0, layout.REJECTED)),
                                                      value("biome_04/reason", put(0, "few_labels: 0"))),
    "exported called pending": value("biome_04/status", put(0, layout.PENDING)),
    "rejected called pending": all_of(value("biome_04/status", put(5, 0)), value("biome_04/reason", put(5, ""))),
    "rejected called exported": value("biome_04/status", put(5, layout.EXPORTED)),
    "rejected called failed": value("biome_04/status", put(5, layout.FAILED)),
    "no such status": value("biome_04/status", put(0, 9)),
    "another reason": value("biome_04/reason", put(5, "clouded: 0.9")),
    "counts of classes": value("biome_04/class_counts", exchange(0, 1)),
    "valid fraction": value("biome_04/valid_fraction", put(0, np.float32(0.5))),
    "digests swapped": value("biome_04/digest", exchange(0, 1)),
    "a digest emptied": value("biome_04/digest", put((0, 1), "")),
    "rows' digests swapped": value("biome_04/tile_digest", exchange(0, 1)),
    # the table, and what does not belong
    "table deleted": remove(tables.FILE),
    "table cut off": lambda store: (store / tables.FILE).write_bytes((store / tables.FILE).read_bytes()[:-9]),
    "table of nobody": write(tables.FILE),
    "a file too many": write("biome_04/notes.txt"),
    "half a file": write("biome_04/s2/c/0/0/0/0.abc.partial"),
    "litter": all_of(write(".DS_Store"), write("biome_04/._s2"), write("biome_04/s2/@eaDir/x")),
}


def column_damages():
    """Of every column: another value, and no chunk."""
    whole = {"tile_id": "utm_32631_1_1_32x10", "window": "2021-01-01/2021-06-01", "split": 2, "epsg": 32632}
    names = ("lon", "lat", "tile_id", "window", "label_id", "s2_id", "s1_id", "orbit_pass", "ecoregion", "epsg", "x0",
             "y0", "gap_hours", "s2_time", "s1_time", "s1_count", "s2_cloud", "relative_orbit", "biome", "coastal",
             "split")
    for name in names:
        new = whole.get(name, lambda x: f"{x}x" if isinstance(x, str) else x + 1)
        yield f"{name} changed", value(f"biome_04/{name}", put(1, new))
        yield f"{name} swapped", value(f"biome_04/{name}", exchange(0, 7))
    for name in (*names, "tile_digest", "s2_band", "s1_band", "class", "digested"):
        yield f"{name} deleted", remove(f"biome_04/{name}/c/0")
    for name in DYNAMIC:
        yield f"{name} deleted", remove(shard("biome_04", name, 1))
        yield f"{name} of another shard", copy(shard("biome_04", name, 0), shard("biome_04", name, 1))
        yield f"{name} swapped between groups", swap((shard("biome_04", name, 0), shard("biome_12", name, 0)))


def sealed_anew(change):
    """Change the root and its own digest in the seal, as somebody would who knows of it."""
    def damage(store):
        root = json.loads((store / "zarr.json").read_text())
        change(root["attributes"])
        root["attributes"]["seal"]["root"] = seal.of_root(root)
        (store / "zarr.json").write_text(json.dumps(root))
    return damage


@pytest.mark.parametrize("change", [
    lambda a: a["spec"]["tile"].update(scale=20.0), lambda a: a["spec"]["sentinel2"]["bands"].reverse(),
    lambda a: a.update(label_source="annotations"), lambda a: a["biomes"].update({"4": "Tundra"}),
    lambda a: a["spec"].update(windows=[["2021-01-01", "2021-06-01"]]), lambda a: a["palette"].reverse(),
    lambda a: a["classes"].reverse(), lambda a: a["plan_digest"].update(tile_id="0" * 32)])
def test_what_the_seal_was_renewed_over_still_follows_from_spec_and_plan(store, change):
    sealed_anew(change)(store)
    assert found(store)


def changes_nothing(store, before):
    return {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found(store, kind):
    DAMAGES[kind](store)
    assert found(store), f"{kind}: 0 faults"


@pytest.mark.parametrize("part", range(4))
def test_damaged_columns_are_found(store, part, made):
    sound = made()[0]
    before = {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    for kind, damage in list(column_damages())[part::4]:
        shutil.rmtree(store)
        shutil.copytree(sound, store)
        damage(store)
        # What is the same in all rows cannot be swapped.
        assert changes_nothing(store, before) or found(store), f"{kind}: 0 faults"


def test_shards_of_another_store_of_the_same_plan(store, made):
    other = made()[1]
    names = [shard("biome_04", name, 0) for name in (*writer.PIXELS, *DYNAMIC)]
    from_other(*names)(store, other)
    assert found(store)  # in the table alone: tiles and columns fit each other
    from_other(*names[:3])(store, made()[0])
    assert found(store)
    shutil.copyfile(other / tables.FILE, store / tables.FILE)
    assert found(store)


def test_every_entry_of_every_metadata_file_is_under_seal(store):
    root = json.loads((store / "zarr.json").read_text())
    members = root["consolidated_metadata"]["metadata"]
    kept = root["attributes"][seal.KEY]
    sealed = kept["columns"]
    assert not list(seal.broken(kept, root, members, sealed, ()))
    tried = 0

    def leaves(node, path=()):
        yield path
        if isinstance(node, dict | list):
            for key, child in (node.items() if isinstance(node, dict) else enumerate(node)):
                yield from leaves(child, (*path, key))

    def without(node, path):
        node = json.loads(json.dumps(node))
        here = node
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = "changed" if here[path[-1]] != "changed" else 0
        return node

    for name, member in members.items():
        if name.startswith("biome_12") and "/" in name:
            continue  # as the other group's
        for path in leaves(member):
            if path and path[0] != "consolidated_metadata":
                changed = {**members, name: without(member, path)}
                assert list(seal.broken(kept, root, changed, sealed, ())), (name, path)
                tried += 1
    for path in leaves(root):
        if path and path[:2] not in (("attributes", seal.KEY), ("consolidated_metadata", "metadata")) and path not in (
                ("attributes",), ("consolidated_metadata",)):
            assert list(seal.broken(kept, without(root, path), members, sealed, ())), path
            tried += 1
    assert tried > 1000


def test_what_dwplus_itself_changes_stays_sound(store):
    resplit([store], seed=3)
    assert verify(store).faults == [] and (store / tables.FILE).exists()
    stats.store_statistics(store, stats.measure(store, "all"))
    assert verify(store).faults == []
    value("biome_04/split", put(0, lambda x: 1 - min(int(x), 1)))(store)
    assert found(store)


def test_litter_is_named_once(store, recwarn):
    for i in range(40):
        write(f"biome_04/s2/._{i}")(store)
    write("biome_04/@eaDir/a/b")(store)
    write(".DS_Store")(store)
    faults = verify(store).faults
    assert len(faults) == 1 and "42 files" in str(faults[0]) and ".DS_Store" in str(faults[0])
    assert not [w for w in recwarn if "zarr" in str(w.category).lower()]


def test_the_command(store, capsys, monkeypatch):
    import sys

    from dwplus.cli import main

    def run():
        monkeypatch.setattr(sys, "argv", ["dwplus", "verify", str(store)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr().out

    assert run()[0] == 0
    DAMAGES["shards swapped with their columns"](store)
    code, out = run()
    assert code == 1 and "is not what was written of this tile" in out and f"`dwplus repair {store}` fetches 2" in out
    assert isinstance(store, Path)
