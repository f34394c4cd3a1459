"""Locks in object storage, which has none: an object that is made only where none is, and shows signs of life.

The holder writes it again every few seconds. Who finds it takes it over when it has shown no life for
:data:`STALE_SECONDS` by the server's own clock, or at once when its holder was a process of this machine that is gone.
Every change is a conditional put (``If-None-Match``, ``If-Match``, a generation), so two takers cannot both win. A
holder that could not show life for half that time must not write any more, whoever holds the lock by then.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from dwplus.errors import StopError
from dwplus.store.places import Bucket

#: Seconds between two signs of life, and without one after which a lock counts for nothing.
BEAT_SECONDS, STALE_SECONDS = 10.0, 90.0


class Lease:
    """A lock that is held until :meth:`release`; made by :func:`take`."""

    def __init__(self, place: Bucket, key: str, mark: dict[str, Any], state: dict[str, Any]) -> None:
        self.place, self.key, self._mark, self._state = place, key, mark, state
        self._lived = time.monotonic()
        self._lost = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True, name="dwplus-lease")
        self._thread.start()

    def _live(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            began = time.monotonic()
            with contextlib.suppress(OSError):  # an outage: the next beat may get through
                state = self.place.swap(self.key, _content(self._mark), self._state)
                if state is None:
                    # Our own put may have arrived though its answer did not.
                    found = self.place.look(self.key)
                    if found is None or json.loads(found[0]).get("token") != self._mark["token"]:
                        self._lost = "another run has taken it over"
                        return
                    state = found[1]
                self._state, self._lived = state, began

    def check(self) -> None:
        """Raise StopError unless the lock is surely still held."""
        silent = time.monotonic() - self._lived
        if self._lost or silent > STALE_SECONDS / 2:
            why = self._lost or f"its lock could not be renewed for {silent:.0f} s"
            raise StopError(f"store {self.place.name.removesuffix('.run')}: {why}; nothing more is written, run the "
                            "same command again")

    def release(self) -> None:
        """Give the lock back, unless it was lost."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(StopError, OSError):  # what cannot be removed becomes stale
            self.check()
            self.place.remove(self.key)


def take(place: Bucket, key: str) -> Lease | dict[str, Any]:
    """Take a lock, or say who holds it: ``pid``, ``host``, ``started`` and ``seconds`` since the last sign of life.

    Raises
    ------
    OSError
        Where the bucket cannot be written.
    """
    mark = {"token": uuid.uuid4().hex, "pid": os.getpid(), "host": socket.gethostname(), "machine": _machine(),
            "born": _born(os.getpid()), "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    if (state := place.swap(key, _content(mark), None)) is not None:
        return Lease(place, key, mark, state)
    found = place.look(key)
    if found is None:  # given back in between
        return take(place, key)
    holder, old = json.loads(found[0]), found[1]
    silent = (_server_time(place) - old["last_modified"]).total_seconds()
    free = silent > STALE_SECONDS or _gone(holder)
    if free and (state := place.swap(key, _content(mark), old)) is not None:
        return Lease(place, key, mark, state)
    return {**holder, "seconds": max(silent, 0.0)}


def _content(mark: dict[str, Any]) -> bytes:
    # Another body each time: an entity tag that is the body's hash must change with every sign of life.
    return json.dumps({**mark, "beat": uuid.uuid4().hex}).encode()


def _server_time(place: Bucket) -> dt.datetime:
    key = f"clock-{uuid.uuid4().hex}"
    place.write(key, [b""])
    try:
        found = place.look(key)
        assert found is not None
        moment: dt.datetime = found[1]["last_modified"]
        return moment
    finally:
        place.remove(key)


def _machine() -> str:
    """This boot of this machine, and the space its process numbers mean something in; empty where none can tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process of this machine began, in the kernel's own count; empty where it is no more."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _gone(holder: dict[str, Any]) -> bool:
    """Whether a process of this machine held the lock and is no more; False where that cannot be told."""
    return bool(holder.get("born") and holder["machine"] and holder["machine"] == _machine()
                and _born(holder["pid"]) != holder["born"])
