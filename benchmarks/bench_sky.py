"""Which tiles is a split made of, and by how much are two networks apart, by class and by cloud? Prints tables.

    python -m benchmarks.bench_sky data/sky.zarr
    python -m benchmarks.bench_sky runs/sky segformer:small segformer_s2:small

The first prints each split's shares and a digest of the test tiles' names, images and labels: whoever has the same one
scores on the same pixels. The second reads the counts that ``dwplus compare`` left, and prints the first network's
scores beside the second's, means over seeds, with 95 % intervals of the differences over redrawn blocks, the same for
both. For BENCHMARKS.md, "Which differences are real"; the store is made as that section says.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dwplus.taxonomy import CLASSES
from model.compare import COUNTS, drawn, interval, rarest, score_all
from model.scoring import strata

DRAWS = 1000


def test_digest(tiles: pd.DataFrame) -> str:
    """SHA-256 over the test tiles, in the order of their names."""
    test = tiles[tiles["split"] == "test"].sort_values("tile_id")
    columns = ["tile_id", "digest_s2", "digest_s1", "digest_label"]
    rows = [" ".join(row) for row in test[columns].itertuples(index=False)]
    return hashlib.sha256("".join(f"{row}\n" for row in rows).encode()).hexdigest()


def shares(store: str) -> None:
    """A table of the splits, and the digest."""
    tiles = pd.read_parquet(f"{store}/tiles.parquet")
    counts = [column for column in tiles if column.startswith("count_")]
    print("| split | tiles | biomes | " + " | ".join(c.removeprefix("count_") for c in counts) + " |")
    print("|---" * (3 + len(counts)) + "|")
    for name in ("train", "val", "test"):
        part = tiles[tiles["split"] == name]
        pixels = part[counts].sum()
        cells = [f"{100 * pixels[c] / pixels.sum():.2f} % ({(part[c] >= 200).sum()})" for c in counts]
        print(f"| {name} | {len(part)} | {part['biome'].nunique()} | {' | '.join(cells)} |")
    print(f"test split: {test_digest(tiles)}")


def class_iou(matrices: np.ndarray) -> np.ndarray:
    """IoU per class of (..., n, n), rows true; NaN where a class has no true pixel."""
    m = matrices.astype("float64")
    hit, true, said = np.einsum("...ii->...i", m), m.sum(-1), m.sum(-2)
    out: np.ndarray = np.where(true > 0, hit / np.maximum(true + said - hit, 1), np.nan)
    return out


def drawn_classes(matrices: np.ndarray, blocks: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """As :func:`model.compare.drawn`, IoU per class: (seeds, tiles, n, n) to (draws, n)."""
    unique, inverse = np.unique(blocks, return_inverse=True)
    weights = np.random.default_rng(0).multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=draws)
    sums = np.zeros((len(matrices), len(unique), *matrices.shape[2:]))
    for k, per_tile in enumerate(matrices):
        np.add.at(sums[k], inverse, per_tile)
    out: np.ndarray = np.mean([class_iou(np.tensordot(weights.astype("float64"), s, axes=1)) for s in sums], axis=0)
    return out


def apart(first: np.ndarray, second: np.ndarray) -> str:
    """The interval of paired draws' differences, in points."""
    low, high = interval(first - second)
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def pair(folder: str, one: str, other: str) -> None:
    """Tables of two entries of a comparison."""
    kept = np.load(Path(folder) / COUNTS)
    names, blocks = kept["entries"].tolist(), kept["block"]
    cloud = strata(pd.DataFrame({"s2_cloud": kept["cloud"]}))
    for kind, against in (("confusion", "labels"), ("truth", "truth")):
        a, b = (kept[f"{kind}_{names.index(name)}"] for name in (one, other))
        print(f"\nagainst the {against}\n\n| | {one} | {other} | difference |\n|---|---|---|---|")
        rare = rarest(a[0].sum(0))

        def row(label: str, mask: np.ndarray, score: int, m: Any = a, n: Any = b) -> None:
            values = [100 * score_all(x[:, mask].sum(1), rarest(x[0][mask].sum(0))).mean(0)[score] for x in (m, n)]
            span = apart(*(drawn(x[:, mask], blocks[mask], DRAWS)[:, score] for x in (m, n)))
            print(f"| {label} | {values[0]:.2f} | {values[1]:.2f} | {values[0] - values[1]:+.2f} {span} |")

        every = np.ones(len(blocks), bool)
        row("mIoU", every, 0)
        row(f"IoU of the rarest ({', '.join(CLASSES[c] for c in rare)})", every, 3)
        for label, mask in cloud:
            row(f"mIoU, {label} cloud ({mask.sum()} tiles)", mask, 0)
        row("mIoU, at least 50 % cloud", kept["cloud"] >= 50, 0)
        means = [100 * class_iou(x.sum(1)).mean(0) for x in (a, b)]
        draws = [drawn_classes(x, blocks) for x in (a, b)]
        for c, label in enumerate(CLASSES):
            print(f"| {label} | {means[0][c]:.2f} | {means[1][c]:.2f} | {means[0][c] - means[1][c]:+.2f} "
                  f"{apart(draws[0][:, c], draws[1][:, c])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", help="a store, or with two networks the folder of a comparison")
    parser.add_argument("networks", nargs="*", help="two entries of the comparison")
    said = parser.parse_args()
    if said.networks:
        pair(said.path, *said.networks)
    else:
        shares(said.path)


if __name__ == "__main__":
    main()
