"""Which UTM zone a point belongs to: the zones of the military grid, which Sentinel-2's granules follow. Pure.

Six degrees each, but for western Norway (32V reaches west to 3 E, at the cost of 31V) and Svalbard (31X, 33X, 35X and
37X share what six zones would; 32X, 34X and 36X do not exist). Source: NGA.STND.0037 (Universal Grids), section on MGRS
grid zone designations. Everything that needs a zone (tiles, plans, maps, splits) asks here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pyproj
import shapely

from dwplus.grid.longitude import UTM_NORTH, UTM_SOUTH, near, near_longitude, shifted, turns_of

#: Latitudes (south, north) and zones with their (west, east) where the 6-degree rule does not hold.
NORWAY = (56.0, 64.0, {31: (0, 3), 32: (3, 12)})
SVALBARD = (72.0, UTM_NORTH, {31: (0, 9), 33: (9, 21), 35: (21, 33), 37: (33, 42)})


def utm_epsgs(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """:func:`utm_epsg` of many points, int64; 0 where there is no UTM."""
    turned = (np.asarray(lon, "float64") + 180.0) % 360.0 - 180.0
    lat = np.asarray(lat, "float64")
    zone = ((turned + 180.0) // 6).astype("int64") + 1
    for south, north, zones in (NORWAY, SVALBARD):
        inside = (lat >= south) & ((lat < north) | ((lat == north) & (north == UTM_NORTH)))
        for number, (west, east) in zones.items():
            zone = np.where(inside & (turned >= west) & (turned < east), number, zone)
    return np.where((lat >= UTM_SOUTH) & (lat <= UTM_NORTH), np.where(lat >= 0, 32600, 32700) + zone, 0)


def utm_epsg(lon: float, lat: float) -> int:
    """EPSG code of the UTM zone of a point on the military grid.

    Parameters
    ----------
    lon, lat : degrees; longitudes wrap.

    Raises
    ------
    ValueError
        For a latitude outside -80..84, where UTM is not defined.
    """
    if not UTM_SOUTH <= lat <= UTM_NORTH:
        raise ValueError(f"latitude {lat:.4f} lies outside UTM (80 S to 84 N)")
    return int(utm_epsgs(np.array(lon), np.array(lat)))


def six_degree_epsg(lon: float, lat: float) -> int:
    """EPSG code by the plain 6-degree rule, without Norway's and Svalbard's exceptions: what the authors of the
    Dynamic World annotations cut their tiles by (the published tile at 5.7 E, 59.4 N fits 31, not 32V).

    Raises
    ------
    ValueError
        As :func:`utm_epsg`.
    """
    utm_epsg(lon, lat)
    return (32600 if lat >= 0 else 32700) + int(((lon + 180) % 360) // 6) + 1


@functools.lru_cache(maxsize=512)
def transformer(source: str | int, target: str | int) -> pyproj.Transformer:
    """Coordinate transformer with x = easting or longitude first (thread-safe since pyproj 3.1)."""
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def meridian(epsg: int) -> float:
    """Central meridian of a zone, degrees."""
    return epsg % 100 * 6 - 183.0


@dataclass(frozen=True)
class _Piece:
    """A rectangle of a zone's ground, degrees."""

    south: float
    north: float
    west: float
    east: float


@functools.cache
def _rectangles(epsg: int) -> tuple[_Piece, ...]:
    """A zone's ground south to north; none for a code that is no zone."""
    zone = epsg % 100
    plain = (6.0 * zone - 186.0, 6.0 * zone - 180.0)
    if epsg > 32700:
        return (_Piece(UTM_SOUTH, 0.0, *plain),)
    found, south = [], 0.0
    for low, high, zones in (NORWAY, SVALBARD):
        found.append(_Piece(south, low, *plain))
        west, east = zones.get(zone, plain)
        # A zone whose ground here went to its neighbours has none.
        if zone in zones or not any(w < plain[1] and plain[0] < e for w, e in zones.values()):
            found.append(_Piece(low, high, west, east))
        south = high
    return tuple(piece for piece in found if piece.south < piece.north)


@functools.cache
def zone_polygon(epsg: int) -> shapely.Polygon:
    """The ground of a zone of one hemisphere, EPSG:4326."""
    rectangles = _rectangles(epsg)
    first = rectangles[0]
    if all((p.west, p.east) == (first.west, first.east) for p in rectangles):
        return shapely.box(first.west, first.south, first.east, rectangles[-1].north)
    return shapely.union_all([shapely.box(p.west, p.south, p.east, p.north) for p in rectangles])


def zones_meeting(west: float, south: float, east: float, north: float) -> set[int]:
    """Codes of the zones that share ground with a box, whose longitudes may run past 180."""
    numbers = {int(k % 60) + 1 for k in range(int((west + 180.0) // 6) - 1, int((east + 180.0) // 6) + 2)}
    # Svalbard's zones are 12 degrees wide: their ground reaches under the next number.
    numbers |= {(n + turn) % 60 + 1 for n in set(numbers) for turn in (-2, 0)}
    found = set()
    for number in numbers:
        for epsg in (32600 + number, 32700 + number):
            for piece in _rectangles(epsg):
                if piece.south < north and south < piece.north:
                    shift = near((piece.west + piece.east) / 2, (west + east) / 2) - (piece.west + piece.east) / 2
                    if piece.west + shift < east and west < piece.east + shift:
                        found.add(epsg)
    return found


def goes_first(one: int, other: int) -> bool:
    """Whether a zone's lattice goes before a neighbouring zone's where the two meet: the zone to the west, and at the
    equator the northern one."""
    if one // 100 != other // 100:
        return one < other
    return (other - one) % 60 in (1, 2)


def zone_pieces(region: shapely.Geometry) -> list[tuple[int, shapely.Geometry]]:
    """A region in EPSG:4326 cut along the zones' borders and the equator, as (epsg, piece), in the order of the codes.

    Longitudes may run past 180; a piece stays in the turn where the region has it.
    """
    pieces = []
    for epsg in (base + zone for base in (32600, 32700) for zone in range(1, 61)):
        ground = zone_polygon(epsg)
        west, _, east, _ = ground.bounds
        for turn in turns_of(region, west, east):
            piece = shapely.intersection(region, shifted(ground, turn))
            if not piece.is_empty and piece.area > 0:
                pieces.append((epsg, piece))
    return pieces


def in_zone(piece: shapely.Geometry, epsg: int) -> shapely.Geometry:
    """A lon/lat geometry in metres of a UTM zone; long sides become chains, for they are curves there."""
    around = near_longitude(shapely.segmentize(piece, 0.05), meridian(epsg))
    return shapely.transform(around, lambda xy: np.column_stack(transformer(4326, epsg).transform(xy[:, 0], xy[:, 1])))
