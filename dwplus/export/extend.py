"""A store that grows: what is there is copied, what a plan adds is fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dwplus.earth import EarthConfig, connect_config
from dwplus.errors import InputError
from dwplus.export.run import RunProgress, check_version, run_shards
from dwplus.planning import plan as plans
from dwplus.spec import DatasetSpec, radar
from dwplus.store import copies, kept
from dwplus.store.locks import only_run
from dwplus.store.places import place_of
from dwplus.store.summary import Summary
from dwplus.store.verify import Fault, verify


def extend(store: str | Path, plan_path: str | Path, out: str | Path, config: EarthConfig, *,
           scheduler: str = "threads", progress: RunProgress = lambda *_: None,
           say: Callable[[str], None] = lambda _: None) -> tuple[Summary, list[Fault]]:
    """Make a store of all tiles of a store and those that a plan adds, or go on where an earlier run stopped.

    Parameters
    ----------
    plan_path : its rows that the store has already, with the same scenes, are copied.
    out : another place; the store stays as it is.
    say : told what is copied and what is to be fetched.

    Returns
    -------
    Summary of the new store and its faults, for which it is checked at the end.

    Raises
    ------
    InputError
        For a plan of another spec, another Earth, a tile with other scenes, or a place that holds something else.
    StopError
        Where fetching cannot go on; what is there stays.
    """
    source = copies.Source.open(store)
    plan = plans.read_plan(plan_path)
    spec = plans.spec_of(plan)
    copies.check_alike(source, f"plan {plan_path}", spec)
    earth = "earth-engine" if config.project else "embedded-earth"
    if source.attributes.get("earth") != earth:
        raise InputError(f"store {store}: holds pixels of {source.attributes.get('earth')}, this run would fetch from "
                         f"{earth}; give the --project or --world it was exported from")
    check_version(store, connect_config(config).version)
    if place_of(store).name == place_of(out).name:
        raise InputError(f"store {out}: is the store to extend; choose another place")
    rows = _joined(source, plan, str(plan_path))
    both = copies.joined(source.spec, spec)
    assert isinstance(both, DatasetSpec)  # so is the plan's, and the two are alike
    with only_run(out) as hold:
        copies.begin([source], rows, both, out, _passes(source, plan))
        count = copies.copy([source], rows, out, hold)
        say(f"{count} tiles copied from {store}, {int((rows['from_store'] < 0).sum())} are new")
        summary = run_shards(out, kept.rows(out), both, config, hold, scheduler=scheduler, progress=progress)
    return summary, verify(out).faults


def _passes(source: copies.Source, plan: pd.DataFrame) -> tuple[int, int] | None:
    """Passes in reach of all tiles, and those with RTC-S1; None where the store or the plan does not say it.

    A plan that has every tile of the store speaks for both. Of another the rows that the store has not are added to
    what the store says; a tile that both their plans rejected counts twice, for a store keeps no rows of it.
    """
    if (before := radar.passes_in(source.attributes)) is None:
        return None
    own = set(source.table[copies.KEYS].astype(str).itertuples(index=False, name=None))
    known = pd.Series([key in own for key in plan[copies.KEYS].astype(str).itertuples(index=False, name=None)],
                      plan.index, dtype=bool)
    whole = len(own) == int(known.sum())
    found = radar.passes(plan if whole else plan[~known])
    if whole or found is None:
        return found
    return before[0] + found[0], before[1] + found[1]


def _joined(source: copies.Source, plan: pd.DataFrame, name: str) -> pd.DataFrame:
    """The store's rows and the plan's new ones, as a plan has them."""
    old = source.rows().assign(from_store=0)
    new = pd.DataFrame(plan[plan["state"] == "planned"].drop(columns=["geometry", "spec"], errors="ignore"))
    scenes = old.set_index(copies.KEYS)["s1_id"].to_dict()
    known = [tuple(key) for key in new[copies.KEYS].astype(str).itertuples(index=False)]
    for key, other in zip(known, new["s1_id"].astype(str), strict=True):
        if scenes.get(key, other) != other:
            raise InputError(f"plan {name}: tile {key[0]} of window {key[1]} has s1_id {other}, store {source.store} "
                             f"has {scenes[key]}; leave it out of the plan")
    new = new[[key not in scenes for key in known]]
    splits = dict(zip(old["tile_id"], old["split"], strict=True))
    new = new.assign(split=[splits.get(tile, split) for tile, split in
                            zip(new["tile_id"], new["split"].astype(str), strict=True)],
                     from_store=-1, status="pending", group="", index=-1)
    for column in set(new) - set(old):
        new = new.drop(columns=column)
    if len(new):
        for column in ("s1_time", "s2_time"):
            new[column] = new[column].astype(old[column].dtype)
    return pd.concat([old, new], ignore_index=True) if len(new) else old
