"""Pixels as shapes and as arrays: segments to features, rectangles to arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import rasterio.features
import rasterio.transform
import shapely
import shapely.geometry

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.footprints import footprint
from dwplus.embedded_earth.functions.projections import target_projection
from dwplus.embedded_earth.functions.reducers import reduce_rows
from dwplus.embedded_earth.functions.regions import PlaceReader, region_grid
from dwplus.embedded_earth.functions.registry import call, function
from dwplus.embedded_earth.grid import SNAP, WGS84, Grid, Pixels, Projection, centres_in, lattice_window
from dwplus.embedded_earth.pixel_types import cast
from dwplus.embedded_earth.shapes import Geometry, lattice_bounds
from dwplus.embedded_earth.values import Band, Collection, Feature, Hints, Image, Reducer

#: Pixels that ``sampleRectangle`` returns at most, as in the service.
MAX_RECTANGLE = 262_144


@function("Image.reduceToVectors")
def reduce_to_vectors(context: Context, image: Image, reducer: Reducer | None, region: Geometry | None,
                      scale: float | None, kind: str, eight: bool, label: str | None, crs: Projection | None,
                      transform: list[float] | None, best_effort: bool, max_pixels: int, tile_scale: float,
                      native: bool) -> Collection:
    """A feature per connected group of pixels with the same value in the first band."""
    where = "Image.reduceToVectors"
    if not image.bands or image.bands[0].type.precision != "int":
        raise ComputeError(f"{where}: The first band must contain integers.")
    if kind not in ("polygon", "bb", "centroid"):
        raise ComputeError(f"{where}: Invalid geometry type '{kind}'. Must be 'polygon', 'bb' or 'centroid'.")
    used: Reducer = reducer or call(context, "Reducer.countEvery", {})
    if used.inputs not in (0, len(image.bands) - 1):
        raise ComputeError(f"{where}: Need {used.inputs + 1} bands for the reducer, image has {len(image.bands)}.")
    target = image.bands[0].projection
    if crs is not None or transform is not None or scale is not None:
        target = target_projection(crs, transform, scale, target, where)

    def load(_: Hints) -> Iterator[Feature]:
        working = target
        shape = region or footprint(image)
        grid, inside = region_grid(shape, working)
        while best_effort and inside.sum() > max_pixels:
            working = working.coarser(1)
            grid, inside = region_grid(shape, working)
        if inside.sum() > max_pixels:
            raise ComputeError(f"{where}: Too many pixels in the region. Found {int(inside.sum())}, but maxPixels "
                               f"allows only {max_pixels}.")
        if grid is None:
            return
        layers = []
        for band in image.bands:
            context.check_time()
            values, valid = band.read(grid)
            layers.append(np.asarray(values))
            if valid is not None and band is image.bands[0]:
                inside = inside & (valid > 0)
        labels = layers[0].astype("i8")
        if inside.any() and np.abs(labels[inside]).max() >= 2**31:
            raise ComputeError(f"{where}: Labels beyond 32 bits are not supported by the embedded Earth.")
        labels = np.where(inside, labels, 0).astype("i4")
        affine = rasterio.transform.Affine(*grid.transform)
        segments = [(shapely.geometry.shape(polygon), int(value)) for polygon, value in rasterio.features.shapes(
            labels, mask=inside, connectivity=8 if eight else 4, transform=affine)]
        if not segments:
            return
        numbers = rasterio.features.rasterize([(polygon, i) for i, (polygon, _) in enumerate(segments)],
                                              out_shape=grid.shape, fill=-1, transform=affine, dtype="int32")
        flat = np.where(inside, numbers, -1).ravel()
        order = np.argsort(flat, kind="stable")
        bounds = np.searchsorted(flat[order], np.arange(len(segments) + 1))
        columns = [layer.ravel() for layer in layers[1:]] if used.inputs else []
        for i, (polygon, value) in enumerate(segments):
            context.check_time()
            members = order[bounds[i]:bounds[i + 1]]
            rows: list[tuple[Any, ...]] = list(zip(*(column[members].tolist() for column in columns), strict=True))
            found = reduce_rows(used, rows if used.inputs else [()] * len(members), None)
            properties = {**({label: value} if label else {}), **found}
            placed = polygon.envelope if kind == "bb" else polygon.centroid if kind == "centroid" else polygon
            geometry = Geometry(placed, grid.crs, False)
            yield Feature(geometry if native else geometry.to(WGS84.crs), {**properties, "system:index": str(i)},
                          str(i))

    return Collection("FeatureCollection", load)


@function("Image.sampleRectangle")
def sample_rectangle(context: Context, image: Image, region: Geometry | None, names: list[str] | None,
                     default: float | None, default_array: Any) -> Feature:
    """A feature with an array per band: the pixels of the region's bounding box in the band's projection."""
    where = "Image.sampleRectangle"
    shape = region or footprint(image)
    kept = {key: value for key, value in image.properties.items()
            if (key in names if names is not None else not key.startswith("system:"))}
    for band in image.bands:
        context.check_time()
        bounds = shape.drawn(band.projection.crs).bounds
        if not all(map(math.isfinite, bounds)):
            raise ComputeError(f"{where}: The region has no bounding box in the projection of band '{band.id}'.")
        left, top, right, bottom = lattice_bounds(shapely.box(*bounds), band.projection)
        col, row = math.floor(left + SNAP), math.floor(top + SNAP)
        width, height = max(1, math.ceil(right - SNAP) - col), max(1, math.ceil(bottom - SNAP) - row)
        if width * height > MAX_RECTANGLE:
            raise ComputeError(f"{where}: Too many pixels in sample; must be <= {MAX_RECTANGLE}. Got {width * height}.")
        values, valid = band.read(lattice_window(band.projection, row, col, height, width))
        array = np.asarray(values)
        if valid is not None and not (valid >= 1).all():
            if default is None:
                raise ComputeError(f"{where}: Fully or partially masked pixels in band '{band.id}': give a "
                                   "'defaultValue'.")
            array = np.where(valid >= 1, array, default)
        kept[band.id] = array.astype("f8" if array.dtype.kind == "f" else "i8")
    return Feature(shape, kept, image.properties.get("system:index"))


@function("Image.paint")
def paint(context: Context, image: Image, features: Collection, color: Any, width: Any) -> Image:
    if width is not None:
        raise ComputeError("Image.paint: 'width' is not supported by the embedded Earth.")
    listed = [feature for feature in features if isinstance(feature, Feature) and feature.geometry is not None]

    def value_of(feature: Feature) -> float:
        value = feature.properties.get(color) if isinstance(color, str) else color
        if not isinstance(value, int | float):
            raise ComputeError(f"Image.paint: the property '{color}' of a feature is no number.")
        return float(value)

    burnt = [(feature.geometry, value_of(feature)) for feature in listed if feature.geometry is not None]

    def painted(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        out, seen = np.zeros(grid.shape), np.zeros(grid.shape, bool)
        box = Geometry(shapely.Polygon(grid.corners()), grid.crs).to("EPSG:4326").shape
        margin = box.buffer(0.1) if box.is_valid else box
        shapes = []
        for shape, value in burnt:
            if shapely.box(*shape.drawn(WGS84.crs).bounds).intersects(margin):
                shapes.append((shape.drawn(grid.crs), value))
        if shapes:
            transform = rasterio.transform.Affine(*grid.transform)
            rasterio.features.rasterize(shapes, out=out, transform=transform)
            mask = np.zeros(grid.shape, "u1")
            rasterio.features.rasterize([(shape, 1) for shape, _ in shapes], out=mask, transform=transform)
            seen = mask.astype(bool)
        return out, seen

    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            color_values, seen = painted(grid)
            out = np.where(seen, cast(color_values, band.type), values)
            return out, masks.either(valid, seen)

        return band.derived(read)

    result = image.with_bands(map(of, image.bands))
    return replace(result, bands=tuple(replace(band, read=_with_points(band, burnt, original))
                                       for band, original in zip(result.bands, image.bands, strict=True)))


def _with_points(band: Band, burnt: list[tuple[Geometry, float]], original: Band) -> PlaceReader:
    """Reader that answers single pixels by point in polygon: rasterising a table for one pixel costs too much."""
    tree: list[tuple[shapely.STRtree, np.ndarray]] = []

    def at(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not tree:
            shapes = [shape.drawn(WGS84.crs) for shape, _ in burnt]
            tree.append((shapely.STRtree(shapes), np.array([v for _, v in burnt])))
        index, colors = tree[0]
        which, hits = index.query(shapely.points(x, y), predicate="within")
        last = np.full(len(x), -1)  # the last feature painted lies on top
        np.maximum.at(last, which, hits)
        seen = last >= 0
        out = np.zeros(len(x), band.type.dtype)
        out[seen] = cast(colors[last[seen]], band.type)
        return out, seen

    def read(grid: Grid) -> Pixels:
        if grid.width * grid.height > 4:
            return band.read(grid)
        x, y = centres_in(grid, WGS84.crs)
        values, valid = original.read(grid)
        colours, seen = (part.reshape(grid.shape) for part in at(x.ravel(), y.ravel()))
        return np.where(seen, colours, values), masks.either(valid, seen)

    return PlaceReader(read, at)
