"""Progress: of steps a bar on a terminal, plain lines in a log; of epochs a line, and curves."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dwplus.runtime.console import QUIET_SECONDS, say


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


def percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


def epoch_line(record: dict[str, Any], epochs: int, better: bool) -> str:
    words = [f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.4f}"]
    if "val_miou" in record:
        words.append(f"val mIoU {percent(record['val_miou'])}{' *' if better else ''} OA {percent(record['val_oa'])} "
                     f"F1 {percent(record['val_macro_f1'])}")
    words.append(f"{record['samples_per_s']:.1f} samples/s, {100 * record['wait_share']:.0f} % waiting for data")
    if record["skipped"]:
        words.append(f"{record['skipped']} steps skipped (loss not finite)")
    return ", ".join(words)


@contextlib.contextmanager
def curves(run: Path, wanted: bool) -> Iterator[Any]:
    """A TensorBoard writer, or None where it is not wanted or not installed."""
    writer = None
    if wanted:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            say("tensorboard is not installed, so that no curves are written; pip install dwplus[curves], or set "
                "run.tensorboard to false")
        else:
            writer = SummaryWriter(str(run / "tensorboard"))
    try:
        yield writer
    finally:
        if writer is not None:
            writer.close()
