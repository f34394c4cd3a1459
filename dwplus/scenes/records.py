"""Scenes as rows of tables: what planning knows of an image. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import shapely

from dwplus.grid.longitude import near_longitude

_S2_INDEX = re.compile(r"(\d{8}T\d{6})_(\d{8}T\d{6})_T(\d{2})([C-X])([A-Z]{2})")
_S2_PRODUCT = re.compile(r"S2[A-D]_MSIL\d[AC]_(\d{8}T\d{6})_.*_T(\d{2}[C-X][A-Z]{2})_\d{8}T\d{6}(\.SAFE)?")


@dataclass(frozen=True)
class LabelScene:
    """A Dynamic World image, or a tile annotated by people.

    Attributes
    ----------
    index : ``system:index``; of a Dynamic World image this is the id of the Sentinel-2 L1C scene it was made from.
    time_ms : ``system:time_start``, milliseconds since 1970, UTC.
    footprint : polygon in EPSG:4326.
    crs, transform, shape : the native grid (Earth Engine's transform order; (height, width)), None where unknown.
    s2_index : id of its Sentinel-2 scene where that is not ``index``; may be empty.
    sensed : ``<sensing start>_<MGRS tile>`` of its Sentinel-2 product where known.
    by_date : whether it may fall back to a Sentinel-2 scene of its date, of the granule ``mgrs`` where that is known.
    """

    index: str
    time_ms: int
    footprint: shapely.Geometry
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    shape: tuple[int, int] | None = None
    s2_index: str = ""
    sensed: str = ""
    by_date: bool = False
    mgrs: str = ""

    @property
    def epsg(self) -> int | None:
        """UTM zone of the granule, from the MGRS tile in the index; None where that is no Sentinel-2 index."""
        match = _S2_INDEX.fullmatch(self.index.partition(",")[0])
        return None if match is None else (32600 if match[4] >= "N" else 32700) + int(match[3])

    @property
    def s2_indices(self) -> list[str]:
        """Ids of its Sentinel-2 scenes; several of a mosaic."""
        return (self.s2_index or self.index).split(",")

    def in_zone(self, epsg: int) -> bool:
        """Whether the image may serve a tile of a zone: its granule is of that zone, or it was delivered in it; images
        without a granule serve all."""
        return self.epsg is None or epsg == self.epsg or self.crs == f"EPSG:{epsg}"

    @property
    def date(self) -> dt.date:
        """Day of the label, UTC."""
        return dt.datetime.fromtimestamp(self.time_ms / 1000, dt.UTC).date()

    @property
    def sensing(self) -> str:
        """Sensing start and MGRS tile: what products of one sensing share, whatever their second time stamp."""
        return self.sensed or sensing_key(self.s2_index or self.index)


@dataclass(frozen=True)
class MapImage:
    """An image of a map of classes.

    Attributes
    ----------
    index : ``system:index``. start_ms, end_ms : its span of time, None where it has none.
    footprint : polygon in EPSG:4326; None for all of the globe.
    """

    index: str
    start_ms: int | None
    end_ms: int | None
    footprint: shapely.Geometry | None


@dataclass(frozen=True)
class OpticalScene:
    """A Sentinel-2 image; ``cloud`` is CLOUDY_PIXEL_PERCENTAGE, NaN where unknown, ``product`` is ``sr`` or ``toa``."""

    index: str
    time_ms: int
    mgrs: str | None
    cloud: float
    footprint: shapely.Geometry
    product: str = "sr"

    @property
    def sensing(self) -> str:
        return sensing_key(self.index)

    @property
    def date(self) -> dt.date:
        """Day of sensing, UTC."""
        return dt.datetime.fromtimestamp(self.time_ms / 1000, dt.UTC).date()


@dataclass(frozen=True)
class RadarScene:
    """A Sentinel-1 GRD slice, or a burst of RTC-S1 with its ``burst`` id; ``relative_orbit`` is -1 where unknown."""

    index: str
    time_ms: int
    orbit_pass: str
    relative_orbit: int
    platform: str
    footprint: shapely.Geometry
    burst: str = ""


_Granule = TypeVar("_Granule", LabelScene, OpticalScene)


def mosaic(parts: Sequence[_Granule]) -> _Granule:
    """Products that hold a part of one granule each, as one scene: the first's, with all indices comma-joined and the
    ground of all."""
    first = parts[0]
    if len(parts) == 1:
        return first
    lon = first.footprint.centroid.x
    shapes = [near_longitude(part.footprint, lon) for part in parts]
    ground = shapely.union_all([s if s.is_valid else shapely.make_valid(s) for s in shapes])
    return replace(first, index=",".join(part.index for part in parts), footprint=ground)


def passes_of(ids: str) -> tuple[tuple[str, ...], ...]:
    """The slices of each pass of a plan's ``speckle_ids``: passes by semicolons, slices of a pass by commas; none of an
    empty text."""
    return tuple(tuple(one.split(",")) for one in ids.split(";")) if ids else ()


def slices_in(*columns: Iterable[str]) -> list[str]:
    """The slices that a plan's ``s1_id`` and ``speckle_ids`` name."""
    return [name for column in columns for ids in column for name in re.split("[,;]", ids) if name]


def sensing_groups(index: str) -> list[list[str]]:
    """Comma-joined indices by sensing and granule, in order: the parts of a mosaic stand together."""
    groups: dict[str, list[str]] = {}
    for one in index.split(","):
        groups.setdefault(sensing_key(one), []).append(one)
    return list(groups.values())


def sensing_key(index: str) -> str:
    """``<sensing start>_<MGRS tile>`` of a Sentinel-2 index (of a mosaic's, the first); other indices stand for
    themselves."""
    match = _S2_INDEX.fullmatch(index.partition(",")[0])
    return index if match is None else f"{match[1]}_{match[3]}{match[4]}{match[5]}"


def product_sensing(product: str) -> str:
    """:func:`sensing_key` of a Sentinel-2 product's name (``S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_...``), or
    empty where it is no such name."""
    match = _S2_PRODUCT.fullmatch(product)
    return "" if match is None else f"{match[1]}_{match[2]}"


def sensing_date(index: str) -> dt.date | None:
    """Day at the head of a Sentinel-2 index or sensing key, UTC; None where there is none."""
    match = re.match(r"(\d{4})(\d{2})(\d{2})T\d{6}_", index)
    return None if match is None else dt.date(int(match[1]), int(match[2]), int(match[3]))
