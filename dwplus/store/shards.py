"""Shard files by hand: packing one tile, putting a shard together, taking it apart, checking every byte.

The layout is that of Zarr v3's ``sharding_indexed`` codec with one tile a chunk: the packed chunks in the order of the
tiles, then an index of (offset, length) as little-endian uint64, then the crc32c of the index. Each chunk is blosc and
its crc32c. Source: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html. Written by hand
so that a tile is packed as it arrives, by a thread of its own that holds no lock, and tiles that stay are not unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
import zarr

from dwplus.errors import DwplusError, InputError
from dwplus.store.places import place_of
from dwplus.store.web import source_of

_EMPTY = 2**64 - 1
_CRC_BYTES = 4
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}

# Blosc's own threads would fight with ours, and their number must not decide about bytes.
numcodecs.blosc.use_threads = False


class DamageError(DwplusError, ValueError):
    """Bytes of a shard that cannot be what was written; the message says which.

    ``mend`` is the command that helps.
    """

    mend = "verify"


class AbsentError(DamageError):
    """Bytes of an exported tile that are not there: they must be fetched again."""

    mend = "repair"


@dataclass(frozen=True)
class ShardFormat:
    """How an array's tiles are packed.

    Attributes
    ----------
    name : of the array. folder : where its shards lie, a path or a URL.
    shape : of one tile. dtype : of its pixels.
    tiles : tiles a shard has room for.
    fill : value of a pixel that was not written.
    """

    name: str
    folder: str
    shape: tuple[int, ...]
    dtype: np.dtype
    tiles: int
    fill: Any
    codec: str
    level: int
    shuffle: int
    typesize: int
    blocksize: int

    @classmethod
    def of(cls, store: str | Path, array: zarr.Array[Any]) -> ShardFormat:
        """The format of a pixel array.

        Raises
        ------
        InputError
            Where the array is packed in another way than this project packs.
        """
        found: Any = array.metadata.to_dict()
        try:
            (outer,) = found["codecs"]
            sharding = outer["configuration"]
            whole, blosc, crc = sharding["codecs"]
            names = [outer["name"], whole["name"], blosc["name"], crc["name"]]
            index = [codec["name"] for codec in sharding["index_codecs"]]
            if (names != ["sharding_indexed", "bytes", "blosc", "crc32c"] or index != ["bytes", "crc32c"]
                    or sharding.get("index_location", "end") != "end" or sharding["chunk_shape"][0] != 1
                    or tuple(sharding["chunk_shape"][1:]) != array.shape[1:]):
                raise ValueError(str(names))
            c = blosc["configuration"]
            return cls(array.basename, f"{source_of(store).name}/{array.path}", array.shape[1:], array.dtype,
                       array.shards[0] if array.shards else 1, array.fill_value, c["cname"], c["clevel"],
                       _SHUFFLES[c["shuffle"]], c["typesize"], c["blocksize"])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise InputError(f"store {store}: {array.path} is not packed as this version packs tiles ({error}); "
                             "export the plan into a new STORE") from None

    def key(self, shard: int) -> str:
        """The file of a shard, as seen from the array's folder."""
        return "/".join(["c", str(shard), *["0"] * len(self.shape)])

    def path(self, shard: int) -> Path:
        """The file of a shard of a store in a folder."""
        return Path(self.folder, self.key(shard))

    def pack(self, tile: np.ndarray) -> tuple[bytes, bytes] | None:
        """One tile as bytes, packed pixels and their checksum; None where it holds nothing but the fill value."""
        tile = self.stored(tile)
        return None if self.is_empty(tile) else self.packed(tile)

    def stored(self, tile: np.ndarray) -> np.ndarray:
        """A tile in the array's shape and type, little-endian and contiguous."""
        tile = np.ascontiguousarray(tile, self.dtype.newbyteorder("<"))
        if tile.shape != self.shape:
            raise ValueError(f"{self.name}: a tile is {self.shape}, not {tile.shape}")
        return tile

    def is_empty(self, tile: np.ndarray) -> bool:
        """Whether a tile holds nothing but the fill value."""
        return self._is_fill(tile.flat[0]) and self._all_fill(tile)

    def packed(self, tile: np.ndarray) -> tuple[bytes, bytes]:
        """As :meth:`pack`, of a tile as :meth:`stored` gives it, also where it holds nothing but the fill value."""
        packed = numcodecs.blosc.compress(tile.reshape(-1), self.codec.encode(), self.level, self.shuffle,
                                          self.blocksize, self.typesize)
        return packed, _crc(packed)  # joined only on their way to the disk: a copy costs 0.7 ms a tile

    def _is_fill(self, value: Any) -> bool:
        return bool(value == self.fill or (value != value and self.fill != self.fill))

    def _all_fill(self, tile: np.ndarray) -> bool:
        return bool(np.isnan(tile).all() if self.fill != self.fill else (tile == self.fill).all())

    def unpack(self, packed: bytes | memoryview | None, into: np.ndarray | None = None) -> np.ndarray:
        """One tile from its bytes.

        Parameters
        ----------
        into : a contiguous array of the tile's shape and type, little-endian, to fill and return; None makes one.

        Raises
        ------
        DamageError
            Where the checksum does not fit, or the bytes do not give a tile.
        """
        out = np.empty(self.shape, self.dtype.newbyteorder("<")) if into is None else into
        if out.shape != self.shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"{self.name}: a tile is {self.dtype} {self.shape}, not {out.dtype} {out.shape}")
        if packed is None:
            out[...] = self.fill
            return out
        body = self.check(packed)
        try:
            # Blosc's header says how many bytes come out: ask before it writes them.
            if int.from_bytes(body[4:8], "little") != out.nbytes:
                raise DamageError("unpacks to another size")
            numcodecs.blosc.decompress(body, out)
        except (RuntimeError, ValueError) as error:
            raise DamageError(f"cannot be unpacked ({error})") from None
        return out

    def check(self, packed: bytes | memoryview) -> memoryview:
        """The bytes without their checksum.

        Raises
        ------
        DamageError
            Where the checksum does not fit.
        """
        view = memoryview(packed)
        if len(view) < _CRC_BYTES + 16 or _crc(view[:-_CRC_BYTES]) != bytes(view[-_CRC_BYTES:]):
            raise DamageError("checksum does not fit")
        return view[:-_CRC_BYTES]

    def read(self, shard: int) -> list[memoryview | None]:
        """The packed tiles of a shard, None for those that hold fill values; an absent file holds nothing else.

        Raises
        ------
        DamageError
            Where the index does not fit its checksum or the file.
        """
        try:
            content = memoryview(source_of(self.folder).read(self.key(shard)))
        except FileNotFoundError:
            return [None] * self.tiles
        size = 16 * self.tiles
        end = len(content) - size - _CRC_BYTES
        if end < 0:
            raise DamageError(f"file of {len(content)} bytes is too short for its index")
        return [None if span is None else content[span[0]:span[0] + span[1]]
                for span in self._spans(content[end:], end)]

    @property
    def index_bytes(self) -> int:
        """Length of a shard's index, with its checksum."""
        return 16 * self.tiles + _CRC_BYTES

    def index(self, tail: bytes, size: int) -> list[tuple[int, int] | None]:
        """Where the packed tiles of a shard lie: (offset, length), None for those that hold fill values.

        Parameters
        ----------
        tail : the shard's last :attr:`index_bytes`. size : of the whole shard, bytes.

        Raises
        ------
        DamageError
            As :meth:`read`.
        """
        if size < self.index_bytes:
            raise DamageError(f"file of {size} bytes is too short for its index")
        return self._spans(memoryview(tail), size - self.index_bytes)

    def _spans(self, index: memoryview, end: int) -> list[tuple[int, int] | None]:
        """The index with its checksum, taken apart; ``end`` is where it begins in the file."""
        raw = index[:-_CRC_BYTES]
        if _crc(raw) != bytes(index[-_CRC_BYTES:]):
            raise DamageError("checksum of the index does not fit")
        found: list[tuple[int, int] | None] = []
        position = 0
        for offset, length in np.frombuffer(raw, "<u8").reshape(-1, 2).tolist():
            if offset == length == _EMPTY:
                found.append(None)
                continue
            # Tiles lie one after the other without gaps: every byte of the file is under a checksum.
            if offset != position or offset + length > end:
                raise DamageError(f"index points to {offset}..{offset + length}, expected {position}")
            position = offset + length
            found.append((offset, length))
        if position != end:
            raise DamageError(f"{end - position} bytes belong to no tile")
        return found

    def write(self, shard: int, packed: Mapping[int, Sequence[bytes | memoryview]]) -> None:
        """Write a shard whole. ``packed`` holds the parts of each tile by its position in the shard; without any tile
        there is no file."""
        place = place_of(self.folder)
        if not packed:
            place.remove(self.key(shard))
            return
        index = np.full((self.tiles, 2), _EMPTY, "<u8")
        position = 0
        for tile in sorted(packed):
            length = sum(map(len, packed[tile]))
            index[tile] = position, length
            position += length
        place.write(self.key(shard), [*(part for tile in sorted(packed) for part in packed[tile]), index.tobytes(),
                                      _crc(index.tobytes())])


def _crc(data: Any) -> bytes:
    # The C extension takes arrays, not memory views; neither is copied.
    return int(google_crc32c.value(np.frombuffer(data, "u1"))).to_bytes(_CRC_BYTES, "little")
