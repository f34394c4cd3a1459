"""Where a store lies: a folder, or a bucket of object storage, behind one small interface.

A store is named by a path, a ``file://`` URL, or ``s3://bucket/prefix`` or ``gs://bucket/prefix``. Buckets take their
credentials, region and endpoint from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION, AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT, STORAGE_EMULATOR_HOST; else the
machine's own role.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
import re
import shutil
import time
import urllib.parse
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import obstore
import obstore.store
import zarr
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from zarr.storage import LocalStore, ObjectStore

from dwplus.errors import InputError

#: Object storage that is written and read, by scheme of its URL.
BUCKETS = {"s3": obstore.store.S3Store, "gs": obstore.store.GCSStore}
#: What they raise.
BucketError = BaseError
#: Longest wait for one answer, and for all attempts at it, s: a shard of 50 MB goes up in one request.
REQUEST_SECONDS, PATIENCE_SECONDS = 300, 180
ROOT = "zarr.json"
#: Hosts of the services, which some people put into a URL. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/
#: access-bucket-intro.html and https://cloud.google.com/storage/docs/request-endpoints
_SERVICES = {"s3": (r"s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?",),
             "gs": (r"(?:[a-z0-9-]+-)?storage\.googleapis\.com", r"storage\.cloud\.google\.com")}
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}


class Place(Protocol):
    """A folder of named files, each written whole or not at all. Keys are relative, with slashes."""

    @property
    def name(self) -> str: ...
    def exists(self) -> bool: ...
    def read(self, key: str) -> bytes: ...
    def write(self, key: str, parts: Iterable[bytes | memoryview]) -> None: ...
    def append(self, key: str, text: str) -> None: ...
    def remove(self, key: str) -> None: ...
    def clear(self) -> None: ...
    def files(self) -> dict[str, int]: ...
    def zarr(self, mode: str = "r") -> LocalStore | ObjectStore[Any]: ...


def place_of(store: str | Path) -> Folder | Bucket:
    """The place a store's name means; asks nobody.

    Raises
    ------
    InputError
        For a URL of another scheme, or without a bucket.
    """
    text = str(store)
    if "://" not in text:
        return Folder(Path(text))
    url = urllib.parse.urlsplit(text)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Folder(Path(urllib.parse.unquote(url.path)))
    bucket, parts = _one_spelling(url.scheme, url.netloc, [part for part in url.path.split("/") if part])
    if (url.scheme not in BUCKETS or not bucket or "@" in bucket or not parts or {".", ".."} & set(parts) or url.query
            or url.fragment):
        raise InputError(f"store {text}: must be a folder, file:///path, s3://bucket/prefix or gs://bucket/prefix (to "
                         "read also http(s)://host/path)")
    return Bucket(url.scheme, bucket, "/".join(parts))


def _one_spelling(scheme: str, host: str, parts: list[str]) -> tuple[str, list[str]]:
    """Bucket and parts of the key of a URL that may name the service's host: one store has one name, and one lock.

    ``bucket.s3.eu-west-1.amazonaws.com`` is ``bucket``; behind ``s3.eu-west-1.amazonaws.com``, or the host of the
    endpoint in the environment, the bucket is the first part.
    """
    endpoint = urllib.parse.urlsplit(_endpoint(scheme)).netloc
    for service in (*_SERVICES.get(scheme, ()), *([re.escape(endpoint)] if endpoint else [])):
        if match := re.fullmatch(rf"(?:(?P<bucket>.+)\.)?{service}", host, re.IGNORECASE):
            if match["bucket"]:
                return match["bucket"], parts
            return (parts[0], parts[1:]) if parts else ("", [])
    return host, parts


def beside(store: str | Path, suffix: str) -> Folder | Bucket:
    """The place next to a store, named after it: ``STORE.run`` and its like; the same for all of a store's names."""
    place = resolved(store)
    return replace(place, path=Path(f"{place.path}{suffix}")) if isinstance(place, Folder) else replace(
        place, prefix=f"{place.prefix}{suffix}")


def resolved(store: str | Path) -> Folder | Bucket:
    """The place of a store in one spelling: symbolic links followed, ``..`` and doubled slashes gone.

    Raises
    ------
    InputError
        As :func:`place_of`; where links lead in a circle.
    """
    place = place_of(store)
    if not isinstance(place, Folder):
        return place
    try:
        return Folder(place.path.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle, up to Python 3.12
        raise InputError(f"store {store}: cannot be found ({error})") from None


def companion(store: str | Path, suffix: str) -> Path:
    """The local file or folder that goes with a store: beside a folder's, below ``data`` for a bucket's."""
    place = place_of(store)
    return Path(f"{place.path}{suffix}" if isinstance(place, Folder) else f"data/{Path(place.prefix).name}{suffix}")


def place_of_group(group: zarr.Group) -> Folder | Bucket:
    """The place of the store a group lies in."""
    store = group.store
    if isinstance(store, ObjectStore):
        client: Any = store.store
        scheme = next(name for name, kind in BUCKETS.items() if isinstance(client, kind))
        return Bucket(scheme, client.config["bucket"], str(client.prefix))
    assert isinstance(store, LocalStore)
    return Folder(Path(store.root))


def _forget(file: int) -> None:
    """Let the system reuse the memory that holds a file's pages, which are on the disk already: a long export must not
    push out what others keep there. Its own next shard is the first to reuse it, which on virtual machines whose host
    takes free memory back saves some 4 ms of CPU a tile (``benchmarks.bench_writing``)."""
    if hasattr(os, "posix_fadvise"):  # not on macOS
        with contextlib.suppress(OSError):  # advice that a file system does not take
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True)
class Folder:
    """A place on a file system."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Whether anything is there."""
        return self.path.exists()

    def read(self, key: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError, OSError."""
        return (self.path / key).read_bytes()

    def write(self, key: str, parts: Iterable[bytes | memoryview]) -> None:
        """Write a file whole: to one beside its place, to the disk, and renamed."""
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
                _forget(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def append(self, key: str, text: str) -> None:
        """Add lines to a file, in one write."""
        with (self.path / key).open("a", encoding="utf-8") as file:
            file.write(text)

    def remove(self, key: str) -> None:
        """Remove a file, if it is there."""
        (self.path / key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all that is there."""
        shutil.rmtree(self.path, ignore_errors=True)

    def files(self) -> dict[str, int]:
        """Every file and its size, by key."""
        return {str(f.relative_to(self.path)): f.stat().st_size for f in self.path.rglob("*") if f.is_file()}

    def zarr(self, mode: str = "r") -> LocalStore:
        """For zarr-python and xarray."""
        return LocalStore(self.path, read_only=mode == "r")


@dataclass(frozen=True)
class Bucket:
    """A place in object storage, where a put is atomic by itself."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def name(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"

    @property
    def client(self) -> Any:
        """obstore's client of the bucket; keys carry the prefix."""
        return _client(self.scheme, self.bucket, "")

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}"

    def exists(self) -> bool:
        """Whether a store is there.

        Raises
        ------
        InputError
            Where the bucket is not there, may not be used, or does not answer.
        """
        hasty = _client(self.scheme, self.bucket, "", retries=3)
        try:
            # A missing bucket answers a head like a missing object; a listing tells them apart.
            next(iter(obstore.list(hasty, prefix=self.prefix, chunk_size=1)), None)
            obstore.head(hasty, self._key(ROOT))
        except FileNotFoundError:
            return False
        except BucketError as error:
            raise InputError(f"store {self.name}: the bucket cannot be used ({words_of(error)}); check its name, and "
                             f"credentials and endpoint in the environment ({_VARIABLES[self.scheme]})") from None
        return True

    def read(self, key: str) -> bytes:
        """An object's bytes. Raises FileNotFoundError, OSError."""
        with as_os_error():
            return bytes(obstore.get(self.client, self._key(key)).bytes())

    def write(self, key: str, parts: Iterable[bytes | memoryview]) -> None:
        """Put an object in one request: readers see the old one or the new one. Raises OSError."""
        with as_os_error():
            obstore.put(self.client, self._key(key), b"".join(parts), use_multipart=False)

    def append(self, key: str, text: str) -> None:
        """Objects do not grow: each addition is an object of its own below ``key/``, in the order of time."""
        self.write(f"{key}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}", [text.encode()])

    def remove(self, key: str) -> None:
        """Remove an object, if it is there. Raises OSError."""
        with as_os_error(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self.client, self._key(key))

    def clear(self) -> None:
        """Remove all that is there. Raises OSError."""
        for key in self.files():
            self.remove(key)

    def files(self) -> dict[str, int]:
        """Every object and its size, by key. Raises OSError."""
        start = len(self.prefix) + 1
        with as_os_error():
            return {str(meta["path"])[start:]: int(meta["size"])
                    for page in obstore.list(self.client, prefix=self.prefix) for meta in page}

    def zarr(self, mode: str = "r") -> ObjectStore[Any]:
        """For zarr-python and xarray."""
        return ObjectStore(_client(self.scheme, self.bucket, self.prefix), read_only=mode == "r")

    def tail(self, key: str, length: int) -> tuple[bytes, int]:
        """An object's last bytes, and its size. Raises FileNotFoundError, OSError."""
        with as_os_error():
            return tail_of(self.client, self._key(key), length)

    def part(self, key: str, offset: int, length: int) -> bytes:
        """Some of an object's bytes. Raises FileNotFoundError, OSError."""
        with as_os_error():
            return bytes(obstore.get_range(self.client, self._key(key), start=offset, length=length))

    # ------------------------------------------------------------------------------------------------------ conditions

    def swap(self, key: str, content: bytes, old: dict[str, Any] | None) -> dict[str, Any] | None:
        """Put an object only where none is (``old`` None), or where it still is the one of an earlier answer.

        Returns
        -------
        What the next swap takes as ``old``; None where somebody was faster.
        """
        mode: Any = "create" if old is None else {k: old[k] for k in ("e_tag", "version") if old.get(k)}
        with as_os_error():
            try:
                return dict(obstore.put(self.client, self._key(key), content, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError):
                return None

    def look(self, key: str) -> tuple[bytes, dict[str, Any]] | None:
        """An object with what :meth:`swap` takes as ``old`` and its ``last_modified`` by the server's clock; None where
        there is none."""
        with as_os_error():
            try:
                found = obstore.get(self.client, self._key(key))
            except FileNotFoundError:
                return None
            return bytes(found.bytes()), dict(found.meta)


def tail_of(client: Any, key: str, length: int) -> tuple[bytes, int]:
    """The last bytes of what a client of obstore names by a key, and the size of the whole."""
    found = obstore.get(client, key, options={"range": {"suffix": length}})
    return bytes(found.bytes()), int(found.meta["size"])


_VARIABLES = {"s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
              "gs": "GOOGLE_APPLICATION_CREDENTIALS"}


def words_of(error: BaseException) -> str:
    """What a server said, without the trace around it."""
    text = str(error).split("\n\nDebug source")[0]
    code, message = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S) for tag in ("Code", "Message"))
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    return " ".join(text.split(" - ", 1)[-1].split())[:200]


class as_os_error:
    """Turns what obstore raises into OSError, as files raise it; FileNotFoundError is one already."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, BucketError):
            raise OSError(words_of(error)) from error


def _client(scheme: str, bucket: str, prefix: str, retries: int = 10) -> Any:
    return _made(scheme, bucket, prefix, retries, _endpoint(scheme))


def _endpoint(scheme: str) -> str:
    """The server that the environment names in place of the service; empty for none."""
    return os.environ.get(_ENDPOINTS.get(scheme, ""), "")


@functools.lru_cache(maxsize=32)
def _made(scheme: str, bucket: str, prefix: str, retries: int, endpoint: str) -> Any:
    options: Any = {"timeout": dt.timedelta(seconds=REQUEST_SECONDS)}
    if endpoint.startswith("http://"):
        options["allow_http"] = True  # loopback and private networks; the user wrote it
    config: Any = {}
    if scheme == "gs" and endpoint:  # an emulator asks for no credentials, the client wants some
        config["service_account_key"] = json.dumps({"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "",
                                                    "private_key": "", "private_key_id": ""})
    retry: Any = {"max_retries": retries, "retry_timeout": dt.timedelta(seconds=PATIENCE_SECONDS)}
    try:
        return BUCKETS[scheme](bucket, prefix=prefix or None, config=config, client_options=options,
                               retry_config=retry)
    except BucketError as error:
        raise InputError(f"store {scheme}://{bucket}/{prefix}: {words_of(error)}") from None


def upload(folder: Path, place: Bucket) -> None:
    """Put a folder's files, the root's metadata last: it is what makes a store."""
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (p == folder / ROOT, p)):
        place.write(str(path.relative_to(folder)), [path.read_bytes()])

