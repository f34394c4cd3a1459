"""Which codec packs tiles best? Prints MB a tile and ms to unpack, for the sample planet and for real pixels.

Every candidate packs the same 510x510 tiles (10 Sentinel-2 bands uint16, 2 Sentinel-1 bands int16, label uint8), array
by array as the store does, and must give them back. Times are CPU of one thread, best of the rounds. Real pixels are
the places of an asset tree, each of the same 13 bands; their figures are scaled to the size of a tile.

    python -m benchmarks.bench_codec [--store data/sample.zarr] [--world ../shared/realworld] [--tiles 24]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numcodecs.blosc
import numpy as np

from dwplus.store.layout import BLOCK_BYTES
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader

numcodecs.blosc.use_threads = False
S2 = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
SHUFFLES = {"none": 0, "shuffle": 1, "bitshuffle": 2}
WAYS = [("zstd", level, shuffle) for shuffle in ("bitshuffle", "shuffle") for level in (1, 3, 5)] + [
    ("zstd", 1, "none"), ("lz4", 1, "bitshuffle"), ("lz4", 1, "shuffle"), ("lz4hc", 5, "bitshuffle"),
    ("zlib", 4, "shuffle")]


def planet(store: str, tiles: int) -> list[np.ndarray]:
    """Arrays of random tiles of a store."""
    table = tile_table(store)
    table = table[table["status"] == "exported"].sample(tiles, random_state=0)
    reader = TileReader(store)
    return [array for row in table.itertuples() for array in reader.read(row.group, row.index)]


def real(world: Path) -> list[np.ndarray]:
    """Every place's pixels, of the bands and types the store has."""
    import rasterio

    found: list[np.ndarray] = []
    for folder, names in (("COPERNICUS/S2_SR_HARMONIZED", S2), ("COPERNICUS/S1_GRD", ("VV", "VH")),
                          ("GOOGLE/DYNAMICWORLD/V1", ("label",))):
        for path in sorted((world / folder).glob("*.tif")):
            with rasterio.open(path) as raster:
                pixels = raster.read([raster.descriptions.index(name) + 1 for name in names])
            if pixels.dtype.kind == "f" and names != ("label",):
                pixels = np.where(np.isfinite(pixels), np.round(pixels * 100), -32768)
            found.append(np.ascontiguousarray(pixels.astype({10: "uint16", 2: "int16", 1: "uint8"}[len(names)])))
    return found


def measure(arrays: list[np.ndarray], codec: str, level: int, shuffle: str, rounds: int) -> tuple[float, float, float]:
    """Share of the raw size, and ms of CPU to pack and to unpack a raw MB."""
    raw = sum(a.nbytes for a in arrays) / 1e6
    began = time.process_time()
    packed = [numcodecs.blosc.compress(a.reshape(-1), codec.encode(), level, SHUFFLES[shuffle], BLOCK_BYTES, a.itemsize)
              for a in arrays]
    write = (time.process_time() - began) / raw * 1e3
    outs = [np.empty_like(a) for a in arrays]
    best = np.inf
    for _ in range(rounds):
        began = time.process_time()
        for content, out in zip(packed, outs, strict=True):
            numcodecs.blosc.decompress(content, out)
        best = min(best, (time.process_time() - began) / raw * 1e3)
    for a, b in zip(arrays, outs, strict=True):
        np.testing.assert_array_equal(a, b)
    return sum(map(len, packed)) / 1e6 / raw, write, best


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--store", default="data/sample.zarr")
    words.add_argument("--world", type=Path, default=Path("../shared/realworld"))
    words.add_argument("--tiles", type=int, default=24)
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    sets = {"planet": planet(given.store, given.tiles)}
    if given.world.is_dir():
        sets["real"] = real(given.world)
    raw_tile = 510 * 510 * (10 * 2 + 2 * 2 + 1) / 1e6
    for name, arrays in sets.items():
        print(f"{name}: {len(arrays)} arrays, {sum(a.nbytes for a in arrays) / 1e6:.0f} MB raw; a tile of 13 bands is "
              f"{raw_tile:.2f} MB")
        print(f"{'codec':<22}{'MB/tile':>9}{'pack ms':>9}{'unpack ms':>11}")
        for codec, level, shuffle in WAYS:
            share, write, read = measure(arrays, codec, level, shuffle, given.rounds)
            print(f"{f'{codec}-{level} {shuffle}':<22}{share * raw_tile:9.2f}{write * raw_tile:9.1f}"
                  f"{read * raw_tile:11.2f}", flush=True)


if __name__ == "__main__":
    main()
