"""Several windows of a tile that is decoded once: every tile as often, in an order that can be taken up anywhere."""

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.bench_model import make_store
from model.data import TileDataset
from model.loader import Loader
from model.sampling import TileSampler, dealt

WINDOWS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("windows") / "a.zarr", tiles=40, size=48, splits=("train",))
    return TileDataset(store, "train", crop=16, augment=True, seed=5)


def loader_of(data, batches, **options):
    return Loader(data, batches, epoch=2, threads=4, **{"keep": 64, **options})


def test_every_window_of_every_tile_comes_once_an_epoch(data):
    sampler = TileSampler(data.table, 8, seed=1, windows=WINDOWS)
    order = sampler.order(0)
    assert sorted(order) == list(range(WINDOWS * len(data))) and len(sampler) == -(-WINDOWS * len(data) // 8)
    assert not np.array_equal(order, sampler.order(1))
    np.testing.assert_array_equal(TileSampler(data.table, 8, seed=1, windows=1).order(0),
                                  TileSampler(data.table, 8, seed=1).order(0))


@pytest.mark.parametrize("size", [4, 8, 16])
def test_windows_of_a_tile_meet_in_no_batch(data, size):
    """Where batches divide the group of tiles in play; 40 tiles are two groups of 16 and a rest."""
    sampler = TileSampler(data.table, size, seed=1, windows=WINDOWS)
    tiles = sampler.order(0)[:2 * sampler.group * WINDOWS] % len(data)
    for batch in tiles.reshape(-1, size):
        assert len(set(batch.tolist())) == size


def test_the_windows_of_a_tile_are_dealt_in_rounds():
    tiles, windows = dealt(np.arange(100), 4, 32, np.random.default_rng(0))
    for start in range(0, 384, 32):
        assert len(set(tiles[start:start + 32].tolist())) == 32 and len(set(windows[start:start + 32].tolist())) == 1
    assert Counter(zip(tiles.tolist(), windows.tolist(), strict=True)).most_common(1)[0][1] == 1


def test_a_tile_is_decoded_once(data, monkeypatch):
    seen, real = Counter(), TileDataset.tile
    monkeypatch.setattr(TileDataset, "tile", lambda self, i, into=None: (seen.update([i]), real(self, i, into))[1])
    sampler = TileSampler(data.table, 8, seed=1, windows=WINDOWS)
    list(loader_of(data, sampler.batches(2), keep=2 * sampler.group))
    assert seen == dict.fromkeys(range(len(data)), 1)


def test_windows_differ_and_the_first_is_that_of_a_single_one(data):
    n = len(data)
    (batch,) = loader_of(data, [[0, n, 2 * n, 7, n + 7]])
    (single,) = loader_of(data, [[0, 7]], keep=0)
    assert batch.index.tolist() == [0, 0, 0, 7, 7]
    assert torch.equal(batch.s2[[0, 3]], single.s2) and torch.equal(batch.label[[0, 3]], single.label)
    for a, b in ((0, 1), (0, 2), (1, 2), (3, 4)):
        assert not torch.equal(batch.s2[a], batch.s2[b])


def test_it_goes_on_where_it_was_and_processes_share_one_order(data):
    sampler = TileSampler(data.table, 8, seed=1, windows=WINDOWS)
    batches = sampler.batches(2)
    whole = list(loader_of(data, batches))
    rest = list(loader_of(data, batches, start=7))
    assert len(rest) == len(whole) - 7
    for one, other in zip(whole[7:], rest, strict=True):
        for name in ("s2", "s1", "label", "keep", "index"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    shares = [sampler.batches(2, rank, 2) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in batches]


def test_a_tile_that_fills_a_batch_up_has_no_label(data):
    n = len(data)
    (batch,) = loader_of(data, [[n + 3, ~(n + 3)]])
    assert torch.equal(batch.s2[0], batch.s2[1])
    assert (batch.label[1] == 255).all() and not (batch.label[0] == 255).all()
