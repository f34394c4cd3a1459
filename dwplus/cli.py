"""The ``dwplus`` command: one sub-command per stage."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dwplus import console
from dwplus.console import say
from dwplus.errors import InputError

app = typer.Typer(
    name="dwplus", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Dynamic World+ for any dates, anywhere: plan, export and look at land-cover data sets that pair each Dynamic "
         "World label with its Sentinel-2 scene and the Sentinel-1 scene closest in time.")
earth_app = typer.Typer(no_args_is_help=True, help="The embedded Earth: an Earth Engine that needs no key.",
                        rich_markup_mode=None)
app.add_typer(earth_app, name="earth")

World = Annotated[str | None, typer.Option(
    "--world", metavar="DIR|URL", help="An asset tree of real rasters, or the URL of a running embedded Earth.")]
Project = Annotated[str | None, typer.Option(
    "--project", metavar="ID", help="Google Cloud project with Earth Engine; without it the embedded Earth answers.")]
Store = Annotated[str, typer.Argument(metavar="STORE", help="Zarr store: a folder, s3://bucket/prefix or "
                                                            "gs://bucket/prefix.")]
Scheduler = Annotated[str, typer.Option(help="threads, processes, or the address of a Dask scheduler.")]
MaxHours = Annotated[float | None, typer.Option(
    "--max-hours", min=0, help="Stop after so many hours; shards in work are finished.")]
BudgetEecuHours = Annotated[float | None, typer.Option(
    "--budget-eecu-hours", min=0, help="Stop when so much compute is used, estimated from the time requests take.")]


def _finish(action: Callable[[], int]) -> None:
    raise typer.Exit(console.run(action))


@app.command()
def plan(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML file: name, region, windows, ...; see "
                                                              "`dwplus keys` and pipelines/regions.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PLAN", help="GeoParquet file to write.")],
    world: World = None, project: Project = None,
    budget: Annotated[float | None, typer.Option(
        "--budget", metavar="HOURS", min=1e-6, help="EECU-hours to compare the estimated cost with.")] = None,
    maps: Annotated[list[Path] | None, typer.Option(
        "--map", metavar="FILE", help="Map to write as well: FILE.html or FILE.png; may be given twice.")] = None,
) -> None:
    """Choose tiles, pair each with its scenes, and say what an export will give and cost; fetches metadata only."""
    def action() -> int:
        from dwplus.earth import connect
        from dwplus.planning.plan import describe, make_plan, write_plan
        from dwplus.planning.preview import check_map, preview, write_map
        from dwplus.spec import load_spec

        for path in maps or []:
            check_map(path)

        wanted = load_spec(spec)
        session = connect(project, world)
        say(session.description)
        made = make_plan(session, wanted, say)
        write_plan(made, output)
        for line in preview(made, budget):
            say(line)
        say(describe(made))
        for path in maps or []:
            write_map(made, path)
            say(f"map written to {path}")
        say(f"plan written to {output}")
        return 0

    _finish(action)


@app.command()
def export(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="GeoParquet file made by `dwplus plan`.")],
    store: Store, world: World = None, project: Project = None,
    scheduler: Scheduler = "threads",
    quicklooks: Annotated[bool, typer.Option(help="One PNG per biome in STORE.quicklook.")] = True,
    max_hours: MaxHours = None, budget_eecu_hours: BudgetEecuHours = None,
) -> None:
    """Fetch the planned tiles into a Zarr store; run again to go on after a stop."""
    def action() -> int:
        from pipelines.export_plan import export_and_show

        return export_and_show(plan, store, world, project, scheduler, quicklooks, max_hours, budget_eecu_hours)

    _finish(action)


@app.command()
def verify(store: Store) -> None:
    """Read a store once and check it against its checksums and itself; exit code 1 when anything is wrong."""
    def action() -> int:
        from dwplus.store.verify import verify as check

        began = time.monotonic()
        with console.count_progress("shards checked") as show:
            report = check(store, show)
        for fault in report.faults:
            say(str(fault))
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

    _finish(action)


@app.command()
def repair(store: Store, world: World = None, project: Project = None, scheduler: Scheduler = "threads") -> None:
    """Fetch again just the shards that are damaged."""
    def action() -> int:
        from dwplus.earth import EarthConfig, connect_config
        from dwplus.export.run import repair as mend
        from pipelines.export_plan import show

        config = EarthConfig(project or None, world or None)
        say(connect_config(config).description)
        with console.shard_progress() as progress:
            summary, left = mend(store, config, scheduler=scheduler, progress=progress, say=say)
        for fault in left:
            say(f"not repaired: {fault}")
        show(summary, store)
        return 0 if summary.complete and not left else 1

    _finish(action)


@app.command()
def describe(
    store: Store,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="For the card's files; default: "
                                                                                      "STORE.card.")] = None,
    card: Annotated[bool, typer.Option(help="Write the files of `dwplus card` as well.")] = True,
) -> None:
    """Say what a store holds: in words, and as Croissant, STAC collection, GeoParquet of its tiles, data card."""
    def action() -> int:
        from dwplus.report.text import describe as text

        say(text(store))
        try:
            if card:
                _write_card(store, output)
        except InputError as error:
            if output is not None:
                raise
            say(f"no card: {error}")  # nothing exported yet, or a place that can be read only
        return 0

    _finish(action)


def _write_card(store: str, output: Path | None) -> None:
    from dwplus.store.card import FILES, write_card

    say(f"{', '.join(FILES)} written to {write_card(store, output)}")


@app.command()
def split(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores whose tiles are split as one, such "
                                                                          "as several windows of a region.")],
    seed: Annotated[int | None, typer.Option(help="Order of the blocks; default: that of the store's spec.")] = None,
    guard: Annotated[float | None, typer.Option("--guard", metavar="METRES", min=0, help="Least distance between tiles "
                                                "of different splits; tiles nearer are set aside. Default: that of "
                                                "the store's spec.")] = None,
    stratify: Annotated[str, typer.Option(help="none: each block of ground by itself, as planned; biome or class: "
                                               "blocks dealt out so that each split gets its share.")] = "none",
) -> None:
    """Put the tiles of stores into train, val and test anew, by blocks of ground; pixels stay."""
    def action() -> int:
        from dwplus.splits import GUARD
        from dwplus.store import layout
        from dwplus.store.resplit import resplit

        found = resplit(stores, seed=seed, stratify=stratify, guard_metres=guard)
        counts = found["split"].value_counts()
        words = [f"{name} {counts.get(name, 0)}" for name in layout.SPLITS]
        words += [f"{counts[GUARD]} set aside for the guard"] if GUARD in counts else []
        say(f"{', '.join(words)}; {int((found['before'] != found['split']).sum())} of {len(found)} tiles changed")
        return 0

    _finish(action)


@app.command()
def report(
    store: Store,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="HTML file to write.")],
) -> None:
    """Write a page on a store: map, classes, gaps, clouds, bands, rejects, pictures; one file that fetches nothing."""
    def action() -> int:
        from dwplus.report.page import write_report

        say(f"report written to {write_report(store, output)}")
        return 0

    _finish(action)


@app.command()
def stats(
    store: Store,
    split: Annotated[str, typer.Option(help="Tiles to read: train, val, test or all.")] = "train",
) -> None:
    """Measure every band of a store and keep the figures in its attributes."""
    def action() -> int:
        from dwplus.store import stats as statistics

        with console.count_progress("shards read") as show:
            found = statistics.measure(store, split, progress=show)
        statistics.store_statistics(store, found)
        for line in statistics.describe(found):
            say(line)
        return 0

    _finish(action)


@app.command()
def card(
    store: Store,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: STORE.card.")] = None,
) -> None:
    """Describe a store for others: Croissant, STAC collection, GeoParquet of its tiles, data card."""
    def action() -> int:
        _write_card(store, output)
        return 0

    _finish(action)


@app.command()
def tile(
    store: Store,
    tile_id: Annotated[str, typer.Argument(metavar="TILE", help="Name of the tile.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.")] = Path("."),
    window: Annotated[str | None, typer.Option(metavar="START/END", help="Where a store has several.")] = None,
) -> None:
    """Write a tile as cloud-optimised GeoTIFFs: Sentinel-2, Sentinel-1, label."""
    def action() -> int:
        from dwplus.store.geotiff import write_geotiffs

        for path in write_geotiffs(store, tile_id, output, window).values():
            say(str(path))
        return 0

    _finish(action)


@app.command()
def triplets(
    store: Store,
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the GeoTIFFs.")],
    six_classes: Annotated[bool, typer.Option("--six-classes", help="Labels of the six classes of CloudLULC-Set.")
                           ] = False,
) -> None:
    """Write a store of triplets (REGION=cloudy) as folders of GeoTIFFs, laid out as CloudLULC-Set is published."""
    def action() -> int:
        from dwplus.store.folder import write_folder

        with console.count_progress("tiles written") as show:
            count = write_folder(store, output, six=six_classes, progress=show)
        say(f"{count} triplets written to {output}")
        return 0

    _finish(action)


@app.command()
def import_triplets(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder laid out as CloudLULC-Set is published.")],
    store: Store,
    biome: Annotated[int | None, typer.Option(min=1, max=14, help="Of tiles of which the folder does not say it.")
                     ] = None,
    nine_classes: Annotated[bool, typer.Option(
        "--nine-classes", help="Labels are Dynamic World's nine; else as the folder says, or the six.")] = False,
) -> None:
    """Make a store of a folder of triplets, to train and evaluate on."""
    def action() -> int:
        from dwplus.store.folder import read_folder

        with console.count_progress("tiles read") as show:
            count = read_folder(folder, store, six=False if nine_classes else None, biome=biome, progress=show)
        say(f"{count} triplets in store {store}")
        return 0

    _finish(action)


@app.command()
def doctor(
    project: Project = None, world: World = None,
    store: Annotated[str | None, typer.Option(
        "--store", metavar="DIR|URL", help="A store, or where one is to be made (default: data).")] = None,
) -> None:
    """Check Python, packages, disk, store, credentials, project, quota and GPU; exit code 1 when anything fails."""
    def action() -> int:
        from dwplus.doctor import examine

        checks = examine(project or None, world or None, store or None)
        for check in checks:
            say(str(check))
        failed = sum(check.state == "fail" for check in checks)
        say(f"{failed} failed" if failed else "ready")
        return 1 if failed else 0

    _finish(action)


@app.command()
def keys() -> None:
    """List the keys of a spec, with defaults and meaning."""
    from dwplus.spec import DatasetSpec

    def show(model: Any, prefix: str) -> None:
        for name, field in model.model_fields.items():
            optional = isinstance(field.annotation, types.UnionType)
            kinds = get_args(field.annotation) if optional else (field.annotation,)
            inner = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
            if inner is not None:
                show(inner, f"{prefix}{name}.")
                continue
            default = "required" if field.is_required() else f"default {field.default}"
            say(f"{prefix}{name}: {field.description} ({default})")

    show(DatasetSpec, "")


@earth_app.command()
def serve(
    world: Annotated[Path | None, typer.Option("--world", metavar="DIR", help="Asset tree to serve; without it the "
                                                                              "sample planet.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 0,
    latency_ms: Annotated[float, typer.Option(min=0, help="Pause before every answer.")] = 0,
    fault_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of requests answered with a fault.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(
        metavar="KEY=VALUE,...", help="A fault to inject, e.g. kind=drop,path=computePixels,count=3; kinds: status "
        "(with code), drop, truncate, garbage, slow (with seconds); also probability, skip. May be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample planet and of the faults.")] = 0,
) -> None:
    """Serve the embedded Earth on loopback; the first line of output is its URL."""
    def action() -> int:
        from dwplus.earth.session import serve_embedded

        serve_embedded(None if world is None else str(world), port=port, latency_s=latency_ms / 1000,
                       fault_rate=fault_rate, seed=seed, faults=fault or (), announce=say)
        return 0

    _finish(action)


@earth_app.command()
def functions() -> None:
    """List the functions of Earth Engine that the embedded Earth supports, then those it lacks."""
    def action() -> int:
        from dwplus.earth.session import embedded_functions

        have, lack = embedded_functions()
        say(f"supported, {len(have)}:")
        for name in have:
            say(f"  {name}")
        say(f"not supported, {len(lack)}; each answers a 400 that names it:")
        for name in lack:
            say(f"  {name}")
        return 0

    _finish(action)


def main() -> None:
    """Entry point: usage errors are one line and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except Exception as error:
        # typer ships its own click; its usage errors know their exit code and say it in one sentence.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        print(f"error: {' '.join(message().split())} (see `dwplus --help`)", file=sys.stderr)
        code = getattr(error, "exit_code", 2)
    sys.exit(code or 0)
