"""Filters and joins. A filter on one element may carry hints that reach the archive: dates and a box."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable
from typing import Any

import shapely

from dwplus.embedded_earth.catalog import Bounds
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.dates import date_of
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.geometries import distance
from dwplus.embedded_earth.functions.registry import as_date_range, as_filter, as_geometry, function
from dwplus.embedded_earth.functions.scalars import comparable, equal
from dwplus.embedded_earth.shapes import Geometry, meet
from dwplus.embedded_earth.values import EVERYTHING, Collection, DateRange, Element, Feature, Filter, Hints, Image, Join

#: Pairs of geometries that a spatial filter remembers.
_KEPT_VERDICTS = 4096
#: Names that stand for an element's geometry.
_GEOMETRY_FIELDS = (".all", ".geo")


def value_of(context: Context, element: Element, field: str) -> Any:
    """A property of an element, or its geometry for ``.all`` and ``.geo``."""
    if field in _GEOMETRY_FIELDS:
        return as_geometry(context, element)
    if field == "system:id":
        return element.id
    return element.properties.get(field)


Test = Callable[[Any, Any], bool]


def relation(context: Context, name: str, test: Test, fields: tuple[Any, Any, Any, Any],
             measure: Callable[[Any, Any], float | None] | None = None) -> Filter:
    """A filter between two operands, each a field or a value: of one element, or of a pair in a join."""
    left_field, right_value, right_field, left_value = fields
    if (left_field is None) == (left_value is None):
        raise ComputeError(f"{name}: exactly one of 'leftField' and 'leftValue' must be given.")
    if (right_field is None) == (right_value is None):
        raise ComputeError(f"{name}: exactly one of 'rightField' and 'rightValue' must be given.")
    if left_field is not None and right_field is not None:
        def both(one: Element, other: Element) -> tuple[Any, Any]:
            return value_of(context, one, left_field), value_of(context, other, right_field)

        return Filter(None, EVERYTHING, lambda one, other: test(*both(one, other)),
                      None if measure is None else lambda one, other: measure(*both(one, other)))
    if left_field is not None:
        return Filter(lambda element: test(value_of(context, element, left_field), right_value))
    if right_field is not None:
        return Filter(lambda element: test(left_value, value_of(context, element, right_field)))
    raise ComputeError(f"{name}: at least one operand must be a field.")


def _present(test: Test) -> Test:
    """Nulls never pass."""
    return lambda left, right: left is not None and right is not None and test(left, right)


def _ordered(test: Callable[[Any, Any], bool]) -> Test:
    def run(left: Any, right: Any) -> bool:
        one, other = comparable(left), comparable(right)
        if one is None or other is None or isinstance(one, str) != isinstance(other, str):
            return False
        return test(one, other)

    return run


def _contained(item: Any, among: Any) -> bool:
    return isinstance(among, list) and any(equal(item, other) for other in among)


def _text(test: Callable[[str, str], bool]) -> Test:
    return lambda left, right: isinstance(left, str) and isinstance(right, str) and test(left, right)


_RELATIONS: dict[tuple[str, ...], Test] = {
    ("equals", "eq"): _present(equal), ("notEquals", "neq"): lambda a, b: a is not None and not equal(a, b),
    ("lessThan", "lt"): _ordered(lambda a, b: a < b), ("lessThanOrEquals", "lte"): _ordered(lambda a, b: a <= b),
    ("greaterThan", "gt"): _ordered(lambda a, b: a > b),
    ("greaterThanOrEquals", "gte"): _ordered(lambda a, b: a >= b),
    ("stringContains",): _text(lambda a, b: b in a), ("stringStartsWith",): _text(lambda a, b: a.startswith(b)),
    ("stringEndsWith",): _text(lambda a, b: a.endswith(b)),
    ("listContains",): lambda a, b: _contained(b, a), ("inList",): _contained,
}


def _register_relation(names: tuple[str, ...], test: Test) -> None:
    @function(*(f"Filter.{name}" for name in names))
    def run(context: Context, left_field: Any, right_value: Any, right_field: Any, left_value: Any) -> Filter:
        made = relation(context, f"Filter.{names[0]}", test, (left_field, right_value, right_field, left_value))
        field, value = (left_field, right_value) if left_field is not None else (right_field, left_value)
        if names[0] == "equals" and field == "system:index" and isinstance(value, str) and value:
            return Filter(made.test, Hints(index=value), made.pair)
        return made


for _names, _test in _RELATIONS.items():
    _register_relation(_names, _test)


@function("Filter.dateRangeContains")
def date_range_contains(context: Context, left_field: Any, right_value: Any, right_field: Any,
                        left_value: Any) -> Filter:
    def test(span: Any, moment: Any) -> bool:
        span, when = as_date_range(context, span), date_of(moment)
        return (span is not None and when is not None and (span.start is None or when.ms >= span.start)
                and (span.end is None or when.ms < span.end))

    left_value = as_date_range(context, left_value) or left_value
    made = relation(context, "Filter.dateRangeContains", test, (left_field, right_value, right_field, left_value))
    if isinstance(left_value, DateRange) and right_field == "system:time_start":
        return Filter(made.test, Hints(left_value.start, left_value.end), made.pair)
    return made


def _box(shape: shapely.Geometry) -> Bounds | None:
    west, south, east, north = shape.bounds if not shape.is_empty else (math.nan,) * 4
    return (west, south, east, north) if all(map(math.isfinite, (west, south, east, north))) else None


def _spatial(context: Context, name: str, test: Callable[[shapely.Geometry, shapely.Geometry], bool],
             fields: tuple[Any, Any, Any, Any], near: bool) -> Filter:
    """A filter between geometries; ``near`` says that elements far from a constant operand cannot pass."""
    fixed: list[tuple[Any, shapely.Geometry]] = []

    def shape_of(value: Any) -> shapely.Geometry | None:
        for known, shape in fixed:
            if known is value:
                return shape
        geometry = as_geometry(context, value) if value is not None else None
        return None if geometry is None else geometry.plane

    for value in (fields[1], fields[3]):
        if value is not None:
            shape = shape_of(value)
            if shape is None:
                raise ComputeError(f"{name}: the value to compare with has no geometry.")
            shapely.prepare(shape)
            fixed.append((value, shape))

    # Scenes of a track and a granule share their outline: it is compared once, whatever their number.
    seen: dict[tuple[int, int], tuple[Any, Any, bool]] = {}

    def run(left: Any, right: Any) -> bool:
        known = seen.get((id(left), id(right)))
        if known is not None:  # which keeps both, so that no others have taken their places
            return known[2]
        one, other = shape_of(left), shape_of(right)
        verdict = one is not None and other is not None and test(one, other)
        if len(seen) < _KEPT_VERDICTS:
            seen[id(left), id(right)] = left, right, verdict
        return verdict

    made = relation(context, name, run, fields)
    if near and fixed and made.test is not None:
        return Filter(made.test, Hints(bounds=_box(fixed[0][1])))
    return made


@function("Filter.intersects")
def intersects(context: Context, left_field: Any, right_value: Any, right_field: Any, left_value: Any,
               margin: Any) -> Filter:
    return _spatial(context, "Filter.intersects", meet, (left_field, right_value, right_field, left_value), True)


@function("Filter.disjoint")
def disjoint(context: Context, left_field: Any, right_value: Any, right_field: Any, left_value: Any,
             margin: Any) -> Filter:
    return _spatial(context, "Filter.disjoint", lambda a, b: not meet(a, b),
                    (left_field, right_value, right_field, left_value), False)


@function("Filter.contains")
def contains(context: Context, left_field: Any, right_value: Any, right_field: Any, left_value: Any,
             margin: Any) -> Filter:
    return _spatial(context, "Filter.contains", lambda a, b: bool(shapely.covers(a, b)),
                    (left_field, right_value, right_field, left_value), True)


@function("Filter.isContained")
def is_contained(context: Context, left_field: Any, right_value: Any, right_field: Any, left_value: Any,
                 margin: Any) -> Filter:
    return _spatial(context, "Filter.isContained", lambda a, b: bool(shapely.covers(b, a)),
                    (left_field, right_value, right_field, left_value), True)


@function("Filter.withinDistance")
def within_distance(context: Context, metres: float, left_field: Any, right_value: Any, right_field: Any,
                    left_value: Any, margin: Any) -> Filter:
    def measure(left: Any, right: Any) -> float | None:
        one, other = as_geometry(context, left), as_geometry(context, right)
        if one is None or other is None:
            return None
        return distance(one, other, metres)

    def test(left: Any, right: Any) -> bool:
        gap = None if left is None or right is None else measure(left, right)
        return gap is not None and gap <= metres

    return relation(context, "Filter.withinDistance", test, (left_field, right_value, right_field, left_value), measure)


@function("Filter.maxDifference")
def max_difference(context: Context, difference: float, left_field: Any, right_value: Any, right_field: Any,
                   left_value: Any) -> Filter:
    def measure(left: Any, right: Any) -> float | None:
        one, other = comparable(left), comparable(right)
        if isinstance(one, int | float) and isinstance(other, int | float):
            return abs(one - other)
        return None

    def test(left: Any, right: Any) -> bool:
        gap = measure(left, right)
        return gap is not None and gap <= difference

    return relation(context, "Filter.maxDifference", test, (left_field, right_value, right_field, left_value), measure)


def _all(filters: Iterable[Filter], combine: Callable[[Iterable[bool]], bool]) -> Filter:
    listed = list(filters)
    hints = EVERYTHING
    if combine is all:
        for one in listed:
            hints = hints.narrowed(one.hints)
    if all(one.test is not None for one in listed):
        return Filter(lambda element: combine(one.test(element) for one in listed if one.test is not None), hints)

    def pair(left: Element, right: Element) -> bool:
        return combine(one.pair(left, right) if one.pair is not None else one.test is not None and one.test(left)
                       for one in listed)

    measures = [one.measure for one in listed if one.measure is not None]
    return Filter(None, EVERYTHING, pair, measures[0] if measures else None)


@function("Filter.and")
def both(context: Context, filters: list[Any]) -> Filter:
    return _all([filter_of(context, one) for one in filters], all)


@function("Filter.or")
def either(context: Context, filters: list[Any]) -> Filter:
    return _all([filter_of(context, one) for one in filters], any)


@function("Filter.not")
def negated(context: Context, one: Filter) -> Filter:
    test, pair = one.test, one.pair
    return Filter(None if test is None else lambda element: not test(element), EVERYTHING,
                  None if pair is None else lambda left, right: not pair(left, right))


@function("Filter.always")
def always(context: Context) -> Filter:
    return Filter(lambda element: True, EVERYTHING, lambda left, right: True)


@function("Filter.never")
def never(context: Context) -> Filter:
    return Filter(lambda element: False, EVERYTHING, lambda left, right: False)


@function("Filter.notNull")
def not_null(context: Context, names: list[str]) -> Filter:
    return Filter(lambda element: all(element.properties.get(name) is not None for name in names))


@function("Filter.hasGeometry")
def has_geometry(context: Context) -> Filter:
    return Filter(lambda element: as_geometry(context, element) is not None)


@function("Filter.rangeContains")
def range_contains(context: Context, field: str, low: Any, high: Any) -> Filter:
    within = _ordered(lambda a, b: a <= b)
    return Filter(lambda e: within(low, e.properties.get(field)) and within(e.properties.get(field), high))


@function("Filter.calendarRange")
def calendar_range(context: Context, start: int, end: int | None, unit: str) -> Filter:
    last = start if end is None else end
    parts: dict[str, Callable[[dt.datetime], int]] = {
        "year": lambda d: d.year, "month": lambda d: d.month, "hour": lambda d: d.hour, "minute": lambda d: d.minute,
        "day_of_year": lambda d: d.timetuple().tm_yday, "day_of_month": lambda d: d.day,
        "day_of_week": lambda d: d.isoweekday()}
    if unit not in parts:
        raise ComputeError(f"Filter.calendarRange: Unknown field '{unit}'.")

    def test(element: Element) -> bool:
        when = date_of(element.properties.get("system:time_start"))
        if when is None:
            return False
        value = parts[unit](when.datetime())
        return start <= value <= last if start <= last else value >= start or value <= last

    return Filter(test)


@function("Filter.dayOfYear")
def day_of_year(context: Context, start: int, end: int) -> Filter:
    made: Filter = calendar_range(context, start, end - 1, "day_of_year")
    return made


def filter_of(context: Context, value: Any) -> Filter:
    """A filter, or one written as a text; a geometry or an element stands for those that intersect it."""
    if isinstance(value, Filter | str) and (found := as_filter(context, value)) is not None:
        return found
    shape = as_geometry(context, value) if isinstance(value, Geometry | Feature | Image | Collection) else None
    if shape is None:
        raise ComputeError(f"Invalid type. Expected type: Filter. Actual type: {type(value).__name__}.")
    made: Filter = intersects(context, ".all", shape, None, None, None)
    return made


@function("Collection.filter")
def filter_collection(context: Context, collection: Collection, condition: Any) -> Collection:
    one = filter_of(context, condition)
    if one.test is None:
        raise ComputeError("Collection.filter: the filter compares two elements; it works in joins only.")
    test = one.test

    def load(hints: Hints) -> Iterable[Any]:
        return (element for element in collection.load(hints.narrowed(one.hints)) if test(element))

    return collection.using(load)


# -------------------------------------------------------------------------------------------------------------- joins


@function("Join.simple")
def simple(context: Context) -> Join:
    return Join("simple")


@function("Join.inverted")
def inverted(context: Context) -> Join:
    return Join("inverted")


@function("Join.inner")
def inner(context: Context, primary: str, secondary: str, measure: str | None) -> Join:
    return Join("inner", (primary, secondary), measure)


@function("Join.saveFirst")
def save_first(context: Context, key: str, ordering: str | None, ascending: bool, measure: str | None,
               outer: bool) -> Join:
    return Join("saveFirst", (key,), measure, ordering, ascending, outer)


@function("Join.saveBest")
def save_best(context: Context, key: str, measure: str, outer: bool) -> Join:
    return Join("saveBest", (key,), measure, outer=outer)


@function("Join.saveAll")
def save_all(context: Context, key: str, ordering: str | None, ascending: bool, measure: str | None,
             outer: bool) -> Join:
    return Join("saveAll", (key,), measure, ordering, ascending, outer)


@function("Join.apply")
def apply(context: Context, join: Join, primary: Collection, secondary: Collection, condition: Any) -> Collection:
    one = filter_of(context, condition)
    if one.pair is None:
        raise ComputeError("Join.apply: the condition must compare a field of both collections.")
    if join.kind == "saveBest" and one.measure is None:
        raise ComputeError("Join.apply: saveBest needs a condition with a measure (withinDistance or maxDifference).")

    def matches_of(left: Element, others: list[Any]) -> list[Any]:
        context.check_time()
        assert one.pair is not None
        found = [other for other in others if one.pair(left, other)]
        if join.kind == "saveBest" or join.measure_key:
            measured = [(one.measure(left, other) if one.measure else None, other) for other in found]
            if join.kind == "saveBest":
                measured.sort(key=lambda item: math.inf if item[0] is None else item[0])
            # The measure is written on the match, not on the element that keeps it.
            found = [other.with_properties({**other.properties, join.measure_key: gap}) for gap, other in measured]
        if join.ordering:
            found.sort(key=lambda other: sort_key(other.properties.get(join.ordering)), reverse=not join.ascending)
        return found

    def load(_: Hints) -> Iterable[Any]:
        others = list(secondary)
        for left in primary:
            found = matches_of(left, others)
            if join.kind == "inner":
                for other in found:
                    yield Feature(None, {join.keys[0]: left, join.keys[1]: other})
            elif join.kind == "simple":
                if found:
                    yield left
            elif join.kind == "inverted":
                if not found:
                    yield left
            elif found or join.outer:
                value = found if join.kind == "saveAll" else found[0] if found else None
                yield left.with_properties({**left.properties, join.keys[0]: value})

    return Collection("FeatureCollection" if join.kind == "inner" else primary.kind, load)


def sort_key(value: Any) -> tuple[int, Any]:
    """Order of property values: numbers, then texts, then what is missing."""
    key = comparable(value)
    if key is None:
        return 2, 0
    return (1, key) if isinstance(key, str) else (0, key)


