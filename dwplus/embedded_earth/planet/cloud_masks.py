"""Cloud masks of Sentinel-2 scenes: Cloud Score+ and s2cloudless, each with the faults it is known for.

Both see the clouds and shadows that dim the reflectances (:class:`.weather.Sky`), not the true mask.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Window
from dwplus.embedded_earth.planet.landscape import (
    BARE,
    BLENDS,
    BUILT,
    CLASS_COUNT,
    CROPS,
    FLOODED,
    GRASS,
    NODE,
    SHRUB,
    SNOW,
    TREES,
    VIGORS,
    WATER,
    Box,
)
from dwplus.embedded_earth.planet.noise import (
    TABLE_BITS,
    fbm,
    hash_grid,
    node_range,
    normal_quantiles,
    seed_of,
    upsample,
)
from dwplus.embedded_earth.planet.orbits import stamp
from dwplus.embedded_earth.planet.sentinel2 import (
    TOA,
    Overpass,
    OverpassScene,
    Pixels,
    Sentinel2Scene,
    granule_band,
    masked,
)
from dwplus.embedded_earth.planet.weather import Sky

SCORE, PROBABILITY = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "COPERNICUS/S2_CLOUD_PROBABILITY"

#: ``cs`` of clear ground by class: snow and bright roofs look least like a clear view. By hand.
_CLEAR = {WATER: 0.92, TREES: 0.96, GRASS: 0.96, FLOODED: 0.94, CROPS: 0.95, SHRUB: 0.95, BUILT: 0.90, BARE: 0.91,
          SNOW: 0.80}
#: Share of ``cs`` that full cloud, full shadow and the haze around clouds take away.
_BY_CLOUD, _BY_SHADOW, _BY_HAZE = np.float32(0.97), np.float32(0.42), np.float32(0.15)
#: A thin veil over wide ground costs as much as its opacity, and a little: most of it passes 0.60.
_BY_VEIL = np.float32(1.1)
#: Errors of ``cs``: blobs of 100 m to 1 km, and single pixels (standard deviations). Now and then a clear place looks
#: unlike itself: beyond so many standard deviations of the blobs, the square of the excess counts.
_CS_BLOB, _CS_PIXEL = np.float32(0.04), np.float32(0.012)
_DIP_FROM, _DIP = np.float32(1.0), np.float32(0.22)
#: ``cs`` between which ``cs_cdf`` rises from 0 to 1, steepest in the middle.
_CDF_FROM, _CDF_TO = np.float32(0.10), np.float32(0.95)

#: Log odds of s2cloudless for clear ground by class: at the middle vigor, and the change from the dullest to the
#: brightest. Earth Engine's page says: high values are "clouds or highly reflective surfaces (e.g. roof tops or snow)".
_ODDS = {WATER: (-4.3, 0.6), TREES: (-4.4, 0.4), GRASS: (-4.0, 0.6), FLOODED: (-4.3, 0.4), CROPS: (-3.7, 0.9),
         SHRUB: (-3.8, 0.7), BUILT: (-2.3, 3.4), BARE: (-2.1, 3.2), SNOW: (-0.6, 2.4)}
#: What full cloud adds; opacity counts squared, so that thin cloud passes for clear.
_BY_OPACITY = np.float32(7.2)
#: Errors of the log odds: blobs and pixels.
_ODDS_BLOB, _ODDS_PIXEL = np.float32(1.0), np.float32(0.45)
#: The logistic function in steps of 1/16 from -8 to 8.
_STEPS, _REACH = 16, 8
#: Octaves of the error blobs by level (cells of 80 m x 2^level).
_BLOBS = {3: 0.8, 2: 1.0, 1: 0.8, 0: 0.5}
#: Haze begins where the cloud field is this much below its threshold; a sky without clouds begins a little lower.
_HAZE = np.float32(0.20)


@functools.cache
def _clear_table() -> np.ndarray:
    return np.array([_CLEAR[k] for k in range(CLASS_COUNT)], dtype=np.float32)


@functools.cache
def _odds_table() -> np.ndarray:
    """Log odds by (class, state): float32."""
    vigor = np.repeat((np.arange(VIGORS) + 0.5) / VIGORS - 0.5, BLENDS)
    return np.array([_ODDS[k][0] + _ODDS[k][1] * vigor for k in range(CLASS_COUNT)], dtype=np.float32).ravel()


@functools.cache
def _logistic() -> np.ndarray:
    """Percent by step of the log odds. A table: a pixel must not depend on how the processor takes an exponential."""
    odds = np.arange(-_REACH * _STEPS, _REACH * _STEPS + 1) / _STEPS
    return np.round(100 / (1 + np.exp(-odds))).astype(np.uint8)


@functools.lru_cache(maxsize=256)
def _bands(epsg: int, ulx: int, uly: int, collection: str) -> tuple[BandSpec, ...]:
    if collection == SCORE:
        return tuple(granule_band(epsg, ulx, uly, name, "float", 10, 0, 1) for name in ("cs", "cs_cdf"))
    return (granule_band(epsg, ulx, uly, "probability", "int", 10, 0, 255),)


class CloudMaskScene(OverpassScene):
    """One image of Cloud Score+ (``cs``, ``cs_cdf``: float32, 1 is clear) or of s2cloudless (``probability``: percent).

    The id is that of the top-of-atmosphere scene.
    """

    def __init__(self, collection: str, overpass: Overpass) -> None:
        self.collection = collection
        super().__init__(collection, overpass.index, overpass, functools.partial(_bands, collection=collection))

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        o, kept = self.overpass, self.system_properties()
        if self.collection == PROBABILITY:
            return kept
        source = Sentinel2Scene(TOA, o.index, o)
        return {**kept, "MGRS_TILE": o.granule.tile, "SOURCE_ASSET_ID": source.id,
                "SOURCE_PRODUCT_ID": source.properties["PRODUCT_ID"], "MODEL_VERSION": "V1", "NO_CONTEXT_FRACTION": 0.0,
                "DATE_PRODUCT_GENERATED": stamp(o.time + 86_400_000), "PROCESSING_SOFTWARE_VERSION": "planet"}

    def read(self, bands: tuple[str, ...], window: Window) -> Pixels:
        """Native pixels; masked outside the swath only."""
        o = self.overpass
        box, valid = o.box(window, 10), o.valid(window, 10)
        sky = o.sky(box, 1)
        if self.collection == PROBABILITY:
            result = {name: self._probability(box, sky) for name in bands}
        else:
            score = self._score(box, sky)
            curves: dict[str, Callable[[np.ndarray], np.ndarray]] = {"cs": np.copy, "cs_cdf": _cumulated}
            result = {name: curves[name](score) for name in bands}
        return masked(result, valid)

    def _errors(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Blobs and single pixels, about one standard deviation each."""
        key = seed_of(self.overpass.key, self.overpass.granule.tile, self.collection)
        nodes = fbm([key], _BLOBS, node_range(box.row, box.height, NODE), node_range(box.col, box.width, NODE))[0]
        blob = upsample(nodes, NODE, box.row, box.col, box.height, box.width)
        slot = hash_grid(key, np.arange(box.row, box.row + box.height), np.arange(box.col, box.col + box.width))
        slot >>= np.uint32(32 - TABLE_BITS)
        return blob, normal_quantiles().take(slot, mode="clip")

    def _score(self, box: Box, sky: Sky | None) -> np.ndarray:
        o = self.overpass
        score: np.ndarray = _clear_table().take(o.landscape.label(box, o.flight.day), mode="clip")
        blob, pixel = self._errors(box)
        score += _CS_BLOB * blob + _CS_PIXEL * pixel
        dip = np.maximum(blob - _DIP_FROM, 0)
        score -= _DIP * dip * dip
        if sky is not None:
            # a thin veil already tells
            veil = sky.alpha * (np.float32(1.6) - np.float32(0.6) * sky.alpha)
            haze = np.clip((sky.excess + _HAZE) / _HAZE, 0, 1)
            score *= 1 - _BY_CLOUD * veil
            score *= 1 - _BY_SHADOW * sky.shadow
            score *= 1 - _BY_HAZE * haze
            if sky.veil is not None:
                score *= 1 - _BY_VEIL * sky.veil
        return np.clip(score, 0, 1, out=score)

    def _probability(self, box: Box, sky: Sky | None) -> np.ndarray:
        o = self.overpass
        cover = o.landscape.cover(box, o.flight.day)
        odds: np.ndarray = _odds_table().take(cover.index[cover.patch.box.slices(box)], mode="clip")
        blob, pixel = self._errors(box)
        odds += _ODDS_BLOB * blob + _ODDS_PIXEL * pixel
        if sky is not None:
            odds += _BY_OPACITY * sky.alpha * sky.alpha
            if sky.veil is not None:
                odds += _BY_OPACITY * sky.veil * sky.veil
        odds += np.float32(_REACH)
        odds *= np.float32(_STEPS)
        np.clip(odds, 0, 2 * _REACH * _STEPS, out=odds)
        return _logistic().take(odds.astype(np.uint16))


def _cumulated(score: np.ndarray) -> np.ndarray:
    t = np.clip((score - _CDF_FROM) / (_CDF_TO - _CDF_FROM), 0, 1)
    out: np.ndarray = t * t * (np.float32(3) - np.float32(2) * t)
    return out
