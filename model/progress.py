"""Progress of steps: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from dwplus.console import QUIET_SECONDS, say


@contextlib.contextmanager
def step_progress(title: str, total: int, shown: bool = True) -> Iterator[Callable[[int, str], None]]:
    """A callback for (steps done, words beside them).

    Parameters
    ----------
    shown : False for processes that keep silent.
    """
    if not shown:
        yield lambda done, words: None
        return
    if not sys.stdout.isatty():
        last = time.monotonic()

        def log(done: int, words: str) -> None:
            nonlocal last
            if (now := time.monotonic()) - last >= QUIET_SECONDS:
                last = now
                say(f"{title}: {done}/{total}{', ' if words else ''}{words}")

        yield log
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"),
                  TextColumn("left"), TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task(title, total=total, words="")
        yield lambda done, words: bar.update(task, completed=done, words=words)
