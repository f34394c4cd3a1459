"""Arrays: NumPy's, of whole (64 bits) or floating numbers.

Division, remainders and powers are left out: what the service makes of whole numbers there is not documented.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions import registry
from dwplus.embedded_earth.functions.registry import Context, function
from dwplus.embedded_earth.pixel_types import PixelType, cast, integer_type

#: Numbers an array may hold.
MAX_SIZE = 10_000_000


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value and depth < 64:
        value, depth = value[0], depth + 1
    return depth


def array_of(value: Any) -> np.ndarray | None:
    """Numbers and nested lists of them as an array; None where they are none."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | list) or _depth(value) > 16:
        return None
    try:
        found = np.array(value)
    except (ValueError, OverflowError):
        return None
    if found.size > MAX_SIZE:
        raise ComputeError("User memory limit exceeded.")
    if found.dtype.kind in "bui":
        return found.astype("i8")
    if found.dtype.kind == "f":
        # JSON has no whole floats: 1.0 arrives as it was meant, 1 as a whole number.
        return found.astype("f8")
    return None


registry._CONVERTERS["Array"] = lambda context, value: array_of(value)


@function("Array")
def make(context: Context, value: Any, kind: PixelType | None) -> np.ndarray:
    found = array_of(value)
    if found is None:
        raise ComputeError("Array: Parameter 'values' must be numbers in nested lists of equal lengths.")
    if kind is not None:
        found = cast(found, kind).astype("i8" if kind.precision == "int" else "f8")
    return found


def _axis(array: np.ndarray, axis: int, where: str) -> int:
    if not 0 <= axis < max(array.ndim, 1):
        raise ComputeError(f"{where}: the axis {axis} is not one of the array's {array.ndim}.")
    return axis


@function("Array.get")
def get(context: Context, array: np.ndarray, position: list[int]) -> Any:
    if len(position) != array.ndim:
        raise ComputeError(f"Array.get: the position has {len(position)} coordinates; the array {array.ndim} axes.")
    for at, size in zip(position, array.shape, strict=True):
        if not 0 <= at < size:
            raise ComputeError(f"Array.get: the position {position} lies outside the array's "
                               f"{'x'.join(map(str, array.shape))}.")
    return array[tuple(position)].item()


@function("Array.toList")
def to_list(context: Context, array: np.ndarray) -> Any:
    return array.tolist()


@function("Array.length")
def length(context: Context, array: np.ndarray) -> np.ndarray:
    return np.array(array.shape, "i8")


@function("Array.cat")
def cat(context: Context, arrays: list[Any], axis: int) -> np.ndarray:
    found = [array_of(array) for array in arrays]
    if not found or any(array is None for array in found):
        raise ComputeError("Array.cat: a list of arrays is needed.")
    listed: list[np.ndarray] = [array for array in found if array is not None]
    dimensions = max(array.ndim for array in listed)
    # Along a new last axis, arrays get one of length 1.
    if axis == dimensions:
        listed = [array[..., None] for array in listed]
    try:
        return np.concatenate(listed, axis)
    except (ValueError, np.exceptions.AxisError):
        raise ComputeError("Array.cat: the arrays must agree in all axes but the one they are joined along.") from None


@function("Array.slice")
def slice_(context: Context, array: np.ndarray, axis: int, start: int, end: int | None, step: int) -> np.ndarray:
    if step < 1:
        raise ComputeError("Array.slice: 'step' must be positive.")
    index: list[Any] = [slice(None)] * array.ndim
    index[_axis(array, axis, "Array.slice")] = slice(start, end, step)
    return array[tuple(index)]


@function("Array.transpose", "Array.matrixTranspose")
def transpose(context: Context, array: np.ndarray, one: int, other: int) -> np.ndarray:
    return np.swapaxes(array, _axis(array, one, "Array.transpose"), _axis(array, other, "Array.transpose"))


@function("Array.reshape")
def reshape(context: Context, array: np.ndarray, shape: np.ndarray) -> np.ndarray:
    sizes = [int(size) for size in np.ravel(shape)]
    if any(size < 0 for size in sizes) or math.prod(sizes) != array.size:
        raise ComputeError(f"Array.reshape: {array.size} numbers do not fill the shape {sizes}.")
    return array.reshape(sizes)


@function("Array.project")
def project(context: Context, array: np.ndarray, axes: list[int]) -> np.ndarray:
    kept = [_axis(array, axis, "Array.project") for axis in axes]
    dropped = [axis for axis in range(array.ndim) if axis not in kept]
    if any(array.shape[axis] != 1 for axis in dropped) or len(set(kept)) != len(kept):
        raise ComputeError("Array.project: only axes of length 1 can be dropped.")
    return np.transpose(array, [*kept, *dropped]).reshape([array.shape[axis] for axis in kept])


@function("Array.repeat")
def repeat(context: Context, array: np.ndarray, axis: int, copies: int) -> np.ndarray:
    if copies < 0 or array.size * copies > MAX_SIZE:
        raise ComputeError("User memory limit exceeded." if copies > 0 else "Array.repeat: 'copies' is negative.")
    shaped = array[..., None] if axis == array.ndim else array
    return np.concatenate([shaped] * copies, _axis(shaped, axis, "Array.repeat")) if copies else shaped[:0]


@function("Array.identity")
def identity(context: Context, size: int) -> np.ndarray:
    if not 1 <= size <= 3000:
        raise ComputeError("Array.identity: 'size' must be 1 to 3000.")
    return np.eye(size)


@function("Array.argmax")
def argmax(context: Context, array: np.ndarray) -> list[int] | None:
    return [int(i) for i in np.unravel_index(array.argmax(), array.shape)] if array.size else None


def _matrix(array: np.ndarray, where: str, square: bool = False) -> np.ndarray:
    if array.ndim != 2 or (square and array.shape[0] != array.shape[1]):
        raise ComputeError(f"{where}: a {'square ' if square else ''}matrix is needed; the array is "
                           f"{'x'.join(map(str, array.shape))}.")
    return array


@function("Array.matrixMultiply")
def matrix_multiply(context: Context, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    _matrix(left, "Array.matrixMultiply"), _matrix(right, "Array.matrixMultiply")
    if left.shape[1] != right.shape[0]:
        raise ComputeError(f"Array.matrixMultiply: {left.shape[1]} columns do not meet {right.shape[0]} rows.")
    return left @ right


@function("Array.dotProduct")
def dot_product(context: Context, one: np.ndarray, other: np.ndarray) -> Any:
    if one.ndim != 1 or one.shape != other.shape:
        raise ComputeError("Array.dotProduct: two vectors of the same length are needed.")
    return (one @ other).item()


@function("Array.matrixSolve")
def matrix_solve(context: Context, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    _matrix(left, "Array.matrixSolve"), _matrix(right, "Array.matrixSolve")
    if left.shape[0] != right.shape[0]:
        raise ComputeError("Array.matrixSolve: the matrices must have as many rows.")
    return np.linalg.lstsq(left, right, rcond=None)[0]


def _register_matrix(name: str, run: Callable[[np.ndarray], Any], square: bool) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, array: np.ndarray) -> Any:
        try:
            return run(_matrix(array, f"Array.{name}", square).astype("f8"))
        except np.linalg.LinAlgError:
            raise ComputeError(f"Array.{name}: the matrix is singular.") from None


_register_matrix("matrixInverse", np.linalg.inv, True)
_register_matrix("matrixPseudoInverse", np.linalg.pinv, False)
_register_matrix("matrixDeterminant", lambda m: float(np.linalg.det(m)), True)
_register_matrix("matrixTrace", lambda m: float(np.trace(m)), True)
_register_matrix("matrixFnorm", lambda m: float(np.linalg.norm(m)), False)
_register_matrix("matrixDiagonal", lambda m: np.diagonal(m)[:, None], False)


@function("Array.matrixToDiag")
def matrix_to_diag(context: Context, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != 1 or len(array) > 3000:
        raise ComputeError("Array.matrixToDiag: a matrix of one column is needed.")
    return np.diag(array[:, 0])


# --------------------------------------------------------------------------------------------------------- elementwise

_BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "max": np.maximum, "min": np.minimum,
    "eq": np.equal, "neq": np.not_equal, "gt": np.greater, "gte": np.greater_equal, "lt": np.less,
    "lte": np.less_equal, "and": lambda a, b: (a != 0) & (b != 0), "or": lambda a, b: (a != 0) | (b != 0),
    "atan2": np.arctan2, "hypot": np.hypot,
    "first": lambda a, b: a, "firstNonZero": lambda a, b: np.where(a != 0, a, b),
}
_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{name: getattr(np, name) for name in ("abs", "cbrt", "ceil", "cos", "cosh", "exp", "floor", "log", "log10", "sin",
                                            "sinh", "sqrt", "tan", "tanh")},
    "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "signum": np.sign, "not": lambda a: a == 0,
    "round": lambda a: a if a.dtype.kind == "i" else np.floor(a + 0.5),
}


def _tidy(values: Any) -> np.ndarray:
    found = np.asarray(values)
    return found.astype("f8" if found.dtype.kind == "f" else "i8")


def _register_binary(name: str, operation: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        if left.shape != right.shape and left.ndim and right.ndim:
            raise ComputeError(f"Array.{name}: the arrays must have the same shape; got "
                               f"{list(left.shape)} and {list(right.shape)}.")
        with np.errstate(all="ignore"):
            return _tidy(operation(left, right))


def _register_unary(name: str, operation: Callable[[np.ndarray], np.ndarray]) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, array: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return _tidy(operation(array))


for _name, _binary in _BINARY.items():
    _register_binary(_name, _binary)
for _name, _unary in _UNARY.items():
    _register_unary(_name, _unary)


def _register_cast(names: tuple[str, ...], to: PixelType) -> None:
    @function(*names)
    def apply(context: Context, array: np.ndarray) -> np.ndarray:
        return cast(array, to).astype("i8" if to.precision == "int" else "f8")


for _name, _type in {"byte": "uint8", "short": "int16", "int": "int32", "long": "int64", "int8": "int8",
                     "int16": "int16", "int32": "int32", "int64": "int64", "uint8": "uint8", "uint16": "uint16",
                     "uint32": "uint32"}.items():
    _both = (f"Array.{_name}", f"Array.to{_name[0].upper()}{_name[1:]}")
    _register_cast(_both, integer_type(_type))
_register_cast(("Array.float", "Array.toFloat"), PixelType("float"))
_register_cast(("Array.double", "Array.toDouble"), PixelType("double"))


# ------------------------------------------------------------------------------------------------- out of other values


def _found(value: Any, where: str) -> np.ndarray:
    found = array_of(value) if isinstance(value, list | np.ndarray) else None
    if found is None:
        raise ComputeError(f"{where}: the value is no array.")
    return found


@function("Element.getArray")
def element_array(context: Context, element: Any, name: str) -> np.ndarray | None:
    value = element.properties.get(name)
    return None if value is None else _found(value, "Element.getArray")


@function("Dictionary.getArray")
def dictionary_array(context: Context, mapping: dict[str, Any], key: str) -> np.ndarray:
    return _found(mapping.get(key), "Dictionary.getArray")


@function("List.getArray")
def list_array(context: Context, items: list[Any], index: int) -> np.ndarray:
    if not -len(items) <= index < len(items):
        raise ComputeError(f"List.getArray: the index {index} lies outside the list of {len(items)}.")
    return _found(items[index], "List.getArray")


@function("Dictionary.toArray")
def dictionary_to_array(context: Context, mapping: dict[str, Any], keys: list[str] | None, axis: int) -> np.ndarray:
    """Numbers side by side, arrays joined along an axis."""
    chosen = keys if keys is not None else sorted(mapping)
    if any(key not in mapping for key in chosen):
        raise ComputeError("Dictionary.toArray: a key is not in the dictionary.")
    values = [mapping[key] for key in chosen]
    if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return _found(values, "Dictionary.toArray")
    return cat(context, values, axis)
