"""The plan: one row per candidate tile and window, with its scenes, its split, and its state."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq
import shapely

from dwplus.earth import Session
from dwplus.earth.tables import embedding_years, map_images, processed
from dwplus.errors import InputError
from dwplus.errors.reasons import Reason, meaning
from dwplus.grid import PixelGrid, Tile, outlines
from dwplus.grid.longitude import cut
from dwplus.planning import pairing, regions, table
from dwplus.planning.candidates import (
    Candidate,
    annotated,
    boxes_of,
    candidates_of,
    cells,
    guarded,
    is_sparse,
    label_grid,
    lattice,
    place,
    sparse,
    window_of,
)
from dwplus.planning.draw import Archive, Drawing, Progress
from dwplus.planning.draw import drawn as in_order
from dwplus.planning.triplets import Triplet
from dwplus.runtime.paths import fresh
from dwplus.scenes.records import MapImage
from dwplus.spec import DatasetSpec, Window
from dwplus.spec.extras import ELEVATION_MODELS, FIRST_EMBEDDING
from dwplus.spec.radar import PASSES, PROCESSED, RTC_FIRST

__all__ = ["COLUMNS", "MORE_COLUMNS", "Candidate", "candidates_of", "created", "describe", "make_plan",
           "read_plan", "spec_of", "summary", "write_plan"]

#: Columns of a plan, in order; ``spec`` holds the frozen spec in every row, so that it survives filters and edits.
COLUMNS = ("tile_id", "window", "epsg", "x0", "y0", "size", "scale", "biome", "ecoregion", "coastal", "label_id",
           "s2_id", "s1_id", "s2_time", "s1_time", "gap_hours", "s1_count", "s1_coverage", "s2_cloud", "orbit_pass",
           "relative_orbit", "split", "state", "reason", "spec")
#: Further columns, after those; a plan without them is read as one that knows nothing of them. ``platform`` holds the
#: satellites of ``s1_id``; ``s2_match`` says how the S2 scene was found (``id``, ``sensing``, ``date``); ``label_set``
#: is an annotation's set; ``clear`` (0..1, NaN where not looked at) is what ``quality.clouds`` measured; ``strata``
#: rates the classes, see :func:`dwplus.planning.sampling.strata`; ``own_grid``: the tile may lie off the lattice.
MORE_COLUMNS = {"platform": "", "s2_product": "", "s2_match": "", "label_set": "", "clear": math.nan, "strata": "",
                "own_grid": True}
#: Columns of a plan of triplets, after those: the label's own S2 scene, its time minus the clouded one's, and the cloud
#: over the tile as planning measured it, 100 m apart; a store measures it again at every pixel.
TRIPLET_COLUMNS = ("clear_id", "label_gap_hours", "cloud_fraction", "stratum")
#: Columns of a plan of RTC-S1: passes in reach that cover the tile, and those of them that have it.
RTC_COLUMNS = (PASSES, PROCESSED)

#: Column of a plan whose speckle filter is multitemporal, after those: the further passes of each tile, the nearest in
#: time first, by semicolons, and the slices of a pass by commas; see :func:`dwplus.scenes.records.passes_of`.
SPECKLE_COLUMNS = ("speckle_ids",)

#: Rows that are kept as such before they become a table.
ROWS_AT_ONCE = 10_000


def make_plan(session: Session, spec: DatasetSpec, progress: Progress = lambda _: None,
              kept: list[Candidate] | None = None,
              bad: frozenset[tuple[str, str]] = frozenset()) -> gpd.GeoDataFrame:
    """Plan a data set.

    Per window, candidates are drawn in seeded order, biome by biome and ecoregion by ecoregion, until each biome has
    ``sampling.per_biome`` planned tiles; every tile drawn is a row, ``planned`` or ``rejected`` with its reason.

    Parameters
    ----------
    kept : tiles to take instead of drawing any, all of them, with the places and splits they have; see
        :func:`candidates_of`. The spec's region and quotas then decide nothing.
    bad : tiles to reject, by name and window (empty: any), as :func:`dwplus.store.marks.bad_tiles` gives them; others
        are drawn in their place.

    Returns
    -------
    GeoDataFrame in EPSG:4326 with :data:`COLUMNS`, :data:`MORE_COLUMNS` and the tiles' footprints, sorted by biome,
    window and tile.

    Raises
    ------
    InputError
        Where no tile can be planned; the sentence counts the reasons.
    """
    shapes = [] if kept is not None else regions.polygons(session, spec)
    _demand_heights(spec, shapes)
    fixed, weights = kept, None
    if kept is None and spec.labels.source == "annotations":
        fixed = annotated(session, spec, shapes)
    elif kept is None and spec.tile.grid == "utm":
        cells_of = None if is_sparse(shapes, spec) else lattice(shapes, spec)  # which says what is too small
        regions.check_ground(session, shapes)
        if cells_of is None:
            fixed, weights = sparse(session, spec, shapes)
        else:
            fixed = place(session, spec, cells_of)
    elif kept is None:
        regions.check_ground(session, shapes)
    images = _images_of_map(session, spec, shapes)
    parts: list[pd.DataFrame] = []
    seen: set[tuple[object, ...]] = set()
    for window in spec.windows:
        _check_processed(session, spec, window, shapes)
        archive = Archive(session, spec, window, _embedded_years(session, spec, window), images)
        candidates = fixed if fixed is not None else place(session, spec, _label_tiles(archive, shapes, spec))
        if kept is None:
            candidates = guarded(candidates, spec)
        candidates = [c for c in candidates if c.annotation is None or window_of(spec, c.annotation.date) == window]
        progress(f"window {window}: {len(candidates)} candidate tiles")
        drawing = Drawing(archive, [c for c in candidates if c.habitat is not None], weights, bad)
        rows = _rows(drawing, candidates, window, progress, None if kept is not None else spec.sampling.per_biome)
        while chunk := list(itertools.islice(rows, ROWS_AT_ONCE)):
            _mark_duplicates(chunk, seen)
            outline = outlines([grid for row in chunk if isinstance(grid := row.pop("grid"), PixelGrid)])
            parts.append(pd.DataFrame(chunk).assign(geometry=outline))
    return _frame(parts, spec)


def _images_of_map(session: Session, spec: DatasetSpec, shapes: Sequence[shapely.Geometry]) -> list[MapImage] | None:
    """The images of the asset that labels come from; None where they come from elsewhere."""
    if spec.labels.source != "asset":
        return None
    assert spec.labels.asset is not None
    return map_images(session, spec.labels.asset, spec.labels.band_name, boxes_of(shapes) if shapes else None)


def _demand_heights(spec: DatasetSpec, shapes: Sequence[shapely.Geometry]) -> None:
    """Refuse a region that lies outside of the elevation model.

    Raises
    ------
    InputError
        Where all of it does.
    """
    model = spec.elevation_model
    if spec.needs_heights and shapes and all(
            shape.bounds[1] > model.north or shape.bounds[3] < model.south for shape in shapes):
        raise InputError(f"elevation: {model.collection} ends at {model.ends}, and the region lies outside; take "
                         f"elevation: {next(iter(ELEVATION_MODELS))}")


def _embedded_years(session: Session, spec: DatasetSpec, window: Window) -> frozenset[int] | None:
    """Years of a window that have an annual embedding; None where the spec asks for none.

    Raises
    ------
    InputError
        Where the whole window has none.
    """
    if "embedding" not in spec.extras:
        return None
    # Label scenes of triplets may lie a little outside.
    reach = dt.timedelta(days=0 if spec.triplets is None else math.ceil(spec.triplets.max_label_days))
    last = (window.end + reach - dt.timedelta(days=1)).year
    wanted = range(max(FIRST_EMBEDDING, (window.start - reach).year), last + 1)
    found = embedding_years(session, wanted) if wanted else frozenset()
    if not found:
        raise InputError(f"windows: {window} has no annual embedding on {session.description}, which has one for a "
                         f"year from {FIRST_EMBEDDING} on once it is over and processed; leave embedding out of "
                         "extras, or the window")
    return found


def _check_processed(session: Session, spec: DatasetSpec, window: Window, shapes: Sequence[shapely.Geometry]) -> None:
    """Refuse a window that has no RTC-S1 where the spec asks for it.

    Raises
    ------
    InputError
        Also where this Earth has no such collection.
    """
    reach = dt.timedelta(hours=spec.sentinel1.max_gap_hours)
    if spec.sentinel1.product == "rtc" and not processed(session, window.start, window.end, reach,
                                                         boxes_of(shapes) if shapes else None):
        raise InputError(f"windows: {window} has no RTC-S1 over the region within sentinel1.max_gap_hours "
                         f"({spec.sentinel1.max_gap_hours:g}) on {session.description}: it begins with {RTC_FIRST}, is "
                         "not made of every pass, and not of Sentinel-1D; take other dates, or sentinel1.product grd")


def _label_tiles(archive: Archive, shapes: Iterable[shapely.Geometry], spec: DatasetSpec) -> list[Tile]:
    """Tiles cut from the label images' own grids, whose centre lies in the region."""
    shapes = list(shapes)
    archive.fetch(cells(shapes))
    tiles = label_grid(archive.labels(), shapes, spec)
    if not tiles:
        raise InputError(f"region: no Dynamic World image from {archive.window.start} to {archive.window.end} has a "
                         f"whole {spec.tile.size}-pixel tile of {spec.tile.scale:g} m whose centre lies in it")
    # A cell's scenes reach beyond it: its tiles are looked up by the cell of their centre.
    archive.clear()
    return tiles


def _rows(drawing: Drawing, candidates: list[Candidate], window: Window, progress: Progress,
          quota: int | None) -> Iterator[dict[str, object]]:
    """Rows of one window; what became of a candidate is forgotten with its row."""
    spec = drawing.spec
    yield from (_row(c, window, spec, Reason.NO_ECOREGION) for c in candidates if c.habitat is None)
    placed = [c for c in candidates if c.habitat is not None]
    for candidate in in_order(drawing, placed, quota, lambda text: progress(f"window {window}: {text}")):
        outcome = drawing.pairs(candidate)
        drawing.forget(candidate)
        ratings = drawing.ratings.get(candidate.id, "")
        candidate = replace(candidate, habitat=drawing.habitat_of(candidate))
        if isinstance(outcome, pairing.Rejection):
            yield _row(candidate, window, spec, outcome.reason, strata=ratings) | (
                {PASSES: outcome.flown, PROCESSED: 0} if spec.sentinel1.product == "rtc" else {})
            continue
        for pair in outcome:
            probed = drawing.probes.get((candidate.id, pair.label.index))
            clear = math.nan if probed is None or spec.quality.clouds == "scene" else probed.clear
            yield _row(candidate, window, spec, None, pair, clear, ratings)


def _row(candidate: Candidate, window: Window, spec: DatasetSpec, reason: Reason | None,
         pair: pairing.Pairing | None = None, clear: float = math.nan, strata: str = "") -> dict[str, object]:
    grid, here, annotation = candidate.tile.grid, candidate.habitat, candidate.annotation
    row: dict[str, object] = {
        "tile_id": candidate.tile.id, "window": str(window), "epsg": grid.epsg, "x0": grid.x0, "y0": grid.y0,
        "size": grid.width, "scale": grid.scale, "biome": here.biome if here else 0,
        "ecoregion": here.ecoregion if here else "", "coastal": bool(here and not here.inside),
        "label_id": annotation.scene.index if annotation else "", "split": candidate.split,
        "state": "rejected" if reason else "planned", "reason": reason.value if reason else "",
        "grid": grid,
        "label_set": annotation.set if annotation else "", "clear": clear, "strata": strata,
        "own_grid": candidate.own_grid or annotation is not None or spec.tile.grid == "label",
    }
    if pair is not None:
        row |= {
            "label_id": ",".join(pair.label_ids), "s2_id": pair.optical.index, "s1_id": ",".join(pair.radar.indices),
            "s2_time": pair.optical.time_ms, "s1_time": pair.radar.time_ms, "gap_hours": pair.radar.gap_hours,
            "s1_count": pair.radar.count, "s1_coverage": pair.radar.coverage, "s2_cloud": pair.optical.cloud,
            "orbit_pass": pair.radar.orbit_pass, "relative_orbit": pair.radar.relative_orbit,
            "platform": pair.radar.platform, "s2_product": pair.optical.product, "s2_match": pair.match,
        }
    if pair is not None and spec.sentinel1.product == "rtc":
        row |= {PASSES: pair.radar.flown, PROCESSED: pair.radar.processed}
    if pair is not None and spec.sentinel1.multitemporal:
        row["speckle_ids"] = ";".join(map(",".join, pair.radar.further))
    if isinstance(pair, Triplet):
        row |= {"clear_id": pair.clear.index, "label_gap_hours": pair.label_gap_hours, "cloud_fraction": pair.cloud,
                "stratum": pair.stratum}
    return row


def _mark_duplicates(rows: list[dict[str, object]], seen: set[tuple[object, ...]]) -> None:
    """Windows that overlap may choose one label scene twice for a tile: the first window keeps it."""
    for row in rows:
        key = row["tile_id"], row["label_id"], row.get("s2_id")
        if row["state"] == "planned" and key in seen:
            row |= {"state": "rejected", "reason": Reason.DUPLICATE.value}
        seen.add(key)


def _frame(parts: list[pd.DataFrame], spec: DatasetSpec) -> gpd.GeoDataFrame:
    rows = pd.concat([part.dropna(axis="columns", how="all") for part in parts], ignore_index=True)
    counts = Counter(rows.loc[rows["state"] == "rejected", "reason"].tolist())
    if len(rows) == sum(counts.values()):
        why = "; ".join(f"{n} {meaning(reason)} ({reason})" for reason, n in counts.most_common())
        raise InputError(f"no tile can be planned, of {len(rows)} candidates: {why}")
    frame = gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
    for column in COLUMNS:
        if column not in frame:
            frame[column] = None
    for column in table.TIMES:
        frame[column] = pd.to_datetime(pd.to_numeric(frame[column]), unit="ms", utc=True)
    for column, default in MORE_COLUMNS.items():
        if column not in frame:
            frame[column] = default
    more = _more_columns(spec)
    if spec.triplets is not None:
        frame["stratum"] = frame["stratum"].fillna(-1)
    if spec.sentinel1.product == "rtc":
        more += RTC_COLUMNS
        frame = frame.assign(**{name: frame[name].fillna(0) for name in RTC_COLUMNS})
    frame["spec"] = spec.to_json()
    frame = table.typed(frame, "made").sort_values(["biome", "window", "epsg", "x0", "y0", "label_id"], kind="stable",
                                                   ignore_index=True)
    # One text for all rows: as so many texts it would be most of a large plan, in memory and while it is written.
    frame["spec"] = pd.Categorical.from_codes(np.zeros(len(frame), "int8"), [spec.to_json()])
    return frame[[*COLUMNS, *MORE_COLUMNS, *more, "geometry"]]


def _more_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """Columns that only plans of some specs have."""
    return (*(() if spec.triplets is None else TRIPLET_COLUMNS),
            *(SPECKLE_COLUMNS if spec.sentinel1.multitemporal else ()))


def write_plan(plan: gpd.GeoDataFrame, path: str | Path) -> None:
    """Write a plan as GeoParquet 1.1 with a box of each row, footprints within -180..180: whole, or not at all."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = fresh(path, "part")
        try:
            west, _, east, _ = plan.bounds.to_numpy().T
            if (past := (west < -180) | (east > 180)).any():
                shapes = plan.geometry.to_numpy().copy()
                shapes[past] = [cut(shape) for shape in shapes[past]]
                plan = plan.set_geometry(gpd.GeoSeries(shapes, plan.index, crs=plan.crs))
            plan = plan.drop(columns="bbox", errors="ignore").assign(spec=plan["spec"].astype("category"))
            plan.to_parquet(partial, compression="zstd", write_covering_bbox=True, schema_version="1.1.0")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"plan {path}: cannot be written ({error.strerror or error})") from None


def read_plan(path: str | Path, *, places: bool = True) -> gpd.GeoDataFrame:
    """Read a plan, edited or not, by whatever software: every row is checked before it is followed.

    A geometry is not needed, for it follows from the grid; rows may be missing, in any order, and ``rejected`` or
    ``planned`` by hand, where planned rows have scenes and times. See :mod:`dwplus.planning.table`.

    Parameters
    ----------
    places : whether planned tiles must have a biome; a map's plan needs none.

    Returns
    -------
    GeoDataFrame in EPSG:4326 with :data:`COLUMNS` and :data:`MORE_COLUMNS` in their types, columns of a user's own
    that are plain, and footprints within -180..180.

    Raises
    ------
    InputError
        Where the file is no plan; else with its first row that cannot be followed: tile, column, value, what is right.
    """
    frame = _read(path)
    _demand(frame, path, COLUMNS)
    for column, default in MORE_COLUMNS.items():
        if column not in frame:
            frame[column] = default
    if frame.empty:
        raise InputError(f"plan {path}: has no rows")
    frame = table.typed(frame, path)
    table.refuse(frame, path, "spec", frame["spec"] == "", "must be that of the other rows")
    if frame["spec"].nunique() != 1:
        raise InputError(f"plan {path}: holds rows of {frame['spec'].nunique()} specs; export them one by one")
    spec = DatasetSpec.from_json(frame["spec"].iat[0], f"plan {path}: column spec")
    _demand(frame, path, _more_columns(spec))
    frame = table.check(frame, spec, path, places=places)
    frame["spec"] = frame["spec"].astype("category")  # one text for all rows, as a plan just made has it
    return gpd.GeoDataFrame(frame, geometry=table.footprints(frame), crs="EPSG:4326")


def _read(path: str | Path) -> pd.DataFrame:
    """A Parquet file's plain columns, whoever wrote it; no geometry, no index."""
    if Path(path).is_dir():
        raise InputError(f"plan {path}: is a folder; a plan is one GeoParquet file")
    known = {*COLUMNS, *MORE_COLUMNS, *TRIPLET_COLUMNS, *RTC_COLUMNS, *SPECKLE_COLUMNS}
    try:
        with pq.ParquetFile(path) as file:
            names = [str(name) for name in file.schema_arrow.names]
            if twice := [name for name, count in Counter(names).items() if count > 1 and name in known]:
                raise InputError(f"plan {path}: has the column {twice[0]!r} twice")
            plain = [field.name for field in file.schema_arrow
                     if field.name in known or (_is_plain(field.type) and not field.name.startswith("__index_"))]
            columns = file.read(columns=[name for name in plain if names.count(name) == 1])
        return pd.DataFrame({name: _to_pandas(columns.column(name)) for name in columns.column_names})
    except FileNotFoundError:
        raise InputError(f"plan {path}: no such file; make one with `dwplus plan SPEC -o {path}`") from None
    except (OSError, ValueError, TypeError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(f"plan {path}: is no GeoParquet plan ({' '.join(str(error).split())[:200]})") from None


def _is_plain(kind: pyarrow.DataType) -> bool:
    return any(of(kind) for of in (pyarrow.types.is_boolean, pyarrow.types.is_integer, pyarrow.types.is_floating,
                                   pyarrow.types.is_string, pyarrow.types.is_large_string))


def _to_pandas(column: pyarrow.ChunkedArray) -> pd.Series:
    if pyarrow.types.is_dictionary(column.type):
        if pyarrow.types.is_string(column.type.value_type):
            # Each text once, however many rows have it: the spec of a large plan.
            return column.unify_dictionaries().to_pandas().astype(object)
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    if column.type == pyarrow.string_view() or pyarrow.types.is_large_string(column.type):
        column = column.cast(pyarrow.string())
    return column.to_pandas()


def _demand(plan: pd.DataFrame, path: str | Path, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in plan]
    if missing:
        raise InputError(f"plan {path}: lacks the column {missing[0]!r}; a plan has {', '.join(columns)}")


def spec_of(plan: gpd.GeoDataFrame) -> DatasetSpec:
    """The spec a plan was made from."""
    return DatasetSpec.from_json(plan["spec"].iloc[0], "plan")


def summary(plan: gpd.GeoDataFrame) -> dict[str, object]:
    """Counts that add up: candidates = planned + the sum over rejected reasons."""
    rejected = plan.loc[plan["state"] == "rejected", "reason"].value_counts().to_dict()
    return {"candidates": len(plan), "planned": int((plan["state"] == "planned").sum()), "rejected": rejected}


def created(path: str | Path) -> str:
    """When a plan was made: its file's time, or SOURCE_DATE_EPOCH; stores of one plan are alike to the byte."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    seconds = int(epoch) if epoch else int(Path(path).stat().st_mtime)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe(plan: gpd.GeoDataFrame) -> str:
    """The summary as text."""
    numbers = summary(plan)
    rejected = numbers["rejected"]
    assert isinstance(rejected, dict)
    parts = [f"{numbers['candidates']} candidates", f"{numbers['planned']} planned",
             *(f"{count} rejected:{reason}" for reason, count in rejected.items())]
    return json.dumps(numbers) if not parts else " = ".join([parts[0], " + ".join(parts[1:])])
