"""Images: making them, choosing and naming their bands, and the bands' types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth.bands import constant_band
from dwplus.embedded_earth.composites import stack
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.array_numbers import to_type
from dwplus.embedded_earth.functions.registry import as_image, convert, function
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, FLOAT, PixelType, cast, integer_type
from dwplus.embedded_earth.regular import expression
from dwplus.embedded_earth.values import Band, Date, Image


@function("Image.load")
def load(context: Context, asset_id: str, version: int) -> Image:
    return context.image(asset_id)


def _constant_array(value: np.ndarray) -> Image:
    """The same array in every pixel; of a single number the number."""
    if not value.ndim:
        return Image((constant_band(value.item()),))
    low, high = (float(value.min()), float(value.max())) if value.size else (None, None)
    to = PixelType("int" if value.dtype.kind == "i" else "double", low, high, value.ndim)

    def read(grid: Grid) -> Pixels:
        out = np.empty(grid.shape, object)
        for index in np.ndindex(grid.shape):
            out[index] = value
        return out, None

    return Image((Band("constant", to, WGS84, None, read),))


@function("Image.constant")
def constant(context: Context, value: Any) -> Image:
    if isinstance(value, np.ndarray):
        return _constant_array(value)
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ComputeError("Image.constant: Parameter 'value' must be a number or a list of numbers.")
    if not isinstance(value, list):
        return Image((constant_band(value),))
    return Image(tuple(constant_band(number, f"constant_{i}" if i else "constant") for i, number in enumerate(numbers)))


def select_bands(image: Image, selectors: Sequence[Any]) -> list[Band]:
    """Bands by name, pattern or number."""
    chosen = []
    for selector in selectors:
        if isinstance(selector, int | float) and not isinstance(selector, bool):
            if not -len(image.bands) <= selector < len(image.bands):
                raise ComputeError(f"Image.select: Band index {int(selector)} out of bounds: the image has "
                                   f"{len(image.bands)} bands.")
            chosen.append(image.bands[int(selector)])
            continue
        if not isinstance(selector, str):
            raise ComputeError(f"Image.select: Invalid band selector: {selector!r:.40}.")
        exact = [band for band in image.bands if band.id == selector]
        if not exact:
            pattern = expression(selector, where="Image.select")
            exact = [band for band in image.bands if pattern.fullmatch(band.id)]
        chosen += exact or [image.band(selector)]
    return chosen


def renamed(bands: Sequence[Band], names: Sequence[Any], where: str) -> list[Band]:
    """Bands under new names, as many as bands."""
    if len(names) != len(bands):
        raise ComputeError(f"{where}: The number of names ({len(names)}) must match the number of bands "
                           f"({len(bands)}).")
    if len(set(names)) != len(names):
        raise ComputeError(f"{where}: Band names must be distinct; got [{', '.join(map(str, names))}].")
    if not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_\-.]+", name) for name in names):
        raise ComputeError(f"{where}: Invalid band name in [{', '.join(map(str, names))}].")
    return [band.named(name) for band, name in zip(bands, names, strict=True)]


@function("Image.select")
def select(context: Context, image: Image, selectors: list[Any], names: list[Any] | None) -> Image:
    bands = select_bands(image, selectors)
    return image.with_bands(renamed(bands, names, "Image.select") if names else bands)


@function("Image.rename")
def rename(context: Context, image: Image, names: list[Any]) -> Image:
    return image.with_bands(renamed(image.bands, names, "Image.rename"))


@function("Image.slice")
def slice_bands(context: Context, image: Image, start: int, end: int | None) -> Image:
    return image.with_bands(image.bands[start:end])


@function("Image.addBands")
def add_bands(context: Context, image: Image, source: Image, names: list[Any] | None, overwrite: bool) -> Image:
    new = select_bands(source, names) if names else list(source.bands)
    if not overwrite:
        return image.with_bands([*image.bands, *new])
    by_name = {band.id: band for band in new}
    return image.with_bands([*(by_name.pop(band.id, band) for band in image.bands), *by_name.values()])


@function("Image.cat")
def cat(context: Context, images: list[Any]) -> Image:
    found = [as_image(context, image) for image in images]
    return stack([image for image in found if image is not None])


@function("Image.bandNames")
def band_names(context: Context, image: Image) -> list[str]:
    return [band.id for band in image.bands]


@function("Image.bandTypes")
def band_types(context: Context, image: Image) -> dict[str, PixelType]:
    return {band.id: band.type for band in image.bands}


@function("Image.id")
def image_id(context: Context, image: Image) -> str | None:
    return image.id


@function("Image.date")
def date(context: Context, image: Image) -> Date:
    start = image.properties.get("system:time_start")
    if start is None:
        raise ComputeError("Image.date: the image has no property 'system:time_start'.")
    return Date(start)


@function("Image.metadata")
def metadata(context: Context, image: Image, name: str, band: str | None) -> Image:
    value = image.properties.get(name)
    if not isinstance(value, int | float):
        raise ComputeError(f"Image.metadata: the property '{name}' is no number.")
    return Image((constant_band(value, name),), {}, None, None, image.footprint)


def broadcast(image: Image, count: int) -> Sequence[Band]:
    """One band for each of ``count``."""
    if len(image.bands) == 1:
        return image.bands * count
    if len(image.bands) != count:
        raise ComputeError(f"Images must contain the same number of bands or one; got {count} and {len(image.bands)}.")
    return image.bands


# ---------------------------------------------------------------------------------------------------------------- types


def convert_band(band: Band, to: PixelType) -> Band:
    """A band as another type: integers clamp, fractions are cut off; of arrays every element, rounded as arrays are."""
    if band.type.dimensions:
        return _convert_arrays(band, to)

    def read(grid: Grid) -> Pixels:
        values, valid = band.read(grid)
        return cast(values, to), valid

    return replace(band, type=to, read=read)


def _convert_arrays(band: Band, to: PixelType) -> Band:
    def read(grid: Grid) -> Pixels:
        values, valid = band.read(grid)
        out = np.empty(grid.shape, object)
        for index in np.ndindex(grid.shape):
            out[index] = to_type(np.asarray(values[index]), to)
        return out, valid

    return replace(band, type=replace(to, dimensions=band.type.dimensions), read=read)


def _register_cast(name: str, to: PixelType) -> None:
    @function(f"Image.{name}", f"Image.to{name[0].upper()}{name[1:]}")
    def run(context: Context, image: Image) -> Image:
        return image.with_bands(convert_band(band, to) for band in image.bands)


for _name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"):
    _register_cast(_name, integer_type(_name))
for _name, _alias in (("byte", "uint8"), ("short", "int16"), ("int", "int32"), ("long", "int64")):
    _register_cast(_name, integer_type(_alias))
_register_cast("float", FLOAT)
_register_cast("double", DOUBLE)


@function("Image.cast")
def cast_bands(context: Context, image: Image, types: dict[str, Any], order: list[str] | None) -> Image:
    bands = []
    for name in order or [band.id for band in image.bands]:
        wanted = types.get(name)
        band = image.band(name)
        bands.append(band if wanted is None else convert_band(band, convert(context, wanted, "PixelType",
                                                                             "Image.cast")))
    return image.with_bands(bands)
