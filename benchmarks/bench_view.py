"""How soon `dwplus view` shows 20,000 tiles, and in how much memory: in the system's chromium, without a network.

The store is made first (a minute). First paint: from asking for the page until everything on it is drawn.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.bench_model import make_store
from tests.browser import chromium

TIMES = 5
DRAWN = "return !!(window.Bokeh && Bokeh.documents && Bokeh.documents.length && Bokeh.documents[0].is_idle)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=20_000)
    tiles = parser.parse_args().tiles
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "tiles.zarr", tiles=tiles, size=32)
        began = time.perf_counter()
        program = subprocess.Popen([sys.executable, "-m", "dwplus", "view", str(store)], stdout=subprocess.PIPE,
                                   text=True)
        assert program.stdout is not None
        try:
            program.stdout.readline()
            url = program.stdout.readline().split()[1]
            ready = time.perf_counter() - began
            paints = []
            for _ in range(TIMES):
                with chromium(Path(folder), here=True) as browser:
                    began = time.perf_counter()
                    browser.get(url)
                    while not browser.execute_script(DRAWN):
                        time.sleep(0.02)
                    paints.append(time.perf_counter() - began)
            memory = psutil.Process(program.pid).memory_info().rss / 1e6
        finally:
            program.terminate()
            program.wait()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {tiles:,} tiles")
    print(f"until the address is said {ready:.1f} s; first paint {statistics.median(paints):.2f} s, median of {TIMES} "
          f"({min(paints):.2f} to {max(paints):.2f}; bar 2); the server's memory {memory:.0f} MB (bar 600)")


if __name__ == "__main__":
    main()
