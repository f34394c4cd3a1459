"""From a network to probabilities: the run's temperature, and the mean over flips where it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Axes that are turned over, from the last: as it is, left to right, upside down, both.
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def turned_logits(net: nn.Module, s2: Tensor, s1: Tensor, flips: bool = False,
                  precision: torch.dtype | None = None) -> list[Tensor]:
    """Logits of the image as it is and, with ``flips``, turned over along one axis, the other and both: four times the
    work. Each lies as the image does, float32 (B, classes, H, W).

    Parameters
    ----------
    s2, s1 : standardised inputs (B, bands, H, W). precision : of the forward pass; None = that of the inputs.
    """
    found = []
    for axes in FLIPS if flips else FLIPS[:1]:
        with torch.autocast(s2.device.type, precision, enabled=precision is not None):
            logits = net(s2.flip(axes), s1.flip(axes)) if axes else net(s2, s1)
        found.append(logits.float().flip(axes) if axes else logits.float())
    return found


def mean_probabilities(logits: list[Tensor], temperature: float = 1.0) -> Tensor:
    """Probabilities, the mean over several logits of the same pixels.

    Parameters
    ----------
    temperature : the logits are divided by it (Guo et al. 2017, arXiv 1706.04599); no class of a single one depends on
        it.
    """
    # Dividing by one would be a pass over the pixels for nothing.
    cooled = logits if temperature == 1.0 else [each / temperature for each in logits]
    total = cooled[0].softmax(1)
    for other in cooled[1:]:
        total = total + other.softmax(1)
    return total if len(logits) == 1 else total / len(logits)
