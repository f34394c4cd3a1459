"""What became of a run, and of its epoch so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Summary:
    """What became of a run.

    Attributes
    ----------
    epochs : done in all. steps : likewise. best_epoch, best_miou : of the kept weights; NaN without validation.
    history : one dict per epoch. stopped : why it ended: ``done``, ``early`` (patience) or ``paused``.
    """

    run: Path
    epochs: int = 0
    steps: int = 0
    best_epoch: int = 0
    best_miou: float = float("nan")
    stopped: str = "done"
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Passed:
    """What an epoch has done so far: steps, their losses and norms, and how many were skipped."""

    steps: int = 0
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: int = 0
