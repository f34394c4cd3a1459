"""Numbers and texts, and what holds for values of every kind."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth.encode import encode
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import Context, function, plain_function, type_name
from dwplus.embedded_earth.pixel_types import PixelType, cast, integer_type
from dwplus.embedded_earth.values import Date, ErrorMargin


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
def error_margin(context: Context, value: float | None, unit: str) -> ErrorMargin:
    return ErrorMargin(value, unit)


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
        return int(result) if isinstance(result, bool) else result


def _bits(operation: Callable[[int, int], int]) -> Callable[[float, float], int]:
    return lambda a, b: operation(int(a), int(b))


def _divide(a: float, b: float) -> float:
    return math.nan if a == b == 0 else math.copysign(math.inf, a) if b == 0 else a / b


def _power(a: float, b: float) -> float:
    result = float(a) ** b
    if isinstance(result, complex):
        return math.nan
    return whole(result) if isinstance(a, int) and isinstance(b, int) and b >= 0 else result


def _shift(a: float, b: float) -> int:
    if not 0 <= b < 64:
        raise ComputeError("Number.leftShift: shifts go from 0 to 63.")
    return int(a) << int(b)


for _name, _binary in {
        "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": _divide, "pow": _power,
        "mod": lambda a, b: math.fmod(a, b) if isinstance(a, float) or isinstance(b, float) else int(math.fmod(a, b)),
        "max": max, "min": min, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
        "eq": operator.eq, "neq": operator.ne, "and": lambda a, b: a != 0 and b != 0,
        "or": lambda a, b: a != 0 or b != 0, "atan2": math.atan2, "hypot": math.hypot, "first": lambda a, b: a,
        "firstNonZero": lambda a, b: a if a != 0 else b, "bitwiseAnd": _bits(operator.and_),
        "bitwiseOr": _bits(operator.or_), "bitwiseXor": _bits(operator.xor), "leftShift": _shift,
        "rightShift": _bits(lambda a, b: a >> min(b, 63))}.items():
    _number_binary(_name, _binary)


def _number_unary(name: str, operation: Any) -> None:
    @function(f"Number.{name}")
    def run(context: Context, value: float) -> Any:
        try:
            return operation(value)
        except (OverflowError, ValueError) as error:
            raise ComputeError(f"Number.{name}: {error}.") from error


for _name, _unary in {
        "abs": abs, "floor": math.floor, "ceil": math.ceil, "round": lambda v: math.floor(v + 0.5),
        "signum": lambda v: (v > 0) - (v < 0), "not": lambda v: int(v == 0), "sqrt": math.sqrt, "exp": math.exp,
        "log": math.log, "log10": math.log10, "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin,
        "acos": math.acos, "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
        "cbrt": math.cbrt, "bitwiseNot": lambda v: ~int(v), "bitCount": lambda v: int(v).bit_count()}.items():
    _number_unary(_name, _unary)


def _number_cast(names: tuple[str, ...], to: PixelType) -> None:
    @function(*(f"Number.{name}" for name in names))
    def run(context: Context, value: float) -> Any:
        return cast(np.asarray(float(value)), to).item()


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
    return _divide(value - low, high - low)


@function("Number.parse")
def parse_number(context: Context, text: str, radix: int) -> float:
    try:
        return int(text, radix) if radix != 10 or re.fullmatch(r"[+-]?\d+", text.strip()) else float(text)
    except ValueError:
        raise ComputeError(f"Number.parse: cannot parse '{text[:40]}'.") from None


@function("Number.format")
def format_number(context: Context, value: float, pattern: str) -> str:
    try:
        if pattern == "%s":
            return str(value)
        return pattern % (int(value) if re.search(r"%[-+ 0#]*\d*[dxX]", pattern) else value)
    except (TypeError, ValueError):
        raise ComputeError(f"Number.format: bad pattern '{pattern[:40]}'.") from None


# ---------------------------------------------------------------------------------------------------------- texts


@function("String")
def string(context: Context, value: Any) -> str:
    return value if isinstance(value, str) else str(whole(value)) if isinstance(value, int | float) else str(value)


def _flags(flags: str) -> int:
    return re.IGNORECASE if "i" in flags else 0


def _compiled(pattern: str, flags: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, _flags(flags))
    except re.error as error:
        raise ComputeError(f"String: bad regular expression '{pattern[:40]}': {error}.") from error


_TEXT: dict[str, Callable[..., Any]] = {
    "cat": operator.add, "length": len, "toLowerCase": str.lower, "toUpperCase": str.upper, "trim": str.strip,
    "index": str.find, "rindex": str.rfind, "equals": lambda a, b: a == b,
    "compareTo": lambda a, b: (a > b) - (a < b), "slice": lambda s, a, b: s[a:b],
    "split": lambda s, pattern, flags: _compiled(pattern, flags).split(s),
    "replace": lambda s, pattern, new, flags: _compiled(pattern, flags).sub(
        re.sub(r"\$(\d)", r"\\\1", new), s, count=0 if "g" in flags else 1),
    "match": lambda s, pattern, flags: (lambda found: [] if found is None else [found.group(0), *found.groups()])(
        _compiled(pattern, flags).search(s)),
}


for _name, _run in _TEXT.items():
    plain_function(f"String.{_name}", _run)


@function("String.encodeJSON")
def encode_json(context: Context, value: Any) -> str:
    return json.dumps(encode(value, context))


@function("String.decodeJSON")
def decode_json(context: Context, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ComputeError("String.decodeJSON: the text is no JSON.") from None


