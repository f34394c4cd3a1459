"""How much CPU does a training step take, its data included, beside another checkout of this project? Prints a table.

    python -m benchmarks.bench_steps --store data/sample.zarr --base ../before

Both run in turn, on one thread, each in a process of its own; figures are medians of CPU seconds, so that other jobs on
the machine count little. ``start`` is a new run up to the end of its first step, after the imports, on a store whose
statistics are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Name -> (config, steps that are timed). Options that a checkout does not know are left out there.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "small, crop 128, batch 8": ({"data": {"crop": 128}, "optim": {"batch_size": 8}}, 10),
    "small, crop 128, batch 8, 4 windows a tile": (
        {"data": {"crop": 128, "crops_per_tile": 4}, "optim": {"batch_size": 8}}, 10),
    "small, crop 64, batch 8": ({"data": {"crop": 64}, "optim": {"batch_size": 8}}, 20),
    "small, crop 64, batch 8, 4 windows a tile": (
        {"data": {"crop": 64, "crops_per_tile": 4}, "optim": {"batch_size": 8}}, 20),
    "b2, crop 256, batch 2": (
        {"model": {"options": {"variant": "b2"}}, "data": {"crop": 256}, "optim": {"batch_size": 2}}, 2)}


def child(store: str, name: str) -> None:
    """One case, in the checkout that is on the path: CPU seconds a step, and of the start."""
    import torch

    from model.config import load_config
    from model.distributed import World
    from model.loader import Loader
    from model.train import Trainer

    torch.set_num_threads(1)
    config, steps = CASES[name]
    part = {**config["data"], "threads": 1}
    try:
        made = load_config("small", {**config, "data": part, "run": {"tensorboard": False}})
    except Exception:  # noqa: BLE001  an older checkout, which does not know the option
        part.pop("crops_per_tile")
        made = load_config("small", {**config, "data": part, "run": {"tensorboard": False}})
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        trainer = Trainer([store], Path(folder) / "run", made, World(0, 1, torch.device("cpu")))
        several = getattr(trainer.sampler, "windows", 1) > 1
        options: dict[str, Any] = {"keep": 2 * trainer.sampler.group} if several else {}
        batches = trainer.sampler.batches(0, 0, 1, made.optim.batch_size)[:steps + 2]
        trainer.net.train()
        marks = []
        for batch in Loader(trainer.data, batches, threads=1, ahead=1, **options):
            trainer._step([batch])
            marks.append(time.process_time())
    print("RESULT", json.dumps({"start": marks[0] - began, "step": (marks[-1] - marks[1]) / (len(marks) - 2)}))


def measured(tree: str, store: str, name: str) -> dict[str, float]:
    """A case in a checkout."""
    path = {**os.environ, "PYTHONPATH": tree, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--child", name, "--store",
                           store], cwd=tree, env=path, capture_output=True, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise SystemExit(f"{name} in {tree}: ended with {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(line.removeprefix("RESULT"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="data/sample.zarr")
    parser.add_argument("--base", help="folder of another checkout; none = this one alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        child(a.store, a.child)
        return
    store, trees = str(Path(a.store).resolve()), [str(Path.cwd()), *([a.base] if a.base else [])]
    print("| case | start, CPU s | step, CPU s | base's start | base's step | ratio of the steps |\n"
          "|---|---|---|---|---|---|")
    for name in a.cases:
        rounds = [[measured(tree, store, name) for tree in trees] for _ in range(a.rounds)]
        (start, step), *base = [[statistics.median(r[i][key] for r in rounds) for key in ("start", "step")]
                                for i in range(len(trees))]
        other = f"{base[0][0]:.2f} | {base[0][1]:.3f} | {base[0][1] / step:.2f}" if base else "- | - | -"
        print(f"| {name} | {start:.2f} | {step:.3f} | {other} |", flush=True)


if __name__ == "__main__":
    main()
