"""Radiometric augmentation: the same ground under another light, another atmosphere, another calibration."""

from __future__ import annotations

import torch
from torch import Tensor


def varied(x: Tensor, amount: float) -> Tensor:
    """A sensor's bands with another gain and offset for each sample and band.

    Drawn from torch's generator, which a training step seeds by its number, so that a resumed run draws what it would
    have drawn.

    Parameters
    ----------
    x : (B, bands, H, W), float32, standardised; 0 = no data, which stays 0. amount : standard deviation of the gain
        about 1, and of the offset about 0 in standard deviations of the band; 0 = unchanged.

    Returns
    -------
    (B, bands, H, W), float32.

    Source: ours; Dynamic World varies the contrast of each band (Brown et al. 2022, doi 10.1038/s41597-022-01307-4), by
    an amount that is not published.
    """
    if not amount:
        return x
    gain, offset = 1 + amount * torch.randn(2, *x.shape[:2], 1, 1, device=x.device, dtype=x.dtype)
    return torch.where(x == 0, x, x * gain + (offset - 1))
