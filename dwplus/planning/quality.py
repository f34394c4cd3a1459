"""Gates that need a tile's pixels. Pure; the gates that need metadata only are part of the pairing."""

from __future__ import annotations

import numpy as np

from dwplus.spec import Quality

#: Fill values of Sentinel-2 and of Sentinel-1 as int16; float Sentinel-1 is filled with less than any backscatter.
_S2_FILL, _S1_FILL, _S1_FLOOR = 65535, -32768, -1000


def refuse(s2: np.ndarray, s1: np.ndarray, quality: Quality) -> str:
    """Why a tile is refused for the data of its sensors, or an empty text.

    Parameters
    ----------
    s2 : uint16 (s2_band, y, x), 65535 = no data.
    s1 : int16 (s1_band, y, x), -32768 = no data; or float32 dB, -9999 or NaN = no data. Border noise is no data.

    Returns
    -------
    ``<reason>: <words>``; reasons ``s2_invalid`` and ``s1_invalid``.
    """
    # The fill is the largest, Sentinel-1's the smallest value: one maximum is cheaper than a comparison a band.
    has_s2 = float((s2.max(axis=0) != _S2_FILL).mean())
    if has_s2 < quality.min_s2_valid:
        return (f"s2_invalid: {has_s2:.3f} of the tile has Sentinel-2 data, quality.min_s2_valid is "
                f"{quality.min_s2_valid:g}")
    least = s1.min(axis=0)
    has_s1 = float((least > _S1_FLOOR if s1.dtype.kind == "f" else least != _S1_FILL).mean())
    if has_s1 < quality.min_s1_valid:
        return (f"s1_invalid: {has_s1:.3f} of the tile has Sentinel-1 data above the border noise of "
                f"{quality.s1_edge_db:g} dB, quality.min_s1_valid is {quality.min_s1_valid:g}")
    return ""
