"""Arrays: making them, their shape, and their elements along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dwplus.embedded_earth.arrays import MAX_SIZE, array_of
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.reducers import reduce_rows
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.values import Reducer


def axis_of(array: np.ndarray, axis: int, where: str) -> int:
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
    return join(listed, axis, "Array.cat")


def join(listed: list[np.ndarray], axis: int, where: str) -> np.ndarray:
    """Arrays behind each other along an axis, or along a new last one."""
    # Along a new last axis, arrays get one of length 1.
    if axis == max(array.ndim for array in listed):
        listed = [array[..., None] for array in listed]
    try:
        return np.concatenate(listed, axis)
    except (ValueError, np.exceptions.AxisError):
        raise ComputeError(f"{where}: the arrays must agree in all axes but the one they are joined along.") from None


@function("Array.slice")
def slice_(context: Context, array: np.ndarray, axis: int, start: int, end: int | None, step: int) -> np.ndarray:
    if step < 1:
        raise ComputeError("Array.slice: 'step' must be positive.")
    index: list[Any] = [slice(None)] * array.ndim
    index[axis_of(array, axis, "Array.slice")] = slice(start, end, step)
    return array[tuple(index)]


@function("Array.transpose", "Array.matrixTranspose")
def transpose(context: Context, array: np.ndarray, one: int, other: int) -> np.ndarray:
    return np.swapaxes(array, axis_of(array, one, "Array.transpose"), axis_of(array, other, "Array.transpose"))


@function("Array.reshape")
def reshape(context: Context, array: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return reshaped(array, [int(size) for size in np.ravel(shape)], "Array.reshape")


def reshaped(array: np.ndarray, sizes: list[int], where: str) -> np.ndarray:
    """The same numbers in another shape; a single -1 stands for what is left."""
    if sizes.count(-1) == 1 and math.prod(sizes) != 0 and array.size % math.prod(sizes) == 0:
        sizes = [array.size // -math.prod(sizes) if size == -1 else size for size in sizes]
    if any(size < 0 for size in sizes) or math.prod(sizes) != array.size:
        raise ComputeError(f"{where}: {array.size} numbers do not fill the shape {sizes}.")
    return array.reshape(sizes)


@function("Array.project")
def project(context: Context, array: np.ndarray, axes: list[int]) -> np.ndarray:
    kept = [axis_of(array, axis, "Array.project") for axis in axes]
    dropped = [axis for axis in range(array.ndim) if axis not in kept]
    if any(array.shape[axis] != 1 for axis in dropped) or len(set(kept)) != len(kept):
        raise ComputeError("Array.project: only axes of length 1 can be dropped.")
    return np.transpose(array, [*kept, *dropped]).reshape([array.shape[axis] for axis in kept])


@function("Array.repeat")
def repeat(context: Context, array: np.ndarray, axis: int, copies: int) -> np.ndarray:
    if copies < 0 or array.size * copies > MAX_SIZE:
        raise ComputeError("User memory limit exceeded." if copies > 0 else "Array.repeat: 'copies' is negative.")
    shaped = array[..., None] if axis == array.ndim else array
    return np.concatenate([shaped] * copies, axis_of(shaped, axis, "Array.repeat")) if copies else shaped[:0]


@function("Array.identity")
def identity(context: Context, size: int) -> np.ndarray:
    if not 0 <= size <= 3000:
        raise ComputeError("Array.identity: 'size' must be 0 to 3000.")
    return np.eye(size)


@function("Array.argmax")
def argmax(context: Context, array: np.ndarray) -> list[int] | None:
    return [int(i) for i in np.unravel_index(array.argmax(), array.shape)] if array.size else None


# ------------------------------------------------------------------------------------------- elements along an axis


def cut(array: np.ndarray, position: list[int], where: str) -> np.ndarray:
    """A single place along every axis, or all of it where the position is -1."""
    if len(position) != array.ndim:
        raise ComputeError(f"{where}: the position has {len(position)} coordinates; the array {array.ndim} axes.")
    index = []
    for at, size in zip(position, array.shape, strict=True):
        if not -1 <= at < size:
            raise ComputeError(f"{where}: the position {position} lies outside the array's "
                               f"{'x'.join(map(str, array.shape))}.")
        index.append(slice(None) if at == -1 else slice(at, at + 1))
    return array[tuple(index)]


@function("Array.cut")
def cut_array(context: Context, array: np.ndarray, position: list[int]) -> np.ndarray:
    return cut(array, position, "Array.cut")


def padded(array: np.ndarray, lengths: list[int], value: float, where: str) -> np.ndarray:
    """Longer along its axes, never shorter."""
    if len(lengths) != array.ndim:
        raise ComputeError(f"{where}: 'lengths' has {len(lengths)} entries; the array {array.ndim} axes.")
    shape = [max(size, wanted) for size, wanted in zip(array.shape, lengths, strict=True)]
    if math.prod(shape) > MAX_SIZE:
        raise ComputeError("User memory limit exceeded.")
    out = np.full(shape, value, "i8" if array.dtype.kind == "i" and float(value).is_integer() else "f8")
    out[tuple(slice(size) for size in array.shape)] = array
    return out


@function("Array.pad")
def pad(context: Context, array: np.ndarray, lengths: list[int], value: float) -> np.ndarray:
    return padded(array, lengths, value, "Array.pad")


def _long_axis(array: np.ndarray, what: str, where: str) -> int:
    """The one axis along which there are several elements; the first where there is none."""
    long = [axis for axis, size in enumerate(array.shape) if size != 1]
    if len(long) > 1:
        raise ComputeError(f"{where}: {what} may have several elements along one axis only; got "
                           f"{'x'.join(map(str, array.shape))}.")
    return long[0] if long else 0


def masked(array: np.ndarray, mask: np.ndarray, where: str) -> np.ndarray:
    """Places whose mask is not 0, along the axis the mask runs along."""
    if mask.ndim != array.ndim or not array.ndim:
        raise ComputeError(f"{where}: the mask must have the array's {array.ndim} axes, at least one; it has "
                           f"{mask.ndim}.")
    axis = _long_axis(mask, "the mask", where)
    if mask.shape[axis] != array.shape[axis]:
        raise ComputeError(f"{where}: the mask's {mask.shape[axis]} elements do not meet the array's "
                           f"{array.shape[axis]}.")
    return np.compress(mask.ravel() != 0, array, axis)


@function("Array.mask")
def mask_array(context: Context, array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return masked(array, mask, "Array.mask")


def sorted_array(array: np.ndarray, keys: np.ndarray | None, where: str) -> np.ndarray:
    """Along the axis the keys run along, equal keys in the order they had."""
    by = array if keys is None else keys
    if by.ndim != array.ndim or not array.ndim:
        raise ComputeError(f"{where}: the keys must have the array's {array.ndim} axes, at least one; they have "
                           f"{by.ndim}.")
    axis = _long_axis(by, "the keys", where)
    if by.shape[axis] != array.shape[axis]:
        raise ComputeError(f"{where}: {by.shape[axis]} keys do not meet the array's {array.shape[axis]} elements.")
    return np.take(array, np.argsort(by.ravel(), kind="stable"), axis)


@function("Array.sort")
def sort(context: Context, array: np.ndarray, keys: np.ndarray | None) -> np.ndarray:
    return sorted_array(array, keys, "Array.sort")


def _reduced(reducer: Reducer, rows: list[list[Any]], where: str) -> list[float]:
    found = list(reduce_rows(reducer, rows, None).values())
    if not all(isinstance(value, int | float) for value in found):
        raise ComputeError(f"{where}: Reducer.{reducer.name} gives no number here.")
    return found


def reduced(context: Context, array: np.ndarray, reducer: Reducer, axes: list[int], field: int | None,
            where: str) -> np.ndarray:
    """A reducer on all elements along some axes, which become 1 long; a field axis feeds several inputs and outputs.

    Raises
    ------
    ComputeError
        For axes that there are not, and a field axis that is missing or does not fit.
    """
    for axis in axes:
        axis_of(array, axis, where)
    if field is None and (reducer.inputs > 1 or len(reducer.outputs) > 1):
        raise ComputeError(f"{where}: 'fieldAxis' is needed: Reducer.{reducer.name} has {reducer.inputs} inputs and "
                           f"{len(reducer.outputs)} outputs.")
    if field is not None:
        axis_of(array, field, where)
        if field in axes:
            raise ComputeError(f"{where}: 'fieldAxis' must not be one of 'axes'.")
        if array.shape[field] != max(1, reducer.inputs):
            raise ComputeError(f"{where}: the field axis has {array.shape[field]} elements; Reducer.{reducer.name} "
                               f"takes {reducer.inputs}.")
    kept = [axis for axis in range(array.ndim) if axis not in axes and axis != field]
    width = 1 if field is None else array.shape[field]
    order = [*kept, *sorted(set(axes)), *([] if field is None else [field])]
    groups = np.transpose(array, order).reshape(
        [math.prod(array.shape[axis] for axis in kept), math.prod(array.shape[axis] for axis in set(axes)), width])
    outputs = len(reducer.outputs) if field is not None else 1
    out = np.empty((len(groups), outputs))
    for i, rows in enumerate(groups):
        context.check_time()
        out[i] = _reduced(reducer, rows.tolist(), where)
    shaped = out.reshape([*(array.shape[axis] for axis in kept), *(1 for _ in set(axes)), outputs])
    if field is None:
        shaped = shaped[..., 0]
    return np.transpose(shaped, np.argsort(order))


@function("Array.reduce")
def reduce(context: Context, array: np.ndarray, reducer: Reducer, axes: list[int], field: int | None) -> np.ndarray:
    return reduced(context, array, reducer, axes, field, "Array.reduce")


def accumulated(context: Context, array: np.ndarray, axis: int, reducer: Reducer | None, where: str) -> np.ndarray:
    """Every element replaced by the reduction of all up to it; sums by default."""
    axis_of(array, axis, where)
    if reducer is None or reducer.name == "sum":
        return np.cumsum(array, axis)
    if reducer.inputs > 1 or len(reducer.outputs) > 1:
        raise ComputeError(f"{where}: the reducer must have one input and one output.")
    lines = np.moveaxis(array, axis, -1)
    out = np.empty(lines.shape)
    for index in np.ndindex(lines.shape[:-1]):
        rows = [[value] for value in lines[index].tolist()]
        for end in range(len(rows)):
            context.check_time()
            out[(*index, end)] = _reduced(reducer, rows[:end + 1], where)[0]
    return np.moveaxis(out, -1, axis)


@function("Array.accum")
def accum(context: Context, array: np.ndarray, axis: int, reducer: Reducer | None) -> np.ndarray:
    return accumulated(context, array, axis, reducer, "Array.accum")


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
