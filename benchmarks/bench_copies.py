"""How fast are stores copied, beside copying their files? Prints MB/s of `dwplus subset` by stage, and of `cp`.

Every tile is unpacked and compared with its digest on its way, and the new store is verified at the end. What a store
costs before its first tile (some 40 arrays in each group) does not grow with its tiles.

    python -m benchmarks.bench_copies [--store data/sample.zarr] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from dwplus.store import copies, tables
from dwplus.store.locks import only_run
from dwplus.store.verify import verify


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--store", type=Path, default=Path("data/sample.zarr"))
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    size = sum(f.stat().st_size for f in given.store.rglob("*") if f.is_file()) / 1e6
    print(f"{given.store}, {size:.0f} MB, {os.cpu_count()} cores; s by the clock (s of CPU)")
    print(f"{'cp':>16}{'begin':>16}{'copy':>16}{'table':>16}{'verify':>16}{'cp, MB/s':>10}{'copy, MB/s':>12}"
          f"{'all, MB/s':>11}{'load':>6}")
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.store.resolve().parent) as folder:
            began = time.perf_counter()
            subprocess.run(["cp", "-r", str(given.store), f"{folder}/plain"], check=True)
            subprocess.run(["sync", "-f", folder], check=True)
            plain = time.perf_counter() - began
            shutil.rmtree(f"{folder}/plain")
            times: list[tuple[float, float]] = []
            source = copies.Source.open(given.store)
            rows, out = source.rows().assign(from_store=0), f"{folder}/out.zarr"
            with only_run(out) as hold:
                for action in (lambda: copies.begin([source], rows, source.spec, out),  # noqa: B023
                               lambda: copies.copy([source], rows, out, hold),  # noqa: B023
                               lambda: tables.finish(out), lambda: verify(out)):  # noqa: B023
                    clock, cpu = time.perf_counter(), time.process_time()
                    action()
                    times.append((time.perf_counter() - clock, time.process_time() - cpu))
        total = sum(clock for clock, _ in times)
        stages = "".join(f"{f'{clock:.2f} ({cpu:.2f})':>16}" for clock, cpu in times)
        print(f"{plain:16.2f}{stages}{size / plain:10.0f}{size / times[1][0]:12.0f}{size / total:11.0f}"
              f"{os.getloadavg()[0]:6.1f}", flush=True)


if __name__ == "__main__":
    main()
