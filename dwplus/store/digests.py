"""Digests that bind bytes to tiles: of every tile's fixed row, of what became of it, and of each of its arrays.

XXH3 with 128 bits: 0.2 ms for a tile of 6.5 MB, where BLAKE2b takes 12 and SHA-256 5 ms
(``python -m benchmarks.bench_verify``). It finds what disks, copies and people do by mistake; it is no signature.

Everything that is hashed begins with the tile's own row: the same pixels under another name, place or date have other
digests. The split is not part of it, for that may change while the pixels stay.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

ALGORITHM = "xxh3_128"
#: Column of a group that holds the digest of each tile's row; the column of the others, and their names.
ROW, DIGESTS, NAMES = "tile_digest", "digest", "digested"
#: Name of the digest of what became of a tile: status, reason, counts, fractions.
OUTCOME = "outcome"
#: Columns of a tile that may change after it was made, and the digest itself.
FREE = frozenset({"split", ROW})


def _new(*parts: str) -> xxhash.xxh3_128:
    found = xxhash.xxh3_128()
    for part in parts:
        found.update(_text(part))
    return found


def _text(value: str) -> bytes:
    """Text with its length before it, so that no two rows of texts read alike."""
    raw = value.encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(raw)) + raw


def of_values(values: np.ndarray) -> str:
    """Digest of a whole array: its type, shape and values, in hexadecimal. Text is hashed as UTF-8."""
    if values.dtype.kind in "OUT":
        found = _new("text", str(values.shape))
        for value in values.ravel().tolist():
            found.update(_text(str(value)))
        return str(found.hexdigest())
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    found = _new(plain.dtype.str, str(plain.shape))
    found.update(plain.data.cast("B") if plain.ndim and plain.size else b"")
    return str(found.hexdigest())


def of_json(value: Any) -> str:
    """Digest of what JSON can hold, whatever the order of its keys."""
    return str(_new(json.dumps(value, sort_keys=True, ensure_ascii=True)).hexdigest())


def of_rows(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Digest of each tile's row, text (tile,).

    Parameters
    ----------
    columns : what is fixed when a store is made, by name, each (tile,); those of :data:`FREE` are left out.
    """
    names = sorted(set(columns) - FREE)
    parts = []
    for name in names:
        values = np.asarray(columns[name])
        if values.dtype.kind in "OUT":
            parts.append([_text(str(value)) for value in values.tolist()])
        else:
            plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            raw, size = plain.tobytes(), plain.dtype.itemsize
            parts.append([raw[i:i + size] for i in range(0, len(raw), size)])
    head = b"".join(map(_text, names))
    return np.array([xxhash.xxh3_128_hexdigest(head + b"".join(row)) for row in zip(*parts, strict=True)], object)


def of_array(row: str, name: str, pixels: np.ndarray) -> str:
    """Digest of one array of a tile, of its decoded values.

    Parameters
    ----------
    row : digest of the tile's row.
    """
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    found = _new(row, name, plain.dtype.str, str(plain.shape))
    found.update(plain.data.cast("B") if plain.ndim and plain.size else b"")
    return str(found.hexdigest())


def of_outcome(row: str, values: Mapping[str, Any]) -> str:
    """Digest of what became of a tile.

    Parameters
    ----------
    row : digest of the tile's row. values : the columns that follow the pixels, but for the digests, by name.
    """
    found = _new(row)
    for name in sorted(set(values) - {DIGESTS}):
        value = values[name]
        found.update(_text(name))
        found.update(_text(value) if isinstance(value, str) else np.asarray(value, _kind(name)).tobytes())
    return str(found.hexdigest())


@functools.cache
def _kind(name: str) -> str:
    """Type in which a column's value is hashed: the store's own."""
    return {"status": "u1", "class_counts": "<i4", "stratum": "i1"}.get(name, "<f4")


def names_of(arrays: Sequence[str]) -> tuple[str, ...]:
    """Names along the second axis of the column of digests."""
    return (OUTCOME, *arrays)
