"""Geometries and features in parts: nearest points, lines cut at distances, the cells of a grid that cover a shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyproj
import shapely
import shapely.prepared

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.geometries import area, distance, local_plane, planar
from dwplus.embedded_earth.functions.registry import as_geometry, function
from dwplus.embedded_earth.grid import Projection
from dwplus.embedded_earth.shapes import Geometry, lattice_bounds, polygon_of
from dwplus.embedded_earth.values import Collection, ErrorMargin, Feature, Filter, Hints

_GEOD = pyproj.Geod(ellps="WGS84")
#: Cells of a covering grid.
MAX_CELLS = 1_000_000


def _shape(context: Context, element: Any, where: str) -> Geometry:
    shape = as_geometry(context, element)
    if shape is None:
        raise ComputeError(f"{where}: the element has no geometry.")
    return shape


# ---------------------------------------------------------------------------------------------------- nearest points


def _nearest(left: Geometry, right: Geometry, projection: Projection | None) -> dict[str, Geometry]:
    """A point of each shape that is closest to the other one; nothing where one is empty."""
    if projection is not None:
        pair = [polygon_of(shape.drawn(projection.crs)) for shape in (left, right)]
        if any(shape.is_empty for shape in pair):
            return {}
        ends = shapely.get_coordinates(shapely.shortest_line(*pair))
        return {
            name: Geometry(shapely.Point(end), projection.crs)
            for name, end in zip(("left", "right"), ends, strict=True)
        }
    pair = [polygon_of(shape.drawn("EPSG:4326")) for shape in (left, right)]
    if any(shape.is_empty for shape in pair):
        return {}
    middle = np.mean([shape.centroid.coords[0] for shape in pair], axis=0)
    plane = local_plane(round(float(middle[0]), 3), round(float(middle[1]), 3))
    line = planar(shapely.shortest_line(*(planar(shape, plane) for shape in pair)), plane, back=True)
    ends = shapely.get_coordinates(line)
    return {name: Geometry(shapely.Point(end)) for name, end in zip(("left", "right"), ends, strict=True)}


@function("Geometry.closestPoints", "Feature.closestPoints")
def closest_points(
    context: Context, left: Any, right: Any, margin: ErrorMargin | None, projection: Projection | None
) -> dict[str, Geometry]:
    return _nearest(_shape(context, left, "closestPoints"), _shape(context, right, "closestPoints"), projection)


@function("Geometry.closestPoint", "Feature.closestPoint")
def closest_point(
    context: Context, left: Any, right: Any, margin: ErrorMargin | None, projection: Projection | None
) -> Geometry | None:
    """The right shape's point that is nearest to the left one."""
    return closest_points(context, left, right, margin, projection).get("right")


@function("Feature.withinDistance")
def within_distance(
    context: Context, left: Any, right: Any, metres: float, margin: ErrorMargin | None, projection: Projection | None
) -> bool:
    one, other = (_shape(context, element, "Feature.withinDistance") for element in (left, right))
    if projection is not None:
        return bool(shapely.distance(*(polygon_of(shape.drawn(projection.crs)) for shape in (one, other))) <= metres)
    return distance(one, other, metres) <= metres


# -------------------------------------------------------------------------------------------------------------- lines


def _cut(line: shapely.Geometry, distances: list[float], geodesic: bool) -> list[shapely.Geometry]:
    """Pieces of a line between distances from its start: metres along geodesics, or units of its plane."""
    points = shapely.get_coordinates(line)
    steps = (
        np.array(_GEOD.inv(points[:-1, 0], points[:-1, 1], points[1:, 0], points[1:, 1])[2])
        if geodesic
        else np.hypot(*np.diff(points, axis=0).T)
    )
    along = np.concatenate([[0.0], np.cumsum(steps)])
    cuts = sorted({float(metres) for metres in distances if 0 < metres < along[-1]})

    def at(metres: float) -> tuple[float, float]:
        edge = min(int(np.searchsorted(along, metres, "right")) - 1, len(points) - 2)
        part = metres - along[edge]
        (x0, y0), (x1, y1) = points[edge], points[edge + 1]
        if geodesic:
            azimuth = _GEOD.inv(x0, y0, x1, y1)[0]
            x, y, _ = _GEOD.fwd(x0, y0, azimuth, part)
            return float(x), float(y)
        share = part / steps[edge] if steps[edge] else 0.0
        return float(x0 + share * (x1 - x0)), float(y0 + share * (y1 - y0))

    pieces = []
    for start, end in itertools.pairwise([0.0, *cuts, float(along[-1])]):
        inner = points[(along > start) & (along < end)]
        first = points[0] if start == 0 else at(start)
        last = points[-1] if end == along[-1] else at(end)
        pieces.append(shapely.LineString([first, *inner, last]))
    return pieces


def _lines(shape: shapely.Geometry) -> Iterator[shapely.Geometry]:
    for part in shapely.get_parts(shape):
        if part.geom_type in ("LineString", "LinearRing") and not part.is_empty:
            yield part
        elif part.geom_type == "MultiLineString":
            yield from _lines(part)


@function("Geometry.cutLines")
def cut_lines(
    context: Context, shape: Geometry, distances: list[float], margin: ErrorMargin | None, projection: Projection | None
) -> Geometry:
    used = shape.to("EPSG:4326") if projection is None else Geometry(shape.drawn(projection.crs), projection.crs, False)
    pieces = [piece for line in _lines(used.shape) for piece in _cut(line, distances, projection is None)]
    return Geometry(shapely.MultiLineString(pieces), used.crs, used.geodesic)


@function("Feature.cutLines")
def cut_feature(
    context: Context, element: Any, distances: list[float], margin: ErrorMargin | None, projection: Projection | None
) -> Feature:
    cut = cut_lines(context, _shape(context, element, "Feature.cutLines"), distances, margin, projection)
    return Feature(cut, element.properties, element.id)


# --------------------------------------------------------------------------------------------------------------- grid


@function("Geometry.coveringGrid")
def covering_grid(context: Context, shape: Geometry, projection: Projection, scale: float | None) -> Collection:
    """A rectangle for each cell of the projection's grid that the shape meets; the index is its column and row."""
    where = "Geometry.coveringGrid"
    if scale is not None:
        if not scale > 0 or not math.isfinite(scale):
            raise ComputeError(f"{where}: 'scale' must be positive.")
        projection = projection.at_scale(scale)
    local = polygon_of(shape.drawn(projection.crs))
    if local.is_empty:
        return Collection("FeatureCollection", lambda _: [])
    left, top, right, bottom = lattice_bounds(local, projection)
    cols, rows = (
        range(math.floor(min(ends)), max(math.floor(min(ends)) + 1, math.ceil(max(ends))))
        for ends in ((left, right), (top, bottom))
    )
    if len(cols) * len(rows) > MAX_CELLS:
        raise ComputeError(
            f"{where}: the grid would have {len(cols) * len(rows)} cells, of which at most {MAX_CELLS} "
            "are supported; a scale may be missing."
        )
    a, b, c, d, e, f = projection.transform
    ready = shapely.prepared.prep(local)

    def load(_: Hints) -> Iterator[Feature]:
        for row in rows:
            context.check_time()
            for col in cols:
                corners = [
                    (c + x * a + y * b, f + x * d + y * e)
                    for x, y in ((col, row), (col + 1, row), (col + 1, row + 1), (col, row + 1))
                ]
                cell = shapely.orient_polygons(shapely.Polygon(corners))
                if ready.intersects(cell):
                    geometry = Geometry(cell, projection.crs, False)
                    index = f"{col},{row}"
                    yield Feature(geometry, {"system:index": index}, index)

    return Collection("FeatureCollection", load)


# ------------------------------------------------------------------------------------------------- features, filters


@function("Feature.toArray")
def to_array(context: Context, element: Any, names: list[str]) -> np.ndarray:
    values = [element.properties.get(name) for name in names]
    if not all(isinstance(value, int | float) for value in values):
        raise ComputeError("Feature.toArray: the properties must all be numbers.")
    found = np.array(values)
    return found.astype("f8" if found.dtype.kind == "f" else "i8")


@function("FeatureCollection.makeArray")
def make_array(context: Context, collection: Collection, names: list[str], output: str) -> Collection:
    """An array of properties in each feature; features that lack one, or where it is no number, are dropped."""

    def load(hints: Hints) -> Iterator[Any]:
        for element in collection.load(hints):
            if all(isinstance(element.properties.get(name), int | float) for name in names):
                yield element.with_properties({**element.properties, output: to_array(context, element, names)})

    return collection.using(load)


@function("Collection.cache")
def cache(context: Context, collection: Collection) -> Collection:
    return collection


@function("Filter.area")
def area_filter(context: Context, low: float, high: float, margin: ErrorMargin | None, selector: str | None) -> Filter:
    """Whether the area lies in a range, square metres, both ends included."""

    def test(element: Any) -> bool:
        shape = as_geometry(context, element if selector is None else element.properties.get(selector))
        return shape is not None and low <= area(shape) <= high

    return Filter(test)
