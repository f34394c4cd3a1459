"""Is a store what its statuses say? Every byte is read once, and each fault named with its place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import zarr

from dwplus.errors import InputError
from dwplus.spec import DatasetSpec
from dwplus.store import layout, made, seal, tables, writer
from dwplus.store.checked_group import CheckedGroup, Fault
from dwplus.store.columns import TROUBLE
from dwplus.store.imported import ImportSpec, spec_of
from dwplus.store.legend import Legend, legend_of
from dwplus.store.litter import is_litter, sentence
from dwplus.store.places import Place, place_of

__all__ = ["Fault", "Report", "reset", "verify"]


@dataclass
class Report:
    """What a check found: faults, tiles by status, bytes read; ``notes`` on what could not be checked; ``intact`` says
    whether what was fixed when the store was made is as it was, so that pixels fetched again were the right ones."""

    faults: list[Fault] = field(default_factory=list)
    tiles: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    notes: list[str] = field(default_factory=list)
    intact: bool = True

    @property
    def shards(self) -> list[tuple[str, int]]:
        """Shards to fetch again: group and first tile."""
        return sorted({fault.shard for fault in self.faults if fault.shard is not None})


def verify(store: str | Path, progress: Callable[[int, int], None] = lambda *_: None) -> Report:
    """Check a whole store.

    Checked are: everything that was fixed when the store was made, against its seal; every chunk and index against its
    checksum, and that it is there; that exported tiles have pixels and no others do; each tile's row, pixels and counts
    against the tile's digests; ``class_counts`` and ``valid_fraction`` against the pixels; gaps against times; ids and
    centres against corners; ``tiles.parquet`` against the columns; the number of tiles against the plan's; that no file
    is there that does not belong. Stores of earlier builds have no digests: there metadata is compared with what
    follows from the spec, and a note says so.

    Parameters
    ----------
    progress : called with (shards checked, shards in all).

    Raises
    ------
    InputError
        Where there is no store, or it vanishes meanwhile.
    """
    try:
        return _verify(store, progress)
    except (*TROUBLE, RecursionError) as error:
        raise InputError(f"store {store}: cannot be checked ({type(error).__name__}: "
                         f"{' '.join(str(error).split())[:200]})") from None


def _verify(store: str | Path, progress: Callable[[int, int], None]) -> Report:
    place = place_of(store)
    root = layout.open_root(store)
    sizes = place.files()
    litter = [key for key in sizes if is_litter(key)]
    for key in litter:
        del sizes[key]
    report = Report(tiles=dict.fromkeys(layout.STATUSES, 0))
    if litter:
        report.faults.append(Fault("litter", sentence(litter)))
    known: set[str] = {"zarr.json", tables.FILE}
    meta = _Metadata.read(place, sizes)
    report.faults += meta.faults
    attributes = root.attrs.asdict()
    spec = _spec(attributes, report.faults)
    groups: list[CheckedGroup] = []
    whole = True
    try:
        legend = legend_of(attributes, "it")
    except (InputError, *TROUBLE) as error:
        report.faults.append(Fault("zarr.json", f"names no classes ({error})"))
        legend, whole = Legend(), False
    for name in meta.groups:
        try:
            checked = CheckedGroup.open(store, name, layout.group_of(root, name), sizes, legend)
        except (*TROUBLE, InputError) as error:
            report.faults.append(Fault(name, f"cannot be opened ({type(error).__name__}: {error})"))
            whole = False
            continue
        groups.append(checked)
        report.faults += checked.columns()
        known |= checked.files()
    report.faults += _fixed(meta, attributes, spec, groups, report)
    jobs = [(group, start) for group in groups for start in range(0, group.tiles, group.shard)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (faults, counts, size) in enumerate(pool.map(lambda job: job[0].check(job[1]), jobs), 1):
            report.faults += faults
            report.bytes += size
            for status, n in counts.items():
                report.tiles[status] += n
            progress(done, len(jobs))
    if sizes and not place.exists():
        raise FileNotFoundError("it is gone")
    whole = whole and all(group.complete for group in groups)
    table = pd.concat([group.table() for group in groups], ignore_index=True) if groups and whole else None
    if words := tables.check(place, attributes, table):
        report.faults.append(Fault(tables.FILE, words, table=True))
    planned: Any = attributes.get("plan")
    total = sum(group.tiles for group in groups)
    if not isinstance(planned, dict) or planned.get("planned") != total:
        report.faults.append(Fault("zarr.json", f"says {planned} of the plan, the groups hold {total} tiles"))
    for name, size in sorted(sizes.items()):
        report.bytes += size if not _is_shard(name) else 0
        if name not in known:
            report.faults.append(Fault(name, "does not belong to the store"))
    return report


def _is_shard(name: str) -> bool:
    parts = name.split("/")
    return len(parts) > 3 and parts[1] in (*writer.PIXELS, *writer.MORE_PIXELS)


def _spec(attributes: dict[str, Any], faults: list[Fault]) -> DatasetSpec | ImportSpec | None:
    try:
        return spec_of(attributes, "its spec")
    except (InputError, *TROUBLE, RecursionError) as error:
        faults.append(Fault("zarr.json", f"holds no valid spec ({error})"))
        return None


def _fixed(meta: _Metadata, attributes: dict[str, Any], spec: DatasetSpec | ImportSpec | None,
           groups: list[CheckedGroup], report: Report) -> Iterator[Fault]:
    """What was fixed when the store was made: against its seal, or against the spec where it has none."""
    sealed = any(group.sealed for group in groups)
    if seal.KEY in attributes:
        columns = {f"{group.name}/{name}": value for group in groups for name, value in group.values.items()}
        unread = {f"{group.name}/{name}" for group in groups for name in group.unread}
        found = list(seal.broken(attributes[seal.KEY], meta.root, meta.members, columns, unread))
        yield from (Fault(place, what) for place, what in found)
        report.intact = not found
        if not found and isinstance(spec, DatasetSpec):
            columns_of = {group.name: group.columns_read for group in groups}
            implied = list(made.implied(spec, attributes, columns_of))
            right = f"{spec.tile.size} px of {spec.tile.scale:g} m"
            for group in groups:
                scale = float(group.group.attrs["scale"])  # type: ignore[arg-type]
                if (tiles := f"{group.formats['label'].shape[-1]} px of {scale:g} m") != right:
                    implied.append((f"{group.name}/zarr.json", f"holds tiles of {tiles}, of the spec follow {right}"))
            yield from (Fault(place, what) for place, what in implied)
            report.intact = not implied
    elif sealed:
        yield Fault("zarr.json", "has no seal, though its tiles have digests")
        report.intact = False
    else:
        report.notes.append("no digests: the store was made by an earlier build, and pixels that were swapped between "
                            "tiles would not be found; `dwplus repair STORE --digests` adds them")
        if isinstance(spec, DatasetSpec):
            yield from (Fault(place, what) for place, what in made.wrong(spec, attributes, meta.members))
            for group in groups:
                for name, want in made.bands(spec).items():
                    if (have := [str(word) for word in group.columns_read.get(name, [])]) != want:
                        yield Fault(f"{group.name}/{name}", f"holds {' '.join(have)}, of the spec follows "
                                                            f"{' '.join(want)}")
                windows = {str(window) for window in spec.windows}
                wrong = sorted({*map(str, group.columns_read.get("window", []))} - windows)
                if wrong and not wrong[0].startswith("2015-06-23/2100"):
                    yield Fault(f"{group.name}/window", f"holds {wrong[0]!r}, which is no window of the spec")


@dataclass
class _Metadata:
    """Every ``zarr.json``, and what is wrong between them."""

    root: dict[str, Any]
    members: dict[str, Any]
    groups: list[str]
    faults: list[Fault]

    @classmethod
    def read(cls, place: Place, sizes: dict[str, int]) -> _Metadata:
        """The root's own, and every array's against the copy the root keeps of it."""
        root = json.loads(place.read("zarr.json"))
        faults: list[Fault] = []
        kept: dict[str, Any] = {}
        try:
            kept = dict(root["consolidated_metadata"]["metadata"])
        except (KeyError, TypeError, ValueError) as error:
            faults.append(Fault("zarr.json", f"holds no consolidated metadata ({type(error).__name__}: {error})"))
        found = {name.removesuffix("/zarr.json") for name in sizes if name.endswith("/zarr.json")}
        members: dict[str, Any] = {}
        for name in sorted(found | kept.keys()):
            try:
                if sizes.get(f"{name}/zarr.json", 0) > layout.MOST_METADATA:
                    raise ValueError("too large")
                own = json.loads(place.read(f"{name}/zarr.json"))
                assert isinstance(own, dict)
            except (OSError, ValueError, RecursionError, AssertionError) as error:
                faults.append(Fault(f"{name}/zarr.json", f"cannot be read ({type(error).__name__}: {error})"))
                continue
            members[name] = own
            copy = kept.get(name, {})
            if kept and seal.of_metadata(own) != seal.of_metadata(copy if isinstance(copy, dict) else {}):
                faults.append(Fault(f"{name}/zarr.json", "differs from the copy in the root's zarr.json"))
        groups = sorted({name.split("/")[0] for name in members if layout.is_group(name.split("/")[0])})
        return cls(root, members, groups, faults)


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
