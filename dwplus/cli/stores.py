"""What is done with a store: described, split, measured, shown, taken out of and into other forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from dwplus.cli.options import ReadSplit, Store, finish
from dwplus.errors import InputError
from dwplus.runtime import console
from dwplus.runtime.console import say


def describe(
    store: Store,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="For the card's files; default: "
                                                                                      "STORE.card.")] = None,
    card: Annotated[bool, typer.Option(help="Write the files of `dwplus card` as well.")] = True,
) -> None:
    """Say what a store holds, and write its card.

    In words, and as Croissant, STAC collection, GeoParquet of its tiles, data card.
    """
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

    finish(action)


def _write_card(store: str, output: Path | None) -> None:
    from dwplus.store.card import FILES, write_card

    say(f"{', '.join(FILES)} written to {write_card(store, output)}")


def split(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores whose tiles are split as one, such "
                                                                          "as several windows of a region.")],
    seed: Annotated[int | None, typer.Option(help="Order of the blocks; default: that of the store's spec.")] = None,
    guard: Annotated[float | None, typer.Option("--guard", metavar="METRES", min=0, help="Least distance between tiles "
                                                "of different splits; tiles nearer are set aside. Default: that of "
                                                "the store's spec.")] = None,
    stratify: Annotated[Literal["none", "biome", "class"], typer.Option(
        help="none: each block of ground by itself, as planned; biome or class: blocks dealt out so that each split "
             "gets its share.")] = "none",
    drop: Annotated[Path | None, typer.Option(
        metavar="MARKS", help="CSV of `dwplus view`, or any with a column tile_id: tiles marked bad are set aside, "
                              "in no split.")] = None,
) -> None:
    """Split the tiles of stores anew, by blocks of ground.

    Into train, val and test; pixels stay.
    """
    def action() -> int:
        from dwplus.splits import GUARD, missing, missing_words
        from dwplus.store import layout
        from dwplus.store.marks import bad_tiles
        from dwplus.store.resplit import resplit

        bad = frozenset() if drop is None else bad_tiles(drop)
        found = resplit(stores, seed=seed, stratify=stratify, guard_metres=guard, bad=bad)
        counts = found["split"].value_counts()
        words = [f"{name} {counts.get(name, 0)}" for name in layout.SPLITS]
        why = "for the guard" if drop is None else "in no split"
        words += [f"{counts[GUARD]} set aside {why}"] if GUARD in counts else []
        say(f"{', '.join(words)}; {int((found['before'] != found['split']).sum())} of {len(found)} tiles changed")
        for line in missing_words(missing(found, found["split"].tolist())):
            say(line)
        return 0

    finish(action)


def subset(
    store: Store,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Store to make, or to go on with after a stop.")],
    where: Annotated[str, typer.Option(metavar="CONDITION", help="Which tiles, such as 'biome == 9 and gap_hours < "
                                       "24'; columns are those of tiles.parquet.")],
) -> None:
    """Make a store of some of a store's tiles."""
    def action() -> int:
        from dwplus.store.copies import subset as take

        with console.count_progress("shards copied") as show:
            faults = take(store, out, where, show)
        return _copied(out, faults)

    finish(action)


def merge(
    stores: Annotated[list[str], typer.Argument(metavar="A B OUT", help="Two stores or more of one spec, and the store "
                                                                         "to make of them.")],
) -> None:
    """Make a store of the tiles of several."""
    def action() -> int:
        from dwplus.store.copies import merge as join

        if len(stores) < 3:
            raise InputError("merge: takes two stores or more and the one to make, as in `dwplus merge A B OUT`")
        *sources, out = stores
        with console.count_progress("shards copied") as show:
            faults = join(sources, out, show)
        return _copied(out, faults)

    finish(action)


def _copied(out: str, faults: Sequence[object]) -> int:
    from dwplus.store.summary import summarise

    for fault in faults:
        say(str(fault))
    say(f"store {out}: {summarise(out).line}; {f'{len(faults)} faults' if faults else 'no fault'}")
    return 1 if faults else 0


def report(
    store: Store,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="HTML file to write.")],
) -> None:
    """Write a page on a store, in one HTML file.

    Map, classes, gaps, clouds, bands, rejects, pictures; it fetches nothing.
    """
    def action() -> int:
        console.needs("report")
        from dwplus.report.page import write_report

        say(f"report written to {write_report(store, output)}")
        return 0

    finish(action)


def stats(
    store: Store,
    split: ReadSplit = "train",
) -> None:
    """Measure every band of a store.

    The figures are kept in its attributes.
    """
    def action() -> int:
        from dwplus.store import stats as statistics

        with console.count_progress("shards read") as show:
            found = statistics.measure(store, split, progress=show)
        statistics.store_statistics(store, found)
        for line in statistics.describe(found):
            say(line)
        return 0

    finish(action)


def card(
    store: Store,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: STORE.card.")] = None,
) -> None:
    """Describe a store for others.

    As Croissant, STAC collection, GeoParquet of its tiles, data card.
    """
    def action() -> int:
        _write_card(store, output)
        return 0

    finish(action)


def tile(
    store: Store,
    tile_id: Annotated[str | None, typer.Argument(metavar="TILE", help="Name of the tile. Default: the first that was "
                                                                       "exported.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.")] = Path("."),
    window: Annotated[str | None, typer.Option(metavar="START/END", help="Where a store has several.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the tiles and what became of them; write "
                                                          "nothing.")] = False,
) -> None:
    """Write a tile as cloud-optimised GeoTIFFs.

    Sentinel-2, Sentinel-1, label.
    """
    def action() -> int:
        from dwplus.store.geotiff import write_geotiffs
        from dwplus.store.reader import first_exported, tile_table

        if list_all:
            for row in tile_table(store, ("tile_id", "window", "status", "biome", "split")).itertuples():
                say(f"{row.tile_id}  {row.window}  {row.status}  biome {row.biome}  {row.split}")
            return 0
        if tile_id is None:
            first, its_window = first_exported(store, window)
            for path in write_geotiffs(store, first, output, its_window).values():
                say(str(path))
            return 0
        for path in write_geotiffs(store, tile_id, output, window).values():
            say(str(path))
        return 0

    finish(action)


def triplets(
    store: Store,
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the GeoTIFFs.")],
    six_classes: Annotated[bool, typer.Option("--six-classes", help="Labels of the six classes of CloudLULC-Set.")
                           ] = False,
) -> None:
    """Write a store of triplets as folders of GeoTIFFs.

    Of REGION=cloudy, laid out as CloudLULC-Set is published.
    """
    def action() -> int:
        from dwplus.store.folder import write_folder

        with console.count_progress("tiles written") as show:
            count = write_folder(store, output, six=six_classes, progress=show)
        say(f"{count} triplets written to {output}")
        return 0

    finish(action)


def import_triplets(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder laid out as CloudLULC-Set is published.")],
    store: Store,
    biome: Annotated[int | None, typer.Option(min=1, max=14, help="Of tiles of which the folder does not say it.")
                     ] = None,
    nine_classes: Annotated[bool, typer.Option(
        "--nine-classes", help="Labels are Dynamic World's nine; else as the folder says, or the six.")] = False,
    scale: Annotated[float | None, typer.Option(metavar="FACTOR", min=1e-9, help="From optical values to reflectance x "
                                                "10000. Default: 1, where their range allows it.")] = None,
    s1_unit: Annotated[Literal["dB", "linear"] | None, typer.Option("--s1-unit", help="Unit of the radar files; linear "
                       "power is turned into dB. Default: dB, where their range allows it.")] = None,
) -> None:
    """Make a store of triplets, in Dynamic World's classes.

    `dwplus import cloudlulc-set` keeps the six classes of the set.
    """
    def action() -> int:
        from dwplus.store.folder import read_folder

        with console.count_progress("tiles read") as show:
            count = read_folder(folder, store, six=False if nine_classes else None, biome=biome, scale=scale,
                                s1_unit=s1_unit, progress=show)
        say(f"{count} triplets in store {store}")
        return 0

    finish(action)
