"""Statistics of the bands, and what the networks see: clipped to [p1, p99], standardised, 0 where there is no data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dwplus.errors import InputError
from dwplus.store.layout import S1_NODATA, S1_SCALE, S2_NODATA
from dwplus.taxonomy import IGNORE


@dataclass(frozen=True)
class BandStatistics:
    """One sensor: per band mean and standard deviation of the clipped values, 1st and 99th percentile.

    Units are DN for Sentinel-2, dB (angle: degrees) for Sentinel-1.
    """

    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Normalisation:
    """Statistics of both sensors over ``tiles`` tiles of the train split."""

    s2: BandStatistics
    s1: BandStatistics
    tiles: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalisation:
        s2, s1 = (BandStatistics(**{k: tuple(v) for k, v in values[name].items()}) for name in ("s2", "s1"))
        return cls(s2, s1, int(values["tiles"]))


class Histogram:
    """Counts of every stored value per band: all the statistics of integers, exactly, in one pass.

    Parameters
    ----------
    bands : names. offset : added to a value to give its bin, of 65,536. nodata : left out. scale : units of one step.
    """

    def __init__(self, bands: tuple[str, ...], offset: int, nodata: int, scale: float) -> None:
        self.bands, self.offset, self.nodata, self.scale = bands, offset, nodata, scale
        self.counts = np.zeros((len(bands), 65536), "int64")

    def add(self, pixels: np.ndarray) -> None:
        """Count (bands, y, x). Floats are dB with NaN for no data, and are counted in hundredths."""
        if pixels.dtype.kind == "f":
            pixels = np.where(np.isfinite(pixels), np.round(pixels / self.scale), self.nodata)
            pixels = np.clip(pixels, -32768, 32767).astype("int16")
        for counts, band in zip(self.counts, pixels, strict=True):
            counts += np.bincount(band.ravel().astype("int64") + self.offset, minlength=65536)

    def statistics(self) -> BandStatistics:
        """The statistics.

        Raises
        ------
        InputError
            Where a band holds no data at all.
        """
        values = (np.arange(65536) - self.offset) * self.scale
        rows: list[tuple[float, float, float, float]] = []
        for name, counts in zip(self.bands, self.counts, strict=True):
            counts = counts.copy()
            counts[self.nodata + self.offset] = 0
            total = counts.sum()
            if not total:
                raise InputError(f"band {name}: holds no data in any tile of the train split; export it again, or "
                                 "train on other bands")
            low, high = (values[np.searchsorted(counts.cumsum(), share * total)] for share in (0.01, 0.99))
            clipped = np.clip(values, low, high)
            mean = (clipped * counts).sum() / total
            std = max(float(np.sqrt(((clipped - mean) ** 2 * counts).sum() / total)), self.scale)
            rows.append((float(mean), std, float(low), float(high)))
        columns: list[tuple[float, ...]] = list(zip(*rows, strict=True))
        return BandStatistics(self.bands, *columns)


def measure(tiles: Iterable[tuple[np.ndarray, np.ndarray]], s2_bands: tuple[str, ...],
            s1_bands: tuple[str, ...]) -> Normalisation:
    """Statistics of tiles (s2 uint16, s1 int16 hundredths of dB or float32 dB), each (bands, y, x)."""
    s2 = Histogram(s2_bands, 0, S2_NODATA, 1.0)
    s1 = Histogram(s1_bands, 32768, S1_NODATA, S1_SCALE)
    count = 0
    for optical, radar in tiles:
        s2.add(optical)
        s1.add(radar)
        count += 1
    return Normalisation(s2.statistics(), s1.statistics(), count)


class Normaliser(torch.nn.Module):
    """Stored pixels to network inputs, on any device.

    Clipping and standardising need the same numbers in training, evaluation and mapping: they travel in the
    checkpoint. A pixel without data becomes 0, the mean of its band, in every band of that sensor; a pixel that neither
    sensor saw loses its label.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        for sensor in ("s2", "s1"):
            stats: BandStatistics = getattr(normalisation, sensor)
            for key in ("mean", "std", "low", "high"):
                values = torch.tensor(getattr(stats, key), dtype=torch.float32)[:, None, None]
                self.register_buffer(f"{sensor}_{key}", values, persistent=False)

    def _standard(self, x: Tensor, invalid: Tensor, sensor: str) -> Tensor:
        low, high = getattr(self, f"{sensor}_low"), getattr(self, f"{sensor}_high")
        # In place after the first step: new memory for each costs as much as the arithmetic.
        x = torch.clamp(x, low, high).sub_(getattr(self, f"{sensor}_mean")).div_(getattr(self, f"{sensor}_std"))
        return x.masked_fill_(invalid, 0.0)

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
        optical = s2.to(torch.float32)
        # No data is the type's largest value, and the largest of the bands is found four times as fast as any of them.
        no_s2 = (optical.amax(1, keepdim=True) == S2_NODATA) | ~keep[:, 0, None, None, None]
        radar = s1.to(torch.float32)
        no_s1 = (~torch.isfinite(radar) | (radar == S1_NODATA)).any(1, keepdim=True) | ~keep[:, 1, None, None, None]
        if not s1.dtype.is_floating_point:
            radar = radar * S1_SCALE
        label = torch.where((no_s2 & no_s1)[:, 0], torch.full_like(label, IGNORE), label)
        return self._standard(optical, no_s2, "s2"), self._standard(radar, no_s1, "s1"), label
