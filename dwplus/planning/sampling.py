"""Seeded order of candidates. Pure, and independent of order, machine and quota."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import shapely

from dwplus.grid import PixelGrid
from dwplus.splits import unit_hash
from dwplus.taxonomy import CLASSES

#: Least share of the labelled pixels at which a class counts as low, medium, high.
STRATA = (0.005, 0.10, 0.40)


def draw_order(seed: int, tile_id: str) -> float:
    """Place of a tile in the seeded order: asking for more tiles keeps those already drawn."""
    return unit_hash("draw", seed, tile_id)


def draw_orders(seed: int, epsg: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places of lattice cells in the seeded order of large regions: numbers in [0, 1) that depend on each cell alone.

    Parameters
    ----------
    x, y : whole numbers (columns and rows of the lattice).

    Notes
    -----
    Steele et al. 2014, "Fast splittable pseudorandom number generators": the finaliser of SplitMix64, in whole arrays.
    """
    state = np.full(x.shape, np.uint64(seed % 2**64))
    with np.errstate(over="ignore"):
        for part in (np.full(x.shape, epsg), x, y):
            state = state + np.uint64(0x9E3779B97F4A7C15) + part.astype(np.int64).view(np.uint64)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype("float64") / 2**53


def without_overlaps(grids: Sequence[PixelGrid]) -> list[bool]:
    """Which grids to keep so that no two share ground (more than a hair of it): the earlier of two wins.

    Parameters
    ----------
    grids : in order of precedence; grids of several zones may be mixed.
    """
    footprints = np.array([grid.footprint() for grid in grids], dtype=object)
    # A hair: neighbours of one lattice share edges, which bend a little in degrees.
    inner = [shapely.buffer(f, -1e-3 * math.sqrt(f.area), join_style="mitre") for f in footprints]
    keep = [True] * len(grids)
    tree = shapely.STRtree(inner)
    later, earlier = tree.query(inner, predicate="intersects")
    # Across the antimeridian a tile is as far from its neighbour as longitudes can be: look from the next turn as well.
    east = np.array([i for i, f in enumerate(inner) if f.bounds[0] < -179], dtype=int)
    if len(east):
        turned = shapely.transform(np.array(inner, object)[east], lambda xy: xy + [360.0, 0.0])
        a, b = tree.query(turned, predicate="intersects")
        later, earlier = np.concatenate([later, east[a], b]), np.concatenate([earlier, b, east[a]])
    rivals: dict[int, list[int]] = {}
    for a, b in zip(later.tolist(), earlier.tolist(), strict=True):
        if b < a:
            rivals.setdefault(a, []).append(b)
    for a in sorted(rivals):
        keep[a] = not any(keep[b] for b in rivals[a])
    return keep


class Turns:
    """Whose turn it is among the ecoregions of a biome, so that counts stay in proportion to weights at every moment.

    Webster's rule: the k-th tile of an ecoregion of weight w is due at (k - 1/2) / w. The order does not depend on how
    many tiles are wanted, so that asking for more keeps those already chosen.

    Parameters
    ----------
    weights : by name, above 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        self._taken = dict.fromkeys(weights, 0)

    def next(self, available: Iterable[str]) -> str:
        """The name whose tile is due first; ties go to the first by name."""
        return min(available, key=lambda name: ((self._taken[name] + 0.5) / self._weights[name], name))

    def take(self, name: str) -> None:
        self._taken[name] += 1

    def copy(self) -> Turns:
        """For looking ahead."""
        other = Turns(self._weights)
        other._taken = dict(self._taken)
        return other


def strata(shares: Mapping[str, float]) -> str:
    """Rating of each class of a tile as a letter, in the order of the classes: ``-`` absent, ``l``, ``m``, ``h``.

    Dynamic World's authors rated every class low, medium or high and picked about equal numbers of each; where they
    drew the lines is not published, so :data:`STRATA` is ours.

    Parameters
    ----------
    shares : by class name, any scale; classes left out are absent.
    """
    total = sum(shares.values())
    ratings = ""
    for name in CLASSES:
        share = shares.get(name, 0.0) / total if total else 0.0
        ratings += "-" if share < STRATA[0] else "l" if share < STRATA[1] else "m" if share < STRATA[2] else "h"
    return ratings


class Balance:
    """How often each class was taken at each level so far, and how much a further tile would even that out."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, str]] = Counter()

    def need(self, ratings: str) -> tuple[float, float]:
        """How rare the rarest of the tile's classes is at its level so far, 1 / (1 + times taken); then the mean of
        all of them."""
        needs = [1 / (1 + self._counts[i, rating]) for i, rating in enumerate(ratings) if rating != "-"]
        return (max(needs), sum(needs) / len(needs)) if needs else (0.0, 0.0)

    def take(self, ratings: str) -> None:
        self._counts.update((i, rating) for i, rating in enumerate(ratings) if rating != "-")
