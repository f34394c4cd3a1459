"""One tile after the other by download URL, a GeoTIFF each, as MMEarth-data does it."""

import urllib.request

import driver

given = driver.arguments()
driver.connect(given.url)


def one(tile, path):
    # A GeoTIFF has one type for all bands: int32 holds uint16 and int16.
    url = driver.image_of(tile).toInt32().getDownloadURL({
        "format": "GEO_TIFF", "crs": f"EPSG:{tile.epsg}", "dimensions": [tile.size, tile.size],
        "crs_transform": [tile.scale, 0, tile.x0, 0, -tile.scale, tile.y0]})
    with urllib.request.urlopen(url) as answer, open(path, "wb") as file:
        file.write(answer.read())


driver.each_tile(given, ".tif", one)
