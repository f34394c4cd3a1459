"""Arguments and options that several commands share, each defined once, and how a command ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

import pipelines
from dwplus.runtime import console

#: What a region may be called: the specs that ship.
SHIPPED = ", ".join(sorted(path.stem for path in (Path(pipelines.__file__).parent / "regions").glob("*.yaml")))
#: Options that may be given without a word after them, which then say nothing.
MAY_BE_EMPTY = frozenset({"--layers"})

Split = Literal["train", "val", "test", "all"]

World = Annotated[str | None, typer.Option(
    "--world", metavar="DIR|URL", help="An asset tree of real rasters, or the URL of a running embedded Earth.")]
Project = Annotated[str | None, typer.Option(
    "--project", metavar="ID", help="Google Cloud project with Earth Engine; without it the embedded Earth answers.")]
Store = Annotated[str, typer.Argument(metavar="STORE", help="Zarr store: a folder, s3://bucket/prefix or "
                                                            "gs://bucket/prefix.")]
Stores = Annotated[list[str] | None, typer.Option(
    "--store", metavar="STORE...", help="Stores to read, one or several: folders or URLs. Default: data/sample.zarr.")]
Scheduler = Annotated[str, typer.Option(metavar="threads|processes|ADDRESS", help="Who works: threads of this process, "
                                        "processes of this machine, or a Dask scheduler at tcp://host:port.")]
Start = Annotated[str | None, typer.Option(metavar="DATE", help="First label date, YYYY-MM-DD.")]
End = Annotated[str | None, typer.Option(metavar="DATE", help="Day after the last label date, YYYY-MM-DD.")]
Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Folder of a run, or a checkpoint. Default: "
                                                                      "runs/<network>.")]
ReadSplit = Annotated[Split, typer.Option(help="Tiles to read.")]
Out = Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder of the result. Default: beside the "
                                                                      "weights of the run.")]
Expected = Annotated[str | None, typer.Option("--model", metavar="NETWORK", help="Refuse a checkpoint of another "
                                              "network than this.")]
Flips = Annotated[bool, typer.Option("--flips", help="Take the mean over the image and its flips along both axes: "
                                     "four times the work. Default: off.")]
Device = Annotated[str | None, typer.Option(metavar="cpu|cuda|cuda:N", help="Default: cuda where there is one.")]
Config = Annotated[str | None, typer.Option(
    "--config", metavar="NAME|FILE", help="Shipped config or YAML file. Default: with a GPU the network's own, else "
                                          "small.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE...", help="Values of the config, such as optim.epochs=10.")]
MaxHours = Annotated[float | None, typer.Option(
    "--max-hours", min=0, help="Stop after so many hours; shards in work are finished.")]
BudgetEecuHours = Annotated[float | None, typer.Option(
    "--budget-eecu-hours", min=0, help="Stop when so much compute is used: as `plan --measure` found, else "
                                           "estimated from the time requests take.")]


def finish(action: Callable[[], int]) -> None:
    """Run a command's action and leave with its exit code."""
    raise typer.Exit(console.run(action))


class ListCommand(TyperCommand):
    """A command without positional arguments whose list options take several words: ``--store a b``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as if the option stood before each of its words."""
        lists = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        return super().parse_args(ctx, list(repeated(args, lists)))


def repeated(words: Sequence[str], lists: set[str]) -> Iterator[str]:
    """The words of a command line, with the names in ``lists`` before each value that follows them.

    Values of list options are no numbers with a minus, so that a word with one begins another option.
    """
    name, bare = "", False
    for word in words:
        if word.startswith("-"):
            if bare and name not in MAY_BE_EMPTY:
                yield name
            head, equals, _ = word.partition("=")
            name, bare = (head, not equals) if head in lists else ("", False)
            if not bare:
                yield word
        elif name:
            yield from (name, word)
            bare = False
        else:
            yield word
    if bare and name not in MAY_BE_EMPTY:
        yield name
