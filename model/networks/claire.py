"""CLAIRE: two independent encoders, fused at every scale by cross-modality attention, and a decoder with skips.

**Published** (arXiv 2509.11952, abstract): two independent encoders, optical and SAR; a cross-modality attention fusion
module (CMAF) that stresses complementary spatial and textural cues; the RIFT loss (:class:`model.losses.RiftLoss`);
reasons given per sample by a small language model from metrics (:mod:`model.explain`).

**Our reconstruction** (no code is public, and the abstract says no more): the residual encoders and their sizes, the
equations of CMAF, at which scales it attends, the U-Net decoder, all defaults. There is no published number of
parameters to match.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwplus.taxonomy import CLASSES
from model.networks.layers import Attention, GlobalBatchNorm2d, check_bands, init_weights, start_head, to_last, to_map
from model.networks.pyramid import Pyramid, SkipDecoder, check_pair, pyramid_of


class CMAF(nn.Module):
    """Cross-modality attention fusion of two maps of one scale. **Reconstruction: the equations are ours.**

    1. channel gates: sigmoid(MLP(mean over positions of [O; S])), one per channel of either map;
    2. spatial gates: sigmoid(conv7x7([mean_c O; max_c O; mean_c S; max_c S])), one map per sensor;
    3. attention of each map to the other, both from the gated values, residual;
    4. out = relu(norm(W_o O* + O + W_s S* + S)): the 1x1 convolution of the concatenation, and the inputs.

    Parameters
    ----------
    channel, spatial, attention : False leaves the step out (ablation). reduction : stride by which keys and values are
        pooled.
    """

    def __init__(self, width: int, heads: int, reduction: int = 1, *, channel: bool = True, spatial: bool = True,
                 attention: bool = True) -> None:
        super().__init__()
        self.channel = nn.Sequential(nn.Linear(2 * width, width // 2), nn.ReLU(), nn.Linear(width // 2, 2 * width),
                                     nn.Sigmoid()) if channel else None
        self.spatial = nn.Sequential(nn.Conv2d(4, 2, 7, padding=3), nn.Sigmoid()) if spatial else None
        self.attends = attention
        if attention:
            self.norm_o, self.norm_s = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
            self.to_o, self.to_s = Attention(width, heads, reduction), Attention(width, heads, reduction)
        self.mix_o = nn.Conv2d(width, width, 1, bias=False)
        self.mix_s = nn.Conv2d(width, width, 1, bias=False)
        self.norm = GlobalBatchNorm2d(width)

    def parts(self, o: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """What either sensor adds to the fused map, before the norm; each (B, C, H, W)."""
        optical, radar = o, s
        if self.channel is not None:
            gates = self.channel(torch.cat([o.mean((2, 3)), s.mean((2, 3))], dim=1))[:, :, None, None]
            gate_o, gate_s = gates.chunk(2, dim=1)
            optical, radar = optical * gate_o, radar * gate_s
        if self.spatial is not None:
            cues = [cue for x in (o, s) for cue in (x.mean(1, keepdim=True), x.amax(1, keepdim=True))]
            gate = self.spatial(torch.cat(cues, dim=1))
            optical, radar = optical * gate[:, :1], radar * gate[:, 1:]
        if self.attends:
            own, other = self.norm_o(to_last(optical)), self.norm_s(to_last(radar))
            optical, radar = (optical + to_map(self.to_o(own, other)), radar + to_map(self.to_s(other, own)))
        return self.mix_o(optical) + o, self.mix_s(radar) + s

    def forward(self, o: Tensor, s: Tensor) -> Tensor:
        optical, radar = self.parts(o, s)
        return F.relu(self.norm(optical + radar))


class CLAIRE(nn.Module):
    """The network: ``net(s2, s1) -> logits``.

    Parameters
    ----------
    s2_bands, s1_bands : channels of the two inputs.
    classes : channels of the output.
    variant : one of :data:`model.networks.pyramid.PYRAMIDS`; the encoders are alike.
    first_stride : of the finest map, 4 or 2.
    attention_from : finest stride at which CMAF attends; finer maps are only gated, where attention would cost most.
    reduction : stride by which keys and values are pooled at ``attention_from``; halved at every coarser scale.
    channel_gate, spatial_gate, cross_attention : False leaves that step of CMAF out (ablation).
    dropout : of the decoder.
    """

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES), variant: str = "r34",
                 first_stride: int = 4, attention_from: int = 16, reduction: int = 2, channel_gate: bool = True,
                 spatial_gate: bool = True, cross_attention: bool = True, dropout: float = 0.1) -> None:
        super().__init__()
        v = pyramid_of(variant)
        self.s2_bands, self.s1_bands = s2_bands, s1_bands
        self.optical, self.radar = Pyramid(s2_bands, v, first_stride), Pyramid(s1_bands, v, first_stride)
        self.fusions = nn.ModuleList()
        for i, (width, heads) in enumerate(zip(v.widths, v.heads, strict=True)):
            stride = first_stride * 2 ** i
            pooled = max(1, reduction * attention_from // stride)
            self.fusions.append(CMAF(width, heads, pooled, channel=channel_gate, spatial=spatial_gate,
                                     attention=cross_attention and stride >= attention_from))
        self.decoder = SkipDecoder(v.widths, v.widths[:-1], classes, dropout)
        self.apply(init_weights)
        self.optical.calm()
        self.radar.calm()
        start_head(self.decoder.classify)

    def _maps(self, s2: Tensor, s1: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        check_bands("claire", "s2", s2, self.s2_bands)
        check_bands("claire", "s1", s1, self.s1_bands)
        check_pair("claire", s2, s1)
        return self.optical(s2), self.radar(s1)

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
        optical, radar = self._maps(s2, s1)
        fused = [fuse(o, s) for fuse, o, s in zip(self.fusions, optical, radar, strict=True)]
        out: Tensor = self.decoder(fused, s2.shape[2:])
        return out

    @torch.no_grad()
    def optical_shares(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Optical part of what the fusions add up, (B, scales), finest scale first, 0..1.

        |optical part| / (|optical part| + |radar part|), both summed over channels and positions.
        """
        shares = []
        for fuse, o, s in zip(self.fusions, *self._maps(s2, s1), strict=True):
            assert isinstance(fuse, CMAF)
            a, b = (part.abs().sum((1, 2, 3)) for part in fuse.parts(o, s))
            shares.append(a / (a + b).clamp_min(1e-12))
        return torch.stack(shares, dim=1)
