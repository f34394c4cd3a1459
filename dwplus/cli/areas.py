"""What a map is worth: points to label, and accuracy and areas of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dwplus.cli.options import finish
from dwplus.runtime.console import needs

#: Named once: both commands take it.
MAP_HELP = "Folder of a map (dwplus map), or of a change between two (dwplus change)."


def sample(
    folder: Annotated[str, typer.Argument(metavar="MAP", help=MAP_HELP)],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Table to write, .csv or .gpkg: both "
                                        "are written, and the labelling page beside them.")],
    count: Annotated[int, typer.Option("-n", "--points", metavar="N", min=2, help="Points.")] = 500,
    design: Annotated[Literal["stratified", "simple", "two-stage"], typer.Option(
        help="Stratified by the map's classes; simple, of all pixels alike; two-stage, blocks and then points in "
             "each, for which fewer scenes are looked at.")] = "stratified",
    allocation: Annotated[Literal["proportional", "equal", "neyman"], typer.Option(
        help="Points of the strata: as their areas, all alike, or as area times expected scatter.")] = "proportional",
    least: Annotated[int | None, typer.Option(min=2, help="Points that every class gets at least; stratified samples "
                                                          "only. Default: 20, in small samples what half of the "
                                                          "points give.")] = None,
    per_block: Annotated[int, typer.Option("--per-block", min=1, help="Points in a block of a two-stage sample.")] = 10,
    expected: Annotated[str | None, typer.Option(
        metavar="ACCURACY", help="Expected accuracy, for the power table and Neyman: a number, or class=number,... "
                                 "Default: 0.8.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw; it is written to the table.")] = 0,
    page: Annotated[bool, typer.Option(help="Write the labelling page.")] = True,
    chips: Annotated[bool, typer.Option(help="Put pictures of the map's own scenes on the page.")] = True,
) -> None:
    """Draw a sample of a map to label.

    Says first what accuracy how many points give. The page works without a network.
    """
    def action() -> int:
        if page and chips:
            needs("report")
        from dwplus.maps.sample import Plan
        from pipelines.map_sample import run

        return run(folder, Plan(count, design, allocation, least, per_block, None, seed), expected, output, page,
                   chips)

    finish(action)


def assess(
    folder: Annotated[str, typer.Argument(metavar="MAP", help=MAP_HELP)],
    samples: Annotated[list[str], typer.Argument(
        metavar="FILE...", help="Labelled sample: what the page saves, or a table of dwplus sample with the column "
                                "reference filled in; several of one sample are of several interpreters.")],
    interval: Annotated[Literal["wilson", "agresti-coull", "normal"], typer.Option(
        help="95 % intervals: the first two have a width where few points agree; normal is the form that papers "
             "print.")] = "wilson",
    consensus: Annotated[Literal["majority", "unanimous", "last"], typer.Option(
        help="Which label stands where interpreters differ: that of most, none, or the last file's.")] = "majority",
    polygons: Annotated[str | None, typer.Option(metavar="FILE", help="Also areas for each polygon of this file.")
                        ] = None,
    name_field: Annotated[str | None, typer.Option("--name-field", metavar="PROPERTY", help="With the polygons' "
                                                                                            "names.")] = None,
    post: Annotated[bool, typer.Option("--post-stratify/--design-weights", help="Weight points to the map's own "
                                       "counts, or leave the weights of the draw.")] = True,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder of the tables and the page. "
                                             "Default: FILE.assessment.")] = None,
) -> None:
    """Estimate accuracy and areas from a labelled sample.

    Error matrix, overall, user's and producer's accuracy, F1 and areas, with 95 % intervals.
    """
    def action() -> int:
        from pipelines.map_assess import Options, run

        return run(Options(folder, samples, interval, consensus, polygons, name_field,
                           None if out is None else str(out), post))

    finish(action)
