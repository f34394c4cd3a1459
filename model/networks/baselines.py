"""What SpecSAR-Former is compared with, under the same interface: ``net(s2, s1) -> logits (B, 9, H, W)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES
from model.networks.layers import (
    Attention,
    GlobalBatchNorm2d,
    MixFFN,
    MLPDecoder,
    PatchEmbed,
    StochasticDepth,
    check_bands,
    init_weights,
    start_head,
    to_map,
)
from model.networks.specsar_former import drop_rates, variant_of

Sensors = Literal["both", "s2", "s1"]


def gather(net: str, sensors: str, s2: Tensor, s1: Tensor, s2_bands: int, s1_bands: int) -> Tensor:
    """The input of a one-branch network: the bands of the sensors it uses, S2 first."""
    parts = []
    if sensors != "s1":
        check_bands(net, "s2", s2, s2_bands)
        parts.append(s2)
    if sensors != "s2":
        check_bands(net, "s1", s1, s1_bands)
        parts.append(s1)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def bands_of(sensors: str, s2_bands: int, s1_bands: int) -> int:
    """Channels of the input.

    Raises
    ------
    InputError
        On an unknown choice.
    """
    channels = {"both": s2_bands + s1_bands, "s2": s2_bands, "s1": s1_bands}
    if sensors not in channels:
        raise InputError(f"sensors {sensors!r}: must be both, s2 or s1")
    return channels[sensors]


class Block(nn.Module):
    """SegFormer's block: attention and Mix-FFN, each normed and residual."""

    def __init__(self, dim: int, heads: int, reduction: int, drop: float, plain: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads, reduction, plain)
        self.ffn = MixFFN(dim, plain=plain)
        self.drop = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention.of_norm(x, self.norm1))
        out: Tensor = x + self.drop(self.ffn.of_norm(x, self.norm2))
        return out


class SegFormer(nn.Module):
    """SegFormer on stacked bands (early fusion), or on one sensor. Sizes as in :mod:`model.networks.specsar_former`.

    Source: Xie et al. 2021, arXiv 2105.15203.
    """

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES), variant: str = "b2",
                 sensors: Sensors = "both", plain_attention: bool = False, plain_decoder: bool = False,
                 drop_path: float | None = None, dropout: float = 0.1) -> None:
        super().__init__()
        v = variant_of(variant)
        self.s2_bands, self.s1_bands, self.sensors = s2_bands, s1_bands, sensors
        widths = (bands_of(sensors, s2_bands, s1_bands), *v.widths)
        self.embeds = nn.ModuleList(PatchEmbed(a, b, 3 if i else 7, 2 if i else 4)
                                    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, heads, reduction, drop, plain_attention) for drop in drops))
            for width, heads, reduction, drops in zip(v.widths, v.heads, v.reductions, drop_rates(v, drop_path),
                                                      strict=True))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in v.widths)
        self.decoder = MLPDecoder(v.widths, v.decoder, classes, dropout, plain_decoder)
        self.apply(init_weights)
        start_head(self.decoder.classify)

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        x = gather("segformer", self.sensors, s2, s1, self.s2_bands, self.s1_bands)
        size, maps = (x.shape[2], x.shape[3]), []
        for embed, stage, norm in zip(self.embeds, self.stages, self.norms, strict=True):
            maps.append(norm(stage(embed(x))))
            x = to_map(maps[-1])
        out: Tensor = self.decoder(maps, size)
        return out


class LateFusion(nn.Module):
    """One SegFormer per sensor; their logits are averaged."""

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES), variant: str = "b2",
                 plain_attention: bool = False, plain_decoder: bool = False, drop_path: float | None = None,
                 dropout: float = 0.1) -> None:
        super().__init__()

        def branch(sensors: Sensors) -> SegFormer:
            return SegFormer(s2_bands, s1_bands, classes, variant, sensors, plain_attention, plain_decoder, drop_path,
                             dropout)

        self.spec, self.sar = branch("s2"), branch("s1")

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        out: Tensor = (self.spec(s2, s1) + self.sar(s2, s1)) / 2
        return out


def double_conv(bands: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(bands, width, 3, padding=1, bias=False), GlobalBatchNorm2d(width), nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False), GlobalBatchNorm2d(width), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """U-Net with batch norm, on stacked bands or one sensor.

    Source: Ronneberger et al. 2015, arXiv 1505.04597.
    """

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES),
                 widths: Sequence[int] = (32, 64, 128, 256, 512), sensors: Sensors = "both") -> None:
        super().__init__()
        self.s2_bands, self.s1_bands, self.sensors = s2_bands, s1_bands, sensors
        channels = (bands_of(sensors, s2_bands, s1_bands), *widths)
        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip(channels, channels[1:], strict=False))
        self.up = nn.ModuleList(double_conv(a + b, a) for a, b in zip(widths, widths[1:], strict=False))
        self.classify = nn.Conv2d(widths[0], classes, 1)
        self.apply(init_weights)
        start_head(self.classify)

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        x = gather("unet", self.sensors, s2, s1, self.s2_bands, self.s1_bands)
        skips = []
        for i, block in enumerate(self.down):
            # ceil_mode: a map of one pixel stays one pixel.
            x = block(F.max_pool2d(x, 2, ceil_mode=True) if i else x)
            skips.append(x)
        for i in range(len(self.up) - 1, -1, -1):
            x = F.interpolate(x, size=skips[i].shape[2:], mode="bilinear", align_corners=False)
            x = self.up[i](torch.cat([skips[i], x], dim=1))
        out: Tensor = self.classify(x)
        return out
