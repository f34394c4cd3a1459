"""The training reader: right at every place, from many threads, into given memory, flat in memory and open files."""

import os
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dwplus.errors import InputError
from dwplus.store import layout, tiles, writer
from dwplus.store.tiles import Pixels, TileReader
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    for start, stop in ((0, 4), (4, 8)):
        writer.write_shard(layout.open_root(path, "r+")["biome_04"], start, stop, {
            i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop) if i != 2})
    return path


def same(found, want):
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_every_place_and_those_never_written(store, pixels_of):
    reader = TileReader(store)
    for i in (0, 1, 3, 4, 7):
        same(reader.read("biome_04", i), pixels_of(i))
    for i in (2, 9):  # not exported; of a shard that has no file
        found = reader.read("biome_04", i)
        assert (found.s2 == layout.S2_NODATA).all() and (found.s1 == layout.S1_NODATA).all()
        assert (found.label == 255).all()


def test_threads_see_what_one_sees(store, pixels_of, monkeypatch):
    monkeypatch.setattr(tiles, "OPEN_FILES", 2)  # files are closed under the threads' hands
    reader = TileReader(store)
    places = np.random.default_rng(0).choice([0, 1, 3, 4, 5, 6, 7], 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        for i, found in zip(places, pool.map(lambda i: reader.read("biome_04", i), places), strict=True):
            same(found, pixels_of(i))


def test_into_given_memory(store, pixels_of):
    reader = TileReader(store)
    batch = [np.full((3, *shape), 7, dtype) for shape, dtype in reader.shapes("biome_04").values()]
    own = Pixels(*(a[1] for a in batch))
    found = reader.read("biome_04", 5, own)
    assert all(a is b for a, b in zip(found, own, strict=True))
    same(own, pixels_of(5))
    assert all((a[0] == 7).all() and (a[2] == 7).all() for a in batch)
    with pytest.raises(ValueError, match="a tile is uint16"):
        reader.read("biome_04", 5, Pixels(own.s2[:, ::-1], own.s1, own.label))


def test_pickled_and_forked(store, pixels_of):
    reader = TileReader(store)
    reader.read("biome_04", 0)
    same(pickle.loads(pickle.dumps(reader)).read("biome_04", 0), pixels_of(0))
    child = os.fork()
    if not child:
        try:
            same(reader.read("biome_04", 5), pixels_of(5))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("where", [100, -3])
def test_damage_is_one_sentence(store, where):
    shard = store / "biome_04" / "s2" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[where] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"biome_04/s2 tile 0 .*: checksum.* does not fit; run dwplus verify"):
        TileReader(store).read("biome_04", 0)


def test_files_and_memory_stay_flat(store, monkeypatch):
    monkeypatch.setattr(tiles, "OPEN_FILES", 3)
    reader = TileReader(store)
    places = [int(i) for i in np.random.default_rng(0).integers(0, 8, 20_000)]
    for i in places[:1000]:
        reader.read("biome_04", i)
    files, most = len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in places:
        reader.read("biome_04", i)
    assert len(os.listdir("/proc/self/fd")) <= files
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 4096  # KiB


def test_a_loader_uses_memory_again_but_never_a_batch_that_is_held(store, pixels_of):
    from model.data import TileDataset
    from model.loader import Loader

    data = TileDataset(store, "all")
    rows = data.table["index"].tolist()
    batches = [[i % len(rows), (3 * i + 1) % len(rows)] for i in range(40)]
    held, addresses = [], set()
    for number, batch in enumerate(Loader(data, batches, threads=2)):
        addresses.add(batch.s2.data_ptr())
        if number < 3:
            held.append((batches[number], batch.s2[1], batch.label.numpy()))  # views, the batch itself goes
    assert len(addresses) <= 3 + 3 + 2
    for (first, second), s2, label in held:
        np.testing.assert_array_equal(s2.numpy(), pixels_of(rows[second])[0])
        np.testing.assert_array_equal(label[0], pixels_of(rows[first])[2])


@pytest.mark.parametrize("reader", ["direct", "tensorstore", "zarr"])
def test_all_readers_of_the_dataset_agree(store, pixels_of, reader):
    from model.data import TileDataset

    data = TileDataset(store, "all", reader=reader)
    for place, row in enumerate(data.table["index"]):
        found = data.tile(place)
        same((found.s2, found.s1, found.label), pixels_of(row))
