"""The batch size that a GPU's memory allows, found once and kept with the run."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn

from dwplus.errors import InputError
from model.compiling import Trial
from model.distributed import World

#: Share of a GPU's memory that a batch may fill: the rest is for what comes and goes, and for other programs.
SHARE = 0.85
#: Bytes a weight takes beside itself and its gradient: AdamW's two moments, and the average.
BESIDE = 12


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to ``most`` that fits, 0 where not even one does: doubled until one does not, then halved
    in between."""
    good, bad = 0, most + 1
    while good + 1 < bad:
        guess = min(most, 2 * good or 1) if bad > most else (good + bad) // 2
        if fits(guess):
            good = guess
        else:
            bad = guess
    return good


def found(net: nn.Module, trial: Callable[[int], Trial], world: World, most: int) -> int:
    """Samples of a batch, alike on all processes.

    Parameters
    ----------
    trial : of so many samples. most : samples that there are.

    Raises
    ------
    InputError
        On a CPU, whose memory is everybody's; or where one sample does not fit.
    """
    device = world.device
    if device.type != "cuda":
        raise InputError("optim.batch_size auto: is found by the memory of a GPU, and this training is on "
                         f"{device.type}; give a number, such as optim.batch_size=8")

    def fits(samples: int) -> bool:
        held = None
        try:
            held = torch.empty(BESIDE * sum(p.numel() for p in net.parameters()), dtype=torch.uint8, device=device)
            trial(samples).run(net, device)
            return True
        except torch.OutOfMemoryError:
            return False
        finally:
            del held
            net.zero_grad()
            torch.cuda.empty_cache()

    buffers = [buffer.clone() for buffer in net.buffers()]
    torch.cuda.set_per_process_memory_fraction(SHARE, device)
    try:
        with torch.random.fork_rng([device]):
            own = largest(fits, most)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        with torch.no_grad():
            for buffer, before in zip(net.buffers(), buffers, strict=True):
                buffer.copy_(before)
    least = torch.tensor(own, device=device)
    if world.size > 1:
        dist.all_reduce(least, dist.ReduceOp.MIN)
    if not (samples := int(least)):
        raise InputError("optim.batch_size auto: not even one sample fits into the memory of the GPU; set a smaller "
                         "data.crop, or run.recompute")
    return samples
