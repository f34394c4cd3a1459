"""xee: a collection of one image on the tile's grid, the whole tile in one chunk, ``to_zarr`` with its defaults."""

import driver
import ee
import xarray as xr
import xee  # noqa: F401  (registers the engine)

given = driver.arguments()
driver.connect(given.url)


def one(tile, path):
    images = ee.ImageCollection([driver.image_of(tile).set("system:time_start", 0, "system:id", tile.name)])
    data = xr.open_dataset(images, engine="ee", crs=f"EPSG:{tile.epsg}", shape_2d=(tile.size, tile.size),
                           crs_transform=(tile.scale, 0, tile.x0, 0, -tile.scale, tile.y0),
                           chunks=None, io_chunks=-1)
    data.to_zarr(path, mode="w-")


driver.each_tile(given, ".zarr", one)
