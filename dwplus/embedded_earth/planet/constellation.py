"""Which satellites of Sentinel-1 and Sentinel-2 are in service when, and how their orbits are numbered."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)
#: Repeat cycles: (days, orbits). Source: ESA user handbooks.
S2_CYCLE, S1_CYCLE = (10, 143), (12, 175)


@dataclass(frozen=True)
class Service:
    """A satellite's days in one slot of the repeat cycle.

    Attributes
    ----------
    platform : letter of the satellite.
    first, last : days with scenes, both included.
    shift : days behind the slot of the constellation's first satellite.
    first_orbit : absolute orbit number at the slot's epoch (:data:`S1_EPOCH` or :data:`S2_EPOCH` plus ``shift`` days).
    sparse : whether it flies outside Europe now and then only.
    """

    platform: str
    first: dt.date
    last: dt.date
    shift: int
    first_orbit: int = 0
    sparse: bool = False


#: A start of the datatakes of relative orbit 1 in A's slot: 4.958 days into 2026, modulo 10; B's is 5 days later. By
#: the names of real products of 2017 to 2026, whose datatakes begin within 0.03 days of it (tests/unit/planet).
S2_EPOCH = dt.datetime(2026, 1, 5, 23, tzinfo=dt.UTC)
#: Sentinel-2: 10-day repeat, B half a cycle after A. C took A's slot on 2025-01-21; A went on from 2025-03-13
#: in an extended campaign, 2 days after C and 3 before B, over Europe on every cycle and elsewhere now and then.
#: Source: ESA mission status; slots by ids of real products. Orbits of A and B as in A028669 (R072, 2020-12-17) and
#: B027676 (R051, 2022-06-24); those of C, and of A after its move, are by time since launch: they are not public.
S2_SERVICES = (
    Service("A", dt.date(2015, 6, 27), dt.date(2025, 1, 20), 0, 55_053),
    Service("B", dt.date(2017, 3, 17), dt.date(2026, 10, 1), 5, 46_216),
    Service("C", dt.date(2025, 1, 21), dt.date(2026, 10, 1), 0, 6_977),
    Service("A", dt.date(2025, 3, 13), dt.date(2026, 10, 1), 2, 55_082, sparse=True),
)
#: An ascending node of relative orbit 1 of Sentinel-1A; those of the others follow by their shifts, and all come back
#: after 12 days, without drift from 2014 on. Fitted to the names of real products (tests/unit/planet/test_orbits.py).
S1_EPOCH = dt.datetime(2026, 1, 11, 18, tzinfo=dt.UTC)
#: Sentinel-1: 12-day repeat. A stopped on 2026-06-29. B, half a cycle apart, fell silent on 2021-12-23. C opened on
#: 2025-03-26 in B's slot, was silent from 2026-06-08 to 06-24 and came back a day behind A. D opened on 2026-04-14, a
#: day behind B's slot. Source: ASF HyP3's Sentinel-1 mission page; orbit numbers from the names of real products.
S1_SERVICES = (
    Service("A", dt.date(2015, 6, 27), dt.date(2026, 6, 29), 0, 62_723),
    Service("B", dt.date(2016, 10, 1), dt.date(2021, 12, 22), -6, 51_652),
    Service("C", dt.date(2025, 3, 26), dt.date(2026, 6, 7), -6, 5_772),
    Service("D", dt.date(2026, 4, 14), dt.date(2026, 10, 1), -5, 917),
    Service("C", dt.date(2026, 6, 24), dt.date(2026, 10, 1), 1, 5_874),
)


def s1_orbit(service: Service, ms: float) -> tuple[int, int]:
    """Absolute and relative orbit in which a satellite of Sentinel-1 is at a time (ms since 1970, UTC)."""
    days, orbits = S1_CYCLE
    since = ms - S1_EPOCH.timestamp() * 1000 - service.shift * DAY_MS
    turns = int(since * orbits // (days * DAY_MS))
    return service.first_orbit + turns, turns % orbits + 1


def s2_orbit(service: Service, ms: float) -> tuple[int, int]:
    """Absolute and relative orbit whose datatakes of Sentinel-2 begin nearest to a time (ms since 1970, UTC)."""
    days, orbits = S2_CYCLE
    turns = round((ms - service.shift * DAY_MS - S2_EPOCH.timestamp() * 1000) / DAY_MS * orbits / days)
    return max(service.first_orbit + turns, 1), turns % orbits + 1


def s1_service(platform: str, ms: float) -> Service:
    """The service in which a platform of Sentinel-1 flies at a time: its last one that has begun, else its first.

    Raises
    ------
    KeyError
        Where the platform is none of the constellation.
    """
    found = [s for s in S1_SERVICES if s.platform == platform]
    if not found:
        raise KeyError(platform)
    day = _EPOCH + dt.timedelta(days=int(ms // DAY_MS))
    return max((s for s in found if s.first <= day), key=lambda s: s.first, default=found[0])
