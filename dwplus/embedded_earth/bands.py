"""Bands that are made, resampled and read from stored scenes, with their pyramids."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.catalog import BandSpec, MissingRaster, Scene, Window
from dwplus.embedded_earth.cubic import read_bicubic
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.grid import (
    WGS84,
    Extent,
    Grid,
    Pixels,
    Projection,
    canonical_crs,
    centres_in,
    pyramid_level,
    read_bilinear,
    read_nearest,
)
from dwplus.embedded_earth.pixel_types import DOUBLE, FLOAT, PixelType, cast
from dwplus.embedded_earth.shapes import Geometry, geometry_of, polygon_of
from dwplus.embedded_earth.values import Band, Image


def constant_band(value: float, name: str = "constant") -> Band:
    """A number everywhere."""
    if isinstance(value, bool) or (abs(value) < 2**63 and float(value).is_integer()):
        to = PixelType("int", int(value), int(value))
    else:
        to = PixelType("double", value, value)
    number = to.dtype.type(value)

    def read(grid: Grid) -> Pixels:
        return np.broadcast_to(number, grid.shape), None

    return Band(name, to, WGS84, None, read, float(value))


#: Reads (row, col, height, width) of a raster's own pixels.
_Reader = Callable[[int, int, int, int], Pixels]


def native_reader(band: Band) -> _Reader:
    """Reader of a band's own pixels by (row, col, height, width)."""
    def read(row: int, col: int, height: int, width: int) -> Pixels:
        return band.read(Grid(band.projection.crs, band.projection.transform, 0, 0).window(row, col, height, width))

    return read


def resampled(band: Band, mode: str = "bilinear") -> Band:
    """The band interpolated between its own pixels; composites have none and stay as they are."""
    interpolate = read_bicubic if mode == "bicubic" else read_bilinear
    if band.is_composite:
        return band
    if band.constant is not None:
        return band
    to = band.type if band.type.precision != "int" else FLOAT if band.type.dtype.itemsize <= 2 else DOUBLE
    reader = native_reader(band)

    def read(grid: Grid) -> Pixels:
        level = pyramid_level(grid, band.projection)
        if not level:
            return interpolate(grid, band.projection, band.extent, reader, to.dtype)
        # Coarse grids interpolate between the pixels of the pyramid's level, not between native ones.
        coarse = replace(band, projection=band.projection.coarser(level),
                         extent=None if band.extent is None else band.extent.coarser(level))
        return interpolate(grid, coarse.projection, coarse.extent, native_reader(coarse), to.dtype)

    return replace(band, type=replace(to, minimum=band.type.minimum, maximum=band.type.maximum), read=read,
                   constant=None)


def projected(band: Band, projection: Projection) -> Band:
    """The band computed on a projection's pixels, nearest neighbour from there on."""
    reader = native_reader(replace(band, projection=projection))

    def read(grid: Grid) -> Pixels:
        return read_nearest(grid, projection, None, band.type.dtype, reader)

    return replace(band, projection=projection, extent=None, read=read)


def within(band: Band, grid: Grid) -> np.ndarray | None:
    """Pixels of a grid that lie on a band's own raster; None for all."""
    if band.extent is None:
        return None
    x, y = centres_in(grid, band.projection.crs)
    a, b, c, d, e, f = band.projection.transform
    determinant = a * e - b * d
    col = (e * (x - c) - b * (y - f)) / determinant - band.extent.col
    row = (a * (y - f) - d * (x - c)) / determinant - band.extent.row
    inside = (col >= 0) & (col < band.extent.width) & (row >= 0) & (row < band.extent.height)
    return None if inside.all() else inside


# --------------------------------------------------------------------------------------------------- stored images


#: Footprints that are kept as shapes, and with them what is asked of them.
_KEPT_OUTLINES = 4096
#: Outlines by the identity of their coordinates, which are kept beside them, so that no other list takes their place.
_outlines: dict[int, tuple[Any, Geometry]] = {}


def _outline(footprint: dict[str, Any]) -> Geometry:
    """A scene's footprint as an area; all scenes of a track and a granule share one."""
    coordinates = footprint.get("coordinates")
    known = _outlines.get(id(coordinates))
    if known is not None and known[0] is coordinates:
        return known[1]
    shape = Geometry(polygon_of(geometry_of(footprint).shape))
    if coordinates is not None:
        if len(_outlines) >= _KEPT_OUTLINES:
            _outlines.clear()
        _outlines[id(coordinates)] = coordinates, shape
    return shape


def image_of(scene: Scene) -> Image:
    """A stored scene as an image whose bands read windows of it, once per request."""
    properties = scene.properties
    footprint = properties.get("system:footprint")
    return Image(tuple(_stored_band(scene, index) for index in range(len(scene.bands))), properties, scene.id, None,
                 None if footprint is None else _outline(footprint))


@functools.lru_cache(maxsize=4096)
def _form(spec: BandSpec) -> tuple[PixelType, Projection]:
    return (PixelType(spec.precision, spec.minimum, spec.maximum),
            Projection(canonical_crs(spec.crs), spec.transform))


def _stored_band(scene: Scene, index: int) -> Band:
    spec = scene.bands[index]
    to, projection = _form(spec)
    if not spec.width:
        def refuse(grid: Grid) -> Pixels:
            raise _no_raster(scene)

        return Band(spec.id, to, projection, None, refuse)
    extent = Extent(0, 0, spec.width, spec.height)
    last: list[tuple[tuple[int, int, int, int], Pixels]] = []

    def native(row: int, col: int, height: int, width: int) -> Pixels:
        key = (row, col, height, width)
        if last and last[0][0] == key:
            return last[0][1]
        try:
            values, valid = scene.read((spec.id,), Window(*key))[spec.id]
        except MissingRaster:
            raise _no_raster(scene) from None
        pixels = cast(values, to), valid
        last[:] = [(key, pixels)]
        return pixels

    def read(grid: Grid) -> Pixels:
        level = pyramid_level(grid, projection)
        if not level:
            return read_nearest(grid, projection, extent, to.dtype, native)
        # Blocks, so that a coarse view of a large scene never holds its native pixels at once.
        return read_nearest(grid, projection.coarser(level), extent.coarser(level), to.dtype,
                            in_blocks(_coarse(native, spec, to, level), max(1, _BLOCK >> level), to.dtype))

    return Band(spec.id, to, projection, extent, read)


def _coarse(native: _Reader, spec: BandSpec, to: PixelType, level: int) -> _Reader:
    """Reader of a level of a stored band's pyramid, in that level's pixels. It stands outside the band: a function that
    knows itself through its own closure keeps the band's pixels until the collector finds them."""
    def read(row: int, col: int, height: int, width: int) -> Pixels:
        factor = 2 ** min(level, _FINEST)
        if level > _FINEST:  # from the finest kept level on, so that memory stays bounded
            inner, rest = Extent(0, 0, spec.width, spec.height).coarser(_FINEST), 2 ** (level - _FINEST)
            rows, cols = min(inner.height, (row + height) * rest), min(inner.width, (col + width) * rest)
            fine = in_blocks(_coarse(native, spec, to, _FINEST), _BLOCK >> _FINEST, to.dtype)
            part = fine(row * rest, col * rest, rows - row * rest, cols - col * rest)
            return downsampled(part, (height, width), level - _FINEST, spec.pyramid, to)
        top, left = row * factor, col * factor
        bottom, right = min(spec.height, (row + height) * factor), min(spec.width, (col + width) * factor)
        return downsampled(native(top, left, bottom - top, right - left), (height, width), level, spec.pyramid, to)

    return read


#: Side, in native pixels, of the blocks that pyramids are made from.
_BLOCK = 2048
#: The finest level from which coarser ones are made step by step.
_FINEST = 8


def in_blocks(read: Callable[[int, int, int, int], Pixels], side: int,
              dtype: np.dtype) -> Callable[[int, int, int, int], Pixels]:
    """A reader that asks another one for blocks of at most ``side`` pixels."""
    def run(row: int, col: int, height: int, width: int) -> Pixels:
        if height <= side and width <= side:
            return read(row, col, height, width)
        out = np.empty((height, width), dtype)
        put, whole = masks.assembled(out.shape)
        for top in range(0, height, side):
            for left in range(0, width, side):
                block = np.s_[top:min(top + side, height), left:min(left + side, width)]
                shape = out[block].shape
                out[block], valid = read(row + top, col + left, *shape)
                put(block, valid)
        return out, masks.tidied(whole())

    return run


def downsampled(pixels: Pixels, shape: tuple[int, int], level: int, policy: str, to: PixelType) -> Pixels:
    """Pixels of a coarser level: halved again and again by the mean or the mode, weighted by the mask, or by a sample.

    The mask is the mean of the masks, of a sample its own; beyond the raster's edge there is nothing.
    Source: https://developers.google.com/earth-engine/reference/rest/Shared.Types/PyramidingPolicy

    Parameters
    ----------
    pixels : native ones of whole blocks; at the raster's right and lower edge blocks may be cut.
    shape : (height, width) wanted.
    """
    values, mask = pixels
    factor = 2 ** level
    pad = ((0, shape[0] * factor - values.shape[0]), (0, shape[1] * factor - values.shape[1]))
    if pad != ((0, 0), (0, 0)):
        values, mask = np.pad(values, pad), np.pad(masks.shares(mask, values.shape), pad)
    for _ in range(level):
        values, mask = _halved(values, mask, policy)
    if to.precision == "int" and values.dtype.kind == "f":
        values = np.rint(values)
    return cast(values, to), None if mask is None else masks.tidied(mask)


def _halved(values: np.ndarray, mask: masks.Mask, policy: str) -> Pixels:
    """Every two by two pixels as one; the mask comes out as shares."""
    parts, weights = _quarters(values), None if mask is None else _quarters(mask)
    if policy == "sample":
        return parts[0], None if weights is None else weights[0]
    share = None if weights is None else weights.mean(axis=0, dtype="f4")
    if policy == "mode":
        return _most_frequent(parts, np.ones(parts.shape, "u1") if weights is None else weights), share
    if weights is None:
        return parts.mean(axis=0, dtype="f8"), None
    total = weights.sum(axis=0, dtype="f8")
    data = np.where(weights > 0, parts, 0) * weights.astype("f8")
    return np.divide(data.sum(axis=0), total, out=np.zeros(total.shape), where=total > 0), share


def _quarters(array: np.ndarray) -> np.ndarray:
    """(4, h/2, w/2): the four pixels of every two by two."""
    return np.stack([array[i::2, j::2] for i in (0, 1) for j in (0, 1)])


def _most_frequent(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The one of four values with the largest weight, masked ones apart; of equals the first."""
    votes = np.stack([((parts == parts[i]) * weights).sum(axis=0) * (weights[i] > 0) for i in range(4)])
    return np.take_along_axis(parts, votes.argmax(axis=0)[None], 0)[0]


def _no_raster(scene: Scene) -> ComputeError:
    return ComputeError(f"Image.load: Image asset '{scene.id}' has metadata only: its pixels are not in this archive.")
