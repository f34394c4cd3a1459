"""One process or many (torchrun): who am I, and sums over all."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes
    ----------
    rank, size : number and count. device : where its tensors live.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """The one that writes and speaks."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def from_first(self, tensor: Tensor) -> None:
        """The first process's values in all of them."""
        if self.size > 1:
            dist.broadcast(tensor, 0)

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


def device_of(name: str | None, local_rank: int = 0) -> torch.device:
    """The device asked for; None = CUDA where there is one."""
    if name:
        return torch.device(name)
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


@contextlib.contextmanager
def world(device: str | None = None) -> Iterator[World]:
    """The world that ``torchrun`` set up, or a world of one."""
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    own = device_of(device, int(os.environ.get("LOCAL_RANK", 0)))
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if size == 1:
        yield World(0, 1, own)
        return
    if not dist.is_initialized():
        # Once in a process: a second group at torchrun's rendezvous would find the first one's keys and hang.
        # With its device said, NCCL need not guess it, and warn of that, at the first barrier.
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo",
                                device_id=own if own.type == "cuda" else None)
        atexit.register(_leave)
    yield World(rank, size, own)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
