"""What does a shuffle that keeps to a few shards at a time cost in quality, and save in openings? Prints a table.

At the size of the published data set (16,893 training tiles in shards of 16), beside a permutation of all. "KS" is the
largest difference between the distribution of a tile's distance between its places in the epoch and in the store and
that of a permutation; "companions" the mean number of other tiles of its shard in a tile's batch; "openings" how many
times a shard's index is read for a tile, with the 64 shards that the reader keeps open. For comparison "filled buffer":
a buffer of that size filled shard by shard, from which tiles are drawn at random, as many loaders do it.

    python -m benchmarks.bench_shuffle
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from dwplus.store.tiles import OPEN_FILES
from model.sampling import KEPT_TILES, dealt, shuffle_quality, shuffled

TILES, SHARD, BATCHES, WINDOWS = 16_893, 16, (8, 32), 4


def filled_buffer(shards: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """The usual shuffle buffer: shards in random order pour in, a random tile goes out."""
    turn = rng.permutation(shards.max() + 1)
    stream = np.argsort(turn[shards], kind="stable").tolist()
    held, out = stream[:size], []
    for coming in stream[size:]:
        place = int(rng.integers(len(held)))
        out.append(held[place])
        held[place] = coming
    return np.array(out + rng.permutation(held).tolist())


def openings(order: np.ndarray, shards: np.ndarray, kept: int) -> float:
    """Shards opened a tile, where the ``kept`` used last stay open."""
    held: OrderedDict[int, None] = OrderedDict()
    opened = 0
    for shard in shards[order].tolist():
        opened += shard not in held
        held[shard] = None
        held.move_to_end(shard)
        if len(held) > kept:
            held.popitem(last=False)
    return opened / len(order)


def main() -> None:
    shards = np.arange(TILES) // SHARD
    rng = np.random.default_rng(0)
    ways = [("permutation of all", shuffled(shards, rng))]
    for size in (128, 256, 512, 1024, 4096):
        ways.append((f"ours, {size} tiles", shuffled(shards, rng, size)))
    for size in (256, 1024):
        ways.append((f"filled buffer, {size} tiles", filled_buffer(shards, rng, size)))
    ways.append(("none", np.arange(TILES)))
    print(f"{'order':<28}{'moved':>8}{'KS':>8}" + "".join(f"{f'companions of {b}':>18}" for b in BATCHES)
          + f"{'openings':>10}")
    for name, order in ways:
        found = [shuffle_quality(order, shards, batch) for batch in BATCHES]
        print(f"{name:<28}{found[0].moved:8.3f}{found[0].moved_off:8.3f}"
              + "".join(f"{f.companions:18.4f}" for f in found) + f"{openings(order, shards, OPEN_FILES // 3):10.3f}")
    print(f"\n{WINDOWS} windows of each tile (data.crops_per_tile), decoded once; companions: of the same tile\n"
          f"{'order':<28}" + "".join(f"{f'companions of {b}':>18}" for b in BATCHES))
    tiles = shuffled(shards, rng)
    rows = {"all at once": lambda batch: np.repeat(tiles, WINDOWS),
            "in rounds": lambda batch: dealt(tiles, WINDOWS, max(batch, KEPT_TILES), rng)[0],
            "permutation of all windows": lambda batch: rng.permutation(np.repeat(tiles, WINDOWS))}
    for name, way in rows.items():
        print(f"{name:<28}" + "".join(f"{same_tile(way(batch), batch):18.4f}" for batch in BATCHES))


def same_tile(tiles: np.ndarray, batch: int) -> float:
    """Mean number of other windows of its own tile in a window's batch."""
    whole = tiles[:len(tiles) // batch * batch].reshape(-1, batch)
    return float(np.mean([(row[:, None] == row).sum() - batch for row in whole])) / batch


if __name__ == "__main__":
    main()
