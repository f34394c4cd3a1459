"""One biome's group under `verify`: its columns, its shards, and what of a tile does not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from dwplus.grid import PixelGrid, tile_from_id
from dwplus.store import digests, layout, writer
from dwplus.store.columns import NEVER_EMPTY
from dwplus.store.legend import Legend
from dwplus.store.shards import DamageError, ShardFormat
from dwplus.taxonomy import stratum_of

#: Largest difference of a column to what follows from others: degrees of the centre, hours of the gap.
_DEGREES, _HOURS = 1e-6, 1e-6


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was written.

    Attributes
    ----------
    place : path in the store, or a tile's id.
    what : what is wrong with it.
    shard : group and first tile of the shard that `repair` must fetch again; None where pixels would not help.
    table : whether it lies in ``tiles.parquet`` alone, which `repair` writes anew.
    """

    place: str
    what: str
    shard: tuple[str, int] | None = None
    table: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass
class CheckedGroup:
    """One biome's group, opened for checking."""

    name: str
    group: zarr.Group
    tiles: int
    shard: int
    formats: dict[str, ShardFormat]
    sizes: dict[str, int]
    dynamic: tuple[str, ...]
    sealed: bool
    legend: Legend
    #: Fixed columns as read, their digests, those that could not be read.
    columns_read: dict[str, np.ndarray] = field(default_factory=dict)
    #: Those of them that have one value a tile.
    one_each: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    #: Digest of each tile's row, as its own columns give it.
    rows: list[str] = field(default_factory=list)
    #: The columns that follow the pixels, by first tile of their shard.
    pieces: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def open(cls, store: str | Path, name: str, group: zarr.Group, sizes: dict[str, int],
             legend: Legend) -> CheckedGroup:
        formats = writer.formats(store, group)
        return cls(name, group, writer.array_of(group, "s2").shape[0], formats["s2"].tiles, formats, sizes,
                   writer.columns_of(group), writer.has_digests(group), legend)

    def file(self, name: str, start: int) -> str:
        """The file of a shard of pixels, as seen from the store."""
        return f"{self.name}/{name}/{self.formats[name].key(start // self.shard)}"

    def chunk(self, array: zarr.Array[Any], number: int) -> str:
        """The file of a chunk of a column, as seen from the store."""
        return f"{self.name}/{array.basename}/c/" + "/".join([str(number), *["0"] * (array.ndim - 1)])

    def files(self) -> set[str]:
        """Every file that may be there."""
        known = {f"{self.name}/zarr.json"}
        shards = range(-(-self.tiles // self.shard))
        for key, array in self.group.arrays():
            known.add(f"{self.name}/{key}/zarr.json")
            if key in self.formats:
                known |= {self.file(key, i * self.shard) for i in shards}
            else:
                chunks = -(-array.shape[0] // array.chunks[0]) if array.shape[0] else 1
                known |= {self.chunk(array, i) for i in range(chunks)}
        return known

    def columns(self) -> Iterator[Fault]:
        """Each column against its checksum, then against the others."""
        table = self.columns_read
        for key, array in self.group.arrays():
            if key in self.formats or key in self.dynamic:
                continue
            try:
                if self.chunk(array, 0) not in self.sizes and (self.sealed or key in NEVER_EMPTY):
                    raise FileNotFoundError("c/0 is missing")
                table[key] = np.asarray(array[...])
                if array.metadata.dimension_names == ("tile",):  # type: ignore[union-attr]
                    self.one_each.add(key)
                self.values[key] = digests.of_values(table[key]) if self.sealed else ""
            except Exception as error:  # whatever a codec raises at damaged bytes is the finding
                self.unread.append(key)
                yield Fault(f"{self.name}/{key}", f"cannot be read ({type(error).__name__}: {error})")
        if self.tiles and not {"tile_id", "epsg", "x0", "y0", "lon", "lat", "gap_hours", "s1_time", "s2_time",
                               "split", "window", "label_id", "s2_id", "s1_id", "biome"} <= table.keys():
            yield Fault(self.name, "columns are missing")
            return
        if self.sealed and not self.unread and digests.ROW in table:
            fixed = {key: values for key, values in table.items() if key in self.one_each and len(values) == self.tiles}
            self.rows = [str(row) for row in digests.of_rows(fixed)]
            for place in np.flatnonzero(np.array(self.rows, object) != table[digests.ROW].astype(object)):
                yield Fault(str(table["tile_id"][place]), "its row is not the one it was made with")
        gaps = (table["s1_time"] - table["s2_time"]) / 3_600_000
        scale, size = float(self.group.attrs.asdict()["scale"]), self.formats["label"].shape[-1]  # type: ignore[arg-type]
        seen: set[tuple[Any, ...]] = set()
        for i, tile in enumerate(table["tile_id"]):
            grid = PixelGrid(int(table["epsg"][i]), float(table["x0"][i]), float(table["y0"][i]), scale, size, size)
            name_and_scene = (tile, table["window"][i], table["label_id"][i], table["s2_id"][i])
            try:
                # Without a place there is nothing that a centre could follow from.
                lon, lat = grid.center if grid.epsg else (table["lon"][i], table["lat"][i])
            except Exception as error:  # pyproj's: no such reference system
                yield Fault(str(tile), f"epsg {grid.epsg} is none ({type(error).__name__})")
                continue
            for name in ("tile_id", "window", "label_id", "s2_id", "s1_id"):
                if not table[name][i]:
                    yield Fault(f"{self.name} tile {i}", f"has no {name}")
            if grid.epsg and not max(abs(lon - table["lon"][i]), abs(lat - table["lat"][i])) <= _DEGREES:
                yield Fault(str(tile), "its centre does not follow from its corner")
            if tile and _grid_of(str(tile)) not in (grid, None):
                yield Fault(str(tile), "its id says another grid than its corner")
            if abs(gaps[i] - table["gap_hours"][i]) > _HOURS:
                yield Fault(str(tile), f"gap_hours is {table['gap_hours'][i]:.3f}, the times are {gaps[i]:.3f} h apart")
            if table["split"][i] >= len(layout.SPLIT_FLAGS):
                yield Fault(str(tile), f"split is {table['split'][i]}")
            if layout.group_name(int(table["biome"][i])) != self.name:
                yield Fault(str(tile), f"is of biome {int(table['biome'][i])}, but lies in {self.name}")
            if name_and_scene in seen:
                yield Fault(str(tile), "is there twice")
            seen.add(name_and_scene)

    def check(self, start: int) -> tuple[list[Fault], dict[str, int], int]:
        """One shard: faults, tiles by status, bytes read."""
        stop = min(start + self.shard, self.tiles)
        faults: list[Fault] = []
        place = (self.name, start)

        def fault(where: str, what: str) -> None:
            faults.append(Fault(where, what, place))

        columns: dict[str, np.ndarray] = {}
        arrays = {name: writer.array_of(self.group, name) for name in self.dynamic}
        chunks = {name: self.chunk(array, start // self.shard) for name, array in arrays.items()}
        written = {name for name, file in chunks.items() if file in self.sizes}
        shards = {self.file(name, start) for name in self.formats} & self.sizes.keys()
        for name, array in arrays.items():
            if self.sealed and name not in written and (written or shards):
                fault(chunks[name], "is missing")
                continue
            try:
                columns[name] = np.asarray(array[start:stop])
            except Exception as error:  # as above
                fault(chunks[name], f"cannot be read ({type(error).__name__}: {error})")
        size = 0
        packed: dict[str, list[memoryview | None]] = {}
        for name, form in self.formats.items():
            where = self.file(name, start)
            try:
                packed[name] = form.read(start // self.shard)
                size += self.sizes.get(where, 0)
                if any(extra is not None for extra in packed[name][stop - start:]):
                    fault(where, "holds more tiles than there are")
            except (DamageError, OSError) as error:
                fault(where, str(error))
        own = self._rows(start, stop)
        for row in range(stop - start):
            pixels = {}
            for name, tiles in packed.items():
                where = f"{self.file(name, start)} tile {start + row}"
                try:
                    if tiles[row] is not None:
                        pixels[name] = self.formats[name].unpack(tiles[row])
                except DamageError as error:
                    fault(where, str(error))
            if len(columns) == len(self.dynamic) and len(packed) == len(self.formats) and not faults:
                for what in _tile(row, columns, pixels, tuple(self.formats), own[row] if own else ""):
                    fault(f"{self.name} tile {start + row}", what)
        self.pieces[start] = columns
        counts = {name: int((columns["status"] == number).sum()) for number, name in enumerate(layout.STATUSES)} \
            if "status" in columns else {}
        return faults, counts, size

    def _rows(self, start: int, stop: int) -> list[str]:
        """What the digests of some tiles were made with: the digest of each one's row, as it is kept."""
        if not self.sealed or digests.ROW not in self.columns_read:
            return []
        return [str(row) for row in self.columns_read[digests.ROW][start:stop]]

    @property
    def complete(self) -> bool:
        """Whether every column could be read."""
        return not self.unread and all(len(piece) == len(self.dynamic) for piece in self.pieces.values())

    def table(self) -> pd.DataFrame:
        """The group's part of :func:`dwplus.store.tables.whole`."""
        tall = {name: np.concatenate([self.pieces[start][name] for start in sorted(self.pieces)])
                for name in self.dynamic}
        one = {key: values for key, values in self.columns_read.items() if key in self.one_each}
        one |= {name: values for name, values in tall.items() if values.ndim == 1}
        for number, column in enumerate(self.legend.counts[:tall["class_counts"].shape[1]]):
            one[column] = tall["class_counts"][:, number]
        if self.sealed:
            for number, name in enumerate(self.columns_read[digests.NAMES]):
                one[f"digest_{name}"] = tall[digests.DIGESTS][:, number].astype(object)
        return pd.DataFrame({"group": self.name, "index": np.arange(self.tiles), **one})


def _grid_of(tile_id: str) -> PixelGrid | None:
    """The grid a planned tile's id says; an annotated tile's id says it only for the annotation's own size."""
    try:
        return tile_from_id(tile_id).grid if tile_id.startswith("utm_") else None
    except ValueError:
        return None


def _tile(row: int, columns: dict[str, np.ndarray], pixels: dict[str, np.ndarray], arrays: tuple[str, ...],
          own: str) -> Iterator[str]:
    """What does not fit between the columns, the pixels and the digests of one tile, which has some arrays; absent
    pixels are all fill values. ``own`` is the digest of its row, empty where there are no digests."""
    status, reason = int(columns["status"][row]), str(columns["reason"][row])
    counts, valid = columns["class_counts"][row], float(columns["valid_fraction"][row])
    if status >= len(layout.STATUSES):
        yield f"status is {status}"
        return
    if own:
        yield from _bound(row, columns, pixels, arrays, own)
    name = layout.STATUSES[status]
    if status != layout.EXPORTED:
        if pixels:
            yield f"is {name}, but holds {' and '.join(pixels)}"
        if counts.any() or valid:
            yield f"is {name}, but has class counts"
        if (status == layout.PENDING) == bool(reason):
            yield f"is {name}, but its reason is {reason!r}"
        return
    if len(pixels) < len(arrays):
        yield f"is exported, but {' and '.join(sorted({*arrays} - pixels.keys()))} holds no pixel"
        return
    if reason:
        yield f"is exported, but its reason is {reason!r}"
    if not np.array_equal(writer.class_counts(pixels["label"], len(counts)), counts):
        yield "class_counts are not those of its label"
    has_data = writer.has_data(pixels["s2"], pixels["s1"])
    if np.float32(writer.valid_fraction(*has_data, pixels["label"])) != np.float32(valid):
        yield "valid_fraction is not that of its pixels"
    if "cloud" in pixels:
        share = writer.cloud_fraction(pixels["cloud"])
        if share != float(columns["cloud_fraction"][row]) or stratum_of(share) != columns["stratum"][row]:
            yield "cloud_fraction or stratum is not that of its cloud mask"


def _bound(row: int, columns: dict[str, np.ndarray], pixels: dict[str, np.ndarray], arrays: tuple[str, ...],
           own: str) -> Iterator[str]:
    """What of a tile is not its own, by its digests."""
    outcome, *kept = (str(value) for value in columns[digests.DIGESTS][row])
    if int(columns["status"][row]) == layout.PENDING:
        if outcome or any(kept):
            yield "is pending, but has digests"
        return
    values = {name: column[row] if column.ndim > 1 or column.dtype.kind in "iuf" else str(column[row])
              for name, column in columns.items()}
    if digests.of_outcome(own, values) != outcome:
        yield "what its columns say became of it is not what was written of this tile"
    for name, digest in zip(arrays, kept, strict=True):
        have = digests.of_array(own, name, pixels[name]) if name in pixels else ""
        if have != digest:
            yield f"its {name} is not what was written of this tile"
