"""Images on coarser grids, by a reducer over the pixels below each one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.reducers import on_stack
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import Grid, Pixels, scale_ratio
from dwplus.embedded_earth.pixel_types import cast
from dwplus.embedded_earth.values import Band, Image, Reducer

#: Input pixels that are stacked at once.
_AT_ONCE = 1 << 23
Layers = list[Pixels]


def _side(band: Band, grid: Grid, best_effort: bool, most: int) -> int:
    """Input pixels along a side of an output pixel."""
    ratio = scale_ratio(grid, band.projection)
    side = max(1, math.ceil(ratio - 1e-3)) if math.isfinite(ratio) else 1
    if side * side > most:
        if not best_effort:
            raise ComputeError(f"Image.reduceResolution: Too many input pixels per output pixel: {side * side}, but "
                               f"maxPixels allows only {most}.")
        side = max(1, math.isqrt(max(most, 1)))
    if side * side * grid.width > _AT_ONCE:
        raise ComputeError("User memory limit exceeded.")
    return side


def _strip(band: Band, reducer: Reducer, grid: Grid, side: int) -> Layers:
    """The reducer over side x side parts of every pixel."""
    a, b, c, d, e, f = grid.transform
    fine = Grid(grid.crs, (a / side, b / side, c, d / side, e / side, f), grid.width * side, grid.height * side)
    values, mask = band.read(fine)

    def stacked(array: np.ndarray) -> np.ndarray:
        parts = array.reshape(grid.height, side, grid.width, side)
        return parts.transpose(1, 3, 0, 2).reshape(side * side, *grid.shape)

    data = stacked(np.ascontiguousarray(values))
    weights = np.ones(data.shape, bool) if mask is None else stacked(np.ascontiguousarray(mask))
    with np.errstate(all="ignore"):
        layers = on_stack(reducer, data, weights)
    share = None if mask is None or not reducer.weighted else masks.tidied(weights.mean(axis=0, dtype="f4"))
    return [(np.asarray(out), masks.both(np.asarray(ok), share)) for out, ok in layers]


def _joined(parts: list[Layers], k: int, grid: Grid, rows: int) -> Pixels:
    put, mask = masks.assembled(grid.shape)
    for i, part in enumerate(parts):
        put(np.s_[i * rows:(i + 1) * rows], part[k][1])
    return np.concatenate([part[k][0] for part in parts]), masks.tidied(mask())


@function("Image.reduceResolution")
def reduce_resolution(context: Context, image: Image, reducer: Reducer, best_effort: bool, most: int) -> Image:
    """On coarser grids the reducer over the pixels below each one, weighted by their masks.

    The share of an input pixel in an output pixel is counted in parts as large as input pixels: exact where their
    lattices fit. The mask of weighted reducers is the mean of the masks.
    """
    if reducer.inputs != 1 or reducer.pixels is None or reducer.types is None:
        raise ComputeError(f"Image.reduceResolution: the reducer '{reducer.name}' is not supported by the embedded "
                           "Earth.")
    types = reducer.types

    def of(band: Band) -> list[Band]:
        last: list[tuple[Grid, list[Layers], int]] = []

        def run(grid: Grid) -> tuple[list[Layers], int]:
            if not last or last[0][0] != grid:
                side = _side(band, grid, best_effort, most)
                rows = max(1, _AT_ONCE // (side * side * grid.width))
                parts = []
                for start in range(0, grid.height, rows):
                    context.check_time()
                    strip = grid.window(start, 0, min(rows, grid.height - start), grid.width)
                    parts.append(_strip(band, reducer, strip, side))
                last[:] = [(grid, parts, rows)]
            return last[0][1:]

        def reader(k: int) -> Callable[[Grid], Pixels]:
            def read(grid: Grid) -> Pixels:
                parts, rows = run(grid)
                values, mask = _joined(parts, k, grid, rows)
                return cast(values, to[k]), mask

            return read

        to = types(band.type)
        single = len(to) == 1
        return [band.derived(reader(k), to[k]).named(band.id if single else f"{band.id}_{output}")
                for k, output in enumerate(reducer.outputs)]

    return image.with_bands(made for band in image.bands for made in of(band))
