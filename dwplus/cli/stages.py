"""The stages of a data set: plan, export, verify, repair."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dwplus.cli.options import BudgetEecuHours, End, MaxHours, Project, Scheduler, Start, Store, World, finish
from dwplus.runtime import console
from dwplus.runtime.console import say


def plan(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="YAML file: name, region, windows, ...; see `dwplus keys` "
                                                             "and pipelines/regions. Also what `make` takes: the name "
                                                             "of a shipped region, a file of polygons, a WKT text, "
                                                             "west,south,east,north (write `-- -63,...` when it begins "
                                                             "with a minus).")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PLAN", help="GeoParquet file to write.")],
    start: Start = None, end: End = None,
    world: World = None, project: Project = None,
    budget: Annotated[float | None, typer.Option(
        "--budget", metavar="HOURS", min=1e-6, help="EECU-hours to compare the estimated cost with.")] = None,
    drop: Annotated[Path | None, typer.Option(
        metavar="MARKS", help="CSV of `dwplus view`, or any with a column tile_id: tiles marked bad are rejected, "
                              "others drawn in their place.")] = None,
    measure: Annotated[bool, typer.Option(
        "--measure", help="Profile one tile and one look-up, four requests or so, and keep the EECU-seconds in the "
        "plan.")] = False,
    maps: Annotated[list[Path] | None, typer.Option(
        "--map", metavar="FILE", help="Map to write as well: FILE.html or FILE.png; may be given twice.")] = None,
) -> None:
    """Choose tiles, pair each with its scenes, say the cost.

    Fetches metadata only; says what an export will give and take.
    """
    def action() -> int:
        from dwplus.earth import connect
        from dwplus.planning.plan import describe, make_plan, write_plan
        from dwplus.planning.preview import check_map, preview, write_map
        from dwplus.store.marks import bad_tiles
        from pipelines.export_region import spec_for

        if maps:
            console.needs("maps")
        for path in maps or []:
            check_map(path)

        bad = frozenset() if drop is None else bad_tiles(drop)
        wanted = spec_for(spec, start, end)
        session = connect(project, world)
        say(session.description)
        made = make_plan(session, wanted, say, bad=bad)
        if measure:
            from dwplus.planning.measure import measure as profile

            made, found = profile(session, made)
            say(found.line)
        write_plan(made, output)
        for line in preview(made, budget):
            say(line)
        say(describe(made))
        for path in maps or []:
            write_map(made, path)
            say(f"map written to {path}")
        say(f"plan written to {output}")
        return 0

    finish(action)


def export(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="GeoParquet file made by `dwplus plan`.")],
    store: Store, world: World = None, project: Project = None,
    scheduler: Scheduler = "threads",
    quicklooks: Annotated[bool, typer.Option(help="One PNG per biome in STORE.quicklook.")] = True,
    max_hours: MaxHours = None, budget_eecu_hours: BudgetEecuHours = None,
) -> None:
    """Fetch the planned tiles into a Zarr store.

    A stopped run goes on when the same command is run again.
    """
    def action() -> int:
        from pipelines.export_plan import export_and_show

        return export_and_show(plan, store, world, project, scheduler, quicklooks, max_hours, budget_eecu_hours)

    finish(action)


def verify(store: Store) -> None:
    """Check a store against its checksums and itself.

    Reads everything once; exit code 1 when anything is wrong.
    """
    def action() -> int:
        from dwplus.store.verify import verify as check

        began = time.monotonic()
        with console.count_progress("shards checked") as show:
            report = check(store, show)
        for line in (*report.faults, *report.notes):
            say(str(line))
        seconds = max(time.monotonic() - began, 1e-9)
        counts = ", ".join(f"{n} {status}" for status, n in report.tiles.items() if n)
        size = report.bytes / 1e6
        say(f"{counts or 'no tile'}; {size:.0f} MB in {seconds:.1f} s ({size / seconds:.0f} MB/s)")
        if report.faults:
            mend = f"; `dwplus repair {store}` fetches {len(report.shards)} shards again" if report.shards else ""
            say(f"{len(report.faults)} faults{mend}")
        else:
            say("no fault")
        return 1 if report.faults else 0

    finish(action)


def repair(
    store: Store, world: World = None, project: Project = None, scheduler: Scheduler = "threads",
    digests: Annotated[bool, typer.Option("--digests", help="Add digests to a store of an earlier build; fetches "
                                                            "nothing.")] = False,
    plan: Annotated[Path | None, typer.Option("--plan", metavar="PLAN", help="The plan the store was made from, for "
                                              "columns that follow from nothing else; default: without.")] = None,
) -> None:
    """Fetch again just the shards that are damaged.

    Metadata and columns that were fixed when the store was made are put back first.
    """
    def action() -> int:
        if digests:
            return _add_digests(store)
        from dwplus.earth import EarthConfig, connect_config
        from dwplus.export.run import repair as mend
        from pipelines.export_plan import show

        config = EarthConfig(project or None, world or None)
        say(connect_config(config).description)
        with console.shard_progress() as progress:
            summary, left = mend(store, config, scheduler=scheduler, progress=progress, say=say, plan_path=plan)
        for fault in left:
            say(f"not repaired: {fault}")
        show(summary, store)
        return 0 if summary.complete and not left else 1

    finish(action)


def _add_digests(store: str) -> int:
    from dwplus.store.upgrade import add_digests

    with console.count_progress("shards read") as show:
        faults = add_digests(store, show)
    for fault in faults:
        say(str(fault))
    say(f"{len(faults)} faults; digests are added to a store that has none: `dwplus repair {store}` first" if faults
        else f"store {store} has digests")
    return 1 if faults else 0


def extend(
    store: Store,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="GeoParquet file made by `dwplus plan`: the tiles to "
                                                              "add; those the store has already are copied.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Store to make, or to go on with after a stop.")],
    world: World = None, project: Project = None, scheduler: Scheduler = "threads",
) -> None:
    """Make a store of another's tiles and a plan's.

    Tiles that are there are copied, only new ones are fetched; ids and splits stay.
    """
    def action() -> int:
        from dwplus.earth import EarthConfig, connect_config
        from dwplus.export.extend import extend as grow
        from pipelines.export_plan import show

        config = EarthConfig(project or None, world or None)
        say(connect_config(config).description)
        with console.shard_progress() as progress:
            summary, faults = grow(store, plan, out, config, scheduler=scheduler, progress=progress, say=say)
        for fault in faults:
            say(str(fault))
        show(summary, out)
        return 0 if summary.complete and not faults else 1

    finish(action)
