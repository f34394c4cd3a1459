"""Evaluation: stores and a run in, tables, figures and a page out. ``make evaluate`` runs this file."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from dwplus import console
from dwplus.console import say
from dwplus.errors import InputError


def run(stores: list[str], folder: str, split: str, out: str | None, network: str | None, device: str | None,
        shown: int) -> int:
    """Evaluate, print the tables, say where the page lies."""
    if not stores:
        raise InputError("STORE: give the folder of a store (make export-region makes one)")
    from model.evaluate import evaluate, lines

    beside = Path(folder) if Path(folder).suffix != ".safetensors" else Path(folder).parent
    target = Path(out) if out else beside / f"evaluation_{split}"
    found = evaluate(stores, folder, target, split=split, expect=network, device=device, shown=shown,
                     command=shlex.join(["python", "-m", "pipelines.evaluate", *sys.argv[1:]]), progress=True)
    for line in lines(found):
        say(line)
    say(f"page:  {target / 'index.html'}")
    say(f"figures as numbers:  {target / 'metrics.json'}, {target / 'tiles.csv'}")
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate a trained network on one or more stores.")
    parser.add_argument("--store", nargs="+", default=[], help="folder of a store, or of several")
    parser.add_argument("--run", default="runs/specsar_former", help="folder of a run, or a checkpoint")
    parser.add_argument("--split", default="test", help="train, val, test or all (default test)")
    parser.add_argument("--out", help="folder of the result (default: RUN/evaluation_<split>)")
    parser.add_argument("--model", help="refuse a checkpoint of another network than this")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    parser.add_argument("--shown", type=int, default=8, help="tiles on the page")
    a = parser.parse_args()
    sys.exit(console.run(lambda: run(a.store, a.run, a.split, a.out, a.model, a.device, a.shown)))


if __name__ == "__main__":
    main()
