"""Progress and errors for people: a live bar on a terminal, plain lines in a log, one sentence for a mistake."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from dwplus.errors import DwplusError, InputError, scrubbed

#: Seconds between two progress lines in a log.
QUIET_SECONDS = 5.0
#: Modules by the extra that installs them (setup.cfg); the first that holds a module is named for it.
EXTRAS = {
    "report": ("matplotlib", "PIL"),
    "import": ("h5py",),
    "classify": ("sklearn",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "annotations": ("openpyxl",),
    "maps": ("matplotlib", "PIL"),
    "train": ("torch", "safetensors", "tensorstore", "matplotlib", "PIL"),
    "notebooks": ("geemap", "matplotlib"),
    "view": ("bokeh", "matplotlib"),
}


def say(line: str) -> None:
    """A line of output, at once; without secrets."""
    print(scrubbed(line), flush=True)


def complain(line: str) -> None:
    """A sentence on stderr; without secrets."""
    print(scrubbed(line), file=sys.stderr, flush=True)


def trace(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """What Python prints of an error that nobody foresaw, without secrets (a ``sys.excepthook``)."""
    complain("".join(traceback.format_exception(kind, error, frames)).rstrip())


def program() -> str:
    """How the user calls ``dwplus``, for commands to go on with."""
    called = Path(sys.argv[0])
    if called.name != "dwplus":
        return "python -m dwplus"
    return "dwplus" if shutil.which("dwplus") == str(called) else str(called)


def command() -> str:
    """The command line of this process, for files that say how they were made."""
    return scrubbed(shlex.join(["dwplus", *sys.argv[1:]]))


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


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends as Ctrl-C does, but for the word and the exit code."""


def stopped(stop: KeyboardInterrupt, words: str) -> int:
    """Say that somebody ended this, and what stays.

    Returns
    -------
    The exit code: 130 after Ctrl-C, 143 after SIGTERM.
    """
    ended = isinstance(stop, Terminated)
    complain(f"{'terminated' if ended else 'interrupted'}: {words}")
    return 143 if ended else 130


def run(action: Callable[[], int]) -> int:
    """Run an action; a project error becomes one sentence on stderr and its exit code. SIGTERM ends it as Ctrl-C does.

    Returns
    -------
    0 done, 1 finished with failures, 2 wrong usage or input, 130 interrupted, 141 nobody reads on, 143 terminated.
    """
    try:
        with terminated_as_interrupted():
            return action()
    except DwplusError as error:
        complain(f"error: {' '.join(str(error).split())}")
        return error.exit_code
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((extra for extra, names in EXTRAS.items() if module in names), None)
        if extra is None:
            raise
        complain(f"error: {_needed([extra])} ({module} is not installed)")
        return InputError.exit_code
    except KeyboardInterrupt as stop:
        return stopped(stop, "what is exported stays; the same command goes on from here")
    except OSError as error:
        if isinstance(error, BrokenPipeError) and unheard():
            return 128 + signal.SIGPIPE
        where = f" ({error.filename})" if error.filename else ""
        complain(f"error: {error.strerror or error}{where}; what is exported stays, the same command goes on from here")
        return 1


def unheard() -> bool:
    """Whether stdout has lost its reader, as in ``| head``; nothing more is written to it then."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in watch.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """While in it, SIGTERM raises :class:`Terminated` in the main thread, once: a second one ends the process at once,
    as it would without us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
