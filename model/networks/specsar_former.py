"""SpecSAR-Former (= LULC-Former): two unequal branches, spectral and SAR, that attend to each other in every block.

Written from the published description (arXiv 2410.03962; JSTARS 10.1109/JSTARS.2025.3641788), not from the released
files. 26,702,217 parameters with the defaults; 54.795 GMAC per 512x512 image (convolutions and linear layers, plain
decoder), the paper's 109.59 "GFLOPs" being a batch of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES
from model.networks.layers import (
    Attention,
    MixFFN,
    MLPDecoder,
    PatchEmbed,
    StochasticDepth,
    check_bands,
    init_weights,
    start_head,
    to_map,
)


@dataclass(frozen=True)
class Variant:
    """Sizes of the four stages.

    Attributes
    ----------
    widths : channels C, of which 3C/4 are spectral and C/4 SAR. depths : blocks. heads : heads of either branch.
    decoder : width of the decoder. drop_path : largest rate of stochastic depth.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    decoder: int
    drop_path: float
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)


#: b2 is the headline. ``small`` is ours: it trains on a CPU in minutes.
VARIANTS: dict[str, Variant] = {
    "small": Variant((32, 64, 128, 192), (1, 1, 2, 1), 128, 0.0, heads=(1, 2, 4, 6)),
    "b0": Variant((32, 64, 160, 256), (2, 2, 2, 2), 256, 0.1),
    "b1": Variant((64, 128, 320, 512), (2, 2, 2, 2), 256, 0.1),
    "b2": Variant((64, 128, 320, 512), (3, 4, 6, 3), 768, 0.01),
    "b4": Variant((64, 128, 320, 512), (3, 8, 27, 3), 768, 0.1),
}


def variant_of(name: str) -> Variant:
    """The variant of a name.

    Raises
    ------
    InputError
        With the names there are.
    """
    if name not in VARIANTS:
        raise InputError(f"variant {name!r}: must be one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def drop_rates(variant: Variant, rate: float | None) -> list[list[float]]:
    """Stochastic depth per stage and block: linear from 0 to the rate over all blocks."""
    top, blocks = variant.drop_path if rate is None else rate, sum(variant.depths)
    flat = [top * i / max(1, blocks - 1) for i in range(blocks)]
    ends = list(accumulate(variant.depths))
    return [flat[end - depth:end] for end, depth in zip(ends, variant.depths, strict=True)]


class DMEM(nn.Module):
    """Dual-modal enhancement: self-attention, attention to the other branch (both directions at once), Mix-FFN.

    Parameters
    ----------
    spec, sar : widths of the branches.
    cross_query : ``own``: the branch that is updated asks, the other answers (as the released code does). ``other``:
        the other branch asks, the updated one answers (as the published figure shows). Parameters are the same.
    cross : False leaves the attention to the other branch out (ablation).
    """

    def __init__(self, spec: int, sar: int, heads: int, reduction: int, drop: float, *, cross_query: str = "own",
                 cross: bool = True, plain: bool = False) -> None:
        super().__init__()
        self.cross_query, self.cross = cross_query, cross

        def norm(dim: int) -> nn.LayerNorm:
            return nn.LayerNorm(dim, eps=1e-6)

        self.spec_norm1, self.sar_norm1 = norm(spec), norm(sar)
        self.spec_self = Attention(spec, heads, reduction, plain)
        self.sar_self = Attention(sar, heads, reduction, plain)
        if cross:
            self.spec_norm2, self.sar_norm2 = norm(spec), norm(sar)
            self.sar_to_spec, self.spec_to_sar = nn.Linear(sar, spec), nn.Linear(spec, sar)
            self.spec_cross = Attention(spec, heads, reduction, plain)
            self.sar_cross = Attention(sar, heads, reduction, plain)
        self.spec_norm3, self.sar_norm3 = norm(spec), norm(sar)
        self.spec_ffn, self.sar_ffn = MixFFN(spec, plain=plain), MixFFN(sar, plain=plain)
        self.drop = StochasticDepth(drop)

    def forward(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        s = s + self.drop(self.spec_self.of_norm(s, self.spec_norm1))
        a = a + self.drop(self.sar_self.of_norm(a, self.sar_norm1))
        if self.cross and self.cross_query == "own":
            ds = self.spec_cross.of_norms(s, self.spec_norm2, a, self.sar_to_spec)
            da = self.sar_cross.of_norms(a, self.sar_norm2, s, self.spec_to_sar)
            s, a = s + self.drop(ds), a + self.drop(da)
        elif self.cross:
            ds = self.spec_cross(self.sar_to_spec(a), self.spec_norm2(s))
            da = self.sar_cross(self.spec_to_sar(s), self.sar_norm2(a))
            s, a = s + self.drop(ds), a + self.drop(da)
        s = s + self.drop(self.spec_ffn.of_norm(s, self.spec_norm3))
        a = a + self.drop(self.sar_ffn.of_norm(a, self.sar_norm3))
        return s, a


class MMAM(nn.Module):
    """Multi-modal aggregation: both branches' global means weigh the channels of each, then they are concatenated.

    The mean runs over positions, so that maps need not be square.
    """

    def __init__(self, spec: int, sar: int) -> None:
        super().__init__()

        def gate(dim: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(spec + sar, dim, bias=False), nn.ReLU(), nn.Linear(dim, dim, bias=False),
                                 nn.Sigmoid())

        self.spec_gate, self.sar_gate = gate(spec), gate(sar)

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        mean = torch.cat([s.mean((1, 2)), a.mean((1, 2))], dim=-1)
        return torch.cat([s * self.spec_gate(mean)[:, None, None], a * self.sar_gate(mean)[:, None, None]], dim=-1)


class Stage(nn.Module):
    """One stage: blocks, aggregation, norm. The patch embedding before it belongs to the network.

    Where ``recompute`` is set, a training keeps of a block what goes into it, and works the block again in the backward
    pass: less memory for more time, and the same numbers.
    """

    recompute = False

    def __init__(self, width: int, heads: int, reduction: int, drops: list[float], *, mmam: bool, cross: bool,
                 cross_query: str, plain: bool) -> None:
        super().__init__()
        self.spec, self.sar = width * 3 // 4, width // 4
        self.blocks = nn.ModuleList(
            DMEM(self.spec, self.sar, heads, reduction, drop, cross_query=cross_query, cross=cross, plain=plain)
            for drop in drops)
        self.mmam = MMAM(self.spec, self.sar) if mmam else None
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        for block in self.blocks:
            again = self.recompute and self.training and torch.is_grad_enabled()
            s, a = checkpoint(block, s, a, use_reentrant=False) if again else block(s, a)
        out: Tensor = self.norm(torch.cat([s, a], dim=-1) if self.mmam is None else self.mmam(s, a))
        return out


class SpecSARFormer(nn.Module):
    """The network: ``net(s2, s1) -> logits``.

    Parameters
    ----------
    s2_bands, s1_bands : channels of the two inputs.
    classes : channels of the output.
    variant : one of :data:`VARIANTS`.
    cross_query : ``own`` (released code) or ``other`` (published figure), see :class:`DMEM`.
    cross_attention, mmam : False: the ablations without attention between branches, and with plain concatenation.
    plain_attention, plain_decoder : the published order of operations in place of the fast one; same parameters, same
        numbers to rounding.
    drop_path : largest rate of stochastic depth; None = the variant's own.
    dropout : of the decoder.
    """

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES), variant: str = "b2",
                 cross_query: Literal["own", "other"] = "own", cross_attention: bool = True, mmam: bool = True,
                 plain_attention: bool = False, plain_decoder: bool = False, drop_path: float | None = None,
                 dropout: float = 0.1) -> None:
        super().__init__()
        if cross_query not in ("own", "other"):
            raise InputError(f"cross_query {cross_query!r}: must be own or other")
        v = variant_of(variant)
        self.s2_bands, self.s1_bands = s2_bands, s1_bands
        first = v.widths[0]
        self.embed_spec = PatchEmbed(s2_bands, first * 3 // 4, 7, 4)
        self.embed_sar = PatchEmbed(s1_bands, first // 4, 7, 4)
        self.embeds = nn.ModuleList(PatchEmbed(a, b, 3, 2) for a, b in zip(v.widths, v.widths[1:], strict=False))
        self.stages = nn.ModuleList(
            Stage(width, heads, reduction, drops, mmam=mmam, cross=cross_attention, cross_query=cross_query,
                  plain=plain_attention)
            for width, heads, reduction, drops in zip(v.widths, v.heads, v.reductions, drop_rates(v, drop_path),
                                                      strict=True))
        self.decoder = MLPDecoder(v.widths, v.decoder, classes, dropout, plain_decoder)
        self.apply(init_weights)
        start_head(self.decoder.classify)

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Logits.

        Parameters
        ----------
        s2 : (B, s2_bands, H, W), standardised reflectance. s1 : (B, s1_bands, H, W), standardised dB.

        Returns
        -------
        (B, classes, H, W).

        Raises
        ------
        InputError
            On another number of bands, or two sizes.
        """
        check_bands("specsar_former", "s2", s2, self.s2_bands)
        check_bands("specsar_former", "s1", s1, self.s1_bands)
        if s2.shape[2:] != s1.shape[2:]:
            raise InputError(f"specsar_former: s2 and s1 must be of one size, found {tuple(s2.shape[2:])} and "
                             f"{tuple(s1.shape[2:])}")
        s, a = self.embed_spec(s2), self.embed_sar(s1)
        maps: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            if i:
                fused = self.embeds[i - 1](to_map(maps[-1]))
                s, a = fused.split([stage.spec, stage.sar], dim=-1)
                s, a = s.contiguous(), a.contiguous()
            maps.append(stage(s, a))
        out: Tensor = self.decoder(maps, (s2.shape[2], s2.shape[3]))
        return out
