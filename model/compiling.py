"""Networks compiled for training: what is compiled where, and what happens where it cannot be.

The compiler is loaded only where it is asked for: it is 800 modules, some two seconds and 100 MB. A compiled network
shares its weights with the one it was made from, whose names a checkpoint keeps; validation, maps and exports take the
network as it is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

#: Of a config: ``auto`` is on on CUDA and off on a CPU, where compiling takes minutes.
Choice = Literal["auto", "on", "off"]
#: Characters of what a compiler says.
WORDS = 200


@dataclass(frozen=True)
class Trial:
    """What a network is given in training, for a first pass forward and back.

    Attributes
    ----------
    s2, s1 : bands. side : of a window, px. batch : windows. label : whether labels go in. precision : of the pass.
    """

    s2: int
    s1: int
    side: int
    batch: int
    label: bool
    precision: torch.dtype

    def run(self, forward: Any, device: torch.device) -> None:
        """One pass; gradients are left on the weights."""
        s2, s1 = (torch.zeros((self.batch, bands, self.side, self.side), device=device) for bands in (self.s2, self.s1))
        label = torch.zeros((self.batch, self.side, self.side), dtype=torch.uint8, device=device)
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            found = forward(s2, s1, label) if self.label else forward(s2, s1)
        logits, extra = found if self.label else (found, 0.0)
        (logits.float().mean() + extra).backward()


def wanted(choice: Choice, device: torch.device) -> bool:
    """Whether a training on a device is to be compiled."""
    return choice == "on" or (choice == "auto" and device.type == "cuda")


def graphs_fit(device: torch.device, processes: int, accumulate: int) -> bool:
    """Whether a step may be replayed as CUDA graphs.

    Their results lie in memory that the next pass writes anew: gradients that add up over several passes, or that wait
    for other processes, must not.
    """
    return device.type == "cuda" and processes == 1 and accumulate == 1


def compiled(net: nn.Module, trial: Trial, device: torch.device, graphs: bool) -> tuple[Any, str]:
    """A network to train with, and a sentence about it.

    It is tried at once, forward and back, for compilers come to work late and their mistakes with them: where that
    fails, the network itself is given back. Buffers, gradients and random numbers are afterwards what they were before.

    Parameters
    ----------
    graphs : whether CUDA graphs are made, see :func:`graphs_fit`.
    """
    buffers = [buffer.clone() for buffer in net.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            # Random numbers are torch's own, so that dropout draws what it draws without a compiler.
            options: dict[str, Any] = {"fallback_random": True, **({"triton.cudagraphs": True} if graphs else {})}
            forward = torch.compile(net, dynamic=False, options=options)
            for _ in range(3 if graphs else 1):  # a graph is warmed up, recorded, replayed
                trial.run(forward, device)
                net.zero_grad()
            said = f"compiled{', with CUDA graphs' * graphs}"
        except Exception as error:  # noqa: BLE001  what is not the compiler's the network itself says again
            first = (str(error).strip().splitlines() or [""])[0][:WORDS]
            forward = net
            said = f"not compiled, for that failed ({type(error).__name__}: {first}); training goes on without it"
        finally:
            net.zero_grad()
            with torch.no_grad():
                for buffer, before in zip(net.buffers(), buffers, strict=True):
                    buffer.copy_(before)
    return forward, said
