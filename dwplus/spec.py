"""The data set a user asks for: one frozen model, read from YAML, kept in the plan and in the store."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import shapely
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from dwplus.errors import InputError
from dwplus.files.yaml_text import read_yaml
from dwplus.grid.longitude import polygons_of
from dwplus.quantities.extras import ELEVATION_MODELS, FIRST_EMBEDDING, GLO30, NAMES, ElevationModel, Extra, extras_of
from dwplus.quantities.radar import RTC_FIRST
from dwplus.taxonomy.tables import KNOWN_ASSETS, TABLES, ClassTable, table_of_codes

#: Sentinel-2 bands of the two products, in the catalogue's order.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
SR_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
TOA_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")

#: Years that dates of labels may have.
FIRST_YEAR, LAST_YEAR = 1970, 2199


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BBox(_Model):
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


class RegionFile(_Model):
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


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _day(value: Any) -> Any:
    """A day in UTC; a time of another zone is refused rather than dropped, and a number is no day."""
    said = f"must be a day in UTC such as 2021-06-01, found {_short(value)}"
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise ValueError(f"{said} ({error})") from None
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo is None else value.astimezone(dt.UTC)
        if moment.time() != dt.time():
            raise ValueError(said)
        value = moment.date()
    if not isinstance(value, dt.date):
        raise ValueError(said)
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"{said}; years are {FIRST_YEAR} to {LAST_YEAR}")
    return value


Day = Annotated[dt.date, BeforeValidator(_day)]


class Window(_Model):
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


def _codes(value: Any) -> Any:
    """A mapping of codes as pairs, in order of the codes."""
    if isinstance(value, dict):
        return tuple(sorted(value.items(), key=lambda item: str(item[0]).rjust(20)))
    return value


class Labels(_Model):
    """Where labels come from."""

    source: Literal["dynamic-world-v1", "annotations", "asset"] = Field(
        "dynamic-world-v1", description="dynamic-world-v1: the model's own image of a Sentinel-2 scene; annotations: "
                                        "tiles drawn by people, on fixed dates, from labels.path or labels.asset; "
                                        "asset: any map of classes on Earth Engine, labels.asset")
    path: str | None = Field(None, description="annotations: folder of GeoTIFFs as published (PANGAEA 933475: codes "
                                               "0..10, names dw_<lon>_<lat>-<yyyymmdd>.tif), with the metadata sheet "
                                               "when there; relative to the spec file")
    asset: str | None = Field(None, description="annotations: Earth Engine image collection of the same tiles, e.g. "
                                                "projects/wri-datalab/dynamic_world/v1/DW_LABELS; asset: an image, or "
                                                "a collection of which a tile takes what lies over it, e.g. "
                                                "ESA/WorldCover/v200")
    band: str | None = Field(None, description="asset: its band of whole-number codes; WorldCover's is known")
    codes: Annotated[str | tuple[tuple[int, str], ...] | None, BeforeValidator(_codes)] = Field(
        None, description="asset: what its codes mean: a class table by name (such as esa-worldcover), or {code: "
                          "class, ...} of the spec's own, where several codes may be one class; other codes become "
                          "255")
    date: Literal["any", "year", "nearest"] = Field(
        "any", description="asset: which images of a collection may label a Sentinel-2 scene: any = all, the newest "
                           "on top; year = those of the scene's calendar year; nearest = the ones nearest in time")
    per_window: Literal["best", "all", "mode"] = Field(
        "best", description="label scenes per tile and window: best = the clearest that pairs (see quality.clouds), "
                            "all = each one, mode = the most frequent class of all, with the best one's S2 and S1")
    min_confidence: float = Field(0, ge=0, lt=1, description="labels whose highest class probability is lower become "
                                                             "255; Dynamic World's never exceeds about 0.80")

    @model_validator(mode="after")
    def _one_source(self) -> Labels:
        given = [key for key in ("path", "asset") if getattr(self, key)]
        if self.source == "annotations":
            if len(given) != 1:
                raise ValueError("annotations need a path (a folder of GeoTIFFs) or an asset (an Earth Engine "
                                 f"collection), {'not both' if given else 'found neither'}")
        elif self.source == "asset":
            if given != ["asset"]:
                raise ValueError("source asset needs asset, the id of an Earth Engine image or collection"
                                 + (", and no path" if self.path else ""))
        elif given:
            raise ValueError(f"{given[0]} belongs to source annotations or asset, found source {self.source!r}")
        if self.source != "dynamic-world-v1":
            if self.per_window == "mode":
                raise ValueError("per_window mode is Dynamic World V1's; " + (
                    "annotations have one date each" if self.source == "annotations" else "a map has one label"))
            if self.min_confidence:
                raise ValueError(f"min_confidence is Dynamic World V1's; {self.source} carry no probabilities"
                                 if self.source == "annotations" else
                                 "min_confidence is Dynamic World V1's; a map of classes carries no probabilities")
        return self

    @model_validator(mode="after")
    def _of_asset(self) -> Labels:
        if self.source != "asset":
            if more := [key for key in ("band", "codes") if getattr(self, key)] + ["date"] * (self.date != "any"):
                raise ValueError(f"{more[0]} belongs to source asset, found source {self.source!r}")
            return self
        if self.asset not in KNOWN_ASSETS and (self.band is None or self.codes is None):
            lacks = "band" if self.band is None else "codes"
            raise ValueError(f"{lacks} of asset {self.asset} is not known: give band, its name, and codes, a class "
                             f"table ({', '.join(TABLES)}) or {{code: class, ...}}")
        if isinstance(self.codes, str) and self.codes not in TABLES:
            raise ValueError(f"codes {self.codes!r} must be one of {', '.join(TABLES)}, or {{code: class, ...}}")
        if isinstance(self.codes, tuple):
            numbers = [code for code, _ in self.codes]
            if not numbers or min(numbers) < 0 or max(numbers) > 65_535 or len(set(numbers)) < len(numbers):
                raise ValueError("codes must be different whole numbers 0 to 65535, each with the name of its class")
            if len({name for _, name in self.codes}) > 254:
                raise ValueError("codes must name at most 254 classes, for labels are bytes and 255 is none")
            if wrong := [name for _, name in self.codes if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name)]:
                raise ValueError(f"codes: class {wrong[0]!r} must be one word of letters, digits, _ and -")
        return self

    @property
    def band_name(self) -> str:
        """Band of the asset's codes."""
        return self.band or KNOWN_ASSETS[self.asset or ""][0]

    @property
    def table(self) -> ClassTable:
        """The classes of the labels."""
        if self.source != "asset":
            return TABLES["dynamic-world"]
        codes = self.codes or KNOWN_ASSETS[self.asset or ""][1]
        return TABLES[codes] if isinstance(codes, str) else table_of_codes(codes)

    @property
    def labels_by_code(self) -> dict[int, int]:
        """Label of each code of the asset."""
        table = self.table
        if isinstance(self.codes, tuple):
            return {code: table.classes.index(name) for code, name in self.codes}
        return {code: place for place, code in enumerate(table.codes)}


class TileShape(_Model):
    """Size and lattice of a tile."""

    size: int = Field(510, ge=16, le=8192, description="pixels a side")
    scale: float = Field(10, gt=0, description="metres a pixel")
    grid: Literal["utm", "label"] = Field(
        "utm", description="utm: the 10 m lattice of the tile's UTM zone; label: cut from the label image's own grid")


TerrainBand = Literal["local_incidence", "layover_shadow"]
#: What a spec does not speak of, so that a spec of an earlier build keeps its text.
PLAIN_GROUND: dict[str, Any] = {"product": "grd", "terrain": "none", "terrain_model": "volume", "terrain_buffer": 0.0,
                                "keep": [], "speckle": "none", "speckle_window": 7, "speckle_looks": 4.4,
                                "speckle_scenes": 7, "speckle_least": None, "speckle_days": 48.0}


def _terrain_in_order(names: tuple[TerrainBand, ...]) -> tuple[TerrainBand, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a band is named twice")
    return tuple(sorted(names, key=["local_incidence", "layover_shadow"].index))


class Sentinel1(_Model):
    """Which radar product, and how it is paired."""

    product: Literal["grd", "rtc"] = Field(
        "grd", description="grd: COPERNICUS/S1_GRD, 10 m; rtc: OPERA RTC-S1, gamma nought with slopes flattened by "
                           "area, 30 m, from 2016-04-14 and not of every pass")
    policy: Literal["nearest", "mean"] = Field(
        "nearest", description="nearest: the one pass with the smallest |gap|; mean: the mean of all passes in reach")
    max_gap_hours: float = Field(144, gt=0, le=100_000, description="largest |S1 - S2| gap in hours; a tile without "
                                                                    "such a pass is rejected")
    min_gap_hours: float = Field(0, ge=0, description="smallest |S1 - S2| gap in hours, for experiments on what a gap "
                                                      "costs; nearer passes are left aside")
    average: Literal["linear", "db"] = Field("linear", description="what the mean policy averages: linear power or dB")
    orbit: Literal["any", "ascending", "descending"] = Field("any", description="orbit pass allowed")
    prefer_orbit: Literal["any", "ascending", "descending"] = Field("any", description="orbit pass preferred")
    prefer_relative_orbits: tuple[int, ...] = Field((), description="relative orbits (1..175) preferred")
    prefer_hours: float = Field(24, ge=0, description="hours that a pass may be farther off than the nearest for each "
                                                      "preference it meets")
    keep_angle: bool = Field(False, description="add the incidence angle (degrees) as a third S1 band")
    terrain: Literal["none", "flattened"] = Field(
        "none", description="flattened: gamma nought with the effect of slopes divided out by angles (Vollrath et al. "
                            "2020, heights of elevation), layover and shadow masked; none: sigma nought as delivered")
    terrain_model: Literal["volume", "surface"] = Field(
        "volume", description="what scatters on a slope: volume = vegetation, surface = bare ground")
    terrain_buffer: float = Field(0, ge=0, le=500, description="metres by which layover and shadow are grown")
    keep: Annotated[tuple[TerrainBand, ...], AfterValidator(_terrain_in_order)] = Field(
        (), description="further S1 bands: local_incidence (degrees from the ground's normal), layover_shadow (0 = "
                        "neither, 1 = shadow, 2 = layover, 3 = both)")
    speckle: Literal["none", "boxcar", "lee", "refined-lee", "gamma-map", "multitemporal"] = Field(
        "none", description="filter of speckle, in linear power; multitemporal takes further passes of the same "
                            "relative orbit, the nearest in time (Quegan & Yu 2001)")
    speckle_window: int = Field(7, ge=3, le=15, description="pixels of the filter's window, odd; refined-lee has 7")
    speckle_looks: float = Field(4.4, gt=0, le=1000, description="equivalent number of looks that the filter takes "
                                                                 "for granted; IW GRD of high resolution has 4.4")
    speckle_scenes: int = Field(7, ge=2, le=30, description="multitemporal: passes, the tile's own included")
    speckle_least: int | None = Field(None, ge=2, le=30, description="multitemporal: passes that a tile may be content "
                                                                     "with; none = speckle_scenes. With fewer it is "
                                                                     "rejected")
    speckle_days: float = Field(48, gt=0, le=1000, description="multitemporal: largest distance of a further pass from "
                                                               "the tile's own, days")

    @model_validator(mode="after")
    def _gaps_ordered(self) -> Sentinel1:
        if self.min_gap_hours > self.max_gap_hours:
            raise ValueError(f"min_gap_hours ({self.min_gap_hours:g}) must not exceed max_gap_hours "
                             f"({self.max_gap_hours:g})")
        return self

    @model_validator(mode="after")
    def _of_grd_alone(self) -> Sentinel1:
        refused = {
            "policy mean": (self.policy == "mean", "bursts of RTC-S1 overlap, and there a pass would count twice"),
            "terrain flattened": (self.terrain != "none", "RTC-S1 is flattened already"),
            "speckle": (self.speckle != "none", "pixels of 30 m are interpolated, and no filter's looks hold for them"),
        }
        if self.product == "rtc" and (found := [key for key, (asked, _) in refused.items() if asked]):
            raise ValueError(f"{found[0]} is of product grd, for {refused[found[0]][1]}: leave it out, or take product "
                             "grd")
        return self

    @property
    def sloped(self) -> bool:
        """Whether heights matter; RTC-S1 has layers of its own."""
        return self.product == "grd" and (self.terrain != "none" or bool(self.keep))

    @model_validator(mode="after")
    def _linear_power(self) -> Sentinel1:
        if self.average == "db" and self.policy == "mean" and (self.speckle != "none" or self.terrain != "none"
                                                               or self.keep):
            raise ValueError("terrain, keep and speckle work on linear power: with policy mean take average linear")
        if self.policy == "mean" and "layover_shadow" in self.keep:
            raise ValueError("keep layover_shadow holds codes of one pass, which have no mean: with policy mean leave "
                             "it out, or take policy nearest")
        if self.speckle_window % 2 == 0:
            raise ValueError(f"speckle_window {self.speckle_window} has no middle; take an odd number, 3 to 15")
        if self.speckle == "refined-lee" and self.speckle_window != 7:
            raise ValueError(f"speckle refined-lee has a window of 7 pixels, not of {self.speckle_window}")
        return self

    @property
    def multitemporal(self) -> bool:
        """Whether further passes matter."""
        return self.speckle == "multitemporal"

    @property
    def least_scenes(self) -> int:
        """Passes of the filter over time that a tile may be content with."""
        return self.speckle_least or self.speckle_scenes

    @model_validator(mode="after")
    def _further_passes(self) -> Sentinel1:
        if not self.multitemporal:
            for key in ("speckle_scenes", "speckle_least", "speckle_days"):
                if (value := getattr(self, key)) != PLAIN_GROUND[key]:
                    raise ValueError(f"{key} {value:g} is of speckle multitemporal, found speckle {self.speckle!r}")
            return self
        if self.policy == "mean":
            raise ValueError("speckle multitemporal compares one pass with others, and policy mean keeps no one pass: "
                             "take policy nearest, or another filter")
        if self.speckle_looks != PLAIN_GROUND["speckle_looks"]:
            raise ValueError("speckle multitemporal takes no number of looks for granted: leave speckle_looks out")
        if (self.speckle_least or 0) > self.speckle_scenes:
            raise ValueError(f"speckle_least ({self.speckle_least}) must not exceed speckle_scenes "
                             f"({self.speckle_scenes})")
        return self


class Sentinel2(_Model):
    """Which optical product and bands."""

    product: Literal["sr", "toa"] = Field("sr", description="sr: L2A surface reflectance; toa: L1C top of atmosphere "
                                                            "(both harmonised)")
    bands: tuple[str, ...] = Field(("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"), min_length=1,
                                   description="bands in the order of the store's s2_band axis")
    max_cloud: float = Field(35, ge=0, le=100, description="largest CLOUDY_PIXEL_PERCENTAGE of the scene")
    fallback: Literal["none", "toa"] = Field("none", description="where the sr scene is missing (2015 to 2018): none = "
                                                                 "reject the tile, toa = take L1C, recorded per tile")

    @model_validator(mode="after")
    def _known_bands(self) -> Sentinel2:
        known = SR_BANDS if self.product == "sr" else TOA_BANDS
        for band in self.bands:
            if band not in known:
                raise ValueError(f"band {band!r} is not in product {self.product!r}, which has {', '.join(known)}")
        if len(set(self.bands)) != len(self.bands):
            raise ValueError("a band is named twice")
        return self


class Sampling(_Model):
    """Which tiles of the region are taken."""

    per_biome: int | None = Field(None, ge=1, description="planned tiles per biome and window; none = every tile")
    strategy: Literal["grid", "stratified"] = Field(
        "grid", description="grid: tiles in seeded order, needs no pixels; stratified: of these, the ones that even "
                            "out how often each class is low, medium or high in a tile (looks at their labels)")
    ecoregions: Literal["area", "equal"] = Field("area", description="share of each ecoregion in its biome's quota: by "
                                                                     "its area in the region, or equal")
    seed: int = Field(0, description="order of the candidates and assignment of the splits")
    guard_metres: float = Field(0, ge=0, description="least distance between tiles of different splits; tiles nearer "
                                                     "are no candidates, those of train first, those of test never")


class Quality(_Model):
    """When a tile is refused."""

    min_coverage: float = Field(0.99, ge=0, le=1, description="least share of the tile inside the label's, the S2 "
                                                             "scene's and the S1 pass's footprint")
    min_label_fraction: float = Field(0.2, ge=0, le=1, description="least share of labelled pixels; below it an "
                                                                  "exported tile is rejected")
    clouds: Literal["scene", "label", "cloud-score-plus"] = Field(
        "scene", description="how clear a tile is: scene = CLOUDY_PIXEL_PERCENTAGE alone; label = the label's own mask "
                             "over the tile; cloud-score-plus = share of it with cs_cdf >= 0.6. The latter two look at "
                             "pixels, 100 m apart, while planning")
    min_clear: float = Field(0.7, ge=0, le=1, description="least clear share of the tile, where clouds is not scene")
    min_s2_valid: float = Field(0.5, ge=0, le=1, description="least share of pixels with Sentinel-2 data; below it an "
                                                             "exported tile is rejected")
    min_s1_valid: float = Field(0.5, ge=0, le=1, description="least share of pixels with Sentinel-1 data, border noise "
                                                             "taken off; below it an exported tile is rejected")
    s1_edges: Literal["auto", "threshold", "angle", "both", "none"] = Field(
        "auto", description="how border noise of Sentinel-1 is masked, in all S1 bands: threshold = VV at or below "
                            "s1_edge_db; angle = outside s1_edge_angles; both; none; auto = threshold, at least -30 dB "
                            "before 2018-03-13, when ESA began to clean the edges")
    s1_edge_db: float = Field(-40, description="VV at or below this many dB is border noise (auto, threshold, both)")
    s1_edge_angles: tuple[float, float] = Field(
        (30.64, 45.24), description="incidence angles, degrees, between which pixels are kept (angle, both)")
    s1_edge_erode: float = Field(
        0, ge=0, le=2000, description="metres by which what is seen of a slice of Sentinel-1 is eroded from its edge "
                                      "inwards, as well")


class TripletsSpec(_Model):
    """Land cover under cloud: with this section (``triplets: {}`` takes its defaults) S2 is a clouded scene of the
    window, and the label is that of the clear scene nearest to it in time. The window's middle is the target date."""

    cloud: Literal["cloud-score-plus", "s2cloudless", "scl"] = Field(
        "cloud-score-plus", description="mask that says what is cloud: cloud-score-plus = cs_cdf < 0.6 (clouds and "
                                        "shadows), s2cloudless = probability >= 50 %, scl = classes 3, 8, 9, 10 of "
                                        "the sr product")
    clear: float = Field(0.05, ge=0, le=1, description="largest cloud share of the label's scene over the tile")
    max_label_days: float = Field(15, gt=0, description="largest distance of the label's scene from the clouded one")
    prefer_s1_days: float = Field(6, gt=0, description="a pass farther off (at most sentinel1.max_gap_hours, itself at "
                                                       "most 288) is taken only where none is nearer")
    looks: int = Field(6, ge=1, description="clouded scenes of a tile that are measured while planning, 100 m apart")
    keep_clear: bool = Field(True, description="keep the clear scene as well, in array s2_clear; for looking, and for "
                                               "the published folder layout; no network sees it")


class StoreSpec(_Model):
    """How the Zarr store is cut and packed."""

    shard_tiles: int = Field(16, ge=1, le=1024, description="tiles a shard; one task writes one shard")
    s1_dtype: Literal["int16", "float32"] = Field("int16", description="int16: hundredths of dB (scale_factor 0.01); "
                                                                       "float32: dB")
    codec: Literal["zstd", "lz4"] = Field("zstd", description="blosc compressor, with bitshuffle")
    level: int = Field(1, ge=0, le=9, description="blosc level")
    embedding_dtype: Literal["float16", "int8"] = Field(
        "float16", description="of extras: [embedding]: float16, of unit length to 0.1 %; int8: the publisher's own "
                               "quantisation, half the bytes, and at 510 px one request a tile in place of two")


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]} is named twice")
    return tuple(name for name in NAMES if name in names)


ExtraName = Literal["dem", "embedding", "cloud_score", "worldcover"]

#: What a kept spec means that does not speak of these keys: the earlier builds' only way.
EARLIER_EDGES: dict[str, Any] = {"s1_edges": "threshold", "s1_edge_angles": [30.64, 45.24], "s1_edge_erode": 0.0}


class DatasetSpec(_Model):
    """Everything that decides the content of a data set."""

    name: str = Field(description="name of the data set", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    region: Annotated[tuple[RegionPart, ...], BeforeValidator(_as_list)] = Field(
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
            raise InputError(f"{where}: {_first_problem(error)}") from None


def load_spec(path: str | Path, overrides: dict[str, Any] | None = None) -> DatasetSpec:
    """Read a spec from YAML.

    Parameters
    ----------
    path : the YAML file; region files and the folder of annotations are taken relative to its folder.
    overrides : top-level keys that replace those of the file.

    Raises
    ------
    InputError
        One sentence with the file, the key and what would be right.
    """
    path = Path(path)
    raw = read_yaml(path, "a spec is a YAML file, see pipelines/regions")
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a spec is a mapping of keys such as name, region and windows, "
                         f"found {type(raw).__name__}")
    raw = {**raw, **(overrides or {})}
    labels = raw.get("labels")
    if isinstance(labels, dict) and isinstance(labels.get("path"), str):
        raw["labels"] = {**labels, "path": str(path.parent / labels["path"])}
    if "region" in raw:
        raw["region"] = [_resolved(part, path.parent) for part in _as_list(raw["region"])]
    return make_spec(raw, str(path))


def _resolved(part: Any, folder: Path) -> Any:
    if isinstance(part, dict) and isinstance(part.get("file"), str):
        return {**part, "file": str(folder / part["file"])}
    return part


def make_spec(raw: dict[str, Any], where: str = "spec") -> DatasetSpec:
    """Validate a mapping; problems name ``where`` and the key."""
    try:
        return DatasetSpec.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {_first_problem(error)}") from None


def _model_at(location: tuple[str | int, ...]) -> type[BaseModel]:
    """The model that holds the last key of an error's location."""
    model: type[BaseModel] = DatasetSpec
    for key in location[:-1]:
        field = model.model_fields.get(str(key))
        if field is None:
            continue
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model


def _first_problem(error: ValidationError) -> str:
    """The first error as one sentence: key, what is wrong, what would be right."""
    problems = error.errors(include_url=False)
    # pydantic calls a list "too short" when its only item is wrong: the item's own problem says more.
    inner = {p["loc"][0] for p in problems if len(p["loc"]) > 1}
    problems = [p for p in problems if p["type"] != "too_short" or p["loc"][0] not in inner]
    region = [p for p in problems if p["loc"][:1] == ("region",) and len(p["loc"]) > 1]
    if region and problems[0] is region[0]:
        return _region_problem(region)
    problem = problems[0]
    key = _key(problem["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = list(_model_at(problem["loc"]).model_fields)
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}" if close else f"known keys are {', '.join(known)}"
        return f"{key}: unknown key; {hint}{more}"
    if problem["type"] == "missing":
        return f"{key}: is required{more}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "too_short":
        message = "needs at least one item"
    found = "" if problem["type"] in ("value_error", "too_short") else f", found {_short(problem['input'])}"
    return f"{key}: {message[0].lower()}{message[1:]}{found}{more}"


def _key(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "spec"


def _region_problem(problems: list[Any]) -> str:
    """A region part fits one of three forms; report what fits the form the user meant."""
    for problem in problems:
        if problem["loc"][2:4] == ("BBox", "bbox") and isinstance(problems[0]["input"], dict | BBox):
            return f"{_key((*problem['loc'][:2], *problem['loc'][3:]))}: {problem['msg'].removeprefix('Value error, ')}"
    index, value = problems[0]["loc"][1], problems[0]["input"]  # the first problem is of the whole part
    if isinstance(value, str) and value.strip().upper().startswith(WKT_WORDS):
        said = next(p["msg"] for p in problems if p["type"] == "value_error").removeprefix("Value error, ")
        return f"region[{index}]: {said}, found {_short(value)}"
    return (f"region[{index}]: must be sample, {{bbox: [west, south, east, north]}}, {{file: x.geojson}} or a WKT "
            f"text, found {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:110]}..."


def differences(one: DatasetSpec, other: DatasetSpec) -> list[str]:
    """The keys in which two specs differ, as ``key: old -> new``."""
    def flat(value: Any, prefix: str = "") -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for key, item in value.items()
                    for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}
        return {prefix: value}

    a, b = flat(one.model_dump(mode="json")), flat(other.model_dump(mode="json"))
    return [f"{key}: {a.get(key)} -> {b.get(key)}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
