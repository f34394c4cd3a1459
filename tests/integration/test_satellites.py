"""Plans of twelve years: each with the satellites that flew, and no scene that none of them can have made."""

from __future__ import annotations

import pytest

from dwplus.earth import connect
from dwplus.planning.plan import make_plan
from dwplus.planning.preview import preview
from dwplus.scenes.orbits import doubtful
from dwplus.spec import make_spec

#: Window, satellites of Sentinel-1 that may be in it, last digits of the seconds of Sentinel-2's datatakes.
WINDOWS = {
    ("2015-07-01", "2015-11-01"): ("A", "2"), ("2017-07-01", "2017-09-01"): ("AB", "19"),
    ("2022-09-01", "2022-11-01"): ("A", "19"), ("2025-06-01", "2025-08-01"): ("AC", "19"),
    ("2026-07-01", "2026-09-01"): ("CD", "19"),
}


@pytest.fixture(scope="module")
def session():
    return connect()


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window[0][:4])
def test_windows_plan_with_the_satellites_that_flew(session, window):
    radar, seconds = WINDOWS[window]
    plan = make_plan(session, make_spec({
        "name": "years", "region": {"bbox": [9.1, 51.15, 9.35, 51.3]}, "windows": [list(window)],
        "sentinel2": {"product": "toa"}, "labels": {"per_window": "all"}}))
    rows = plan[plan["state"] == "planned"]
    assert len(rows) > 20
    names = [name for ids in rows["s1_id"] for name in ids.split(",")]
    assert {name[2] for name in names} == set(radar)
    assert {name[14] for ids in rows["s2_id"] for name in ids.split(",")} <= set(seconds)
    assert not doubtful(names)
    assert not any("no satellite" in line for line in preview(plan))


def test_a_plan_with_an_invented_scene_is_warned_of(session):
    plan = make_plan(session, make_spec({"name": "years", "region": {"bbox": [9.1, 51.15, 9.35, 51.3]},
                                         "windows": [["2026-07-01", "2026-08-01"]]}))
    wrong = "S1C_IW_GRDH_1SDV_20260704T093712_20260704T093737_004123_008F3B_1234"
    planned = plan["state"] == "planned"
    plan.loc[plan.index[planned][0], "s1_id"] = wrong
    said = [line for line in preview(plan) if line.startswith("warning: ")]
    assert len(said) == 1 and wrong in said[0] and "1 of " in said[0]
