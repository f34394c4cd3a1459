"""Data sets of others into stores, and stores into other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dwplus.cli.options import ReadSplit, Store, finish
from dwplus.runtime import console
from dwplus.runtime.console import say

#: As :data:`dwplus.importers.NAMES`, which is not loaded for a help text; a test compares them.
SETS = ("whu-opt-sar", "pie-rgb-sar", "openearthmap-sar", "dfc2020", "sen12ms", "cloudlulc-set", "mmearth", "folder")


def import_set(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Data set: {', '.join(SETS)}; folder is one of your own, "
                                                             "told by a YAML file.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder it was unpacked to.")],
    store: Store,
    codes: Annotated[str | None, typer.Option(metavar="CODE=CLASS,...|FILE", help="What the codes of the labels are, "
                                                                                  "as "
                     "in 1=water,2=forest,0=ignore. Default: as published.")] = None,
    scale: Annotated[float | None, typer.Option(metavar="FACTOR", min=0, help="From optical values to reflectance x "
                     "10000, or to grey values of 0 to 255; 10000 for reflectance from 0 to 1. Default: 1, where the "
                     "range of the values allows it.")] = None,
    s1_unit: Annotated[Literal["dB", "linear", "display"] | None, typer.Option(
        "--s1-unit", help="Unit of the radar files; linear power is turned into dB. Default: as published, or by the "
                          "range where that is sure.")] = None,
    splits: Annotated[str | None, typer.Option(metavar="official|spatial|random|FILE", help="Which tiles train, "
                                                                                            "validate "
                      "and test; FILE is a CSV with columns name and split. Default: as published, else as the set "
                      "allows, which is said.")] = None,
    tile: Annotated[int | None, typer.Option(min=16, max=8192, help="Side of the tiles, px. Default: 512 for large "
                                                                    "images, else that of the images.")] = None,
    edge: Annotated[Literal["pad", "shift", "drop"], typer.Option(
        help="Last row and column of an image that is no multiple of the tile: padded without data, moved inwards, or "
             "left out.")] = "pad",
    layout: Annotated[Path | None, typer.Option(metavar="FILE", help="folder: the YAML file. Default: "
                                                                     "FOLDER/import.yaml.")] = None,
    labels: Annotated[str | None, typer.Option(metavar="dynamic-world|esa-worldcover", help="mmearth: which labels. "
                                               "Default: dynamic-world.")] = None,
) -> None:
    """Make a store of a public data set or a folder.

    Every file is looked at before anything is written; a stopped import goes on.
    """
    def action() -> int:
        from dwplus.importers import Options, parse_codes
        from dwplus.importers import import_set as run

        if name == "mmearth":
            console.needs("import")
        options = Options(parse_codes(codes) if codes else None, scale or None, s1_unit, splits, tile, edge, layout,
                          labels)
        with console.count_progress("pairs looked at") as looking, console.count_progress("shards") as writing:
            summary = run(name, folder, store, options, say=say, looking=looking, writing=writing)
        for example in summary.examples:
            say(f"  {example}")
        say(summary.line)
        say(f"splits: {', '.join(f'{word} {n}' for word, n in sorted(summary.splits.items()))}")
        return 1 if summary.failed else 0

    finish(action)


def relabel(
    store: Store,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Store to make, or to go on with after a stop.")],
    to: Annotated[str, typer.Option("--to", metavar="TABLE|FILE", help="Class table (dynamic-world, esa-worldcover, "
                                    "cloudlulc, openearthmap, dfc2020, ...), or a YAML file: classes, each with the "
                                    "old "
                                    "ones it takes.")],
) -> None:
    """Make a store with the labels of another in other classes.

    Pixels, places and splits stay; classes without a counterpart are ignored, and said.
    """
    def action() -> int:
        from dwplus.store.relabel import relabel as run
        from dwplus.store.relabel import shares

        with console.count_progress("shards relabelled") as show:
            found = run(store, out, to, show)
        for old, new in found.became.items():
            say(f"  {old} -> {new or 'ignored'}")
        say(f"{found.tiles} tiles in the classes of {found.legend.table}: {shares(found.pixels)}")
        return 0

    finish(action)


def export_tar(
    store: Store,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New folder for the files.")],
    split: ReadSplit = "all",
    per_file: Annotated[int, typer.Option("--per-file", min=1, metavar="N", help="Samples of a file.")] = 64,
) -> None:
    """Write a store as tar files of samples, for WebDataset.

    Arrays as .npy, each tile's columns as .json, classes and bands in dataset.json.
    """
    def action() -> int:
        from dwplus.store.tars import export_tar as run

        with console.count_progress("tiles") as show:
            files = run(store, output, split=split, per_file=per_file, progress=show)
        say(f"{len(files)} files in {output}")
        return 0

    finish(action)


def model_export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run (its best weights), or a checkpoint.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New folder for the files.")],
    size: Annotated[int | None, typer.Option(min=16, metavar="PX", help="Side of the images. Default: that of the "
                                                                        "tiles "
                                                                        "it was trained on.")] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images at once.")] = 1,
    onnx: Annotated[bool, typer.Option(help="Write ONNX too, and compare what ONNX Runtime says.")] = True,
) -> None:
    """Write a trained network for others.

    ONNX and torch.export with the normalisation inside, weights, config with labels, model card.
    """
    def action() -> int:
        console.needs("train", *(["onnx"] if onnx else []))
        from model.export import export_model

        found = export_model(run, output, size=size, onnx=onnx, batch=batch)
        far = ", ".join(f"{kind} {value:.1e}" for kind, value in found["largest_difference"].items())
        say(f"{', '.join(found['files'])} in {output}, for images of {found['size']} px")
        say(f"largest difference of a probability to the network: {far}")
        return 0

    finish(action)
