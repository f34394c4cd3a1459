"""Confusion matrices: actual classes by row, predicted ones by column, and the accuracies that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dwplus.embedded_earth.arrays import array_of
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.array_numbers import divide
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.values import Collection, ConfusionMatrix

#: Classes of a matrix.
_MOST_CLASSES = 3_000


@function("ConfusionMatrix")
def make(context: Context, values: Any, order: list[int] | None) -> ConfusionMatrix:
    if isinstance(values, ConfusionMatrix):
        return values
    counts = array_of(values)
    if counts is None or counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ComputeError("ConfusionMatrix: 'array' must be a square matrix.")
    names = tuple(range(len(counts))) if order is None else tuple(int(place) for place in order)
    if len(names) != len(counts):
        raise ComputeError(f"ConfusionMatrix: 'order' has {len(names)} entries; the matrix {len(counts)} rows.")
    return ConfusionMatrix(counts, names)


def counted(actual: list[int], predicted: list[int], order: tuple[int, ...] | None) -> ConfusionMatrix:
    """Pairs of classes, counted; without an order classes count from 0 to the largest there is."""
    names = order or tuple(range(max([*actual, *predicted], default=-1) + 1))
    if len(names) > _MOST_CLASSES or any(value < 0 for value in (*actual, *predicted) if order is None):
        raise ComputeError(f"ConfusionMatrix: classes must be whole numbers from 0 to {_MOST_CLASSES - 1}.")
    places = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), "i8")
    for one, other in zip(actual, predicted, strict=True):
        if one not in places or other not in places:
            raise ComputeError(f"ConfusionMatrix: the class {one if one not in places else other} is not in 'order'.")
        counts[places[one], places[other]] += 1
    return ConfusionMatrix(counts, names)


@function("Collection.errorMatrix")
def error_matrix(
    context: Context, collection: Collection, actual: str, predicted: str, order: list[int] | None
) -> ConfusionMatrix:
    pairs: list[tuple[int, int]] = []
    for element in collection:
        context.check_time()
        values = [element.properties.get(name) for name in (actual, predicted)]
        if any(not isinstance(value, int | float) or not float(value).is_integer() for value in values):
            raise ComputeError(f"Collection.errorMatrix: '{actual}' and '{predicted}' must be whole numbers.")
        pairs.append((int(values[0]), int(values[1])))
    return counted(
        [one for one, _ in pairs],
        [other for _, other in pairs],
        None if order is None else tuple(int(place) for place in order),
    )


@function("ConfusionMatrix.array")
def array(context: Context, matrix: ConfusionMatrix) -> np.ndarray:
    return matrix.counts


@function("ConfusionMatrix.order")
def order_of(context: Context, matrix: ConfusionMatrix) -> list[int]:
    return list(matrix.order)


@function("ConfusionMatrix.accuracy")
def accuracy(context: Context, matrix: ConfusionMatrix) -> float:
    total = matrix.counts.sum()
    return float(np.trace(matrix.counts) / total) if total else 0.0


@function("ConfusionMatrix.kappa")
def kappa(context: Context, matrix: ConfusionMatrix) -> float:
    """Cohen's kappa: agreement beyond that of chance."""
    counts = matrix.counts.astype("f8")
    total = counts.sum()
    if not total:
        return 0.0
    agreed = np.trace(counts) / total
    chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum() / total**2)
    return float((agreed - chance) / (1 - chance)) if chance != 1 else 1.0


def _shares(matrix: ConfusionMatrix, axis: int) -> np.ndarray:
    """Correct ones among a class's row (axis 1) or column (axis 0); 0 for a class that is not there."""
    counts = matrix.counts.astype("f8")
    return divide(np.diagonal(counts), counts.sum(axis=axis))


@function("ConfusionMatrix.producersAccuracy")
def producers(context: Context, matrix: ConfusionMatrix) -> np.ndarray:
    """Of each actual class the share that was found (n, 1)."""
    return _shares(matrix, 1)[:, None]


@function("ConfusionMatrix.consumersAccuracy")
def consumers(context: Context, matrix: ConfusionMatrix) -> np.ndarray:
    """Of each predicted class the share that is right (1, n)."""
    return _shares(matrix, 0)[None]


@function("ConfusionMatrix.fscore")
def fscore(context: Context, matrix: ConfusionMatrix, beta: float) -> np.ndarray:
    """Weighted harmonic mean of a class's two accuracies (n,)."""
    found, right = _shares(matrix, 1), _shares(matrix, 0)
    return divide((1 + beta**2) * right * found, beta**2 * right + found)
