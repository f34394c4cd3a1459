"""What lies under a kernel around each pixel: as arrays, as bands, as the entropy of its values; spectral unmixing."""

from __future__ import annotations

from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.arrays import MAX_SIZE
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, PixelType, cast
from dwplus.embedded_earth.values import Band, Image, Kernel, Weights


def _windowed(band: Band, grid: Grid, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Values and validity with the margin of a kernel."""
    height, width = weights.values.shape
    values, valid = band.read(grid.window(-weights.row, -weights.col, grid.height + height - 1, grid.width + width - 1))
    return values, np.ones(values.shape, bool) if valid is None else masks.seen(valid)


@function("Image.neighborhoodToArray")
def to_array(context: Context, image: Image, kernel: Kernel, default: float) -> Image:
    """The pixels of a rectangle around each pixel as a matrix; masked ones take the default."""

    def of(band: Band) -> Band:
        if band.type.dimensions:
            raise ComputeError("Image.neighborhoodToArray: the image must hold numbers.")
        to = PixelType(band.type.precision, band.type.minimum, band.type.maximum, 2)
        fill = cast(np.asarray(float(default)), band.type)

        def read(grid: Grid) -> Pixels:
            weights = kernel.at(grid.projection.scale)
            if weights.values.size * grid.height * grid.width > MAX_SIZE:
                raise ComputeError("User memory limit exceeded.")
            values, seen = _windowed(band, grid, weights)
            filled = np.where(seen, values, fill)
            views = np.lib.stride_tricks.sliding_window_view(filled, weights.values.shape)
            out = np.empty(grid.shape, object)
            for index in np.ndindex(grid.shape):
                out[index] = views[index].astype("f8" if filled.dtype.kind == "f" else "i8")
            own = seen[weights.row : weights.row + grid.height, weights.col : weights.col + grid.width]
            return out, None if own.all() else own

        return band.derived(read, to)

    return image.with_bands(map(of, image.bands))


@function("Image.neighborhoodToBands")
def to_bands(context: Context, image: Image, kernel: Kernel) -> Image:
    """A band for each pixel under the kernel, row by row, named by its column and row from the middle."""
    if kernel.metric:
        raise ComputeError("Image.neighborhoodToBands: kernels in metres are not supported by the embedded Earth.")
    weights = kernel.at(1.0)
    places = [(int(row), int(col)) for row, col in np.argwhere(weights.values != 0)]
    if len(places) * len(image.bands) > 1_024:
        raise ComputeError("User memory limit exceeded.")

    def of(band: Band, row: int, col: int) -> Band:
        def read(grid: Grid) -> Pixels:
            return band.read(grid.window(row, col, grid.height, grid.width))

        return band.derived(read).named(f"{band.id}_{col}_{row}")

    return image.with_bands(
        of(band, row - weights.row, col - weights.col) for band in image.bands for row, col in places
    )


@function("Image.entropy")
def entropy(context: Context, image: Image, kernel: Kernel) -> Image:
    """Entropy, bits, of the values under the kernel: -sum(p log2 p)."""

    def of(band: Band) -> Band:
        if band.type.precision != "int":
            raise ComputeError(f"Image.entropy: the band '{band.id}' must be of whole numbers.")

        def read(grid: Grid) -> Pixels:
            weights = kernel.at(grid.projection.scale)
            values, seen = _windowed(band, grid, weights)
            windows = [
                np.s_[row : row + grid.height, col : col + grid.width] for row, col in np.argwhere(weights.values != 0)
            ]
            total = sum((seen[window].astype("f8") for window in windows), np.zeros(grid.shape))
            out = np.zeros(grid.shape)
            for value in np.unique(values[seen]):
                context.check_time()
                hit = (values == value) & seen
                count: Any = sum((hit[window].astype("f8") for window in windows), np.zeros(grid.shape))
                share = np.divide(count, total, out=np.zeros(grid.shape), where=total > 0)
                out -= np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0)
            return np.abs(out), None if (total > 0).all() else total > 0

        return band.derived(read, DOUBLE)

    return image.with_bands(map(of, image.bands))


@function("Image.unmix")
def unmix(context: Context, image: Image, members: list[list[float]], to_one: bool, positive: bool) -> Image:
    """Shares of spectra in each pixel by the pseudo-inverse of the spectra."""
    if to_one or positive:
        raise ComputeError("Image.unmix: constraints are not supported by the embedded Earth.")
    spectra = np.array(members, "f8")
    if spectra.ndim != 2 or spectra.shape[1] != len(image.bands):
        raise ComputeError(f"Image.unmix: each endmember must have {len(image.bands)} numbers, one for each band.")
    inverse = np.linalg.pinv(spectra.T)

    def of(place: int) -> Band:
        def read(grid: Grid) -> Pixels:
            total, valid = np.zeros(grid.shape), None
            for band, weight in zip(image.bands, inverse[place], strict=True):
                values, mask = band.read(grid)
                total = total + weight * values
                valid = masks.both(valid, mask)
            return total, valid

        base = image.bands[0]
        return Band(f"band_{place}", DOUBLE, base.projection, base.extent, read)

    return image.computed(map(of, range(len(spectra))))
