"""Real eigenvalues and eigenvectors, with the signs and the order that are published for the service.

Any multiple of an eigenvector is one, so that its sign is the method's. The service's method is that of EJML
(https://ejml.org, named in the client's text): symmetric matrices by reflections to three diagonals and rotations
shifted by known eigenvalues, others by reflections to triangular form; what follows takes the same steps.
"""

from __future__ import annotations

import numpy as np

_EPSILON = float(np.finfo("f8").eps)
#: Steps per eigenvalue before the method gives up.
_STEPS = 60


class NoConvergence(ValueError):
    """The eigenvalues are complex, or were not found."""


def eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n,) from the largest down, and their vectors (n, n), one a row.

    Raises
    ------
    NoConvergence
        For complex eigenvalues.
    """
    size = len(matrix)
    largest = np.abs(matrix).max(initial=0.0)
    # A matrix of zeros counts as asymmetric, for there the comparison divides by the largest element.
    symmetric = largest > 0 and bool((np.abs(matrix - matrix.T) <= 1e-8 * largest).all())
    values, vectors = _symmetric(matrix) if symmetric else _general(matrix)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(lengths == 0, 1, lengths)
    order = sorted(range(size), key=lambda place: -values[place])
    return values[order], vectors[order]


def _reflector(column: np.ndarray) -> tuple[np.ndarray, float]:
    """(u, gamma) with (1 - gamma u u') taking the column to a multiple of its first axis, the sign turned."""
    largest = np.abs(column).max(initial=0.0)
    if largest == 0:
        return np.zeros(len(column)), 0.0
    scaled = column / largest
    size = float(np.sqrt((scaled ** 2).sum()))
    size = -size if scaled[0] < 0 else size
    lead = scaled[0] + size
    u = scaled / lead
    u[0] = 1.0
    return u, lead / size


def _reflect(matrix: np.ndarray, basis: np.ndarray, start: int, u: np.ndarray, gamma: float) -> None:
    """Both sides of the matrix and the columns of the basis, in place, from an index on."""
    if gamma == 0:
        return
    stop = start + len(u)
    matrix[start:stop] -= gamma * np.outer(u, u @ matrix[start:stop])
    matrix[:, start:stop] -= gamma * np.outer(matrix[:, start:stop] @ u, u)
    basis[:, start:stop] -= gamma * np.outer(basis[:, start:stop] @ u, u)


# --------------------------------------------------------------------------------------------------- symmetric matrices


def _symmetric(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    work, basis = matrix.copy(), np.eye(len(matrix))
    for k in range(1, len(matrix)):
        u, gamma = _reflector(work[k - 1, k:].copy())
        _reflect(work, basis, k, u, gamma)
    diagonal, beside = np.diagonal(work).copy(), np.diagonal(work, 1).copy()
    values = _rotated(diagonal.copy(), beside.copy(), None, None)
    rows = basis.T.copy()
    _rotated(diagonal, beside, values, rows)
    return values, rows


def _rotated(diagonal: np.ndarray, beside: np.ndarray, script: np.ndarray | None, rows: np.ndarray | None
             ) -> np.ndarray:
    """Three diagonals to one by rotations; ``rows`` turn along. Shifts are the script's values, or estimated."""
    end, steps = len(diagonal) - 1, 0
    while end > 0:
        start = end
        while start > 0 and not _small(diagonal, beside, start - 1):
            start -= 1
        if start == end:
            end, steps = end - 1, 0
            continue
        if script is None and end - start == 1:
            diagonal[start], diagonal[end] = _two(diagonal[start], beside[start], diagonal[end])
            beside[start] = 0.0
            continue
        steps += 1
        if steps > _STEPS:
            raise NoConvergence("the eigenvalues were not found")
        shift = script[end] if script is not None and steps < 10 else _shift(diagonal, beside, end)
        _sweep(diagonal, beside, rows, start, end, shift)
    return diagonal


def _small(diagonal: np.ndarray, beside: np.ndarray, i: int) -> bool:
    return bool(abs(beside[i]) <= 0.5 * _EPSILON * (abs(diagonal[i]) + abs(diagonal[i + 1])))


def _two(a: float, b: float, c: float) -> tuple[float, float]:
    """Eigenvalues of a symmetric 2x2 matrix, the larger first."""
    scale = max(abs(a), abs(b), abs(c)) or 1.0
    a, b, c = a / scale, b / scale, c / scale
    middle, half = (a + c) / 2, (a - c) / 2
    root = float(np.sqrt(half * half + b * b))
    return scale * (middle + root), scale * (middle - root)


def _shift(diagonal: np.ndarray, beside: np.ndarray, end: int) -> float:
    """The eigenvalue of the last 2x2 block that is nearer to its last element."""
    high, low = _two(diagonal[end - 1], beside[end - 1], diagonal[end])
    return high if abs(high - diagonal[end]) < abs(low - diagonal[end]) else low


def _rotation(run: float, rise: float) -> tuple[float, float]:
    """(cosine, sine), without a square root's sign: the larger of both parts stays positive."""
    if abs(rise) > abs(run):
        ratio = run / rise
        sine = 1 / float(np.sqrt(1 + ratio * ratio))
        return ratio * sine, sine
    ratio = rise / run if run else 0.0
    cosine = 1 / float(np.sqrt(1 + ratio * ratio))
    return cosine, ratio * cosine


def _sweep(diagonal: np.ndarray, beside: np.ndarray, rows: np.ndarray | None, start: int, end: int, shift: float
           ) -> None:
    """One implicit step from the top of a block to its bottom."""
    run, rise, bulge = diagonal[start] - shift, beside[start], 0.0
    for i in range(start, end):
        c, s = _rotation(run, rise)
        if i > start:
            beside[i - 1] = c * beside[i - 1] + s * bulge
        a, b, d = diagonal[i], beside[i], diagonal[i + 1]
        diagonal[i] = c * c * a + 2 * c * s * b + s * s * d
        diagonal[i + 1] = c * c * d - 2 * c * s * b + s * s * a
        beside[i] = b * (c * c - s * s) + c * s * (d - a)
        if i + 1 < end:
            bulge, beside[i + 1] = s * beside[i + 1], c * beside[i + 1]
        run, rise = beside[i], bulge
        if rows is not None:
            rows[[i, i + 1]] = c * rows[i] + s * rows[i + 1], c * rows[i + 1] - s * rows[i]


# ------------------------------------------------------------------------------------------------------ other matrices


def _general(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = len(matrix)
    work, basis = matrix.copy(), np.eye(size)
    for k in range(size - 2):
        u, gamma = _reflector(work[k + 1:, k].copy())
        _reflect(work, basis, k + 1, u, gamma)
    known = np.linalg.eigvals(matrix)
    if np.abs(known.imag).max(initial=0.0) > 1e-7 * max(1.0, np.abs(known).max(initial=0.0)):
        raise NoConvergence("the matrix has complex eigenvalues")
    try:
        _triangular(work, basis, sorted(known.real.tolist()))
    except NoConvergence:  # rare; then the signs are LAPACK's
        values, columns = np.linalg.eig(matrix)
        return values.real, columns.real.T
    # Eigenvalues are found from the bottom up.
    order = list(range(size))[::-1]
    vectors = [basis @ _triangle_vector(work, place) for place in order]
    return np.diagonal(work)[order].copy(), np.array(vectors).reshape(size, size)


def _triangular(work: np.ndarray, basis: np.ndarray, shifts: list[float]) -> None:
    """To triangular form by steps shifted by the eigenvalues, the smallest of those left first."""
    end, steps = len(work) - 1, 0
    while end > 0:
        start = end
        while start > 0 and not _negligible(work, start):
            start -= 1
        if start == end:
            closest = min(range(len(shifts)), key=lambda k: abs(shifts[k] - work[end, end]))
            del shifts[closest]
            end, steps = end - 1, 0
            continue
        steps += 1
        if steps > _STEPS:
            raise NoConvergence("the eigenvalues were not found")
        shift = shifts[0] if steps < 10 else work[end, end]
        u, gamma = _reflector(np.array([work[start, start] - shift, work[start + 1, start]]))
        _reflect(work, basis, start, u, gamma)
        for i in range(start, end - 1):
            u, gamma = _reflector(work[i + 1:i + 3, i].copy())
            _reflect(work, basis, i + 1, u, gamma)


def _negligible(work: np.ndarray, i: int) -> bool:
    """Whether the element left of the diagonal in row ``i`` is rounding."""
    return bool(abs(work[i, i - 1]) <= 0.5 * _EPSILON * (abs(work[i - 1, i - 1]) + abs(work[i, i])))


def _triangle_vector(work: np.ndarray, place: int) -> np.ndarray:
    """The vector of a triangular matrix's eigenvalue; equal eigenvalues above it take no part."""
    out = np.zeros(len(work))
    out[place] = 1.0
    value = work[place, place]
    scale = max(1e-300, float(np.abs(work).max()))
    for row in range(place - 1, -1, -1):
        gap = work[row, row] - value
        if abs(gap) > 1e-10 * scale:
            out[row] = -(work[row, row + 1:place + 1] @ out[row + 1:place + 1]) / gap
    return out
