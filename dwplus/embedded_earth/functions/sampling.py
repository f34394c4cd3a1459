"""Pixels to tables and tables to pixels: samples, regions of collections, random points, linked collections.

Draws are seeded and reproducible, but not the service's own: which pixels a seed picks differs from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rasterio.features
import rasterio.transform
import shapely

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.footprints import footprint
from dwplus.embedded_earth.functions.images import select_bands
from dwplus.embedded_earth.functions.projections import target_projection
from dwplus.embedded_earth.functions.regions import footprint_mask, region_grid
from dwplus.embedded_earth.functions.registry import call, convert, function
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels, Projection, centres_in
from dwplus.embedded_earth.pixel_types import DOUBLE, cast
from dwplus.embedded_earth.shapes import Geometry, polygon_of
from dwplus.embedded_earth.values import Band, Collection, Feature, Hints, Image, Reducer, index_of

#: Values that ``getRegion`` returns at most.
MAX_REGION_VALUES = 1 << 20
#: Points that ``randomPoints`` makes at most.
MAX_POINTS = 1_000_000
#: Bytes of one strip of stacked features.
_STRIP_BYTES = 1 << 26
#: Features that may lie on one grid.
_MOST = 20_000


@dataclass(frozen=True)
class Table:
    """Pixels of a region: values and validity per band, each (n,), and the centres in degrees."""

    values: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    lon: np.ndarray
    lat: np.ndarray

    def rows(self, chosen: np.ndarray, geometries: bool) -> Iterator[Feature]:
        """A feature per chosen pixel; masked values are left null."""
        for index, at in enumerate(chosen.tolist()):
            properties: dict[str, Any] = {name: _plain(values[at]) if self.valid[name][at] else None
                                          for name, values in self.values.items()}
            point = Geometry(shapely.Point(self.lon[at], self.lat[at])) if geometries else None
            yield Feature(point, {**properties, "system:index": str(index)}, str(index))


def _plain(value: Any) -> Any:
    """A number as Python's, an array as it is."""
    return value if isinstance(value, np.ndarray) else value.item()


def table_of(context: Context, image: Image, region: Geometry, target: Projection) -> Table:
    """The pixels of a projection whose centre lies in a region, row by row from the top."""
    grid, inside = region_grid(region, target)
    if grid is None or not inside.any():
        empty = {band.id: np.zeros(0, band.type.dtype) for band in image.bands}
        return Table(empty, {name: np.zeros(0, bool) for name in empty}, np.zeros(0), np.zeros(0))
    values, valid = {}, {}
    for band in image.bands:
        context.check_time()
        data, seen = band.read(grid)
        values[band.id] = np.asarray(data)[inside]
        valid[band.id] = np.ones(len(values[band.id]), bool) if seen is None else seen[inside] > 0
    lon, lat = centres_in(grid, WGS84.crs)
    return Table(values, valid, lon[inside], lat[inside])


def _target(image: Image, projection: Projection | None, scale: float | None, where: str) -> Projection:
    if not image.bands:
        raise ComputeError(f"{where}: the image has no bands.")
    base = projection or image.bands[0].projection
    return target_projection(projection, None, scale, base, where) if scale is not None else base


@function("Image.sample")
def sample(context: Context, image: Image, region: Geometry | None, scale: float | None, projection: Projection | None,
           factor: float | None, count: int | None, seed: int, drop_nulls: bool, tile_scale: float, geometries: bool
           ) -> Collection:
    """The pixels of a region, or a random part of them."""
    target = _target(image, projection, scale, "Image.sample")
    if factor is not None and count is not None:
        raise ComputeError("Image.sample: Parameters 'factor' and 'numPixels' must not both be given.")
    if factor is not None and not 0 < factor <= 1:
        raise ComputeError(f"Image.sample: 'factor' must be within (0, 1]; got {factor:g}.")
    if count is not None and count < 1:
        raise ComputeError("Image.sample: 'numPixels' must be positive.")

    def load(_: Hints) -> Iterable[Feature]:
        table = table_of(context, image, region or footprint(image), target)
        draw = np.random.default_rng([seed & 0xFFFFFFFF, 1])
        chosen = np.arange(len(table.lon))
        if factor is not None:
            chosen = chosen[draw.random(len(chosen)) < factor]
        elif count is not None and count < len(chosen):
            chosen = np.sort(draw.choice(chosen, count, replace=False))
        if drop_nulls and len(chosen):
            chosen = chosen[np.logical_and.reduce([seen[chosen] for seen in table.valid.values()])]
        return table.rows(chosen, geometries)

    return Collection("FeatureCollection", load)


@function("Image.stratifiedSample")
def stratified_sample(context: Context, image: Image, count: int, class_band: str | None, region: Geometry | None,
                      scale: float | None, projection: Projection | None, seed: int, class_values: list[int] | None,
                      class_points: list[int] | None, drop_nulls: bool, tile_scale: float, geometries: bool
                      ) -> Collection:
    """As many random pixels of every class, or all of a class that has fewer."""
    where = "Image.stratifiedSample"
    target = _target(image, projection, scale, where)
    band = image.band(class_band) if class_band else image.bands[0]
    if band.type.precision != "int":
        raise ComputeError(f"{where}: The class band '{band.id}' must contain integers.")
    if len(class_values or ()) != len(class_points or ()):
        raise ComputeError(f"{where}: 'classValues' and 'classPoints' must have the same size.")
    own = dict(zip(class_values or (), class_points or (), strict=True))
    if count < 0 or any(points < 0 for points in own.values()):
        raise ComputeError(f"{where}: The number of points must not be negative.")

    def load(_: Hints) -> Iterable[Feature]:
        table = table_of(context, image, region or footprint(image), target)
        usable = table.valid[band.id]
        if drop_nulls:
            usable = np.logical_and.reduce(list(table.valid.values()))
        classes = table.values[band.id]
        chosen = []
        for value in np.unique(classes[usable]).tolist():
            draw = np.random.default_rng([seed & 0xFFFFFFFF, 2, value & 0xFFFFFFFF])
            of_class = np.nonzero(usable & (classes == value))[0]
            wanted = own.get(value, count)
            chosen.append(draw.choice(of_class, wanted, replace=False) if wanted < len(of_class) else of_class)
        return table.rows(np.concatenate(chosen) if chosen else np.zeros(0, int), geometries)

    return Collection("FeatureCollection", load)


@function("ImageCollection.getRegion")
def get_region(context: Context, collection: Collection, region: Geometry, scale: float | None,
               crs: Projection, transform: list[float] | None) -> list[Any]:
    """Rows of id, longitude, latitude, time and bands for every pixel and image: pixel by pixel."""
    where = "ImageCollection.getRegion"
    target = target_projection(crs, transform, scale, crs, where)
    grid, inside = region_grid(region, target)
    images = [image for image in collection if isinstance(image, Image)]
    if not images:
        raise ComputeError(f"{where}: the collection is empty.")
    names = [band.id for band in images[0].bands]
    points = int(inside.sum())
    if points * (len(names) + 4) * len(images) > MAX_REGION_VALUES:
        raise ComputeError(f"{where}: Too many values: {points} points x {len(names)} bands x {len(images)} images > "
                           f"{MAX_REGION_VALUES}.")
    header: list[Any] = ["id", "longitude", "latitude", "time", *names]
    if grid is None or not points:
        return [header]
    lon, lat = (axis[inside].tolist() for axis in centres_in(grid, WGS84.crs))
    per_image: list[list[list[Any] | None]] = []
    for position, image in enumerate(images):
        context.check_time()
        covered = footprint_mask(image.footprint, grid)
        columns: list[list[Any]] = []
        by_name = {band.id: band for band in image.bands}
        for name in names:
            if name not in by_name:
                columns.append([None] * points)
                continue
            values, valid = by_name[name].read(grid)
            column: list[Any] = np.asarray(values)[inside].tolist()
            if valid is not None:
                column = [value if seen else None for value, seen in zip(column, (valid[inside] > 0).tolist(),
                                                                         strict=True)]
            columns.append(column)
        lies_in = [True] * points if covered is None else covered[inside].tolist()
        head = index_of(image, position)
        time = image.properties.get("system:time_start")
        per_image.append([[head, x, y, time, *values] if seen else None for x, y, seen, *values in
                          zip(lon, lat, lies_in, *columns, strict=True)])
    return [header, *(row for rows in zip(*per_image, strict=True) for row in rows if row is not None)]


# ------------------------------------------------------------------------------------------------------ random points


@function("FeatureCollection.randomPoints")
def random_points(context: Context, region: Geometry, count: int, seed: int, margin: Any) -> Collection:
    """Points uniform on the sphere in an area, along lines, or among points."""
    if not 0 <= count <= MAX_POINTS:
        raise ComputeError(f"FeatureCollection.randomPoints: 'points' must be 0 to {MAX_POINTS}; got {count}.")
    shape = region.drawn("EPSG:4326")
    if shape.is_empty:
        raise ComputeError("FeatureCollection.randomPoints: the region is empty.")

    def load(_: Hints) -> Iterator[Feature]:
        draw = np.random.default_rng([seed & 0xFFFFFFFF, 3])
        for index, (x, y) in enumerate(_drawn(context, shape, count, draw).tolist()):
            yield Feature(Geometry(shapely.Point(x, y)), {"system:index": str(index)}, str(index))

    return Collection("FeatureCollection", load)


def _drawn(context: Context, shape: shapely.Geometry, count: int, draw: np.random.Generator) -> np.ndarray:
    """(n, 2) positions in degrees within the parts of the highest dimension."""
    parts = [part for part in shapely.get_parts(shape) if not part.is_empty]
    top = max(shapely.get_dimensions(part) for part in parts)
    parts = [part for part in parts if shapely.get_dimensions(part) == top]
    if top == 0:
        xy = shapely.get_coordinates(parts)
        return xy[draw.integers(len(xy), size=count)]
    if top == 1:
        lengths = np.array([part.length for part in parts])
        which = draw.choice(len(parts), size=count, p=lengths / lengths.sum())
        at = draw.random(count)
        points = shapely.line_interpolate_point(np.array(parts)[which], at, normalized=True)
        return shapely.get_coordinates(points)
    area = shapely.union_all([part if part.is_valid else shapely.make_valid(part) for part in parts])
    west, south, east, north = area.bounds
    low, high = math.sin(math.radians(south)), math.sin(math.radians(north))
    shapely.prepare(area)
    found: list[np.ndarray] = []
    missing = count
    while missing > 0:
        context.check_time()
        n = min(max(4 * missing, 64), 1 << 18)
        xy = np.stack([draw.uniform(west, east, n), np.degrees(np.arcsin(draw.uniform(low, high, n)))], 1)
        hits = xy[shapely.contains_xy(area, xy)][:missing]
        found.append(hits)
        missing -= len(hits)
    return np.concatenate(found) if found else np.zeros((0, 2))


# --------------------------------------------------------------------------------------------------- tables to pixels


@function("Collection.reduceToImage")
def reduce_to_image(context: Context, collection: Collection, names: list[str], reducer: Reducer) -> Image:
    """A reducer over a property of the features that lie on each pixel: areas where its centre is inside."""
    where = "Collection.reduceToImage"
    if reducer.inputs != len(names):
        raise ComputeError(f"{where}: Need {reducer.inputs} properties for the reducer, got {len(names)}.")
    if reducer.inputs != 1 or reducer.pixels is None:
        raise ComputeError(f"{where}: the reducer '{reducer.name}' is not supported on images by the embedded Earth.")
    burnt: list[tuple[Geometry, float]] = []
    for feature in collection:
        value = feature.properties.get(names[0]) if isinstance(feature, Feature) else None
        if value is None or feature.geometry is None:
            continue
        if not isinstance(value, int | float):
            raise ComputeError(f"{where}: the property '{names[0]}' of a feature is no number.")
        burnt.append((feature.geometry, float(value)))
    tree = shapely.STRtree([polygon_of(shape.drawn("EPSG:4326")) for shape, _ in burnt])
    types = reducer.types(DOUBLE) if reducer.types is not None else [DOUBLE] * len(reducer.outputs)
    last: list[tuple[Grid, list[tuple[np.ndarray, np.ndarray]]]] = []

    def run(grid: Grid) -> list[tuple[np.ndarray, np.ndarray]]:
        if last and last[0][0] == grid:
            return last[0][1]
        ring = shapely.Polygon(grid.corners())
        box = Geometry(shapely.segmentize(ring, ring.length / 64), grid.crs).to(WGS84.crs).shape
        pixel = max(box.bounds[2] - box.bounds[0], box.bounds[3] - box.bounds[1]) / max(1, min(grid.shape))
        near = sorted(tree.query(shapely.box(*box.bounds).buffer(pixel)).tolist())
        if len(near) > _MOST:
            raise ComputeError("User memory limit exceeded.")
        assert reducer.pixels is not None
        # An empty stack has no shape: one feature that lies nowhere gives it one.
        rows = max(1, _STRIP_BYTES // (16 * grid.width * max(1, len(near))))
        strips = []
        for start in range(0, grid.height, rows):
            context.check_time()
            part = grid.window(start, 0, min(rows, grid.height - start), grid.width)
            data = np.zeros((max(1, len(near)), *part.shape))
            seen = np.zeros(data.shape, bool)
            for layer, index in enumerate(near):
                shape, data[layer] = burnt[index]
                seen[layer] = _covered(shape, part)
            with np.errstate(all="ignore"):
                strips.append(reducer.pixels(data, seen))
        layers = [(np.concatenate([np.asarray(strip[k][0]) for strip in strips]),
                   np.concatenate([np.asarray(strip[k][1]) > 0 for strip in strips])) for k in range(len(types))]
        last[:] = [(grid, layers)]
        return layers

    def of(k: int) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = run(grid)[k]
            return cast(np.where(valid, values, 0), types[k]), valid

        return Band(reducer.outputs[k], types[k], WGS84, None, read)

    return Image(tuple(of(k) for k in range(len(reducer.outputs))))


def _covered(shape: Geometry, grid: Grid) -> np.ndarray:
    local = polygon_of(shape.drawn(grid.crs))
    if local.is_empty:
        return np.zeros(grid.shape, bool)
    area = shapely.get_dimensions(local) == 2
    return rasterio.features.rasterize([(local, 1)], out_shape=grid.shape, dtype="uint8", all_touched=not area,
                                       transform=rasterio.transform.Affine(*grid.transform)).astype(bool)


# ------------------------------------------------------------------------------------------------- linked collections


def _names(value: Any, what: str) -> list[str]:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in listed):
        raise ComputeError(f"Image.linkCollection: Parameter '{what}' must be a name or a list of names.")
    return listed


@function("Image.linkCollection")
def link_collection(context: Context, image: Image, collection: Collection, bands: Any, properties: Any, key: str
                    ) -> Image:
    """Bands and properties of the image of a collection that shares a property with this one."""
    wanted, copied = _names(bands, "linkedBands"), _names(properties, "linkedProperties")
    value = image.properties.get(key)
    match = first = None
    for other in collection:
        context.check_time()
        first = first or other
        if value is not None and other.properties.get(key) == value:
            match = other
            break
    if match is not None:
        new = select_bands(match, wanted) if wanted else []
    elif not wanted:
        new = []
    elif first is None:
        raise ComputeError("Image.linkCollection: the collection is empty: it has no bands to link.")
    else:
        new = [_nowhere(band) for band in select_bands(first, wanted)]
    by_name = {band.id: band for band in new}
    linked = image.with_bands([*(by_name.pop(band.id, band) for band in image.bands), *by_name.values()])
    found = match.properties if match is not None else {}
    return linked.with_properties({**image.properties, **{name: found.get(name) for name in copied}})


def _nowhere(band: Band) -> Band:
    """A band of the same type that is masked everywhere."""
    def read(grid: Grid) -> Pixels:
        return np.zeros(grid.shape, band.type.dtype), np.zeros(grid.shape, bool)

    return replace(band, projection=WGS84, extent=None, read=read, constant=None)


@function("ImageCollection.combine")
def combine(context: Context, primary: Collection, secondary: Collection, overwrite: bool) -> Collection:
    """The images of both with the same index, their bands in one."""
    def load(_: Hints) -> Iterable[Image]:
        others = {index_of(image, position): image for position, image in enumerate(secondary)}
        for position, image in enumerate(primary):
            index = index_of(image, position)
            if index in others:
                both = call(context, "Image.addBands", {"dstImg": image, "srcImg": others[index],
                                                        "overwrite": overwrite})
                yield both.with_properties({**both.properties, "system:index": index})

    return Collection("ImageCollection", load)


@function("ImageCollection.cast")
def cast_collection(context: Context, collection: Collection, types: dict[str, Any], order: list[str]) -> Collection:
    """Every image with the same bands of the same types."""
    wanted = {name: convert(context, value, "PixelType", "ImageCollection.cast") for name, value in types.items()}

    def load(_: Hints) -> Iterable[Image]:
        for image in collection:
            yield call(context, "Image.cast", {"image": image, "bandTypes": wanted, "bandOrder": order})

    return replace(collection, load=load)


@function("Collection.fromColumns")
def from_columns(context: Context, columns: list[Any], names: list[str], types: Sequence[Any] | None) -> Collection:
    if len(columns) != len(names):
        raise ComputeError(f"Collection.fromColumns: 'columns' and 'propertyNames' must have the same length; got "
                           f"{len(columns)} and {len(names)}.")
    if any(not isinstance(column, list) for column in columns) or len({len(column) for column in columns}) > 1:
        raise ComputeError("Collection.fromColumns: every column must be a list of as many values.")
    features = [Feature(None, dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return Collection("FeatureCollection", lambda _: features)
