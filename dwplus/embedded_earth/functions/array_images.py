"""Images of arrays: every pixel holds an array, of any length along each axis.

Such a band's values are an object array (h, w) of NumPy arrays of whole (64 bits) or floating numbers; its pixel type
says how many axes they have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.arrays import MAX_SIZE
from dwplus.embedded_earth.composites import composite, groups
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions import arrays
from dwplus.embedded_earth.functions.arithmetic import pair_bands
from dwplus.embedded_earth.functions.array_numbers import bits_to_array
from dwplus.embedded_earth.functions.images import broadcast
from dwplus.embedded_earth.functions.registry import function, images_of
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, PixelType, cast
from dwplus.embedded_earth.values import Band, Collection, Image, Reducer

#: Pixels between two looks at the clock.
_PART = 4_096
_COUNT = PixelType("int", 0, 2**31 - 1)

OnArrays = Callable[..., Any]


def _plain(value: Any) -> np.ndarray:
    found = np.asarray(value)
    return found if found.dtype in (np.int64, np.float64) else found.astype("f8" if found.dtype.kind == "f" else "i8")


def on_pixels(context: Context, values: Sequence[np.ndarray], seen: np.ndarray | None, run: OnArrays,
              to: PixelType) -> np.ndarray:
    """A function of every pixel's arrays, where pixels hold data; elsewhere 0 or an empty array."""
    shape = values[0].shape
    out = np.zeros(shape, to.dtype)
    if to.dimensions:
        out[...] = None
    flat, columns = out.reshape(-1), [np.broadcast_to(part, shape).reshape(-1) for part in values]
    blank = np.zeros((0,) * to.dimensions)
    size = 0
    for i in range(flat.size):
        if i % _PART == 0:
            context.check_time()
        if seen is not None and not seen.flat[i]:
            if to.dimensions:
                flat[i] = blank
            continue
        found = run(*(_plain(column[i]) for column in columns))
        if not to.dimensions:
            flat[i] = cast(np.asarray(found), to)
            continue
        flat[i] = _plain(found)
        size += flat[i].size
        if size > MAX_SIZE:
            raise ComputeError("User memory limit exceeded.")
    return out


def derived(context: Context, bands: Sequence[Band], run: OnArrays, to: PixelType, name: str | None = None) -> Band:
    """A band computed from the arrays (or numbers) of others; masked where one of them is."""
    def read(grid: Grid) -> Pixels:
        parts = [band.read(grid) for band in bands]
        valid: masks.Mask = None
        for _, mask in parts:
            valid = masks.both(valid, mask)
        with np.errstate(all="ignore"):
            return on_pixels(context, [np.broadcast_to(values, grid.shape) for values, _ in parts],
                             None if valid is None else masks.seen(valid), run, to), valid

    base = next((band for band in bands if not band.is_composite), bands[0])
    return Band(name or bands[0].id, to, base.projection, base.extent, read)


def dims_of(band: Band, where: str) -> int:
    if not band.type.dimensions:
        raise ComputeError(f"{where}: Band '{band.id}' must be array-valued; it holds numbers.")
    return band.type.dimensions


def _axis(axis: int, dimensions: int, where: str) -> int:
    if not 0 <= axis < dimensions:
        raise ComputeError(f"{where}: the axis {axis} is not one of the arrays' {dimensions}.")
    return axis


def _shaped(kind: PixelType, dimensions: int) -> PixelType:
    return replace(kind, dimensions=dimensions)


def each(context: Context, image: Image, where: str, run: Callable[[Band], Band]) -> Image:
    for band in image.bands:
        dims_of(band, where)
    return image.computed(map(run, image.bands))


# ----------------------------------------------------------------------------------------------------------- making


def _joined(axis: int, where: str) -> OnArrays:
    def run(*parts: np.ndarray) -> np.ndarray:
        return arrays.join(list(parts), axis, where)

    return run


def _common(bands: Sequence[Band], axis: int, where: str) -> PixelType:
    """Type of several bands' arrays, one axis more where they are joined along a new one."""
    dimensions = {band.type.dimensions for band in bands}
    if len(dimensions) != 1:
        raise ComputeError(f"{where}: the bands must have arrays of as many axes each.")
    own = dimensions.pop()
    if not 0 <= axis <= own:
        raise ComputeError(f"{where}: the axis {axis} must be 0 to {own}.")
    kind = bands[0].type
    for band in bands[1:]:
        kind = kind.union(band.type)
    return _shaped(kind, own + (axis == own))


@function("Image.toArray")
def to_array(context: Context, image: Image, axis: int) -> Image:
    if not image.bands:
        raise ComputeError("Image.toArray: the image has no bands.")
    kind = _common(image.bands, axis, "Image.toArray")
    return image.computed([derived(context, image.bands, _joined(axis, "Image.toArray"), kind, "array")])


@function("ImageCollection.toArrayPerBand")
def to_array_per_band(context: Context, elements: Collection, axis: int, drop: bool) -> Image:
    """Each band's pixels of all images in one array; with ``drop`` masked ones are left out."""
    where = "ImageCollection.toArrayPerBand"
    images = images_of(context, elements)

    def of(name: str, group: list[Band]) -> Band:
        kind = _common(group, axis, where)
        if not drop:
            return replace(derived(context, group, _joined(axis, where), kind, name), projection=WGS84, extent=None)
        return Band(name, kind, WGS84, None, _present(context, [[band] for band in group], _joined(axis, where), kind))

    return composite(images, [of(name, group) for name, group in groups(images).items()])


def _present(context: Context, rows: Sequence[Sequence[Band]], run: OnArrays, to: PixelType
             ) -> Callable[[Grid], Pixels]:
    """Reader of what a function makes of those rows of bands that hold data; masked where no row does."""
    def read(grid: Grid) -> Pixels:
        parts = [[band.read(grid) for band in row] for row in rows]
        kept: list[np.ndarray] = []
        valid: masks.Mask = np.zeros(grid.shape, bool)
        for row in parts:
            common: masks.Mask = None
            for _, mask in row:
                common = masks.both(common, mask)
            kept.append(np.ones(grid.shape, bool) if common is None else masks.seen(common))
            valid = masks.either(valid, common)
        width = len(parts[0]) if parts else 0
        values = [np.broadcast_to(value, grid.shape) for row in parts for value, _ in row]

        def on_kept(*pixel: np.ndarray) -> np.ndarray:
            here, numbers = pixel[:len(kept)], pixel[len(kept):]
            return np.asarray(run(*(numbers[i * width + k] for i in range(len(here)) if here[i] for k in range(width))))

        if not values:
            return on_pixels(context, [np.zeros(grid.shape)], np.zeros(grid.shape, bool), on_kept, to), valid
        return on_pixels(context, [*kept, *values], None if valid is None else masks.seen(valid), on_kept, to), valid

    return read


@function("ImageCollection.toArray")
def collection_to_array(context: Context, elements: Collection) -> Image:
    """Rows are the images that hold data in all bands, columns their bands."""
    images = images_of(context, elements)
    names = [band.id for band in images[0].bands] if images else []
    rows = [list(image.bands) for image in images]
    if any(len(row) != len(names) for row in rows) or any(band.type.dimensions for row in rows for band in row):
        raise ComputeError("ImageCollection.toArray: the images must have as many bands each, of numbers.")
    kind = rows[0][0].type if names else DOUBLE
    for row in rows:
        for band in row:
            kind = kind.union(band.type)
    kind = _shaped(kind, 2)

    def run(*numbers: np.ndarray) -> np.ndarray:
        return np.array(numbers).reshape(-1, len(names))

    return composite(images, [Band("array", kind, WGS84, None, _present(context, rows if names else [], run, kind))])


@function("Image.bitsToArrayImage")
def bits_to_array_image(context: Context, image: Image) -> Image:
    def run(value: np.ndarray) -> Any:
        return bits_to_array(context, value.item())

    return image.computed(derived(context, [band], run, PixelType("int", 0, 1, 1)) for band in image.bands)


# ------------------------------------------------------------------------------------------------------------- shape


@function("Image.arrayDimensions")
def array_dimensions(context: Context, image: Image) -> Image:
    return image.computed(derived(context, [band], np.ndim, PixelType("int", 0, 255)) for band in image.bands)


def _lengths(array: np.ndarray) -> np.ndarray:
    return np.array(array.shape, "i8")


@function("Image.arrayLengths")
def array_lengths(context: Context, image: Image) -> Image:
    return each(context, image, "Image.arrayLengths",
                 lambda band: derived(context, [band], _lengths, _shaped(_COUNT, 1)))


@function("Image.arrayLength")
def array_length(context: Context, image: Image, axis: int) -> Image:
    def of(band: Band) -> Band:
        place = _axis(axis, band.type.dimensions, "Image.arrayLength")

        def run(array: np.ndarray) -> int:
            return array.shape[place]

        return derived(context, [band], run, _COUNT)

    return each(context, image, "Image.arrayLength", of)


@function("Image.arrayReshape")
def array_reshape(context: Context, image: Image, lengths: Image, dimensions: int) -> Image:
    if len(lengths.bands) != 1 or not 1 <= dimensions <= 16:
        raise ComputeError("Image.arrayReshape: 'lengths' must have one band, 'dimensions' be 1 to 16.")

    def run(array: np.ndarray, shape: np.ndarray) -> np.ndarray:
        sizes = [int(size) for size in np.ravel(shape)]
        if len(sizes) != dimensions:
            raise ComputeError(f"Image.arrayReshape: {len(sizes)} lengths are given for {dimensions} dimensions.")
        return arrays.reshaped(array, sizes, "Image.arrayReshape")

    return image.computed(derived(context, [band, lengths.bands[0]], run, _shaped(band.type, dimensions))
                          for band in image.bands)


@function("Image.arrayTranspose", "Image.matrixTranspose")
def array_transpose(context: Context, image: Image, one: int, other: int) -> Image:
    def of(band: Band) -> Band:
        places = [_axis(axis, band.type.dimensions, "Image.arrayTranspose") for axis in (one, other)]

        def run(array: np.ndarray) -> np.ndarray:
            return np.swapaxes(array, *places)

        return derived(context, [band], run, band.type)

    return each(context, image, "Image.arrayTranspose", of)


@function("Image.arrayProject")
def array_project(context: Context, image: Image, axes: list[int]) -> Image:
    def run(array: np.ndarray) -> np.ndarray:
        return arrays.project(context, array, axes)

    return each(context, image, "Image.arrayProject",
                 lambda band: derived(context, [band], run, _shaped(band.type, len(axes))))


@function("Image.arrayFlatten")
def array_flatten(context: Context, image: Image, labels: list[list[str]], separator: str) -> Image:
    """A band of numbers for each element; its name is its labels, joined."""
    where = "Image.arrayFlatten"
    if len(image.bands) != 1 or dims_of(image.bands[0], where) != len(labels):
        raise ComputeError(f"{where}: the image must have one band, and 'coordinateLabels' a list of names for each of "
                           "its axes.")
    band = image.bands[0]
    shape = tuple(len(names) for names in labels)
    last: list[tuple[Grid, Pixels]] = []

    def whole(array: np.ndarray) -> np.ndarray:
        if array.shape != shape:
            raise ComputeError(f"{where}: the array's {'x'.join(map(str, array.shape))} elements do not meet the "
                               f"{'x'.join(map(str, shape))} labels.")
        return array

    checked = derived(context, [band], whole, band.type)

    def read_all(grid: Grid) -> Pixels:
        if not last or last[0][0] != grid:
            last[:] = [(grid, checked.read(grid))]
        return last[0][1]

    bands = []
    for index in np.ndindex(shape):
        def read(grid: Grid, index: tuple[int, ...] = index) -> Pixels:
            values, valid = read_all(grid)

            def element(array: np.ndarray) -> Any:
                return array[index]

            return on_pixels(context, [values], None if valid is None else masks.seen(valid), element,
                             _shaped(band.type, 0)), valid

        name = separator.join(names[i] for names, i in zip(labels, index, strict=True))
        bands.append(Band(name, _shaped(band.type, 0), band.projection, band.extent, read))
    return image.computed(bands)


# ---------------------------------------------------------------------------------------------------------- elements


@function("Image.arrayGet")
def array_get(context: Context, image: Image, position: Image) -> Image:
    def run(array: np.ndarray, *at: np.ndarray) -> Any:
        return arrays.get(context, array, [int(place) for place in at])

    def of(band: Band) -> Band:
        if len(position.bands) != band.type.dimensions:
            raise ComputeError(f"Image.arrayGet: 'position' must have {band.type.dimensions} bands; it has "
                               f"{len(position.bands)}.")
        return derived(context, [band, *position.bands], run, _shaped(band.type, 0))

    return each(context, image, "Image.arrayGet", of)


@function("Image.arraySlice")
def array_slice(context: Context, image: Image, axis: int, start: Image | None, end: Image | None, step: int) -> Image:
    ends = [part.bands[0] for part in (start, end) if part is not None]

    def run(array: np.ndarray, *given: np.ndarray) -> np.ndarray:
        places = iter(int(place) for place in given)
        first = next(places) if start is not None else 0
        last = next(places) if end is not None else None
        return arrays.slice_(context, array, axis, first, last, step)

    return each(context, image, "Image.arraySlice", lambda band: derived(context, [band, *ends], run, band.type))


@function("Image.arrayRepeat")
def array_repeat(context: Context, image: Image, axis: int, copies: Image) -> Image:
    def run(array: np.ndarray, times: np.ndarray) -> np.ndarray:
        return arrays.repeat(context, array, axis, int(times))

    def of(band: Band) -> Band:
        more = axis == band.type.dimensions
        return derived(context, [band, copies.bands[0]], run, _shaped(band.type, band.type.dimensions + more))

    return each(context, image, "Image.arrayRepeat", of)


@function("Image.arrayPad")
def array_pad(context: Context, image: Image, lengths: list[int], value: float) -> Image:
    def run(array: np.ndarray) -> np.ndarray:
        return arrays.padded(array, lengths, value, "Image.arrayPad")

    return each(context, image, "Image.arrayPad", lambda band: derived(context, [band], run, band.type))


@function("Image.arrayCat")
def array_cat(context: Context, left: Image, right: Image, axis: int) -> Image:
    where = "Image.arrayCat"
    return left.computed(derived(context, [one, other], _joined(axis, where), _common([one, other], axis, where), name)
                         for one, other, name in pair_bands(left, right, where))


@function("Image.arrayMask")
def array_mask(context: Context, image: Image, mask: Image) -> Image:
    def run(array: np.ndarray, kept: np.ndarray) -> np.ndarray:
        return arrays.masked(array, kept, "Image.arrayMask")

    return image.computed(derived(context, [band, by], run, band.type)
                          for band, by in zip(image.bands, broadcast(mask, len(image.bands)), strict=True))


@function("Image.arraySort")
def array_sort(context: Context, image: Image, keys: Image | None) -> Image:
    def run(array: np.ndarray, *by: np.ndarray) -> np.ndarray:
        return arrays.sorted_array(array, by[0] if by else None, "Image.arraySort")

    given = None if keys is None else broadcast(keys, len(image.bands))
    return image.computed(derived(context, [band] if given is None else [band, given[i]], run, band.type)
                          for i, band in enumerate(image.bands))


@function("Image.arrayArgmax")
def array_argmax(context: Context, image: Image) -> Image:
    def run(array: np.ndarray) -> np.ndarray:
        return np.array(np.unravel_index(array.argmax(), array.shape), "i8")

    return each(context, image, "Image.arrayArgmax", lambda band: derived(context, [band], run, _shaped(_COUNT, 1)))


@function("Image.arrayReduce")
def array_reduce(context: Context, image: Image, reducer: Reducer, axes: list[int], field: int | None) -> Image:
    def run(array: np.ndarray) -> np.ndarray:
        return arrays.reduced(context, array, reducer, axes, field, "Image.arrayReduce")

    return each(context, image, "Image.arrayReduce",
                 lambda band: derived(context, [band], run, PixelType("double", dimensions=band.type.dimensions)))


@function("Image.arrayAccum")
def array_accum(context: Context, image: Image, axis: int, reducer: Reducer | None) -> Image:
    def run(array: np.ndarray) -> np.ndarray:
        return arrays.accumulated(context, array, axis, reducer, "Image.arrayAccum")

    return each(context, image, "Image.arrayAccum",
                 lambda band: derived(context, [band], run, PixelType("double", dimensions=band.type.dimensions)))
