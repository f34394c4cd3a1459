"""The rows of BENCHMARKS.md that need a GPU, measured in one go: ``make gpu-check``. Prints a table, writes JSON as it
goes.

    python -m benchmarks.gpu_check --json gpu-check.json

Forward passes of the published network; training steps of it from a store made for the purpose, its data included; how
much of that time the GPU is busy; the same steps by the first build, which is taken from this checkout's history. A row
that cannot be measured says why and stays open. Without a GPU one sentence says so, and the exit status is 2; failed
tests leave 1. ``--device cpu --quick`` tries the machinery on small sizes: such figures are of no row.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: The first build, whose eager step a GPU's is held against.
FIRST = "12d83e5"
#: Targets: images a second of 512 px in bf16, share of the time the GPU is busy, times as quick as the first build.
IMAGES, BUSY, TIMES = 400.0, 0.95, 2.0
NO_GPU = 2


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    variant : of the network. side : of tiles, px. tiles : of the store. batch : samples of a step. batches : of forward
        passes. epochs : that are timed, after one that warms up. seconds : of a forward figure. threads : that read.
    """

    variant: str
    side: int
    tiles: int
    batch: int
    batches: tuple[int, ...]
    epochs: int
    seconds: float
    threads: int = 12


FULL = Size("b2", 512, 64, 4, (1, 8, 32), 3, 2.0)
QUICK = Size("small", 64, 8, 2, (1,), 1, 0.1, 2)


@dataclass
class Row:
    """A row of the table; without a value it is open, for the reason that it says."""

    row: str
    target: float
    unit: str
    value: float | None = None
    reason: str = ""

    @property
    def line(self) -> str:
        """As Markdown."""
        if self.value is None:
            return f"| {self.row} | open: {self.reason} | {self.target:g} {self.unit} | |"
        met = "met" if self.value >= self.target else "**missed**"
        return f"| {self.row} | {self.value:.3g} | {self.target:g} {self.unit} | {met} |"


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Share of the time from the first start to the last end that lies within any of some spans; 0 without any."""
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    busy, (start, end) = 0.0, ordered[0]
    for later, until in ordered[1:]:
        if later > end:
            busy, start, end = busy + end - start, later, until
        end = max(end, until)
    whole = end - ordered[0][0]
    return (busy + end - start) / whole if whole else 0.0


def steps(store: str, device: str, size: Size) -> dict[str, Any]:
    """Training steps from a store, in the checkout that is on the path: seconds a step with its data, seconds on a
    batch that lies on the device, share of the time the device is busy (None = cannot be told).

    Every build is taken as it comes: compiled where it compiles by itself.
    """
    import torch

    from model.config import load_config
    from model.distributed import World
    from model.loader import Loader, device_batches
    from model.train import Trainer

    where = torch.device(device, 0) if device == "cuda" else torch.device(device)
    config = load_config("small", {
        "model": {"options": {"variant": size.variant}}, "data": {"crop": None, "threads": size.threads, "ahead": 4},
        "optim": {"batch_size": size.batch}, "run": {"tensorboard": False}})
    last: list[Any] = []

    def epoch(trainer: Any, number: int) -> int:
        mine = trainer.sampler.batches(number, 0, 1, size.batch)
        loader = Loader(trainer.data, mine, epoch=number, threads=size.threads, ahead=4, pin=device == "cuda")
        done = 0
        for batch in device_batches(loader, where):
            trainer._step([batch])
            last[:], done = [batch], done + 1
        return done

    def wait() -> float:
        if device == "cuda":
            torch.cuda.synchronize(where)
        return time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer([store], Path(folder) / "run", config, World(0, 1, where))
        trainer.net.train()
        epoch(trainer, 0)
        began = wait()
        count = sum(epoch(trainer, 1 + i) for i in range(size.epochs))
        middle = wait()
        for _ in range(count):
            trainer._step([last[0]])
        alone = (wait() - middle) / count
        busy = _busy(lambda: epoch(trainer, 1 + size.epochs), wait) if device == "cuda" else None
    return {"step": (middle - began) / count, "alone": alone, "busy": busy, "steps": count,
            "peak_mb": torch.cuda.max_memory_allocated(where) / 1e6 if device == "cuda" else None}


def _busy(action: Any, wait: Any) -> float | None:
    """Share of the time in which any kernel or copy runs, by the profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        action()
        wait()
    spans = [(e.time_range.start, e.time_range.end) for e in seen.events() or () if e.device_type.name == "CUDA"]
    return covered(spans) if spans else None  # a machine may forbid the counters


def steps_of(tree: Path, store: str, device: str, quick: bool) -> dict[str, Any]:
    """The steps of a checkout, in a process of its own.

    Raises
    ------
    RuntimeError
        With the last of what it said, where it fails.
    """
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--child", store, "--device", device,
               *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True,
                          text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:200])
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
    return found


@contextlib.contextmanager
def first_build(folder: Path) -> Iterator[Path]:
    """A checkout of the first build, from the history of this one; it is taken away again.

    Raises
    ------
    RuntimeError
        Where there is no such history.
    """
    tree = folder / "first"
    try:
        made = subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), FIRST], capture_output=True,
                              text=True)
    except FileNotFoundError:
        raise RuntimeError(f"git, which would give commit {FIRST}, is not installed") from None
    if made.returncode:
        raise RuntimeError(f"commit {FIRST} is not in this checkout's history; take a whole clone")
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], capture_output=True)


def check(device: str, size: Size, quick: bool, keep: Any) -> list[Row]:
    """Measure all rows; ``keep`` is given every figure as it comes."""
    import torch

    from benchmarks import bench_model

    images = Row(f"forward bf16, {size.variant}, {size.side} px", IMAGES, "images/s")
    busy = Row(f"busy share, training {size.variant} from a store", BUSY, "of the time")
    times = Row(f"step, {size.variant}, {size.side} px, batch {size.batch}, beside {FIRST} eager", TIMES, "times")
    where = torch.device(device)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    found = bench_model.forward(where, size.side, size.batches, size.seconds, device == "cuda", size.variant)
    keep("forward", found)
    images.value = max((r["images_per_s"] for r in found if r["mode"].startswith("bf16") and "images_per_s" in r),
                       default=None)
    images.reason = "no pass in bf16 came to its end"
    del found
    with tempfile.TemporaryDirectory() as folder:
        try:
            store = str(bench_model.make_store(Path(folder) / "made.zarr", tiles=size.tiles, size=size.side,
                                               bands=bench_model.BANDS, splits=("train",), shard=4))
            own = steps_of(Path.cwd(), store, device, quick)
        except (ImportError, RuntimeError) as error:  # a GPU machine may lack what writes stores
            busy.reason = times.reason = f"a training from a store does not run here ({error})"
            return [images, busy, times]
        keep("step", own)
        busy.value, busy.reason = own["busy"], "the profiler sees no kernel on this machine"
        try:
            with first_build(Path(folder)) as tree:
                before = steps_of(tree, store, device, quick)
                keep("step_first_build", before)
                times.value = before["step"] / own["step"]
        except RuntimeError as error:
            times.reason = str(error)
    return [images, busy, times]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures into this file")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    a = parser.parse_args()
    size = QUICK if a.quick else FULL
    if a.child:
        print("RESULT", json.dumps(steps(a.child, a.device, size)))
        return 0
    import torch

    if a.device == "cuda" and not torch.cuda.is_available():
        print("error: PyTorch finds no CUDA device here, so that no row of a GPU can be measured; `dwplus doctor` says "
              "more", file=sys.stderr)
        return NO_GPU
    name = torch.cuda.get_device_name() if a.device == "cuda" else "cpu"
    found: dict[str, Any] = {
        "device": name, "torch": torch.__version__, "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.gpu_check", *sys.argv[1:]])}

    def keep(key: str, value: Any) -> None:
        # As it goes: a run that is cut off leaves what it has measured.
        found[key] = value
        if a.json:
            Path(a.json).write_text(json.dumps(found, indent=1) + "\n")

    tests = 0
    if a.device == "cuda":
        tests = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/gpu"]).returncode
        keep("tests", "passed" if not tests else f"ended with {tests}")
    rows = check(a.device, size, a.quick, keep)
    keep("rows", [asdict(row) for row in rows])
    print(f"{name}, torch {torch.__version__}, {found['date'][:10]}, `{found['command']}`\n")
    print("| row | measured | target | |\n|---|---|---|---|", *(row.line for row in rows), sep="\n", flush=True)
    return min(tests, 1)


if __name__ == "__main__":
    sys.exit(main())
