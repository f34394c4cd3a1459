"""What the networks see: values clipped to [p1, p99], standardised, 0 where there is no data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from dwplus.errors import InputError
from dwplus.spec import extras
from dwplus.store.layout import S1_NODATA, S1_SCALE, S2_NODATA
from dwplus.store.legend import CODE
from dwplus.store.stats import BandStatistics, Statistics
from dwplus.taxonomy import IGNORE


@dataclass(frozen=True)
class Scaling:
    """What a sensor's bands are scaled by: mean and standard deviation of the clipped values, and the bounds of the
    clipping, the 1st and 99th percentile.

    Units are DN for Sentinel-2, dB (angle: degrees) for Sentinel-1.
    """

    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, bands: Sequence[BandStatistics], step: float) -> Scaling:
        """The scaling that follows from statistics of bands.

        Codes are no measure: a band of them becomes a mask, 0 where the code is 0 and 1 elsewhere, whatever is rare.

        Parameters
        ----------
        step : of the stored values, in the bands' unit; no standard deviation is taken to be less.

        Raises
        ------
        InputError
            Where a band holds no data at all.
        """
        for band in bands:
            if not band.count:
                raise InputError(f"band {band.name}: holds no data in any tile of the train split; export it again, or "
                                 "train on other bands")
        rows = [(b.name, 0.0, 1.0, 0.0, 1.0) if b.unit == CODE else
                (b.name, b.clipped_mean, max(b.clipped_std, step), b.p1, b.p99) for b in bands]
        return cls(*zip(*rows, strict=True))


@dataclass(frozen=True)
class Normalisation:
    """What both sensors are scaled by, from statistics over ``tiles`` tiles of the train split."""

    s2: Scaling
    s1: Scaling
    tiles: int

    @classmethod
    def of(cls, found: Statistics) -> Normalisation:
        """From the statistics of a store; see :meth:`Scaling.of`."""
        return cls(Scaling.of(found.s2, 1.0), Scaling.of(found.s1, S1_SCALE), found.tiles)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalisation:
        s2, s1 = (Scaling(**{k: tuple(v) for k, v in values[name].items()}) for name in ("s2", "s1"))
        for one in (s2, s1):
            columns = (one.mean, one.std, one.low, one.high)
            if any(len(c) != len(one.bands) for c in columns) or not all(map(math.isfinite, chain(*columns))):
                raise ValueError("normalisation: needs a finite mean, std, low and high of every band")
        return cls(s2, s1, int(values["tiles"]))


def own_bands(bands: Sequence[str]) -> int:
    """Number of Sentinel-2's own among a network's optical bands; the others are :mod:`dwplus.spec.extras`."""
    return len(bands) - len(extras.input_bands(extras.inputs_in(bands)))


class Normaliser(torch.nn.Module):
    """Stored pixels to network inputs, on any device.

    Clipping and standardising need the same numbers in training, evaluation and mapping: they travel in the
    checkpoint. A pixel without data becomes 0, the mean of its band, in every band of that sensor; a pixel that neither
    sensor saw loses its label. Extras behind Sentinel-2's bands have their own no data, each band for itself.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.own = own_bands(normalisation.s2.bands)
        for sensor in ("s2", "s1"):
            scaling: Scaling = getattr(normalisation, sensor)
            for key in ("mean", "std", "low", "high"):
                values = torch.tensor(getattr(scaling, key), dtype=torch.float32)[:, None, None]
                self.register_buffer(f"{sensor}_{key}", values, persistent=False)

    def _standard(self, x: Tensor, invalid: Tensor, sensor: str) -> Tensor:
        bounds = [getattr(self, f"{sensor}_{key}") for key in ("low", "high", "mean", "std")]
        # In place: new memory for each step costs as much as the arithmetic.
        if x.device.type != "cpu":
            low, high, mean, std = bounds
            return x.clamp_(low, high).sub_(mean).div_(std).masked_fill_(invalid, 0.0)
        # Band by band: numbers in place of maps of them, and a band stays near from one pass to the next.
        for band, (low, high, mean, std) in enumerate(zip(*(b.flatten().tolist() for b in bounds), strict=True)):
            x[:, band].clamp_(low, high).sub_(mean).div_(std)
        # Mostly there is nothing to fill. Only a CPU can be asked without waiting.
        return x.masked_fill_(invalid, 0.0) if bool(invalid.numpy().any()) else x

    def forward(self, s2: Tensor, s1: Tensor, label: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Network inputs.

        Parameters
        ----------
        s2 : (B, bands, H, W), uint16 DN, 65535 = no data. s1 : (B, bands, H, W), int16 hundredths of dB, -32768 = no
            data, or float32 dB with NaN. label : (B, H, W), uint8. keep : (B, 2), bool: S2 and S1 are present.

        Returns
        -------
        s2, s1 : float32, standardised. label : uint8, 255 = ignore.
        """
        optical = s2.to(torch.float32, copy=True)
        # No data is the type's largest value, and the largest of the bands is found four times as fast as any of them;
        # faster still of whole numbers, which torch cannot compare.
        hidden = ~keep[:, 0, None, None, None]
        if s2.device.type == "cpu":
            largest = torch.from_numpy(s2[:, :self.own].numpy().max(1, keepdims=True) == S2_NODATA)
        else:
            largest = optical[:, :self.own].amax(1, keepdim=True) == S2_NODATA
        no_s2 = largest | hidden
        radar = s1.to(torch.float32, copy=True)
        if s1.dtype.is_floating_point:
            no_s1 = (~torch.isfinite(radar) | (radar == S1_NODATA)).any(1, keepdim=True)
        else:  # the type's smallest value
            no_s1 = radar.amin(1, keepdim=True) == S1_NODATA
            radar.mul_(S1_SCALE)
        no_s1 |= ~keep[:, 1, None, None, None]
        label = torch.where((no_s2 & no_s1)[:, 0], torch.full_like(label, IGNORE), label)
        if self.own < optical.shape[1]:
            beside = (optical[:, self.own:] == S2_NODATA) | hidden
            no_s2 = torch.cat([no_s2.expand(-1, self.own, -1, -1), beside], 1)
        return self._standard(optical, no_s2, "s2"), self._standard(radar, no_s1, "s1"), label
