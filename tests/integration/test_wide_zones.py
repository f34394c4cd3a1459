"""Planning where the military grid's zones are wide, and where granules are cut in two: on the planet, as in nature."""

from __future__ import annotations

import pytest

from dwplus.earth import connect
from dwplus.earth.tables import sample_sites
from dwplus.planning.plan import make_plan
from dwplus.spec import make_spec


@pytest.fixture(scope="module")
def session():
    return connect()


def planned(session, bbox, window, **more):
    rows = make_plan(session, make_spec({"name": "wide", "region": {"bbox": bbox}, "windows": [window], **more}))
    return rows[rows["state"] == "planned"]


@pytest.mark.parametrize(("bbox", "window", "epsg", "granules"), [
    ((5.1, 60.3, 5.5, 60.5), ("2021-06-01", "2021-08-01"), 32632, "T32V"),
    ((12.3, 78.8, 13.2, 79.0), ("2021-07-01", "2021-09-01"), 32633, "T33X"),
    ((6.0, 78.8, 7.0, 79.0), ("2021-07-01", "2021-09-01"), 32631, "T31X")])
def test_wide_zones_plan_in_their_own_zone(session, bbox, window, epsg, granules):
    rows = planned(session, list(bbox), list(window))
    assert len(rows) > 10
    assert set(rows["epsg"]) == {epsg}
    assert rows["tile_id"].str.startswith(f"utm_{epsg}_").all()
    assert rows["label_id"].str.contains(granules).all()


def test_half_products_are_put_together(session):
    """A pass over Bergen on which a datastrip ends: tiles on the border have both halves, in one order for all ids."""
    rows = planned(session, [5.0, 60.2, 5.6, 60.6], ["2021-01-15", "2021-01-16"])
    two = rows[rows["label_id"].str.contains(",")]
    assert 0 < len(two) < len(rows)
    for ids in two["label_id"]:
        one, other = ids.split(",")
        assert one[:15] == other[:15] and one[16:31] != other[16:31] and one[-5:] == other[-5:]
    assert (two["label_id"] == two["s2_id"]).all()
    # a tile is planned alike whatever lies around it
    alone = planned(session, [5.0, 60.35, 5.6, 60.6], ["2021-01-15", "2021-01-16"]).set_index("tile_id")["label_id"]
    shared = rows.set_index("tile_id")["label_id"].reindex(alone.index)
    assert len(alone) > 10 and (alone == shared).all()


def test_the_sample_region_is_still_its_fifteen_sites(session):
    assert len(sample_sites(session)) == 15
