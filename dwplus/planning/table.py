"""What a plan's table may hold: every row and column of a plan that somebody edited, checked before it is followed.

The rules follow from the spec in the plan. Rejected rows need only a tile and a window; rows that are planned need
scenes and times. What follows from other columns is put in where it is missing: the gap, one pass, an unknown orbit.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely

from dwplus.errors import InputError
from dwplus.errors.reasons import Reason
from dwplus.grid import DW_TILE_SCALE, DW_TILE_SIZE, UTM_NORTH, UTM_SOUTH, near_longitude, tile_from_id, transformer
from dwplus.grid.longitude import cut
from dwplus.runtime.paths import leads_out
from dwplus.scenes.records import passes_of
from dwplus.spec import DatasetSpec, Window
from dwplus.spec.radar import other_product
from dwplus.splits import GUARD, SPLITS
from dwplus.taxonomy import BIOMES

#: Types of the columns, in a plan and in memory.
TEXTS = ("tile_id", "window", "ecoregion", "label_id", "s2_id", "s1_id", "orbit_pass", "split", "state", "reason",
         "spec", "platform", "s2_product", "s2_match", "label_set", "strata", "clear_id", "speckle_ids")
INTEGERS = {"epsg": "int32", "size": "int32", "biome": "int16", "s1_count": "Int32", "relative_orbit": "Int32",
            "stratum": "int8", "s1_passes": "Int32", "rtc_passes": "Int32"}
FLOATS = ("x0", "y0", "scale", "gap_hours", "s1_coverage", "s2_cloud", "clear", "label_gap_hours", "cloud_fraction")
TIMES = ("s2_time", "s1_time")
FLAGS = ("coastal", "own_grid")

#: Largest difference of ``gap_hours`` to the times, h, and of a time to its window, days: a scene's own time differs
#: from the time in its id, and half products from each other.
GAP_HOURS, WINDOW_DAYS = 1e-6, 1
#: Where UTM puts the corner of a tile, m.
_EAST, _NORTH = (0.0, 1_000_000.0), (0.0, 10_000_000.0)
_ID = re.compile(r"[A-Za-z0-9_.\-]+")
_DW = re.compile(r"(?:label_)?dw_(-?\d+(?:[.p]\d+)?)_(-?\d+(?:[.p]\d+)?)-\d{8}")
_UTM = r"utm_(\d{5})_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)_(\d+)x(\d+(?:\.\d+)?)"


class _Column(NamedTuple):
    """A column in its type, and the rows whose value has another."""

    values: Any
    wrong: np.ndarray
    right: str


def typed(plan: pd.DataFrame, path: object) -> pd.DataFrame:
    """A plan's columns in their types, whoever wrote them: text (nothing = ""), whole numbers, numbers, times in
    milliseconds, UTC, flags. Other columns stay as they are.

    Raises
    ------
    InputError
        Where a value is of another type.
    """
    table = plan.reset_index(drop=True)
    for name in table.columns:
        kind = (_text if name in TEXTS else _number if name in FLOATS or name in INTEGERS else
                _time if name in TIMES else _flag if name in FLAGS else None)
        if kind is None:
            continue
        column = kind(table[name])
        if name in INTEGERS:
            column = _whole(column, INTEGERS[name])
        refuse(table, path, name, column.wrong, f"must be {column.right}")
        table[name] = column.values
    return table


def check(table: pd.DataFrame, spec: DatasetSpec, path: object, *, places: bool = True) -> pd.DataFrame:
    """Check :func:`typed` rows against each other and the spec.

    Parameters
    ----------
    places : whether planned tiles must have a biome; a map's need none.

    Returns
    -------
    The table, with what was missing and follows.

    Raises
    ------
    InputError
        One sentence with the first row, its column and value, and what would be right.
    """
    def demand(name: str, wrong: Any, right: str) -> None:
        refuse(table, path, name, wrong, f"must be {right}")

    every = np.ones(len(table), bool)
    demand("state", ~table["state"].isin(["planned", "rejected"]), "planned or rejected")
    planned = (table["state"] == "planned").to_numpy()
    windows = [str(window) for window in spec.windows]
    demand("window", ~table["window"].isin(windows), f"a window of the spec: {_some(windows)}")
    demand("split", ~table["split"].isin([*SPLITS, GUARD]), f"{', '.join(SPLITS)} or {GUARD}")
    table.loc[~planned & (table["reason"] == "").to_numpy(), "reason"] = Reason.BY_HAND.value

    _check_grid(table, spec, demand, every)
    if places:
        demand("biome", planned & ~table["biome"].isin(list(BIOMES)), "1..14 in a planned row")
    demand("biome", ~table["biome"].isin([0, *BIOMES]), "1..14, or 0 in a rejected row")
    _check_scenes(table, spec, demand, planned)
    _check_times(table, spec, demand, planned)
    _check_radar(table, spec, demand, planned)
    if spec.needs_heights and not (heights := spec.elevation_model).covers(-90, 90):
        _, south, _, north = shapely.bounds(footprints(table)).T
        demand("y0", planned & ~((south >= heights.south) & (north <= heights.north)),
               f"where the spec's elevation, {heights.collection}, is: it ends at {heights.ends}")
    if spec.sentinel1.multitemporal:
        _check_further(table, spec, demand, planned)
    for name, low, high in (("s1_coverage", 0, 1), ("s2_cloud", 0, 100), ("clear", 0, 1), ("cloud_fraction", 0, 1)):
        if name in table:
            values = table[name].to_numpy()
            demand(name, ~np.isnan(values) & ~((values >= low - 1e-6) & (values <= high + 1e-6)),
                   f"{low}..{high}, or nothing where it is not known")
    _check_once(table, spec, path, planned)
    return table


def _check_grid(table: pd.DataFrame, spec: DatasetSpec, demand: Any, every: np.ndarray) -> None:
    """Zone, corner and size; ids that say them."""
    epsg, x0, y0 = (table[name].to_numpy() for name in ("epsg", "x0", "y0"))
    zone = epsg % 100
    demand("epsg", ~np.isin(epsg // 100, (326, 327)) | (zone < 1) | (zone > 60),
           "a UTM zone: 32601..32660 (north) or 32701..32760 (south)")
    demand("size", table["size"] != spec.tile.size, f"the spec's tile.size, {spec.tile.size}")
    demand("scale", table["scale"] != spec.tile.scale, f"the spec's tile.scale, {spec.tile.scale:g}")
    for name, values, (low, high) in (("x0", x0, _EAST), ("y0", y0, _NORTH)):
        demand(name, ~((values >= low) & (values <= high)), f"{low:.0f}..{high:.0f} m, as UTM has it")
    demand("tile_id", table["tile_id"] == "", "the id of a tile")
    right = _corners_of(table, demand, every)
    for name, values in (("epsg", epsg), ("x0", x0), ("y0", y0), ("size", table["size"]), ("scale", table["scale"])):
        wrong = np.asarray(values != right[name]) & right[name].notna().to_numpy()
        wanted = right[name].to_numpy()[np.flatnonzero(wrong)[:1]]
        demand(name, wrong, f"{wanted[0]:.12g}, as the tile's id says" if len(wanted) else "")
    if spec.tile.grid == "utm":
        lattice = ~table["own_grid"].to_numpy()
        for name, values in (("x0", x0), ("y0", y0)):
            steps = values / spec.tile.scale
            demand(name, lattice & (np.abs(steps - np.round(steps)) > 1e-6),
                   f"on the lattice: a multiple of {spec.tile.scale:g} m (tile.grid is utm)")
    for code in np.unique(epsg):
        own = epsg == code
        half = spec.tile.size * spec.tile.scale / 2
        _, lat = transformer(int(code), 4326).transform(x0[own] + half, y0[own] - half)
        outside = np.zeros(len(table), bool)
        outside[own] = ~((lat >= UTM_SOUTH) & (lat <= UTM_NORTH))
        demand("y0", outside, "between 80 S and 84 N, where UTM is")


def _corners_of(table: pd.DataFrame, demand: Any, every: np.ndarray) -> pd.DataFrame:
    """What the tiles' ids say of zone, corner, size and scale; NaN where one does not say it."""
    ids = table["tile_id"]
    right = ids.str.extract(f"^{_UTM}$").astype("float64")
    right.columns = pd.Index(["epsg", "x0", "y0", "size", "scale"])
    annotated = ids.map(lambda text: _DW.fullmatch(text) is not None).to_numpy(bool)
    neither = right["epsg"].isna().to_numpy() & ~annotated
    for place in np.flatnonzero(annotated):
        try:
            tile_from_id(ids.iat[place])
        except ValueError:
            neither[place] = True
    demand("tile_id", neither & every, "dw_<lon>_<lat>-<yyyymmdd> or utm_<epsg>_<x0>_<y0>_<size>x<scale>")
    # An annotated tile's id says its corner in any zone: the row's own is asked, for rules of zones have changed.
    places = [_DW.fullmatch(ids.iat[place]) for place in np.flatnonzero(annotated)]
    points = np.array([[float(match[i].replace("p", ".")) for i in (1, 2)] for match in places if match])
    half = DW_TILE_SIZE * DW_TILE_SCALE / 2
    for place, (lon, lat) in zip(np.flatnonzero(annotated), points, strict=True):
        x, y = transformer(4326, int(table["epsg"].iat[place])).transform(lon, lat)
        if math.isfinite(x) and math.isfinite(y):
            right.loc[place, ["x0", "y0", "size", "scale"]] = (
                math.ceil(x / 10) * 10 - half, math.floor(y / 10) * 10 + half, DW_TILE_SIZE, DW_TILE_SCALE)
    return right


def _check_scenes(table: pd.DataFrame, spec: DatasetSpec, demand: Any, planned: np.ndarray) -> None:
    """Ids of scenes: as many as there may be, each as Earth Engine spells a ``system:index``."""
    halves = "one id, or the two of a product's halves, comma-joined"
    many = spec.labels.per_window == "mode" or spec.labels.source == "asset"
    most = {"label_id": None if many else 2, "s2_id": 2, "s1_id": None, "clear_id": 2}
    files = spec.labels.source == "annotations" and spec.labels.path is not None
    for name, number in most.items():
        if name not in table or (name == "clear_id" and spec.triplets is None):
            continue
        ids = table[name]
        demand(name, planned & (ids == ""), "the id of a scene in a planned row")
        if name == "label_id" and files:
            demand(name, ids.map(leads_out), "the path of a GeoTIFF below the spec's labels.path")
            continue
        parts = ids.str.split(",")
        demand(name, ids.ne("") & parts.map(_has_no_id), "ids as system:index has them, without the collection and "
                                                         "without spaces, comma-joined")
        demand(name, parts.map(len) != parts.map(lambda found: len(set(found))), "ids that differ")
        if number is not None:
            demand(name, parts.map(len) > number, halves)
    product, parts = spec.sentinel1.product, table["s1_id"].str.split(",")
    demand("s1_id", parts.map(lambda found: other_product(found, product)),
           "bursts of RTC-S1, as sentinel1.product says" if product == "rtc" else
           "slices of Sentinel-1 GRD, as sentinel1.product says")
    demand("s1_id", table["s1_id"].str.contains("_RTC-S1_") & table["s1_id"].str.contains("_S1D_"),
           "of Sentinel-1A, B or C: of Sentinel-1D there is no RTC-S1")
    if "s2_product" in table:
        demand("s2_product", ~table["s2_product"].isin(["", "sr", "toa"]), "sr, toa, or nothing for the spec's")


def _has_no_id(parts: list[str]) -> bool:
    return not all(_ID.fullmatch(part) for part in parts)


def _check_times(table: pd.DataFrame, spec: DatasetSpec, demand: Any, planned: np.ndarray) -> None:
    """Times and gaps of planned rows; a gap that is missing follows."""
    for name in TIMES:
        demand(name, planned & table[name].isna().to_numpy(), "the time of the scene in a planned row")
    hours = (table["s1_time"] - table["s2_time"]) / pd.Timedelta(hours=1)
    gap = table["gap_hours"].to_numpy().copy()
    missing = planned & np.isnan(gap)
    gap[missing] = hours.to_numpy()[missing]
    table["gap_hours"] = gap
    wrong = planned & ~(np.abs(gap - hours.to_numpy()) <= GAP_HOURS)
    wanted = hours.to_numpy()[np.flatnonzero(wrong)[:1]]
    demand("gap_hours", wrong, f"{wanted[0]:.6f}, s1_time minus s2_time" if len(wanted) else "")
    most, least = spec.sentinel1.max_gap_hours, spec.sentinel1.min_gap_hours
    demand("gap_hours", planned & ~(np.abs(gap) <= most + GAP_HOURS), f"at most sentinel1.max_gap_hours, {most:g}")
    if spec.sentinel1.policy == "nearest":
        demand("gap_hours", planned & ~(np.abs(gap) >= least - GAP_HOURS),
               f"at least sentinel1.min_gap_hours, {least:g}")
    for window in spec.windows:
        first, last = _days(window)
        own = planned & (table["window"] == str(window)).to_numpy()
        demand("s2_time", own & ~((table["s2_time"] >= first) & (table["s2_time"] < last)).to_numpy(),
               f"in the row's window, {window}")
    if spec.triplets is not None:
        demand("label_gap_hours", planned & ~np.isfinite(table["label_gap_hours"].to_numpy()),
               "the label's time minus s2_time, hours")


def _days(window: Window) -> tuple[pd.Timestamp, pd.Timestamp]:
    more = dt.timedelta(days=WINDOW_DAYS)
    return pd.Timestamp(window.start - more, tz="UTC"), pd.Timestamp(window.end + more, tz="UTC")


def _check_radar(table: pd.DataFrame, spec: DatasetSpec, demand: Any, planned: np.ndarray) -> None:
    """Passes and orbits; one pass and an unknown orbit where a planned row says nothing."""
    table["s1_count"] = table["s1_count"].mask(planned & table["s1_count"].isna(), 1)
    table["relative_orbit"] = table["relative_orbit"].mask(planned & table["relative_orbit"].isna(), -1)
    count, orbit = (table[name].fillna(1).to_numpy("int64") for name in ("s1_count", "relative_orbit"))
    ids = table["s1_id"].str.count(",").to_numpy() + 1
    demand("s1_count", (count < 1) | (planned & (count > ids)), "the number of passes, at least 1, at most one for "
                                                                "each id of s1_id")
    demand("relative_orbit", ((orbit < 1) & (orbit != -1)) | (orbit > 175), "1..175, or -1 where it is not known")
    demand("orbit_pass", ~table["orbit_pass"].isin(["ASCENDING", "DESCENDING", "MIXED", ""]),
           "ASCENDING, DESCENDING or MIXED, or nothing where it is not known")


def _check_further(table: pd.DataFrame, spec: DatasetSpec, demand: Any, planned: np.ndarray) -> None:
    """Further passes of planned rows: as many as the spec has, each once, none of them the tile's own."""
    radar = spec.sentinel1
    passes = table["speckle_ids"].map(passes_of)
    slices = [[index for one in found for index in one] for found in passes]
    demand("speckle_ids", planned & np.array([bool(found) and _has_no_id(found) for found in slices], bool),
           "ids as system:index has them: slices of a pass by commas, passes by semicolons")
    own = table["s1_id"].str.split(",")
    demand("speckle_ids", planned & np.array([len(set(found)) < len(found) or not set(found).isdisjoint(ids)
                                              for found, ids in zip(slices, own, strict=True)], bool),
           "ids that differ from each other and from s1_id")
    count = 1 + passes.map(len).to_numpy("int64")
    least, most = radar.least_scenes, radar.speckle_scenes
    demand("speckle_ids", planned & ((count < least) | (count > most)),
           f"{least - 1}{f' to {most - 1}' if most > least else ''} further passes, as sentinel1.speckle_scenes and "
           "speckle_least have it")


def _check_once(table: pd.DataFrame, spec: DatasetSpec, path: object, planned: np.ndarray) -> None:
    """A tile is planned once a window (and label, where the spec wants all), and lies in one split."""
    rows = table[planned]
    of_scene = "s2_id" if spec.labels.source == "asset" else "label_id"
    keys = ["tile_id", "window", *([of_scene] if spec.labels.per_window == "all" else [])]
    twice = np.zeros(len(table), bool)
    twice[planned] = rows.duplicated(keys).to_numpy()
    refuse(table, path, "tile_id", twice, "is planned twice" + (" with the same label" if len(keys) > 2 else
                                                                 " in the same window") + "; keep one of the rows")
    if spec.labels.source != "annotations":
        other = np.zeros(len(table), bool)
        first = rows.groupby("tile_id")["split"].transform("first")
        other[planned] = (rows["split"] != first).to_numpy()
        refuse(table, path, "split", other, "must be the one that the tile has in its other rows")


# -------------------------------------------------------------------------------------------------------------- types


def _text(column: pd.Series) -> _Column:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    nothing = column.isna().to_numpy()
    wrong = np.array([not isinstance(value, str) for value in column.to_numpy(object)], bool) & ~nothing
    return _Column(column.astype(object).mask(nothing, "").to_numpy(object), wrong, "text")


def _number(column: pd.Series) -> _Column:
    """float64 with NaN where there is nothing."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return _Column(column.to_numpy("float64", na_value=np.nan), np.zeros(len(column), bool), "a number")
    values, wrong = np.full(len(column), np.nan), np.zeros(len(column), bool)
    for place, value in enumerate(column.to_numpy(object)):
        if value is None or value is pd.NA or value is pd.NaT:
            continue
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            values[place] = float(value)
        else:
            wrong[place] = True
    return _Column(values, wrong, "a number")


def _whole(column: _Column, dtype: str) -> _Column:
    values, wrong = column.values, column.wrong
    limit = np.iinfo(dtype.lower()).max
    nothing = np.isnan(values)
    may_lack = dtype[0] == "I"
    wrong = wrong | (~nothing & ~((np.abs(values) <= limit) & (np.round(values) == values)))
    wrong |= nothing & (not may_lack)
    safe = np.where(wrong | nothing, 0, values)
    whole = pd.array(safe.astype("int64"), dtype=dtype)
    if may_lack:
        whole[nothing] = pd.NA
    return _Column(whole, wrong, "a whole number")


def _time(column: pd.Series) -> _Column:
    right = "a time, as 2021-06-01T10:30:00Z"
    nothing = column.isna().to_numpy()
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        values = column.dt.tz_convert("UTC") if isinstance(column.dtype, pd.DatetimeTZDtype) else \
            column.dt.tz_localize("UTC")
        return _Column(values.astype("datetime64[ms, UTC]"), np.zeros(len(column), bool), right)
    wrong = ~nothing & np.array([not isinstance(value, dt.datetime) for value in column.to_numpy(object)], bool)
    values = pd.to_datetime(column.astype(object).mask(wrong | nothing, None), utc=True)
    return _Column(values.astype("datetime64[ms, UTC]"), wrong, right)


def _flag(column: pd.Series) -> _Column:
    values = column.to_numpy(object)
    right = np.array([isinstance(v, bool | np.bool_ | int | np.integer | float) and v in (0, 1) for v in values], bool)
    return _Column(np.array([bool(v) if ok else False for v, ok in zip(values, right, strict=True)], bool), ~right,
                   "true or false")


# ------------------------------------------------------------------------------------------------------------ sentence


def footprints(table: pd.DataFrame) -> np.ndarray:
    """Outlines of the tiles in EPSG:4326, as :meth:`dwplus.grid.PixelGrid.footprint` bends them, but within -180..180:
    a tile on the antimeridian is two polygons (RFC 7946, 3.1.9)."""
    side, x0, y0 = ((table["size"] * table["scale"]).to_numpy(), table["x0"].to_numpy(), table["y0"].to_numpy())
    shapes: np.ndarray = shapely.segmentize(shapely.box(x0, y0 - side, x0 + side, y0), side / 4)
    for epsg in table["epsg"].unique():
        own = (table["epsg"] == epsg).to_numpy()
        to_degrees = transformer(int(epsg), 4326)
        shapes[own] = shapely.transform(shapes[own], to_degrees.transform, interleaved=False)
    west, _, east, _ = shapely.bounds(shapes).T
    for place in np.flatnonzero(east - west > 180):
        shapes[place] = cut(near_longitude(shapes[place], 180.0))
    return shapes


def refuse(table: pd.DataFrame, path: object, name: str, wrong: Any, what: str) -> None:
    """Raise InputError for the first row of a column that is wrong, if there is one."""
    places = np.flatnonzero(np.asarray(wrong, bool))
    if not len(places):
        return
    first = int(places[0])
    tile = table["tile_id"].iat[first] if "tile_id" in table else ""
    row = f"row {first + 1}" + (f" (tile {tile})" if isinstance(tile, str) and tile and name != "tile_id" else "")
    more = f" (and {len(places) - 1} more rows)" if len(places) > 1 else ""
    raise InputError(f"plan {path}: {row}: {name} is {_shown(table[name].iat[first])}{more}; {what}")


def _shown(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
