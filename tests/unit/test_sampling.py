"""Draw order and splits: seeded, independent of order, whole blocks."""

from collections import Counter

from dwplus.grid import PixelGrid
from dwplus.planning.sampling import BLOCK_METRES, draw_order, split_of, unit_hash


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
