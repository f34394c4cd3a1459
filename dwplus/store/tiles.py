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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.store import layout, writer
from dwplus.store.columns import TROUBLE
from dwplus.store.places import Bucket, Folder
from dwplus.store.shards import AbsentError, DamageError, ShardFormat
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
            self.spans: list[tuple[int, int] | None] = [None] * form.tiles
            return
        size = os.fstat(self.file).st_size
        self.spans = form.index(os.pread(self.file, form.index_bytes, max(0, size - form.index_bytes)), size)

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
            self.spans = form.index(*place.tail(self.key, form.index_bytes))
        except FileNotFoundError:
            self.spans = [None] * form.tiles

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
    exported : whether only exported tiles are asked for: then what is missing is damage without a look at the tile's
        status. Else tiles that are pending or rejected are read as no data.

    Raises
    ------
    InputError
        Where there is no store.
    """

    def __init__(self, store: str | Path, *, exported: bool = False) -> None:
        self.store, self.exported = str(store), exported
        root = layout.open_root(store)
        self._formats: dict[str, dict[str, ShardFormat]] = {
            name: writer.formats(store, layout.group_of(root, name)) for name in layout.biome_groups(root)}
        self._open: OrderedDict[tuple[str, str, int], _Shard | _RemoteShard] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "exported": self.exported, "_formats": self._formats}

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
        return Pixels(*(self.array(group, name, index, None if into is None else into[number])
                        for number, name in enumerate(Pixels._fields)))

    def array(self, group: str, name: str, index: int, into: np.ndarray | None = None) -> np.ndarray:
        """One array of a tile, also those that only triplets have: ``cloud``, ``s2_clear``; as :meth:`read`."""
        form = self._formats[group][name]
        number, row = divmod(index, form.tiles)
        try:
            shard = self._shard(group, name, number)
            span = shard.spans[row]
            if span is None and (self.exported or self._is_exported(group, index)):
                raise AbsentError("is missing, though the tile was exported")
            return form.unpack(None if span is None else shard.read(*span), into)
        except (DamageError, OSError) as error:
            mend = getattr(error, "mend", DamageError.mend)
            raise InputError(f"store {self.store}: {group}/{name} tile {index}{self._named(group, index)}: {error}; "
                             f"run dwplus {mend} {self.store}") from None

    def formats(self, group: str) -> dict[str, ShardFormat]:
        """How a group's tiles are packed, by array."""
        return self._formats[group]

    def span(self, group: str, name: str, index: int) -> bytes:
        """One array of an exported tile as it is packed, with its checksum, which is not looked at.

        Raises
        ------
        InputError
            Where it is missing or cannot be read.
        """
        number, row = divmod(index, self._formats[group][name].tiles)
        try:
            shard = self._shard(group, name, number)
            if (span := shard.spans[row]) is not None:
                return shard.read(*span)
        except (DamageError, OSError):
            pass  # reading it whole says what is wrong
        self.array(group, name, index)
        raise InputError(f"store {self.store}: {group}/{name} tile {index} is missing; run dwplus repair {self.store}")

    def holds(self, group: str, name: str, index: int) -> bool:
        """Whether an array has bytes of a tile; they are not read.

        Raises
        ------
        DamageError, OSError
            Where the shard's index is damaged or cannot be read.
        """
        number, row = divmod(index, self._formats[group][name].tiles)
        return self._shard(group, name, number).spans[row] is not None

    def _is_exported(self, group: str, index: int) -> bool:
        """A tile's status, asked for where there are no bytes of it."""
        try:
            status = writer.statuses(layout.open_biome(self.store, group), slice(index, index + 1))
        except TROUBLE as error:
            raise AbsentError(f"is missing, and its status cannot be read ({type(error).__name__})") from None
        return bool(status[0] == layout.EXPORTED)

    def _named(self, group: str, index: int) -> str:
        """A tile's name, for a sentence on it; nothing where it cannot be had."""
        try:
            name = str(np.asarray(writer.array_of(layout.open_biome(self.store, group), "tile_id")[index]).item())
        except TROUBLE:
            return ""
        return f" ({name})" if name else ""


def check_presence(store: str | Path, table: pd.DataFrame) -> None:
    """Refuse a store in which bytes of an exported tile are missing; reads each shard's index, and no pixels.

    Parameters
    ----------
    table : of :func:`dwplus.store.reader.tile_table`.

    Raises
    ------
    InputError
        With the first tile and array.
    """
    reader = TileReader(store, exported=True)

    def look(job: tuple[str, str, list[int]]) -> None:
        group, name, rows = job
        for row in rows:
            try:
                there = reader.holds(group, name, row)
            except (DamageError, OSError):
                there = False  # reading it says what is wrong
            if not there:
                reader.array(group, name, row)

    exported = table[table["status"] == "exported"]
    jobs = [(str(group), name, [int(i) for i in rows["index"]]) for group, rows in exported.groupby("group")
            for name in reader.shapes(str(group))]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(look, jobs))


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
