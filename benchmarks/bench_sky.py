"""Which tiles is a store's test split made of, and which classes does each split hold? Prints shares and a digest.

    python -m benchmarks.bench_sky data/sky.zarr

The digest is of the test tiles' names and of the digests of their images and labels: whoever has the same one scores
on the same pixels. For BENCHMARKS.md, "Which differences are real"; the store is made as that section says.
"""

from __future__ import annotations

import argparse
import hashlib

import pandas as pd


def test_digest(tiles: pd.DataFrame) -> str:
    """SHA-256 over the test tiles, in the order of their names."""
    test = tiles[tiles["split"] == "test"].sort_values("tile_id")
    columns = ["tile_id", "digest_s2", "digest_s1", "digest_label"]
    rows = [" ".join(row) for row in test[columns].itertuples(index=False)]
    return hashlib.sha256("".join(f"{row}\n" for row in rows).encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store")
    tiles = pd.read_parquet(f"{parser.parse_args().store}/tiles.parquet")
    counts = [column for column in tiles if column.startswith("count_")]
    print("| split | tiles | biomes | " + " | ".join(c.removeprefix("count_") for c in counts) + " |")
    print("|---" * (3 + len(counts)) + "|")
    for name in ("train", "val", "test"):
        part = tiles[tiles["split"] == name]
        pixels = part[counts].sum()
        cells = [f"{100 * pixels[c] / pixels.sum():.2f} % ({(part[c] >= 200).sum()})" for c in counts]
        print(f"| {name} | {len(part)} | {part['biome'].nunique()} | {' | '.join(cells)} |")
    print(f"test split: {test_digest(tiles)}")


if __name__ == "__main__":
    main()
