"""Pixel grids: coordinate transforms, and reading a raster on another grid without touching more of it than needed.

Coordinates in a raster's own pixels are continuous: the first pixel spans 0..1, its centre is 0.5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyproj

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.masks import NOISE, Mask, both, tidied

#: Earth Engine's affine order: (scaleX, shearX, translateX, shearY, scaleY, translateY), pixel corners to CRS units.
Affine = tuple[float, float, float, float, float, float]
#: Values (h, w) and their mask (h, w); None stands for "all valid", so that unmasked bands cost nothing.
Pixels = tuple[np.ndarray, Mask]

UNIT: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
#: Metres per degree on the equatorial radius; what the service uses for nominal scales of geographic grids.
METRES_PER_DEGREE = 111319.49079327358
#: Positions that differ by less than this part of a pixel are the same: affine arithmetic rounds.
SNAP = 1e-6
#: Control points of an approximated transform are this many pixels apart.
_CONTROL = 16
#: Pixels that an intermediate grid may have.
MAX_INTERMEDIATE = 1 << 26


@functools.lru_cache(maxsize=512)
def canonical_crs(text: str) -> str:
    """``EPSG:n`` where the CRS has a code, else WKT, so that equal systems compare equal.

    Raises
    ------
    ComputeError
        For a text that names no CRS.
    """
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise ComputeError(f"Projection: The CRS of a map projection could not be parsed: '{text[:80]}'.") from error
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.to_wkt()


@functools.lru_cache(maxsize=512)
def transformer(source: str, target: str) -> pyproj.Transformer:
    """Transformer with x = easting or longitude first; safe to share between threads since pyproj 3.1."""
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


@functools.lru_cache(maxsize=512)
def is_geographic(crs: str) -> bool:
    """Whether the CRS counts in degrees."""
    return bool(pyproj.CRS.from_user_input(crs).is_geographic)


def invert(t: Affine) -> Affine:
    """Inverse of an affine transform."""
    a, b, c, d, e, f = t
    det = a * e - b * d
    ia, ib, id_, ie = e / det, -b / det, -d / det, a / det
    return ia, ib, -(ia * c + ib * f), id_, ie, -(id_ * c + ie * f)


@dataclass(frozen=True)
class Projection:
    """A CRS with the affine transform of its pixels."""

    crs: str
    transform: Affine = UNIT

    @property
    def scale(self) -> float:
        """Nominal pixel width in metres."""
        a, b, _, d, e, _ = self.transform
        return math.sqrt(abs(a * e - b * d)) * (METRES_PER_DEGREE if is_geographic(self.crs) else 1.0)

    def at_scale(self, metres: float) -> Projection:
        """The CRS with square, north-up pixels from its origin, as ``Projection.atScale``."""
        size = metres / (METRES_PER_DEGREE if is_geographic(self.crs) else 1.0)
        return Projection(self.crs, (size, 0.0, 0.0, 0.0, -size, 0.0))

    def coarser(self, level: int) -> Projection:
        """Pixels 2**level times as wide, from the same origin: a level of a pyramid."""
        a, b, c, d, e, f = self.transform
        factor = 2.0 ** level
        return Projection(self.crs, (a * factor, b * factor, c, d * factor, e * factor, f))


#: Default projection of composites and constants.
WGS84 = Projection("EPSG:4326", UNIT)


@dataclass(frozen=True)
class Grid:
    """A bounded raster: projection and size in pixels."""

    crs: str
    transform: Affine
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def projection(self) -> Projection:
        """The grid without its bounds."""
        return Projection(self.crs, self.transform)

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The grid of some of its pixels, or of pixels around it."""
        a, b, c, d, e, f = self.transform
        return Grid(self.crs, (a, b, c + col * a + row * b, d, e, f + col * d + row * e), width, height)

    def padded(self, n: int) -> Grid:
        """``n`` more pixels on every side."""
        return self.window(-n, -n, self.height + 2 * n, self.width + 2 * n)

    def corners(self) -> list[tuple[float, float]]:
        """Outer corners, as a ring, in CRS units."""
        a, b, c, d, e, f = self.transform
        points = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [(c + i * a + j * b, f + i * d + j * e) for i, j in points]

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y (h, w) of the pixel centres in CRS units."""
        a, b, c, d, e, f = self.transform
        col, row = np.arange(self.width) + 0.5, (np.arange(self.height) + 0.5)[:, None]
        x, y = c + col * a + row * b, f + col * d + row * e
        return np.broadcast_to(x, self.shape), np.broadcast_to(y, self.shape)


@dataclass(frozen=True)
class Extent:
    """The pixels a band has: first column and row, width and height, counted on its projection's lattice."""

    col: int
    row: int
    width: int
    height: int

    def coarser(self, level: int) -> Extent:
        """The pixels of a pyramid's level that these touch."""
        factor = 2 ** level
        col, row = self.col // factor, self.row // factor
        return Extent(col, row, -(-(self.col + self.width) // factor) - col,
                      -(-(self.row + self.height) // factor) - row)


@functools.lru_cache(maxsize=256)
def pyramid_level(grid: Grid, projection: Projection) -> int:
    """Level of a raster's pyramid that serves a grid: the coarsest whose pixels are no larger than the grid's.

    Source: https://developers.google.com/earth-engine/guides/scale
    """
    ratio = scale_ratio(grid, projection)
    if not math.isfinite(ratio) or ratio < 2 * (1 - 1e-3):
        return 0
    return min(30, math.floor(math.log2(ratio * (1 + 1e-3))))


@functools.lru_cache(maxsize=256)
def scale_ratio(grid: Grid, projection: Projection) -> float:
    """How many pixels of a projection a pixel in the middle of a grid is wide; not finite where that is undefined."""
    if grid.width < 1 or grid.height < 1:
        return math.nan
    probe = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    ring = np.array(probe.corners())
    x, y = ring[:, 0], ring[:, 1]
    if grid.crs != projection.crs:
        x, y = transformer(grid.crs, projection.crs).transform(x, y)
    ia, ib, _, id_, ie, _ = invert(projection.transform)
    col, row = ia * x + ib * y, id_ * x + ie * y
    across = math.hypot(col[1] - col[0], row[1] - row[0])
    down = math.hypot(col[3] - col[0], row[3] - row[0])
    return math.sqrt(across * down)


@functools.lru_cache(maxsize=16)
def centres_in(grid: Grid, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y (h, w) of a grid's pixel centres in another CRS.

    Large grids are transformed at control points and interpolated between them where that is exact to a thousandth
    of a pixel: full transforms cost more than everything else in a request.
    """
    if grid.crs == crs:
        return grid.centres()
    transform = transformer(grid.crs, crs).transform
    if min(grid.shape) >= 4 * _CONTROL:
        approximate = _interpolated_centres(grid, transform)
        if approximate is not None:
            return approximate
    x, y = grid.centres()
    return transform(x, y)


def _interpolated_centres(grid: Grid, transform: Callable[..., tuple[np.ndarray, np.ndarray]],
                          ) -> tuple[np.ndarray, np.ndarray] | None:
    a, b, c, d, e, f = grid.transform
    col = np.linspace(0.5, grid.width - 0.5, -(-grid.width // _CONTROL) + 1)
    row = np.linspace(0.5, grid.height - 0.5, -(-grid.height // _CONTROL) + 1)

    def at(cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
        cc, rr = np.meshgrid(cols, rows)
        return np.stack(transform(c + cc * a + rr * b, f + cc * d + rr * e))

    control = at(col, row)
    middle = at((col[:-1] + col[1:]) / 2, (row[:-1] + row[1:]) / 2)
    guess = (control[:, :-1, :-1] + control[:, 1:, :-1] + control[:, :-1, 1:] + control[:, 1:, 1:]) / 4
    step = np.abs(np.diff(control, axis=2)[:, :-1]) + np.abs(np.diff(control, axis=1)[:, :, :-1])
    pixel = step.max(axis=0) / _CONTROL
    if not np.isfinite(control).all() or (np.abs(middle - guess).max(axis=0) > 1e-3 * pixel).any():
        return None
    across = _weights(np.arange(grid.width) + 0.5, col)
    down = _weights(np.arange(grid.height) + 0.5, row)
    return down @ control[0] @ across.T, down @ control[1] @ across.T


def _weights(position: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Matrix (positions, knots) of linear interpolation."""
    left = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(knots) - 2)
    share = (position - knots[left]) / (knots[left + 1] - knots[left])
    out = np.zeros((len(position), len(knots)))
    rows = np.arange(len(position))
    out[rows, left], out[rows, left + 1] = 1 - share, share
    return out


@dataclass(frozen=True)
class Positions:
    """Where a grid's pixel centres fall in a raster's pixels: column and row, 1-D each where separable, else 2-D."""

    col: np.ndarray
    row: np.ndarray
    separable: bool


@functools.lru_cache(maxsize=32)
def positions(grid: Grid, target: Projection) -> Positions:
    """Continuous pixel coordinates of a grid's centres in another projection's pixels."""
    ia, ib, ic, id_, ie, if_ = invert(target.transform)
    a, b, c, d, e, f = grid.transform
    if grid.crs == target.crs and b == d == ib == id_ == 0:
        col = ia * (c + (np.arange(grid.width) + 0.5) * a) + ic
        row = ie * (f + (np.arange(grid.height) + 0.5) * e) + if_
        return Positions(col, row, True)
    x, y = centres_in(grid, target.crs)
    with np.errstate(invalid="ignore"):
        return Positions(ia * x + ib * y + ic, id_ * x + ie * y + if_, False)


def _span(index: np.ndarray, first: int | None, size: int | None) -> tuple[int, int] | None:
    """First index and length of what an index array needs, within the raster; None where it needs nothing."""
    if index.size == 0:
        return None
    low, high = int(index.min()), int(index.max())
    if first is not None and size is not None:
        low, high = max(low, first), min(high, first + size - 1)
    return None if high < low else (low, high - low + 1)


def _part(extent: Extent | None, across: bool) -> tuple[int | None, int | None]:
    """First index and length of an extent along columns (``across``) or rows."""
    if extent is None:
        return None, None
    return (extent.col, extent.width) if across else (extent.row, extent.height)


def _empty(grid: Grid, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(grid.shape, dtype), np.zeros(grid.shape, bool)


def _floor(values: np.ndarray) -> np.ndarray:
    """Pixel indices; positions that could not be computed lie far outside."""
    with np.errstate(invalid="ignore"):
        out = np.floor(values + SNAP)
    # Within int64 and far from any raster; NaN from a failed transform must not become a valid index.
    return np.nan_to_num(np.clip(out, -1e15, 1e15), nan=-1e15).astype(np.int64)


def lattice_window(projection: Projection, row: int, col: int, height: int, width: int) -> Grid:
    """Grid of a rectangle of a projection's pixels.

    Raises
    ------
    ComputeError
        Where it is too large to be computed.
    """
    if height * width > MAX_INTERMEDIATE:
        raise ComputeError(f"Reprojection output too large ({width}x{height} pixels).")
    return Grid(projection.crs, projection.transform, 0, 0).window(row, col, height, width)


def read_nearest(grid: Grid, projection: Projection, extent: Extent | None, dtype: np.dtype,
                 read: Callable[[int, int, int, int], Pixels]) -> Pixels:
    """Pixels of a raster on another grid by nearest neighbour.

    Parameters
    ----------
    grid : where pixels are wanted.
    projection, extent : the raster's lattice, and which pixels of it exist (None: all).
    dtype : of the answer where nothing overlaps.
    read : ``(row, col, height, width) -> Pixels`` of a rectangle of the lattice within the extent.
    """
    at = positions(grid, projection)
    if not at.separable:
        found = _scattered(grid, projection, extent)
        if found is None:
            return _empty(grid, dtype)
        (r0, c0, height, width), flat, inside = found
        data, valid = read(r0, c0, height, width)
        out = np.take(data, flat)
        if valid is not None:
            inside = both(np.take(valid, flat), inside)
        return out, inside
    cols, rows = _floor(at.col), _floor(at.row)
    across, down = _span(cols, *_part(extent, across=True)), _span(rows, *_part(extent, across=False))
    if across is None or down is None:
        return _empty(grid, dtype)
    (c0, width), (r0, height) = across, down
    data, valid = read(r0, c0, height, width)
    cols, rows = cols - c0, rows - r0
    if _steps(rows) and _steps(cols):
        if len(rows) == height and len(cols) == width:
            return data, valid
        return _place(grid, data, valid, int(-rows[0]), int(-cols[0]))
    in_rows, in_cols = (rows >= 0) & (rows < height), (cols >= 0) & (cols < width)
    rows, cols = np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)
    out = data[rows][:, cols]
    mask = None if valid is None else valid[rows][:, cols]
    if not (in_rows.all() and in_cols.all()):
        mask = both(mask, in_rows[:, None] & in_cols)
    return out, mask


@functools.lru_cache(maxsize=8)
def _scattered(grid: Grid, projection: Projection, extent: Extent | None,
               ) -> tuple[tuple[int, int, int, int], np.ndarray, np.ndarray | None] | None:
    """Where a grid that lies askew takes its pixels from; the same for all bands, so it is kept.

    Returns
    -------
    ((row, col, height, width) of the window to read, flat index into it (h, w), which pixels lie on the raster: None
    for all); None where none does.
    """
    at = positions(grid, projection)
    cols, rows = _floor(at.col), _floor(at.row)
    inside: np.ndarray | None = None
    if extent is not None:
        inside = ((cols >= extent.col) & (cols < extent.col + extent.width)
                  & (rows >= extent.row) & (rows < extent.row + extent.height))
        if not inside.any():
            return None
        if inside.all():
            inside = None
    kept = slice(None) if inside is None else inside
    # Far-away positions would stretch the window; only those inside count.
    across, down = _span(cols[kept], None, None), _span(rows[kept], None, None)
    if across is None or down is None:
        return None
    (c0, width), (r0, height) = across, down
    if height * width > MAX_INTERMEDIATE:
        raise ComputeError(f"Reprojection output too large ({width}x{height} pixels).")
    flat = np.clip(rows - r0, 0, height - 1) * width + np.clip(cols - c0, 0, width - 1)
    return (r0, c0, height, width), flat, inside


def _steps(index: np.ndarray) -> bool:
    """Whether indices run 0, 1, 2, ... from their first."""
    return len(index) == 1 or bool((np.diff(index) == 1).all())


def _place(grid: Grid, data: np.ndarray, valid: np.ndarray | None, row: int, col: int) -> Pixels:
    """A block put at (row, col) of an otherwise masked grid."""
    out, mask = np.zeros(grid.shape, data.dtype), np.zeros(grid.shape, bool if valid is None else valid.dtype)
    block = np.s_[row:row + data.shape[0], col:col + data.shape[1]]
    out[block] = data
    mask[block] = True if valid is None else valid
    return out, mask


def read_bilinear(grid: Grid, projection: Projection, extent: Extent | None,
                  read: Callable[[int, int, int, int], Pixels], dtype: np.dtype) -> Pixels:
    """Pixels of a raster on another grid by bilinear interpolation of its pixels.

    Masked neighbours take no part: the weights of the others are scaled up. The mask is interpolated like the values,
    with nothing beyond the raster's edge. On the raster's own lattice the values come through bit for bit.

    Parameters as :func:`read_nearest`; ``dtype`` is the floating type of the answer.
    """
    at = positions(grid, projection)
    c, r = at.col - 0.5, at.row - 0.5
    cols, rows = _floor(c), _floor(r)
    part_c, part_r = np.clip(c - cols, 0, 1), np.clip(r - rows, 0, 1)
    aligned_c, aligned_r = bool((part_c < 2 * SNAP).all()), bool((part_r < 2 * SNAP).all())
    if at.separable and aligned_c and aligned_r:
        data, valid = read_nearest(grid, projection, extent, dtype, read)
        return data.astype(dtype, copy=False), valid
    if extent is not None:
        inside = [(cols >= extent.col - 1) & (cols < extent.col + extent.width),
                  (rows >= extent.row - 1) & (rows < extent.row + extent.height)]
        # On the last pixel's far side the neighbour before it is missing as well.
        inside[0] &= ~((cols == extent.col - 1) & (part_c < SNAP))
        inside[1] &= ~((rows == extent.row - 1) & (part_r < SNAP))
    else:
        inside = [np.ones(cols.shape, bool), np.ones(rows.shape, bool)]
    if not at.separable:
        inside = [inside[0] & inside[1]] * 2
    if not (inside[0].any() and inside[1].any()):
        return _empty(grid, dtype)
    across = _span(np.append(cols[inside[0]], cols[inside[0]].max() + (0 if aligned_c else 1)),
                   *_part(extent, across=True))
    down = _span(np.append(rows[inside[1]], rows[inside[1]].max() + (0 if aligned_r else 1)),
                 *_part(extent, across=False))
    if across is None or down is None:
        return _empty(grid, dtype)
    (c0, width), (r0, height) = across, down
    data, valid = read(r0, c0, height, width)
    data = data.astype(dtype, copy=False)
    edges = [_edge_share(index, part, *_part(extent, across=way))
             for index, part, way in ((cols, part_c, True), (rows, part_r, False))]
    cols, rows = cols - c0, rows - r0
    part_c, part_r = part_c.astype(dtype), part_r.astype(dtype)

    def mix(values: np.ndarray) -> np.ndarray:
        if not at.separable:
            return _mix_flat(values, rows, cols, part_r, part_c)
        out = values if aligned_c and width == len(cols) else _mix_axis(values, cols, part_c, aligned_c, 1)
        return out if aligned_r and height == len(rows) else _mix_axis(out, rows, part_r, aligned_r, 0)

    everywhere = bool(inside[0].all() and inside[1].all())
    covered = None if everywhere else inside[0] if not at.separable else inside[1][:, None] & inside[0]
    share: Mask = None
    if edges[0] is not None or edges[1] is not None:
        across_share, down_share = (np.ones(1, "f4") if edge is None else edge for edge in edges)
        share = np.broadcast_to(across_share * (down_share[:, None] if at.separable else down_share), grid.shape)
    if valid is None or valid.all():
        return mix(data), both(covered, None if share is None else tidied(share))
    weight = mix(valid.astype(dtype))
    some = weight > NOISE
    out = mix(np.where(valid, data, dtype.type(0)) if valid.dtype == bool else np.where(valid > 0, data, 0) * valid)
    np.divide(out, weight, out=out, where=some)
    return out, both(covered, tidied(weight if share is None else weight * share))


def _edge_share(index: np.ndarray, part: np.ndarray, first: int | None, size: int | None) -> np.ndarray | None:
    """Weight of the neighbours that lie on the raster, along one axis; None where all do."""
    if first is None or size is None:
        return None
    before, beyond = index < first, (index >= first + size - 1) & (part >= NOISE)
    if not (before.any() or beyond.any()):
        return None
    return np.where(before, part, np.where(beyond, 1 - part, 1)).astype("f4")


def _mix_axis(values: np.ndarray, index: np.ndarray, part: np.ndarray, aligned: bool, axis: int) -> np.ndarray:
    """Linear interpolation along one axis; beyond the ends the last value continues, as scaled-up weights give."""
    last = values.shape[axis] - 1
    if aligned:
        return np.take(values, np.clip(index, 0, last), axis=axis)
    start = int(index[0])
    if _steps(index) and start >= 0 and start + len(index) <= last:
        low = values[(slice(None),) * axis + (slice(start, start + len(index)),)]
        high = values[(slice(None),) * axis + (slice(start + 1, start + len(index) + 1),)]
    else:
        low = np.take(values, np.clip(index, 0, last), axis=axis)
        high = np.take(values, np.clip(index + 1, 0, last), axis=axis)
    weight = part if axis == 1 else part[:, None]
    out = high - low
    out *= weight
    out += low
    return out


def _mix_flat(values: np.ndarray, rows: np.ndarray, cols: np.ndarray, part_r: np.ndarray,
              part_c: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at scattered positions."""
    height, width = values.shape
    top, bottom = np.clip(rows, 0, height - 1) * width, np.clip(rows + 1, 0, height - 1) * width
    left, right = np.clip(cols, 0, width - 1), np.clip(cols + 1, 0, width - 1)
    flat = values.ravel()
    upper = flat[top + left] * (1 - part_c) + flat[top + right] * part_c
    lower = flat[bottom + left] * (1 - part_c) + flat[bottom + right] * part_c
    return upper * (1 - part_r) + lower * part_r
