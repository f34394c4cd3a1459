"""Which tile goes to which split; how far the splits lie apart, and which tiles to leave out for a guard. Pure.

Blocks of ground go to one split as a whole, but two blocks share an edge: without a guard, tiles of different splits
may touch. A guard leaves out tiles at such edges: those of train give way to those of val and test, those of val to
those of test, so that what is evaluated on stays whole and the annotations' own test set is never thinned.

By default a block's split follows from the seed and the block alone, so that any two stores agree on any ground they
share. Shares then hold over many blocks, but a biome of few may miss a split, and a rare class too: dealing the blocks
out evens that, at the price that it depends on which tiles there are.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import shapely

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.grid.zones import transformer, utm_epsgs
from dwplus.taxonomy import CLASSES

#: Side of the blocks that go to one split as a whole: five 5.1 km tiles.
BLOCK_METRES = 25_500
#: Shares of the blocks.
SPLITS = {"train": 0.7, "val": 0.15, "test": 0.15}
#: Who gives way to whom: an earlier one keeps its tiles.
PRECEDENCE = ("test", "val", "train")
#: What blocks can be dealt out by.
STRATIFY = ("none", "biome", "class")
#: Least share of a class's pixels, or a biome's tiles, with which a block counts as one that holds it.
HELD = 1e-3
#: In place of a split, for a tile that gave way to the guard.
GUARD = "guard"
#: UTM stretches lengths by 0.9996 to 1.001 within a zone, and little more just outside.
_STRETCH = 1.004


def unit_hash(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def block_of(grid: PixelGrid) -> tuple[int, int, int]:
    """The UTM block a tile's centre lies in: zone (EPSG), column, row.

    The zone is the centre's own (:func:`dwplus.grid.zones.utm_epsg`), also where the tile was cut from a label image
    that reaches over from a neighbouring zone.
    """
    return blocks_of([grid])[0]


def blocks_of(grids: Sequence[PixelGrid]) -> list[tuple[int, int, int]]:
    """:func:`block_of` of many grids at once."""
    own = np.array([grid.epsg for grid in grids], "int64")
    west, south, east, north = np.array([grid.bounds for grid in grids], "float64").reshape(-1, 4).T
    x, y = (west + east) / 2, (south + north) / 2
    epsg = own.copy()
    for code in np.unique(own):
        here = np.flatnonzero(own == code)
        found = utm_epsgs(*transformer(int(code), 4326).transform(x[here], y[here]))
        epsg[here] = np.where(found == 0, code, found)
    for code, ground in {(int(a), int(b)) for a, b in zip(own[own != epsg], epsg[own != epsg], strict=True)}:
        here = np.flatnonzero((own == code) & (epsg == ground))
        x[here], y[here] = transformer(code, ground).transform(x[here], y[here])
    columns, rows = (np.floor(axis / BLOCK_METRES).astype("int64").tolist() for axis in (x, y))
    return list(zip(epsg.tolist(), columns, rows, strict=True))


def block_draw(seed: int, block: tuple[int, int, int]) -> float:
    """Place of a block in the seeded order of blocks, in [0, 1)."""
    return unit_hash("split", seed, *block)


def split_of(seed: int, grid: PixelGrid) -> str:
    """Split of a tile, by the UTM block its centre lies in: neighbours share their block's split."""
    return splits_of(seed, [grid])[0]


def splits_of(seed: int, grids: Sequence[PixelGrid]) -> list[str]:
    """:func:`split_of` of many grids at once."""
    blocks = blocks_of(grids)
    of_block = {block: _split_at(block_draw(seed, block)) for block in set(blocks)}
    return [of_block[block] for block in blocks]


def _split_at(draw: float) -> str:
    total = 0.0
    for name, share in SPLITS.items():
        total += share
        if draw < total:
            return name
    return name


def _neighbours(epsg: int) -> list[int]:
    """Zones that touch a zone, itself first; both hemispheres."""
    zone = epsg % 100
    # Svalbard's zones are every second one.
    around = [zone, *((zone + turn - 1) % 60 + 1 for turn in (1, -1, 2, -2))]
    return [epsg, *(code for z in around for code in (32600 + z, 32700 + z) if code != epsg)]


def near_pairs(grids: Sequence[PixelGrid], splits: Sequence[str], metres: float) -> list[tuple[int, int]]:
    """Pairs of tiles of different splits that lie nearer than so many metres, across zones too.

    Distances are between footprints, in the UTM zone of one of the two; to be on the safe side, pairs up to 0.4 %
    farther count as well.

    Returns
    -------
    Pairs (i, j) with i < j, sorted.
    """
    by_zone: dict[int, list[int]] = defaultdict(list)
    for i, grid in enumerate(grids):
        by_zone[grid.epsg].append(i)
    boxes = np.array([shapely.box(*grid.bounds) for grid in grids], dtype=object)
    split = np.asarray(splits)
    found: set[tuple[int, int]] = set()
    for epsg, members in by_zone.items():
        here = np.array(members)
        # Only what lies near: another zone's far side would be stretched without bounds.
        west, south, east, north = shapely.total_bounds(boxes[here])
        reach = metres + 1000.0
        others: list[int] = []
        shapes: list[shapely.Geometry] = []
        for code in _neighbours(epsg):
            if code == epsg or code not in by_zone:
                continue
            to = transformer(code, epsg)
            there = np.array(by_zone[code])
            centers = np.array([(b[0] + b[2], b[1] + b[3]) for b in shapely.bounds(boxes[there])]) / 2
            x, y = to.transform(centers[:, 0], centers[:, 1])
            side = max(grids[i].bounds[2] - grids[i].bounds[0] for i in there)
            close = ((x > west - reach - side) & (x < east + reach + side) & (y > south - reach - side)
                     & (y < north + reach + side))
            for i in there[close]:
                others.append(int(i))
                shapes.append(shapely.transform(boxes[i], lambda xy, to=to: np.column_stack(to.transform(*xy.T))))
        rows = np.concatenate([here, np.array(others, int)])
        tree = shapely.STRtree(np.concatenate([boxes[here], np.array(shapes, object)]) if shapes else boxes[here])
        a, b = tree.query(boxes[here], predicate="dwithin", distance=metres * _STRETCH)
        for i, j in zip(here[a].tolist(), rows[b].tolist(), strict=True):
            if split[i] != split[j]:
                found.add((min(i, j), max(i, j)))
    return sorted(found)


def outside_guard(grids: Sequence[PixelGrid], splits: Sequence[str], metres: float) -> list[bool]:
    """Which tiles to keep so that no two of different splits lie nearer than the guard; see the module on who yields.

    Parameters
    ----------
    metres : the guard; 0 keeps all.
    """
    keep = [True] * len(grids)
    if metres <= 0:
        return keep
    rank = [PRECEDENCE.index(split) for split in splits]
    pairs = near_pairs(grids, splits, metres)
    # In order of precedence: a val tile that gave way to a test tile pushes no train tile out.
    for level in (1, 2):
        for i, j in pairs:
            first, last = (i, j) if rank[i] < rank[j] else (j, i)
            if rank[last] == level and keep[first]:
                keep[last] = False
    return keep


def grids_of(table: pd.DataFrame, size: int, scale: float) -> list[PixelGrid]:
    """Grids of the rows of a tile table (see :func:`dwplus.store.reader.tile_table`)."""
    return [PixelGrid(int(row.epsg), float(row.x0), float(row.y0), scale, size, size)
            for row in table[["epsg", "x0", "y0"]].itertuples()]


def guarded(table: pd.DataFrame, size: int, scale: float, metres: float) -> pd.DataFrame:
    """The rows of a tile table that keep the guard: for stores that were planned without one.

    Tiles of several windows lie on each other and share their split; they stay or go together.
    """
    unique = table.drop_duplicates("tile_id")
    keep = outside_guard(grids_of(unique, size, scale), unique["split"].astype(str).tolist(), metres)
    return table[table["tile_id"].isin(unique["tile_id"][keep])]


def dealt(weights: np.ndarray, draws: Sequence[float], shares: Mapping[str, float]) -> list[str]:
    """Deal blocks out so that every split gets its share of every stratum, as far as whole blocks allow.

    Blocks that hold much of a stratum go first, in seeded order among their like (as rare labels do in Sechidis et al.
    2011, "On the stratification of multi-label data"); each goes where it brings the sum over splits and strata of
    (got - share) ** 2 / share down most.

    Parameters
    ----------
    weights : (blocks, strata) how much of a stratum lies in a block. draws : number of each block in the seeded order.
    shares : of the splits, adding up to 1.
    """
    part = weights / np.maximum(weights.sum(axis=0), 1e-12)
    # By powers of two: among blocks of much the same size the seed decides.
    size = np.floor(np.log2(np.maximum(part.max(axis=1), 1e-12)))
    names, share = list(shares), np.array(list(shares.values()))
    lack = np.repeat(share[:, None], part.shape[1], axis=1)
    found = [""] * len(part)
    for i in np.lexsort((draws, -size)).tolist():
        best = int(np.argmax(np.round((lack - part[i] / 2) @ part[i] / share, 12)))
        lack[best] -= part[i]
        found[i] = names[best]
    return found


def completed(names: Sequence[str], part: np.ndarray, tiles: np.ndarray, draws: Sequence[float],
              splits: Sequence[str]) -> list[str]:
    """Move blocks until every split holds something of every stratum, where blocks allow.

    The rarest stratum comes first. A split that lacks it gets the block with the fewest tiles among those whose own
    split still holds afterwards whatever it held.

    Parameters
    ----------
    names : split of each block. part : (blocks, strata), share of the stratum that lies in the block; a block holds a
        stratum from :data:`HELD` on. tiles : (blocks,). draws : number of each block in the seeded order.
    splits : that should hold all, the most important first.
    """
    found = np.array(names, dtype=object)
    holds = part >= HELD
    for stratum in np.argsort(holds.sum(axis=0), kind="stable"):
        for split in splits:
            if (holds[:, stratum] & (found == split)).any():
                continue
            movable = []
            for block in np.flatnonzero(holds[:, stratum]):
                rest = (found == found[block]) & (np.arange(len(found)) != block)
                if holds[rest].any(axis=0)[holds[block]].all():
                    movable.append(int(block))
            if movable:
                found[min(movable, key=lambda block: (tiles[block], draws[block]))] = split
    return [str(name) for name in found]


def missing(table: pd.DataFrame, splits: Sequence[str]) -> dict[str, tuple[list[str], list[int]]]:
    """Classes and biomes that the tiles have, and a split has not: by split, ``train``, ``val`` and ``test``.

    Parameters
    ----------
    table : rows with ``biome`` and, where pixels are known, ``count_<class>``. splits : of each row.
    """
    names = [name for name in CLASSES if f"count_{name}" in table]
    counts = table[[f"count_{name}" for name in names]].to_numpy("float64") > 0
    biome, split = table["biome"].to_numpy(), np.asarray(splits, dtype=object)
    there = counts.any(axis=0)
    found = {}
    for one in SPLITS:
        inside = split == one
        lacks = there & ~counts[inside].any(axis=0)
        found[one] = ([name for name, gone in zip(names, lacks, strict=True) if gone],
                      sorted({int(b) for b in biome} - {int(b) for b in biome[inside]}))
    return found


def missing_words(found: Mapping[str, tuple[list[str], list[int]]]) -> list[str]:
    """A sentence for every split that lacks a class or a biome."""
    lines = []
    for split, (classes, biomes) in found.items():
        parts = [f"{word} {', '.join(map(str, lacks))}" for word, lacks in (
            ("class" if len(classes) == 1 else "classes", classes),
            ("biome" if len(biomes) == 1 else "biomes", biomes)) if lacks]
        if parts:
            lines.append(f"split {split} has no tile of {' and of '.join(parts)}")
    return lines


def assigned(table: pd.DataFrame, grids: Sequence[PixelGrid], seed: int, stratify: str = "none",
             metres: float = 0.0) -> list[str]:
    """Split of every tile: ``train``, ``val``, ``test``, or ``guard`` where it gave way.

    The annotations' own test set stays the test set, and nothing joins it.

    Parameters
    ----------
    table : rows of :func:`dwplus.store.reader.tile_table`, a row per tile. grids : theirs.
    seed : of the blocks' order.
    stratify : ``none``: each block by itself, as plans do; ``biome``: every biome's tiles, ``class``: every class's
        labelled pixels are dealt out by the shares, so that every split holds every biome, or every class and biome,
        as far as whole blocks allow and no guard takes it away.
    metres : the guard.

    Raises
    ------
    InputError
        On another word, or where there is no labelled pixel to stratify by.
    """
    if stratify not in STRATIFY:
        raise InputError(f"stratify {stratify!r}: must be one of {', '.join(STRATIFY)}")
    own = (table["label_set"].to_numpy() == "validation") if "label_set" in table else np.zeros(len(table), bool)
    if stratify == "none":
        splits = splits_of(seed, grids)
        if own.any():
            splits = ["train" if split == "test" else split for split in splits]
    else:
        splits = _dealt_tiles(table, grids, seed, stratify, own)
    splits = ["test" if held else split for held, split in zip(own, splits, strict=True)]
    keep = outside_guard(grids, splits, metres)
    return [split if stays else GUARD for split, stays in zip(splits, keep, strict=True)]


def _dealt_tiles(table: pd.DataFrame, grids: Sequence[PixelGrid], seed: int, stratify: str,
                 own: np.ndarray) -> list[str]:
    free = {name: share for name, share in SPLITS.items() if name != "test" or not own.any()}
    shares = {name: share / sum(free.values()) for name, share in free.items()}
    keys = blocks_of(grids)
    blocks = sorted(set(keys))
    number = {key: i for i, key in enumerate(blocks)}
    block = [number[key] for key in keys]
    if stratify == "biome":
        strata = pd.get_dummies(table["biome"]).to_numpy("float64")
    else:
        strata = table[[f"count_{name}" for name in CLASSES]].to_numpy("float64")
        if not strata.any():
            raise InputError("stratify class: no tile has a labelled pixel yet; export first, or stratify by biome")
    # The number of tiles is a stratum too: it decides where the others do not.
    strata = np.column_stack([strata, np.ones(len(table))]) * ~own[:, None]
    weights = np.zeros((len(blocks), strata.shape[1]))
    np.add.at(weights, block, strata)
    draws = [block_draw(seed, b) for b in blocks]
    names = dealt(weights, draws, shares)
    # Shares of the sum may be met without a biome, or a class that lies in few blocks.
    needed = pd.get_dummies(table["biome"]).to_numpy("float64") * ~own[:, None]
    if stratify == "class":
        needed = np.column_stack([needed, strata[:, :-1]])
    held = np.zeros((len(blocks), needed.shape[1]))
    np.add.at(held, block, needed)
    held /= np.maximum(held.sum(axis=0), 1e-12)
    names = completed(names, held, weights[:, -1], draws, [name for name in ("train", "test", "val") if name in shares])
    return [names[b] for b in block]
