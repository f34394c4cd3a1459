"""Explanations: a store and a run in, facts and words per tile out. ``make explain`` runs this file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dwplus import console
from dwplus.console import say
from dwplus.errors import InputError


def run(stores: list[str], folder: str, split: str, out: str | None, network: str | None, device: str | None,
        lm: str | None, limit: int | None) -> int:
    """Explain, say where the words lie and who wrote them."""
    if not stores:
        raise InputError("STORE: give the folder of a store (make export-region makes one)")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: must be 1 or more")
    from model.explain import explain_store
    from model.language import language_model

    beside = Path(folder) if Path(folder).suffix != ".safetensors" else Path(folder).parent
    target = Path(out) if out else beside / f"explanations_{split}"
    writer = language_model(lm, device) if lm else None
    found = explain_store(stores, folder, target, split=split, limit=limit, expect=network, device=device,
                          writer=writer, progress=True)
    who = "by the template"
    if lm:
        who = (f"{found['by_model']} by the language model, {found['by_template']} by the template, {found['refused']} "
               "answers refused for a number that the facts do not hold")
    say(f"{found['tiles']} tiles explained, {who}")
    say(f"words:  {target / 'explanations.md'}")
    say(f"facts:  {target / 'explanations.jsonl'}")
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Explain a trained network's maps, tile by tile, from measured facts.")
    parser.add_argument("--store", nargs="+", default=[], help="folder of a store, or of several")
    parser.add_argument("--run", default="runs/specsar_former", help="folder of a run, or a checkpoint")
    parser.add_argument("--split", default="test", help="train, val, test or all (default test)")
    parser.add_argument("--out", help="folder of the result (default: RUN/explanations_<split>)")
    parser.add_argument("--model", help="refuse a checkpoint of another network than this")
    parser.add_argument("--lm", help="folder of a causal language model, or URL of a llama.cpp server (default: none, "
                                     "a template)")
    parser.add_argument("--limit", type=int, help="explain this many tiles only")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    a = parser.parse_args()
    sys.exit(console.run(lambda: run(a.store, a.run, a.split, a.out, a.model, a.device, a.lm, a.limit)))


if __name__ == "__main__":
    main()
