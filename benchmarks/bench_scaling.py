"""How do time, memory and requests grow with tiles and workers, and which limit binds? Prints two tables.

Small tiles (64 px), so that 100 times as many end in minutes. The first table plans and exports 28, 280 and 2,800 tiles
in one process, from a server without latency. The second exports 280 tiles with 1 to 8 worker processes; as there are
not 8 cores, each worker has one thread and shards of 5 tiles, hence 5 requests in flight, and the server answers after
a second: the cores idle, and workers scale until they meet the quota of 40 in flight that they share. The limit that
binds is the one that was used the most, in percent of what it allows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.server import Server
from dwplus.earth import limits

SIZE, SHARD_TILES = 64, 5


def child(stage: str, per_biome: int, folder: str, url: str, workers: int) -> None:
    """Plan or export; say wall and CPU seconds of it, and the tiles."""
    import distributed

    from dwplus.earth import EarthConfig, connect_config
    from dwplus.export.run import export
    from dwplus.planning.plan import make_plan, write_plan
    from dwplus.spec import make_spec

    config = EarthConfig(world=url)
    session = connect_config(config)
    plan = Path(folder, "plan.parquet")
    if stage == "plan":
        spec = make_spec({"name": "scaling", "region": "sample", "windows": [["2021-06-01", "2021-09-01"]],
                          "tile": {"size": SIZE}, "sampling": {"per_biome": per_biome},
                          "store": {"shard_tiles": SHARD_TILES if workers else 16}})
        began, cpu = time.perf_counter(), time.process_time()
        made = make_plan(session, spec)
        write_plan(made, plan)
        tiles = int((made["state"] == "planned").sum())
        print("RESULT", json.dumps({"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu,
                                    "tiles": tiles}))
        return
    cluster = None
    if workers:
        cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    began, cpu = time.perf_counter(), time.process_time()
    summary = export(plan, Path(folder, f"{workers}.zarr"), config,
                     scheduler=cluster.scheduler_address if cluster else "threads")
    print("RESULT", json.dumps({"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu,
                                "tiles": summary.exported, "words": summary.line}))
    if cluster:
        cluster.close()


def measure(server: Server, stage: str, per_biome: int, folder: str, workers: int, latency_ms: float) -> dict[str, Any]:
    """One stage in a process of its own: its result, the server's counts and its peak memory (bytes)."""
    server.reset(latency_ms)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.bench_scaling", "--child", stage, str(per_biome), folder,
         server.url, str(workers)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    line = next((line for line in out.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise SystemExit(f"{stage} of {per_biome} tiles a biome ended with {process.returncode}\n{out}")
    counts = server.counts()
    return {**json.loads(line.removeprefix("RESULT")), "requests": counts["requests"], "busy": counts["busy"],
            "server": counts["server_cpu"], "peak": counts["peak"], "memory": usage.ru_maxrss * 1024}


def binding(found: dict[str, Any], *, cores: float, places: int) -> str:
    """The limit that was used the most.

    Parameters
    ----------
    cores : that the client can use. places : requests that its workers can have in flight.
    """
    wall = found["wall"]
    used = {
        "client CPU": found["cpu"] / wall / cores,
        "server CPU": found["server"] / wall / (os.cpu_count() or 1),
        "requests a second (quota)": found["requests"] / wall / limits.REQUESTS_PER_SECOND,
        "requests in flight (quota)": found["busy"] / wall / limits.CONCURRENT_REQUESTS}
    if places < limits.CONCURRENT_REQUESTS:
        used["latency, at the workers' places"] = found["busy"] / wall / places
    name = max(used, key=lambda key: used[key])
    return f"{name} {100 * used[name]:.0f} %"


def grow(server: Server, factors: list[int]) -> None:
    """Table of plan and export by tiles."""
    print("| stage | tiles | wall, s | ms a tile | requests | requests a tile | client CPU, ms a tile | "
          "peak memory, MB | most used limit |\n|---|---|---|---|---|---|---|---|---|")
    for factor in factors:
        planned = 0
        with tempfile.TemporaryDirectory() as folder:
            for stage in ("plan", "export"):
                found = measure(server, stage, 2 * factor, folder, 0, 0)
                tiles = found["tiles"]
                planned = tiles if stage == "plan" else planned
                lost = "" if tiles == planned else f" ({found['words']})"
                # Planning is one thread of Python.
                bound = binding(found, cores=1 if stage == "plan" else os.cpu_count() or 1, places=40)
                print(f"| {stage} | {tiles}{lost} | {found['wall']:.1f} | {found['wall'] / tiles * 1000:.1f} | "
                      f"{found['requests']} | {found['requests'] / tiles:.2f} | {found['cpu'] / tiles * 1000:.1f} | "
                      f"{found['memory'] / 1e6:.0f} | {bound} |", flush=True)


def work(server: Server, workers: list[int], latency_ms: float) -> None:
    """Table of an export by workers."""
    print("| workers | wall, s | tiles/s | times one worker | most in flight | most used limit |\n"
          "|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        tiles = measure(server, "plan", 20, folder, 1, 0)["tiles"]
        first = None
        for number in workers:
            found = measure(server, "export", 20, folder, number, latency_ms)
            rate = found["tiles"] / found["wall"]
            first = first or rate
            # The client's own CPU is that of its workers here, which the cores' idleness shows to be small.
            bound = binding({**found, "cpu": 0.0}, cores=1, places=number * SHARD_TILES)
            lost = "" if found["tiles"] == tiles else f" ({found['words']})"
            print(f"| {number} | {found['wall']:.1f}{lost} | {rate:.1f} | {rate / first:.1f} | {found['peak']} | "
                  f"{bound} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", type=int, nargs="*", default=[1, 10, 100], help="times 28 tiles")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--latency-ms", type=float, default=1000, help="of the server, for the table of workers")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        stage, per_biome, folder, url, workers = options.child
        child(stage, int(per_biome), folder, url, int(workers))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
          f"{platform.python_version()}; tiles of {SIZE}x{SIZE} px, 13 bands\n")
    with Server() as server:
        if options.factors:
            grow(server, options.factors)
        if options.workers:
            print(f"\n280 tiles, {options.latency_ms:.0f} ms latency, {SHARD_TILES} requests in flight a worker:\n")
            work(server, options.workers, options.latency_ms)


if __name__ == "__main__":
    main()
