"""Arrays: linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth import eigen
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import function

#: Rows of a square matrix that is decomposed.
MAX_ROWS = 1_000
#: Rows of a matrix whose eigenvectors are sought.
MAX_EIGEN = 200


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


#: Functions of one matrix, with context and matrix as arguments.
ON_ONE: dict[str, Callable[[Context, np.ndarray], Any]] = {}


def _determinant(matrix: np.ndarray) -> float:
    return float(np.linalg.det(matrix))


def _trace(matrix: np.ndarray) -> float:
    return float(np.trace(matrix))


def _norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix))


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix)[:, None]


def _register_matrix(name: str, run: Callable[[np.ndarray], Any], square: bool) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, array: np.ndarray) -> Any:
        try:
            return run(_matrix(array, f"Array.{name}", square).astype("f8"))
        except np.linalg.LinAlgError:
            raise ComputeError(f"Array.{name}: the matrix is singular.") from None

    ON_ONE[name] = apply


_register_matrix("matrixInverse", np.linalg.inv, True)
_register_matrix("matrixPseudoInverse", np.linalg.pinv, False)
_register_matrix("matrixDeterminant", _determinant, True)
_register_matrix("matrixTrace", _trace, True)
_register_matrix("matrixFnorm", _norm, False)
_register_matrix("matrixDiagonal", _diagonal, False)


@function("Array.matrixToDiag")
def matrix_to_diag(context: Context, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != 1 or len(array) > 3000:
        raise ComputeError("Array.matrixToDiag: a matrix of one column is needed.")
    return np.diag(array[:, 0])


@function("Array.eigen")
def eigen_of(context: Context, array: np.ndarray) -> np.ndarray:
    """Rows of an eigenvalue and its vector, the largest first."""
    matrix = _sized(array, "Array.eigen", True)
    if len(matrix) > MAX_EIGEN:
        raise ComputeError(f"Array.eigen: matrices of more than {MAX_EIGEN} rows are not supported by the embedded "
                           "Earth.")
    try:
        values, vectors = eigen.eigen(matrix)
    except eigen.NoConvergence as error:
        raise ComputeError(f"Array.eigen: {error}, which is not supported by the embedded Earth.") from None
    return np.column_stack([values, vectors]) if len(matrix) else np.zeros((0, 1))


# ------------------------------------------------------------------------------------------------------ decompositions


def _sized(array: np.ndarray, where: str, square: bool) -> np.ndarray:
    matrix = _matrix(array, where, square).astype("f8")
    if max(matrix.shape, default=0) > MAX_ROWS:
        raise ComputeError("User memory limit exceeded.")
    if not np.isfinite(matrix).all():
        raise ComputeError(f"{where}: the numbers must be finite.")
    return matrix


def cholesky(array: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """``L``, lower triangular, with L L' the matrix."""
    matrix = _sized(array, where, True)
    try:
        if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=0):
            raise np.linalg.LinAlgError
        return {"L": np.linalg.cholesky(matrix)}
    except np.linalg.LinAlgError:
        raise ComputeError(f"{where}: the matrix must be symmetric and positive definite.") from None


def lu(array: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """``L``, ``U`` and ``P`` with P A = L U; of a column's candidates the largest leads, of equal ones the first."""
    upper = _sized(array, where, True).copy()
    size = len(upper)
    lower, order = np.zeros((size, size)), np.arange(size)
    for k in range(size):
        lead = k + int(np.argmax(np.abs(upper[k:, k])))
        for rows in (upper, lower, order):
            rows[[k, lead]] = rows[[lead, k]]
        if upper[k, k] != 0:
            lower[k + 1:, k] = upper[k + 1:, k] / upper[k, k]
            upper[k + 1:] -= np.outer(lower[k + 1:, k], upper[k])
            upper[k + 1:, k] = 0
    return {"L": lower + np.eye(size), "U": upper, "P": np.eye(size)[order]}


def qr(array: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """``Q`` and ``R`` by reflections, each of which turns the leading element's sign (where it is 0, downwards)."""
    upper = _sized(array, where, False).copy()
    height, width = upper.shape
    orthogonal = np.eye(height)
    for k in range(min(height, width)):
        column = upper[k:, k].copy()
        size = np.linalg.norm(column)
        if size == 0:
            continue
        column[0] += size if column[0] >= 0 else -size
        column /= np.linalg.norm(column)
        upper[k:] -= 2 * np.outer(column, column @ upper[k:])
        upper[k + 1:, k] = 0
        orthogonal[:, k:] -= 2 * np.outer(orthogonal[:, k:] @ column, column)
    return {"Q": orthogonal[:, :min(height, width)], "R": upper[:min(height, width)]}


def svd(array: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """``U``, ``S`` (diagonal) and ``V`` with U S V' the matrix, the largest first."""
    matrix = _sized(array, where, False)
    left, values, right = np.linalg.svd(matrix)
    diagonal = np.zeros(matrix.shape)
    np.fill_diagonal(diagonal, values)
    return {"U": left, "S": diagonal, "V": right.T}


DECOMPOSITIONS: dict[str, tuple[Callable[[np.ndarray, str], dict[str, np.ndarray]], tuple[str, ...]]] = {
    "matrixCholeskyDecomposition": (cholesky, ("L",)), "matrixLUDecomposition": (lu, ("L", "U", "P")),
    "matrixQRDecomposition": (qr, ("Q", "R")), "matrixSingularValueDecomposition": (svd, ("U", "S", "V"))}


def _register_decomposition(name: str, run: Callable[[np.ndarray, str], dict[str, np.ndarray]]) -> None:
    @function(f"Array.{name}")
    def apply(context: Context, array: np.ndarray) -> dict[str, np.ndarray]:
        return run(array, f"Array.{name}")


for _name, (_run, _) in DECOMPOSITIONS.items():
    _register_decomposition(_name, _run)
