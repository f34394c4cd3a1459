"""Comparison: a store and a set of networks in, one table out: ``dwplus compare``."""

from __future__ import annotations

from pathlib import Path

from dwplus.runtime import console
from dwplus.runtime.console import say
from pipelines.defaults import stores_to_read
from pipelines.door import run_command


def run(stores: list[str], models: list[str], out: str, name: str | None, settings: list[str], seeds: list[int],
        split: str, device: str | None, seconds: float) -> int:
    """Train, evaluate, print the table, keep it."""
    stores = stores_to_read(stores)
    from model import controls

    controls.check()
    from model.compare import DEFAULT, compare, lines
    from pipelines.train import config_for
    from pipelines.truth import truth_of

    found = compare(stores, out, config_for(name, None, settings), models or DEFAULT, seeds=seeds, split=split,
                    device=device, seconds=seconds, command=console.command(), truth=truth_of(stores))
    table = "\n".join(lines(found))
    (Path(out) / "compare.md").write_text(table + "\n")
    print(table, flush=True)
    say(f"kept:  {Path(out) / 'compare.md'}, {Path(out) / 'compare.json'}")
    return 0


if __name__ == "__main__":
    run_command("compare")
