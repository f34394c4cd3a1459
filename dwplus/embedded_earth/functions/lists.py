"""Lists and dictionaries."""

from __future__ import annotations

import functools
import json
import math
import operator
import random
from collections.abc import Callable
from typing import Any

from dwplus.embedded_earth.bands import constant_band
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.reducers import reduce_rows
from dwplus.embedded_earth.functions.registry import function, plain_function, type_name
from dwplus.embedded_earth.functions.scalars import MAX_TEXT, comparable, equal, whole
from dwplus.embedded_earth.regular import expression
from dwplus.embedded_earth.values import Feature, Function, Image

#: Elements a list may be made to hold; the service runs out of memory about there.
MAX_LIST = 1_000_000


# ---------------------------------------------------------------------------------------------------------- lists


def _get(items: list[Any], index: int) -> Any:
    if not -len(items) <= index < len(items):
        raise ComputeError(f"List.get: List index must be between 0 and {len(items)}, or negative with the last index "
                           f"being -1: got {index}.")
    return items[index]


def _flatten(items: list[Any]) -> list[Any]:
    out: list[Any] = []
    pending: list[Any] = list(reversed(items))
    steps = 0
    while pending:
        steps += 1
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(reversed(item))
        else:
            out.append(item)
        if len(pending) + len(out) > MAX_LIST or steps > 4 * MAX_LIST:  # lists within lists that are the same list
            raise ComputeError("User memory limit exceeded.")
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
            seen.setdefault(json.dumps(whole(item), sort_keys=True), item)
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
        return [whole(start + i * width) for i in range(count)]
    if step == 0:
        raise ComputeError("List.sequence: 'step' must not be 0.")
    assert end is not None
    length = max(0, math.floor((end - start) / step + 1e-9) + 1)
    if length > MAX_LIST:
        raise ComputeError("User memory limit exceeded.")
    return [whole(start + i * step) for i in range(length)]


def _repeat(value: Any, count: int) -> list[Any]:
    if count > MAX_LIST:
        raise ComputeError("User memory limit exceeded.")
    return [value] * count


def _shuffle(items: list[Any], seed: Any) -> list[Any]:
    out = list(items)
    random.Random(str(seed)).shuffle(out)
    return out


def _starts(items: list[Any], target: list[Any]) -> list[int]:
    """Places where a list lies within another."""
    return [start for start in range(len(items) - len(target) + 1)
            if all(map(equal, items[start:start + len(target)], target))]


def _first_start(items: list[Any], target: list[Any]) -> int:
    return next(iter(_starts(items, target)), -1)


def _last_start(items: list[Any], target: list[Any]) -> int:
    return next(reversed(_starts(items, target)), -1)


def _bounded(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose list stays within what memory is for."""
    def within(*arguments: Any) -> Any:
        found = run(*arguments)
        if isinstance(found, list) and len(found) > MAX_LIST:
            raise ComputeError("User memory limit exceeded.")
        return found

    return within


def _join(items: list[Any], separator: str) -> str:
    if any(isinstance(item, list | dict) for item in items):
        raise ComputeError("List.join: the elements must be texts or numbers.")
    texts = [str(whole(item)) for item in items]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_TEXT:
        raise ComputeError("User memory limit exceeded.")
    return separator.join(texts)


_LIST: dict[str, Callable[..., Any]] = {
    "add": lambda items, element: [*items, element], "cat": operator.add, "contains": lambda i, e: _index(i, e) >= 0,
    "containsAll": lambda items, other: all(_index(items, element) >= 0 for element in other),
    "distinct": _first_distinct, "equals": equal, "flatten": _flatten,
    "frequency": lambda items, element: sum(equal(item, element) for item in items), "get": _get, "getNumber": _get,
    "getString": _get, "getGeometry": _get, "indexOf": _index, "indexOfSublist": _first_start,
    "lastIndexOfSubList": _last_start,
    "insert": lambda items, index, element: [*items[:index], element, *items[index:]],
    "join": _join, "length": len, "size": len,
    "remove": lambda items, element: _splice(items, _index(items, element), 1, None)
    if _index(items, element) >= 0 else items,
    "removeAll": _without, "repeat": _repeat, "replace": lambda i, a, b: _replace(i, a, b, False),
    "replaceAll": lambda i, a, b: _replace(i, a, b, True), "reverse": lambda items: items[::-1], "rotate": _rotate,
    "sequence": _sequence, "set": _set, "shuffle": _shuffle, "slice": lambda items, a, b, step: items[a:b:step],
    "sort": _sort, "splice": _splice, "swap": _swap, "unzip": lambda items: [list(c) for c in zip(*items, strict=True)],
    "zip": lambda items, other: [list(pair) for pair in zip(items, other, strict=False)],
}
for _name, _run in _LIST.items():
    plain_function(f"List.{_name}", _bounded(_run))


@function("List.map")
def map_list(context: Context, items: list[Any], algorithm: Function, drop_nulls: bool) -> list[Any]:
    mapped = []
    for item in items:
        context.check_time()
        mapped.append(algorithm.call(item))
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
        hits = [k for k in mapping if k == selector or expression(selector, where="Dictionary").fullmatch(k)]
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
    plain_function(f"Dictionary.{_name}", _run)


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
    return Image(tuple(constant_band(mapping[name], name) for name in (names or sorted(mapping))))


