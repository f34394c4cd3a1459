"""Where images and collections lie."""

from __future__ import annotations

import shapely

from dwplus.embedded_earth.grid import Extent, Grid
from dwplus.embedded_earth.shapes import Geometry, combinable
from dwplus.embedded_earth.values import Band, Collection, Image

WORLD = Geometry(shapely.Polygon([(-180, -90), (180, -90), (180, 90), (-180, 90)]), "EPSG:4326", False)


def extent_ring(band: Band) -> shapely.Geometry:
    """Outline of a band's raster in its CRS."""
    extent = band.extent or Extent(0, 0, 1, 1)
    grid = Grid(band.projection.crs, band.projection.transform, 0, 0).window(extent.row, extent.col, extent.height,
                                                                              extent.width)
    return shapely.Polygon(grid.corners())


def footprint(image: Image) -> Geometry:
    """Where an image has pixels: its footprint, else the outline of its raster, else the world."""
    if image.footprint is not None:
        return image.footprint
    for band in image.bands:
        if band.extent is not None:
            ring = extent_ring(band)
            dense = shapely.segmentize(ring, max(ring.length / 64, 1e-9))
            return Geometry(dense, band.projection.crs, False).to("EPSG:4326")
    return WORLD


def together(collection: Collection) -> Geometry:
    """All geometries of a collection in one."""
    shapes = [footprint(element) if isinstance(element, Image) else element.geometry for element in collection]
    parts, geodesic = combinable([shape for shape in shapes if shape is not None])
    return Geometry(shapely.union_all(parts) if parts else shapely.GeometryCollection(), "EPSG:4326", geodesic)
