"""The training losses: focal, alpha-balanced, and RIFT = weighted focal + Tversky; pixels of the ignore label left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwplus.taxonomy import IGNORE
from model.config import LossPart


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
    out: np.ndarray = (ratio / ((ratio * counts).sum() / counts.sum())).astype("float32")
    return out


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

    @property
    def class_weights(self) -> list[float] | None:
        """Weight per class; None = all one."""
        return None if self.alpha is None else self.alpha.tolist()

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


def clipped_weights(counts: Sequence[float] | np.ndarray, power: float = 1.0, low: float = 0.2,
                    high: float = 5.0) -> np.ndarray:
    """RIFT's class weights: frequency over the mean frequency, to the power of -``power``, clipped to [low, high].

    Returns
    -------
    float32. A class without pixels gets ``high``; without any pixels, or at power 0, all weights are 1.
    """
    counts = np.asarray(counts, dtype="float64")
    if power == 0 or counts.sum() == 0:
        return np.ones(len(counts), "float32")
    relative = np.maximum(counts, 1e-9) * len(counts) / counts.sum()
    out: np.ndarray = np.clip(relative ** -power, low, high).astype("float32")
    return out


class TverskyLoss(nn.Module):
    """1 - mean over the classes present of TP / (TP + a FP + b FN), on softmax probabilities; a = b = 0.5 is Dice.

    Parameters
    ----------
    false_positive, false_negative : a and b; b > a favours recall. exponent : of 1 - index, per class (1 = Tversky,
        other values = focal Tversky). smooth : added above and below the stroke.

    Source: Salehi et al. 2017, arXiv 1706.05721; the exponent: Abraham and Khan 2018, arXiv 1810.07842.
    """

    def __init__(self, false_positive: float = 0.3, false_negative: float = 0.7, exponent: float = 1.0,
                 smooth: float = 1e-6, ignore: int = IGNORE) -> None:
        super().__init__()
        self.false_positive, self.false_negative = false_positive, false_negative
        self.exponent, self.smooth, self.ignore = exponent, smooth, ignore

    def forward(self, logits: Tensor, target: Tensor, pixels: float | Tensor | None = None) -> Tensor:
        """Loss; shapes as for :class:`FocalLoss`.

        Parameters
        ----------
        pixels : labelled pixels of the whole batch. The index is no sum over pixels, so that parts of a batch are
            weighed: each part has its own index, and counts by its share of the labelled pixels.
        """
        keep = target != self.ignore
        safe = torch.where(keep, target, 0).long()
        probability = logits.float().softmax(dim=1) * keep[:, None]
        truth = F.one_hot(safe, logits.shape[1]).permute(0, 3, 1, 2) * keep[:, None]
        hit = (probability * truth).sum((0, 2, 3))
        said, true = probability.sum((0, 2, 3)), truth.sum((0, 2, 3)).float()
        bottom = hit + self.false_positive * (said - hit) + self.false_negative * (true - hit)
        # The floor keeps the slope of a fractional power finite where a class is perfect.
        miss = (1 - (hit + self.smooth) / (bottom + self.smooth)).clamp_min(1e-7) ** self.exponent
        present = true > 0
        loss = torch.where(present, miss, 0.0).sum() / present.sum().clamp_min(1)
        return loss if pixels is None else loss * (keep.sum() / pixels)


class RiftLoss(nn.Module):
    """RIFT of CLAIRE: ``mix`` x weighted focal + (1 - ``mix``) x Tversky. For any network here.

    That it is a hybrid of weighted focal and Tversky is published (arXiv 2509.11952); **every coefficient is our
    reconstruction**, the paper's being unknown.

    Parameters
    ----------
    mix : share of the focal part. gamma, weights : of the focal part. false_positive, false_negative, exponent : of
        :class:`TverskyLoss`.
    """

    def __init__(self, mix: float = 0.5, gamma: float = 2.0, weights: Sequence[float] | np.ndarray | None = None,
                 false_positive: float = 0.3, false_negative: float = 0.7, exponent: float = 1.0,
                 ignore: int = IGNORE) -> None:
        super().__init__()
        self.mix = mix
        self.focal = FocalLoss(gamma, weights, ignore)
        self.tversky = TverskyLoss(false_positive, false_negative, exponent, ignore=ignore)

    @property
    def class_weights(self) -> list[float] | None:
        """Weight per class of the focal part; None = all one."""
        return self.focal.class_weights

    def forward(self, logits: Tensor, target: Tensor, pixels: float | Tensor | None = None) -> Tensor:
        """Loss; shapes and ``pixels`` as for :class:`FocalLoss` and :class:`TverskyLoss`."""
        focal, tversky = self.focal(logits, target, pixels), self.tversky(logits, target, pixels)
        out: Tensor = self.mix * focal + (1 - self.mix) * tversky
        return out


def make_loss(part: LossPart, counts: Sequence[float] | np.ndarray) -> FocalLoss | RiftLoss:
    """The loss of a config, for training tiles with these labelled pixels per class."""
    if part.name == "rift":
        return RiftLoss(part.mix, part.gamma, clipped_weights(counts, part.weight_power, *part.weight_range),
                        part.false_positive, part.false_negative, part.exponent)
    return FocalLoss(part.gamma, class_weights(counts, part.alpha_power, part.alpha_largest))
