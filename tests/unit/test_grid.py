"""Grids and tile ids against published facts."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from dwplus.grid import PixelGrid, lattice_tiles, near_longitude, tile_from_id, tile_on_grid, utm_epsg

PUBLISHED = Path(__file__).parents[1] / "data" / "published" / "dw_validation_ids_sample.csv"


def test_the_one_published_polygon():
    tile = tile_from_id("dw_-63.3512901800_-3.9093045532-20190812")
    assert tile.grid.epsg == 32720
    assert tile.grid.bounds == (458460, 9565330, 463560, 9570430)
    assert tile.grid.shape == (510, 510)
    assert tuple(tile.grid.transform)[:6] == (10, 0, 458460, 0, -10, 9570430)
    assert tile.date is not None and tile.date.isoformat() == "2019-08-12"


def test_earth_engine_spelling_is_the_same_tile():
    plain = tile_from_id("dw_-63.3512901800_-3.9093045532-20190812")
    assert tile_from_id("label_dw_-63p3512901800_-3p9093045532-20190812").grid == plain.grid


def test_published_validation_tiles():
    rows = list(csv.DictReader(PUBLISHED.open()))
    assert len(rows) > 100
    for row in rows:
        grid = tile_from_id(row["dw_tile"]).grid
        assert grid == tile_from_id(row["ee_system_index"]).grid
        x, y = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform(
            float(row["centroid_lon"]), float(row["centroid_lat"]))
        west, south, east, north = grid.bounds
        assert math.hypot((west + east) / 2 - x, (south + north) / 2 - y) < 0.5


@pytest.mark.parametrize("bad", ["", "dw_1_2", "dw_200.0_1.0-20190101", "dw_1.0_85.0-20190101", "dw_1.0_1.0-20191301",
                                 "utm_32631_1_2", "biome_01"])
def test_wrong_ids_are_refused_in_a_sentence(bad):
    with pytest.raises(ValueError, match="tile id|UTM"):
        tile_from_id(bad)


@pytest.mark.parametrize(("lon", "lat", "epsg"), [
    (3.0, 52.0, 32631), (2.999, 52.0, 32631), (6.0, 0.0, 32632), (-180.0, 10.0, 32601), (180.0, -10.0, 32701),
    (179.99, -10.0, 32760)])
def test_zone_of_a_point(lon, lat, epsg):
    assert utm_epsg(lon, lat) == epsg


def test_poles_are_refused():
    with pytest.raises(ValueError, match="outside UTM"):
        utm_epsg(0, 84.5)
    with pytest.raises(ValueError, match="80 S to 84 N"):
        lattice_tiles(shapely.box(0, 80, 10, 89), 510, 10)


def test_planned_ids_carry_their_grid():
    for x0 in (458460.0, 790236.0412345678, 717729.8437499999):
        grid = PixelGrid(32722, x0, 7198039.25, 10.0, 224, 224)
        assert tile_from_id(tile_on_grid(grid).id).grid == grid


def test_lattice_lies_on_multiples_and_in_the_region():
    region = shapely.box(5.8, 51.8, 6.3, 52.1)  # astride a zone border
    tiles = lattice_tiles(region, 510, 10)
    assert {t.grid.epsg for t in tiles} == {32631, 32632}
    assert len({t.id for t in tiles}) == len(tiles)
    for tile in tiles:
        assert tile.grid.x0 % 5100 == 0 and tile.grid.y0 % 5100 == 0
        assert region.contains(shapely.Point(tile.lon, tile.lat))
        assert utm_epsg(tile.lon, tile.lat) == tile.grid.epsg
    # About area / (5.1 km)^2 of them.
    area = (0.5 * 111.32 * math.cos(math.radians(51.95))) * (0.3 * 110.57 * 1.006)
    assert abs(len(tiles) - area / 26.01) < 0.15 * area / 26.01


def test_a_larger_region_keeps_the_tiles_of_a_smaller_one():
    small = {t.id for t in lattice_tiles(shapely.box(10.1, 45.1, 10.6, 45.6), 510, 10)}
    large = {t.id for t in lattice_tiles(shapely.box(10.0, 45.0, 10.8, 45.8), 510, 10)}
    assert small and small < large


def test_lattice_across_the_antimeridian():
    tiles = lattice_tiles(shapely.box(179.7, -17.2, 180.3, -16.8), 510, 10)
    assert {t.grid.epsg for t in tiles} == {32760, 32701}
    assert all(abs(t.lon) > 179.6 for t in tiles)
    for tile in tiles:
        west, _, east, _ = tile.grid.footprint().bounds
        assert east - west < 0.1


def test_near_longitude_joins_both_fashions_of_rings():
    jumping = shapely.Polygon([(179.9, 0), (-179.9, 0), (-179.9, 1), (179.9, 1)])
    running = shapely.Polygon([(179.9, 0), (180.1, 0), (180.1, 1), (179.9, 1)])
    for lon in (179.95, -179.95):
        for ring in (jumping, running):
            assert near_longitude(ring, lon).area == pytest.approx(0.2)


def test_blocks_of_a_grid_are_on_it():
    grid = PixelGrid(32631, 500000.0, 5700000.0, 10.0, 100, 80)
    block = grid.block(20, 30, 10, 5)
    assert block.bounds == (500300, 5699700, 500350, 5699800)
    assert np.isclose(grid.footprint().area, shapely.union(grid.footprint(), block.footprint()).area)


@pytest.mark.parametrize("region", [
    shapely.box(5.8, 51.8, 6.3, 52.1), shapely.box(5.6, -0.4, 6.4, 0.4), shapely.box(179.8, -17.1, 180.2, -16.9),
    shapely.box(-0.2, 70.0, 0.3, 70.2)], ids=["zones", "equator and zones", "antimeridian", "far north"])
def test_lattice_tiles_never_overlap(region):
    tiles = lattice_tiles(region, 510, 10)
    assert len({t.grid.epsg for t in tiles}) >= 2
    lon = region.centroid.x
    shapes = [near_longitude(t.grid.footprint(), lon) for t in tiles]
    for i, one in enumerate(shapes):
        for other in shapes[i + 1:]:
            assert one.intersection(other).area < 0.005 * one.area
    # Little ground is lost to it: a strip of one tile's width along the border.
    inner = shapely.union_all(shapes).intersection(region).area / region.area
    assert inner > 0.7


def test_a_tile_at_a_zones_edge_does_not_depend_on_the_region():
    east = {t.id for t in lattice_tiles(shapely.box(6.0, 51.8, 6.3, 52.1), 510, 10)}
    both = {t.id for t in lattice_tiles(shapely.box(5.8, 51.8, 6.3, 52.1), 510, 10)}
    assert east and east < both
