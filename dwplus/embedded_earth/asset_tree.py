"""A folder of real rasters as a catalogue: ``<root>/COLLECTION/ID.tif`` with an ``ID.json`` beside it.

The sidecar holds ``bands`` and ``properties`` (``system:time_start`` in ms, ``system:footprint``, ...); without a
raster it is an image of metadata only. Tables are GeoJSON files, ``<root>/RESOLVE/ECOREGIONS/2017.geojson``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
import shapely
import shapely.geometry
from rasterio.windows import Window as RasterWindow

from dwplus.embedded_earth.catalog import BandSpec, Bounds, MissingRaster, Scene, TableFeature, Window

_SUFFIXES = (".tif", ".json", ".geojson")


class RasterScene:
    """One image of the tree; its raster is opened when pixels are asked for."""

    def __init__(self, asset_id: str, stem: Path) -> None:
        self.id = asset_id
        self._raster = stem.with_name(stem.name + ".tif")
        self._sidecar = stem.with_name(stem.name + ".json")
        self._lock = threading.Lock()
        self._file: rasterio.DatasetReader | None = None

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        if not self._sidecar.is_file():
            return {}
        try:
            found = json.loads(self._sidecar.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{self._sidecar}: is no JSON ({error})") from error
        return found if isinstance(found, dict) else {}

    @cached_property
    def bands(self) -> tuple[BandSpec, ...]:
        """Bands of the raster, or what the sidecar says of them."""
        if not self._raster.is_file():
            unit = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
            return tuple(BandSpec(str(name), "float", "EPSG:4326", unit, 0, 0)
                         for name in self._metadata.get("bands", ()))
        with rasterio.open(self._raster) as file:
            listed = list(self._metadata.get("bands") or [])
            named = [str(name or (listed[i] if i < len(listed) else f"b{i + 1}"))
                     for i, name in enumerate(file.descriptions)]
            out = []
            for name, dtype in zip(named, file.dtypes, strict=True):
                kind = np.dtype(dtype)
                precision = "int" if kind.kind in "iu" else "float" if kind.itemsize <= 4 else "double"
                low = float(np.iinfo(kind).min) if kind.kind in "iu" else None
                high = float(np.iinfo(kind).max) if kind.kind in "iu" else None
                out.append(BandSpec(name, precision, file.crs.to_string(), tuple(file.transform)[:6], file.width,
                                    file.height, low, high, "mode" if name in ("label", "SCL") else "mean"))
        return tuple(out)

    @cached_property
    def properties(self) -> dict[str, Any]:
        """The sidecar's, with the index and, where it gives none, the raster's outline as footprint."""
        found = {**self._metadata.get("properties", {}), "system:index": self.id.rsplit("/", 1)[-1]}
        if "system:footprint" not in found and self._raster.is_file():
            with rasterio.open(self._raster) as file:
                box = shapely.segmentize(shapely.box(*file.bounds), max(file.width, file.height) * file.res[0] / 16)
                outline = rasterio.warp.transform_geom(file.crs, "EPSG:4326", shapely.geometry.mapping(box))
            found["system:footprint"] = {"type": "LinearRing", "coordinates": outline["coordinates"][0]}
        return found

    @cached_property
    def bounds(self) -> Bounds:
        """Box of the footprint; the world where there is none."""
        footprint = self.properties.get("system:footprint")
        if footprint is None:
            return -180.0, -90.0, 180.0, 90.0
        west, south, east, north = shapely.geometry.shape(footprint).bounds
        return west, south, east, north

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Pixels of a window; nodata and NaN are invalid."""
        if not self._raster.is_file():
            raise MissingRaster(self.id)
        names = [band.id for band in self.bands]
        area = RasterWindow(window.col, window.row, window.width, window.height)
        out: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        with self._lock:  # a GDAL handle serves one thread at a time
            if self._file is None:
                self._file = rasterio.open(self._raster)
            for name in bands:
                index = names.index(name) + 1
                values = self._file.read(index, window=area)
                valid: np.ndarray | None = None
                nodata = self._file.nodatavals[index - 1]
                if nodata is not None and not np.isnan(nodata):
                    valid = values != nodata
                if values.dtype.kind == "f" and np.isnan(values).any():
                    valid = ~np.isnan(values) if valid is None else valid & ~np.isnan(values)
                    values = np.nan_to_num(values)
                out[name] = values, None if valid is not None and valid.all() else valid
        return out


@dataclass(frozen=True)
class _Entry:
    time_ms: float
    scene: RasterScene


class AssetTree:
    """The catalogue of a folder.

    Raises
    ------
    ValueError
        Where the folder holds no asset.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ValueError("no such folder")
        self._root = root.resolve()
        self._lock = threading.Lock()
        self._collections: dict[str, list[_Entry]] = {}
        self._tables: dict[str, list[TableFeature]] = {}
        if not any(path.suffix in _SUFFIXES and path.parent != self._root for path in self._root.rglob("*")):
            raise ValueError("is no asset tree: it holds no COLLECTION/ID.tif, .json or .geojson")

    def describe(self) -> str:
        """The folder."""
        return f"asset tree {self._root.name}"

    @property
    def version(self) -> str:
        """Its kind: its pixels are the user's own."""
        return "asset tree"

    def _path(self, asset_id: str) -> Path | None:
        """Where an asset lies; None for ids that would leave the folder."""
        parts = asset_id.split("/")
        if not asset_id or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            return None
        return self._root.joinpath(*parts)

    def asset_type(self, asset_id: str) -> str | None:
        """By what lies there: a GeoJSON is a table, a folder with images (or nothing but files) a collection."""
        path = self._path(asset_id)
        if path is None:
            return None
        if path.is_dir():
            entries = list(path.iterdir())
            holds_images = any(entry.suffix in (".tif", ".json") for entry in entries)
            return "IMAGE_COLLECTION" if holds_images or not any(
                e.is_dir() or e.suffix == ".geojson" for e in entries) else "FOLDER"
        if path.with_name(path.name + ".geojson").is_file():
            return "TABLE"
        return "IMAGE" if self.image(asset_id) is not None else None

    def children(self, asset_id: str) -> Iterable[str]:
        """Folders, collections, images and tables right below."""
        path = self._root if not asset_id else self._path(asset_id)
        if path is None or not path.is_dir():
            return []
        names = {entry.name if entry.is_dir() else entry.name[:-len(entry.suffix)] for entry in path.iterdir()
                 if entry.is_dir() or (entry.suffix in _SUFFIXES and path != self._root)}
        prefix = f"{asset_id}/" if asset_id else ""
        return [prefix + name for name in sorted(names)]

    def image(self, asset_id: str) -> Scene | None:
        """By id; the raster, the sidecar or both must be there."""
        collection, _, _ = asset_id.rpartition("/")
        entries = self._entries(collection)
        if entries is None:
            return None
        return next((entry.scene for entry in entries if entry.scene.id == asset_id), None)

    def _entries(self, collection: str) -> list[_Entry] | None:
        path = self._path(collection)
        if path is None or not path.is_dir():
            return None
        with self._lock:
            if collection not in self._collections:
                stems = {entry.name[:-len(entry.suffix)] for entry in path.iterdir()
                         if entry.suffix in (".tif", ".json") and entry.is_file()}
                scenes = [RasterScene(f"{collection}/{stem}", path / stem) for stem in stems]
                entries = [_Entry(float(s.properties.get("system:time_start", 0)), s) for s in scenes]
                self._collections[collection] = sorted(entries, key=lambda e: (e.time_ms, e.scene.id))
            return self._collections[collection]

    def scenes(self, collection_id: str, start_ms: float | None = None, end_ms: float | None = None,
               bounds: Bounds | None = None) -> list[Scene] | None:
        """All scenes within the dates; boxes are left to the evaluator."""
        entries = self._entries(collection_id)
        if entries is None:
            return None
        return [entry.scene for entry in entries if (start_ms is None or entry.time_ms >= start_ms)
                and (end_ms is None or entry.time_ms < end_ms)]

    def table(self, asset_id: str) -> list[TableFeature] | None:
        """Rows of a GeoJSON file."""
        path = self._path(asset_id)
        file = None if path is None else path.with_name(path.name + ".geojson")
        if file is None or not file.is_file():
            return None
        with self._lock:
            if asset_id not in self._tables:
                data = json.loads(file.read_text(encoding="utf-8"))
                self._tables[asset_id] = [
                    TableFeature(str(feature.get("id", i)), feature["geometry"], feature.get("properties") or {})
                    for i, feature in enumerate(data["features"]) if feature.get("geometry")]
            return self._tables[asset_id]
