"""Dates and ranges of dates."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from dwplus.embedded_earth import joda
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.dates import UNITS, date_of, stamp, unit_of, zone_of
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import as_date_range, function, plain_function, type_name
from dwplus.embedded_earth.functions.scalars import whole
from dwplus.embedded_earth.values import Date, DateRange


@function("Date")
def date(context: Context, value: Any, zone: str | None) -> Date:
    made = date_of(value, zone)
    if made is None:
        raise ComputeError(f"Date: Invalid type. Expected a number, a text or a date. Actual type: {type_name(value)}.")
    return made


@function("Date.fromYMD")
def from_ymd(context: Context, year: int, month: int, day: int, zone: str | None) -> Date:
    try:
        return stamp(dt.datetime(year, month, day, tzinfo=zone_of(zone)))
    except ValueError as error:
        raise ComputeError(f"Date.fromYMD: {error}.") from error


@function("Date.parse")
def parse_date(context: Context, pattern: str, text: str, zone: str | None) -> Date:
    return stamp(joda.read(text, pattern, zone_of(zone)))


@function("Date.format")
def format_date(context: Context, when: Date, pattern: str | None, zone: str | None) -> str:
    moment = when.datetime().astimezone(zone_of(zone))
    return joda.written(moment, "yyyy-MM-dd'T'HH:mm:ss" if pattern is None else pattern, zone or "UTC")


def advance(when: Date, delta: float, unit: str, zone: str | None = None) -> Date:
    """A date some calendar units later."""
    unit = unit_of(unit)
    if unit not in ("month", "year") or not float(delta).is_integer():
        return Date(when.ms + delta * UNITS[unit])
    moment = when.datetime().astimezone(zone_of(zone))
    months = moment.year * 12 + moment.month - 1 + int(delta) * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise ComputeError("Date.advance: out of range.")
    last = (dt.date(year + month // 11, (month + 1) % 12 + 1, 1) - dt.timedelta(days=1)).day
    moved = stamp(moment.replace(year=year, month=month + 1, day=min(moment.day, last)))
    return Date(moved.ms + when.ms % 1)


@function("Date.advance")
def date_advance(context: Context, when: Date, delta: float, unit: str, zone: str | None) -> Date:
    return advance(when, delta, unit, zone)


@function("Date.difference")
def difference(context: Context, when: Date, start: Date, unit: str) -> float:
    return (when.ms - start.ms) / UNITS[unit_of(unit)]


@function("Date.millis")
def millis(context: Context, when: Date) -> float:
    return whole(when.ms)


@function("Date.get")
def get_part(context: Context, when: Date, unit: str, zone: str | None) -> int:
    moment = when.datetime().astimezone(zone_of(zone))
    if unit == "week":
        return moment.isocalendar().week
    name = unit_of(unit)
    return int(getattr(moment, name))


@function("Date.getRelative")
def get_relative(context: Context, when: Date, unit: str, within: str, zone: str | None) -> int:
    moment = when.datetime().astimezone(zone_of(zone))
    unit, within = unit_of(unit), unit_of(within)
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
    return int((moment - base).total_seconds() * 1000 // UNITS[unit])


@function("Date.getRange")
def get_range(context: Context, when: Date, unit: str, zone: str | None) -> DateRange:
    moment = when.datetime().astimezone(zone_of(zone))
    name = unit_of(unit)
    order = ("year", "month", "day", "hour", "minute", "second")
    start = moment.replace(microsecond=0)
    if name == "week":
        start = start.replace(hour=0, minute=0, second=0) - dt.timedelta(days=start.weekday())
    else:
        for finer in order[order.index(name) + 1:]:
            start = start.replace(**{finer: 1 if finer in ("month", "day") else 0})  # type: ignore[arg-type]
    first = stamp(start)
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
        return stamp(moment.replace(**{k: v for k, v in parts.items() if v is not None}))  # type: ignore[arg-type]
    except ValueError as error:
        raise ComputeError(f"Date.update: {error}.") from error


@function("Date.unitRatio")
def unit_ratio(context: Context, numerator: str, denominator: str) -> float:
    return UNITS[unit_of(numerator)] / UNITS[unit_of(denominator)]


@function("DateRange")
def date_range(context: Context, start: Any, end: Any, zone: str | None) -> DateRange:
    given = as_date_range(context, start) if end is None and not isinstance(start, Date) else None
    if given is not None:
        return given
    first = date_of(start, zone)
    if first is None:
        raise ComputeError("DateRange: 'start' is no date.")
    last = date_of(end, zone) if end is not None else None
    if end is not None and last is None:
        raise ComputeError("DateRange: 'end' is no date.")
    span = DateRange(first.ms, first.ms + 1 if last is None else last.ms)
    if span.end is not None and span.start is not None and span.end < span.start:
        raise ComputeError("DateRange: the end lies before the start.")
    return span


def _ends(span: DateRange) -> tuple[float, float]:
    return -math.inf if span.start is None else span.start, math.inf if span.end is None else span.end


def _span(start: float, end: float) -> DateRange:
    return DateRange(None if math.isinf(start) else start, None if math.isinf(end) else end)


@function("DateRange.intersects")
def intersects(context: Context, span: DateRange, other: DateRange) -> bool:
    (a, b), (c, d) = _ends(span), _ends(other)
    return max(a, c) < min(b, d)


@function("DateRange.intersection")
def intersection(context: Context, span: DateRange, other: DateRange) -> DateRange:
    """What both have in common; an empty range where that is nothing."""
    (a, b), (c, d) = _ends(span), _ends(other)
    start = max(a, c)
    return _span(start, max(start, min(b, d)))


@function("DateRange.union")
def union(context: Context, span: DateRange, other: DateRange) -> DateRange:
    """The shortest range that holds both."""
    (a, b), (c, d) = _ends(span), _ends(other)
    return _span(min(a, c), max(b, d))


plain_function("DateRange.start", lambda span: Date(span.start))
plain_function("DateRange.end", lambda span: Date(span.end))
plain_function("DateRange.isEmpty", lambda span: span.start is not None and span.start == span.end)
plain_function("DateRange.isUnbounded", lambda span: span.start is None and span.end is None)
plain_function("DateRange.unbounded", lambda: DateRange(None, None))


@function("DateRange.contains")
def date_range_contains(context: Context, span: DateRange, other: Any) -> bool:
    low, high = _ends(span)
    if isinstance(other, DateRange):
        start, end = _ends(other)
        return low <= start and end <= high
    when = date_of(other)
    return when is not None and low <= when.ms < high
