"""Progress and errors for people: a live bar on a terminal, plain lines in a log, one sentence for a mistake."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dwplus.errors import DwplusError, InputError

#: Seconds between two progress lines in a log.
QUIET_SECONDS = 5.0
#: Modules by the extra that installs them (setup.cfg); the first that holds a module is named for it.
EXTRAS = {
    "report": ("matplotlib", "PIL"),
    "import": ("h5py",),
    "annotations": ("openpyxl",),
    "maps": ("folium", "matplotlib", "PIL"),
    "train": ("torch", "safetensors", "tensorstore", "matplotlib", "PIL"),
    "notebooks": ("geemap", "folium", "matplotlib"),
}


def say(line: str) -> None:
    """A line of output, at once."""
    print(line, flush=True)


def program() -> str:
    """How the user calls ``dwplus``, for commands to go on with."""
    called = Path(sys.argv[0])
    if called.name != "dwplus":
        return "python -m dwplus"
    return "dwplus" if shutil.which("dwplus") == str(called) else str(called)


def command() -> str:
    """The command line of this process, for files that say how they were made."""
    return shlex.join(["dwplus", *sys.argv[1:]])


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


def needs(*extras: str) -> None:
    """Refuse to begin where packages of these extras are missing.

    Raises
    ------
    InputError
        One sentence with the command that installs them.
    """
    if words := lacking(*extras):
        raise InputError(words)


def lacking(*extras: str) -> str:
    """The sentence that names the extras of which a package is missing; empty where all are there."""
    return _needed([extra for extra in extras if absent(extra)])


def absent(extra: str) -> list[str]:
    """Modules of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def _needed(extras: Sequence[str]) -> str:
    names = " and ".join(f'"{extra}"' for extra in extras)
    return f"needs the extra{'s' * (len(extras) > 1)} {names}: pip install 'dwplus[{','.join(extras)}]'" * bool(extras)


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
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((extra for extra, names in EXTRAS.items() if module in names), None)
        if extra is None:
            raise
        print(f"error: {_needed([extra])} ({module} is not installed)", file=sys.stderr)
        return InputError.exit_code
    except KeyboardInterrupt:
        print("interrupted: what is exported stays; the same command goes on from here", file=sys.stderr)
        return 130
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{where}; what is exported stays, the same command goes on from here",
              file=sys.stderr)
        return 1
