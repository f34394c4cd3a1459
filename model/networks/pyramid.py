"""Convolutional encoder and decoder of the two-encoder networks (CLAIRE, CloudLULC-Net). Maps are (B, C, H, W).

Sources: He et al. 2016 (arXiv 1512.03385) for the residual blocks; Ronneberger et al. 2015 (arXiv 1505.04597) for the
decoder. Which backbone the two papers use is not known: this choice is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwplus.errors import InputError
from model.networks.layers import GlobalBatchNorm2d, resize


@dataclass(frozen=True)
class PyramidVariant:
    """Sizes of an encoder.

    Attributes
    ----------
    widths, depths : channels and residual blocks of the four stages. heads : of the attention at each stage.
    decoder : widths of the decoder at strides 4 and 8. latent : width of the deepest decoder map.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    decoder: tuple[int, int] = (64, 128)
    latent: int = 256


#: ``r18`` and ``r34`` have the sizes of the ResNets of that name. ``small`` trains on a CPU in minutes.
PYRAMIDS: dict[str, PyramidVariant] = {
    "small": PyramidVariant((24, 48, 96, 160), (1, 1, 1, 1), (1, 2, 4, 4), (32, 64), 96),
    "r18": PyramidVariant((64, 128, 256, 512), (2, 2, 2, 2)),
    "r34": PyramidVariant((64, 128, 256, 512), (3, 4, 6, 3)),
}


def pyramid_of(name: str) -> PyramidVariant:
    """The variant of a name.

    Raises
    ------
    InputError
        With the names there are.
    """
    if name not in PYRAMIDS:
        raise InputError(f"variant {name!r}: must be one of {', '.join(PYRAMIDS)}")
    return PYRAMIDS[name]


def check_pair(net: str, s2: Tensor, s1: Tensor) -> None:
    """Refuse two sensors of two sizes.

    Raises
    ------
    InputError
        With both.
    """
    if s2.shape[2:] != s1.shape[2:]:
        raise InputError(f"{net}: s2 and s1 must be of one size, found {tuple(s2.shape[2:])} and {tuple(s1.shape[2:])}")


def conv_norm(bands: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and batch norm."""
    return nn.Sequential(nn.Conv2d(bands, width, kernel, stride, kernel // 2, bias=False), GlobalBatchNorm2d(width))


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity, or beside a 1x1 convolution where shapes differ."""

    def __init__(self, bands: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(bands, width, 3, stride), conv_norm(width, width, 3)
        self.short = nn.Identity() if stride == 1 and bands == width else conv_norm(bands, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.short(x) + self.second(F.relu(self.first(x), inplace=True)), inplace=True)


class Pyramid(nn.Module):
    """Encoder of one sensor: maps at strides ``first``, 2 ``first``, 4 ``first``, 8 ``first``.

    Parameters
    ----------
    bands : of the input. first : stride of the finest map: 4 (7x7 stem and max pooling, as ResNet), or 2 (finer and
        four times the work; no pooling).
    """

    def __init__(self, bands: int, variant: PyramidVariant, first: int = 4) -> None:
        super().__init__()
        if first not in (2, 4):
            raise InputError(f"first_stride {first!r}: must be 2 or 4")
        self.pool = first == 4
        self.stem = conv_norm(bands, variant.widths[0], 7, 2)
        widths = (variant.widths[0], *variant.widths)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Residual(b if i else a, b, 1 + (stage > 0 and i == 0)) for i in range(depth)))
            for stage, (a, b, depth) in enumerate(zip(widths, variant.widths, variant.depths, strict=False)))

    @torch.no_grad()
    def calm(self) -> None:
        """Damp what every residual block adds, by the number of blocks. Batch norm undoes it in training; in
        evaluation, before running statistics are known, maps would double with every block. **Ours.**"""
        blocks = [block for block in self.modules() if isinstance(block, Residual)]
        for block in blocks:
            conv = block.second[0]
            assert isinstance(conv, nn.Conv2d)
            conv.weight.mul_(1 / math.sqrt(len(blocks)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps, finest first."""
        x = F.relu(self.stem(x), inplace=True)
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class SkipDecoder(nn.Module):
    """U-Net's decoder: from the coarsest map up, each finer map joined by concatenation, then logits.

    Parameters
    ----------
    widths : channels of the maps, finest first. inner : channels of the decoder at every map but the coarsest.
    """

    def __init__(self, widths: Sequence[int], inner: Sequence[int], classes: int, dropout: float) -> None:
        super().__init__()
        below = (*inner[1:], widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(conv_norm(skip + low, width, 3), nn.ReLU(inplace=True), conv_norm(width, width, 3),
                          nn.ReLU(inplace=True))
            for skip, low, width in zip(widths, below, inner, strict=False))
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(inner[0], classes, 1)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Maps (B, C_i, H_i, W_i), finest first, to logits (B, classes, *size)."""
        x = maps[-1]
        for i in range(len(maps) - 2, -1, -1):
            x = self.up[i](torch.cat([maps[i], resize(x, maps[i].shape[2:])], dim=1))
        return resize(self.classify(self.dropout(x)), size)
