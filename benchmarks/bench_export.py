"""How long does one tile take, and how fast is an export on the embedded Earth? Prints a table.

The tile request is the exporter's own: 10 Sentinel-2 bands, 2 Sentinel-1 bands and the label, 510x510 px, through the
real client and the in-process transport. The bar of the embedded Earth is 150 ms a tile.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from dwplus.earth import EarthConfig, connect
from dwplus.earth.stack import fetch_tile
from dwplus.export.run import export
from dwplus.grid import tile_from_id
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import make_spec

SPEC = make_spec({"name": "bench", "region": "sample", "windows": [["2021-06-01", "2021-09-01"]],
                  "sampling": {"per_biome": 4}})


def main() -> None:
    session = connect()
    began = time.perf_counter()
    plan = make_plan(session, SPEC)
    planning = time.perf_counter() - began
    planned = plan[plan["state"] == "planned"]
    times = []
    for row in planned.itertuples():
        began = time.perf_counter()
        fetch_tile(session, SPEC, tile_from_id(str(row.tile_id)).grid, str(row.label_id), str(row.s2_id),
                   str(row.s1_id).split(","))
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.parquet"
        write_plan(plan, path)
        began = time.perf_counter()
        summary = export(path, Path(folder) / "bench.zarr", EarthConfig())
        exporting = time.perf_counter() - began
        size = sum(f.stat().st_size for f in (Path(folder) / "bench.zarr").rglob("*") if f.is_file())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'plan':<40}{planning:10.1f} s for {len(plan)} rows, {len(planned)} planned")
    print(f"{'tile request, one at a time, median':<40}{statistics.median(times):10.0f} ms (bar: 150 ms)")
    print(f"{'tile request, 90th percentile':<40}{times[int(0.9 * len(times))]:10.0f} ms")
    print(f"{'export, start-up included':<40}{summary.planned / exporting:10.1f} tiles/s ({summary.line})")
    print(f"{'bytes a tile':<40}{size / max(1, summary.exported) / 1e6:10.2f} MB")


if __name__ == "__main__":
    main()
