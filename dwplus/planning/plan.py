"""The plan: one row per candidate tile and window, with its scenes, its split, and its state."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import shapely

from dwplus.earth import Session
from dwplus.earth.tables import Catalogue, Place, catalogues, places
from dwplus.errors import InputError
from dwplus.grid import PixelGrid, Tile, lattice_tiles, near_longitude, tile_from_id, tile_on_grid
from dwplus.planning import pairing, regions, sampling
from dwplus.scenes import LabelScene
from dwplus.spec import DatasetSpec, Window

#: What a reject reason means, for people.
REASONS = {
    "no_ecoregion": "the tile's centre lies at sea or on ice, outside every ecoregion",
    "no_label": "no Dynamic World image in the window",
    "label_partial": "no Dynamic World image covers the whole tile",
    "label_off_grid": "no Dynamic World image has the tile's pixels",
    "no_s2": "the label's Sentinel-2 scene is not in the archive",
    "s2_cloudy": "every Sentinel-2 scene is cloudier than sentinel2.max_cloud",
    "s2_partial": "no Sentinel-2 scene covers the whole tile",
    "no_s1": "no IW VV+VH Sentinel-1 pass within sentinel1.max_gap_hours",
    "s1_partial": "no Sentinel-1 pass in reach covers the whole tile",
}
#: Columns of a plan, in order; ``spec`` holds the frozen spec in every row, so that it survives filters and edits.
COLUMNS = ("tile_id", "window", "epsg", "x0", "y0", "size", "scale", "biome", "ecoregion", "coastal", "label_id",
           "s2_id", "s1_id", "s2_time", "s1_time", "gap_hours", "s1_count", "s1_coverage", "s2_cloud", "orbit_pass",
           "relative_orbit", "split", "state", "reason", "spec")
#: Side of the areas that share one metadata request, degrees: about 400 tiles of 5.1 km.
CELL_DEGREES = 1.0
#: Cells bundled into one metadata request, and such requests in flight.
CELLS_PER_REQUEST, LOOKUPS = 16, 4

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A tile that may be taken, with its place on earth, its split and its turn in the seeded order."""

    tile: Tile
    place: Place | None
    split: str
    draw: float

    @property
    def cell(self) -> tuple[int, int]:
        lon, lat = self.tile.grid.center
        return math.floor(lon / CELL_DEGREES), math.floor(lat / CELL_DEGREES)


def make_plan(session: Session, spec: DatasetSpec, progress: Progress = lambda _: None,
              kept: list[Candidate] | None = None) -> gpd.GeoDataFrame:
    """Plan a data set.

    Per window, candidates are drawn in seeded order, biome by biome, until each biome has ``sampling.per_biome``
    planned tiles; every tile drawn is a row, ``planned`` or ``rejected`` with its reason.

    Parameters
    ----------
    kept : tiles to take instead of drawing any, all of them, with the places and splits they have; see
        :func:`candidates_of`. The spec's region and quotas then decide nothing.

    Returns
    -------
    GeoDataFrame in EPSG:4326 with :data:`COLUMNS` and the tiles' footprints, sorted by biome, window and tile.

    Raises
    ------
    InputError
        Where no tile can be planned; the sentence counts the reasons.
    """
    shapes = [] if kept is not None else regions.polygons(session, spec)
    if kept is None and spec.tile.grid == "utm":
        fixed: list[Candidate] | None = _place(session, spec, _lattice(shapes, spec))
    else:
        fixed = kept
    rows: list[dict[str, object]] = []
    for window in spec.windows:
        archive = _Archive(session, spec, window)
        candidates = fixed if fixed is not None else _place(session, spec, _label_tiles(archive, shapes, spec))
        progress(f"window {window}: {len(candidates)} candidate tiles")
        rows += _draw(archive, candidates, spec, window, progress, None if kept is not None
                      else spec.sampling.per_biome)
    return _frame(rows, spec)


def candidates_of(tiles: pd.DataFrame) -> list[Candidate]:
    """The planned tiles of a plan, or the tiles of a store, as candidates with the places and splits they have.

    Parameters
    ----------
    tiles : a plan, or a :func:`dwplus.store.reader.tile_table`.
    """
    if "state" in tiles:
        tiles = tiles[tiles["state"] == "planned"]
    unique = tiles.drop_duplicates("tile_id")
    return [Candidate(tile_from_id(row.tile_id), Place(int(row.biome), row.ecoregion, not row.coastal),
                      str(row.split), 0.0) for row in unique.itertuples()]


def _lattice(shapes: Iterable[shapely.Geometry], spec: DatasetSpec) -> list[Tile]:
    tiles: dict[str, Tile] = {}
    for shape in shapes:
        try:
            found = lattice_tiles(shape, spec.tile.size, spec.tile.scale)
        except ValueError as error:
            raise InputError(f"region: {error}") from None
        tiles |= {tile.id: tile for tile in found}
    if not tiles:
        raise InputError(f"region: holds the centre of no {spec.tile.size}-pixel tile; it is too small, "
                         "or tile.size too large")
    return list(tiles.values())


def _place(session: Session, spec: DatasetSpec, tiles: list[Tile]) -> list[Candidate]:
    """Candidates with biome and ecoregion, in seeded order."""
    found = places(session, [tile.grid.center for tile in tiles])
    seed = spec.sampling.seed
    candidates = [Candidate(tile, place, sampling.split_of(seed, tile.grid), sampling.draw_order(seed, tile.id))
                  for tile, place in zip(tiles, found, strict=True)]
    return sorted(candidates, key=lambda c: (c.draw, c.tile.id))


class _Lookup:
    """Scenes over one cell, ready for pairing."""

    def __init__(self, scenes: Catalogue) -> None:
        self.labels = pairing.newest(scenes.labels)
        self.optical = pairing.OpticalTable(scenes.optical)
        self.passes = pairing.passes(scenes.radar)


class _Archive:
    """The scenes of one window, fetched once per area."""

    def __init__(self, session: Session, spec: DatasetSpec, window: Window) -> None:
        self._session, self._spec, self._window = session, spec, window
        self._cells: dict[tuple[int, int], _Lookup] = {}

    def fetch(self, areas: dict[tuple[int, int], shapely.Geometry]) -> None:
        """Fetch the cells not yet known: many cells a request, a few requests at a time."""
        missing = [cell for cell in sorted(areas) if cell not in self._cells]
        bundles = [missing[i:i + CELLS_PER_REQUEST] for i in range(0, len(missing), CELLS_PER_REQUEST)]

        def look_up(bundle: list[tuple[int, int]]) -> list[_Lookup]:
            found = catalogues(self._session, self._spec, [areas[cell] for cell in bundle], self._window.start,
                               self._window.end)
            return [_Lookup(scenes) for scenes in found]

        with ThreadPoolExecutor(LOOKUPS) as pool:
            for bundle, found in zip(bundles, pool.map(look_up, bundles), strict=True):
                self._cells |= dict(zip(bundle, found, strict=True))

    def __getitem__(self, cell: tuple[int, int]) -> _Lookup:
        return self._cells[cell]


def _draw(archive: _Archive, candidates: list[Candidate], spec: DatasetSpec, window: Window, progress: Progress,
          quota: int | None) -> list[dict[str, object]]:
    """Rows of one window: candidates tried in order until every biome has its quota, or all of them."""
    areas = _areas(candidates)
    waiting: dict[int, list[Candidate]] = defaultdict(list)
    rows = []
    for candidate in candidates:
        if candidate.place is None:
            rows.append(_row(candidate, window, spec, "no_ecoregion"))
        else:
            waiting[candidate.place.biome].append(candidate)
    planned: Counter[int] = Counter()
    while waiting:
        batch: list[Candidate] = []
        for biome in sorted(waiting):
            # Draw half as many again as are missing: some will be rejected.
            size = len(waiting[biome]) if quota is None else math.ceil(1.5 * (quota - planned[biome]))
            batch += waiting[biome][:size]
            waiting[biome] = waiting[biome][size:]
        archive.fetch({c.cell: areas[c.cell] for c in batch})
        for candidate in batch:
            assert candidate.place is not None
            biome = candidate.place.biome
            if quota is not None and planned[biome] >= quota:
                continue
            new = _pair(archive, candidate, spec, window)
            rows += new
            planned[biome] += any(row["state"] == "planned" for row in new)
        progress(f"window {window}: {sum(planned.values())} tiles planned, {len(rows)} rows")
        waiting = {b: rest for b, rest in waiting.items() if rest and (quota is None or planned[b] < quota)}
    return rows


def _pair(archive: _Archive, candidate: Candidate, spec: DatasetSpec, window: Window) -> list[dict[str, object]]:
    scenes = archive[candidate.cell]
    rules = pairing.Rules(
        policy=spec.sentinel1.policy, max_gap_hours=spec.sentinel1.max_gap_hours, orbit=spec.sentinel1.orbit,
        max_cloud=spec.sentinel2.max_cloud, min_coverage=spec.quality.min_coverage,
        on_label_grid=spec.tile.grid == "label")
    outcome = pairing.pair(candidate.tile.grid, scenes.labels, scenes.optical, scenes.passes, rules,
                           best_only=spec.labels.per_window == "best")
    if isinstance(outcome, pairing.Rejection):
        return [_row(candidate, window, spec, outcome.reason)]
    return [_row(candidate, window, spec, "", pair) for pair in outcome]


def _row(candidate: Candidate, window: Window, spec: DatasetSpec, reason: str,
         pair: pairing.Pairing | None = None) -> dict[str, object]:
    grid, place = candidate.tile.grid, candidate.place
    row: dict[str, object] = {
        "tile_id": candidate.tile.id, "window": str(window), "epsg": grid.epsg, "x0": grid.x0, "y0": grid.y0,
        "size": grid.width, "scale": grid.scale, "biome": place.biome if place else 0,
        "ecoregion": place.ecoregion if place else "", "coastal": bool(place and not place.inside),
        "split": candidate.split, "state": "rejected" if reason else "planned",
        "reason": reason, "geometry": grid.footprint(),
    }
    if pair is not None:
        row |= {
            "label_id": pair.label.index, "s2_id": pair.optical.index, "s1_id": ",".join(pair.radar.indices),
            "s2_time": pair.optical.time_ms, "s1_time": pair.radar.time_ms, "gap_hours": pair.radar.gap_hours,
            "s1_count": pair.radar.count, "s1_coverage": pair.radar.coverage, "s2_cloud": pair.optical.cloud,
            "orbit_pass": pair.radar.orbit_pass, "relative_orbit": pair.radar.relative_orbit,
        }
    return row


def _areas(candidates: Iterable[Candidate]) -> dict[tuple[int, int], shapely.Geometry]:
    """Per cell, a box around all its candidates."""
    corners: dict[tuple[int, int], list[tuple[float, float, float, float]]] = defaultdict(list)
    for candidate in candidates:
        corners[candidate.cell].append(candidate.tile.grid.footprint().bounds)
    boxes = {}
    for cell, bounds in corners.items():
        table = np.array(bounds)
        boxes[cell] = shapely.box(*table[:, :2].min(axis=0), *table[:, 2:].max(axis=0))
    return boxes


def _label_tiles(archive: _Archive, shapes: Iterable[shapely.Geometry], spec: DatasetSpec) -> list[Tile]:
    """Tiles cut from the label images' own grids, whose centre lies in the region."""
    areas: dict[tuple[int, int], shapely.Geometry] = {}
    shapes = list(shapes)
    for shape in shapes:
        west, south, east, north = shape.bounds
        for i in range(math.floor(west / CELL_DEGREES), math.ceil(east / CELL_DEGREES)):
            for j in range(math.floor(south / CELL_DEGREES), math.ceil(north / CELL_DEGREES)):
                cell = shapely.box(*(CELL_DEGREES * v for v in (i, j, i + 1, j + 1)))
                if shape.intersects(cell):
                    areas[i, j] = cell
    archive.fetch(areas)
    tiles: dict[str, Tile] = {}
    for cell in areas:
        for scene in archive[cell].labels:
            for tile in _cut(scene, spec):
                if tile.id not in tiles and _contains(shapes, tile.grid.center):
                    tiles[tile.id] = tile
    if not tiles:
        raise InputError(f"region: no Dynamic World image from {archive._window.start} to {archive._window.end} has a "
                         f"whole {spec.tile.size}-pixel tile of {spec.tile.scale:g} m whose centre lies in it")
    # A cell's scenes reach beyond it: its tiles are looked up by the cell of their centre.
    archive._cells.clear()
    return sorted(tiles.values(), key=lambda tile: tile.id)


def _cut(scene: LabelScene, spec: DatasetSpec) -> Iterator[Tile]:
    if scene.transform is None or scene.shape is None or scene.crs is None or not scene.crs.startswith("EPSG:"):
        return
    a, b, x0, d, e, y0 = scene.transform
    if b or d or not math.isclose(a, spec.tile.scale) or not math.isclose(-e, spec.tile.scale):
        return
    size = spec.tile.size
    for row in range(scene.shape[0] // size):
        for col in range(scene.shape[1] // size):
            yield tile_on_grid(PixelGrid(int(scene.crs[5:]), x0 + col * size * a, y0 + row * size * e, a, size, size))


def _contains(shapes: Iterable[shapely.Geometry], point: tuple[float, float]) -> bool:
    return any(near_longitude(shapely.Point(point), shape.centroid.x).within(shape) for shape in shapes)


def _frame(rows: list[dict[str, object]], spec: DatasetSpec) -> gpd.GeoDataFrame:
    counts = Counter(str(row["reason"]) for row in rows if row["state"] == "rejected")
    if len(rows) == sum(counts.values()):
        why = "; ".join(f"{n} {REASONS[reason]} ({reason})" for reason, n in counts.most_common())
        raise InputError(f"no tile can be planned, of {len(rows)} candidates: {why}")
    frame = gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
    for column in COLUMNS:
        if column not in frame:
            frame[column] = None
    for column in ("s2_time", "s1_time"):
        frame[column] = pd.to_datetime(pd.to_numeric(frame[column]), unit="ms", utc=True).astype("datetime64[ms, UTC]")
    types = {"epsg": "int32", "x0": "float64", "y0": "float64", "size": "int32", "scale": "float64", "biome": "int16",
             "gap_hours": "float64", "s1_coverage": "float64", "s2_cloud": "float64", "s1_count": "Int32",
             "relative_orbit": "Int32"}
    frame = frame.astype(types)
    for column in ("label_id", "s2_id", "s1_id", "orbit_pass"):
        frame[column] = frame[column].fillna("")
    frame["spec"] = spec.to_json()
    frame = frame.sort_values(["biome", "window", "epsg", "x0", "y0", "label_id"], kind="stable", ignore_index=True)
    return frame[[*COLUMNS, "geometry"]]


def write_plan(plan: gpd.GeoDataFrame, path: str | Path) -> None:
    """Write a plan as GeoParquet: whole, or not at all."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            plan.to_parquet(partial, compression="zstd")
            os.chmod(partial, 0o644)
            os.replace(partial, path)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"plan {path}: cannot be written ({error.strerror or error})") from None


def read_plan(path: str | Path) -> gpd.GeoDataFrame:
    """Read a plan, edited or not.

    Raises
    ------
    InputError
        Where the file is no plan, or a column is missing.
    """
    try:
        plan = gpd.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"plan {path}: no such file; make one with `dwplus plan SPEC -o {path}`") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"plan {path}: is no GeoParquet plan ({' '.join(str(error).split())})") from None
    missing = [column for column in COLUMNS if column not in plan]
    if missing:
        raise InputError(f"plan {path}: lacks the column {missing[0]!r}; a plan has {', '.join(COLUMNS)}")
    if plan.empty:
        raise InputError(f"plan {path}: has no rows")
    states = set(plan["state"]) - {"planned", "rejected"}
    if states:
        raise InputError(f"plan {path}: state {sorted(states)[0]!r} is neither planned nor rejected")
    if plan["spec"].nunique() != 1:
        raise InputError(f"plan {path}: holds rows of {plan['spec'].nunique()} specs; export them one by one")
    keys = plan.loc[plan["state"] == "planned", ["tile_id", "window", "label_id"]]
    if keys.duplicated().any():
        raise InputError(f"plan {path}: tile {keys[keys.duplicated()].iloc[0, 0]} is planned twice with the same label")
    return plan


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
