"""Kernels: weights around a pixel, made when the size of the pixel is known.

Shapes and weights are those that the service's reference pages print for a radius of 3
(https://developers.google.com/earth-engine/apidocs/ee-kernel-circle and its neighbours).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.values import Kernel, Weights

#: Pixels a kernel may reach from its focus; the service refuses larger ones (512 a side).
MAX_RADIUS = 256
#: Part of a pixel by which rounding may miss a radius that is meant to be whole.
_SLACK = 1e-6

Shape = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def normalized(weights: np.ndarray) -> np.ndarray:
    """Weights that sum to one; where any is negative they are shifted to sum to zero, as the service documents."""
    if (weights < 0).any():
        return weights - weights.mean()
    total = weights.sum()
    return weights / total if total else weights


def _reach(radius: float, units: str, metres: float) -> float:
    """A radius in pixels of the given size."""
    pixels = radius / metres if units == "meters" else radius
    if not 0 <= pixels <= MAX_RADIUS:
        raise ComputeError(f"Kernel: the radius of {pixels:g} pixels is not within 0 to {MAX_RADIUS}.")
    return pixels


def _check_units(name: str, units: str, *radii: float) -> str:
    if units not in ("pixels", "meters", "metres"):
        raise ComputeError(f"Kernel.{name}: Invalid units: '{units}'. Must be 'pixels' or 'meters'.")
    if any(not radius > 0 for radius in radii):
        raise ComputeError(f"Kernel.{name}: The radius must be positive.")
    return "pixels" if units == "pixels" else "meters"


def made(shape: Shape, across: float, down: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    """A kernel from ``shape(dx, dy, metres or 1)``, which gets the offsets in pixels and the size of a pixel."""
    def at(metres: float) -> Weights:
        columns, rows = (int(_reach(radius, units, metres) + _SLACK) for radius in (across, down))
        dx, dy = np.arange(-columns, columns + 1.0)[None, :], np.arange(-rows, rows + 1.0)[:, None]
        weights = np.broadcast_to(shape(dx, dy, metres if units == "meters" else 1.0),
                                  (2 * rows + 1, 2 * columns + 1)).astype("f8")
        return Weights((normalized(weights) if normalize else weights) * magnitude, rows, columns)

    return Kernel(at, units == "meters")


def shaped(name: str, radius: float, units: str, normalize: bool = True, magnitude: float = 1.0) -> Kernel:
    """One of the named shapes.

    Raises
    ------
    ComputeError
        For an unknown shape or units, or a radius that is not positive.
    """
    if name not in _SHAPES:
        raise ComputeError(f"Kernel: Invalid kernel type '{name}'. Must be one of {', '.join(sorted(_SHAPES))}.")
    units = _check_units(name, units, radius)

    def shape(dx: np.ndarray, dy: np.ndarray, metres: float) -> np.ndarray:
        return _SHAPES[name](dx, dy, radius / metres + _SLACK)

    return made(shape, radius, radius, units, normalize, magnitude)


def _circle(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(dx, dy) <= radius


def _square(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return np.maximum(np.abs(dx), np.abs(dy)) <= radius


def _diamond(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return np.abs(dx) + np.abs(dy) <= radius


def _octagon(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    """A regular one: a square with the corners cut off by a diamond that touches the same circle."""
    return _square(dx, dy, radius) & _diamond(dx, dy, radius * np.sqrt(2))


def _plus(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return (dx == 0) | (dy == 0)


def _cross(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return np.abs(dx) == np.abs(dy)


_SHAPES: dict[str, Shape] = {"circle": _circle, "square": _square, "diamond": _diamond, "octagon": _octagon,
                             "plus": _plus, "cross": _cross}

#: Distances from the focus, in the units of the kernel.
_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "euclidean": np.hypot, "manhattan": lambda dx, dy: np.abs(dx) + np.abs(dy),
    "chebyshev": lambda dx, dy: np.maximum(np.abs(dx), np.abs(dy)),
}


def _register_shape(name: str) -> None:
    @function(f"Kernel.{name}")
    def make(context: Context, radius: float, units: str, normalize: bool, magnitude: float) -> Kernel:
        return shaped(name, radius, units, normalize, magnitude)


def _register_distance(name: str, distance: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    @function(f"Kernel.{name}")
    def make(context: Context, radius: float, units: str, normalize: bool, magnitude: float) -> Kernel:
        return made(lambda dx, dy, metres: distance(dx, dy) * metres, radius, radius, _check_units(name, units, radius),
                    normalize, magnitude)


for _name in _SHAPES:
    _register_shape(_name)
for _name, _distance in _DISTANCES.items():
    _register_distance(_name, _distance)


@function("Kernel.rectangle")
def rectangle(context: Context, across: float, down: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    units = _check_units("rectangle", units, across, down)
    return made(lambda dx, dy, metres: np.ones((1, 1)), across, down, units, normalize, magnitude)


@function("Kernel.gaussian")
def gaussian(context: Context, radius: float, sigma: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    units = _check_units("gaussian", units, radius)
    if not sigma > 0:
        raise ComputeError("Kernel.gaussian: 'sigma' must be positive.")

    def shape(dx: np.ndarray, dy: np.ndarray, metres: float) -> np.ndarray:
        return np.exp(-(dx**2 + dy**2) * (metres / sigma) ** 2 / 2) / (2 * np.pi * (sigma / metres) ** 2)

    return made(shape, radius, radius, units, normalize, magnitude)


def fixed_kernel(weights: np.ndarray, row: int, col: int) -> Kernel:
    """A kernel of the same weights on every grid."""
    return Kernel(lambda metres: Weights(weights, row, col))


def _focus(offset: int, size: int) -> int:
    """Place of the focus: -1 stands for the middle, other negative offsets are those of the edge from the focus."""
    return size // 2 if offset == -1 else abs(offset)


@function("Kernel.fixed")
def fixed(context: Context, width: int, height: int, rows: list[Any], x: int, y: int, normalize: bool) -> Kernel:
    try:
        weights = np.array(rows, "f8")
    except (TypeError, ValueError):
        raise ComputeError("Kernel.fixed: 'weights' must be a list of rows of as many numbers each.") from None
    if weights.ndim != 2 or not weights.size or not np.isfinite(weights).all():
        raise ComputeError("Kernel.fixed: 'weights' must be a list of rows of as many numbers each.")
    if (height != -1 and height != weights.shape[0]) or (width != -1 and width != weights.shape[1]):
        raise ComputeError(f"Kernel.fixed: 'weights' are {weights.shape[1]}x{weights.shape[0]}, not the "
                           f"{width}x{height} of 'width' and 'height'.")
    if max(weights.shape) > 2 * MAX_RADIUS + 1:
        raise ComputeError(f"Kernel.fixed: kernels of more than {2 * MAX_RADIUS + 1} pixels a side are not supported.")
    col, row = _focus(x, weights.shape[1]), _focus(y, weights.shape[0])
    if not (0 <= col < weights.shape[1] and 0 <= row < weights.shape[0]):
        raise ComputeError(f"Kernel.fixed: the focus ({col}, {row}) lies outside the kernel.")
    return fixed_kernel(normalized(weights) if normalize else weights, row, col)


_FIXED: dict[str, list[list[float]]] = {
    "laplacian4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]], "laplacian8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "sobel": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "prewitt": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "roberts": [[1, 0], [0, -1]], "kirsch": [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]],
    "compass": [[1, 1, -1], [1, -2, -1], [1, 1, -1]],
}


def _register_fixed(name: str, rows: list[list[float]]) -> None:
    @function(f"Kernel.{name}")
    def make(context: Context, magnitude: float, normalize: bool) -> Kernel:
        weights = np.array(rows, "f8")
        focus = len(rows) // 2  # of two rows the second, as for kernels of a user's own
        return fixed_kernel((normalized(weights) if normalize else weights) * magnitude, focus, focus)


for _name, _rows in _FIXED.items():
    _register_fixed(_name, _rows)


@function("Kernel.rotate")
def rotate(context: Context, kernel: Kernel, rotations: int) -> Kernel:
    """Turned by quarter turns, clockwise where positive."""
    def at(metres: float) -> Weights:
        found = kernel.at(metres)
        turns = rotations % 4
        height, width = found.values.shape
        row, col = found.row, found.col
        for _ in range(turns):
            row, col, height, width = col, height - 1 - row, width, height
        return Weights(np.ascontiguousarray(np.rot90(found.values, -turns)), row, col)

    return Kernel(at, kernel.metric)


@function("Kernel.add")
def add(context: Context, one: Kernel, other: Kernel, normalize: bool) -> Kernel:
    """Pointwise, focus on focus."""
    def at(metres: float) -> Weights:
        a, b = one.at(metres), other.at(metres)
        row, col = max(a.row, b.row), max(a.col, b.col)
        height = row + max(k.values.shape[0] - k.row for k in (a, b))
        width = col + max(k.values.shape[1] - k.col for k in (a, b))
        out = np.zeros((height, width))
        for k in (a, b):
            out[row - k.row:row - k.row + k.values.shape[0], col - k.col:col - k.col + k.values.shape[1]] += k.values
        return Weights(normalized(out) if normalize else out, row, col)

    return Kernel(at, one.metric or other.metric)


@function("Kernel.inverse")
def inverse(context: Context, kernel: Kernel) -> Kernel:
    """One over each weight; weights of zero stay zero."""
    def at(metres: float) -> Weights:
        found = kernel.at(metres)
        values = np.divide(1.0, found.values, out=np.zeros(found.values.shape), where=found.values != 0)
        return Weights(values, found.row, found.col)

    return Kernel(at, kernel.metric)
