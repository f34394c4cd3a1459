"""Geometries: distances, lengths and areas in metres on the ellipsoid or nearby planes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyproj
import shapely

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.footprints import WORLD
from dwplus.embedded_earth.functions.registry import as_geometry, function
from dwplus.embedded_earth.grid import UNIT, Projection, transformer
from dwplus.embedded_earth.shapes import Geometry, combinable, lattice_bounds, polygon_of
from dwplus.embedded_earth.values import Feature

_GEOD = pyproj.Geod(ellps="WGS84")


@functools.lru_cache(maxsize=64)
def local_plane(lon: float, lat: float) -> pyproj.Transformer:
    """Plane around a point that keeps distances from it."""
    return transformer("EPSG:4326", f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m")


def rectangle_of(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    """A box, its ring from the lower left corner on, as the service writes it."""
    return shapely.Polygon([(west, south), (east, south), (east, north), (west, north)])


def _around(shape: shapely.Geometry) -> tuple[float, float]:
    centre = shape.centroid
    if centre.is_empty:
        raise ComputeError("Geometry: the geometry is empty.")
    return round(centre.x, 3), round(centre.y, 3)


def planar(shape: shapely.Geometry, to: pyproj.Transformer, back: bool = False) -> shapely.Geometry:
    direction = "INVERSE" if back else "FORWARD"
    return shapely.transform(shape, lambda x, y: to.transform(x, y, direction=direction), interleaved=False)


def distance(one: Geometry, other: Geometry, limit: float = math.inf) -> float:
    """Metres between two geometries; infinite where boxes alone show that it exceeds ``limit``."""
    a, b = polygon_of(one.degrees), polygon_of(other.degrees)
    if a.is_empty or b.is_empty:
        return math.inf
    shift = 360 * round((a.centroid.x - b.centroid.x) / 360)
    if shift:
        b = shapely.transform(b, lambda xy: xy + (shift, 0.0))
    if math.isfinite(limit):
        # A degree of latitude is at least 110.5 km; of longitude that times the cosine.
        dy = limit / 110_500 + 0.01
        widest = min(89.0, max(abs(a.bounds[1]), abs(a.bounds[3])) + dy)
        dx = dy / max(0.01, math.cos(math.radians(widest)))
        box = shapely.box(a.bounds[0] - dx, a.bounds[1] - dy, a.bounds[2] + dx, a.bounds[3] + dy)
        if not shapely.intersects(shapely.box(*b.bounds), box):
            return math.inf
        b = shapely.intersection(b if b.is_valid else shapely.make_valid(b), box)
        if b.is_empty:
            return math.inf
    plane = local_plane(*_around(a))
    return float(shapely.distance(planar(a, plane), planar(b, plane)))


def buffer(shape: Geometry, metres: float) -> Geometry:
    """Points within a distance, in a plane around the shape."""
    degrees = polygon_of(shape.degrees)
    plane = local_plane(*_around(degrees))
    return Geometry(planar(shapely.buffer(planar(degrees, plane), metres, quad_segs=16), plane, back=True))


def _on_ellipsoid(shape: Geometry) -> shapely.Geometry:
    """The shape in degrees with vertices between which geodesics follow its edges."""
    return shape.degrees if shape.geodesic else shapely.segmentize(shape.degrees, 0.05)


def area(shape: Geometry) -> float:
    """Square metres on the ellipsoid."""
    polygon = polygon_of(_on_ellipsoid(shape))
    return abs(float(_GEOD.geometry_area_perimeter(shapely.orient_polygons(polygon))[0])) if polygon.area else 0.0


def length(shape: Geometry) -> float:
    """Metres along lines; 0 for areas."""
    degrees = _on_ellipsoid(shape)
    return 0.0 if "Polygon" in degrees.geom_type else float(_GEOD.geometry_length(degrees))


def perimeter(shape: Geometry) -> float:
    """Metres around areas; 0 for lines."""
    degrees = _on_ellipsoid(shape)
    return float(_GEOD.geometry_length(degrees.boundary)) if "Polygon" in degrees.geom_type else 0.0


def bounds(shape: Geometry, projection: Projection | None) -> Geometry:
    """Box around a shape in a projection's coordinates (its CRS and, where it has one, its pixels)."""
    crs = projection.crs if projection is not None else "EPSG:4326"
    local = shape.drawn(crs)
    if local.is_empty:
        raise ComputeError("Geometry.bounds: Geometry has no bounds: it is empty.")
    if projection is None or projection.transform == UNIT:
        return Geometry(rectangle_of(*local.bounds), crs, False)
    left, top, right, bottom = lattice_bounds(local, projection)
    a, b, c, d, e, f = projection.transform
    corners = [(c + i * a + j * b, f + i * d + j * e) for i, j in ((left, bottom), (right, bottom), (right, top),
                                                                   (left, top))]
    return Geometry(shapely.Polygon(corners), crs, False)


def transform(shape: Geometry, projection: Projection) -> Geometry:
    return shape.to(projection.crs)


def simplify(shape: Geometry, metres: float) -> Geometry:
    """Fewer vertices, within a distance."""
    plane = local_plane(*_around(shape.degrees))
    return Geometry(planar(shapely.simplify(planar(shape.degrees, plane), metres), plane, back=True))


def _unary(name: str, run: Callable[[Geometry], Any]) -> None:
    """Register an operation on geometries, and on features: there it returns a feature where it gives a geometry."""
    @function(f"Geometry.{name}")
    def on_geometry(context: Context, shape: Geometry, *_: Any) -> Any:
        return run(shape)

    @function(f"Feature.{name}")
    def on_feature(context: Context, element: Any, *_: Any) -> Any:
        return _onto(element, run(_shape(context, element)))


def _shape(context: Context, element: Any) -> Geometry:
    shape = as_geometry(context, element)
    if shape is None:
        raise ComputeError("Feature: the element has no geometry.")
    return shape


def _onto(element: Any, result: Any) -> Any:
    return Feature(result, element.properties, element.id) if isinstance(result, Geometry) else result


def _planar(run: Callable[[shapely.Geometry], shapely.Geometry]) -> Callable[[Geometry], Geometry]:
    return lambda shape: Geometry(run(polygon_of(shape.shape)), shape.crs, shape.geodesic)


_unary("centroid", lambda shape: _centroid(shape))
_unary("convexHull", _planar(shapely.convex_hull))
_unary("dissolve", _planar(shapely.unary_union))
_unary("area", area)
_unary("length", length)
_unary("perimeter", perimeter)


def _centroid(shape: Geometry) -> Geometry:
    degrees = polygon_of(shape.degrees)
    plane = local_plane(*_around(degrees))
    return Geometry(planar(shapely.centroid(planar(degrees, plane)), plane, back=True))


def _with_argument(name: str, run: Callable[..., Any], position: int) -> None:
    """Register an operation whose argument stands at a position after the geometry (0: first)."""
    @function(f"Geometry.{name}")
    def on_geometry(context: Context, shape: Geometry, *arguments: Any) -> Any:
        return run(shape, arguments[position])

    @function(f"Feature.{name}")
    def on_feature(context: Context, element: Any, *arguments: Any) -> Any:
        return _onto(element, run(_shape(context, element), arguments[position]))


_with_argument("buffer", buffer, 0)
_with_argument("bounds", bounds, 1)
_with_argument("transform", transform, 0)
_with_argument("simplify", lambda shape, margin: simplify(shape, margin.value or 0.0), 0)


def _pair(name: str, run: Callable[[Geometry, Geometry], Any], kept: bool) -> None:
    @function(f"Geometry.{name}")
    def on_geometry(context: Context, left: Geometry, right: Geometry, *_: Any) -> Any:
        return run(left, right)

    @function(f"Feature.{name}")
    def on_feature(context: Context, left: Any, right: Any, *_: Any) -> Any:
        result = run(_shape(context, left), _shape(context, right))
        return _onto(left, result) if kept else result


def _made(shapes: Sequence[shapely.Geometry]) -> list[shapely.Geometry]:
    return [shape if shape.is_valid else shapely.make_valid(shape) for shape in shapes]


def _combined(run: Callable[..., shapely.Geometry]) -> Callable[[Geometry, Geometry], Geometry]:
    def both(left: Geometry, right: Geometry) -> Geometry:
        parts, geodesic = combinable([left, right])
        return Geometry(run(*_made(parts)), "EPSG:4326", geodesic)

    return both


def _related(run: Callable[..., Any]) -> Callable[[Geometry, Geometry], bool]:
    return lambda *pair: bool(run(*_made([polygon_of(shape.drawn("EPSG:4326")) for shape in pair])))


for _name, _run in {"intersection": shapely.intersection, "union": shapely.union, "difference": shapely.difference,
                    "symmetricDifference": shapely.symmetric_difference}.items():
    _pair(_name, _combined(_run), True)
for _name, _run in {"intersects": shapely.intersects, "contains": shapely.covers, "containedIn": shapely.covered_by,
                    "disjoint": shapely.disjoint}.items():
    _pair(_name, _related(_run), False)
_pair("distance", lambda left, right: distance(left, right), False)


@function("Geometry.withinDistance")
def within_distance(context: Context, left: Geometry, right: Geometry, metres: float, *_: Any) -> bool:
    return distance(left, right, metres) <= metres


@function("Geometry.type")
def geometry_type(context: Context, shape: Geometry) -> str:
    return str(shape.shape.geom_type)


@function("Geometry.coordinates")
def coordinates(context: Context, shape: Geometry) -> Any:
    return shape.json().get("coordinates")


@function("Geometry.geometries")
def geometries(context: Context, shape: Geometry) -> list[Geometry]:
    return [Geometry(part, shape.crs, shape.geodesic) for part in shapely.get_parts(shape.shape)]


@function("Geometry.projection")
def projection(context: Context, shape: Geometry) -> Projection:
    return Projection(shape.crs)


@function("Geometry.geodesic", "Geometry.edgesAreGeodesics")
def geodesic(context: Context, shape: Geometry) -> bool:
    return shape.geodesic


@function("Geometry.isUnbounded")
def is_unbounded(context: Context, shape: Geometry) -> bool:
    return shape.shape.equals(WORLD.shape)


# ------------------------------------------------------------------------------------------------------ constructors


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(values, "f8")
    except (TypeError, ValueError):
        raise ComputeError(f"{where}: coordinates must be numbers.") from None
    if not np.isfinite(array).all():
        raise ComputeError(f"{where}: coordinates must be finite.")
    return array


def _points(values: Any, where: str) -> np.ndarray:
    """Points (n, 2) from a list of points or of numbers."""
    array = _numbers([_coordinates(v) for v in values] if values and not isinstance(values[0], int | float) else values,
                     where)
    if array.ndim == 1 and array.size % 2 == 0:
        array = array.reshape(-1, 2)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ComputeError(f"{where}: coordinates must be pairs of numbers.")
    return array[:, :2]


def _coordinates(value: Any) -> Any:
    return list(value.shape.coords[0]) if isinstance(value, Geometry) and value.shape.geom_type == "Point" else value


def _placed(shape: shapely.Geometry, crs: Projection | None, is_geodesic: bool | None) -> Geometry:
    """A shape given in a projection's coordinates: where it has a transform, those are its pixels."""
    if crs is None:
        return Geometry(shape, "EPSG:4326", True if is_geodesic is None else is_geodesic)
    if crs.transform != UNIT:
        a, b, c, d, e, f = crs.transform
        shape = shapely.transform(shape, lambda xy: np.column_stack([
            c + xy[:, 0] * a + xy[:, 1] * b, f + xy[:, 0] * d + xy[:, 1] * e]))
    return Geometry(shape, crs.crs, crs.crs == "EPSG:4326" if is_geodesic is None else is_geodesic)


def _checked(make: Callable[[], shapely.Geometry], where: str) -> shapely.Geometry:
    try:
        return make()
    except (ValueError, TypeError, IndexError, shapely.errors.ShapelyError) as error:
        raise ComputeError(f"{where}: {error}.") from error


@function("GeometryConstructors.Point")
def point(context: Context, values: list[Any], crs: Projection | None) -> Geometry:
    pair = _points([values], "GeometryConstructors.Point")
    return _placed(shapely.Point(pair[0]), crs, None)


@function("GeometryConstructors.MultiPoint")
def multi_point(context: Context, values: list[Any], crs: Projection | None) -> Geometry:
    return _placed(shapely.MultiPoint(_points(values, "GeometryConstructors.MultiPoint")), crs, None)


@function("GeometryConstructors.LineString")
def line_string(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None,
                margin: Any) -> Geometry:
    where = "GeometryConstructors.LineString"
    return _placed(_checked(lambda: shapely.LineString(_points(values, where)), where), crs, is_geodesic)


@function("GeometryConstructors.LinearRing")
def linear_ring(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None,
                margin: Any) -> Geometry:
    where = "GeometryConstructors.LinearRing"
    return _placed(_checked(lambda: shapely.LinearRing(_points(values, where)), where), crs, is_geodesic)


def _rings(values: list[Any], where: str) -> shapely.Geometry:
    if not values:
        return shapely.Polygon()
    nested = isinstance(values[0], list) and values[0] and isinstance(values[0][0], list | Geometry)
    rings = [_points(ring, where) for ring in (values if nested else [values])]
    return _checked(lambda: shapely.Polygon(rings[0], rings[1:]), where)


@function("GeometryConstructors.Polygon")
def polygon(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None, margin: Any,
            even_odd: bool) -> Geometry:
    return _placed(_rings(values, "GeometryConstructors.Polygon"), crs, is_geodesic)


@function("GeometryConstructors.MultiPolygon")
def multi_polygon(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None, margin: Any,
                  even_odd: bool) -> Geometry:
    parts = [_rings(value, "GeometryConstructors.MultiPolygon") for value in values]
    return _placed(shapely.MultiPolygon(parts), crs, is_geodesic)


@function("GeometryConstructors.MultiLineString")
def multi_line_string(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None,
                      margin: Any) -> Geometry:
    where = "GeometryConstructors.MultiLineString"
    return _placed(_checked(lambda: shapely.MultiLineString([_points(v, where) for v in values]), where), crs,
                   is_geodesic)


@function("GeometryConstructors.MultiGeometry")
def multi_geometry(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None,
                   margin: Any) -> Geometry:
    parts = [as_geometry(context, value) for value in values]
    return _placed(shapely.GeometryCollection([part.degrees for part in parts if part is not None]), crs, is_geodesic)


@function("GeometryConstructors.Rectangle")
def rectangle(context: Context, values: list[Any], crs: Projection | None, is_geodesic: bool | None,
              even_odd: bool) -> Geometry:
    flat = _points(values, "GeometryConstructors.Rectangle")
    if len(flat) != 2:
        raise ComputeError("GeometryConstructors.Rectangle: two corners are needed.")
    (x0, y0), (x1, y1) = flat
    return _placed(rectangle_of(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), crs, is_geodesic)


@function("GeometryConstructors.BBox")
def bbox(context: Context, west: float, south: float, east: float, north: float) -> Geometry:
    south, north = max(south, -90.0), min(north, 90.0)
    if not south < north:
        raise ComputeError("GeometryConstructors.BBox: 'south' must lie below 'north'.")
    if east < west:
        east += 360
    if east - west >= 360:
        west, east = -180.0, 180.0
    return Geometry(rectangle_of(west, south, east, north), "EPSG:4326", False)
