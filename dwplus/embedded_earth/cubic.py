"""Bicubic interpolation beside the bilinear one of :mod:`.grid`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dwplus.embedded_earth.grid import (
    SNAP,
    Extent,
    Grid,
    Pixels,
    Projection,
    _floor,
    _part,
    _span,
    positions,
    read_bilinear,
)
from dwplus.embedded_earth.masks import seen

#: Keys' parameter: exact for parabolas; GDAL's "cubic" has the same.
SHARPNESS = -0.5


def cubic_weights(part: np.ndarray) -> list[np.ndarray]:
    """Weights of the four pixels around a position that lies ``part`` of the way between the inner two."""
    a = SHARPNESS

    def near(x: np.ndarray) -> np.ndarray:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: np.ndarray) -> np.ndarray:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(1 + part), near(part), near(1 - part), far(2 - part)]


def read_bicubic(grid: Grid, projection: Projection, extent: Extent | None,
                 read: Callable[[int, int, int, int], Pixels], dtype: np.dtype) -> Pixels:
    """Pixels of a raster on another grid by cubic convolution of 4x4 of its pixels.

    Where one of the 16 is masked or beyond the raster's edge, the bilinear value stands in: cubic weights are
    negative in part, and cannot be scaled up for what is missing. Parameters as :func:`.grid.read_bilinear`.
    """
    base, mask = read_bilinear(grid, projection, extent, read, dtype)
    at = positions(grid, projection)
    c, r = at.col - 0.5, at.row - 0.5
    cols, rows = _floor(c), _floor(r)
    part_c, part_r = np.clip(c - cols, 0, 1), np.clip(r - rows, 0, 1)
    aligned = bool((part_c < 2 * SNAP).all()), bool((part_r < 2 * SNAP).all())
    if at.separable and all(aligned):
        return base, mask
    # On the lattice itself an axis needs no neighbours.
    taps_c, taps_r = ((0,) if at.separable and flat else (-1, 0, 1, 2) for flat in aligned)
    near_c = _inner(cols, taps_c, *_part(extent, across=True))
    near_r = _inner(rows, taps_r, *_part(extent, across=False))
    near = near_r[:, None] & near_c if at.separable else near_r & near_c
    if not near.any():
        return base, mask
    chosen_c, chosen_r = (cols[near_c], rows[near_r]) if at.separable else (cols[near], rows[near])
    across, down = (_span(np.append(index + taps[0], index + taps[-1]), None, None)
                    for index, taps in ((chosen_c, taps_c), (chosen_r, taps_r)))
    assert across is not None and down is not None
    (c0, width), (r0, height) = across, down
    data, valid = read(r0, c0, height, width)
    data = data.astype("f8", copy=False)
    weights_c, weights_r = ([np.ones(part.shape)] if len(taps) == 1 else cubic_weights(part)
                            for part, taps in ((part_c, taps_c), (part_r, taps_r)))
    cols, rows = cols - c0, rows - r0
    # Positions that are not near are read somewhere within, and not used.
    index_c = [np.clip(cols + tap, 0, width - 1) for tap in taps_c]
    index_r = [np.clip(rows + tap, 0, height - 1) for tap in taps_r]
    if valid is not None:
        whole = seen(valid)
        data = np.where(whole, data, 0)
    out = np.zeros(base.shape)
    if at.separable:
        lines = np.zeros((height, len(cols)))
        for weight, index in zip(weights_c, index_c, strict=True):
            lines += weight * data[:, index]
        for weight, index in zip(weights_r, index_r, strict=True):
            out += weight[:, None] * lines[index]
        if valid is not None:
            lines_seen = np.logical_and.reduce([whole[:, index] for index in index_c])
            near = near & np.logical_and.reduce([lines_seen[index] for index in index_r])
    else:
        for weight_r, row in zip(weights_r, index_r, strict=True):
            for weight_c, col in zip(weights_c, index_c, strict=True):
                out += weight_r * weight_c * data[row, col]
                if valid is not None:
                    near = near & whole[row, col]
    return np.where(near, out, base).astype(dtype), mask


def _inner(index: np.ndarray, taps: tuple[int, ...], first: int | None, size: int | None) -> np.ndarray:
    """Positions whose neighbours all lie on the raster."""
    if first is None or size is None:
        # Positions that could not be computed lie far outside.
        return np.abs(index) < 1e12
    return (index + taps[0] >= first) & (index + taps[-1] < first + size)
