"""A control: what can be told of a pixel from its own bands, without a neighbour. **Ours.**"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES
from model.networks.baselines import Sensors, bands_of, gather
from model.networks.layers import init_weights, start_head

#: Widths of the hidden layers. There is one size.
VARIANTS = {"small": (96, 96)}


class PixelMLP(nn.Module):
    """A multilayer perceptron on each pixel's bands: 1x1 convolutions of these widths with GELU between them.

    Parameters
    ----------
    variant : one of :data:`VARIANTS`. widths : None = the variant's.

    Raises
    ------
    InputError
        On another variant.
    """

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES),
                 variant: str = "small", widths: Sequence[int] | None = None, sensors: Sensors = "both") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise InputError(f"variant {variant!r}: must be one of {', '.join(VARIANTS)}")
        widths = VARIANTS[variant] if widths is None else widths
        self.s2_bands, self.s1_bands, self.sensors = s2_bands, s1_bands, sensors
        channels = (bands_of(sensors, s2_bands, s1_bands), *widths)
        layers: list[nn.Module] = []
        for a, b in zip(channels, channels[1:], strict=False):
            layers += [nn.Conv2d(a, b, 1), nn.GELU()]
        self.hidden = nn.Sequential(*layers)
        self.classify = nn.Conv2d(channels[-1], classes, 1)
        self.apply(init_weights)
        start_head(self.classify)

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        out: Tensor = self.classify(self.hidden(gather("pixel_mlp", self.sensors, s2, s1, self.s2_bands,
                                                       self.s1_bands)))
        return out
