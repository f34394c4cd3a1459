"""How fast do the networks run and train, and does the device wait for data? Prints figures, writes them as JSON.

``python -m benchmarks.bench_model --json out.json``; on a CUDA device the published network at full size, on a CPU the
same forward pass and a small training run. The forward figures and the training step need torch and numpy alone; the
training run from a store needs the project's other packages, and is left out with a word where they are missing.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import model
from dwplus.taxonomy import CLASSES

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
#: The published speed: 38.23 images/s, device not given. Source: arXiv 2410.03962.
PUBLISHED_FPS = 38.23


def class_map(rng: np.random.Generator, size: int, classes: int = 9) -> np.ndarray:
    """Patches of classes, uint8 (size, size), of some ten pixels a side."""
    cells = rng.integers(0, classes, (size // 12 + 2, size // 12 + 2))
    wobble = np.clip((np.add.outer(np.arange(size), np.zeros(size)) + rng.integers(0, 3, (size, size))) // 12, 0, None)
    across = np.clip((np.add.outer(np.zeros(size), np.arange(size)) + rng.integers(0, 3, (size, size))) // 12, 0, None)
    return cells[wobble.astype(int), across.astype(int)].astype("uint8")


def class_pixels(rng: np.random.Generator, label: np.ndarray, bands: int, gap_hours: float) -> tuple[np.ndarray,
                                                                                                     np.ndarray]:
    """Pixels that tell the class: S2 confuses classes 6 with 7 and 0 with 3, S1 tells these apart and is noisy."""
    alike = np.array([0, 1, 2, 0, 4, 5, 6, 6, 8])[label]
    spectra = np.random.default_rng(11).uniform(400, 4000, (9, bands))
    s2 = spectra[alike].transpose(2, 0, 1) + rng.normal(0, 250, (bands, *label.shape))
    levels = np.array([[-20, -27], [-8, -14], [-12, -19], [-9, -16], [-11, -17], [-10, -16], [-4, -10], [-15, -21],
                       [-13, -20]], float)
    s1 = levels[label].transpose(2, 0, 1) + rng.normal(0, 2.0 + gap_hours / 100, (2, *label.shape))
    return np.clip(s2, 1, 10000).astype("uint16"), np.round(s1 * 100).astype("int16")


def make_store(path: str | Path, *, tiles: int = 24, size: int = 96, biomes: Sequence[int] = (4, 12), seed: int = 0,
               splits: Sequence[str] = ("train", "train", "val", "test"), shard: int = 4,
               bands: Sequence[str] = ("B2", "B3", "B4", "B8", "B11", "B12"), first: int = 0,
               s1_dtype: str = "int16") -> Path:
    """Write a store whose pixels tell the class, so that training on it shows. Tile i is the same at every size of
    the store; a tenth of the labels is 255, a corner of some tiles has no data."""
    import geopandas as gpd
    import pandas as pd

    from dwplus.grid import PixelGrid, tile_on_grid
    from dwplus.planning.plan import COLUMNS
    from dwplus.spec import make_spec
    from dwplus.store import layout, writer
    from dwplus.store.writer import TileResult

    path = Path(path)
    spec = make_spec({
        "name": "learnable", "region": {"bbox": [2, 50, 3, 51]}, "windows": [["2020-01-01", "2020-06-01"]],
        "tile": {"size": size}, "store": {"shard_tiles": shard, "s1_dtype": s1_dtype},
        "sentinel2": {"bands": list(bands)}})
    rows = []
    for i in range(first, first + tiles):
        grid = PixelGrid(32631, 400000.0 + 26000.0 * (i % 12), 5600000.0 + 26000.0 * (i // 12), 10.0, size, size)
        day = pd.Timestamp("2020-01-10", tz="UTC") + pd.Timedelta(days=i % 90)
        gap = float((i * 37) % 150)
        rows.append({
            "tile_id": tile_on_grid(grid).id, "window": "2020-01-01/2020-06-01", "epsg": 32631, "x0": grid.x0,
            "y0": grid.y0, "size": size, "scale": 10.0, "biome": biomes[i * len(biomes) // (first + tiles)],
            "ecoregion": "somewhere", "coastal": False, "label_id": f"label{i}", "s2_id": f"s2_{i}",
            "s1_id": f"s1_{i}", "s2_time": day, "s1_time": day - pd.Timedelta(hours=gap), "gap_hours": -gap,
            "s1_count": 1, "s1_coverage": 1.0, "s2_cloud": float(i * 7 % 35), "orbit_pass": "ASCENDING",
            "relative_orbit": 8, "split": splits[i % len(splits)], "state": "planned", "reason": "",
            "spec": spec.to_json(), "geometry": grid.footprint()})
    plan = gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
    for column in ("s2_time", "s1_time"):
        plan[column] = plan[column].astype("datetime64[ms, UTC]")
    layout.create(path, plan[[*COLUMNS, "geometry"]], spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    root = layout.open_root(path, "r+")
    for biome, members in plan.groupby("biome", sort=True):
        group, numbers = root[layout.group_name(int(biome))], [first + int(i) for i in members.index]
        for start in range(0, len(numbers), shard):
            stop = min(start + shard, len(numbers))
            results = {}
            for row in range(start, stop):
                number = numbers[row]
                rng = np.random.default_rng([seed, number])
                label = class_map(rng, size)
                s2, s1 = class_pixels(rng, label, len(bands), (number * 37) % 150)
                label[rng.random(label.shape) < 0.1] = 255
                if number % 5 == 0:
                    s2[:, :8, :8], s1[:, -8:, -8:] = layout.S2_NODATA, layout.S1_NODATA
                if s1_dtype == "float32":
                    s1 = np.where(s1 == layout.S1_NODATA, np.nan, s1 / 100).astype("float32")
                results[row] = TileResult(layout.EXPORTED, "", s2, s1, label)
            writer.write_shard(group, start, stop, results)  # type: ignore[arg-type]
    return path


def timed(action: Callable[[], Any], device: torch.device, seconds: float, least: int = 3) -> float:
    """Median seconds of an action, warmed up."""
    def once() -> float:
        began = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    for _ in range(2):
        once()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        times.append(once())
    return statistics.median(times)


def peak_mb(device: torch.device) -> float | None:
    """Largest memory of the device since the last call, MB."""
    if device.type != "cuda":
        return None
    found = torch.cuda.max_memory_allocated(device) / 1e6
    torch.cuda.reset_peak_memory_stats(device)
    return round(found, 1)


def forward(device: torch.device, size: int, batches: Sequence[int], seconds: float, compiled: bool,
            variant: str = "b2") -> list[dict]:
    """Images per second of the published network: published order of operations against ours, by precision."""
    modes: list[tuple[str, dict[str, Any], torch.dtype, bool]] = [
        ("published order, fp32", {"plain_attention": True, "plain_decoder": True}, torch.float32, False),
        ("plain attention, fp32", {"plain_attention": True}, torch.float32, False),
        ("fp32", {}, torch.float32, False), ("bf16", {}, torch.bfloat16, False)]
    if compiled:
        modes += [("fp32 compiled", {}, torch.float32, True), ("bf16 compiled", {}, torch.bfloat16, True)]
    rows: list[dict[str, Any]] = []
    for name, options, dtype, compile_it in modes:
        torch.manual_seed(0)
        net: Any = model.build("specsar_former", variant=variant, **options).to(device, dtype).eval()
        if compile_it:
            torch._dynamo.reset()
            net = torch.compile(net)
        for batch in batches:
            s2, s1 = (torch.randn(batch, n, size, size, device=device, dtype=dtype) for n in (10, 2))
            try:
                with torch.inference_mode():
                    took = timed(lambda: net(s2, s1), device, seconds)  # noqa: B023  used at once
            except (RuntimeError, torch.OutOfMemoryError) as error:
                rows.append({"mode": name, "batch": batch, "failed": str(error).splitlines()[0][:200]})
                print(f"forward {name:24} batch {batch:3}: failed ({rows[-1]['failed'][:80]})", flush=True)
                continue
            rows.append({"mode": name, "batch": batch, "size": size, "images_per_s": batch / took,
                         "ms_per_image": 1000 * took / batch, "peak_mb": peak_mb(device)})
            print(f"forward {name:24} batch {batch:3}: {batch / took:8.2f} images/s", flush=True)
    return rows


def training_step(device: torch.device, variant: str, size: int, batch: int, seconds: float,
                  compile_it: bool) -> dict[str, Any]:
    """Samples per second of forward, backward and AdamW on data that lies on the device."""
    from model.losses import FocalLoss

    torch.manual_seed(0)
    bare = model.build("specsar_former", variant=variant).to(device).train()
    net: Any = torch.compile(bare) if compile_it else bare
    loss_of, optimiser = FocalLoss().to(device), torch.optim.AdamW(bare.parameters(), fused=device.type == "cuda")
    s2, s1 = (torch.randn(batch, n, size, size, device=device) for n in (10, 2))
    label = torch.randint(0, len(CLASSES), (batch, size, size), device=device, dtype=torch.uint8)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = net(s2, s1)
        loss_of(logits, label).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    took = timed(step, device, seconds)
    found: dict[str, Any] = {"variant": variant, "size": size, "batch": batch, "compiled": compile_it,
                             "samples_per_s": batch / took, "peak_mb": peak_mb(device)}
    print(f"training step {variant}, batch {batch}{', compiled' * compile_it}: {batch / took:.2f} samples/s",
          flush=True)
    return found


def training_run(device: torch.device, variant: str, size: int, batch: int, tiles: int, epochs: int,
                 threads: int, compile_it: bool) -> dict[str, Any]:
    """A real training run from a real store: samples per second, and the share of time spent waiting for data."""
    try:
        from model.config import make_config
        from model.train import train
    except ImportError as error:
        print(f"training from a store: left out, {error}", flush=True)
        return {"left_out": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "bench.zarr", tiles=tiles, size=size, bands=BANDS, splits=("train",),
                           shard=16)
        config = make_config({
            "model": {"options": {"variant": variant}}, "data": {"threads": threads, "ahead": 4},
            "optim": {"epochs": epochs, "batch_size": batch}, "run": {"tensorboard": False, "compile": compile_it}})
        summary = train(store, Path(folder) / "run", config, device=str(device))
    # The first epoch warms up.
    later = summary.history[1:] or summary.history
    found: dict[str, Any] = {"variant": variant, "size": size, "batch": batch, "tiles": tiles, "threads": threads,
             "compiled": compile_it, "samples_per_s": statistics.median(r["samples_per_s"] for r in later),
             "wait_share": statistics.median(r["wait_share"] for r in later), "peak_mb": peak_mb(device)}
    print(f"training from a store: {found['samples_per_s']:.2f} samples/s, {100 * found['wait_share']:.1f} % of the "
          "time waiting for data", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", help="write the figures into this file")
    parser.add_argument("--device", help="cpu, cuda (default: cuda where there is one)")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--threads", type=int, default=12, help="threads that read tiles")
    a = parser.parse_args()
    device = torch.device(a.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    cuda = device.type == "cuda"
    if cuda:
        # For convolutions and products left in fp32.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    compiled = cuda and not a.no_compile
    name = torch.cuda.get_device_name(device) if cuda else f"{platform.machine()}, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}", flush=True)
    found: dict[str, Any] = {
        "device": name, "torch": torch.__version__, "published_images_per_s": PUBLISHED_FPS,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.bench_model", *sys.argv[1:]])}

    def keep(key: str, value: Any) -> None:
        # As it goes: a run that is cut off leaves what it has measured.
        found[key] = value
        if a.json:
            Path(a.json).write_text(json.dumps(found, indent=1) + "\n")

    if a.quick:
        keep("forward", forward(device, 64, (1,), 0.1, False))
        keep("training_step", [training_step(device, "small", 64, 2, 0.1, False)])
        keep("training_run", training_run(device, "small", 64, 4, 8, 2, 2, False))
        return
    keep("forward", forward(device, 512, (1, 8, 32) if cuda else (1,), 2.0, compiled))
    steps = []
    for variant, size, batch in ((("b2", 512, 4), ("b2", 512, 16)) if cuda else (("small", 256, 8),)):
        for compile_it in (False, True) if compiled else (False,):
            with contextlib.suppress(torch.OutOfMemoryError):
                steps.append(training_step(device, variant, size, batch, 3.0, compile_it))
                keep("training_step", steps)
    keep("training_run", training_run(device, "b2", 510, 16, 256, 4, a.threads, compiled) if cuda
         else training_run(device, "small", 256, 8, 32, 2, 2, False))


if __name__ == "__main__":
    main()
