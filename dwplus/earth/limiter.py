"""One limiter for all requests of a process: slots in flight, requests per second, and trying again what may pass.

The limiter adapts: each time the service says "too many" both numbers shrink by a share, and grow back step by step
(additive increase, multiplicative decrease, as in Jacobson, "Congestion avoidance and control", 1988). Several
processes share one allowance through :mod:`dwplus.earth.sharing`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import tenacity

from dwplus.earth import limits
from dwplus.earth.errors import classify
from dwplus.errors import StopError, TransientError

T = TypeVar("T")
#: Metadata goes before pixels; while pixels wait it takes no more than a share of it.
Lane = Literal["metadata", "pixels"]

#: Attempts at one request while others succeed, and the longest pause between two, s.
ATTEMPTS, LONGEST_PAUSE = 10, 30.0
#: Seconds without a single answer after which the run stops rather than fail tile after tile.
OUTAGE_SECONDS = 600.0
#: What a 429 leaves of slots and rate, at most once in so many seconds.
DECREASE, CALM_SECONDS = 0.7, 1.0
#: Share of the full allowance that comes back each second.
INCREASE = 0.1
#: Seconds after which a waiting request looks again whether it may go, at the latest.
LOOK_SECONDS = 0.5
#: Share of the slots that metadata may take while pixels wait.
METADATA_SHARE = 0.2
#: Share of the slots in force while the service computes with less parallelism for the project, and the seconds after
#: the last answer that said so. How far it slows is not published: a share of ours, so that answers come in time.
RESTRICTED_SHARE, RESTRICTED_SECONDS = 0.25, 60.0


class RateWindow:
    """How much of the allowance is in use: additive increase, multiplicative decrease. Pure, the clock is given.

    Parameters
    ----------
    concurrency : requests in flight, at the most.
    per_second : requests started per second, at the most.
    """

    def __init__(self, concurrency: int, per_second: float) -> None:
        self.concurrency, self.per_second = concurrency, per_second
        self._slots, self._rate = float(concurrency), float(per_second)
        self._calm_until = self._grown = self._shut_until = self._restricted_until = float("-inf")

    @property
    def slots(self) -> int:
        """Requests in flight at the last look at the clock."""
        most = self.concurrency * (RESTRICTED_SHARE if self._grown < self._restricted_until else 1.0)
        return max(1, int(min(self._slots, most)))

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self._rate

    def grow(self, now: float) -> None:
        """Take back a step for the time that passed since the last call or decrease."""
        passed = 0.0 if self._grown == float("-inf") else max(0.0, now - max(self._grown, self._calm_until))
        self._grown = now
        self._slots = min(self.concurrency, self._slots + INCREASE * self.concurrency * passed)
        self._rate = min(self.per_second, self._rate + INCREASE * self.per_second * passed)

    def throttled(self, now: float, retry_after: float | None = None) -> None:
        """The service said "too many"; it may have said for how long (s) to send nothing."""
        self.grow(now)
        self.hold(now, retry_after or 0.0)
        if now >= self._calm_until:  # answers to requests sent before the last decrease say nothing new
            self._slots = max(1.0, self._slots * DECREASE)
            self._rate = max(1.0, self._rate * DECREASE)
            self._calm_until = now + CALM_SECONDS

    def hold(self, now: float, seconds: float) -> None:
        """Send nothing for some seconds."""
        self._shut_until = max(self._shut_until, now + seconds)

    def restrict(self, now: float) -> None:
        """An answer said that the service computes with less parallelism for the project."""
        self._restricted_until = now + RESTRICTED_SECONDS
        self.grow(now)

    def shut(self, now: float) -> float:
        """Seconds for which nothing must be sent."""
        return max(0.0, self._shut_until - now)


@dataclass(frozen=True)
class Counts:
    """What went through a limiter: requests, those that were answered "too many", those that were tried again, the
    seconds the service took for all, and the answers that said that the project is in restricted mode."""

    requests: int = 0
    throttled: int = 0
    retried: int = 0
    seconds: float = 0.0
    restricted: int = 0


@dataclass(frozen=True)
class Traffic:
    """A limiter at a moment: requests in flight, slots and rate (1/s) in force, and what went through so far."""

    active: int
    slots: int
    rate: float
    counts: Counts


class Limiter:
    """Keeps to a number of requests in flight and a rate, in two lanes.

    Parameters
    ----------
    concurrency : requests in flight at once.
    per_second : requests started per second, evenly spaced.
    """

    def __init__(self, concurrency: int = limits.CONCURRENT_REQUESTS,
                 per_second: float = limits.REQUESTS_PER_SECOND) -> None:
        self._window = RateWindow(concurrency, per_second)
        self._changed = threading.Condition()
        self._waiting: dict[Lane, int] = {"metadata": 0, "pixels": 0}
        self._active: dict[Lane, int] = {"metadata": 0, "pixels": 0}
        self._started = float("-inf")  # when the last request was let through
        self._granted: tuple[int, float, float] | None = None  # slots, rate, until when; of a shared allowance
        self._shared = False
        self._ended = ""  # why no grant of a shared allowance comes any more
        self._answered = time.monotonic()
        self.requests = self.retried = self.throttled = self.restricted = 0
        self.seconds = 0.0
        self.asked = 0.0  # the longest Retry-After since it was last passed on, s

    # ------------------------------------------------------------------------------------------------ shared allowance

    def share(self) -> None:
        """From now on wait for grants; until the first, nothing is sent."""
        with self._changed:
            self._shared, self._ended = True, ""

    def end(self, why: str) -> None:
        """No grant will come any more: what waits, and what asks from now on, raises StopError with ``why``."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def grant(self, slots: int, rate: float, seconds: float, shut: float = 0.0) -> None:
        """Take a part of a shared allowance.

        Parameters
        ----------
        slots : requests in flight. rate : requests per second.
        seconds : how long it is good for without another grant.
        shut : seconds to send nothing at all.
        """
        with self._changed:
            now = time.monotonic()
            self._granted = slots, rate, now + seconds
            self._window.hold(now, shut)
            self._changed.notify_all()

    @property
    def demand(self) -> tuple[int, int]:
        """Requests in flight, and those in flight or waiting."""
        with self._changed:
            active = sum(self._active.values())
            return active, active + sum(self._waiting.values())

    @property
    def allowance(self) -> tuple[int, float]:
        """Places and rate (1/s) in force now."""
        with self._changed:
            return self._allowance(time.monotonic())

    def _allowance(self, now: float) -> tuple[int, float]:
        if self._shared:
            if self._granted is None or now > self._granted[2]:
                return 0, 0.0
            return self._granted[:2]
        self._window.grow(now)
        return self._window.slots, self._window.rate

    # ---------------------------------------------------------------------------------------------------------- slots

    @contextmanager
    def slot(self, lane: Lane = "pixels") -> Iterator[None]:
        """Wait for a slot and for the rate.

        Raises
        ------
        StopError
            Where :meth:`end` was called: nothing would ever be granted.
        """
        with self._changed:
            self._waiting[lane] += 1
            try:
                while pause := self._pause(lane):
                    if self._ended:
                        raise StopError(self._ended)
                    self._changed.wait(pause)
            finally:
                self._waiting[lane] -= 1
            self._active[lane] += 1
            self.requests += 1
        began = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self.seconds += time.monotonic() - began
                self._active[lane] -= 1
                self._changed.notify_all()

    def _pause(self, lane: Lane) -> float:
        """Seconds to wait before asking again, 0 to go; takes the next start on the time line when it says go.

        The next start follows from the rate in force now, not from the one at the last start: a share of an allowance
        may be next to nothing for a moment.
        """
        now = time.monotonic()
        slots, rate = self._allowance(now)
        active, waiting = self._active, self._waiting
        if active["metadata"] + active["pixels"] >= slots or rate <= 0:
            return LOOK_SECONDS
        share = max(1, int(METADATA_SHARE * slots))
        if lane == "metadata" and waiting["pixels"] and active["metadata"] >= share:
            return LOOK_SECONDS
        if lane == "pixels" and waiting["metadata"] and active["metadata"] < share:
            return 0.01
        pause = max(self._started + 1.0 / rate - now, self._window.shut(now))
        if pause > 0:
            return min(pause, LOOK_SECONDS)
        self._started = now
        return 0.0

    # ----------------------------------------------------------------------------------------------------- trying again

    def send(self, request: Callable[[], T], lane: Lane = "pixels") -> T:
        """Send one request; try again with back-off and jitter what may pass, raise the rest as project errors.

        Raises
        ------
        EarthError
            The last one, with the server's words.
        StopError
            Where nothing at all was answered for :data:`OUTAGE_SECONDS`.
        """
        began = time.monotonic()

        def once() -> T:
            try:
                with self.slot(lane):
                    answer = request()
            except Exception as error:  # sorted, never swallowed
                found = classify(error)
                self._note(found)
                raise found from error
            with self._changed:
                self._answered = time.monotonic()
            return answer

        def stop(state: tenacity.RetryCallState) -> bool:
            # Where nothing is answered the trouble is not this request's: wait for the service to come back.
            if self._answered > began:
                return state.attempt_number >= ATTEMPTS
            return time.monotonic() - max(began, self._answered) > OUTAGE_SECONDS

        retry = tenacity.Retrying(retry=tenacity.retry_if_exception_type(TransientError), stop=stop, wait=_wait,
                                  reraise=True, before_sleep=self._count_retry)
        try:
            return retry(once)
        except TransientError as error:
            if self._answered > began:
                raise
            raise StopError(f"Earth Engine answered no request for {OUTAGE_SECONDS / 60:.0f} minutes (last: {error}); "
                            "run the same command again when it is back") from error

    def _note(self, error: Exception) -> None:
        with self._changed:
            if isinstance(error, TransientError):
                if error.throttled:
                    self.throttled += 1
                    self.asked = max(self.asked, error.retry_after or 0.0)
                    self._window.throttled(time.monotonic())
                self._window.hold(time.monotonic(), error.retry_after or 0.0)
            else:
                self._answered = time.monotonic()  # a refusal is an answer too

    def restricted_by(self, said: bool) -> None:
        """Take note of an answer: whether it said that the project is in restricted mode."""
        if said:
            with self._changed:
                self.restricted += 1
                self._window.restrict(time.monotonic())

    def _count_retry(self, _: tenacity.RetryCallState) -> None:
        with self._changed:
            self.retried += 1

    def state(self) -> Traffic:
        """The limiter now."""
        with self._changed:
            slots, rate = self._allowance(time.monotonic())
            return Traffic(sum(self._active.values()), slots, rate,
                           Counts(self.requests, self.throttled, self.retried, self.seconds, self.restricted))


_exponential = tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: what the service asked for and a jitter on top, else exponential."""
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    pause = _exponential(state)
    return pause if asked is None else asked + min(pause, 1.0)


#: Its name until version 0.1; goes with version 0.3.
Window = RateWindow
