"""What a run leaves for people to read: a line for every attempt at a tile (JSONL), and a log of the run.

Both lie in ``STORE.run`` beside the store (in a bucket as objects below ``attempts.jsonl/`` and ``run.log/``, one an
entry) and decide nothing: a resume trusts the statuses in the store alone.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

from dwplus.errors import scrubbed
from dwplus.store.places import Place


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class Ledger:
    """Appends to ``attempts.jsonl`` and ``run.log``.

    Parameters
    ----------
    place : of the run's files.
    run : name of this run, in every line.
    """

    def __init__(self, place: Place, run: str) -> None:
        self.place, self.run = place, run

    def attempts(self, rows: Iterable[dict[str, Any]]) -> None:
        """One line for each attempt, in one write."""
        lines = [json.dumps({"time": _now(), "run": self.run, **row}) + "\n" for row in rows]
        self.place.append("attempts.jsonl", scrubbed("".join(lines)))

    def log(self, line: str) -> None:
        """A dated line."""
        self.place.append("run.log", scrubbed(f"{_now()} {self.run} {line}\n"))
