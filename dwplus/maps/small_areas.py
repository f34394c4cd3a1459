"""Areas of parts of a map, with the points of the whole map's sample that lie in each.

The share of a class in a part is what the map counts there, put right by how far the map is off at the part's own
points: the model-assisted difference estimator (Särndal, Swensson and Wretman 1992, Model Assisted Survey Sampling,
chapter 10). A part with fewer points than :data:`FEWEST` is counted, and said to have too few.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import shapely

from dwplus.grid import PixelGrid
from dwplus.grid.longitude import shifted, turns_of
from dwplus.maps import areas, edges
from dwplus.maps.estimators import Points
from dwplus.maps.intervals import t95

#: Points that a part needs for an estimate of its own.
FEWEST = 20


def inside(shape: shapely.Geometry, epsg: np.ndarray, x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """Which pixels, by their centres, belong to a polygon in EPSG:4326, bool (point,); by the rule of areas."""
    out = np.zeros(len(x), bool)
    west, south, east, north = shape.bounds
    for i, (zone, a, b) in enumerate(zip(epsg, x, y, strict=True)):
        grid = PixelGrid(int(zone), float(a) - scale / 2, float(b) + scale / 2, scale, 1, 1)
        lon, lat = grid.center
        if not south - 1e-3 <= lat <= north + 1e-3:
            continue
        # A hair around the point, so that one on the polygon's rim is looked at.
        for turn in turns_of(shapely.box(west, south, east, north), lon - 1e-3, lon + 1e-3):
            found = edges.within_degrees(shifted(shape, -turn), grid)
            out[i] |= found is not None and bool(found[1].any())
    return out


def estimate(points: Points, here: np.ndarray, counts: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Shares of the true classes in a part: value, standard error, low and high of the 95 % interval.

    Parameters
    ----------
    here : (point,) whether a point lies in the part. counts : (class,) pixels of the map in it.
    """
    weight = points.weights()
    mine = weight * here
    total = mine.sum()
    out = []
    group = points.stratum if points.cluster is None else points.cluster
    for c in range(len(counts)):
        off = (points.true == c).astype(float) - (points.mapped == c)
        mean = float((mine * off).sum() / total)
        value = float(counts[c] / counts.sum()) + mean
        z = mine * (off - mean) / total
        if points.cluster is None:
            size = np.bincount(group)
            scatter = np.bincount(group, (z - (np.bincount(group, z) / np.maximum(size, 1))[group]) ** 2)
            variance = float((scatter * size / np.maximum(size - 1, 1)).sum())
        else:
            sums = np.bincount(group, z)
            variance = float(len(sums) / max(1, len(sums) - 1) * ((sums - sums.mean()) ** 2).sum())
        # Where all points agree with the map, half a point is thought not to (Jeffreys).
        n = int(here.sum())
        doubt = (0.5 / (n + 1)) * (n + 0.5) / (n + 1) / n
        error = np.sqrt(variance)
        wide = t95(n - 1) * np.sqrt(max(variance, doubt))
        out.append((value, float(error), max(0.0, value - wide), min(1.0, value + wide)))
    return out


def table(names: Sequence[str], shapes: Sequence[shapely.Geometry], counts: pd.DataFrame, points: Points,
          rows: pd.DataFrame, scale: float) -> pd.DataFrame:
    """Every part and class: the count, the estimate where there are points enough, and which of the two it is.

    Parameters
    ----------
    counts : of :func:`dwplus.maps.areas.count_by_polygon`. rows : the sample's, with ``epsg``, ``x`` and ``y``.
    scale : metres a pixel.
    """
    epsg, x, y = (pd.to_numeric(rows[c]).to_numpy(float) for c in ("epsg", "x", "y"))
    km2 = scale ** 2 / 1e6
    out = []
    for name, pixels in counts.iterrows():
        here = np.zeros(len(rows), bool)
        for one, shape in zip(names, shapes, strict=True):
            if one == name:
                here |= inside(shape, epsg, x, y, scale)
        number, values = int(here.sum()), pixels.to_numpy(float)
        enough = number >= FEWEST and values.sum() > 0
        found = estimate(points, here, values) if enough else [(np.nan,) * 4] * len(values)
        design = "model-assisted estimate" if enough else f"{areas.COUNTED}: too few points ({number} of {FEWEST})"
        for c, label in enumerate(counts.columns):
            value, error, low, high = (v * values.sum() * km2 for v in found[c])
            out.append({"polygon": name, "class": label, "mapped_km2": values[c] * km2,
                        "mapped_share": values[c] / max(1.0, values.sum()), "points": number,
                        "area_km2": max(0.0, value) if enough else np.nan, "area_se_km2": error, "area_low_km2": low,
                        "area_high_km2": high, "design": design})
    return pd.DataFrame(out)
