"""geedim: ``prepareForExport`` and ``toGeoTIFF``, with the largest pieces it allows: one request of pixels a tile."""

import driver
import geedim  # noqa: F401  (registers the accessor)

given = driver.arguments()
driver.connect(given.url)


def one(tile, path):
    ready = driver.image_of(tile).gd.prepareForExport(
        crs=f"EPSG:{tile.epsg}", crs_transform=[tile.scale, 0, tile.x0, 0, -tile.scale, tile.y0],
        shape=(tile.size, tile.size), dtype="int32")
    ready.gd.toGeoTIFF(path, nodata=False, max_tile_size=32, max_requests=40)


driver.each_tile(given, ".tif", one)
