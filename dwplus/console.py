"""Progress and errors for people: a live bar on a terminal, plain lines in a log, one sentence for a mistake."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from dwplus.errors import DwplusError

#: Seconds between two progress lines in a log.
QUIET_SECONDS = 5.0


def say(line: str) -> None:
    """A line of output, at once."""
    print(line, flush=True)


@contextlib.contextmanager
def shard_progress() -> Iterator[Callable[[int, int, Counter[str], str], None]]:
    """A progress callback for :func:`dwplus.export.run.export`."""
    if not sys.stdout.isatty():
        started = last = time.monotonic()

        shown = -1

        def log(done: int, total: int, tiles: Counter[str], note: str) -> None:
            nonlocal last, shown
            now = time.monotonic()
            if total and done != shown and (done == total or now - last >= QUIET_SECONDS) or (
                    now - last >= 6 * QUIET_SECONDS):
                last, shown = now, done
                counts = ", ".join(f"{n} {status}" for status, n in sorted(tiles.items()))
                rate = sum(tiles.values()) / max(now - started, 1e-9)
                left = f", {_span((now - started) / done * (total - done))} left" if 0 < done < total else ""
                say(f"shards {done}/{total}: {counts or 'starting'} ({rate:.1f} tiles/s{left}; {note})")

        yield log
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(TextColumn("export"), BarColumn(), MofNCompleteColumn(), TextColumn("shards"),
                  TextColumn("{task.fields[tiles]}"), TimeElapsedColumn(), TextColumn("left"),
                  TimeRemainingColumn()) as bar:
        task = bar.add_task("export", total=None, tiles="")
        started = time.monotonic()

        def show(done: int, total: int, tiles: Counter[str], note: str) -> None:
            counts = ", ".join(f"{n} {status}" for status, n in sorted(tiles.items()))
            rate = sum(tiles.values()) / max(time.monotonic() - started, 1e-9)
            bar.update(task, completed=done, total=max(total, 1) if total else 0,
                       tiles=f"{counts}, {rate:.1f} tiles/s; {note}" if counts else note)

        yield show


@contextlib.contextmanager
def count_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A callback for (done, total)."""
    if not sys.stdout.isatty():
        last = time.monotonic()

        def log(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= QUIET_SECONDS:
                last = time.monotonic()
                say(f"{title} {done}/{total}")

        yield log
        return
    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _span(seconds: float) -> str:
    """A time in the unit people would use."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are one sentence, and whose values may start with a minus (west longitudes)."""

    def error(self, message: str) -> NoReturn:
        """One sentence on stderr, exit code 2."""
        print(f"error: {' '.join(message.split())}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse; ``--region -63,...`` counts as ``--region=-63,...``."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        joined: list[str] = []
        for word in words:
            if re.match(r"-\d", word) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return self.parse_args(joined)


def run(action: Callable[[], int]) -> int:
    """Run an action; a project error becomes one sentence on stderr and its exit code.

    Returns
    -------
    0 done, 1 finished with failures, 2 wrong usage or input, 130 interrupted.
    """
    try:
        return action()
    except DwplusError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: what is exported stays; the same command goes on from here", file=sys.stderr)
        return 130
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{where}; what is exported stays, the same command goes on from here",
              file=sys.stderr)
        return 1
