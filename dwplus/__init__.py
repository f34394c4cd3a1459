"""Dynamic World+, rebuilt for any dates, anywhere: labels paired with Sentinel-1 and Sentinel-2, as Zarr."""

# No `from __future__ import annotations` here: it would make `annotations` a name of this module.
from typing import TYPE_CHECKING

from dwplus.runtime import names as _names

if TYPE_CHECKING:
    from dwplus import errors, grid, spec, taxonomy
    from dwplus.earth.session import connect
    from dwplus.export.run import export as export_plan
    from dwplus.planning.plan import make_plan
    from dwplus.store.reader import open_store, tile
    from dwplus.store.verify import verify

__version__ = _names.VERSION
__all__ = ["__version__", "connect", "errors", "export_plan", "grid", "make_plan", "open_store", "spec", "taxonomy",
           "tile", "verify"]

# xarray and the rest are imported when they are used: `dwplus --help` should not wait for them.
__getattr__ = _names.lazy(__name__, {
    "connect": "dwplus.earth.session", "errors": "dwplus.errors", "export_plan": "dwplus.export.run:export",
    "grid": "dwplus.grid", "make_plan": "dwplus.planning.plan", "open_store": "dwplus.store.reader",
    "spec": "dwplus.spec", "taxonomy": "dwplus.taxonomy", "tile": "dwplus.store.reader",
    "verify": "dwplus.store.verify"})
_names.install()


def __dir__() -> list[str]:
    return __all__
