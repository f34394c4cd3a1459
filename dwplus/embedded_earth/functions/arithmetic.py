"""Images: arithmetic and comparisons, pixel by pixel, with the types that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.images import broadcast, select_bands
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import BOOLEAN, DOUBLE, FLOAT, PixelType, cast, integer_type
from dwplus.embedded_earth.values import Band, Image

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


def _array_pair(one: Band, other: Band, name: str, operation: Operation) -> Band:
    """An operation on the arrays of two bands, element by element, or on arrays and a number."""
    to = PixelType("double", dimensions=max(one.type.dimensions, other.type.dimensions))

    def read(grid: Grid) -> Pixels:
        (a, a_valid), (b, b_valid) = one.read(grid), other.read(grid)
        out = np.empty(grid.shape, object)
        a, b = np.broadcast_to(a, grid.shape), np.broadcast_to(b, grid.shape)
        for index in np.ndindex(grid.shape):
            left, right = np.asarray(a[index]), np.asarray(b[index])
            if left.shape != right.shape and left.ndim and right.ndim:
                raise ComputeError(f"Arrays must have the same shape; got {list(left.shape)} and {list(right.shape)}.")
            with np.errstate(all="ignore"):
                found = np.asarray(operation(left, right))
            out[index] = found.astype("f8" if found.dtype.kind == "f" else "i8")
        return out, masks.both(a_valid, b_valid)

    base = other if one.is_composite and not other.is_composite else one
    return Band(name, to, base.projection, base.extent, read)


def binary(left: Image, right: Image, operation: Operation, combine: Combine, where: str,
           guard: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None) -> Image:
    """Combine two images pixel by pixel; valid where both are, and where ``guard`` holds."""
    bands = []
    for one, other, name in pair_bands(left, right, where):
        if one.type.dimensions or other.type.dimensions:
            bands.append(_array_pair(one, other, name, operation))
            continue
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


def _angle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the vector (x, y): the left image is x, as published."""
    return np.arctan2(y, x)


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
    "and": (_and, _boolean), "or": (_or, _boolean), "atan2": (_angle, _floating), "hypot": (np.hypot, _floating),
    "bitwiseAnd": (np.bitwise_and, _union), "bitwise_and": (np.bitwise_and, _union),
    "bitwiseOr": (np.bitwise_or, _union), "bitwise_or": (np.bitwise_or, _union),
    "bitwiseXor": (np.bitwise_xor, _union), "bitwise_xor": (np.bitwise_xor, _union),
    "leftShift": (np.left_shift, lambda one, other: integer_type("int64")),
    "left_shift": (np.left_shift, lambda one, other: integer_type("int64")),
    "rightShift": (np.right_shift, _union), "right_shift": (np.right_shift, _union),
}

#: What is masked where the right image is 0; ``divide`` gives 0 there, as the client's text says.
_BY_ZERO = {"mod"}


def _register_binary(name: str, operation: Operation, combine: Combine) -> None:
    guard = (lambda a, b: np.broadcast_to(b != 0, np.broadcast_shapes(a.shape, b.shape))) if name in _BY_ZERO else None

    @function(f"Image.{name}")
    def run(context: Context, left: Image, right: Image) -> Image:
        return binary(left, right, operation, combine, f"Image.{name}", guard)


for _name, (_operation, _combine) in _BINARY.items():
    _register_binary(_name, _operation, _combine)


def on_arrays(band: Band, operation: Callable[[np.ndarray], np.ndarray], to: PixelType) -> Band:
    """A function of every element of a band's arrays; what is no number there stays no number."""
    def read(grid: Grid) -> Pixels:
        values, valid = band.read(grid)
        out = np.empty(grid.shape, object)
        values = np.broadcast_to(values, grid.shape)
        for index in np.ndindex(grid.shape):
            with np.errstate(all="ignore"):
                found = np.asarray(operation(np.asarray(values[index])))
            out[index] = found.astype("f8" if found.dtype.kind == "f" else "i8")
        return out, valid

    return band.derived(read, replace(to, dimensions=band.type.dimensions))


def unary(image: Image, operation: Callable[[np.ndarray], np.ndarray], to: Callable[[PixelType], PixelType]) -> Image:
    """Apply a function to every pixel; where the result is not finite, it is masked."""
    def of(band: Band) -> Band:
        result_type = to(band.type)
        if band.type.dimensions:
            return on_arrays(band, operation, result_type)
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
        if band.type.dimensions:
            return on_arrays(band, lambda array: np.clip(array, low, high), band.type)

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

    tests, values = broadcast(test, len(image.bands)), broadcast(value, len(image.bands))
    return image.with_bands(of(*bands) for bands in zip(image.bands, tests, values, strict=True))
