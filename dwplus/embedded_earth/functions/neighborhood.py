"""Neighbourhoods: convolution, reducers over kernels, focal filters and terrain.

All are computed in the pixels of the grid that is asked for, as the service does: a kernel of 3 pixels covers 30 m in
a request at 10 m and 300 m in one at 100 m.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.images import renamed
from dwplus.embedded_earth.functions.kernels import shaped
from dwplus.embedded_earth.functions.reducers import on_stack
from dwplus.embedded_earth.functions.registry import call, function
from dwplus.embedded_earth.grid import Grid, Pixels, is_geographic
from dwplus.embedded_earth.pixel_types import DOUBLE, FLOAT, PixelType, cast
from dwplus.embedded_earth.values import Band, Image, Kernel, Reducer, Weights

#: Bytes of one strip of stacked neighbours.
_STRIP_BYTES = 1 << 26
#: Neighbours from which on a Fourier transform is faster than adding them one by one.
_MANY = 512
#: Neighbours that may be stacked.
_MOST = 20_000
#: Sums of weights below this are rounding.
_NOISE = 1e-9


def around(grid: Grid, weights: Weights) -> Grid:
    """The grid with the margin that a kernel reaches into."""
    height, width = weights.values.shape
    return grid.window(-weights.row, -weights.col, grid.height + height - 1, grid.width + width - 1)


def _read(band: Band, grid: Grid, weights: Weights) -> tuple[np.ndarray, np.ndarray | None]:
    return band.read(around(grid, weights))


def _offsets(weights: Weights) -> Iterator[tuple[int, int, float]]:
    """Row and column offsets into a padded array, with their weight; pixels of no weight are no neighbours."""
    for row, col in np.argwhere(weights.values != 0):
        yield int(row), int(col), float(weights.values[row, col])


def _block(array: np.ndarray, row: int, col: int, shape: tuple[int, int]) -> np.ndarray:
    return array[row:row + shape[0], col:col + shape[1]]


# ---------------------------------------------------------------------------------------------------------- convolve


def weighted_sum(values: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    """Sum of the padded values times the weights, around every pixel.

    The kernel is laid on the pixels as it is written, not mirrored. Separable kernels are applied axis by axis.
    """
    kernel = weights.values
    peak = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    if not kernel[peak]:
        return np.zeros(shape)
    down, across = kernel[:, peak[1]] / kernel[peak], kernel[peak[0]]
    if np.abs(np.outer(down, across) - kernel).max() <= 1e-14 * abs(kernel[peak]):
        rows = np.zeros((shape[0], values.shape[1]))
        for i, weight in enumerate(down):
            rows += weight * values[i:i + shape[0]]
        out = np.zeros(shape)
        for j, weight in enumerate(across):
            out += weight * rows[:, j:j + shape[1]]
        return out
    if np.count_nonzero(kernel) > _MANY:
        spectrum = np.fft.rfft2(values) * np.conj(np.fft.rfft2(kernel, values.shape))
        return np.fft.irfft2(spectrum, values.shape)[:shape[0], :shape[1]]
    out = np.zeros(shape)
    for row, col, weight in _offsets(weights):
        out += weight * _block(values, row, col, shape)
    return out


def every_neighbour(valid: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    """Whether all pixels under a kernel are valid."""
    out = np.ones(shape, bool)
    for row, col, _ in _offsets(weights):
        out &= _block(valid, row, col, shape)
    return out


@function("Image.convolve")
def convolve(context: Context, image: Image, kernel: Kernel) -> Image:
    """The kernel laid on the pixels; masked where any pixel under it is."""
    def of(band: Band) -> Band:
        to = DOUBLE if band.type.precision == "double" or band.type.dtype.itemsize > 2 else FLOAT
        if band.type.precision == "float":
            to = FLOAT

        def read(grid: Grid) -> Pixels:
            weights = kernel.at(grid.projection.scale)
            values, valid = _read(band, grid, weights)
            data = values.astype("f8")
            if valid is None:
                return cast(weighted_sum(data, weights, grid.shape), to), None
            seen = masks.seen(valid)
            return (cast(weighted_sum(np.where(seen, data, 0), weights, grid.shape), to),
                    every_neighbour(seen, weights, grid.shape))

        return band.derived(read, PixelType(to.precision))

    return image.with_bands(map(of, image.bands))


# ---------------------------------------------------------------------------------------------------------- reducers

Layers = list[tuple[np.ndarray, np.ndarray]]


def _shared(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values times their shares, 0 where masked."""
    filled = np.where(seen, values, 0.0)
    return filled if seen.dtype == bool else filled * seen


def _moments(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Weighted count and mean around every pixel."""
    # Equal weights become ones: means of equal values come out exact.
    weights = replace(weights, values=weights.values / np.abs(weights.values).max())
    count = weighted_sum(seen.astype("f8"), weights, shape)
    total = weighted_sum(_shared(values, seen), weights, shape)
    return count, np.divide(total, count, out=np.zeros(shape), where=np.abs(count) > _NOISE)


def _mean(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    return _moments(values, seen, weights, shape)[1]


def _sum(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    return weighted_sum(_shared(values, seen), weights, shape)


def _variance(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    weights = replace(weights, values=weights.values / np.abs(weights.values).max())
    count, mean = _moments(values, seen, weights, shape)
    out = np.zeros(shape)
    for row, col, weight in _offsets(weights):
        out += weight * _shared((_block(values, row, col, shape) - mean) ** 2, _block(seen, row, col, shape))
    return np.divide(out, count, out=np.zeros(shape), where=np.abs(count) > _NOISE)


def _deviation(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    return np.sqrt(np.maximum(_variance(values, seen, weights, shape), 0))


#: Reducers in which the kernel's weights count.
_WEIGHTED: dict[str, Callable[..., np.ndarray]] = {"mean": _mean, "sum": _sum, "variance": _variance,
                                                   "stdDev": _deviation}


def _weighted_mode(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]) -> np.ndarray:
    """The value with the largest weight; of equals the smallest."""
    best, best_weight = np.zeros(shape), np.full(shape, -np.inf)
    for value in np.unique(values[masks.seen(seen)]):
        weight = weighted_sum(np.where(values == value, seen, 0).astype("f8"), weights, shape)
        better = weight > best_weight + 1e-12
        best[better], best_weight[better] = value, weight[better]
    return best


def _running(values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int], largest: bool
             ) -> np.ndarray:
    """Extreme of the neighbours that are seen, without stacking them."""
    edge = (-np.inf if largest else np.inf) if values.dtype.kind == "f" else \
        (np.iinfo(values.dtype).min if largest else np.iinfo(values.dtype).max)
    filled = np.where(seen, values, np.asarray(edge, values.dtype))
    out = np.full(shape, edge, values.dtype)
    for row, col, _ in _offsets(weights):
        (np.maximum if largest else np.minimum)(out, _block(filled, row, col, shape), out=out)
    return out


def _stacked(reducer: Reducer, values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]
             ) -> Layers:
    """Any reducer with an image form, on stacks of neighbours, strip by strip."""
    if reducer.pixels is None:
        raise ComputeError(f"Reducer.{reducer.name}: this reducer is not supported on images by the embedded Earth.")
    offsets = list(_offsets(weights))
    if len(offsets) > _MOST:
        raise ComputeError("User memory limit exceeded.")
    rows = max(1, _STRIP_BYTES // (len(offsets) * shape[1] * 16))
    parts: list[Layers] = []
    for start in range(0, shape[0], rows):
        size = min(rows, shape[0] - start), shape[1]
        data = np.stack([_block(values, start + row, col, size) for row, col, _ in offsets])
        valid = np.stack([_block(seen, start + row, col, size) for row, col, _ in offsets])
        with np.errstate(all="ignore"):
            parts.append([(np.asarray(out), masks.seen(np.asarray(ok))) for out, ok in on_stack(reducer, data, valid)])
    return [(np.concatenate([part[k][0] for part in parts]), np.concatenate([part[k][1] for part in parts]))
            for k in range(len(parts[0]))]


def neighbourhood(reducer: Reducer, values: np.ndarray, seen: np.ndarray, weights: Weights, shape: tuple[int, int]
                  ) -> Layers:
    """A reducer over the neighbours of every pixel of a padded array: values and validity of each output."""
    if reducer.shared:
        return [layer for part in reducer.shared for layer in neighbourhood(part, values, seen, weights, shape)]
    used = weights if reducer.weighted else replace(weights, values=(weights.values != 0).astype("f8"))
    uniform = np.unique(used.values[used.values != 0]).size <= 1
    name = reducer.name
    if not (used.values != 0).any():
        return [(np.zeros(shape), np.zeros(shape, bool))] * len(reducer.outputs)
    if name in ("min", "max", *_WEIGHTED) or (name == "mode" and not uniform):
        ones = replace(used, values=(used.values != 0).astype("f8"))
        some = weighted_sum(masks.seen(seen).astype("f8"), ones, shape) > 0.5
        if name in ("min", "max"):
            return [(_running(values, seen, ones, shape, name == "max"), some)]
        run: Callable[..., np.ndarray] = _WEIGHTED.get(name, _weighted_mode)
        return [(run(values.astype("f8"), seen, used, shape), some)]
    return _stacked(reducer, values, seen, used, shape)


def _types(reducer: Reducer, to: PixelType) -> list[PixelType]:
    if reducer.shared:
        return [kind for part in reducer.shared for kind in _types(part, to)]
    # Kernels have weights that are no whole numbers.
    if reducer.name == "sum":
        return [DOUBLE]
    return reducer.types(to) if reducer.types is not None else [DOUBLE] * len(reducer.outputs)


def reduced(band: Band, reducer: Reducer, kernel: Kernel, skip_masked: bool, by_mask: bool = False) -> list[Band]:
    """A band per output of the reducer over the band's neighbourhoods; ``by_mask`` weighs pixels by their mask too."""
    types = _types(reducer, band.type)
    last: list[tuple[Grid, Layers]] = []

    def run(grid: Grid) -> Layers:
        if not last or last[0][0] != grid:
            weights = kernel.at(grid.projection.scale)
            values, valid = _read(band, grid, weights)
            seen = np.ones(values.shape, bool) if valid is None else masks.seen(valid)
            weighed = seen if valid is None or not by_mask else valid
            layers = neighbourhood(reducer, np.ascontiguousarray(values), weighed, weights, grid.shape)
            if skip_masked and valid is not None:
                own = _block(seen, weights.row, weights.col, grid.shape)
                layers = [(out, np.asarray(masks.both(ok, own))) for out, ok in layers]
            last[:] = [(grid, layers)]
        return last[0][1]

    def of(k: int) -> Callable[[Grid], Pixels]:
        def read(grid: Grid) -> Pixels:
            out, ok = run(grid)[k]
            return cast(np.where(ok, out, 0), types[k]), ok

        return read

    return [band.derived(of(k), types[k]) for k in range(len(reducer.outputs))]


@function("Image.reduceNeighborhood")
def reduce_neighborhood(context: Context, image: Image, reducer: Reducer, kernel: Kernel, input_weight: str,
                        skip_masked: bool, optimization: str | None) -> Image:
    """A reducer over the pixels under the kernel.

    With ``inputWeight`` "mask" pixels weigh what their mask says, and the kernel gives the shape alone; "min" is
    exact where masks are all or nothing: of partly masked pixels the kernel's weight counts.
    """
    if input_weight not in ("mask", "kernel", "min"):
        raise ComputeError(f"Image.reduceNeighborhood: Invalid input weight: '{input_weight}'. Must be 'mask', "
                           "'kernel' or 'min'.")
    if reducer.inputs != 1:
        raise ComputeError("Image.reduceNeighborhood: reducers of several inputs are not supported by the embedded "
                           "Earth.")
    used = kernel
    if input_weight != "kernel":
        def at(metres: float) -> Weights:
            found = kernel.at(metres)
            shape = (found.values != 0).astype("f8")
            return replace(found, values=shape if input_weight == "mask" else np.minimum(found.values, shape))

        used = Kernel(at)
    bands = []
    for band in image.bands:
        made = reduced(band, reducer, used, skip_masked, input_weight == "mask")
        bands += renamed(made, [f"{band.id}_{output}" for output in reducer.outputs], "Image.reduceNeighborhood")
    return image.with_bands(bands)


# ------------------------------------------------------------------------------------------------------ focal filters

_FOCAL = {"mean": ("focalMean", "focal_mean"), "median": ("focalMedian", "focal_median"),
          "min": ("focalMin", "focal_min"), "max": ("focalMax", "focal_max"), "mode": ("focalMode", "focal_mode")}


def _register_focal(reducer_name: str, names: tuple[str, ...]) -> None:
    @function(*(f"Image.{name}" for name in names))
    def run(context: Context, image: Image, radius: float, kernel_type: str, units: str, iterations: int,
            kernel: Kernel | None) -> Image:
        """Masked pixels take no part; where any neighbour is valid, so is the result."""
        if not 1 <= iterations <= 64:
            raise ComputeError(f"Image.{names[0]}: 'iterations' must be 1 to 64.")
        used = kernel or shaped(kernel_type, radius, units)
        reducer = call(context, f"Reducer.{reducer_name}", {})
        bands = image.bands
        for _ in range(iterations):
            bands = tuple(reduced(band, reducer, used, False)[0] for band in bands)
        return image.with_bands(bands)


for _reducer, _names in _FOCAL.items():
    _register_focal(_reducer, _names)


# ------------------------------------------------------------------------------------------------------------ terrain


def gradient(band: Band, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rise per metre eastwards and northwards from the four neighbours, and where all of them are valid."""
    padded = grid.padded(1)
    values, valid = band.read(padded)
    z = values.astype("f8")
    a, b, _, d, e, _ = grid.transform
    along, down = (z[1:-1, 2:] - z[1:-1, :-2]) / 2, (z[2:, 1:-1] - z[:-2, 1:-1]) / 2
    determinant = a * e - b * d
    east, north = (e * along - d * down) / determinant, (a * down - b * along) / determinant
    if is_geographic(grid.crs):
        metre_x, metre_y = _metres_per_degree(grid)
        east, north = east / metre_x, north / metre_y
    if valid is None:
        return east, north, None
    seen = masks.seen(valid)
    every = (seen[1:-1, 1:-1] & seen[1:-1, 2:] & seen[1:-1, :-2] & seen[2:, 1:-1] & seen[:-2, 1:-1])
    return east, north, every


def _metres_per_degree(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Metres per degree of longitude and of latitude on the WGS84 ellipsoid, at the pixels."""
    _, latitude = grid.centres()
    axis, e2 = 6378137.0, 0.0066943799901413165
    sine2 = np.sin(np.radians(latitude)) ** 2
    meridian, normal = axis * (1 - e2) / (1 - e2 * sine2) ** 1.5, axis / np.sqrt(1 - e2 * sine2)
    return math.radians(1) * normal * np.cos(np.radians(latitude)), math.radians(1) * meridian


def _slope(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan(np.hypot(east, north)))


def _aspect(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Where the slope faces, in degrees clockwise from north; 0 on the flat."""
    return np.where((east == 0) & (north == 0), 0.0, np.degrees(np.arctan2(-east, -north)) % 360)


def _terrain(image: Image, name: str, to: PixelType, run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Image:
    if not image.bands:
        raise ComputeError("Terrain: the image has no bands.")
    band = next((band for band in image.bands if band.id == "elevation"), image.bands[0])

    def read(grid: Grid) -> Pixels:
        east, north, valid = gradient(band, grid)
        return cast(run(east, north), to), valid

    return image.with_bands([band.derived(read, to).named(name)])


@function("Terrain.slope")
def slope(context: Context, image: Image) -> Image:
    return _terrain(image, "slope", FLOAT, _slope)


@function("Terrain.aspect")
def aspect(context: Context, image: Image) -> Image:
    return _terrain(image, "aspect", FLOAT, _aspect)


def _shade(azimuth: float, elevation: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Lambertian shade of a sun at an azimuth (degrees clockwise from north) and an elevation, 0 to 255."""
    towards, up = math.radians(azimuth), math.radians(elevation)
    sun = math.cos(up) * math.sin(towards), math.cos(up) * math.cos(towards), math.sin(up)

    def shade(east: np.ndarray, north: np.ndarray) -> np.ndarray:
        lit: Any = (sun[2] - east * sun[0] - north * sun[1]) / np.sqrt(1 + east**2 + north**2)
        return np.clip(lit, 0, 1) * 255

    return shade


@function("Terrain.hillshade")
def hillshade(context: Context, image: Image, azimuth: float, elevation: float) -> Image:
    return _terrain(image, "hillshade", PixelType("int", 0, 255), _shade(azimuth, elevation))


@function("Terrain", "Terrain.products")
def products(context: Context, image: Image) -> Image:
    """The image with its slope, aspect and hillshade."""
    added = [slope(context, image), aspect(context, image), hillshade(context, image, 270, 45)]
    return image.with_bands([*image.bands, *(band for one in added for band in one.bands)])
