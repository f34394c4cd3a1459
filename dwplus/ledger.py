"""What a run leaves for people to read: a line for every attempt at a tile (JSONL), and a log of the run.

Both lie in ``STORE.run`` beside the store and decide nothing: a resume trusts the statuses in the store alone.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class Ledger:
    """Appends to ``attempts.jsonl`` and ``run.log``.

    Parameters
    ----------
    folder : the run folder.
    run : name of this run, in every line.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.run = run
        self._attempts, self._log = folder / "attempts.jsonl", folder / "run.log"

    def attempts(self, rows: Iterable[dict[str, Any]]) -> None:
        """One line for each attempt, in one write."""
        lines = [json.dumps({"time": _now(), "run": self.run, **row}) + "\n" for row in rows]
        with self._attempts.open("a", encoding="utf-8") as file:
            file.write("".join(lines))

    def log(self, line: str) -> None:
        """A dated line."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{_now()} {self.run} {line}\n")
