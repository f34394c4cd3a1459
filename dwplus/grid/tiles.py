"""Tiles, their ids, and the rules that tie one to the other."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass

from dwplus.grid.pixels import PixelGrid
from dwplus.grid.zones import six_degree_epsg, transformer

#: Size (pixels) and pixel width (metres) of an annotated Dynamic World tile.
DW_TILE_SIZE, DW_TILE_SCALE = 510, 10


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
