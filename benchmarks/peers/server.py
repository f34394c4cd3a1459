"""The one server: the embedded Earth in a process of its own, with requests counted, latency and faults set between
runs."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any


class Server:
    """A running server; a context.

    Parameters
    ----------
    remember : answer pixel requests that were answered before from memory, so that the planet's arithmetic does not
        take the cores that the tools are measured on.
    """

    def __init__(self, remember: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, remember), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)

    def reset(self, latency_ms: float = 0, fault_rate: float = 0) -> None:
        """Count from nothing, with this latency and share of faults from now on."""
        self.quiet()
        self._pipe.send(("reset", latency_ms / 1000, fault_rate))
        self._pipe.recv()

    def counts(self) -> dict[str, float]:
        """Since the last reset: ``requests``, ``pixels`` (those for pixels), ``refused`` (429), ``peak`` in flight,
        ``busy`` (s that all requests took together), ``server_cpu`` (s)."""
        self._pipe.send(("counts",))
        found: dict[str, float] = self._pipe.recv()
        return found

    def quiet(self) -> None:
        """Wait until what a killed client left behind is answered."""
        deadline = time.monotonic() + 30
        while self.counts()["active"] and time.monotonic() < deadline:
            time.sleep(0.05)


def _next(pipe: Any) -> Any:
    """The next message; None when there is none to come."""
    try:
        return pipe.recv()
    except EOFError:  # whoever measured is gone
        return None


def _serve(pipe: Any, remember: bool) -> None:
    from dwplus.earth.session import embedded_earth
    from dwplus.embedded_earth import random_faults, serve

    earth = embedded_earth(None)
    handle, compute = earth.handle, earth._compute_pixels
    counts: Counter[str] = Counter()
    answers: dict[str, tuple[str, bytes]] = {}
    lock = threading.Lock()
    active = peak = 0
    busy = 0.0

    def counted(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Any:
        nonlocal active, peak, busy
        with lock:
            active += 1
            peak = max(peak, active)
            counts["requests"] += 1
            counts["pixels"] += ":computePixels" in path or ":getPixels" in path
        began = time.monotonic()
        try:
            answer = handle(method, path, query, headers, body)
        finally:
            with lock:
                active -= 1
                busy += time.monotonic() - began
        with lock:
            counts["refused"] += answer.status == 429
        return answer

    def remembered(request: dict[str, Any], *limits: Any) -> tuple[str, bytes]:
        key = repr(({**request, "workloadTag": None}, limits))  # a tag of each run is no part of the question
        if key not in answers:
            answers[key] = compute(request, *limits)
        return answers[key]

    earth.handle = counted
    if remember:
        earth._compute_pixels = remembered
    server = serve(earth)
    server.start()
    pipe.send(server.url)
    cpu = time.process_time()
    while (message := _next(pipe)) is not None:
        if message[0] == "reset":
            earth.latency_s, earth.faults = message[1], random_faults(message[2], seed=1)
            with lock:
                counts.clear()
                peak, busy = 0, 0.0
            cpu = time.process_time()
            pipe.send(None)
        else:
            with lock:
                pipe.send({"requests": 0, "pixels": 0, "refused": 0, **counts, "active": active, "peak": peak,
                           "busy": busy, "server_cpu": time.process_time() - cpu})
    server.close()
