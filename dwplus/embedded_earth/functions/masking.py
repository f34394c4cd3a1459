"""Images: their masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.bands import constant_band, within
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.images import broadcast
from dwplus.embedded_earth.functions.regions import coverage, footprint_mask
from dwplus.embedded_earth.functions.registry import as_geometry, function
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels
from dwplus.embedded_earth.pixel_types import PixelType, cast
from dwplus.embedded_earth.shapes import Geometry, combinable
from dwplus.embedded_earth.values import Band, Image


@function("Image.updateMask")
def update_mask(context: Context, image: Image, mask: Image) -> Image:
    return _masked(image, mask, keep=True)


@function("Image.selfMask")
def self_mask(context: Context, image: Image) -> Image:
    return _masked(image, image, keep=True)


@function("Image.mask")
def mask_of(context: Context, image: Image, mask: Image | None) -> Image:
    if mask is not None:
        return _masked(image, mask, keep=False)

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            _, valid = band.read(grid)
            return masks.shares(valid, grid.shape), None

        return band.derived(read, PixelType("float", 0, 1))

    return image.with_bands(map(of, image.bands))


def _masked(image: Image, mask: Image, keep: bool) -> Image:
    """The image under a new mask: everywhere, or with ``keep`` where it has data already.

    The mask's values are cut to 0..1; where the mask itself is masked they are 0.
    """
    def of(band: Band, by: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            on, on_valid = (values, valid) if by is band else by.read(grid)
            new = masks.tidied(on) if on.dtype.kind == "f" else on > 0
            if on_valid is not None:
                new = masks.both(new, masks.seen(on_valid))
            if valid is None:
                return values, new
            had = masks.seen(valid)
            if keep:
                return values, masks.both(new, had)
            return np.where(had, values, _nearest_to_zero(band.type)), new

        return band.derived(read)

    return image.with_bands(of(band, by) for band, by in zip(image.bands, broadcast(mask, len(image.bands)),
                                                             strict=True))


def _nearest_to_zero(to: PixelType) -> Any:
    """What pixels hold that had no data and get a mask."""
    low, high = (0 if end is None else end for end in (to.minimum, to.maximum))
    return to.dtype.type(min(max(0, low), max(high, low, 0)))


@function("Image.unmask")
def unmask(context: Context, image: Image, value: Image | None, same_footprint: bool) -> Image:
    fill = value if value is not None else Image((constant_band(0),))

    def of(band: Band, by: Band) -> Band:
        to = band.type.union(by.type)

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            values = cast(values, to)
            if valid is None:
                return values, None
            other, limit = by.read(grid)
            if same_footprint:
                limit = masks.both(limit, masks.both(within(band, grid), footprint_mask(image.footprint, grid)))
            had = masks.seen(valid)
            return np.where(had, values, cast(other, to)), masks.chosen(had, valid, limit)

        return band.derived(read, to)

    bands = [of(band, by) for band, by in zip(image.bands, broadcast(fill, len(image.bands)), strict=True)]
    if same_footprint:
        return image.with_bands(bands)
    # The footprint grows with the value's; the grid's bounds go with it.
    return replace(image.with_bands(bands), footprint=fill.footprint)


@function("Image.clip", "Image.clipToCollection")
def clip(context: Context, image: Image, region: Any) -> Image:
    shape = as_geometry(context, region)
    if shape is None:
        raise ComputeError("Image.clip: Parameter 'geometry' must be a geometry, a feature or a collection.")

    last: list[tuple[Grid, masks.Mask]] = []

    def covered(grid: Grid) -> masks.Mask:
        if not last or last[0][0] != grid:
            last[:] = [(grid, coverage(shape, grid))]
        return last[0][1]

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return values, masks.both(valid, covered(grid))

        return band.derived(read)

    kept = shape
    if image.footprint is not None:
        parts, geodesic = combinable([image.footprint, shape])
        kept = Geometry(shapely.intersection(*parts), WGS84.crs, geodesic)
    properties = {**image.properties, "system:footprint": kept.json()} if not kept.shape.is_empty else image.properties
    return replace(image, bands=tuple(map(of, image.bands)), properties=properties, footprint=kept)
