"""What a data set is to the engine: pairs of files, what bands and classes they hold, how they are split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dwplus.taxonomy.tables import ClassTable

NOT_ESTABLISHED = "not established"


@dataclass(frozen=True)
class Files:
    """Where one part of a pair lies.

    Attributes
    ----------
    paths : a file, or a file per band. bands : numbers of the bands to take, from 1; None = all.
    counts : numbers of bands the file may have.
    """

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    bands: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Pair:
    """An optical image, a radar image and a label of one place.

    Attributes
    ----------
    name : its own, unique in the set. scene : what it is a part of; tiles of a scene are drawn together when intervals
        are made, and are never split. split : ``train``, ``val`` or ``test``. published : the split's word in the data
        set, empty where it has none. lon, lat : of the centre where a name says it; NaN = not known.
    at : number of the pair in a file that holds many. product : ``sr`` or ``toa`` where a set mixes them.
    """

    name: str
    optical: Files
    radar: Files
    label: Files
    scene: str = ""
    split: str = "train"
    published: str = ""
    lon: float = math.nan
    lat: float = math.nan
    at: int = -1
    product: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.optical.paths, *self.radar.paths, *self.label.paths)


@dataclass(frozen=True)
class Georeference:
    """Where an image lies: EPSG code (0 = not known), upper left corner and size of a pixel in its units."""

    epsg: int = 0
    x0: float = math.nan
    y0: float = math.nan
    pixel: float = math.nan


@dataclass(frozen=True)
class Header:
    """What a pair's files say before their pixels are read. ``dtypes`` are of optics, radar and label."""

    height: int
    width: int
    dtypes: tuple[str, str, str]
    georeference: Georeference = Georeference()


@dataclass(frozen=True)
class Raw:
    """Pixels of a pair as its files have them; no data of the optics and the radar as NaN where it is marked.

    ``optical``, ``radar`` : (band, y, x). ``label`` : integers (y, x).
    """

    optical: np.ndarray
    radar: np.ndarray
    label: np.ndarray


class Reader(Protocol):
    """Reads pairs; safe for threads."""

    def header(self, pair: Pair) -> Header:
        """Sizes and types; refuses a pair whose files do not fit each other."""

    def label(self, pair: Pair) -> np.ndarray:
        """The label alone, (y, x)."""

    def read(self, pair: Pair) -> Raw:
        """All pixels."""


@dataclass(frozen=True)
class Options:
    """What a user says of an import.

    Attributes
    ----------
    codes : code in the label files -> name of a class, or ``ignore``; None = the set's own. scale : factor from values
        of the optical files to DN (reflectance x 10000) or grey values; None = by their range. s1_unit : ``dB``,
        ``linear`` or ``display``; None = as published, or by their range. splits : ``official``, ``spatial``,
        ``random`` or a CSV file; None = what the set offers. tile : side, px; None = the set's own. edge : see
        :func:`dwplus.importers.tiling.cut`. layout : YAML of ``folder``. labels : which of the labels of ``mmearth``.
    """

    codes: Mapping[int, str] | None = None
    scale: float | None = None
    s1_unit: str | None = None
    splits: str | None = None
    tile: int | None = None
    edge: str = "pad"
    layout: Path | None = None
    labels: str | None = None


@dataclass
class Found:
    """What lies in a folder.

    Attributes
    ----------
    pairs : in order. splits : how they were split, in words. notes : what a user should know. reader : of the pairs.
    """

    pairs: list[Pair]
    splits: str
    reader: Reader
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DataSet:
    """A data set that can be imported.

    Attributes
    ----------
    name : of the command line. title, licence, source, references : for the store's root. table : its classes.
    optical_bands, radar_bands : names, in the order in which they are read. optical_unit : ``reflectance`` or
        ``display``. radar_unit : ``dB`` or ``display``; None = not established, the ranges or the user decide.
    tile : side of tiles, px; None = that of the files. pixel : side of a pixel, m. find : what lies in a folder.
    codes_by : decides the codes of the labels from those that are met, where they are not established.
    recode : codes of the files that are merged on reading, such as IGBP's 17 to 10.
    """

    name: str
    title: str
    table: ClassTable
    optical_bands: tuple[str, ...]
    radar_bands: tuple[str, ...]
    optical_unit: str
    radar_unit: str | None
    find: Callable[[Path, Options], Found]
    tile: int | None = None
    pixel: float = 10.0
    licence: str = NOT_ESTABLISHED
    source: str = ""
    references: str = ""
    codes_by: Callable[[Sequence[int]], dict[int, str]] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
