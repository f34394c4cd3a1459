"""Longitudes on a round earth: how they are read, compared, cut and written, here and nowhere else. Pure.

Inside the project a shape is connected: where it crosses the antimeridian its longitudes run on past 180 (or below
-180). Files hold it otherwise: a ring may jump from 180 to -180, as map editors and Earth Engine write it, or be cut in
two there, as RFC 7946 section 3.1.9 wants it. :func:`connected` reads all of these, :func:`cut` writes the last, and
:func:`box_of` gives a box as section 5.2 has it: west above east where it crosses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

import numpy as np
import shapely

from dwplus.errors import DwplusError

#: Latitudes that UTM serves; beyond them lies UPS, which this project does not use.
UTM_SOUTH, UTM_NORTH = -80.0, 84.0
#: An edge this long or longer (degrees, below a whole turn) is one across the antimeridian, read the short way. Between
#: half a turn and this nobody can tell which way was meant.
JUMP = 270.0


class LongitudeError(DwplusError, ValueError):
    """A shape whose longitudes cannot be read; the message is a clause for people."""


@overload
def near(lon: float, reference: float) -> float: ...
@overload
def near(lon: np.ndarray, reference: float | np.ndarray) -> np.ndarray: ...


def near(lon: float | np.ndarray, reference: float | np.ndarray) -> float | np.ndarray:
    """A longitude in the turn nearest to a reference, degrees: at least ``reference - 180``, below ``+ 180``."""
    return reference + (lon - reference + 180.0) % 360.0 - 180.0


def wrapped(lon: float) -> float:
    """A longitude in -180..180 (180 itself becomes -180)."""
    return near(lon, 0.0)


def shifted(geometry: shapely.Geometry, turns: int) -> shapely.Geometry:
    """A geometry so many whole turns further east."""
    return geometry if not turns else shapely.transform(geometry, lambda xy: xy + [360.0 * turns, 0.0])


def near_longitude(geometry: shapely.Geometry, lon: float) -> shapely.Geometry:
    """Shift a lon/lat geometry by whole turns so that every vertex lies within 180 degrees of ``lon``.

    Rings that cross the antimeridian come in two fashions (jumping from 180 to -180, or running past 180); both end
    as one connected ring around ``lon``.
    """
    west, _, east, _ = geometry.bounds
    if lon - 180 <= west and east <= lon + 180 and east - west < 180:
        return geometry
    return shapely.transform(geometry, lambda xy: np.column_stack([near(xy[:, 0], lon), xy[:, 1]]))


def connected(geometry: shapely.Geometry) -> shapely.Geometry:
    """Polygons as a file has them, each connected, and those of a region in the turns that bring them nearest.

    Returns
    -------
    Polygon or MultiPolygon; its west lies in -180..180, its east may run past 180. Not necessarily valid: a bow-tie
    stays one.

    Raises
    ------
    LongitudeError
        Where an edge is between half a turn and :data:`JUMP` long.
    """
    parts = [_polygon(part) for part in polygons_of(geometry)]
    if not parts:
        return shapely.Polygon()
    parts = [shifted(part, -int(np.floor((part.bounds[0] + 180.0) / 360.0))) for part in parts]
    west = _west(np.array([(part.bounds[0], part.bounds[2]) for part in parts]))
    parts = [shifted(part, int(part.bounds[0] < west - 1e-12)) for part in parts]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def polygons_of(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons of a geometry, those of collections in collections too; lines and points are left out."""
    if geometry.is_empty:
        return []
    if geometry.geom_type == "Polygon":
        return [geometry]
    if geometry.geom_type in ("MultiPolygon", "GeometryCollection"):
        return [polygon for part in geometry.geoms for polygon in polygons_of(part)]
    return []


def _west(spans: np.ndarray) -> float:
    """The western end of the narrowest box around spans (n, 2) of longitudes that begin in -180..180, degrees."""
    west, east = spans[np.argsort(spans[:, 0], kind="stable")].T
    reach = np.maximum.accumulate(east)
    gaps = west[1:] - reach[:-1]
    # The gap that is there without turning anything wins a tie.
    if not len(gaps) or west[0] + 360.0 - reach[-1] >= gaps.max():
        return float(west[0])
    return float(west[1 + int(np.argmax(gaps))])


def _polygon(polygon: shapely.Polygon) -> shapely.Polygon:
    shell = _ring(shapely.get_coordinates(polygon.exterior))
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
    holes = []
    for hole in polygon.interiors:
        ring = _ring(shapely.get_coordinates(hole))
        ring[:, 0] += 360.0 * np.round((middle - (ring[:, 0].min() + ring[:, 0].max()) / 2) / 360.0)
        holes.append(ring)
    return shapely.Polygon(shell, holes)


def _ring(xy: np.ndarray) -> np.ndarray:
    """A closed ring (n, 2) without jumps; one around a pole is closed along the pole."""
    steps = np.diff(xy[:, 0])
    long = np.abs(steps)
    if np.any(doubtful := (long > 180.0) & (long < JUMP)):
        i = int(np.argmax(doubtful))
        raise LongitudeError(f"an edge runs from longitude {xy[i, 0]:g} to {xy[i + 1, 0]:g}, which may be meant either "
                             "way round the earth; give it a vertex half way")
    turns = np.where((long >= JUMP) & (long < 360.0), -np.sign(steps), 0.0).cumsum()
    out = xy.copy()
    out[1:, 0] += 360.0 * turns
    if len(turns) and turns[-1]:
        pole = 90.0 if xy[:, 1].mean() > 0 else -90.0
        out = np.vstack([out, [[out[-1, 0], pole], [out[0, 0], pole], out[0]]])
    return out


def cut(geometry: shapely.Geometry) -> shapely.Geometry:
    """A connected shape cut at the antimeridian: all of it in -180..180, as RFC 7946 section 3.1.9 wants it."""
    west, _, east, _ = geometry.bounds
    if geometry.is_empty or (west >= -180.0 and east <= 180.0):
        return geometry
    first, last = int(np.floor((west + 180.0) / 360.0)), int(np.ceil((east - 180.0) / 360.0))
    parts = [shifted(shapely.intersection(geometry, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)), -turn)
             for turn in range(first, last + 1)]
    return shapely.union_all(parts)


def larger_side(geometry: shapely.Geometry) -> shapely.Geometry:
    """The part of a small connected shape on its middle's side of the antimeridian, in -180..180: one polygon still,
    for readers that know nothing of turns."""
    west, south, east, north = geometry.bounds
    if west >= -180.0 and east <= 180.0:
        return geometry
    turn = int(np.floor(((west + east) / 2 + 180.0) / 360.0))
    return shapely.intersection(shifted(geometry, -turn), shapely.box(-180, south, 180, north))


def box_of(geometries: Iterable[shapely.Geometry]) -> tuple[float, float, float, float]:
    """The narrowest box (west, south, east, north) around shapes, longitudes in -180..180: RFC 7946 section 5.2, west
    above east where it crosses the antimeridian.

    Parameters
    ----------
    geometries : each connected, or cut at the antimeridian.
    """
    parts = shapely.get_parts(shapely.get_parts(np.array(list(geometries), object)))
    bounds = shapely.bounds(parts[~shapely.is_empty(parts)])
    south, north = float(bounds[:, 1].min()), float(bounds[:, 3].max())
    turned = bounds[:, [0, 2]] - 360.0 * np.floor((bounds[:, [0]] + 180.0) / 360.0)
    west = _west(turned)
    turned += 360.0 * (turned[:, [0]] < west - 1e-12)
    east = float(turned[:, 1].max())
    if east - west >= 360.0:
        return -180.0, south, 180.0, north
    return west, south, east if east <= 180.0 else east - 360.0, north


def contains(shape: shapely.Geometry, lon: float, lat: float) -> bool:
    """Whether a point lies in a connected shape, whatever turn either is in."""
    return any(shapely.contains_xy(shape, lon + 360.0 * turn, lat) for turn in turns_of(shape, lon, lon))


def turns_of(shape: shapely.Geometry, west: float, east: float) -> range:
    """Whole turns by which a span of longitudes may be moved so that it meets a shape's own."""
    first, _, last, _ = shape.bounds
    if not first <= last:  # empty
        return range(0)
    return range(int(np.ceil((first - east) / 360.0)), int(np.floor((last - west) / 360.0)) + 1)


def check_latitudes(south: float, north: float) -> None:
    """Refuse what reaches beyond UTM.

    Raises
    ------
    ValueError
        In a clause that names the latitudes.
    """
    if south < UTM_SOUTH or north > UTM_NORTH:
        pole = "north of 84 N" if north > UTM_NORTH else "south of 80 S"
        if south < UTM_SOUTH and north > UTM_NORTH:
            pole = "north of 84 N and south of 80 S"
        raise ValueError(f"the region reaches latitudes {south:.2f} to {north:.2f}; UTM serves 80 S to 84 N, and "
                         f"{pole} there are no tiles: cut the region off there")
