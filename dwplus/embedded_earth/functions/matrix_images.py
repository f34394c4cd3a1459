"""Images of arrays: linear algebra, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions import arrays, matrices
from dwplus.embedded_earth.functions.arithmetic import pair_bands
from dwplus.embedded_earth.functions.array_images import OnArrays, derived, dims_of, each
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels
from dwplus.embedded_earth.pixel_types import PixelType
from dwplus.embedded_earth.values import Band, Image


@function("Image.matrixIdentity")
def matrix_identity(context: Context, size: int) -> Image:
    matrix = arrays.identity(context, size)

    def read(grid: Grid) -> Pixels:
        out = np.empty(grid.shape, object)
        for index in np.ndindex(grid.shape):
            out[index] = matrix
        return out, None

    return Image((Band("array", PixelType("double", dimensions=2), WGS84, None, read),))


def _pair(context: Context, left: Image, right: Image, where: str, run: OnArrays, dimensions: int) -> Image:
    return left.computed(derived(context, [one, other], run, PixelType("double", dimensions=dimensions), name)
                         for one, other, name in pair_bands(left, right, where))


@function("Image.arrayDotProduct")
def array_dot_product(context: Context, left: Image, right: Image) -> Image:
    def run(one: np.ndarray, other: np.ndarray) -> Any:
        return matrices.dot_product(context, one, other)

    return _pair(context, left, right, "Image.arrayDotProduct", run, 0)


@function("Image.matrixMultiply")
def matrix_multiply(context: Context, left: Image, right: Image) -> Image:
    def run(one: np.ndarray, other: np.ndarray) -> Any:
        return matrices.matrix_multiply(context, one, other)

    return _pair(context, left, right, "Image.matrixMultiply", run, 2)


@function("Image.matrixSolve")
def matrix_solve(context: Context, left: Image, right: Image) -> Image:
    def run(one: np.ndarray, other: np.ndarray) -> Any:
        return matrices.matrix_solve(context, one, other)

    return _pair(context, left, right, "Image.matrixSolve", run, 2)


def _register_matrix(name: str, run: OnArrays, dimensions: int) -> None:
    @function(f"Image.{name}")
    def apply(context: Context, image: Image) -> Image:
        def on_pixel(array: np.ndarray) -> Any:
            return run(context, array)

        kind = PixelType("double", dimensions=dimensions)
        return each(context, image, f"Image.{name}", lambda band: derived(context, [band], on_pixel, kind))


for _name, _run in matrices.ON_ONE.items():
    _register_matrix(_name, _run, 0 if _name in ("matrixDeterminant", "matrixTrace", "matrixFnorm") else 2)
_register_matrix("matrixToDiag", matrices.matrix_to_diag, 2)


def _register_decomposition(name: str, run: Callable[[np.ndarray, str], dict[str, np.ndarray]],
                            parts: Sequence[str]) -> None:
    @function(f"Image.{name}")
    def apply(context: Context, image: Image) -> Image:
        if len(image.bands) != 1:
            raise ComputeError(f"Image.{name}: the image must have one band.")
        dims_of(image.bands[0], f"Image.{name}")
        bands = []
        for part in parts:
            def chosen(array: np.ndarray, part: str = part) -> np.ndarray:
                return run(array, f"Image.{name}")[part]

            bands.append(derived(context, image.bands, chosen, PixelType("double", dimensions=2), part))
        return image.computed(bands)


for _name, (_decompose, _parts) in matrices.DECOMPOSITIONS.items():
    _register_decomposition(_name, _decompose, _parts)
