"""The zones of the military grid against the granules of real Sentinel-2 products, and lattices at their borders."""

import numpy as np
import pytest
import shapely

from dwplus.grid import PixelGrid, covering_tiles, lattice_tiles, tile_from_id
from dwplus.grid.zones import six_degree_epsg, transformer, utm_epsg, utm_epsgs, zone_pieces
from dwplus.splits import block_of

#: Granules of real products (public ids: T32VNM, T33XWJ, T33XWH, T33XWG, T31XEL, T31XEK, T35XMG) and the south-west
#: corner of their 100 km squares, as the lettering of the military grid has them.
GRANULES = {"32VNM": (500_000, 6_600_000), "33XWJ": (500_000, 8_800_000), "33XWH": (500_000, 8_700_000),
            "33XWG": (500_000, 8_600_000), "31XEL": (500_000, 9_000_000), "31XEK": (500_000, 8_900_000),
            "35XMG": (400_000, 8_600_000)}


@pytest.mark.parametrize("name", GRANULES)
def test_the_ground_of_a_real_granule_is_of_its_zone(name):
    east, north = GRANULES[name]
    epsg = 32600 + int(name[:2])
    lon, lat = transformer(epsg, 4326).transform(east + 50_000, north + 50_000)
    assert utm_epsg(lon, lat) == epsg


@pytest.mark.parametrize(("lon", "lat", "epsg"), [
    (5.3, 60.4, 32632), (5.3, 55.99, 32631), (5.3, 64.0, 32631), (2.99, 60.0, 32631), (3.0, 56.0, 32632),
    (8.99, 78.0, 32631), (9.0, 72.0, 32633), (11.9, 71.99, 32632), (11.9, 78.9, 32633), (20.99, 80.0, 32633),
    (21.0, 80.0, 32635), (33.0, 84.0, 32637), (41.9, 75.0, 32637), (42.1, 75.0, 32638), (-0.1, 78.0, 32630),
    (365.3, 60.4, 32632), (7.0, -78.0, 32732)])
def test_zone_of_a_point(lon, lat, epsg):
    assert utm_epsg(lon, lat) == epsg
    assert utm_epsgs(np.array([lon]), np.array([lat])).tolist() == [epsg]


def test_annotated_tiles_keep_the_six_degree_rule():
    # In Norway's exception: published in zone 31, as the 409 validation tiles' centroids show.
    assert tile_from_id("dw_5.7_59.4-20190601").grid.epsg == six_degree_epsg(5.7, 59.4) == 32631


def test_pieces_are_the_zones_and_lose_nothing():
    rng = np.random.default_rng(1)
    for _ in range(50):
        west, south = rng.uniform(-200, 200), rng.uniform(-80, 80)
        region = shapely.box(west, south, west + rng.uniform(1, 60), min(84, south + rng.uniform(1, 30)))
        pieces = zone_pieces(region)
        assert sum(piece.area for _, piece in pieces) == pytest.approx(region.area)
        for epsg, piece in pieces:
            point = piece.representative_point()
            assert utm_epsg(point.x, point.y) == epsg


@pytest.mark.parametrize("region", [
    shapely.box(2.7, 63.8, 6.4, 64.2), shapely.box(2.7, 55.9, 3.3, 56.1), shapely.box(8.4, 71.9, 9.6, 72.1),
    shapely.box(20.6, 71.9, 21.4, 72.1), shapely.box(8.5, 78.0, 9.5, 78.2), shapely.box(5.7, 56.2, 6.3, 56.4)],
    ids=["64 N", "56 N", "72 N", "72 N, 21 E", "9 E", "inside 32V"])
def test_lattices_meet_without_overlap_at_every_border(region):
    tiles = lattice_tiles(region, 510, 10)
    shapes = [tile.grid.footprint() for tile in tiles]
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    assert all(shapely.intersection(shapes[i], shapes[j]).area < 0.005 * shapes[i].area
               for i, j in zip(one.tolist(), other.tolist(), strict=True) if i < j)
    assert all(utm_epsg(tile.lon, tile.lat) == tile.grid.epsg for tile in tiles)
    assert shapely.union_all(shapes).intersection(region).area > 0.6 * region.area
    covered = shapely.union_all([tile.grid.footprint() for tile in covering_tiles(region, 510, 10)])
    assert covered.buffer(1e-4).contains(region)


def test_a_tile_cut_in_the_neighbouring_zone_is_in_its_grounds_block():
    own = PixelGrid(32632, 290_000.0, 6_700_000.0, 10.0, 510, 510)
    lon, lat = own.center
    x, y = transformer(4326, 32631).transform(lon, lat)
    assert block_of(PixelGrid(32631, x - 2550, y + 2550, 10.0, 510, 510)) == block_of(own)
    assert block_of(own) == (32632, 11, 262)
