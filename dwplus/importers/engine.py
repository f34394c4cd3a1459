"""The engine that all importers share: probe, lay out, cut, convert, write; shard by shard, and on where it stopped."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path
from threading import Lock
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from dwplus.errors import InputError
from dwplus.errors.reasons import Reason
from dwplus.grid import PixelGrid
from dwplus.importers import tiling
from dwplus.importers.base import DataSet, Found, Options, Pair, Raw
from dwplus.importers.probe import Probed, probe
from dwplus.runtime.paths import all_below
from dwplus.spec import differences
from dwplus.store import layout, tables, units, writer
from dwplus.store.imported import (
    EARTH,
    NO_BIOME,
    NO_WINDOW,
    Bands,
    ImportSpec,
    Origin,
    Source,
    Tile,
    spec_of,
)
from dwplus.store.legend import DECIBEL
from dwplus.store.locks import Hold, only_run, sweep
from dwplus.store.places import place_of
from dwplus.taxonomy import IGNORE

Progress = Callable[[int, int], None]
#: Scenes that are kept in memory while their tiles are cut.
SCENES_IN_MEMORY = 4


@dataclass
class Summary:
    """What became of an import: tiles by status, examples of reasons, notes on the set, seconds of writing."""

    tiles: int
    exported: int
    rejected: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    written: int = 0

    @property
    def line(self) -> str:
        """The sum, in one line."""
        parts = [f"{self.exported} imported", *(f"{n} rejected:{reason}" for reason, n in self.rejected.items()),
                 *(f"{n} failed:{reason}" for reason, n in self.failed.items())]
        rate = f", {self.written / self.seconds:.0f} tiles/s" if self.written and self.seconds else ""
        return f"{self.tiles} tiles = {' + '.join(parts)}{rate}"


def run(data: DataSet, found: Found, folder: Path, store: str | Path, options: Options, *,
        say: Callable[[str], None] = lambda _: None, looking: Progress = lambda *_: None,
        writing: Progress = lambda *_: None) -> Summary:
    """Import a set.

    Parameters
    ----------
    say : told what was found. looking, writing : progress in pairs and in shards.

    Raises
    ------
    InputError
        With the first thing that is wrong; then no store is made. Where the store is there and of another import.
    """
    all_below(folder, (path for pair in found.pairs for path in pair.files), f"folder {folder}: file")
    probed = probe(data, found, options, looking)
    spec = make_spec(data, found, folder, probed, options)
    rows = plan(data, found, probed, spec)
    for line in _lines(data, found, probed, spec, rows):
        say(line)
    with only_run(store) as hold:
        if place_of(store).exists():
            kept = spec_of(layout.open_root(store).attrs.asdict(), f"store {store}")
            if changed := differences(kept, spec):
                raise InputError(f"store {store}: is there and of another import ({'; '.join(changed[:3])}); choose "
                                 "another STORE, or remove it")
        else:
            layout.create(store, rows, spec, created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), earth=EARTH,
                          attributes=provenance(data, found, folder, probed, options))
        began = time.perf_counter()
        written = _write(store, found, rows, spec, probed, data, hold, writing)
        summary = summarise(store, rows, probed)
        tables.finish(store, hold.check)
        summary.seconds, summary.written = time.perf_counter() - began, written
        return summary


def make_spec(data: DataSet, found: Found, folder: Path, probed: Probed, options: Options) -> ImportSpec:
    """What the store is made of."""
    sizes = {max(header.height, header.width) for header in probed.headers}
    size = options.tile or min(data.tile or max(sizes), max(sizes))
    names = (data.optical_bands, data.radar_bands)
    radar = DECIBEL if probed.radar_unit == units.LINEAR else probed.radar_unit
    pixels = {header.georeference.pixel for header in probed.headers if header.georeference.epsg}
    digest = hashlib.blake2b(digest_size=16)
    for pair in found.pairs:
        digest.update(repr([pair.name, pair.split, *(path.stat().st_size for path in pair.files)]).encode())
    return ImportSpec(
        name=data.name, classes=probed.table.classes, class_codes=probed.table.codes, colours=probed.table.colours,
        class_table=probed.table.name,
        band_units={**dict.fromkeys(names[0], data.optical_unit), **dict.fromkeys(names[1], radar)},
        tile=Tile(size=size, scale=next(iter(pixels)) if len(pixels) == 1 else data.pixel, edge=options.edge),
        sentinel2=Bands(bands=names[0]), sentinel1=Bands(bands=names[1]), labels=Source(source=data.name),
        origin=Origin(dataset=data.name, files=len(found.pairs), digest=digest.hexdigest(),
                      codes={str(code): int(probed.lookup[code]) for code in range(256) if probed.lookup[code] >= 0},
                      scale=probed.scale, s1_unit=probed.radar_unit, splits=found.splits))


def plan(data: DataSet, found: Found, probed: Probed, spec: ImportSpec) -> gpd.GeoDataFrame:
    """A row per tile, in the order of the store."""
    rows = []
    for number, (pair, header) in enumerate(zip(found.pairs, probed.headers, strict=True)):
        corners = tiling.cut(header.height, header.width, spec.tile.size, spec.tile.edge)
        one = len(corners) == 1
        for row, column in corners:
            rows.append({
                "pair": number, "tile_id": pair.name if one else f"{pair.name}_r{row:05d}_c{column:05d}",
                "scene": pair.scene or pair.name, "scene_row": row, "scene_col": column, "split": pair.split,
                "published_split": pair.published, "label_id": pair.label.paths[0].name,
                "s2_id": pair.optical.paths[0].name, "s1_id": ",".join(path.name for path in pair.radar.paths),
                **_georeferenced(pair, header.georeference, spec, row, column)})
    if not rows:
        raise InputError(f"{data.name}: no scene is as large as a tile of {spec.tile.size} px; give a smaller --tile, "
                         f"or "
                         "--edge pad")
    table = pd.DataFrame(rows)
    if (twice := table["tile_id"].duplicated()).any():
        raise InputError(f"{data.name}: two pairs are named {table['tile_id'][twice].iat[0]}")
    if any(pair.product for pair in found.pairs):
        table["s2_product"] = [found.pairs[number].product for number in table["pair"]]
    table = table.assign(
        window=NO_WINDOW, ecoregion="", orbit_pass="", biome=NO_BIOME, coastal=0, gap_hours=math.nan, s1_count=1,
        s2_cloud=math.nan, relative_orbit=-1, state="planned", reason="", size=spec.tile.size, scale=spec.tile.scale,
        s1_time=pd.Series(pd.NaT, table.index, dtype="datetime64[ms, UTC]"),
        s2_time=pd.Series(pd.NaT, table.index, dtype="datetime64[ms, UTC]"))
    return gpd.GeoDataFrame(table, geometry=np.full(len(table), shapely.Point(), object), crs="EPSG:4326")


def _georeferenced(pair: Pair, georeference: Any, spec: ImportSpec, row: int, column: int) -> dict[str, Any]:
    """Where a tile lies; 0 and NaN where that is not known, or its pixels are not those of the store."""
    if not georeference.epsg or not math.isclose(georeference.pixel, spec.tile.scale, rel_tol=1e-6):
        return {"epsg": 0, "x0": math.nan, "y0": math.nan, "lon": pair.lon, "lat": pair.lat}
    x0, y0 = georeference.x0 + column * georeference.pixel, georeference.y0 - row * georeference.pixel
    lon, lat = PixelGrid(georeference.epsg, x0, y0, spec.tile.scale, spec.tile.size, spec.tile.size).center
    return {"epsg": georeference.epsg, "x0": x0, "y0": y0, "lon": lon, "lat": lat}


def provenance(data: DataSet, found: Found, folder: Path, probed: Probed, options: Options) -> dict[str, Any]:
    """What the store's root says of where it comes from."""
    sources = {name: {"collection": data.title, "licence": data.licence, "attribution": data.references or data.title}
               for name in ("labels", "optical", "radar")}
    return {
        "title": data.title, "license": data.licence, "source": data.source, "references": data.references,
        "sources": sources,
        "import": {
            "dataset": data.name, "folder": folder.resolve().name, "pairs": len(found.pairs), "splits": found.splits,
            "notes": probed.notes, "ignored_codes": [int(c) for c in np.flatnonzero(probed.lookup == IGNORE)],
            "pixels_by_code": {str(code): int(n) for code, n in probed.codes.items()},
            "table_source": probed.table.source, "optical_dtype": probed.headers[0].dtypes[0],
            "radar_dtype": probed.headers[0].dtypes[1], "radar_unit_in_files": probed.radar_unit,
            "optical_scale": probed.scale, "edge": options.edge, **dict(data.more)}}


def _lines(data: DataSet, found: Found, probed: Probed, spec: ImportSpec, rows: pd.DataFrame) -> Iterator[str]:
    sizes = sorted({(header.width, header.height) for header in probed.headers})
    shown = ", ".join(f"{w} x {h}" for w, h in sizes[:4]) + (" and others" if len(sizes) > 4 else "")
    yield (f"{data.name}: {len(found.pairs)} pairs of {shown} px, {len(rows)} tiles of {spec.tile.size} px "
           f"({spec.tile.edge} at the edges)")
    total = max(1, sum(probed.codes.values()))
    shares = {name: sum(n for code, n in probed.codes.items() if probed.lookup[code] == label) / total
              for label, name in enumerate(probed.table.classes)}
    yield "  classes " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) + (
        f"; ignored {probed.ignored:.1%}")
    yield f"  splits: {found.splits}"
    for note in probed.notes:
        yield f"  note: {note}"


class _Scenes:
    """Pairs as read, a few of them kept; each is read once by whoever comes first."""

    def __init__(self, found: Found, most: int) -> None:
        self.found, self.most = found, most
        self.kept: OrderedDict[int, Future[Raw]] = OrderedDict()
        self.lock = Lock()

    def get(self, number: int) -> Raw:
        with self.lock:
            future = self.kept.get(number)
            mine = future is None
            if future is None:
                future = self.kept[number] = Future()
                while len(self.kept) > self.most:
                    self.kept.popitem(last=False)
            else:
                self.kept.move_to_end(number)
        if mine:
            try:
                future.set_result(self.found.reader.read(self.found.pairs[number]))
            except Exception as error:  # whoever waits for it gets the error, as who read it does
                future.set_exception(error)
        return future.result()


def _write(store: str | Path, found: Found, rows: pd.DataFrame, spec: ImportSpec, probed: Probed, data: DataSet,
           hold: Hold, progress: Progress) -> int:
    """Write what is pending or failed; gives the number of tiles written."""
    sweep(store)
    group = layout.open_biome(store, layout.group_name(NO_BIOME), "r+")
    shards = writer.formats(store, group)
    known = writer.rows_of(group)
    pairs = rows["pair"].to_numpy()
    corners = rows[["scene_row", "scene_col"]].to_numpy()
    scenes = _Scenes(found, SCENES_IN_MEMORY)
    size, classes = spec.tile.size, len(spec.classes)

    def tile(index: int) -> writer.PackedTile:
        pair = found.pairs[pairs[index]]
        try:
            raw = scenes.get(int(pairs[index]))
        except (InputError, OSError) as error:
            result = writer.TileResult(layout.FAILED, Reason.OTHER.says(error))
        else:
            row, column = map(int, corners[index])
            result = cut_tile(raw, row, column, size, probed, data.optical_unit, pair)
        return writer.pack(shards, result, known[index], classes)

    step = spec.store.shard_tiles
    jobs = [(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
    todo = {start: left for start, stop in jobs if (left := writer.unfinished(group, start, stop))}

    def shard(start: int) -> int:
        results = {index: tile(index) for index in todo[start]}
        hold.check()
        writer.write_shard(group, start, min(start + step, len(rows)), results, shards)
        return len(results)

    written = 0
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for done, count in enumerate(pool.map(shard, todo), len(jobs) - len(todo) + 1):
            written += count
            progress(done, len(jobs))
    return written


def cut_tile(raw: Raw, row: int, column: int, size: int, probed: Probed, unit: str, pair: Pair) -> writer.TileResult:
    """One tile of a scene as a store has it; rejected where no pixel has a label, or a sensor holds nothing."""
    here = (..., slice(row, row + size), slice(column, column + size))
    label = raw.label[here]
    label = probed.lookup[label].astype("uint8") if label.dtype == np.uint8 else probed.lookup[
        label.astype("int64")].astype("uint8")
    optical, radar = raw.optical[here], raw.radar[here]
    if why := units.no_optical(optical, probed.scale, unit):
        return writer.TileResult(layout.REJECTED, Reason.S2_INVALID.says(f"{pair.optical.paths[0].name}: {why} here"))
    if why := units.no_radar(radar, probed.radar_unit):
        return writer.TileResult(layout.REJECTED, Reason.S1_INVALID.says(f"{pair.radar.paths[0].name}: {why} here"))
    if (label == IGNORE).all():
        return writer.TileResult(layout.REJECTED, Reason.FEW_LABELS.says(
            f"no pixel of {pair.label.paths[0].name} has a class here"))
    s2 = units.stored_optical(optical, probed.scale, unit)
    s1 = units.stored_radar(radar, probed.radar_unit)
    if label.shape != (size, size):
        beyond = ((0, size - label.shape[0]), (0, size - label.shape[1]))
        s2 = np.pad(s2, ((0, 0), *beyond), constant_values=layout.S2_NODATA)
        s1 = np.pad(s1, ((0, 0), *beyond), constant_values=layout.S1_NODATA)
        label = np.pad(label, beyond, constant_values=IGNORE)
    counts = np.bincount(label.ravel(), minlength=256)[:len(probed.table.classes)].astype("int32")
    return writer.TileResult(layout.EXPORTED, "", s2, s1, label, class_counts=counts)


def summarise(store: str | Path, rows: pd.DataFrame, probed: Probed) -> Summary:
    """What became of the tiles."""
    group = layout.open_biome(store, layout.group_name(NO_BIOME))
    status, reasons = writer.statuses(group), writer.reasons(group)
    found = Summary(len(status), int((status == layout.EXPORTED).sum()), notes=probed.notes)
    for code, counts in ((layout.REJECTED, found.rejected), (layout.FAILED, found.failed)):
        words = pd.Series(reasons[status == code], dtype=object).astype(str)
        counts |= words.str.partition(":")[0].value_counts().sort_index().to_dict() if len(words) else {}
        found.examples += list(words.groupby(words.str.partition(":")[0]).first()) if len(words) else []
    totals = np.asarray(writer.array_of(group, "class_counts")[...]).sum(axis=0, dtype="int64")
    found.classes = {name: int(n) for name, n in zip(probed.table.classes, totals, strict=True)}
    found.splits = rows["split"][status == layout.EXPORTED].value_counts().to_dict()
    return found
