"""How a tile's pixels become a picture, once for every page, map and quicklook; uint8 (y, x, 3), no data mid grey."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dwplus.pages.colours import NO_DATA, rgb

#: Percentiles between which optics are stretched, all three bands alike, so that colours stay true.
LOW, HIGH = 2, 98
#: Reflectance x 10000: dark scenes (water, shadow) are stretched to no less than this range, or noise would shine.
LEAST_RANGE = 1500.0
#: dB at which VV, VH and VV - VH begin and end.
RADAR = ((-20.0, 0.0), (-26.0, -5.0), (0.0, 15.0))
#: Vegetation index and its colour.
VEGETATION = ((0.0, (0.55, 0.38, 0.25)), (0.3, (0.95, 0.88, 0.55)), (0.55, (0.45, 0.7, 0.3)), (0.8, (0.02, 0.3, 0.1)))
#: Of Sentinel-2's integers: no data.
S2_NODATA = 65535


def true_colour(s2: np.ndarray, bands: Sequence[str], *, unit: str = "reflectance") -> np.ndarray:
    """Red, green, blue of a tile, stretched to its own 2nd to 98th percentile (at least 0..0.15 reflectance).

    Parameters
    ----------
    s2 : (s2_band, y, x); digital numbers; 65535 and NaN are no data.
    bands : names along the first axis; B4, B3, B2 or red, green, blue are used, or the first band thrice where they are
        missing.
    unit : of the values; anything but reflectance (x 10000) is stretched to its percentiles alone.

    Returns
    -------
    uint8 (y, x, 3); no data is mid grey.
    """
    names = list(bands)
    known = [three for three in (("B4", "B3", "B2"), ("red", "green", "blue")) if set(three) <= set(names)]
    chosen = [names.index(b) for b in known[0]] if known else [0, 0, 0]
    picture = np.stack([s2[i] for i in chosen], axis=-1).astype("float32")
    missing = (~np.isfinite(picture) | (picture == S2_NODATA)).any(axis=-1)
    good = picture[~missing]
    low, high = np.percentile(good, [LOW, HIGH]) if good.size else (0.0, 1.0)
    least = LEAST_RANGE if unit == "reflectance" and low < LEAST_RANGE else 1e-6
    return _bytes((picture - low) / max(high - low, least), missing)


def radar(s1: np.ndarray, *, unit: str = "dB") -> np.ndarray:
    """VV, VH and VV - VH of a tile as red, green, blue.

    Parameters
    ----------
    s1 : float (s1_band, y, x), NaN = no data; VV and VH are the first two, a single band stands for both.
    unit : dB is shown over -20..0, -26..-5 and 0..15 dB, anything else between its 2nd and 98th percentile.

    Returns
    -------
    uint8 (y, x, 3); no data is mid grey.
    """
    first, second = s1[0].astype("float32"), s1[min(1, len(s1) - 1)].astype("float32")
    picture = np.stack([first, second, first - second], axis=-1)
    missing = ~np.isfinite(picture).all(axis=-1)
    ranges = RADAR if unit == "dB" else tuple(
        tuple(np.percentile(picture[~missing][:, i], [LOW, HIGH])) if (~missing).any() else (0.0, 1.0)
        for i in range(3))
    low, high = np.array(ranges, "float32").T
    return _bytes((picture - low) / np.maximum(high - low, 1e-6), missing)


def vegetation(s2: np.ndarray, bands: Sequence[str]) -> np.ndarray | None:
    """Vegetation index of a tile from brown (0 or less) over yellow to green (0.8); None without B4 and B8.

    Parameters
    ----------
    s2 : uint16 (s2_band, y, x), 65535 = no data. bands : names along the first axis.

    Returns
    -------
    uint8 (y, x, 3); no data is mid grey.
    """
    names = list(bands)
    if not {"B4", "B8"} <= set(names):
        return None
    red, infrared = (s2[names.index(b)].astype("float32") for b in ("B4", "B8"))
    missing = (red == S2_NODATA) | (infrared == S2_NODATA)
    index = (infrared - red) / np.maximum(infrared + red, 1)
    steps, ramp = np.array([step for step, _ in VEGETATION]), np.array([colour for _, colour in VEGETATION])
    picture = np.stack([np.interp(index, steps, channel) for channel in ramp.T], axis=-1)
    return _bytes(picture, missing)


def _bytes(picture: np.ndarray, missing: np.ndarray) -> np.ndarray:
    out: np.ndarray = (np.clip(np.nan_to_num(picture), 0, 1) * 255).round().astype("uint8")
    out[missing] = rgb(NO_DATA)
    return out


def smaller(picture: np.ndarray, side: int, *, classes: bool = False) -> np.ndarray:
    """A picture of about ``side`` pixels: means of blocks, or of ``classes`` every so manieth pixel: the mean of two
    classes' colours is no class.

    Parameters
    ----------
    picture : uint8 (y, x, 3).
    """
    step = max(1, round(picture.shape[0] / side))
    if step == 1:
        return picture
    out: np.ndarray = picture[step // 2::step, step // 2::step]
    if classes:
        return out
    rows, columns = (n // step * step for n in picture.shape[:2])
    blocks = picture[:rows, :columns].reshape(rows // step, step, columns // step, step, 3)
    out = blocks.mean(axis=(1, 3)).round().astype("uint8")
    return out
