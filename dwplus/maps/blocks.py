"""Blocks of a map, the windows a network sees of them, and how windows are blended. Pure: arrays and grids.

A block is a tile of the plan. Its window is the block and a frame around it, of the block's own scenes: the network
sees each block once, whole, as in training, and no window depends on how a region is cut up. Of a window its outer
margin is dropped, for there the network lacks context; around each border between two blocks the weights of the two
windows fall and rise along a ramp. Weights are whole numbers that add up to the same everywhere, and probabilities are
whole numbers too: sums of them are exact in any order, so that blocks and the map made at once are the same to the bit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.taxonomy import CLASSES, IGNORE

#: A probability of 1, as windows are kept.
UNIT = 65535
#: Windows are this many pixels or a multiple of it: the coarsest stride of the networks.
STRIDE = 32


@dataclass(frozen=True)
class Scene:
    """One date of a block: what is fetched for it, and when it was taken.

    Attributes
    ----------
    s2_id, s1_id : ``system:index`` of the Sentinel-2 scene and of the Sentinel-1 slices (comma-joined; so are the two
        products of a granule that a datastrip border cuts).
    mask_id : the Dynamic World V1 image of the same scene, or images, whose mask says what is cloud; empty for none.
    product : ``sr`` or ``toa``.
    s2_ms, s1_ms : times, milliseconds since 1970, UTC.
    cloud : of the Sentinel-2 scene, percent.
    group, row : of the tile in a store; empty and -1 where the scene comes from Earth Engine.
    speckle_ids : further passes of a filter over time, as a plan names them.
    """

    s2_id: str
    s1_id: str
    mask_id: str
    product: str
    s2_ms: int
    s1_ms: int
    cloud: float
    group: str = ""
    row: int = -1
    speckle_ids: str = ""

    def as_kept(self) -> dict[str, object]:
        """What a map's ledger keeps of it."""
        found = asdict(self)
        if not self.speckle_ids:
            del found["speckle_ids"]
        return found

    @property
    def gap_minutes(self) -> int:
        """S1 minus S2."""
        return round((self.s1_ms - self.s2_ms) / 60_000)


@dataclass(frozen=True)
class Block:
    """A tile of the map and its dates, the clearest first; without any, ``reason`` says why."""

    id: str
    grid: PixelGrid
    scenes: tuple[Scene, ...]
    reason: str = ""


@dataclass(frozen=True)
class WindowShape:
    """How much more than its block a window holds.

    Attributes
    ----------
    margin : pixels at each edge of a window whose answer is dropped.
    ramp : pixels over which two windows are blended, half of them on either side of the border; 0 for a hard edge.
    """

    margin: int = 32
    ramp: int = 32

    def __post_init__(self) -> None:
        if self.margin < 0 or self.ramp < 0 or self.ramp % 2:
            raise InputError(f"margin {self.margin} and ramp {self.ramp}: must be 0 or more pixels, the ramp even")

    def window(self, block: PixelGrid) -> PixelGrid:
        """What the network sees of a block."""
        side = STRIDE * math.ceil((block.width + 2 * self.margin + self.ramp) / STRIDE)
        frame = (side - block.width) // 2
        return block.block(-frame, -frame, side, side)

    def support(self, block: PixelGrid) -> PixelGrid:
        """Where the answer is used: the block and half a ramp around it."""
        half = self.ramp // 2
        return block.block(-half, -half, block.height + self.ramp, block.width + self.ramp)

    @property
    def full(self) -> int:
        """Weight of a pixel far from any border, along one axis."""
        return max(1, 2 * self.ramp)

    def weights(self, size: int) -> np.ndarray:
        """Weights along one axis of the support of a block, uint32 (size + ramp,).

        Those of two neighbours add up to :attr:`full` at every pixel.

        Raises
        ------
        InputError
            Where the ramps of a block's two sides would meet.
        """
        if self.ramp > size:
            raise InputError(f"ramp {self.ramp}: must be at most the blocks' {size} pixels")
        rise = 2 * np.arange(self.ramp, dtype="uint32") + 1
        return np.concatenate([rise, np.full(size - self.ramp, self.full, "uint32"), rise[::-1]])


def offset(grid: PixelGrid, inside: PixelGrid) -> tuple[int, int]:
    """(row, column) of a grid's corner in another grid of the same lattice; may be negative."""
    return (round((inside.y0 - grid.y0) / grid.scale), round((grid.x0 - inside.x0) / grid.scale))


def overlap(a: PixelGrid, b: PixelGrid) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The pixels that two grids of one lattice share, as slices of each; None where there are none."""
    row, col = offset(b, a)
    top, left = max(0, row), max(0, col)
    bottom, right = min(a.height, row + b.height), min(a.width, col + b.width)
    if bottom <= top or right <= left:
        return None
    return ((slice(top, bottom), slice(left, right)),
            (slice(top - row, bottom - row), slice(left - col, right - col)))


class Frame:
    """The blocks of a map and which of them are neighbours.

    Parameters
    ----------
    blocks : of one size and scale, in any number of zones; in the order in which they are worked.

    Raises
    ------
    InputError
        Where they do not lie on one lattice of pixels.
    """

    def __init__(self, blocks: Sequence[Block], shape: WindowShape) -> None:
        if not blocks:
            raise InputError("map: no block to map; take a larger REGION")
        self.blocks, self.shape = {block.id: block for block in blocks}, shape
        first = blocks[0].grid
        self._step = first.width * first.scale
        self._cells: dict[tuple[int, int, int], list[str]] = defaultdict(list)
        origin: dict[int, PixelGrid] = {}
        for block in blocks:
            grid = block.grid
            if (grid.width, grid.height, grid.scale) != (first.width, first.height, first.scale):
                raise InputError(f"map: tile {block.id} has {grid.width} pixels of {grid.scale:g} m, {blocks[0].id} "
                                 f"{first.width} of {first.scale:g} m; map tiles of one size at a time")
            start = origin.setdefault(grid.epsg, grid)
            steps = (grid.x0 - start.x0) / grid.scale, (grid.y0 - start.y0) / grid.scale
            if any(abs(s - round(s)) > 1e-6 for s in steps):
                raise InputError(f"map: tile {block.id} does not lie on the pixel lattice of {start.epsg}'s other "
                                 "tiles; map tiles of one lattice at a time")
            self._cells[self._cell(grid)].append(block.id)

    def _cell(self, grid: PixelGrid) -> tuple[int, int, int]:
        return grid.epsg, math.floor(grid.x0 / self._step), math.floor(grid.y0 / self._step)

    @property
    def size(self) -> int:
        """Pixels along a side of every block."""
        return next(iter(self.blocks.values())).grid.width

    def around(self, grid: PixelGrid) -> list[str]:
        """Blocks that share pixels with a grid at most two blocks wide, sorted by id."""
        epsg, column, row = self._cell(grid)
        reach = range(-2, 3)
        near = (name for i in reach for j in reach for name in self._cells.get((epsg, column + i, row + j), ()))
        return sorted(name for name in near if overlap(grid, self.blocks[name].grid))

    def touching(self, name: str) -> list[str]:
        """Blocks whose windows have a say in a block, itself included; the relation goes both ways."""
        block = self.blocks[name].grid
        half = self.shape.ramp // 2
        return self.around(block.block(-half, -half, block.height + 2 * half, block.width + 2 * half))


def classes_in(windows: Mapping[str, tuple[PixelGrid, np.ndarray]]) -> int:
    """Number of classes of windows' probabilities; without any window that of Dynamic World."""
    return len(next(iter(windows.values()))[1]) if windows else len(CLASSES)


def blend(block: PixelGrid, windows: Mapping[str, tuple[PixelGrid, np.ndarray]],
          shape: WindowShape) -> tuple[np.ndarray, np.ndarray]:
    """Sums over all windows that have a say in a grid.

    Parameters
    ----------
    block : the grid wanted.
    windows : by name, the support of each and its probabilities, uint16 (class, y, x), 65535 = 1 and all 0 where there
        is no data.

    Returns
    -------
    uint64 (class, y, x) sums of weight times probability, and uint64 (y, x) sums of the weights with data.
    """
    total = np.zeros((classes_in(windows), *block.shape), "uint64")
    weight = np.zeros(block.shape, "uint64")
    for name in sorted(windows):
        support, probability = windows[name]
        shared = overlap(block, support)
        if shared is None:
            continue
        here, there = shared
        line = shape.weights(support.width - shape.ramp).astype("uint64")
        part = np.asarray(probability[(slice(None), *there)])
        share = line[there[0], None] * line[None, there[1]] * part.any(axis=0)
        weight[here] += share
        total[(slice(None), *here)] += share * part
    return total, weight


def decide(total: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class and confidence from the sums of :func:`blend`.

    Returns
    -------
    uint8 (y, x) class, 0.., 255 = no data, the first of equal ones; uint8 (y, x) its probability in percent, 255 = no
    data.
    """
    # Class by class: numpy's argmax along the first axis is several times slower.
    best, label = total[0].copy(), np.zeros(weight.shape, "uint8")
    for number in range(1, len(total)):
        higher = total[number] > best
        np.maximum(best, total[number], out=best)
        label[higher] = number
    nothing = weight == 0
    label[nothing] = IGNORE
    return label, _percent(best, weight, nothing)


def percent(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Probabilities of all classes in percent, uint8 (class, y, x), 255 = no data."""
    nothing = weight == 0
    return np.stack([_percent(one, weight, nothing) for one in total])


def _percent(part: np.ndarray, weight: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    # In whole numbers, rounded to nearest: every machine gives the same.
    whole = np.where(nothing, 1, weight * np.array(UNIT, weight.dtype))
    out: np.ndarray = ((200 * part + whole) // (2 * whole)).astype("uint8")
    out[nothing] = IGNORE
    return out


def finish(block: PixelGrid, windows: Mapping[str, tuple[PixelGrid, np.ndarray]], shape: WindowShape,
           probabilities: bool = False) -> np.ndarray:
    """The layers of a block: class, confidence, and by option the probabilities of all classes.

    Its inner part hears one window only and needs no sums, which is most of it; the rest is blended.

    Returns
    -------
    uint8 (layer, y, x): class 0.., then percent; 255 = no data.
    """
    out = np.empty((2 + classes_in(windows) * probabilities, *block.shape), "uint8")
    half = shape.ramp // 2
    size = block.width
    inner = slice(half, size - half)
    strips = [(slice(0, half), slice(0, size)), (slice(size - half, size), slice(0, size)),
              (inner, slice(0, half)), (inner, slice(size - half, size))]
    own = [np.asarray(probability) for support, probability in windows.values() if support == shape.support(block)]
    alone = len(own) == 1 and not any(
        overlap(block.block(half, half, size - 2 * half, size - 2 * half), support)
        for support, _ in windows.values() if support != shape.support(block))
    if not alone:
        strips = [(slice(0, size), slice(0, size))]
    else:
        probability = own[0][:, 2 * half:size, 2 * half:size]
        out[0][inner, inner], out[1][inner, inner] = said(probability)
        if probabilities:
            nothing = out[0][inner, inner] == IGNORE
            for layer, one in zip(out[2:], probability, strict=True):
                layer[inner, inner] = np.where(nothing, IGNORE, _PERCENT[one])
    for rows, cols in strips:
        if rows.stop > rows.start and cols.stop > cols.start:
            grid = block.block(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
            _fill(out, (rows, cols), *blend(grid, windows, shape))
    return out


#: Percent of each probability of a single window: what :func:`_percent` makes of it with a weight of 1.
_PERCENT = ((200 * np.arange(UNIT + 1, dtype="uint32") + UNIT) // (2 * UNIT)).astype("uint8")


def said(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`decide` for the probabilities of one window, uint16 (class, y, x): no sums are needed."""
    best, label = np.array(probability[0]), np.zeros(probability.shape[1:], "uint8")
    for number in range(1, len(probability)):
        np.copyto(label, np.uint8(number), where=probability[number] > best)
        np.maximum(best, probability[number], out=best)
    sure, nothing = _PERCENT[best], best == 0
    label[nothing] = IGNORE
    sure[nothing] = IGNORE
    return label, sure


def _fill(out: np.ndarray, where: tuple[slice, slice], total: np.ndarray, weight: np.ndarray) -> None:
    out[0][where], out[1][where] = decide(total, weight)
    if len(out) > 2:
        out[(slice(2, None), *where)] = percent(total, weight)
