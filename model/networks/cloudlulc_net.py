"""CloudLULC-Net: land cover from a clouded Sentinel-2 scene and the Sentinel-1 scene beside it.

**Published** (arXiv 2606.17713, abstract and README; code is announced, not public): ORM learns the reliability of
optical features from the clouded features themselves and attenuates what clouds, shadow and haze did to them; HIAA
fuses progressively by spatial (SHOI) and channel (CHOI) high-order interaction; USMT maps the fused tokens to a latent
space of land cover, without reconstructing clear optics; a semantic anchor, a latent made from labels, pulls USMT's
latent towards it in training only.

**Our reconstruction**: every equation below, the encoders, the decoder, sizes, weights of the losses. Recursive gated
convolutions (Rao et al. 2022, HorNet, arXiv 2207.14284) stand for SHOI.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES, IGNORE
from model.networks.baselines import Block
from model.networks.layers import GlobalBatchNorm2d, check_bands, init_weights, resize, start_head, to_last, to_map
from model.networks.pyramid import Pyramid, SkipDecoder, check_pair, pyramid_of

#: Reliability before training, as a logit: 0.82.
FIRST_TRUST = 1.5


class ORM(nn.Module):
    """Optical reliability modulation of one scale. **Reconstruction: the equations are ours.**

    r = sigmoid(conv3x3(relu(conv1x1([O; |O - P S|])))), one channel; O' = r O + (1 - r) b with b learned per channel:
    where the optics cannot be trusted they say the same everywhere, and the radar decides.

    Parameters
    ----------
    compare : False leaves out |O - P S|, P a 1x1 convolution: reliability is then read off the optical features alone.
    judges : False: it is told the reliability, and has no equation of its own.
    """

    def __init__(self, width: int, compare: bool = True, judges: bool = True) -> None:
        super().__init__()
        self.instead = nn.Parameter(torch.zeros(width))
        if not judges:
            return
        hidden = max(8, width // 2)
        self.project = nn.Conv2d(width, width, 1) if compare else None
        self.look = nn.Conv2d(width * (2 if compare else 1), hidden, 1)
        self.judge = nn.Conv2d(hidden, 1, 3, padding=1)

    def trust(self) -> None:
        """Begin with about the same trust everywhere: a sigmoid that starts saturated, as the usual weights make it,
        shuts the optics out for good."""
        if hasattr(self, "judge"):
            nn.init.normal_(self.judge.weight, 0.0, 0.01)
            assert self.judge.bias is not None
            nn.init.constant_(self.judge.bias, FIRST_TRUST)

    def reliability(self, o: Tensor, s: Tensor) -> Tensor:
        """(B, 1, H, W), 0 = not to be trusted, 1 = clear."""
        seen = o if self.project is None else torch.cat([o, (o - self.project(s)).abs()], dim=1)
        return torch.sigmoid(self.judge(F.relu(self.look(seen))))

    def forward(self, o: Tensor, s: Tensor, r: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Modulated optical features, and their reliability: its own, or the given one."""
        r = self.reliability(o, s) if r is None else r
        return r * o + (1 - r) * self.instead[:, None, None], r


class SHOI(nn.Module):
    """Spatial high-order interaction: a recursive gated convolution across sensors. **Reconstruction.**

    p_0 = P a; p_{k+1} = dwconv7x7(p_k) * q_k(b) for k < order; out = W p_order: one sensor is gated ``order`` times by
    the other, each time over a wider neighbourhood.
    """

    def __init__(self, width: int, order: int = 3, kernel: int = 7) -> None:
        super().__init__()
        inner = max(8, width // 2)
        self.norm_a, self.norm_b = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.start, self.gates = nn.Linear(width, inner), nn.Linear(width, order * inner)
        self.spread = nn.ModuleList(nn.Conv2d(inner, inner, kernel, padding=kernel // 2, groups=inner)
                                    for _ in range(order))
        self.out = nn.Linear(inner, width)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        p = to_map(self.start(self.norm_a(to_last(a))))
        gates = to_map(self.gates(self.norm_b(to_last(b)))).chunk(len(self.spread), dim=1)
        for spread, gate in zip(self.spread, gates, strict=True):
            p = spread(p) * gate
        return to_map(self.out(to_last(p)))


class CHOI(nn.Module):
    """Channel high-order interaction: gates from means of both sensors and their product. **Reconstruction.**

    g = sigmoid(W [z_o; z_s; z_o * z_s]), z the means over positions; one gate per channel and sensor.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_o, self.norm_s = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.gate = nn.Linear(3 * width, 2 * width)

    def forward(self, o: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        z_o, z_s = self.norm_o(o.mean((2, 3))), self.norm_s(s.mean((2, 3)))
        gates = torch.sigmoid(self.gate(torch.cat([z_o, z_s, z_o * z_s], dim=1)))[:, :, None, None]
        gate_o, gate_s = gates.chunk(2, dim=1)
        return o * gate_o, s * gate_s


class HIAA(nn.Module):
    """Fusion of one scale: SHOI in both directions (residual), then CHOI, then relu(norm(conv1x1 [O; S])).

    With neither it is plain concatenation.
    """

    def __init__(self, width: int, order: int, *, spatial: bool, channel: bool) -> None:
        super().__init__()
        self.to_o = SHOI(width, order) if spatial else None
        self.to_s = SHOI(width, order) if spatial else None
        self.channel = CHOI(width) if channel else None
        self.mix = nn.Conv2d(2 * width, width, 1, bias=False)
        self.norm = GlobalBatchNorm2d(width)

    def forward(self, o: Tensor, s: Tensor) -> Tensor:
        if self.to_o is not None and self.to_s is not None:
            o, s = o + self.to_o(s, o), s + self.to_s(o, s)
        if self.channel is not None:
            o, s = self.channel(o, s)
        return F.relu(self.norm(self.mix(torch.cat([o, s], dim=1))))


class USMT(nn.Module):
    """Unified semantic mapping transformer: pre-norm blocks on the tokens of one map. **Reconstruction.**"""

    def __init__(self, width: int, blocks: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads, reduction, 0.0, False) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return to_map(self.norm(self.blocks(to_last(x))))


class Anchor(nn.Module):
    """The semantic anchor: a latent made from labels. In training only. **Reconstruction.**

    The class shares under every token become a latent by two convolutions; a linear readout must find the shares in it
    again, so that it holds them; the fused latent is pulled towards it (1 - cosine), while no gradient goes back.
    """

    def __init__(self, classes: int, width: int, weight: float) -> None:
        super().__init__()
        self.classes, self.weight = classes, weight
        self.encode = nn.Sequential(nn.Conv2d(classes, width, 1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
        self.readout = nn.Conv2d(width, classes, 1)

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        """What is added to the loss.

        Parameters
        ----------
        latent : (B, width, h, w). label : (B, H, W), 255 = ignore.
        """
        keep = label != IGNORE
        truth = F.one_hot(torch.where(keep, label, 0).long(), self.classes).permute(0, 3, 1, 2) * keep[:, None]
        size = (latent.shape[2], latent.shape[3])
        shares = F.adaptive_avg_pool2d(truth.float(), size)
        seen = F.adaptive_avg_pool2d(keep[:, None].float(), size)[:, 0]
        shares = shares / seen[:, None].clamp_min(1e-6)
        anchor = self.encode(shares)
        apart = 1 - F.cosine_similarity(latent.float(), anchor.detach().float(), dim=1)
        wrong = -(shares * self.readout(anchor).float().log_softmax(1)).sum(1)
        # Tokens count by their labelled pixels.
        out: Tensor = ((self.weight * apart + wrong) * seen).sum() / seen.sum().clamp_min(1e-6)
        return out


class CloudLULCNet(nn.Module):
    """The network: ``net(s2, s1) -> logits``; ``net(s2, s1, label) -> (logits, what is added to the loss)``.

    Parameters
    ----------
    s2_bands, s1_bands : channels of the two inputs.
    classes : channels of the output.
    variant : one of :data:`model.networks.pyramid.PYRAMIDS`; the encoders are alike.
    first_stride : of the finest map, 4 or 2.
    orm, spatial, channel, usmt, anchor : False leaves that part out (ablations). Without ``spatial`` and ``channel``
        sensors are concatenated.
    compare : ORM looks at optical against radar features too.
    shared : one reliability for all scales, judged on the finest map and averaged for the others; False: each scale
        judges for itself.
    order : of SHOI.
    blocks, reduction : of USMT: transformer blocks, stride by which keys and values are pooled.
    anchor_weight : of 1 - cosine between USMT's latent and the anchor.
    dropout : of the decoder.

    Attributes
    ----------
    takes_label : trained with labels as third input. training_only : names of parts that do nothing after training.
    """

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES), variant: str = "r34",
                 first_stride: int = 4, orm: bool = True, spatial: bool = True, channel: bool = True, usmt: bool = True,
                 anchor: bool = True, compare: bool = True, shared: bool = True, order: int = 3, blocks: int = 4,
                 reduction: int = 2, anchor_weight: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__()
        if order < 1:
            raise InputError(f"order {order}: must be 1 or more")
        v = pyramid_of(variant)
        self.s2_bands, self.s1_bands, self.takes_label = s2_bands, s1_bands, anchor
        self.training_only = ("anchor",) if anchor else ()
        self.optical, self.radar = Pyramid(s2_bands, v, first_stride), Pyramid(s1_bands, v, first_stride)
        self.shared = shared
        self.orms = nn.ModuleList(ORM(width, compare, not (shared and i)) for i, width in enumerate(v.widths)
                                  ) if orm else None
        self.fusions = nn.ModuleList(HIAA(width, order, spatial=spatial, channel=channel) for width in v.widths)
        # The two coarsest maps meet in USMT's latent.
        self.third, self.fourth = nn.Conv2d(v.widths[2], v.latent, 1), nn.Conv2d(v.widths[3], v.latent, 1)
        self.usmt = USMT(v.latent, blocks, v.heads[2], reduction) if usmt else None
        self.decoder = SkipDecoder((*v.widths[:2], v.latent), v.decoder, classes, dropout)
        self.anchor = Anchor(classes, v.latent, anchor_weight) if anchor else None
        self.apply(init_weights)
        self.optical.calm()
        self.radar.calm()
        start_head(self.decoder.classify)
        for part in self.orms or ():
            if isinstance(part, ORM):
                part.trust()

    def _encode(self, s2: Tensor, s1: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Modulated optical maps, radar maps, reliabilities (none without ORM)."""
        check_bands("cloudlulc_net", "s2", s2, self.s2_bands)
        check_bands("cloudlulc_net", "s1", s1, self.s1_bands)
        check_pair("cloudlulc_net", s2, s1)
        optical, radar = self.optical(s2), self.radar(s1)
        if self.orms is None:
            return optical, radar, []
        modulated: list[Tensor] = []
        trust: list[Tensor] = []
        for orm, o, s in zip(self.orms, optical, radar, strict=True):
            told = F.interpolate(trust[0], size=o.shape[2:], mode="area") if self.shared and trust else None
            o, r = orm(o, s, told)
            modulated.append(o)
            trust.append(r)
        return modulated, radar, trust

    def forward(self, s2: Tensor, s1: Tensor, label: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Logits.

        Parameters
        ----------
        s2 : (B, s2_bands, H, W), standardised reflectance. s1 : (B, s1_bands, H, W), standardised dB.
        label : (B, H, W), 255 = ignore; in training only, for the anchor.

        Returns
        -------
        (B, classes, H, W); with a label also the anchor's loss, a scalar.

        Raises
        ------
        InputError
            On another number of bands, or two sizes.
        """
        optical, radar, _ = self._encode(s2, s1)
        fused = [fuse(o, s) for fuse, o, s in zip(self.fusions, optical, radar, strict=True)]
        latent = self.third(fused[2]) + resize(self.fourth(fused[3]), fused[2].shape[2:])
        if self.usmt is not None:
            latent = self.usmt(latent)
        logits: Tensor = self.decoder([*fused[:2], latent], s2.shape[2:])
        if label is None:
            return logits
        return logits, logits.new_zeros(()) if self.anchor is None else self.anchor(latent, label)

    @torch.no_grad()
    def reliability(self, s2: Tensor, s1: Tensor) -> Tensor:
        """How far the network trusts Sentinel-2, (B, 1, H, W), 0..1, at full size: the shared map, or the mean over
        the scales where each judges for itself.

        Raises
        ------
        InputError
            Where the network was built without ORM.
        """
        if self.orms is None:
            raise InputError("cloudlulc_net: was built with orm=False; it has no reliability map")
        found = self._encode(s2, s1)[2]
        return torch.stack([resize(r.float(), s2.shape[2:]) for r in found[:1 if self.shared else None]]).mean(0)
