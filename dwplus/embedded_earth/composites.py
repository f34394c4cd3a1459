"""Several images as one: bands side by side, or pixels over each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.footprints import together
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels
from dwplus.embedded_earth.pixel_types import cast
from dwplus.embedded_earth.values import Band, Image, collection_of, unique


def stack(images: Sequence[Image]) -> Image:
    """Bands of several images in one, with the first one's properties."""
    if not images:
        return Image(())
    bands = [band for image in images for band in image.bands]
    return replace(images[0], bands=unique(bands), id=None, version=None)


def groups(images: Sequence[Image]) -> dict[str, list[Band]]:
    """Bands of the same name across images, in the order of the first image."""
    found: dict[str, list[Band]] = {}
    for image in images:
        for band in image.bands:
            found.setdefault(band.id, []).append(band)
    return found


def composite(images: Sequence[Image], bands: Iterable[Band]) -> Image:
    """A composite: its bands have no pixels of their own (EPSG:4326 at one degree), its footprint is the union."""
    shapes = [image.footprint for image in images]
    area = None
    if images and all(shape is not None for shape in shapes):
        area = together(collection_of(images, "ImageCollection"))
    loose = [Band(b.id, b.type, WGS84, None, b.read) for b in bands]
    return Image(tuple(loose), {}, None, None, area)


def mosaic(context: Context, images: Sequence[Image]) -> Image:
    """Images over each other, the last one on top."""
    def of(name: str, group: list[Band]) -> Band:
        common = group[0].type
        for band in group[1:]:
            common = common.union(band.type)

        def read(grid: Grid) -> Pixels:
            out = np.zeros(grid.shape, common.dtype)
            seen = np.zeros(grid.shape, bool)
            put, mask = masks.assembled(grid.shape)
            for band in reversed(group):
                context.check_time()
                values, valid = band.read(grid)
                take = ~seen if valid is None else masks.seen(valid) & ~seen
                np.copyto(out, cast(values, common), where=take)
                put(take, None if valid is None or valid.dtype == bool else valid[take])
                seen |= take
                if seen.all():
                    break
            return out, masks.both(None if seen.all() else seen, masks.tidied(mask()))

        return Band(name, common, WGS84, None, read)

    return composite(images, [of(name, group) for name, group in groups(images).items()])
