"""Numbers, texts, lists, dictionaries and dates."""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
import operator
import random
import re
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import Context, function, type_name
from dwplus.embedded_earth.grid import Projection
from dwplus.embedded_earth.pixel_types import PixelType, cast, integer_type
from dwplus.embedded_earth.values import Date, DateRange, ErrorMargin, Feature, Function, Image

#: Elements a list may be made to hold; the service runs out of memory about there.
MAX_LIST = 1_000_000


def date_of(value: Any, zone: str | None = None) -> Date | None:
    """A date from milliseconds, an ISO text or a date."""
    if isinstance(value, Date):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Date(value)
    if isinstance(value, dict) and value.get("type") == "Date":
        return Date(value["value"])
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{4}", text):
            text += "-01-01"
        elif re.fullmatch(r"\d{4}-\d{2}", text):
            text += "-01"
        try:
            parsed = dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise ComputeError(f"Date: Bad date/time '{value[:40]}'.") from error
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=zone_of(zone))
        return Date(round((parsed - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(milliseconds=1)))
    return None


def zone_of(name: str | None) -> dt.tzinfo:
    """A time zone; UTC by default."""
    if not name or name in ("UTC", "GMT", "Z"):
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ComputeError(f"Date: unknown time zone '{name[:40]}'.") from None


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


def _whole(value: float) -> float:
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
    return _whole(result) if isinstance(a, int) and isinstance(b, int) and b >= 0 else result


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
    return value if isinstance(value, str) else str(_whole(value)) if isinstance(value, int | float) else str(value)


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


def _plain(name: str, run: Callable[..., Any]) -> None:
    @function(name)
    def call(context: Context, *arguments: Any) -> Any:
        try:
            return run(*arguments)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, MemoryError, OverflowError) as error:
            raise ComputeError(f"{name}: {error}.") from error


for _name, _run in _TEXT.items():
    _plain(f"String.{_name}", _run)


@function("String.encodeJSON")
def encode_json(context: Context, value: Any) -> str:
    from dwplus.embedded_earth.encode import encode
    return json.dumps(encode(value, context))


@function("String.decodeJSON")
def decode_json(context: Context, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ComputeError("String.decodeJSON: the text is no JSON.") from None


# ---------------------------------------------------------------------------------------------------------- lists


def _get(items: list[Any], index: int) -> Any:
    if not -len(items) <= index < len(items):
        raise ComputeError(f"List.get: List index must be between 0 and {len(items)}, or negative with the last index "
                           f"being -1: got {index}.")
    return items[index]


def _flatten(items: list[Any]) -> list[Any]:
    out: list[Any] = []
    pending: list[Any] = list(reversed(items))
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(reversed(item))
        else:
            out.append(item)
    return out


def _distinct(items: list[Any]) -> list[Any]:
    try:
        return list({json.dumps(item, sort_keys=True): item for item in reversed(items)}.values())[::-1]
    except TypeError:
        out: list[Any] = []
        for item in items:
            if not any(equal(item, other) for other in out):
                out.append(item)
        return out


def _first_distinct(items: list[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    try:
        for item in items:
            seen.setdefault(json.dumps(_whole(item), sort_keys=True), item)
    except TypeError:
        return _distinct(items)
    return list(seen.values())


def _index(items: list[Any], element: Any) -> int:
    return next((i for i, item in enumerate(items) if equal(item, element)), -1)


def _splice(items: list[Any], start: int, count: int, other: list[Any] | None) -> list[Any]:
    start = start if start >= 0 else len(items) + start
    return [*items[:start], *(other or []), *items[start + count:]]


def _rotate(items: list[Any], distance: int) -> list[Any]:
    return items[distance % len(items):] + items[:distance % len(items)] if items else items


def _swap(items: list[Any], one: int, other: int) -> list[Any]:
    out = list(items)
    out[one], out[other] = out[other], out[one]
    return out


def _set(items: list[Any], index: int, element: Any) -> list[Any]:
    _get(items, index)
    out = list(items)
    out[index] = element
    return out


def _without(items: list[Any], gone: list[Any]) -> list[Any]:
    return [item for item in items if not any(equal(item, other) for other in gone)]


def _replace(items: list[Any], old: Any, new: Any, every: bool) -> list[Any]:
    out, done = [], False
    for item in items:
        hit = equal(item, old) and (every or not done)
        out.append(new if hit else item)
        done = done or hit
    return out


def _sort(items: list[Any], keys: list[Any] | None) -> list[Any]:
    by = items if keys is None else keys
    if len(by) != len(items):
        raise ComputeError("List.sort: 'keys' must be as long as the list.")

    def compare(one: int, other: int) -> int:
        a, b = comparable(by[one]), comparable(by[other])
        if isinstance(by[one], list) and isinstance(by[other], list):
            a, b = by[one], by[other]
        if a is None or b is None:
            return (a is None) - (b is None)
        try:
            return (a > b) - (a < b)
        except TypeError:
            return (str(a) > str(b)) - (str(a) < str(b))

    return [items[i] for i in sorted(range(len(items)), key=functools.cmp_to_key(compare))]


def _sequence(start: float, end: float | None, step: float, count: int | None) -> list[Any]:
    if end is None and count is None:
        raise ComputeError("List.sequence: 'end' or 'count' must be given.")
    if count is not None:
        if count > MAX_LIST:
            raise ComputeError("User memory limit exceeded.")
        width = step if end is None else (end - start) / (count - 1) if count > 1 else 0
        return [_whole(start + i * width) for i in range(count)]
    if step == 0:
        raise ComputeError("List.sequence: 'step' must not be 0.")
    assert end is not None
    length = max(0, math.floor((end - start) / step + 1e-9) + 1)
    if length > MAX_LIST:
        raise ComputeError("User memory limit exceeded.")
    return [_whole(start + i * step) for i in range(length)]


def _repeat(value: Any, count: int) -> list[Any]:
    if count > MAX_LIST:
        raise ComputeError("User memory limit exceeded.")
    return [value] * count


def _shuffle(items: list[Any], seed: Any) -> list[Any]:
    out = list(items)
    random.Random(str(seed)).shuffle(out)
    return out


_LIST: dict[str, Callable[..., Any]] = {
    "add": lambda items, element: [*items, element], "cat": operator.add, "contains": lambda i, e: _index(i, e) >= 0,
    "containsAll": lambda items, other: all(_index(items, element) >= 0 for element in other),
    "distinct": _first_distinct, "equals": equal, "flatten": _flatten,
    "frequency": lambda items, element: sum(equal(item, element) for item in items), "get": _get, "getNumber": _get,
    "getString": _get, "getGeometry": _get, "indexOf": _index,
    "insert": lambda items, index, element: [*items[:index], element, *items[index:]],
    "join": lambda items, separator: separator.join(str(_whole(item)) for item in items), "length": len, "size": len,
    "remove": lambda items, element: _splice(items, _index(items, element), 1, None)
    if _index(items, element) >= 0 else items,
    "removeAll": _without, "repeat": _repeat, "replace": lambda i, a, b: _replace(i, a, b, False),
    "replaceAll": lambda i, a, b: _replace(i, a, b, True), "reverse": lambda items: items[::-1], "rotate": _rotate,
    "sequence": _sequence, "set": _set, "shuffle": _shuffle, "slice": lambda items, a, b, step: items[a:b:step],
    "sort": _sort, "splice": _splice, "swap": _swap, "unzip": lambda items: [list(c) for c in zip(*items, strict=True)],
    "zip": lambda items, other: [list(pair) for pair in zip(items, other, strict=False)],
}
for _name, _run in _LIST.items():
    _plain(f"List.{_name}", _run)


@function("List.map")
def map_list(context: Context, items: list[Any], algorithm: Function, drop_nulls: bool) -> list[Any]:
    mapped = [algorithm.call(item) for item in items]
    return [item for item in mapped if item is not None] if drop_nulls else mapped


@function("List.iterate")
def iterate_list(context: Context, items: list[Any], algorithm: Function, first: Any) -> Any:
    for item in items:
        context.check_time()
        first = algorithm.call(item, first)
    return first


@function("List.filter")
def filter_list(context: Context, items: list[Any], condition: Any) -> list[Any]:
    if condition.test is None:
        raise ComputeError("List.filter: the filter compares two elements.")
    return [item for item in items if condition.test(Feature(None, {"item": item}))]


@function("List.reduce")
def reduce_list(context: Context, items: list[Any], reducer: Any) -> Any:
    from dwplus.embedded_earth.functions.reducers import reduce_rows

    rows = [item if reducer.inputs > 1 and isinstance(item, list) else [item] for item in items]
    found = reduce_rows(reducer, rows, None)
    return found[reducer.outputs[0]] if len(reducer.outputs) == 1 else found


# -------------------------------------------------------------------------------------------------- dictionaries


def _key(mapping: dict[str, Any], key: str) -> Any:
    if key not in mapping:
        raise ComputeError(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return mapping[key]


def _selected(mapping: dict[str, Any], selectors: list[str]) -> list[str]:
    out: list[str] = []
    for selector in selectors:
        hits = [k for k in mapping if k == selector or re.fullmatch(selector, k)]
        if not hits:
            raise ComputeError(f"Dictionary: no key matches '{selector}'.")
        out += [k for k in hits if k not in out]
    return out


def _chosen(mapping: dict[str, Any], selectors: list[str], ignore: bool) -> list[str]:
    found = []
    for selector in selectors:
        try:
            found += [k for k in _selected(mapping, [selector]) if k not in found]
        except ComputeError:
            if not ignore:
                raise
    return found


_DICTIONARY: dict[str, Callable[..., Any]] = {
    "combine": lambda a, b, over: {**a, **b} if over else {**b, **a}, "contains": lambda m, k: k in m,
    "fromLists": lambda keys, values: dict(zip(keys, values, strict=True)),
    "get": lambda m, k, default: m[k] if k in m else default if default is not None else _key(m, k),
    "getNumber": _key, "getString": _key, "getGeometry": _key, "keys": lambda m: sorted(m),
    "remove": lambda m, s, ignore: {k: v for k, v in m.items() if k not in _chosen(m, s, ignore)},
    "rename": lambda m, a, b, over: {dict(zip(a, b, strict=True)).get(k, k): v for k, v in m.items()},
    "select": lambda m, s, ignore: {k: m[k] for k in _chosen(m, s, ignore)},
    "set": lambda m, k, v: {**m, k: v}, "size": len,
    "values": lambda m, keys: [m[k] for k in (keys if keys is not None else sorted(m))],
}
for _name, _run in _DICTIONARY.items():
    _plain(f"Dictionary.{_name}", _run)


@function("Dictionary")
def dictionary(context: Context, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        pairs = value if all(isinstance(p, list) and len(p) == 2 for p in value) else list(zip(value[::2], value[1::2],
                                                                                             strict=True))
        return {str(k): v for k, v in pairs}
    raise ComputeError(f"Dictionary: Cannot convert {type_name(value)} to Dictionary.")


@function("Dictionary.map")
def map_dictionary(context: Context, mapping: dict[str, Any], algorithm: Function) -> dict[str, Any]:
    return {key: algorithm.call(key, mapping[key]) for key in sorted(mapping)}


@function("Dictionary.toImage")
def to_image(context: Context, mapping: dict[str, Any], names: list[str] | None) -> Image:
    from dwplus.embedded_earth.bands import constant_band

    return Image(tuple(constant_band(mapping[name], name) for name in (names or sorted(mapping))))


# ---------------------------------------------------------------------------------------------------------- dates

_UNITS = {"second": 1e3, "minute": 6e4, "hour": 36e5, "day": 864e5, "week": 6048e5, "month": 864e5 * 365.2425 / 12,
          "year": 864e5 * 365.2425}


def _unit(name: str) -> str:
    unit = name.strip().rstrip("s")
    if unit not in _UNITS:
        raise ComputeError(f"Date: Unknown unit '{name[:20]}'.")
    return unit


def _stamp(moment: dt.datetime) -> Date:
    return Date(round((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(milliseconds=1)))


@function("Date")
def date(context: Context, value: Any, zone: str | None) -> Date:
    made = date_of(value, zone)
    if made is None:
        raise ComputeError(f"Date: Invalid type. Expected a number, a text or a date. Actual type: {type_name(value)}.")
    return made


@function("Date.fromYMD")
def from_ymd(context: Context, year: int, month: int, day: int, zone: str | None) -> Date:
    try:
        return _stamp(dt.datetime(year, month, day, tzinfo=zone_of(zone)))
    except ValueError as error:
        raise ComputeError(f"Date.fromYMD: {error}.") from error


@function("Date.parse")
def parse_date(context: Context, pattern: str, text: str, zone: str | None) -> Date:
    try:
        return _stamp(dt.datetime.strptime(text, _strftime(pattern)).replace(tzinfo=zone_of(zone)))
    except ValueError:
        raise ComputeError(f"Date.parse: '{text[:40]}' does not match '{pattern[:40]}'.") from None


_JODA = {"YYYY": "%Y", "yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "DDD": "%j",
         "D": "%j", "MMM": "%b", "SSS": "%f", "YY": "%y", "yy": "%y", "Y": "%Y", "y": "%Y", "M": "%m", "d": "%d",
         "w": "%V", "ww": "%V", "E": "%a", "H": "%H", "m": "%M", "s": "%S"}


def _strftime(pattern: str) -> str:
    """A Joda pattern as one of strftime."""
    def part(match: re.Match[str]) -> str:
        text = match.group(0)
        if text.startswith("'"):
            return text.strip("'").replace("%", "%%")
        if text not in _JODA:
            raise ComputeError(f"Date.format: the pattern letters '{text}' are not supported by the embedded Earth.")
        return _JODA[text]

    return re.sub(r"'[^']*'|([A-Za-z])\1*", part, pattern)


@function("Date.format")
def format_date(context: Context, when: Date, pattern: str | None, zone: str | None) -> str:
    moment = when.datetime().astimezone(zone_of(zone))
    if pattern is None:
        return moment.strftime("%Y-%m-%dT%H:%M:%S")
    text = moment.strftime(_strftime(pattern).replace("%f", "\0"))
    return text.replace("\0", f"{moment.microsecond // 1000:03d}")


def advance(when: Date, delta: float, unit: str, zone: str | None = None) -> Date:
    """A date some calendar units later."""
    unit = _unit(unit)
    if unit not in ("month", "year") or not float(delta).is_integer():
        return Date(when.ms + delta * _UNITS[unit])
    moment = when.datetime().astimezone(zone_of(zone))
    months = moment.year * 12 + moment.month - 1 + int(delta) * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise ComputeError("Date.advance: out of range.")
    last = (dt.date(year + month // 11, (month + 1) % 12 + 1, 1) - dt.timedelta(days=1)).day
    moved = _stamp(moment.replace(year=year, month=month + 1, day=min(moment.day, last)))
    return Date(moved.ms + when.ms % 1)


@function("Date.advance")
def date_advance(context: Context, when: Date, delta: float, unit: str, zone: str | None) -> Date:
    return advance(when, delta, unit, zone)


@function("Date.difference")
def difference(context: Context, when: Date, start: Date, unit: str) -> float:
    return (when.ms - start.ms) / _UNITS[_unit(unit)]


@function("Date.millis")
def millis(context: Context, when: Date) -> float:
    return _whole(when.ms)


@function("Date.get")
def get_part(context: Context, when: Date, unit: str, zone: str | None) -> int:
    moment = when.datetime().astimezone(zone_of(zone))
    if unit == "week":
        return moment.isocalendar().week
    name = _unit(unit)
    return int(getattr(moment, name))


@function("Date.getRelative")
def get_relative(context: Context, when: Date, unit: str, within: str, zone: str | None) -> int:
    moment = when.datetime().astimezone(zone_of(zone))
    unit, within = _unit(unit), _unit(within)
    if (unit, within) == ("month", "year"):
        return moment.month - 1
    base = {"year": moment.replace(month=1, day=1), "month": moment.replace(day=1)}.get(within, moment)
    if within in ("year", "month", "day", "week"):
        base = base.replace(hour=0, minute=0, second=0, microsecond=0)
    if within == "week":
        base -= dt.timedelta(days=base.weekday())
    elif within == "hour":
        base = moment.replace(minute=0, second=0, microsecond=0)
    elif within == "minute":
        base = moment.replace(second=0, microsecond=0)
    return int((moment - base).total_seconds() * 1000 // _UNITS[unit])


@function("Date.getRange")
def get_range(context: Context, when: Date, unit: str, zone: str | None) -> DateRange:
    moment = when.datetime().astimezone(zone_of(zone))
    name = _unit(unit)
    order = ("year", "month", "day", "hour", "minute", "second")
    start = moment.replace(microsecond=0)
    if name == "week":
        start = start.replace(hour=0, minute=0, second=0) - dt.timedelta(days=start.weekday())
    else:
        for finer in order[order.index(name) + 1:]:
            start = start.replace(**{finer: 1 if finer in ("month", "day") else 0})  # type: ignore[arg-type]
    first = _stamp(start)
    return DateRange(first.ms, advance(first, 1, name, zone).ms)


@function("Date.getFraction")
def get_fraction(context: Context, when: Date, unit: str, zone: str | None) -> float:
    span = get_range(context, when, unit, zone)
    assert span.start is not None and span.end is not None
    return (when.ms - span.start) / (span.end - span.start)


@function("Date.update")
def update(context: Context, when: Date, year: int | None, month: int | None, day: int | None, hour: int | None,
           minute: int | None, second: float | None, zone: str | None) -> Date:
    parts = {"year": year, "month": month, "day": day, "hour": hour, "minute": minute,
             "second": None if second is None else int(second)}
    moment = when.datetime().astimezone(zone_of(zone))
    try:
        return _stamp(moment.replace(**{k: v for k, v in parts.items() if v is not None}))  # type: ignore[arg-type]
    except ValueError as error:
        raise ComputeError(f"Date.update: {error}.") from error


@function("Date.unitRatio")
def unit_ratio(context: Context, numerator: str, denominator: str) -> float:
    return _UNITS[_unit(numerator)] / _UNITS[_unit(denominator)]


@function("DateRange")
def date_range(context: Context, start: Any, end: Any, zone: str | None) -> DateRange:
    first = date_of(start, zone)
    if first is None:
        raise ComputeError("DateRange: 'start' is no date.")
    last = date_of(end, zone) if end is not None else None
    span = DateRange(first.ms, first.ms + 1 if last is None else last.ms)
    if span.end is not None and span.start is not None and span.end < span.start:
        raise ComputeError("DateRange: the end lies before the start.")
    return span


_plain("DateRange.start", lambda span: Date(span.start))
_plain("DateRange.end", lambda span: Date(span.end))
_plain("DateRange.isEmpty", lambda span: span.start is not None and span.start == span.end)
_plain("DateRange.isUnbounded", lambda span: span.start is None and span.end is None)
_plain("DateRange.unbounded", lambda: DateRange(None, None))


@function("DateRange.contains")
def date_range_contains(context: Context, span: DateRange, other: Any) -> bool:
    when = other if isinstance(other, DateRange) else date_of(other)
    low = -math.inf if span.start is None else span.start
    high = math.inf if span.end is None else span.end
    if isinstance(when, DateRange):
        return low <= (when.start or -math.inf) and (when.end or math.inf) <= high
    return when is not None and low <= when.ms < high


# ------------------------------------------------------------------------------------------- projections and types


@function("Projection")
def projection(context: Context, crs: Any, transform: list[Any] | None, wkt: str | None) -> Projection:
    from dwplus.embedded_earth.functions.registry import as_projection

    base = as_projection(context, crs)
    if base is None:
        raise ComputeError("Projection: 'crs' must name a coordinate reference system.")
    if transform is None:
        return base
    if len(transform) != 6 or not all(isinstance(v, int | float) for v in transform):
        raise ComputeError("Projection: 'transform' must have 6 numbers.")
    return Projection(base.crs, tuple(map(float, transform)))  # type: ignore[arg-type]


def _wkt(projection: Projection) -> str:
    import pyproj

    return str(pyproj.CRS.from_user_input(projection.crs).to_wkt("WKT1_GDAL"))


_plain("Projection.crs", lambda p: p.crs)
_plain("Projection.wkt", _wkt)
_plain("Projection.transform", lambda p: str(list(p.transform)))
_plain("Projection.nominalScale", lambda p: p.scale)
_plain("Projection.atScale", lambda p, metres: p.at_scale(metres))


def _moved(p: Projection, dx: float, dy: float, sx: float, sy: float) -> Projection:
    a, b, c, d, e, f = p.transform
    return Projection(p.crs, (a * sx, b * sy, c + a * dx + b * dy, d * sx, e * sy, f + d * dx + e * dy))


_plain("Projection.scale", lambda p, x, y: _moved(p, 0, 0, x, y))
_plain("Projection.translate", lambda p, x, y: _moved(p, x, y, 1, 1))


@function("PixelType")
def make_pixel_type(context: Context, precision: Any, low: float | None, high: float | None,
                    dimensions: int) -> PixelType:
    from dwplus.embedded_earth.functions.images import pixel_type

    if dimensions:
        raise ComputeError("PixelType: array pixels are not supported by the embedded Earth.")
    if precision == "int":
        return PixelType("int", *((low, high) if low is not None and high is not None else
                                  (-2**31, 2**31 - 1)))
    made = pixel_type(precision)
    if made is None:
        raise ComputeError("PixelType: unknown precision.")
    return made if low is None else PixelType(made.precision, low, high)


for _name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"):
    _plain(f"PixelType.{_name}", functools.partial(integer_type, _name))
_plain("PixelType.float", lambda: PixelType("float"))
_plain("PixelType.double", lambda: PixelType("double"))
_plain("PixelType.precision", lambda t: t.precision)
_plain("PixelType.minValue", lambda t: t.minimum)
_plain("PixelType.maxValue", lambda t: t.maximum)
_plain("PixelType.dimensions", lambda t: 0)

