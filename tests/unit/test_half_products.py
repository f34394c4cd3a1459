"""Granules that a datastrip border cuts: two products of one sensing, each a part of it; and products made again."""

import pytest
import shapely

from dwplus.grid import PixelGrid
from dwplus.planning import pairing
from dwplus.planning.ground import newest
from dwplus.planning.pairing import OpticalTable, Rules, pair, passes
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene, sensing_groups

GRID = PixelGrid(32637, 497450.0, 9_500_000.0 - 9_000_000.0, 10.0, 510, 510)
TILE = GRID.footprint()
WEST, SOUTH, EAST, NORTH = TILE.bounds
#: As in nature: one first stamp, two second stamps (S2A 2020-02-10, R049, T37NEA in place of T37MEU).
ONE, TWO = "20200210T073031_20200210T073030_T37NEA", "20200210T073031_20200210T074512_T37NEA"
TIME = 1_581_319_831_000
AROUND = shapely.box(WEST - 1, SOUTH - 1, EAST + 1, NORTH + 1)
REACH = passes([RadarScene("s1", TIME + 3_600_000, "ASCENDING", 8, "A", AROUND)])


def part(low, high):
    """Ground between two shares of the tile's height, reaching far to both sides."""
    height = NORTH - SOUTH
    return shapely.box(WEST - 0.5, SOUTH + low * height, EAST + 0.5, SOUTH + high * height)


def label(index, ground, time=TIME):
    return LabelScene(index, time, ground)


def optical(index, ground, cloud=5.0, product="sr", time=TIME):
    return OpticalScene(index, time, index[-5:], cloud, ground, product)


def ids(labels, scenes, **rules):
    found = pair(GRID, labels, OpticalTable(scenes), REACH, Rules(**rules))
    return found if isinstance(found, pairing.Rejection) else [(p.label.index, p.optical.index, p.match) for p in found]


@pytest.mark.parametrize(("low", "expected"), [(-1, ONE), (-0.02, ONE), (1.02, TWO), (2, TWO)])
def test_a_tile_in_one_half_takes_that_half(low, expected):
    halves = {ONE: part(low, 9), TWO: part(-9, low + 0.01)} if low < 0.5 else {ONE: part(low, 9), TWO: part(-9, low)}
    assert ids([label(i, g) for i, g in halves.items()], [optical(i, g) for i, g in halves.items()]) == [
        (expected, expected, "id")]


@pytest.mark.parametrize(("border", "first"), [(0.3, ONE), (0.7, TWO)])
def test_a_tile_in_both_takes_both_the_larger_first_with_its_time_and_cloud(border, first):
    halves = {ONE: part(border, 9), TWO: part(-9, border + 0.01)}
    second = {ONE: TWO, TWO: ONE}[first]
    clouds, times = {ONE: 7.0, TWO: 3.0}, {ONE: TIME, TWO: TIME + 13_000}
    found = pair(GRID, [label(i, g, times[i]) for i, g in halves.items()],
                 OpticalTable([optical(i, g, clouds[i], time=times[i]) for i, g in halves.items()]), REACH, Rules())
    assert [p.label.index for p in found] == [p.optical.index for p in found] == [f"{first},{second}"]
    assert found[0].optical.cloud == clouds[first] and found[0].optical.time_ms == times[first]
    assert found[0].label_ids == (f"{first},{second}",)
    assert found[0].match == "id"


def test_one_half_alone_is_partial():
    assert ids([label(ONE, part(0.3, 9))], [optical(ONE, part(0.3, 9))]) is pairing.LABEL_PARTIAL
    both = [label(ONE, part(0.3, 9)), label(TWO, part(-9, 0.3))]
    assert ids(both, [optical(ONE, part(0.3, 9))]) is pairing.S2_PARTIAL
    assert ids(both, []) is pairing.NO_S2


def test_what_a_newer_product_replaces_is_dropped_and_nothing_else():
    whole = part(-9, 9)
    assert ids([label(ONE, whole), label(TWO, whole)], [optical(ONE, whole), optical(TWO, whole)]) == [
        (TWO, TWO, "id")]
    # An old product of the whole granule, and two newer ones of its halves.
    third = TWO.replace("T074512", "T080000")
    parts = {ONE: whole, TWO: part(-9, 0.4), third: part(0.39, 9)}
    assert ids([label(i, g) for i, g in parts.items()], [optical(i, g) for i, g in parts.items()]) == [
        (f"{third},{TWO}", f"{third},{TWO}", "id")]
    # The newer one holds half of the tile only: the older one is needed still, and alone it is enough.
    parts = {ONE: whole, TWO: part(-9, 0.5)}
    assert ids([label(i, g) for i, g in parts.items()], [optical(i, g) for i, g in parts.items()])[0][0] == ONE
    assert [s.index for s in newest([label(i, g) for i, g in parts.items()])] == [ONE, TWO]


def test_surface_reflectance_of_other_stamps_is_found_by_sensing():
    twin_one, twin_two = (i.replace("_20200210T07", "_20200211T07") for i in (ONE, TWO))
    labels = [label(ONE, part(0.3, 9)), label(TWO, part(-9, 0.3))]
    found = ids(labels, [optical(twin_one, part(0.3, 9)), optical(twin_two, part(-9, 0.3))])
    assert found == [(f"{ONE},{TWO}", f"{twin_one},{twin_two}", "sensing")]


def test_a_missing_half_falls_back_to_the_other_product_as_a_whole():
    labels = [label(ONE, part(0.3, 9)), label(TWO, part(-9, 0.3))]
    scenes = [optical(ONE, part(9, 10)), *(optical(s.index, s.footprint, product="toa") for s in labels)]
    found = pair(GRID, labels, OpticalTable(scenes, "sr"), REACH, Rules())
    assert found[0].optical.product == "toa" and found[0].optical.index == f"{ONE},{TWO}"


def test_modes_name_halves_side_by_side():
    labels = [label(ONE, part(0.3, 9)), label(TWO, part(-9, 0.3))]
    assert pairing.usable_labels(GRID, labels, OpticalTable([]), Rules()) == [f"{ONE},{TWO}"]
    other = "20200215T073031_20200215T073030_T37NEA"
    assert sensing_groups(f"{ONE},{TWO},{other}") == [[ONE, TWO], [other]]
