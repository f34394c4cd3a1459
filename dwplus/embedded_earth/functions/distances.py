"""Distances to the nearest pixel that is not 0, and groups of connected pixels.

All are computed in the pixels of the grid that is asked for, with a margin as wide as they reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.images import renamed
from dwplus.embedded_earth.functions.reducers import on_stack
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, FLOAT, PixelType, cast
from dwplus.embedded_earth.values import Band, Image, Kernel, Reducer

#: Pixels that a distance may reach, and a connected group may count.
MAX_REACH, MAX_GROUP = 4_096, 1_024
_METRICS = ("squared_euclidean", "manhattan", "chebyshev")


def _targets(band: Band, grid: Grid, margin: int) -> np.ndarray:
    """Pixels that are not 0, with a margin; masked ones are no targets."""
    values, valid = band.read(grid.padded(margin))
    found = values != 0
    return found if valid is None else found & masks.seen(valid)


def _along_columns(found: np.ndarray) -> np.ndarray:
    """Rows to the nearest target in the same column; infinite where there is none."""
    rows = np.arange(found.shape[0], dtype="f8")[:, None]
    above = np.maximum.accumulate(np.where(found, rows, -np.inf), axis=0)
    below = np.minimum.accumulate(np.where(found, rows, np.inf)[::-1], axis=0)[::-1]
    return np.minimum(rows - above, below - rows)


def nearest(context: Context, found: np.ndarray, reach: int, metric: str) -> np.ndarray:
    """Distance to the nearest target within ``reach`` rows and columns, in pixels, of a padded array; else infinite.

    Rows first, then columns, as in Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions" (2012).
    """
    if not found.any():
        return np.full((found.shape[0] - 2 * reach, found.shape[1] - 2 * reach), np.inf)
    down = _along_columns(found)
    down = np.where(down <= reach, down, np.inf)[reach : -reach or None]
    down = down**2 if metric == "squared_euclidean" else down
    width = found.shape[1] - 2 * reach
    out = np.full((down.shape[0], width), np.inf)
    for across in range(-reach, reach + 1):
        context.check_time()
        part = down[:, reach + across : reach + across + width]
        step = (
            part + across**2
            if metric == "squared_euclidean"
            else part + abs(across)
            if metric == "manhattan"
            else np.maximum(part, abs(across))
        )
        np.minimum(out, step, out=out)
    return out


@function("Image.fastDistanceTransform")
def fast_distance_transform(context: Context, image: Image, reach: int, units: str, metric: str) -> Image:
    """Distance to the nearest target, whatever the mask; where none is near, the least that it can be."""
    where = "Image.fastDistanceTransform"
    if units != "pixels" or metric not in _METRICS:
        raise ComputeError(f"{where}: 'units' must be 'pixels', 'metric' one of {', '.join(_METRICS)}.")
    if not 1 <= reach <= MAX_REACH:
        raise ComputeError(f"{where}: 'neighborhood' must be 1 to {MAX_REACH}.")
    beyond = float((reach + 1) ** 2 if metric == "squared_euclidean" else reach + 1)

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            far = nearest(context, _targets(band, grid, reach), reach, metric)
            return np.where(np.isfinite(far), far, beyond), None

        return band.derived(read, DOUBLE).named("distance")

    if len(image.bands) != 1:
        raise ComputeError(f"{where}: the image must have one band; it has {len(image.bands)}.")
    return image.with_bands(map(of, image.bands))


@function("Image.directionalDistanceTransform")
def directional_distance_transform(
    context: Context, image: Image, angle: float, reach: int, label: str | None
) -> Image:
    """Pixels to the nearest target in one direction, degrees counter-clockwise from the x axis; targets are masked.

    The direction is that of the published cloud shadow tutorial: 90 degrees less the sun's azimuth looks to the sun.
    """
    where = "Image.directionalDistanceTransform"
    if not 1 <= reach <= MAX_REACH:
        raise ComputeError(f"{where}: 'maxDistance' must be 1 to {MAX_REACH}.")
    if label is None and len(image.bands) != 1:
        raise ComputeError(f"{where}: the source must have one band, or 'labelBand' name one.")
    source = image.bands[0] if label is None else image.band(label)
    right, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    last: list[tuple[Grid, tuple[np.ndarray, np.ndarray, np.ndarray]]] = []

    def search(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns to the target (h, w), and where there is one."""
        if not last or last[0][0] != grid:
            found = _targets(source, grid, reach)
            height, width = grid.shape
            open_, hit = ~found[reach : reach + height, reach : reach + width], np.zeros(grid.shape, bool)
            steps = np.zeros((2, *grid.shape), "i4")
            for step in range(1, reach + 1):
                context.check_time()
                row, col = round(step * down), round(step * right)
                new = open_ & found[reach + row : reach + row + height, reach + col : reach + col + width]
                steps[0][new], steps[1][new] = row, col
                hit |= new
                open_ &= ~new
                if not open_.any():
                    break
            last[:] = [(grid, (steps[0], steps[1], hit))]
        return last[0][1]

    def far(grid: Grid) -> Pixels:
        rows, cols, hit = search(grid)
        return np.hypot(rows, cols).astype("f4"), hit

    def carried(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            rows, cols, hit = search(grid)
            values, valid = band.read(grid.padded(reach))
            at = np.arange(grid.height)[:, None] + reach + rows, np.arange(grid.width)[None] + reach + cols
            return values[at], masks.both(hit, None if valid is None else valid[at])

        return band.derived(read)

    bands = [source.derived(far, FLOAT).named("distance")]
    if label is not None:
        bands += [carried(band) for band in image.bands if band.id != label]
    return image.with_bands(bands)


@function("Image.distance")
def kernel_distance(context: Context, image: Image, kernel: Kernel | None, skip_masked: bool) -> Image:
    """The kernel's weight at the nearest target under it; masked where there is none."""
    if kernel is None:
        raise ComputeError("Image.distance: without a kernel it is not supported by the embedded Earth.")

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            scale = grid.projection.scale
            weights = kernel.at(scale)
            values, valid = band.read(
                grid.window(
                    -weights.row,
                    -weights.col,
                    grid.height + weights.values.shape[0] - 1,
                    grid.width + weights.values.shape[1] - 1,
                )
            )
            found = (values != 0) if valid is None else (values != 0) & masks.seen(valid)
            out = np.full(grid.shape, np.inf)
            for row, col in np.ndindex(weights.values.shape):
                context.check_time()
                hit = found[row : row + grid.height, col : col + grid.width]
                np.minimum(out, np.where(hit, weights.values[row, col], np.inf), out=out)
            seen: masks.Mask = np.isfinite(out)
            if skip_masked and valid is not None:
                own = valid[weights.row : weights.row + grid.height, weights.col : weights.col + grid.width]
                seen = masks.both(seen, own)
            return np.where(np.isfinite(out), out, 0), seen

        return band.derived(read, DOUBLE)

    return image.with_bands(map(of, image.bands))


# ------------------------------------------------------------------------------------------------- connected pixels


def components(values: np.ndarray, seen: np.ndarray, offsets: list[tuple[int, int]]) -> np.ndarray:
    """Label of each pixel's group (h, w): the flat place of its first pixel; masked pixels are groups of their own.

    Groups are joined by hooking the larger label to the smaller one and shortening the paths, until nothing moves.
    """
    height, width = values.shape
    places = np.arange(values.size).reshape(values.shape)
    ones, others = [], []
    for row, col in offsets:
        here = np.s_[max(0, -row) : height - max(0, row), max(0, -col) : width - max(0, col)]
        there = np.s_[max(0, row) : height + min(0, row), max(0, col) : width + min(0, col)]
        joined = (values[here] == values[there]) & seen[here] & seen[there]
        ones.append(places[here][joined])
        others.append(places[there][joined])
    one, other = np.concatenate(ones), np.concatenate(others)
    parent = places.ravel().copy()
    while len(one):
        left, right = parent[one], parent[other]
        differ = left != right
        one, other, left, right = one[differ], other[differ], left[differ], right[differ]
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(parent, shorter := parent[parent]):
            parent = shorter
    return parent.reshape(values.shape)


_FOUR, _EIGHT = [(0, 1), (1, 0)], [(0, 1), (1, 0), (1, 1), (1, -1)]


def _near(kernel: Kernel) -> list[tuple[int, int]]:
    """Half of the neighbours under a kernel, as offsets of rows and columns: the other half follows."""
    weights = kernel.at(1.0)
    offsets = [(int(row) - weights.row, int(col) - weights.col) for row, col in np.argwhere(weights.values != 0)]
    return [offset for offset in offsets if offset > (0, 0)]


@function("Image.connectedPixelCount")
def connected_pixel_count(context: Context, image: Image, limit: int, eight: bool) -> Image:
    """Pixels of the group with the same value that a pixel is in, up to a limit."""
    if not 1 <= limit <= MAX_GROUP:
        raise ComputeError(f"Image.connectedPixelCount: 'maxSize' must be 1 to {MAX_GROUP}.")
    to = PixelType("int", 1, limit)

    def of(band: Band) -> Band:
        if band.type.precision != "int":
            raise ComputeError(f"Image.connectedPixelCount: the band '{band.id}' must be of whole numbers.")

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid.padded(limit))
            seen = np.ones(values.shape, bool) if valid is None else masks.seen(valid)
            labels = components(values, seen, _EIGHT if eight else _FOUR)
            sizes = np.bincount(labels.ravel(), minlength=labels.size)[labels]
            inner = np.s_[limit : limit + grid.height, limit : limit + grid.width]
            return cast(np.minimum(sizes[inner], limit), to), None if valid is None else valid[inner]

        return band.derived(read, to)

    return image.with_bands(map(of, image.bands))


@function("Image.connectedComponents")
def connected_components(context: Context, image: Image, kernel: Kernel, limit: int) -> Image:
    """A band ``labels`` with a number for each group of equal pixels; groups of over ``maxSize`` pixels are masked.

    A label is the place of the group's first pixel on the grid's own lattice, so that neighbouring requests agree.
    """
    if not 1 <= limit <= MAX_GROUP:
        raise ComputeError(f"Image.connectedComponents: 'maxSize' must be 1 to {MAX_GROUP}.")
    band, offsets = image.bands[0], _near(kernel)
    to = PixelType("int", 0, 2**63 - 1)
    last: list[tuple[Grid, tuple[np.ndarray, np.ndarray]]] = []

    def labels(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        if not last or last[0][0] != grid:
            padded = grid.padded(limit)
            values, valid = band.read(padded)
            seen = np.ones(values.shape, bool) if valid is None else masks.seen(valid)
            found = components(values, seen, offsets)
            sizes = np.bincount(found.ravel(), minlength=found.size)[found]
            row, col = np.divmod(found, padded.width)
            x, y = padded.transform[2], padded.transform[5]
            top, left = round(y / padded.transform[4]), round(x / padded.transform[0])
            number = ((row + top) % 2**31) * 2**31 + (col + left) % 2**31
            inner = np.s_[limit : limit + grid.height, limit : limit + grid.width]
            last[:] = [(grid, (number[inner], (seen & (sizes <= limit))[inner]))]
        return last[0][1]

    def kept(one: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = one.read(grid)
            return values, masks.both(valid, labels(grid)[1])

        return one.derived(read)

    return image.with_bands([*map(kept, image.bands), band.derived(labels, to).named("labels")])


@function("Image.reduceConnectedComponents")
def reduce_connected_components(
    context: Context, image: Image, reducer: Reducer, label: str | None, limit: int
) -> Image:
    """The reducer over all pixels of a group (8-way, equal labels); groups that are wider or taller are masked."""
    where = "Image.reduceConnectedComponents"
    if not 1 <= limit <= MAX_GROUP:
        raise ComputeError(f"{where}: 'maxSize' must be 1 to {MAX_GROUP}.")
    if reducer.inputs != 1 or len(reducer.outputs) != 1 or reducer.pixels is None or reducer.types is None:
        raise ComputeError(
            f"{where}: reducers but those of one input and one output are not supported by the embedded Earth."
        )
    by = image.bands[0] if label is None else image.band(label)
    reduce: Callable[..., list[tuple[np.ndarray, np.ndarray]]] = on_stack

    def of(band: Band) -> Band:
        assert reducer.types is not None
        to = reducer.types(band.type)[0]

        def read(grid: Grid) -> Pixels:
            padded = grid.padded(limit)
            keys, seen = by.read(padded)
            values, valid = band.read(padded)
            found = components(keys, np.ones(keys.shape, bool) if seen is None else masks.seen(seen), _EIGHT)
            inner = np.s_[limit : limit + grid.height, limit : limit + grid.width]
            ok = np.ones(keys.shape, bool) if valid is None else masks.seen(valid)
            if seen is not None:
                ok = ok & masks.seen(seen)
            out, have = np.zeros(grid.shape), np.zeros(grid.shape, bool)
            order = np.argsort(found, axis=None, kind="stable")
            starts = np.flatnonzero(np.diff(found.ravel()[order], prepend=-1))
            wanted = set(np.unique(found[inner]).tolist())
            for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
                place = order[start:end]
                if found.ravel()[place[0]] not in wanted:
                    continue
                context.check_time()
                rows, cols = np.divmod(place, keys.shape[1])
                chosen = ok.ravel()[place]
                if max(np.ptp(rows), np.ptp(cols)) + 1 > limit or not chosen.any():
                    continue
                ((result, _),) = reduce(
                    reducer, values.ravel()[place][chosen][:, None, None], np.ones((int(chosen.sum()), 1, 1), bool)
                )
                here = (rows >= limit) & (rows < limit + grid.height) & (cols >= limit) & (cols < limit + grid.width)
                out[rows[here] - limit, cols[here] - limit] = float(np.ravel(result)[0])
                have[rows[here] - limit, cols[here] - limit] = True
            return cast(out, to), have & ok[inner]

        return band.derived(read, to)

    bands = [of(band) for band in image.bands if band.id != by.id]
    return image.with_bands(renamed(bands, [band.id for band in bands], where))
