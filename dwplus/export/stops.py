"""What stopped a run, in a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import DwplusError, StopError
from dwplus.store.places import BucketError
from dwplus.store.stops import gone_of, stopped


def stop_of(store: str | Path, error: Exception) -> DwplusError | None:
    """What stopped a run, in a sentence; None for what nobody foresaw."""
    if isinstance(error, StopError):
        return error
    if (gone := gone_of(store)) is not None:
        return gone
    if isinstance(error, DwplusError):
        return error
    return stopped(store, error) if isinstance(error, OSError | BucketError) else None


def size_words(size: float) -> str:
    """Bytes in the unit people would use."""
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= each:
            return f"{size / each:.1f} {unit}"
    return f"{size:.0f} bytes"
