"""Sentinel-2 scenes: reflectance from class spectra, season, sun, clouds and noise, and masks."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.landscape import (
    SNOW,
    Box,
)
from dwplus.embedded_earth.planet.noise import TABLE_BITS, box_mean, hash_grid, normal_quantiles, seed_of
from dwplus.embedded_earth.planet.orbits import (
    GRANULE_SIZE,
    stamp,
)
from dwplus.embedded_earth.planet.overpass import Overpass as Overpass
from dwplus.embedded_earth.planet.patches import Slope
from dwplus.embedded_earth.planet.products import COLLECTION_1, baseline, generated
from dwplus.embedded_earth.planet.spectra import BAND_NAMES as BAND_NAMES
from dwplus.embedded_earth.planet.spectra import BAND_SCALES
from dwplus.embedded_earth.planet.spectra import spectra as spectra
from dwplus.embedded_earth.planet.terrain import DIFFUSE, LEFT_IN_SURFACE, SLOPE_UNIT, stretch_tables
from dwplus.embedded_earth.planet.weather import Sky

TOA, SR = "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2_SR_HARMONIZED"
#: The collections that these replace, deprecated: products of baseline 04.00 and later keep their offset, which the
#: harmonized ones take away. Source: as above, and https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2
RAW_TOA, RAW_SR = "COPERNICUS/S2", "COPERNICUS/S2_SR"
RAW_OFFSET, RAW_OFFSET_DAY = 1000, dt.date(2022, 1, 25)

#: Path radiance at the top of the atmosphere as reflectance x 10000 (Rayleigh and thin aerosol, clear sky, 6S tables)
#: and two-way transmission of the ground signal; water vapour darkens B9, cirrus band B10 sees none of the ground.
_PATH = np.array([1050, 720, 400, 220, 180, 150, 130, 100, 80, 60, 8, 15, 8], dtype=np.float32)
_TRANSMISSION = np.array([0.83, 0.86, 0.88, 0.92, 0.92, 0.93, 0.94, 0.95, 0.96, 0.45, 0.02, 0.95, 0.95],
                         dtype=np.float32)
#: Reflectance x 10000 of thick cloud.
_CLOUD = np.array([6000, 6100, 6000, 6000, 6100, 6200, 6200, 6300, 6300, 5500, 700, 4300, 3500], dtype=np.float32)
#: The same of cirrus and haze; the cirrus band sees it all.
_CIRRUS = np.array([4200, 4000, 3700, 3500, 3500, 3500, 3500, 3500, 3500, 3000, 1600, 2400, 1900], dtype=np.float32)
#: SCL gives thin cirrus from this opacity on; it is below what Dynamic World's mask finds. By hand.
_SCL_CIRRUS = 0.12
#: Sensor noise and fine texture: a part in proportion and a part absolute (DN); S2 MSI SNR is about 100 to 170.
_NOISE_SHARE, _NOISE_FLOOR = np.float32(0.012), np.float32(12)
#: Darkening in full cloud shadow.
_SHADOW = np.float32(0.55)
#: QA60: bit 10 opaque cloud, bit 11 cirrus. It is masked from 2022-01-25 to 2024-02-28; the bands of MSK_CLASSI, from
#: which it is made since, are masked before that (Earth Engine catalogue).
_QA60_GAP = (dt.date(2022, 1, 25), dt.date(2024, 2, 28))
_CLASSI = ("MSK_CLASSI_OPAQUE", "MSK_CLASSI_CIRRUS", "MSK_CLASSI_SNOW_ICE")
#: SCL codes by class of the truth. Source: ESA Sen2Cor; 4 vegetation, 5 not vegetated, 6 water, 11 snow.
_SCL = np.array([6, 4, 4, 4, 4, 5, 5, 5, 11], dtype=np.uint8)


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
    return (*specs, make("QA60", "int", 60, 0, 65_535, "sample"),
            *(make(name, "int", 60, 0, 255, "sample") for name in _CLASSI))


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


class _Air(NamedTuple):
    """Between the ground and the sensor: the share that is clear, what is left of the ground's light, cloud's light."""

    clear: np.ndarray
    dim: np.ndarray
    bright: np.ndarray


class _Look(NamedTuple):
    """What all bands of a window share: the address in a table of spectra (intp) and the light on slopes (None = flat)
    by lattice pixel, hashes of the noise by pixel, and the air (None = clear everywhere)."""

    address: np.ndarray
    light: np.ndarray | None
    noise: np.ndarray
    air: _Air | None


class Sentinel2Scene(OverpassScene):
    """One granule of ``COPERNICUS/S2_HARMONIZED`` or ``COPERNICUS/S2_SR_HARMONIZED`` (DN x 10000, uint16), or of the
    deprecated collections, with the offset of newer baselines."""

    def __init__(self, collection: str, index: str, overpass: Overpass) -> None:
        self.surface = collection in (SR, RAW_SR)
        self.offset = RAW_OFFSET if collection in (RAW_TOA, RAW_SR) and overpass.flight.day >= RAW_OFFSET_DAY else 0
        super().__init__(collection, index, overpass, functools.partial(_bands, surface=self.surface))
        #: The last window of each pixel size: bands are read one by one, and a scene lives as long as its request.
        self._windows: dict[int, tuple[Box, _Look]] = {}

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        o, index = self.overpass, self.index
        start = index[:15]
        satellite, level = f"S2{o.flight.platform}", "MSIL2A" if self.surface else "MSIL1C"
        version = COLLECTION_1 if o.copy else baseline(o.flight.day, self.surface)
        made = generated(dt.date(2023, 6, 1) if o.copy else o.flight.day, o.second, o.key)
        made += o.copy * 1_200 * 86_400_000
        return {
            **o.properties(index), "PROCESSING_BASELINE": version,
            "PRODUCT_ID": f"{satellite}_{level}_{start}_N{version.replace('.', '')}_R{o.flight.relative_orbit:03d}"
                          f"_T{o.granule.tile}_{stamp(made)}",
            "GRANULE_ID": f"L{level[-2:]}_T{o.granule.tile}_A{o.flight.orbit:06d}_{stamp(o.time)}",
            "DATATAKE_IDENTIFIER": f"G{satellite}_{start}_{o.flight.orbit:06d}_N{version}",
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
        seen: dict[str, bool] = {}
        for name in bands:
            if name == "SCL":
                result[name] = self._scene_classes(o.landscape.label(box, o.flight.day)[1::2, 1::2], sky)
            elif name == "QA60" or name in _CLASSI:
                result[name], seen[name] = self._quality(name, window, box, sky)
        optical = [name for name in bands if name not in result]
        if optical:
            result |= self._reflectance(optical, box, factor, sky)
            if self.offset:
                for name in optical:
                    result[name] += np.uint16(self.offset)
        found = masked(result, valid)
        for name, there in seen.items():
            if not there:
                found[name] = np.zeros_like(result[name]), np.zeros(result[name].shape, bool)
        return found

    def _reflectance(self, names: list[str], box: Box, factor: int, sky: Sky | None) -> dict[str, np.ndarray]:
        o = self.overpass
        kept = self._windows.get(factor)
        if kept is None or kept[0] != box:
            kept = self._windows[factor] = box, self._look(box, factor, sky)
        look = kept[1]
        table = spectra(o.landscape, o.seed, o.flight.day)
        normal = normal_quantiles()
        out: dict[str, np.ndarray] = {}
        for name in names:
            k = BAND_NAMES.index(name)
            value = table[k].take(look.address, mode="clip")
            if look.light is not None:
                value *= look.light
            value = box_mean(value, factor)
            slot = look.noise * np.uint32((2 * seed_of(k) + 1) & 0xFFFFFFFF)
            slot >>= np.uint32(32 - TABLE_BITS)
            grain = normal.take(slot, mode="clip")
            share = value * _NOISE_SHARE
            share += _NOISE_FLOOR
            grain *= share
            value += grain
            if not self.surface:
                value *= _TRANSMISSION[k]
            if look.air is not None:
                value *= look.air.dim
                value += look.air.bright * _CLOUD[k]
                if sky is not None and sky.veil is not None:
                    value += sky.veil * _CIRRUS[k]
            if not self.surface:
                # over cloud less air is left to scatter
                value += _PATH[k] if look.air is None else (
                    look.air.clear * np.float32(0.7) + np.float32(0.3)) * _PATH[k]
            value += np.float32(0.5)
            np.maximum(value, np.float32(1), out=value)
            np.minimum(value, np.float32(20_000), out=value)
            out[name] = value.astype(np.uint16)
        return out

    def _look(self, box: Box, factor: int, sky: Sky | None) -> _Look:
        """What all bands of a window share."""
        o = self.overpass
        cover = o.landscape.cover(box, o.flight.day)
        where = cover.patch.box.slices(box)
        light = None if cover.patch.slope is None else self._light(cover.patch.slope, where)
        rows, cols = box.row // factor, box.col // factor
        noise = hash_grid(seed_of(o.key, "noise", factor), np.arange(rows, rows + box.height // factor),
                          np.arange(cols, cols + box.width // factor))
        air = None
        if sky is not None:
            clear = np.float32(1) - sky.alpha
            dim = clear * (np.float32(1) - _SHADOW * sky.shadow)
            if sky.veil is not None:
                dim *= np.float32(1) - sky.veil
            air = _Air(clear, dim, sky.alpha * np.clip(np.float32(0.75) + np.float32(0.3) * sky.excess, 0.6, 1.1))
        return _Look(cover.index[where].astype(np.intp), light, noise, air)

    def _light(self, slope: Slope, where: tuple[slice, slice]) -> np.ndarray:
        """Sunlight on the slopes over that on flat ground; surface reflectance keeps a part of the effect."""
        zenith, azimuth = self.overpass.sun
        azimuth -= self.overpass.granule.site.convergence
        direct = 1 - DIFFUSE
        steep = -math.tan(math.radians(min(zenith, 75.0))) / SLOPE_UNIT
        light = slope.east[where] * np.float32(steep * math.sin(math.radians(azimuth)))
        light += slope.north[where] * np.float32(steep * math.cos(math.radians(azimuth)))
        light += np.float32(1)
        light *= stretch_tables()[1].take(slope.stretch[where])
        np.maximum(light, np.float32(0), out=light)
        if self.surface:
            direct *= LEFT_IN_SURFACE
        light *= np.float32(direct)
        light += np.float32(1 - direct)
        return light

    def _scene_classes(self, label: np.ndarray, sky: Sky | None) -> np.ndarray:
        scl = _SCL.take(label)
        if sky is not None:
            if sky.veil is not None:
                scl[sky.veil > _SCL_CIRRUS] = 10
            scl[sky.shadow > 0.5] = 3
            scl[sky.excess > -0.06] = 10
            scl[sky.excess > 0] = 8
            scl[sky.excess > 0.12] = 9
        return scl

    def _quality(self, name: str, window: Window, box: Box, sky: Sky | None) -> tuple[np.ndarray, bool]:
        """A mask band at 60 m, and whether it was delivered at all."""
        o, (first, last) = self.overpass, _QA60_GAP
        if name == "QA60":
            out = np.zeros((window.height, window.width), dtype=np.uint16)
            if sky is not None:
                out[sky.excess > -0.06] = 1 << 11
                out[sky.excess > 0] = 1 << 10
            return out, not first <= o.flight.day <= last
        flags = np.zeros((window.height, window.width), dtype=np.uint8)
        if name == "MSK_CLASSI_SNOW_ICE":
            flags[o.landscape.label(box, o.flight.day)[3::6, 3::6] == SNOW] = 1
        if sky is not None:
            cloud = sky.excess > 0
            if name == "MSK_CLASSI_SNOW_ICE":
                flags[cloud] = 0
            else:
                flags[cloud if name == "MSK_CLASSI_OPAQUE" else (sky.excess > -0.06) & ~cloud] = 1
        return flags, o.flight.day >= last
