"""What do training steps cost, their data included, beside another checkout, the published order of operations and a
peer? Prints a table.

    python -m benchmarks.bench_steps --store data/sample.zarr --base ../before --peer ../peer/bin/python

Both sides of a row run in turn, on one thread, each in a process of its own; figures are medians of CPU seconds, so
that other jobs on the machine count little, or of the largest resident memory. ``start`` is a new run up to the end of
its first step, after the imports, on a store whose statistics are kept (those of a run before are, in the store). The
peer is transformers' SegFormer b2, whose Python needs torch and transformers alone; a row without its other side is
measured alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

B2 = {"variant": "b2"}
PUBLISHED = {"plain_attention": True, "plain_decoder": True}


@dataclass(frozen=True)
class Case:
    """A row, or two.

    Attributes
    ----------
    config : of the training. Options that a checkout does not know are left out there. steps : that are timed.
    other : what it is beside. kind : ``train``: from the store; ``pass``: forward and backward of a network alone.
    tile : side of the tiles of a store made for the row; None = the store that is given.
    """

    config: dict[str, Any] = field(default_factory=dict)
    steps: int = 10
    other: Literal["base", "published", "peer"] = "base"
    kind: Literal["train", "pass"] = "train"
    tile: int | None = None
    keys: tuple[str, ...] = ("step",)


def _case(crop: int | None, batch: int, model: dict[str, Any] | None = None, data: dict[str, Any] | None = None,
          run: dict[str, Any] | None = None, **more: Any) -> Case:
    config = {"data": {"crop": crop, **(data or {})}, "optim": {"batch_size": batch}, "run": run or {}}
    return Case(config | ({"model": {"options": model}} if model else {}), **more)


SEVERAL = {"crops_per_tile": 4}
CASES: dict[str, Case] = {
    "small, crop 128, batch 8": _case(128, 8, keys=("start", "step")),
    "small, crop 128, batch 8, 4 windows a tile": _case(128, 8, data=SEVERAL),
    "small, crop 64, batch 8": _case(64, 8, steps=20),
    "small, crop 64, batch 8, 4 windows a tile": _case(64, 8, data=SEVERAL, steps=20, keys=("start", "step")),
    "b2, crop 256, batch 2": _case(256, 2, B2, steps=2),
    "b2, crop 256, batch 2, beside the published order": _case(256, 2, B2, steps=2, other="published"),
    "b2, 512 px, batch 1, peak memory": _case(None, 1, B2, steps=2, tile=512, keys=("step", "peak")),
    "b2, 512 px, batch 1, peak memory, recomputed": _case(None, 1, B2, run={"recompute": True}, steps=2, tile=512,
                                                          keys=("step", "peak")),
    "b2, 256 px, batch 2, forward and backward alone": _case(256, 2, B2, steps=3, other="peer", kind="pass"),
    "b2, 512 px, batch 1, forward and backward alone": _case(512, 1, B2, steps=3, other="peer", kind="pass")}
#: What is measured: its unit, and how it is written.
UNITS = {"start": ("CPU s", "{:.2f}"), "step": ("CPU s", "{:.3f}"), "peak": ("MB", "{:.0f}")}
#: Bands of the passes: Sentinel-2's and Sentinel-1's.
BANDS = (10, 2)


def train(store: str, case: Case) -> dict[str, float]:
    """A case of a training, in the checkout that is on the path."""
    import torch

    from model.config import load_config
    from model.distributed import World
    from model.loader import Loader
    from model.train import Trainer

    part, run = {**case.config["data"], "threads": 1}, {**case.config["run"], "tensorboard": False}
    try:
        made = load_config("small", {**case.config, "data": part, "run": run})
    except Exception:  # noqa: BLE001  an older checkout, which does not know the option
        part.pop("crops_per_tile", None)
        run.pop("recompute", None)
        made = load_config("small", {**case.config, "data": part, "run": run})
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        trainer = Trainer([store], Path(folder) / "run", made, World(0, 1, torch.device("cpu")))
        several = getattr(trainer.sampler, "windows", 1) > 1
        options: dict[str, Any] = {"keep": 2 * trainer.sampler.group} if several else {}
        batches = trainer.sampler.batches(0, 0, 1, made.optim.batch_size)[:case.steps + 2]
        trainer.net.train()
        marks = []
        for batch in Loader(trainer.data, batches, threads=1, ahead=1, **options):
            trainer._step([batch])
            marks.append(time.process_time())
    return {"start": marks[0] - began, "step": (marks[-1] - marks[1]) / (len(marks) - 2),
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _passes(forward: Callable[[], Any], label: Any, steps: int) -> dict[str, float]:
    """Logits at the label's size, cross entropy, backward."""
    import torch.nn.functional as F

    marks = []
    for _ in range(steps + 2):
        F.cross_entropy(forward(), label).backward()
        marks.append(time.process_time())
    return {"step": (marks[-1] - marks[1]) / steps}


def ours(case: Case) -> dict[str, float]:
    """Forward and backward of SpecSAR-Former b2, its weights laid out as a training lays them."""
    import torch

    import model
    from model.networks.layers import channels_last

    side, batch = case.config["data"]["crop"], case.config["optim"]["batch_size"]
    torch.manual_seed(0)
    net = model.build("specsar_former", **case.config["model"]["options"]).train()
    channels_last(net)
    s2, s1 = (torch.randn(batch, bands, side, side) for bands in BANDS)
    return _passes(lambda: net(s2, s1), torch.randint(0, 9, (batch, side, side)), case.steps)


def peer(case: Case) -> dict[str, float]:
    """The same of transformers' SegFormer b2, whose logits are of a quarter of the side."""
    import torch
    import torch.nn.functional as F
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    side, batch = case.config["data"]["crop"], case.config["optim"]["batch_size"]
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_channels": sum(BANDS), "num_labels": 9, "depths": [3, 4, 6, 3],
                               "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
    net = SegformerForSemanticSegmentation(SegformerConfig(**options)).train()
    pixels = torch.randn(batch, sum(BANDS), side, side)
    return _passes(lambda: F.interpolate(net(pixels).logits, size=(side, side), mode="bilinear", align_corners=False),
                   torch.randint(0, 9, (batch, side, side)), case.steps)


def child(store: str, name: str, side: str) -> None:
    """One side of a case."""
    import torch

    torch.set_num_threads(1)
    case = CASES[name]
    if side == "published":
        case.config["model"] = {"options": {**B2, **PUBLISHED}}
    measure = {"own": ours, "peer": peer}[side] if case.kind == "pass" else partial(train, store)
    print("RESULT", json.dumps(measure(case)))


def measured(python: str, tree: str, store: str, name: str, side: str) -> dict[str, float]:
    """A side of a case in a process of its own."""
    path = {**os.environ, "PYTHONPATH": tree, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([python, "-W", "ignore", str(Path(__file__).resolve()), "--child", name, "--side", side,
                           "--store", store], cwd=tree, env=path, capture_output=True, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise SystemExit(f"{name} ({side}) in {tree}: ended with {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(line.removeprefix("RESULT"))
    return found


def row(name: str, store: str, rounds: int, base: str | None, peer_python: str | None) -> None:
    """Measure a case and print its lines."""
    case, here = CASES[name], (sys.executable, str(Path.cwd()))
    sides = {"own": here}
    if case.other == "published":
        sides["published"] = here
    elif case.other == "peer" and peer_python:
        sides["peer"] = peer_python, here[1]
    elif case.other == "base" and base:
        sides["base"] = sys.executable, base
    with tempfile.TemporaryDirectory() as folder:
        if case.tile is not None:
            from benchmarks.bench_model import BANDS as names
            from benchmarks.bench_model import make_store

            store = str(make_store(Path(folder) / "made.zarr", tiles=8, size=case.tile, bands=names))
        found = [{side: measured(*where, store, name, side) for side, where in sides.items()} for _ in range(rounds)]
    for key in case.keys:
        unit, form = UNITS[key]
        own, *other = [statistics.median(one[side][key] for one in found) for side in sides]
        beside = f"{form.format(other[0])} | {other[0] / own:.2f}" if other else "- | -"
        print(f"| {name} | {key}, {unit} | {form.format(own)} | {case.other} | {beside} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="data/sample.zarr")
    parser.add_argument("--base", help="folder of another checkout; none = this one alone")
    parser.add_argument("--peer", help="Python of an environment that has transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--side", default="own", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        child(a.store, a.child, a.side)
        return
    print("| case | what | this build | beside | there | ratio |\n|---|---|---|---|---|---|")
    for name in a.cases:
        row(name, str(Path(a.store).resolve()), a.rounds, a.base and str(Path(a.base).resolve()),
            a.peer and str(Path(a.peer).absolute()))


if __name__ == "__main__":
    main()
