"""Reducers: over rows of values, over stacks of pixels, over the pixels of a region."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.filters import value_of
from dwplus.embedded_earth.functions.images import renamed
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.functions.scalars import comparable
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import BOOLEAN, DOUBLE, PixelType, cast
from dwplus.embedded_earth.values import Band, Collection, Image, Reducer

Rows = list[tuple[Any, ...]]
Stack = Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]


def _single(name: str, rows: Callable[[np.ndarray, np.ndarray], Any], stack: Stack | None,
            to: Callable[[PixelType], PixelType], weighted: bool = True) -> Reducer:
    """A reducer of numbers to one number; no numbers give null."""
    def of(values: Rows, weights: np.ndarray) -> list[Any]:
        numbers = np.array([_number(row[0], name) for row in values], "f8")
        used = weights > 0 if weighted else np.ones(len(numbers), bool)
        if not used.any():
            return [0 if name in ("count", "sum") else None]
        result = rows(numbers[used], weights[used] if weighted else np.ones(int(used.sum())))
        return [result.item() if isinstance(result, np.generic) else result]

    def images(data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        assert stack is not None
        return [stack(data, valid)]

    # Output names that differ from the reducer's. Source: the service's list of algorithms.
    output = {"allNonZero": "all", "anyNonZero": "any", "sampleStdDev": "stdDev",
              "sampleVariance": "variance"}.get(name, name)
    return Reducer(name, 1, (output,), of, images if stack is not None else None, lambda t: [to(t)], weighted)


def _number(value: Any, name: str) -> float:
    number = comparable(value)
    if not isinstance(number, int | float):
        raise ComputeError(f"Reducer.{name}: the inputs must be numbers; got {type(value).__name__}.")
    return float(number)


def _filled(data: np.ndarray, valid: np.ndarray, value: float) -> np.ndarray:
    return np.where(valid, data, value)


def _weighed(data: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values times their shares, 0 where masked."""
    filled = _filled(data, valid, 0)
    return filled if valid.dtype == bool else filled * valid


def _mean_stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
    n = valid.sum(axis=0)
    total = _weighed(data.astype("f8"), valid).sum(axis=0)
    return np.divide(total, n, out=np.zeros(total.shape), where=n > 0), n > 0


def _variance_stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
    mean, seen = _mean_stack(data, valid)
    squares = _weighed((data - mean) ** 2, valid).sum(axis=0)
    return np.divide(squares, valid.sum(axis=0), out=np.zeros(squares.shape), where=seen), seen


def _sd_stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
    variance, seen = _variance_stack(data, valid)
    return np.sqrt(variance), seen


def _percentile_stack(percent: float) -> Stack:
    def stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
        valid = masks.seen(valid)
        # Sorted with the masked ones last: nanpercentile goes pixel by pixel, a hundred times slower.
        last = np.maximum(valid.sum(axis=0) - 1, 0)
        values = np.sort(np.where(valid, data.astype("f8"), np.inf), axis=0)
        at = last * (percent / 100)
        low = np.floor(at).astype(int)
        below = np.take_along_axis(values, low[None], 0)[0]
        above = np.take_along_axis(values, np.minimum(low + 1, last)[None], 0)[0]
        seen = valid.any(axis=0)
        return np.where(seen, below + np.where(seen, above - below, 0) * (at - low), 0), seen

    return stack


def _mode_stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
    # Of equally frequent values the smallest.
    order = np.argsort(np.where(valid, data, np.inf), axis=0, kind="stable")
    values = np.take_along_axis(data, order, 0)
    weights = np.take_along_axis(valid.astype(int) if valid.dtype == bool else valid, order, 0)
    best, best_count = values[0].copy(), weights[0].copy()
    run = weights[0]
    for i in range(1, len(values)):
        run = np.where(weights[i] > 0, np.where(values[i] == values[i - 1], run + weights[i], weights[i]), 0)
        better = run > best_count
        best, best_count = np.where(better, values[i], best), np.where(better, run, best_count)
    return best, best_count > 0


def _pick_stack(first: bool) -> Stack:
    def stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
        view, seen = (data, valid) if first else (data[::-1], valid[::-1])
        index = seen.argmax(axis=0)[None]
        return np.take_along_axis(view, index, 0)[0], seen.any(axis=0)

    return stack


def _extreme(largest: bool) -> Stack:
    def stack(data: np.ndarray, valid: np.ndarray) -> tuple[Any, Any]:
        if data.dtype.kind == "f":
            edge: Any = -np.inf if largest else np.inf
        else:
            info = np.iinfo(data.dtype)
            edge = info.min if largest else info.max
        filled = np.where(valid, data, np.asarray(edge, data.dtype))
        seen = valid.any(axis=0)
        return np.where(seen, filled.max(axis=0) if largest else filled.min(axis=0), 0), seen

    return stack


def _same(t: PixelType) -> PixelType:
    return t


def _double(t: PixelType) -> PixelType:
    return DOUBLE


def _counting(t: PixelType) -> PixelType:
    return PixelType("int", 0, 2**31 - 1)


def _total(t: PixelType) -> PixelType:
    return PixelType("int", -2**63, 2**63 - 1) if t.precision == "int" else DOUBLE


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    """Percentile where each value stands for its weight; equal weights give NumPy's linear one."""
    if len(values) == 0 or np.ptp(weights) == 0:
        return float(np.percentile(values, percent))
    order = np.argsort(values, kind="stable")
    ordered, shares = values[order], weights[order]
    middle = (np.cumsum(shares) - shares / 2) / shares.sum() * 100
    return float(np.interp(percent, middle, ordered))


def _mode(values: np.ndarray, weights: np.ndarray) -> float:
    keys, inverse = np.unique(values, return_inverse=True)
    return float(keys[np.bincount(inverse, weights).argmax()])


def _variance(values: np.ndarray, weights: np.ndarray) -> float:
    mean = np.average(values, weights=weights)
    return float(np.average((values - mean) ** 2, weights=weights))


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    return _weighted_percentile(values, weights, 50)


_SIMPLE: dict[str, Reducer] = {r.name: r for r in (
    _single("mean", lambda v, w: float(np.average(v, weights=w)), _mean_stack, _double),
    _single("sum", lambda v, w: float((v * w).sum()),
            lambda d, m: (_weighed(d, m).sum(axis=0), m.any(axis=0)), _total),
    _single("min", lambda v, w: v.min(), _extreme(False), _same, False),
    _single("max", lambda v, w: v.max(), _extreme(True), _same, False),
    _single("median", _median, _percentile_stack(50), _double),
    _single("mode", _mode, _mode_stack, _same),
    _single("variance", _variance, _variance_stack, _double),
    _single("stdDev", lambda v, w: math.sqrt(_variance(v, w)), _sd_stack, _double),
    _single("sampleVariance", lambda v, w: float(np.var(v, ddof=1)) if len(v) > 1 else None, None, _double, False),
    _single("sampleStdDev", lambda v, w: float(np.std(v, ddof=1)) if len(v) > 1 else None, None, _double, False),
    _single("product", lambda v, w: float(v.prod()),
            lambda d, m: (_filled(d.astype("f8"), m, 1).prod(axis=0), m.any(axis=0)), _double, False),
    _single("allNonZero", lambda v, w: int((v != 0).all()),
            lambda d, m: ((_filled(d, m, 1) != 0).all(axis=0), m.any(axis=0)), lambda t: BOOLEAN, False),
    _single("anyNonZero", lambda v, w: int((v != 0).any()),
            lambda d, m: ((_filled(d, m, 0) != 0).any(axis=0), m.any(axis=0)), lambda t: BOOLEAN, False),
)}


def _count_rows(rows: Rows, weights: np.ndarray) -> list[Any]:
    return [len(rows)]


def _count_stack(data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(valid.sum(axis=0), np.ones(data.shape[1:], bool))]


#: Counts values of every kind, texts too.
_SIMPLE["count"] = Reducer("count", 1, ("count",), _count_rows, _count_stack, lambda t: [_counting(t)], False)


def _register_simple(name: str) -> None:
    @function(f"Reducer.{name}")
    def make(context: Context, *options: Any) -> Reducer:
        if name in ("min", "max") and options and options[0] != 1:
            raise ComputeError(f"Reducer.{name}: 'numInputs' above 1 is not supported by the embedded Earth.")
        return _SIMPLE[name]


for _name in _SIMPLE:
    _register_simple(_name)


@function("Reducer.first", "Reducer.firstNonNull")
def first(context: Context) -> Reducer:
    return Reducer("first", 1, ("first",), lambda rows, w: [rows[0][0] if rows else None],
                   lambda d, m: [_pick_stack(True)(d, m)], lambda t: [t], False)


@function("Reducer.last", "Reducer.lastNonNull")
def last(context: Context) -> Reducer:
    return Reducer("last", 1, ("last",), lambda rows, w: [rows[-1][0] if rows else None],
                   lambda d, m: [_pick_stack(False)(d, m)], lambda t: [t], False)


@function("Reducer.minMax")
def min_max(context: Context) -> Reducer:
    return combine(context, _SIMPLE["min"], _SIMPLE["max"], "", True)


@function("Reducer.toList")
def to_list(context: Context, size: int | None, optional: int) -> Reducer:
    inputs = size or 1

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        return [[row[0] for row in values] if size is None else [list(row) for row in values]]

    return Reducer("list", inputs, ("list",), rows, None, None, False, optional)


@function("Reducer.percentile")
def percentile(context: Context, percents: list[float], names: list[str] | None, *limits: Any) -> Reducer:
    outputs = tuple(names or [f"p{p:g}" for p in percents])
    if len(outputs) != len(percents):
        raise ComputeError("Reducer.percentile: 'outputNames' must be as many as 'percentiles'.")

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        numbers = np.array([_number(row[0], "percentile") for row in values])
        return [_weighted_percentile(numbers, weights, p) if len(numbers) else None for p in percents]

    return Reducer("percentile", 1, outputs, rows, lambda d, m: [_percentile_stack(p)(d, m) for p in percents],
                   lambda t: [DOUBLE] * len(percents))


@function("Reducer.frequencyHistogram")
def frequency_histogram(context: Context) -> Reducer:
    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        counts: dict[str, float] = defaultdict(float)
        for (value,), weight in zip(values, weights, strict=True):
            key = f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
            counts[key] += weight
        return [dict(counts)]

    return Reducer("histogram", 1, ("histogram",), rows)


@function("Reducer.countDistinct", "Reducer.countDistinctNonNull")
def count_distinct(context: Context) -> Reducer:
    return Reducer("count", 1, ("count",), lambda rows, w: [len({str(row[0]) for row in rows})], None, None, False)


@function("Reducer.countEvery")
def count_every(context: Context) -> Reducer:
    return Reducer("count", 0, ("count",), lambda rows, w: [len(rows)], None, None, False)


@function("Reducer.unweighted")
def unweighted(context: Context, reducer: Reducer) -> Reducer:
    return replace(reducer, weighted=False, shared=tuple(unweighted(context, part) for part in reducer.shared),
                   separate=tuple(unweighted(context, part) for part in reducer.separate))


@function("Reducer.setOutputs")
def set_outputs(context: Context, reducer: Reducer, names: list[str]) -> Reducer:
    if len(names) != len(reducer.outputs):
        raise ComputeError(f"Reducer.setOutputs: {len(reducer.outputs)} names are needed; got {len(names)}.")
    return replace(reducer, outputs=tuple(names))


@function("Reducer.getOutputs")
def get_outputs(context: Context, reducer: Reducer) -> list[str]:
    return list(reducer.outputs)


@function("Reducer.repeat", "Reducer.forEachElement")
def repeat(context: Context, reducer: Reducer, count: int = 1) -> Reducer:
    """The reducer on each of several inputs; its outputs become lists. Nulls are skipped input by input."""
    width = reducer.inputs

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        columns = []
        for i in range(count):
            part = [(row[i * width:(i + 1) * width], weight) for row, weight in zip(values, weights, strict=True)]
            part = [item for item in part if all(v is not None for v in item[0])]
            columns.append(reducer.rows([row for row, _ in part], np.array([w for _, w in part])))
        return [[column[k] for column in columns] for k in range(len(reducer.outputs))]

    return Reducer("repeat", width * count, reducer.outputs, rows, None, None, reducer.weighted, width * count)


@function("Reducer.combine")
def combine(context: Context, one: Reducer, other: Reducer, prefix: str, shared: bool) -> Reducer:
    """Two reducers on the same inputs (``shared``), or on the inputs of both in turn."""
    names = (*one.outputs, *(prefix + name for name in other.outputs))
    if len(set(names)) != len(names):
        names = tuple(name if names.index(name) == i else f"{name}_{names[:i].count(name)}"
                      for i, name in enumerate(names))
    if shared and one.inputs != other.inputs:
        raise ComputeError("Reducer.combine: reducers that share inputs must have as many.")
    inputs = one.inputs if shared else one.inputs + other.inputs

    def rows(values: Rows, weights: np.ndarray) -> list[Any]:
        if shared:
            return [*one.rows(values, weights), *other.rows(values, weights)]
        return [*one.rows([r[:one.inputs] for r in values], weights),
                *other.rows([r[one.inputs:] for r in values], weights)]

    pixels = types = None
    if shared and one.pixels is not None and other.pixels is not None:
        def pixels(data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
            return [*on_stack(one, data, valid), *on_stack(other, data, valid)]

        def types(t: PixelType) -> list[PixelType]:
            assert one.types is not None and other.types is not None
            return [*one.types(t), *other.types(t)]

    separate = () if shared else (*(one.separate or (one,)), *(other.separate or (other,)))
    both = (*(one.shared or (one,)), *(other.shared or (other,))) if shared else ()
    return Reducer("combine", inputs, names, rows, pixels, types, one.weighted, 0, both, separate)


# ------------------------------------------------------------------------------------------------------------- rows


def reduce_rows(reducer: Reducer, rows: Sequence[Sequence[Any]], weights: Sequence[float] | None) -> dict[str, Any]:
    """Apply a reducer to rows; rows with a null among the required inputs are left out."""
    required = reducer.inputs - reducer.optional
    kept = [(tuple(row), 1.0 if weights is None else weights[i]) for i, row in enumerate(rows)
            if all(value is not None for value in row[:required])]
    weight = np.array([w for _, w in kept]) if kept else np.zeros(0)
    if reducer.shared:
        return dict(zip(reducer.outputs, [v for part in reducer.shared for v in part.rows(
            [row for row, _ in kept], weight if part.weighted else np.ones(len(kept)))], strict=True))
    if not reducer.weighted:
        weight = np.ones(len(kept))
    return dict(zip(reducer.outputs, reducer.rows([row for row, _ in kept], weight), strict=True))


@function("Collection.reduceColumns")
def reduce_columns(context: Context, collection: Collection, reducer: Reducer, selectors: list[str],
                   weights: list[str] | None) -> dict[str, Any]:
    width = max(1, reducer.inputs) if reducer.inputs else 0
    if width and len(selectors) % width:
        raise ComputeError(f"Collection.reduceColumns: Need {reducer.inputs} inputs for the reducer, got "
                           f"{len(selectors)} selectors.")
    if width and len(selectors) != width:
        raise ComputeError(f"Collection.reduceColumns: Need {reducer.inputs} inputs for the reducer, got "
                           f"{len(selectors)} selectors.")
    rows, row_weights = [], []
    for element in collection:
        rows.append([value_of(context, element, name) for name in selectors])
        row_weights.append(float(element.properties.get(weights[0]) or 0) if weights else 1.0)
    return reduce_rows(reducer, rows, row_weights)


# ----------------------------------------------------------------------------------------------------------- stacks


def on_stack(reducer: Reducer, data: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """A reducer on a stack (n, h, w): shares of the mask are weights to weighted ones, to others all or nothing."""
    assert reducer.pixels is not None
    return reducer.pixels(data, valid if reducer.weighted else masks.seen(valid))


def reduce_images(reducer: Reducer, groups: Sequence[Sequence[Band]], names: Sequence[str], like: Band) -> list[Band]:
    """Reduce groups of bands pixel by pixel: one band per group and output, on the projection of ``like``."""
    if reducer.pixels is None or reducer.types is None:
        raise ComputeError(f"Reducer.{reducer.name}: this reducer is not supported on images by the embedded Earth.")
    out = []
    for group, name in zip(groups, names, strict=True):
        common = group[0].type
        for band in group[1:]:
            common = common.union(band.type)
        types = reducer.types(common)
        last: list[tuple[Grid, list[tuple[np.ndarray, np.ndarray]]]] = []

        def run(grid: Grid, group: Sequence[Band] = group, common: PixelType = common,
                last: list[Any] = last) -> list[tuple[np.ndarray, np.ndarray]]:
            if not last or last[0][0] != grid:
                data = np.empty((len(group), *grid.shape), common.dtype)
                put, valid = masks.assembled(data.shape)
                for i, band in enumerate(group):
                    values, mask = band.read(grid)
                    data[i] = cast(values, common)
                    put(i, mask)
                with np.errstate(all="ignore"):
                    last[:] = [(grid, on_stack(reducer, data, valid()))]
            return last[0][1]

        for k, (output, to) in enumerate(zip(reducer.outputs, types, strict=True)):
            def read(grid: Grid, k: int = k, to: PixelType = to, run: Callable[..., Any] = run) -> Pixels:
                values, seen = run(grid)[k]
                return cast(values, to), seen

            label = f"{name}_{output}" if name else output
            out.append(Band(label, to, like.projection, like.extent, read))
    return out


@function("Image.reduce")
def reduce_bands(context: Context, image: Image, reducer: Any) -> Image:
    if not image.bands:
        raise ComputeError("Image.reduce: the image has no bands.")
    names = list(reducer.outputs)
    bands = reduce_images(reducer, [list(image.bands)], [""], image.bands[0])
    return image.computed(renamed(bands, names, "Image.reduce"))
