"""What a map looks like to a person: a quicklook with legend and scale bar, and what pages are painted with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.enums

from dwplus.maps.raster import DEGREE_METRES
from dwplus.pages import colours, skeleton
from dwplus.store.legend import DYNAMIC_WORLD, Legend
from dwplus.taxonomy import IGNORE

#: Longest side of a quicklook, px.
QUICKLOOK_PIXELS = 1600


def thumbnail(path: Path, longest: int) -> tuple[np.ndarray, tuple[float, float, float, float], float]:
    """A raster's first band, thinned to a longest side, by its overviews.

    Returns
    -------
    uint8 (y, x); bounds in the raster's units; metres a pixel of the thumbnail at its middle, from west to east.
    """
    with rasterio.open(path) as raster:
        factor = max(1.0, max(raster.height, raster.width) / longest)
        shape = max(1, round(raster.height / factor)), max(1, round(raster.width / factor))
        # Nearest: the mean of two classes is no class, and overviews hold the most frequent one already.
        found = raster.read(1, out_shape=shape, resampling=rasterio.enums.Resampling.nearest)
        bounds = tuple(raster.bounds)
        metres = (bounds[2] - bounds[0]) / shape[1]
        if raster.crs.is_geographic:
            metres *= DEGREE_METRES * math.cos(math.radians((bounds[1] + bounds[3]) / 2))
    return found, bounds, metres


def round_length(metres: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no more."""
    power = 10.0 ** math.floor(math.log10(metres))
    return power * max(step for step in (1, 2, 5) if step * power <= metres)


@skeleton.plain_text()
def quicklook(class_path: Path, confidence_path: Path, path: Path, title: str, subtitle: str,
              legend: Legend = DYNAMIC_WORLD) -> None:
    """A PNG with the classes, their legend with shares, a scale bar, north, and the confidence."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    label, bounds, metres = thumbnail(class_path, QUICKLOOK_PIXELS)
    sure = thumbnail(confidence_path, QUICKLOOK_PIXELS)[0]
    height, width = label.shape
    # Degrees are narrower than high away from the equator: draw them so.
    aspect = (bounds[3] - bounds[1]) / height / ((bounds[2] - bounds[0]) / width)
    if abs(bounds[3]) <= 90 and abs(bounds[0]) <= 540:
        aspect /= math.cos(math.radians((bounds[1] + bounds[3]) / 2))
    ratio = min(3.0, max(0.3, height * aspect / width))
    figure = Figure(figsize=(13.5, max(4.6, 6.4 * ratio) + 1.7), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    left.imshow(legend.pictured(label), aspect=aspect, interpolation="nearest")
    right.imshow(colours.of_confidence(sure), aspect=aspect, interpolation="nearest")
    shown = np.bincount(label.ravel(), minlength=256)[:len(legend)]
    share = shown / max(1, shown.sum())
    valid = sure[sure != IGNORE]
    left.set_title("land cover", fontsize=11)
    right.set_title("confidence: probability of the class shown, %"
                    + (f" (median {np.median(valid):.0f})" if valid.size else ""), fontsize=11)
    for axis in (left, right):
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_facecolor(colours.NO_LABEL)
        for spine in axis.spines.values():
            spine.set_edgecolor("0.6")
    _scale_bar(left, height, width, metres)
    bar = figure.colorbar(_scale(), ax=right, shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=9)
    handles = [Patch(facecolor=legend.colours[c], edgecolor="0.4",
                     label=f"{colours.words(legend.classes[c])}  {share[c]:.1%}")
               for c in range(len(legend)) if shown[c]]
    if (label == IGNORE).any():
        handles.append(Patch(facecolor=colours.NO_LABEL, edgecolor="0.4", label="no data"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.suptitle(f"{title}\n\n", fontsize=14, fontweight="bold")
    figure.text(0.5, 1 - 0.40 / figure.get_figheight(), subtitle, ha="center", va="top", fontsize=9.5, color="0.3")
    FigureCanvasAgg(figure).print_png(path)


def _scale() -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, 100), colours.CONFIDENCE)


def _scale_bar(axis: Any, height: int, width: int, metres: float) -> None:
    """A bar of a round length at the lower left, and an arrow to the north at the upper right."""
    length = round_length(width * metres / 4)
    pixels = length / metres
    x, y, thick = 0.04 * width, 0.95 * height, 0.012 * height
    axis.add_patch(_box(x - 0.02 * width, y - 0.065 * height, pixels + 0.04 * width, 0.1 * height, "white", 0.8))
    axis.add_patch(_box(x, y, pixels / 2, thick, "black", 1))
    axis.add_patch(_box(x + pixels / 2, y, pixels / 2, thick, "white", 1))
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axis.text(x + pixels / 2, y - 0.012 * height, words, ha="center", va="bottom", fontsize=9)
    axis.annotate("N", (0.955, 0.985), (0.955, 0.90), xycoords="axes fraction", ha="center", va="center", fontsize=10,
                  arrowprops={"arrowstyle": "->", "lw": 1.4},
                  bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "edgecolor": "none"})


def _box(x: float, y: float, width: float, height: float, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=colour, alpha=alpha,
                     edgecolor="black" if alpha == 1 else "none", linewidth=0.7)
