"""Quality gates that need a tile's pixels. Pure; the gates that need metadata only are part of the pairing."""

from __future__ import annotations

import numpy as np

from dwplus.errors.reasons import Reason
from dwplus.spec import Quality


def refuse(has_s2: np.ndarray, has_s1: np.ndarray, quality: Quality) -> str:
    """Why a tile is refused for the data of its sensors, or an empty text.

    Parameters
    ----------
    has_s2, has_s1 : bool (y, x), pixels with data in every band of the sensor. Border noise is no data.

    Returns
    -------
    ``<reason>: <words>``; reasons ``s2_invalid`` and ``s1_invalid``.
    """
    share = np.count_nonzero(has_s2) / has_s2.size
    if share < quality.min_s2_valid:
        return Reason.S2_INVALID.says(f"{share:.3f} of the tile has Sentinel-2 data, quality.min_s2_valid is "
                                      f"{quality.min_s2_valid:g}")
    share = np.count_nonzero(has_s1) / has_s1.size
    if share < quality.min_s1_valid:
        return Reason.S1_INVALID.says(f"{share:.3f} of the tile has Sentinel-1 data, border noise taken off "
                                      f"(quality.s1_edges {quality.s1_edges}), quality.min_s1_valid is "
                                      f"{quality.min_s1_valid:g}")
    return ""
