"""A control: what can be told of a pixel from its own bands, without a neighbour. **Ours.**"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dwplus.taxonomy import CLASSES
from model.networks.baselines import Sensors, bands_of, gather
from model.networks.layers import init_weights, start_head


class PixelMLP(nn.Module):
    """A multilayer perceptron on each pixel's bands: 1x1 convolutions of these widths with GELU between them."""

    def __init__(self, s2_bands: int = 10, s1_bands: int = 2, classes: int = len(CLASSES),
                 widths: Sequence[int] = (96, 96), sensors: Sensors = "both") -> None:
        super().__init__()
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
