"""A store in other classes: the same tiles, pixels, places and splits, labels by another class table."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from dwplus.errors import InputError
from dwplus.spec import DatasetSpec
from dwplus.store import columns, layout, tables, writer
from dwplus.store.copies import KEPT, Source, in_order
from dwplus.store.imported import ImportSpec
from dwplus.store.legend import Legend, legend_from, legend_of
from dwplus.store.locks import only_run, sweep
from dwplus.store.places import place_of
from dwplus.store.recode import Recoding, read_table, recoding
from dwplus.store.tiles import TileReader


@dataclass(frozen=True)
class Relabelled:
    """What a relabelling did: tiles, the new legend, what became of each old class (None = ignored), pixels by new
    class.
    """

    tiles: int
    legend: Legend
    became: dict[str, str | None]
    pixels: dict[str, int]


def relabel(store: str | Path, out: str | Path, to: str,
            progress: Callable[[int, int], None] = lambda *_: None) -> Relabelled:
    """Make a store with the labels of another in other classes; a stopped run goes on.

    Tiles that are not yet exported are left out. Classes without a place in the table are ignored (255).

    Parameters
    ----------
    to : name of a class table (:data:`dwplus.taxonomy.tables.TABLES`), or a YAML file with ``classes``: each new class
        and the old ones it takes.

    Raises
    ------
    InputError
        On a bad table, a store that is there and is another, or a damaged tile.
    """
    source = Source.open(store)
    old = legend_of(source.attributes, f"store {store}")
    table, becomes = read_table(to)
    legend = legend_from(table)
    how = recoding(old, table, becomes, f"store {store}")
    rows = source.rows()
    rows = in_order(rows[rows["status"].astype(str).isin(("exported", "rejected"))])
    if not len(rows):
        raise InputError(f"store {store}: has no exported tile to relabel")
    spec = source.spec
    if isinstance(spec, ImportSpec):
        spec = spec.model_copy(update={"classes": legend.classes, "class_codes": legend.codes,
                                       "colours": legend.colours, "class_table": legend.table})
    places = how.becomes or tuple(range(len(old)))
    became = {name: legend.classes[place] if place < len(legend) else None
              for name, place in zip(old.classes, places, strict=True)}
    with only_run(out) as hold:
        _begin(source, rows, spec, out, legend, became)
        sweep(out)
        _write(source, rows, out, how, len(legend), hold.check, progress)
        tables.finish(out, hold.check)
    totals = columns.read_columns(out)[legend.counts].sum()
    return Relabelled(len(rows), legend, became, {name: int(totals[f"count_{name}"]) for name in legend.classes})


def _begin(source: Source, rows: Any, spec: DatasetSpec | ImportSpec, out: str | Path, legend: Legend,
           became: dict[str, str | None]) -> None:
    said = {"from": [source.attributes["created"], source.attributes.get("class_table", "dynamic-world")],
            "became": became}
    if place_of(out).exists():
        attributes = layout.open_root(out).attrs.asdict()
        if attributes.get("relabelled") != said or attributes.get("classes") != list(legend.classes):
            raise InputError(f"store {out}: is there and is another; choose a new place")
        return
    first = source.attributes
    kept = {key: first[key] for key in (*KEPT, "title") if key in first}
    layout.create(out, gpd.GeoDataFrame(rows), spec, created=str(first["created"]), earth=str(first["earth"]),
                  earth_version=str(first.get("earth_version", "")), attributes={**kept, "relabelled": said},
                  legend=legend)


def _write(source: Source, rows: Any, out: str | Path, how: Recoding, classes: int, still_ours: Callable[[], None],
           progress: Callable[[int, int], None]) -> None:
    reader = TileReader(source.store, exported=True)
    root = layout.open_root(out)
    jobs = []
    for name in layout.biome_groups(root):
        own = rows[rows["biome"].astype(int) == layout.biome_of_group(name)].to_dict("records")
        step = writer.array_of(layout.group_of(root, name), "status").chunks[0]
        jobs += [(name, start, own[start:start + step]) for start in range(0, len(own), step)]

    def tile(group: str, row: dict[str, Any]) -> writer.TileResult:
        if str(row["status"]) != "exported":
            return writer.TileResult(layout.REJECTED, str(row["reason"]))
        place, index = str(row["group"]), int(row["index"])
        more: dict[str, Any] = {name: reader.array(place, name, index) for name in writer.TRIPLET_PIXELS
                                if name in reader.formats(place)}
        more["extras"] = {name: reader.array(place, name, index) for name in writer.EXTRA_PIXELS
                          if name in reader.formats(place)}
        s2, s1, label = reader.read(place, index)
        return writer.TileResult(layout.EXPORTED, "", s2, s1, how(label), **more)

    def shard(job: tuple[str, int, list[dict[str, Any]]]) -> None:
        name, start, own = job
        group = layout.open_biome(out, name, "r+")
        todo = writer.unfinished(group, start, start + len(own))
        if todo:
            results = {index: tile(name, own[index - start]) for index in todo}
            still_ours()
            writer.write_shard(group, start, start + len(own), results)

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(shard, jobs), 1):
            progress(done, len(jobs))


def shares(pixels: dict[str, int]) -> str:
    """Pixels by class, as shares in words."""
    total = max(1, int(np.sum(list(pixels.values()))))
    return ", ".join(f"{name} {n / total:.1%}" for name, n in pixels.items())
