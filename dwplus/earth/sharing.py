"""One allowance for all worker processes of a run, wherever they are.

A :class:`Coordinator` (pure; it lives beside the Dask scheduler, see :mod:`dwplus.earth.allowance`) hands parts of the
allowance to workers that report a few times a second. What a worker may still be using counts as taken until it says
otherwise, so the parts never add up to more than the whole; a worker that is not heard of keeps its part until its
lease ends, and sends nothing after its own, shorter, lease has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from dwplus.earth.limiter import Counts, RateWindow, Traffic

#: Seconds a worker may go on without a new grant, and after which its part is given to others.
LEASE_SECONDS, EXPIRY_SECONDS = 6.0, 12.0
#: Share of the rate under which a part is none.
LEAST_RATE = 1e-6
#: Seconds between two reports of a worker, at the least; more where many report.
REPORT_SECONDS, REPORTS_PER_SECOND = 0.2, 200.0


@dataclass(frozen=True)
class WorkerState:
    """What a worker tells.

    Attributes
    ----------
    worker : its name.
    slots, rate : the part it keeps to now.
    active, wanted : requests in flight; those in flight or waiting.
    throttled : answers "too many" since its last report.
    retry_after : the longest pause asked for by them, s.
    requests, retried, seconds, restricted : what went through its limiter so far, as in
        :class:`dwplus.earth.limiter.Counts`.
    """

    worker: str
    slots: int
    rate: float
    active: int
    wanted: int
    throttled: int = 0
    retry_after: float = 0.0
    requests: int = 0
    retried: int = 0
    seconds: float = 0.0
    restricted: int = 0


@dataclass(frozen=True)
class Grant:
    """What a worker may use: slots, rate (1/s), for how long (s), when to report again (s), pause first (s)."""

    slots: int
    rate: float
    seconds: float
    report: float
    shut: float = 0.0


@dataclass
class _Part:
    wanted: int
    slots: int  # what it may still be using
    rate: float
    active: int
    seen: float


def fair_parts(total: int, wanted: dict[str, int], turn: int = 0) -> dict[str, int]:
    """Divide whole slots: nobody gets more than wanted, and nobody less than another who wants as much, but for a
    remainder that goes round with ``turn``."""
    parts = dict.fromkeys(wanted, 0)
    left = min(total, sum(wanted.values()))
    while left:
        hungry = sorted(name for name in wanted if parts[name] < wanted[name])
        each, rest = divmod(left, len(hungry))
        first = turn % len(hungry)
        for position, name in enumerate(hungry[first:] + hungry[:first]):
            more = min(wanted[name] - parts[name], each + (position < rest))
            parts[name] += more
            left -= more
    return parts


class Coordinator:
    """Divides an allowance between the workers that report.

    Parameters
    ----------
    concurrency : requests in flight of all workers together.
    per_second : requests started per second of all workers together.
    """

    def __init__(self, concurrency: int, per_second: float) -> None:
        self.window = RateWindow(concurrency, per_second)
        self._parts: dict[str, _Part] = {}
        self._throttled = 0
        self._counts: dict[str, tuple[int, int, float, int]] = {}

    def exchange(self, report: WorkerState, now: float) -> Grant:
        """Take a report, answer with a grant."""
        for name in [n for n, part in self._parts.items() if now - part.seen > EXPIRY_SECONDS]:
            del self._parts[name]
        if report.throttled:
            self._throttled += report.throttled
            self.window.throttled(now, report.retry_after)
        if report.restricted > self._counts.get(report.worker, (0, 0, 0.0, 0))[3]:
            self.window.restrict(now)
        self.window.grow(now)
        self._counts[report.worker] = report.requests, report.retried, report.seconds, report.restricted
        mine = self._parts[report.worker] = _Part(report.wanted, max(report.slots, report.active), report.rate,
                                                  report.active, now)
        wanted = {name: part.wanted for name, part in self._parts.items()}
        others = [part for name, part in self._parts.items() if name != report.worker]
        total, rate = self.window.slots, self.window.rate
        period = max(REPORT_SECONDS, len(self._parts) / REPORTS_PER_SECOND)
        # The odd slot moves on every few seconds, not with every report.
        share = fair_parts(total, wanted, int(now / 5))[report.worker]
        slots = max(0, min(share, total - sum(part.slots for part in others)))
        # Rate goes with demand.
        whole = sum(wanted.values())
        part = rate * report.wanted / whole if whole else 0.0
        hertz = min(part, rate - sum(p.rate for p in others))
        if hertz < LEAST_RATE * rate:  # nothing is left, but for rounding
            hertz = 0.0
        # A cut counts only once the worker confirms it, in its next report.
        mine.slots, mine.rate = max(mine.slots, slots), max(mine.rate, hertz)
        return Grant(slots, hertz, LEASE_SECONDS, period, self.window.shut(now))

    def state(self) -> Traffic:
        """What the workers do, and did so far."""
        counts = list(self._counts.values())
        return Traffic(sum(part.active for part in self._parts.values()), self.window.slots, self.window.rate,
                       Counts(sum(c[0] for c in counts), self._throttled, sum(c[1] for c in counts),
                              sum(c[2] for c in counts), sum(c[3] for c in counts)))


#: Its name until version 0.1; goes with version 0.3.
Report = WorkerState
