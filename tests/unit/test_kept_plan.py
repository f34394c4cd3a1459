"""A store knows the plan it was made from: any other is refused with the row and column that differ."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from dwplus.errors import InputError
from dwplus.store import kept, layout, plan_rows
from dwplus.store.resplit import resplit

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path, small_plan, small_spec):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    return path


def check(store, plan, spec):
    return kept.check_same(store, plan, spec, "embedded-earth")


def without_digest(store):
    """As commit 12d83e5 made it."""
    file = store / "zarr.json"
    meta = json.loads(file.read_text())
    del meta["attributes"][plan_rows.KEY]
    file.write_text(json.dumps(meta))


EDITS = {
    "x0": 640.0, "y0": -10.0, "epsg": 1, "biome": "swap", "ecoregion": "elsewhere", "label_id": "other",
    "s2_id": "other", "s1_id": "other", "s2_time": pd.Timedelta(hours=1), "s1_time": pd.Timedelta(hours=1),
    "gap_hours": 0.5, "orbit_pass": "DESCENDING", "relative_orbit": 1, "split": "test", "tile_id": "another",
    "window": "2020-01-01/2020-02-01"}


@pytest.mark.parametrize("old", [False, True], ids=["digest", "12d83e5"])
@pytest.mark.parametrize("column", EDITS)
def test_an_edit_of_any_column_is_refused_by_name(store, small_plan, small_spec, column, old):
    if old:
        without_digest(store)
    edited = small_plan.copy()
    value = EDITS[column]
    if column == "biome":
        edited.loc[3, "biome"], edited.loc[11, "biome"] = 12, 4
    elif isinstance(value, str):
        edited.loc[3, column] = value
    else:
        edited.loc[3, column] = edited.loc[3, column] + value
    with pytest.raises(InputError, match="another plan") as caught:
        check(store, edited, small_spec)
    # A tile or window that is another one is another row; the column is named all the same.
    assert re.search(rf"\b{column}\b", str(caught.value)) and small_plan["tile_id"][3] in str(caught.value) or (
        column in ("tile_id", "window") and str(value) in str(caught.value)), caught.value


def test_order_rejects_and_what_decides_no_pixel_are_free(store, small_plan, small_spec):
    other = small_plan.sample(frac=1, random_state=1)
    other["reason"] = "whatever"
    other["geometry"] = other["geometry"].iloc[0]
    other = other[other["state"] == "planned"].assign(cost=3.0, epsg=lambda rows: rows["epsg"].astype("int64"))
    other["s2_time"] = other["s2_time"].astype("datetime64[us, UTC]")
    rows = check(store, other, small_spec)
    assert rows["tile_id"].tolist() == small_plan["tile_id"].tolist()[:13]
    assert rows["group"].tolist() == ["biome_04"] * 10 + ["biome_12"] * 3
    assert set(rows["size"]) == {32} and set(rows["scale"]) == {10.0}


@pytest.mark.parametrize("old", [False, True], ids=["digest", "12d83e5"])
def test_fewer_and_more_rows(store, small_plan, small_spec, old):
    if old:
        without_digest(store)
    with pytest.raises(InputError, match="is missing in the plan"):
        check(store, small_plan.drop(index=2), small_spec)
    more = small_plan.copy()
    more.loc[13, "state"] = "planned"
    with pytest.raises(InputError, match="is not in the store"):
        check(store, more, small_spec)
    check(store, small_plan, small_spec)


def test_splits_follow_the_store_after_a_split(store, small_plan, small_spec):
    resplit([store], seed=7)
    assert check(store, small_plan, small_spec)["split"].tolist() != small_plan["split"].tolist()[:13]
    now = small_plan.copy()
    now.loc[:12, "split"] = check(store, small_plan, small_spec)["split"].to_numpy()
    check(store, now, small_spec)
    now.loc[0, "split"] = next(s for s in layout.SPLITS if s not in (now.loc[0, "split"], small_plan.loc[0, "split"]))
    with pytest.raises(InputError, match="split is"):
        check(store, now, small_spec)


def test_a_store_whose_columns_changed_is_no_longer_of_its_plan(store, small_plan, small_spec):
    layout.open_root(store, "r+")["biome_04/x0"][3] = 501600.0
    with pytest.raises(InputError, match=r"is not as this plan made it .*x0 is 500960 in the plan, 501600 in"):
        check(store, small_plan, small_spec)
    edited = small_plan.copy()
    edited.loc[3, "x0"] = 501600.0
    with pytest.raises(InputError, match="its column 'x0' is not the one it was made with"):
        check(store, edited, small_spec)


def test_rows_hold_what_a_request_needs(store):
    rows = kept.rows(store)
    np.testing.assert_array_equal(rows["index"], [*range(10), *range(3)])
    assert {"tile_id", "epsg", "x0", "y0", "scale", "size", "label_id", "s2_id", "s1_id"} <= set(rows)
