"""Longitudes: one strip read from every fashion of writing it, cut and boxed as RFC 7946 has it."""

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.grid import PixelGrid, lattice_tiles
from dwplus.grid.longitude import LongitudeError, box_of, connected, contains, cut, near, polygons_of

STRIP = shapely.box(179.8, -16.9, 180.2, -16.6)
JUMPING = shapely.Polygon([(179.8, -16.9), (-179.8, -16.9), (-179.8, -16.6), (179.8, -16.6)])


@pytest.mark.parametrize("written", [
    STRIP, JUMPING, shapely.box(-180.2, -16.9, -179.8, -16.6), cut(STRIP),
    shapely.MultiPolygon([shapely.box(-180, -16.9, -179.8, -16.6), shapely.box(179.8, -16.9, 180, -16.6)]),
    shapely.GeometryCollection([shapely.Point(179.9, -16.7), JUMPING])],
    ids=["past 180", "jumping", "below -180", "cut", "cut, east first", "collection"])
def test_every_fashion_is_the_same_strip(written):
    found = shapely.union_all(polygons_of(connected(written)))
    assert found.bounds == pytest.approx(STRIP.bounds) and found.area == pytest.approx(STRIP.area)
    assert box_of([written if written.geom_type != "GeometryCollection" else connected(written)]) == pytest.approx(
        (179.8, -16.9, -179.8, -16.6)) or written is JUMPING
    assert {t.id for t in lattice_tiles(found, 256, 10)} == {t.id for t in lattice_tiles(STRIP, 256, 10)}


def test_holes_move_with_their_polygon():
    outer = [(179.0, 0), (-179.0, 0), (-179.0, 2), (179.0, 2)]
    hole = [(-179.8, 0.5), (-179.2, 0.5), (-179.2, 1.5), (-179.8, 1.5)]
    found = connected(shapely.Polygon(outer, [hole]))
    assert found.is_valid and found.area == pytest.approx(2 * 2 - 0.6)
    assert contains(found, -179.9, 1) and contains(found, 180.1, 1) and not contains(found, -179.5, 1)


def test_nobody_knows_which_way_a_half_turn_goes():
    with pytest.raises(LongitudeError, match="from longitude 100 to -100"):
        connected(shapely.box(-100, 0, 100, 10))
    assert connected(shapely.box(-180, -60, 180, 60)).area == 360 * 120
    assert connected(shapely.segmentize(shapely.box(-100, 0, 100, 10), 50)).area == pytest.approx(2000)


def test_a_ring_around_a_pole_is_closed_along_it():
    ring = shapely.Polygon([(lon if lon <= 180 else lon - 360, 70) for lon in range(-170, 190, 20)])
    found = connected(ring)
    assert found.bounds[3] == 90 and found.area == pytest.approx(360 * 20)
    with pytest.raises(ValueError, match="north of 84 N there are no tiles"):
        lattice_tiles(found, 510, 10)


def test_parts_come_together_only_where_that_is_narrower():
    russia = shapely.MultiPolygon([shapely.box(30, 50, 180, 70), shapely.box(-180, 60, -170, 70)])
    assert connected(russia).bounds == (30, 50, 190, 70)
    assert box_of([russia]) == (30, 50, -170, 70)
    two = shapely.MultiPolygon([shapely.box(-60, 0, -50, 5), shapely.box(100, 0, 110, 5)])
    assert connected(two).bounds == (-60, 0, 110, 5)


def test_a_tile_on_the_antimeridian_has_a_small_box_and_an_outline_inside_the_map():
    grid = PixelGrid(32760, 817_000.0, 8_140_000.0, 10.0, 510, 510)
    west, south, east, north = box_of([grid.footprint()])
    assert west > 179.9 and east < -179.9 and north - south < 0.06
    parts = cut(grid.footprint())
    assert parts.bounds[0] == -180 and parts.bounds[2] == 180 and parts.area == pytest.approx(grid.footprint().area)
    outline = grid.outline()
    assert outline.bounds[0] > 179.9 and outline.bounds[2] == 180 and outline.geom_type == "Polygon"
    assert outline.area >= 0.5 * grid.footprint().area


@settings(max_examples=300, deadline=None)
@given(st.floats(-179.9, 179.9), st.floats(0.01, 80), st.integers(-1, 1))
def test_cutting_loses_nothing_and_reading_it_back_connects_it(west, width, turn):
    shape = shapely.box(west + 360 * turn, 10, west + width + 360 * turn, 11)
    parts = cut(shape)
    assert parts.bounds[0] >= -180 and parts.bounds[2] <= 180
    assert parts.area == pytest.approx(shape.area)
    again = shapely.union_all(polygons_of(connected(parts)))
    assert again.bounds[2] - again.bounds[0] == pytest.approx(width, abs=1e-9)
    assert near(again.bounds[0], west) == pytest.approx(west, abs=1e-9)
    w, _, e, _ = box_of([shape])
    assert (e - w) % 360 == pytest.approx(width, abs=1e-9) and -180 <= w <= 180 and -180 <= e <= 180
