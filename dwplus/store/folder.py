"""Triplets as folders of GeoTIFFs, as CloudLULC-Set is published, and back into a store.

**Published** (README of CloudLULC-Set): the folders ``SAR_S1/VH``, ``SAR_S1/VV``, ``Opt_S2_cloudy``, ``Opt_S2_clear``,
``Label`` and ``split``; files ``patch_ROIs_<nn>_<name>.tif``; CSV columns ``split_id`` (1 train, 2 val, 3 test),
``sar_vh``, ``sar_vv``, ``opt_cloudy``, ``opt_clear``, ``label``. **Ours**: types and no-data, the codes of the
classes, the folder ``Cloud``, the CSV's further columns and ``dwplus.json``; with these the exported tiles come back to
the bit.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, tile_on_grid
from dwplus.pages import sheets
from dwplus.runtime.paths import below
from dwplus.spec import SR_BANDS, DatasetSpec, make_spec
from dwplus.store import layout, tables, units, writer
from dwplus.store.legend import DECIBEL, REFLECTANCE
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.taxonomy import CLASSES, IGNORE, SIX, from_six, to_six

#: CSV column -> folder. The last is ours.
FOLDERS = {"sar_vh": "SAR_S1/VH", "sar_vv": "SAR_S1/VV", "opt_cloudy": "Opt_S2_cloudy", "opt_clear": "Opt_S2_clear",
           "label": "Label", "cloud": "Cloud"}
TABLE, HEADER = "split/split.csv", "dwplus.json"
#: Band names where the files hold none, by their number: all of L2A, as published.
UNNAMED = {len(SR_BANDS): SR_BANDS}
#: Dates of folders that say none: all of Sentinel-2's.
ANY_TIME = ("2015-06-23", "2100-01-01")
#: Side of the areas that are regions of interest in file names, m: the blocks of the splits.
ROI_METRES = 25_500


def write_folder(store: str | Path, folder: str | Path, *, six: bool = False,
                 progress: Callable[[int, int], None] = lambda *_: None) -> int:
    """Write the exported tiles of a store of triplets.

    S2 is uint16 DN with 65535 = no data, S1 float32 dB with NaN, labels uint8 with 255 = ignore, clouds uint8 (0 clear,
    1 cloud, 255 not known).

    Parameters
    ----------
    six : labels of the six classes (:func:`dwplus.taxonomy.to_six`) instead of the nine. progress : (done, all).

    Returns
    -------
    Number of tiles.

    Raises
    ------
    InputError
        For a store without triplets or without the clear scenes, and where the folder is no new one.
    """
    root, folder = layout.open_root(store), Path(folder)
    spec = DatasetSpec.from_json(json.dumps(root.attrs.asdict()["spec"]), f"store {store}")
    if spec.triplets is None or not spec.triplets.keep_clear:
        raise InputError(f"store {store}: holds no triplets with their clear scenes; export a spec with "
                         "triplets.keep_clear true, such as REGION=cloudy")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"folder {folder}: is not empty; choose another")
    table = tile_table(store)
    table = table[table["status"] == "exported"].reset_index(drop=True).rename(columns={"index": "index_"})
    rois = {name: i for i, name in enumerate(sorted({_roi(row) for row in table.itertuples()}), 1)}
    reader, files = TileReader(store, exported=True), []
    bands = [str(b) for b in np.asarray(root[f"{table['group'][0]}/s2_band"])]
    try:
        for sub in FOLDERS.values():
            (folder / sub).mkdir(parents=True)
        (folder / TABLE).parent.mkdir()
        for done, row in enumerate(table.itertuples(), 1):
            name = f"patch_ROIs_{rois[_roi(row)]:02d}_{done:05d}_{row.tile_id}.tif"
            files.append({key: f"{sub}/{name}" for key, sub in FOLDERS.items()})
            for key, values in _planes(reader, str(row.group), int(row.index_), six):
                _write(folder / FOLDERS[key] / name, values, _grid(row, spec),
                       bands if key.startswith("opt") else [key])
            progress(done, len(table))
        split = pd.Series(table["split"].astype(str)).map({name: i for i, name in enumerate(layout.SPLITS, 1)})
        every = pd.concat([split.rename("split_id"), pd.DataFrame(files), table.drop(columns=[
            "group", "index_", "status", "reason", *(f"count_{c}" for c in CLASSES)])], axis=1)
        sheets.write_csv(every, folder / TABLE)
        (folder / HEADER).write_text(json.dumps({
            "spec": root.attrs.asdict()["spec"], "created": root.attrs["created"], "earth": root.attrs["earth"],
            "classes": list(SIX if six else CLASSES)}, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"folder {folder}: cannot be written ({error.strerror or error})") from None
    return len(table)


def read_folder(folder: str | Path, store: str | Path, *, six: bool | None = None, biome: int | None = None,
                scale: float | None = None, s1_unit: str | None = None,
                progress: Callable[[int, int], None] = lambda *_: None) -> int:
    """Make a store of a folder, for whatever works with stores: training, evaluation, reports.

    A folder that :func:`write_folder` made comes back as it was, but for the count of what was rejected. Of another one
    dates and gaps stay unknown, and without ``Cloud`` so does the cloud: its store is a plain one, whose S2 is the
    clouded scene.

    Parameters
    ----------
    six : whether labels are of the six classes; None = as the folder says, else the six. They become the nine's
        (:func:`dwplus.taxonomy.from_six`). biome : of tiles of which the CSV does not say it. scale : factor
        from optical values to DN (reflectance x 10000); None = their range must be that of DN. s1_unit : ``dB`` or
        ``linear``, which becomes dB; None = their range must be that of dB.

    Returns
    -------
    Number of tiles.

    Raises
    ------
    InputError
        For a folder that is no such, files that do not fit, and a store that is there.
    """
    folder, store = Path(folder), Path(store)
    if store.exists():
        raise InputError(f"store {store}: is there; choose another")
    rows = _rows(folder, biome)
    header: dict[str, Any] = json.loads((folder / HEADER).read_text()) if (folder / HEADER).exists() else {}
    if six is None:
        six = header.get("classes", list(SIX)) == list(SIX)
    spec = DatasetSpec.from_json(json.dumps(header["spec"]), str(folder / HEADER)) if header else _spec(folder, rows)
    meant = _meant(folder, rows, scale, s1_unit)
    rows["size"], rows["scale"], rows["state"], rows["reason"] = spec.tile.size, spec.tile.scale, "planned", ""
    partial = store.with_name(f".{store.name}.import")  # a store appears whole, or not at all
    shutil.rmtree(partial, ignore_errors=True)
    try:
        layout.create(partial, rows, spec, created=header.get("created", "unknown"),
                      earth=header.get("earth", "unknown"))
        done = 0
        for number, inside in rows.groupby("biome", sort=True):
            group = layout.open_biome(partial, layout.group_name(int(number)), "r+")
            for start in range(0, len(inside), spec.store.shard_tiles):
                part = inside.iloc[start:start + spec.store.shard_tiles]
                results = {start + i: _result(folder, row, spec, six, meant)
                           for i, row in enumerate(part.to_dict("records"))}
                writer.write_shard(group, start, start + len(part), results)
                done += len(part)
                progress(done, len(rows))
        tables.finish(partial)
        os.rename(partial, store)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return done


def _roi(row: Any) -> str:
    return f"{row.epsg}:{math.floor(row.x0 / ROI_METRES):06d}:{math.floor(row.y0 / ROI_METRES):06d}"


def _grid(row: Any, spec: DatasetSpec) -> PixelGrid:
    return PixelGrid(int(row.epsg), float(row.x0), float(row.y0), spec.tile.scale, spec.tile.size, spec.tile.size)


def _planes(reader: TileReader, group: str, index: int, six: bool) -> Iterator[tuple[str, np.ndarray]]:
    """A tile's files: CSV column and pixels (band, y, x)."""
    s2, s1, label = reader.read(group, index)
    radar = units.decibels(s1)
    yield from (("sar_vv", radar[:1]), ("sar_vh", radar[1:2]), ("opt_cloudy", s2))
    yield "opt_clear", reader.array(group, "s2_clear", index)
    yield "label", (to_six(label) if six else label)[None]
    yield "cloud", reader.array(group, "cloud", index)[None]


def _write(path: Path, values: np.ndarray, grid: PixelGrid, names: list[str]) -> None:
    import rasterio

    nodata = {"u2": layout.S2_NODATA, "f4": np.nan, "u1": IGNORE}[values.dtype.str[1:]]
    with rasterio.open(path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
                       dtype=values.dtype, crs=grid.crs, transform=grid.transform, nodata=nodata, compress="deflate",
                       predictor=3 if values.dtype.kind == "f" else 2) as raster:
        raster.write(values)
        raster.descriptions = tuple(names)


def _rows(folder: Path, biome: int | None) -> gpd.GeoDataFrame:
    """Rows of a plan from the CSV and, where it says less than ours, from the rasters."""
    tables = sorted((folder / "split").glob("*.csv"))
    if not tables:
        raise InputError(f"folder {folder}: has no split/*.csv; the layout is SAR_S1/VH, SAR_S1/VV, Opt_S2_cloudy, "
                         "Opt_S2_clear, Label, split")
    # The python engine reads numbers back to the last bit.
    table = pd.concat([sheets.read_csv(path, engine="python") for path in tables], ignore_index=True)
    wanted = ["split_id", *list(FOLDERS)[:-1]]
    if missing := [name for name in wanted if name not in table]:
        raise InputError(f"table {tables[0]}: lacks the column {missing[0]!r}; it has {', '.join(table.columns)}")
    if not table["split_id"].isin([1, 2, 3]).all():
        raise InputError(f"table {tables[0]}: split_id must be 1, 2 or 3 (train, val, test)")
    table["split"] = table["split_id"].map(dict(enumerate(layout.SPLITS, 1)))
    if "tile_id" not in table:
        table = _described(folder, table, biome)
    for name in ("s1_time", "s2_time"):
        table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601").astype("datetime64[ms, UTC]")
    for name in {*layout.MORE_TEXTS} & {*table.columns}:
        table[name] = table[name].astype(object).fillna("")
    grids = [PixelGrid(int(r.epsg), r.x0, r.y0, 10.0, 2, 2).footprint() for r in table.itertuples()]
    return gpd.GeoDataFrame(table, geometry=grids, crs="EPSG:4326")


def _described(folder: Path, table: pd.DataFrame, biome: int | None) -> pd.DataFrame:
    """A foreign table with the columns of a store: places from the labels' rasters, the rest unknown."""
    import rasterio

    if biome is None:
        raise InputError(f"folder {folder}: does not say which biome its tiles lie in; give --biome 1 to 14")
    rows = []
    for record in table.to_dict("records"):
        with rasterio.open(_file(folder, record, "label")) as raster:
            epsg = raster.crs.to_epsg() if raster.crs else None
            square = raster.width == raster.height and math.isclose(raster.transform.a, -raster.transform.e)
            if epsg is None or not square:
                raise InputError(f"{raster.name}: must be a square in a UTM zone")
            t = raster.transform
            grid = PixelGrid(epsg, t.c, t.f, t.a, raster.height, raster.width)
        rows.append({
            **record, "tile_id": tile_on_grid(grid).id, "epsg": epsg, "x0": grid.x0, "y0": grid.y0, "biome": biome,
            "window": "/".join(ANY_TIME), "ecoregion": "", "coastal": 0, "label_id": record["label"],
            "s2_id": record["opt_cloudy"], "s1_id": f"{record['sar_vv']},{record['sar_vh']}", "orbit_pass": "",
            "s1_time": None, "s2_time": None, "gap_hours": math.nan, "s1_count": 1, "s2_cloud": math.nan,
            "relative_orbit": -1, "clear_id": record["opt_clear"], "label_gap_hours": math.nan})
    return pd.DataFrame(rows)


def _spec(folder: Path, rows: gpd.GeoDataFrame) -> DatasetSpec:
    """A spec of a foreign folder: what its rasters are."""
    import rasterio

    with rasterio.open(_file(folder, rows.iloc[0].to_dict(), "opt_cloudy")) as raster:
        names = tuple(d for d in raster.descriptions if d)
        bands = names if len(names) == raster.count else UNNAMED.get(raster.count)
        if bands is None:
            raise InputError(f"{raster.name}: has {raster.count} bands without names; must be named, or the "
                             f"{len(SR_BANDS)} of {' '.join(SR_BANDS)}")
        size, scale = raster.width, raster.transform.a
    west, south, east, north = rows.total_bounds
    return make_spec({
        "name": "".join(c if c.isalnum() else "-" for c in folder.resolve().name).strip("-") or "folder",
        "region": {"bbox": [west, south, east, north]}, "windows": [ANY_TIME], "tile": {"size": size, "scale": scale},
        "sentinel1": {"max_gap_hours": 288}, "sentinel2": {"bands": list(bands)},
        **({"triplets": {}} if "cloud" in rows else {})}, f"folder {folder}")


def _file(folder: Path, row: dict[str, Any], key: str) -> Path:
    """A file of a row: the CSV has its path below the folder, or its name."""
    what = f"folder {folder}: {key}"
    for path in (below(folder, str(row[key]), what), below(folder / FOLDERS[key], str(row[key]), what)):
        if path.is_file():
            return path
    raise InputError(f"folder {folder}: has no file {row[key]} ({key})")


def _read(folder: Path, row: dict[str, Any], key: str, shape: tuple[int, int, int]) -> np.ma.MaskedArray:
    import rasterio
    from rasterio.errors import RasterioError

    path = _file(folder, row, key)
    try:
        with rasterio.open(path) as raster:
            values: np.ma.MaskedArray = raster.read(masked=True)
    except RasterioError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if values.shape != shape:
        raise InputError(f"{path}: is {values.shape} (band, y, x), must be {shape} as the first")
    return values


def _meant(folder: Path, rows: gpd.GeoDataFrame, scale: float | None, s1_unit: str | None) -> tuple[float, str]:
    """What the numbers of a folder mean, from the range of some of its files: factor of the optics, unit of the radar.

    Raises
    ------
    InputError
        Where optics are no digital numbers, or radar is no dB, and nothing is said of it.
    """
    import rasterio

    def ranges(key: str) -> units.Range:
        found = []
        for i in np.unique(np.linspace(0, len(rows) - 1, 8).astype(int)):
            path = _file(folder, rows.iloc[int(i)].to_dict(), key)
            with rasterio.open(path) as raster:
                values = raster.read(masked=True)
            found.append(units.range_of(np.ma.filled(values.astype("float64"), np.nan), str(path)))
        return units.joined([one for one in found if one.odd < 1] or found[:1])

    return units.optical_scale(ranges("opt_cloudy"), REFLECTANCE, scale), units.radar_unit(
        ranges("sar_vv"), DECIBEL, s1_unit)


def _result(folder: Path, row: dict[str, Any], spec: DatasetSpec, six: bool,
            meant: tuple[float, str]) -> writer.TileResult:
    """Pixels of a row, as a store has them; ``meant`` as :func:`_meant` gives it."""
    side, (scale, unit) = spec.tile.size, meant

    def optical(key: str) -> np.ndarray:
        found = _read(folder, row, key, (len(spec.sentinel2.bands), side, side))
        values = found.filled(0) if scale == 1.0 else found.filled(0) * np.float32(scale)
        return np.where(np.ma.getmaskarray(found), layout.S2_NODATA, values.round().clip(0, 65534)).astype("uint16")

    def codes(key: str) -> np.ndarray:
        found = _read(folder, row, key, (1, side, side))[0]
        return np.where(np.ma.getmaskarray(found), IGNORE, found.filled(IGNORE)).astype("uint8")

    read = np.stack([_read(folder, row, key, (1, side, side))[0].astype("float32").filled(np.nan)
                     for key in ("sar_vv", "sar_vh")])
    s1 = (units.stored_radar if spec.store.s1_dtype == "int16" else units.finite_radar)(read, unit)
    label = codes("label")
    try:
        label = from_six(label) if six else label
        to_six(label)  # refuses what is no class
    except ValueError as error:
        raise InputError(f"{_file(folder, row, 'label')}: {error}") from None
    more = (codes("cloud"), optical("opt_clear")) if spec.triplets is not None else ()
    return writer.TileResult(layout.EXPORTED, "", optical("opt_cloudy"), s1, label, *more)
