"""Comparison: a store and a set of networks in, one table out. ``make compare`` runs this file."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from dwplus import console
from dwplus.console import say
from dwplus.errors import InputError


def run(stores: list[str], models: list[str], out: str, name: str | None, settings: list[str], seeds: list[int],
        split: str, device: str | None, seconds: float) -> int:
    """Train, evaluate, print the table, keep it."""
    if not stores:
        raise InputError("STORE: give the folder of a store (make export-region makes one)")
    from model.compare import DEFAULT, compare, lines
    from pipelines.train import config_for

    command = shlex.join(["python", "-m", "pipelines.compare", *sys.argv[1:]])
    found = compare(stores, out, config_for(name, None, settings), models or DEFAULT, seeds=seeds, split=split,
                    device=device, seconds=seconds, command=command)
    table = "\n".join(lines(found))
    (Path(out) / "compare.md").write_text(table + "\n")
    print(table, flush=True)
    say(f"kept:  {Path(out) / 'compare.md'}, {Path(out) / 'compare.json'}")
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and evaluate several networks under one budget.")
    parser.add_argument("--store", nargs="+", default=[], help="folder of a store, or of several")
    parser.add_argument("--models", nargs="+", default=[], metavar="NETWORK[:VARIANT][,KEY=VALUE...]",
                        help="networks; the first is what the others are held against (default: all the usual ones). "
                             "Keys with a dot are the config's (loss.name=rift), others the network's (orm=false)")
    parser.add_argument("--out", default="runs/compare", help="folder of the runs and the table")
    parser.add_argument("--config", help="shipped config or YAML file (default: specsar_former on a GPU, else small)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="replace a value of the config for all, such as optim.epochs=10")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="each network is trained once per seed")
    parser.add_argument("--split", default="test", help="train, val, test or all (default test)")
    parser.add_argument("--speed-seconds", type=float, default=3.0, help="that the speed of each is measured")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    a = parser.parse_args()
    sys.exit(console.run(lambda: run(a.store, a.models, a.out, a.config, a.settings, a.seeds, a.split, a.device,
                                 a.speed_seconds)))


if __name__ == "__main__":
    main()
