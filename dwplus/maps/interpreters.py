"""Several people label the same points: how far they agree, and which label stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

#: What an interpreter says who cannot decide; such points count as not labelled.
CANNOT_TELL = "cannot tell"
#: Which label stands where interpreters differ: that of most (a tie: none), only what all say, or the last file's.
RULES = ("majority", "unanimous", "last")


def kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Cohen's kappa of two interpreters: agreement beyond chance; NaN where both always say the same one thing.

    Source: Cohen 1960, Educational and Psychological Measurement 20, 37-46.
    """
    a, b = pd.Series(list(one)), pd.Series(list(other))
    observed = float((a == b).mean())
    shares_a, shares_b = a.value_counts(normalize=True), b.value_counts(normalize=True)
    expected = float(sum(share * shares_b.get(name, 0.0) for name, share in shares_a.items()))
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def agreement(labels: Mapping[str, pd.Series]) -> list[str]:
    """How far each two interpreters agree, one line each.

    Parameters
    ----------
    labels : of each interpreter, by point.
    """
    lines = []
    for (first, one), (second, other) in combinations(labels.items(), 2):
        both = one.index.intersection(other.index)
        known = both[(one[both] != CANNOT_TELL) & (other[both] != CANNOT_TELL)]
        if not len(known):
            lines.append(f"{first} and {second}: no point labelled by both")
            continue
        same = float((one[known] == other[known]).mean())
        value = kappa(one[known].tolist(), other[known].tolist())
        words = "no kappa, both say one class only" if np.isnan(value) else f"kappa {value:.2f}"
        lines.append(f"{first} and {second}: {same:.0%} of {len(known)} points alike, {words}")
    return lines


def consensus(labels: Mapping[str, pd.Series], rule: str) -> pd.Series:
    """The label that stands, by point; :data:`CANNOT_TELL` where none does.

    Parameters
    ----------
    rule : one of :data:`RULES`. An interpreter who cannot tell has no vote.
    """
    frame = pd.DataFrame(dict(labels)).replace(CANNOT_TELL, None)
    return pd.Series([_settle([v for v in row if isinstance(v, str)], rule) for row in frame.to_numpy(object)],
                     index=frame.index)


def _settle(votes: list[str], rule: str) -> str:
    if not votes:
        return CANNOT_TELL
    if rule == "last":
        return votes[-1]
    counts = pd.Series(votes).value_counts()
    if rule == "unanimous":
        return votes[0] if len(counts) == 1 else CANNOT_TELL
    return str(counts.index[0]) if len(counts) == 1 or counts.iloc[0] > counts.iloc[1] else CANNOT_TELL
