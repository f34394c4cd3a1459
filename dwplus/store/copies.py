"""Stores from stores: tiles that are there are copied as they are packed, each checked against its checksum and digest.

A copy is made shard by shard under the target's own lock, and goes on where it stopped: what is written there already
is left alone. Ids, splits, scenes and digests stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.spec import DatasetSpec, differences, make_spec, radar
from dwplus.store import columns, digests, layout, stops, tables, writer
from dwplus.store.columns import TROUBLE
from dwplus.store.imported import ImportSpec, spec_of
from dwplus.store.locks import Hold, only_run, sweep
from dwplus.store.places import Folder, place_of
from dwplus.store.shards import DamageError
from dwplus.store.tiles import TileReader
from dwplus.store.verify import Fault, verify
from dwplus.store.where import chosen
from dwplus.store.writer import PackedTile

#: Order of a store's rows; and what makes a row its own.
ORDER, KEYS = ["biome", "window", "epsg", "x0", "y0", "label_id"], ["tile_id", "window", "label_id", "s2_id"]
#: Parts of a spec that may differ between stores that become one: they decide which tiles, not what they hold.
FREE = ("name", "region", "windows", "sampling", "origin")
#: Attributes of an imported store's root that a copy keeps, and of any that a relabelling keeps.
KEPT = ("title", "sources", "source", "license", "references", "import", "s1_passes")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """A store to copy from: its rows as a plan has them, with ``group`` and ``index``, and how it was made."""

    store: str
    spec: DatasetSpec | ImportSpec
    attributes: dict[str, Any]
    table: pd.DataFrame

    @classmethod
    def open(cls, store: str | Path) -> Source:
        """Read its columns.

        Raises
        ------
        InputError
            Where there is no store, or it lacks a column or a part of one.
        """
        attributes: Any = layout.open_root(store).attrs.asdict()
        spec = spec_of(attributes, f"store {store}")
        table = columns.decoded(store, columns.read_columns(store))
        return cls(str(store), spec, attributes, table)

    def rows(self) -> pd.DataFrame:
        """Rows of a plan, with the number of the tile in its group, and the group."""
        return self.table.assign(size=self.spec.tile.size, scale=self.spec.tile.scale, state="planned",
                                 split=self.table["split"].astype(str), biome=self.table["biome"].astype(int))


def subset(store: str | Path, out: str | Path, where: str, progress: Progress = lambda *_: None) -> list[Fault]:
    """A store of those tiles of another that meet a condition.

    Parameters
    ----------
    where : see :func:`dwplus.store.where.chosen`; columns are those of ``tiles.parquet``.

    Returns
    -------
    Faults of the new store, which is checked at the end.

    Raises
    ------
    InputError
        On a bad condition, one that no tile meets, or a place that holds something else.
    """
    source = Source.open(store)
    keep = chosen(source.table, where)
    if not keep.any():
        raise InputError(f"condition {where!r}: no tile of store {store} meets it")
    rows = source.rows().assign(from_store=0)[keep]
    return _made([source], rows, source.spec, out, progress)


def merge(stores: Sequence[str | Path], out: str | Path, progress: Progress = lambda *_: None) -> list[Fault]:
    """A store of the tiles of several, of one spec but for name, region, windows and sampling.

    A tile that two of them hold alike is taken once.

    Raises
    ------
    InputError
        Where specs or Earths differ, a tile of one name differs or is in two splits, or the place holds something else.
    """
    sources = [Source.open(store) for store in stores]
    spec = sources[0].spec
    for other in sources[1:]:
        check_alike(sources[0], other.store, other.spec, other.attributes)
        spec = joined(spec, other.spec)
    rows = pd.concat([source.rows().assign(from_store=i) for i, source in enumerate(sources)], ignore_index=True)
    twice = rows[rows.duplicated(KEYS, keep=False)]
    for key, same in twice.groupby(KEYS, sort=True):
        shown = {tuple(map(str, row)) for row in same[["epsg", "x0", "y0", "s1_id", "s1_time", "s2_time", "split"]]
                 .itertuples(index=False)}
        if len(shown) > 1:
            raise InputError(f"tile {key[0]} of window {key[1]}: is not the same in {', '.join(map(str, stores))}; put "
                             "the stores into the same splits first (`dwplus split A B`), or take it out of one "
                             "(`dwplus subset`)")
    one_split(rows, stores)
    # Of two that are alike the exported one counts.
    rows = rows.assign(rank=(rows["status"].astype(str) != "exported")).sort_values("rank", kind="stable")
    rows = rows.drop_duplicates(KEYS).drop(columns="rank")
    return _made(sources, rows, spec, out, progress)


def one_split(rows: pd.DataFrame, stores: Sequence[str | Path]) -> None:
    """Refuse tiles that lie in two splits.

    Raises
    ------
    InputError
        With the first.
    """
    splits = rows.groupby("tile_id")["split"].nunique()
    if (splits > 1).any():
        name = splits.index[splits > 1][0]
        words = " and ".join(sorted(set(rows.loc[rows["tile_id"] == name, "split"])))
        raise InputError(f"tile {name}: is in {words} of {', '.join(map(str, stores))}; put them into the same splits "
                         "first (`dwplus split A B`)")


def check_alike(first: Source, name: str, spec: DatasetSpec | ImportSpec,
                attributes: dict[str, Any] | None = None) -> None:
    """Refuse what would put tiles of another kind into one store.

    Parameters
    ----------
    name : of the other store or plan, for the sentence. attributes : of the other store's root; None for a plan.

    Raises
    ------
    InputError
        With the first differences.
    """
    changed = [words for words in differences(first.spec, spec) if words.split(".")[0].split(":")[0].split("[")[0]
               not in FREE]
    if changed:
        raise InputError(f"{name}: is of another spec than store {first.store} ({'; '.join(changed[:3])}); tiles of "
                         "one store are made alike")
    for key in ("earth", "earth_version") if attributes is not None else ():
        if attributes is not None and first.attributes.get(key) != attributes.get(key):
            raise InputError(f"{name}: holds pixels of {attributes.get(key)}, store {first.store} of "
                             f"{first.attributes.get(key)}")


def joined(one: DatasetSpec | ImportSpec, other: DatasetSpec | ImportSpec) -> DatasetSpec | ImportSpec:
    """A spec of the regions and windows of two."""
    if isinstance(one, ImportSpec) and isinstance(other, ImportSpec):
        from_one, from_other = one.origin, other.origin
        both = from_one.model_copy(update={"files": from_one.files + from_other.files,
                                           "digest": f"{from_one.digest} {from_other.digest}"})
        return one if from_one == from_other else one.model_copy(update={"origin": both})
    first, second = one.model_dump(mode="json"), other.model_dump(mode="json")
    for key in ("region", "windows"):
        a, b = ([value] if not isinstance(value, list) else value for value in (first[key], second[key]))
        more = [each for each in b if each not in a]
        first[key] = [*a, *more] if more else first[key]
    return make_spec(first, "the stores' specs together")


def _made(sources: Sequence[Source], rows: pd.DataFrame, spec: DatasetSpec | ImportSpec, out: str | Path,
          progress: Progress) -> list[Fault]:
    """Make the target where it is not there, copy what it lacks, and check it."""
    for source in sources:
        if _same_place(source.store, out):
            raise InputError(f"store {out}: is the store to copy from; choose another place")
    with only_run(out) as hold:
        begin(sources, rows, spec, out)
        copy(sources, rows, out, hold, progress)
        tables.finish(out, hold.check)
    return verify(out).faults


def _same_place(one: str | Path, other: str | Path) -> bool:
    try:
        a, b = place_of(one), place_of(other)
    except InputError:
        return False  # a web server's is read only
    return a.path.resolve() == b.path.resolve() if isinstance(a, Folder) and isinstance(b, Folder) else a == b


def begin(sources: Sequence[Source], rows: pd.DataFrame, spec: DatasetSpec | ImportSpec, out: str | Path,
          passes: tuple[int, int] | None = None) -> None:
    """Make the target with every tile pending, or see that it is the one to go on with; for who holds it.

    Parameters
    ----------
    passes : where not all tiles come from the sources, passes of all and those with RTC-S1; None = not known.

    Raises
    ------
    InputError
        Where something else is there.
    """
    rows = in_order(rows)
    if not place_of(out).exists():
        first = sources[0].attributes
        layout.create(out, gpd.GeoDataFrame(rows), spec, created=str(first["created"]), earth=str(first["earth"]),
                      earth_version=str(first.get("earth_version", "")),
                      attributes={key: first[key] for key in KEPT if key in first} if isinstance(spec, ImportSpec)
                      else radar.said_passes(passes if (rows["from_store"] < 0).any() else _passes(sources)))
        return
    there = columns.read_columns(out, only=("tile_id", "window", "label_id", "s2_id"))
    kept = spec_of(layout.open_root(out).attrs.asdict(), f"store {out}")
    wanted = rows[KEYS].astype(str).to_numpy()
    if differences(kept, spec) or not np.array_equal(there[KEYS].astype(str).to_numpy(), wanted):
        raise InputError(f"store {out}: is there and is another; choose a new place")


def _passes(sources: Sequence[Source]) -> tuple[int, int] | None:
    """Passes where the sources were planned, and those that had RTC-S1, all together; None where one does not say."""
    said = [radar.passes_in(source.attributes) for source in sources]
    known = [counts for counts in said if counts is not None]
    return (sum(flown for flown, _ in known), sum(rtc for _, rtc in known)) if len(known) == len(said) else None


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order in which a store keeps them."""
    return rows.sort_values(ORDER, kind="stable", ignore_index=True)


def copy(sources: Sequence[Source], rows: pd.DataFrame, out: str | Path, hold: Hold,
         progress: Progress = lambda *_: None) -> int:
    """Copy what is exported or rejected in the sources and pending in the target; for who holds the target.

    Parameters
    ----------
    rows : of all tiles of the target, with ``from_store`` (number of the source, -1 for none), ``group``, ``index``.

    Returns
    -------
    Number of tiles copied.

    Raises
    ------
    InputError
        Where a tile of a source is damaged; what is copied stays.
    StopError
        Where the target cannot be written any more, or a store is gone.
    """
    try:
        return _copy(sources, in_order(rows), out, hold, progress)
    except TROUBLE:
        for store in (out, *(source.store for source in sources)):
            stops.check_there(store)
        raise


def _copy(sources: Sequence[Source], rows: pd.DataFrame, out: str | Path, hold: Hold, progress: Progress) -> int:
    sweep(out)
    readers = [_Reader(source) for source in sources]
    jobs = list(_jobs(rows, out))
    done = copied = 0
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for name, start, stop, todo in jobs:
            group = layout.open_biome(out, name, "r+")
            known = writer.rows_of(group, slice(start, stop))
            found = pool.map(lambda row: readers[row["from_store"]].tile(row, known[row["target"] - start]),  # noqa: B023
                             todo)
            results = {row["target"]: tile for row, tile in zip(todo, found, strict=True)}
            hold.check()
            writer.write_shard(group, start, stop, results)
            copied += len(results)
            done += 1
            progress(done, len(jobs))
    return copied


def _jobs(rows: pd.DataFrame, out: str | Path) -> Iterator[tuple[str, int, int, list[dict[str, Any]]]]:
    """Shards of the target with tiles to copy: group, first and last + 1 tile, and their rows with ``target``."""
    root = layout.open_root(out)
    wanted = rows["status"].astype(str).isin(("exported", "rejected")) & (rows["from_store"] >= 0)
    for name in layout.biome_groups(root):
        group = layout.group_of(root, name)
        inside = rows["biome"].astype(int) == layout.biome_of_group(name)
        own = rows[inside].assign(wanted=wanted[inside]).reset_index(drop=True)
        status = writer.statuses(group)
        shard = writer.array_of(group, "status").chunks[0]
        for start in range(0, len(own), shard):
            stop = min(start + shard, len(own))
            part = own.iloc[start:stop]
            pick = part["wanted"].to_numpy() & (status[start:stop] == layout.PENDING)
            if pick.any():
                todo = part[pick][["from_store", "group", "index", "tile_id"]].assign(
                    target=start + np.flatnonzero(pick))
                yield name, start, stop, todo.to_dict("records")


class _Reader:
    """Packed tiles of a source with their columns, checked on their way."""

    def __init__(self, source: Source) -> None:
        self.store = source.store
        self.root = layout.open_root(source.store)
        self.reader = TileReader(source.store, exported=True)
        self.columns: dict[str, dict[str, np.ndarray]] = {}
        self.rows: dict[str, list[str]] = {}
        for name in layout.biome_groups(self.root):
            group = layout.group_of(self.root, name)
            self.columns[name] = {key: np.asarray(writer.array_of(group, key)[...]) for key in writer.columns_of(group)}
            self.rows[name] = writer.rows_of(group)

    def tile(self, row: dict[str, Any], own: str) -> PackedTile:
        """A tile as it is packed, with the digests of its new row ``own``."""
        name, index = str(row["group"]), int(row["index"])
        kept = {key: values[index] for key, values in self.columns[name].items()}
        before = [str(value) for value in kept.pop(digests.DIGESTS, ())]
        old = self.rows[name][index]
        packed: dict[str, Any] = {}
        after: list[str] = []
        forms = self.reader.formats(name)
        for number, (array, form) in enumerate(forms.items(), 1):
            if int(kept["status"]) != layout.EXPORTED:
                after.append("")
                continue
            span = self.reader.span(name, array, index)
            try:
                pixels = form.unpack(span)
            except DamageError as error:
                raise self._damage(name, array, index, row, str(error)) from None
            if old and digests.of_array(old, array, pixels) != before[number]:
                raise self._damage(name, array, index, row, "is not what was written of this tile")
            packed[array] = (span,)
            after.append(before[number] if old == own else digests.of_array(own, array, pixels))
        reason = str(kept["reason"])
        tile = PackedTile(int(kept["status"]), reason, packed, kept["class_counts"], kept["valid_fraction"],
                          kept.get("cloud_fraction", np.nan), kept.get("stratum", -1),
                          (digests.of_outcome(own, {**kept, "reason": reason}), *after))
        if old == own and tile.digests[0] != before[0]:
            raise self._damage(name, "status", index, row, "is not what was written of this tile")
        return tile

    def _damage(self, group: str, array: str, index: int, row: dict[str, Any], what: str) -> InputError:
        return InputError(f"store {self.store}: {group}/{array} tile {index} ({row['tile_id']}): {what}; run dwplus "
                          f"repair {self.store}, then the same command again")
