"""What a store was made with, under seal: a digest of every metadata file and every fixed column, in the root.

The seal is written when a store is made, and anew by whoever holds the store and changes what lies under it:
``dwplus split``, ``dwplus stats``, the end of an export. So ``dwplus verify`` finds any other change, whatever it is.
Stores of earlier builds have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dwplus.store import digests

#: Key of the seal in the root's attributes.
KEY = "seal"


def of_metadata(meta: Mapping[str, Any]) -> str:
    """Digest of an array's or a group's ``zarr.json``."""
    return digests.of_json({key: value for key, value in meta.items() if key != "consolidated_metadata"})


def of_root(meta: Mapping[str, Any]) -> str:
    """Digest of the root's ``zarr.json``, but for the seal and the copies of others' metadata."""
    copy = {**meta, "attributes": {key: value for key, value in meta["attributes"].items() if key != KEY}}
    if isinstance(kept := meta.get("consolidated_metadata"), Mapping):
        copy["consolidated_metadata"] = {key: value for key, value in kept.items() if key != "metadata"}
    return digests.of_json(copy)


def close(meta: dict[str, Any], columns: Mapping[str, str]) -> None:
    """Seal a root's metadata in place.

    Parameters
    ----------
    meta : the root's ``zarr.json``, with its consolidated metadata.
    columns : digests of fixed columns that are new or have changed, by path (``biome_04/split``); others stay.
    """
    old = meta["attributes"].get(KEY) or {}
    values = {**old.get("columns", {}), **columns}
    members = meta["consolidated_metadata"]["metadata"]
    meta["attributes"][KEY] = {
        "algorithm": digests.ALGORITHM, "root": of_root(meta),
        "metadata": {name: of_metadata(members[name]) for name in sorted(members)},
        "columns": {name: values[name] for name in sorted(values)}}


def reseal(meta: dict[str, Any], columns: Mapping[str, str] | None = None) -> None:
    """As :func:`close`, for a store that is sealed; one of an earlier build stays without."""
    if KEY in meta["attributes"]:
        close(meta, columns or {})


def to_bytes(meta: Mapping[str, Any]) -> bytes:
    """A root's ``zarr.json`` as bytes.

    Raises
    ------
    ValueError
        Where a number is no JSON.
    """
    return json.dumps(meta, indent=2, allow_nan=False).encode()


def broken(kept: Any, root: Mapping[str, Any], metadata: Mapping[str, Any], columns: Mapping[str, str],
           unread: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What does not fit a seal: path and what is wrong.

    Parameters
    ----------
    kept : the seal. root : the root's ``zarr.json``. metadata : those of groups and arrays, by path.
    columns : digests of the fixed columns. unread : columns that could not be read, which were said already.
    """
    try:
        algorithm, sealed, arrays, values = kept["algorithm"], kept["root"], kept["metadata"], kept["columns"]
        if not isinstance(arrays, dict) or not isinstance(values, dict):
            raise TypeError
    except (KeyError, TypeError):
        yield "zarr.json", "its seal is damaged"
        return
    if algorithm != digests.ALGORITHM:
        yield "zarr.json", f"is sealed with {algorithm!r}, which this version does not know"
        return
    if of_root(root) != sealed:
        yield "zarr.json", "is not what it was when the store was made or last changed by dwplus"
    unread = set(unread)
    for name in sorted(arrays.keys() | metadata.keys()):
        if name not in metadata:
            yield f"{name}/zarr.json", "is missing"
        elif name not in arrays:
            yield f"{name}/zarr.json", "was not there when the store was made"
        elif of_metadata(metadata[name]) != arrays[name]:
            yield f"{name}/zarr.json", "is not what it was when the store was made"
    for name in sorted(values):
        if name in metadata and name not in unread and columns.get(name) != values[name]:
            yield name, "does not hold the values it was made with"
    for name in sorted((columns.keys() | unread) - values.keys()):
        yield name, "is not under the seal"
