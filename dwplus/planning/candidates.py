"""Tiles that may be taken: from the lattice, from label images' grids, or annotated by people; each with its place."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from dwplus.earth import Session
from dwplus.earth.tables import Habitat, annotations_of, ecoregion_map, habitats
from dwplus.errors import InputError
from dwplus.grid import (
    UTM_NORTH,
    UTM_SOUTH,
    PixelGrid,
    Tile,
    gives_way,
    lattice_cells,
    lattice_tiles,
    longitude,
    rings,
    tile_from_id,
    tile_on_grid,
)
from dwplus.planning import sampling
from dwplus.scenes.annotated import SETS, Annotation, read_folder
from dwplus.scenes.records import LabelScene
from dwplus.spec import DatasetSpec, Window
from dwplus.splits import outside_guard, split_of, splits_of
from dwplus.taxonomy import BIOMES

#: Side of the areas that share one metadata request, degrees: about 400 tiles of 5.1 km.
CELL_DEGREES = 1.0
#: Tiles whose outlines are made at once.
TILES_AT_ONCE = 20_000
#: Regions with more parts than this are not sent as a filter; the answer is filtered here in any case.
FILTER_PARTS = 100

#: Regions with more lattice cells than this are thinned by the map of ecoregions, biome by biome, to so many cells
#: (more only where more than a quarter of them are wanted).
SPARSE_ABOVE, SPARSE_PER_BIOME = 10_000, 10_000

#: A key of the archive: a cell of :data:`CELL_DEGREES`; the day of an annotation; the id of a tile looked up alone.
Key = tuple[int, int, dt.date | None, str]


@dataclass(frozen=True)
class Candidate:
    """A tile that may be taken, with its place on earth, its split, its turn in the seeded order, and the annotation
    it comes from, if any; ``duplicate`` where a better annotation of the same tile is taken; ``sparse`` where its place
    was read off a coarse map and its neighbours are far, so that it is looked up alone; ``own_grid`` where it was taken
    from elsewhere and may lie off the lattice."""

    tile: Tile
    habitat: Habitat | None
    split: str
    draw: float
    annotation: Annotation | None = None
    duplicate: bool = False
    sparse: bool = False
    own_grid: bool = False

    @property
    def alone(self) -> bool:
        """Whether it shares no metadata query with its neighbours."""
        return self.sparse or self.annotation is not None

    @functools.cached_property
    def key(self) -> Key:
        lon, lat = self.tile.grid.center
        return (math.floor(lon / CELL_DEGREES), math.floor(lat / CELL_DEGREES),
                None if self.annotation is None else self.annotation.date, self.tile.id if self.sparse else "")

    @property
    def id(self) -> str:
        """Tile and label, for these may share a tile."""
        return self.tile.id if self.annotation is None else f"{self.tile.id}|{self.annotation.scene.index}"


def candidates_of(tiles: pd.DataFrame) -> list[Candidate]:
    """The planned tiles of a plan, or the tiles of a store, as candidates with the places and splits they have.

    Parameters
    ----------
    tiles : a plan, or a :func:`dwplus.store.reader.tile_table`.
    """
    if "state" in tiles:
        tiles = tiles[tiles["state"] == "planned"]
    unique = tiles.drop_duplicates("tile_id")
    return [Candidate(tile_from_id(row.tile_id), Habitat(int(row.biome), row.ecoregion, not row.coastal),
                      str(row.split), 0.0, own_grid=True) for row in unique.itertuples()]


def place(session: Session, spec: DatasetSpec, tiles: list[Tile]) -> list[Candidate]:
    """Candidates with biome and ecoregion, in seeded order."""
    found = habitats(session, [tile.grid.center for tile in tiles])
    seed = spec.sampling.seed
    splits = splits_of(seed, [tile.grid for tile in tiles])
    candidates = [Candidate(tile, here, split, sampling.draw_order(seed, tile.id))
                  for tile, here, split in zip(tiles, found, splits, strict=True)]
    return sorted(candidates, key=lambda c: (c.draw, c.tile.id))


def guarded(candidates: list[Candidate], spec: DatasetSpec) -> list[Candidate]:
    """Without those that lie nearer to a tile of another split than the guard, however many are wanted."""
    keep = outside_guard([c.tile.grid for c in candidates], [c.split for c in candidates], spec.sampling.guard_metres)
    return [candidate for candidate, stays in zip(candidates, keep, strict=True) if stays]


def lattice(shapes: Sequence[shapely.Geometry], spec: DatasetSpec) -> list[Tile]:
    """Tiles of the world's lattice whose centre lies in one of the shapes."""
    tiles: dict[str, Tile] = {}
    for shape in shapes:
        try:
            found = lattice_tiles(shape, spec.tile.size, spec.tile.scale)
        except ValueError as error:
            raise InputError(f"region: {error}") from None
        tiles |= {tile.id: tile for tile in found}
    if not tiles:
        raise InputError(f"region: {too_small(shapes, spec)}")
    return list(tiles.values())


def too_small(shapes: Iterable[shapely.Geometry], spec: DatasetSpec) -> str:
    """What a region without a tile lacks, as a clause: how large it is, and how large it must be to be sure of one."""
    step = spec.tile.size * spec.tile.scale
    _, widest = max(((shape.area, shape) for shape in shapes), key=lambda item: item[0])
    west, south, east, north = widest.bounds
    metres = 111_320.0 * math.cos(math.radians((south + north) / 2))
    x, y = (west + east) / 2, (south + north) / 2
    side, box = step, widest
    # A tile belongs to the region that holds its centre; where zones meet that may take more than one step.
    for side in (1.2 * step, 2 * step, 3 * step, 5 * step):
        wide, high = side / metres / 2, side / 110_570.0 / 2
        box = shapely.box(x - wide, max(y - high, UTM_SOUTH), x + wide, min(y + high, UTM_NORTH))
        if lattice_tiles(box, spec.tile.size, spec.tile.scale):
            break
    corners = ",".join(f"{v:.4f}" for v in box.bounds)
    return (f"is too small, it holds the centre of no {spec.tile.size}-pixel tile: it is "
            f"{(east - west) * metres / 1000:.2g} x {(north - south) * 110.57:.2g} km, a tile is "
            f"{step / 1000:g} km; {side / 1000:.3g} km each way hold one, "
            f"such as {corners}; take a larger region, or a smaller tile.size")


def is_sparse(shapes: Iterable[shapely.Geometry], spec: DatasetSpec) -> bool:
    """Whether a region is so large that its tiles are thinned before they are looked up: quotas are needed for that."""
    if spec.sampling.per_biome is None:
        return False
    kilometres = sum(shapely.transform(shape, lambda xy: np.column_stack(
        [xy[:, 0] * 111.32, np.sin(np.radians(xy[:, 1])) * 6371.0])).area for shape in shapes)  # equal-area cylinder
    out: bool = kilometres / (spec.tile.size * spec.tile.scale / 1000) ** 2 > SPARSE_ABOVE
    return out


def sparse(session: Session, spec: DatasetSpec, shapes: Sequence[shapely.Geometry],
           ) -> tuple[list[Candidate], dict[str, float]]:
    """The first candidates of each biome in the seeded order of a large region, and the size of each ecoregion in it.

    Every lattice cell has its number in the order; of each biome the :data:`SPARSE_PER_BIOME` cells with the smallest
    are kept. Nothing of it depends on what is wanted of them.

    Returns
    -------
    (candidates in seeded order, lattice cells by name of the ecoregion)
    """
    assert spec.sampling.per_biome is not None
    plain = all(s.bounds[0] >= -180 and s.bounds[2] <= 180 for s in shapes)
    parts = [shapely.union_all(list(shapes))] if plain else list(shapes)
    bounds = shapely.union_all([shapely.box(*s.bounds) for s in shapes]).bounds
    regions_map = ecoregion_map(session, bounds)
    step = spec.tile.size * spec.tile.scale
    room = max(SPARSE_PER_BIOME, 4 * spec.sampling.per_biome)
    biome_of = np.zeros(1 + max(regions_map.names, default=0), "int16")
    for number, (biome, _) in regions_map.names.items():
        biome_of[number] = biome
    sizes = np.zeros(len(biome_of))
    kept: dict[int, np.ndarray] = {}
    for part in parts:
        try:
            for found in lattice_cells(part, step):
                eco = regions_map.at(found.lon, found.lat)
                draws = sampling.draw_orders(spec.sampling.seed, found.epsg, np.round(found.x / step - 0.5),
                                             np.round(found.y / step - 0.5))
                sizes += np.bincount(eco, minlength=len(sizes))
                table = np.column_stack([draws, np.full(len(draws), found.epsg), found.x, found.y, eco, found.close])
                for biome in np.unique(biome_of[eco[eco > 0]]):
                    both = np.vstack([kept.get(int(biome), table[:0]), table[biome_of[eco] == biome]])
                    kept[int(biome)] = both[np.argsort(both[:, 0], kind="stable")[:room]]
        except ValueError as error:
            raise InputError(f"region: {error}") from None
    candidates: dict[str, Candidate] = {}
    for biome, table in kept.items():
        grids = [PixelGrid(int(epsg), x - step / 2, y + step / 2, spec.tile.scale, spec.tile.size, spec.tile.size)
                 for epsg, x, y in table[:, 1:4].tolist()]
        habitat_of = {eco: Habitat(biome, regions_map.names[int(eco)][1], True)
                      for eco in np.unique(table[:, 4]).tolist()}
        for grid, split, (draw, eco, close) in zip(grids, splits_of(spec.sampling.seed, grids),
                                                   table[:, [0, 4, 5]].tolist(), strict=True):
            if not (close and gives_way(grid)):
                tile = tile_on_grid(grid)
                candidates[tile.id] = Candidate(tile, habitat_of[eco], split, draw, sparse=True)
    weights: dict[str, float] = {}
    for number, (_, name) in regions_map.names.items():
        weights[name] = weights.get(name, 0.0) + float(sizes[number])
    return sorted(candidates.values(), key=lambda c: (c.draw, c.tile.id)), weights


def cells(shapes: Iterable[shapely.Geometry]) -> dict[Key, shapely.Geometry]:
    """The cells that a region touches."""
    areas: dict[Key, shapely.Geometry] = {}
    for shape in shapes:
        west, south, east, north = shape.bounds
        for i in range(math.floor(west / CELL_DEGREES), math.ceil(east / CELL_DEGREES)):
            for j in range(math.floor(south / CELL_DEGREES), math.ceil(north / CELL_DEGREES)):
                if shape.intersects(_cell(i, j)):
                    own = math.floor(longitude.wrapped(CELL_DEGREES * (i + 0.5)) / CELL_DEGREES)
                    areas[own, j, None, ""] = _cell(own, j)
    return areas


def _cell(i: int, j: int) -> shapely.Geometry:
    return shapely.box(*(CELL_DEGREES * v for v in (i, j, i + 1, j + 1)))


def label_grid(scenes: Iterable[LabelScene], shapes: Sequence[shapely.Geometry], spec: DatasetSpec) -> list[Tile]:
    """Tiles cut from the label images' own grids, whose centre lies in the region; none overlaps another.

    Where granules overlap, the tiles of the one whose grid comes first (zone, then corner) are kept: the same ones
    whatever the order of the scenes.
    """
    grids = {(s.crs, s.transform, s.shape): s for s in sorted(scenes, key=lambda s: s.index, reverse=True)}
    tiles: dict[str, Tile] = {}
    for scene in sorted(grids.values(), key=lambda s: (str(s.crs), s.transform or (), s.shape or ())):
        for tile in _cut(scene, spec):
            if tile.id not in tiles and contains(shapes, tile.grid.center):
                tiles[tile.id] = tile
    kept = sampling.without_overlaps([tile.grid for tile in tiles.values()])
    return sorted((tile for tile, keep in zip(tiles.values(), kept, strict=True) if keep), key=lambda tile: tile.id)


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


def contains(shapes: Iterable[shapely.Geometry], point: tuple[float, float]) -> bool:
    """Whether a point (lon, lat) lies in one of the shapes, whose longitudes may run past 180."""
    return any(longitude.contains(shape, *point) for shape in shapes)


def annotated(session: Session, spec: DatasetSpec, shapes: Sequence[shapely.Geometry]) -> list[Candidate]:
    """The annotated tiles of the spec's windows whose centre lies in the region, in seeded order.

    Of several annotations of one tile, ``labels.per_window: best`` keeps one: the validation set's, then an expert's,
    then a non-expert's; then the one with most labelled pixels; then the first by name. The publication's
    validation tiles are the test split, as published; the other tiles then go to train and val by their block.

    Raises
    ------
    InputError
        Where there is none.
    """
    for shape in shapes:
        shapely.prepare(shape)
    found = [(a, tile) for a in _annotations(session, spec, shapes)
             for tile in a.tiles(spec.tile.size, spec.tile.scale) if contains(shapes, tile.grid.center)]
    if not found:
        raise InputError(f"labels: no drawn tile of the windows has a whole {spec.tile.size}-pixel tile of "
                         f"{spec.tile.scale:g} m whose centre lies in the region")
    best: dict[str, Annotation] = {}
    for a, tile in sorted(found, key=lambda item: _preference(item[0])):
        best.setdefault(tile.id, a)
    where = habitats(session, [tile.grid.center for _, tile in found])
    held_out = any(a.set == "validation" for a, _ in found)
    candidates = []
    for (a, tile), here in zip(found, where, strict=True):
        if here is None and a.biome in BIOMES:
            here = Habitat(a.biome, a.ecoregion, False)
        candidates.append(Candidate(
            tile, here, _split(spec, tile, a, held_out), sampling.draw_order(spec.sampling.seed, tile.id), a,
            spec.labels.per_window == "best" and best[tile.id] is not a))
    return sorted(candidates, key=lambda c: (c.draw, c.id))


def boxes_of(shapes: Sequence[shapely.Geometry]) -> shapely.Geometry | None:
    """The shapes' boxes, to filter images by; None where they are many or as wide as half the globe."""
    boxes = [shape.bounds for shape in shapes]
    if len(boxes) > FILTER_PARTS or any(e - w >= 180 for w, _, e, _ in boxes):
        return None
    return shapely.MultiPolygon([part for box in boxes for part in longitude.polygons_of(
        longitude.cut(shapely.box(*box)))])


def _annotations(session: Session, spec: DatasetSpec, shapes: Sequence[shapely.Geometry]) -> list[Annotation]:
    if spec.labels.path is not None:
        found = read_folder(spec.labels.path)
    else:
        assert spec.labels.asset is not None
        area = boxes_of(shapes)
        unique: dict[str, Annotation] = {}
        for window in spec.windows:
            there = annotations_of(session, spec.labels.asset, window.start, window.end, area)
            unique |= {a.scene.index: a for a in there}
        found = list(unique.values())
    return [a for a in found if window_of(spec, a.date) is not None]


def window_of(spec: DatasetSpec, date: dt.date) -> Window | None:
    """The first window that holds a day."""
    return next((w for w in spec.windows if w.start <= date < w.end), None)


def _preference(a: Annotation) -> tuple[int, float, str]:
    return SETS.index(a.set), -(0.0 if math.isnan(a.labelled) else a.labelled), a.scene.index


def _split(spec: DatasetSpec, tile: Tile, a: Annotation, held_out: bool) -> str:
    if a.set == "validation":
        return "test"
    block = split_of(spec.sampling.seed, tile.grid)
    return "train" if held_out and block == "test" else block


def areas_of(candidates: Iterable[Candidate]) -> dict[Key, shapely.Geometry]:
    """Per key that candidates share, a box around all of them."""
    return _boxes((c.key, c.tile.grid) for c in candidates if not c.alone)


def lookups(candidates: Sequence[Candidate]) -> tuple[dict[Key, shapely.Geometry], dict[str, Key]]:
    """What to look up for single tiles: those of one cell together, the others each for itself.

    Returns
    -------
    (areas by key, key of each candidate by its id)
    """
    cell = {c.id: (*c.key[:3], "") if c.sparse else c.key for c in candidates}
    often = Counter(cell.values())
    keys = {c.id: cell[c.id] if often[cell[c.id]] > 1 else c.key for c in candidates}
    return _boxes((keys[c.id], c.tile.grid) for c in candidates), keys


def _boxes(tiles: Iterable[tuple[Key, PixelGrid]]) -> dict[Key, shapely.Geometry]:
    corners: dict[Key, tuple[float, float, float, float]] = {}
    todo = list(tiles)
    for start in range(0, len(todo), TILES_AT_ONCE):
        part = todo[start:start + TILES_AT_ONCE]
        found = rings([grid for _, grid in part])
        for (key, _), low, high in zip(part, found.min(axis=1).tolist(), found.max(axis=1).tolist(), strict=True):
            # The turn of the cell: a tile's ring may begin on the other side of the antimeridian.
            turn = 360.0 * round((CELL_DEGREES * (key[0] + 0.5) - (low[0] + high[0]) / 2) / 360.0)
            w, s, e, n = corners.get(key, (math.inf, math.inf, -math.inf, -math.inf))
            corners[key] = min(w, low[0] + turn), min(s, low[1]), max(e, high[0] + turn), max(n, high[1])
    return {key: shapely.box(*box) for key, box in corners.items()}
