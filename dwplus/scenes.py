"""Scenes as rows of tables: what planning knows of an image. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import shapely

_S2_INDEX = re.compile(r"(\d{8}T\d{6})_(\d{8}T\d{6})_T(\d{2})([C-X])([A-Z]{2})")


@dataclass(frozen=True)
class LabelScene:
    """A Dynamic World image.

    Attributes
    ----------
    index : ``system:index``, the id of the Sentinel-2 L1C scene it was made from.
    time_ms : ``system:time_start``, milliseconds since 1970, UTC.
    footprint : polygon in EPSG:4326.
    crs, transform, shape : the native grid (Earth Engine's transform order; (height, width)), None where unknown.
    """

    index: str
    time_ms: int
    footprint: shapely.Geometry
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    shape: tuple[int, int] | None = None

    @property
    def epsg(self) -> int | None:
        """UTM zone of the granule, from the MGRS tile in the index."""
        match = _S2_INDEX.fullmatch(self.index)
        return None if match is None else (32600 if match[4] >= "N" else 32700) + int(match[3])

    @property
    def sensing(self) -> str:
        """Sensing start and MGRS tile: what products of one sensing share, whatever their second time stamp."""
        return sensing_key(self.index)


@dataclass(frozen=True)
class OpticalScene:
    """A Sentinel-2 image; ``cloud`` is CLOUDY_PIXEL_PERCENTAGE, NaN where unknown."""

    index: str
    time_ms: int
    mgrs: str | None
    cloud: float
    footprint: shapely.Geometry

    @property
    def sensing(self) -> str:
        return sensing_key(self.index)


@dataclass(frozen=True)
class RadarScene:
    """A Sentinel-1 GRD slice; ``relative_orbit`` is -1 where unknown."""

    index: str
    time_ms: int
    orbit_pass: str
    relative_orbit: int
    platform: str
    footprint: shapely.Geometry


def sensing_key(index: str) -> str:
    """``<sensing start>_<MGRS tile>`` of a Sentinel-2 index; other indices stand for themselves."""
    match = _S2_INDEX.fullmatch(index)
    return index if match is None else f"{match[1]}_{match[3]}{match[4]}{match[5]}"
