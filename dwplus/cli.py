"""The ``dwplus`` command: one sub-command per stage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dwplus import console
from dwplus.console import say

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
Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the Zarr store.")]


def _finish(action: Callable[[], int]) -> None:
    raise typer.Exit(console.run(action))


@app.command()
def plan(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML file: name, region, windows, ...; see "
                                                              "`dwplus keys` and pipelines/regions.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PLAN", help="GeoParquet file to write.")],
    world: World = None, project: Project = None,
) -> None:
    """Choose tiles and pair each with its scenes; fetches metadata only."""
    def action() -> int:
        from dwplus.earth import connect
        from dwplus.planning.plan import describe, make_plan, write_plan
        from dwplus.spec import load_spec

        wanted = load_spec(spec)
        session = connect(project, world)
        say(session.description)
        made = make_plan(session, wanted, say)
        write_plan(made, output)
        say(describe(made))
        say(f"plan written to {output}")
        return 0

    _finish(action)


@app.command()
def export(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="GeoParquet file made by `dwplus plan`.")],
    store: Store, world: World = None, project: Project = None,
    scheduler: Annotated[str, typer.Option(help="threads, processes, or the address of a Dask scheduler.")] = "threads",
    quicklooks: Annotated[bool, typer.Option(help="One PNG per biome in STORE.quicklook.")] = True,
) -> None:
    """Fetch the planned tiles into a Zarr store; run again to go on after a stop."""
    _finish(lambda: export_and_show(plan, store, world, project, scheduler, quicklooks))


def export_and_show(plan: Path, store: Path, world: str | None, project: str | None, scheduler: str,
                    quicklooks: bool) -> int:
    """Export, print the summary, draw the quicklooks. Returns the exit code."""
    from dwplus.earth import EarthConfig, connect_config
    from dwplus.export import by_biome_lines
    from dwplus.export import export as run_export

    config = EarthConfig(project or None, world or None)
    say(connect_config(config).description)
    with console.shard_progress() as progress:
        summary = run_export(plan, store, config, scheduler=scheduler, progress=progress)
    for line in by_biome_lines(summary):
        say(line)
    for reason, example in summary.examples.items():
        say(f"{reason}: e.g. {example}")
    say(summary.line)
    say(f"store {store}")
    if quicklooks and summary.exported:
        from dwplus.viz import quicklooks as draw

        folder = Path(f"{str(store).rstrip('/')}.quicklook")
        say(f"{len(draw(store, folder))} quicklooks in {folder}")
    return 1 if summary.failed or summary.pending else 0


@app.command()
def describe(store: Store) -> None:
    """Say what a store holds."""
    def action() -> int:
        from dwplus.report import describe as text

        say(text(store))
        return 0

    _finish(action)


@app.command()
def keys() -> None:
    """List the keys of a spec, with defaults and meaning."""
    from dwplus.spec import DatasetSpec

    def show(model: Any, prefix: str) -> None:
        for name, field in model.model_fields.items():
            inner = field.annotation
            if hasattr(inner, "model_fields"):
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
    seed: Annotated[int, typer.Option(help="Seed of the sample planet and of the faults.")] = 0,
) -> None:
    """Serve the embedded Earth on loopback; the first line of output is its URL."""
    def action() -> int:
        from dwplus.earth.session import serve_embedded

        serve_embedded(None if world is None else str(world), port=port, latency_s=latency_ms / 1000,
                       fault_rate=fault_rate, seed=seed, announce=say)
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
