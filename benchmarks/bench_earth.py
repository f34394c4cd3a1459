"""How fast does the embedded Earth answer? ``python -m benchmarks.bench_earth`` prints a table.

512x512 pixels x 13 float32 bands of an archive in memory, through the real client: in process, over loopback, and on
another projection. The floor is a copy of the same bytes through ``numpy.save`` and ``numpy.load``. Bars: 250 MB/s in
process, 200 MB/s over loopback, 100 MB/s reprojected; 40 clients at once without collapse.
"""

from __future__ import annotations

import concurrent.futures
import io
import os
import statistics
import time
from collections.abc import Callable

import ee
import ee.deprecation
import numpy as np
from google.auth.credentials import AnonymousCredentials

from dwplus.embedded_earth import EmbeddedEarth, Limits, http_transport, serve
from tests.unit.embedded_earth.conftest import ArrayCatalog, ArrayScene

SIDE, BANDS, REPEATS = 512, 13, 15
GRID: dict[str, object] = {
    "crsCode": "EPSG:32633", "dimensions": {"width": SIDE, "height": SIDE}, "affineTransform": {
        "scaleX": 10, "translateX": 500000, "scaleY": -10, "translateY": 5500000}}
DEGREES: dict[str, object] = {
    "crsCode": "EPSG:4326", "dimensions": {"width": SIDE, "height": SIDE}, "affineTransform": {
        "scaleX": 1e-4, "translateX": 15.001, "scaleY": -8e-5, "translateY": 49.649}}


def catalog() -> ArrayCatalog:
    """One scene of float32 noise, 600 x 1000 pixels."""
    rng = np.random.default_rng(0)
    arrays = {f"b{i}": rng.random((600, 1000), dtype="f4") for i in range(BANDS)}
    return ArrayCatalog([ArrayScene("B/C/x", arrays, 1_600_000_000_000)], {})


def connect(url: str, **options: object) -> None:
    ee.Reset()
    ee.deprecation.deprecated_assets = {"-": None}  # type: ignore[dict-item]
    ee.Initialize(AnonymousCredentials(), project="bench", url=url, **options)


def fetch(grid: dict[str, object]) -> int:
    """One request; returns its bytes."""
    return int(ee.data.computePixels({"expression": ee.Image("B/C/x"), "fileFormat": "NUMPY_NDARRAY",
                                      "grid": grid}).nbytes)


def rate(action: Callable[[], int]) -> float:
    """Median MB/s of some repeats."""
    action()
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        size = action()
        rates.append(size / 1e6 / (time.perf_counter() - began))
    return statistics.median(rates)


def copy() -> int:
    """The floor: the same array through NPY."""
    buffer = io.BytesIO()
    np.save(buffer, ARRAY)
    return int(np.load(io.BytesIO(buffer.getvalue())).nbytes)


ARRAY = np.zeros((SIDE, SIDE), np.dtype([(f"b{i}", "<f4") for i in range(BANDS)]))


def main() -> None:
    os.environ["no_proxy"] = "127.0.0.1"
    earth = EmbeddedEarth(catalog(), limits=Limits(per_second=None))
    print(f"{'what':<44}{'MB/s':>8}{'bar':>8}")
    print(f"{'floor: numpy.save and numpy.load':<44}{rate(copy):>8.0f}")
    connect("http://embedded.earth", http_transport=http_transport(earth))
    print(f"{'in process':<44}{rate(lambda: fetch(GRID)):>8.0f}{250:>8}")
    print(f"{'in process, reprojected':<44}{rate(lambda: fetch(DEGREES)):>8.0f}{100:>8}")
    server = serve(earth).start()
    connect(server.url)
    print(f"{'loopback':<44}{rate(lambda: fetch(GRID)):>8.0f}{200:>8}")
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        sizes = list(pool.map(lambda _: fetch(GRID), range(120)))
    print(f"{'loopback, 40 clients at once':<44}{sum(sizes) / 1e6 / (time.perf_counter() - began):>8.0f}")
    server.close()


if __name__ == "__main__":
    main()
