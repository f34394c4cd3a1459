"""Counter-based noise: every value is a function of integer coordinates and a seed, never of the window asked for.

Only elementwise integer and float32 operations are used (no BLAS, no transcendental functions), so that the value of
a pixel is the same bit pattern in whichever window it is computed.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

_MASK64 = (1 << 64) - 1
#: Standard deviation of smoothstep value noise from uniform(-1, 1) nodes: 1/sqrt(3) times 26/35, the mean of
#: w^2 + (1 - w)^2 over a cell with w = 3t^2 - 2t^3, once per axis under the root.
VALUE_NOISE_STD = 3 ** -0.5 * 26 / 35
#: Entries of the noise quantile tables: 13 bits keep the tails to about 3.8 standard deviations and fit the L1 cache.
TABLE_BITS = 13


def seed_of(*parts: int | str) -> int:
    """64-bit hash of integers and strings (splitmix64 finaliser, Steele et al. 2014)."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        value = zlib.crc32(part.encode()) if isinstance(part, str) else part
        state = (state + value * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & _MASK64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK64
        state ^= state >> 31
    return state


def draw(*parts: int | str) -> float:
    """Uniform number in [0, 1) of a hashed key."""
    return (seed_of(*parts) >> 11) * 2.0 ** -53


def draw_normal(*parts: int | str) -> float:
    """Standard normal number of a hashed key."""
    return NormalDist().inv_cdf(min(max(draw(*parts), 1e-9), 1 - 1e-9))


def mix32(x: np.ndarray) -> np.ndarray:
    """Avalanche a uint32 array in place (constants of Wellons' "hash prospector", lowbias32)."""
    t = x >> np.uint32(16)
    x ^= t
    x *= np.uint32(0x7FEB352D)
    np.right_shift(x, np.uint32(15), out=t)
    x ^= t
    x *= np.uint32(0x846CA68B)
    np.right_shift(x, np.uint32(16), out=t)
    x ^= t
    return x


def _axis_hash(index: np.ndarray, seed: int) -> np.ndarray:
    key = (np.asarray(index, dtype=np.int64) & 0xFFFFFFFF).astype(np.uint32)
    key *= np.uint32(0x9E3779B1)
    key += np.uint32(seed & 0xFFFFFFFF)
    return mix32(key)


def hash_grid(seed: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """uint32 hashes, shape (rows, columns), of integer coordinates."""
    grid = _axis_hash(rows, seed)[:, None] + _axis_hash(cols, seed >> 32 ^ 0x5BD1E995)[None, :]
    return mix32(grid)


def _signed(h: np.ndarray) -> np.ndarray:
    """Uniform float32 in [-1, 1)."""
    out = (h >> np.uint32(8)).astype(np.float32)
    out *= np.float32(2.0 ** -23)
    out -= np.float32(1.0)
    return out


def value_noise(seeds: Sequence[int], level: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Smoothstep value noise with cells of ``2 ** level`` steps at integer positions.

    Returns float32 of shape (seeds, rows, columns), mean 0, standard deviation about :data:`VALUE_NOISE_STD`.
    """
    size = 1 << level
    row_cell, col_cell = rows >> level, cols >> level
    r0, c0 = int(row_cell[0]), int(col_cell[0])
    node_rows = np.arange(r0, int(row_cell[-1]) + 2)
    node_cols = np.arange(c0, int(col_cell[-1]) + 2)
    nodes = np.stack([_signed(hash_grid(seed_of(seed, level), node_rows, node_cols)) for seed in seeds])
    if level == 0:
        return nodes[:, row_cell - r0][:, :, col_cell - c0]
    tr = (rows & (size - 1)).astype(np.float32) / np.float32(size)
    tc = (cols & (size - 1)).astype(np.float32) / np.float32(size)
    wr = (tr * tr * (np.float32(3) - np.float32(2) * tr))[None, :, None]
    wc = (tc * tc * (np.float32(3) - np.float32(2) * tc))[None, None, :]
    upper = nodes[:, row_cell - r0]
    bands = upper + (nodes[:, row_cell - r0 + 1] - upper) * wr
    left = bands[:, :, col_cell - c0]
    return left + (bands[:, :, col_cell - c0 + 1] - left) * wc


def fbm(seeds: Sequence[int], amplitudes: Mapping[int, Sequence[float] | float], rows: np.ndarray,
        cols: np.ndarray) -> np.ndarray:
    """Sum of octaves ``{level: amplitude per seed}``, scaled to unit variance; float32 (seeds, rows, columns)."""
    total = np.zeros((len(seeds), len(rows), len(cols)), dtype=np.float32)
    power = np.zeros(len(seeds))
    for level, amplitude in amplitudes.items():
        amp = np.broadcast_to(np.asarray(amplitude, dtype=np.float64), (len(seeds),))
        used = np.flatnonzero(amp).tolist()
        if not used:
            continue
        octave = value_noise([seeds[k] for k in used], level, rows, cols)
        for k, layer in zip(used, octave, strict=True):
            total[k] += layer * np.float32(amp[k])
        power += amp ** 2 * (1 / 3 if level == 0 else VALUE_NOISE_STD ** 2)
    total *= (1 / np.sqrt(power)).astype(np.float32)[:, None, None]
    return total


def node_range(start: int, count: int, factor: int) -> np.ndarray:
    """Indices of the coarse nodes needed to interpolate ``count`` pixels from ``start`` with ``factor`` per node."""
    return np.arange(start // factor, (start + count - 1) // factor + 2)


def upsample(nodes: np.ndarray, factor: int, r0: int, c0: int, height: int, width: int) -> np.ndarray:
    """Bilinear values at pixel centres from nodes at every ``factor``-th pixel corner (see :func:`node_range`)."""
    w = ((np.arange(factor, dtype=np.float32) + np.float32(0.5)) / np.float32(factor))
    # columns first, on few rows; then rows, along contiguous memory
    left = nodes[:, :-1, None]
    columns = (left + (nodes[:, 1:, None] - left) * w).reshape(len(nodes), -1)
    first = c0 - c0 // factor * factor
    columns = np.ascontiguousarray(columns[:, first:first + width])
    top = columns[:-1, None, :]
    out = (columns[1:, None, :] - top) * w[:, None]
    out += top
    first = r0 - r0 // factor * factor
    return out.reshape(-1, width)[first:first + height]


@functools.cache
def normal_quantiles() -> np.ndarray:
    """float32 quantiles of the standard normal at the mid points of 2 ** TABLE_BITS equal classes."""
    count = 1 << TABLE_BITS
    inverse = NormalDist().inv_cdf
    return np.array([inverse((k + 0.5) / count) for k in range(count)], dtype=np.float32)


def box_mean(a: np.ndarray, factor: int) -> np.ndarray:
    """Mean over ``factor`` x ``factor`` blocks, added in a fixed order (bit-identical for any window)."""
    if factor == 1:
        return a
    rows = a[0::factor].copy()
    for k in range(1, factor):
        rows += a[k::factor]
    out = rows[:, 0::factor].copy()
    for k in range(1, factor):
        out += rows[:, k::factor]
    out *= np.float32(1 / factor ** 2)
    return out
