"""Where and when: the parts of a region, and windows of label dates."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import shapely
from pydantic import AfterValidator, Field, field_validator, model_validator

from dwplus.grid.longitude import polygons_of
from dwplus.spec.base import Day, Model


class BBox(Model):
    """A longitude-latitude box; west > east crosses the antimeridian."""

    bbox: tuple[float, float, float, float] = Field(description="[west, south, east, north], degrees")

    @field_validator("bbox")
    @classmethod
    def _ordered(cls, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        west, south, east, north = box
        if not all(map(math.isfinite, box)) or max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
            raise ValueError(f"[west, south, east, north] must lie in -180..180 and -90..90, found {list(box)}")
        if south >= north:
            raise ValueError(f"south ({south}) must be below north ({north})")
        if west == east:
            raise ValueError(f"west and east are both {west}")
        return box


class RegionFile(Model):
    """Polygons of a file."""

    file: str = Field(description="path of a file of polygons, relative to the spec file: GeoJSON, GeoPackage, "
                                  "Shapefile, FlatGeobuf, KML, GeoParquet, in any CRS")


#: Words a WKT text of polygons begins with.
WKT_WORDS = ("POLYGON", "MULTIPOLYGON", "GEOMETRYCOLLECTION", "SRID=4326;")


def _wkt(text: str) -> str:
    if not text.strip().upper().startswith(WKT_WORDS):
        raise ValueError("is no WKT")
    try:
        geometry = shapely.from_wkt(text.strip().rpartition(";")[2])
    except (shapely.errors.ShapelyError, RecursionError) as error:
        raise ValueError(f"is no WKT ({' '.join(str(error).split())[:100]})") from None
    if not polygons_of(geometry):
        raise ValueError("holds no polygon")
    return text


RegionPart = Literal["sample"] | BBox | RegionFile | Annotated[str, AfterValidator(_wkt)]


class Window(Model):
    """A half-open span of label dates, [start, end)."""

    start: Day = Field(description="first day, UTC")
    end: Day = Field(description="day after the last, UTC")

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if len(value) != 2:
                raise ValueError(f"a window is [start, end), found {len(value)} dates")
            return {"start": value[0], "end": value[1]}
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must come after start {self.start}")
        return self

    def __str__(self) -> str:
        return f"{self.start}/{self.end}"
