"""One slope seen six ways, and what of a radar image slopes explain before and after they are divided out.

    python -m benchmarks.bench_slopes --picture build/slopes.png

Hills of the sample planet's Cascades in woods alone: variance of VV and VH that twenty classes of slope explain, how
far two passes lie apart, equivalent looks of noise before and after each filter, and the picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import ee
import numpy as np

from dwplus.earth import connect, pixels
from dwplus.earth.images import extras, sentinel1, speckle, terrain
from dwplus.earth.session import Session
from dwplus.grid import PixelGrid

#: Hills of the Cascades.
HILLS = PixelGrid(32610, 586_020.0, 4_940_390.0, 10.0, 256, 256)
WOODS = 1


def bands(session: Session, image: ee.Image, names: tuple[str, ...], grid: PixelGrid = HILLS) -> list[np.ndarray]:
    """The bands of an image as float64 arrays (y, x)."""
    found = pixels.fetch(session, image.rename(list(names)).toFloat(), grid, np.dtype([(n, "f4") for n in names]))
    return [found[name].astype("f8") for name in names]


def first(way: str, grid: PixelGrid) -> str:
    """The first scene of a pass in June 2021 that covers a tile's middle."""
    middle = extras.area_of(grid).centroid(1)
    found: str = sentinel1.scenes(way).filterDate("2021-06-01", "2021-07-15").filterBounds(middle).sort(
        "system:time_start").first().get("system:index").getInfo()
    return found


def explained(decibels: np.ndarray, rise: np.ndarray) -> float:
    """Variance of the means of twenty classes of slope, dB squared."""
    each = np.digitize(rise, np.quantile(rise, np.linspace(0, 1, 21))[1:-1])
    share = np.bincount(each) / len(each)
    means = np.array([decibels[each == i].mean() for i in range(20)])
    return float((share * (means - share @ means) ** 2).sum())


def measure(session: Session) -> tuple[dict[tuple[str, str], np.ndarray], list[str]]:
    """Images by pass and model, dB of gamma nought, and the lines of the table."""
    height = extras.elevation(extras.area_of(HILLS))
    truth, = bands(session, ee.ImageCollection("SAMPLE/TRUTH").mosaic().select(["label"]), ("truth",))
    woods, rises, images = truth == WOODS, {}, {}
    for way in ("ascending", "descending"):
        index = first(way, HILLS)
        view = terrain.view(ee.Image(f"{sentinel1.COLLECTION}/{index}").select("angle").resample("bilinear"), height)
        theta, rises[way], codes = bands(session, ee.Image.cat(view.theta, view.rise, view.layover_shadow()),
                                         ("theta", "rise", "codes"))
        woods &= codes == 0
        for model in ("none", "volume", "surface"):
            ground = sentinel1.Ground(model, height=height)
            both = np.stack(bands(session, sentinel1.backscatter([index], dtype="float32", ground=ground),
                                  ("VV", "VH")))
            both = np.where(both == sentinel1.NODATA["float32"], np.nan, both)
            images[way, model] = both - (10 * np.log10(np.cos(theta)) if model == "none" else 0)
        filtered = sentinel1.Ground("volume", speckle="gamma-map", height=height)
        both = np.stack(bands(session, sentinel1.backscatter([index], dtype="float32", ground=filtered), ("VV", "VH")))
        images[way, "volume, gamma-map"] = np.where(both == sentinel1.NODATA["float32"], np.nan, both)
    lines = ["| slopes | VV ascending | VH ascending | VV descending | VH descending | passes apart, VV |",
             "|---|---|---|---|---|---|"]
    for model in ("none", "volume", "surface"):
        cells = [f"{explained(images[way, model][band][woods], rises[way][woods]):.2f} dB2"
                 for way in ("ascending", "descending") for band in range(2)]
        apart = (images["ascending", model][0] - images["descending", model][0])[woods].std()
        lines.append(f"| {model} | {' | '.join(cells)} | {apart:.1f} dB |")
    return images, [f"Variance that slopes explain, {woods.sum():,} pixels of woods:", "", *lines]


def looks(session: Session) -> list[str]:
    """Equivalent looks of gamma distributed noise of 4 looks before and after each filter of 7 x 7 pixels."""
    draws = [ee.Image.random(seed).log().multiply(-1) for seed in range(1, 9)]
    power = ee.Image.cat(*(ee.Image.cat(*draws[i::2]).reduce(ee.Reducer.mean()) for i in range(2))).rename(
        ["VV", "VH"])
    lines = ["| filter | equivalent looks |", "|---|---|"]
    for name in ("none", *speckle.FILTERS):
        image = power if name == "none" else speckle.FILTERS[name](power, 7, 4)
        value = bands(session, image, ("VV", "VH"))[0]
        lines.append(f"| {name} | {value.mean() ** 2 / value.var():.1f} |")
    return lines


def draw(images: dict[tuple[str, str], np.ndarray], path: Path) -> None:
    """Six panels of VV: two passes, as they are, with slopes divided out, and filtered as well."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    grey = matplotlib.colormaps["gray"].with_extremes(bad="tab:red")  # layover and shadow
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.2), layout="constrained")
    for row, way in zip(axes, ("ascending", "descending"), strict=True):
        for axis, model in zip(row, ("none", "volume", "volume, gamma-map"), strict=True):
            axis.imshow(images[way, model][0], vmin=-18, vmax=2, cmap=grey)
            axis.set_title(f"{way}, {'as it is' if model == 'none' else model}", fontsize=9)
            axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="file for the six panels")
    options: Any = parser.parse_args(arguments)
    session = connect()
    images, lines = measure(session)
    print("\n".join([*lines, "", *looks(session)]))
    if options.picture is not None:
        draw(images, options.picture)
        print(f"\n{options.picture}")


if __name__ == "__main__":
    main()
