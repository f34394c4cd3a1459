"""Writing one shard: pixels first, statuses last. A shard has one owner; nobody else writes its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dwplus.spec import extras
from dwplus.store import digests, layout, stops
from dwplus.store.places import BucketError, place_of_group
from dwplus.store.shards import ShardFormat
from dwplus.taxonomy import CLASSES, IGNORE, stratum_of

#: Arrays of pixels, and the columns that follow them; the status is the last, for it makes the rest count.
PIXELS = ("s2", "s1", "label")
COLUMNS = ("class_counts", "valid_fraction", "reason", "status")
#: The same of stores of triplets only; see :mod:`dwplus.planning.triplets`.
TRIPLET_PIXELS, TRIPLET_COLUMNS = ("cloud", "s2_clear"), ("cloud_fraction", "stratum")
#: Arrays that a spec's ``extras`` add; and those that any store may have beside :data:`PIXELS`.
EXTRA_PIXELS = extras.NAMES
MORE_PIXELS = (*TRIPLET_PIXELS, *EXTRA_PIXELS)
#: Fields of a packed tile that are named otherwise than their column.
_FIELDS = {digests.DIGESTS: "digests"}
#: All rows of a column.
ALL = slice(None)


@dataclass(frozen=True)
class TileResult:
    """What became of one tile; arrays only where the status is exported.

    Attributes
    ----------
    status : one of :data:`dwplus.store.layout.STATUSES`, by number.
    reason : why it was rejected or failed, ``<class>: <words>``.
    s2 : uint16 (s2_band, y, x). s1 : (s1_band, y, x). label : uint8 (y, x).
    cloud, s2_clear : of triplets, the mask of ``s2``, uint8 (y, x), and the label's scene, as ``s2``.
    class_counts, valid_fraction : of these arrays, where who made them has measured them; None to have it done.
    extras : by name, as stored (:mod:`dwplus.spec.extras`).
    """

    status: int
    reason: str = ""
    s2: np.ndarray | None = None
    s1: np.ndarray | None = None
    label: np.ndarray | None = None
    cloud: np.ndarray | None = None
    s2_clear: np.ndarray | None = None
    class_counts: np.ndarray | None = None
    valid_fraction: float | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        """An array by its name."""
        found: np.ndarray = self.extras[name] if name in EXTRA_PIXELS else getattr(self, name)
        return found


def class_counts(label: np.ndarray, classes: int = len(CLASSES)) -> np.ndarray:
    """Labelled pixels per class, int32 (classes,)."""
    return np.array([np.count_nonzero(label == number) for number in range(classes)], "int32")


def classes_of(group: zarr.Group) -> int:
    """Number of classes that a group counts."""
    return int(array_of(group, "class_counts").shape[1])


def has_data(s2: np.ndarray, s1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, bool (y, x), that have data in every S2 band, and those that have it in every S1 band."""
    # No data is the largest S2 value and the smallest S1 value: one maximum is cheaper than ten comparisons.
    return (s2.max(axis=0) != layout.S2_NODATA,
            np.isfinite(s1).all(axis=0) if s1.dtype.kind == "f" else s1.min(axis=0) != layout.S1_NODATA)


def valid_fraction(has_s2: np.ndarray, has_s1: np.ndarray, label: np.ndarray) -> float:
    """Share of pixels that have a label and both sensors (:func:`has_data`)."""
    return float(np.count_nonzero((label != IGNORE) & has_s2 & has_s1) / label.size)


def cloud_fraction(cloud: np.ndarray) -> float:
    """Share of cloud (1) among the pixels of a mask that are known (0 or 1), float32; NaN where none is."""
    cloudy, clear = np.count_nonzero(cloud == 1), np.count_nonzero(cloud == 0)
    return float(np.float32(cloudy / (cloudy + clear))) if cloudy + clear else math.nan


def statuses(group: zarr.Group, rows: slice = ALL) -> np.ndarray:
    """Status of every tile, or of some, uint8."""
    return np.asarray(array_of(group, "status")[rows])


def reasons(group: zarr.Group, rows: slice = ALL) -> np.ndarray:
    """Why each tile was rejected or failed, text."""
    return np.asarray(array_of(group, "reason")[rows])


def unfinished(group: zarr.Group, start: int, stop: int) -> list[int]:
    """Tiles of a shard that are pending or failed."""
    status = statuses(group, slice(start, stop))
    return [start + int(i) for i in np.flatnonzero((status == layout.PENDING) | (status == layout.FAILED))]


@dataclass(frozen=True)
class PackedTile:
    """A tile ready to be written: its bytes by array (none for fill values), and its row of the columns."""

    status: int
    reason: str
    packed: dict[str, tuple[bytes, bytes]]
    class_counts: np.ndarray
    valid_fraction: float
    cloud_fraction: float = math.nan
    stratum: int = -1
    digests: tuple[str, ...] = ()


def formats(store: str | Path, group: zarr.Group) -> dict[str, ShardFormat]:
    """How the pixel arrays of a group are packed, by name."""
    names = [*PIXELS, *(name for name in MORE_PIXELS if name in group)]
    return {name: ShardFormat.of(store, array_of(group, name)) for name in names}


def columns_of(group: zarr.Group) -> tuple[str, ...]:
    """The columns of a group that follow its pixels; the status is the last."""
    return (*((digests.DIGESTS,) if has_digests(group) else ()),
            *(TRIPLET_COLUMNS if TRIPLET_COLUMNS[0] in group else ()), *COLUMNS)


def has_digests(group: zarr.Group) -> bool:
    """Whether a group binds its bytes to its tiles; those of earlier builds do not."""
    return digests.DIGESTS in group


def rows_of(group: zarr.Group, rows: slice = ALL) -> list[str]:
    """Digest of each tile's fixed row; empty texts in a group without."""
    if not has_digests(group):
        return [""] * len(range(*rows.indices(array_of(group, "status").shape[0])))
    return [str(row) for row in np.asarray(array_of(group, digests.ROW)[rows])]


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group."""
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found


def pack(shards: dict[str, ShardFormat], result: TileResult, row: str = "", classes: int = len(CLASSES)) -> PackedTile:
    """Compress one tile; holds no lock, so that threads do it side by side.

    Parameters
    ----------
    row : digest of the tile's fixed row (:func:`rows_of`); empty in a store without digests.
    classes : number of classes of the store (:func:`classes_of`).
    """
    packed = {}
    found = dict.fromkeys(shards, "")
    counts, valid, cloud = np.zeros(classes, "int32"), 0.0, math.nan
    if result.s2 is not None and result.s1 is not None and result.label is not None:
        counts = class_counts(result.label, classes) if result.class_counts is None else result.class_counts
        valid = (valid_fraction(*has_data(result.s2, result.s1), result.label) if result.valid_fraction is None
                 else result.valid_fraction)
        if result.cloud is not None:
            cloud = cloud_fraction(result.cloud)
        for name, form in shards.items():
            pixels = form.stored(result.array(name))
            # An exported tile has bytes in every array, be they all fill: what is not there is damage.
            packed[name] = form.packed(pixels)
            if row:
                found[name] = digests.of_array(row, name, pixels)
    tile = PackedTile(result.status, result.reason, packed, counts, valid, cloud, stratum_of(cloud))
    if not row:
        return tile
    if result.status == layout.PENDING:
        return replace(tile, digests=("",) * (len(shards) + 1))
    columns = (*(TRIPLET_COLUMNS if "cloud" in shards else ()), *COLUMNS)
    outcome = digests.of_outcome(row, {name: getattr(tile, name) for name in columns})
    return replace(tile, digests=(outcome, *(found[name] for name in shards)))


def write_shard(group: zarr.Group, start: int, stop: int, results: Mapping[int, TileResult | PackedTile],
                shards: dict[str, ShardFormat] | None = None) -> None:
    """Write the rows [start, stop) of a group: the given results, and what stands there of the other tiles.

    Every array is written as one whole shard, atomically; the status comes last, so that a tile counts as exported
    only when its pixels lie on disk.

    Parameters
    ----------
    shards : :func:`formats` of the group, where they are at hand.

    Raises
    ------
    StopError
        Where the disk is full; the shard's tiles stay as they were.
    DamageError
        Where tiles that stay cannot be read.
    """
    rows = slice(start, stop)
    store = store_path(group)
    stops.check_there(store)
    shards = formats(store, group) if shards is None else shards
    known = rows_of(group, rows) if any(isinstance(result, TileResult) for result in results.values()) else []
    classes = classes_of(group)
    tiles = {index - start: pack(shards, result, known[index - start], classes) if isinstance(result, TileResult)
             else result for index, result in results.items()}
    try:
        for name, form in shards.items():
            shard = start // form.tiles
            whole: dict[int, Sequence[bytes | memoryview]] = {}
            if len(tiles) < stop - start:
                kept = enumerate(form.read(shard))
                whole = {i: (found,) for i, found in kept if found is not None and i not in tiles}
            whole |= {i: tile.packed[name] for i, tile in tiles.items() if name in tile.packed}
            form.write(shard, whole)
        names = columns_of(group)
        arrays = {name: array_of(group, name) for name in names}
        # Of a shard that is new as a whole nothing needs to be read.
        columns = {name: np.asarray(array[rows]) if len(tiles) < stop - start
                   else np.empty((stop - start, *array.shape[1:]), array.dtype) for name, array in arrays.items()}
        for row, tile in tiles.items():
            for name in names:
                columns[name][row] = getattr(tile, _FIELDS.get(name, name))
        # With digests, chunks of nothing but zeros are written too: a chunk that is not there is damage.
        sealed = has_digests(group)
        for name, values in columns.items():  # status is the last
            arrays[name].with_config({"write_empty_chunks": sealed})[rows] = values
    except (OSError, BucketError) as error:
        raise stops.stopped(store, error) from error


def store_path(group: zarr.Group) -> str:
    """The store a group lies in: its folder or its URL."""
    return place_of_group(group).name
