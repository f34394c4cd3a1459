"""Pixel types: what a band's values may be, and casts between types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535),
           "int32": (-2**31, 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-2**63, 2**63 - 1)}


@dataclass(frozen=True)
class PixelType:
    """``precision`` int, float or double; integers carry their range, from which their size follows.

    ``dimensions`` says how many axes the arrays have that every pixel holds; 0 for numbers.
    """

    precision: str
    minimum: float | None = None
    maximum: float | None = None
    dimensions: int = 0

    @property
    def dtype(self) -> np.dtype:
        """The smallest NumPy type that holds the range; objects where pixels are arrays."""
        if self.dimensions:
            return np.dtype(object)
        if self.precision == "float":
            return np.dtype("<f4")
        if self.precision == "double" or self.minimum is None or self.maximum is None:
            return np.dtype("<f8")
        for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
            low, high = _RANGES[name]
            if low <= self.minimum and self.maximum <= high:
                return np.dtype(name).newbyteorder("<")
        return np.dtype("<i8")

    def union(self, other: PixelType) -> PixelType:
        """The narrowest type that holds both."""
        ranks = ("int", "float", "double")
        precision = ranks[max(ranks.index(self.precision), ranks.index(other.precision))]
        ends = (self.minimum, other.minimum, self.maximum, other.maximum)
        axes = max(self.dimensions, other.dimensions)
        if any(end is None for end in ends):
            return PixelType(precision, dimensions=axes)
        return PixelType(precision, min(ends[0], ends[1]), max(ends[2], ends[3]), axes)  # type: ignore[type-var]


FLOAT, DOUBLE, BOOLEAN = PixelType("float"), PixelType("double"), PixelType("int", 0, 1)


def integer_type(name: str) -> PixelType:
    """``uint8`` ... ``int64`` as a pixel type."""
    return PixelType("int", *_RANGES[name])


def cast(values: np.ndarray, to: PixelType) -> np.ndarray:
    """Values in a pixel type's dtype; integers clamp and truncate towards zero, as the service's casts do."""
    dtype = to.dtype
    if values.dtype == dtype or dtype.kind == "O":
        return values
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if values.dtype.kind in "iu":
            own = np.iinfo(values.dtype)
            if own.min < info.min or own.max > info.max:
                values = np.clip(values, max(own.min, info.min), min(own.max, info.max))
            return values.astype(dtype)
        if values.dtype.kind == "b":
            return values.astype(dtype)
        with np.errstate(invalid="ignore"):
            finite = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf) if np.isnan(values).any() else values
            # The largest int64 is no float: its neighbour below is.
            high = np.nextafter(float(info.max), 0) if info.bits == 64 else info.max
            return np.clip(finite, info.min, high).astype(dtype)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def pixel_type(value: Any) -> PixelType | None:
    """A pixel type from its name or its dictionary."""
    if isinstance(value, PixelType):
        return value
    if value in ("float", "double"):
        return PixelType(str(value))
    if isinstance(value, str) and value in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "int",
                                            "long", "byte", "short"):
        return integer_type({"int": "int32", "long": "int64", "byte": "uint8", "short": "int16"}.get(value, value))
    if isinstance(value, dict) and value.get("precision") in ("int", "float", "double"):
        return PixelType(value["precision"], value.get("minValue", value.get("min")),
                         value.get("maxValue", value.get("max")), int(value.get("dimensions") or 0))
    return None
