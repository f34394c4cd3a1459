"""How many points a map's sample needs, and how many of them each stratum gets. Pure.

Sources: Olofsson et al. 2014, Remote Sensing of Environment 148, 42-57, equation 13 and section 5.1; Cochran 1977,
Sampling Techniques, sections 5.5 (Neyman) and 10.3 (two stages).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dwplus.errors import InputError
from dwplus.maps.intervals import Z95

DESIGNS = ("stratified", "simple", "two-stage")
ALLOCATIONS = ("proportional", "equal", "neyman")
#: Half widths of the power table, shares of the ground.
HALF_WIDTHS = (0.01, 0.02, 0.03, 0.05, 0.10)
#: Accuracy that is expected where nobody says better: of a class, and so of the map.
EXPECTED = 0.8
#: How alike two points of a block are, where nobody says better: the intra-class correlation of being right.
ALIKE = 0.1


def points_needed(weights: np.ndarray, expected: np.ndarray, half_width: float, design: str = "stratified",
                  per_block: int = 1) -> int:
    """Points for a 95 % interval of the overall accuracy with a half width.

    Parameters
    ----------
    weights : (stratum,) shares of the ground. expected : (stratum,) accuracy of each. per_block : points in a block of
        a two-stage sample, which are taken to be alike by :data:`ALIKE`.

    Returns
    -------
    Stratified: (sum of W S / SE)^2, equation 13; else O (1 - O) / SE^2, times 1 + (per_block - 1) * ALIKE.
    """
    error = half_width / Z95
    if design == "stratified":
        return math.ceil(float((weights * np.sqrt(expected * (1 - expected))).sum() / error) ** 2 - 1e-9)
    overall = float((weights * expected).sum())
    alike = 1 + (per_block - 1) * ALIKE if design == "two-stage" else 1.0
    return math.ceil(overall * (1 - overall) / error ** 2 * alike - 1e-9)


def power_lines(weights: np.ndarray, expected: np.ndarray, design: str, per_block: int, wanted: int) -> list[str]:
    """The table that is shown before anything is drawn."""
    overall = float((weights * expected).sum())
    lines = [f"for an overall accuracy near {overall:.0%} you need"]
    for half in HALF_WIDTHS:
        lines.append(f"  +-{100 * half:.0f} points: {points_needed(weights, expected, half, design, per_block):6,}")
    # What the points that are asked for give: the half width that needs as many.
    low, high = 1e-4, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if points_needed(weights, expected, middle, design, per_block) > wanted else (
            low, middle)
    lines.append(f"  you asked for {wanted:,} points: about +-{100 * high:.1f} points")
    return lines


def allocate(pixels: np.ndarray, count: int, how: str, least: int, expected: np.ndarray) -> np.ndarray:
    """Points of each stratum, int (stratum,).

    Parameters
    ----------
    pixels : (stratum,) of the map. count : points in all. how : one of :data:`ALLOCATIONS`. least : points that every
        stratum gets, or all its pixels. expected : (stratum,) accuracy, for Neyman.

    Raises
    ------
    InputError
        Where the strata's least points are more than there are.
    """
    pixels = np.asarray(pixels, float)
    there = pixels > 0
    floor = np.where(there, np.minimum(least, pixels), 0).astype(int)
    if floor.sum() > count:
        raise InputError(f"-n {count}: {int(there.sum())} strata with at least {least} points each need "
                         f"{int(floor.sum())}; ask for more points, or a smaller --least")
    key = {"proportional": pixels, "equal": there.astype(float),
           "neyman": pixels * np.sqrt(expected * (1 - expected))}[how]
    out = floor.astype(float)
    free = there.copy()
    # Strata that the least already gives more than their part keep it; the others share the rest.
    while free.any():
        share = (count - out[~free].sum()) * np.where(free, key, 0) / max(key[free].sum(), 1e-12)
        settled = free & ((share <= floor) | (share >= pixels))
        if not settled.any():
            out[free] = share[free]
            break
        out[settled] = np.clip(share[settled], floor[settled], pixels[settled])
        free &= ~settled
    return _whole(out, min(count, int(pixels.sum())), pixels)


def _whole(share: np.ndarray, count: int, pixels: np.ndarray) -> np.ndarray:
    """Whole numbers with the sum wanted: those with the largest remainders are rounded up."""
    out = np.floor(share + 1e-9).astype(int)
    order = np.argsort(-(share - out), kind="stable")
    for index in order:
        if out.sum() >= count:
            break
        if out[index] < pixels[index]:
            out[index] += 1
    return out


def expected_of(text: str | None, names: Sequence[str]) -> np.ndarray:
    """Expected accuracy by class: one number for all, or ``class=number`` with commas.

    Raises
    ------
    InputError
        For other words, unknown classes, or numbers not between 0 and 1.
    """
    out = np.full(len(names), EXPECTED)
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"--expected {part!r}: must be a number, or class=number with commas between") from None
        if not 0 < number < 1:
            raise InputError(f"--expected {part!r}: an accuracy lies between 0 and 1")
        if equals and name.strip() not in names:
            raise InputError(f"--expected {part!r}: the map has no class {name.strip()!r}; its classes are "
                             f"{', '.join(names)}")
        out[names.index(name.strip()) if equals else slice(None)] = number
    return out
