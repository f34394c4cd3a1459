"""How fast are random tiles read, against the limit and against what users would make themselves? Prints a table.

The same tiles, in the same random order, from every layout: 10 Sentinel-2 bands (uint16), 2 Sentinel-1 bands (int16)
and the label (uint8), 510x510 px, page cache warm. The tiles are packed anew as this version packs them. Rounds of all
contenders take turns and the best round counts. "CPU" is the time that all threads of the process used together: with
one thread and an idle machine it is the time on the clock, and another job on the machine does not change it, so the
bars of one thread are taken from it. "2 threads" is the clock less the time a thread was ready but another job had its
core. Bars: our reader at least 4x GeoTIFF-deflate, 2x HDF5-gzip, 1.5x xarray on the
same store, 0.9 of direct decode; the loader within 10 % of the reader; two threads 1.7x one.

    python -m benchmarks.bench_read [--store data/sample.zarr] [--tiles 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import functools
import gc
import io
import json
import math
import os
import platform
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import zarr

from dwplus.spec import DatasetSpec
from dwplus.store import layout
from dwplus.store.reader import tile_table
from dwplus.store.shards import ShardFormat
from dwplus.store.tiles import Pixels, TileReader
from dwplus.store.writer import TileResult, formats, write_shard

Place = tuple[str, int]
Read = Callable[[int], Any]


def direct(store: str, places: Sequence[Place]) -> Read:
    """The limit: known offsets, no checksum, no checks, the same codec into fresh arrays."""
    import numcodecs.blosc

    root = zarr.open_group(store, mode="r")
    forms: dict[str, dict[str, ShardFormat]] = {g: formats(store, root[g]) for g in {g for g, _ in places}}  # type: ignore
    known = []
    for group, index in places:
        parts = []
        for form in forms[group].values():
            shard, row = divmod(index, form.tiles)
            file = os.open(form.path(shard), os.O_RDONLY)
            size = os.fstat(file).st_size
            span = form.index(os.pread(file, form.index_bytes, size - form.index_bytes), size)[row]
            assert span is not None
            parts.append((file, *span, form.shape, form.dtype))
        known.append(parts)

    def read(i: int) -> list[np.ndarray]:
        found = []
        for file, offset, length, shape, dtype in known[i]:
            out = np.empty(shape, dtype)
            numcodecs.blosc.decompress(os.pread(file, length - 4, offset), out)
            found.append(out)
        return found

    return read


def ours(store: str, places: Sequence[Place]) -> Read:
    reader = TileReader(store)
    return lambda i: reader.read(*places[i])


def tensorstore_(store: str, places: Sequence[Place]) -> Read:
    import tensorstore

    arrays = {(g, name): tensorstore.open({"driver": "zarr3", "kvstore": {
        "driver": "file", "path": f"{Path(store).absolute()}/{g}/{name}/"}}, open=True, read=True).result()
        for g in {g for g, _ in places} for name in Pixels._fields}

    def read(i: int) -> list[np.ndarray]:
        group, index = places[i]
        return [r.result() for r in [arrays[group, name][index].read() for name in Pixels._fields]]

    return read


def xarray_(store: str, places: Sequence[Place]) -> Read:
    """As stored (no scaling), without Dask: the fastest that xarray has."""
    import xarray

    tree = xarray.open_datatree(store, engine="zarr", mask_and_scale=False, chunks=None)

    def read(i: int) -> list[np.ndarray]:
        group, index = places[i]
        return [tree[f"{group}/{name}"][index].to_numpy() for name in Pixels._fields]  # type: ignore[index]

    return read


def zarr_(store: str, places: Sequence[Place]) -> Read:
    root = zarr.open_group(store, mode="r")
    arrays = {(g, name): root[f"{g}/{name}"] for g in {g for g, _ in places} for name in Pixels._fields}
    return lambda i: [arrays[places[i][0], name][places[i][1]] for name in Pixels._fields]  # type: ignore[index]


def geotiff(folder: Path, tiles: Sequence[Pixels]) -> Read:
    import rasterio

    for i, tile in enumerate(tiles):
        for name, array in tile._asdict().items():
            bands = array if array.ndim == 3 else array[None]
            with rasterio.open(folder / f"{i}_{name}.tif", "w", driver="GTiff", count=len(bands), dtype=bands.dtype,
                               height=bands.shape[1], width=bands.shape[2], compress="deflate", predictor=2,
                               crs="EPSG:32631", transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as raster:
                raster.write(bands)

    def read(i: int) -> list[np.ndarray]:
        found = []
        for name in Pixels._fields:
            with rasterio.open(folder / f"{i}_{name}.tif") as raster:
                found.append(raster.read())
        return found

    return read


def hdf5(folder: Path, tiles: Sequence[Pixels]) -> Read | None:
    try:
        import h5py
    except ImportError:
        return None
    with h5py.File(folder / "tiles.h5", "w") as file:
        for name in Pixels._fields:
            first = getattr(tiles[0], name)
            array = file.create_dataset(name, (len(tiles), *first.shape), first.dtype, chunks=(1, *first.shape),
                                        compression="gzip", compression_opts=4, shuffle=True)
            for i, tile in enumerate(tiles):
                array[i] = getattr(tile, name)
    file = h5py.File(folder / "tiles.h5", "r")
    return lambda i: [file[name][i] for name in Pixels._fields]


def npy(folder: Path, tiles: Sequence[Pixels]) -> Read:
    for i, tile in enumerate(tiles):
        for name, array in tile._asdict().items():
            np.save(folder / f"{i}_{name}.npy", array)
    return lambda i: [np.load(folder / f"{i}_{name}.npy") for name in Pixels._fields]


def tar(folder: Path, tiles: Sequence[Pixels]) -> Read:
    """As WebDataset lays samples out: read from the front, so a "random" read is the next one."""
    with tarfile.open(folder / "tiles.tar", "w") as file:
        for i, tile in enumerate(tiles):
            for name, array in tile._asdict().items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                member = tarfile.TarInfo(f"{i:06d}.{name}.npy")
                member.size = buffer.tell()
                buffer.seek(0)
                file.addfile(member, buffer)

    def samples() -> Any:
        while True:
            with tarfile.open(folder / "tiles.tar", "r|") as file:
                found = []
                for member in file:
                    stream = file.extractfile(member)
                    assert stream is not None
                    found.append(np.load(io.BytesIO(stream.read())))
                    if len(found) == len(Pixels._fields):
                        yield found
                        found = []

    stream = samples()
    return lambda i: next(stream)


#: Batches before a loader is timed.
WARM = 6


class Clock:
    """Least milliseconds a tile over the rounds, on the clock and of CPU."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.last = math.inf, math.inf, math.inf

    def time(self, action: Callable[[], None], tiles: int) -> None:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        self.last = (time.perf_counter() - wall) / tiles * 1e3
        self.wall = min(self.wall, self.last)
        self.cpu = min(self.cpu, (time.process_time() - cpu) / tiles * 1e3)


def all_of(read: Read, order: Sequence[int]) -> None:
    for i in order:
        read(i)


def queued(thread: str = "thread-self") -> float:
    """Seconds in which a thread of this process was ready but another job had the core (Linux; elsewhere 0)."""
    try:
        return int(Path("/proc", thread, "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def queued_workers() -> float:
    """The same, of all threads of a loader."""
    return sum(queued(f"self/task/{t.native_id}") for t in threading.enumerate() if t.name.startswith("tiles"))


def unqueued(action: Callable[[], None]) -> float:
    """Seconds an action takes, less :func:`queued`."""
    waited, began = queued(), time.perf_counter()
    action()
    return time.perf_counter() - began - (queued() - waited)


def take(batches: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(batches)


def in_threads(read: Read, order: Sequence[int], threads: int) -> float:
    """Milliseconds a tile of threads that each read their share, as on idle cores: see :func:`unqueued`."""
    with ThreadPoolExecutor(threads) as pool:
        parts = [functools.partial(all_of, read, order[i::threads]) for i in range(threads)]
        return max(pool.map(unqueued, parts)) / len(order) * 1e3


def speed_up(times: dict[int, list[float]]) -> float:
    """Of two threads over one; NaN where either could not be measured."""
    one, two = ([t for t in times[threads] if not math.isnan(t)] for threads in (1, 2))
    return min(one) / min(two) if one and two else math.nan


def size(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def packed_bytes(store: str, places: Sequence[Place]) -> float:
    """MB a tile in its shards."""
    found = 0
    for group, index in places:
        for form in formats(store, zarr.open_group(store, mode="r", path=group)).values():
            packed = form.read(index // form.tiles)[index % form.tiles]
            found += 0 if packed is None else len(packed)
    return found / len(places) / 1e6


def repacked(source: str, rows: pd.DataFrame, target: Path) -> str:
    """A store of these tiles alone, as this version writes it."""
    attrs = layout.open_root(source).attrs.asdict()
    spec = DatasetSpec.from_json(json.dumps(attrs["spec"]), source)
    plan = gpd.GeoDataFrame(rows.assign(
        scale=spec.tile.scale, state="planned", reason="", size=spec.tile.size).astype({"biome": "int16"}))
    layout.create(target, plan, spec, created=str(attrs["created"]), earth=str(attrs["earth"]))
    root, reader = layout.open_root(target, "r+"), TileReader(source)
    for name, inside in rows.groupby("group", sort=True):
        places = inside["index"].tolist()
        for start in range(0, len(places), spec.store.shard_tiles):
            part = places[start:start + spec.store.shard_tiles]
            write_shard(root[str(name)], start, start + len(part), {  # type: ignore[arg-type]
                start + i: TileResult(layout.EXPORTED, "", *reader.read(str(name), int(place)))
                for i, place in enumerate(part)})
    return str(target)


def loader(store: str, threads: int) -> Callable[[Sequence[int]], Generator[Any]]:
    """Batches of 8 from :class:`model.loader.Loader`."""
    from model.data import TileDataset
    from model.loader import Loader

    data = TileDataset(store, "all")

    def batches(order: Sequence[int]) -> Generator[Any, None, None]:
        yield from Loader(data, [list(order[i:i + 8]) for i in range(0, len(order), 8)], threads=threads)

    return batches


LIMIT, OURS, XARRAY, LOADER = "direct decode (limit)", "dwplus TileReader", "xarray, same store", "loader, batches of 8"
GEOTIFF, HDF5, NPY, TAR = "GeoTIFF deflate, rasterio", "HDF5 gzip-4 shuffle", "npy per array", "tar of npy, in order"


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--store", default="data/sample.zarr")
    words.add_argument("--tiles", type=int, default=64)
    words.add_argument("--rounds", type=int, default=5)
    given = words.parse_args()
    table = tile_table(given.store)
    table = table[table["status"] == "exported"]
    rng = np.random.default_rng(0)
    rows = table.iloc[np.sort(rng.permutation(len(table))[:given.tiles])]
    with tempfile.TemporaryDirectory() as base:
        store = repacked(given.store, rows, Path(base, "bench.zarr"))
        table = tile_table(store)
        places = [(str(g), int(i)) for g, i in zip(table["group"], table["index"], strict=True)]
        reader = TileReader(store)
        tiles = [reader.read(*place) for place in places]
        raw = sum(a.nbytes for a in tiles[0]) / 1e6
        stored = packed_bytes(store, places)
        reads: dict[str, tuple[Read | None, float]] = {
            LIMIT: (direct(store, places), stored), OURS: (ours(store, places), stored),
            "TensorStore": (tensorstore_(store, places), stored), "zarr-python": (zarr_(store, places), stored),
            XARRAY: (xarray_(store, places), stored)}
        rivals: dict[str, Callable[[Path, Sequence[Pixels]], Read | None]] = {
            GEOTIFF: geotiff, HDF5: hdf5, NPY: npy, TAR: tar}
        for number, (title, make) in enumerate(rivals.items()):
            folder = Path(base, str(number))
            folder.mkdir()
            reads[title] = make(folder, tiles), size(folder) / len(tiles)
        for title, (read, _) in reads.items():
            if read is not None and title != TAR:
                for a, b in zip(read(3), tiles[3], strict=True):
                    np.testing.assert_array_equal(np.squeeze(a), np.squeeze(b), err_msg=title)
        del tiles
        one = {title: Clock() for title, (read, _) in reads.items() if read is not None} | {LOADER: Clock()}
        # h5py has one lock, a stream one place, TensorStore threads of its own.
        scaled: dict[str, dict[int, list[float]]] = {
            title: {1: [], 2: []} for title in (LIMIT, OURS, "zarr-python", GEOTIFF, NPY, LOADER)}
        load = {threads: loader(store, threads) for threads in (1, 2)}
        n = len(places)
        for _ in range(given.rounds):
            order = rng.permutation(n).tolist()
            for title, (found, _) in reads.items():
                if (read := found) is None:
                    continue
                one[title].time(functools.partial(all_of, read, order), n)
                for threads, into in scaled.get(title, {}).items():
                    into.append(in_threads(read, order, threads))
            for threads, clock in ((1, one[LOADER]), (2, Clock())):
                # Under way: the first batches bring the memory that later ones use again.
                # As many are read ahead when the clock stops as were when it started.
                batches = load[threads](order[:8] * WARM + order * 2 + order[:8] * WARM)
                take(batches, WARM)
                waited = queued_workers()
                clock.time(functools.partial(take, batches, 2 * n // 8), 2 * n)
                waited = queued_workers() - waited
                waited *= 1e3 / threads / (2 * n)
                # Where others had the cores for half of the time, no correction gives what an idle machine would.
                scaled[LOADER][threads].append(clock.last - waited if waited < clock.last / 2 else math.nan)
                batches.close()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
          f"{platform.python_version()}; {n} tiles of {raw:.2f} MB raw, ms a tile, best of {given.rounds} rounds")
    print(f"{'':<28}{'MB/tile':>9}{'CPU':>9}{'clock':>9}{'2 threads':>11}{'CPU, in TileReaders':>21}")
    for title, mb in ({title: mb for title, (_, mb) in reads.items()} | {LOADER: stored}).items():
        if title not in one:
            print(f"{title:<28}{'not installed':>18}")
            continue
        second = f"{np.nanmin([*scaled[title][2], math.inf]):11.2f}" if title in scaled else " " * 11
        print(f"{title:<28}{mb:9.2f}{one[title].cpu:9.2f}{one[title].wall:9.2f}{second}"
              f"{one[title].cpu / one[OURS].cpu:20.2f}x")
    mine = one[OURS]
    bars = [("of direct decode", one[LIMIT].cpu / mine.cpu, 0.9),
            ("x GeoTIFF-deflate", one[GEOTIFF].cpu / mine.cpu, 4.0),
            ("x HDF5-gzip", one[HDF5].cpu / mine.cpu if HDF5 in one else math.nan, 2.0),
            ("x xarray on the same store", one[XARRAY].cpu / mine.cpu, 1.5),
            ("loader, of the reader alone", mine.cpu / one[LOADER].cpu, 0.9),
            ("reader, two threads", speed_up(scaled[OURS]), 1.7),
            ("loader, two threads", speed_up(scaled[LOADER]), 1.7)]
    print("bars")
    for what, value, bar in bars:
        held = "not measured" if math.isnan(value) else "holds" if value >= bar else "FAILS"
        print(f"  {value:5.2f} {what:<34} (bar {bar:g}: {held})")


if __name__ == "__main__":
    main()
