"""What a network says of tiles, counted: confusion matrices per tile, and the groups that tiles are scored in."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from dwplus.errors import EmptySplitError, InputError
from dwplus.pages.words import synthetic
from dwplus.store import layout
from dwplus.store.legend import Legend
from dwplus.taxonomy import IGNORE
from model.checkpoint import Checkpoint, check_store
from model.data import TileDataset
from model.loader import Loader, device_batches
from model.metrics import confusion_matrix
from model.normalise import Normaliser
from model.probabilities import mean_probabilities, turned_logits
from model.progress import step_progress

#: Edges of the groups: |S1 - S2| in hours, cloudiness of the S2 scene in percent.
GAP_EDGES = (0.0, 12.0, 24.0, 48.0, 72.0, 144.0, 360.0, 1440.0, math.inf)
CLOUD_EDGES = (0.0, 2.0, 5.0, 10.0, 20.0, 35.0, 100.0)
#: Strata of cloud over the tile, percent: ours, the published bins of CloudLULC-Set being unknown.
STRATUM_EDGES = (0.0, 10.0, 30.0, 50.0, 70.0, 100.0)
CONFIDENCE_BINS = 15
#: What really is on a tile of a dataset, by its number, uint8 (y, x), 255 where that is not known.
Truth = Callable[[TileDataset, int], np.ndarray]
#: What is shown to the network: name -> (S2 present, S1 present).
MODALITIES = {"s2+s1": (True, True), "s2": (True, False), "s1": (False, True)}


@dataclass
class Result:
    """What was counted.

    Attributes
    ----------
    table : one row per tile, with ``data`` (number of its dataset) and ``row`` (index in it). confusion : modality to
        int64 (tiles, classes, classes). calibration : float64 (3, bins): sums of confidence, of hits, and pixels, of
        the first modality. legend : of the classes. calibrated : as calibration, with the run's temperature; None where
        it has none. against_truth, labels_against_truth : int64 (tiles, classes, classes), of the first modality and of
        the stores' labels, rows the truth, on labelled pixels; None without a truth.
    """

    table: pd.DataFrame
    sets: list[TileDataset]
    confusion: dict[str, np.ndarray]
    calibration: np.ndarray
    legend: Legend = Legend()
    calibrated: np.ndarray | None = None
    against_truth: np.ndarray | None = None
    labels_against_truth: np.ndarray | None = None

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
            data = TileDataset(store, split, normalisation=checkpoint.normalisation, classes=checkpoint.table)
        except EmptySplitError as error:
            nothing = error
            continue
        check_store(checkpoint, data.s2_bands, data.s1_bands, store, data.legend.classes, data.specs[0])
        found.append(data)
    if not found:
        raise nothing or InputError("store: give at least one")
    return found


def synthetic_of(stores: Sequence[str]) -> str:
    """The banner of results on these stores: empty where none holds pixels of a sample planet."""
    found = (layout.open_root(store).attrs.asdict() for store in stores)
    banners = (synthetic(str(attrs.get("earth", "")), str(attrs.get("earth_version", ""))) for attrs in found)
    return next(filter(None, banners), "")


def modalities_of(checkpoint: Checkpoint) -> dict[str, tuple[bool, bool]]:
    """What can be shown to a network: everything, then each sensor alone."""
    if len(checkpoint.sensors) == 2:
        return MODALITIES
    return {checkpoint.sensors[0]: MODALITIES[checkpoint.sensors[0]]}


@torch.inference_mode()
def count(checkpoint: Checkpoint, sets: list[TileDataset], *, device: torch.device, batch_size: int = 1,
          threads: int = 2, progress: bool = False, hide: bool = True, window: int | None = None,
          stride: int | None = None, flips: bool = False, truth: Truth | None = None) -> Result:
    """Run a network over every tile, once per modality; with ``hide`` False only with all it looks at.

    Parameters
    ----------
    window, stride : see :class:`model.metrics.Protocol`. flips : answers are means over flips, see
        :mod:`model.probabilities`. truth : also score against it.

    Raises
    ------
    InputError
        Where the window is larger than the tiles.
    """
    if window is not None and window > min(min(data.sizes) for data in sets):
        raise InputError(f"--window {window}: is larger than the tiles, {min(min(data.sizes) for data in sets)} px; "
                         "import with a larger --tile, or leave it out")
    net, normaliser = checkpoint.net.to(device).eval(), Normaliser(checkpoint.normalisation).to(device)
    amp = device.type == "cuda"
    shown, n = modalities_of(checkpoint), len(checkpoint.legend)
    shown = shown if hide else dict(list(shown.items())[:1])
    total, done = sum(map(len, sets)), 0
    confusion = {name: np.zeros((total, n, n), "int64") for name in shown}
    against, ceiling = (np.zeros((total, n, n), "int64") for _ in range(2))
    # Before and after the temperature.
    temperatures = (1.0, checkpoint.temperature)[:1 if checkpoint.temperature == 1 else 2]
    calibration = torch.zeros(len(temperatures), 3, CONFIDENCE_BINS, dtype=torch.float64, device=device)
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
                labelled = label[valid].long()
                tile = torch.arange(len(batch), device=device)[:, None, None].expand_as(label)[valid]
                for name, keep in shown.items():
                    s2, s1, _ = normaliser(*stored, torch.tensor([keep] * len(batch), device=device))
                    precision = torch.bfloat16 if amp else None
                    if window is None:
                        logits = turned_logits(net, s2, s1, flips, precision)
                        found = [mean_probabilities(logits, t) for t in temperatures]
                    else:
                        found = [slid(net, s2, s1, window, stride or window, t, flips, precision)
                                 for t in temperatures]
                    # Of several answers the mean, as a map takes it, depends on the temperature.
                    said = found[-1 if flips else 0].argmax(1)
                    key = (tile * n + labelled) * n + said[valid]
                    counts = torch.bincount(key, minlength=len(batch) * n * n).cpu().numpy()
                    confusion[name][done:done + len(batch)] = counts.reshape(-1, n, n)
                    if name == next(iter(shown)):
                        hit = (said[valid] == labelled).double()
                        for number, probabilities in enumerate(found):
                            probability = probabilities.amax(1)[valid].double()
                            bins = (probability * CONFIDENCE_BINS).long().clamp_max(CONFIDENCE_BINS - 1)
                            for row, weights in enumerate((probability, hit, torch.ones_like(hit))):
                                calibration[number, row] += torch.bincount(bins, weights, CONFIDENCE_BINS)
                        if truth is not None:
                            ground = np.stack([truth(data, int(i)) for i in batch.index])
                            for k, (true, drawn, mapped) in enumerate(zip(ground, label.cpu().numpy(),
                                                                          said.cpu().numpy(), strict=True), done):
                                true = np.where(drawn == IGNORE, IGNORE, true)
                                against[k] = confusion_matrix(true, mapped, n)
                                ceiling[k] = confusion_matrix(true, np.where(drawn == IGNORE, 0, drawn), n)
                done += len(batch)
                show(done, "")
    tables = [data.table.assign(data=i, row=np.arange(len(data))) for i, data in enumerate(sets)]
    before, *after = calibration.cpu().numpy()
    return Result(pd.concat(tables, ignore_index=True), sets, confusion, before, checkpoint.legend,
                  after[0] if after else None, *((against, ceiling) if truth is not None else ()))


def slid(net: torch.nn.Module, s2: torch.Tensor, s1: torch.Tensor, window: int | None, stride: int | None,
         temperature: float = 1.0, flips: bool = False, precision: torch.dtype | None = None) -> torch.Tensor:
    """Probabilities (B, classes, H, W) of images, whole or as the mean over a sliding window, whose last step is moved
    in."""
    if window is None or stride is None:
        return mean_probabilities(turned_logits(net, s2, s1, flips, precision), temperature)
    height, width = s2.shape[-2:]
    total: torch.Tensor | None = None
    weight = torch.zeros((1, 1, height, width), device=s2.device)
    steps = [sorted({*range(0, side - window + 1, stride), side - window}) for side in (height, width)]
    for y in steps[0]:
        for x in steps[1]:
            here = (..., slice(y, y + window), slice(x, x + window))
            part = mean_probabilities(turned_logits(net, s2[here], s1[here], flips, precision), temperature)
            if total is None:
                total = torch.zeros((*part.shape[:2], height, width), device=s2.device)
            total[here] += part
            weight[here] += 1
    assert total is not None
    return total / weight


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


def calibration_sentence(found: dict[str, Any]) -> str:
    """The calibration error, before and after the run's temperature where it has one."""
    def points(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.2f}"

    calibration = found["calibration"]
    if (after := calibration.get("after_temperature")) is None:
        return f"calibration error {points(calibration['ece'])} points (the run has no temperature)"
    return (f"calibration error {points(calibration['ece'])} points, {points(after['ece'])} with the run's "
            f"temperature of {found['temperature']:.3f}, fitted on split val")


def plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def machine(device: torch.device) -> str:
    """What it ran on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} cores"
