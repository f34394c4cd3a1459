"""What stopped a run, in a sentence that says what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from dwplus.errors import DwplusError, StopError
from dwplus.store import writer
from dwplus.store.places import ROOT, BucketError, Folder, place_of, words_of

#: What an operating system says of files that may not be changed.
READ_ONLY = (errno.EROFS, errno.EPERM, errno.EACCES)


def gone_of(store: str | Path) -> StopError | None:
    """What to say of a store's folder that was moved or removed while a run writes it; None where it is there."""
    place = place_of(store)
    if not isinstance(place, Folder) or (place.path / ROOT).is_file():
        return None
    return StopError(f"store {store}: is not there any more; it was moved or removed while this run wrote it: move it "
                     "back and run the same command again, what is exported stays")


def stop_of(store: str | Path, error: Exception) -> DwplusError | None:
    """What stopped a run, in a sentence; None for what nobody foresaw."""
    if isinstance(error, StopError):
        return error
    if (gone := gone_of(store)) is not None:
        return gone
    if isinstance(error, DwplusError):
        return error
    if isinstance(error, BucketError):
        return StopError(f"store {store}: cannot be reached ({words_of(error)}); run the same command again when it "
                         "can, what is exported stays")
    if not isinstance(error, OSError):
        return None
    words = error.strerror or str(error)
    if error.errno in writer.FULL:
        return StopError(f"store {store}: the disk is full ({words}); free some space and run the same command again, "
                         "what is exported stays")
    if error.errno in READ_ONLY:
        return StopError(f"store {store}: cannot be written any more ({words}: {error.filename or 'its files'}); make "
                         "it writable and run the same command again, what is exported stays")
    return StopError(f"store {store}: {words} ({error.filename or 'its files'}); run the same command again when the "
                     "disk is well, what is exported stays")


def size_words(size: float) -> str:
    """Bytes in the unit people would use."""
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= each:
            return f"{size / each:.1f} {unit}"
    return f"{size:.0f} bytes"
