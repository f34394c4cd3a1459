"""The work folder of a map: what is done so far, so that a stopped run goes on; swept when the map is there.

``OUT.run/windows/<block>.json`` says what became of a block, beside it ``.npy`` its probabilities while a neighbour may
still need them; ``OUT.run/blocks/<block>.npy`` its finished layers. Every file is written beside its place and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from dwplus.errors import StopError
from dwplus.store.stops import FULL


class Work:
    """Files by block.

    Parameters
    ----------
    folder : the run's folder, made by whoever holds it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._windows, self._blocks = self.folder / "windows", self.folder / "blocks"
        self._pictures = self.folder / "pictures"

    def prepare(self) -> None:
        """Make the folders; remove half-written files of a killed run."""
        for folder in (self._windows, self._blocks, self._pictures):
            folder.mkdir(parents=True, exist_ok=True)
            for stale in folder.glob(".*.part"):
                stale.unlink(missing_ok=True)

    def save_window(self, name: str, probability: np.ndarray | None, outcome: dict[str, object]) -> None:
        """Keep the probabilities of a block's window, if there are any, and then what became of it."""
        if probability is not None:
            _write_array(self._windows / f"{name}.npy", probability)
        _write(self._windows / f"{name}.json", json.dumps(outcome, sort_keys=True).encode())

    def outcome(self, name: str) -> dict[str, object] | None:
        """What became of a block; None while it is open."""
        try:
            found: dict[str, object] = json.loads((self._windows / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        return found

    def forget(self, name: str) -> None:
        """Open a block again."""
        (self._windows / f"{name}.json").unlink(missing_ok=True)

    def has_window(self, name: str) -> bool:
        return (self._windows / f"{name}.npy").exists()

    def window(self, name: str) -> np.ndarray:
        """Probabilities of a window, read where they are looked at."""
        found: np.ndarray = np.load(self._windows / f"{name}.npy", mmap_mode="r")
        return found

    def drop_window(self, name: str) -> None:
        (self._windows / f"{name}.npy").unlink(missing_ok=True)

    def save_block(self, name: str, layers: np.ndarray) -> None:
        _write_array(self._blocks / f"{name}.npy", layers)

    def has_block(self, name: str) -> bool:
        return (self._blocks / f"{name}.npy").exists()

    def block(self, name: str) -> np.ndarray:
        """Finished layers of a block, uint8 (layer, y, x)."""
        found: np.ndarray = np.load(self._blocks / f"{name}.npy")
        return found

    def save_picture(self, name: str, picture: np.ndarray) -> None:
        """Keep a small picture of the scene a block was made from, uint8 (3, y, x)."""
        self._pictures.mkdir(parents=True, exist_ok=True)  # a run that an earlier version began has no such folder
        _write_array(self._pictures / f"{name}.npy", picture)

    def picture(self, name: str) -> np.ndarray | None:
        """The picture of a block; None where there is none."""
        try:
            found: np.ndarray = np.load(self._pictures / f"{name}.npy")
        except OSError:
            return None
        return found

    def sweep(self) -> None:
        """Remove what only a stopped run needs."""
        for folder in (self._windows, self._blocks, self._pictures):
            shutil.rmtree(folder, ignore_errors=True)


def _write_array(path: Path, array: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.save(file, array)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _stop(path, error) from error


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _stop(path, error) from error


def _stop(path: Path, error: OSError) -> StopError:
    if error.errno in FULL:
        return StopError(f"map: the disk is full ({path.parent}); free some space and run the same command again, what "
                         "is mapped stays")
    return StopError(f"map: {path} cannot be written ({error.strerror or error}); run the same command again")
