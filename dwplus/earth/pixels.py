"""One ``computePixels`` request per tile, split only where the tile exceeds the service's limits."""

from __future__ import annotations

import io
from typing import Any

import ee
import numpy as np

from dwplus.earth import limits
from dwplus.earth.session import Session
from dwplus.errors import EarthError, TooLargeError, TransientError
from dwplus.grid import PixelGrid


def blocks(height: int, width: int, item_sizes: list[int],
           largest: int | None = None) -> list[tuple[int, int, int, int]]:
    """Rectangles (row, col, height, width) that cover a grid, each within the limits of one request.

    Parameters
    ----------
    item_sizes : bytes a pixel of each band.
    largest : pixels of a request at most, beside the service's own limits.

    Raises
    ------
    EarthError
        Where a single row of one pixel would exceed the limits.
    """
    pieces = 1
    while True:
        rows, cols = -(-height // pieces), -(-width // pieces)
        if (max(rows, cols) <= limits.PIXEL_SIDE and limits.pixel_bytes(rows, cols, item_sizes) <= limits.PIXEL_BYTES
                and (largest is None or rows * cols <= largest)):
            break
        if rows == cols == 1:
            raise EarthError(f"one pixel of {len(item_sizes)} bands exceeds {limits.PIXEL_BYTES} bytes")
        pieces += 1
    return [(row, col, min(rows, height - row), min(cols, width - col))
            for row in range(0, height, rows) for col in range(0, width, cols)]


def fetch(session: Session, image: ee.Image, grid: PixelGrid, dtype: np.dtype) -> np.ndarray:
    """Pixels of an image on a grid.

    A request that was too much for the service is split, and later ones of the same bands begin at the smaller size.

    Parameters
    ----------
    image : every band unmasked, for masked pixels arrive as 0.
    dtype : structured, one field per band: the types the image was cast to.

    Returns
    -------
    structured array (height, width) of ``dtype``, read-only where one request sufficed.

    Raises
    ------
    RefusedError
        With the server's words, e.g. an asset that is gone.
    EarthError
        Where the answer is not what was asked for.
    """
    sizes = [dtype[name].itemsize for name in dtype.names or ()]
    parts = blocks(*grid.shape, sizes, session.largest.get(str(dtype)))
    if len(parts) == 1:
        return _fetch_block(session, image, grid, dtype)
    out = np.empty(grid.shape, dtype)
    for row, col, height, width in parts:
        out[row:row + height, col:col + width] = _fetch_block(session, image, grid.block(row, col, height, width),
                                                              dtype)
    return out


def _fetch_block(session: Session, image: ee.Image, grid: PixelGrid, dtype: np.dtype) -> np.ndarray:
    """One request; where the server runs out of memory or time, four smaller ones."""
    params: dict[str, Any] = {"expression": image, "fileFormat": "NPY", "grid": grid.to_request()}
    try:
        return session.send(lambda: decode(ee.data.computePixels(dict(params)), grid, dtype), "pixels")
    except TooLargeError:
        height, width = grid.shape
        if min(height, width) < 2:
            raise
        key = str(dtype)
        session.largest[key] = max(1, min(session.largest.get(key, height * width), height * width - 1))
        top, left = height // 2, width // 2
        out = np.empty(grid.shape, dtype)
        for row, rows in ((0, top), (top, height - top)):
            for col, cols in ((0, left), (left, width - left)):
                out[row:row + rows, col:col + cols] = _fetch_block(session, image, grid.block(row, col, rows, cols),
                                                                   dtype)
        return out


def decode(body: bytes, grid: PixelGrid, dtype: np.dtype) -> np.ndarray:
    """The pixels of an NPY answer, without a copy.

    Raises
    ------
    TransientError
        Where the body is cut off, garbled or of another shape.
    EarthError
        Where the bands are of other types.
    """
    stream = io.BytesIO(body)  # shares the bytes, copies nothing
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, found = read(stream)
    except (ValueError, EOFError, SyntaxError) as error:
        raise TransientError(f"Earth Engine answered {len(body)} bytes that are no NPY array ({error})") from None
    if tuple(shape) != grid.shape or fortran or len(body) - stream.tell() != found.itemsize * shape[0] * shape[1]:
        raise TransientError(f"Earth Engine answered {len(body)} bytes of {shape} pixels where {grid.shape} were asked "
                           "for")
    if found != dtype:
        raise EarthError(f"Earth Engine answered bands of type {found} where {dtype} was asked for")
    return np.frombuffer(body, dtype, offset=stream.tell()).reshape(grid.shape)
