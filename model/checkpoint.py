"""Checkpoints: safetensors files that hold weights and, in their header, what they mean: network, bands, statistics,
training config, the stores' specs, scores. Nothing in them is executed on loading."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dwplus.errors import InputError
from model.networks.registry import build, sensors_of
from model.normalise import Normalisation

#: Number of the format; raised when a reader of the old one would go wrong.
FORMAT = 1
KEY = "dwplus_model"


@dataclass
class Checkpoint:
    """A trained network.

    Attributes
    ----------
    net : in evaluation mode, on the CPU. normalisation : of its inputs. info : the header: ``model`` {name, options},
        ``s2_bands``, ``s1_bands``, ``config``, ``specs``, ``label_sources``, ``epoch``, ``scores``, ...
    """

    path: Path
    net: nn.Module
    normalisation: Normalisation
    info: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.info["model"]["name"])

    @property
    def sensors(self) -> tuple[str, ...]:
        """Sensors the network looks at."""
        return sensors_of(self.name, self.info["model"]["options"])


def save(path: str | Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write a checkpoint whole: beside its place, then renamed."""
    from safetensors.torch import save_file

    path = Path(path)
    partial = path.with_name(f".{path.name}.part")
    # Copies: safetensors refuses tensors that share memory or are strided, as channels-last weights are.
    whole = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(whole, str(partial), metadata={KEY: json.dumps({"format": FORMAT, **info})})
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"checkpoint {path}: cannot be written ({error.strerror or error})") from None


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a checkpoint.

    Raises
    ------
    InputError
        Where there is none, or it is no checkpoint of ours.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file; train first (make train RUN=...)")
    try:
        with safe_open(str(path), framework="pt") as file:
            info = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no iteration of its own
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise InputError(f"checkpoint {path}: is no checkpoint of this project ({type(error).__name__})") from None
    if info.get("format") != FORMAT:
        raise InputError(f"checkpoint {path}: has format {info.get('format')}, this version reads {FORMAT}; train "
                         "again")
    return tensors, info


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose name begins with ``prefix.``, by the rest of their name."""
    return {name[len(prefix) + 1:]: t for name, t in tensors.items() if name.startswith(prefix + ".")}


def fill(net: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load weights.

    Raises
    ------
    InputError
        Where they are those of another network.
    """
    own = net.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) or [n for n in own if own[n].shape != tensors[n].shape]
    if wrong:
        raise InputError(f"{where}: holds the weights of another model ({len(wrong)} tensors differ, first "
                         f"{wrong[0]}); take the checkpoint of this model, or train it")
    net.load_state_dict(tensors)


def load(path: str | Path, expect: str | None = None) -> Checkpoint:
    """A trained network from ``best.safetensors`` or ``last.safetensors``.

    Parameters
    ----------
    path : the file, or the folder of a run (its best). expect : name of the network it must be.

    Raises
    ------
    InputError
        Where there is none, or it is of another model.
    """
    path = Path(path)
    if path.is_dir() or (not path.suffix and not path.exists()):
        path = path / "best.safetensors"
    tensors, info = read(path)
    name = info["model"]["name"]
    if expect is not None and expect != name:
        raise InputError(f"checkpoint {path}: is of model {name}, not {expect}; give MODEL={name}, or another RUN")
    net = build(name, **info["model"]["options"])
    weights = part(tensors, "ema") or part(tensors, "net")
    fill(net, weights, f"checkpoint {path}")
    return Checkpoint(path, net.eval(), Normalisation.from_dict(info["normalisation"]), info)


def check_store(checkpoint: Checkpoint, s2_bands: tuple[str, ...], s1_bands: tuple[str, ...], store: str) -> None:
    """Refuse a store of other bands than the checkpoint was trained on.

    Raises
    ------
    InputError
        With both lists.
    """
    for name, bands in (("s2_bands", s2_bands), ("s1_bands", s1_bands)):
        trained = tuple(checkpoint.info[name])
        if trained != bands:
            raise InputError(f"store {store}: has {name} {' '.join(bands)}, checkpoint {checkpoint.path} was trained "
                             f"on {' '.join(trained)}; export these, or train on this store")


def versions() -> dict[str, str]:
    """What made a file."""
    import platform

    import dwplus

    return {"dwplus": dwplus.__version__, "torch": torch.__version__, "python": platform.python_version()}
