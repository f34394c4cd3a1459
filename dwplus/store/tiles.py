"""Tiles for training: read at random places by as many threads as one likes, each three reads and three unpackings.

A shard's index is read and checked once and kept (256 bytes for 16 tiles); a tile is then one read at a known place for
each array, a checksum, and an unpacking that lets other threads run. There is no pool, no cache of pixels and no copy,
so memory stays flat. Stores on this machine's file systems only; others are read with :func:`dwplus.open_store`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dwplus.errors import InputError
from dwplus.store import layout, writer
from dwplus.store.shards import DamageError, ShardFormat

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
        self.places = form.read_index(self.file)

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


class TileReader:
    """Reads tiles of a store; safe for threads, picklable, and with no threads of its own that a fork would lose.

    A shard that is written again while it is open is read as it was; another reader sees the new one.

    Parameters
    ----------
    store : folder of a store.

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
        self._open: OrderedDict[tuple[str, str, int], _Shard] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "_formats": self._formats}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open, self._lock = OrderedDict(), threading.Lock()

    def shapes(self, group: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of a tile, by array."""
        return {name: (form.shape, form.dtype) for name, form in self._formats[group].items()}

    def _shard(self, group: str, name: str, number: int) -> _Shard:
        key = group, name, number
        with self._lock:
            if (found := self._open.get(key)) is not None:
                self._open.move_to_end(key)
                return found
        found = _Shard(self._formats[group][name], number)
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
        return Pixels(*(self.array(group, name, index, None if into is None else into[place])
                        for place, name in enumerate(Pixels._fields)))

    def array(self, group: str, name: str, index: int, into: np.ndarray | None = None) -> np.ndarray:
        """One array of a tile, also those that only triplets have: ``cloud``, ``s2_clear``; as :meth:`read`."""
        form = self._formats[group][name]
        number, row = divmod(index, form.tiles)
        try:
            shard = self._shard(group, name, number)
            span = shard.places[row]
            return form.unpack(None if span is None else os.pread(shard.file, span[1], span[0]), into)
        except (DamageError, OSError) as error:
            raise InputError(f"store {self.store}: {group}/{name} tile {index}: {error}; run dwplus verify "
                             f"{self.store}") from None
