"""How long does a plan of 24,000 tiles take, how many requests, how much memory? On the embedded Earth.

The planet's sites hold about 2,000 tiles of 510 pixels: months of several years make up the number. The bounds of the
project: 10 metadata requests per 1,000 tiles, 10 minutes on 2 cores, 2 GiB.

    .venv/bin/python benchmarks/bench_plan.py [--windows 12]
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import sys
import tempfile
import time
from pathlib import Path

from dwplus.earth import connect
from dwplus.planning.plan import make_plan, write_plan
from dwplus.planning.preview import preview
from dwplus.spec import make_spec

MONTHS = (5, 6, 7, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=12, help="months to plan, each with every tile of the planet")
    count = parser.parse_args().windows
    windows = [[dt.date(2018 + i // len(MONTHS), MONTHS[i % len(MONTHS)], 1),
                dt.date(2018 + i // len(MONTHS), MONTHS[i % len(MONTHS)] + 1, 1)] for i in range(count)]
    session = connect()
    spec = make_spec({"name": "bench", "region": "sample", "windows": windows})
    begun, cpu = time.perf_counter(), time.process_time()
    plan = make_plan(session, spec, lambda text: print(text, file=sys.stderr))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    with tempfile.TemporaryDirectory() as folder:
        write_plan(plan, Path(folder) / "plan.parquet")
        size = (Path(folder) / "plan.parquet").stat().st_size
    preview(plan)
    tiles = int((plan["state"] == "planned").sum())
    requests = session.limiter.requests
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'rows':>8} {'tiles':>8} {'seconds':>8} {'cpu s':>8} {'requests':>9} {'per 1,000':>9} {'peak GiB':>9} "
          f"{'file MB':>8}")
    print(f"{len(plan):>8} {tiles:>8} {seconds:>8.1f} {cpu:>8.1f} {requests:>9} {1000 * requests / tiles:>9.1f} "
          f"{peak:>9.2f} {size / 1e6:>8.1f}")


if __name__ == "__main__":
    main()
