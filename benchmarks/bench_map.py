"""How fast, how lean and how right are maps? On the sample planet, where the truth is known.

    python -m benchmarks.bench_map --run runs/specsar_former --store data/sample.zarr

Speed is CPU time, so that other jobs on the machine do not count. ``--run none`` is the small network with random
weights, for ``--only speed``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ee
import numpy as np
import torch

from dwplus.earth import connect
from dwplus.earth.pixels import fetch
from dwplus.earth.session import EarthConfig
from dwplus.grid import PixelGrid
from dwplus.maps import areas
from dwplus.maps.blocks import Block, Frame, Scene, WindowShape
from dwplus.maps.earth_inputs import EarthInputs
from dwplus.maps.inputs import WindowPixels, blocks_of_store
from dwplus.maps.intervals import Z95
from dwplus.maps.work import Work
from dwplus.spec import DatasetSpec
from dwplus.store import layout
from dwplus.store.reader import tile_table
from dwplus.taxonomy import CLASSES, IGNORE
from model.checkpoint import load, read, save
from model.data import TileDataset
from model.mapping import Job, map_blocks
from model.networks.registry import build
from model.page import predict
from model.predict import Predictor

SHAPE = WindowShape()
REGIONS = {"12 blocks": "9.1,51.15,9.3,51.27", "30 blocks": "9.0,51.1,9.35,51.3"}


@dataclass
class Ready:
    """Windows that are in memory already."""

    pixels: WindowPixels

    def begin(self) -> None:
        """Nothing to make ready."""

    def read(self, block: Block, scene: Scene) -> WindowPixels:
        """The same pixels for every block."""
        return self.pixels


def published(folder: Path, run: str) -> str:
    """A run of the published network with random weights, and everything else from another run."""
    _, info = read(load(run).path)
    options = {"variant": "b2", "s2_bands": len(info["s2_bands"]), "s1_bands": len(info["s1_bands"])}
    net = build("specsar_former", **options)
    save(folder / "best.safetensors", {f"net.{name}": t for name, t in net.state_dict().items()},
         {**info, "model": {"name": "specsar_former", "options": options}})
    return str(folder)


def untrained(folder: Path, store: str) -> str:
    """A run of the small network with random weights."""
    data = TileDataset(store, "train")
    options = {"variant": "small", "s2_bands": len(data.s2_bands), "s1_bands": len(data.s1_bands)}
    net = build("specsar_former", **options)
    save(folder / "best.safetensors", {f"net.{name}": t for name, t in net.state_dict().items()},
         {"model": {"name": "specsar_former", "options": options}, "s2_bands": data.s2_bands,
          "s1_bands": data.s1_bands, "normalisation": data.normalisation.to_dict(), "epoch": 0})
    return str(folder)


def speed(run: str, words: str, count: int, rounds: int = 5) -> None:
    """Windows through the whole of a map's work, against the network alone on the same windows, in turn; one thread,
    for several wait for each other at full load."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    scene = Scene("s2", "s1", "", "sr", 0, 0, 0.0)
    blocks = [Block(f"{i}_{j}", PixelGrid(32648, 5e5 + 5100 * j, 1e6 - 5100 * i, 10.0, 510, 510), (scene,))
              for i in range(3) for j in range(count // 3)]
    side = SHAPE.window(blocks[0].grid).width
    pixels = WindowPixels(rng.integers(200, 4000, (10, side, side)).astype("uint16"),
                          rng.integers(-2500, 0, (2, side, side)).astype("int16"), np.ones((side, side), bool))
    checkpoint = load(run)
    predictor = Predictor(checkpoint, torch.device("cpu"))
    s2, s1 = torch.randn(1, 10, side, side), torch.randn(1, 2, side, side)
    job_of = partial(Job, Ready(pixels), run, shape=SHAPE, device="cpu")
    predictor(pixels.s2[None], pixels.s1[None], keep=542)
    found: list[tuple[float, float]] = []
    for _ in range(rounds):
        began = time.process_time()
        with torch.inference_mode():
            for _ in range(count):
                checkpoint.net(s2, s1)
        middle = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            Work(folder).prepare()
            map_blocks(job_of(folder=folder), Frame(blocks, SHAPE), None, lambda *_: None)
        found.append(((middle - began) / count, (time.process_time() - middle) / count))
    alone, whole = (statistics.median(column) for column in zip(*found, strict=True))
    shares = sorted(one / other for one, other in found)
    print(f"{words}: network alone {1000 * alone:.0f} ms of CPU a window of {side} px, "
          f"the map's work {1000 * whole:.0f} ms: "
          f"{statistics.median(shares):.2f} of the network's own speed ({shares[0]:.2f} to {shares[-1]:.2f})")


def memory(run: str) -> None:
    """Peak memory of whole maps of two sizes."""
    for words, region in REGIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-m", "pipelines.map_region", "--region", region, "--run", run,
                                        "--out", f"{folder}/map"], stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            print(f"{words}: peak {used.ru_maxrss / 2**20:.2f} GiB, {used.ru_utime + used.ru_stime:.0f} s of CPU, "
                  f"{time.perf_counter() - began:.0f} s, exit {status}")


def truth_of(grid: PixelGrid, year: int) -> np.ndarray:
    """What grows there, as the planet has it (0..8, 255 outside)."""
    image = ee.ImageCollection("SAMPLE/TRUTH").filterDate(f"{year}-01-01", f"{year + 1}-01-01").mosaic().unmask(
        IGNORE, False).toUint8().rename(["label"])
    return fetch(connect(), image, grid, np.dtype([("label", "u1")]))["label"]


def accuracy(run: str, store: str) -> tuple[np.ndarray, np.ndarray]:
    """The map of the store's test tiles against their labels and the truth, beside the network tile by tile.

    Returns
    -------
    Truth and map of all those pixels.
    """
    spec = DatasetSpec.model_validate(layout.open_root(store).attrs["spec"])
    table = tile_table(store)
    table = table[(table["split"] == "test") & (table["status"] == "exported")]
    blocks = blocks_of_store(table, 10.0, spec.tile.size, 1)
    checkpoint = load(run)
    data = TileDataset(store, "test", normalisation=checkpoint.normalisation)
    places = {name: i for i, name in enumerate(data.table["tile_id"])}
    hits = {name: [0, 0] for name in ("tile by tile, label", "map, label", "tile by tile, truth", "map, truth")}
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Work(folder)
        work.prepare()
        frame = Frame(blocks, SHAPE)
        map_blocks(Job(EarthInputs(EarthConfig(), spec, SHAPE), run, folder, SHAPE), frame, None, lambda *_: None)
        for block in blocks:
            raw = data.tile(places[block.id])
            alone, mapped = predict(checkpoint, raw), work.block(block.id)[0]
            truth = truth_of(block.grid, 2021)
            known = (raw.label != IGNORE) & (mapped != IGNORE) & (truth != IGNORE)
            kept.append((truth[known], mapped[known]))
            for name, said, right in (("tile by tile, label", alone, raw.label), ("map, label", mapped, raw.label),
                                      ("tile by tile, truth", alone, truth), ("map, truth", mapped, truth)):
                hits[name][0] += int((said == right)[known].sum())
                hits[name][1] += int(known.sum())
    for name, (agreed, total) in hits.items():
        print(f"{name:22} {100 * agreed / total:.2f} % of {total:,} labelled pixels of {len(blocks)} test tiles")
    truths, maps = zip(*kept, strict=True)
    return np.concatenate(truths), np.concatenate(maps)


def intervals(truth: np.ndarray, mapped: np.ndarray, draws: int = 50, points: int = 75) -> None:
    """How often 95 % intervals from drawn points hold the true areas."""
    share = np.bincount(truth, minlength=len(CLASSES)) / truth.size
    pixels = np.bincount(mapped, minlength=len(CLASSES))
    places = [np.flatnonzero(mapped == c) for c in range(len(CLASSES))]
    held, wide = [], []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        counts = np.zeros((1, len(CLASSES), len(CLASSES)))
        for c, where in enumerate(places):
            chosen = rng.choice(where, min(points, len(where)), replace=False)
            np.add.at(counts[0], (truth[chosen], c), 1)
        found = areas.estimate(pixels, areas.Reference(counts, clustered=False))
        held.append(np.abs(found.share - share) <= Z95 * found.error)
        wide.append(Z95 * found.error)
    off = np.abs(pixels / pixels.sum() - share)
    print(f"{draws} draws of {points} points a class: {100 * np.mean(held):.1f} % of the intervals hold the true area "
          f"(mean half width {100 * np.mean(wide):.2f} % of the ground); counted areas are off by up to "
          f"{100 * off.max():.2f} % of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/specsar_former")
    parser.add_argument("--store", default="data/sample.zarr")
    parser.add_argument("--rounds", type=int, default=5, help="of the speed")
    parser.add_argument("--only", choices=["speed", "memory", "truth"], help="one part")
    a = parser.parse_args()
    if a.only in (None, "speed"):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            run = untrained(Path(other), a.store) if a.run == "none" else a.run
            speed(run, "the run's network", 12, a.rounds)
            speed(published(Path(folder), run), "the published network, 26.7 M parameters", 6, a.rounds)
    if a.only in (None, "truth"):
        connect()
        intervals(*accuracy(a.run, a.store))
    if a.only in (None, "memory"):
        memory(a.run)


if __name__ == "__main__":
    if not Path("pipelines").is_dir():
        sys.exit("error: run it from the repository's root")
    main()
