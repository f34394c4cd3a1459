"""How much border noise of Sentinel-1 is left, and how much water is lost, by each way of masking it?

On the sample planet, where both are known: noise whose level overlaps that of dark water, and whose width varies, as
ESA describes it (what is ours of it: docs/planet.md). Two rows of pixels across the whole swath per slice, through the
client and the product's own graph, on the slice's own grid.

    python -m benchmarks.bench_edges [SLICES]
"""

from __future__ import annotations

import datetime as dt
import sys
from collections import defaultdict

import numpy as np

from dwplus.earth import connect
from dwplus.earth.images import sentinel1
from dwplus.earth.images.sentinel1 import Edges
from dwplus.earth.pixels import fetch
from dwplus.embedded_earth.planet import SITES, Planet
from dwplus.embedded_earth.planet.landscape import WATER
from dwplus.embedded_earth.planet.orbits import ms_of
from dwplus.embedded_earth.planet.sentinel1 import Sentinel1Scene
from dwplus.grid import PixelGrid

WAYS = {
    "none": Edges("none"), "VV > -40 dB": Edges("threshold"), "VV > -30 dB": Edges("threshold", db=-30.0),
    "30.64 to 45.24 degrees": Edges("angle"), "both, -40 dB": Edges("both"), "both, -30 dB": Edges("both", db=-30.0),
    "eroded by 500 m, -40 dB": Edges("threshold", erode=500.0),
    "eroded by 2 km, -40 dB": Edges("threshold", erode=2000.0),
}
ERAS = {"before 2018-03-13": (dt.date(2017, 6, 1), dt.date(2018, 3, 1)),
        "since": (dt.date(2019, 3, 1), dt.date(2019, 12, 1))}
#: Rows of pixels that are looked at of a slice.
ROWS = 2
TYPE = np.dtype([("VV", "<i2"), ("VH", "<i2")])


def slices(planet: Planet, first: dt.date, last: dt.date, count: int) -> list[Sentinel1Scene]:
    """Dual-polarised IW slices, spread over sites and time."""
    found = []
    for site in SITES:
        box = site.lon - 0.2, site.lat - 0.2, site.lon + 0.2, site.lat + 0.2
        here = [s for s in planet.scenes("COPERNICUS/S1_GRD", ms_of(first), ms_of(last), box) or []
                if isinstance(s, Sentinel1Scene) and s.acquisition.polarisations == ("VV", "VH")]
        found.append(here[::max(len(here) // 12, 1)])
    mixed = [group[k] for k in range(12) for group in found if k < len(group)]
    return mixed[:count]


def measure(count: int) -> dict[str, dict[str, np.ndarray]]:
    """By era and way: border pixels, of these kept, water pixels, of these kept, other good pixels, of these kept."""
    session, planet = connect(), Planet()
    totals: dict[str, dict[str, np.ndarray]] = {era: defaultdict(lambda: np.zeros(6)) for era in ERAS}
    for era, (first, last) in ERAS.items():
        for scene in slices(planet, first, last, count):
            a = scene.acquisition
            track, (x0, y0, height, width) = a.flight.track, a.piece.grid
            top = height // 2
            x = x0 + (np.arange(width) + 0.5)[None, :] * 10
            y = y0 - (np.arange(top, top + ROWS) + 0.5)[:, None] * 10
            middle = track.from_middle(x, y).astype(np.float32)
            inside = np.abs(middle) <= track.half_swath
            noise = scene.border(x, y, middle)
            noise = inside & noise if noise is not None else np.zeros_like(inside)
            label = a.landscape.label(a.landscape.box(x[0, 0], y[0, 0], ROWS, width), a.flight.day)
            groups = noise, inside & ~noise & (label == WATER), inside & ~noise & (label != WATER)
            grid = PixelGrid(track.site.epsg, x0, y0 - top * 10, 10.0, ROWS, width)
            for way, edges in WAYS.items():
                image = sentinel1.backscatter([a.index], edges=edges)
                kept = fetch(session, image, grid, TYPE)["VV"] != sentinel1.NODATA["int16"]
                totals[era][way] += [n for group in groups for n in (group.sum(), (group & kept).sum())]
    return totals


def main(count: int) -> None:
    for era, ways in measure(count).items():
        print(f"\n{era}: {count} slices\n\n| way | border noise kept | water lost | other ground lost |")
        print("|---|---|---|---|")
        for way, (noise, noise_kept, water, water_kept, other, other_kept) in ways.items():
            print(f"| {way} | {noise_kept / max(noise, 1):.1%} | {1 - water_kept / max(water, 1):.2%} "
                  f"| {1 - other_kept / max(other, 1):.2%} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
