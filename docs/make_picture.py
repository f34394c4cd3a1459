"""Draw README's picture, docs/picture.svg, from tiles of a store: ``python docs/make_picture.py data/sample.zarr``.

Each panel is a real tile averaged to 51 x 51 cells (100 m), with colours rounded to 5 bits, as plain SVG paths.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import zarr

from dwplus.report import quicklooks as viz
from dwplus.store import layout
from dwplus.store.reader import tile_table
from dwplus.store.units import decibels
from dwplus.taxonomy import CLASSES, PALETTE

CELLS, PIXEL, GAP = 51, 4, 10
SHORT = {1: "moist tropical forest", 4: "temperate forest", 9: "flooded grassland", 12: "mediterranean"}


def panel(image: np.ndarray, x: float, y: float) -> str:
    """Paths of an image (n, n, 3) in 0..255: one per colour, horizontal runs joined."""
    codes = np.round(image / 255 * 31).astype(int)
    runs: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for row in range(CELLS):
        col = 0
        while col < CELLS:
            end = col
            while end < CELLS and (codes[row, end] == codes[row, col]).all():
                end += 1
            runs[tuple(int(v) for v in codes[row, col])].append(f"M{col} {row}h{end - col}v1h-{end - col}z")
            col = end
    paths = "".join(f'<path fill="#{"".join(f"{round(v * 255 / 31):02x}" for v in colour)}" d="{"".join(d)}"/>'
                    for colour, d in sorted(runs.items()))
    return (f'<g transform="translate({x} {y}) scale({PIXEL})" shape-rendering="crispEdges">{paths}</g>')


def coarse(image: np.ndarray) -> np.ndarray:
    size = image.shape[0] // CELLS * CELLS
    return image[:size, :size].reshape(CELLS, size // CELLS, CELLS, size // CELLS, 3).mean(axis=(1, 3))


def main(store: str) -> None:
    root = layout.open_root(store)
    table = tile_table(store)
    table = table[(table["status"] == "exported") & (table["valid_fraction"] > 0.9)]
    counts = table[[f"count_{c}" for c in CLASSES]].to_numpy(float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    table = table.assign(mix=-(shares * np.log(np.maximum(shares, 1e-9))).sum(axis=1))
    side = CELLS * PIXEL
    left, top = 10, 30
    out = []
    for column, title in enumerate(("Sentinel-2", "Sentinel-1 VV, VH, VV-VH", "Dynamic World label")):
        out.append(f'<text x="{left + column * (side + GAP)}" y="20" font-size="14">{title}</text>')
    rows = 0
    for biome, name in SHORT.items():
        found = table[table["biome"] == biome].sort_values("mix", ascending=False)
        if not len(found):
            continue
        tile = found.iloc[0]
        group = root[tile["group"]]
        assert isinstance(group, zarr.Group)
        s2, s1, label = (np.asarray(group[k][tile["index"]]) for k in ("s2", "s1", "label"))  # type: ignore[index]
        bands = [str(b) for b in np.asarray(group["s2_band"])]
        y = top + rows * (side + GAP)
        step = label.shape[0] // CELLS
        images = (coarse(viz.true_colour(s2, bands)), coarse(viz.false_colour(decibels(s1))),
                  viz.label_colours(label[step // 2::step, step // 2::step][:CELLS, :CELLS]))
        for column, image in enumerate(images):
            out.append(panel(image, left + column * (side + GAP), y))
        text = (name, f"{tile['s2_time']:%Y-%m-%d}", f"gap {tile['gap_hours']:+.1f} h")
        for line, words in enumerate(text):
            out.append(f'<text x="{left + 3 * (side + GAP)}" y="{y + 20 + 20 * line}" font-size="13">{words}</text>')
        rows += 1
    width, height = left + 3 * (side + GAP) + 150, top + rows * (side + GAP) + 28
    x = left
    for colour, name in zip(PALETTE, CLASSES, strict=True):
        out.append(f'<rect x="{x}" y="{height - 22}" width="12" height="12" fill="{colour}"/>'
                   f'<text x="{x + 16}" y="{height - 12}" font-size="11">{name.replace("_", " ")}</text>')
        x += 30 + 6 * len(name)
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>{"".join(out)}</svg>\n')
    Path(__file__).with_name("picture.svg").write_text(svg)


if __name__ == "__main__":
    main(sys.argv[1])
