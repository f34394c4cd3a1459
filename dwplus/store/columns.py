"""The columns of a store as a table, in which nothing that is missing passes for a value.

Zarr answers a chunk that is not there with the fill value. Here every chunk that was asked for in vain is noted, and
judged: stores with digests write every chunk; those of earlier builds left out chunks of nothing but zeros, which is
told from a loss by what the other columns say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from zarr.storage import WrapperStore

from dwplus.errors import InputError
from dwplus.store import digests, layout, writer
from dwplus.store.legend import legend_of
from dwplus.store.places import BucketError
from dwplus.store.web import source_of

#: Attribute of the root that a store has when no run of its own is open: it names the table of tiles.
FINISHED = "table"
#: Columns that hold nothing but zeros in no store: their chunks were never left out.
NEVER_EMPTY = frozenset({"tile_id", "window", "epsg", "x0", "lon", "lat", "biome"})
#: What reading a damaged or vanished store may raise.
TROUBLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RuntimeError, OverflowError,
           MemoryError, AssertionError, BucketError)


class _Noting(WrapperStore[Any]):
    """Passes everything on, and notes the chunks that are not there."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.missing: set[str] = set()

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        found = await self._store.get(key, prototype, byte_range)
        if found is None and "/c/" in key:
            self.missing.add(key)
        return found


def read_columns(path: str | Path, only: Collection[str] = ()) -> pd.DataFrame:
    """One row per tile with its per-tile coordinates as stored, ``group``, ``index``, and class counts by name.

    Parameters
    ----------
    only : coordinates to read, ``tile_id`` among them; empty for all.

    Raises
    ------
    InputError
        Where there is no store, a column cannot be read, or a chunk of it is missing.
    """
    legend = legend_of(layout.open_root(path).attrs.asdict(), f"store {path}")
    noting = _Noting(source_of(path).zarr())
    frames = []
    try:
        root = zarr.open_group(noting, mode="r", zarr_format=3)
        names = layout.biome_groups(root)
    except TROUBLE as error:
        raise InputError(f"store {path}: cannot be read ({type(error).__name__}: {error})") from None
    for name in names:
        try:
            group = root[name]
            assert isinstance(group, zarr.Group)
            layout.check_shapes(path, group)
            arrays = {key: array for key, array in group.arrays()
                      if array.ndim == 1 and array.metadata.dimension_names == ("tile",)  # type: ignore[union-attr]
                      and (not only or key in only)}
            columns = {key: np.asarray(array[...]) for key, array in arrays.items()}
            frame = pd.DataFrame({"group": name, "index": np.arange(len(columns["tile_id"])), **columns})
            counts = np.asarray(writer.array_of(group, "class_counts")[...])
            arrays["class_counts"] = writer.array_of(group, "class_counts")
        except TROUBLE as error:
            raise InputError(f"store {path}: {name} cannot be read ({type(error).__name__}: {error}); run dwplus "
                             f"verify {path}") from None
        lost = next(_lost(name, group, frame, counts, noting.missing, set(arrays), FINISHED in root.attrs), None)
        if lost is not None:
            raise InputError(f"store {path}: {lost}; run dwplus repair {path}")
        if counts.shape[1] != len(legend):
            raise InputError(f"store {path}: {name} counts {counts.shape[1]} classes, its attribute classes names "
                             f"{len(legend)}; run dwplus verify {path}")
        for number, column in enumerate(legend.counts):
            frame[column] = counts[:, number]
        frames.append(frame)
    if not frames:
        raise InputError(f"store {path}: holds no tiles")
    return pd.concat(frames, ignore_index=True)


def _lost(name: str, group: zarr.Group, frame: pd.DataFrame, counts: np.ndarray, missing: Collection[str],
          read: set[str], finished: bool) -> Iterator[str]:
    """What is missing of a group's columns, in words."""
    gone: dict[str, set[int]] = {}
    for key in missing:
        if match := re.fullmatch(rf"{name}/([^/]+)/c/(\d+)(?:/0)*", key):
            gone.setdefault(match[1], set()).add(int(match[2]))
    sealed = writer.has_digests(group)
    shard = writer.array_of(group, "class_counts").chunks[0]
    dynamic = [key for key in writer.columns_of(group) if key in read]
    tiles = frame["tile_id"].astype(str)
    for key in sorted(gone.keys() - {*dynamic}):
        if sealed or key in NEVER_EMPTY:
            yield f"{name}: the column {key} of tiles {tiles.iat[0] or 0} and on is missing ({name}/{key}/c/0)"
    for number in sorted(set().union(*(gone.get(key, set()) for key in dynamic))):
        rows = slice(number * shard, (number + 1) * shard)
        without = [key for key in dynamic if number in gone.get(key, ())]
        if len(without) == len(dynamic):
            continue  # nothing was written there yet
        if sealed and not finished and without == dynamic[-len(without):]:
            continue  # a run was stopped, or is, between the columns of a shard, which are written in this order
        # Of the columns that say what became of a tile, which may be all zeros where others are not?
        status = frame["status"].to_numpy()[rows] if "status" in frame else None
        for key in without:
            if sealed or (key == "status" and counts[rows].any()) or status is not None and (
                    key in ("class_counts", "valid_fraction") and (status == layout.EXPORTED).any()
                    or key == "reason" and np.isin(status, (layout.REJECTED, layout.FAILED)).any()):
                first = tiles.iat[rows.start]
                yield (f"{name}: the column {key} of tile {first} and the others of its shard is missing "
                       f"({name}/{key}/c/{number})")


def decoded(path: str | Path, table: pd.DataFrame) -> pd.DataFrame:
    """A table of :func:`read_columns` with times as times, and statuses and splits as words, in place.

    Raises
    ------
    InputError
        Where a number stands for no status or split.
    """
    for key in [key for key in table if table[key].dtype == object]:
        table[key] = table[key].astype(str)
    for key in {"s1_time", "s2_time"} & set(table):
        table[key] = pd.to_datetime(table[key], unit="ms", utc=True)
    for key, names in (("status", layout.STATUSES), ("split", layout.SPLIT_FLAGS)):
        if key in table:
            codes = table[key].astype(int)
            if (wrong := (codes < 0) | (codes >= len(names))).any():
                row = table[wrong].iloc[0]
                raise InputError(f"store {path}: {row['group']} tile {row['tile_id']} has {key} {int(row[key])}, must "
                                 f"be 0 to {len(names) - 1} ({' '.join(names)}); run dwplus repair {path}")
            table[key] = pd.Categorical.from_codes(codes, categories=list(names))
    return table


def digests_of(group: zarr.Group) -> pd.DataFrame:
    """The digests of a group's tiles, a column each: ``digest_outcome``, ``digest_s2`` and so on."""
    names = [str(name) for name in np.asarray(writer.array_of(group, digests.NAMES))]
    values = np.asarray(writer.array_of(group, digests.DIGESTS)[...])
    return pd.DataFrame({f"digest_{name}": values[:, i].astype(object) for i, name in enumerate(names)})
