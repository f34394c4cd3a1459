"""The training loss: focal, alpha-balanced, pixels of the ignore label left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwplus.taxonomy import IGNORE


def class_weights(counts: Sequence[float] | np.ndarray, power: float = 0.5, largest: float = 10.0) -> np.ndarray:
    """Alpha per class from pixel counts: frequency to the power of -``power``.

    Parameters
    ----------
    counts : labelled pixels per class. power : 0 = all alike, 0.5 = square root, 1 = inverse frequency.
    largest : bound on the ratio of a weight to the commonest class's.

    Returns
    -------
    float32, scaled so that the mean over labelled pixels is 1. A class without pixels gets the largest weight.
    """
    counts = np.asarray(counts, dtype="float64")
    if power == 0 or counts.sum() == 0:
        return np.ones(len(counts), "float32")
    ratio = np.minimum((counts.max() / np.maximum(counts, 1e-9)) ** power, largest)
    return (ratio / ((ratio * counts).sum() / counts.sum())).astype("float32")


class FocalLoss(nn.Module):
    """Mean over labelled pixels of ``-alpha_y (1 - p_y)^gamma log p_y``.

    Parameters
    ----------
    gamma : 0 = cross entropy. alpha : (classes,) weights; None = all one. ignore : label of pixels left out.

    Source: Lin et al. 2017, arXiv 1708.02002.
    """

    def __init__(self, gamma: float = 2.0, alpha: Sequence[float] | np.ndarray | None = None,
                 ignore: int = IGNORE) -> None:
        super().__init__()
        self.gamma, self.ignore = gamma, ignore
        weights = None if alpha is None else torch.as_tensor(np.asarray(alpha), dtype=torch.float32)
        self.alpha: Tensor | None
        self.register_buffer("alpha", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor, pixels: float | Tensor | None = None) -> Tensor:
        """Loss.

        Parameters
        ----------
        logits : (B, classes, H, W), any float type; computed in float32. target : (B, H, W), integers.
        pixels : number to divide the sum by; None = this batch's labelled pixels. Several processes, or several parts
            of one batch, give the number of the whole batch, so that their losses add up to its loss.
        """
        keep = target != self.ignore
        safe = torch.where(keep, target, 0).long()
        log_p = F.log_softmax(logits.float(), dim=1).gather(1, safe[:, None])[:, 0]
        loss = -log_p
        if self.gamma:
            # -expm1(log p) = 1 - p without cancellation; the floor keeps the power's slope finite at p = 1.
            loss = loss * (-torch.expm1(log_p)).clamp_min(1e-7) ** self.gamma
        if self.alpha is not None:
            loss = loss * self.alpha[safe]
        total = torch.where(keep, loss, 0.0).sum()
        return total / (keep.sum().clamp_min(1) if pixels is None else pixels)
