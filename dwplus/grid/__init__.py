"""Where on the globe: longitudes, UTM zones, pixel grids, tiles and the lattice they lie on. Pure: no Earth Engine, no
files."""

from dwplus.grid.lattice import LatticeCells, covering_tiles, gives_way, lattice_cells, lattice_tiles
from dwplus.grid.longitude import UTM_NORTH, UTM_SOUTH, near_longitude
from dwplus.grid.pixels import PixelGrid, outlines, rings
from dwplus.grid.tiles import DW_TILE_SCALE, DW_TILE_SIZE, Tile, tile_from_id, tile_on_grid
from dwplus.grid.zones import in_zone, transformer, utm_epsg, zone_pieces

__all__ = ["DW_TILE_SCALE", "DW_TILE_SIZE", "UTM_NORTH", "UTM_SOUTH", "LatticeCells", "PixelGrid", "Tile",
           "covering_tiles", "gives_way", "in_zone", "lattice_cells", "lattice_tiles", "near_longitude", "outlines",
           "rings", "tile_from_id", "tile_on_grid", "transformer", "utm_epsg", "zone_pieces"]
