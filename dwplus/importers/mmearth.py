"""MMEarth v001: 64 or 128 px in one HDF5 file, Sentinel-2 L1C or L2A, Sentinel-1 in dB, labels of Dynamic World or ESA
WorldCover (arXiv 2405.02771). Labels are made by models, not drawn."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from dwplus.errors import InputError
from dwplus.importers import splits
from dwplus.importers.base import DataSet, Files, Found, Header, Options, Pair, Raw
from dwplus.spec import SR_BANDS
from dwplus.store.layout import SPLITS
from dwplus.taxonomy import IGNORE
from dwplus.taxonomy.tables import TABLES, ClassTable

#: Bands in the file: B8A lies before B8. L2A tiles have no B10, which is left out of all.
IN_FILE = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B10", "B11", "B12")
#: Radar in the file: VV, VH, HH, HV of the ascending pass, then of the descending one.
ASCENDING, DESCENDING = (0, 1), (4, 5)
LAYOUT = "NAME.h5, NAME_splits.json and NAME_tile_info.json"
ARRAYS = {"sentinel2": 13, "sentinel1": 8}


def _dynamic_world() -> ClassTable:
    """Dynamic World's classes by MMEarth's codes, which are one higher; 0 is no data."""
    return replace(TABLES["dynamic-world"], codes=tuple(range(1, 10)), ignored=(0, IGNORE))


LABELS = {"dynamic-world": ("dynamic_world", _dynamic_world()),
          "esa-worldcover": ("esa_worldcover", TABLES["esa-worldcover"])}


class Hdf5Reader:
    """Reads tiles of an HDF5 file; one at a time, as the library does."""

    def __init__(self, path: Path, label: str) -> None:
        self.path, self.name = path, label
        self.lock = Lock()
        self._file: Any = None

    @property
    def file(self) -> Any:
        """The open file.

        Raises
        ------
        InputError
            Where it is none.
        """
        import h5py

        if self._file is None:
            try:
                self._file = h5py.File(self.path, "r")
            except OSError as error:
                raise InputError(f"{self.path}: is no HDF5 file ({error}); download it again") from None
        return self._file

    def shape(self) -> tuple[int, int]:
        """Number of tiles and their side.

        Raises
        ------
        InputError
            Where an array is missing or has another shape.
        """
        with self.lock:
            for name in (*ARRAYS, self.name):
                if name not in self.file:
                    raise InputError(f"{self.path}: has no array {name}; it has {', '.join(self.file)}")
            for name in (*ARRAYS, self.name):
                if len(getattr(self.file[name], "shape", ())) < 3:
                    raise InputError(f"{self.path}: {name} is no array of tiles; download it again")
            if self.file[self.name].dtype.kind not in "iu":
                raise InputError(f"{self.path}: array {self.name} is {self.file[self.name].dtype}, labels must be "
                                 "integers")
            count, height, width = (self.file["sentinel2"].shape[axis] for axis in (0, -2, -1))
            for name, bands in {**ARRAYS, self.name: 1}.items():
                want, have = (count, bands, height, width), self.file[name].shape
                if have != want and not (bands == 1 and have == (count, height, width)):
                    raise InputError(f"{self.path}: array {name} is {have}, must be {want}")
            if height != width:
                raise InputError(f"{self.path}: tiles are {height} x {width} px, must be square")
            return int(count), int(height)

    def names(self) -> list[str]:
        """Names of the tiles, in the order of the arrays."""
        with self.lock:
            if "metadata" not in self.file:
                raise InputError(f"{self.path}: has no array metadata, which names the tiles")
            found = np.asarray(self.file["metadata"])
        if found.dtype.names:
            found = found[found.dtype.names[0]]
        found = found.reshape(len(found), -1)[:, 0] if found.size else found.reshape(0)
        return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in found.tolist()]

    def header(self, pair: Pair) -> Header:
        """Size and types, which all tiles share."""
        with self.lock:
            side = int(self.file["sentinel2"].shape[-1])
            types = [str(self.file[name].dtype) for name in ("sentinel2", "sentinel1", self.name)]
        return Header(side, side, (types[0], types[1], types[2]))

    def label(self, pair: Pair) -> np.ndarray:
        """Codes (y, x)."""
        try:
            with self.lock:
                found = np.asarray(self.file[self.name][pair.at])
        except OSError as error:
            raise InputError(f"{self.path}: label of tile {pair.name} cannot be read ({error}); download it again"
                             ) from None
        return found[0] if found.ndim == 3 else found

    def read(self, pair: Pair) -> Raw:
        """All pixels of a tile: the ascending pass where it is there, else the descending one."""
        try:
            with self.lock:
                optical = np.asarray(self.file["sentinel2"][pair.at])
                radar = np.asarray(self.file["sentinel1"][pair.at])
        except OSError as error:
            raise InputError(f"{self.path}: tile {pair.name} cannot be read ({error}); download it again") from None
        order = [IN_FILE.index(band) for band in SR_BANDS]
        chosen = ASCENDING if np.isfinite(radar[list(ASCENDING)]).any() else DESCENDING
        return Raw(optical[order], radar[list(chosen)], self.label(pair))


def find(folder: Path, options: Options) -> Found:
    """Tiles of the HDF5 file of a folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".h5" and path.name[0] != ".")
    if len(files) != 1:
        raise InputError(f"folder {folder}: holds {len(files)} files .h5, must hold one; the layout is {LAYOUT}")
    name = files[0].stem
    info = _json(folder / f"{name}_tile_info.json")
    reader = Hdf5Reader(files[0], LABELS[options.labels or "dynamic-world"][0])
    count, _ = reader.shape()
    names = reader.names()
    if len(names) != count:
        raise InputError(f"{files[0]}: names {len(names)} tiles in metadata and holds {count}")
    file = Files((files[0],), (1,))
    pairs, products = [], dict.fromkeys(("l1c", "l2a"), 0)
    for number, tile in enumerate(names):
        about = info.get(tile)
        if not isinstance(about, dict):
            raise InputError(f"{folder / f'{name}_tile_info.json'}: says nothing of tile {tile}")
        product = str(about.get("S2_type", "")).lower()
        if product not in products:
            raise InputError(f"{folder / f'{name}_tile_info.json'}: tile {tile} has S2_type {product!r}, must be l1c "
                             f"or "
                             "l2a")
        products[product] += 1
        pairs.append(Pair(tile, file, file, file, tile, lon=_number(about.get("lon")), lat=_number(about.get("lat")),
                          at=number, product={"l1c": "toa", "l2a": "sr"}[product]))
    notes = [f"{products['l1c']} tiles are L1C, {products['l2a']} L2A; column s2_product says which",
             "radar is the ascending pass where there is one, else the descending one",
             "labels are made by models, not annotated by people"]
    choice = options.splits or "official"
    if choice == "official":
        found, words = _official(pairs, folder / f"{name}_splits.json"), "published lists of rows"
    elif choice == "spatial":
        if any(math.isnan(pair.lon) for pair in pairs):
            raise splits.no_place("spatial", "MMEarth")
        found = splits.dealt(pairs, lambda pair: f"{math.floor(pair.lon)}:{math.floor(pair.lat)}")
        words = "degrees of ground held out, dealt by hash (ours)"
    elif choice == "random":
        found, words = splits.at_random(pairs), "tiles dealt out by the hash of their names"
    else:
        found, words = splits.by_file(pairs, Path(choice)), f"file {Path(choice).name}"
    return Found(found, words, reader, notes)


def _official(pairs: list[Pair], path: Path) -> list[Pair]:
    lists = _json(path)
    split: dict[int, str] = {}
    for word in SPLITS:
        rows = lists.get(word) or []
        if not isinstance(rows, list):
            raise InputError(f"{path}: {word} must be a list of rows, found {type(rows).__name__}")
        for row in rows:
            if type(row) is not int or not 0 <= row < len(pairs):
                raise InputError(f"{path}: {word} names row {row!r}, the file holds {len(pairs)} tiles")
            if row in split:
                raise InputError(f"{path}: row {row} is in {split[row]} and {word}; it must be in one")
            split[row] = word
    if not split:
        raise InputError(f"{path}: has no rows of train, val and test; it has {', '.join(lists) or 'nothing'}")
    return [replace(pair, split=split[pair.at], published=split[pair.at]) for pair in pairs if pair.at in split]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"folder {path.parent}: has no {path.name}; the layout is {LAYOUT}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: must be a mapping, found {type(found).__name__}")
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


SET = DataSet(
    "mmearth", "MMEarth v001", _dynamic_world(), tuple(SR_BANDS), ("VV", "VH"), "reflectance", "dB", find,
    licence="CC BY 4.0", source="Sentinel-2 L1C and L2A digital numbers, Sentinel-1 GRD in dB, Dynamic World V1 or ESA "
                                "WorldCover labels",
    references="https://arxiv.org/abs/2405.02771")
