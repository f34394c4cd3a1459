"""Maps past this machine, on paper: what a country, a continent and the globe take, and which limit binds.

    python -m benchmarks.scale                                   # prints the tables of docs/scale.md
    python -m benchmarks.scale --gpu-windows 40 --gpus 4         # with a figure of your own GPU

Every figure that goes in is an option; what is measured and what is assumed stands in docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from dwplus.earth import limits
from dwplus.earth.cost import EECU_PER_SECOND
from dwplus.earth.limits import TIERS
from dwplus.grid import PixelGrid
from dwplus.maps.blocks import WindowShape
from dwplus.planning.preview import SECONDS_PER_MEGAPIXEL, SECONDS_PER_REQUEST

#: Land area, km2. Cambodia 181,035, Panama 75,320, Europe 10,186,000 (UN geoscheme with European Russia is larger:
#: this is the continent to the Urals), land of the globe without Antarctica 134,600,000. CIA World Factbook and
#: National Geographic, rounded.
GROUND = {"Cambodia": 181_035.0, "Panama": 75_320.0, "Europe": 10_186_000.0, "globe": 134_600_000.0}
#: Blocks that reach over a region's edge, as a share of those inside: a rim of half a block along a boundary that is
#: three times as long as that of a disc of the region's area.
WIGGLE = 3.0
#: Bands in a request: 10 S2 and 2 S1 of two bytes, the mask of one.
PIXEL_BYTES = 25


@dataclass(frozen=True)
class Figures:
    """What goes in.

    Attributes
    ----------
    cpu_windows, gpu_windows : windows a second, one machine of 2 cores and one GPU. gpus, machines : how many.
    dates : scenes merged in each block. map_bytes : of the finished map, a pixel.
    """

    cpu_windows: float
    gpu_windows: float
    gpus: int
    machines: int
    dates: int
    map_bytes: float


@dataclass(frozen=True)
class Need:
    """What a region takes; hours unless said otherwise."""

    blocks: int
    requests: int
    fetched_bytes: float
    map_bytes: float
    eecu: float
    rate: float
    flight: float
    cpu: float
    gpu: float

    @property
    def slowest(self) -> tuple[str, float]:
        """The limit that binds on the clock, with one GPU or more, and its hours."""
        times = {"requests a second": self.rate, "requests in flight": self.flight, "GPU": self.gpu}
        name = max(times, key=lambda key: times[key])
        return name, times[name]


def need(km2: float, f: Figures) -> Need:
    """From an area to what it takes."""
    block = PixelGrid(32648, 0.0, 0.0, 10.0, 510, 510)
    side = WindowShape().window(block).width
    edge = block.width * block.scale / 1000
    blocks = math.ceil(km2 / edge ** 2 + WIGGLE * 2 * math.sqrt(math.pi * km2) / 2 / edge)
    windows = blocks * f.dates
    pixels = windows * side ** 2
    seconds = windows * SECONDS_PER_REQUEST + pixels * 14 / 1e6 * SECONDS_PER_MEGAPIXEL
    return Need(blocks, windows, pixels * PIXEL_BYTES, km2 * 1e4 * f.map_bytes, seconds * EECU_PER_SECOND / 3600,
                windows / limits.REQUESTS_PER_SECOND / 3600, seconds / limits.CONCURRENT_REQUESTS / 3600,
                windows / f.cpu_windows / f.machines / 3600, windows / f.gpu_windows / f.gpus / 3600)


def span(hours: float) -> str:
    """In the unit people would use."""
    if hours < 2:
        return f"{60 * hours:.0f} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:,.0f} d"


def size(count: float) -> str:
    """Bytes for people."""
    for unit, step in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= step:
            return f"{count / step:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def quota(eecu: float) -> str:
    """Months of the smallest tier that does it within a year."""
    for name, hours in TIERS.items():
        if eecu <= hours:
            return f"{name}, in a month"
    for name, hours in TIERS.items():
        if eecu <= 12 * hours:
            return f"{name}, in {math.ceil(eecu / hours)} months"
    return "none in a year"


def tables(f: Figures) -> list[str]:
    """The tables of docs/scale.md, in Markdown."""
    found = {name: need(km2, f) for name, km2 in GROUND.items()}
    out = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]

    def row(title: str, values: list[str]) -> None:
        out.append(f"| {title} | {' | '.join(values)} |")

    needs = list(found.values())
    row("area, km2", [f"{v:,.0f}" for v in GROUND.values()])
    row("blocks of 5.1 km", [f"{n.blocks:,}" for n in needs])
    row("pixel requests", [f"{n.requests:,}" for n in needs])
    row("fetched", [size(n.fetched_bytes) for n in needs])
    row("the map on disk", [size(n.map_bytes) for n in needs])
    row("EECU-hours (assumed cost)", [f"{n.eecu:,.0f}" for n in needs])
    row("monthly quota that does it", [quota(n.eecu) for n in needs])
    row(f"at {limits.REQUESTS_PER_SECOND} requests a second", [span(n.rate) for n in needs])
    row(f"at {limits.CONCURRENT_REQUESTS} requests in flight", [span(n.flight) for n in needs])
    row(f"network on {f.machines} machine of 2 cores", [span(n.cpu) for n in needs])
    row(f"network on {f.gpus} GPU at {f.gpu_windows:g} windows/s (not measured)", [span(n.gpu) for n in needs])
    row("binds, with that GPU", [f"{n.slowest[0]}, {span(n.slowest[1])}" for n in needs])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-windows", type=float, default=1.86, help="windows a second on 2 cores")
    parser.add_argument("--gpu-windows", type=float, default=27.0, help="windows a second on a GPU; not measured")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--dates", type=int, default=1, help="scenes merged in each block")
    parser.add_argument("--map-bytes", type=float, default=0.67, help="bytes a pixel of the finished map")
    a = parser.parse_args()
    for line in tables(Figures(a.cpu_windows, a.gpu_windows, a.gpus, a.machines, a.dates, a.map_bytes)):
        print(line)


if __name__ == "__main__":
    main()
