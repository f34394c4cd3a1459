"""Date patterns in Joda's letters, the only ones the service knows: writing and reading.

Letters and widths are those of https://www.joda.org/joda-time/apidocs/org/joda/time/format/DateTimeFormat.html.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from dwplus.embedded_earth.errors import ComputeError

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: English names of zones by abbreviation; where one stands for several zones, only that of the longest list of users.
_ZONES = {
    "UTC": "Coordinated Universal Time", "GMT": "Greenwich Mean Time", "PST": "Pacific Standard Time",
    "PDT": "Pacific Daylight Time", "MST": "Mountain Standard Time", "MDT": "Mountain Daylight Time",
    "CST": "Central Standard Time", "CDT": "Central Daylight Time", "EST": "Eastern Standard Time",
    "EDT": "Eastern Daylight Time", "AKST": "Alaska Standard Time", "AKDT": "Alaska Daylight Time",
    "HST": "Hawaii Standard Time", "CET": "Central European Time", "CEST": "Central European Summer Time",
    "EET": "Eastern European Time", "EEST": "Eastern European Summer Time", "WET": "Western European Time",
    "WEST": "Western European Summer Time", "JST": "Japan Standard Time", "KST": "Korea Standard Time",
    "SAST": "South Africa Standard Time", "NZST": "New Zealand Standard Time", "NZDT": "New Zealand Daylight Time",
}
#: Zones of Asia whose CST and IST are not those of America and India.
_AMBIGUOUS = {"CST": "Asia/", "IST": "", "BST": ""}
_TOKEN = re.compile(r"''|'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'")
#: Years that two digits may mean: from so many before to so many after the year thirty years ago.
_PIVOT_YEARS, _PIVOT_AGO = 50, 30


def _tokens(pattern: str) -> Iterator[tuple[str, int]]:
    """(letter, width) of fields, and ('', 0) texts as (text, 0)."""
    for match in _TOKEN.finditer(pattern):
        text = match.group(0)
        if match.group(2):
            yield match.group(2), len(text)
        elif text == "'":
            raise ComputeError(f"Date: the pattern '{pattern[:40]}' opens a quote and does not close it.")
        else:
            yield ("'" if text == "''" else match.group(1).replace("''", "'") if text[0] == "'" else text), 0


def _offset(moment: dt.datetime, colon: str) -> str:
    minutes = int((moment.utcoffset() or dt.timedelta()).total_seconds() // 60)
    sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
    return f"{sign}{minutes // 60:02d}{colon}{minutes % 60:02d}"


def _zone_name(moment: dt.datetime, zone: str, full: bool) -> str:
    short = moment.tzname() or "UTC"
    if short[0] in "+-" or not full:
        return short if short[0] not in "+-" else _offset(moment, ":")
    doubtful = short in _AMBIGUOUS and (not _AMBIGUOUS[short] or zone.startswith(_AMBIGUOUS[short]))
    if doubtful or short not in _ZONES:
        raise ComputeError(f"Date.format: the name of the time zone '{zone}' in full is not supported by the embedded "
                           "Earth.")
    return _ZONES[short]


def _text(name: str, width: int) -> str:
    return name if width > 3 else name[:3]


def _year(year: int, width: int) -> str:
    return f"{year % 100:02d}" if width == 2 else f"{year:0{width}d}"


def _field(letter: str, width: int, moment: dt.datetime, zone: str) -> str:
    week_year, week, day = moment.isocalendar()
    if letter in "Yyx":
        return _year(week_year if letter == "x" else moment.year, width)
    if letter == "M" and width > 2:
        return _text(_MONTHS[moment.month - 1], width)
    if letter == "E":
        return _text(_DAYS[day - 1], width)
    if letter == "S":
        return f"{moment.microsecond // 1000:03d}".ljust(width, "0")[:width]
    if letter == "z":
        return _zone_name(moment, zone, width > 3)
    if letter == "Z":
        return zone if width > 2 else _offset(moment, ":" if width == 2 else "")
    texts = {"G": "AD", "a": "AM" if moment.hour < 12 else "PM"}
    if letter in texts:
        return texts[letter]
    numbers = {"C": moment.year // 100, "w": week, "e": day, "D": moment.timetuple().tm_yday, "M": moment.month,
               "d": moment.day, "K": moment.hour % 12, "h": (moment.hour - 1) % 12 + 1, "H": moment.hour,
               "k": (moment.hour - 1) % 24 + 1, "m": moment.minute, "s": moment.second}
    if letter not in numbers:
        raise ComputeError(f"Date.format: Illegal pattern component: {letter * width}.")
    return f"{numbers[letter]:0{width}d}"


def written(moment: dt.datetime, pattern: str, zone: str) -> str:
    """A moment in a pattern's letters.

    Parameters
    ----------
    moment : in the zone it is to be written in.
    zone : id of that zone, for ``ZZZ``.

    Raises
    ------
    ComputeError
        For letters that mean nothing.
    """
    return "".join(_field(token, width, moment, zone) if width else token for token, width in _tokens(pattern))


# -------------------------------------------------------------------------------------------------------------- reading

_DIGITS = {"Y": 9, "y": 9, "M": 2, "d": 2, "D": 3, "H": 2, "k": 2, "h": 2, "K": 2, "m": 2, "s": 2}


def _reader(pattern: str) -> tuple[re.Pattern[str], list[tuple[str, int]]]:
    """A regular expression with a group per field, and the fields."""
    tokens = list(_tokens(pattern))
    out, fields = "", []
    for i, (token, width) in enumerate(tokens):
        if not width:
            out += re.escape(token)
            continue
        following = tokens[i + 1] if i + 1 < len(tokens) else ("", 0)
        adjacent = following[1] > 0 and following[0] in "YyMdDHkhKmsS"
        if token == "M" and width > 2:
            part = "|".join(sorted({*_MONTHS, *(name[:3] for name in _MONTHS)}, key=len, reverse=True))
        elif token == "E":
            part = "|".join(sorted({*_DAYS, *(name[:3] for name in _DAYS)}, key=len, reverse=True))
        elif token in "aG":
            part = "AM|PM" if token == "a" else "AD|BC"
        elif token == "Z" and width < 3:
            part = r"Z|[+-]\d{2}:?\d{2}"
        elif token == "S":
            part = rf"\d{{{width}}}" if adjacent else r"\d{1,9}"
        elif token in _DIGITS:
            part = rf"\d{{{width}}}" if adjacent else rf"\d{{1,{max(width, _DIGITS[token])}}}"
        else:
            raise ComputeError(f"Date.parse: reading the pattern letters '{token * width}' is not supported by the "
                               "embedded Earth.")
        out += f"({part})"
        fields.append((token, width))
    return re.compile(out, re.IGNORECASE), fields


def _full_year(text: str, width: int) -> int:
    year = int(text)
    if width != 2 or len(text) != 2:
        return year
    first = dt.datetime.now(dt.UTC).year - _PIVOT_AGO - _PIVOT_YEARS
    return first + (year - first) % 100


def read(text: str, pattern: str, zone: dt.tzinfo) -> dt.datetime:
    """A moment from a text in a pattern's letters; what the pattern lacks is that of 1970-01-01T00:00:00.

    Raises
    ------
    ComputeError
        For a text that does not match, and for letters that cannot be read.
    """
    expression, fields = _reader(pattern)
    match = expression.fullmatch(text)
    if match is None:
        raise ComputeError(f"Date.parse: Invalid format: '{text[:40]}' does not match '{pattern[:40]}'.")
    part = {"y": 1970, "M": 1, "d": 1, "H": 0, "m": 0, "s": 0, "S": 0}
    half, day_of_year = None, None
    for (letter, width), found in zip(fields, match.groups(), strict=True):
        if letter in "Yy":
            part["y"] = _full_year(found, width)
        elif letter == "M":
            part["M"] = int(found) if found.isdigit() else [name[:3] for name in _MONTHS].index(found[:3].title()) + 1
        elif letter in "dms":
            part[letter] = int(found)
        elif letter == "S":
            part["S"] = int(found.ljust(6, "0")[:6])
        elif letter in "Hk":
            part["H"] = int(found) % 24 if letter == "k" else int(found)
        elif letter in "hK":
            part["H"] = int(found) % 12
        elif letter == "a":
            half = found.upper()
        elif letter == "D":
            day_of_year = int(found)
        elif letter == "Z":
            zone = offset_zone(found)
    if half == "PM":
        part["H"] += 12
    try:
        moment = dt.datetime(part["y"], part["M"], part["d"], part["H"], part["m"], part["s"], part["S"], tzinfo=zone)
        return moment if day_of_year is None else moment.replace(month=1, day=1) + dt.timedelta(days=day_of_year - 1)
    except (ValueError, OverflowError) as error:
        raise ComputeError(f"Date.parse: '{text[:40]}': {error}.") from error


def offset_zone(text: str) -> dt.timezone:
    """A zone from '+07:00', '-0330', '+07' or 'Z'."""
    if text in ("Z", "z"):
        return dt.UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return dt.timezone(sign * dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0)), text)
