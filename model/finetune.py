"""Starting from trained weights: what fits is taken, what does not is made anew and named; parts held still, rates by
depth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dwplus.errors import InputError
from model import checkpoint as checkpoints

#: Names of what gives the classes: a linear layer of one pixel.
HEAD = ("decoder.classify", "classify", "anchor.readout")
_NUMBER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Taken:
    """What became of a network's tensors: how many were taken, and the names of those that were made anew."""

    taken: int
    anew: tuple[str, ...]

    @property
    def line(self) -> str:
        """In words."""
        parts = sorted({_part(name) for name in self.anew})
        shown = ", ".join(parts[:6]) + (f" and {len(parts) - 6} more" if len(parts) > 6 else "")
        return f"{self.taken} tensors taken" + (f"; made anew, for the weights have none of that name and shape: "
                                                f"{shown}" if parts else "")


def _part(name: str) -> str:
    return name.rsplit(".", 1)[0]


def weights_of(path: str | Path) -> dict[str, Tensor]:
    """Weights of a run (its best), of a checkpoint, or of any safetensors file, by name.

    Raises
    ------
    InputError
        Where there are none, or they are damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        inside = [path / "best.safetensors", path / "model.safetensors"]
        path = next((file for file in inside if file.is_file()), inside[0])
    if not path.is_file():
        raise InputError(f"init.from {path}: no such file; give the folder of a run, or a safetensors file")
    try:
        with safe_open(str(path), framework="pt") as file:
            ours = checkpoints.KEY in (file.metadata() or {})
            plain = {} if ours else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"init.from {path}: is no safetensors file ({type(error).__name__}: {error})") from None
    if ours:
        tensors, _ = checkpoints.read(path)
        return checkpoints.part(tensors, "ema") or checkpoints.part(tensors, "net")
    return checkpoints.part(plain, "net") or plain


def start(net: nn.Module, path: str | Path) -> Taken:
    """Take from trained weights what a network has by the same name and shape.

    Raises
    ------
    InputError
        Where nothing fits.
    """
    found, own = weights_of(path), net.state_dict()
    fits = {name: tensor for name, tensor in found.items() if name in own and own[name].shape == tensor.shape}
    if not any(name in dict(net.named_parameters()) for name in fits):
        raise InputError(f"init.from {path}: no weight fits this network, by name and shape (it has "
                         f"{next(iter(own))}, the file {next(iter(found), 'nothing')}); take weights of the same "
                         f"model and "
                         "variant")
    net.load_state_dict(fits, strict=False)
    return Taken(len(fits), tuple(name for name in own if name not in fits))


def hold(net: nn.Module, names: Sequence[str], probe: bool, anew: Sequence[str] = ()) -> int:
    """Hold parts still: their parameters get no gradient. Gives the number that is still trained.

    Parameters
    ----------
    names : beginnings of parameters' names, such as ``optical`` or ``decoder.up``. probe : all but the last, linear
        layer is held. anew : tensors that were made anew, which are trained in any case.

    Raises
    ------
    InputError
        Where a name is that of no part, or nothing is left to train.
    """
    every = dict(net.named_parameters())
    if probe:
        names = [name for name in every if not name.startswith(HEAD)]
        if len(names) == len(every):
            raise InputError("init.probe: this network has no last linear layer that is known; hold parts by "
                             "init.freeze instead")
    for name in names:
        inside = [key for key in every if key == name or key.startswith(name + ".")]
        if not inside:
            parts = sorted({key.split(".")[0] for key in every})
            raise InputError(f"init.freeze {name}: is no part of the network; its parts are {', '.join(parts)}")
        for key in inside:
            every[key].requires_grad_(key in anew)
    left = sum(parameter.numel() for parameter in every.values() if parameter.requires_grad)
    if not left:
        raise InputError("init.freeze: holds the whole network; leave something to train")
    return left


def still(net: nn.Module) -> nn.Module:
    """Of parts that are held, statistics and dropout stay as they are, too; for a network in training mode, which is
    given back."""
    for module in net.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
    return net


def depth(name: str) -> int:
    """How far from the input a parameter lies, in stages: 0 for stems, 1 and on for numbered stages; -1 for the
    decoder and the head, which lie at the end."""
    if name.startswith("decoder") or name.startswith(HEAD):
        return -1
    match = _NUMBER.search(f".{name}.")
    return int(match[1]) + 1 if match else 0


def groups(net: nn.Module, decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Groups of parameters for the optimiser: weights decay, norms and biases do not; those that are held are left out.

    Parameters
    ----------
    layer_decay : factor on the rate for each stage away from the decoder, which has the full rate (``scale``).
    """
    trained = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    last = max((depth(name) for name, _ in trained), default=0)
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in trained:
        level = depth(name)
        scale = 1.0 if level < 0 or layer_decay == 1 else layer_decay ** (last + 1 - level)
        found.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    every = [{"params": params, "weight_decay": decay if wide else 0.0, "scale": scale}
             for (scale, wide), params in sorted(found.items(), key=lambda item: (-item[0][0], not item[0][1]))]
    return every
