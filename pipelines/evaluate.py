"""Evaluation: stores and a run in, tables, figures and a page out: ``dwplus evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dwplus.runtime import console
from dwplus.runtime.console import say
from pipelines.defaults import run_folder, stores_to_read
from pipelines.door import run_command


def run(stores: list[str], folder: str | None, split: str, out: str | None, network: str | None, device: str | None,
        shown: int, protocol: dict[str, Any] | None = None, flips: bool = False) -> int:
    """Evaluate, print the tables, say where the page lies."""
    stores, folder = stores_to_read(stores), run_folder(folder, network)
    from model.evaluate import evaluate, lines
    from model.metrics import Protocol

    beside = Path(folder) if Path(folder).suffix != ".safetensors" else Path(folder).parent
    target = Path(out) if out else beside / f"evaluation_{split}"
    found = evaluate(stores, folder, target, split=split, expect=network, device=device, shown=shown,
                     command=console.command(), progress=True,
                     protocol=Protocol(**protocol) if protocol else None, flips=flips)
    for line in lines(found):
        say(line)
    say(f"page:  {target / 'index.html'}")
    say(f"figures as numbers:  {target / 'metrics.json'}, {target / 'tiles.csv'}")
    return 0


if __name__ == "__main__":
    run_command("evaluate")
