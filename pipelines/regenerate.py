"""New date windows for the tiles of a store or a plan: ``dwplus regenerate``.

The new store has the same tile ids, biomes and splits; only labels and scenes are new. Readers take both stores.
"""

from __future__ import annotations

import pandas as pd

from dwplus.earth import connect
from dwplus.errors import InputError
from dwplus.planning import plan as plans
from dwplus.runtime.console import say
from dwplus.spec import DatasetSpec, make_spec
from dwplus.store import layout
from dwplus.store.places import Bucket, companion, place_of, resolved
from dwplus.store.reader import tile_table
from pipelines.door import run_command
from pipelines.export_plan import export_and_show


def read_source(source: str) -> tuple[pd.DataFrame, DatasetSpec]:
    """Tiles and spec of a store or a plan.

    Raises
    ------
    InputError
        Where it is neither.
    """
    if not source:
        raise InputError("FROM: name a store or a plan to take the tiles from")
    if isinstance(place := place_of(source), Bucket) or place.path.is_dir():
        spec = make_spec(layout.open_root(source).attrs.asdict()["spec"], f"store {source}")  # type: ignore[arg-type]
        return tile_table(source), spec
    plan = plans.read_plan(source)
    return plan[plan["state"] == "planned"], plans.spec_of(plan)


def changes(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """What became of the pairs: tiles paired before and now, only now, only before, and the mean |gap| of both.

    Parameters
    ----------
    old, new : tables with ``tile_id``, ``gap_hours`` and (plans) ``state``.
    """
    paired_new = new[new["state"] == "planned"]
    before, now = set(old["tile_id"]), set(paired_new["tile_id"])
    return [f"{'pairs':<10}{'tiles':>8}   mean |gap|",
            f"{'before':<10}{len(before):>8}   {old['gap_hours'].abs().mean():.1f} h",
            f"{'now':<10}{len(now):>8}   {paired_new['gap_hours'].abs().mean():.1f} h",
            f"{'kept':<10}{len(before & now):>8}", f"{'gained':<10}{len(now - before):>8}",
            f"{'lost':<10}{len(before - now):>8}"]


def spec_for(old: DatasetSpec, start: str, end: str) -> DatasetSpec:
    """The spec of a data set with another window.

    Labels annotated by people have fixed dates: Dynamic World V1's take their place, on the same tiles.
    """
    raw = {**old.model_dump(mode="json"), "windows": [[start, end]]}
    if old.labels.source == "annotations":
        raw |= {"labels": {}, "tile": {**raw["tile"], "grid": "utm"}}
    return make_spec(raw, "regenerate")


def run(source: str, start: str | None, end: str | None, store: str | None, project: str | None, world: str | None,
        scheduler: str) -> int:
    """Plan the new window for the old tiles, print what changed, export."""
    if not (start and end):
        raise InputError("START and END: give the new window's first date and the day after its last")
    tiles, old_spec = read_source(source)
    spec = spec_for(old_spec, start, end)
    if spec.labels.source != old_spec.labels.source:
        say(f"{source} has drawn labels, which exist for their own dates only: the new window takes Dynamic World V1's")
    target = store or f"{source.rstrip('/').removesuffix('.zarr').removesuffix('.plan.parquet')}-{start}.zarr"
    if resolved(target) == resolved(source):
        raise InputError(f"STORE {target}: is the store the tiles come from; choose another")
    plan_path = companion(target, ".plan.parquet")
    if plan_path.exists():
        if plans.spec_of(plans.read_plan(plan_path)) != spec:
            raise InputError(f"STORE {target}: {plan_path} was planned under another spec; choose another STORE")
        say(f"plan {plan_path} is there and of the same spec: going on with it")
    else:
        session = connect(project, world)
        say(session.description)
        new = plans.make_plan(session, spec, say, kept=plans.candidates_of(tiles))
        plans.write_plan(new, plan_path)
        say(plans.describe(new))
        for line in changes(tiles, new):
            say(line)
    return export_and_show(plan_path, target, world, project, scheduler, quicklooks=True)


if __name__ == "__main__":
    run_command("regenerate")
