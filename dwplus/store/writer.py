"""Writing one shard: pixels first, statuses last. A shard has one owner; nobody else writes its rows."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from dwplus.errors import StopError
from dwplus.store import layout
from dwplus.store.places import Bucket, BucketError, place_of_group, words_of
from dwplus.store.shards import ShardFormat
from dwplus.taxonomy import CLASSES, IGNORE

#: Arrays of pixels, and the columns that follow them; the status is the last, for it makes the rest count.
PIXELS = ("s2", "s1", "label")
COLUMNS = ("class_counts", "valid_fraction", "reason", "status")
#: What an operating system says when there is no room: disk, quota, or the largest size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class TileResult:
    """What became of one tile; arrays only where the status is exported.

    Attributes
    ----------
    status : one of :data:`dwplus.store.layout.STATUSES`, by number.
    reason : why it was rejected or failed, ``<class>: <words>``.
    s2 : uint16 (s2_band, y, x). s1 : (s1_band, y, x). label : uint8 (y, x).
    class_counts, valid_fraction : of these arrays, where who made them has measured them; None to have it done.
    """

    status: int
    reason: str = ""
    s2: np.ndarray | None = None
    s1: np.ndarray | None = None
    label: np.ndarray | None = None
    class_counts: np.ndarray | None = None
    valid_fraction: float | None = None


def class_counts(label: np.ndarray) -> np.ndarray:
    """Labelled pixels per class, int32 (9,)."""
    return np.array([np.count_nonzero(label == number) for number in range(len(CLASSES))], "int32")


def valid_fraction(s2: np.ndarray, s1: np.ndarray, label: np.ndarray) -> float:
    """Share of pixels that have a label, every S2 band and every S1 band."""
    # No data is the largest S2 value and the smallest S1 value: one maximum is cheaper than ten comparisons.
    s1_ok = np.isfinite(s1).all(axis=0) if s1.dtype.kind == "f" else s1.min(axis=0) != layout.S1_NODATA
    valid = (label != IGNORE) & (s2.max(axis=0) != layout.S2_NODATA) & s1_ok
    return float(np.count_nonzero(valid) / valid.size)


def statuses(group: zarr.Group) -> np.ndarray:
    """Status of every tile, uint8."""
    return np.asarray(array_of(group, "status")[...])


def reasons(group: zarr.Group) -> np.ndarray:
    """Why each tile was rejected or failed, text."""
    return np.asarray(array_of(group, "reason")[...])


def unfinished(group: zarr.Group, start: int, stop: int) -> list[int]:
    """Tiles of a shard that are pending or failed."""
    status = statuses(group)[start:stop]
    return [start + int(i) for i in np.flatnonzero((status == layout.PENDING) | (status == layout.FAILED))]


@dataclass(frozen=True)
class PackedTile:
    """A tile ready to be written: its bytes by array (none for fill values), and its row of the columns."""

    status: int
    reason: str
    packed: dict[str, tuple[bytes, bytes]]
    class_counts: np.ndarray
    valid_fraction: float


def formats(store: str | Path, group: zarr.Group) -> dict[str, ShardFormat]:
    """How the pixel arrays of a group are packed, by name."""
    return {name: ShardFormat.of(store, array_of(group, name)) for name in PIXELS}


def array_of(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a group."""
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found


def pack(shards: dict[str, ShardFormat], result: TileResult) -> PackedTile:
    """Compress one tile; holds no lock, so that threads do it side by side."""
    packed = {}
    counts, valid = np.zeros(len(CLASSES), "int32"), 0.0
    if result.s2 is not None and result.s1 is not None and result.label is not None:
        counts = class_counts(result.label) if result.class_counts is None else result.class_counts
        valid = (valid_fraction(result.s2, result.s1, result.label) if result.valid_fraction is None
                 else result.valid_fraction)
        for name in PIXELS:
            if (found := shards[name].pack(getattr(result, name))) is not None:
                packed[name] = found
    return PackedTile(result.status, result.reason, packed, counts, valid)


def write_shard(group: zarr.Group, start: int, stop: int, results: Mapping[int, TileResult | PackedTile]) -> None:
    """Write the rows [start, stop) of a group: the given results, and what stands there of the other tiles.

    Every array is written as one whole shard, atomically; the status comes last, so that a tile counts as exported
    only when its pixels lie on disk.

    Raises
    ------
    StopError
        Where the disk is full; the shard's tiles stay as they were.
    DamageError
        Where tiles that stay cannot be read.
    """
    rows = slice(start, stop)
    store = store_path(group)
    shards = formats(store, group)
    tiles = {index - start: pack(shards, result) if isinstance(result, TileResult) else result
             for index, result in results.items()}
    try:
        for name, form in shards.items():
            shard = start // form.tiles
            whole: dict[int, Sequence[bytes | memoryview]] = {}
            if len(tiles) < stop - start:
                kept = enumerate(form.read(shard))
                whole = {i: (found,) for i, found in kept if found is not None and i not in tiles}
            whole |= {i: tile.packed[name] for i, tile in tiles.items() if name in tile.packed}
            form.write(shard, whole)
        arrays = {name: array_of(group, name) for name in COLUMNS}
        columns = {name: np.asarray(array[rows]) for name, array in arrays.items()}
        for row, tile in tiles.items():
            for name in COLUMNS:
                columns[name][row] = getattr(tile, name)
        for name, values in columns.items():  # status is the last
            arrays[name][rows] = values
    except (OSError, BucketError) as error:
        if isinstance(place_of_group(group), Bucket):
            raise StopError(f"store {store}: cannot be written ({words_of(error)}); run the same command again when it "
                            "can, what is exported stays") from error
        if isinstance(error, OSError) and error.errno in FULL:
            raise StopError(f"store {store}: the disk is full ({error.strerror}); free some space and run the same "
                            "command again, what is exported stays") from error
        raise


def store_path(group: zarr.Group) -> str:
    """The store a group lies in: its folder or its URL."""
    return place_of_group(group).name
