"""Reducers of several inputs, of circles, histograms with fixed bins, and groups."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions import reducers
from dwplus.embedded_earth.functions.registry import call, function
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, PixelType, cast
from dwplus.embedded_earth.values import Band, Feature, Image, Reducer, collection_of

Rows = list[tuple[Any, ...]]
#: Bins of a histogram.
_MAX_STEPS = 1 << 20


def _columns(rows: Rows, name: str, count: int) -> np.ndarray:
    """(count, n) numbers of rows.

    Raises
    ------
    ComputeError
        Where an input is no number.
    """
    try:
        found = np.array(rows, "f8").reshape(len(rows), count)
    except (TypeError, ValueError):
        raise ComputeError(f"Reducer.{name}: the inputs must be numbers.") from None
    return found.T


def _plain(value: Any) -> Any:
    return None if value is None or not math.isfinite(value) else float(value)


# --------------------------------------------------------------------------------------------------- of two variables


def _fit(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope and offset of least squares along the first axis, and where there are any."""
    total = w.sum(axis=0)
    safe = np.where(total > 0, total, 1)
    mean_x, mean_y = (w * x).sum(axis=0) / safe, (w * y).sum(axis=0) / safe
    spread = (w * (x - mean_x) ** 2).sum(axis=0)
    together = (w * (x - mean_x) * (y - mean_y)).sum(axis=0)
    fine = (total > 0) & (spread > 0)
    slope = np.divide(together, spread, out=np.zeros(np.shape(total)), where=fine)
    return slope, mean_y - slope * mean_x, fine


@function("Reducer.linearFit")
def linear_fit(context: Context) -> Reducer:
    """Weighted least squares of y on x."""
    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        x, y = _columns(values, "linearFit", 2)
        slope, offset, fine = _fit(x, y, weights)
        return [_plain(slope), _plain(offset)] if fine else [None, None]

    def pixels(data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        x, y = np.where(valid, data, 0.0)
        slope, offset, fine = _fit(x, y, valid.min(axis=0).astype("f8"))
        return [(slope, fine), (offset, fine)]

    return Reducer("linearFit", 2, ("scale", "offset"), rows, pixels, lambda t: [DOUBLE, DOUBLE])


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    out = d
    for m in range(1, 500):
        for part in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d, c = 1 + part * d, 1 + part / c
            d, c = 1 / (d if abs(d) > tiny else tiny), c if abs(c) > tiny else tiny
            out *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    log_front = (math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return math.exp(log_front) * out / a


@function("Reducer.pearsonsCorrelation")
def pearsons_correlation(context: Context) -> Reducer:
    """Correlation, and the chance of one as large where there is none (Student's t, two-sided)."""
    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        x, y = _columns(values, "pearsonsCorrelation", 2)
        n = len(x)
        if n < 2:
            return [None, None]
        dx, dy = x - x.mean(), y - y.mean()
        norm = math.sqrt(float((dx**2).sum() * (dy**2).sum()))
        if not norm:
            return [None, None]
        r = max(-1.0, min(1.0, float((dx * dy).sum()) / norm))
        if n < 3:
            return [r, None]
        freedom = n - 2
        chance = 0.0 if abs(r) == 1 else incomplete_beta(freedom / 2, 0.5, 1 - r * r)
        return [r, chance]

    return Reducer("pearsonsCorrelation", 2, ("correlation", "p-value"), rows, None, None, False)


@function("Reducer.linearRegression")
def linear_regression(context: Context, predictors: int, targets: int) -> Reducer:
    """Least squares of several variables, without an intercept of its own: coefficients (numX, numY), residuals."""
    if predictors < 1 or targets < 1:
        raise ComputeError("Reducer.linearRegression: 'numX' and 'numY' must be positive.")

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        columns = _columns(values, "linearRegression", predictors + targets)
        if columns.shape[1] <= predictors:
            return [None, None]
        x, y = columns[:predictors].T, columns[predictors:].T
        coefficients, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
        if rank < predictors:
            return [None, None]
        return [coefficients, np.sqrt(((y - x @ coefficients) ** 2).mean(axis=0))]

    return Reducer("linearRegression", predictors + targets, ("coefficients", "residuals"), rows, None, None, False)


# ----------------------------------------------------------------------------------------------------- of one variable


def _circle(values: np.ndarray, weights: np.ndarray) -> tuple[Any, Any, Any]:
    """Mean direction and length of the mean vector along the first axis, and where there is one."""
    total = weights.sum(axis=0)
    safe = np.where(total > 0, total, 1)
    sine, cosine = (weights * np.sin(values)).sum(axis=0) / safe, (weights * np.cos(values)).sum(axis=0) / safe
    return np.arctan2(sine, cosine), np.hypot(sine, cosine), total > 0


_CIRCULAR: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "circularMean": ("circularMean", lambda angle, length: angle),
    "circularVariance": ("circularVariance", lambda angle, length: 1 - length),
    "circularStddev": ("circularStdDev", lambda angle, length: np.sqrt(-2 * np.log(np.minimum(length, 1)))),
}


def _register_circular(name: str, output: str, run: Callable[[Any, Any], Any]) -> None:
    @function(f"Reducer.{name}")
    def make(context: Context) -> Reducer:
        def rows(values: Rows, weights: np.ndarray) -> list[Any]:
            angle, length, some = _circle(_columns(values, name, 1)[0], weights)
            with np.errstate(divide="ignore"):
                return [_plain(run(angle, length))] if some else [None]

        def pixels(data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
            angle, length, some = _circle(np.where(valid, data, 0).astype("f8"), valid.astype("f8"))
            return [(run(angle, length), np.asarray(some))]

        return Reducer(name, 1, (output,), rows, pixels, lambda t: [DOUBLE])


for _name, (_output, _run) in _CIRCULAR.items():
    _register_circular(_name, _output, _run)


def _register_logical(name: str, base: str, output: str) -> None:
    @function(f"Reducer.{name}")
    def make(context: Context) -> Reducer:
        return replace(call(context, f"Reducer.{base}", {}), name=name, outputs=(output,))


_register_logical("and", "allNonZero", "all")
_register_logical("or", "anyNonZero", "any")


def _register_bits(name: str, operation: np.ufunc, empty: int) -> None:
    @function(f"Reducer.{name}")
    def make(context: Context) -> Reducer:
        def rows(values: Rows, weights: np.ndarray) -> list[Any]:
            numbers = _columns(values, name, 1)[0].astype("i8")
            return [int(operation.reduce(numbers)) if len(numbers) else None]

        def pixels(data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
            some = np.asarray(valid.any(axis=0))
            return [(operation.reduce(np.where(valid, data.astype("i8"), empty), axis=0), some)]

        def types(t: PixelType) -> list[PixelType]:
            return [t if t.precision == "int" else PixelType("int", -2**63, 2**63 - 1)]

        return Reducer(name, 1, (name,), rows, pixels, types, False)


_register_bits("bitwiseAnd", np.bitwise_and, -1)
_register_bits("bitwiseOr", np.bitwise_or, 0)


@function("Reducer.countRuns")
def count_runs(context: Context) -> Reducer:
    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        listed = [row[0] for row in values]
        return [sum(1 for i, value in enumerate(listed) if not i or value != listed[i - 1])]

    return Reducer("countRuns", 1, ("count",), rows, None, None, False)


@function("Reducer.fixedHistogram")
def fixed_histogram(context: Context, low: float, high: float, steps: int, cumulative: bool) -> Reducer:
    """Counts in bins of one width: rows of lower edge and (weighted) count; what lies outside is left out."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ComputeError("Reducer.fixedHistogram: 'min' must be less than 'max'.")
    if not 1 <= steps <= _MAX_STEPS:
        raise ComputeError(f"Reducer.fixedHistogram: 'steps' must be 1 to {_MAX_STEPS}.")
    width = (high - low) / steps

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        numbers = _columns(values, "fixedHistogram", 1)[0]
        inside = (numbers >= low) & (numbers < high)
        bins = np.minimum(((numbers[inside] - low) / width).astype(int), steps - 1)
        counts = np.bincount(bins, weights[inside], steps)
        return [np.stack([low + width * np.arange(steps), np.cumsum(counts) if cumulative else counts], 1)]

    return Reducer("fixedHistogram", 1, ("histogram",), rows)


@function("Reducer.toCollection")
def to_collection(context: Context, names: list[str], optional: int) -> Reducer:
    """A feature without a geometry for each row, its inputs as properties; nulls are left out."""
    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        return [collection_of([Feature(None, {name: value for name, value in zip(names, row, strict=True)
                                              if value is not None}) for row in values])]

    return Reducer("toCollection", len(names), ("features",), rows, None, None, False, optional)


# ------------------------------------------------------------------------------------------------------- of reducers


@function("Reducer.group")
def group(context: Context, reducer: Reducer, place: int, name: str) -> Reducer:
    """The reducer on each group of rows with the same value in one input: a list of dictionaries by that value."""
    width = reducer.inputs + 1
    if not 0 <= place < width:
        raise ComputeError(f"Reducer.group: 'groupField' must be 0 to {width - 1}; got {place}.")
    if name in reducer.outputs:
        raise ComputeError(f"Reducer.group: the name '{name}' is taken by an output.")

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        groups: dict[Any, list[int]] = {}
        for index, row in enumerate(values):
            try:
                groups.setdefault(row[place], []).append(index)
            except TypeError:
                raise ComputeError("Reducer.group: groups must be numbers or texts.") from None
        out = []
        for key in sorted(groups, key=lambda value: (isinstance(value, str), value)):
            chosen = groups[key]
            part = [values[i][:place] + values[i][place + 1:] for i in chosen]
            found = reducers.reduce_rows(reducer, part, weights[chosen].tolist())
            out.append({name: key, **found})
        return [out]

    return Reducer("group", width, ("groups",), rows, None, None, reducer.weighted)


def _copies(context: Context, reducer: Reducer, names: Sequence[str], where: str) -> Reducer:
    if not names or not all(isinstance(name, str) for name in names):
        raise ComputeError(f"{where}: output names are needed.")
    single = len(reducer.outputs) == 1
    named = [replace(reducer, outputs=(name,) if single else tuple(f"{name}_{output}" for output in reducer.outputs))
             for name in names]
    return functools.reduce(lambda one, other: reducers.combine(context, one, other, "", False), named)


@function("Reducer.splitWeights")
def split_weights(context: Context, reducer: Reducer) -> Reducer:
    """The reducer with each input followed by one for its weight, which no longer comes from the mask."""
    if reducer.separate:
        parts = [split_weights(context, part) for part in reducer.separate]
        return functools.reduce(lambda one, other: reducers.combine(context, one, other, "", False), parts)
    if not reducer.weighted:
        return reducer
    if reducer.inputs != 1:
        raise ComputeError("Reducer.splitWeights: reducers of several shared inputs are not supported by the embedded "
                           "Earth.")

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        numbers, given = _columns(values, "splitWeights", 2)
        return reducer.rows([(number,) for number in numbers.tolist()], np.maximum(given, 0))

    return Reducer(reducer.name, 2, reducer.outputs, rows, None, None, False)


@function("Reducer.forEach")
def for_each(context: Context, reducer: Reducer, names: list[str]) -> Reducer:
    return _copies(context, reducer, names, "Reducer.forEach")


@function("Reducer.forEachBand")
def for_each_band(context: Context, reducer: Reducer, image: Image) -> Reducer:
    return _copies(context, reducer, [band.id for band in image.bands], "Reducer.forEachBand")


# --------------------------------------------------------------------------------------------------- on image stacks


def reduce_together(reducer: Reducer, images: Sequence[Image], like: Band) -> list[Band]:
    """A reducer of several inputs over a collection: the first bands of every image are its inputs.

    Its ``pixels`` take (inputs, n, h, w).
    """
    if reducer.pixels is None or reducer.types is None:
        raise ComputeError(f"Reducer.{reducer.name}: this reducer is not supported on images by the embedded Earth.")
    for image in images:
        if len(image.bands) != reducer.inputs:
            raise ComputeError(f"ImageCollection.reduce: Need {reducer.inputs} bands for the reducer, image has "
                               f"{len(image.bands)}.")
    types = reducer.types(DOUBLE)
    last: list[tuple[Grid, list[tuple[np.ndarray, np.ndarray]]]] = []

    def run(grid: Grid) -> list[tuple[np.ndarray, np.ndarray]]:
        if not last or last[0][0] != grid:
            data = np.zeros((reducer.inputs, len(images), *grid.shape))
            put, valid = masks.assembled(data.shape)
            for n, image in enumerate(images):
                for i, band in enumerate(image.bands):
                    values, mask = band.read(grid)
                    data[i, n] = values
                    put((i, n), mask)
            with np.errstate(all="ignore"):
                last[:] = [(grid, reducers.on_stack(reducer, data, valid()))]
        return last[0][1]

    def of(k: int) -> Band:
        def read(grid: Grid) -> Pixels:
            values, seen = run(grid)[k]
            return cast(values, types[k]), seen

        return replace(like, id=reducer.outputs[k], type=types[k], read=read)

    return [of(k) for k in range(len(types))]
