"""Pixel grids in UTM, and their outlines on the globe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine

from dwplus.grid.longitude import larger_side, near, near_longitude
from dwplus.grid.zones import transformer, utm_epsgs


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
