"""Which products and bands of the two sensors, and how radar is paired, flattened and filtered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dwplus.spec.base import Model

#: Sentinel-2 bands of the two products, in the catalogue's order.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
SR_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")

TOA_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")

TerrainBand = Literal["local_incidence", "layover_shadow"]

#: What a spec does not speak of, so that a spec of an earlier build keeps its text.
PLAIN_GROUND: dict[str, Any] = {"product": "grd", "terrain": "none", "terrain_model": "volume", "terrain_buffer": 0.0,
                                "keep": [], "speckle": "none", "speckle_window": 7, "speckle_looks": 4.4,
                                "speckle_scenes": 7, "speckle_least": None, "speckle_days": 48.0}


def _terrain_in_order(names: tuple[TerrainBand, ...]) -> tuple[TerrainBand, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a band is named twice")
    return tuple(sorted(names, key=["local_incidence", "layover_shadow"].index))


class Sentinel1(Model):
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


class Sentinel2(Model):
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
