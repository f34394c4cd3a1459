"""Strata of cloud over a tile."""

from __future__ import annotations

import math

import numpy as np

#: Edges of the strata of cloud over a tile, shares. Ours: the bins of CloudLULC-Set are not known.
STRATA = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
STRATUM_NAMES = tuple(f"{round(100 * low)}-{round(100 * high)}%" for low, high in zip(STRATA, STRATA[1:], strict=False))


def stratum_of(cloud: float) -> int:
    """Stratum of a cloud share, see :data:`STRATA`: 0..4, or -1 where it is not known.

    Raises
    ------
    ValueError
        Outside 0..1.
    """
    if math.isnan(cloud):
        return -1
    if not 0 <= cloud <= 1:
        raise ValueError(f"cloud share {cloud}: must be 0..1")
    return min(int(np.searchsorted(STRATA, cloud, side="right")) - 1, len(STRATA) - 2)
