"""Shards written by hand are Zarr's: two other readers read them, and no byte of them can be changed unnoticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from dwplus.store import layout, writer
from dwplus.store.shards import DamageError, ShardFormat
from dwplus.store.writer import TileResult


@pytest.fixture
def group(tmp_path, small_plan, small_spec):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    return layout.open_root(path, "r+")["biome_04"]


def write(group, pixels_of, start=0, stop=4, without=()):
    writer.write_shard(group, start, stop, {
        i: TileResult(layout.REJECTED, "x") if i in without else TileResult(layout.EXPORTED, "", *pixels_of(i))
        for i in range(start, stop)})


@pytest.mark.parametrize("without", [(), (1,), (0, 3)])
def test_zarr_and_tensorstore_read_it(group, pixels_of, without):
    write(group, pixels_of, 0, 4, without)
    write(group, pixels_of, 8, 10)  # the last shard is not full
    store = writer.store_path(group)
    for name, form in writer.formats(store, group).items():
        ts = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": form.folder}}).result()
        for i in (*range(4), 8, 9):
            want = (np.full(form.shape, form.fill, form.dtype) if i in without
                    else pixels_of(i)[writer.PIXELS.index(name)])
            np.testing.assert_array_equal(group[name][i], want)
            np.testing.assert_array_equal(ts[i].read().result(), want)
            np.testing.assert_array_equal(form.unpack(form.read(i // 4)[i % 4]), want)


def test_what_zarr_writes_is_read_too(group, pixels_of):
    blocks = [np.stack([pixels_of(i)[k] for i in range(4)]) for k in range(3)]
    for name, block in zip(writer.PIXELS, blocks, strict=True):
        group[name][0:4] = block
        form = ShardFormat.of(writer.store_path(group), group[name])
        packed = form.read(0)
        for i in range(4):
            np.testing.assert_array_equal(form.unpack(packed[i]), block[i])
            assert bytes(packed[i]) == b"".join(form.pack(block[i]))  # the very bytes of Zarr's own codecs


def test_every_flipped_byte_is_found(group, pixels_of):
    write(group, pixels_of, 0, 4, (2,))
    form = writer.formats(writer.store_path(group), group)["label"]
    path = form.path(0)
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1:])
        with pytest.raises(DamageError):
            for packed in form.read(0):
                form.unpack(packed)
    for content in (b"", good[:-1], good + b"x", good[:100], b"x" + good):
        path.write_bytes(content)
        with pytest.raises(DamageError):
            form.read(0)


def test_empty_shards_are_no_files(group, pixels_of):
    write(group, pixels_of)
    form = writer.formats(writer.store_path(group), group)["s2"]
    assert form.path(0).exists()
    write(group, pixels_of, without=range(4))
    assert not form.path(0).exists() and form.read(0) == [None] * 4
    assert (zarr.open_group(writer.store_path(group))["biome_04/s2"][:] == layout.S2_NODATA).all()


def test_a_full_disk_is_one_sentence_and_leaves_no_status(group, pixels_of, monkeypatch):
    import errno

    from dwplus.errors import StopError

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dwplus.store.places.os.fsync", full)
    with pytest.raises(StopError, match="disk is full.*free some space"):
        write(group, pixels_of)
    assert (group["status"][:] == layout.PENDING).all()
    assert not list(Path(writer.store_path(group)).rglob("*.partial"))
