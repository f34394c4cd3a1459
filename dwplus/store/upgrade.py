"""Digests and a seal for a store of an earlier build, which was made without."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dwplus.errors import InputError
from dwplus.store import digests, layout, seal, tables, writer
from dwplus.store.locks import Hold, only_run, sweep
from dwplus.store.places import place_of
from dwplus.store.shards import ShardFormat
from dwplus.store.verify import Fault, verify

#: What such a store says of the embedded Earth it came from: the first build's planet, or an asset tree.
FIRST_BUILD = "first build"
_NEW = (digests.ROW, digests.NAMES, digests.DIGESTS)


def add_digests(store: str | Path, progress: Callable[[int, int], None] = lambda *_: None) -> list[Fault]:
    """Add to a sound store what later builds write: digests of tiles, the seal, chunks of zeros, ``tiles.parquet``.

    Pixels stay as they are. What a broken-off call left is made anew.

    Returns
    -------
    Faults that stand in the way, and then nothing is done; empty where the store has digests now.

    Raises
    ------
    InputError
        Where there is no store, or it cannot be written.
    """
    place = place_of(store)
    with only_run(store) as hold:
        sweep(store)
        try:
            meta = json.loads(place.read("zarr.json"))
            if seal.KEY in meta["attributes"]:
                tables.finish(store, hold.check)
                return []
            _clear(store, meta)
            if faults := verify(store).faults:
                return faults
            _add(store, meta, hold, progress)
        except OSError as error:
            raise InputError(f"store {store}: cannot be written ({error.strerror or error}); run the same command "
                             "again when it can be") from None
    return []


def _clear(store: str | Path, meta: dict[str, Any]) -> None:
    """Remove what a call that was broken off has made: arrays that the root does not know yet."""
    place = place_of(store)
    known = meta["consolidated_metadata"]["metadata"]
    for key in place.files():
        group, _, rest = key.partition("/")
        name = rest.partition("/")[0]
        if name in _NEW and f"{group}/{name}" not in known:
            place.remove(key)
    for name, member in known.items():
        if "/" not in name:
            own = json.loads(place.read(f"{name}/zarr.json"))
            if own["attributes"] != member["attributes"]:
                own["attributes"] = member["attributes"]
                place.write(f"{name}/zarr.json", [json.dumps(own, indent=2).encode()])


def _add(store: str | Path, meta: dict[str, Any], hold: Hold, progress: Callable[[int, int], None]) -> None:
    place = place_of(store)
    root = layout.open_root(store, "r+")
    names = layout.biome_groups(root)
    sealed: dict[str, str] = {}
    total = sum(-(-writer.array_of(layout.group_of(root, name), "status").shape[0]
                  // writer.array_of(layout.group_of(root, name), "status").chunks[0]) for name in names)
    done = 0
    for name in names:
        group = layout.open_biome(store, name, "r+")
        known = layout.group_of(root, name)
        formats = writer.formats(store, known)
        dynamic = writer.columns_of(known)
        fixed: dict[str, np.ndarray] = {}
        for key, array in known.arrays():
            if key in formats or key in dynamic:
                continue
            values = np.asarray(array[...])
            sealed[f"{name}/{key}"] = digests.of_values(values)
            if array.metadata.dimension_names == ("tile",):  # type: ignore[union-attr]
                fixed[key] = values
            # Chunks of nothing but zeros were left out.
            array.with_config({"write_empty_chunks": True})[...] = values
        status = writer.statuses(known)
        shard = writer.array_of(known, "status").chunks[0]
        hold.check()
        made = layout.add_digest_arrays(group, fixed, list(formats), len(status), shard)
        sealed |= made
        rows = [str(row) for row in digests.of_rows(fixed)]
        for start in range(0, len(status), shard):
            stop = min(start + shard, len(status))
            if (status[start:stop] != layout.PENDING).any():
                _shard(known, formats, dynamic, start, stop, rows)
            done += 1
            progress(done, total)
        own = json.loads(place.read(f"{name}/zarr.json"))
        own["attributes"]["coordinates"] += f" {digests.ROW}"
        place.write(f"{name}/zarr.json", [json.dumps(own, indent=2).encode()])
        members = meta["consolidated_metadata"]["metadata"]
        members[name]["attributes"] = own["attributes"]
        for key in _NEW:
            members[f"{name}/{key}"] = json.loads(place.read(f"{name}/{key}/zarr.json"))
    # As zarr orders them: it takes the members of a group to lie together.
    members = meta["consolidated_metadata"]["metadata"]
    meta["consolidated_metadata"]["metadata"] = {
        name: members[name] for name in sorted(members, key=_depth_and_name)}
    if meta["attributes"].get("earth") == "embedded-earth":
        meta["attributes"].setdefault("earth_version", FIRST_BUILD)
    seal.close(meta, sealed)
    hold.check()
    place.write("zarr.json", [seal.to_bytes(meta)])
    tables.finish(store, hold.check)


def _depth_and_name(name: str) -> tuple[int, str]:
    return name.count("/"), name


def _shard(group: zarr.Group, formats: dict[str, ShardFormat], dynamic: tuple[str, ...], start: int, stop: int,
           rows: list[str]) -> None:
    """The digests of a shard's tiles, and the chunks of its columns that were left out."""
    columns = {name: np.asarray(writer.array_of(group, name)[start:stop]) for name in dynamic}
    packed = {name: form.read(start // form.tiles) for name, form in formats.items()}

    def digest(row: int) -> list[str]:
        own = rows[start + row]
        values = {name: column[row] if column.ndim > 1 or column.dtype.kind in "iuf" else str(column[row])
                  for name, column in columns.items()}
        if int(columns["status"][row]) == layout.PENDING:
            return [""] * (len(formats) + 1)
        return [digests.of_outcome(own, values), *(
            "" if packed[name][row] is None else digests.of_array(own, name, form.unpack(packed[name][row]))
            for name, form in formats.items())]

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        found = np.array(list(pool.map(digest, range(stop - start))), object)
    new = zarr.open_array(group.store, path=f"{group.path}/{digests.DIGESTS}", mode="r+", zarr_format=3)
    new.with_config({"write_empty_chunks": True})[start:stop] = found
    for name, values in columns.items():
        writer.array_of(group, name).with_config({"write_empty_chunks": True})[start:stop] = values
