"""Dates: reading them, time zones, and units of time."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.joda import offset_zone
from dwplus.embedded_earth.values import Date


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
    return _read(value, zone) if isinstance(value, str) else None


#: Year, month, day, hour, minute, second, fraction, zone; every number may stand without its leading zeros.
_ISO = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:[.,](\d{1,9}))?)?"
                  r")?)?)?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?")


def _read(value: str, zone: str | None) -> Date:
    text = value.strip()
    found = _ISO.fullmatch(text)
    try:
        if found is not None:
            year, month, day, hour, minute, second = (int(part) if part else None for part in found.groups()[:6])
            where = offset_zone(found[8]) if found[8] else zone_of(zone)
            parsed = dt.datetime(year or 0, 1 if month is None else month,
                                 1 if day is None else day, hour or 0, minute or 0, second or 0,
                                 int((found[7] or "0").ljust(6, "0")[:6]), where)
        else:
            parsed = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ComputeError(f"Date: Bad date/time '{value[:40]}'.") from error
    return stamp(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=zone_of(zone)))


def zone_of(name: str | None) -> dt.tzinfo:
    """A time zone; UTC by default."""
    if not name or name in ("UTC", "GMT", "Z"):
        return dt.UTC
    if re.fullmatch(r"[+-]\d{2}:?\d{2}", name):
        return offset_zone(name)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ComputeError(f"Date: unknown time zone '{name[:40]}'.") from None


UNITS = {"second": 1e3, "minute": 6e4, "hour": 36e5, "day": 864e5, "week": 6048e5, "month": 864e5 * 365.2425 / 12,
          "year": 864e5 * 365.2425}


def unit_of(name: str) -> str:
    unit = name.strip().rstrip("s")
    if unit not in UNITS:
        raise ComputeError(f"Date: Unknown unit '{name[:20]}'.")
    return unit


def stamp(moment: dt.datetime) -> Date:
    return Date(round((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(milliseconds=1)))
