"""A plan with a guard: its tiles keep the distance, in the same splits they have without one."""

import numpy as np
import pytest

from dwplus.earth import connect
from dwplus.planning.plan import make_plan
from dwplus.spec import make_spec
from dwplus.splits import grids_of, guarded, near_pairs

SPEC = {"name": "guard", "region": {"bbox": [9.0, 50.8, 9.9, 51.5]}, "windows": [["2021-06-01", "2021-07-01"]],
        "sampling": {"guard_metres": 5000, "per_biome": 400}}


@pytest.fixture(scope="module")
def plans():
    session = connect()
    free = make_plan(session, make_spec({**SPEC, "sampling": {"per_biome": 400}}))
    return free[free["state"] == "planned"], make_plan(session, make_spec(SPEC))


def test_planned_tiles_keep_the_guard(plans):
    free, plan = plans
    planned = plan[plan["state"] == "planned"]
    assert set(planned["split"]) >= {"train", "test"} and len(planned) < len(free)
    grids = grids_of(planned, 510, 10.0)
    splits = planned["split"].tolist()
    assert near_pairs(grids, splits, 5000 / 1.004) == []
    bounds = np.array([g.bounds for g in grids])
    for epsg in set(planned["epsg"]):
        here = np.array([g.epsg == epsg for g in grids])
        b, s = bounds[here], np.array(splits)[here]
        dx = np.maximum(0, np.maximum(b[:, None, 0] - b[None, :, 2], b[None, :, 0] - b[:, None, 2]))
        dy = np.maximum(0, np.maximum(b[:, None, 1] - b[None, :, 3], b[None, :, 1] - b[:, None, 3]))
        assert np.hypot(dx, dy)[s[:, None] != s[None, :]].min(initial=1e9) >= 5000


def test_a_guard_changes_no_split_and_a_store_can_be_thinned_later(plans):
    free, plan = plans
    planned = plan[plan["state"] == "planned"]
    both = planned.merge(free, on="tile_id", suffixes=("", "_free"))
    assert len(both) == len(planned) and (both["split"] == both["split_free"]).all()
    assert near_pairs(grids_of(free, 510, 10.0), free["split"].tolist(), 0.0)
    assert set(guarded(free, 510, 10.0, 5000)["tile_id"]) >= set(planned["tile_id"])
