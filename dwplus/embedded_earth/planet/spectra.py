"""Reflectance spectra of the classes: by state, season and moisture."""

from __future__ import annotations

import datetime as dt

import numpy as np

from dwplus.embedded_earth.planet.landscape import (
    BARE,
    BLENDS,
    BUILT,
    CLASS_COUNT,
    CROPS,
    FLOODED,
    GRASS,
    SHRUB,
    SNOW,
    TREES,
    VIGORS,
    WATER,
    Landscape,
)
from dwplus.embedded_earth.planet.weather import rain

#: Reflectance bands of L1C with their native pixel size in metres.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
BAND_SCALES: dict[str, int] = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20, "B9": 60, "B10": 60,
    "B11": 20, "B12": 20,
}
BAND_NAMES = tuple(BAND_SCALES)

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


#: What a class is mixed with, and up to which share: stands thin out, suburbs have lawns, stubble looks like meadow.
MIXED = {
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
    for k, (other, most) in MIXED.items():
        # meadow runs through a marsh more than through a swamp
        share = blend * (most + np.float32(0.3) * (1 - swamp) if k == FLOODED else np.float32(most))
        table[:, k] = pure[:, k, :, None] * (1 - share) + pure[:, other, :, None] * share
    return table.reshape(len(BAND_NAMES), -1)
