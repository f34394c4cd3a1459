"""Values that expressions work on. Images and collections are lazy: they know how to be read, and hold no pixels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import Bounds, TableFeature
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.grid import WGS84, Extent, Grid, Pixels, Projection
from dwplus.embedded_earth.pixel_types import PixelType
from dwplus.embedded_earth.shapes import Geometry, geometry_of

# --------------------------------------------------------------------------------------------------- plain values


@dataclass(frozen=True)
class Date:
    """Milliseconds since 1970, UTC."""

    ms: float

    def datetime(self) -> dt.datetime:
        """As a datetime in UTC.

        Raises
        ------
        ComputeError
            Outside the years 1 to 9999.
        """
        try:
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=self.ms)
        except OverflowError:
            raise ComputeError(f"Date: {self.ms} is out of range.") from None


@dataclass(frozen=True)
class DateRange:
    """[start, end) in milliseconds; None stands for unbounded."""

    start: float | None
    end: float | None


@dataclass(frozen=True)
class ErrorMargin:
    """A distance in metres or in a projection's units; geometry here is exact, so it is carried only."""

    value: float | None = None
    unit: str = "meters"


#: Metres from which on a margin is infinite: about half the equator, as published.
LARGEST_MARGIN = 2e7


def error_margin(value: float | None, unit: str = "meters") -> ErrorMargin:
    """A margin as the service keeps it: never negative, and without a value where it is infinite."""
    if unit == "infinite" or (value is not None and unit == "meters" and abs(value) > LARGEST_MARGIN):
        return ErrorMargin(None, "infinite")
    return ErrorMargin(None if value is None else abs(value), unit)


@dataclass(frozen=True)
class Function:
    """A function of the expression, or of ``Image.parseExpression``."""

    call: Callable[..., Any]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights (h, w) around a pixel: the focus lies at (``row``, ``col``)."""

    values: np.ndarray
    row: int
    col: int


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights of a neighbourhood; ``at(metres)`` gives them for pixels of that size.

    ``metric`` says that they depend on it.
    """

    at: Callable[[float], Weights]
    metric: bool = False


# ------------------------------------------------------------------------------------------------------- elements


@dataclass(frozen=True, eq=False)
class Feature:
    """A geometry with properties."""

    geometry: Geometry | None
    properties: dict[str, Any] = field(default_factory=dict)
    id: str | None = None

    def with_properties(self, properties: dict[str, Any]) -> Feature:
        """The same with other properties."""
        return replace(self, properties=properties)


@dataclass(frozen=True, eq=False)
class Band:
    """A band: its type, where its pixels lie, and how to read it on any grid.

    ``extent`` is None where the band is unbounded. ``read(grid)`` returns values of ``type.dtype`` and their validity.
    """

    id: str
    type: PixelType
    projection: Projection
    extent: Extent | None
    read: Callable[[Grid], Pixels]
    constant: float | None = None

    def named(self, name: str) -> Band:
        """The same under another name."""
        return self if name == self.id else replace(self, id=name)

    @property
    def is_composite(self) -> bool:
        """Whether the band has no pixels of its own: a composite or a constant."""
        return self.extent is None and self.projection == WGS84

    def derived(self, read: Callable[[Grid], Pixels], to: PixelType | None = None) -> Band:
        """A band computed from this one pixel by pixel."""
        return replace(self, type=to or self.type, read=read, constant=None)


@dataclass(frozen=True, eq=False)
class Image:
    """Bands with properties; ``footprint`` None stands for unbounded."""

    bands: tuple[Band, ...]
    properties: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    version: int | None = None
    footprint: Geometry | None = None

    def with_properties(self, properties: dict[str, Any]) -> Image:
        """The same with other properties."""
        return replace(self, properties=properties)

    def with_bands(self, bands: Iterable[Band]) -> Image:
        """The same with other bands, whose names are made unique as the service does."""
        return replace(self, bands=unique(bands))

    def computed(self, bands: Iterable[Band]) -> Image:
        """A result: new bands, of the properties only index and footprint."""
        kept = {k: v for k, v in self.properties.items() if k in ("system:index", "system:footprint")}
        return Image(unique(bands), kept, None, None, self.footprint)

    def band(self, name: str) -> Band:
        """The band of that name.

        Raises
        ------
        ComputeError
            Where there is none.
        """
        for band in self.bands:
            if band.id == name:
                return band
        raise ComputeError(f"Image.select: Band pattern '{name}' did not match any bands. Available bands: "
                           f"[{', '.join(b.id for b in self.bands)}]")


Element = Feature | Image


def unique(bands: Iterable[Band]) -> tuple[Band, ...]:
    """Bands with distinct names: a repeated name gets _1, _2, ..."""
    seen: set[str] = set()
    out = []
    for band in bands:
        name, n = band.id, 0
        while name in seen:
            n += 1
            name = f"{band.id}_{n}"
        seen.add(name)
        out.append(band.named(name))
    return tuple(out)


# ------------------------------------------------------------------------------------------------------ collections


@dataclass(frozen=True)
class Hints:
    """What a collection's reader will throw away anyway, so that an archive need not enumerate it.

    ``index`` is the ``system:index`` that an element must have.
    """

    start_ms: float | None = None
    end_ms: float | None = None
    bounds: Bounds | None = None
    index: str | None = None

    def narrowed(self, other: Hints) -> Hints:
        """Both limits; of two boxes the first, for either alone is right."""
        starts = [v for v in (self.start_ms, other.start_ms) if v is not None]
        ends = [v for v in (self.end_ms, other.end_ms) if v is not None]
        return Hints(max(starts, default=None), min(ends, default=None), self.bounds or other.bounds,
                     self.index or other.index)


EVERYTHING = Hints()


@dataclass(frozen=True, eq=False)
class Collection:
    """Elements in order, made when asked for. ``load(hints)`` may leave out what the hints exclude, and need not."""

    kind: str  # ImageCollection or FeatureCollection
    load: Callable[[Hints], Iterable[Any]]
    properties: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    version: int | None = None
    columns: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.load(EVERYTHING))

    def using(self, load: Callable[[Hints], Iterable[Any]]) -> Collection:
        """The collection with other elements."""
        return replace(self, load=load)


def collection_of(elements: Iterable[Any], kind: str = "FeatureCollection") -> Collection:
    """A collection of given elements; those without an index get their place as one."""
    listed = list(elements)
    return Collection(kind, lambda _: listed)


def index_of(element: Element, position: int) -> str:
    """``system:index`` of an element, or its place in the collection."""
    return str(element.properties.get("system:index", position))


@dataclass(frozen=True)
class Filter:
    """A test of one element, or of a pair in a join.

    ``measure`` gives the distance or difference of a pair that passes, where the filter has one.
    """

    test: Callable[[Element], bool] | None
    hints: Hints = EVERYTHING
    pair: Callable[[Element, Element], bool] | None = None
    measure: Callable[[Element, Element], float | None] | None = None


@dataclass(frozen=True)
class Join:
    """How matches are kept: simple, inverted, inner, saveFirst, saveBest or saveAll."""

    kind: str
    keys: tuple[str, ...] = ()
    measure_key: str | None = None
    ordering: str | None = None
    ascending: bool = True
    outer: bool = False


@dataclass(frozen=True)
class Reducer:
    """Turns many values into few.

    Attributes
    ----------
    inputs : values taken per row.
    outputs : names of what it returns.
    rows : ``(rows, weights) -> outputs``; rows are tuples of ``inputs`` non-null values.
    pixels : ``(values (n, h, w), valid (n, h, w)) -> [(values, valid), ...]``; None where it has no image form.
    types : pixel types of the outputs from that of the input.
    weighted : whether weights count.
    optional : how many of the last inputs may be null.
    """

    name: str
    inputs: int
    outputs: tuple[str, ...]
    rows: Callable[[list[tuple[Any, ...]], np.ndarray], list[Any]]
    pixels: Callable[[np.ndarray, np.ndarray], list[tuple[np.ndarray, np.ndarray]]] | None = None
    types: Callable[[PixelType], list[PixelType]] | None = None
    weighted: bool = True
    optional: int = 0
    shared: tuple[Reducer, ...] = ()
    separate: tuple[Reducer, ...] = ()


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Counts (n, n), actual classes by row and predicted ones by column, and what the rows and columns stand for."""

    counts: np.ndarray
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A kind of classifier with its options; trained where ``model`` is there.

    Attributes
    ----------
    kind : name of the function that made it.
    options : its arguments.
    mode : CLASSIFICATION, REGRESSION, PROBABILITY or MULTIPROBABILITY.
    inputs : names of the inputs, in order; None before training.
    model : what was trained.
    matrix : of the training data.
    importance : share of each input in the decisions.
    """

    kind: str
    options: dict[str, Any]
    mode: str = "CLASSIFICATION"
    inputs: tuple[str, ...] | None = None
    model: Any = None
    matrix: ConfusionMatrix | None = None
    importance: dict[str, float] = field(default_factory=dict)


class TableElements:
    """Rows of a stored table as features, made once."""

    def __init__(self, rows: list[TableFeature]) -> None:
        self._rows = rows
        self._features: list[Feature] | None = None

    def __call__(self, hints: Hints) -> list[Feature]:
        if self._features is None:
            # As in GeoJSON (RFC 7946, 3.1.1) edges are straight in longitude and latitude.
            self._features = [Feature(geometry_of(row.geometry, geodesic=False),
                                      {**row.properties, "system:index": row.index}, row.index) for row in self._rows]
        return self._features
