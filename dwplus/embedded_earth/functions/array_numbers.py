"""Arrays: arithmetic, comparisons, bits and casts, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth import special
from dwplus.embedded_earth.arrays import array_of
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.pixel_types import PixelType, cast, integer_type

Pair = Callable[[np.ndarray, np.ndarray], Any]
#: Elements of a slow function between two looks at the clock.
_PART = 2_000


def _tidy(values: Any) -> np.ndarray:
    found = np.asarray(values)
    return found.astype("f8" if found.dtype.kind == "f" else "i8")


def _longs(values: np.ndarray) -> np.ndarray:
    return cast(values, integer_type("int64")).astype("i8")


def divide(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Left by right; 0 where right is 0."""
    out = np.zeros(np.broadcast_shapes(left.shape, right.shape))
    return np.divide(left, right, out=out, where=right != 0)


def remainder(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Remainder with the sign of the left value; 0 where the right one is 0."""
    safe = np.where(right == 0, 1, right)
    return np.where(right == 0, 0, np.fmod(left, safe))


def _power(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.power(left.astype("f8"), right.astype("f8"))


def _angle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.arctan2(y, x)


def _both(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left != 0) & (right != 0)


def _any(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left != 0) | (right != 0)


def _left(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.broadcast_arrays(left, right)[0]


def _non_zero(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.where(left != 0, left, right)


def _bits(operation: Pair) -> Pair:
    """An operation on 64-bit whole numbers."""
    def run(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.asarray(operation(_longs(left), _longs(right)))

    return run


def _shift(operation: Pair) -> Pair:
    """A shift; as in Java only the last six bits of the distance count."""
    def run(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.asarray(operation(left, right & 63))

    return _bits(run)


def _invert(array: np.ndarray) -> np.ndarray:
    return ~_longs(array)


def _count_bits(array: np.ndarray) -> np.ndarray:
    return np.bitwise_count(_longs(array).view("u8"))


def _not(array: np.ndarray) -> np.ndarray:
    return array == 0


def rounded(array: np.ndarray) -> np.ndarray:
    """To the nearest whole number, halves upwards."""
    return array if array.dtype.kind == "i" else np.floor(array + 0.5)


_BINARY: dict[str, Pair] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": divide, "mod": remainder, "pow": _power,
    "max": np.maximum, "min": np.minimum, "eq": np.equal, "neq": np.not_equal, "gt": np.greater,
    "gte": np.greater_equal, "lt": np.less, "lte": np.less_equal, "and": _both, "or": _any, "atan2": _angle,
    "hypot": np.hypot, "first": _left, "firstNonZero": _non_zero, "first_nonzero": _non_zero,
    "bitwiseAnd": _bits(np.bitwise_and), "bitwise_and": _bits(np.bitwise_and), "bitwiseOr": _bits(np.bitwise_or),
    "bitwise_or": _bits(np.bitwise_or), "bitwiseXor": _bits(np.bitwise_xor), "bitwise_xor": _bits(np.bitwise_xor),
    "leftShift": _shift(np.left_shift), "left_shift": _shift(np.left_shift), "rightShift": _shift(np.right_shift),
    "right_shift": _shift(np.right_shift),
}
_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{name: getattr(np, name) for name in ("abs", "cbrt", "ceil", "cos", "cosh", "exp", "floor", "log", "log10", "sin",
                                            "sinh", "sqrt", "tan", "tanh")},
    "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "signum": np.sign, "not": _not, "round": rounded,
    "bitwiseNot": _invert, "bitwise_not": _invert, "bitCount": _count_bits,
}
#: Functions of one number that NumPy has not.
_SLOW: dict[str, Callable[[float], float]] = {
    "erf": math.erf, "erfc": math.erfc, "erfInv": special.erf_inverse, "erfcInv": special.erfc_inverse,
    "gamma": special.gamma, "digamma": special.digamma, "trigamma": special.trigamma, "lanczos": special.lanczos,
}


def _fitting(name: str, left: np.ndarray, right: np.ndarray) -> None:
    if left.shape != right.shape and left.ndim and right.ndim:
        raise ComputeError(f"Array.{name}: the arrays must have the same shape; got {list(left.shape)} and "
                           f"{list(right.shape)}.")


def _register_binary(name: str, operation: Pair) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        _fitting(name, left, right)
        with np.errstate(all="ignore"):
            return _tidy(operation(left, right))


def _register_unary(name: str, operation: Callable[[np.ndarray], np.ndarray]) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, array: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return _tidy(operation(array))


def each(context: Context, operation: Callable[..., float], *arrays: np.ndarray) -> np.ndarray:
    """A function of single numbers on every element, with an eye on the clock."""
    together = np.broadcast_arrays(*arrays)
    flat = [array.ravel() for array in together]
    out = np.empty(flat[0].size)
    for start in range(0, out.size, _PART):
        context.check_time()
        columns = [array[start:start + _PART].tolist() for array in flat]
        out[start:start + _PART] = [operation(*map(float, values)) for values in zip(*columns, strict=True)]
    return out.reshape(together[0].shape)


def _register_slow(name: str, operation: Callable[[float], float]) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, array: np.ndarray) -> np.ndarray:
        return each(context, operation, array)


for _name, _binary in _BINARY.items():
    _register_binary(_name, _binary)
for _name, _unary in _UNARY.items():
    _register_unary(_name, _unary)
for _name, _slow in _SLOW.items():
    _register_slow(_name, _slow)


@function("Array.gammainc")
def gammainc(context: Context, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    _fitting("gammainc", left, right)
    return each(context, special.gamma_incomplete, left, right)


@function("Array.bitsToArray")
def bits_to_array(context: Context, value: float) -> np.ndarray:
    """Bits of a whole number, the lowest first; a negative one has all 64."""
    bits = int(_longs(np.asarray(value))) & (2**64 - 1)
    return np.array([bits >> place & 1 for place in range(max(1, bits.bit_length()))], "i8")


def to_type(array: np.ndarray, to: PixelType) -> np.ndarray:
    """Elements as another type; to whole numbers they are rounded (published for ``Array.byte``)."""
    if to.precision != "int":
        return cast(array, to).astype("f8")
    return cast(rounded(array), to).astype("i8")


def _register_cast(names: tuple[str, ...], to: PixelType) -> None:
    @function(*names)
    def apply(context: Context, array: np.ndarray) -> np.ndarray:
        return to_type(array, to)


for _name, _type in {"byte": "uint8", "short": "int16", "int": "int32", "long": "int64", "int8": "int8",
                     "int16": "int16", "int32": "int32", "int64": "int64", "uint8": "uint8", "uint16": "uint16",
                     "uint32": "uint32"}.items():
    _register_cast((f"Array.{_name}", f"Array.to{_name[0].upper()}{_name[1:]}"), integer_type(_type))
_register_cast(("Array.float", "Array.toFloat"), PixelType("float"))
_register_cast(("Array.double", "Array.toDouble"), PixelType("double"))


@function("Array")
def make(context: Context, value: Any, kind: PixelType | None) -> np.ndarray:
    found = array_of(value)
    if found is None:
        raise ComputeError("Array: Parameter 'values' must be numbers in nested lists of equal lengths.")
    return found if kind is None else to_type(found, kind)
