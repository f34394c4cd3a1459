"""What the embedded Earth serves: scenes, collections and tables, behind one small interface.

Two catalogues stand behind it: the procedural planet (:mod:`.planet`) and an asset tree of real rasters
(:mod:`.asset_tree`). The evaluator knows this module only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

#: (west, south, east, north), degrees; west > east where a box crosses the antimeridian.
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class BandSpec:
    """One native band of a stored scene.

    A width of 0 says that there are no pixels: the scene is metadata only.

    ``transform`` is in Earth Engine's order (scaleX, shearX, translateX, shearY, scaleY, translateY) and maps
    pixel corners to CRS units. ``precision`` is ``int``, ``float`` or ``double``; integers carry their range.
    ``pyramid`` says how coarser levels are made: ``mean``, ``mode`` (labels) or ``sample``.
    """

    id: str
    precision: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    minimum: float | None = None
    maximum: float | None = None
    pyramid: str = "mean"


@dataclass(frozen=True)
class Window:
    """A rectangle of native pixels; it never reaches beyond the band."""

    row: int
    col: int
    height: int
    width: int


class Scene(Protocol):
    """One image asset. Properties are plain JSON values; ``system:footprint`` is a GeoJSON dict (LinearRing)."""

    id: str  # full asset id, e.g. COPERNICUS/S1_GRD/S1A_IW_...

    @property
    def bands(self) -> tuple[BandSpec, ...]: ...

    @property
    def properties(self) -> dict[str, Any]: ...  # with system:index, system:time_start (ms), system:footprint

    @property
    def bounds(self) -> Bounds: ...  # of the footprint

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels of bands that share one grid: ``{band: (values (h, w), valid (h, w) bool or None for all)}``.

        Deterministic per pixel: the value of a pixel does not depend on the window or on the other bands asked for.
        Raises :class:`MissingRaster` where the scene is metadata only.
        """
        ...


@dataclass(frozen=True)
class TableFeature:
    """A row of a table asset: a GeoJSON geometry (EPSG:4326) and plain JSON properties."""

    index: str
    geometry: dict[str, Any]
    properties: dict[str, Any] = field(default_factory=dict)


class Catalog(Protocol):
    """Ids are without the ``projects/earthengine-public/assets/`` prefix."""

    def describe(self) -> str:
        """One line for people: what this Earth is."""
        ...

    def asset_type(self, asset_id: str) -> str | None:
        """``IMAGE``, ``IMAGE_COLLECTION``, ``TABLE``, ``FOLDER`` or None."""
        ...

    def children(self, asset_id: str) -> Iterable[str]:
        """Ids of the assets right below a folder (or of the roots for an empty id)."""
        ...

    def image(self, asset_id: str) -> Scene | None: ...

    def scenes(self, collection_id: str, start_ms: float | None = None, end_ms: float | None = None,
               bounds: Bounds | None = None) -> list[Scene] | None:
        """Scenes of a collection, sorted by (system:time_start, system:index); None where it does not exist.

        The limits are hints that let a catalogue skip work: time_start in [start, end), bounds that intersect. The
        answer may hold more than asked for, never less.
        """
        ...

    def table(self, asset_id: str) -> list[TableFeature] | None: ...


class MissingRaster(Exception):
    """Pixels were asked of a scene that is metadata only."""
