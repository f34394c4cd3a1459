"""The data set a user asks for: one frozen model, kept in the plan and in the store as its text."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from dwplus.errors import InputError
from dwplus.spec.base import Model, as_list
from dwplus.spec.extras import ELEVATION_MODELS, FIRST_EMBEDDING, GLO30, NAMES, ElevationModel, Extra, extras_of
from dwplus.spec.labels import Labels
from dwplus.spec.problems import first_problem
from dwplus.spec.radar import RTC_FIRST
from dwplus.spec.region import RegionPart, Window
from dwplus.spec.sensors import PLAIN_GROUND, Sentinel1, Sentinel2
from dwplus.spec.tiles import EARLIER_EDGES, Quality, Sampling, StoreSpec, TileShape, TripletsSpec


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]} is named twice")
    return tuple(name for name in NAMES if name in names)


ExtraName = Literal["dem", "embedding", "cloud_score", "worldcover"]


class DatasetSpec(Model):
    """Everything that decides the content of a data set."""

    name: str = Field(description="name of the data set", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    region: Annotated[tuple[RegionPart, ...], BeforeValidator(as_list)] = Field(
        min_length=1, description="sample (the planet's sites), {bbox: [w, s, e, n]}, {file: x.geojson}, a WKT text, "
                                  "or a list of these")
    windows: tuple[Window, ...] = Field(min_length=1, description="list of [start, end) label dates")
    labels: Labels = Labels()
    tile: TileShape = TileShape()
    sentinel1: Sentinel1 = Sentinel1()
    sentinel2: Sentinel2 = Sentinel2()
    sampling: Sampling = Sampling()
    quality: Quality = Quality()
    store: StoreSpec = StoreSpec()
    triplets: TripletsSpec | None = Field(None, description="land cover under cloud; without it S2 is the scene that "
                                                            "the label was made from")
    extras: Annotated[tuple[ExtraName, ...], AfterValidator(_in_order)] = Field(
        (), description="further arrays of the store: dem = elevation (m above the model's geoid, bilinear); "
                        "embedding = annual satellite embedding (64 bands, from 2017) of the year of the label's "
                        "scene; cloud_score = Cloud Score+ cs_cdf of the Sentinel-2 scene; worldcover = ESA "
                        "WorldCover 2020 or 2021, whichever is nearer")
    elevation: Literal["COPERNICUS/DEM/GLO30_2024_1", "USGS/SRTMGL1_003"] = Field(
        "COPERNICUS/DEM/GLO30_2024_1", description="heights of sentinel1.terrain, sentinel1.keep and extras: [dem]: "
                                                   "Copernicus GLO-30 (above EGM2008, the globe), or SRTM (above "
                                                   "EGM96, 56 S to 60 N; tiles beyond are rejected)")

    @model_validator(mode="after")
    def _heights_asked(self) -> DatasetSpec:
        if self.elevation != GLO30 and not self.needs_heights:
            raise ValueError("elevation is of sentinel1.terrain, sentinel1.keep and extras: [dem], none of which this "
                             "spec has")
        return self

    @model_validator(mode="after")
    def _embedded_years(self) -> DatasetSpec:
        if "embedding" in self.extras and (early := [w for w in self.windows if w.end.year < FIRST_EMBEDDING or (
                w.end <= dt.date(FIRST_EMBEDDING, 1, 1))]):
            raise ValueError(f"extras: embeddings begin with {FIRST_EMBEDDING}, window {early[0]} ends before; leave "
                             "out embedding or the window")
        if self.store.embedding_dtype != "float16" and "embedding" not in self.extras:
            raise ValueError("store.embedding_dtype is of extras: [embedding], which this spec does not have")
        return self

    @model_validator(mode="after")
    def _years_of_rtc(self) -> DatasetSpec:
        if self.sentinel1.product != "rtc":
            return self
        reach, first = dt.timedelta(hours=self.sentinel1.max_gap_hours), dt.datetime.combine(RTC_FIRST, dt.time())
        if early := [w for w in self.windows if dt.datetime.combine(w.end, dt.time()) + reach <= first]:
            raise ValueError(f"sentinel1.product rtc begins with {RTC_FIRST}, window {early[0]} ends before; leave out "
                             "the window, or take product grd")
        if self.quality.s1_edges in ("angle", "both") or self.quality.s1_edge_erode:
            raise ValueError("quality.s1_edges angle and both, and s1_edge_erode, are of product grd, whose images "
                             "have angles and border noise; with sentinel1.product rtc leave them out")
        return self

    @model_validator(mode="after")
    def _clouds_of_labels(self) -> DatasetSpec:
        if self.labels.source != "dynamic-world-v1" and self.quality.clouds == "label":
            raise ValueError(f"quality.clouds label is Dynamic World V1's mask; for {self.labels.source} take scene or "
                             "cloud-score-plus")
        if self.labels.source == "asset":
            if self.tile.grid != "utm":
                raise ValueError("tile.grid label is of Dynamic World's images and annotations; for source asset take "
                                 "utm")
            if self.sampling.strategy != "grid":
                raise ValueError("sampling.strategy stratified rates Dynamic World's classes; for source asset take "
                                 "grid, and dwplus split --stratify class after the export")
        return self

    @model_validator(mode="after")
    def _fits_triplets(self) -> DatasetSpec:
        if self.triplets is None:
            return self
        needs = {
            "labels.source dynamic-world-v1": self.labels.source == "dynamic-world-v1",
            "labels.per_window best": self.labels.per_window == "best",
            "tile.grid utm": self.tile.grid == "utm",
            "sentinel1.policy nearest": self.sentinel1.policy == "nearest",
            "sentinel1.max_gap_hours of at most 288": self.sentinel1.max_gap_hours <= 288,
            "sentinel2.fallback none": self.sentinel2.fallback == "none",
            "sampling.strategy grid": self.sampling.strategy == "grid",
            "quality.clouds scene": self.quality.clouds == "scene",
            "sentinel2.product sr for cloud scl": self.triplets.cloud != "scl" or self.sentinel2.product == "sr",
        }
        for need, met in needs.items():
            if not met:
                raise ValueError(f"triplets need {need}")
        return self

    @property
    def s1_bands(self) -> tuple[str, ...]:
        return ("VV", "VH", *(("angle",) if self.sentinel1.keep_angle else ()), *self.sentinel1.keep)

    @property
    def extra_arrays(self) -> list[Extra]:
        """The extras, in the order of a store's arrays."""
        return extras_of(self.extras, self.store.embedding_dtype, self.elevation)

    @property
    def needs_heights(self) -> bool:
        """Whether an elevation model is looked at."""
        return self.sentinel1.sloped or "dem" in self.extras

    @property
    def elevation_model(self) -> ElevationModel:
        """Where heights come from."""
        return ELEVATION_MODELS[self.elevation]

    @property
    def triplet_sizes(self) -> list[int]:
        """Bytes a pixel of the bands that only triplets have: the mask, and the clear scene where it is kept."""
        if self.triplets is None:
            return []
        return [1, *[2] * (len(self.sentinel2.bands) * self.triplets.keep_clear)]

    def to_json(self) -> str:
        """Canonical text: equal specs give equal texts. It does not speak of triplets and extras that there are not,
        so that a spec of an earlier build keeps its text."""
        absent = {name for name in ("triplets", "extras") if not getattr(self, name)}
        if self.elevation == GLO30:
            absent.add("elevation")
        found = self.model_dump(mode="json", exclude=absent)
        if "embedding" not in self.extras:
            del found["store"]["embedding_dtype"]
        if self.labels.source != "asset":
            for key in ("band", "codes", "date"):
                del found["labels"][key]
        for key, value in PLAIN_GROUND.items():
            if found["sentinel1"][key] == value:
                del found["sentinel1"][key]
        for key, value in EARLIER_EDGES.items():
            if found["quality"][key] == value:
                del found["quality"][key]  # so that a spec of an earlier build keeps its text
        return json.dumps(found, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "spec") -> DatasetSpec:
        """Read what :meth:`to_json` wrote, in this build or an earlier one."""
        try:
            raw = json.loads(text)
            if isinstance(raw, dict) and isinstance(raw.get("quality"), dict):
                raw["quality"] = {**EARLIER_EDGES, **raw["quality"]}
            return cls.model_validate_json(json.dumps(raw))
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: is no JSON ({error})") from None
        except RecursionError:
            raise InputError(f"{where}: is no JSON of a spec (nested too deeply)") from None
        except ValidationError as error:
            raise InputError(f"{where}: {first_problem(error, DatasetSpec)}") from None
