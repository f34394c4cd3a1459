"""Which pixels lie in a polygon: one rule for areas, for the outline of a map and for samples. Pure.

A pixel belongs to the polygon that holds its centre. A centre on an edge belongs to the polygon on its east, and on an
edge that runs due west to east, to the polygon on its south. So polygons that share an edge share no pixel and lose
none: the parts of a map sum to the map. (Rasterising libraries leave such centres to chance, or to both: edges of 30 m
Landsat pixels run through the centres of 10 m pixels.)

Coordinates that went through degrees come back a few nanometres off, and files keep them to a centimetre: a vertex that
lies within a thousandth of a pixel of a line through centres is taken to lie on it.
"""

from __future__ import annotations

import numpy as np
import shapely

from dwplus.grid import PixelGrid, transformer
from dwplus.grid.longitude import near_longitude, polygons_of
from dwplus.grid.zones import meridian

#: How near a vertex lies to a line through centres to lie on it, pixels.
SNAP = 1e-3
#: Long edges are straight in degrees and curves in metres: they get a vertex at every multiple of this many degrees (a
#: power of two, so that multiples are exact). Two polygons get the same ones, whatever further vertices either has on
#: the common edge. Between two of them, 27 m, the curve leaves its chord by 30 micrometres at the most.
FINE = 2.0 ** -12
#: The same for the outlines of whole regions, which may be long: 220 m, and 2 mm.
COARSE = 2.0 ** -9


def within(ground: shapely.Geometry, grid: PixelGrid) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Pixels of a grid that belong to a polygon.

    Parameters
    ----------
    ground : Polygon or MultiPolygon in the grid's metres, valid.

    Returns
    -------
    Rows and columns around the polygon, and bool (y, x) within them; None where it touches no pixel.
    """
    edges = _edges(ground)
    if not len(edges):
        return None
    return _scan(_pixels(edges, grid), grid.shape)


def inside(ground: shapely.Geometry, grid: PixelGrid) -> np.ndarray:
    """The same over the whole grid, bool (y, x)."""
    out = np.zeros(grid.shape, bool)
    if (found := within(ground, grid)) is not None:
        out[found[0]] = found[1]
    return out


def within_degrees(shape: shapely.Geometry, grid: PixelGrid) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """:func:`within` for a polygon in EPSG:4326, in the turn where the grid's footprint lies."""
    edges = _edges(_near(shape, grid))
    if not len(edges):
        return None
    return _scan(_pixels(_metres(denser(edges, FINE), grid.epsg), grid), grid.shape)


def in_metres(piece: shapely.Geometry, epsg: int, step: float = COARSE) -> shapely.Geometry:
    """A lon/lat polygon in metres of a UTM zone, valid; long edges become chains.

    Parameters
    ----------
    step : degrees between the vertices that long edges get, at multiples of it.
    """
    parts = [shapely.Polygon(_chain(part.exterior, step), [_chain(hole, step) for hole in part.interiors])
             for part in polygons_of(near_longitude(piece, meridian(epsg)))]
    to_zone = transformer(4326, epsg)
    moved = shapely.transform(shapely.MultiPolygon(parts), lambda xy: np.column_stack(
        to_zone.transform(xy[:, 0], xy[:, 1])))
    return moved if shapely.is_valid(moved) else shapely.make_valid(moved)


def denser(edges: np.ndarray, step: float) -> np.ndarray:
    """Edges (n, 4: lon, lat, lon, lat) cut at multiples of so many degrees, of longitude where they run more east than
    north, else of latitude. What an edge becomes does not depend on its direction."""
    chain, begin, count, _ = _chains(edges, step)
    last = np.zeros(len(chain), bool)
    last[begin + count + 1] = True
    at = np.flatnonzero(~last)
    return np.column_stack([chain[at], chain[at + 1]])


def _chains(edges: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The vertices of each edge from its western end (the southern one, where it runs due north) to the other.

    Returns
    -------
    Vertices (m, 2) of all edges; where each begins; how many it has between its two ends; which edges run backwards.
    """
    back = (edges[:, 0] > edges[:, 2]) | ((edges[:, 0] == edges[:, 2]) & (edges[:, 1] > edges[:, 3]))
    edges = np.where(back[:, None], edges[:, [2, 3, 0, 1]], edges)
    along = (np.abs(edges[:, 3] - edges[:, 1]) > edges[:, 2] - edges[:, 0]).astype(int)
    rows = np.arange(len(edges))
    start, end = edges[rows, along], edges[rows, along + 2]
    low, high = np.minimum(start, end), np.maximum(start, end)
    first = np.floor(low / step) + 1
    count = np.maximum(0, np.ceil(high / step) - first).astype(int)
    which = np.repeat(rows, count)
    number = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    falls = (start > end)[which]
    value = (first[which] + np.where(falls, count[which] - 1 - number, number)) * step
    share = (value - start[which]) / (end - start)[which]
    across = 1 - along[which]
    begin = np.cumsum(count + 2) - count - 2
    chain = np.empty((len(which) + 2 * len(edges), 2))
    chain[begin], chain[begin + count + 1] = edges[:, :2], edges[:, 2:]
    at = begin[which] + 1 + number
    chain[at, along[which]] = value
    chain[at, across] = edges[which, across] + share * (edges[which, across + 2] - edges[which, across])
    return chain, begin, count, back


def _chain(ring: shapely.LinearRing, step: float) -> np.ndarray:
    """A ring's vertices and those that its edges get, in its own order (n, 2)."""
    xy = shapely.get_coordinates(ring)
    chain, begin, count, back = _chains(np.column_stack([xy[:-1], xy[1:]]), step)
    which = np.repeat(np.arange(len(begin)), count + 1)  # each edge without its last vertex, which begins the next
    number = np.arange(len(which)) - np.repeat(np.cumsum(count + 1) - count - 1, count + 1)
    at = begin[which] + np.where(back[which], count[which] + 1 - number, number)
    return np.vstack([chain[at], xy[-1:]])


def _near(shape: shapely.Geometry, grid: PixelGrid) -> shapely.Geometry:
    """The part of a lon/lat polygon around a grid."""
    box = shapely.box(*grid.footprint().buffer(0.02).bounds)
    return shape if shapely.contains(box, shape) else shapely.intersection(shape, box)


def _edges(ground: shapely.Geometry) -> np.ndarray:
    """All edges of all rings, float (n, 4)."""
    rings = shapely.get_rings(np.array(polygons_of(ground), object)) if not ground.is_empty else []
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    same = np.flatnonzero(ring[:-1] == ring[1:])
    return np.column_stack([xy[same], xy[same + 1]])


def _metres(edges: np.ndarray, epsg: int) -> np.ndarray:
    x, y = transformer(4326, epsg).transform(edges[:, [0, 2]].ravel(), edges[:, [1, 3]].ravel())
    x, y = np.reshape(x, (-1, 2)), np.reshape(y, (-1, 2))
    return np.column_stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]])


def _pixels(edges: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """Edges in columns and rows (downwards), whole numbers at centres, float (n, 4)."""
    out = np.empty_like(edges)
    out[:, [0, 2]] = (edges[:, [0, 2]] - grid.x0) / grid.scale - 0.5
    out[:, [1, 3]] = (grid.y0 - edges[:, [1, 3]]) / grid.scale - 0.5
    nearest = np.rint(out)
    return np.where(np.abs(out - nearest) < SNAP, nearest, out)


def _scan(edges: np.ndarray, shape: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Row by row: a centre is inside where an odd number of edges is crossed west of it, or at it.

    An edge is crossed in the rows from its upper end to before its lower one.
    """
    height, width = shape
    edges = np.where((edges[:, 1] > edges[:, 3])[:, None], edges[:, [2, 3, 0, 1]], edges)
    top, bottom = max(0, int(np.ceil(edges[:, 1].min()))), min(height, int(np.ceil(edges[:, 3].max())))
    left = max(0, int(np.ceil(edges[:, [0, 2]].min())))
    right = min(width, int(np.ceil(edges[:, [0, 2]].max())))
    if bottom <= top or right <= left:
        return None
    first = np.clip(np.ceil(edges[:, 1]), top, bottom).astype(int)
    count = np.clip(np.ceil(edges[:, 3]), top, bottom).astype(int) - first
    which = np.repeat(np.arange(len(edges)), count)
    row = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    x1, y1, x2, y2 = edges[which].T
    crossing = x1 + (row - y1) * ((x2 - x1) / (y2 - y1))
    column = np.clip(np.ceil(crossing), left, right).astype(int) - left
    toggles = np.zeros((bottom - top, right - left + 1), "uint8")
    np.bitwise_xor.at(toggles, (row - top, column), 1)
    mask = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1].astype(bool)
    return (slice(top, bottom), slice(left, right)), mask
