"""Which samples make which batch: shuffled over shards, balanced, shared among processes. Pure, and seeded.

Every process works out the batches of all and takes its own part, so that nothing has to be agreed on: the union over
the processes is what one process alone would draw, and an epoch can be taken up at any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dwplus.errors import InputError

#: What a draw can be balanced over.
BALANCES = ("none", "biome", "class")


def shuffled(shards: np.ndarray, rng: np.random.Generator, buffer: int | None = None) -> np.ndarray:
    """A random order of samples, in which the samples of a shard stay near each other if so wished.

    With a buffer, the shards come in random order and each deals its samples out evenly over the next ``buffer``
    places, each at a random point of its share. So at any time the samples of ``buffer`` places at most are in play, as
    with a buffer of that size that is filled shard by shard; but two samples of one shard do not meet in a batch by
    chance, as they would in such a buffer. The end of the epoch runs over into its beginning, so that all batches are
    alike.

    Parameters
    ----------
    shards : (n,) number of the shard each sample lies in.
    buffer : samples in play at a time; None, or no fewer than there are: a permutation of all.

    Returns
    -------
    (n,) places in ``shards``.
    """
    n = len(shards)
    order = rng.permutation(n)
    if buffer is None or buffer >= n:
        return order
    _, number, counts = np.unique(shards, return_inverse=True, return_counts=True)
    turn = rng.permutation(len(counts))
    order = order[np.argsort(turn[number[order]], kind="stable")]
    start = np.empty(len(counts), "int64")
    start[np.argsort(turn)] = np.concatenate([[0], np.cumsum(counts[np.argsort(turn)])[:-1]])
    of = number[order]
    rank = np.arange(n) - start[of]
    return order[np.argsort((start[of] + buffer * (rank + rng.random(n)) / counts[of]) % n)]


def drawn(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many samples as there are, each about as often as its weight says: rounded up or down, never by more.

    Systematic sampling: n evenly spaced points on the line of weights. Of neighbours on that line the sum is right to
    within one as well, so samples of one group should lie side by side.

    Parameters
    ----------
    weights : (n,), not negative, not all 0.

    Returns
    -------
    (n,) sample numbers, with repeats, ascending.
    """
    n = len(weights)
    line = np.cumsum(weights, dtype="float64")
    drawn = (np.arange(n) + rng.random()) / n * line[-1]
    out: np.ndarray = np.minimum(np.searchsorted(line, drawn, side="right"), n - 1)
    return out


def tile_weights(table: pd.DataFrame, balance: str) -> np.ndarray:
    """How often each tile should be drawn, relative to the others.

    ``biome``: every biome as often as any other. ``class``: a tile counts the share it holds of all pixels of each
    class, so that one with a tenth of a rare class weighs as much as one with a tenth of a frequent class.

    Parameters
    ----------
    table : rows of :func:`dwplus.store.reader.tile_table`.

    Raises
    ------
    InputError
        On another word, or where no tile has a labelled pixel to balance by.
    """
    if balance == "biome":
        out: np.ndarray = 1.0 / table.groupby("biome")["biome"].transform("size").to_numpy("float64")
        return out
    if balance == "class":
        counts = table[[name for name in table if str(name).startswith("count_")]].to_numpy("float64")
        found: np.ndarray = (counts / np.maximum(counts.sum(axis=0), 1)).sum(axis=1)
        if not found.any():
            raise InputError("balance class: no tile of the split has a labelled pixel; take balance biome, or none")
        return found
    raise InputError(f"balance {balance!r}: must be one of {', '.join(BALANCES)}")


def dealt(tiles: np.ndarray, windows: int, group: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Several windows of each tile, so that a tile need be decoded once and its windows do not meet in a batch.

    Groups of tiles are gone through ``windows`` times, in a new order each time: the windows of a tile lie about
    ``group`` places apart, and never share a batch of at most ``group`` samples that begins with a round.

    Parameters
    ----------
    tiles : (n,) in their order. group : tiles that are kept decoded at a time.

    Returns
    -------
    (n * windows,) tiles, and the number of the window of each, 0 to ``windows`` - 1.
    """
    if windows == 1:
        return tiles, np.zeros(len(tiles), "int64")
    order, numbers = [], []
    for start in range(0, len(tiles), group):
        members = tiles[start:start + group]
        for number in range(windows):
            order.append(rng.permutation(members) if number else members)
            numbers.append(np.full(len(members), number))
    return np.concatenate(order), np.concatenate(numbers)


#: Tiles that are kept decoded at least, where several windows of each are taken: 100 MB of 510 pixels.
KEPT_TILES = 16


class TileSampler:
    """Batches of an epoch, the same in every process.

    Samples are numbered ``window * tiles + tile``; with one window a tile, by their tile.

    Parameters
    ----------
    table : a row per sample, with ``shard`` (number), and what the balance needs.
    size : samples of a batch over all processes.
    buffer : see :func:`shuffled`. balance : ``none``, ``biome`` or ``class``; see :func:`tile_weights`.
    windows : of each tile in an epoch; see :func:`dealt`.
    """

    def __init__(self, table: pd.DataFrame, size: int, *, seed: int = 0, buffer: int | None = None,
                 balance: Literal["none", "biome", "class"] = "none", windows: int = 1) -> None:
        self.size, self.seed, self.buffer, self.windows = size, seed, buffer, windows
        self._shards = table["shard"].to_numpy()
        # Samples of one biome and one shard side by side; see `drawn`.
        self._line = np.lexsort((self._shards, table["biome"])) if balance != "none" else None
        self._weights = None if self._line is None else tile_weights(table, balance)[self._line]

    def __len__(self) -> int:
        return -(-len(self._shards) * self.windows // self.size)

    @property
    def group(self) -> int:
        """Tiles in play at a time where several windows of each are taken."""
        return max(self.size, KEPT_TILES)

    def order(self, epoch: int) -> np.ndarray:
        """Samples of an epoch, (tiles * windows,): each once; with a balance as often as that wants."""
        rng = np.random.default_rng([self.seed, epoch, 3])
        tiles, windows = dealt(self._tiles(rng), self.windows, self.group, rng)
        out: np.ndarray = tiles + len(self._shards) * windows
        return out

    def _tiles(self, rng: np.random.Generator) -> np.ndarray:
        if self._line is None or self._weights is None:
            return shuffled(self._shards, rng, self.buffer)
        samples = self._line[drawn(self._weights, rng)]
        out: np.ndarray = samples[shuffled(self._shards[samples], rng, self.buffer)]
        return out

    def batches(self, epoch: int, rank: int = 0, processes: int = 1, part: int | None = None) -> list[list[int]]:
        """One process's share of the epoch's batches, all processes' of the same length.

        The last batch is filled up to size with samples from the start of the order, so that every process has as many
        as the others; they are given as ``~sample``, for :class:`model.loader.Loader` to take their labels away. Thus
        each sample counts once in an epoch, however many processes there are.

        Parameters
        ----------
        part : samples over all processes of one forward pass; each pass is shared evenly. None = the whole batch.
        """
        order = self.order(epoch).tolist()
        short = -len(order) % self.size
        order += [~order[i % len(order)] for i in range(short)]
        part = part or self.size
        return [order[j:min(j + part, i + self.size)][rank::processes]
                for i in range(0, len(order), self.size) for j in range(i, i + self.size, part)]


@dataclass(frozen=True)
class ShuffleQuality:
    """How good a shuffle is, beside a permutation of all.

    Attributes
    ----------
    moved : mean distance between a sample's place in the epoch and in the store, over the number of samples; 1/3 for a
        permutation. moved_off : largest difference of that distance's distribution to a permutation's (the
        Kolmogorov-Smirnov distance), 0 to 1.
    companions, companions_full : mean number of other samples of its own shard in a sample's batch; and what a
        permutation would give.
    in_play : most shards of which some samples, but not all, have been given.
    """

    moved: float
    moved_off: float
    companions: float
    companions_full: float
    in_play: int


def shuffle_quality(order: Sequence[int] | np.ndarray, shards: np.ndarray, batch: int) -> ShuffleQuality:
    """Measure an order of all samples.

    Parameters
    ----------
    order : (n,) a permutation of the samples, which lie in the store in the order of their numbers.
    shards : (n,) shard of each sample. batch : samples of a batch; a rest is left out of the companions.
    """
    order = np.asarray(order)
    n = len(order)
    moved = np.sort(np.abs(np.arange(n) - order)) / n
    law = 2 * moved - moved**2
    steps = np.arange(n + 1) / n
    off = float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))
    _, number, counts = np.unique(shards, return_inverse=True, return_counts=True)
    given = number[order]
    whole = n // batch * batch
    pairs = 0.0
    for start in range(0, whole, batch):
        met = np.unique(given[start:start + batch], return_counts=True)[1]
        pairs += float((met * (met - 1)).sum())
    first = np.full(len(counts), n)
    np.minimum.at(first, given, np.arange(n))
    last = np.zeros(len(counts), "int64")
    np.maximum.at(last, given, np.arange(n))
    change = np.bincount(first, minlength=n + 1) - np.bincount(last + 1, minlength=n + 1)
    return ShuffleQuality(float(moved.mean()), off, pairs / max(1, whole),
                          float((counts * (counts - 1)).sum() / n / (n - 1) * (batch - 1)), int(change.cumsum().max()))
