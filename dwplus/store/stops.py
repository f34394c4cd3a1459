"""What stopped a writer of a store, in a sentence that says what to do. Said once, for exports, copies and tables."""

from __future__ import annotations

import errno
from pathlib import Path

from dwplus.errors import StopError
from dwplus.store.places import ROOT, BucketError, Folder, place_of, words_of

#: What an operating system says when there is no room: disk, quota, or the largest size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What it says of files that may not be changed.
READ_ONLY = (errno.EROFS, errno.EPERM, errno.EACCES)
_GO_ON = "run the same command again, what is exported stays"


def gone_of(store: str | Path) -> StopError | None:
    """What to say of a store's folder that was moved or removed while a run writes it; None where it is there, and of
    a bucket, which is not asked."""
    place = place_of(store)
    if not isinstance(place, Folder) or (place.path / ROOT).is_file():
        return None
    return StopError(f"store {store}: is not there any more; it was moved or removed while this run wrote it: move it "
                     f"back and {_GO_ON}")


def check_there(store: str | Path) -> None:
    """Refuse to write into a store that was removed meanwhile: zarr would make its folders anew.

    Raises
    ------
    StopError
        Where its folder is gone.
    """
    if (gone := gone_of(store)) is not None:
        raise gone


def stopped(store: str | Path, error: OSError | BucketError) -> StopError:
    """What to raise where a store cannot be written any more."""
    if isinstance(error, BucketError):
        return StopError(f"store {store}: cannot be reached ({words_of(error)}); run the same command again when it "
                         "can, what is exported stays")
    if isinstance(error, FileNotFoundError) and (gone := gone_of(store)) is not None:
        return gone
    words, where = error.strerror or str(error), error.filename or "its files"
    if error.errno in FULL:
        return StopError(f"store {store}: the disk is full ({words}); free some space and {_GO_ON}")
    if error.errno in READ_ONLY:
        return StopError(f"store {store}: cannot be written any more ({words}: {where}); make it writable and {_GO_ON}")
    return StopError(f"store {store}: {words} ({where}); run the same command again when the disk is well, what is "
                     "exported stays")
