"""Does a network that judges how reliable the optics are see the clouds? It never saw a mask; the mask tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from model.checkpoint import Checkpoint
from model.data import TileDataset
from model.loader import Loader
from model.normalise import Normaliser

#: Steps of the reliability map, 0..1, that are told apart.
STEPS = 4096


def auc(clear: np.ndarray, cloudy: np.ndarray) -> float:
    """Probability that a clear pixel has a higher value than a cloudy one, ties counting half; NaN without both.

    Parameters
    ----------
    clear, cloudy : pixels by value, in rising order: two histograms of the same bins.
    """
    below = np.concatenate([[0], np.cumsum(cloudy)[:-1]])
    pairs = float(clear.sum()) * float(cloudy.sum())
    return float((clear * (below + cloudy / 2)).sum() / pairs) if pairs else float("nan")


def judges(net: Any) -> bool:
    """Whether a network has a reliability map: CloudLULC-Net with its ORM."""
    return getattr(net, "orms", None) is not None


@torch.inference_mode()
def against_mask(checkpoint: Checkpoint, sets: list[TileDataset], device: torch.device,
                 batch_size: int = 1) -> dict[str, Any] | None:
    """The reliability map against the cloud masks of triplet stores; None where there is no map or no mask.

    Returns
    -------
    ``auc``, see :func:`auc`; ``clear`` and ``cloudy``: mean reliability (0..1) of the pixels of each kind;
    ``clear_pixels``, ``cloudy_pixels``.
    """
    sets = [data for data in sets if data.has_cloud]
    if not sets or not judges(checkpoint.net):
        return None
    net: Any = checkpoint.net.to(device).eval()
    normaliser = Normaliser(checkpoint.normalisation).to(device)
    counts = np.zeros((2, STEPS))
    for data in sets:
        order = list(range(len(data)))
        loader = Loader(data, [order[i:i + batch_size] for i in range(0, len(order), batch_size)], threads=2)
        for batch in loader:
            s2, s1, _ = normaliser(*(part.to(device) for part in (batch.s2, batch.s1, batch.label)),
                                   torch.ones_like(batch.keep).to(device))
            trust = net.reliability(s2, s1)[:, 0].cpu()
            mask = torch.from_numpy(np.stack([data.cloud(int(i)) for i in batch.index]))
            step = (trust * STEPS).long().clamp(0, STEPS - 1)
            for kind in (0, 1):
                counts[kind] += torch.bincount(step[mask == kind], minlength=STEPS).numpy()
    middles = (np.arange(STEPS) + 0.5) / STEPS
    clear, cloudy = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (counts * middles).sum(1) / counts.sum(1)
    return {"auc": auc(clear, cloudy), "clear": float(means[0]), "cloudy": float(means[1]),
            "clear_pixels": int(clear.sum()), "cloudy_pixels": int(cloudy.sum())}


def sentence(found: dict[str, Any]) -> str:
    """The reliability map against the cloud mask, as a sentence."""
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return (f"reliability map against the cloud mask, which the network never saw: AUC {number(found['auc'])}; mean "
            f"{number(found['clear'])} on {found['clear_pixels']:,} clear, {number(found['cloudy'])} on "
            f"{found['cloudy_pixels']:,} cloudy pixels")
