"""What do digests cost? Prints milliseconds a tile of 6.5 MB by algorithm, and what `dwplus verify` takes of a store.

    python -m benchmarks.bench_verify [--store data/sample.zarr] [--rounds 3]
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dwplus.store import digests
from dwplus.store.verify import verify


def best(action: Callable[[], object], rounds: int) -> float:
    """Least seconds of an action."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--store", default="data/sample.zarr")
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    rng = np.random.default_rng(0)
    tile = {"s2": rng.integers(0, 4000, (10, 510, 510)).astype("u2"),
            "s1": rng.integers(-3000, 200, (2, 510, 510)).astype("i2"),
            "label": rng.integers(0, 9, (510, 510)).astype("u1")}
    for name, make in (
            ("XXH3, 128 bits (ours)", lambda a: digests.of_array("row", "s2", a)),
            ("BLAKE2b, 128 bits", lambda a: hashlib.blake2b(a.tobytes(), digest_size=16).hexdigest()),
            ("SHA-256", lambda a: hashlib.sha256(a.tobytes()).hexdigest())):
        seconds = best(lambda make=make: [make(a) for a in tile.values()], 20)  # type: ignore[misc]
        print(f"{name:<24}{seconds * 1e3:8.2f} ms a tile")
    if Path(given.store).exists():
        report = verify(given.store)
        seconds = best(lambda: verify(given.store), given.rounds)
        print(f"verify of {given.store}: {seconds:.2f} s, {report.bytes / seconds / 1e6:.0f} MB/s, "
              f"{len(report.faults)} faults")


if __name__ == "__main__":
    main()
