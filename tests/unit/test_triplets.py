"""Triplets: a clouded scene, a pass beside it, the clear label nearest in time; strata, balance, six classes."""

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.planning import pairing
from dwplus.planning.pairing import OpticalTable, Rejection, Rules, passes
from dwplus.planning.triplets import (
    CLOUD_UNKNOWN,
    DAY_MS,
    NO_CLEAR_LABEL,
    StrataBalance,
    TripletRules,
    prospects,
    triplets,
    unmeasured,
)
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene
from dwplus.spec import make_spec
from dwplus.taxonomy import CLASSES, IGNORE, SIX, STRATA, stratum_of, to_six

GRID = PixelGrid(32631, 500000.0 - 2550, 5700000.0, 10.0, 510, 510)
LON, LAT = GRID.center
NOW = 1_600_000_000_000
WINDOW = (NOW - 30 * DAY_MS, NOW + 30 * DAY_MS)
WIDE = shapely.box(LON - 1, LAT - 1, LON + 1, LAT + 1)
HALF = shapely.box(LON - 1, LAT - 1, LON, LAT + 1)


def name(day, granule="T31UES"):
    stamp = pd.Timestamp(NOW + round(day * DAY_MS), unit="ms").strftime("%Y%m%dT%H%M%S")
    return f"{stamp}_{stamp}_{granule}"


def optical(day, cloud, footprint=WIDE, granule="T31UES"):
    return OpticalScene(name(day, granule), NOW + round(day * DAY_MS), granule[1:], cloud, footprint)


def label(day, footprint=WIDE):
    return LabelScene(name(day), NOW + round(day * DAY_MS), footprint)


def radar(day):
    return RadarScene(f"S1A_{day}", NOW + round(day * DAY_MS), "DESCENDING", 8, "A", WIDE)


def find(scenes, label_days, radar_days, measured=None, rules=None):
    """Triplets of scenes (day, whole scene's cloud); over the tile cloud is the same, unless ``measured`` says more.
    The tile is measured as planning does it: scene by scene as it is needed. Returns them and what was measured."""
    rules = rules or TripletRules(label_days=30)
    over_tile = {name(d): c / 100 for d, c in scenes} | (measured or {})
    offer = prospects(GRID, WINDOW, [label(d) for d in label_days], OpticalTable([optical(d, c) for d, c in scenes]),
                      passes([radar(d) for d in radar_days]), rules)
    if isinstance(offer, Rejection):
        return offer, {}
    known = {}
    while wanted := unmeasured(offer, known, rules):
        assert not wanted & known.keys()
        known |= {index: over_tile[index] for index in wanted}
    return triplets(offer, known, rules), known


def test_the_clouded_scene_is_shown_and_the_nearest_clear_one_labels_it():
    found, _ = find([(0, 60), (-10, 1), (5, 2), (20, 0)], [-10, 0, 5, 20], [1, -8])
    first = found[0]
    assert first.optical.index == name(0) and first.stratum == 3 and first.cloud == 0.6
    assert first.clear.index == name(5) and first.label.index == name(5) and first.label_gap_hours == 120
    assert first.radar.indices == ("S1A_1",) and first.radar.gap_hours == 24
    # Clear scenes are their own labels.
    own = {t.optical.index: t for t in found}[name(-10)]
    assert own.label_gap_hours == 0 and own.stratum == 0
    assert [t.optical.index for t in found] == [name(d) for d in (0, 5, -10)]  # 20: no pass within 12 days


def test_what_counts_is_cloud_over_the_tile():
    found, known = find([(0, 90), (3, 30)], [0, 3], [0], {name(0): 0.02, name(3): 0.5})
    assert [(t.optical.index, t.clear.index, t.stratum) for t in found] == [
        (name(0), name(0), 0), (name(3), name(0), 3)]
    assert find([(0, 90), (3, 1)], [0, 3], [0], {name(3): 0.5})[0] is NO_CLEAR_LABEL
    assert find([(0, 90), (3, 1)], [3], [0], {name(0): float("nan"), name(3): float("nan")})[0] is NO_CLEAR_LABEL
    only = TripletRules(looks=1)  # the nearest to the middle
    assert find([(0, 90), (3, 1)], [3], [0], {name(0): float("nan")}, only)[0] is CLOUD_UNKNOWN
    # No scene is looked at that cannot matter: farther off than a clear one, and not shown.
    _, known = find([(0, 90), (3, 1), (-40, 1), (-35, 0)], [3, -40, -35], [0])
    assert known.keys() == {name(0), name(3)}


def test_a_pass_within_six_days_comes_first_and_twelve_are_the_limit():
    for day in (5.9, 6.1, 11.9):
        ((found,), _) = find([(0, 0)], [0], [day])
        assert found.radar.indices == (f"S1A_{day}",)
    assert find([(0, 0)], [0], [12.1])[0] is pairing.NO_S1
    # Within the limit a preferred orbit may be farther off, but not beyond the preferred days while one is nearer.
    scenes = [radar(1), RadarScene("S1A_7", NOW + 7 * DAY_MS, "ASCENDING", 9, "A", WIDE)]
    rules = TripletRules(radar=Rules(max_gap_hours=288, prefer_orbit="ascending", prefer_hours=1000))
    offer = prospects(GRID, WINDOW, [label(0)], OpticalTable([optical(0, 0)]), passes(scenes), rules)
    assert [beside.indices for _, beside in offer.shown] == [("S1A_1",)]


def test_why_there_is_none():
    assert find([(40, 50)], [0], [0])[0] is pairing.NO_S2
    assert find([(0, 50)], [], [0])[0] is pairing.NO_LABEL
    assert find([(0, 50)], [0], [0])[0] is NO_CLEAR_LABEL
    assert find([(0, 50), (31, 0)], [31], [14])[0] is pairing.NO_S1
    assert find([(0, 50), (25, 0)], [25], [0], rules=TripletRules(label_days=20, looks=1))[0] is NO_CLEAR_LABEL
    table = OpticalTable([optical(0, 0)])
    assert prospects(GRID, WINDOW, [label(0, HALF)], table, [], TripletRules()) is pairing.LABEL_PARTIAL
    assert prospects(GRID, WINDOW, [], OpticalTable([optical(0, 0, HALF)]), [], TripletRules()) is pairing.S2_PARTIAL
    other_zone = OpticalTable([optical(0, 0, granule="T32UES")])
    assert prospects(GRID, WINDOW, [], other_zone, [], TripletRules()) is pairing.NO_S2


def test_of_many_scenes_every_stratum_is_looked_at():
    """Twenty clear scenes about the middle leave room for the few clouded ones; one overpass counts once."""
    many = [optical(d / 2, 1) for d in range(20)] + [optical(12 + i, c) for i, c in enumerate((20, 40, 60, 90))]
    many += [optical(12, 20, granule="T31UDS")]  # the neighbouring granule of the same overpass
    beside = passes([radar(0), radar(20)])
    offer = prospects(GRID, WINDOW, [label(0)], OpticalTable(many), beside, TripletRules(looks=6))
    assert sorted(scene.cloud for scene, _ in offer.shown) == [1, 1, 20, 40, 60, 90]
    assert [scene.time_ms for scene, _ in offer.shown[:2]] == [NOW, NOW + DAY_MS // 2]


@given(scenes=st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 100)), max_size=8, unique_by=lambda s: s[0]),
       days=st.lists(st.integers(-50, 50), max_size=5))
@settings(max_examples=60, deadline=None)
def test_against_a_reading_of_the_rules(scenes, days):
    found, _ = find(scenes, [d for d, _ in scenes], days, rules=TripletRules(label_days=30, looks=8))
    want = {}
    for day, cloud in scenes:
        clear = [d for d, c in scenes if c <= 5]
        if -30 <= day < 30 and clear and days and min(abs(d - day) for d in days) <= 12:
            nearest = min(clear, key=lambda d, day=day: (abs(d - day), name(d)))
            if abs(nearest - day) <= 30:
                want[name(day)] = (name(nearest), min(abs(d - day) for d in days) * 24, cloud / 100)
    got = {} if isinstance(found, Rejection) else {
        t.optical.index: (t.clear.index, pytest.approx(abs(t.radar.gap_hours)), pytest.approx(t.cloud)) for t in found}
    assert got == want


def test_strata():
    assert [stratum_of(c) for c in (0, 0.0999, 0.1, 0.3, 0.4999, 0.5, 0.7, 1.0, float("nan"))] == [
        0, 0, 1, 2, 2, 3, 4, 4, -1]
    assert len(STRATA) == 6
    with pytest.raises(ValueError, match="must be 0..1"):
        stratum_of(1.5)


def test_balance_takes_what_is_needed_most_and_stops_at_its_share():
    found, _ = find([(0, 60), (-10, 1), (5, 20)], [-10], [1, -8])  # strata 3, 1, 0 by distance from the middle
    assert [t.stratum for t in found] == [3, 1, 0]
    strata = StrataBalance()
    taken = [strata.choose(found, quota=10) for _ in range(7)]
    assert [t.stratum for t in taken if t] == [3, 1, 0, 3, 1, 0] and taken[6] is None
    assert StrataBalance().choose([]) is None
    endless = StrataBalance()
    assert all(endless.choose(found[:1]) for _ in range(50))


def test_what_triplets_need_of_a_spec():
    base = {"name": "t", "region": "sample", "windows": [["2021-06-01", "2021-09-01"]], "triplets": {}}
    assert make_spec(base).triplets.keep_clear
    for key, value, words in (("sentinel1", {"max_gap_hours": 300}, "at most 288"),
                              ("labels", {"per_window": "all"}, "per_window best"),
                              ("sentinel2", {"product": "toa"}, None), ("tile", {"grid": "label"}, "tile.grid utm"),
                              ("triplets", {"cloudd": "scl"}, "did you mean 'cloud'")):
        if words is None:
            make_spec(base | {key: value})
            key, value, words = "triplets", {"cloud": "scl"}, "product sr for cloud scl"
            base = base | {"sentinel2": {"product": "toa"}}
        with pytest.raises(InputError, match=words):
            make_spec(base | {key: value})


def test_a_spec_without_triplets_does_not_speak_of_them():
    """Plans and stores of before stay alike to the byte."""
    plain = make_spec({"name": "t", "region": "sample", "windows": [["2021-06-01", "2021-09-01"]]})
    assert "triplets" not in plain.to_json() and plain.from_json(plain.to_json()) == plain


def test_six_classes():
    six = dict(zip(CLASSES, to_six(np.arange(9, dtype="uint8")), strict=True))
    assert {SIX[v] for k, v in six.items() if v != IGNORE} == set(SIX)
    assert SIX[six["trees"]] == "forest" and SIX[six["crops"]] == "cropland" and six["snow_and_ice"] == IGNORE
    assert to_six(np.array([5, 255]), shrub="ignore").tolist() == [IGNORE, IGNORE]
    for wrong in (lambda: to_six(np.array([9])), lambda: to_six(np.array([1]), shrub="no")):
        with pytest.raises(ValueError, match="must be"):
            wrong()
