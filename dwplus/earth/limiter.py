"""One gate for all requests of a process: places in flight, requests per second, and healing what can heal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import tenacity

from dwplus.earth import limits
from dwplus.earth.errors import classify
from dwplus.errors import HealingError

T = TypeVar("T")

#: Attempts at one request, and the longest pause between two, seconds.
ATTEMPTS, LONGEST_PAUSE = 7, 30.0


class Limiter:
    """Keeps to a number of requests in flight and a rate.

    Parameters
    ----------
    concurrency : requests in flight at once.
    per_second : requests started per second, evenly spaced.
    """

    def __init__(self, concurrency: int = limits.CONCURRENT_REQUESTS,
                 per_second: float = limits.REQUESTS_PER_SECOND) -> None:
        self._places = threading.BoundedSemaphore(concurrency)
        self._spacing = 1.0 / per_second
        self._lock = threading.Lock()
        self._next = 0.0
        self.requests = 0
        self.healed = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Wait for a place and for the rate."""
        with self._places:
            with self._lock:
                now = time.monotonic()
                start = max(now, self._next)
                self._next = start + self._spacing
                self.requests += 1
            if start > now:
                time.sleep(start - now)
            yield

    def send(self, request: Callable[[], T]) -> T:
        """Send one request; heal by exponential back-off with jitter what may pass, raise the rest as project errors.

        Raises
        ------
        EarthError
            The last one, with the server's words.
        """
        def once() -> T:
            try:
                with self.place():
                    return request()
            except Exception as error:  # sorted, never swallowed
                raise classify(error) from error

        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(HealingError), stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE), reraise=True,
            before_sleep=self._count_healing)
        return retry(once)

    def _count_healing(self, _: tenacity.RetryCallState) -> None:
        with self._lock:
            self.healed += 1
