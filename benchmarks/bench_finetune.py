"""How many annotated tiles does a network need, with and without pre-training on the labels that a model made? Prints a
table.

    python -m benchmarks.bench_finetune data/sky.zarr data/annotated.zarr runs/sky/specsar_former_small runs/curve

The third is a network's folder of ``dwplus compare`` on the first store, one run a seed. Every seed is trained on so
many annotated tiles from its pre-trained run, and from weights drawn anew, in the windows and at the rate of
``sky_training.yaml``, and scored against the truth on the test tiles of the first store. Annotated tiles whose ground
could lie within a tile of its val or test split are left out. For BENCHMARKS.md, "Which differences are real".
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dwplus.runtime.console import say
from model import checkpoint as checkpoints
from model.compare import drawn, interval, score_all
from model.config import TrainConfig, load_config
from model.scoring import Truth, count, evaluation_sets, tile_cloud
from model.train import train
from pipelines.truth import truth_of

TRAINING = Path(__file__).parent / "sky_training.yaml"
TILES = (8, 32, 128)
#: Steps of a run that was pre-trained, and of one that was not, which has more to learn.
STEPS = {True: 256, False: 640}
EARTH_RADIUS = 6_371_000.0
DRAWS = 1000


def near(tiles: pd.DataFrame, held: pd.DataFrame, meters: float) -> pd.DataFrame:
    """The tiles whose centre is nearer than so much to that of any held-out one."""
    (lat, lon), (other_lat, other_lon) = ([np.radians(t[key].to_numpy()) for key in ("lat", "lon")]
                                          for t in (tiles, held))
    a = (np.sin((lat[:, None] - other_lat) / 2) ** 2
         + np.cos(lat[:, None]) * np.cos(other_lat) * np.sin((lon[:, None] - other_lon) / 2) ** 2)
    found: pd.DataFrame = tiles[(2 * EARTH_RADIUS * np.arcsin(np.sqrt(a))).min(1) < meters]
    return found


def leave_out(store: str, annotated: str, file: Path) -> int:
    """Write the names of annotated tiles that no run may see; how many are left to train on."""
    every, tiles = (pd.read_parquet(f"{path}/tiles.parquet") for path in (annotated, store))
    # Half a diagonal of each: 510 px and 256 px.
    out = near(every, tiles[tiles["split"].isin(["val", "test"])], 10.0 * (510 + 256) / math.sqrt(2))
    out[["tile_id"]].to_csv(file, index=False)
    return int(((every["split"] == "train") & ~every["tile_id"].isin(out["tile_id"])).sum())


def config_of(seed: int, tiles: int, start: str | None, exclude: Path, rate: float | None = None) -> TrainConfig:
    """So many tiles for the steps of :data:`STEPS`; a step is of four windows, and a tile has four an epoch."""
    epochs = STEPS[start is not None] // tiles
    return load_config(str(TRAINING), {
        "model": {"name": "specsar_former", "options": {"variant": "small"}},
        "data": {"max_tiles": tiles, "exclude": str(exclude)},
        "optim": {"epochs": epochs, "warmup_epochs": 58 / tiles, **({} if rate is None else {"lr": rate})},
        "init": {} if start is None else {"from": start},
        "run": {"seed": seed, "validate_every": epochs}})


def scored(store: str, run: str | Path, truth: Truth) -> tuple[np.ndarray, pd.DataFrame]:
    """Confusion with the truth of every test tile, and their table."""
    kept = checkpoints.load(run)
    result = count(kept, evaluation_sets([store], "test", kept), device=torch.device("cpu"), hide=False, truth=truth)
    assert result.against_truth is not None
    return result.against_truth, result.table


def row(name: str, found: np.ndarray, table: pd.DataFrame, beside: np.ndarray | None = None) -> str:
    """A line: means over seeds with intervals over blocks, and what it is ahead of the one beside it."""
    cells = [name]
    for mask in (np.ones(len(table), bool), (tile_cloud(table) < 10).to_numpy()):
        blocks = table["block"].to_numpy()[mask]
        draws = drawn(found[:, mask], blocks, DRAWS)[:, 0]
        seeds = 100 * score_all(found[:, mask].sum(1))[:, 0]
        low, high = interval(100 * draws)
        cells += [f"{seeds.mean():.2f} [{low:.1f}, {high:.1f}]", " ".join(f"{s:.2f}" for s in seeds)]
        if beside is not None:
            low, high = interval(100 * (draws - drawn(beside[:, mask], blocks, DRAWS)[:, 0]))
            less = seeds.mean() - 100 * score_all(beside[:, mask].sum(1))[:, 0].mean()
            cells[-1] += f"; {less:+.2f} [{low:.1f}, {high:.1f}]"
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, words in (("store", "the frozen task"), ("annotated", "a store of annotated tiles"),
                        ("pretrained", "folder of pre-trained runs, seed_0 and on"), ("out", "folder of the runs")):
        parser.add_argument(name, help=words)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tiles", type=int, nargs="+", default=list(TILES))
    parser.add_argument("--rate", type=float, help="of what was pre-trained, alone; default: the config's, beside new "
                                                   "weights")
    said = parser.parse_args()
    out, truth = Path(said.out), truth_of([said.store])
    if truth is None:
        parser.error(f"{said.store}: its truth is not known; make it from the sample planet of this build")
    out.mkdir(parents=True, exist_ok=True)
    say(f"{leave_out(said.store, said.annotated, out / 'left_out.csv')} annotated tiles to train on")
    starts = {seed: f"{said.pretrained}/seed_{seed}" for seed in said.seeds}
    before = [scored(said.store, start, truth) for start in starts.values()]
    table, base = before[0][1], np.stack([found for found, _ in before])
    print("| annotated tiles | mIoU, truth | seeds | under 10 % cloud | seeds |\n|---|---|---|---|---|")
    print(row("none, pre-trained", base, table), flush=True)
    for tiles in said.tiles:
        kinds = {}
        for start in (False, True) if said.rate is None else (True,):
            found = []
            for seed in said.seeds:
                kind = f"{'from' if start else 'anew'}_{tiles}" + ("" if said.rate is None else f"_{said.rate:g}")
                run = out / kind / f"seed_{seed}"
                train(said.annotated, run, config_of(seed, tiles, starts[seed] if start else None,
                                                     out / "left_out.csv", said.rate), device="cpu")
                found.append(scored(said.store, run, truth)[0])
            kinds[start] = np.stack(found)
            beside = base if said.rate is not None else kinds[False] if start else None
            print(row(f"{tiles}, {'pre-trained' if start else 'from new weights'}", kinds[start], table, beside),
                  flush=True)


if __name__ == "__main__":
    main()
