"""Windows in, probabilities out: the network side of a map. Arrays only; where they come from does not matter here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dwplus.grid import PixelGrid
from dwplus.maps.blocks import UNIT, Block, Frame, WindowShape, blend, decide, overlap
from dwplus.store.layout import S1_NODATA, S2_NODATA
from model.checkpoint import Checkpoint
from model.normalise import Normaliser
from model.probabilities import mean_probabilities, turned_logits

#: Windows a GPU sees at once; rows of a window whose probabilities a CPU works at once.
GPU_BATCH, ROWS = 8, 32


class Predictor:
    """A trained network, ready for windows of one size.

    A window's answer depends on that window alone: every batch has the same number of windows, the last one being
    filled up, and on a CPU it is one (more are no faster there).

    Parameters
    ----------
    checkpoint : whose network is moved to the device.
    device : where it runs; on CUDA in bfloat16, as in evaluation.
    batch : windows at once; None = 1 on a CPU, :data:`GPU_BATCH` on a GPU.
    flips : whether answers are means over flips of the window, see :mod:`model.probabilities`.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, batch: int | None = None,
                 flips: bool = False) -> None:
        self.device, self.batch = device, batch or (GPU_BATCH if device.type == "cuda" else 1)
        self.sensors, self.classes = checkpoint.sensors, len(checkpoint.legend)
        self.s2_bands = [str(band) for band in checkpoint.info["s2_bands"]]
        self.sensors, self.temperature, self.flips = checkpoint.sensors, checkpoint.temperature, flips
        self._net = checkpoint.net.to(device).eval()
        self._normaliser = Normaliser(checkpoint.normalisation).to(device)
        if device.type == "cuda":
            # The fastest algorithm of a convolution may add in another order each time.
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True

    @torch.inference_mode()
    def __call__(self, s2: np.ndarray, s1: np.ndarray, keep: int) -> np.ndarray:
        """Probabilities of a few windows, at most :attr:`batch`.

        Parameters
        ----------
        s2, s1 : (window, band, y, x) as stored. keep : side of the middle that is wanted, px.

        Returns
        -------
        uint16 (window, class, keep, keep), 65535 = 1; all 0 where no sensor the network looks at has data.
        """
        count = len(s2)
        if count < self.batch:
            fill = np.resize(np.arange(count), self.batch)
            s2, s1 = s2[fill], s1[fill]
        optical, radar = (torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in (s2, s1))
        shown = torch.tensor([["s2" in self.sensors, "s1" in self.sensors]] * len(s2), device=self.device)
        blank = torch.zeros((len(s2), *s2.shape[-2:]), dtype=torch.uint8, device=self.device)
        # The normaliser takes the label from pixels that no shown sensor saw: that is what tells them here.
        optical, radar, seen = self._normaliser(optical, radar, blank, shown)
        logits = turned_logits(self._net, optical, radar, self.flips,
                               torch.bfloat16 if self.device.type == "cuda" else None)
        top, left = ((side - keep) // 2 for side in s2.shape[-2:])
        here = (..., slice(top, top + keep), slice(left, left + keep))
        inner, unseen = [each[here][:count] for each in logits], seen[here][:count] != 0
        if self.device.type == "cuda":
            probability = mean_probabilities(inner, self.temperature).mul_(UNIT).round_()
            probability.masked_fill_(unseen[:, None], 0)
            whole: np.ndarray = probability.to(torch.int32).cpu().numpy()
            return whole.astype("uint16")
        out = np.empty(inner[0].shape, "uint16")
        quantised = torch.from_numpy(out)
        for first in range(0, keep, ROWS):  # a few rows stay near the processor from the first pass to the last
            rows = (..., slice(first, first + ROWS), slice(None))
            quantised[rows] = mean_probabilities([each[rows] for each in inner], self.temperature).mul_(UNIT).round_()
        blank_pixels = unseen.numpy()
        if blank_pixels.any():
            out *= ~blank_pixels[:, None]
        return out


def merged(dates: Sequence[np.ndarray]) -> np.ndarray:
    """Several dates of a window as one: the mean of the dates that have data, pixel by pixel.

    Parameters
    ----------
    dates : uint16 (class, y, x) each, all 0 where there is no data.
    """
    if len(dates) == 1:
        return dates[0]
    total = np.sum(dates, axis=0, dtype="uint64")
    count = np.sum([date.any(axis=0) for date in dates], axis=0, dtype="uint64")
    out: np.ndarray = ((total + count // 2) // np.maximum(count, 1)).astype("uint16")
    return out


def map_array(predictor: Predictor, s2: np.ndarray, s1: np.ndarray, size: int = 510,
              shape: WindowShape | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The map of an array, made at once: blocks of ``size`` pixels from its upper left corner on.

    Parameters
    ----------
    s2 : uint16 (band, y, x) DN, 65535 = no data. s1 : int16 hundredths of dB, -32768 = no data, or float32 dB with NaN.
    size : side of a block, px; that of the tiles the network was trained on serves best.

    Returns
    -------
    uint8 (y, x) class, 255 = no data; uint8 (y, x) confidence in percent, 255 = no data.
    """
    shape = shape or WindowShape()
    height, width = s2.shape[-2:]
    whole = PixelGrid(0, 0.0, 0.0, 1.0, height, width)
    blocks = [Block(f"{row}_{col}", whole.block(row, col, size, size), ())
              for row in range(0, height, size) for col in range(0, width, size)]
    frame = Frame(blocks, shape)
    total = np.zeros((predictor.classes, height, width), "uint64")
    weight = np.zeros((height, width), "uint64")
    for block in frame.blocks.values():
        pixels = _cut(whole, shape.window(block.grid), s2, s1)
        support = shape.support(block.grid)
        probability = predictor(next(pixels)[None], next(pixels)[None], support.width)[0]
        shared = overlap(whole, support)
        assert shared is not None
        part = whole.block(shared[0][0].start, shared[0][1].start, *(s.stop - s.start for s in shared[0]))
        add, share = blend(part, {block.id: (support, probability)}, shape)
        total[(slice(None), *shared[0])] += add
        weight[shared[0]] += share
    return decide(total, weight)


def _cut(whole: PixelGrid, window: PixelGrid, s2: np.ndarray, s1: np.ndarray) -> Iterator[np.ndarray]:
    shared = overlap(whole, window)
    assert shared is not None
    for array, nothing in ((s2, S2_NODATA), (s1, nothing_of(s1.dtype))):
        out = np.full((len(array), *window.shape), nothing, array.dtype)
        out[(slice(None), *shared[1])] = array[(slice(None), *shared[0])]
        yield out


def nothing_of(dtype: np.dtype) -> float:
    """The no-data value of Sentinel-1 pixels of a type."""
    return float("nan") if dtype.kind == "f" else S1_NODATA
