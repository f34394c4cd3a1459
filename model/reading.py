"""Numbers on their way from a device: nobody waits for them when they are made."""

from __future__ import annotations

import torch
from torch import Tensor


class Reading:
    """A few numbers of a step.

    Parameters
    ----------
    values : (n,), on any device; from CUDA they are copied beside what the device does next. step : which step's.
    """

    def __init__(self, values: Tensor, step: int) -> None:
        self.step = step
        self._values, self._there = values, None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def read(self) -> list[float]:
        """The numbers; waits where the device has not come so far."""
        if self._there is not None:
            self._there.synchronize()
        found: list[float] = self._values.tolist()
        return found
