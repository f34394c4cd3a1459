"""A file layer and a clock that misbehave, for :mod:`benchmarks.chaos`: what it wraps runs in this process and in the
worker processes that this process starts.

    DWPLUS_CHAOS='{"seed": 1, "rate": 0.05, "errors": ["ENOSPC"]}' python -m benchmarks.chaos_layer export PLAN STORE
    DWPLUS_CHAOS=... python -m benchmarks.chaos_layer dask-worker tcp://127.0.0.1:8786 --nthreads 1

Keys: ``errors`` (names of errno that syncs and renames within a store fail with, and ``slow``, which makes them wait),
``rate`` (share of them), ``clock`` (seconds by which the time of day jumps, there and back). Files outside stores are
left alone, and so are those beside a store that say what a run did.
"""

from __future__ import annotations

import errno
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

#: The variable that says what to do; without it nothing is wrapped.
VARIABLE = "DWPLUS_CHAOS"
#: Longest pause of a slow write, s.
SLOW_SECONDS = 0.5


class Trouble:
    """Fails, or waits, now and then."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.random = random.Random(f"{wanted.get('seed', 0)}-{os.getpid()}")
        self.errors, self.rate = wanted.get("errors", []), float(wanted.get("rate", 0))

    def meet(self, path: Any) -> None:
        """What a call that changes a path meets.

        Raises
        ------
        OSError
            Now and then.
        """
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        if ".zarr/" not in f"{text}/" or ".zarr.run" in text or self.random.random() >= self.rate:
            return
        kind = self.random.choice(self.errors)
        if kind == "slow":
            time.sleep(self.random.uniform(0, SLOW_SECONDS))
            return
        number = getattr(errno, kind)
        raise OSError(number, os.strerror(number), text)


def wrapped(call: Callable[..., Any], trouble: Trouble) -> Callable[..., Any]:
    """A call of the operating system that meets trouble first."""
    def run(path: Any, *arguments: Any, **options: Any) -> Any:
        trouble.meet(path)
        return call(path, *arguments, **options)

    return run


def install(wanted: dict[str, Any]) -> None:
    """Wrap what stores are written by, and the time of day."""
    trouble = Trouble(wanted)
    if trouble.errors:
        os.replace, os.rename = wrapped(os.replace, trouble), wrapped(os.rename, trouble)
        sync = os.fsync

        def fsync(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            trouble.meet(os.readlink(f"/proc/self/fd/{number}"))
            sync(file)

        os.fsync = fsync  # type: ignore[assignment]  # its argument has another name
    if jump := float(wanted.get("clock", 0)):
        now = time.time

        def moved() -> float:
            """Before, now, after: in turns of two seconds."""
            true = now()
            return true + jump * (int(true / 2) % 3 - 1)

        time.time = moved


if VARIABLE in os.environ:  # worker processes import this module as their main one
    install(json.loads(os.environ[VARIABLE]))


def main() -> None:
    """The command line of ``dwplus``, or a worker of Dask."""
    if sys.argv[1] == "dask-worker":
        from distributed.cli.dask_worker import main as worker

        sys.argv[1:2] = []
        worker()
        return
    from dwplus.cli import main as command

    command()


if __name__ == "__main__":
    main()
