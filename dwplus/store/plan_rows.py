"""Rows of a plan in one form, whoever wrote them, and a digest of each column. Pure: no files.

A store keeps the digests of the plan it was made from, so that itself and any plan brought to it are recognised.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

#: Root attribute with the digests of the columns, by name.
KEY = "plan_digest"
#: Columns that are compared, in the order in which differences are named. ``state`` is `planned` in all of them,
#: ``size`` and ``scale`` are the spec's; what a plan says of cost, geometry and reasons decides no pixel.
IDS = ("tile_id", "window", "label_id")
CONTRACT = (*IDS, "epsg", "x0", "y0", "biome", "ecoregion", "s2_id", "s1_id", "s2_time", "s1_time", "gap_hours",
            "orbit_pass", "relative_orbit", "split")
#: The same beyond the contract, where a store has them.
MORE = ("s1_count", "coastal", "s2_product", "clear_id", "label_gap_hours", "speckle_ids")
_FLOATS, TIMES = ("x0", "y0", "gap_hours", "label_gap_hours"), ("s2_time", "s1_time")
_INTEGERS = ("epsg", "biome", "relative_orbit", "s1_count", "coastal")


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The compared columns of planned rows in one form and order, whoever wrote them: text, int64 (times in
    milliseconds since 1970, UTC) and float64, sorted by :data:`IDS`, so that a change of another column moves no row.
    """
    columns: dict[str, Any] = {}
    for name in (*CONTRACT, *MORE):
        if name not in table:
            continue
        values = table[name]
        if name in TIMES:
            columns[name] = values.to_numpy("datetime64[ms]").astype("int64")
        elif name in _INTEGERS:
            columns[name] = values.to_numpy("int64")
        elif name in _FLOATS:
            columns[name] = values.to_numpy("float64")
        else:
            columns[name] = values.astype(object).where(values.notna(), "").map(str)
    return pd.DataFrame(columns, table.index).sort_values(list(IDS), kind="stable", ignore_index=True)


def digests(table: pd.DataFrame) -> dict[str, str]:
    """A digest of each column of :func:`plain` rows, by name; order of rows and types of columns do not matter."""
    table = plain(table)
    return {str(name): hashlib.blake2b(json.dumps(table[name].tolist()).encode(), digest_size=16).hexdigest()
            for name in table}


def first_difference(plan: pd.DataFrame, store: pd.DataFrame, free: set[str]) -> str:
    """The first row and column in which two tables of :func:`plain` rows differ, in words; empty where none does."""
    ids = list(IDS if plan.duplicated(["tile_id", "window"]).any() or store.duplicated(["tile_id", "window"]).any()
               else IDS[:2])
    plan, store = (table.set_index(ids, drop=False) for table in (plan, store))
    for one, other, words in ((plan, store, "is not in the store"), (store, plan, "is missing in the plan")):
        if len(missing := one[~one.index.isin(other.index)]):
            row = missing.iloc[0]
            return f"tile_id {row['tile_id']!r} of window {row['window']} {words}" + (
                f" with label_id {row['label_id']!r}" * ("label_id" in ids))
    if not (plan.index.is_unique and store.index.is_unique):
        return "a tile is there twice"
    plan = plan.loc[store.index]
    shared = [name for name in plan if name in store and name not in free]
    differs = {name: _unlike(plan[name].to_numpy(), store[name].to_numpy()) for name in shared}
    if not (any_of := np.any(list(differs.values()), axis=0)).any():
        return ""
    first = int(np.flatnonzero(any_of)[0])
    name = next(name for name in shared if differs[name][first])
    return (f"tile {store['tile_id'].iat[first]}, window {store['window'].iat[first]}: {name} is "
            f"{_shown(plan[name].iat[first], name)} in the plan, {_shown(store[name].iat[first], name)} in the store")


def _unlike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    same: np.ndarray = one == other
    if one.dtype.kind == "f":
        same |= np.isnan(one) & np.isnan(other)
    return ~same


def _shown(value: Any, name: str) -> str:
    if name in TIMES:
        return str(pd.Timestamp(value, unit="ms").isoformat())
    return f"{value:.12g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)
