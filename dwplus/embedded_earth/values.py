"""Values that expressions work on. Images and collections are lazy: they know how to be read, and hold no pixels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
import shapely.geometry
import shapely.ops

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.catalog import Bounds, MissingRaster, Scene, TableFeature, Window
from dwplus.embedded_earth.cubic import read_bicubic
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.grid import (
    WGS84,
    Extent,
    Grid,
    Pixels,
    Projection,
    canonical_crs,
    pyramid_level,
    read_bilinear,
    read_nearest,
    transformer,
)

# ------------------------------------------------------------------------------------------------------ pixel types

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535),
           "int32": (-2**31, 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-2**63, 2**63 - 1)}


@dataclass(frozen=True)
class PixelType:
    """``precision`` int, float or double; integers carry their range, from which their size follows."""

    precision: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def dtype(self) -> np.dtype:
        """The smallest NumPy type that holds the range."""
        if self.precision == "float":
            return np.dtype("<f4")
        if self.precision == "double" or self.minimum is None or self.maximum is None:
            return np.dtype("<f8")
        for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
            low, high = _RANGES[name]
            if low <= self.minimum and self.maximum <= high:
                return np.dtype(name).newbyteorder("<")
        return np.dtype("<i8")

    def union(self, other: PixelType) -> PixelType:
        """The narrowest type that holds both."""
        ranks = ("int", "float", "double")
        precision = ranks[max(ranks.index(self.precision), ranks.index(other.precision))]
        ends = (self.minimum, other.minimum, self.maximum, other.maximum)
        if any(end is None for end in ends):
            return PixelType(precision)
        return PixelType(precision, min(ends[0], ends[1]), max(ends[2], ends[3]))  # type: ignore[type-var]


FLOAT, DOUBLE, BOOLEAN = PixelType("float"), PixelType("double"), PixelType("int", 0, 1)


def integer_type(name: str) -> PixelType:
    """``uint8`` ... ``int64`` as a pixel type."""
    return PixelType("int", *_RANGES[name])


def cast(values: np.ndarray, to: PixelType) -> np.ndarray:
    """Values in a pixel type's dtype; integers clamp and truncate towards zero, as the service's casts do."""
    dtype = to.dtype
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if values.dtype.kind in "iu":
            own = np.iinfo(values.dtype)
            if own.min < info.min or own.max > info.max:
                values = np.clip(values, max(own.min, info.min), min(own.max, info.max))
            return values.astype(dtype)
        if values.dtype.kind == "b":
            return values.astype(dtype)
        with np.errstate(invalid="ignore"):
            finite = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf) if np.isnan(values).any() else values
            # The largest int64 is no float: its neighbour below is.
            high = np.nextafter(float(info.max), 0) if info.bits == 64 else info.max
            return np.clip(finite, info.min, high).astype(dtype)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


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
    """Weights of a neighbourhood; ``at(metres)`` gives them for pixels of that size."""

    at: Callable[[float], Weights]


@dataclass(frozen=True)
class Geometry:
    """A shape in a CRS. Edges are planar in that CRS; ``geodesic`` is carried for the answer."""

    shape: shapely.Geometry
    crs: str = "EPSG:4326"
    geodesic: bool = True

    def to(self, crs: str) -> Geometry:
        """The shape in another CRS; its vertices are transformed, so long edges should have many."""
        crs = canonical_crs(crs)
        if crs == self.crs:
            return self
        return Geometry(shapely.transform(self.shape, transformer(self.crs, crs).transform, interleaved=False), crs,
                        crs == "EPSG:4326")

    @property
    def degrees(self) -> shapely.Geometry:
        """The shape in longitude and latitude."""
        return self.to("EPSG:4326").shape

    def json(self) -> dict[str, Any]:
        """GeoJSON, as the service prints it."""
        shape = self.to("EPSG:4326")
        out = _plain(shapely.geometry.mapping(shape.shape))
        if not shape.geodesic:
            out["geodesic"] = False
        return out


def _plain(mapping: Any) -> Any:
    if isinstance(mapping, dict):
        return {key: _plain(value) for key, value in mapping.items()}
    return [_plain(v) for v in mapping] if isinstance(mapping, tuple | list) else mapping


def geometry_of(mapping: dict[str, Any], crs: str = "EPSG:4326", geodesic: bool = True) -> Geometry:
    """A GeoJSON geometry.

    Raises
    ------
    ComputeError
        Where it is none.
    """
    try:
        return Geometry(shapely.geometry.shape(mapping), crs, geodesic)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
        raise ComputeError(f"Geometry: invalid GeoJSON geometry ({error}).") from error


def polygon_of(shape: shapely.Geometry) -> shapely.Geometry:
    """A footprint as an area: closed rings, which is how footprints are kept, become polygons."""
    if shape.geom_type == "LinearRing" or (shape.geom_type == "LineString" and shape.is_closed
                                           and len(shape.coords) >= 4):
        return shapely.Polygon(shape.coords)
    return shape


def meet(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Whether two shapes in degrees intersect, on a world that wraps."""
    west, _, east, _ = one.bounds if not one.is_empty else (0, 0, 0, 0)
    if one.is_empty or other.is_empty:
        return False
    for shift in (0.0, 360.0, -360.0):
        left, _, right, _ = other.bounds
        if right + shift < west or left + shift > east:
            continue
        moved = other if shift == 0 else shapely.transform(other, lambda xy, s=shift: xy + (s, 0.0))
        if shapely.intersects(one, moved):
            return True
    return False


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


def constant_band(value: float, name: str = "constant") -> Band:
    """A number everywhere."""
    if isinstance(value, bool) or (abs(value) < 2**63 and float(value).is_integer()):
        to = PixelType("int", int(value), int(value))
    else:
        to = PixelType("double", value, value)
    number = to.dtype.type(value)

    def read(grid: Grid) -> Pixels:
        return np.broadcast_to(number, grid.shape), None

    return Band(name, to, WGS84, None, read, float(value))


def native_reader(band: Band) -> Callable[[int, int, int, int], Pixels]:
    """Reader of a band's own pixels by (row, col, height, width)."""
    def read(row: int, col: int, height: int, width: int) -> Pixels:
        return band.read(Grid(band.projection.crs, band.projection.transform, 0, 0).window(row, col, height, width))

    return read


def resampled(band: Band, mode: str = "bilinear") -> Band:
    """The band interpolated between its own pixels; composites have none and stay as they are."""
    interpolate = read_bicubic if mode == "bicubic" else read_bilinear
    if band.is_composite:
        return band
    if band.constant is not None:
        return band
    to = band.type if band.type.precision != "int" else FLOAT if band.type.dtype.itemsize <= 2 else DOUBLE
    reader = native_reader(band)

    def read(grid: Grid) -> Pixels:
        level = pyramid_level(grid, band.projection)
        if not level:
            return interpolate(grid, band.projection, band.extent, reader, to.dtype)
        # Coarse grids interpolate between the pixels of the pyramid's level, not between native ones.
        coarse = replace(band, projection=band.projection.coarser(level),
                         extent=None if band.extent is None else band.extent.coarser(level))
        return interpolate(grid, coarse.projection, coarse.extent, native_reader(coarse), to.dtype)

    return replace(band, type=replace(to, minimum=band.type.minimum, maximum=band.type.maximum), read=read,
                   constant=None)


def projected(band: Band, projection: Projection) -> Band:
    """The band computed on a projection's pixels, nearest neighbour from there on."""
    reader = native_reader(replace(band, projection=projection))

    def read(grid: Grid) -> Pixels:
        return read_nearest(grid, projection, None, band.type.dtype, reader)

    return replace(band, projection=projection, extent=None, read=read)


# --------------------------------------------------------------------------------------------------- stored images


def image_of(scene: Scene) -> Image:
    """A stored scene as an image whose bands read windows of it, once per request."""
    properties = scene.properties
    footprint = properties.get("system:footprint")
    shape = None if footprint is None else Geometry(polygon_of(geometry_of(footprint).shape))
    return Image(tuple(_stored_band(scene, index) for index in range(len(scene.bands))), properties, scene.id, None,
                 shape)


def _stored_band(scene: Scene, index: int) -> Band:
    spec = scene.bands[index]
    to = PixelType(spec.precision, spec.minimum, spec.maximum)
    projection = Projection(canonical_crs(spec.crs), spec.transform)
    if not spec.width:
        def refuse(grid: Grid) -> Pixels:
            raise _no_raster(scene)

        return Band(spec.id, to, projection, None, refuse)
    extent = Extent(0, 0, spec.width, spec.height)
    last: list[tuple[tuple[int, int, int, int], Pixels]] = []

    def native(row: int, col: int, height: int, width: int) -> Pixels:
        key = (row, col, height, width)
        if last and last[0][0] == key:
            return last[0][1]
        try:
            values, valid = scene.read((spec.id,), Window(*key))[spec.id]
        except MissingRaster:
            raise _no_raster(scene) from None
        pixels = cast(values, to), valid
        last[:] = [(key, pixels)]
        return pixels

    def coarse(level: int) -> Callable[[int, int, int, int], Pixels]:
        """Reader of a level of the pyramid, in that level's pixels."""
        def read(row: int, col: int, height: int, width: int) -> Pixels:
            factor = 2 ** min(level, _FINEST)
            if level > _FINEST:  # from the finest kept level on, so that memory stays bounded
                inner, rest = extent.coarser(_FINEST), 2 ** (level - _FINEST)
                rows, cols = min(inner.height, (row + height) * rest), min(inner.width, (col + width) * rest)
                fine = in_blocks(coarse(_FINEST), _BLOCK >> _FINEST, to.dtype)
                part = fine(row * rest, col * rest, rows - row * rest, cols - col * rest)
                return downsampled(part, (height, width), level - _FINEST, spec.pyramid, to)
            top, left = row * factor, col * factor
            bottom, right = min(spec.height, (row + height) * factor), min(spec.width, (col + width) * factor)
            return downsampled(native(top, left, bottom - top, right - left), (height, width), level, spec.pyramid, to)

        return read

    def read(grid: Grid) -> Pixels:
        level = pyramid_level(grid, projection)
        if not level:
            return read_nearest(grid, projection, extent, to.dtype, native)
        # Blocks, so that a coarse view of a large scene never holds its native pixels at once.
        return read_nearest(grid, projection.coarser(level), extent.coarser(level), to.dtype,
                            in_blocks(coarse(level), max(1, _BLOCK >> level), to.dtype))

    return Band(spec.id, to, projection, extent, read)


#: Side, in native pixels, of the blocks that pyramids are made from.
_BLOCK = 2048
#: The finest level from which coarser ones are made step by step.
_FINEST = 8


def in_blocks(read: Callable[[int, int, int, int], Pixels], side: int,
              dtype: np.dtype) -> Callable[[int, int, int, int], Pixels]:
    """A reader that asks another one for blocks of at most ``side`` pixels."""
    def run(row: int, col: int, height: int, width: int) -> Pixels:
        if height <= side and width <= side:
            return read(row, col, height, width)
        out = np.empty((height, width), dtype)
        put, whole = masks.assembled(out.shape)
        for top in range(0, height, side):
            for left in range(0, width, side):
                block = np.s_[top:min(top + side, height), left:min(left + side, width)]
                shape = out[block].shape
                out[block], valid = read(row + top, col + left, *shape)
                put(block, valid)
        return out, masks.tidied(whole())

    return run


def downsampled(pixels: Pixels, shape: tuple[int, int], level: int, policy: str, to: PixelType) -> Pixels:
    """Pixels of a coarser level: halved again and again by the mean or the mode, weighted by the mask, or by a sample.

    The mask is the mean of the masks, of a sample its own; beyond the raster's edge there is nothing.
    Source: https://developers.google.com/earth-engine/reference/rest/Shared.Types/PyramidingPolicy

    Parameters
    ----------
    pixels : native ones of whole blocks; at the raster's right and lower edge blocks may be cut.
    shape : (height, width) wanted.
    """
    values, mask = pixels
    factor = 2 ** level
    pad = ((0, shape[0] * factor - values.shape[0]), (0, shape[1] * factor - values.shape[1]))
    if pad != ((0, 0), (0, 0)):
        values, mask = np.pad(values, pad), np.pad(masks.shares(mask, values.shape), pad)
    for _ in range(level):
        values, mask = _halved(values, mask, policy)
    if to.precision == "int" and values.dtype.kind == "f":
        values = np.rint(values)
    return cast(values, to), None if mask is None else masks.tidied(mask)


def _halved(values: np.ndarray, mask: masks.Mask, policy: str) -> Pixels:
    """Every two by two pixels as one; the mask comes out as shares."""
    parts, weights = _quarters(values), None if mask is None else _quarters(mask)
    if policy == "sample":
        return parts[0], None if weights is None else weights[0]
    share = None if weights is None else weights.mean(axis=0, dtype="f4")
    if policy == "mode":
        return _most_frequent(parts, np.ones(parts.shape, "u1") if weights is None else weights), share
    if weights is None:
        return parts.mean(axis=0, dtype="f8"), None
    total = weights.sum(axis=0, dtype="f8")
    data = np.where(weights > 0, parts, 0) * weights.astype("f8")
    return np.divide(data.sum(axis=0), total, out=np.zeros(total.shape), where=total > 0), share


def _quarters(array: np.ndarray) -> np.ndarray:
    """(4, h/2, w/2): the four pixels of every two by two."""
    return np.stack([array[i::2, j::2] for i in (0, 1) for j in (0, 1)])


def _most_frequent(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The one of four values with the largest weight, masked ones apart; of equals the first."""
    votes = np.stack([((parts == parts[i]) * weights).sum(axis=0) * (weights[i] > 0) for i in range(4)])
    return np.take_along_axis(parts, votes.argmax(axis=0)[None], 0)[0]


def _no_raster(scene: Scene) -> ComputeError:
    return ComputeError(f"Image.load: Image asset '{scene.id}' has metadata only: its pixels are not in this archive.")


# ------------------------------------------------------------------------------------------------------ collections


@dataclass(frozen=True)
class Hints:
    """What a collection's reader will throw away anyway, so that an archive need not enumerate it."""

    start_ms: float | None = None
    end_ms: float | None = None
    bounds: Bounds | None = None

    def narrowed(self, other: Hints) -> Hints:
        """Both limits; of two boxes the first, for either alone is right."""
        starts = [v for v in (self.start_ms, other.start_ms) if v is not None]
        ends = [v for v in (self.end_ms, other.end_ms) if v is not None]
        return Hints(max(starts, default=None), min(ends, default=None), self.bounds or other.bounds)


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


class TableElements:
    """Rows of a stored table as features, made once."""

    def __init__(self, rows: list[TableFeature]) -> None:
        self._rows = rows
        self._features: list[Feature] | None = None

    def __call__(self, hints: Hints) -> list[Feature]:
        if self._features is None:
            self._features = [Feature(geometry_of(row.geometry), {**row.properties, "system:index": row.index},
                                      row.index) for row in self._rows]
        return self._features
