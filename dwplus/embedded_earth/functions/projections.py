"""Projections and pixel types, the grids of images, and images of positions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.bands import projected, resampled, within
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import as_projection, function, plain_function
from dwplus.embedded_earth.grid import WGS84, Extent, Grid, Pixels, Projection, centres_in, is_geographic
from dwplus.embedded_earth.pixel_types import DOUBLE, PixelType, integer_type, pixel_type
from dwplus.embedded_earth.shapes import Geometry, lattice_bounds
from dwplus.embedded_earth.values import Band, Image


@function("Image.projection")
def projection(context: Context, image: Image) -> Projection:
    if not image.bands:
        raise ComputeError("Image.projection: the image has no bands.")
    found = {band.projection for band in image.bands}
    if len(found) > 1:
        raise ComputeError("Image.projection: The bands of the specified image contains different projections. Use "
                           "select() to pick a band or bands with the same projection.")
    return found.pop()


@function("Image.resample")
def resample(context: Context, image: Image, mode: str) -> Image:
    if mode not in ("bilinear", "bicubic"):
        raise ComputeError(f"Image.resample: Invalid interpolation mode: '{mode}'.")
    return image.with_bands(resampled(band, mode) for band in image.bands)


def target_projection(crs: Projection | None, transform: Sequence[float] | None, scale: float | None,
                      default: Projection, where: str) -> Projection:
    """A projection from the arguments crs, crsTransform and scale, as many functions take them."""
    if transform is not None and scale is not None:
        raise ComputeError(f"{where}: Parameters 'crsTransform' and 'scale' must not both be given.")
    base = crs or default
    if transform is not None:
        if len(transform) != 6:
            raise ComputeError(f"{where}: 'crsTransform' must have 6 numbers.")
        return Projection(base.crs, tuple(map(float, transform)))  # type: ignore[arg-type]
    if scale is not None:
        if not scale > 0:
            raise ComputeError(f"{where}: 'scale' must be positive.")
        return base.at_scale(scale)
    return base


@function("Image.reproject")
def reproject(context: Context, image: Image, crs: Projection, transform: list[float] | None,
              scale: float | None) -> Image:
    target = target_projection(crs, transform, scale, crs, "Image.reproject")
    return image.with_bands(projected(band, target) for band in image.bands)


@function("Image.setDefaultProjection")
def set_default_projection(context: Context, image: Image, crs: Projection, transform: list[float] | None,
                           scale: float | None) -> Image:
    target = target_projection(crs, transform, scale, crs, "Image.setDefaultProjection")
    return image.with_bands(replace(band, projection=target, extent=None) for band in image.bands)


@function("Image.clipToBoundsAndScale")
def clip_to_bounds_and_scale(context: Context, image: Image, shape: Geometry | None, width: int | None,
                             height: int | None, max_dimension: int | None, scale: float | None) -> Image:
    """Pixels of a box: on the image's own lattice, or scaled to a size or a nominal scale."""
    def of(band: Band) -> Band:
        own = band.projection
        lattice = Grid(own.crs, own.transform, 0, 0)
        if shape is not None:
            local = shape.drawn(own.crs)
            ia = lattice_bounds(local, own)
        elif band.extent is not None:
            ia = (band.extent.col, band.extent.row, band.extent.col + band.extent.width,
                  band.extent.row + band.extent.height)
        else:
            raise ComputeError("Image.clipToBoundsAndScale: the image is unbounded; give a geometry.")
        left, top, right, bottom = ia
        across, down = right - left, bottom - top
        if not across > 0 or not down > 0:
            raise ComputeError("Image.clipToBoundsAndScale: the geometry has no area.")
        factor_x = factor_y = 1.0
        if scale is not None:
            factor_x = factor_y = scale / own.scale
        elif max_dimension is not None:
            factor_x = factor_y = max(across, down) / max_dimension
        else:
            factor_x = across / width if width else 1.0
            factor_y = down / height if height else (factor_x if width else 1.0)
            if height and not width:
                factor_x = factor_y
        a, b, c, d, e, f = lattice.transform
        if factor_x == factor_y == 1.0:
            snapped = (math.floor(left + 1e-6), math.floor(top + 1e-6), math.ceil(right - 1e-6),
                       math.ceil(bottom - 1e-6))
            target = own
            extent = Extent(snapped[0], snapped[1], snapped[2] - snapped[0], snapped[3] - snapped[1])
        else:
            target = Projection(own.crs, (a * factor_x, b * factor_y, c + left * a + top * b, d * factor_x,
                                          e * factor_y, f + left * d + top * e))
            extent = Extent(0, 0, max(1, round(across / factor_x)), max(1, round(down / factor_y)))

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return values, masks.both(valid, within(bounded, grid))

        bounded = replace(band, projection=target, extent=extent, constant=None)
        return replace(bounded, read=read)

    return image.with_bands(map(of, image.bands))


def _position_image(names: Sequence[str], crs: Projection, values: Callable[[Grid], Sequence[np.ndarray]]) -> Image:
    def of(index: int) -> Callable[[Grid], Pixels]:
        return lambda grid: (np.ascontiguousarray(values(grid)[index], "f8"), None)

    return Image(tuple(Band(name, DOUBLE, crs, None, of(i)) for i, name in enumerate(names)))


@function("Image.pixelLonLat")
def pixel_lon_lat(context: Context) -> Image:
    return _position_image(("longitude", "latitude"), WGS84, lambda grid: centres_in(grid, WGS84.crs))


@function("Image.pixelCoordinates")
def pixel_coordinates(context: Context, crs: Projection) -> Image:
    def values(grid: Grid) -> Sequence[np.ndarray]:
        x, y = centres_in(grid, crs.crs)
        a, b, c, d, e, f = crs.transform
        determinant = a * e - b * d
        return (e * (x - c) - b * (y - f)) / determinant, (a * (y - f) - d * (x - c)) / determinant

    return _position_image(("x", "y"), crs, values)


@function("Image.pixelArea")
def pixel_area(context: Context) -> Image:
    def values(grid: Grid) -> Sequence[np.ndarray]:
        a, b, _, d, e, _ = grid.transform
        size = abs(a * e - b * d)
        if not is_geographic(grid.crs):
            return (np.full(grid.shape, size),)
        _, latitude = grid.centres()
        # Area of a degree cell on the WGS84 ellipsoid: M(lat) N(lat) cos(lat), radii of curvature.
        axis, e2 = 6378137.0, 0.0066943799901413165
        s2 = np.sin(np.radians(latitude)) ** 2
        m, n = axis * (1 - e2) / (1 - e2 * s2) ** 1.5, axis / np.sqrt(1 - e2 * s2)
        return (size * math.radians(1) ** 2 * m * n * np.cos(np.radians(latitude)),)

    return _position_image(("area",), WGS84, values)


# -------------------------------------------------------------------------------------- projections and types as values


@function("Projection")
def make_projection(context: Context, crs: Any, transform: list[Any] | None, wkt: str | None) -> Projection:
    base = as_projection(context, crs)
    if base is None:
        raise ComputeError("Projection: 'crs' must name a coordinate reference system.")
    if transform is None:
        return base
    if len(transform) != 6 or not all(isinstance(v, int | float) for v in transform):
        raise ComputeError("Projection: 'transform' must have 6 numbers.")
    return Projection(base.crs, tuple(map(float, transform)))  # type: ignore[arg-type]


def _wkt(projection: Projection) -> str:
    return str(pyproj.CRS.from_user_input(projection.crs).to_wkt("WKT1_GDAL"))


plain_function("Projection.crs", lambda p: p.crs)
plain_function("Projection.wkt", _wkt)
plain_function("Projection.transform", lambda p: str(list(p.transform)))
plain_function("Projection.nominalScale", lambda p: p.scale)
plain_function("Projection.atScale", lambda p, metres: p.at_scale(metres))


def _moved(p: Projection, dx: float, dy: float, sx: float, sy: float) -> Projection:
    a, b, c, d, e, f = p.transform
    return Projection(p.crs, (a * sx, b * sy, c + a * dx + b * dy, d * sx, e * sy, f + d * dx + e * dy))


plain_function("Projection.scale", lambda p, x, y: _moved(p, 0, 0, x, y))
plain_function("Projection.translate", lambda p, x, y: _moved(p, x, y, 1, 1))


@function("PixelType")
def make_pixel_type(context: Context, precision: Any, low: float | None, high: float | None,
                    dimensions: int) -> PixelType:
    if not 0 <= dimensions <= 16:
        raise ComputeError("PixelType: 'dimensions' must be 0 to 16.")
    if low is not None and high is not None and low > high:
        raise ComputeError("PixelType: 'minValue' must not exceed 'maxValue'.")
    made = pixel_type(precision)
    if made is None:
        raise ComputeError("PixelType: unknown precision.")
    if low is not None or high is not None:
        made = PixelType(made.precision, made.minimum if low is None else low, made.maximum if high is None else high)
    return replace(made, dimensions=dimensions or made.dimensions)


for _name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"):
    plain_function(f"PixelType.{_name}", functools.partial(integer_type, _name))
plain_function("PixelType.float", lambda: PixelType("float"))
plain_function("PixelType.double", lambda: PixelType("double"))
plain_function("PixelType.precision", lambda t: t.precision)
plain_function("PixelType.minValue", lambda t: t.minimum)
plain_function("PixelType.maxValue", lambda t: t.maximum)
plain_function("PixelType.dimensions", lambda t: t.dimensions)
