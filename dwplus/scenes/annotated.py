"""Tiles annotated by people, as published: GeoTIFFs, their metadata sheet, their codes. Pure files: no Earth Engine.

Layout and codes: PANGAEA 933475 (Brown et al. 2022, Sci Data 9:251): ``Experts/<hemisphere>/<biome>/dw_*.tif``,
``Non_expert/...``, ``validation_set_tiles/...`` and a sheet with a row per ``dw_id``. One uint8 band, 0 unmarked,
1..9 classes, 10 cloud.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import rasterio.errors
import rasterio.windows
import shapely

from dwplus.errors import AssetGoneError, InputError, RefusedError
from dwplus.grid import PixelGrid, Tile, tile_from_id, tile_on_grid
from dwplus.runtime.console import needs
from dwplus.runtime.paths import below
from dwplus.scenes.records import LabelScene, product_sensing, sensing_date
from dwplus.taxonomy import CLASSES, annotation_to_label

#: Sets of the publication, in the order they are preferred where one tile is in several.
SETS = ("validation", "expert", "non_expert", "")
#: Name of the annotated band in the Zenodo copy of the validation tiles, whose other bands are the model's.
ANNOTATED_BAND = "lulc"
#: The publication's names of the classes (sheet and asset spell them apart; letters only), in the order of the labels.
_SHARES = (("water",), ("trees",), ("grass",), ("floodedvegetation",), ("crops",), ("scrub", "shrubandscrub"),
           ("builtarea", "built"), ("bareground", "bare"), ("snowice",))
_DW_ID = re.compile(r"dw_-?[\dp.]+_-?[\dp.]+-\d{8}")


@dataclass(frozen=True)
class Annotation:
    """One drawn tile.

    Attributes
    ----------
    scene : its image: ``index`` is the asset's ``system:index`` or the path within the folder, the time is the
        date's midnight, UTC; the grid is the image's own. ``s2_index``, ``sensed`` and ``mgrs`` name its S2 scene.
    dw_id : ``dw_<lon>_<lat>-<yyyymmdd>``.
    date : day of its Sentinel-2 scene, UTC.
    set : ``expert``, ``non_expert``, ``validation`` or empty where unknown.
    labelled : labelled share of the tile, 0..1; NaN where unknown.
    shares : share of each class among the labelled pixels, by class name; empty where unknown.
    biome, ecoregion : as the publication has them; 0 and empty where unknown.
    product : name of its Sentinel-2 product; empty where unknown.
    """

    scene: LabelScene
    dw_id: str
    date: dt.date
    set: str = ""
    labelled: float = math.nan
    shares: Mapping[str, float] = field(default_factory=dict)
    biome: int = 0
    ecoregion: str = ""
    product: str = ""

    def tiles(self, size: int, scale: float) -> list[Tile]:
        """Tiles of ``size`` pixels that lie whole on its pixels: the published one, else cut from the upper left."""
        scene = self.scene
        if scene.transform is None or scene.shape is None or scene.crs is None:
            return []
        a, _, x0, _, _, y0 = scene.transform
        if not math.isclose(a, scale):
            return []
        epsg = int(scene.crs[5:])
        published = tile_from_id(self.dw_id)
        grid = published.grid
        col, row = (grid.x0 - x0) / a, (y0 - grid.y0) / a
        inside = (grid.epsg == epsg and a == grid.scale and col % 1 == 0 and row % 1 == 0
                  and 0 <= col <= scene.shape[1] - size and 0 <= row <= scene.shape[0] - size)
        if inside and grid.width == size:
            return [Tile(self.dw_id, grid, published.date)]
        return [tile_on_grid(PixelGrid(epsg, x0 + j * size * a, y0 - i * size * a, a, size, size))
                for i in range(scene.shape[0] // size) for j in range(scene.shape[1] // size)]


def plain_id(text: str) -> str:
    """A tile's id in the publication's spelling: Earth Engine writes ``label_dw_`` and ``p`` for the decimal point."""
    match = _DW_ID.search(text)
    return re.sub(r"(?<=\d)p(?=\d)", ".", match[0]) if match else ""


def set_of(folder: str) -> str:
    """The publication's set, from a folder's name: ``v1/data/dev/WorkForce/WH/1`` is the non-experts'."""
    for part in folder.lower().split("/"):
        if "validation" in part:
            return "validation"
        if part.startswith(("non", "workforce")):
            return "non_expert"
        if part.startswith("expert"):
            return "expert"
    return ""


def annotation(index: str, dw_id: str, properties: Mapping[str, Any], footprint: shapely.Geometry, crs: str,
               transform: tuple[float, ...], shape: tuple[int, int], folder: str) -> Annotation:
    """Put a drawn tile together from its grid and its published properties, whatever their spelling.

    Raises
    ------
    ValueError
        Where the id is none, or its point lies outside UTM.
    """
    known = {re.sub("[^a-z0-9]", "", str(key).lower()): value for key, value in properties.items() if not _empty(value)}
    date = tile_from_id(dw_id).date
    assert date is not None
    product = str(known.get("s2productid", ""))
    s2_index = str(known.get("s2geeid", ""))
    # The day that counts is the one its scene was sensed on; then the published date, then the id's.
    if sensed := sensing_date(s2_index) or sensing_date(product_sensing(product)):
        date = sensed
    elif "date" in known:
        date = pd.Timestamp(known["date"]).date()
    pixels = float(known.get("nbpixels", math.nan))
    shares = {name: float(next((known[key] for key in keys if key in known), 0.0))
              for name, keys in zip(CLASSES, _SHARES, strict=True)}
    time = dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC)
    scene = LabelScene(index, round(time.timestamp() * 1000), footprint, crs, transform, shape,
                       s2_index=s2_index, sensed=product_sensing(product), by_date=True,
                       mgrs=str(known.get("s2grid", "") or product_sensing(product).partition("_")[2]).lstrip("T"))
    biome = int(known.get("biome", 0)) if str(known.get("biomename", "")) != "N/A" else 0
    return Annotation(scene, dw_id, date, set_of(folder), pixels / (shape[0] * shape[1]),
                      shares if any(shares.values()) else {}, biome, str(known.get("ecoregion", "")), product)


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def read_folder(folder: str | Path) -> list[Annotation]:
    """The drawn tiles of a folder, sorted by path.

    Parameters
    ----------
    folder : searched to any depth for ``dw_*.tif``; ``.csv`` and ``.xlsx`` files in it with a column ``dw_id``, and
        the published ``v1_dw_tile_metadata*.xlsx`` beside it, are metadata sheets.

    Raises
    ------
    InputError
        Where there is no such folder, no tile in it, or a file is no GeoTIFF in a UTM zone.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"labels.path {folder}: no such folder; it should hold the published GeoTIFFs dw_*.tif")
    rows = _sheets(folder)
    found = []
    for path in sorted(p for p in folder.rglob("*.tif") if plain_id(p.stem)):
        below(folder, path.relative_to(folder).as_posix(), f"labels.path {folder}:")
        found.append(_read_header(path, folder, rows))
    if not found:
        raise InputError(f"labels.path {folder}: holds no file named dw_<lon>_<lat>-<yyyymmdd>.tif")
    return found


def _read_header(path: Path, folder: Path, rows: Mapping[str, Mapping[str, Any]]) -> Annotation:
    dw_id = plain_id(path.stem)
    name = path.relative_to(folder).as_posix()
    try:
        with rasterio.open(path) as raster:
            a, b, x0, d, e, y0 = tuple(raster.transform)[:6]
            epsg = raster.crs.to_epsg() if raster.crs else None
            shape = raster.shape
    except rasterio.errors.RasterioError as error:
        raise InputError(f"labels.path {path}: cannot be read as a GeoTIFF ({error})") from None
    if epsg is None or epsg // 100 not in (326, 327) or b or d or a <= 0 or a != -e:
        raise InputError(f"labels.path {path}: must be north-up in a UTM zone with square pixels, as published")
    grid = PixelGrid(epsg, x0, y0, a, *shape)
    try:
        # The folders tell who drew it (the part below the user's folder, or the folder's own name).
        return annotation(name, dw_id, rows.get(dw_id, {}), grid.footprint(), grid.crs, (a, 0.0, x0, 0.0, -a, y0),
                          shape, f"{folder.name}/{name}")
    except ValueError as error:
        raise InputError(f"labels.path {path}: {error}") from None


def _sheets(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of all metadata sheets, by ``dw_id``."""
    rows: dict[str, dict[str, Any]] = {}
    # The publication's sheet lies beside the folders of the sets.
    for path in sorted([*folder.parent.glob("v1_dw_tile_metadata*.xlsx"), *folder.glob("*.csv"),
                        *folder.glob("*.xlsx")]):
        if path.suffix == ".xlsx":
            needs("annotations")
        try:
            tables = ([pd.read_csv(path)] if path.suffix == ".csv"
                      else list(pd.read_excel(path, sheet_name=None).values()))
        except (OSError, ValueError, KeyError) as error:
            words = " ".join(str(error).split())
            raise InputError(f"labels.path {path}: cannot be read as a table ({words})") from None
        for table in tables:
            if "dw_id" in table:
                rows |= {plain_id(str(row["dw_id"])): row for row in _records(table)}
    return rows


def _records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in table.to_dict("records"):
        yield {str(key): value for key, value in row.items()}


def read_labels(folder: str | Path, name: str, grid: PixelGrid) -> np.ndarray:
    """Labels of a drawn tile on a grid of its own pixels.

    Parameters
    ----------
    folder, name : as in the plan: the spec's ``labels.path`` and the path below it.

    Returns
    -------
    uint8 (y, x), 0..8, 255 where nothing or cloud was drawn.

    Raises
    ------
    RefusedError
        Where the file is gone, holds other codes, or does not have the grid's pixels.
    """
    try:
        path = below(folder, name, "annotation")
    except InputError as error:
        raise RefusedError(str(error)) from None
    if not path.is_file():
        raise AssetGoneError(f"annotation {path} not found", asset=str(path))
    try:
        with rasterio.open(path) as raster:
            band = raster.descriptions.index(ANNOTATED_BAND) + 1 if ANNOTATED_BAND in raster.descriptions else 1
            if raster.count > 1 and ANNOTATED_BAND not in raster.descriptions:
                raise RefusedError(f"annotation {path}: has {raster.count} bands, none named {ANNOTATED_BAND!r}")
            col = (grid.x0 - raster.transform.c) / grid.scale
            row = (raster.transform.f - grid.y0) / grid.scale
            left, top = round(col), round(row)
            if (not math.isclose(raster.transform.a, grid.scale) or max(abs(col - left), abs(row - top)) > 1e-6
                    or min(left, top) < 0 or top + grid.height > raster.height or left + grid.width > raster.width):
                raise RefusedError(f"annotation {path}: does not have the tile's pixels; plan again")
            window = rasterio.windows.Window(left, top, grid.width, grid.height)
            codes = raster.read(band, window=window)
    except rasterio.errors.RasterioError as error:
        raise RefusedError(f"annotation {path}: cannot be read ({error})") from None
    try:
        return annotation_to_label(codes)
    except ValueError as error:
        raise RefusedError(f"annotation {path}: {error}") from None
