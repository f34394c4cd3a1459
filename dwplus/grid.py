"""Pixel grids in UTM, tile ids, and the rules that tie one to the other. Pure: no Earth Engine, no files."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine

from dwplus.longitude import UTM_NORTH, UTM_SOUTH, check_latitudes, larger_side, near, near_longitude
from dwplus.zones import (
    goes_first,
    in_zone,
    meridian,
    six_degree_epsg,
    transformer,
    utm_epsg,
    utm_epsgs,
    zone_pieces,
    zones_meeting,
)

__all__ = ["DW_TILE_SCALE", "DW_TILE_SIZE", "UTM_NORTH", "UTM_SOUTH", "LatticeCells", "PixelGrid", "Tile",
           "covering_tiles", "gives_way", "in_zone", "lattice_cells", "lattice_tiles", "near_longitude", "outlines",
           "rings", "tile_from_id", "tile_on_grid", "transformer", "utm_epsg", "zone_pieces"]

#: Lattice cells made at once, and columns of a zone at the most.
CELLS_AT_ONCE, MOST_COLUMNS = 1_000_000, 10_000_000
#: Size (pixels) and pixel width (metres) of an annotated Dynamic World tile.
DW_TILE_SIZE, DW_TILE_SCALE = 510, 10


@dataclass(frozen=True)
class PixelGrid:
    """A north-up raster grid in a projected CRS.

    Attributes
    ----------
    epsg : EPSG code of the CRS.
    x0, y0 : outer corner of the upper-left pixel, metres.
    scale : pixel width and height, metres.
    height, width : pixels.
    """

    epsg: int
    x0: float
    y0: float
    scale: float
    height: int
    width: int

    @property
    def crs(self) -> str:
        return f"EPSG:{self.epsg}"

    @property
    def transform(self) -> Affine:
        """Affine from (column, row) of pixel corners to metres, rasterio's convention."""
        return Affine(self.scale, 0.0, self.x0, 0.0, -self.scale, self.y0)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.height, self.width)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north), metres."""
        return (self.x0, self.y0 - self.height * self.scale, self.x0 + self.width * self.scale, self.y0)

    @property
    def center(self) -> tuple[float, float]:
        """Centre of the grid, (longitude, latitude) in degrees."""
        west, south, east, north = self.bounds
        return transformer(self.epsg, 4326).transform((west + east) / 2, (south + north) / 2)

    @property
    def ground_epsg(self) -> int:
        """Zone that the grid's centre lies in; another than its own where an image reaches over a zone's border."""
        lon, lat = self.center
        return int(utm_epsgs(np.array(lon), np.array(lat))) or self.epsg

    def footprint(self) -> shapely.Polygon:
        """Outline in EPSG:4326, each side in four pieces; longitudes run on past 180 rather than jump."""
        ring = shapely.segmentize(shapely.box(*self.bounds), max(self.height, self.width) * self.scale / 4)
        lon, _ = self.center
        lonlat = shapely.transform(ring, lambda xy: np.column_stack(
            transformer(self.epsg, 4326).transform(xy[:, 0], xy[:, 1])))
        return near_longitude(lonlat, lon)

    def outline(self) -> shapely.Polygon:
        """:meth:`footprint` for files: at the antimeridian it ends, and shows the larger part of the grid's ground."""
        return larger_side(self.footprint())

    def block(self, row: int, col: int, height: int, width: int) -> PixelGrid:
        """The grid of a rectangle of this grid's pixels."""
        return PixelGrid(self.epsg, self.x0 + col * self.scale, self.y0 - row * self.scale, self.scale, height, width)

    def to_request(self) -> dict[str, Any]:
        """The ``grid`` of an Earth Engine ``computePixels`` request."""
        return {
            "dimensions": {"width": self.width, "height": self.height},
            "affineTransform": {"scaleX": self.scale, "shearX": 0, "translateX": self.x0,
                                "shearY": 0, "scaleY": -self.scale, "translateY": self.y0},
            "crsCode": self.crs,
        }


#: Corners of a grid and three points on each side, in shares of its width and height: the ring of a footprint.
_RING = np.array([(0, 0), (.25, 0), (.5, 0), (.75, 0), (1, 0), (1, .25), (1, .5), (1, .75), (1, 1), (.75, 1), (.5, 1),
                  (.25, 1), (0, 1), (0, .75), (0, .5), (0, .25), (0, 0)])


def rings(grids: Sequence[PixelGrid]) -> np.ndarray:
    """The rings of many grids' footprints at once, degrees, float64 (grid, point, (lon, lat)); longitudes of each run
    on past 180 rather than jump."""
    out = np.empty((len(grids), len(_RING), 2))
    zones = np.array([grid.epsg for grid in grids])
    corners = np.array([grid.bounds for grid in grids]).reshape(-1, 4)
    for epsg in np.unique(zones):
        here = np.flatnonzero(zones == epsg)
        west, south, east, north = (corners[here, k][:, None] for k in range(4))
        lon, lat = transformer(int(epsg), 4326).transform(west + (east - west) * _RING[:, 0],
                                                          south + (north - south) * _RING[:, 1])
        out[here, :, 0], out[here, :, 1] = near(lon, lon[:, :1]), lat
    return out


def outlines(grids: Sequence[PixelGrid]) -> np.ndarray:
    """:meth:`PixelGrid.outline` of many grids at once."""
    shapes = shapely.polygons(rings(grids)) if grids else np.array([], object)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    for i in np.flatnonzero((west < -180) | (east > 180)):
        shapes[i] = larger_side(shapes[i])
    return shapes


@dataclass(frozen=True)
class Tile:
    """A square of ground with a name.

    Attributes
    ----------
    id : ``dw_<lon>_<lat>-<yyyymmdd>`` for an annotated tile, ``utm_<epsg>_<x0>_<y0>_<size>x<scale>`` for a planned one.
    grid : its pixels.
    date : the date in the id of an annotated tile, else None.
    """

    id: str
    grid: PixelGrid
    date: dt.date | None = None

    @property
    def lon(self) -> float:
        return self.grid.center[0]

    @property
    def lat(self) -> float:
        return self.grid.center[1]


def tile_on_grid(grid: PixelGrid) -> Tile:
    """Name a square grid; :func:`tile_from_id` turns the name back into the same grid, to the last bit."""
    return Tile(f"utm_{grid.epsg}_{grid.x0:.17g}_{grid.y0:.17g}_{grid.width}x{grid.scale:.17g}", grid)


_NUMBER = r"-?\d+(?:\.\d+)?"
_DW_ID = re.compile(rf"(?:label_)?dw_({_NUMBER})_({_NUMBER})-(\d{{8}})")
_UTM_ID = re.compile(rf"utm_(\d{{5}})_({_NUMBER})_({_NUMBER})_(\d+)x({_NUMBER})")


def tile_from_id(tile_id: str) -> Tile:
    """The tile behind an id.

    An annotated Dynamic World tile, ``dw_<lon>_<lat>-<yyyymmdd>``: in the UTM zone of the id's point, by the plain
    6-degree rule, its centre is (ceil(x/10)*10, floor(y/10)*10), its footprint centre +/- 2550 m, 510x510 px of 10 m.
    Earth Engine spells these ids ``label_dw_..`` with ``p`` for the decimal point; both spellings are read. A planned
    tile's id carries its grid.

    Raises
    ------
    ValueError
        When the id is neither, or its point lies outside UTM.

    Source of the rule: measured on the published polygon and the 409 validation tiles of Brown et al. 2022.
    """
    plain = re.sub(r"(?<=\d)p(?=\d)", ".", tile_id)
    if match := _DW_ID.fullmatch(plain):
        lon, lat = float(match[1]), float(match[2])
        try:
            date = dt.datetime.strptime(match[3], "%Y%m%d").date()
        except ValueError:
            raise ValueError(f"tile id {tile_id!r} ends in {match[3]}, which is no date") from None
        if not -180 <= lon <= 180:
            raise ValueError(f"tile id {tile_id!r} has longitude {lon}, outside -180..180")
        epsg = six_degree_epsg(lon, lat)
        x, y = transformer(4326, epsg).transform(lon, lat)
        half = DW_TILE_SIZE * DW_TILE_SCALE / 2
        x0, y0 = math.ceil(x / 10) * 10 - half, math.floor(y / 10) * 10 + half
        return Tile(tile_id, PixelGrid(epsg, x0, y0, DW_TILE_SCALE, DW_TILE_SIZE, DW_TILE_SIZE), date)
    if match := _UTM_ID.fullmatch(tile_id):
        size = int(match[4])
        return Tile(tile_id, PixelGrid(int(match[1]), float(match[2]), float(match[3]), float(match[5]), size, size))
    raise ValueError(f"tile id {tile_id!r} is neither dw_<lon>_<lat>-<yyyymmdd> nor "
                     "utm_<epsg>_<x0>_<y0>_<size>x<scale>")


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
    """Whether a lattice tile shares ground with one of a lattice that goes first (:func:`dwplus.zones.goes_first`). It
    depends on the tile alone, not on the region."""
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
