"""Arrays of whole (64 bits) or floating numbers, out of numbers and nested lists of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dwplus.embedded_earth.errors import ComputeError

#: Numbers an array may hold.
MAX_SIZE = 10_000_000


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value and depth < 64:
        value, depth = value[0], depth + 1
    return depth


def array_of(value: Any) -> np.ndarray | None:
    """Numbers and nested lists of them as an array; None where they are none."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | list) or _depth(value) > 16:
        return None
    try:
        found = np.array(value)
    except (ValueError, OverflowError):
        return None
    if found.size > MAX_SIZE:
        raise ComputeError("User memory limit exceeded.")
    if found.dtype.kind in "bui":
        return found.astype("i8")
    if found.dtype.kind == "f":
        # JSON has no whole floats: 1.0 arrives as it was meant, 1 as a whole number.
        return found.astype("f8")
    return None
