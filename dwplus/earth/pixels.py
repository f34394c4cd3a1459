"""One ``computePixels`` request per tile, split only where the tile exceeds the service's limits."""

from __future__ import annotations

from typing import Any

import ee
import numpy as np

from dwplus.earth import limits
from dwplus.earth.session import Session
from dwplus.errors import EarthError, HealingError, TooLargeError
from dwplus.grid import PixelGrid


def blocks(height: int, width: int, item_sizes: list[int]) -> list[tuple[int, int, int, int]]:
    """Rectangles (row, col, height, width) that cover a grid, each within the limits of one request.

    Raises
    ------
    EarthError
        Where a single row of one pixel would exceed the limits.
    """
    pieces = 1
    while True:
        rows, cols = -(-height // pieces), -(-width // pieces)
        if max(rows, cols) <= limits.PIXEL_SIDE and limits.pixel_bytes(rows, cols, item_sizes) <= limits.PIXEL_BYTES:
            break
        if rows == cols == 1:
            raise EarthError(f"one pixel of {len(item_sizes)} bands exceeds {limits.PIXEL_BYTES} bytes")
        pieces += 1
    return [(row, col, min(rows, height - row), min(cols, width - col))
            for row in range(0, height, rows) for col in range(0, width, cols)]


def fetch(session: Session, image: ee.Image, grid: PixelGrid, dtype: np.dtype) -> np.ndarray:
    """Pixels of an image on a grid.

    Parameters
    ----------
    image : every band unmasked, for masked pixels arrive as 0.
    dtype : structured, one field per band: the types the image was cast to.

    Returns
    -------
    structured array (height, width) of ``dtype``.

    Raises
    ------
    RefusedError
        With the server's words, e.g. an asset that is gone.
    EarthError
        Where the answer is not what was asked for.
    """
    out = np.empty(grid.shape, dtype)
    sizes = [dtype[name].itemsize for name in dtype.names or ()]
    for row, col, height, width in blocks(*grid.shape, sizes):
        out[row:row + height, col:col + width] = _fetch_block(session, image, grid.block(row, col, height, width),
                                                              dtype)
    return out


def _fetch_block(session: Session, image: ee.Image, grid: PixelGrid, dtype: np.dtype) -> np.ndarray:
    """One request; where the server runs out of memory or time, four smaller ones."""
    params: dict[str, Any] = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid.to_request()}
    try:
        answer = session.send(lambda: _checked(ee.data.computePixels(dict(params)), grid, dtype))
    except TooLargeError:
        height, width = grid.shape
        if min(height, width) < 2:
            raise
        top, left = height // 2, width // 2
        out = np.empty(grid.shape, dtype)
        for row, rows in ((0, top), (top, height - top)):
            for col, cols in ((0, left), (left, width - left)):
                out[row:row + rows, col:col + cols] = _fetch_block(session, image, grid.block(row, col, rows, cols),
                                                                   dtype)
        return out
    return answer


def _checked(answer: np.ndarray, grid: PixelGrid, dtype: np.dtype) -> np.ndarray:
    if answer.shape != grid.shape:
        raise HealingError(f"Earth Engine answered {answer.shape} pixels where {grid.shape} were asked for")
    if answer.dtype != dtype:
        raise EarthError(f"Earth Engine answered bands of type {answer.dtype} where {dtype} was asked for")
    return answer
