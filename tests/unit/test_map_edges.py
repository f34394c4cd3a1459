"""Polygons on a map: of two neighbours one has the pixel, whatever the edge; the parts of a map sum to the map."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.grid import PixelGrid, transformer
from dwplus.grid.longitude import shifted
from dwplus.grid.zones import utm_epsgs
from dwplus.maps import areas, edges
from dwplus.maps.plan import clip_of
from dwplus.maps.raster import outside

#: Places by zone: mid latitudes, near the pole, the southern hemisphere, the antimeridian.
PLACES = {32632: (500_000.0, 5_670_000.0), 32633: (420_000.0, 9_100_000.0), 32735: (310_000.0, 8_100_000.0),
          32760: (795_000.0, 8_000_000.0)}


def grid_of(epsg, height=96, width=96):
    return PixelGrid(epsg, *PLACES[epsg], 10.0, height, width)


def degrees(shape, epsg):
    """A shape in metres as a file has it, connected near the middle of its zone."""
    lon0 = (epsg % 100) * 6 - 183.0

    def turned(xy):
        lon, lat = transformer(epsg, 4326).transform(xy[:, 0], xy[:, 1])
        return np.column_stack([lon0 + (np.asarray(lon) - lon0 + 180) % 360 - 180, lat])

    return shapely.transform(shape, turned)


def map_file(folder, grid, labels):
    path = folder / f"class_epsg{grid.epsg}.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=grid.height, width=grid.width, dtype="uint8",
                       crs=grid.crs, transform=grid.transform, nodata=255) as raster:
        raster.write(labels.astype("uint8"), 1)
    return path


def landsat_pixels(grid, rows, cols):
    """Squares of 30 m whose edges run through the centres of the grid's pixels, as Landsat's do."""
    x, y = grid.x0 + 5 + 30 * np.arange(cols), grid.y0 - 5 - 30 * np.arange(rows)
    return [shapely.box(a, b - 30, a + 30, b) for b in y for a in x]


@pytest.mark.parametrize("epsg", PLACES)
@pytest.mark.parametrize("decimals", [15, 7])
def test_landsat_pixels_hold_nine_each(tmp_path, epsg, decimals):
    """1,600 squares of 30 m whose edges run through centres of 10 m pixels: nine pixels each, 14,400 in all, with the
    seven decimals that GeoJSON asks for, too."""
    grid = grid_of(epsg, 140, 140)
    squares = [shapely.transform(degrees(s, epsg), lambda xy: np.round(xy, decimals))
               for s in landsat_pixels(grid, 40, 40)]
    path = map_file(tmp_path, grid, np.zeros(grid.shape))
    alone = areas.count_by_polygon([path], [str(i) for i in range(1600)], squares)
    assert set(alone.sum(axis=1)) == {9}
    together = areas.count_by_polygon([path], ["all"] * 1600, squares)
    assert together.to_numpy().sum() == 14_400


def test_a_centre_on_an_edge_belongs_to_the_east_and_to_the_south():
    grid = PixelGrid(32632, 0.0, 40.0, 10.0, 4, 4)
    middle = shapely.box(5, 5, 25, 25)  # its edges run through centres of the first and third rows and columns
    found = edges.inside(middle, grid)
    expected = np.zeros((4, 4), bool)
    expected[1:3, 0:2] = True
    assert (found == expected).all()
    assert (outside(grid, middle) == ~expected).all()


def cut(box, rng, depth):
    """A box split again and again, at lines that often run through centres of pixels; ends of cuts lie on the edges of
    neighbours that have no vertex there."""
    west, south, east, north = box
    if depth == 0 or min(east - west, north - south) < 40:
        return [box]
    tall = rng.random() < 0.5
    low, high = (south, north) if tall else (west, east)
    at = rng.uniform(low + 15, high - 15)
    at = np.floor(at / 10) * 10 + 5 if rng.random() < 0.7 else at
    parts = ((west, south, east, at), (west, at, east, north)) if tall else ((west, south, at, north),
                                                                            (at, south, east, north))
    return [piece for part in parts for piece in cut(part, rng, depth - 1)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(sorted(PLACES)))
def test_any_partition_into_boxes_sums_to_the_map(tmp_path_factory, seed, epsg):
    rng = np.random.default_rng(seed)
    grid = grid_of(epsg)
    labels = rng.integers(0, 9, grid.shape)
    west, south, east, north = grid.bounds
    boxes = cut((west - 20, south - 20, east + 20, north + 20), rng, 5)
    # Long edges in metres are curves in degrees: a vertex every 30 m, as whoever makes such files has to put.
    shapes = [degrees(shapely.segmentize(shapely.box(*b), 30), epsg) for b in boxes]
    shapes = [shifted(s, int(rng.integers(-1, 2))) for s in shapes]
    path = map_file(tmp_path_factory.mktemp("map"), grid, labels)
    found = areas.count_by_polygon([path], ["all"] * len(shapes), shapes)
    assert (found.loc["all"].to_numpy() == areas.count(labels)).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(sorted(PLACES)))
def test_any_partition_in_degrees_sums_to_the_map(tmp_path_factory, seed, epsg):
    """Cells of Voronoi, and boxes in degrees whose corners lie on their neighbours' edges."""
    rng = np.random.default_rng(seed)
    grid = grid_of(epsg)
    labels = rng.integers(0, 9, grid.shape)
    west, south, east, north = grid.footprint().buffer(0.001).bounds
    whole = shapely.box(west, south, east, north)
    if rng.random() < 0.5:
        points = shapely.MultiPoint(np.column_stack([rng.uniform(west, east, 40), rng.uniform(south, north, 40)]))
        cells = shapely.voronoi_polygons(points, extend_to=whole).geoms
        shapes = [shapely.intersection(cell, whole.buffer(1)) for cell in cells]
    else:
        lats = np.sort(rng.uniform(south, north, 6))
        shapes = []
        for low, high in zip([south, *lats], [*lats, north], strict=True):
            lons = [west, *np.sort(rng.uniform(west, east, 6)), east]
            shapes += [shapely.box(a, low, b, high) for a, b in zip(lons[:-1], lons[1:], strict=True)]
    path = map_file(tmp_path_factory.mktemp("map"), grid, labels)
    found = areas.count_by_polygon([path], ["all"] * len(shapes), shapes)
    assert (found.loc["all"].to_numpy() == areas.count(labels)).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_triangles_whose_corners_are_centres_share_no_pixel(seed):
    """Delaunay triangles between centres of pixels, on whose sides further centres lie: each pixel of the hull but
    those on its rim is in one."""
    rng = np.random.default_rng(seed)
    grid = PixelGrid(32632, 0.0, 320.0, 10.0, 32, 32)
    points = np.unique(rng.integers(1, 31, (20, 2)), axis=0) * 10.0 + 5
    triangles = shapely.delaunay_triangles(shapely.MultiPoint(points)).geoms
    total = sum(edges.inside(t, grid).astype(int) for t in triangles)
    assert total.max() <= 1
    hull = edges.inside(shapely.union_all(list(triangles)).convex_hull.buffer(-0.5), grid)
    assert (total[hull] == 1).all() and hull.any()


def test_holes_and_what_lies_beyond():
    grid = grid_of(32632)
    west, south, east, north = grid.bounds
    ring = shapely.box(west - 500, south - 500, east + 500, north + 500).difference(
        shapely.box(west + 105, south + 105, east - 105, north - 105))
    hole = edges.inside(shapely.box(west + 105, south + 105, east - 105, north - 105), grid)
    assert (edges.inside(ring, grid) == ~hole).all() and 0 < hole.mean() < 1
    assert edges.within(shapely.box(west - 500, south, west - 5, north), grid) is None
    assert edges.within(shapely.Polygon(), grid) is None
    assert edges.within_degrees(shapely.box(0, 0, 1, 1), grid) is None


def test_maps_of_neighbouring_regions_share_no_pixel_and_lose_none():
    """Four boxes around a corner, two of them with a common edge that the others' corner lies on."""
    grid = grid_of(32632)
    lon, lat = grid.center
    d = 0.02
    boxes = [(lon - d, lat, lon + d, lat + d), (lon - d, lat - d, lon, lat), (lon, lat - d, lon + d, lat)]
    parts = [clip_of([shapely.box(*b)])[32632] for b in boxes]
    total = sum((~outside(grid, p)).astype(int) for p in parts)
    assert (total == 1).all()


def test_cutting_an_edge_does_not_depend_on_its_direction():
    rng = np.random.default_rng(0)
    one = rng.uniform(-0.01, 0.01, (200, 4))
    other = one[:, [2, 3, 0, 1]]
    a, b = edges.denser(one, edges.FINE), edges.denser(other, edges.FINE)
    assert (a == b).all() and len(a) > 1000
    ring = shapely.LinearRing([(0, 0), (0.011, 0.004), (0.003, 0.02)])
    moved = edges.in_metres(shapely.Polygon(ring), 32631, edges.FINE)
    assert moved.is_valid and len(moved.geoms[0].exterior.coords) > 60


@pytest.mark.parametrize("box", [
    (5.95, 50.0, 6.05, 50.05), (2.95, 60.0, 3.05, 60.05), (8.95, 78.0, 9.05, 78.02), (20.9, 78.0, 21.1, 78.02),
    (2.9, 63.98, 3.1, 64.02), (11.95, -0.02, 12.05, 0.02), (179.95, -17.05, 180.05, -17.0)])
def test_no_seam_between_zones(box):
    """Wide zones of Norway and Svalbard, the equator, the antimeridian: the pixel around any place of a region is shown
    by the zone of the place, and no ground is shown by two, to a pixel along the border."""
    clip = clip_of([shapely.box(*box)])
    assert len(clip) >= 2
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(box[0], box[2], 400), rng.uniform(box[1], box[3], 400)
    codes = utm_epsgs(lon, lat)
    assert set(codes) == set(clip)
    times = np.zeros(len(lon), int)
    for epsg, ground in clip.items():
        x, y = transformer(4326, epsg).transform(lon, lat)
        shown = np.array([not (hidden is not None and hidden[0, 0]) for hidden in (
            outside(PixelGrid(epsg, 10 * np.floor(a / 10), 10 * np.floor(b / 10) + 10, 10.0, 1, 1), ground)
            for a, b in zip(x, y, strict=True))])
        times += shown
        # Only within a pixel of a border may a zone show a place of another's, or leave out its own.
        near_rim = shapely.distance(ground.boundary, shapely.points(x, y)) < 15
        assert (shown == (codes == epsg))[~near_rim].all()
        assert near_rim.mean() < 0.2
    assert (times == 1).mean() > 0.97 and times.max() <= 2
