"""Images: bands, arithmetic, masks, types, projections. Every result reads its inputs on the grid it is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import rasterio.features
import rasterio.transform
import shapely

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.bands import constant_band, projected, resampled
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import Context, as_image, convert, function
from dwplus.embedded_earth.grid import WGS84, Extent, Grid, Pixels, Projection, centres_in, is_geographic
from dwplus.embedded_earth.pixel_types import BOOLEAN, DOUBLE, FLOAT, PixelType, cast, integer_type
from dwplus.embedded_earth.shapes import Geometry, combinable, polygon_of
from dwplus.embedded_earth.values import Band, Collection, Date, Feature, Image, unique

# ---------------------------------------------------------------------------------------------- making and choosing


@function("Image.load")
def load(context: Context, asset_id: str, version: int) -> Image:
    return context.image(asset_id)


@function("Image.constant")
def constant(context: Context, value: Any) -> Image:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ComputeError("Image.constant: Parameter 'value' must be a number or a list of numbers.")
    if not isinstance(value, list):
        return Image((constant_band(value),))
    return Image(tuple(constant_band(number, f"constant_{i}" if i else "constant") for i, number in enumerate(numbers)))


def select_bands(image: Image, selectors: Sequence[Any]) -> list[Band]:
    """Bands by name, pattern or number."""
    chosen = []
    for selector in selectors:
        if isinstance(selector, int | float) and not isinstance(selector, bool):
            if not -len(image.bands) <= selector < len(image.bands):
                raise ComputeError(f"Image.select: Band index {int(selector)} out of bounds: the image has "
                                   f"{len(image.bands)} bands.")
            chosen.append(image.bands[int(selector)])
            continue
        if not isinstance(selector, str):
            raise ComputeError(f"Image.select: Invalid band selector: {selector!r:.40}.")
        exact = [band for band in image.bands if band.id == selector]
        if not exact:
            try:
                pattern = re.compile(selector)
            except re.error as error:
                raise ComputeError(f"Image.select: Invalid band pattern '{selector}': {error}.") from error
            exact = [band for band in image.bands if pattern.fullmatch(band.id)]
        chosen += exact or [image.band(selector)]
    return chosen


def renamed(bands: Sequence[Band], names: Sequence[Any], where: str) -> list[Band]:
    """Bands under new names, as many as bands."""
    if len(names) != len(bands):
        raise ComputeError(f"{where}: The number of names ({len(names)}) must match the number of bands "
                           f"({len(bands)}).")
    if len(set(names)) != len(names):
        raise ComputeError(f"{where}: Band names must be distinct; got [{', '.join(map(str, names))}].")
    if not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_\-.]+", name) for name in names):
        raise ComputeError(f"{where}: Invalid band name in [{', '.join(map(str, names))}].")
    return [band.named(name) for band, name in zip(bands, names, strict=True)]


@function("Image.select")
def select(context: Context, image: Image, selectors: list[Any], names: list[Any] | None) -> Image:
    bands = select_bands(image, selectors)
    return image.with_bands(renamed(bands, names, "Image.select") if names else bands)


@function("Image.rename")
def rename(context: Context, image: Image, names: list[Any]) -> Image:
    return image.with_bands(renamed(image.bands, names, "Image.rename"))


@function("Image.slice")
def slice_bands(context: Context, image: Image, start: int, end: int | None) -> Image:
    return image.with_bands(image.bands[start:end])


@function("Image.addBands")
def add_bands(context: Context, image: Image, source: Image, names: list[Any] | None, overwrite: bool) -> Image:
    new = select_bands(source, names) if names else list(source.bands)
    if not overwrite:
        return image.with_bands([*image.bands, *new])
    by_name = {band.id: band for band in new}
    return image.with_bands([*(by_name.pop(band.id, band) for band in image.bands), *by_name.values()])


def stack(images: Sequence[Image]) -> Image:
    """Bands of several images in one, with the first one's properties."""
    if not images:
        return Image(())
    bands = [band for image in images for band in image.bands]
    return replace(images[0], bands=unique(bands), id=None, version=None)


@function("Image.cat")
def cat(context: Context, images: list[Any]) -> Image:
    found = [as_image(context, image) for image in images]
    return stack([image for image in found if image is not None])


@function("Image.bandNames")
def band_names(context: Context, image: Image) -> list[str]:
    return [band.id for band in image.bands]


@function("Image.bandTypes")
def band_types(context: Context, image: Image) -> dict[str, PixelType]:
    return {band.id: band.type for band in image.bands}


@function("Image.id")
def image_id(context: Context, image: Image) -> str | None:
    return image.id


@function("Image.date")
def date(context: Context, image: Image) -> Date:
    start = image.properties.get("system:time_start")
    if start is None:
        raise ComputeError("Image.date: the image has no property 'system:time_start'.")
    return Date(start)


@function("Image.metadata")
def metadata(context: Context, image: Image, name: str, band: str | None) -> Image:
    value = image.properties.get(name)
    if not isinstance(value, int | float):
        raise ComputeError(f"Image.metadata: the property '{name}' is no number.")
    return Image((constant_band(value, name),), {}, None, None, image.footprint)


# ------------------------------------------------------------------------------------------------------- arithmetic

Operation = Callable[[np.ndarray, np.ndarray], np.ndarray]
Combine = Callable[[PixelType, PixelType], PixelType]


def pair_bands(left: Image, right: Image, where: str) -> list[tuple[Band, Band, str]]:
    """Bands to combine: by name where the names agree, else by place; a single band goes with every band."""
    one, other = left.bands, right.bands
    if len(other) == 1 and len(one) != 1:
        return [(band, other[0], band.id) for band in one]
    if len(one) == 1 and len(other) != 1:
        return [(one[0], band, band.id) for band in other]
    if len(one) != len(other):
        raise ComputeError(f"{where}: Images must contain the same bands or exactly one band each; got {len(one)} and "
                           f"{len(other)}.")
    by_name = {band.id: band for band in other}
    if set(by_name) == {band.id for band in one}:
        return [(band, by_name[band.id], band.id) for band in one]
    return [(a, b, a.id) for a, b in zip(one, other, strict=True)]


def working_type(*types: PixelType) -> np.dtype:
    """The floating type to compute in: single precision where no input needs more."""
    single = all(t.precision == "float" or (t.precision == "int" and t.dtype.itemsize <= 2) for t in types)
    return np.dtype("f4") if single and any(t.precision == "float" for t in types) else np.dtype("f8")


def binary(left: Image, right: Image, operation: Operation, combine: Combine, where: str,
           guard: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None) -> Image:
    """Combine two images pixel by pixel; valid where both are, and where ``guard`` holds."""
    bands = []
    for one, other, name in pair_bands(left, right, where):
        to = combine(one.type, other.type)
        work = working_type(one.type, other.type, to) if to.precision != "int" else None

        def read(grid: Grid, one: Band = one, other: Band = other, to: PixelType = to,
                 work: np.dtype | None = work) -> Pixels:
            (a, a_valid), (b, b_valid) = one.read(grid), other.read(grid)
            if work is not None:
                a, b = a.astype(work, copy=False), b.astype(work, copy=False)
            elif a.dtype.kind != "f" and b.dtype.kind != "f" and max(a.dtype.itemsize, b.dtype.itemsize) < 8:
                if operation in _EXACT:  # comparisons need no widening
                    return cast(operation(a, b), to), masks.both(a_valid, b_valid)
                a, b = a.astype("i8"), b.astype("i8")
            with np.errstate(all="ignore"):
                result = operation(a, b)
            valid = masks.both(a_valid, b_valid)
            if guard is not None:
                valid = masks.both(valid, guard(a, b))
            return cast(result, to), valid

        # The grid comes from the side that has one: a number takes the image's.
        base = other if one.is_composite and not other.is_composite else one
        bands.append(Band(name, to, base.projection, base.extent, read))
    owner = left if left.footprint is not None or right.footprint is None or not left.bands else right
    if len(left.bands) == 1 and len(right.bands) > 1:
        owner = right
    return owner.computed(bands)


def _interval(operation: Callable[[float, float], float]) -> Combine:
    """Range of an integer operation from the ranges of its inputs; other types widen."""
    def combine(one: PixelType, other: PixelType) -> PixelType:
        ends = (one.minimum, one.maximum), (other.minimum, other.maximum)
        if one.precision == other.precision == "int" and not any(e is None for pair in ends for e in pair):
            corners = [operation(a, b) for a in ends[0] for b in ends[1]]  # type: ignore[arg-type]
            if max(abs(c) for c in corners) < 2**63:
                return PixelType("int", int(min(corners)), int(max(corners)))
            return DOUBLE
        return _floating(one, other)

    return combine


def _floating(one: PixelType, other: PixelType) -> PixelType:
    return DOUBLE if "double" in (one.precision, other.precision) else FLOAT


def _union(one: PixelType, other: PixelType) -> PixelType:
    return one.union(other)


def _boolean(one: PixelType, other: PixelType) -> PixelType:
    return BOOLEAN


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.zeros(np.broadcast_shapes(a.shape, b.shape), np.result_type(a, b, "f4"))
    return np.divide(a, b, out=out, where=b != 0)


def _mod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    safe = np.where(b == 0, np.ones((), b.dtype), b)
    return np.where(b == 0, np.zeros((), a.dtype), np.fmod(a, safe))


def _and(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a != 0) & (b != 0)


def _or(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a != 0) | (b != 0)


_EXACT = {np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, _and, _or, np.maximum,
          np.minimum, np.bitwise_and, np.bitwise_or, np.bitwise_xor}

_BINARY: dict[str, tuple[Operation, Combine]] = {
    "add": (np.add, _interval(lambda a, b: a + b)), "subtract": (np.subtract, _interval(lambda a, b: a - b)),
    "multiply": (np.multiply, _interval(lambda a, b: a * b)), "divide": (_divide, _floating),
    "pow": (np.power, _floating), "mod": (_mod, _union), "max": (np.maximum, _union), "min": (np.minimum, _union),
    "gt": (np.greater, _boolean), "gte": (np.greater_equal, _boolean), "lt": (np.less, _boolean),
    "lte": (np.less_equal, _boolean), "eq": (np.equal, _boolean), "neq": (np.not_equal, _boolean),
    "and": (_and, _boolean), "or": (_or, _boolean), "atan2": (np.arctan2, _floating), "hypot": (np.hypot, _floating),
    "bitwiseAnd": (np.bitwise_and, _union), "bitwise_and": (np.bitwise_and, _union),
    "bitwiseOr": (np.bitwise_or, _union), "bitwise_or": (np.bitwise_or, _union),
    "bitwiseXor": (np.bitwise_xor, _union), "bitwise_xor": (np.bitwise_xor, _union),
    "leftShift": (np.left_shift, lambda one, other: integer_type("int64")),
    "left_shift": (np.left_shift, lambda one, other: integer_type("int64")),
    "rightShift": (np.right_shift, _union), "right_shift": (np.right_shift, _union),
}

#: What ``Image.divide`` and ``mod`` do by zero: the result is masked.
_BY_ZERO = {"divide", "mod"}


def _register_binary(name: str, operation: Operation, combine: Combine) -> None:
    guard = (lambda a, b: np.broadcast_to(b != 0, np.broadcast_shapes(a.shape, b.shape))) if name in _BY_ZERO else None

    @function(f"Image.{name}")
    def run(context: Context, left: Image, right: Image) -> Image:
        return binary(left, right, operation, combine, f"Image.{name}", guard)


for _name, (_operation, _combine) in _BINARY.items():
    _register_binary(_name, _operation, _combine)


def unary(image: Image, operation: Callable[[np.ndarray], np.ndarray], to: Callable[[PixelType], PixelType]) -> Image:
    """Apply a function to every pixel; where the result is not finite, it is masked."""
    def of(band: Band) -> Band:
        result_type = to(band.type)
        work = working_type(band.type, result_type)

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            with np.errstate(all="ignore"):
                result = operation(values.astype(work, copy=False))
            if result.dtype.kind == "f" and result_type.precision != "int":
                finite = np.isfinite(result)
                if not finite.all():
                    valid = masks.both(valid, finite)
                    result = np.where(finite, result, 0)
            return cast(result, result_type), valid

        return band.derived(read, result_type)

    return image.with_bands(map(of, image.bands))


def _real(t: PixelType) -> PixelType:
    return DOUBLE if t.precision == "double" or (t.precision == "int" and t.dtype.itemsize > 2) else FLOAT


def _whole(t: PixelType) -> PixelType:
    if t.precision == "int":
        return t
    if t.minimum is None or t.maximum is None or max(abs(t.minimum), abs(t.maximum)) >= 2**31 - 1:
        return integer_type("int32")
    return PixelType("int", math.floor(t.minimum), math.ceil(t.maximum))


def _magnitude(t: PixelType) -> PixelType:
    if t.precision != "int" or t.minimum is None or t.maximum is None:
        return PixelType(t.precision)
    low = 0 if t.minimum <= 0 <= t.maximum else min(abs(t.minimum), abs(t.maximum))
    return PixelType("int", low, max(abs(t.minimum), abs(t.maximum)))


_UNARY: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[PixelType], PixelType]]] = {
    **{name: (getattr(np, numpy_name), _real) for name, numpy_name in {
        "log10": "log10", "log": "log", "exp": "exp", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan",
        "asin": "arcsin", "acos": "arccos", "atan": "arctan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
        "cbrt": "cbrt"}.items()},
    "abs": (np.abs, _magnitude), "floor": (np.floor, _whole), "ceil": (np.ceil, _whole),
    # Halves go up, as Java's Math.round does.
    "round": (lambda v: np.floor(v + 0.5), _whole),
    "signum": (np.sign, lambda t: PixelType("int", -1, 1)), "not": (lambda v: v == 0, lambda t: BOOLEAN),
}


def _register_unary(name: str, operation: Callable[[np.ndarray], np.ndarray],
                    to: Callable[[PixelType], PixelType]) -> None:
    @function(f"Image.{name}")
    def run(context: Context, image: Image) -> Image:
        return unary(image, operation, to)


for _name, (_one, _to) in _UNARY.items():
    _register_unary(_name, _one, _to)


@function("Image.clamp")
def clamp(context: Context, image: Image, low: float, high: float) -> Image:
    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return cast(np.clip(values.astype("f8"), low, high), band.type), valid

        return band.derived(read)

    return image.with_bands(map(of, image.bands))


@function("Image.unitScale")
def unit_scale(context: Context, image: Image, low: float, high: float) -> Image:
    if low == high:
        raise ComputeError("Image.unitScale: 'low' and 'high' must differ.")

    return unary(image, lambda v: (v.astype("f8") - low) / (high - low), lambda t: DOUBLE)


@function("Image.normalizedDifference")
def normalized_difference(context: Context, image: Image, names: list[Any] | None) -> Image:
    pair = select_bands(image, names) if names else list(image.bands[:2])
    if len(pair) != 2:
        raise ComputeError("Image.normalizedDifference: two bands are needed.")
    one, other = pair

    def read(grid: Grid) -> Pixels:
        (a, a_valid), (b, b_valid) = one.read(grid), other.read(grid)
        a, b = a.astype("f4"), b.astype("f4")
        total = a + b
        fine = (a >= 0) & (b >= 0) & (total != 0)
        values = np.divide(a - b, total, out=np.zeros_like(total), where=fine)
        return values, masks.both(masks.both(a_valid, b_valid), fine)

    return image.computed([Band("nd", PixelType("float", -1, 1), one.projection, one.extent, read)])


@function("Image.remap")
def remap(context: Context, image: Image, source: list[Any], target: list[Any], default: Any,
          band_name: str | None) -> Image:
    if len(source) != len(target):
        raise ComputeError(f"Image.remap: 'from' and 'to' must have the same length; got {len(source)} and "
                           f"{len(target)}.")
    band = image.band(band_name) if band_name else image.bands[0]
    whole = all(float(v).is_integer() for v in [*target, *([] if default is None else [default])])
    ends = [*target, *([] if default is None else [default])] or [0]
    to = PixelType("int", int(min(ends)), int(max(ends))) if whole else DOUBLE
    order = np.argsort(source, kind="stable")
    keys, values_to = np.asarray(source, "f8")[order], np.asarray(target, "f8")[order]

    def read(grid: Grid) -> Pixels:
        values, valid = band.read(grid)
        if not len(keys):
            found = np.zeros(values.shape, bool)
            result = np.zeros(values.shape)
        else:
            at = np.clip(np.searchsorted(keys, values), 0, len(keys) - 1)
            found = keys[at] == values
            result = values_to[at]
        if default is not None:
            return cast(np.where(found, result, float(default)), to), valid
        return cast(np.where(found, result, 0), to), masks.both(valid, found)

    return image.computed([replace(band, id="remapped", type=to, read=read, constant=None)])


@function("Image.where")
def where(context: Context, image: Image, test: Image, value: Image) -> Image:
    def of(band: Band, condition: Band, other: Band) -> Band:
        to = band.type.union(other.type)

        def read(grid: Grid) -> Pixels:
            (a, a_valid), (t, t_valid), (b, b_valid) = band.read(grid), condition.read(grid), other.read(grid)
            take = (t != 0)
            for valid in (t_valid, b_valid):
                if valid is not None:
                    take = take & masks.seen(valid)
            return np.where(take, cast(b, to), cast(a, to)), a_valid

        return band.derived(read, to)

    tests, values = _broadcast(test, len(image.bands)), _broadcast(value, len(image.bands))
    return image.with_bands(of(*bands) for bands in zip(image.bands, tests, values, strict=True))


def _broadcast(image: Image, count: int) -> Sequence[Band]:
    """One band for each of ``count``."""
    if len(image.bands) == 1:
        return image.bands * count
    if len(image.bands) != count:
        raise ComputeError(f"Images must contain the same number of bands or one; got {count} and {len(image.bands)}.")
    return image.bands


# ---------------------------------------------------------------------------------------------------------- masks


@function("Image.updateMask")
def update_mask(context: Context, image: Image, mask: Image) -> Image:
    return _masked(image, mask, keep=True)


@function("Image.selfMask")
def self_mask(context: Context, image: Image) -> Image:
    return _masked(image, image, keep=True)


@function("Image.mask")
def mask_of(context: Context, image: Image, mask: Image | None) -> Image:
    if mask is not None:
        return _masked(image, mask, keep=False)

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            _, valid = band.read(grid)
            return masks.shares(valid, grid.shape), None

        return band.derived(read, PixelType("float", 0, 1))

    return image.with_bands(map(of, image.bands))


def _masked(image: Image, mask: Image, keep: bool) -> Image:
    """The image under a new mask: everywhere, or with ``keep`` where it has data already.

    The mask's values are cut to 0..1; where the mask itself is masked they are 0.
    """
    def of(band: Band, by: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            on, on_valid = (values, valid) if by is band else by.read(grid)
            new = masks.tidied(on) if on.dtype.kind == "f" else on > 0
            if on_valid is not None:
                new = masks.both(new, masks.seen(on_valid))
            if valid is None:
                return values, new
            had = masks.seen(valid)
            if keep:
                return values, masks.both(new, had)
            return np.where(had, values, _nearest_to_zero(band.type)), new

        return band.derived(read)

    return image.with_bands(of(band, by) for band, by in zip(image.bands, _broadcast(mask, len(image.bands)),
                                                             strict=True))


def _nearest_to_zero(to: PixelType) -> Any:
    """What pixels hold that had no data and get a mask."""
    low, high = (0 if end is None else end for end in (to.minimum, to.maximum))
    return to.dtype.type(min(max(0, low), max(high, low, 0)))


def footprint_mask(shape: Geometry | None, grid: Grid) -> np.ndarray | None:
    """Pixels whose centre lies within a geometry; None for all."""
    if shape is None:
        return None
    local = polygon_of(shape.drawn(grid.crs))
    if local.is_empty or not all(map(math.isfinite, local.bounds)):
        return np.zeros(grid.shape, bool)
    box = shapely.Polygon(grid.corners())
    if not shapely.intersects(local, box):
        return np.zeros(grid.shape, bool)
    if shapely.contains(local, box):
        return None
    return rasterio.features.rasterize([(local, 1)], out_shape=grid.shape,
                                       transform=rasterio.transform.Affine(*grid.transform), dtype="uint8").astype(bool)


def coverage(shape: Geometry, grid: Grid) -> masks.Mask:
    """Share of every pixel that a geometry covers; of lines and points, the pixels whose centre they meet."""
    centres = footprint_mask(shape, grid)
    local = polygon_of(shape.drawn(grid.crs))
    if centres is None or not local.geom_type.endswith("Polygon"):
        return centres
    return masks.tidied(region_weights(shape, grid))


@function("Image.unmask")
def unmask(context: Context, image: Image, value: Image | None, same_footprint: bool) -> Image:
    fill = value if value is not None else Image((constant_band(0),))

    def of(band: Band, by: Band) -> Band:
        to = band.type.union(by.type)

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            values = cast(values, to)
            if valid is None:
                return values, None
            other, limit = by.read(grid)
            if same_footprint:
                limit = masks.both(limit, masks.both(_within(band, grid), footprint_mask(image.footprint, grid)))
            had = masks.seen(valid)
            return np.where(had, values, cast(other, to)), masks.chosen(had, valid, limit)

        return band.derived(read, to)

    bands = [of(band, by) for band, by in zip(image.bands, _broadcast(fill, len(image.bands)), strict=True)]
    if same_footprint:
        return image.with_bands(bands)
    # The footprint grows with the value's; the grid's bounds go with it.
    return replace(image.with_bands(bands), footprint=fill.footprint)


def _within(band: Band, grid: Grid) -> np.ndarray | None:
    """Pixels of a grid that lie on a band's own raster; None for all."""
    if band.extent is None:
        return None
    x, y = centres_in(grid, band.projection.crs)
    a, b, c, d, e, f = band.projection.transform
    determinant = a * e - b * d
    col = (e * (x - c) - b * (y - f)) / determinant - band.extent.col
    row = (a * (y - f) - d * (x - c)) / determinant - band.extent.row
    inside = (col >= 0) & (col < band.extent.width) & (row >= 0) & (row < band.extent.height)
    return None if inside.all() else inside


@function("Image.clip", "Image.clipToCollection")
def clip(context: Context, image: Image, region: Any) -> Image:
    from dwplus.embedded_earth.functions.registry import as_geometry

    shape = as_geometry(context, region)
    if shape is None:
        raise ComputeError("Image.clip: Parameter 'geometry' must be a geometry, a feature or a collection.")

    last: list[tuple[Grid, masks.Mask]] = []

    def covered(grid: Grid) -> masks.Mask:
        if not last or last[0][0] != grid:
            last[:] = [(grid, coverage(shape, grid))]
        return last[0][1]

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return values, masks.both(valid, covered(grid))

        return band.derived(read)

    kept = shape
    if image.footprint is not None:
        parts, geodesic = combinable([image.footprint, shape])
        kept = Geometry(shapely.intersection(*parts), WGS84.crs, geodesic)
    properties = {**image.properties, "system:footprint": kept.json()} if not kept.shape.is_empty else image.properties
    return replace(image, bands=tuple(map(of, image.bands)), properties=properties, footprint=kept)


# ---------------------------------------------------------------------------------------------------------- types


def pixel_type(value: Any) -> PixelType | None:
    """A pixel type from its name or its dictionary."""
    if isinstance(value, PixelType):
        return value
    if value in ("float", "double"):
        return PixelType(str(value))
    if isinstance(value, str) and value in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "int",
                                            "long", "byte", "short"):
        return integer_type({"int": "int32", "long": "int64", "byte": "uint8", "short": "int16"}.get(value, value))
    if isinstance(value, dict) and value.get("precision") in ("int", "float", "double"):
        return PixelType(value["precision"], value.get("minValue", value.get("min")),
                         value.get("maxValue", value.get("max")))
    return None


def convert_band(band: Band, to: PixelType) -> Band:
    """A band as another type: integers clamp, fractions are cut off."""
    def read(grid: Grid) -> Pixels:
        values, valid = band.read(grid)
        return cast(values, to), valid

    return replace(band, type=to, read=read)


def _register_cast(name: str, to: PixelType) -> None:
    @function(f"Image.{name}", f"Image.to{name[0].upper()}{name[1:]}")
    def run(context: Context, image: Image) -> Image:
        return image.with_bands(convert_band(band, to) for band in image.bands)


for _name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"):
    _register_cast(_name, integer_type(_name))
for _name, _alias in (("byte", "uint8"), ("short", "int16"), ("int", "int32"), ("long", "int64")):
    _register_cast(_name, integer_type(_alias))
_register_cast("float", FLOAT)
_register_cast("double", DOUBLE)


@function("Image.cast")
def cast_bands(context: Context, image: Image, types: dict[str, Any], order: list[str] | None) -> Image:
    bands = []
    for name in order or [band.id for band in image.bands]:
        wanted = types.get(name)
        band = image.band(name)
        bands.append(band if wanted is None else convert_band(band, convert(context, wanted, "PixelType",
                                                                             "Image.cast")))
    return image.with_bands(bands)


# ----------------------------------------------------------------------------------------------------- projections


@function("Image.projection")
def projection(context: Context, image: Image) -> Projection:
    if not image.bands:
        raise ComputeError("Image.projection: the image has no bands.")
    found = {band.projection for band in image.bands}
    if len(found) > 1:
        raise ComputeError("Image.projection: The bands of the specified image contains different projections. Use "
                           "select() to pick a band or bands with the same projection.")
    return found.pop()


@function("Image.resample")
def resample(context: Context, image: Image, mode: str) -> Image:
    if mode not in ("bilinear", "bicubic"):
        raise ComputeError(f"Image.resample: Invalid interpolation mode: '{mode}'.")
    return image.with_bands(resampled(band, mode) for band in image.bands)


def target_projection(crs: Projection | None, transform: Sequence[float] | None, scale: float | None,
                      default: Projection, where: str) -> Projection:
    """A projection from the arguments crs, crsTransform and scale, as many functions take them."""
    if transform is not None and scale is not None:
        raise ComputeError(f"{where}: Parameters 'crsTransform' and 'scale' must not both be given.")
    base = crs or default
    if transform is not None:
        if len(transform) != 6:
            raise ComputeError(f"{where}: 'crsTransform' must have 6 numbers.")
        return Projection(base.crs, tuple(map(float, transform)))  # type: ignore[arg-type]
    if scale is not None:
        if not scale > 0:
            raise ComputeError(f"{where}: 'scale' must be positive.")
        return base.at_scale(scale)
    return base


@function("Image.reproject")
def reproject(context: Context, image: Image, crs: Projection, transform: list[float] | None,
              scale: float | None) -> Image:
    target = target_projection(crs, transform, scale, crs, "Image.reproject")
    return image.with_bands(projected(band, target) for band in image.bands)


@function("Image.setDefaultProjection")
def set_default_projection(context: Context, image: Image, crs: Projection, transform: list[float] | None,
                           scale: float | None) -> Image:
    target = target_projection(crs, transform, scale, crs, "Image.setDefaultProjection")
    return image.with_bands(replace(band, projection=target, extent=None) for band in image.bands)


@function("Image.clipToBoundsAndScale")
def clip_to_bounds_and_scale(context: Context, image: Image, shape: Geometry | None, width: int | None,
                             height: int | None, max_dimension: int | None, scale: float | None) -> Image:
    """Pixels of a box: on the image's own lattice, or scaled to a size or a nominal scale."""
    def of(band: Band) -> Band:
        own = band.projection
        lattice = Grid(own.crs, own.transform, 0, 0)
        if shape is not None:
            local = shape.drawn(own.crs)
            ia = lattice_bounds(local, own)
        elif band.extent is not None:
            ia = (band.extent.col, band.extent.row, band.extent.col + band.extent.width,
                  band.extent.row + band.extent.height)
        else:
            raise ComputeError("Image.clipToBoundsAndScale: the image is unbounded; give a geometry.")
        left, top, right, bottom = ia
        across, down = right - left, bottom - top
        if not across > 0 or not down > 0:
            raise ComputeError("Image.clipToBoundsAndScale: the geometry has no area.")
        factor_x = factor_y = 1.0
        if scale is not None:
            factor_x = factor_y = scale / own.scale
        elif max_dimension is not None:
            factor_x = factor_y = max(across, down) / max_dimension
        else:
            factor_x = across / width if width else 1.0
            factor_y = down / height if height else (factor_x if width else 1.0)
            if height and not width:
                factor_x = factor_y
        a, b, c, d, e, f = lattice.transform
        if factor_x == factor_y == 1.0:
            snapped = (math.floor(left + 1e-6), math.floor(top + 1e-6), math.ceil(right - 1e-6),
                       math.ceil(bottom - 1e-6))
            target = own
            extent = Extent(snapped[0], snapped[1], snapped[2] - snapped[0], snapped[3] - snapped[1])
        else:
            target = Projection(own.crs, (a * factor_x, b * factor_y, c + left * a + top * b, d * factor_x,
                                          e * factor_y, f + left * d + top * e))
            extent = Extent(0, 0, max(1, round(across / factor_x)), max(1, round(down / factor_y)))

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return values, masks.both(valid, _within(bounded, grid))

        bounded = replace(band, projection=target, extent=extent, constant=None)
        return replace(bounded, read=read)

    return image.with_bands(map(of, image.bands))


def lattice_bounds(local: shapely.Geometry, own: Projection) -> tuple[float, float, float, float]:
    """Bounds of a shape (in the projection's CRS) in its pixels: left, top, right, bottom."""
    from dwplus.embedded_earth.grid import invert

    ia, ib, ic, id_, ie, if_ = invert(own.transform)
    xy = shapely.get_coordinates(local)
    col, row = ia * xy[:, 0] + ib * xy[:, 1] + ic, id_ * xy[:, 0] + ie * xy[:, 1] + if_
    return float(col.min()), float(row.min()), float(col.max()), float(row.max())


def _position_image(names: Sequence[str], crs: Projection, values: Callable[[Grid], Sequence[np.ndarray]]) -> Image:
    def of(index: int) -> Callable[[Grid], Pixels]:
        return lambda grid: (np.ascontiguousarray(values(grid)[index], "f8"), None)

    return Image(tuple(Band(name, DOUBLE, crs, None, of(i)) for i, name in enumerate(names)))


@function("Image.pixelLonLat")
def pixel_lon_lat(context: Context) -> Image:
    return _position_image(("longitude", "latitude"), WGS84, lambda grid: centres_in(grid, WGS84.crs))


@function("Image.pixelCoordinates")
def pixel_coordinates(context: Context, crs: Projection) -> Image:
    def values(grid: Grid) -> Sequence[np.ndarray]:
        x, y = centres_in(grid, crs.crs)
        a, b, c, d, e, f = crs.transform
        determinant = a * e - b * d
        return (e * (x - c) - b * (y - f)) / determinant, (a * (y - f) - d * (x - c)) / determinant

    return _position_image(("x", "y"), crs, values)


@function("Image.pixelArea")
def pixel_area(context: Context) -> Image:
    def values(grid: Grid) -> Sequence[np.ndarray]:
        a, b, _, d, e, _ = grid.transform
        size = abs(a * e - b * d)
        if not is_geographic(grid.crs):
            return (np.full(grid.shape, size),)
        _, latitude = grid.centres()
        # Area of a degree cell on the WGS84 ellipsoid: M(lat) N(lat) cos(lat), radii of curvature.
        axis, e2 = 6378137.0, 0.0066943799901413165
        s2 = np.sin(np.radians(latitude)) ** 2
        m, n = axis * (1 - e2) / (1 - e2 * s2) ** 1.5, axis / np.sqrt(1 - e2 * s2)
        return (size * math.radians(1) ** 2 * m * n * np.cos(np.radians(latitude)),)

    return _position_image(("area",), WGS84, values)


# ------------------------------------------------------------------------------------------- vectors onto pixels


@function("Image.paint")
def paint(context: Context, image: Image, features: Collection, color: Any, width: Any) -> Image:
    if width is not None:
        raise ComputeError("Image.paint: 'width' is not supported by the embedded Earth.")
    listed = [feature for feature in features if isinstance(feature, Feature) and feature.geometry is not None]

    def value_of(feature: Feature) -> float:
        value = feature.properties.get(color) if isinstance(color, str) else color
        if not isinstance(value, int | float):
            raise ComputeError(f"Image.paint: the property '{color}' of a feature is no number.")
        return float(value)

    burnt = [(feature.geometry, value_of(feature)) for feature in listed if feature.geometry is not None]

    def painted(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        out, seen = np.zeros(grid.shape), np.zeros(grid.shape, bool)
        box = Geometry(shapely.Polygon(grid.corners()), grid.crs).to("EPSG:4326").shape
        margin = box.buffer(0.1) if box.is_valid else box
        shapes = []
        for shape, value in burnt:
            if shapely.box(*shape.drawn(WGS84.crs).bounds).intersects(margin):
                shapes.append((shape.drawn(grid.crs), value))
        if shapes:
            transform = rasterio.transform.Affine(*grid.transform)
            rasterio.features.rasterize(shapes, out=out, transform=transform)
            mask = np.zeros(grid.shape, "u1")
            rasterio.features.rasterize([(shape, 1) for shape, _ in shapes], out=mask, transform=transform)
            seen = mask.astype(bool)
        return out, seen

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            color_values, seen = painted(grid)
            out = np.where(seen, cast(color_values, band.type), values)
            return out, masks.either(valid, seen)

        return band.derived(read)

    result = image.with_bands(map(of, image.bands))
    return replace(result, bands=tuple(replace(band, read=_with_points(band, burnt, original))
                                       for band, original in zip(result.bands, image.bands, strict=True)))


def _with_points(band: Band, burnt: list[tuple[Geometry, float]], original: Band) -> Callable[[Grid], Pixels]:
    """Reader that answers single pixels by point in polygon: rasterising a table for one pixel costs too much."""
    tree: list[tuple[shapely.STRtree, np.ndarray]] = []

    def read(grid: Grid) -> Pixels:
        if grid.width * grid.height > 4:
            return band.read(grid)
        if not tree:
            shapes = [shape.drawn(WGS84.crs) for shape, _ in burnt]
            tree.append((shapely.STRtree(shapes), np.array([v for _, v in burnt])))
        x, y = centres_in(grid, WGS84.crs)
        index, colors = tree[0]
        values, valid = original.read(grid)
        out = np.array(values)
        seen = np.zeros(grid.shape, bool)
        points = shapely.points(x.ravel(), y.ravel())
        which, hits = index.query(points, predicate="within")
        for point in np.unique(which):
            row, col = divmod(int(point), grid.width)
            # The last feature painted lies on top.
            out[row, col] = cast(np.array(colors[hits[which == point].max()]), band.type)
            seen[row, col] = True
        return out, masks.either(valid, seen)

    return read


@function("Image.sampleRegions")
def sample_regions(context: Context, image: Image, regions: Collection, names: list[str] | None, scale: float | None,
                   crs: Projection | None, tile_scale: float, geometries: bool) -> Collection:
    """A feature per pixel of each region; pixels with a masked band are left out."""
    if not image.bands:
        raise ComputeError("Image.sampleRegions: the image has no bands.")
    base = crs or image.bands[0].projection
    target = base if scale is None and crs is None else target_projection(crs, None, scale, base,
                                                                          "Image.sampleRegions")

    def load(_: Any) -> list[Feature]:
        out: list[Feature] = []
        for position, region in enumerate(regions):
            context.check_time()
            if region.geometry is None:
                continue
            kept = {k: v for k, v in region.properties.items()
                    if (k in names if names else not k.startswith("system:"))}
            label = region.properties.get("system:index", region.id if region.id is not None else position)
            for number, (values, point) in enumerate(sample_pixels(image, region.geometry, target)):
                properties = {**kept, **values, "system:index": f"{label}_{number}"}
                out.append(Feature(point if geometries else None, properties, str(properties["system:index"])))
        return out

    return Collection("FeatureCollection", load)


def sample_pixels(image: Image, region: Geometry, target: Projection) -> list[tuple[dict[str, Any], Geometry]]:
    """Values of all bands at the pixels of a region, fully unmasked ones only, with the pixels' centres."""
    grid, inside = region_grid(region, target)
    if grid is None:
        return []
    layers = {}
    for band in image.bands:
        values, valid = band.read(grid)
        layers[band.id] = values
        if valid is not None:
            inside = inside & masks.seen(valid)
    rows, cols = np.nonzero(inside)
    x, y = centres_in(grid, WGS84.crs)
    return [({name: layer[r, c].item() for name, layer in layers.items()}, Geometry(shapely.Point(x[r, c], y[r, c])))
            for r, c in zip(rows, cols, strict=True)]


def region_grid(region: Geometry, target: Projection) -> tuple[Grid | None, np.ndarray]:
    """Pixels of a projection that a region touches: the grid around them and which of it lie inside."""
    local = polygon_of(region.drawn(target.crs))
    if local.is_empty or not all(map(math.isfinite, local.bounds)):
        return None, np.zeros((0, 0), bool)
    left, top, right, bottom = lattice_bounds(local, target)
    col, row = math.floor(left + 1e-9), math.floor(top + 1e-9)
    width, height = max(1, math.ceil(right - 1e-9) - col), max(1, math.ceil(bottom - 1e-9) - row)
    if width * height > 1e8:
        raise ComputeError(f"Too many pixels in the region. Found {width * height}, but maxPixels allows only "
                           "100000000.")
    grid = Grid(target.crs, target.transform, 0, 0).window(row, col, height, width)
    if local.geom_type == "Point":
        return grid, np.ones(grid.shape, bool)
    inside = rasterio.features.rasterize([(local, 1)], out_shape=grid.shape, dtype="uint8",
                                         transform=rasterio.transform.Affine(*grid.transform)).astype(bool)
    return grid, inside


#: Pixels of which less lies inside a region take no part in it.
#: Source: https://developers.google.com/earth-engine/guides/reducers_weighting
LEAST_SHARE = 1 / 256


def region_weights(region: Geometry, grid: Grid) -> np.ndarray:
    """Share of each pixel of a grid that lies inside a region, 0..1: exact along the edge."""
    local = polygon_of(region.drawn(grid.crs))
    if local.geom_type in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        return region_grid(region, grid.projection)[1].astype("f8")
    local = local if local.is_valid else shapely.make_valid(local)
    transform = rasterio.transform.Affine(*grid.transform)
    touched = rasterio.features.rasterize([(local, 1)], out_shape=grid.shape, transform=transform, dtype="uint8",
                                          all_touched=True)
    edge = rasterio.features.rasterize([(local.boundary, 1)], out_shape=grid.shape, transform=transform,
                                       dtype="uint8", all_touched=True).astype(bool)
    weights = touched.astype("f8")
    rows, cols = np.nonzero(edge)
    if len(rows):
        a, b, c, d, e, f = grid.transform
        corners = [(rows + i, cols + j) for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))]
        ring = np.stack([np.stack([c + col * a + row * b, f + col * d + row * e], -1) for row, col in corners], 1)
        cells = shapely.polygons(ring)
        weights[rows, cols] = shapely.area(shapely.intersection(cells, local)) / abs(a * e - b * d)
    weights[weights < LEAST_SHARE] = 0
    return weights


# ------------------------------------------------------------------------------------------------------ reductions


@function("Image.reduce")
def reduce_bands(context: Context, image: Image, reducer: Any) -> Image:
    from dwplus.embedded_earth.functions.reducers import reduce_images

    if not image.bands:
        raise ComputeError("Image.reduce: the image has no bands.")
    names = list(reducer.outputs)
    bands = reduce_images(reducer, [list(image.bands)], [""], image.bands[0])
    return image.computed(renamed(bands, names, "Image.reduce"))


