"""`dwplus verify` finds any byte that was flipped, wherever it lies in a store, and says where."""

import functools
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dwplus.store import layout, writer
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Makes the store once for the module, though its ingredients are made for each test."""
    return functools.cache(lambda: tmp_path_factory.mktemp("flip") / "s.zarr")


@pytest.fixture
def store(stores, small_plan, small_spec, pixels_of):
    """Whole shards, one that is not full, one with a tile left out, and an exported tile that is all fill but label."""
    path = stores()
    if not path.exists():
        layout.create(path, small_plan, small_spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
        for group, start, stop in (("biome_04", 0, 4), ("biome_04", 4, 8), ("biome_04", 8, 10), ("biome_12", 0, 3)):
            writer.write_shard(layout.open_root(path, "r+")[group], start, stop, {
                i: TileResult(layout.REJECTED, "few_labels: 0.1") if i == 5
                else TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop)})
        assert verify(path).faults == []
    return path


def files(store):
    return sorted(p for p in store.rglob("*") if p.is_file())


def where(path, store):
    return str(path.relative_to(store))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_in_a_shard(store, data):
    """Pixels, checksums, index and its checksum; half of the draws go to the index, which is a small part."""
    shards = [p for p in files(store) if "/c/" in str(p) and p.relative_to(store).parts[1] in writer.PIXELS]
    path = data.draw(st.sampled_from(shards))
    good = path.read_bytes()
    index = 16 * 4 + 4
    position = data.draw(st.one_of(st.integers(0, len(good) - 1), st.integers(len(good) - index, len(good) - 1)))
    mask = data.draw(st.integers(1, 255))
    try:
        path.write_bytes(good[:position] + bytes([good[position] ^ mask]) + good[position + 1:])
        faults = verify(store).faults
    finally:
        path.write_bytes(good)
    assert faults and all(fault.place.startswith(where(path, store)) for fault in faults)
    group, start = faults[0].shard
    assert group == path.relative_to(store).parts[0] and start == 4 * int(path.relative_to(store).parts[3])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_in_a_column(store, data):
    columns = [p for p in files(store) if "/c/" in str(p) and p.relative_to(store).parts[1] not in writer.PIXELS]
    path = data.draw(st.sampled_from(columns))
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    try:
        path.write_bytes(good[:position] + bytes([good[position] ^ data.draw(st.integers(1, 255))])
                         + good[position + 1:])
        assert verify(store).faults
    finally:
        path.write_bytes(good)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_are_cut_off_or_put_in(store, data):
    path = data.draw(st.sampled_from([p for p in files(store) if "/c/" in str(p)]))
    good = path.read_bytes()
    position, more = data.draw(st.integers(0, len(good) - 1)), data.draw(st.binary(max_size=40))
    bad = good[:position] + more if data.draw(st.booleans()) else good[:position] + b"\0" + more + good[position:]
    if bad == good:
        return
    try:
        path.write_bytes(bad)
        assert verify(store).faults
    finally:
        path.write_bytes(good)


def test_the_command_names_the_shard(store, capsys, monkeypatch):
    from dwplus.cli import main

    path = store / "biome_04" / "s1" / "c" / "1" / "0" / "0" / "0"
    good = path.read_bytes()
    monkeypatch.setattr(sys, "argv", ["dwplus", "verify", str(store)])
    try:
        path.write_bytes(good[:-30] + bytes([good[-30] ^ 1]) + good[-29:])
        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        path.write_bytes(good)
    assert stop.value.code == 1
    assert "biome_04/s1/c/1/0/0/0: checksum of the index does not fit" in capsys.readouterr().out
