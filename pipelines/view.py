"""``dwplus view``: what a path is, and the page that shows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dwplus.errors import InputError
from dwplus.runtime.console import say

if TYPE_CHECKING:
    import numpy as np

    from dwplus.report.view.subject import Subject
    from model.checkpoint import Checkpoint


def run(what: str, store: str | None, marks: Path | None, port: int) -> int:
    """Serve a page on a store, a plan, a run or a map until interrupted.

    Parameters
    ----------
    what : store, plan (.parquet), folder of a run or of a map. store : of a run: the store to look at with it.
    marks : file of the marks; None = beside what is looked at, or here where that is far or cannot be written.

    Raises
    ------
    InputError
        Where it is none of these.
    """
    from dwplus.report.view import server
    from dwplus.report.view.page import Viewer

    path = Path(what)
    if (path / "class.vrt").exists():
        from dwplus.report.view.maps import MapPage

        shown = MapPage(path)
        say(f"looking at map {what}")
        return _serve(lambda document: shown.into(document), server.serve, port)
    subject = subject_of(what, store)
    kept = marks or marks_beside(what)
    say(f"looking at {len(subject.table):,} tiles of {subject.title}; marks go to {kept}")
    if kept.exists():
        Viewer(subject, kept)  # a file that cannot be read is said before the page is served
    return _serve(lambda document: Viewer(subject, kept).into(document), server.serve, port)


def _serve(make: Callable[..., None], serve: Callable[..., None], port: int) -> int:
    serve(make, port, lambda url: say(f"open {url} in a browser; Ctrl-C ends it"))
    say("done")
    return 0


def subject_of(what: str, store: str | None) -> Subject:
    """What a path is.

    Raises
    ------
    InputError
        Where it is none of store, plan and run.
    """
    from dwplus.report.view import subject

    path = Path(what)
    if "://" not in what and not path.exists():
        raise InputError(f"{what}: is not there; give a store, a plan (.parquet), the folder of a run or of a map")
    if path.is_file():
        if path.suffix == ".safetensors":
            return seen_by(path, store or "data/sample.zarr")
        return subject.of_plan(what)
    if (path / "best.safetensors").exists():
        found = seen_by(path / "best.safetensors", store or "data/sample.zarr")
        found.title = f"{found.title} as {what} sees it"
        return found
    return subject.of_store(what)


def seen_by(path: Path, store: str) -> Subject:
    """A store with the classes that a checkpoint's network gives.

    Raises
    ------
    InputError
        Where the store has other bands or classes than the network.
    """
    from dwplus.report.view import subject
    from model import checkpoint

    loaded = checkpoint.load(path)
    found = subject.of_store(store, predictor(loaded))
    checkpoint.check_store(loaded, found.s2_bands, found.s1_bands, store, found.classes)
    return found


def predictor(loaded: Checkpoint) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Classes of a tile by a run's network, on the CPU."""
    import numpy as np
    import torch

    from dwplus.taxonomy import IGNORE
    from model.predict import Predictor

    network = Predictor(loaded, torch.device("cpu"))

    def predict(s2: np.ndarray, s1: np.ndarray) -> np.ndarray:
        probability = network(s2[None], s1[None], s2.shape[-1])[0]
        return np.where(probability.any(axis=0), probability.argmax(axis=0), IGNORE).astype("uint8")

    return predict


def marks_beside(what: str) -> Path:
    """Where marks go: beside a folder or file of this machine that may be written, else into this folder."""
    name = f"{what.rstrip('/').rsplit('/', 1)[-1]}.marks.csv"
    if "://" in what:
        return Path(name)
    parent = Path(what).resolve().parent
    return parent / name if _may_write(parent) else Path(name)


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK)
