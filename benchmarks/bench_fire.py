"""What does one tile cost the client, is the quota used in full, and how fast is a store checked? Prints a table.

A server in another process answers from memory after ``--latency-ms``, 40 requests at a time, as the service would; the
bodies are the sample planet's own, ten Sentinel-2 bands, two Sentinel-1 bands and the label, 510x510 px, so that
compressing them costs what it costs. Replaying keeps the planet's arithmetic off the cores that are measured. The bars:
at least 95 % of the latency bound, or at most 25 ms of client CPU a tile, whichever binds; less than 1.5 GiB.

Where a host takes free memory back from its virtual machines, each page that is used for the first time costs them CPU
seconds: writing a tile into the page cache was seen to take 5 ms instead of 2. ``--warm-gib`` of memory are therefore
used and freed before the client starts; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Different bodies the server replays.
BODIES = 28


def replay(latency: float, bodies: list[bytes], sender: Any) -> None:
    """Serve: metadata from the embedded Earth, pixels from memory."""
    from dwplus.earth.session import embedded_earth
    from dwplus.embedded_earth import serve

    earth = embedded_earth(None, latency_s=latency)
    count = iter(range(10**9))
    earth._compute_pixels = lambda request: ("application/octet-stream", bodies[next(count) % len(bodies)])
    server = serve(earth)
    sender.send(server.url)
    server.start()
    sender.recv()
    sender.send((earth.gate.peak, earth.requests))
    server.close()


def bodies_of(plan: Any, spec: Any) -> list[bytes]:
    """Answers to some of the plan's own requests, as the wire has them."""
    import ee

    from dwplus.earth import connect
    from dwplus.earth.stack import fetch_tile
    from dwplus.grid import PixelGrid

    session, found = connect(), []
    compute = ee.data.computePixels

    def kept(params: dict[str, Any]) -> bytes:
        found.append(compute(params))
        return found[-1]

    ee.data.computePixels = kept
    try:
        for row in plan.iloc[::max(1, len(plan) // BODIES)].to_dict("records"):
            grid = PixelGrid(int(row["epsg"]), row["x0"], row["y0"], row["scale"], int(row["size"]), int(row["size"]))
            fetch_tile(session, spec, grid, row["label_id"], row["s2_id"], row["s1_id"].split(","))
    finally:
        ee.data.computePixels = compute
    return found


def child(plan: str, store: str, url: str) -> None:
    """Export, then say: wall and CPU seconds from the first request to the last status, and the peak memory."""
    from dwplus.earth import EarthConfig, connect_config
    from dwplus.export import export

    config = EarthConfig(world=url)
    connect_config(config)
    import distributed  # noqa: F401

    first: list[tuple[float, float]] = []

    def progress(done: int, total: int, tiles: Any, note: str) -> None:
        if not first:
            first.append((time.perf_counter(), time.process_time()))
        last[:] = [(time.perf_counter(), time.process_time())]

    last: list[tuple[float, float]] = []
    summary = export(plan, store, config, progress=progress)
    wall, cpu = (b - a for a, b in zip(first[0], last[0], strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"RESULT {summary.exported} {wall} {cpu} {peak}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=300)
    parser.add_argument("--tiles", type=int, default=448)
    parser.add_argument("--warm-gib", type=float, default=8)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    from dwplus.earth import connect
    from dwplus.planning.plan import make_plan, write_plan
    from dwplus.spec import make_spec
    from dwplus.store.verify import verify

    spec = make_spec({"name": "fire", "region": "sample", "windows": [["2021-06-01", "2021-09-01"]],
                      "sampling": {"per_biome": -(-options.tiles // 14)}})
    plan = make_plan(connect(), spec)
    bodies = bodies_of(plan[plan["state"] == "planned"], spec)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=replay, args=(options.latency_ms / 1000, bodies, theirs), daemon=True)
    server.start()
    url = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        write_plan(plan, Path(folder, "plan.parquet"))
        store = Path(folder, "fire.zarr")
        subprocess.run([sys.executable, "-c", f"b'\\1' * {int(options.warm_gib * 2**30)}"], check=True)
        done = subprocess.run([sys.executable, __file__, "--child", f"{folder}/plan.parquet", str(store), url],
                              text=True, capture_output=True)
        found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+)", done.stdout)
        if not found:
            sys.exit(done.stdout + done.stderr)
        exported, wall, cpu, peak = (float(value) for value in found.groups())
        ours.send(None)
        in_flight, requests = ours.recv()
        began = time.perf_counter()
        report = verify(store)
        checking = time.perf_counter() - began
    bound = 40 / (options.latency_ms / 1000)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
          f"{platform.python_version()}; {exported:.0f} tiles, {options.latency_ms:.0f} ms latency, "
          f"{options.warm_gib:g} GiB warmed")
    print(f"{'tiles/s':<44}{exported / wall:10.1f}  latency bound {bound:.0f}, CPU bound "
          f"{exported / cpu * (os.cpu_count() or 1):.0f} with every core ours")
    print(f"{'client CPU a tile':<44}{cpu / exported * 1000:10.1f} ms (bar: 25 ms)")
    print(f"{'peak memory of the client':<44}{peak:10.2f} GiB (bar: 1.5 GiB)")
    print(f"{'most requests in flight at the server':<44}{in_flight:10d}  ({requests} requests)")
    print(f"{'verify':<44}{report.bytes / 1e6 / checking:10.0f} MB/s ({len(report.faults)} faults)")


if __name__ == "__main__":
    main()
