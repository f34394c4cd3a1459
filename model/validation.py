"""Validation: the confusion matrix of a network over whole tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dwplus.taxonomy import IGNORE
from model.data import TileDataset
from model.distributed import World
from model.loader import Batch, Loader, device_batches
from model.normalise import Normaliser

#: Pixels of tiles that a CPU works at once, and tiles: a quarter of the time is saved on four of 256 px, none on large
#: ones.
PIXELS, MOST = 512 * 512, 16


def tiles_at_once(device: torch.device, batch: int, side: int, tile: int) -> int:
    """Whole tiles at once, for nothing is kept for a backward pass: on a GPU as many pixels as twice a training batch
    has, on a CPU :data:`PIXELS`.

    Parameters
    ----------
    batch, side : samples of a training batch and their side, px. tile : side of a tile, px.
    """
    if device.type == "cuda":
        return max(1, round(2 * batch * (side / tile) ** 2))
    return max(1, min(MOST, PIXELS // tile**2))


def confusion(net: nn.Module, normaliser: Normaliser, sets: Sequence[TileDataset], classes: int, world: World,
              precision: torch.dtype, batch: int, side: int, threads: int) -> np.ndarray:
    """Counts (classes, classes) of label and answer over all tiles, on all processes; the network is run as it is.

    Parameters
    ----------
    batch, side : of the training, see :func:`tiles_at_once`.
    """
    total = torch.zeros(classes ** 2, dtype=torch.float64, device=world.device)
    for data in sets:
        mine = list(range(len(data)))[world.rank::world.size]
        size = tiles_at_once(world.device, batch, side, data.window)
        loader = Loader(data, [mine[i:i + size] for i in range(0, len(mine), size)], threads=threads,
                        pin=world.device.type == "cuda")
        for tiles in device_batches(loader, world.device):
            total += _counts(net, normaliser, tiles, precision)
    return world.total(total).cpu().numpy().reshape(classes, classes)


@torch.inference_mode()
def _counts(net: nn.Module, normaliser: Normaliser, batch: Batch, precision: torch.dtype) -> Tensor:
    """Confusion counts of a batch, float64 (classes * classes,), on its device."""
    s2, s1, label = normaliser(batch.s2, batch.s1, batch.label, batch.keep)
    with torch.autocast(label.device.type, precision, enabled=precision != torch.float32):
        logits = net(s2, s1)
    said, n = logits.argmax(1), logits.shape[1]
    keep = label != IGNORE
    pairs = label[keep].long() * n + said[keep]
    return torch.bincount(pairs, minlength=n ** 2).double()
