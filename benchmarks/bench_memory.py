"""Does the loader's memory stay flat over a long epoch? Prints resident memory and open files as it goes.

Batches of 8 random whole tiles, from a store as often as it takes; batches are dropped as a training step drops them.

    python -m benchmarks.bench_memory [--store data/sample.zarr] [--tiles 20000] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np
import psutil

from model.data import TileDataset
from model.loader import Loader

BATCH = 8


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--store", default="data/sample.zarr")
    words.add_argument("--tiles", type=int, default=20_000)
    words.add_argument("--threads", type=int, default=2)
    given = words.parse_args()
    data = TileDataset(given.store, "all")
    samples = np.random.default_rng(0).integers(0, len(data), given.tiles).tolist()
    loader = Loader(data, [samples[i:i + BATCH] for i in range(0, given.tiles, BATCH)], threads=given.threads)
    process, began = psutil.Process(), time.perf_counter()
    print(f"{len(data)} tiles of {data.window} px, {given.threads} threads, {os.cpu_count()} cores")
    print(f"{'tiles':>8}{'resident MiB':>14}{'open files':>12}{'tiles/s':>9}")
    checks = {given.tiles // 10, given.tiles // 2, given.tiles}
    seen = 0
    for batch in loader:
        before, seen = seen, seen + len(batch)
        for mark in sorted(checks):
            if before < mark <= seen:
                print(f"{mark:>8}{process.memory_info().rss / 2**20:>14.1f}{process.num_fds():>12}"
                      f"{seen / (time.perf_counter() - began):>9.1f}", flush=True)
    print(f"most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
