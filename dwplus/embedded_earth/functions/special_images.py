"""Images: special functions pixel by pixel, in single precision as the client's texts say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dwplus.embedded_earth import special
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.functions.arithmetic import binary, unary
from dwplus.embedded_earth.functions.array_numbers import each
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.pixel_types import FLOAT, PixelType, cast, integer_type
from dwplus.embedded_earth.values import Image

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "erf": math.erf,
    "erfc": math.erfc,
    "erfInv": special.erf_inverse,
    "erfcInv": special.erfc_inverse,
    "gamma": special.gamma,
    "digamma": special.digamma,
    "trigamma": special.trigamma,
    "lanczos": special.lanczos,
}


def _float(one: PixelType, other: PixelType | None = None) -> PixelType:
    return FLOAT


def _register(name: str, operation: Callable[[float], float]) -> None:
    @function(f"Image.{name}")
    def run(context: Context, image: Image) -> Image:
        def of(values: np.ndarray) -> np.ndarray:
            keys, places = np.unique(values, return_inverse=True)  # images have far fewer values than pixels
            return each(context, operation, keys)[places].reshape(values.shape)

        return unary(image, of, _float)


for _name, _operation in _FUNCTIONS.items():
    _register(_name, _operation)


@function("Image.gammainc")
def gammainc(context: Context, left: Image, right: Image) -> Image:
    def of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return each(context, special.gamma_incomplete, a, b)

    return binary(left, right, of, _float, "Image.gammainc")


@function("Image.bitCount")
def bit_count(context: Context, image: Image) -> Image:
    """Ones among the 64 bits of a pixel's whole number."""

    def of(values: np.ndarray) -> np.ndarray:
        return np.bitwise_count(cast(values, integer_type("int64")).astype("i8").view("u8"))

    return unary(image, of, lambda t: PixelType("int", 0, 64))
