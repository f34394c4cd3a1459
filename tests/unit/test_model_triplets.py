"""Triplets: a clouded scene, a pass beside it, the clear label nearest in time; strata, balance, six classes."""

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.grid import PixelGrid
from dwplus.planning import pairing
from dwplus.planning.pairing import Rejection, passes
from dwplus.planning.triplets import (
    NO_CLEAR_LABEL,
    SIX,
    STRATA,
    TripletRules,
    balance,
    stratum_of,
    to_six,
    triplets,
)
from dwplus.scenes import LabelScene, OpticalScene, RadarScene
from dwplus.taxonomy import CLASSES, IGNORE

GRID = PixelGrid(32631, 500000.0 - 2550, 5700000.0, 10.0, 510, 510)
LON, LAT = GRID.center
DAY = 86_400_000
NOW = 1_600_000_000_000
WIDE = shapely.box(LON - 1, LAT - 1, LON + 1, LAT + 1)


def name(day):
    stamp = pd.Timestamp(NOW + round(day * DAY), unit="ms").strftime("%Y%m%dT%H%M%S")
    return f"{stamp}_{stamp}_T31UES"


def optical(day, cloud, footprint=WIDE):
    return OpticalScene(name(day), NOW + round(day * DAY), "31UES", cloud, footprint)


def label(day, footprint=WIDE):
    return LabelScene(name(day), NOW + round(day * DAY), footprint)


def radar(day):
    return RadarScene(f"S1A_{day}", NOW + round(day * DAY), "DESCENDING", 8, "A", WIDE)


def find(scenes, label_days, radar_days, measured=None, rules=None):
    return triplets(GRID, NOW, [label(d) for d in label_days], [optical(d, c) for d, c in scenes],
                    passes([radar(d) for d in radar_days]), measured or {}, rules)


def test_the_clouded_scene_is_shown_and_the_nearest_clear_one_labels_it():
    found = find([(0, 60), (-10, 1), (5, 2), (20, 0)], [-10, 0, 5, 20], [1, -8])
    first = found[0]
    assert first.cloudy.index == name(0) and first.stratum == 3 and first.cloud == 0.6
    assert first.clear.index == name(5) and first.label.index == name(5) and first.label_gap_hours == 120
    assert first.radar.indices == ("S1A_1",) and first.radar.gap_hours == 24 and first.adjacent
    # Clear scenes are their own labels.
    own = {t.cloudy.index: t for t in found}[name(-10)]
    assert own.label_gap_hours == 0 and own.stratum == 0
    assert [t.cloudy.index for t in found] == [name(d) for d in (0, 5, -10)]  # 20: no pass within 12 days


def test_cloud_measured_over_the_tile_comes_before_the_scenes():
    found = find([(0, 90), (3, 90)], [0, 3], [0], {name(0): 0.02, name(3): 0.5})
    assert [(t.cloudy.index, t.clear.index, t.stratum) for t in found] == [(name(0), name(0), 0), (name(3), name(0), 3)]
    assert find([(0, 90), (3, 1)], [0, 3], [0], {name(3): 0.5}) is NO_CLEAR_LABEL


def test_a_pass_within_twelve_days_and_better_within_six():
    for day, adjacent in ((5.9, True), (6.1, False), (11.9, False)):
        (found,) = find([(0, 0)], [0], [day])
        assert found.adjacent == adjacent
    assert find([(0, 0)], [0], [12.1]) is pairing.NO_S1


def test_why_there_is_none():
    assert find([(40, 50)], [0], [0]) is pairing.NO_S2
    assert find([(0, 50)], [], [0]) is pairing.NO_LABEL
    assert find([(0, 50)], [0], [0]) is NO_CLEAR_LABEL
    assert find([(0, 50), (31, 0)], [31], [0], rules=TripletRules(target_days=40)) is pairing.NO_S1
    assert find([(0, 50), (35, 0)], [35], [0], rules=TripletRules(label_days=20)) is NO_CLEAR_LABEL
    half = shapely.box(LON - 1, LAT - 1, LON, LAT + 1)
    assert triplets(GRID, NOW, [label(0, half)], [optical(0, 0)], [], {}) is pairing.LABEL_PARTIAL
    assert find([(0, float("nan"))], [0], [0]) is pairing.NO_S2


@given(scenes=st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 100)), max_size=8, unique_by=lambda s: s[0]),
       days=st.lists(st.integers(-50, 50), max_size=5))
@settings(max_examples=60, deadline=None)
def test_against_a_reading_of_the_rules(scenes, days):
    rules = TripletRules()
    found = find(scenes, [d for d, _ in scenes], days)
    want = {}
    for day, cloud in scenes:
        clear = [d for d, c in scenes if c <= 5]
        if abs(day) <= 30 and clear and days and min(abs(d - day) for d in days) <= 12:
            nearest = min(clear, key=lambda d, day=day: (abs(d - day), name(d)))
            if abs(nearest - day) <= 30:
                want[name(day)] = (name(nearest), min(abs(d - day) for d in days) * 24, cloud / 100)
    got = {} if isinstance(found, Rejection) else {
        t.cloudy.index: (t.clear.index, pytest.approx(abs(t.radar.gap_hours)), pytest.approx(t.cloud)) for t in found}
    assert got == want
    assert isinstance(found, Rejection) or all(t.adjacent == (abs(t.radar.gap_hours) <= 144) for t in found)
    assert rules == TripletRules()


def test_strata():
    assert [stratum_of(c) for c in (0, 0.0999, 0.1, 0.3, 0.4999, 0.5, 0.7, 1.0, float("nan"))] == [
        0, 0, 1, 2, 2, 3, 4, 4, -1]
    assert len(STRATA) == 6
    with pytest.raises(ValueError, match="must be 0..1"):
        stratum_of(1.5)


def test_balance_fills_rare_cells_first_and_does_not_depend_on_order():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"tile_id": rng.integers(0, 60, 600).astype(str), "biome": rng.integers(1, 4, 600),
                          "stratum": rng.choice([-1, 0, 1, 2, 3, 4], 600, p=[.05, .5, .2, .13, .1, .02]),
                          "s2_id": [f"s{i}" for i in range(600)]})
    table["biome"] = table["tile_id"].astype(int) % 3 + 1
    chosen = balance(table, per_cell=5, per_tile=2, seed=3)
    counts = chosen.groupby(["biome", "stratum"]).size()
    assert counts.max() <= 5 and chosen.groupby("tile_id").size().max() <= 2 and (chosen["stratum"] >= 0).all()
    rare = table[table["stratum"] == 4].groupby("biome")["tile_id"].nunique()
    assert all(counts[biome, 4] >= min(5, n) for biome, n in rare.items())
    every = table[table["stratum"] >= 0].groupby(["biome", "stratum"]).size()
    assert len(balance(table, per_cell=5, per_tile=600)) == every.clip(upper=5).sum()
    shuffled = balance(table.sample(frac=1, random_state=1), per_cell=5, per_tile=2, seed=3)
    assert set(shuffled["s2_id"]) == set(chosen["s2_id"])
    assert set(balance(table, 5, seed=4)["s2_id"]) != set(chosen["s2_id"])
    assert balance(table.iloc[:0], 5).empty


def test_six_classes():
    six = dict(zip(CLASSES, to_six(np.arange(9, dtype="uint8")), strict=True))
    assert {SIX[v] for k, v in six.items() if v != IGNORE} == set(SIX)
    assert SIX[six["trees"]] == "forest" and SIX[six["crops"]] == "cropland" and six["snow_and_ice"] == IGNORE
    assert to_six(np.array([5, 255]), shrub="ignore").tolist() == [IGNORE, IGNORE]
    for wrong in (lambda: to_six(np.array([9])), lambda: to_six(np.array([1]), shrub="no")):
        with pytest.raises(ValueError, match="must be"):
            wrong()
