"""Dynamic World scenes: what a good but fallible classifier makes of a Sentinel-2 scene."""

from __future__ import annotations

import functools
from statistics import NormalDist
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
)
from dwplus.embedded_earth.planet.noise import draw, fbm, node_range, seed_of, upsample
from dwplus.embedded_earth.planet.overpass import Overpass
from dwplus.embedded_earth.planet.sentinel2 import OverpassScene, Pixels, granule_band, masked
from dwplus.embedded_earth.planet.spectra import MIXED
from dwplus.embedded_earth.planet.weather import MASK_MARGIN

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"
#: Dynamic World is made of scenes with at most this CLOUDY_PIXEL_PERCENTAGE.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1
MAX_CLOUD = 35.0
#: Per class: (share taken for the first wrong class, that class, share taken for the second, that class). The shape
#: follows the confusions of Brown et al. 2022 (Sci Data 9:251, Fig. 6): grass, shrub and flooded vegetation are hard.
_CONFUSION: dict[int, tuple[float, int, float, int]] = {
    WATER: (0.02, FLOODED, 0.02, BARE),
    TREES: (0.04, SHRUB, 0.03, GRASS),
    GRASS: (0.11, CROPS, 0.10, SHRUB),
    FLOODED: (0.20, TREES, 0.07, GRASS),
    CROPS: (0.06, GRASS, 0.05, BARE),
    SHRUB: (0.09, GRASS, 0.08, TREES),
    BUILT: (0.06, BARE, 0.06, CROPS),
    BARE: (0.08, SHRUB, 0.06, BUILT),
    SNOW: (0.03, BARE, 0.03, WATER),
}
#: The same where flooded vegetation is sedge and reed rather than wood: it is taken for meadow and scrub.
_MARSH_CONFUSION = (0.20, GRASS, 0.07, SHRUB)
#: Octaves of the two doubt fields by level (cells of 80 m x 2^level): errors come in blobs of 100 m to 1 km.
DOUBT_OCTAVES = {4: 0.5, 3: 0.8, 2: 1.0, 1: 0.8, 0: 0.4}
#: How much of the doubt belongs to the place (and comes back in every scene) rather than to the scene.
_PLACE = 0.8
#: Highest and lowest probability of the winning class; Dynamic World rarely exceeds 0.8.
_TOP, _LOW = np.float32(0.78), np.float32(0.36)
#: Share of the remainder that goes to the runner-up.
_SECOND = np.float32(0.45)


#: How much of the doubt is the pixel's own: how poor it is for its class, and how much of another class is mixed in.
#: So errors lie where pixels are ambiguous; the rest is blobs that no band tells.
_BY_VIGOR, _BY_BLEND = 0.55, 0.65
_REST = np.float32(0.85)
#: What a veil adds to the doubt, per opacity.
_BY_VEIL = np.float32(1.5)


@functools.cache
def pull_table(swamp: bool) -> np.ndarray:
    """Doubt by (class, state), float32 (9 * STATES): below 0 towards the first wrong class, above towards the second; 0
    for pixels that are typical of their class.

    A class whose spectra are mixed with its second wrong class (water with bare ground) is pulled there.
    """
    vigor, blend = np.repeat(np.arange(VIGORS), BLENDS), np.tile(np.arange(BLENDS), VIGORS)
    table = np.empty((CLASS_COUNT, VIGORS * BLENDS), np.float32)
    for k in range(CLASS_COUNT):
        # states of fields and houses are drawn evenly, those of natural surfaces are normal within three deviations
        even = k in (CROPS, BUILT)
        poor = -((vigor + 0.5) / VIGORS - 0.5) * (12 ** 0.5 if even else 6)
        mixed = (blend + 0.5 - BLENDS / 2) / 2
        row = _CONFUSION[k] if k != FLOODED or swamp else _MARSH_CONFUSION
        side = 1 if MIXED[k][0] == row[3] else -1
        table[k] = side * np.maximum(_BY_VIGOR * poor + _BY_BLEND * mixed, 0)
    return table.ravel()


@functools.cache
def doubt_tables(swamp: bool, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds (low, high) on the doubt and the classes taken instead, each by true class.

    ``swamp`` tells whether flooded vegetation is wooded; ``scale`` is the number of errors as a share of the model's.
    """
    inverse = NormalDist().inv_cdf
    rows = [_CONFUSION[k] if k != FLOODED or swamp else _MARSH_CONFUSION for k in range(CLASS_COUNT)]
    low = np.array([inverse(r[0] * scale) for r in rows], dtype=np.float32)
    high = np.array([inverse(1 - r[2] * scale) for r in rows], dtype=np.float32)
    return low, high, np.array([r[1] for r in rows], np.uint8), np.array([r[3] for r in rows], np.uint8)


def _agree(label: np.ndarray, step: int) -> np.ndarray:
    """Drop objects thinner than ``step`` pixels: where both neighbours agree, the pixel follows. Trims the edges."""
    left, middle, right = label[:, :-2 * step], label[:, step:-step], label[:, 2 * step:]
    rows = np.where(left == right, left, middle)
    above, middle, below = rows[:-2 * step], rows[step:-step], rows[2 * step:]
    return np.where(above == below, above, middle)


@functools.lru_cache(maxsize=256)
def _bands(classes: tuple[str, ...], epsg: int, ulx: int, uly: int) -> tuple[BandSpec, ...]:
    return (*(granule_band(epsg, ulx, uly, name, "float", 10, None, None) for name in classes),
            granule_band(epsg, ulx, uly, "label", "int", 10, 0, 255, "mode"))


class DynamicWorldScene(OverpassScene):
    """One image of ``GOOGLE/DYNAMICWORLD/V1``: nine probabilities (float32) and ``label`` (uint8), 10 m."""

    def __init__(self, index: str, overpass: Overpass) -> None:
        super().__init__(COLLECTION, index, overpass,
                         functools.partial(_bands, overpass.landscape.names.classes))

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        return {**self.system_properties(), "dynamicworld_algorithm_version": "3.5", "qa_algorithm_version": "3.5",
                "system:asset_size": 90_000_000}

    def read(self, bands: tuple[str, ...], window: Window) -> Pixels:
        """Native pixels; clouds, their surroundings and their shadows are masked in every band."""
        o = self.overpass
        box = o.box(window, 10)
        valid = o.valid(window, 10)
        sky = o.sky(box, 1)
        if sky is not None:
            clear = sky.excess < -MASK_MARGIN
            clear &= sky.shadow < 0.5
            valid = clear if valid is None else valid & clear
        # registration differs from the truth by up to a pixel, and objects are judged by their neighbours three away
        cover = o.landscape.cover(box.grow(4), o.flight.day)
        key = seed_of(o.key, o.granule.tile, "dw")
        dr, dc = round(2 * draw(key, "row") - 1), round(2 * draw(key, "col") - 1)
        moved = box.grow(3)
        rows, cols = cover.patch.box.slices(moved)
        seen = cover.label[rows.start + dr:rows.stop + dr, cols.start + dc:cols.stop + dc]
        smooth = _agree(_agree(seen, 1), 2)
        span = (node_range(box.row, box.height, NODE), node_range(box.col, box.width, NODE))
        place = fbm([seed_of(o.landscape.seed, "doubt")], DOUBT_OCTAVES, *span)[0]
        scene = fbm([seed_of(key, "doubt")], DOUBT_OCTAVES, *span)[0]
        nodes = place * np.float32(_PLACE) + scene * np.float32((1 - _PLACE ** 2) ** 0.5)
        nodes *= np.float32(1.1)  # interpolation between nodes takes some of the variance
        doubt = upsample(nodes, NODE, box.row, box.col, box.height, box.width)
        doubt *= _REST
        here_rows, here_cols = cover.patch.box.slices(box)
        index = cover.index[here_rows.start + dr:here_rows.stop + dr, here_cols.start + dc:here_cols.stop + dc]
        doubt += pull_table(o.landscape.site.swamp > 0.5).take(index, mode="clip")
        if sky is not None and sky.veil is not None:
            doubt *= np.float32(1) + _BY_VEIL * sky.veil
        low, high, first, second = doubt_tables(o.landscape.site.swamp > 0.5)
        under, over = doubt < low.take(smooth), doubt > high.take(smooth)
        label = smooth.copy()
        np.copyto(label, first.take(smooth), where=under)
        np.copyto(label, second.take(smooth), where=over)
        result: dict[str, np.ndarray] = {}
        wanted = [name for name in bands if name != "label"]
        if wanted:
            result = self._probabilities(wanted, label, smooth, doubt, under | over)
        if "label" in bands:
            result["label"] = label
        return masked(result, valid)

    def _probabilities(self, names: list[str], label: np.ndarray, smooth: np.ndarray, doubt: np.ndarray,
                       wrong: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities whose argmax is ``label`` by construction and whose sum is 1."""
        low, high, first, second = doubt_tables(self.overpass.landscape.site.swamp > 0.5)
        # distance from the nearer threshold: sure in the middle, unsure towards a change of mind
        gap = np.minimum(np.abs(doubt - low.take(smooth)), np.abs(high.take(smooth) - doubt))
        top = np.clip(_LOW + np.float32(0.30) * gap, _LOW, _TOP)
        # the runner-up: the truth where the label errs, else the likelier confusion
        runner = np.where(wrong, smooth, np.where(doubt < 0, first.take(smooth), second.take(smooth)))
        rest = np.float32(1) - top
        runner_up = rest * _SECOND
        others = (rest - runner_up) * np.float32(1 / (CLASS_COUNT - 2))
        out = {}
        for name in names:
            k = self.overpass.landscape.names.classes.index(name)
            values = others.copy()
            np.copyto(values, runner_up, where=runner == k)
            np.copyto(values, top, where=label == k)
            out[name] = values
        return out
