"""Is a store what its statuses say? Every byte is read once, and each fault named with its place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, tile_from_id
from dwplus.spec import DatasetSpec
from dwplus.store import layout, writer
from dwplus.store.places import Place, place_of
from dwplus.store.shards import DamageError, ShardFormat
from dwplus.taxonomy import CLASSES, stratum_of

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
    """

    place: str
    what: str
    shard: tuple[str, int] | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass
class Report:
    """What a check found: faults, tiles by status, bytes read."""

    faults: list[Fault] = field(default_factory=list)
    tiles: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    @property
    def shards(self) -> list[tuple[str, int]]:
        """Shards to fetch again: group and first tile."""
        return sorted({fault.shard for fault in self.faults if fault.shard is not None})


def verify(store: str | Path, progress: Callable[[int, int], None] = lambda *_: None) -> Report:
    """Check a whole store.

    Checked are: metadata against its consolidated copy and the spec; every chunk and index against its checksum; that
    exported tiles have pixels and no others do; ``class_counts`` and ``valid_fraction`` against the pixels; gaps
    against times; ids and centres against corners; the number of tiles against the plan's; that no file is there that
    does not belong.

    Parameters
    ----------
    progress : called with (shards checked, shards in all).

    Raises
    ------
    InputError
        Where there is no store.
    """
    place = place_of(store)
    root = layout.open_root(store)
    sizes = place.files()
    report = Report(tiles=dict.fromkeys(layout.STATUSES, 0))
    known: set[str] = {"zarr.json"}
    report.faults += _metadata(place, root, sizes)
    jobs: list[tuple[_Group, int]] = []
    total = 0
    for name in layout.biome_groups(root):
        try:
            group = root[name]
            assert isinstance(group, zarr.Group)
            checked = _Group.open(store, name, group, sizes)
        except (KeyError, ValueError, TypeError, OSError, AssertionError, InputError) as error:
            report.faults.append(Fault(name, f"cannot be opened ({type(error).__name__}: {error})"))
            continue
        total += checked.tiles
        report.faults += checked.columns()
        known |= checked.files()
        jobs += [(checked, start) for start in range(0, checked.tiles, checked.shard)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (faults, counts, size) in enumerate(pool.map(lambda job: job[0].check(job[1]), jobs), 1):
            report.faults += faults
            report.bytes += size
            for status, n in counts.items():
                report.tiles[status] += n
            progress(done, len(jobs))
    planned: Any = root.attrs.asdict().get("plan")
    if not isinstance(planned, dict) or planned.get("planned") != total:
        report.faults.append(Fault("zarr.json", f"says {planned} of the plan, the groups hold {total} tiles"))
    for name, size in sorted(sizes.items()):
        report.bytes += size if not _is_shard(name) else 0
        if name not in known:
            report.faults.append(Fault(name, "does not belong to the store"))
    return report


def _is_shard(name: str) -> bool:
    parts = name.split("/")
    return len(parts) > 3 and parts[1] in (*writer.PIXELS, *writer.TRIPLET_PIXELS)


def _metadata(place: Place, root: zarr.Group, sizes: dict[str, int]) -> Iterator[Fault]:
    """The root's attributes, and every array's metadata against the copy the root keeps of it."""
    try:
        DatasetSpec.from_json(json.dumps(root.attrs.asdict()["spec"]), "its spec")
    except (InputError, KeyError) as error:
        yield Fault("zarr.json", f"holds no valid spec ({error})")
    for key, want in (("classes", list(CLASSES)), ):
        if root.attrs.asdict().get(key) != want:
            yield Fault("zarr.json", f"{key} are not Dynamic World's")
    try:
        kept = json.loads(place.read("zarr.json"))["consolidated_metadata"]["metadata"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Fault("zarr.json", f"holds no consolidated metadata ({type(error).__name__}: {error})")
        return
    found = {name.removesuffix("/zarr.json") for name in sizes if name.endswith("/zarr.json")}
    for name in sorted(found | kept.keys()):
        try:
            own = json.loads(place.read(f"{name}/zarr.json"))
        except (OSError, ValueError) as error:
            yield Fault(f"{name}/zarr.json", f"cannot be read ({type(error).__name__}: {error})")
            continue
        copy = dict(kept.get(name, {}))
        for each in (own, copy):
            each.pop("consolidated_metadata", None)
        if json.dumps(own, sort_keys=True) != json.dumps(copy, sort_keys=True):
            yield Fault(f"{name}/zarr.json", "differs from the copy in the root's zarr.json")


@dataclass
class _Group:
    """One biome's group, opened for checking."""

    name: str
    group: zarr.Group
    tiles: int
    shard: int
    formats: dict[str, ShardFormat]
    sizes: dict[str, int]
    dynamic: tuple[str, ...]

    @classmethod
    def open(cls, store: str | Path, name: str, group: zarr.Group, sizes: dict[str, int]) -> _Group:
        formats = writer.formats(store, group)
        return cls(name, group, writer.array_of(group, "s2").shape[0], formats["s2"].tiles, formats, sizes,
                   writer.columns_of(group))

    def file(self, name: str, start: int) -> str:
        """The file of a shard of pixels, as seen from the store."""
        return f"{self.name}/{name}/{self.formats[name].key(start // self.shard)}"

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
                known |= {f"{self.name}/{key}/c/" + "/".join([str(i), *["0"] * (array.ndim - 1)])
                          for i in range(chunks)}
        return known

    def columns(self) -> Iterator[Fault]:
        """Each column against its checksum, then against the others."""
        table: dict[str, np.ndarray] = {}
        for key, array in self.group.arrays():
            if key in self.formats or key in self.dynamic:
                continue
            try:
                table[key] = np.asarray(array[...])
            except Exception as error:  # whatever a codec raises at damaged bytes is the finding
                yield Fault(f"{self.name}/{key}", f"cannot be read ({type(error).__name__}: {error}); no pixels, so "
                                                  "export the plan into a new store")
        if self.tiles and not {"tile_id", "epsg", "x0", "y0", "lon", "lat", "gap_hours", "s1_time", "s2_time",
                               "split", "window", "label_id", "s2_id", "s1_id"} <= table.keys():
            yield Fault(self.name, "columns are missing")
            return
        gaps = (table["s1_time"] - table["s2_time"]) / 3_600_000
        scale, size = float(self.group.attrs.asdict()["scale"]), self.formats["label"].shape[-1]  # type: ignore[arg-type]
        seen: set[tuple[Any, ...]] = set()
        for i, tile in enumerate(table["tile_id"]):
            grid = PixelGrid(int(table["epsg"][i]), float(table["x0"][i]), float(table["y0"][i]), scale, size, size)
            name_and_scene = (tile, table["window"][i], table["label_id"][i], table["s2_id"][i])
            lon, lat = grid.center
            for name in ("tile_id", "window", "label_id", "s2_id", "s1_id"):
                if not table[name][i]:
                    yield Fault(f"{self.name} tile {i}", f"has no {name}")
            if max(abs(lon - table["lon"][i]), abs(lat - table["lat"][i])) > _DEGREES:
                yield Fault(str(tile), "its centre does not follow from its corner")
            if tile and _grid_of(str(tile)) not in (grid, None):
                yield Fault(str(tile), "its id says another grid than its corner")
            if abs(gaps[i] - table["gap_hours"][i]) > _HOURS:
                yield Fault(str(tile), f"gap_hours is {table['gap_hours'][i]:.3f}, the times are {gaps[i]:.3f} h apart")
            if table["split"][i] >= len(layout.SPLIT_FLAGS):
                yield Fault(str(tile), f"split is {table['split'][i]}")
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

        columns = {}
        for name in self.dynamic:
            try:
                columns[name] = np.asarray(writer.array_of(self.group, name)[start:stop])
            except Exception as error:  # as above
                what = f"cannot be read ({type(error).__name__}: {error})"
                fault(f"{self.name}/{name}/c/{start // self.shard}", what)
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
                for what in _tile(row, columns, pixels, set(self.formats)):
                    fault(f"{self.name} tile {start + row}", what)
        counts = {name: int((columns["status"] == number).sum()) for number, name in enumerate(layout.STATUSES)} \
            if "status" in columns else {}
        return faults, counts, size


def _grid_of(tile_id: str) -> PixelGrid | None:
    """The grid a planned tile's id says; an annotated tile's id says it only for the annotation's own size."""
    try:
        return tile_from_id(tile_id).grid if tile_id.startswith("utm_") else None
    except ValueError:
        return None


def _tile(row: int, columns: dict[str, np.ndarray], pixels: dict[str, np.ndarray], arrays: set[str]) -> Iterator[str]:
    """What does not fit between the columns and the pixels of one tile, which has some arrays; absent pixels are all
    fill values."""
    status, reason = int(columns["status"][row]), str(columns["reason"][row])
    counts, valid = columns["class_counts"][row], float(columns["valid_fraction"][row])
    if status >= len(layout.STATUSES):
        yield f"status is {status}"
        return
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
        yield f"is exported, but {' and '.join(sorted(arrays - pixels.keys()))} holds no pixel"
        return
    if reason:
        yield f"is exported, but its reason is {reason!r}"
    if not np.array_equal(writer.class_counts(pixels["label"]), counts):
        yield "class_counts are not those of its label"
    has_data = writer.has_data(pixels["s2"], pixels["s1"])
    if np.float32(writer.valid_fraction(*has_data, pixels["label"])) != np.float32(valid):
        yield "valid_fraction is not that of its pixels"
    if "cloud" in pixels:
        share = writer.cloud_fraction(pixels["cloud"])
        if share != float(columns["cloud_fraction"][row]) or stratum_of(share) != columns["stratum"][row]:
            yield "cloud_fraction or stratum is not that of its cloud mask"


def reset(store: str | Path, shards: list[tuple[str, int]]) -> int:
    """Make shards pending again, without reading what is damaged; for who holds the store.

    Returns
    -------
    Number of tiles that are to be fetched again.
    """
    root = layout.open_root(store, "r+")
    place = place_of(store)
    tiles = 0
    for name, start in shards:
        group = root[name]
        assert isinstance(group, zarr.Group)
        formats = writer.formats(store, group)
        shard = start // formats["s2"].tiles
        # The status goes first: a stop in between leaves pending tiles, not exported ones without pixels.
        for column in reversed(writer.columns_of(group)):
            array = writer.array_of(group, column)
            place.remove("/".join([array.path, "c", str(shard), *["0"] * (array.ndim - 1)]))
        for form in formats.values():
            form.write(shard, {})
        tiles += min(start + formats["s2"].tiles, writer.array_of(group, "s2").shape[0]) - start
    return tiles
