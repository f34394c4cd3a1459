"""A store that becomes read-only or is removed while something works on it: one sentence, and nothing half-made."""

import errno
import os
import shutil

import pytest

import dwplus
from dwplus.errors import InputError, StopError
from dwplus.store import copies, layout, tables, writer
from dwplus.store.places import Folder
from dwplus.store.reader import tile_table
from dwplus.store.resplit import resplit
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult


def fill(path, plan, spec, pixels_of, tiles=10):
    layout.create(path, plan, spec, created="2026-01-02T03:04:05Z", earth="embedded-earth", earth_version="planet 2")
    for start in range(0, tiles, 4):
        stop = min(start + 4, tiles)
        writer.write_shard(layout.open_root(path, "r+")["biome_04"], start, stop, {
            i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop)})
    tables.finish(path)
    return path


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    return fill(tmp_path / "a.zarr", small_plan[small_plan["biome"] == 4], small_spec, pixels_of)


def one_sentence(caught, store):
    words = str(caught.value)
    assert "\n" not in words and str(store) in words, words


def read_only_after(monkeypatch, writes):
    """A disk that is mounted anew as read-only: everything that writes fails from then on."""
    real, count = Folder.write, []

    def write(self, key, parts):
        count.append(key)
        if len(count) > writes:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path / key))
        real(self, key, parts)

    monkeypatch.setattr(Folder, "write", write)


@pytest.mark.parametrize("writes", range(0, 9, 2))
def test_read_only_midway(store, tmp_path, monkeypatch, writes):
    out = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        read_only_after(patch, writes)
        with pytest.raises((StopError, InputError), match="Read-only file system") as caught:
            copies.subset(store, out, "True")
    one_sentence(caught, out)
    assert copies.subset(store, out, "True") == []  # it goes on
    with monkeypatch.context() as patch:
        read_only_after(patch, 0)
        with pytest.raises((StopError, InputError), match="Read-only file system") as caught:
            resplit([store], seed=3)
    one_sentence(caught, store)
    assert resplit([store], seed=3) is not None and verify(store).faults == []


def test_removed_midway(store, tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises((StopError, InputError)) as caught:
        copies.subset(store, out, "True", lambda done, total: shutil.rmtree(out, ignore_errors=True))
    one_sentence(caught, out)
    assert not out.exists()
    # The store that is copied from.
    with pytest.raises((StopError, InputError)) as caught:
        copies.subset(store, out, "True", lambda done, total: shutil.rmtree(store, ignore_errors=True))
    one_sentence(caught, store)
    assert not store.exists()


def test_a_writer_makes_nothing_anew_where_the_store_is_gone(store, pixels_of):
    group = layout.open_biome(store, "biome_04", "r+")
    formats = writer.formats(store, group)
    results = {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(4)}
    shutil.rmtree(store)
    with pytest.raises(StopError, match="is not there any more") as caught:
        writer.write_shard(group, 0, 4, results, formats)
    one_sentence(caught, store)
    assert not store.exists()


def test_a_store_of_one_tile(tmp_path, small_plan, small_spec, pixels_of):
    one = fill(tmp_path / "one.zarr", small_plan.iloc[[3]], small_spec, pixels_of, 1)
    tree = dwplus.open_store(one, check=True)
    assert tree["biome_04"]["s2"].shape == (1, 3, 32, 32) and verify(one).faults == []
    assert len(tile_table(one)) == 1
    assert copies.subset(one, tmp_path / "again.zarr", "True") == []
    (one / "biome_04/s2/c/0/0/0/0").unlink()
    with pytest.raises(InputError, match="dwplus repair"):
        dwplus.open_store(one, check=True)


def test_a_write_that_meets_a_moved_store_says_so(tmp_path):
    """Whoever notices first, the writer of a file or the look at the folder: one sentence."""
    from dwplus.store.stops import stopped

    gone = FileNotFoundError(2, "No such file or directory", str(tmp_path / "s.zarr/biome_01/s2/c/0.partial"))
    assert "moved or removed while this run wrote it" in str(stopped(tmp_path / "s.zarr", gone))
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "zarr.json").write_text("{}")
    assert "No such file" in str(stopped(tmp_path / "s.zarr", gone))
