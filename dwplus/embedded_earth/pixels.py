"""Answers made of pixels: NPY, GeoTIFF and PNG, on the grid of the request or the image's own."""

from __future__ import annotations

import io
import math
import re
import warnings
import zipfile
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
from rasterio.io import MemoryFile

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.images import select_bands
from dwplus.embedded_earth.grid import Affine, Grid, canonical_crs
from dwplus.embedded_earth.limits import Limits
from dwplus.embedded_earth.masks import seen, shares
from dwplus.embedded_earth.pixel_types import cast, integer_type
from dwplus.embedded_earth.values import Image

_TRANSFORM = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")


def _object(request: dict[str, Any], key: str) -> dict[str, Any]:
    found = request.get(key)
    if found is not None and not isinstance(found, dict):
        raise ComputeError(f"Invalid grid: '{key}' must be an object.")
    return found or {}


def grid_of(image: Image, request: dict[str, Any] | None) -> Grid:
    """The grid of a request; what it leaves out is the first band's own.

    Raises
    ------
    ComputeError
        For an unbounded image without a grid, and for grids that are none.
    """
    request = request or {}
    if not isinstance(request, dict):
        raise ComputeError("Invalid grid: an object was expected.")
    band = image.bands[0]
    affine, dimensions = _object(request, "affineTransform"), _object(request, "dimensions")
    crs = request.get("crsCode") or request.get("crsWkt")
    crs = canonical_crs(str(crs)) if crs else band.projection.crs
    if affine:
        try:
            transform: Affine = tuple(float(affine.get(key, 0.0)) for key in _TRANSFORM)  # type: ignore[assignment]
        except (TypeError, ValueError):
            raise ComputeError("Invalid grid: the affine transform must be numbers.") from None
        if not all(map(math.isfinite, transform)) or transform[0] * transform[4] == transform[1] * transform[3]:
            raise ComputeError("Invalid grid: the affine transform must be finite and invertible.")
    else:
        transform = band.projection.transform
    if not dimensions or not affine:
        if band.extent is None:
            raise ComputeError("Unable to compute pixels: the image is unbounded and the request gives no grid.")
        own = Grid(crs, transform, 0, 0).window(band.extent.row, band.extent.col, band.extent.height,
                                                band.extent.width)
        if not affine:
            transform = own.transform
        dimensions = dimensions or {"width": own.width, "height": own.height}
    try:
        width, height = int(dimensions.get("width", 0)), int(dimensions.get("height", 0))
    except (TypeError, ValueError):
        raise ComputeError("Invalid grid: the dimensions must be whole numbers.") from None
    if width < 1 or height < 1:
        raise ComputeError(f"Pixel grid dimensions ({width}x{height}) must be positive.")
    return Grid(crs, transform, width, height)


def answer(image: Image, request: dict[str, Any], context: Context, limits: Limits) -> tuple[str, bytes]:
    """Content type and body of a pixel request.

    Raises
    ------
    ComputeError
        Beyond the limits, for an unknown format, and whatever reading raises.
    """
    if request.get("bandIds"):
        image = image.with_bands(select_bands(image, request["bandIds"]))
    form = request.get("fileFormat", "AUTO_JPEG_PNG")
    if form in ("PNG", "JPEG", "AUTO_JPEG_PNG", "AUTO_PNG_JPEG"):
        image = _visual(image, request.get("visualizationOptions"))
    if not image.bands:
        raise ComputeError("The image has no bands.")
    for band in image.bands:
        if band.type.dimensions:
            raise ComputeError(f"Array-valued pixels cannot be answered: band '{band.id}'. Take elements with "
                               "Image.arrayGet or Image.arrayFlatten first.")
    grid = grid_of(image, request.get("grid"))
    limits.check_pixels(grid.width, grid.height, [band.type.dtype.itemsize for band in image.bands])
    if form == "NPY":
        return "application/octet-stream", _npy(image, grid, context)
    if form in ("GEO_TIFF", "ZIPPED_GEO_TIFF", "ZIPPED_GEO_TIFF_PER_BAND"):
        return _geotiff(image, grid, context, form, _file_name(request.get("filenamePrefix")))
    if form in ("PNG", "JPEG", "AUTO_JPEG_PNG", "AUTO_PNG_JPEG"):
        return "image/png", _png(image, grid, context)
    raise ComputeError(f"Invalid file format: '{str(form)[:40]}'.")


#: Rows that are put together at once.
_ROWS = 16


def _npy(image: Image, grid: Grid, context: Context) -> bytes:
    """A structured array with one field per band; masked pixels are 0."""
    dtype = np.dtype([(band.id, band.type.dtype) for band in image.bands])
    layers: dict[str, np.ndarray] = {}
    for band in image.bands:
        context.check_time()
        values, valid = band.read(grid)
        values = cast(values, band.type)
        layers[band.id] = values if valid is None else np.where(seen(valid), values, values.dtype.type(0))
    out = np.empty(grid.shape, dtype)
    for top in range(0, grid.height, _ROWS):  # a band's numbers lie apart: a few rows of all of them stay in the cache
        for name, values in layers.items():
            out[name][top:top + _ROWS] = values[top:top + _ROWS]
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(out))
    return b"".join((head.getvalue(), out.view("u1").data))  # one copy, not two


def _file_name(prefix: Any) -> str:
    """Name of a file in an archive: the client's, without anything that could leave the archive's folder."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", str(prefix)).lstrip(".")[:200] if prefix else "download"


def _geotiff(image: Image, grid: Grid, context: Context, form: str, name: str) -> tuple[str, bytes]:
    if form == "GEO_TIFF":
        return "image/tiff", _tiff(image, grid, context)
    parts = {f"{name}.tif": image}
    if form == "ZIPPED_GEO_TIFF_PER_BAND":
        parts = {f"{name}.{band.id}.tif": image.with_bands([band]) for band in image.bands}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for member, part in parts.items():
            file.writestr(member, _tiff(part, grid, context))
    return "application/zip", archive.getvalue()


def _tiff(image: Image, grid: Grid, context: Context) -> bytes:
    """One GeoTIFF; masked pixels are the type's lowest value (-inf for floats)."""
    dtype = np.result_type(*(band.type.dtype for band in image.bands))
    nodata: float = -math.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)
    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": len(image.bands),
               "dtype": dtype.name, "crs": grid.crs, "transform": rasterio.Affine(*grid.transform), "nodata": nodata,
               "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"}
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            for i, band in enumerate(image.bands, 1):
                context.check_time()
                values, valid = band.read(grid)
                values = values.astype(dtype)
                file.write(values if valid is None else np.where(seen(valid), values, dtype.type(nodata)), i)
                file.set_band_description(i, band.id)
        return bytes(memory.read())


def _visual(image: Image, options: dict[str, Any] | None) -> Image:
    """Bands stretched to bytes, as visualisation options ask."""
    if options is not None and not isinstance(options, dict):
        raise ComputeError("Invalid visualization options: an object was expected.")
    ranges = (options or {}).get("ranges") or []
    if not ranges:
        return image
    if not isinstance(ranges, list) or not all(isinstance(part, dict) for part in ranges):
        raise ComputeError("Invalid visualization options: 'ranges' must be a list of objects.")
    bands = []
    for i, band in enumerate(image.bands[:3]):
        low, high = (float(ranges[min(i, len(ranges) - 1)].get(key, default)) for key, default in (("min", 0),
                                                                                                    ("max", 255)))

        def read(grid: Grid, band: Any = band, low: float = low, high: float = high) -> Any:
            values, valid = band.read(grid)
            return cast((values.astype("f8") - low) / (high - low or 1) * 255, integer_type("uint8")), valid

        bands.append(band.derived(read, integer_type("uint8")))
    return image.with_bands(bands)


def _png(image: Image, grid: Grid, context: Context) -> bytes:
    layers = []
    alpha = np.full(grid.shape, 255, "u1")
    bands = image.bands[:3] if len(image.bands) >= 3 else image.bands[:1] * 3
    for band in bands:
        context.check_time()
        values, valid = band.read(grid)
        layers.append(cast(values, integer_type("uint8")))
        if valid is not None:
            alpha = np.minimum(alpha, np.rint(shares(valid, grid.shape) * 255).astype("u1"))
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with memory.open(driver="PNG", width=grid.width, height=grid.height, count=4, dtype="uint8") as file:
            file.write(np.stack([*layers, alpha]))
        return bytes(memory.read())
