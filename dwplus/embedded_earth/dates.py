"""Dates: reading them, time zones, and units of time."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any

from dwplus.embedded_earth.errors import ComputeError
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


UNITS = {"second": 1e3, "minute": 6e4, "hour": 36e5, "day": 864e5, "week": 6048e5, "month": 864e5 * 365.2425 / 12,
          "year": 864e5 * 365.2425}


def unit_of(name: str) -> str:
    unit = name.strip().rstrip("s")
    if unit not in UNITS:
        raise ComputeError(f"Date: Unknown unit '{name[:20]}'.")
    return unit


def stamp(moment: dt.datetime) -> Date:
    return Date(round((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(milliseconds=1)))
