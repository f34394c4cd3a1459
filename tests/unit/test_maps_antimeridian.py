"""A map on both sides of the 180th meridian: a narrow mosaic, not one around the earth."""

import numpy as np
import pytest
import rasterio

from dwplus.grid import PixelGrid, transformer
from dwplus.maps.blocks import Block
from dwplus.maps.look import quicklook, thumbnail
from dwplus.maps.raster import LAYERS, degree_boxes, write_vrt
from dwplus.maps.viewer import _outline


def made(folder, layer, zones):
    """A raster of each zone, 1 km around a place beside the meridian or across it; each of one class."""
    paths = []
    for number, (epsg, lon, lat) in enumerate(zones):
        x, y = transformer(4326, epsg).transform(lon, lat)
        grid = PixelGrid(epsg, round(x / 10) * 10 - 500, round(y / 10) * 10 + 500, 10.0, 100, 100)
        paths.append(folder / f"{layer.name}_{epsg}.tif")
        with rasterio.open(paths[-1], "w", driver="GTiff", count=1, height=100, width=100, dtype="uint8", crs=grid.crs,
                           transform=grid.transform, nodata=255) as raster:
            raster.write(np.full((1, 100, 100), number + 1 if layer.name == "class" else 90, "uint8"))
    return paths


@pytest.mark.parametrize("zones", [
    [(32760, 179.99, -16.8), (32701, -179.99, -16.8)],  # one on each side
    [(32760, 180.0, -16.8), (32701, -179.97, -16.8)],  # the western one reaches across
    [(32660, 179.97, 52.1), (32601, 180.0, 52.1)]])  # the eastern one does
def test_two_zones_across_the_meridian(tmp_path, zones):
    layer = LAYERS["class"]
    paths = made(tmp_path, layer, zones)
    write_vrt(tmp_path / "class.vrt", layer, paths)
    with rasterio.open(tmp_path / "class.vrt") as mosaic:
        west, south, east, north = mosaic.bounds
        assert 179.8 < west < 180 < east < 180.2 and mosaic.width < 2_000
        found = mosaic.read(1)
        # Each place shows its own class.
        for number, (_, lon, lat) in enumerate(zones):
            row, col = mosaic.index(lon % 360, lat)
            assert found[row, col] == number + 1
    # As much of each as 100 x 100 pixels of 10 m are in degrees, not a trace more.
    per_class = np.bincount(found.ravel(), minlength=256)[1:3] * np.cos(np.radians(zones[0][2]))
    assert per_class[0] + per_class[1] == pytest.approx(20_000 - overlap(zones), rel=0.03)
    sure = made(tmp_path, LAYERS["confidence"], zones)
    write_vrt(tmp_path / "confidence.vrt", LAYERS["confidence"], sure)
    picture, bounds, metres = thumbnail(tmp_path / "class.vrt", 400)
    assert set(np.unique(picture)) >= {1, 2} and metres < 100
    quicklook(tmp_path / "class.vrt", tmp_path / "confidence.vrt", tmp_path / "q.png", "t", "s")
    for box in degree_boxes(paths):
        assert 179.8 < box[0] < box[2] < 180.2 and box[3] - box[1] < 0.1
    # The page draws its outlines of blocks on the mosaic.
    with rasterio.open(tmp_path / "class.vrt") as mosaic:
        for path in paths:
            with rasterio.open(path) as raster:
                grid = PixelGrid(raster.crs.to_epsg(), raster.bounds.left, raster.bounds.top, 10.0, 100, 100)
            corners = np.array(_outline(Block(path.stem, grid, ()), mosaic.crs, mosaic.transform)["corners"])
            assert (corners > -20).all() and (corners < [mosaic.width + 20, mosaic.height + 20]).all()


def overlap(zones):
    """Pixels that both rasters hold."""
    (_, a, lat), (_, b, _) = zones
    metres = abs((b - a + 180) % 360 - 180) * 111_320 * np.cos(np.radians(lat))
    return max(0.0, 1000 - metres) / 10 * 100


def test_a_map_elsewhere_stays_in_its_degrees(tmp_path):
    paths = made(tmp_path, LAYERS["class"], [(32631, 5.99, 50.0), (32632, 6.01, 50.0)])
    write_vrt(tmp_path / "class.vrt", LAYERS["class"], paths)
    with rasterio.open(tmp_path / "class.vrt") as mosaic:
        assert 5.9 < mosaic.bounds.left < mosaic.bounds.right < 6.1
