"""Could a satellite have made a scene of this name? A check of names against the orbits that the Sentinels fly.

Names that look right and are invented run through mock data and generated code; they match nothing in the archive. The
time in a name, less the time its relative orbit takes within the repeat cycle, is the satellite's own constant.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass

_S1 = re.compile(r"S1([A-Z])_(?:IW|EW|SM|S\d)_[A-Z]{3}[A-Z_]?_\d[A-Z]{3}_(\d{8}T\d{6})_\d{8}T\d{6}_(\d{6})(?:_.*)?")
_S2 = re.compile(r"S2([A-Z])_MSIL\d[AC]_(\d{8}T\d{6})_N\d{4}_R(\d{3})_T\d{2}[C-X][A-Z]{2}_\d{8}T\d{6}(?:\.SAFE)?")
_ZERO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: Days by which a name may be off: an orbit of Sentinel-1 takes 0.069 days, and its scenes lie anywhere in it.
_TOLERANCE = 0.08


@dataclass(frozen=True)
class _Slot:
    """A satellite's place in the repeat cycle: from and until when it flew there, and how its orbits are numbered.

    ``phase`` is the time of the ascending node (Sentinel-2: of the datatake's start) of relative orbit 1, days after
    2026-01-01 modulo the cycle. ``offset`` is k in relative = (absolute - k) mod orbits + 1; Sentinel-2's names say the
    relative orbit themselves.
    """

    platform: str
    first: dt.date
    last: dt.date
    phase: float
    offset: int = 0


#: Sentinel-1: 12 days, 175 orbits. Fitted to the names of 27 real products of 2016 to 2026; constants k by
#: sat-utils/sat-stac-sentinel issue 31 (A, B), isce2 28130 (C, before and after its move of June 2026) and 28123 (D).
_S1_CYCLE = (12, 175)
_S1_SLOTS = (
    _Slot("A", dt.date(2014, 4, 3), dt.date(2026, 12, 31), 10.75, 73),
    _Slot("B", dt.date(2016, 4, 25), dt.date(2021, 12, 23), 4.75, 27),
    _Slot("C", dt.date(2025, 3, 1), dt.date(2026, 6, 9), 4.75, 172),
    _Slot("C", dt.date(2026, 6, 20), dt.date.max, 11.75, 99),
    _Slot("D", dt.date(2026, 3, 1), dt.date.max, 5.75, 42),
)
#: Sentinel-2: 10 days, 143 orbits. By the names of 37 real products; A was on its way from January to March 2025.
_S2_CYCLE = (10, 143)
_S2_SLOTS = (
    _Slot("A", dt.date(2015, 6, 23), dt.date(2025, 1, 20), 4.958),
    _Slot("A", dt.date(2025, 3, 13), dt.date.max, 6.958),
    _Slot("B", dt.date(2017, 3, 7), dt.date.max, 9.958),
    _Slot("C", dt.date(2024, 12, 1), dt.date.max, 4.958),
)
#: Months on the way to a slot, or before the public opening: nothing is said of these.
_UNSAID = {("1", "C"): (dt.date(2024, 12, 5), dt.date(2025, 2, 28)), ("1", "D"): (dt.date(2025, 11, 4),
           dt.date(2026, 2, 28)), ("2", "A"): (dt.date(2025, 1, 21), dt.date(2025, 3, 12)),
           ("2", "C"): (dt.date(2024, 9, 5), dt.date(2025, 1, 20))}


def doubt(name: str) -> str | None:
    """Why no satellite can have made a scene of this name; None where one can, or where the name does not tell.

    Parameters
    ----------
    name : a product's name of Sentinel-1 (also Earth Engine's ``system:index``) or of Sentinel-2; Earth Engine's
        ``system:index`` of Sentinel-2 says neither satellite nor orbit, and is never doubted.
    """
    for mission, form, slots, (days, orbits) in (("1", _S1, _S1_SLOTS, _S1_CYCLE), ("2", _S2, _S2_SLOTS, _S2_CYCLE)):
        match = form.fullmatch(name)
        if match is None:
            continue
        try:
            time = dt.datetime.strptime(match[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        except ValueError:
            return f"{match[2]} is no time"
        return _doubt(mission, match[1], time, int(match[3]), slots, days, orbits)
    return None


def _doubt(mission: str, platform: str, time: dt.datetime, number: int, slots: Iterable[_Slot], days: int,
           orbits: int) -> str | None:
    own = [slot for slot in slots if slot.platform == platform]
    satellite = f"Sentinel-{mission}{platform}"
    if not own:
        return None  # a satellite that this program does not know
    quiet = _UNSAID.get((mission, platform))
    if quiet is not None and quiet[0] <= time.date() <= quiet[1]:
        return None
    slot = next((slot for slot in own if slot.first <= time.date() <= slot.last), None)
    if slot is None:
        return f"{satellite} took no scene on {time.date()}"
    relative = (number - slot.offset) % orbits + 1 if mission == "1" else number
    if not 1 <= relative <= orbits:
        return f"there is no relative orbit {relative}"
    phase = ((time - _ZERO).total_seconds() / 86_400 - (relative - 1) * days / orbits - slot.phase) % days
    off = min(phase, days - phase)
    if off > _TOLERANCE:
        return f"{satellite} is {off:.2f} days away from relative orbit {relative} at {time:%Y-%m-%d %H:%M} UTC"
    return None


def doubtful(names: Iterable[str]) -> dict[str, str]:
    """The names no satellite can have made, each with the reason, in order."""
    found = {}
    for name in dict.fromkeys(names):
        reason = doubt(name)
        if reason is not None:
            found[name] = reason
    return found


def warning(names: Iterable[str], what: str) -> str | None:
    """One sentence on the doubtful among ``what`` (such as "Sentinel-1 scenes"); None where none is."""
    every = list(dict.fromkeys(names))
    found = doubtful(every)
    if not found:
        return None
    name, reason = next(iter(found.items()))
    return (f"{len(found)} of {len(every)} {what} have names that no satellite can have made, the first {name}: "
            f"{reason}")
