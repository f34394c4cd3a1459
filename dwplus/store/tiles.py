"""Tiles for training: read at random places by as many threads as one likes, each three reads and three unpackings.

A shard's index is read and checked once and kept (256 bytes for 16 tiles); a tile is then one read at a known place for
each array, a checksum, and an unpacking that lets other threads run. There is no pool, no cache of pixels and no copy,
so memory stays flat. Of a store in a bucket or on a web server the same bytes are fetched, by as many threads as read:
there it is the number of threads that makes the speed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dwplus.errors import InputError
from dwplus.store import layout, writer
from dwplus.store.places import Bucket, Folder
from dwplus.store.shards import DamageError, ShardFormat
from dwplus.store.web import Web, source_of

#: Shard files kept open at a time; three make a shard.
OPEN_FILES = 192


class Pixels(NamedTuple):
    """A tile as stored: s2 uint16 (band, y, x), s1 int16 or float32 (band, y, x), label uint8 (y, x)."""

    s2: np.ndarray
    s1: np.ndarray
    label: np.ndarray


class _Shard:
    """An open shard file and its index; closed when nobody holds it any more."""

    def __init__(self, form: ShardFormat, number: int) -> None:
        self.file = -1
        try:
            self.file = os.open(form.path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.places: list[tuple[int, int] | None] = [None] * form.tiles
            return
        size = os.fstat(self.file).st_size
        self.places = form.index(os.pread(self.file, form.index_bytes, max(0, size - form.index_bytes)), size)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self.file, length, offset)

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


class _RemoteShard:
    """The index of a shard in a bucket or on a web server; a tile is one request."""

    def __init__(self, place: Bucket | Web, form: ShardFormat, number: int) -> None:
        self.place, self.key = place, form.key(number)
        try:
            self.places = form.index(*place.tail(self.key, form.index_bytes))
        except FileNotFoundError:
            self.places = [None] * form.tiles

    def read(self, offset: int, length: int) -> bytes:
        return self.place.part(self.key, offset, length)


def _open_shard(form: ShardFormat, number: int) -> _Shard | _RemoteShard:
    place = source_of(form.folder)
    return _Shard(form, number) if isinstance(place, Folder) else _RemoteShard(place, form, number)


class TileReader:
    """Reads tiles of a store; safe for threads, picklable, and with no threads of its own that a fork would lose.

    A shard that is written again while it is open is read as it was; another reader sees the new one.

    Parameters
    ----------
    store : folder, or URL (s3, gs, http, https), of a store.

    Raises
    ------
    InputError
        Where there is no store.
    """

    def __init__(self, store: str | Path) -> None:
        self.store = str(store)
        root = layout.open_root(store)
        self._formats: dict[str, dict[str, ShardFormat]] = {
            name: writer.formats(store, root[name]) for name in layout.biome_groups(root)}  # type: ignore[arg-type]
        self._open: OrderedDict[tuple[str, str, int], _Shard | _RemoteShard] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "_formats": self._formats}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open, self._lock = OrderedDict(), threading.Lock()

    def shapes(self, group: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of a tile, by array."""
        return {name: (form.shape, form.dtype) for name, form in self._formats[group].items()}

    def _shard(self, group: str, name: str, number: int) -> _Shard | _RemoteShard:
        key = group, name, number
        with self._lock:
            if (found := self._open.get(key)) is not None:
                self._open.move_to_end(key)
                return found
        found = _open_shard(self._formats[group][name], number)
        with self._lock:
            found = self._open.setdefault(key, found)
            while len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        return found

    def read(self, group: str, index: int, into: Pixels | None = None) -> Pixels:
        """A tile.

        Parameters
        ----------
        group : ``biome_NN``. index : place along its first axis.
        into : arrays to fill, contiguous and of the store's types; None makes new ones.

        Raises
        ------
        InputError
            Where its bytes are damaged or cannot be read.
        """
        found = []
        for place, name in enumerate(Pixels._fields):
            form = self._formats[group][name]
            number, row = divmod(index, form.tiles)
            out = None if into is None else into[place]
            try:
                shard = self._shard(group, name, number)
                span = shard.places[row]
                packed = None if span is None else shard.read(*span)
                found.append(form.unpack(packed, out))
            except (DamageError, OSError) as error:
                raise InputError(f"store {self.store}: {group}/{name} tile {index}: {error}; run dwplus verify "
                                 f"{self.store}") from None
        return Pixels(*found)


def tensorstore_array(store: str | Path, name: str) -> Any:
    """An array of a store as a ``tensorstore.TensorStore``, opened for reading.

    Parameters
    ----------
    store : folder or URL. name : such as ``biome_04/s2``.
    """
    import tensorstore

    place = source_of(store)
    kvstore: dict[str, Any]
    if isinstance(place, Folder):
        kvstore = {"driver": "file", "path": f"{place.path.absolute()}/{name}/"}
    elif isinstance(place, Web):
        kvstore = {"driver": "http", "base_url": f"{place.url}/{name}/"}
    else:
        kvstore = {"driver": {"s3": "s3", "gs": "gcs"}[place.scheme], "bucket": place.bucket,
                   "path": f"{place.prefix}/{name}/"}
        if place.scheme == "s3":
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            kvstore |= {key: value for key, value in (("endpoint", os.environ.get("AWS_ENDPOINT_URL")),
                                                      ("aws_region", region)) if value}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True, read=True).result()
