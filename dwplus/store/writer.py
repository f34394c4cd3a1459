"""Writing one shard: pixels first, statuses last. A shard has one owner; nobody else writes its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zarr

from dwplus.store import layout
from dwplus.taxonomy import CLASSES, IGNORE


@dataclass(frozen=True)
class TileResult:
    """What became of one tile; arrays only where the status is exported.

    Attributes
    ----------
    status : one of :data:`dwplus.store.layout.STATUSES`, by number.
    reason : why it was rejected or failed, ``<class>: <words>``.
    s2 : uint16 (s2_band, y, x). s1 : (s1_band, y, x). label : uint8 (y, x).
    """

    status: int
    reason: str = ""
    s2: np.ndarray | None = None
    s1: np.ndarray | None = None
    label: np.ndarray | None = None


def class_counts(label: np.ndarray) -> np.ndarray:
    """Labelled pixels per class, int32 (9,)."""
    return np.bincount(label.ravel(), minlength=IGNORE + 1)[:len(CLASSES)].astype("int32")


def valid_fraction(s2: np.ndarray, s1: np.ndarray, label: np.ndarray) -> float:
    """Share of pixels that have a label, every S2 band and every S1 band."""
    s1_ok = np.isfinite(s1).all(axis=0) if s1.dtype.kind == "f" else (s1 != layout.S1_NODATA).all(axis=0)
    return float(((label != IGNORE) & (s2 != layout.S2_NODATA).all(axis=0) & s1_ok).mean())


def unfinished(group: zarr.Group, start: int, stop: int) -> list[int]:
    """Tiles of a shard that are pending or failed."""
    status = np.asarray(group["status"][start:stop])  # type: ignore[index]
    return [start + int(i) for i in np.flatnonzero((status == layout.PENDING) | (status == layout.FAILED))]


def write_shard(group: zarr.Group, start: int, stop: int, results: dict[int, TileResult]) -> None:
    """Write the rows [start, stop) of a group: the given results, and what stands there of the other tiles.

    Every array is written as one whole shard, atomically; the status comes last, so that a tile counts as exported
    only when its pixels lie on disk.
    """
    rows = slice(start, stop)
    kept = len(results) < stop - start
    for name in ("s2", "s1", "label"):
        array = group[name]
        assert isinstance(array, zarr.Array)
        block = np.asarray(array[rows]) if kept else np.full((stop - start, *array.shape[1:]), array.fill_value,
                                                             array.dtype)
        for index, result in results.items():
            value = getattr(result, name)
            block[index - start] = array.fill_value if value is None else value
        array[rows] = block
    columns = {name: np.asarray(group[name][rows]) for name in  # type: ignore[index]
               ("class_counts", "valid_fraction", "reason", "status")}
    for index, result in results.items():
        row = index - start
        columns["status"][row], columns["reason"][row] = result.status, result.reason
        columns["class_counts"][row], columns["valid_fraction"][row] = 0, 0.0
        if result.label is not None and result.s1 is not None and result.s2 is not None:
            columns["class_counts"][row] = class_counts(result.label)
            columns["valid_fraction"][row] = valid_fraction(result.s2, result.s1, result.label)
    for name, values in columns.items():  # status is the last
        group[name][rows] = values  # type: ignore[index]
