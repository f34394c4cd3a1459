"""Checkpoints: safetensors files that hold weights and, in their header, what they mean: network, bands, statistics,
training config, the stores' specs, scores. Nothing in them is executed on loading."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dwplus.errors import DwplusError, InputError
from dwplus.spec.radar import SIGMA, quantity
from dwplus.store.legend import Legend, legend_of
from dwplus.taxonomy import CLASSES
from model.networks.registry import build, sensors_of
from model.normalise import Normalisation

#: Number of the format; raised when a reader of the old one would go wrong.
FORMAT = 1
#: Keys of the file's own metadata: the header as JSON, and the digest of header and tensors.
KEY, DIGEST = "dwplus_model", "dwplus_digest"


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
    def legend(self) -> Legend:
        """Classes of its answers; those of earlier builds are Dynamic World's."""
        return legend_of(self.info, f"checkpoint {self.path}")

    @property
    def table(self) -> str | None:
        """The class table that labels were turned into for it; None = the stores' own classes."""
        config = self.info.get("config")
        data = config.get("data") if isinstance(config, dict) else None
        found = data.get("classes") if isinstance(data, dict) else None
        return None if found is None else str(found)

    @property
    def sensors(self) -> tuple[str, ...]:
        """Sensors the network looks at."""
        return sensors_of(self.name, self.info["model"]["options"])

    @property
    def temperature(self) -> float:
        """What its logits are divided by, fitted on split val (:mod:`model.calibration`); 1 where it was not: no val
        tiles, a run that was stopped, an earlier build."""
        kept = self.info.get("calibration")
        value = kept.get("temperature", 1.0) if isinstance(kept, dict) else 1.0
        return float(value) if isinstance(value, int | float) and value > 0 else 1.0


def save(path: str | Path, tensors: dict[str, Tensor], info: dict[str, Any], previous: bool = False) -> None:
    """Write a checkpoint whole: beside its place, to the disk, then renamed. What lay there stays until then.

    Parameters
    ----------
    previous : keep what lay there as ``NAME.previous.safetensors``.

    Raises
    ------
    InputError
        Where it cannot be written, a full disk included.
    DwplusError
        Where a tensor is not finite: the checkpoint before is worth more.
    """
    _write(Path(path), _copied(tensors), info, previous)


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # Copies: safetensors refuses tensors that share memory or are strided, as channels-last weights are.
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def _write(path: Path, whole: dict[str, Tensor], info: dict[str, Any], previous: bool) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = path.with_name(f".{path.name}.part")
    if wrong := _not_finite(whole):
        raise DwplusError(f"checkpoint {path}: was not written, for {wrong} is not finite; lower optim.lr, or set "
                          "run.precision to fp32")
    text = json.dumps({"format": FORMAT, **info})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # An empty file of ours has the mode that files get here; safetensors' own are for their owner alone.
        partial.write_bytes(b"")
        mode = partial.stat().st_mode
        save_file(whole, str(partial), metadata={KEY: text, DIGEST: _digest(whole, text)})
        partial.chmod(mode)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        if previous and path.exists():
            _link(path, previous_of(path))
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"checkpoint {path}: cannot be written ({why or error}); make room, or choose another RUN; "
                         "what lay there is as it was") from None


class Background:
    """Writes checkpoints beside the training, one at a time: a step waits for the copy of the weights and no longer.

    As a context it waits at its end. What went wrong is raised at the next save, or there.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: list[Future[None]] = []

    def save(self, path: str | Path, tensors: dict[str, Tensor], info: dict[str, Any], previous: bool = False) -> None:
        """:func:`save`, begun; waits for the ones before it."""
        self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        # The header is made now: what it tells of goes on changing.
        frozen = json.loads(json.dumps(info))
        self._under_way.append(self._pool.submit(_write, Path(path), _copied(tensors), frozen, previous))

    def wait(self) -> None:
        """Until all is written.

        Raises
        ------
        InputError, DwplusError
            As :func:`save`.
        """
        waiting, self._under_way = self._under_way, []
        for write in waiting:
            write.result()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pool, self._pool = self._pool, None
        try:
            if kind is None:
                self.wait()
        finally:
            if pool is not None:
                pool.shutdown(wait=True)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _link(path: Path, other: Path) -> None:
    """A second name for a file, in place of what has that name; a copy on file systems without links."""
    beside = other.with_name(f".{other.name}.part")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:
        shutil.copyfile(path, beside)
    os.replace(beside, other)


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """Of every tensor's name, type, shape and bytes, and of the header."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        t = tensors[name]
        found.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        found.update(t.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _not_finite(tensors: dict[str, Tensor]) -> str | None:
    """Name of the first tensor with a value that is not finite; None without any."""
    return next((n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())), None)


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a checkpoint.

    Raises
    ------
    InputError
        Where there is none, it is no checkpoint of ours, or it is damaged: other bytes than were written (checkpoints
        of earlier builds have no digest), values that are not finite, weights that are all zero.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file; train first (make train RUN=...)")
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            info = json.loads(meta[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no iteration of its own
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, OSError) as error:
        raise InputError(f"checkpoint {path}: is no checkpoint of this project ({type(error).__name__}){_instead(path)}"
                         ) from None
    if not isinstance(info, dict):
        raise InputError(f"checkpoint {path}: its header must be a mapping, found {type(info).__name__}"
                         f"{_instead(path)}")
    if info.get("format") != FORMAT:
        raise InputError(f"checkpoint {path}: has format {info.get('format')}, this version reads {FORMAT}; train "
                         "again")
    if DIGEST in meta and meta[DIGEST] != _digest(tensors, meta[KEY]):
        raise InputError(f"checkpoint {path}: is damaged, its bytes are not those that were written{_instead(path)}")
    if wrong := _not_finite(tensors):
        raise InputError(f"checkpoint {path}: is damaged, {wrong} is not finite{_instead(path)}")
    weights = [t for name, t in tensors.items() if name.startswith("net.") and t.ndim > 1]
    if weights and not any(bool(t.any()) for t in weights):
        raise InputError(f"checkpoint {path}: is damaged, all its weights are zero{_instead(path)}")
    return tensors, info


def _instead(path: Path) -> str:
    """What to do about a file that cannot be used."""
    before = previous_of(path)
    return f"; the one before it is {before.name}: put it in its place" if before.is_file() else "; train again"


def needed(info: dict[str, Any], path: str | Path, **kinds: type | tuple[type, ...]) -> None:
    """Refuse a header that lacks a key, or has a value of another kind.

    Raises
    ------
    InputError
        With the first.
    """
    for key, kind in kinds.items():
        if not isinstance(info.get(key), kind):
            raise InputError(f"checkpoint {path}: its header has no usable {key}; train again")


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
    needed(info, path, model=dict, normalisation=dict, s2_bands=list, s1_bands=list, epoch=int)
    name, options = info["model"].get("name"), info["model"].get("options")
    if not isinstance(name, str) or not isinstance(options, dict):
        raise InputError(f"checkpoint {path}: its header names no model with options; train again")
    if expect is not None and expect != name:
        raise InputError(f"checkpoint {path}: is of model {name}, not {expect}; give MODEL={name}, or another RUN")
    try:
        net = build(name, **options)
        normalisation = Normalisation.from_dict(info["normalisation"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"checkpoint {path}: its header cannot be used ({type(error).__name__}: "
                         f"{str(error).splitlines()[0][:200] if str(error) else ''}); train again") from None
    for sensor in ("s2", "s1"):
        if list(getattr(normalisation, sensor).bands) != list(info[f"{sensor}_bands"]):
            raise InputError(f"checkpoint {path}: its {sensor}_bands are not those of its normalisation; train again")
    if len(legend_of(info, f"checkpoint {path}")) != options.get("classes", len(CLASSES)):
        raise InputError(f"checkpoint {path}: its header names other classes than its network has; train again")
    weights = part(tensors, "ema") or part(tensors, "net")
    fill(net, weights, f"checkpoint {path}")
    return Checkpoint(path, net.eval(), normalisation, info)


def check_radar(checkpoint: Checkpoint, spec: Mapping[str, Any], where: str) -> None:
    """Refuse radar of another kind than the checkpoint was trained on: both are dB, and sigma nought is not gamma
    nought. Runs and stores that say nothing of it have that of GRD.

    Parameters
    ----------
    spec : of the store or map, as JSON. where : its name, for the sentence.

    Raises
    ------
    InputError
        With both.
    """
    if "s1" not in checkpoint.sensors:
        return
    trained = {quantity(one) for one in checkpoint.info.get("specs") or [] if isinstance(one, Mapping)} or {SIGMA}
    if (found := quantity(spec)) not in trained:
        raise InputError(f"{where}: has {found}, checkpoint {checkpoint.path} was trained on "
                         f"{' and '.join(sorted(trained))}; take radar of that kind (sentinel1.product and terrain of "
                         "the spec), or train on this")


def check_store(checkpoint: Checkpoint, s2_bands: tuple[str, ...], s1_bands: tuple[str, ...], store: str,
                classes: tuple[str, ...] | None = None, spec: Mapping[str, Any] | None = None) -> None:
    """Refuse a store of other bands, other radar (:func:`check_radar`) or other classes than the checkpoint was trained
    on.

    Parameters
    ----------
    spec : of the store, as JSON; None where it is not known.

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
    if spec is not None:
        check_radar(checkpoint, spec, f"store {store}")
    if classes is not None and classes != checkpoint.legend.classes:
        raise InputError(f"store {store}: has classes {' '.join(classes)}, checkpoint {checkpoint.path} was trained on "
                         f"{' '.join(checkpoint.legend.classes)}; relabel the store (dwplus relabel), or train on it")


def versions() -> dict[str, str]:
    """What made a file."""
    import platform

    from dwplus.runtime.names import VERSION

    return {"dwplus": VERSION, "torch": torch.__version__, "python": platform.python_version()}
