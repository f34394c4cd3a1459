"""Geometries: shapes in a CRS, with edges that are geodesics or straight lines."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
import shapely.geometry

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.grid import Projection, canonical_crs, invert, is_geographic, transformer

_GEOD = pyproj.Geod(ellps="WGS84")
#: Metres that a straight line may stray from the edge it stands for; the service's usual ``maxError``.
STRAY = 1.0
#: Degrees between the vertices of planar edges that are projected: 1 m off at 45 degrees of latitude.
_STEP = 0.05
#: Vertices that one shape may get; with more, edges are drawn less closely.
_MOST_VERTICES = 1_000_000


def bent(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of a line, with vertices along its geodesics as close as they must be.

    Edges over half the globe or more are left as they are: which way round they go is not said.
    """
    x, y = np.asarray(x, "f8"), np.asarray(y, "f8")
    if len(x) < 2:
        return x, y
    across = np.abs(np.diff(x))
    wide, tall = np.radians(across), np.radians(np.abs(np.diff(y)))

    def strays(wide: Any, tall: Any, sine: Any, cosine: Any) -> Any:
        """How far the middle of a straight edge lies from the geodesic's, metres: the edge's geodesic curvature."""
        return _GEOD.a / 8 * wide * sine * np.hypot(cosine * wide, 2 * tall)

    if strays(wide.max(), tall.max(), math.sin(math.radians(min(90.0, np.abs(y).max()))), 1.0) < STRAY:
        return x, y  # as nearly all shapes: footprints have many vertices
    top = np.radians(np.minimum(np.maximum(np.abs(y[:-1]), np.abs(y[1:])), 90.0))
    low = np.radians(np.minimum(np.abs(y[:-1]), np.abs(y[1:])))
    stray = np.where(across < 180, strays(wide, tall, np.sin(top), np.cos(low)), 0)
    edges = np.nonzero((stray > STRAY) & (np.maximum(np.abs(y[:-1]), np.abs(y[1:])) <= 90))[0]
    if not len(edges):
        return x, y
    more = np.minimum(np.ceil(np.sqrt(stray[edges] / STRAY)), max(2, _MOST_VERTICES // len(edges))).astype(int) - 1
    azimuth, _, metres = _GEOD.inv(x[edges], y[edges], x[edges + 1], y[edges + 1])
    index = np.repeat(np.arange(len(edges)), more)
    part = (np.arange(len(index)) - np.repeat(np.cumsum(more) - more, more) + 1) / np.repeat(more + 1, more)
    start = edges[index]
    lon, lat, _ = _GEOD.fwd(x[start], y[start], azimuth[index], metres[index] * part)
    straight = x[start] + part * (x[start + 1] - x[start])
    lon = np.asarray(lon) + 360 * np.round((straight - lon) / 360)
    return np.insert(x, start + 1, lon), np.insert(y, start + 1, lat)


@functools.lru_cache(maxsize=16_384)
def _followed(wkb: bytes) -> shapely.Geometry:
    """A shape with vertices along its geodesics; kept, for a collection's footprints are asked for again and again."""
    return shapely.transform_coordseq(shapely.from_wkb(wkb), bent, interleaved=False)


@dataclass(frozen=True)
class Geometry:
    """A shape in a CRS. In EPSG:4326 edges are geodesics where ``geodesic`` says so; all others are straight."""

    shape: shapely.Geometry
    crs: str = "EPSG:4326"
    geodesic: bool = True

    @functools.cached_property
    def _along(self) -> shapely.Geometry:
        """The shape with vertices along its edges."""
        if self.crs == "EPSG:4326" and self.geodesic:
            if shapely.get_dimensions(self.shape) == 0:
                return self.shape
            return _followed(shapely.to_wkb(self.shape))
        return shapely.segmentize(self.shape, _STEP) if is_geographic(self.crs) else self.shape

    def drawn(self, crs: str) -> shapely.Geometry:
        """The shape for a plane: straight lines in ``crs`` that follow its edges."""
        crs = canonical_crs(crs)
        if crs == self.crs:
            return self._along if self.geodesic else self.shape
        return shapely.transform(self._along, transformer(self.crs, crs).transform, interleaved=False)

    def to(self, crs: str) -> Geometry:
        """The shape in another CRS."""
        crs = canonical_crs(crs)
        return self if crs == self.crs else Geometry(self.drawn(crs), crs, crs == "EPSG:4326")

    @property
    def degrees(self) -> shapely.Geometry:
        """The shape's vertices in longitude and latitude."""
        return self.to("EPSG:4326").shape

    @functools.cached_property
    def plane(self) -> shapely.Geometry:
        """The shape, as an area where it is a closed ring, for a plane of longitudes and latitudes."""
        return polygon_of(self.drawn("EPSG:4326"))

    def json(self) -> dict[str, Any]:
        """GeoJSON, as the service prints it; not to be changed by who asks."""
        return self._json

    @functools.cached_property
    def _json(self) -> dict[str, Any]:
        shape = self.to("EPSG:4326")
        out = _plain(shapely.geometry.mapping(shape.shape))
        if not shape.geodesic:
            out["geodesic"] = False
        return out


def _plain(mapping: Any) -> Any:
    if isinstance(mapping, dict):
        return {key: _plain(value) for key, value in mapping.items()}
    return [_plain(v) for v in mapping] if isinstance(mapping, tuple | list) else mapping


def geometry_of(mapping: dict[str, Any], crs: str = "EPSG:4326", geodesic: bool = True) -> Geometry:
    """A GeoJSON geometry.

    Raises
    ------
    ComputeError
        Where it is none.
    """
    try:
        return Geometry(shapely.geometry.shape(mapping), crs, geodesic)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
        raise ComputeError(f"Geometry: invalid GeoJSON geometry ({error}).") from error


def polygon_of(shape: shapely.Geometry) -> shapely.Geometry:
    """A footprint as an area: closed rings, which is how footprints are kept, become polygons."""
    if shape.geom_type == "LinearRing" or (shape.geom_type == "LineString" and shape.is_closed
                                           and len(shape.coords) >= 4):
        return shapely.Polygon(shape.coords)
    return shape


def combinable(shapes: Sequence[Geometry]) -> tuple[list[shapely.Geometry], bool]:
    """Shapes in degrees for unions and the like; the result's edges are geodesics where all of theirs are."""
    geodesic = all(shape.geodesic for shape in shapes)
    return [polygon_of(shape.degrees if geodesic else shape.drawn("EPSG:4326")) for shape in shapes], geodesic


def meet(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Whether two shapes in degrees intersect, on a world that wraps."""
    west, _, east, _ = one.bounds if not one.is_empty else (0, 0, 0, 0)
    if one.is_empty or other.is_empty:
        return False
    for shift in (0.0, 360.0, -360.0):
        left, _, right, _ = other.bounds
        if right + shift < west or left + shift > east:
            continue
        moved = other if shift == 0 else shapely.transform(other, lambda xy, s=shift: xy + (s, 0.0))
        if shapely.intersects(one, moved):
            return True
    return False


def lattice_bounds(local: shapely.Geometry, own: Projection) -> tuple[float, float, float, float]:
    """Bounds of a shape (in the projection's CRS) in its pixels: left, top, right, bottom."""
    ia, ib, ic, id_, ie, if_ = invert(own.transform)
    xy = shapely.get_coordinates(local)
    col, row = ia * xy[:, 0] + ib * xy[:, 1] + ic, id_ * xy[:, 0] + ie * xy[:, 1] + if_
    return float(col.min()), float(row.min()), float(col.max()), float(row.max())
