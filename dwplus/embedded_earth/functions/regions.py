"""Pixels of regions: which they are, how much of them lies inside, their values and statistics."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rasterio.features
import rasterio.transform
import shapely

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.footprints import footprint
from dwplus.embedded_earth.functions.projections import target_projection
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels, Projection, centres_in, invert
from dwplus.embedded_earth.shapes import Geometry, lattice_bounds, polygon_of
from dwplus.embedded_earth.values import Collection, Feature, Image, Reducer

#: Pixels of a region that are looked at, whatever a caller allows.
MAX_PIXELS = 100_000_000


class TooManyPixels(ComputeError):
    """A region of more pixels than are looked at."""

    def __init__(self, count: int) -> None:
        super().__init__(f"Too many pixels in the region. Found {count}, but maxPixels allows only {MAX_PIXELS}.")
        self.count = count


def _refused(count: int, most: int) -> ComputeError:
    return ComputeError(f"Image.reduceRegion: Too many pixels in the region. Found {count}, but maxPixels allows only "
                        f"{most}.\nEnsure that you are not aggregating at a higher resolution than you intended; that "
                        "is the most frequent cause of this error. If not, then you may set the 'maxPixels' argument "
                        "to a limit suitable for your computation; set 'bestEffort' to true to aggregate at whatever "
                        "scale results in 'maxPixels' total pixels; or both.")


def region_grid(region: Geometry, target: Projection) -> tuple[Grid | None, np.ndarray]:
    """Pixels of a projection that a region touches: the grid around them and which of it lie inside."""
    local = polygon_of(region.drawn(target.crs))
    if local.is_empty or not all(map(math.isfinite, local.bounds)):
        return None, np.zeros((0, 0), bool)
    left, top, right, bottom = lattice_bounds(local, target)
    col, row = math.floor(left + 1e-9), math.floor(top + 1e-9)
    width, height = max(1, math.ceil(right - 1e-9) - col), max(1, math.ceil(bottom - 1e-9) - row)
    if width * height > MAX_PIXELS:
        raise TooManyPixels(int((right - left) * (bottom - top)))
    grid = Grid(target.crs, target.transform, 0, 0).window(row, col, height, width)
    if local.geom_type == "Point":
        return grid, np.ones(grid.shape, bool)
    inside = rasterio.features.rasterize([(local, 1)], out_shape=grid.shape, dtype="uint8",
                                         transform=rasterio.transform.Affine(*grid.transform)).astype(bool)
    return grid, inside


#: Pixels of which less lies inside a region take no part in it.
#: Source: https://developers.google.com/earth-engine/guides/reducers_weighting
LEAST_SHARE = 1 / 256


def region_weights(region: Geometry, grid: Grid) -> np.ndarray:
    """Share of each pixel of a grid that lies inside a region, 0..1: exact along the edge."""
    local = polygon_of(region.drawn(grid.crs))
    if local.geom_type in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        return region_grid(region, grid.projection)[1].astype("f8")
    local = local if local.is_valid else shapely.make_valid(local)
    transform = rasterio.transform.Affine(*grid.transform)
    touched = rasterio.features.rasterize([(local, 1)], out_shape=grid.shape, transform=transform, dtype="uint8",
                                          all_touched=True)
    edge = rasterio.features.rasterize([(local.boundary, 1)], out_shape=grid.shape, transform=transform,
                                       dtype="uint8", all_touched=True).astype(bool)
    weights = touched.astype("f8")
    rows, cols = np.nonzero(edge)
    if len(rows):
        a, b, c, d, e, f = grid.transform
        corners = [(rows + i, cols + j) for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))]
        ring = np.stack([np.stack([c + col * a + row * b, f + col * d + row * e], -1) for row, col in corners], 1)
        cells = shapely.polygons(ring)
        weights[rows, cols] = shapely.area(shapely.intersection(cells, local)) / abs(a * e - b * d)
    weights[weights < LEAST_SHARE] = 0
    return weights


def footprint_mask(shape: Geometry | None, grid: Grid) -> np.ndarray | None:
    """Pixels whose centre lies within a geometry; None for all."""
    if shape is None:
        return None
    local = polygon_of(shape.drawn(grid.crs))
    if local.is_empty or not all(map(math.isfinite, local.bounds)):
        return np.zeros(grid.shape, bool)
    box = shapely.Polygon(grid.corners())
    if not shapely.intersects(local, box):
        return np.zeros(grid.shape, bool)
    if shapely.contains(local, box):
        return None
    return rasterio.features.rasterize([(local, 1)], out_shape=grid.shape,
                                       transform=rasterio.transform.Affine(*grid.transform), dtype="uint8").astype(bool)


def coverage(shape: Geometry, grid: Grid) -> masks.Mask:
    """Share of every pixel that a geometry covers; of lines and points, the pixels whose centre they meet."""
    centres = footprint_mask(shape, grid)
    local = polygon_of(shape.drawn(grid.crs))
    if centres is None or not local.geom_type.endswith("Polygon"):
        return centres
    return masks.tidied(region_weights(shape, grid))


# ----------------------------------------------------------------------------------------------- samples and statistics


@function("Image.sampleRegions")
def sample_regions(context: Context, image: Image, regions: Collection, names: list[str] | None, scale: float | None,
                   crs: Projection | None, tile_scale: float, geometries: bool) -> Collection:
    """A feature per pixel of each region; pixels with a masked band are left out."""
    if not image.bands:
        raise ComputeError("Image.sampleRegions: the image has no bands.")
    base = crs or image.bands[0].projection
    target = base if scale is None and crs is None else target_projection(crs, None, scale, base,
                                                                          "Image.sampleRegions")

    def load(_: Any) -> list[Feature]:
        out: list[Feature] = []
        listed = list(regions)
        known = {} if geometries else at_places(image, listed, target)
        for position, region in enumerate(listed):
            context.check_time()
            if region.geometry is None:
                continue
            kept = {k: v for k, v in region.properties.items()
                    if (k in names if names else not k.startswith("system:"))}
            label = region.properties.get("system:index", region.id if region.id is not None else position)
            found = known.get(position) or sample_pixels(image, region.geometry, target)
            for number, (values, point) in enumerate(found):
                properties = {**kept, **values, "system:index": f"{label}_{number}"}
                out.append(Feature(point if geometries else None, properties, str(properties["system:index"])))
        return out

    return Collection("FeatureCollection", load)


class PlaceReader:
    """Reads a band on any grid, and at any number of places at once.

    ``at(x, y)``: longitudes and latitudes (n,) to values of the band's type, and which of them are known there without
    reading a grid.
    """

    def __init__(self, read: Callable[[Grid], Pixels],
                 at: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self.read, self.at = read, at

    def __call__(self, grid: Grid) -> Pixels:
        """As every reader of a band."""
        return self.read(grid)


def at_places(image: Image, regions: Sequence[Any], target: Projection) -> dict[int, list[tuple[dict[str, Any], None]]]:
    """Samples of regions that are points, by position, where all bands know them: thousands cost as much as one alone.

    As :func:`sample_pixels` of each, without the pixels' centres.
    """
    readers = {band.id: band.read for band in image.bands}
    if target.crs != WGS84.crs or not all(isinstance(read, PlaceReader) for read in readers.values()):
        return {}
    drawn = {position: polygon_of(region.geometry.drawn(target.crs)) for position, region in enumerate(regions)
             if region.geometry is not None}
    points = {position: (shape.x, shape.y) for position, shape in drawn.items()
              if shape.geom_type == "Point" and not shape.is_empty and math.isfinite(shape.x + shape.y)}
    if not points:
        return {}
    x, y = np.array(list(points.values())).T
    ia, ib, ic, id_, ie, if_ = invert(target.transform)
    col, row = np.floor(ia * x + ib * y + ic + 1e-9), np.floor(id_ * x + ie * y + if_ + 1e-9)
    a, b, c, d, e, f = target.transform
    x, y = c + col * a + row * b + 0.5 * a + 0.5 * b, f + col * d + row * e + 0.5 * d + 0.5 * e
    found = {name: read.at(x, y) for name, read in readers.items() if isinstance(read, PlaceReader)}
    known = np.logical_and.reduce([seen for _, seen in found.values()])
    return {position: [({name: values[i].item() for name, (values, _) in found.items()}, None)]
            for i, position in enumerate(points) if known[i]}


def sample_pixels(image: Image, region: Geometry, target: Projection) -> list[tuple[dict[str, Any], Geometry]]:
    """Values of all bands at the pixels of a region, fully unmasked ones only, with the pixels' centres."""
    grid, inside = region_grid(region, target)
    if grid is None:
        return []
    layers = {}
    for band in image.bands:
        values, valid = band.read(grid)
        layers[band.id] = values
        if valid is not None:
            inside = inside & masks.seen(valid)
    rows, cols = np.nonzero(inside)
    x, y = centres_in(grid, WGS84.crs)
    return [({name: layer[r, c].item() for name, layer in layers.items()}, Geometry(shapely.Point(x[r, c], y[r, c])))
            for r, c in zip(rows, cols, strict=True)]


@function("Image.reduceRegion")
def reduce_region(context: Context, image: Image, reducer: Reducer, region: Geometry | None, scale: float | None,
                  crs: Projection | None, transform: list[float] | None, best_effort: bool, max_pixels: int,
                  tile_scale: float) -> dict[str, Any]:
    """Weighted reducers count pixels by the share that lies inside or by their mask, whichever is less.

    The others count those whose centre lies inside and that hold any data.
    Source: https://developers.google.com/earth-engine/guides/reducers_reduce_region#pixels-in-the-region
    """
    if not image.bands:
        raise ComputeError("Image.reduceRegion: the image has no bands.")
    shape = region or footprint(image)
    target = image.bands[0].projection
    if crs is not None or transform is not None or scale is not None:
        target = target_projection(crs, transform, scale, target, "Image.reduceRegion")
    while True:
        try:
            grid, inside = region_grid(shape, target)
        except TooManyPixels as error:
            if not best_effort:
                raise _refused(error.count, min(max_pixels, MAX_PIXELS)) from error
        else:
            if not best_effort or inside.sum() <= max_pixels:
                break
        target = target.coarser(1)
    if inside.sum() > max_pixels:
        raise _refused(int(inside.sum()), max_pixels)
    parts = reducer.shared or (reducer,)
    weights = inside.astype("f8")
    if grid is not None and any(part.weighted for part in parts):
        weights = region_weights(shape, grid)
    used = inside | (weights > 0)
    columns: dict[str, tuple[np.ndarray, masks.Mask]] = {}
    for band in image.bands:
        if grid is None or not used.any():
            columns[band.id] = np.zeros(0), None
            continue
        context.check_time()
        values, valid = band.read(grid)
        columns[band.id] = values[used], None if valid is None else valid[used]
    share = weights[used] if grid is not None else np.zeros(0)
    centre = inside[used] if grid is not None else np.zeros(0, bool)

    def apply(names: list[str]) -> list[Any]:
        """Outputs of the reducer on the rows of some bands."""
        mask = functools.reduce(masks.both, (columns[name][1] for name in names))
        weight = share if mask is None else np.minimum(share, mask)
        valid = centre if mask is None else centre & masks.seen(mask)
        out: list[Any] = []
        for part in parts:
            taken = weight >= LEAST_SHARE if part.weighted else valid
            rows = list(zip(*(columns[name][0][taken].tolist() for name in names), strict=True))
            out += part.rows(rows, weight[taken] if part.weighted else np.ones(len(rows)))
        return out

    if reducer.inputs == 1:
        found: dict[str, Any] = {}
        for name in columns:
            outputs = dict(zip(reducer.outputs, apply([name]), strict=True))
            found |= {name if len(reducer.outputs) == 1 else f"{name}_{key}": v for key, v in outputs.items()}
        return found
    if reducer.inputs != len(columns):
        raise ComputeError(f"Image.reduceRegion: Need {reducer.inputs} bands for the reducer, image has "
                           f"{len(columns)}.")
    return dict(zip(reducer.outputs, apply(list(columns)), strict=True))


@function("Image.reduceRegions")
def reduce_regions(context: Context, image: Image, collection: Collection, reducer: Reducer, scale: float | None,
                   crs: Projection | None, transform: list[float] | None, tile_scale: float,
                   max_pixels: int | None = None) -> Collection:
    def load(_: Any) -> list[Feature]:
        out = []
        for feature in collection:
            found = reduce_region(context, image, reducer, feature.geometry, scale, crs, transform, False,
                                  10**13, tile_scale)
            if len(image.bands) == 1 and reducer.inputs == 1:
                prefix = f"{image.bands[0].id}"
                found = {(reducer.outputs[0] if len(reducer.outputs) == 1 else key.removeprefix(prefix + "_")): value
                         for key, value in found.items()}
            out.append(feature.with_properties({**feature.properties, **found}))
        return out

    return collection.using(load)
