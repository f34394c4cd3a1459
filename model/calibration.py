"""Confidence that means something: one temperature for a network's logits, fitted on the tiles of split val."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dwplus.taxonomy import IGNORE
from model import checkpoint as checkpoints
from model.data import TileDataset
from model.loader import Loader
from model.normalise import Normaliser

#: Labelled pixels of a tile, and tiles, that it is fitted on: neighbours tell much the same.
PIXELS, TILES = 2048, 256
#: Bounds of the temperature; a fit that ends at one of them is no fit.
LOWEST, HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Fit:
    """A temperature and what it is worth: mean negative log-likelihood of the pixels (nats) before and after it."""

    temperature: float
    before: float
    after: float
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "nll_before": self.before, "nll_after": self.after,
                "pixels": self.pixels}


def fit_temperature(logits: Tensor, label: Tensor) -> Fit | None:
    """The temperature T that makes ``softmax(logits / T)`` likeliest; None without pixels, or where there is none: a
    network that is right, or wrong, about every pixel has no best one.

    Parameters
    ----------
    logits : (pixels, classes). label : (pixels,), classes.

    Source: Guo et al. 2017, arXiv 1706.04599. The likelihood has one maximum in 1 / T, which is searched in log T.
    """
    logits, label = logits.double(), label.long()
    if not len(label) or bool((logits.argmax(1) == label).all()):  # right everywhere: the colder the likelier
        return None

    def loss(log_t: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_t), label))

    low, high = math.log(LOWEST), math.log(HIGHEST)
    shrink = (math.sqrt(5) - 1) / 2
    a, b = high - shrink * (high - low), low + shrink * (high - low)
    at_a, at_b = loss(a), loss(b)
    while high - low > 1e-4:
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - shrink * (high - low)
            at_a = loss(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + shrink * (high - low)
            at_b = loss(b)
    middle = (low + high) / 2
    if min(middle - math.log(LOWEST), math.log(HIGHEST) - middle) < 1e-3:
        return None
    return Fit(math.exp(middle), loss(0.0), loss(middle), len(label))


@torch.inference_mode()
def sampled_logits(checkpoint: checkpoints.Checkpoint, sets: Sequence[TileDataset], device: torch.device,
                   seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (pixels, classes) and labels (pixels,) of a seeded draw of :data:`PIXELS` of each of :data:`TILES` tiles,
    shown whole."""
    net, normaliser = checkpoint.net.to(device).eval(), Normaliser(checkpoint.normalisation).to(device)
    every = [(data, i) for data in sets for i in range(len(data))]
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(len(every), min(TILES, len(every)), replace=False).tolist()) if every else []
    logits, labels = [], []
    for data in sets:
        mine = [[every[k][1]] for k in chosen if every[k][0] is data]
        for batch in Loader(data, mine, threads=2):
            s2, s1, label = normaliser(*(part.to(device) for part in (batch.s2, batch.s1, batch.label)),
                                       torch.ones_like(batch.keep).to(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                found = net(s2, s1)
            where = torch.nonzero((label[0] != IGNORE).flatten())[:, 0].cpu().numpy()
            drawn = torch.from_numpy(np.sort(rng.permutation(where)[:PIXELS])).to(device)
            logits.append(found[0].flatten(1)[:, drawn].T.float().cpu())
            labels.append(label[0].flatten()[drawn].cpu())
    if not logits:
        return torch.empty(0, 1), torch.empty(0)
    return torch.cat(logits), torch.cat(labels)


def calibrate(path: str | Path, sets: Sequence[TileDataset], device: torch.device) -> Fit | None:
    """Fit a checkpoint's temperature on the tiles of some sets, and keep it in its header as ``calibration``.

    Returns
    -------
    None, and the file is as it was, where there are no tiles or no best temperature.

    Raises
    ------
    InputError
        Where the checkpoint cannot be read or written.
    """
    found = checkpoints.load(path)
    fit = fit_temperature(*sampled_logits(found, sets, device))
    if fit is not None:
        tensors, info = checkpoints.read(found.path)
        info.pop("format")
        checkpoints.save(found.path, tensors, {**info, "calibration": fit.to_dict()})
    return fit
