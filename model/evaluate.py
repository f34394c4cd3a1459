"""How good is a network, where, and how sure can one be? Confusion matrices per tile in, tables and a page out."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dwplus.errors import EmptySplitError, InputError
from dwplus.taxonomy import BIOMES, CLASSES, IGNORE
from model.checkpoint import Checkpoint, check_store, load, versions
from model.data import TileDataset
from model.distributed import device_of
from model.loader import Loader, device_batches
from model.metrics import bootstrap, expected_calibration_error, scores
from model.normalise import Normaliser
from model.progress import step_progress
from model.reliability import against_mask, sentence

#: Edges of the groups: |S1 - S2| in hours, cloudiness of the S2 scene in percent.
GAP_EDGES = (0.0, 12.0, 24.0, 48.0, 72.0, 144.0, 360.0, 1440.0, math.inf)
CLOUD_EDGES = (0.0, 2.0, 5.0, 10.0, 20.0, 35.0, 100.0)
#: Strata of cloud over the tile, percent: ours, the published bins of CloudLULC-Set being unknown.
STRATUM_EDGES = (0.0, 10.0, 30.0, 50.0, 70.0, 100.0)
CONFIDENCE_BINS = 15
#: What is shown to the network: name -> (S2 present, S1 present).
MODALITIES = {"s2+s1": (True, True), "s2": (True, False), "s1": (False, True)}


@dataclass
class Result:
    """What was counted.

    Attributes
    ----------
    table : one row per tile, with ``data`` (number of its dataset) and ``place`` (index in it). confusion : modality to
        int64 (tiles, 9, 9). calibration : float64 (3, bins): sums of confidence, of hits, and pixels, of the first
        modality.
    """

    table: pd.DataFrame
    sets: list[TileDataset]
    confusion: dict[str, np.ndarray]
    calibration: np.ndarray

    @property
    def main(self) -> str:
        """The modality of the overall figures: everything the network looks at."""
        return next(iter(self.confusion))


def evaluation_sets(stores: Sequence[str], split: str, checkpoint: Checkpoint) -> list[TileDataset]:
    """One dataset of whole tiles per store that has any in the split.

    Raises
    ------
    InputError
        Where no store has, or bands are not those of the checkpoint.
    """
    found: list[TileDataset] = []
    nothing: EmptySplitError | None = None
    for store in stores:
        try:
            data = TileDataset(store, split, normalisation=checkpoint.normalisation)
        except EmptySplitError as error:
            nothing = error
            continue
        check_store(checkpoint, data.s2_bands, data.s1_bands, store)
        found.append(data)
    if not found:
        raise nothing or InputError("store: give at least one")
    return found


def modalities_of(checkpoint: Checkpoint) -> dict[str, tuple[bool, bool]]:
    """What can be shown to a network: everything, then each sensor alone."""
    if len(checkpoint.sensors) == 2:
        return MODALITIES
    return {checkpoint.sensors[0]: MODALITIES[checkpoint.sensors[0]]}


@torch.inference_mode()
def count(checkpoint: Checkpoint, sets: list[TileDataset], *, device: torch.device, batch_size: int = 1,
          threads: int = 2, progress: bool = False, hide: bool = True) -> Result:
    """Run a network over every tile, once per modality; with ``hide`` False only with all it looks at."""
    net, normaliser = checkpoint.net.to(device).eval(), Normaliser(checkpoint.normalisation).to(device)
    amp = device.type == "cuda"
    shown, n = modalities_of(checkpoint), len(CLASSES)
    shown = shown if hide else dict(list(shown.items())[:1])
    total, done = sum(map(len, sets)), 0
    confusion = {name: np.zeros((total, n, n), "int64") for name in shown}
    calibration = torch.zeros(3, CONFIDENCE_BINS, dtype=torch.float64, device=device)
    with step_progress("tiles", total, progress) as show:
        for data in sets:
            order = list(range(len(data)))
            loader = Loader(data, [order[i:i + batch_size] for i in range(0, len(order), batch_size)], threads=threads,
                            pin=amp)
            for batch in device_batches(loader, device):
                stored = (batch.s2, batch.s1, batch.label)
                # Every modality is scored on the same pixels, whatever it is shown.
                label = normaliser(*stored, torch.ones_like(batch.keep))[2]
                valid = label != IGNORE
                truth = label[valid].long()
                tile = torch.arange(len(batch), device=device)[:, None, None].expand_as(label)[valid]
                for name, keep in shown.items():
                    s2, s1, _ = normaliser(*stored, torch.tensor([keep] * len(batch), device=device))
                    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                        logits = net(s2, s1)
                    chance, said = logits.float().softmax(1).max(1)
                    key = (tile * n + truth) * n + said[valid]
                    counts = torch.bincount(key, minlength=len(batch) * n * n).cpu().numpy()
                    confusion[name][done:done + len(batch)] = counts.reshape(-1, n, n)
                    if name == next(iter(shown)):
                        chance = chance[valid].double()
                        place = (chance * CONFIDENCE_BINS).long().clamp_max(CONFIDENCE_BINS - 1)
                        hit = (said[valid] == truth).double()
                        for row, weights in enumerate((chance, hit, torch.ones_like(hit))):
                            calibration[row] += torch.bincount(place, weights, CONFIDENCE_BINS)
                done += len(batch)
                show(done, "")
    tables = [data.table.assign(data=i, place=np.arange(len(data))) for i, data in enumerate(sets)]
    return Result(pd.concat(tables, ignore_index=True), sets, confusion, calibration.cpu().numpy())


def bins(values: pd.Series, edges: Sequence[float], unit: str) -> list[tuple[str, np.ndarray]]:
    """Groups [a, b) of a column: name and mask, empty ones left out."""
    found = []
    for low, high in zip(edges, edges[1:], strict=False):
        mask = ((values >= low) & ((values < high) | (values == high) & (high == edges[-1]))).to_numpy()
        if mask.any():
            found.append((f"{low:g} to {high:g} {unit}" if math.isfinite(high) else f"over {low:g} {unit}", mask))
    if (unknown := values.isna().to_numpy()).any():
        found.append(("unknown", unknown))
    return found


def tile_cloud(table: pd.DataFrame) -> pd.Series:
    """Cloud over each tile, percent: measured in the tile (column ``cloud_fraction``, 0..1) where the store has it,
    else that of the whole S2 scene."""
    return 100 * table["cloud_fraction"] if "cloud_fraction" in table else table["s2_cloud"]


def strata(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Strata of cloud: name and mask, empty ones left out."""
    return bins(tile_cloud(table), STRATUM_EDGES, "%")


def summarise(result: Result, draws: int = 1000) -> dict[str, Any]:
    """All tables of an evaluation, as plain JSON values; NaN is null.

    ``overall`` with 95 % ``interval`` over spatial blocks, ``confusion``, ``by_modality``, ``by_biome``,
    ``by_gap_hours``, ``by_cloud`` (of the scene), ``by_cloud_stratum`` (of the tile, where known), ``calibration``.
    """
    table, matrices = result.table, result.confusion[result.main]
    blocks = table["block"].to_numpy()

    def of(mask: np.ndarray, source: np.ndarray = matrices) -> dict[str, Any]:
        return {"tiles": int(mask.sum()), "blocks": len(set(blocks[mask])), **plain(scores(source[mask].sum(axis=0))),
                "interval": plain(bootstrap(source[mask], blocks[mask], draws))}

    every = np.ones(len(table), bool)
    confidence, hits, pixels = result.calibration
    biomes = [(f"{number} {BIOMES.get(number, '')}".strip(), (table["biome"] == number).to_numpy())
              for number in sorted(table["biome"].unique())]
    with np.errstate(invalid="ignore"):
        mean_confidence, accuracy = confidence / pixels, hits / pixels
    return {
        "overall": of(every), "confusion": matrices.sum(axis=0).tolist(), "classes": list(CLASSES),
        "by_modality": {name: of(every, source) for name, source in result.confusion.items()},
        "by_biome": {name: of(mask) for name, mask in biomes},
        "by_gap_hours": {name: of(mask) for name, mask in bins(table["gap_hours"].abs(), GAP_EDGES, "h")},
        "by_cloud": {name: of(mask) for name, mask in bins(table["s2_cloud"], CLOUD_EDGES, "%")},
        "by_cloud_stratum": {name: of(mask) for name, mask in strata(table)},
        "calibration": plain({"ece": expected_calibration_error(confidence, hits, pixels),
                              "edges": np.linspace(0, 1, CONFIDENCE_BINS + 1), "confidence": mean_confidence,
                              "accuracy": accuracy, "pixels": pixels}),
    }


def plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def evaluate(stores: str | Path | Sequence[str | Path], run: str | Path, out: str | Path, *, split: str = "test",
             expect: str | None = None, device: str | None = None, shown: int = 8, draws: int = 1000,
             command: str = "", progress: bool = False) -> dict[str, Any]:
    """Evaluate a checkpoint and write ``metrics.json``, ``tiles.csv``, ``blocks.csv``, figures and ``index.html``.

    Parameters
    ----------
    stores : path or paths. run : folder of a run (its best weights), or a checkpoint. out : folder that is written.
    split : which tiles. expect : name of the network the checkpoint must be of. shown : tiles on the page.
    draws : of the bootstrap. command : kept in the file. progress : show it.

    Returns
    -------
    What ``metrics.json`` holds; see :func:`summarise`. ``reliability``: see
    :func:`model.reliability.against_mask`.

    Raises
    ------
    InputError
        On bad stores, bands, checkpoint, or a split with no tiles.
    """
    from model.page import write_page

    paths = [str(s) for s in ([stores] if isinstance(stores, str | Path) else stores)]
    checkpoint = load(run, expect)
    sets = evaluation_sets(paths, split, checkpoint)
    where = device_of(device)
    result = count(checkpoint, sets, device=where, batch_size=8 if where.type == "cuda" else 1, progress=progress)
    found = {
        "checkpoint": str(checkpoint.path), "model": checkpoint.info["model"], "epoch": checkpoint.info["epoch"],
        "stores": paths, "split": split, "label_sources": sorted({d.label_source for d in sets}), "command": command,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "machine": machine(where),
        "versions": versions(), **summarise(result, draws),
        "reliability": plain(against_mask(checkpoint, sets, where))}
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(found, indent=1) + "\n")
        tile_scores(result).to_csv(out / "tiles.csv", index=False)
        block_counts(result).to_csv(out / "blocks.csv", index=False)
        write_page(out, found, result, checkpoint, shown)
    except OSError as error:
        raise InputError(f"out {out}: cannot be written ({error.strerror or error})") from None
    return found


def tile_scores(result: Result) -> pd.DataFrame:
    """One row per tile: where and when it is, its overall accuracy and mIoU."""
    columns = ["tile_id", "window", "biome", "lon", "lat", "gap_hours", "s2_cloud", "block"]
    columns += [name for name in ("cloud_fraction", "stratum", "label_gap_hours") if name in result.table]
    table = result.table[columns].copy()
    found = [scores(m) for m in result.confusion[result.main]]
    for name in ("oa", "miou", "pixels"):
        table[name] = [f[name] for f in found]
    return table


def block_counts(result: Result) -> pd.DataFrame:
    """Pixels by spatial block, true class and predicted class: what error-adjusted areas of a map are made from."""
    blocks, part = np.unique(result.table["block"].astype(str), return_inverse=True)
    n = len(CLASSES)
    sums = np.zeros((len(blocks), n, n), "int64")
    np.add.at(sums, part, result.confusion[result.main])
    block, true, said = np.nonzero(sums)
    return pd.DataFrame({"block": blocks[block], "true": np.array(CLASSES)[true], "map": np.array(CLASSES)[said],
                         "pixels": sums[block, true, said]})


def machine(device: torch.device) -> str:
    """What it ran on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} cores"


def lines(found: dict[str, Any]) -> list[str]:
    """The result for a terminal."""
    def percent(value: float | None) -> str:
        return "   -  " if value is None else f"{100 * value:6.2f}"

    def row(name: str, group: dict[str, Any]) -> str:
        low, high = group["interval"]["miou"]
        span = "" if low is None else f"  [{100 * low:.1f}, {100 * high:.1f}]"
        return (f"  {name[:46]:46} {group['tiles']:5} {percent(group['miou'])} {percent(group['oa'])} "
                f"{percent(group['macro_f1'])}{span}")

    out = [f"{found['model']['name']}, split {found['split']}: {found['overall']['tiles']} tiles, "
           f"{found['overall']['pixels']:,} labelled pixels",
           f"  {'':46} tiles   mIoU     OA     F1  mIoU's 95 % interval"]
    out.append(row("all", found["overall"]))
    for title, key in (("shown", "by_modality"), ("|S1 - S2|", "by_gap_hours"), ("cloudiness", "by_cloud"),
                       ("cloud stratum", "by_cloud_stratum"), ("biome", "by_biome")):
        out += [row(f"{title} {name}", group) for name, group in found[key].items()]
    out.append("  IoU: " + ", ".join(f"{name} {percent(value).strip()}" for name, value in
                                     zip(CLASSES, found["overall"]["iou"], strict=True)))
    out.append(f"  calibration error {percent(found['calibration']['ece']).strip()} points")
    if found["reliability"]:
        out.append(f"  {sentence(found['reliability'])}")
    return out
