"""Dynamic World+, rebuilt for any dates, anywhere: labels paired with Sentinel-1 and Sentinel-2, as Zarr."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "open_store"]


def __getattr__(name: str) -> Any:
    # xarray is imported when it is used: `dwplus --help` should not wait for it.
    if name == "open_store":
        from dwplus.store.reader import open_store

        return open_store
    raise AttributeError(f"module 'dwplus' has no attribute {name!r}")
