"""Who may write: one run a store, one process a shard. The kernel drops a lock with the process that held it.

Locks are byte ranges of one file in ``STORE.run``, the folder beside the store for what a run leaves behind that is no
data. Of a store with several names (symbolic links, relative paths, a URL with the service's host) it lies beside the
one place they mean. Locks hold between processes of one machine, and between machines on a file system that shares
them (NFS 4, Lustre and GPFS do). In a bucket they are leases, see :mod:`dwplus.store.leases`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dwplus.errors import InputError, StopError
from dwplus.store import leases
from dwplus.store.places import Bucket, Folder, beside, place_of

#: First byte of the locks, far beyond the text of the file; the run's own is the first.
_RUN, _SHARDS = 1 << 40, 1 << 41
#: Seconds to wait for another process that still writes a shard: it may finish what a killed run had begun.
SHARD_SECONDS = 900.0


@dataclass(frozen=True)
class Hold:
    """A store that is held.

    Attributes
    ----------
    place : for lock, ledger and log of a store's runs, beside it.
    check : raises StopError where the hold was lost, which can happen to a bucket's.
    """

    place: Folder | Bucket
    check: Callable[[], None] = lambda: None


def run_place(store: str | Path) -> Folder | Bucket:
    """Where lock, ledger and log of a store's runs lie."""
    return beside(store, ".run")


def _try(file: int, position: int) -> bool:
    # Locks of the open file, not of the process: threads of one process exclude each other too.
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, position, 1, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _still(file: int, path: Path, store: str | Path) -> Callable[[], None]:
    """A check that the open file is the one that others find: one that was removed locks nobody out."""
    def check() -> None:
        try:
            same = os.path.samestat(os.fstat(file), os.stat(path))
        except FileNotFoundError:
            same = False
        except OSError:  # a file system that stutters says nothing about the lock
            same = True
        if not same:
            raise StopError(f"store {store}: its lock {path} was removed while it was held; nothing more is written, "
                            "run the same command again")

    return check


@contextlib.contextmanager
def only_run(store: str | Path) -> Iterator[Hold]:
    """Hold a store against other runs.

    Raises
    ------
    InputError
        Where another run holds it, or it cannot be written.
    """
    place = run_place(store)
    with _folder_run(store, place.path) if isinstance(place, Folder) else _bucket_run(store, place) as check:
        yield Hold(place, check)


@contextlib.contextmanager
def _folder_run(store: str | Path, folder: Path) -> Iterator[Callable[[], None]]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"store {store}: cannot be written ({error.strerror or error})") from None
    try:
        if not _try(file, _RUN):
            try:
                holder = json.loads(os.pread(file, 4096, 0))
                who = f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
            except (ValueError, KeyError, TypeError):
                who = "another process"
            raise InputError(f"store {store}: another run is writing it ({who}); wait for it, or stop it first")
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(),
                           "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")})
        with contextlib.suppress(OSError):  # who holds it is a courtesy: a full disk must not stop a run that frees it
            os.ftruncate(file, 0)
            os.pwrite(file, text.encode(), 0)
        yield _still(file, folder / "lock", store)
    finally:
        os.close(file)


@contextlib.contextmanager
def _bucket_run(store: str | Path, place: Bucket) -> Iterator[Callable[[], None]]:
    place_of(store).exists()  # a bucket that is not there, or not ours, says so in its own sentence
    try:
        found = leases.take(place, "lock")
    except OSError as error:
        raise InputError(f"store {store}: cannot be written ({error})") from None
    if isinstance(found, dict):
        wait = max(1, round(leases.STALE_SECONDS - found["seconds"]))
        raise InputError(f"store {store}: another run is writing it (process {found['pid']} on {found['host']}, since "
                         f"{found['started']}); wait for it, or stop it first and try again after {wait} s")
    try:
        yield found.check
    finally:
        found.release()


@contextlib.contextmanager
def only_writer(store: str | Path, group: str, start: int) -> Iterator[Callable[[], None]]:
    """Hold one shard; waits for a process of an earlier run that still writes it. Gives :attr:`Hold.check`.

    Raises
    ------
    StopError
        Where that one does not end.
    """
    place = run_place(store)
    deadline = time.monotonic() + SHARD_SECONDS

    def wait(seconds: float) -> None:
        if time.monotonic() > deadline:
            raise StopError(f"store {store}: a worker of an earlier run still writes {group} from tile {start} on; "
                            "stop that worker and run the same command again")
        time.sleep(seconds)

    if isinstance(place, Bucket):
        while isinstance(lease := leases.take(place, f"lock-{group}-{start}"), dict):
            wait(2.0)
        try:
            yield lease.check
        finally:
            lease.release()
        return
    number = (0 if group == "tiles" else int(group.removeprefix("biome_"))) << 32 | start
    path = place.path / "lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _try(file, _SHARDS + number):
            wait(0.2)
        yield _still(file, path, store)
    finally:
        os.close(file)


def sweep(store: str | Path) -> int:
    """Remove the half-written files of killed writers; only for who holds the store. Returns how many there were."""
    place = place_of(store)
    if isinstance(place, Bucket):  # a put is whole or not at all
        return 0
    found = [path for path in place.path.rglob("*.partial") if path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
