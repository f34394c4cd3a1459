"""Draw order and splits: seeded, independent of order, whole blocks."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.grid import PixelGrid
from dwplus.planning.sampling import Balance, Turns, draw_order, strata, without_overlaps
from dwplus.splits import BLOCK_METRES, split_of, unit_hash


def grid(x0, y0, epsg=32631):
    return PixelGrid(epsg, x0, y0, 10.0, 510, 510)


def test_hash_is_uniform_and_fixed():
    draws = [unit_hash("a", i) for i in range(4000)]
    assert abs(sum(draws) / 4000 - 0.5) < 0.02 and len(set(draws)) == 4000
    # blake2b of "draw|0|x": the same on every machine and version of Python.
    assert draw_order(0, "x") == 0.013818334941672058


def test_seeds_give_other_orders():
    names = [f"t{i}" for i in range(50)]
    assert sorted(names, key=lambda n: draw_order(0, n)) != sorted(names, key=lambda n: draw_order(1, n))


def test_a_block_is_in_one_split():
    tiles = 5
    assert tiles * 5100 == BLOCK_METRES
    x, y = 20 * BLOCK_METRES, 200 * BLOCK_METRES
    inside = {split_of(7, grid(x + i * 5100, y + (j + 1) * 5100)) for i in range(tiles) for j in range(tiles)}
    assert len(inside) == 1


def test_shares_of_blocks():
    counts = Counter(split_of(0, grid(i * BLOCK_METRES, j * BLOCK_METRES)) for i in range(60) for j in range(60))
    assert abs(counts["train"] / 3600 - 0.70) < 0.03
    assert abs(counts["val"] / 3600 - 0.15) < 0.02 and abs(counts["test"] / 3600 - 0.15) < 0.02


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 500), min_size=1, max_size=8),
       st.integers(1, 200))
def test_turns_keep_to_the_weights_at_every_moment(weights, count):
    """Webster's rule, against its definition: seats go to the largest w / (2 n + 1), one by one."""
    turns, taken, total = Turns(weights), Counter(), sum(weights.values())
    for _ in range(count):
        name = turns.next(weights)
        highest = max(w / (2 * taken[n] + 1) for n, w in weights.items())
        assert weights[name] / (2 * taken[name] + 1) == pytest.approx(highest)
        turns.take(name)
        taken[name] += 1
    # An ecoregion never has a whole tile more than its share, but for the half of rounding each of the others may owe.
    for name, weight in weights.items():
        assert abs(taken[name] - count * weight / total) <= 1 + 0.5 * len(weights)


def test_turns_do_not_depend_on_the_order_of_names():
    weights = {"a": 5, "b": 2, "c": 2}

    def sequence(names):
        turns, found = Turns({n: weights[n] for n in names}), []
        for _ in range(20):
            found.append(turns.next(names))
            turns.take(found[-1])
        return found

    assert len({tuple(sequence(names)) for names in itertools.permutations("abc")}) == 1


def test_strata_rate_each_class():
    assert strata({"water": 0.9, "trees": 0.1}) == "hm-------"
    assert strata({"crops": 50, "built": 45, "bare": 5}) == "----h-hl-"
    assert strata({"water": 1000, "trees": 1}) == "h--------"  # a few pixels are no class of the tile
    assert strata({}) == "---------"


def test_balance_evens_levels_out():
    """Of a pool in which one kind of tile is forty times as frequent, both are taken alike while there are any."""
    pool = ["h--------"] * 40 + ["-h-------"] * 10
    balance, taken = Balance(), Counter()
    for _ in range(20):
        best = max(sorted(pool), key=balance.need)
        pool.remove(best)
        balance.take(best)
        taken[best] += 1
    assert taken == {"h--------": 10, "-h-------": 10}


def test_overlaps_are_left_out_and_the_first_stays():
    grids = [grid(400_000 + 5_100 * i, 5_000_000) for i in range(4)]
    assert without_overlaps(grids) == [True] * 4  # neighbours of one lattice do not overlap
    moved = [grid(400_000 + 5_100 * i + 2_000, 5_000_000 - 40) for i in range(4)]
    assert without_overlaps([*grids, *moved]) == [True] * 4 + [False] * 4
    # The second is left out for the first, and so no longer stands in the way of the third.
    chain = [grid(400_000, 5_000_000), grid(403_000, 5_000_000), grid(406_000, 5_000_000)]
    assert without_overlaps(chain) == [True, False, True]


def test_overlaps_across_zones_and_the_antimeridian():
    a, b = grid(797_700, 1_000_000, 32660), grid(202_300 - 5_100, 1_000_000, 32601)
    assert a.center[0] > 179 and b.center[0] < -179
    west, east = a.footprint(), b.footprint()
    gap = east.bounds[0] + 360 - west.bounds[2]
    assert without_overlaps([a, b]) == [True, gap > 0] and without_overlaps([b, a]) == [True, gap > 0]
    moved = grid(202_300 - 5_100 - gap * np.cos(np.radians(9)) * 111_320 - 2_000, 1_000_000, 32601)
    assert without_overlaps([a, moved]) == [True, False] and without_overlaps([moved, a]) == [True, False]
