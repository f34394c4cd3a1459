"""Whole flows: a region to a store, new dates, training, evaluation, comparison, explanations, maps, change."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from dwplus.cli import options
from dwplus.cli.options import (
    SHIPPED,
    Device,
    End,
    Project,
    ReadSplit,
    Scheduler,
    Settings,
    Start,
    Stores,
    World,
    finish,
)
from dwplus.runtime.console import needs

NETWORKS = "specsar_former, claire, cloudlulc_net, segformer, segformer_s2, segformer_s1, unet, late_fusion, " \
           "pixel_mlp"


class Layer(StrEnum):
    """Rasters of a map that are written on demand; an enumeration, as typer takes no list of literals."""

    PROBABILITIES = "probabilities"
    SOURCES = "sources"


def view(
    what: Annotated[str, typer.Argument(metavar="STORE|PLAN|RUN|MAP", help="A store (folder or URL), a plan "
                                        "(.parquet), the folder of a run (its predictions beside the labels), or of a "
                                        "map.")],
    store: Annotated[str | None, typer.Option("--store", metavar="STORE", help="With a run: the tiles to look at. "
                                              "Default: data/sample.zarr.")] = None,
    marks: Annotated[Path | None, typer.Option("--marks", metavar="FILE", help="CSV of what you say of tiles; default: "
                                               "beside what is looked at, <name>.marks.csv.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Look at tiles in the browser, filter and mark them.

    Map, table, pictures. Works without a network. Marks are taken by `dwplus plan --drop`, `dwplus split --drop` and
    training (`--set data.exclude=FILE`).
    """
    def action() -> int:
        needs("view")
        from pipelines.view import run

        return run(what, store, marks, port)

    finish(action)


def export_region(
    region: Annotated[str, typer.Option(metavar="REGION", help=f"A shipped region ({SHIPPED}), a spec (.yaml), a "
                                        "GeoJSON file, or west,south,east,north in degrees.")] = "sample",
    start: Start = None, end: End = None,
    store: Annotated[str | None, typer.Option(metavar="STORE", help="Store to make: a folder, s3://bucket/prefix or "
                                              "gs://bucket/prefix. Default: data/<name of the region>.zarr.")] = None,
    project: Project = None, world: World = None, scheduler: Scheduler = "threads",
) -> None:
    """Plan and export a region into a Zarr store.

    A stopped run goes on when the same command is run again.
    """
    def action() -> int:
        from pipelines.export_region import run

        return run(region, start, end, store, project, world, scheduler)

    finish(action)


def regenerate(
    source: Annotated[str, typer.Option("--from", metavar="STORE|PLAN", help="Store or plan whose tiles get new "
                                                                             "dates.")] = "",
    start: Start = None, end: End = None,
    store: Annotated[str | None, typer.Option(metavar="STORE", help="Store to make. Default: the old one's name and "
                                                                    "the first date.")] = None,
    project: Project = None, world: World = None, scheduler: Scheduler = "threads",
) -> None:
    """Export new dates for the tiles of a store or plan.

    Tile ids, biomes and splits stay; the pairs that were kept, gained and lost are said.
    """
    def action() -> int:
        from pipelines.regenerate import run

        return run(source, start, end, store, project, world, scheduler)

    finish(action)


def train(
    stores: Stores = None,
    model: Annotated[str | None, typer.Option(metavar="NETWORK[:VARIANT]", help=f"One of {NETWORKS}. Default: the "
                                                                                "config's.")] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Folder of the run. Default: runs/<network>.")] = None,
    config: options.Config = None, settings: Settings = None, device: Device = None,
) -> None:
    """Train a network on one or more stores.

    None given: on the sample, which is exported first where it is not there. A stopped run goes on.
    """
    def action() -> int:
        needs("train")
        from pipelines.train import run as flow

        return flow(stores or [], model, run, config, settings or [], device)

    finish(action)


def evaluate(
    stores: Stores = None, run: options.Run = None, split: ReadSplit = "test", out: options.Out = None,
    model: options.Expected = None, device: Device = None,
    shown: Annotated[int, typer.Option(min=0, help="Tiles on the page.")] = 8,
    without: Annotated[list[str] | None, typer.Option(metavar="CLASS...", help="Classes whose pixels are not scored, "
                                                                               "such "
                                                      "as background. Default: all are.")] = None,
    per_image: Annotated[bool, typer.Option("--per-image", help="Mean of the figures of each image, not of all pixels "
                                                                "together.")] = False,
    absent_as_zero: Annotated[bool, typer.Option("--absent-as-zero", help="Classes without a true pixel count as 0 in "
                                                                          "means.")] = False,
    window: Annotated[int | None, typer.Option(min=16, metavar="PX", help="Side of a sliding window within each tile. "
                                                                         "Default: whole tiles.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, metavar="PX", help="Step of the window. Default: its "
                                                                         "side.")] = None,
    flips: options.Flips = False,
) -> None:
    """Make tables, figures and a page of a trained network."""
    def action() -> int:
        needs("train")
        from pipelines.evaluate import run as flow

        protocol = {"without": tuple(without or ()), "per_image": per_image, "absent_as_zero": absent_as_zero,
                    "window": window, "stride": stride}
        return flow(stores or [], run, split, out, model, device, shown, protocol if any(protocol.values()) else None,
                    flips)

    finish(action)


def compare(
    stores: Stores = None,
    models: Annotated[list[str] | None, typer.Option(
        metavar="NETWORK[:VARIANT][,KEY=VALUE]...", help="Networks; the first is what the others are held against. "
        "Keys with a dot are the config's (loss.name=rift), others the network's (orm=false). Default: all the usual "
        "ones.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the runs and the table.")] = "runs/compare",
    config: options.Config = None, settings: Settings = None,
    seeds: Annotated[list[int], typer.Option(metavar="N...", help="Each network is trained once per seed.")] = [0],  # noqa: B006
    split: ReadSplit = "test",
    speed_seconds: Annotated[float, typer.Option("--speed-seconds", min=0, help="That the speed of each is measured.")
                             ] = 3.0,
    device: Device = None,
) -> None:
    """Train and evaluate several networks: one table.

    All under one budget, each with an interval on its difference from the first.
    """
    def action() -> int:
        needs("train")
        needs("classify")
        from pipelines.compare import run as flow

        return flow(stores or [], models or [], out, config, settings or [], seeds, split, device, speed_seconds)

    finish(action)


def explain(
    stores: Stores = None, run: options.Run = None, split: ReadSplit = "test", out: options.Out = None,
    model: options.Expected = None,
    lm: Annotated[str | None, typer.Option("--lm", metavar="DIR|URL", help="Causal language model, or a llama.cpp "
                                           "server. Default: none, a template.")] = None,
    limit: Annotated[int | None, typer.Option(help="Explain this many tiles only.")] = None,
    device: Device = None,
) -> None:
    """Put a trained network's maps into words, tile by tile.

    From measured facts, by a template or by a language model of yours.
    """
    def action() -> int:
        needs("train")
        from pipelines.explain import run as flow

        return flow(stores or [], run, split, out, model, device, lm, limit)

    finish(action)


def map_region(
    region: Annotated[str | None, typer.Option(metavar="REGION", help=f"west,south,east,north, a GeoJSON file, a spec, "
                                               f"or a shipped region ({SHIPPED}). Default: a corner of the sample "
                                               "planet, or all of STORE.")] = None,
    start: Start = None, end: End = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Folder of a run, or a checkpoint. Default: "
                                            "runs/<network>, trained first where it is not there.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NETWORK", help="Network of the default run. Default: "
                                                                      "specsar_former.")] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the map. Default: maps/<name of the "
                                                                "region>.")] = None,
    store: Annotated[str | None, typer.Option(metavar="STORE", help="Map the tiles of a store in place of Earth "
                                                                    "Engine's pixels.")] = None,
    project: Project = None, world: World = None, scheduler: Scheduler = "threads", device: Device = None,
    batch: Annotated[int | None, typer.Option(help="Windows the network sees at once. Default: by device.")] = None,
    dates: Annotated[str, typer.Option(metavar="best|all|N", help="Scenes of a block: best, all, or a number of the "
                                       "clearest; several are merged by summed probabilities.")] = "best",
    clouds: Annotated[Literal["mask", "keep"], typer.Option(
        help="What Dynamic World calls cloud or shadow: no data, or mapped all the same.")] = "mask",
    layers: Annotated[list[Layer] | None, typer.Option(help="Write these as well; sources are dates and gaps.")] = None,
    margin: Annotated[int, typer.Option(help="Pixels at a window's edge that are dropped.")] = 32,
    ramp: Annotated[int, typer.Option(help="Pixels over which two windows are blended.")] = 32,
    polygons: Annotated[str | None, typer.Option(metavar="FILE", help="Areas for each polygon of this file (GeoJSON, "
                                                                      "GeoPackage, shapefile).")] = None,
    name_field: Annotated[str | None, typer.Option("--name-field", metavar="PROPERTY", help="With the polygons' "
                                                                                            "names.")] = None,
    reference: Annotated[str | None, typer.Option(
        metavar="FILE", help="Points drawn at random within each class of this very map, with columns true and map. "
                             "Default: none, areas are pixel counts; dwplus sample and assess are the way to "
                             "estimates.")] = None,
    transfer: Annotated[str | None, typer.Option(
        metavar="run|FILE", help="Also take over the correction that an evaluation found on other ground: that of the "
                                 "run, or blocks.csv of one. No estimate, without an interval; refused where the map "
                                 "has a biome that was not evaluated. Default: none.")] = None,
    flips: options.Flips = False,
) -> None:
    """Map a region with a trained network.

    Makes GeoTIFFs, areas and pictures; a stopped run goes on when the same command is run again.
    """
    def action() -> int:
        needs("train", "maps")
        from pipelines.map_region import Options, run_with_defaults

        return run_with_defaults(Options(
            region, start, end, run or "", out, store, project, world, scheduler, device, batch, dates, clouds,
            tuple(str(layer) for layer in layers or ()), margin, ramp, polygons, name_field, reference,
            transfer, flips), model)

    finish(action)


def change(
    before: Annotated[str, typer.Option(metavar="MAP", help="Folder of the earlier map.")],
    after: Annotated[str, typer.Option(metavar="MAP", help="Folder of the later map.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV file. Default: "
                                                                  "AFTER/change_from_<before>.csv.")] = None,
) -> None:
    """Count what became what between two maps."""
    def action() -> int:
        from pipelines.map_change import run

        return run(before, after, None if out is None else str(out))

    finish(action)
