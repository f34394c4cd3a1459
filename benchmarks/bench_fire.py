"""What does one tile cost the client, is the quota used in full, and how fast is a store checked? Prints a table.

A server in another process answers from memory after ``--latency-ms``, 40 requests at a time, as the service would; the
bodies are the sample planet's own, ten Sentinel-2 bands, two Sentinel-1 bands and the label, 510x510 px, so that
compressing them costs what it costs. Replaying keeps the planet's arithmetic off the cores that are measured. The bars:
at least 95 % of the latency bound, or at most 25 ms of client CPU a tile, whichever binds; less than 1.5 GiB.

Seconds differ from hour to hour on machines that others share, whence two yardsticks of the same run: the same bodies
taken apart, measured and packed by one thread that does nothing else; and the store's files read without a look at what
is in them, from the disk like those that ``verify`` reads.
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


def pixels_alone(bodies: list[bytes], spec: Any, store: Path) -> float:
    """CPU seconds a tile of what cannot be left out: taking bodies apart, measuring and packing them."""
    import numpy as np

    from dwplus.earth.pixels import decode
    from dwplus.earth.stack import TileAnswer
    from dwplus.export.shard import keep_memory
    from dwplus.grid import PixelGrid
    from dwplus.store import layout, writer

    keep_memory()
    grid = PixelGrid(32601, 0, 0, spec.tile.scale, spec.tile.size, spec.tile.size)
    groups = {"s2": spec.sentinel2.bands, "s1": spec.s1_bands, "label": ("label",)}
    types = {"s2": "<u2", "s1": spec.store.s1_dtype, "label": "u1"}
    dtype = np.dtype([(band, types[name]) for name, bands in groups.items() for band in bands])
    shards = writer.formats(store, layout.open_biome(store, layout.biome_groups(layout.open_root(store))[0]))
    began = time.process_time()
    for body in bodies * 4:
        tile = TileAnswer(decode(body, grid, dtype), groups, None).pixels()
        writer.pack(shards, writer.TileResult(layout.EXPORTED, "", tile.s2, tile.s1, tile.label))
    return (time.process_time() - began) / (4 * len(bodies))


def reading_alone(store: Path) -> float:
    """Seconds to read all files of a store from the disk."""
    files = [path for path in store.rglob("*") if path.is_file()]
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    for path in files:
        path.read_bytes()
    return time.perf_counter() - began


def replay(latency: float, bodies: list[bytes], sender: Any) -> None:
    """Serve: metadata from the embedded Earth, pixels from memory."""
    from dwplus.earth.session import embedded_earth
    from dwplus.embedded_earth import serve

    earth = embedded_earth(None, latency_s=latency)
    count = iter(range(10**9))
    earth._compute_pixels = lambda request, *limits: ("application/octet-stream", bodies[next(count) % len(bodies)])
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
    from dwplus.export.run import export

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
        reading, alone = reading_alone(store), pixels_alone(bodies, spec, store)
    bound = 40 / (options.latency_ms / 1000)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
          f"{platform.python_version()}; {exported:.0f} tiles, {options.latency_ms:.0f} ms latency")
    print(f"{'tiles/s':<44}{exported / wall:10.1f}  latency bound {bound:.0f}, CPU bound "
          f"{exported / cpu * (os.cpu_count() or 1):.0f} with every core ours")
    print(f"{'client CPU a tile':<44}{cpu / exported * 1000:10.1f} ms (bar: 25 ms)")
    print(f"{'of it, pixels, alone in one thread':<44}{alone * 1000:10.1f} ms")
    print(f"{'peak memory of the client':<44}{peak:10.2f} GiB (bar: 1.5 GiB)")
    print(f"{'most requests in flight at the server':<44}{in_flight:10d}  ({requests} requests)")
    print(f"{'verify':<44}{report.bytes / 1e6 / checking:10.0f} MB/s ({len(report.faults)} faults), reading alone "
          f"{report.bytes / 1e6 / reading:.0f} MB/s")


if __name__ == "__main__":
    main()
