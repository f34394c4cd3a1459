"""Explanations: a store and a run in, facts and words per tile out: ``dwplus explain``."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import InputError
from dwplus.runtime.console import say
from pipelines.defaults import run_folder, stores_to_read
from pipelines.door import run_command


def run(stores: list[str], folder: str | None, split: str, out: str | None, network: str | None, device: str | None,
        lm: str | None, limit: int | None) -> int:
    """Explain, say where the words lie and who wrote them."""
    stores, folder = stores_to_read(stores), run_folder(folder, network)
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


if __name__ == "__main__":
    run_command("explain")
