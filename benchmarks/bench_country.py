"""A country in one go: a thousand blocks over two UTM zones, Dask workers that are killed, one set of files.

    python -m benchmarks.bench_country

The ground is smooth and made up, so that no Earth is asked; the network is the published design in small with random
weights. Blocks are as large as a map's (5.12 km) with pixels of 40 m in place of 10, so that the whole way of a country
fits minutes: windows, blending, kills, rasters, areas, STAC, page. `--size 512 --scale 10` is the real thing.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyproj
import rasterio
import shapely
import torch

from benchmarks.scale import GROUND, Figures, need
from dwplus.grid import PixelGrid, covering_tiles, transformer
from dwplus.maps.blocks import Block, Frame, Scene, WindowShape
from dwplus.maps.inputs import WindowPixels, in_order
from dwplus.maps.plan import clip_of
from dwplus.maps.product import Product
from dwplus.maps.work import Work
from dwplus.runtime import cluster
from dwplus.taxonomy import IGNORE
from model.checkpoint import save
from model.mapping import Job, map_blocks
from model.networks.registry import build

#: Over the border of zones 31 and 32: the size of a small country, some thousand blocks.
REGION = (4.85, 49.7, 7.2, 51.25)
BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")


@dataclass(frozen=True)
class Ground:
    """Pixels of a made-up ground: the same at a place whichever zone's grid asks for it."""

    shape: WindowShape

    def begin(self) -> None:
        """Nothing to make ready."""

    def read(self, block: Block, scene: Scene) -> WindowPixels:
        """A window of it."""
        grid = self.shape.window(block.grid)
        x, y = np.meshgrid(grid.x0 + (np.arange(grid.width) + 0.5) * grid.scale,
                           grid.y0 - (np.arange(grid.height) + 0.5) * grid.scale)
        lon, lat = transformer(grid.epsg, 4326).transform(x, y)
        waves = [np.sin(40 * k * lon + k) * np.cos(55 * k * lat - 2 * k) for k in (1, 2, 3)]
        s2 = np.stack([1500 + 900 * waves[b % 3] + 60 * b for b in range(len(BANDS))]).astype("uint16")
        s1 = np.stack([-1200 + 500 * waves[0], -1800 + 500 * waves[1]]).astype("int16")
        return WindowPixels(s2, s1)


def network(folder: Path) -> Path:
    """A run of a small network with random weights that call for several classes."""
    torch.manual_seed(0)
    options = {"variant": "small", "s2_bands": len(BANDS), "s1_bands": 2}
    net = build("specsar_former", **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    scaling = {"s2": {"bands": list(BANDS), "mean": [1700.0] * 10, "std": [700.0] * 10, "low": [0.0] * 10,
                      "high": [10_000.0] * 10},
               "s1": {"bands": ["VV", "VH"], "mean": [-12.0, -18.0], "std": [4.0, 4.0], "low": [-40.0] * 2,
                      "high": [10.0] * 2}, "tiles": 1}
    save(folder / "best.safetensors", {f"net.{k}": v for k, v in net.state_dict().items()}, {
        "model": {"name": "specsar_former", "options": options}, "s2_bands": list(BANDS), "s1_bands": ["VV", "VH"],
        "normalisation": scaling, "epoch": 1, "specs": [{}]})
    return folder


def killer(stop: threading.Event, every: float, killed: list[int]) -> None:
    """Kill a worker now and then, as a cluster's scheduler does to jobs of others."""
    rng = np.random.default_rng(0)
    while not stop.wait(every):
        workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        if workers:
            victim = workers[int(rng.integers(len(workers)))]
            victim.send_signal(signal.SIGKILL)
            killed.append(victim.pid)


def watch(stop: threading.Event, peak: dict[str, float]) -> None:
    """The largest memory of this process and of any of its workers, GiB."""
    me = psutil.Process()
    while not stop.wait(0.5):
        peak["driver"] = max(peak.get("driver", 0), me.memory_info().rss / 2**30)
        for child in me.children(recursive=True):
            try:
                peak["worker"] = max(peak.get("worker", 0), child.memory_info().rss / 2**30)
            except psutil.NoSuchProcess:
                continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="pixels along a block")
    parser.add_argument("--scale", type=float, default=40.0, help="metres a pixel")
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds; 0 kills nobody")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    os.environ.setdefault("SOURCE_DATE_EPOCH", "1770000000")
    west, south, east, north = REGION
    # As many rows from the north as hold the blocks that are asked for.
    region = shapely.box(*REGION)
    while len(tiles := covering_tiles(region, a.size, a.scale)) > a.blocks and north - south > 0.1:
        south += 0.05
        region = shapely.box(west, south, east, north)
    scene = Scene("scene", "scene", "", "sr", 1_625_000_000_000, 1_625_003_600_000, 0.0)
    blocks = in_order([Block(t.id, t.grid, (scene,)) for t in tiles])
    shape = WindowShape(8, 16)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()
        run = network(folder / "run")
        work = Work(folder / "work")
        work.prepare()
        stop = threading.Event()
        killed: list[int] = []
        peak: dict[str, float] = {}
        watchers = [threading.Thread(target=watch, args=(stop, peak), daemon=True)]
        if a.kill_every:
            watchers.append(threading.Thread(target=killer, args=(stop, a.kill_every, killed), daemon=True))
        job = Job(Ground(shape), str(run), str(folder / "work"), shape, "cpu")
        began = time.perf_counter()
        with cluster.client_of("processes", 1) as client:
            for watcher in watchers:
                watcher.start()
            tally = map_blocks(job, Frame(blocks, shape), client, functools.partial(say_now, began))
        mapped_s = time.perf_counter() - began
        stop.set()
        # The network's random answers are no map; what is checked is that each piece of ground is there once.
        product = Product(folder / "map", work, blocks, tally.outcomes, clip_of([region]), (), None, False, "Country",
                          "made up", "2026-01-01T00:00:00Z", {"synthetic": True, "blocks": tally.line, "settings": {},
                                                              "made_from": {"ground": "made up"}})
        began = time.perf_counter()
        table = product.write()
        written_s = time.perf_counter() - began
        report(a, region, tally, table, folder / "map", mapped_s, written_s, peak, killed)


def say_now(began: float, done: int, total: int, last: list[float] = [0.0]) -> None:  # noqa: B006
    """A line every half minute."""
    if time.perf_counter() - last[0] > 30:
        last[0] = time.perf_counter()
        print(f"{done}/{total} blocks, {time.perf_counter() - began:.0f} s", flush=True)


def report(a: argparse.Namespace, region: shapely.Geometry, tally: Any, table: Any, out: Path, mapped_s: float,
           written_s: float, peak: dict[str, float], killed: list[int]) -> None:
    """What it took, whether the ground is whole, and what countries would take."""
    ground = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(region, 0.01))[0]) / 1e6
    whole = float(table["mapped_km2"].sum())
    item = json.loads((out / "item.json").read_text())
    rasters = sorted(out.glob("class_epsg*.tif"))
    holes = [hole_share(path, region) for path in rasters]
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    total = mapped_s + written_s
    print(f"{tally.line}; {len(killed)} workers killed")
    print(f"{mapped_s:.0f} s for windows and blocks, {written_s:.0f} s for files: {len(tally.outcomes) / total:.2f} "
          f"blocks/s, {len(tally.outcomes) * a.size ** 2 / total / 1e6:.2f} million pixels/s, {cpu:.0f} s of CPU")
    print(f"peak memory: {peak.get('driver', 0):.2f} GiB here, {peak.get('worker', 0):.2f} GiB in a worker")
    print(f"{whole:,.1f} km2 mapped of {ground:,.1f} km2 ({whole / ground - 1:+.2%}: the scale of UTM); pixels of the "
          f"region without a class: {sum(holes):.6%}; {len(rasters)} zones, {len(item['assets'])} assets in one item")
    rate = len(tally.outcomes) * a.size ** 2 / total
    for name in ("Cambodia", "Panama"):
        # At this machine's rate of pixels; requests and EECU as docs/scale.md assumes them.
        what = need(GROUND[name], Figures(1.86, 27.0, 1, 1, 1, 0.67))
        hours = what.blocks * 510 ** 2 / rate / 3600
        print(f"{name}, {GROUND[name]:,.0f} km2: {what.blocks:,} blocks of 510 px are {hours:.1f} h of this work, and "
              f"{what.eecu:.1f} EECU-hours at the assumed cost of a request")
    if a.json:
        a.json.write_text(json.dumps({
            "machine": platform.machine(), "cores": os.cpu_count(), "blocks": len(tally.outcomes), "size": a.size,
            "mapped_s": mapped_s, "written_s": written_s, "cpu_s": cpu, "peak_gib": peak, "killed": len(killed),
            "km2": whole, "ground_km2": ground, "holes": sum(holes)}, indent=1))


def hole_share(path: Path, region: shapely.Geometry) -> float:
    """Pixels of the region's part in a raster's zone that have no class, as a share of its pixels."""
    from dwplus.maps.raster import outside

    with rasterio.open(path) as raster:
        epsg, label = int(raster.crs.to_epsg()), raster.read(1)
        grid = PixelGrid(epsg, raster.transform.c, raster.transform.f, raster.res[0], raster.height, raster.width)
    beyond = outside(grid, clip_of([region])[epsg])
    inside = np.ones(label.shape, bool) if beyond is None else ~beyond
    assert (label[~inside] == IGNORE).all(), "ground beyond the zone or the region"
    return float((label[inside] == IGNORE).sum() / inside.sum())


if __name__ == "__main__":
    main()
