"""The world's fixed lattice of tiles: one in each UTM zone, and which goes first where two meet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from dwplus.grid.longitude import check_latitudes, near_longitude
from dwplus.grid.pixels import PixelGrid
from dwplus.grid.tiles import Tile, tile_on_grid
from dwplus.grid.zones import goes_first, in_zone, meridian, transformer, utm_epsgs, zone_pieces, zones_meeting

#: Lattice cells made at once, and columns of a zone at the most.
CELLS_AT_ONCE, MOST_COLUMNS = 1_000_000, 10_000_000


def lattice_tiles(region: shapely.Geometry, size: int, scale: float, limit: int = 5_000_000) -> list[Tile]:
    """Tiles of the world's fixed lattice whose centre lies in a region.

    In each UTM zone the corners lie at whole multiples of ``size * scale`` metres, so tiles never overlap within a
    zone, and a larger region keeps the tiles of a smaller one. A tile belongs to the zone of its centre; where the
    lattices of two zones meet, the tiles of the eastern one that would overlap the western one's are left out (at the
    equator, the southern one's).

    Parameters
    ----------
    region : polygon(s) in EPSG:4326; longitudes may run past 180.
    size, scale : pixels a side, metres a pixel.
    limit : refuse regions that hold more lattice cells than this.

    Returns
    -------
    list of Tile, sorted by zone, then north to south, then west to east.

    Raises
    ------
    ValueError
        Where the region leaves UTM's latitudes, or holds more than ``limit`` cells.
    """
    step = size * scale
    tiles: list[Tile] = []
    for cells in lattice_cells(region, step, limit):
        for x_mid, y_mid, close in zip(cells.x, cells.y, cells.close, strict=True):
            grid = PixelGrid(cells.epsg, float(x_mid - step / 2), float(y_mid + step / 2), scale, size, size)
            if not (close and gives_way(grid)):
                tiles.append(tile_on_grid(grid))
    return tiles


@dataclass(frozen=True)
class LatticeCells:
    """Cells of one zone's lattice, as arrays of equal length.

    Attributes
    ----------
    epsg : CRS of the zone.
    x, y : centres, metres.
    lon, lat : centres, degrees.
    close : whether another lattice is so near that :func:`gives_way` has to tell.
    """

    epsg: int
    x: np.ndarray
    y: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    close: np.ndarray


def lattice_cells(region: shapely.Geometry, step: float, limit: int | None = None) -> Iterator[LatticeCells]:
    """The cells of :func:`lattice_tiles` as arrays, zone by zone, north to south and west to east in each; a large zone
    comes in several parts.

    Parameters
    ----------
    step : side of a cell, metres.

    Raises
    ------
    ValueError
        As :func:`lattice_tiles`.
    """
    check_latitudes(region.bounds[1], region.bounds[3])
    cells = 0
    for epsg, piece in zone_pieces(region):
        forward, back = transformer(4326, epsg), transformer(epsg, 4326)
        x, y = forward.transform(*shapely.get_coordinates(
            shapely.segmentize(near_longitude(shapely.box(*piece.bounds), meridian(epsg)), 0.25)).T)
        first, last = math.floor(x.min() / step), math.ceil(x.max() / step)
        bottom, top = math.floor(y.min() / step), math.ceil(y.max() / step)
        cells += (last - first) * (top - bottom)
        if limit is not None and cells > limit:
            raise ValueError(f"the region holds more than {limit:,} tiles of {step / 1000:g} km; "
                             "plan it in smaller pieces")
        if last - first > MOST_COLUMNS:
            raise ValueError(f"a tile of {step:g} m is too small for a region so wide; take larger tiles")
        middle = piece.centroid.x
        shapely.prepare(piece)
        # Some rows at a time: whole zones of small tiles would not fit the memory.
        rows_at_once = max(1, CELLS_AT_ONCE // max(1, last - first))
        for high in range(top, bottom, -rows_at_once):
            rows = np.arange(high - 1, max(bottom, high - rows_at_once) - 1, -1)
            cx, cy = (axis.ravel() for axis in np.meshgrid((np.arange(first, last) + 0.5) * step, (rows + 0.5) * step))
            lon, lat = back.transform(cx, cy)
            # The piece's own longitudes may run past 180; move the centres to where the piece is.
            inside = shapely.contains_xy(piece, lon + np.round((middle - lon) / 360.0) * 360.0, lat)
            if inside.any():
                lon, lat = lon[inside], lat[inside]
                yield LatticeCells(epsg, cx[inside], cy[inside], lon, lat, _near_first_zone(epsg, lon, lat, step))


def covering_tiles(region: shapely.Geometry, size: int, scale: float, limit: int = 5_000_000) -> list[Tile]:
    """Every tile of the world's fixed lattice that shares ground with a region: no part of it is left uncovered.

    For maps. Unlike :func:`lattice_tiles`, tiles reach over the region's edge, and where two zones meet the tiles of
    both overlap; whoever counts pixels keeps to :func:`zone_pieces`.

    Parameters
    ----------
    region : polygon(s) in EPSG:4326; longitudes may run past 180.
    size, scale : pixels a side, metres a pixel.
    limit : refuse regions that need more tiles than this.

    Returns
    -------
    list of Tile, sorted by zone, then north to south, then west to east.

    Raises
    ------
    ValueError
        Where the region leaves UTM's latitudes, or needs more than ``limit`` tiles.
    """
    check_latitudes(region.bounds[1], region.bounds[3])
    step = size * scale
    tiles: list[Tile] = []
    for epsg, piece in zone_pieces(region):
        ground = in_zone(piece, epsg)
        west, south, east, north = ground.bounds
        first, last = math.floor(west / step), math.ceil(east / step)
        bottom, top = math.floor(south / step), math.ceil(north / step)
        if len(tiles) + (last - first) * (top - bottom) > limit:
            raise ValueError(f"the region spans more than {limit:,} tiles of {step / 1000:g} km; "
                             "map it in smaller pieces")
        columns, rows = np.arange(first, last), np.arange(top, bottom, -1)
        x, y = (axis.ravel() * step for axis in np.meshgrid(columns, rows))
        shapely.prepare(ground)
        # A hair less than the whole tile, so that a mere common edge is no common ground.
        hair = 1e-6 * step
        touched = shapely.intersects(ground, shapely.box(x + hair, y - step + hair, x + step - hair, y - hair))
        tiles += [tile_on_grid(PixelGrid(epsg, float(a), float(b), scale, size, size))
                  for a, b in zip(x[touched], y[touched], strict=True)]
    return tiles


def _near_first_zone(epsg: int, lon: np.ndarray, lat: np.ndarray, step: float) -> np.ndarray:
    """Which points lie within two cells of ground whose lattice goes first: to the west, or north or south of them."""
    north = 2 * step / 111_320.0
    west = north / np.cos(np.radians(lat))
    found = np.zeros(len(lon), bool)
    for far in (0.0, 0.5, 1.0):
        for up in (-1.0, -0.5, 0.0, 0.5, 1.0):
            codes = utm_epsgs(lon - far * west, lat + up * north)
            found |= (codes != epsg) & (codes != 0)
    return found


def gives_way(grid: PixelGrid) -> bool:
    """Whether a lattice tile shares ground with one of a lattice that goes first
    (:func:`dwplus.grid.zones.goes_first`). It depends on the tile alone, not on the region."""
    corners = shapely.get_coordinates(grid.footprint())
    # A tile of the other lattice sticks out by up to half its width: look a whole one ahead.
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    width, height = east - west, north - south
    around = zones_meeting(west - width, south - height, east + width, north + height)
    return any(_meets_lattice(grid, corners, epsg) for epsg in sorted(around) if goes_first(epsg, grid.epsg))


def _meets_lattice(grid: PixelGrid, corners: np.ndarray, epsg: int) -> bool:
    """Whether a tile of another zone's lattice, with its centre in that zone, shares more than a hair with the grid."""
    step = grid.width * grid.scale
    x, y = transformer(4326, epsg).transform(corners[:, 0], corners[:, 1])
    outline = shapely.Polygon(np.column_stack([x, y])).buffer(-1e-3 * step)
    west, south, east, north = outline.bounds
    for column in range(math.floor(west / step), math.ceil(east / step)):
        for row in range(math.floor(south / step), math.ceil(north / step)):
            tile = shapely.box(column * step, row * step, (column + 1) * step, (row + 1) * step)
            lon, lat = transformer(epsg, 4326).transform((column + 0.5) * step, (row + 0.5) * step)
            if utm_epsgs(lon, lat) == epsg and outline.intersects(tile):
                return True
    return False
