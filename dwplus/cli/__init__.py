"""The ``dwplus`` command: one sub-command per stage. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from dwplus.cli import areas, flows, imports, machine, stages, stores
from dwplus.cli.options import ListCommand
from dwplus.runtime.console import complain, trace
from dwplus.runtime.names import VERSION

__all__ = ["app", "main"]

app = typer.Typer(
    name="dwplus", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Dynamic World+ for any dates, anywhere: plan, export and look at land-cover data sets that pair each Dynamic "
         "World label with its Sentinel-2 scene and the Sentinel-1 scene closest in time; train networks, draw maps.")
earth_app = typer.Typer(no_args_is_help=True, help="The embedded Earth: an Earth Engine that needs no key.",
                        rich_markup_mode=None)

model_app = typer.Typer(no_args_is_help=True, help="Trained networks, for others.", rich_markup_mode=None)

#: Commands in the order of ``--help``, which is that of the way through; those of ``LISTS`` take lists of words.
COMMANDS: dict[str, Callable[..., None]] = {
    "export-region": flows.export_region, "regenerate": flows.regenerate, "plan": stages.plan, "export": stages.export,
    "verify": stages.verify, "repair": stages.repair, "describe": stores.describe, "report": stores.report,
    "stats": stores.stats, "card": stores.card, "split": stores.split, "extend": stages.extend,
    "subset": stores.subset, "merge": stores.merge, "tile": stores.tile, "triplets": stores.triplets,
    "import": imports.import_set, "import-triplets": stores.import_triplets,
    "relabel": imports.relabel, "export-tar": imports.export_tar, "train": flows.train,
    "evaluate": flows.evaluate,
    "compare": flows.compare, "explain": flows.explain, "map": flows.map_region, "change": flows.change,
    "sample": areas.sample, "assess": areas.assess,
    "view": flows.view, "doctor": machine.doctor, "keys": machine.keys}
LISTS = ("train", "evaluate", "compare", "explain", "map")

for _name, _command in COMMANDS.items():
    app.command(_name, cls=ListCommand if _name in LISTS else None)(_command)
earth_app.command("serve")(machine.serve)
earth_app.command("functions")(machine.functions)
earth_app.command("sites")(machine.sites)
app.add_typer(earth_app, name="earth")
model_app.command("export")(imports.model_export)
app.add_typer(model_app, name="model")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dwplus {VERSION}")
        raise typer.Exit


@app.callback()
def common(version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True,
                                                 help="Say the version and leave.")] = False) -> None:
    """Options of ``dwplus`` itself; the help is that of ``app``."""


def main() -> None:
    """Entry point: usage errors are one line and exit code 2; a trace of what nobody foresaw holds no secret."""
    sys.excepthook = trace
    try:
        code = app(prog_name="dwplus", standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except Exception as error:
        # typer ships its own click; its usage errors know their exit code and say it in one sentence.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        where = getattr(getattr(error, "ctx", None), "command_path", "dwplus")
        text = message()  # no word at all is answered with the help
        complain(text if text.startswith("Usage:") else f"error: {' '.join(text.split())} (see `{where} --help`)")
        code = getattr(error, "exit_code", 2)
    sys.exit(code or 0)
