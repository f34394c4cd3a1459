"""What a finished map, or a change between two, shows: its class rasters and the names of what is in them.

A change raster holds a code of both classes (:mod:`dwplus.maps.kinds`): of Dynamic World's, 14 is trees that became
crops, 11 trees that stayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.maps import areas
from dwplus.maps.kinds import ChangeCodes, codes_of
from dwplus.store.legend import DYNAMIC_WORLD, Legend, facts_of, legend_in
from dwplus.taxonomy import IGNORE

#: Kinds of change that cover less than this share of the ground are one class together.
RARE = 0.005
OTHER = "other change"


@dataclass(frozen=True)
class Shown:
    """A map to sample or assess.

    Attributes
    ----------
    folder : where it lies. paths : class rasters, one a zone. names : of its classes. index : class of each value of
        the rasters, uint8 (256,) or (65536,), 255 = none. facts : its ``map.json`` or ``change.json``. change : whether
        it shows change. legend : classes of the map, or of both maps of a change.
    """

    folder: Path
    paths: list[Path]
    names: list[str]
    index: np.ndarray
    facts: dict[str, Any]
    change: bool
    legend: Legend = DYNAMIC_WORLD

    def pieces(self) -> Iterator[tuple[PixelGrid, np.ndarray]]:
        """The rasters in pieces: grid and classes (y, x), 255 = no data."""
        for grid, values in areas.pieces(self.paths):
            yield grid, self.index[values]

    def counts(self) -> np.ndarray:
        """Pixels of each class, int64 (class,)."""
        total = np.zeros(len(self.names), "int64")
        for _, found in self.pieces():
            total += np.bincount(found.ravel(), minlength=IGNORE + 1)[:len(total)]
        return total

    def pixel_area(self) -> float:
        """m2 a pixel."""
        with rasterio.open(self.paths[0]) as raster:
            return float(raster.res[0] * raster.res[1])

    def at(self, epsg: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Classes at points in metres of their zones, 255 where the map has none."""
        out = np.full(len(x), IGNORE, int)
        zones = {}
        for path in self.paths:
            with rasterio.open(path) as raster:
                zones[int(raster.crs.to_epsg())] = path
        for zone in np.unique(epsg):
            if int(zone) not in zones:
                continue
            here = np.flatnonzero(epsg == zone)
            with rasterio.open(zones[int(zone)]) as raster:
                # Nearest pixel; beyond the raster sample() gives its no data.
                found = np.array([v[0] for v in raster.sample(zip(x[here], y[here], strict=True))], int)
            out[here] = self.index[found]
        return out


def open_map(folder: str | Path) -> Shown:
    """A map, or a change between two maps.

    Raises
    ------
    InputError
        Where the folder holds neither, or one that is not finished.
    """
    folder = Path(folder)
    for stem, change in (("class", False), ("change", True)):
        facts = folder / f"{'change' if change else 'map'}.json"
        paths = sorted(folder.glob(f"{stem}_epsg*.tif"))
        if not paths or not facts.exists():
            continue
        known = facts_of(facts)
        legend = legend_in(known, f"map {folder}")
        index = np.full(256, IGNORE, "uint8")
        names = list(legend.classes)
        index[:len(legend)] = range(len(legend))
        if change:
            names, index = _kinds(paths, codes_of(legend))
        return Shown(folder, paths, names, index, known, change, legend)
    raise InputError(f"map {folder}: holds no finished map; make one with dwplus map, or a change with dwplus change")


def _kinds(paths: list[Path], codes: ChangeCodes) -> tuple[list[str], np.ndarray]:
    """Classes of a change raster: what stayed, each kind of change that is not rare, and the others together. Of more
    than fifteen classes what stayed and is rare is among the others too: an index has 254 places."""
    total = np.zeros(codes.size, "int64")
    for _, values in areas.pieces(paths):
        total += np.bincount(values.ravel(), minlength=codes.size)
    total[codes.nodata] = 0
    names: list[str] = []
    index, rest = np.full(codes.size, IGNORE, "uint8"), []
    for value in np.flatnonzero(total):
        before, after = codes.pair(int(value))
        if (before != after or codes.size > 256) and total[value] < RARE * total.sum():
            rest.append(value)
            continue
        index[value] = len(names)
        names.append(codes.name(int(value)))
    if rest:
        index[rest] = len(names)
        names.append(OTHER)
    return names, index
