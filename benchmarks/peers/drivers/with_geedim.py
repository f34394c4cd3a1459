"""geedim: ``prepareForExport`` and ``toGeoTIFF``, with the largest pieces it allows: one request of pixels a tile.

Its event loop serves one image at a time ("This event loop is already running"), hence processes, not threads.
"""

import driver
import geedim.stac

given = driver.arguments()


def one(tile, path):
    ready = driver.image_of(tile).gd.prepareForExport(
        crs=f"EPSG:{tile.epsg}", crs_transform=[tile.scale, 0, tile.x0, 0, -tile.scale, tile.y0],
        shape=(tile.size, tile.size), dtype="int32").gd
    geedim.stac.STACClient()._cache[ready.id] = None  # it would look the catalogue up on the internet
    ready.toGeoTIFF(path, nodata=False, max_tile_size=32, max_requests=40)


driver.each_tile_in_processes(given, ".tif", one)
