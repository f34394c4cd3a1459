"""One slope seen six ways, and what of a radar image slopes explain before and after they are divided out.

    python -m benchmarks.bench_slopes --picture docs/slopes.svg

Hills of the sample planet's Cascades in woods alone: variance of VV and VH that twenty classes of slope explain, how
far two passes lie apart, equivalent looks of noise before and after each filter, the work of each, and the picture.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import ee
import numpy as np

from dwplus.earth import connect, pixels
from dwplus.earth.cost import profiled
from dwplus.earth.images import extras, sentinel1, speckle, terrain
from dwplus.earth.session import Session
from dwplus.grid import PixelGrid

#: Hills of the Cascades.
HILLS = PixelGrid(32610, 586_020.0, 4_940_390.0, 10.0, 256, 256)
WOODS = 1
#: The picture: one slope of them, 10 m a cell, and how many greys between which decibels.
SLOPE = PixelGrid(32610, 586_660.0, 4_939_750.0, 10.0, 64, 64)
GREYS, DARK, BRIGHT, CELL, GAP = 12, -18.0, 2.0, 3, 8
#: Passes that the filter over time takes, the one shown included.
DATES = 7


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


def measure(session: Session) -> list[str]:
    """The lines of the table of what slopes explain, in dB squared of gamma nought."""
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
    lines = ["| slopes | VV ascending | VH ascending | VV descending | VH descending | passes apart, VV |",
             "|---|---|---|---|---|---|"]
    for model in ("none", "volume", "surface"):
        cells = [f"{explained(images[way, model][band][woods], rises[way][woods]):.2f} dB2"
                 for way in ("ascending", "descending") for band in range(2)]
        apart = (images["ascending", model][0] - images["descending", model][0])[woods].std()
        lines.append(f"| {model} | {' | '.join(cells)} | {apart:.1f} dB |")
    return [f"Variance that slopes explain, {woods.sum():,} pixels of woods:", "", *lines]


def around(way: str, grid: PixelGrid) -> tuple[str, list[list[str]]]:
    """The scene of :func:`first` and the next passes of its relative orbit, a slice each."""
    index = first(way, grid)
    orbit = ee.Image(f"{sentinel1.COLLECTION}/{index}").get("relativeOrbitNumber_start")
    middle = extras.area_of(grid).centroid(1)
    found = sentinel1.scenes(way).filterDate("2021-06-01", "2021-09-01").filterBounds(middle).filter(
        ee.Filter.eq("relativeOrbitNumber_start", orbit)).sort("system:time_start").aggregate_array("system:index")
    return index, [[other] for other in found.getInfo() if other != index][:DATES - 1]


def noise(date: int) -> ee.Image:
    """Gamma distributed power of 4 looks, in two bands."""
    draws = [ee.Image.random(100 * date + seed).log().multiply(-1) for seed in range(1, 9)]
    both: ee.Image = ee.Image.cat(*(ee.Image.cat(*draws[i::2]).reduce(ee.Reducer.mean()) for i in range(2))).rename(
        ["VV", "VH"])
    return both


def looks(session: Session) -> list[str]:
    """Equivalent looks of gamma distributed noise of 4 looks before and after each filter of 7 x 7 pixels."""
    power = noise(0)
    images = {"none": power, **{name: by(power, 7, 4) for name, by in speckle.FILTERS.items()},
              f"multitemporal, {DATES} dates": speckle.multitemporal(power, [noise(i) for i in range(1, DATES)], 7)}
    lines = ["| filter | equivalent looks |", "|---|---|"]
    for name, image in images.items():
        value = bands(session, image, ("VV", "VH"))[0]
        lines.append(f"| {name} | {value.mean() ** 2 / value.var():.1f} |")
    return lines


def work(session: Session) -> list[str]:
    """What one request of VV and VH costs by what is done to them: processor time of this Earth, the least of five
    requests, so that scenes are known and only what is computed of them counts."""
    index, further = around("descending", HILLS)
    height = extras.elevation(extras.area_of(HILLS))
    ways: dict[str, tuple[sentinel1.Ground, list[list[str]]]] = {
        "none": (sentinel1.PLAIN, []), "slopes, volume": (sentinel1.Ground("volume", height=height), [])}
    ways |= {name: (sentinel1.Ground(speckle=name), []) for name in speckle.FILTERS}
    ways[f"multitemporal, {DATES} dates"] = sentinel1.Ground(speckle="multitemporal"), further
    lines = ["| what is done | processor, ms |", "|---|---|"]
    for name, (ground, others) in ways.items():
        image = sentinel1.backscatter([index], dtype="float32", ground=ground, further=others)
        seconds = min(profiled(session, partial(bands, session, image, ("VV", "VH")))[1] for _ in range(5))
        lines.append(f"| {name} | {1000 * seconds:.0f} |")
    return lines


def six_ways(session: Session) -> dict[str, np.ndarray]:
    """VV of one slope, dB of gamma nought, by title; NaN in layover and shadow."""
    height = extras.elevation(extras.area_of(SLOPE))
    seen = {way: around(way, SLOPE) for way in ("ascending", "descending")}
    plain = {f"{way}, as it is": (way, sentinel1.PLAIN) for way in seen}
    shown = {**plain,
             "the same, volume": ("descending", sentinel1.Ground("volume", height=height)),
             "the same, surface": ("descending", sentinel1.Ground("surface", height=height)),
             "volume, gamma-map": ("descending", sentinel1.Ground("volume", speckle="gamma-map", height=height)),
             f"volume, {DATES} dates": (
                 "descending", sentinel1.Ground("volume", speckle="multitemporal", height=height))}
    found = {}
    for title, (way, ground) in shown.items():
        index, further = seen[way]
        values = bands(session, sentinel1.backscatter([index], keep_angle=True, dtype="float32", ground=ground,
                                                      further=further if ground.speckle == "multitemporal" else []),
                       ("VV", "VH", "angle"), SLOPE)
        decibels = np.where(values[0] == sentinel1.NODATA["float32"], np.nan, values[0])
        found[title] = decibels - (10 * np.log10(np.cos(np.radians(values[2]))) if ground is sentinel1.PLAIN else 0)
    return found


def panel(image: np.ndarray) -> str:
    """Paths of an image (y, x) in dB: one a grey, runs of a row joined; what is NaN is red."""
    greys = np.clip((image - DARK) / (BRIGHT - DARK) * GREYS, 0, GREYS - 1)
    codes = np.where(np.isnan(image), GREYS, greys).astype(int)
    lines: dict[int, list[str]] = defaultdict(list)
    for row, line in enumerate(codes):
        edges = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            lines[int(line[start])].append(f"M{start} {row}h{end - start}")
    colours = [f"#{f'{round(255 * i / (GREYS - 1)):02x}' * 3}" for i in range(GREYS)] + ["#c23b22"]
    return "".join(f'<path stroke="{colours[code]}" d="{"".join(runs)}"/>' for code, runs in sorted(lines.items()))


def draw(images: dict[str, np.ndarray], path: Path) -> None:
    """The panels as SVG, three a row, each under its title."""
    side, top = SLOPE.width * CELL, 20
    out = []
    for number, (title, image) in enumerate(images.items()):
        x, y = GAP + number % 3 * (side + GAP), number // 3 * (side + top + GAP)
        out.append(f'<text x="{x}" y="{y + 15}" font-size="12">{title}</text>'
                   f'<g transform="translate({x} {y + top}) scale({CELL}) translate(0 .5)" '
                   f'shape-rendering="crispEdges">{panel(image)}</g>')
    width, height = 3 * (side + GAP) + GAP, 2 * (side + top + GAP)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                    f'height="{height}" font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
                    f'{"".join(out)}</svg>\n')


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="SVG file for the six panels; nothing else is measured")
    options: Any = parser.parse_args(arguments)
    session = connect()
    if options.picture is not None:
        draw(six_ways(session), options.picture)
        print(options.picture)
        return
    print("\n".join([*measure(session), "", *looks(session), "", *work(session)]))


if __name__ == "__main__":
    main()
