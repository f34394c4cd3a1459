"""Numbers, and what holds for values of every kind."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth import special
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import function, type_name
from dwplus.embedded_earth.java_format import formatted
from dwplus.embedded_earth.pixel_types import PixelType, cast, integer_type
from dwplus.embedded_earth.values import Date, ErrorMargin, error_margin

#: Characters a text may hold, and digits of a number that is read or written.
MAX_TEXT, MAX_DIGITS = 10_000_000, 1_000


def comparable(value: Any) -> Any:
    """A value that can be ordered: dates as milliseconds; None for what cannot."""
    if isinstance(value, Date):
        return value.ms
    if isinstance(value, float) and math.isnan(value):
        return None
    return value if isinstance(value, int | float | str) else None


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal: numbers by value, dates by instant."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, Date) or isinstance(other, Date):
        return comparable(one) == comparable(other)
    try:
        return bool(one == other)
    except ValueError:
        return False


def truth(value: Any) -> bool:
    """What counts as true: not null, 0, false or an empty text."""
    return not (value is None or value is False or value == 0 or value == "")


# ------------------------------------------------------------------------------------------------------------ any


@function("If")
def if_(context: Context, condition: Any, yes: Any, no: Any) -> Any:
    return yes if truth(condition) else no


@function("IsEqual")
def is_equal(context: Context, one: Any, other: Any) -> bool:
    return equal(one, other)


@function("ObjectType")
def object_type(context: Context, value: Any) -> str:
    return type_name(value)


@function("ErrorMargin")
def margin(context: Context, value: float | None, unit: str) -> ErrorMargin:
    if unit not in ("infinite", "meters", "projected"):
        raise ComputeError(f"ErrorMargin: Unknown unit '{unit}'. Must be 'infinite', 'meters' or 'projected'.")
    return error_margin(value, unit)


# -------------------------------------------------------------------------------------------------------- numbers


def whole(value: float) -> float:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _number_binary(name: str, operation: Any) -> None:
    @function(f"Number.{name}")
    def run(context: Context, left: float, right: float) -> Any:
        try:
            result = operation(left, right)
        except (OverflowError, ValueError, ZeroDivisionError) as error:
            raise ComputeError(f"Number.{name}: {error}.") from error
        if isinstance(result, int) and not -2**63 <= result < 2**63:
            return float(result)  # whole numbers have 64 bits
        return int(result) if isinstance(result, bool) else result


def _long(value: float) -> int:
    """A whole number of 64 bits: fractions are cut off, what is too large stops at the ends."""
    if math.isnan(value):
        return 0
    return int(max(-2.0**63, min(value, 2.0**63 - 1024))) if isinstance(value, float) else _wrapped(value)


def _wrapped(value: int) -> int:
    """The last 64 bits of a whole number, with their sign."""
    return (value + 2**63) % 2**64 - 2**63


def _bits(operation: Callable[[int, int], int]) -> Callable[[float, float], int]:
    def run(left: float, right: float) -> int:
        return operation(_long(left), _long(right))

    return run


def divide(left: float, right: float) -> float:
    """Left by right; 0 where right is 0, as published."""
    return 0.0 if right == 0 else left / right


def _remainder(left: float, right: float) -> float:
    """Remainder with the sign of the left value; 0 where the right one is 0."""
    if right == 0 or math.isinf(left):
        return 0 if right == 0 else math.nan
    found = math.fmod(left, right)
    return found if isinstance(left, float) or isinstance(right, float) else int(found)


def _power(left: float, right: float) -> float:
    try:
        result = float(left) ** right
    except ZeroDivisionError:
        return math.inf
    except OverflowError:
        return math.copysign(math.inf, left) if float(right).is_integer() and right % 2 else math.inf
    if isinstance(result, complex):
        return math.nan
    return whole(result) if isinstance(left, int) and isinstance(right, int) and right >= 0 else result


def _angle(x: float, y: float) -> float:
    """Of the vector (x, y): the left value is x, as published."""
    return math.atan2(y, x)


def _shift_left(value: int, places: int) -> int:
    """As in Java only the last six bits of the distance count."""
    return _wrapped(value << (places & 63))


def _shift_right(value: int, places: int) -> int:
    return value >> (places & 63)


def _both(left: float, right: float) -> bool:
    return left != 0 and right != 0


def _any(left: float, right: float) -> bool:
    return left != 0 or right != 0


def _left(left: float, right: float) -> float:
    return left


def _non_zero(left: float, right: float) -> float:
    return left if left != 0 else right


_BINARY: dict[str, Callable[[float, float], Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": divide, "pow": _power,
    "mod": _remainder, "max": max, "min": min, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt,
    "lte": operator.le, "eq": operator.eq, "neq": operator.ne, "and": _both, "or": _any, "atan2": _angle,
    "hypot": math.hypot, "first": _left, "firstNonZero": _non_zero, "first_nonzero": _non_zero,
    "gammainc": special.gamma_incomplete, "bitwiseAnd": _bits(operator.and_), "bitwise_and": _bits(operator.and_),
    "bitwiseOr": _bits(operator.or_), "bitwise_or": _bits(operator.or_), "bitwiseXor": _bits(operator.xor),
    "bitwise_xor": _bits(operator.xor), "leftShift": _bits(_shift_left), "left_shift": _bits(_shift_left),
    "rightShift": _bits(_shift_right), "right_shift": _bits(_shift_right),
}
for _name, _binary in _BINARY.items():
    _number_binary(_name, _binary)


def _number_unary(name: str, operation: Any) -> None:
    @function(f"Number.{name}")
    def run(context: Context, value: float) -> Any:
        try:
            return operation(value)
        except (OverflowError, ValueError) as error:
            raise ComputeError(f"Number.{name}: {error}.") from error


def _or_nan(operation: Callable[[float], float]) -> Callable[[float], float]:
    """NaN outside a function's domain; logarithms of 0 are minus infinity."""
    def run(value: float) -> float:
        try:
            return operation(value)
        except ValueError:
            return -math.inf if value == 0 and operation in (math.log, math.log10) else math.nan
        except OverflowError:
            return math.copysign(math.inf, value) if operation is math.sinh else math.inf

    return run


def rounded(value: float) -> float:
    """To the nearest whole number, halves upwards; what is no number or infinite stays."""
    return math.floor(value + 0.5) if math.isfinite(value) else value


def _whole_part(operation: Callable[[float], int]) -> Callable[[float], float]:
    def run(value: float) -> float:
        return operation(value) if math.isfinite(value) else value

    return run


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _not(value: float) -> int:
    return int(value == 0)


def _invert(value: float) -> int:
    return ~_long(value)


def _count_bits(value: float) -> int:
    return (_long(value) & (2**64 - 1)).bit_count()


_UNARY: dict[str, Callable[[float], Any]] = {
    "abs": abs, "floor": _whole_part(math.floor), "ceil": _whole_part(math.ceil), "round": rounded, "signum": _sign,
    "not": _not, "cbrt": math.cbrt, "bitwiseNot": _invert, "bitwise_not": _invert, "bitCount": _count_bits,
    "erf": math.erf, "erfc": math.erfc, "erfInv": special.erf_inverse, "erfcInv": special.erfc_inverse,
    "gamma": special.gamma, "digamma": special.digamma, "trigamma": special.trigamma, "lanczos": special.lanczos,
    **{name: _or_nan(getattr(math, name)) for name in ("sqrt", "exp", "log", "log10", "sin", "cos", "tan", "asin",
                                                       "acos", "atan", "sinh", "cosh", "tanh")},
}
for _name, _unary in _UNARY.items():
    _number_unary(_name, _unary)


def _number_cast(names: tuple[str, ...], to: PixelType) -> None:
    @function(*(f"Number.{name}" for name in names))
    def run(context: Context, value: float) -> Any:
        # To whole numbers values are rounded (published for casts to byte).
        return cast(np.asarray(rounded(float(value)) if to.precision == "int" else float(value)), to).item()


for _names, _type in {
        ("toByte", "byte", "toUint8", "uint8"): "uint8", ("toInt8", "int8"): "int8",
        ("toShort", "short", "toInt16", "int16"): "int16", ("toUint16", "uint16"): "uint16",
        ("toInt", "int", "toInt32", "int32"): "int32", ("toUint32", "uint32"): "uint32",
        ("toLong", "long", "toInt64", "int64"): "int64"}.items():
    _number_cast(_names, integer_type(_type))
_number_cast(("toFloat", "float"), PixelType("float"))


@function("Number.toDouble", "Number.double")
def to_double(context: Context, value: float) -> float:
    return float(value)


@function("Number.clamp")
def clamp(context: Context, value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@function("Number.unitScale")
def unit_scale(context: Context, value: float, low: float, high: float) -> float:
    return divide(value - low, high - low)


@function("Number.parse")
def parse_number(context: Context, text: str, radix: int) -> float:
    try:
        if len(text) > MAX_DIGITS or not 2 <= radix <= 36:
            raise ValueError
        return int(text, radix) if radix != 10 or re.fullmatch(r"[+-]?\d+", text.strip()) else float(text)
    except ValueError:
        raise ComputeError(f"Number.parse: cannot parse '{text[:40]}'.") from None


@function("Number.format")
def format_number(context: Context, value: float, pattern: str) -> str:
    if len(pattern) > MAX_DIGITS or any(int(width) > MAX_DIGITS for width in re.findall(r"\d+", pattern)):
        raise ComputeError(f"Number.format: a width of more than {MAX_DIGITS} is not supported.")
    return formatted(pattern, value)
