"""Pairing against a brute-force reading of its rules, and the traps of real archives."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.grid import PixelGrid
from dwplus.planning import pairing
from dwplus.planning.pairing import OpticalTable, Pairing, Rules, pair, pair_radar, passes
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene, sensing_key

GRID = PixelGrid(32631, 500000.0 - 2550, 5700000.0, 10.0, 510, 510)
TILE = GRID.footprint()
LON, LAT = GRID.center
HOUR = 3_600_000
S2_TIME = 1_600_000_000_000
INDEX = "20200913T122640_20200913T122645_T31UES"
WIDE = shapely.box(LON - 1, LAT - 1, LON + 1, LAT + 1)


def radar(hours, footprint=WIDE, index=None, orbit_pass="DESCENDING", orbit=8, platform="A"):
    return RadarScene(index or f"S1{platform}_{hours:+.4f}", S2_TIME + round(hours * HOUR), orbit_pass, orbit, platform,
                      footprint)


def label(index=INDEX, footprint=WIDE, time=S2_TIME, **grid):
    return LabelScene(index, time, footprint, **grid)


def optical(index=INDEX, cloud=3.0, footprint=WIDE, time=S2_TIME):
    return OpticalScene(index, time, "31UES", cloud, footprint)


def test_nearest_pass_and_signed_gap():
    found = pair_radar(TILE, S2_TIME, passes([radar(-50), radar(30, orbit=9), radar(-20, orbit=10)]), Rules())
    assert found.gap_hours == pytest.approx(-20) and found.relative_orbit == 10 and found.count == 1
    found = pair_radar(TILE, S2_TIME, passes([radar(-50), radar(30)]), Rules())
    assert found.gap_hours == pytest.approx(30)


def test_the_maximum_is_hard():
    scenes = passes([radar(144.001)])
    assert pair_radar(TILE, S2_TIME, scenes, Rules(max_gap_hours=144)) is pairing.NO_S1
    assert pair_radar(TILE, S2_TIME, passes([radar(144)]), Rules(max_gap_hours=144)).gap_hours == 144


def test_nearer_passes_are_left_aside_when_asked():
    near, far = radar(-50), radar(1500, orbit=9)
    rules = Rules(min_gap_hours=1440, max_gap_hours=2160)
    assert pair_radar(TILE, S2_TIME, passes([near, far]), rules).gap_hours == 1500
    assert pair_radar(TILE, S2_TIME, passes([near]), rules) is pairing.NO_S1
    assert pair_radar(TILE, S2_TIME, passes([radar(-1440)]), rules).gap_hours == -1440


def test_a_pass_must_cover_the_tile():
    half = shapely.box(LON - 1, LAT - 1, LON, LAT + 1)
    assert pair_radar(TILE, S2_TIME, passes([radar(5, half)]), Rules()) is pairing.S1_PARTIAL
    found = pair_radar(TILE, S2_TIME, passes([radar(5, half), radar(40)]), Rules())
    assert found.gap_hours == pytest.approx(40)


def test_two_slices_of_a_datatake_are_one_pass():
    north = shapely.box(LON - 1, LAT + 0.005, LON + 1, LAT + 1)
    south = shapely.box(LON - 1, LAT - 1, LON + 1, LAT + 0.006)
    later = 25 / 3600
    found = pair_radar(TILE, S2_TIME, passes([radar(6, north, "n"), radar(6 + later, south, "s")]), Rules())
    assert set(found.indices) == {"n", "s"} and found.count == 1
    assert found.indices[0] == "s" and found.gap_hours == pytest.approx(6 + later)  # the slice with most of the tile
    assert found.coverage == pytest.approx(1)


def test_one_slice_is_enough_where_it_covers_the_tile():
    found = pair_radar(TILE, S2_TIME, passes([radar(6, index="a"), radar(6 + 5 / 3600, index="b")]), Rules())
    assert found.indices == ("a",)


def test_products_of_one_slice_count_once():
    assert len(passes([radar(6, index="a"), radar(6, index="b")])[0].slices) == 1


def test_another_satellite_or_orbit_is_another_pass():
    assert len(passes([radar(6), radar(6 + 25 / 3600, platform="B")])) == 2
    assert len(passes([radar(6), radar(6 + 1.7, orbit=9)])) == 2


def test_orbit_preference():
    scenes = passes([radar(2, orbit_pass="ASCENDING"), radar(40)])
    assert pair_radar(TILE, S2_TIME, scenes, Rules(orbit="descending")).gap_hours == pytest.approx(40)
    assert pair_radar(TILE, S2_TIME, scenes, Rules()).gap_hours == pytest.approx(2)


def test_ties_go_to_coverage_then_index():
    most = shapely.box(LON - 1, LAT - 1, LON + 0.0366, LAT + 1)
    share = pairing.coverage(TILE, [most])
    assert 0.99 < share < 0.9999
    scenes = [radar(12, most, "a"), radar(-12, index="c"), radar(12, index="b", orbit=9)]
    assert pair_radar(TILE, S2_TIME, passes(scenes), Rules()).indices == ("b",)


def test_mean_policy_takes_all_in_reach():
    scenes = passes([radar(-24), radar(48), radar(500)])
    found = pair_radar(TILE, S2_TIME, scenes, Rules(policy="mean"))
    assert found.count == 2 and found.gap_hours == pytest.approx(12) and len(found.indices) == 2


def test_rejections_name_how_far_it_came():
    grid_of = OpticalTable([optical()])
    reach = passes([radar(5)])
    half = shapely.box(LON - 1, LAT - 1, LON, LAT + 1)
    assert pair(GRID, [], grid_of, reach, Rules()) is pairing.NO_LABEL
    assert pair(GRID, [label(footprint=half)], grid_of, reach, Rules()) is pairing.LABEL_PARTIAL
    assert pair(GRID, [label()], OpticalTable([]), reach, Rules()) is pairing.NO_S2
    assert pair(GRID, [label()], OpticalTable([optical(cloud=50)]), reach, Rules(max_cloud=35)) is pairing.S2_CLOUDY
    assert pair(GRID, [label()], OpticalTable([optical(footprint=half)]), reach, Rules()) is pairing.S2_PARTIAL
    assert pair(GRID, [label()], grid_of, [], Rules()) is pairing.NO_S1


def test_the_neighbouring_zones_granule_is_not_taken():
    other = INDEX.replace("T31UES", "T32ULB")
    assert pair(GRID, [label(other)], OpticalTable([optical(other)]), passes([radar(5)]), Rules()) is pairing.NO_LABEL


def test_twin_with_another_second_time_stamp():
    twin = "20200913T122640_20200913T123456_T31UES"
    assert sensing_key(twin) == sensing_key(INDEX)
    found = pair(GRID, [label()], OpticalTable([optical(twin)]), passes([radar(5)]), Rules())
    assert isinstance(found, list) and found[0].optical.index == twin


def test_reprocessed_labels_count_once_and_the_last_wins():
    again = "20200913T122640_20200914T000000_T31UES"
    assert [s.index for s in pairing.newest([label(again), label()])] == [again]


def test_the_least_cloudy_scene_comes_first():
    labels = [label(f"202009{day}T122640_202009{day}T122645_T31UES", time=S2_TIME + day) for day in (13, 18, 23)]
    table = OpticalTable([optical(s.index, cloud, time=s.time_ms) for s, cloud in zip(labels, (9, 1, math.nan),
                                                                                      strict=True)])
    found = pair(GRID, labels, table, passes([radar(5)]), Rules())
    assert [p.label for p in found] == [labels[1], labels[0], labels[2]]
    assert pair(GRID, labels, table, passes([radar(5)]), Rules(), best_only=True) == found[:1]


def test_label_grid_must_hold_the_tiles_pixels():
    transform = (10.0, 0.0, 499980.0 - 2550, 0.0, -10.0, 5700020.0)
    on = label(crs="EPSG:32631", transform=transform, shape=(600, 600))
    off = label(crs="EPSG:32631", transform=(*transform[:2], transform[2] + 3, *transform[3:]), shape=(600, 600))
    small = label(crs="EPSG:32631", transform=transform, shape=(511, 600))
    rules = Rules(on_label_grid=True)
    partners, reach = OpticalTable([optical()]), passes([radar(5)])
    assert isinstance(pair(GRID, [on], partners, reach, rules), list)
    for wrong in (off, small, label()):
        assert pair(GRID, [wrong], partners, reach, rules) is pairing.LABEL_OFF_GRID


def test_footprints_across_the_antimeridian():
    grid = PixelGrid(32601, 180000.0, 1000000.0, 10.0, 510, 510)
    lon, lat = grid.center
    jumping = shapely.Polygon([(179.5, lat - 1), (-178.0, lat - 1), (-178.0, lat + 1), (179.5, lat + 1)])
    assert -180 < lon < -179
    assert pairing.coverage(grid.footprint(), [jumping]) == pytest.approx(1)


slices = st.lists(st.builds(
    lambda hours, west, south, width, orbit, number: radar(
        hours, shapely.box(LON + west, LAT + south, LON + west + width, LAT + south + width), f"i{number:04d}",
        ["ASCENDING", "DESCENDING"][orbit % 2], orbit),
    st.floats(-300, 300), st.floats(-0.5, 0.1), st.floats(-0.5, 0.1), st.floats(0.02, 1), st.integers(0, 3),
    st.integers(0, 9999)), max_size=8, unique_by=lambda s: (s.index))


@settings(max_examples=300, deadline=None)
@given(slices, st.sampled_from(["any", "ascending"]), st.sampled_from([24.0, 144.0]))
def test_nearest_equals_brute_force(scenes, orbit, reach):
    """No pass that the rules allow is nearer than the one chosen, and one is chosen whenever one is allowed."""
    rules = Rules(orbit=orbit, max_gap_hours=reach)
    found = pair_radar(TILE, S2_TIME, passes(scenes), rules)
    whole = [s for s in scenes if pairing.coverage(TILE, [s.footprint]) >= 0.99
             and abs(s.time_ms - S2_TIME) <= reach * HOUR and (orbit == "any" or s.orbit_pass == "ASCENDING")]
    # Slices less than a minute apart may join into a pass of their own time: leave those catalogues to the tests above.
    times = sorted(s.time_ms for s in scenes)
    if any(np.diff(times) < 120_000):
        return
    if not whole:
        assert isinstance(found, pairing.Rejection)
    else:
        assert abs(found.gap_hours) == pytest.approx(min(abs(s.time_ms - S2_TIME) for s in whole) / HOUR)


@settings(max_examples=50, deadline=None)
@given(st.permutations([radar(h, index=f"x{h}", orbit=h % 3) for h in range(-12, 12, 3)]))
def test_order_does_not_matter(scenes):
    assert pair_radar(TILE, S2_TIME, passes(scenes), Rules()) == pair_radar(
        TILE, S2_TIME, passes(sorted(scenes, key=lambda s: s.index)), Rules())


def test_pairing_is_a_value():
    found = pair(GRID, [label()], OpticalTable([optical()]), passes([radar(5)]), Rules())
    assert found == [Pairing(label(), optical(), found[0].radar)]
