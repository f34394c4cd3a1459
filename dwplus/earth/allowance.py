"""One project's allowance on a Dask cluster: :mod:`dwplus.earth.sharing` beside the scheduler, what workers tell it."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dwplus.earth.limiter import Limiter, Traffic
from dwplus.earth.session import EarthConfig, connect_config
from dwplus.earth.sharing import REPORT_SECONDS, Coordinator, Grant, WorkerState

if TYPE_CHECKING:
    import distributed

#: Threads that fetch, for each slot: some decode and compress while the slots are taken again.
THREADS_PER_SLOT = 1.25
#: States of a Dask worker whose tasks still count; one that retires finishes them.
_AT_WORK = ("running", "paused", "init", "closing_gracefully")

_reporting: weakref.WeakSet[Limiter] = weakref.WeakSet()
_lock = threading.Lock()


def fetchers(config: EarthConfig) -> int:
    """Threads of a process that fetch tiles. An embedded Earth in this process computes on the very cores that wait for
    it; any other computes elsewhere."""
    return math.ceil(THREADS_PER_SLOT * config.concurrency) if config.remote else os.cpu_count() or 1


def allow(client: distributed.Client, config: EarthConfig) -> None:
    """Put the allowance of a run's project beside the scheduler; runs of one project on one cluster share it."""
    client.run_on_scheduler(_install, _key(config), config.concurrency, config.per_second)


def traffic(client: distributed.Client, config: EarthConfig) -> Callable[[], Traffic]:
    """A function that tells what all workers of a run do now."""
    key = _key(config)
    return lambda: client.run_on_scheduler(_state, key)


def _key(config: EarthConfig) -> str:
    return config.project or config.world or "planet"


def _install(key: str, concurrency: int, per_second: float, dask_scheduler: Any) -> None:
    coordinators = getattr(dask_scheduler, "dwplus_allowances", None)
    if coordinators is None:
        coordinators = dask_scheduler.dwplus_allowances = {}

        async def exchange(key: str, report: dict[str, Any]) -> dict[str, Any]:
            return asdict(coordinators[key].exchange(WorkerState(**report), time.monotonic()))

        dask_scheduler.handlers["dwplus_allowance"] = exchange
    known = coordinators.get(key)
    if known is None or (known.window.concurrency, known.window.per_second) != (concurrency, per_second):
        coordinators[key] = Coordinator(concurrency, per_second)


def _state(key: str, dask_scheduler: Any) -> Traffic:
    state: Traffic = dask_scheduler.dwplus_allowances[key].state()
    return state


def share_allowance(config: EarthConfig) -> None:
    """In a worker's task: from now on this process keeps to its part of the allowance."""
    import distributed

    limiter = connect_config(config).limiter
    with _lock:
        if limiter in _reporting:
            return
        _reporting.add(limiter)
        limiter.share()
        threading.Thread(target=_report, args=(weakref.ref(limiter), distributed.get_worker(), _key(config)),
                         daemon=True, name="dwplus-allowance").start()


def _report(limiter_of: weakref.ref[Limiter], worker: Any, key: str) -> None:
    """Exchange report and grant with the scheduler until the limiter or the worker is gone."""
    try:
        _exchange(limiter_of, worker, key)
    finally:
        # A worker whose scheduler is lost closes, and its process waits for its tasks: one that waited for a grant for
        # ever would hold its shard against the next run.
        if (limiter := limiter_of()) is not None:
            with _lock:
                _reporting.discard(limiter)
                limiter.end("the Dask worker was closed, or lost its scheduler; what is done stays")


def _exchange(limiter_of: weakref.ref[Limiter], worker: Any, key: str) -> None:
    from distributed.utils import sync

    throttled = 0
    while (limiter := limiter_of()) is not None and worker.status.name in _AT_WORK:
        active, wanted = limiter.demand
        slots, rate = limiter.allowance
        counts = limiter.state().counts
        asked, limiter.asked = limiter.asked, 0.0
        report = WorkerState(worker.address, slots, rate, active, wanted, counts.throttled - throttled, asked,
                        counts.requests, counts.retried, counts.seconds, counts.restricted)
        pause = REPORT_SECONDS
        try:
            grant = Grant(**sync(worker.loop, worker.scheduler.dwplus_allowance, callback_timeout=5, key=key,
                                 report=asdict(report)))
        except (OSError, TimeoutError):
            pass  # the lease runs out by itself, and nothing is sent until the scheduler answers again
        else:
            throttled = counts.throttled
            limiter.grant(grant.slots, grant.rate, grant.seconds, grant.shut)
            pause = grant.report
        del limiter
        time.sleep(pause)
