"""Stores on a web server, to be read: whoever publishes a folder has published the data set."""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import obstore.store
from obstore.exceptions import NotSupportedError
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from dwplus.errors import InputError
from dwplus.store.places import (
    PATIENCE_SECONDS,
    REQUEST_SECONDS,
    ROOT,
    Bucket,
    BucketError,
    Folder,
    as_os_error,
    place_of,
    tail_of,
    words_of,
)


def source_of(store: str | Path) -> Folder | Bucket | Web:
    """The place a store's name means, to read it: a web server's too.

    Raises
    ------
    InputError
        As :func:`place_of`.
    """
    text = str(store).rstrip("/")
    return Web(text) if re.match(r"https?://[^/?#]+/[^?#]+$", text) else place_of(store)


@dataclass(frozen=True)
class Web:
    """A place on a web server, which can be read only: as little as is needed, where the server knows byte ranges."""

    url: str

    @property
    def name(self) -> str:
        return self.url

    @property
    def client(self) -> Any:
        """obstore's client of the place."""
        return _web_client(self.url)

    def exists(self) -> bool:
        """Whether a store is there.

        Raises
        ------
        InputError
            Where the server does not answer.
        """
        try:
            obstore.head(_web_client(self.url, retries=2), ROOT)
        except FileNotFoundError:
            return False
        except BucketError as error:
            raise InputError(f"store {self.url}: cannot be read ({words_of(error)}); check the URL") from None
        return True

    def read(self, key: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError, OSError."""
        with as_os_error():
            return bytes(obstore.get(self.client, key).bytes())

    def tail(self, key: str, length: int) -> tuple[bytes, int]:
        """A file's last bytes, and its size. Raises FileNotFoundError, OSError."""
        with as_os_error():
            try:
                return tail_of(self.client, key, length)
            except NotSupportedError:
                whole = self.read(key)
                return whole[-length:], len(whole)

    def part(self, key: str, offset: int, length: int) -> bytes:
        """Some of a file's bytes. Raises FileNotFoundError, OSError."""
        with as_os_error():
            try:
                return bytes(obstore.get_range(self.client, key, start=offset, length=length))
            except NotSupportedError:
                return self.read(key)[offset:offset + length]

    def zarr(self, mode: str = "r") -> ObjectStore[Any]:
        """For zarr-python and xarray."""
        return _WholeFiles(self.client, read_only=True)


if TYPE_CHECKING:
    _ZarrStore = ObjectStore[Any]
else:
    _ZarrStore = ObjectStore  # not subscriptable in every version


class _WholeFiles(_ZarrStore):
    """For servers that know no byte ranges, as ``python -m http.server``: the whole file, cut to what was asked for."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        try:
            return await super().get(key, prototype, byte_range)
        except NotSupportedError:
            whole = await super().get(key, prototype)
            return None if whole is None else whole[_slice(byte_range, len(whole))]


def _slice(wanted: ByteRequest | None, size: int) -> slice:
    match wanted:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, size)
        case SuffixByteRequest(suffix):
            return slice(max(0, size - suffix), size)
    return slice(0, size)


@functools.lru_cache(maxsize=64)
def _web_client(url: str, retries: int = 5) -> Any:
    options: Any = {"timeout": dt.timedelta(seconds=REQUEST_SECONDS), "allow_http": url.startswith("http://")}
    retry: Any = {"max_retries": retries, "retry_timeout": dt.timedelta(seconds=PATIENCE_SECONDS)}
    return obstore.store.HTTPStore.from_url(url, client_options=options, retry_config=retry)
