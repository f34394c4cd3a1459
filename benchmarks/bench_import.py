"""How fast does a public data set become a store? Scenes of WHU-OPT-SAR's size, 8 bits, made here.

``python -m benchmarks.bench_import [--scenes 3]`` prints tiles of 512 px (4 + 1 bands and the label) a second, by the
clock and by CPU time over two cores, everything included: looking at every file, writing, digests, the table of tiles.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
import warnings
from pathlib import Path

from dwplus.importers import import_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=3, choices=range(1, 6))
    scenes = parser.parse_args().scenes
    from tests import public_sets

    warnings.simplefilter("ignore")
    public_sets.WHU_SIZE = (3704, 5556)
    with tempfile.TemporaryDirectory() as folder:
        public_sets.whu(Path(folder) / "set", public_sets.WHU_SHEETS[:scenes], division=False)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        found = import_set("whu-opt-sar", Path(folder) / "set", Path(folder) / "whu.zarr")
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        size = sum(path.stat().st_size for path in (Path(folder) / "whu.zarr").rglob("*") if path.is_file())
    print(f"{found.tiles} tiles of 512 px, 5 bands and the label: {found.tiles / wall:.0f} tiles/s by the clock "
          f"(load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores), {2 * found.tiles / cpu:.0f} tiles/s of two "
          f"cores' "
          f"CPU time ({1000 * cpu / found.tiles:.1f} ms a tile), {size / found.tiles / 1e6:.2f} MB a tile")


if __name__ == "__main__":
    main()
