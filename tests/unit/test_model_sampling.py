"""Which samples make which batch: nothing twice, nothing lost, well shuffled, balanced, the same for any processes."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES
from model.data import TileDataset
from model.loader import Loader
from model.sampling import TileSampler, drawn, shuffle_quality, shuffled, tile_weights

#: Training tiles of the published data set, in shards of 16.
PUBLISHED = 16_893


def samples(n, biomes=1, shard=16, seed=0):
    rng = np.random.default_rng(seed)
    biome = np.sort(rng.choice(biomes, n, p=np.arange(1, biomes + 1) / sum(range(1, biomes + 1)))) + 1
    frame = pd.DataFrame({"biome": biome, "shard": np.arange(n) // shard})
    counts = rng.integers(0, 260_100, (n, len(CLASSES))) * (rng.random((n, len(CLASSES))) < 0.3)
    counts[:, 3] = np.where(rng.random(n) < 0.02, 500, 0)  # rare
    return frame.assign(**{f"count_{name}": counts[:, i] for i, name in enumerate(CLASSES)})


@settings(max_examples=150, deadline=None)
@given(n=st.integers(1, 200), size=st.integers(1, 6), accumulate=st.integers(1, 3), processes=st.integers(1, 9),
       buffer=st.one_of(st.none(), st.integers(1, 80)), epoch=st.integers(0, 3))
def test_every_sample_counts_once_for_any_world(n, size, accumulate, processes, buffer, epoch):
    """Every process gives as many batches of the same size, and what counts is each sample once."""
    whole = size * accumulate * processes
    sampler = TileSampler(samples(n), whole, buffer=buffer)
    shares = [sampler.batches(epoch, rank, processes, size * processes) for rank in range(processes)]
    assert {len(s) for s in shares} == {accumulate * len(sampler)}
    assert {len(batch) for s in shares for batch in s} == {size}
    given_ = [i for s in shares for batch in s for i in batch]
    assert Counter(i for i in given_ if i >= 0) == dict.fromkeys(range(n), 1)
    assert sum(i < 0 for i in given_) == -n % whole and all(0 <= ~i < n for i in given_ if i < 0)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 150), part=st.integers(1, 4), processes=st.integers(1, 7),
       balance=st.sampled_from(["none", "biome", "class"]), buffer=st.one_of(st.none(), st.integers(1, 60)))
def test_all_processes_together_draw_what_one_draws(n, part, processes, balance, buffer):
    """Step by step, not only over the epoch."""
    table = samples(n, biomes=5)
    table.loc[0, "count_water"] = 1
    sampler = TileSampler(table, part * processes, buffer=buffer, balance=balance, seed=4)
    alone = sampler.batches(1)
    for step, want in enumerate(alone):
        found = [i for rank in range(processes) for i in sampler.batches(1, rank, processes)[step]]
        assert sorted(found) == sorted(want)


@pytest.mark.parametrize(("balance", "buffer"), [("biome", None), ("biome", 64), ("class", None)])
def test_balance(balance, buffer):
    table = samples(3000, biomes=14)
    order = TileSampler(table, 8, balance=balance, buffer=buffer).order(0)
    assert len(order) == len(table)
    found = table.iloc[order]
    if balance == "biome":
        counts = found["biome"].value_counts()
        assert len(counts) == 14 and counts.min() >= 3000 / 14 - 1 and counts.max() <= 3000 / 14 + 1
        # Within a biome no tile is drawn twice more often than another.
        for biome, inside in table.groupby("biome"):
            times = np.bincount(order, minlength=3000)[inside.index]
            assert times.max() - times.min() <= 1, biome
    else:
        columns = [f"count_{name}" for name in CLASSES]
        before, after = (t[columns].sum() / t[columns].to_numpy().sum() for t in (table, found))
        rare = "count_flooded_vegetation"
        assert before.idxmin() == rare and after[rare] > 4 * before[rare]


def test_draws_follow_the_weights():
    rng = np.random.default_rng(0)
    weights = rng.random(500) * (rng.random(500) < 0.8)
    times = np.bincount(drawn(weights, rng), minlength=500)
    want = weights / weights.sum() * 500
    assert (np.abs(times - want) < 1).all() and not times[weights == 0].any()
    with pytest.raises(InputError, match="balance 'class2': must be one of none, biome, class"):
        tile_weights(samples(3), "class2")
    empty = samples(3).assign(**{f"count_{name}": 0 for name in CLASSES})
    with pytest.raises(InputError, match="no tile of the split has a labelled pixel"):
        tile_weights(empty, "class")


@pytest.mark.parametrize("buffer", [128, 256, 1024])
def test_a_bounded_buffer_is_still_a_good_shuffle(buffer):
    """At the size of the published data set: places in the epoch are spread as a permutation's, a batch of eight
    hardly ever holds two tiles of a shard, and no more shards are in play than the buffer says."""
    shards = np.arange(PUBLISHED) // 16
    order = shuffled(shards, np.random.default_rng(1), buffer)
    assert np.array_equal(np.sort(order), np.arange(PUBLISHED))
    found = shuffle_quality(order, shards, 8)
    assert abs(found.moved - 1 / 3) < 0.03 and found.moved_off < 0.06
    # Those that the end of the epoch shares with its beginning count all the time.
    assert found.in_play <= 2 * buffer / 16 + 2
    # Two tiles that follow each other in a shard lie about buffer / 16 places apart, and meet in a batch when by chance
    # they lie nearer than 8: 2 neighbours x 8 ** 2 / 6 / (buffer / 16) ** 2; a buffer of that size filled shard by
    # shard gives 15 x 8 / 2 / buffer.
    assert found.companions < min(1.5 * 2 * 8**2 / 6 / (buffer / 16) ** 2, 15 * 8 / 2 / buffer)
    assert found.companions_full == pytest.approx(15 * 7 / PUBLISHED, rel=0.01)
    # From epoch to epoch other tiles meet.
    again = shuffled(shards, np.random.default_rng(2), buffer)
    assert np.abs(np.argsort(order) - np.argsort(again)).mean() > PUBLISHED / 4


def test_the_measure_tells_good_from_bad():
    shards = np.arange(PUBLISHED) // 16
    full = shuffle_quality(np.random.default_rng(0).permutation(PUBLISHED), shards, 32)
    assert full.moved_off < 0.02 and abs(full.moved - 1 / 3) < 0.01
    assert full.companions == pytest.approx(full.companions_full, rel=0.25)
    none = shuffle_quality(np.arange(PUBLISHED), shards, 32)
    assert none.moved == 0 and none.moved_off > 0.99 and none.companions == 15 and none.in_play == 1


def test_small_buffers_beyond_the_data_are_permutations():
    for n in (1, 5, 40):
        for buffer in (None, n, 10 * n):
            assert sorted(shuffled(np.arange(n) // 4, np.random.default_rng(0), buffer)) == list(range(n))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores") / "a.zarr", tiles=32, size=24)


def test_shards_of_samples(store):
    table = TileDataset([store, store], "all").table
    tiles = zarr.open_group(store)[table["group"].iat[0]]["s2"].shards[0]
    assert table["shard"].is_monotonic_increasing and table["shard"].nunique() == table.groupby(
        ["store", "group", table["index"] // tiles]).ngroups > 2


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("processes", [1, 3])
def test_exact_resume_in_the_middle_of_an_epoch(store, threads, processes):
    data = TileDataset(store, "train", crop=16, augment=True)
    for rank in range(processes):
        batches = TileSampler(data.table, 2 * processes, buffer=8).batches(3, rank, processes)
        whole = [(b.index, b.s2, b.label) for b in Loader(data, batches, epoch=3)]
        for stop in (0, 1, len(batches) - 1, len(batches)):
            first = Loader(data, batches, epoch=3, threads=threads, ahead=3)
            under_way = iter(first)
            seen = [next(under_way) for _ in range(stop)]
            state = first.state_dict()  # with batches read ahead, which do not count
            assert state["done"] == len(seen) == stop
            under_way.close()
            second = Loader(data, batches, epoch=3, threads=threads)
            second.load_state_dict(state)
            rest = list(second)
            assert len(rest) == len(whole) - stop
            for found, want in zip(rest, whole[stop:], strict=True):
                for a, b in zip((found.index, found.s2, found.label), want, strict=True):
                    np.testing.assert_array_equal(a.numpy(), b.numpy())
            assert len(list(second)) == len(whole)  # the next time from the start again


def test_a_state_of_other_batches_is_refused(store):
    data = TileDataset(store, "train")
    one, other = (TileSampler(data.table, 4, seed=seed).batches(0) for seed in (0, 1))
    with pytest.raises(InputError, match="loader: the state is of epoch 0 .* make it with the same tiles, seed"):
        Loader(data, other).load_state_dict(Loader(data, one).state_dict())


def test_what_fills_a_batch_up_has_no_labels(store):
    data = TileDataset(store, "train")
    for reader_fills in (None, 16):  # unpacked in place, and copied from a crop
        data.crop = reader_fills
        (batch,) = Loader(data, [[1, ~0]])
        assert batch.index.tolist() == [1, 0] and (batch.label[1] == 255).all() and (batch.label[0] != 255).any()
        np.testing.assert_array_equal(batch.s2[1].numpy(), data.raw(0, 0).s2)
