"""Areas from a map: counted, corrected for the map's errors with 95 % intervals, by polygon; change between two maps.

A map's pixel counts are biased wherever one error is more frequent than its opposite. The stratified estimator of
Olofsson et al. 2014 (Remote Sensing of Environment 148, 42-57, equations 9 to 11) takes the map classes as strata: the
share of true class j is the sum over map classes h of W_h p_hj, W_h being the share of h in the map and p_hj the share
of j among the reference samples of h.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import shapely
from rasterio.windows import Window

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.grid.longitude import shifted, turns_of
from dwplus.maps import edges, estimators
from dwplus.maps.intervals import Z95
from dwplus.pages import sheets
from dwplus.planning import vectors
from dwplus.taxonomy import CLASSES, IGNORE

#: What a figure of area rests on, in words that are printed beside it.
COUNTED = "pixel count, not an estimate"
TRANSFERRED = "pixel count, and a correction transferred from other ground: not an estimate"
STRATIFIED = "stratified sample by map class"
CLUSTERED = "spatial blocks as clusters"
#: Side of the pieces in which rasters are read, px.
PIECE = 2048
#: Properties that hold a polygon's name, the first that is there.
NAME_FIELDS = ("name", "NAME", "Name", "NAME_2", "NAME_1", "shapeName", "adm2_name", "adm1_name", "id")


@dataclass(frozen=True)
class Reference:
    """What is known of a map's errors.

    Attributes
    ----------
    confusion : counts (part, true class, map class). Parts are what was drawn independently: spatial blocks of an
        evaluation, or one part for samples drawn one by one.
    clustered : whether the parts are such blocks; else every count is a sample of its own.
    """

    confusion: np.ndarray
    clustered: bool


@dataclass(frozen=True)
class Estimate:
    """Shares of the true classes (class,) and their standard errors; NaN where the reference cannot tell."""

    share: np.ndarray
    error: np.ndarray


def estimate(mapped: np.ndarray, reference: Reference) -> Estimate:
    """Shares of the true classes by the stratified estimator.

    Where samples were drawn one by one the variance is that of Olofsson et al. 2014, equation 10. Pixels of an
    evaluation are no such samples: neighbours err alike. There the shares p_hj are ratios over spatial blocks and the
    variance is that of a ratio estimator, from the scatter between blocks (Cochran 1977, Sampling Techniques, 11.7).

    Parameters
    ----------
    mapped : (class,) pixels of each map class. A mapped class without any reference sample is taken as mapped, and the
        error of every class is then unknown.

    Raises
    ------
    InputError
        Where nothing is mapped, or the confusion is of another number of classes.
    """
    counts = np.asarray(reference.confusion, "float64")
    mapped = np.asarray(mapped, "float64")
    if counts.ndim != 3 or counts.shape[1:] != (len(mapped),) * 2 or (counts < 0).any():
        raise InputError(f"areas: the confusion has shape {counts.shape}, {len(mapped)} classes were mapped")
    if not mapped.sum():
        raise InputError("areas: the map holds no pixel with a class")
    weights = mapped / mapped.sum()
    samples = counts.sum(axis=(0, 1))  # by map class
    known = samples > 0
    given = np.eye(len(mapped))  # p_hj, by (true j, map h)
    given[:, known] = counts.sum(axis=0)[:, known] / samples[known]
    share = given @ weights
    if (weights[~known] > 0).any():
        return Estimate(share, np.full(len(mapped), np.nan))
    use = weights > 0
    if not reference.clustered:
        if (samples[use] < 2).any():
            return Estimate(share, np.full(len(mapped), np.nan))
        variance = (weights[use] ** 2 * given[:, use] * (1 - given[:, use]) / (samples[use] - 1)).sum(axis=1)
        return Estimate(share, np.sqrt(variance))
    parts = len(counts)
    if parts < 2:
        return Estimate(share, np.full(len(mapped), np.nan))
    own = counts.sum(axis=1)  # samples by (part, map class)
    scatter = ((counts - given * own[:, None, :])[..., use] * (weights[use] / samples[use])).sum(axis=2)
    return Estimate(share, np.sqrt(parts / (parts - 1) * (scatter ** 2).sum(axis=0)))


def table(mapped: np.ndarray, pixel_area: float, reference: Reference | None,
          classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """Areas by class, with the design they come from.

    Parameters
    ----------
    mapped : (class,) pixels. pixel_area : m2. reference : a sample of the mapped ground itself, or None. classes :
        names of the map's classes.

    Returns
    -------
    DataFrame with ``class``, ``mapped_km2``, ``mapped_share``, with a reference ``adjusted_km2``, ``low_km2`` and
    ``high_km2`` (95 %; not below 0 nor above the whole), and ``design``.
    """
    whole = float(mapped.sum()) * pixel_area / 1e6
    found = pd.DataFrame({"class": classes, "mapped_km2": mapped * pixel_area / 1e6,
                          "mapped_share": mapped / max(1, mapped.sum())})
    if reference is None or not mapped.sum():
        return found.assign(design=COUNTED)
    guess = estimate(mapped, reference)
    low, high = guess.share - Z95 * guess.error, guess.share + Z95 * guess.error
    if not reference.clustered and np.isfinite(guess.error).all():
        # No interval of no width where the few points of a class agree.
        said, true = (np.repeat(i.ravel(), np.rint(reference.confusion.sum(axis=0).T).astype(int).ravel())
                      for i in np.indices((len(mapped),) * 2))
        figures = estimators.assess(estimators.Points(said, np.asarray(mapped, float), said, true), len(mapped)).area
        low, high = np.array([f.low for f in figures]), np.array([f.high for f in figures])
    for name, value in (("adjusted_km2", guess.share), ("low_km2", low), ("high_km2", high)):
        found[name] = np.clip(value, 0, 1) * whole
    return found.assign(design=CLUSTERED if reference.clustered else STRATIFIED)


def transferred(mapped: np.ndarray, pixel_area: float, reference: Reference,
                classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """Areas by class, and what they would be if the map erred as a network did somewhere else.

    That is no estimate: there is no sample of the mapped ground, and so no interval.

    Returns
    -------
    As :func:`table` without a reference, and ``transferred_km2``.
    """
    found = table(mapped, pixel_area, None, classes)
    if mapped.sum():
        whole = float(mapped.sum()) * pixel_area / 1e6
        found["transferred_km2"] = np.clip(estimate(mapped, reference).share, 0, 1) * whole
        found["design"] = TRANSFERRED
    return found


def read_reference(path: str | Path, classes: Sequence[str] = CLASSES) -> Reference:
    """Errors of a map: ``blocks.csv`` of an evaluation, or a table of sample points.

    A table of points has the columns ``true`` and ``map`` with class names or numbers, one row a point, drawn at random
    within each map class. The evaluation's has ``block``, ``true``, ``map`` and ``pixels``.

    Parameters
    ----------
    classes : names of the map's classes.

    Raises
    ------
    InputError
        Where it is neither, or a value is blank or none; the sentence says the row.
    """
    try:
        rows = sheets.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise InputError(f"reference {path}: cannot be read ({' '.join(str(error).split())})") from None
    if not {"true", "map"} <= set(rows):
        raise InputError(f"reference {path}: needs the columns true and map, found {', '.join(map(str, rows))}")
    if not len(rows):
        raise InputError(f"reference {path}: holds no row")
    rows = rows.apply(lambda column: column.fillna("").str.strip())
    for column in ("true", "map", "block", "pixels"):
        if column in rows and (blank := rows[column] == "").any():
            raise InputError(f"reference {path}: {column} is blank in {row_words(blank)}; fill it in or leave the row "
                             "out")
    number = {name: i for i, name in enumerate(classes)} | {str(i): i for i in range(len(classes))}
    codes = {}
    for column in ("true", "map"):
        found = rows[column].map(number)
        if found.isna().any():
            raise InputError(f"reference {path}: {column} {rows.loc[found.isna(), column].iloc[0]!r} is no class, in "
                             f"{row_words(found.isna())}; classes are {', '.join(classes)}, or 0 to {len(classes) - 1}")
        codes[column] = found.to_numpy(int)
    clustered = "block" in rows
    weights = np.ones(len(rows))
    if "pixels" in rows:
        weights = pd.to_numeric(rows["pixels"], errors="coerce").to_numpy(float)
        if (wrong := ~(np.isfinite(weights) & (weights >= 0))).any():
            raise InputError(f"reference {path}: pixels {rows['pixels'][wrong].iloc[0]!r} is no count, in "
                             f"{row_words(pd.Series(wrong))}; it must be 0 or more")
    parts = pd.factorize(rows["block"])[0] if clustered else np.zeros(len(rows), int)
    counts = np.zeros((parts.max(initial=0) + 1, len(classes), len(classes)))
    np.add.at(counts, (parts, codes["true"], codes["map"]), weights)
    return Reference(counts, clustered)


def row_words(wrong: pd.Series) -> str:
    """Which rows of a table are wrong, for people: the first ones, and where they stand in the file."""
    rows = np.flatnonzero(wrong.to_numpy()) + 1
    if len(rows) == 1:
        return f"row {rows[0]} (line {rows[0] + 1} of the file)"
    return f"rows {', '.join(map(str, rows[:5]))}{' and more' if len(rows) > 5 else ''} (without the heading)"


def pieces(paths: Sequence[Path]) -> Iterator[tuple[PixelGrid, np.ndarray]]:
    """The class rasters of a map in pieces: grid and classes, uint8 (y, x)."""
    for path in paths:
        with rasterio.open(path) as raster:
            for row in range(0, raster.height, PIECE):
                for col in range(0, raster.width, PIECE):
                    height, width = min(PIECE, raster.height - row), min(PIECE, raster.width - col)
                    grid = PixelGrid(raster.crs.to_epsg(), raster.transform.c + col * raster.res[0],
                                     raster.transform.f - row * raster.res[0], raster.res[0], height, width)
                    yield grid, raster.read(1, window=Window(col, row, width, height))


def count(labels: np.ndarray, classes: int = len(CLASSES)) -> np.ndarray:
    """Pixels of each of so many classes, int64 (class,)."""
    return np.bincount(labels.ravel(), minlength=IGNORE + 1)[:classes]


def count_by_polygon(paths: Sequence[Path], names: Sequence[str], shapes: Sequence[shapely.Geometry],
                     classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """Pixels of each class by polygon; a pixel belongs to the polygons its centre lies in, and of two polygons that
    share an edge through it, to one (:mod:`dwplus.maps.edges`).

    Parameters
    ----------
    names : of the polygons; those of one name are counted together. shapes : in EPSG:4326, in whatever turn.
    classes : names of the map's classes.

    Returns
    -------
    DataFrame of int64, index the names, columns the classes.
    """
    found = {name: np.zeros(len(classes), "int64") for name in names}
    tree = shapely.STRtree(list(shapes))
    west, _, east, _ = shapely.total_bounds(tree.geometries)
    for grid, labels in pieces(paths):
        if (labels == IGNORE).all():
            continue
        footprint = grid.footprint()
        for turn in turns_of(shapely.box(west, -90, east, 90), footprint.bounds[0], footprint.bounds[2]):
            for index in sorted(tree.query(shifted(footprint, turn)).tolist()):
                here = edges.within_degrees(shifted(shapes[index], -turn), grid)
                if here is not None:
                    found[names[index]] += count(labels[here[0]][here[1]], len(classes))
    return pd.DataFrame.from_dict(found, orient="index", columns=list(classes))


def read_polygons(path: str | Path, name_field: str | None = None) -> tuple[list[str], list[shapely.Geometry]]:
    """Names and polygons (EPSG:4326, connected: longitudes may run past 180) of any file geopandas reads.

    Parameters
    ----------
    name_field : property with the names; None = the first of :data:`NAME_FIELDS` that is there, else numbers.

    Raises
    ------
    InputError
        Where it cannot be read, holds no polygon, or lacks the property.
    """
    frame = vectors.read_frame(path, "polygons")
    where = f"polygons {path}"
    shapes = [shapely.Polygon() if shape is None else vectors.polygon(shape, where) for shape in frame.geometry]
    frame, shapes = frame[[not shape.is_empty for shape in shapes]], [s for s in shapes if not s.is_empty]
    if not shapes:
        raise InputError(f"polygons {path}: holds no polygon")
    if name_field is not None and name_field not in frame:
        raise InputError(f"polygons {path}: has no property {name_field!r}; its properties are "
                         f"{', '.join(c for c in frame.columns if c != 'geometry')}")
    field = name_field or next((f for f in NAME_FIELDS if f in frame), None)
    names = [f"polygon {i + 1}" for i in range(len(frame))] if field is None else frame[field].astype(str).tolist()
    return names, shapes


def change(before: Sequence[Path], after: Sequence[Path], classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """How much of each class became which, on the ground that both maps show.

    Parameters
    ----------
    before, after : class rasters of two maps on the lattice of their zones, which maps of this project share.
    classes : names of the classes of both.

    Returns
    -------
    DataFrame of km2: index the classes before, columns the classes after.

    Raises
    ------
    InputError
        Where the maps share no pixel, or their pixels are not the same squares.
    """
    total = np.zeros((len(classes), len(classes)), "int64")
    area = 0.0
    for grid, old, new in change_pieces(before, after):
        area = grid.scale ** 2
        both = (old != IGNORE) & (new != IGNORE)
        key = old[both].astype(int) * len(classes) + new[both]
        total += np.bincount(key, minlength=total.size).reshape(total.shape)
    if not total.sum():
        raise InputError("change: the two maps share no pixel with a class; take maps of the same region")
    return pd.DataFrame(total * area / 1e6, index=list(classes), columns=list(classes))


def change_pieces(before: Sequence[Path], after: Sequence[Path],
                  ) -> Iterator[tuple[PixelGrid, np.ndarray, np.ndarray]]:
    """The zones that two maps share, piece by piece of the earlier one: grid, classes before and after.

    Raises
    ------
    InputError
        Where their pixels are not the same squares.
    """
    later = {_epsg(path): path for path in after}
    for path in before:
        other = later.get(_epsg(path))
        if other is None:
            continue
        with rasterio.open(other) as raster:
            for grid, old in pieces([path]):
                row, col = (raster.transform.f - grid.y0) / grid.scale, (grid.x0 - raster.transform.c) / grid.scale
                if raster.res[0] != grid.scale or abs(row - round(row)) > 1e-6 or abs(col - round(col)) > 1e-6:
                    raise InputError(f"change: the pixels of {other} are not those of {path}; make both maps with the "
                                     "same scale and tile size")
                yield grid, old, raster.read(1, window=Window(round(col), round(row), grid.width, grid.height),
                                             boundless=True, fill_value=IGNORE)


def _epsg(path: Path) -> int:
    with rasterio.open(path) as raster:
        return int(raster.crs.to_epsg())


def zone_name(epsg: int) -> str:
    """``48N`` of 32648."""
    return f"{epsg % 100}{'N' if epsg < 32700 else 'S'}"

