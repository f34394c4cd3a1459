"""Sentinel-2 scenes: metadata of granules and reflectance from class spectra, season, sun, clouds and noise."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.landscape import (
    BARE,
    BLENDS,
    BUILT,
    CLASS_COUNT,
    CROPS,
    FLOODED,
    GRASS,
    SHADE_UNIT,
    SHRUB,
    SNOW,
    TREES,
    VIGORS,
    WATER,
    Box,
    Cache,
    Landscape,
)
from dwplus.embedded_earth.planet.noise import TABLE_BITS, box_mean, draw, hash_grid, normal_quantiles, seed_of
from dwplus.embedded_earth.planet.orbits import (
    GRANULE_SIZE,
    S2_HALF_SWATH,
    S2_LOCAL_HOUR,
    Footprint,
    Granule,
    Pass,
    stamp,
)
from dwplus.embedded_earth.planet.weather import Clouds, Sky, cloud_cover, rain, sun

#: Reflectance bands of L1C with their native pixel size in metres.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
BAND_SCALES: dict[str, int] = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20, "B9": 60, "B10": 60,
    "B11": 20, "B12": 20,
}
BAND_NAMES = tuple(BAND_SCALES)
TOA, SR = "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2_SR_HARMONIZED"
#: The collections that these replace, deprecated: products of baseline 04.00 and later keep their offset, which the
#: harmonized ones take away. Source: as above, and https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2
RAW_TOA, RAW_SR = "COPERNICUS/S2", "COPERNICUS/S2_SR"
RAW_OFFSET, RAW_OFFSET_DAY = 1000, dt.date(2022, 1, 25)

#: Surface reflectance x 10000 by class, (poor or dormant, rich or lush) state; bands as in BAND_SCALES. Values follow
#: the common shapes of the ECOSTRESS/USGS spectral libraries; B10 (cirrus) sees no ground.
#: Flooded vegetation is given the spectrum of trees almost: from above, a flooded wood is a wood. Where it is no wood
#: (see :data:`.sites.SWAMP`) it is sedge and moss over water: like meadow, with a dark short-wave infrared.
_SPECTRA: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    #        B1    B2    B3    B4    B5    B6    B7    B8    B8A   B9   B10  B11   B12
    WATER: ((420, 420, 480, 360, 300, 250, 230, 200, 180, 160, 10, 110, 80),
            (560, 640, 860, 800, 720, 480, 460, 400, 350, 260, 10, 180, 130)),
    TREES: ((230, 280, 450, 480, 850, 1450, 1700, 1850, 1980, 1950, 10, 1500, 900),
            (150, 190, 430, 240, 760, 2250, 2850, 3050, 3200, 3150, 10, 1500, 620)),
    GRASS: ((380, 560, 820, 1050, 1450, 1750, 1900, 2050, 2200, 2200, 10, 3000, 2050),
            (260, 340, 730, 420, 1150, 2750, 3300, 3550, 3700, 3600, 10, 2150, 1050)),
    FLOODED: ((240, 290, 450, 470, 830, 1430, 1680, 1820, 1940, 1920, 10, 1430, 860),
              (160, 200, 440, 250, 770, 2220, 2800, 3000, 3130, 3100, 10, 1450, 600)),
    CROPS: ((430, 650, 950, 1250, 1600, 1900, 2050, 2200, 2350, 2350, 10, 3200, 2350),
            (220, 300, 680, 320, 1050, 3250, 4300, 4550, 4700, 4500, 10, 1900, 850)),
    SHRUB: ((400, 560, 800, 1000, 1350, 1650, 1800, 1950, 2100, 2150, 10, 2900, 2150),
            (260, 340, 600, 550, 1000, 1850, 2150, 2350, 2500, 2500, 10, 2200, 1300)),
    BUILT: ((700, 800, 950, 1050, 1150, 1250, 1350, 1450, 1500, 1600, 10, 1700, 1500),
            (1100, 1350, 1600, 1800, 1950, 2150, 2300, 2450, 2550, 2600, 10, 2900, 2700)),
    BARE: ((600, 800, 1050, 1300, 1450, 1600, 1700, 1800, 1900, 2000, 10, 2400, 2150),
           (900, 1250, 1700, 2200, 2400, 2600, 2700, 2850, 2950, 3000, 10, 3600, 3200)),
    SNOW: ((6200, 6300, 6200, 6100, 6000, 5700, 5500, 5200, 5000, 4600, 10, 900, 800),
           (9000, 9100, 9000, 8900, 8700, 8400, 8200, 8000, 7700, 7000, 10, 1300, 1100)),
}
_MARSH = ((300, 400, 610, 700, 1000, 1300, 1420, 1520, 1620, 1620, 10, 1500, 880),
          (220, 290, 600, 420, 930, 2150, 2600, 2750, 2850, 2800, 10, 1650, 780))
#: How far a class follows the season (0 evergreen or lifeless .. 1), and how far its pixels differ among themselves.
_SEASONAL = {TREES: 0.75, FLOODED: 0.75, GRASS: 1.0, CROPS: 1.0, SHRUB: 0.8}
_SPREAD = {WATER: 1.0, TREES: 0.7, FLOODED: 0.7, GRASS: 0.7, CROPS: 1.1, SHRUB: 0.9, BUILT: 1.0, BARE: 1.0, SNOW: 1.0}
#: Path radiance at the top of the atmosphere as reflectance x 10000 (Rayleigh and thin aerosol, clear sky, 6S tables)
#: and two-way transmission of the ground signal; water vapour darkens B9, cirrus band B10 sees none of the ground.
_PATH = np.array([1050, 720, 400, 220, 180, 150, 130, 100, 80, 60, 8, 15, 8], dtype=np.float32)
_TRANSMISSION = np.array([0.83, 0.86, 0.88, 0.92, 0.92, 0.93, 0.94, 0.95, 0.96, 0.45, 0.02, 0.95, 0.95],
                         dtype=np.float32)
#: Reflectance x 10000 of thick cloud.
_CLOUD = np.array([6000, 6100, 6000, 6000, 6100, 6200, 6200, 6300, 6300, 5500, 700, 4300, 3500], dtype=np.float32)
#: Sensor noise and fine texture: a part in proportion and a part absolute (DN); S2 MSI SNR is about 100 to 170.
_NOISE_SHARE, _NOISE_FLOOR = np.float32(0.012), np.float32(12)
#: Darkening in full cloud shadow and on slopes turned from the sun.
_SHADOW, _SLOPE = np.float32(0.55), np.float32(0.08)
#: QA60: bit 10 opaque cloud, bit 11 cirrus. It was not produced from 2022-01-25 to 2024-02-28 (Earth Engine catalogue).
_QA60_GAP = (dt.date(2022, 1, 25), dt.date(2024, 2, 28))
#: SCL codes by class of the truth. Source: ESA Sen2Cor; 4 vegetation, 5 not vegetated, 6 water, 11 snow.
_SCL = np.array([6, 4, 4, 4, 4, 5, 5, 5, 11], dtype=np.uint8)


@dataclass(frozen=True)
class Overpass:
    """What the optical collections share: one granule at one overflight."""

    landscape: Landscape
    seed: int
    granule: Granule
    footprint: Footprint
    cut: bool
    flight: Pass
    skies: Cache[tuple[Sky | None]]

    @functools.cached_property
    def key(self) -> int:
        return seed_of(self.seed, self.granule.site.name, self.flight.track.key, self.flight.day.toordinal())

    @functools.cached_property
    def datatake(self) -> int:
        """Start of the datatake in milliseconds, whole seconds: 40 to 240 s before the pass of the site."""
        lead = 40 + seed_of(self.granule.site.name, self.flight.track.key) % 200
        return self.flight.time // 1000 * 1000 - lead * 1000

    @functools.cached_property
    def time(self) -> int:
        """Sensing time of the granule, milliseconds: southern granules come later (6.7 km/s)."""
        return self.flight.time + int((self.granule.site.center[1] - self.granule.north - 50_000) / 6.7)

    @functools.cached_property
    def cover(self) -> float:
        return cloud_cover(self.granule.site, self.seed, self.flight.day, self.flight.track.key, self.granule.tile)

    @functools.cached_property
    def sun(self) -> tuple[float, float]:
        return sun(self.granule.site.lat, self.flight.day, S2_LOCAL_HOUR)

    @functools.cached_property
    def index(self) -> str:
        """``system:index`` of the top-of-atmosphere scene; the second stamp is later in older processing."""
        second = self.datatake
        if self.flight.day < dt.date(2016, 6, 1):
            second += (7_200 + seed_of(self.key, "processing") % 20_000) * 1000
        return f"{stamp(self.datatake)}_{stamp(second)}_T{self.granule.tile}"

    @functools.cached_property
    def sr_index(self) -> str | None:
        """``system:index`` of the surface reflectance twin, or None where there is none.

        Before 2017-03-28 hardly any scene was processed to Level 2A (Earth Engine catalogue); later about 3 % miss, and
        1 % carry another second stamp.
        """
        u = draw(self.key, "twin", self.granule.tile)
        if u < (0.85 if self.flight.day < dt.date(2017, 3, 28) else 0.03):
            return None
        if u > 0.99:
            return f"{stamp(self.datatake)}_{stamp(self.datatake + 431_000)}_T{self.granule.tile}"
        return self.index

    @functools.cached_property
    def clouds(self) -> Clouds:
        g = self.granule
        n = GRANULE_SIZE // 10
        return Clouds(seed_of(self.key, "clouds"), self.cover, self.landscape.box(g.ulx, g.uly, n, n), *self.sun,
                      seen=self._in_swath if self.cut else None)

    def _in_swath(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside: np.ndarray = np.abs(self.flight.track.from_middle(x, y)) <= S2_HALF_SWATH
        return inside

    def sky(self, box: Box, factor: int) -> Sky | None:
        return self.skies.get((self.key, self.granule.tile, box, factor), box.pixels // factor ** 2,
                              lambda: (self.clouds.sky(box, factor),))[0]

    def box(self, window: Window, scale: int) -> Box:
        """The lattice box under a window of the granule's grid of ``scale`` metres."""
        g = self.granule
        return self.landscape.box(g.ulx + window.col * scale, g.uly - window.row * scale, window.height, window.width,
                                  scale)

    def valid(self, window: Window, scale: int) -> np.ndarray | None:
        """Which pixels lie within the swath; None for all."""
        if not self.cut:
            return None
        x = self.granule.ulx + (np.arange(window.col, window.col + window.width) + 0.5)[None, :] * scale
        y = self.granule.uly - (np.arange(window.row, window.row + window.height) + 0.5)[:, None] * scale
        track = self.flight.track
        corners = track.from_middle(x[:, [0, -1]], y[[0, -1]])
        if np.abs(corners).max() <= S2_HALF_SWATH:
            return None
        return self._in_swath(x, y)

    def properties(self, index: str) -> dict[str, Any]:
        """Properties all optical collections share, with the names of Earth Engine's catalogue."""
        zenith, azimuth = self.sun
        return {
            "system:index": index, "system:time_start": self.time, "system:time_end": self.time,
            "system:footprint": self.footprint.geojson(), "MGRS_TILE": self.granule.tile,
            "CLOUDY_PIXEL_PERCENTAGE": self.cover, "SENSING_ORBIT_NUMBER": self.flight.relative_orbit,
            "SENSING_ORBIT_DIRECTION": "DESCENDING", "SPACECRAFT_NAME": f"Sentinel-2{self.flight.platform}",
            "MEAN_SOLAR_ZENITH_ANGLE": round(zenith, 6), "MEAN_SOLAR_AZIMUTH_ANGLE": round(azimuth, 6),
        }


#: What a class is mixed with, and up to which share: stands thin out, suburbs have lawns, stubble looks like meadow.
_MIXED = {
    WATER: (BARE, 0.15), TREES: (SHRUB, 0.55), GRASS: (CROPS, 0.65), FLOODED: (GRASS, 0.35), CROPS: (GRASS, 0.65),
    SHRUB: (GRASS, 0.65), BUILT: (BARE, 0.75), BARE: (BUILT, 0.60), SNOW: (BARE, 0.50),
}


def spectra(landscape: Landscape, seed: int, day: dt.date) -> np.ndarray:
    """Surface reflectance x 10000 by band and (class, state): float32 (13, 9 * STATES)."""
    green = landscape.greenness(day)
    wet = rain(landscape.site, seed, day)
    swamp = np.float32(landscape.site.swamp)
    vigor = (np.arange(VIGORS, dtype=np.float32) + np.float32(0.5)) / VIGORS - np.float32(0.5)  # -0.5 .. 0.5
    pure = np.empty((len(BAND_NAMES), CLASS_COUNT, VIGORS), dtype=np.float32)
    for k in range(CLASS_COUNT):
        poor, rich = (np.array(v, dtype=np.float32)[:, None] for v in _SPECTRA[k])
        if k == FLOODED:
            poor, rich = (wood * swamp + np.array(open_, dtype=np.float32)[:, None] * (1 - swamp)
                          for wood, open_ in zip((poor, rich), _MARSH, strict=True))
        seasonal = _SEASONAL.get(k)
        level = 0.5 if seasonal is None else green * seasonal + 0.7 * (1 - seasonal)
        pure[:, k] = poor + (rich - poor) * np.clip(level + _SPREAD[k] * vigor, -0.15, 1.15)[None, :]
    pure[:, [BARE, CROPS, SHRUB, GRASS]] *= np.float32(1 - 0.15 * wet)  # wet soil is darker
    table = np.empty((len(BAND_NAMES), CLASS_COUNT, VIGORS, BLENDS), dtype=np.float32)
    blend = (np.arange(BLENDS, dtype=np.float32) / (BLENDS - 1)) ** 2
    for k, (other, most) in _MIXED.items():
        # meadow runs through a marsh more than through a swamp
        share = blend * (most + np.float32(0.3) * (1 - swamp) if k == FLOODED else np.float32(most))
        table[:, k] = pure[:, k, :, None] * (1 - share) + pure[:, other, :, None] * share
    return table.reshape(len(BAND_NAMES), -1)


def granule_band(epsg: int, ulx: int, uly: int, name: str, precision: str, scale: int, low: float | None,
                 high: float | None, pyramid: str = "mean") -> BandSpec:
    """A band on the grid of a granule."""
    n = GRANULE_SIZE // scale
    return BandSpec(name, precision, f"EPSG:{epsg}", (scale, 0, ulx, 0, -scale, uly), n, n, low, high, pyramid)


@functools.lru_cache(maxsize=256)
def _bands(epsg: int, ulx: int, uly: int, surface: bool) -> tuple[BandSpec, ...]:
    make = functools.partial(granule_band, epsg, ulx, uly)
    specs = [make(name, "int", scale, 0, 65_535) for name, scale in BAND_SCALES.items()
             if not (surface and name == "B10")]
    if surface:
        specs.append(make("SCL", "int", 20, 0, 255, "mode"))
    return (*specs, make("QA60", "int", 60, 0, 65_535, "sample"))


Pixels = dict[str, tuple[np.ndarray, np.ndarray | None]]


class OverpassScene:
    """What every image made of one granule has: an id, a time and bounds, and a mask where the swath ends.

    ``bands`` makes the band list from the granule's zone and upper left corner.
    """

    def __init__(self, collection: str, index: str, overpass: Overpass,
                 bands: Callable[[int, int, int], tuple[BandSpec, ...]]) -> None:
        self.id = f"{collection}/{index}"
        self.index = index
        self.overpass = overpass
        g = overpass.granule
        self.bands = bands(g.site.epsg, g.ulx, g.uly)

    @property
    def time(self) -> int:
        return self.overpass.time

    @property
    def bounds(self) -> Bounds:
        return self.overpass.footprint.bounds

    def system_properties(self) -> dict[str, Any]:
        """Those of the overpass that the service itself sets."""
        found = self.overpass.properties(self.index)
        return {key: value for key, value in found.items() if key.startswith("system:")}


def masked(values: dict[str, np.ndarray], valid: np.ndarray | None) -> Pixels:
    """Bands with their common mask; what is masked is 0."""
    if valid is not None:
        for array in values.values():
            array[~valid] = 0
    return {name: (array, valid) for name, array in values.items()}


class Sentinel2Scene(OverpassScene):
    """One granule of ``COPERNICUS/S2_HARMONIZED`` or ``COPERNICUS/S2_SR_HARMONIZED`` (DN x 10000, uint16), or of the
    deprecated collections, with the offset of newer baselines."""

    def __init__(self, collection: str, index: str, overpass: Overpass) -> None:
        self.surface = collection in (SR, RAW_SR)
        self.offset = RAW_OFFSET if collection in (RAW_TOA, RAW_SR) and overpass.flight.day >= RAW_OFFSET_DAY else 0
        super().__init__(collection, index, overpass, functools.partial(_bands, surface=self.surface))

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        o, index = self.overpass, self.index
        start, second = index.split("_")[:2]
        satellite, level = f"S2{o.flight.platform}", "MSIL2A" if self.surface else "MSIL1C"
        baseline = "N0500" if o.flight.day >= dt.date(2022, 1, 25) else "N0301"
        return {
            **o.properties(index), "PROCESSING_BASELINE": f"{baseline[1:3]}.{baseline[3:]}",
            "PRODUCT_ID": f"{satellite}_{level}_{start}_{baseline}_R{o.flight.relative_orbit:03d}_T{o.granule.tile}"
                          f"_{second}",
            "GRANULE_ID": f"L{level[-2:]}_T{o.granule.tile}_A{o.flight.orbit:06d}_{stamp(o.time)}",
            "DATATAKE_IDENTIFIER": f"G{satellite}_{start}_{o.flight.orbit:06d}_{baseline[:3]}.{baseline[3:]}",
            "DATATAKE_TYPE": "INS-NOBS", "GENERAL_QUALITY": "PASSED", "GEOMETRIC_QUALITY": "PASSED",
        }

    def read(self, bands: tuple[str, ...], window: Window) -> Pixels:
        """Native pixels; see :class:`dwplus.embedded_earth.catalog.Scene`. All bands share one grid."""
        o = self.overpass
        scale = 20 if bands[0] == "SCL" else BAND_SCALES.get(bands[0], 60)
        factor = scale // 10
        box = o.box(window, scale)
        valid = o.valid(window, scale)
        sky = o.sky(box, factor)
        result: dict[str, np.ndarray] = {}
        for name in bands:
            if name == "SCL":
                result[name] = self._scene_classes(o.landscape.label(box, o.flight.day)[1::2, 1::2], sky)
            elif name == "QA60":
                result[name] = self._quality(window, sky)
        optical = [name for name in bands if name not in result]
        if optical:
            result |= self._reflectance(optical, box, factor, sky)
            if self.offset:
                for name in optical:
                    result[name] += np.uint16(self.offset)
        return masked(result, valid)

    def _reflectance(self, names: list[str], box: Box, factor: int, sky: Sky | None) -> dict[str, np.ndarray]:
        o = self.overpass
        cover = o.landscape.cover(box, o.flight.day)
        where = cover.patch.box.slices(box)
        table = spectra(o.landscape, o.seed, o.flight.day)
        index = cover.index[where].astype(np.intp)
        zenith, azimuth = o.sun
        side = -math.sin(math.radians(azimuth)) * math.tan(math.radians(min(zenith, 75.0)))
        light = cover.patch.shade[where] * (_SLOPE * np.float32(side / SHADE_UNIT))
        light += np.float32(1)
        rows, cols = box.row // factor, box.col // factor
        noise = hash_grid(seed_of(o.key, "noise", factor), np.arange(rows, rows + box.height // factor),
                          np.arange(cols, cols + box.width // factor))
        if sky is not None:
            clear = np.float32(1) - sky.alpha
            dim = clear * (np.float32(1) - _SHADOW * sky.shadow)
            bright = sky.alpha * np.clip(np.float32(0.75) + np.float32(0.3) * sky.excess, 0.6, 1.1)
        normal = normal_quantiles()
        out: dict[str, np.ndarray] = {}
        for name in names:
            k = BAND_NAMES.index(name)
            value = table[k].take(index, mode="clip")
            value *= light
            value = box_mean(value, factor)
            slot = noise * np.uint32((2 * seed_of(k) + 1) & 0xFFFFFFFF)
            slot >>= np.uint32(32 - TABLE_BITS)
            grain = normal.take(slot, mode="clip")
            grain *= value * _NOISE_SHARE + _NOISE_FLOOR
            value += grain
            if not self.surface:
                value *= _TRANSMISSION[k]
            if sky is not None:
                value *= dim
                value += bright * _CLOUD[k]
            if not self.surface:
                # over cloud less air is left to scatter
                value += _PATH[k] if sky is None else (clear * np.float32(0.7) + np.float32(0.3)) * _PATH[k]
            value += np.float32(0.5)
            np.clip(value, 1, 20_000, out=value)
            out[name] = value.astype(np.uint16)
        return out

    def _scene_classes(self, label: np.ndarray, sky: Sky | None) -> np.ndarray:
        scl = _SCL.take(label)
        if sky is not None:
            scl[sky.shadow > 0.5] = 3
            scl[sky.excess > -0.06] = 10
            scl[sky.excess > 0] = 8
            scl[sky.excess > 0.12] = 9
        return scl

    def _quality(self, window: Window, sky: Sky | None) -> np.ndarray:
        out = np.zeros((window.height, window.width), dtype=np.uint16)
        first, last = _QA60_GAP
        if sky is not None and not first <= self.overpass.flight.day < last:
            out[sky.excess > -0.06] = 1 << 11
            out[sky.excess > 0] = 1 << 10
        return out
