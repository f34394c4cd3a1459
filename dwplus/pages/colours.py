"""Colours, each once: classes, biomes, what is missing, confidence, agreement.

Pictures are uint8 (y, x, 3), red, green, blue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dwplus.taxonomy import BIOMES, CLASSES, IGNORE, PALETTE

#: Colours of the biomes on RESOLVE's own map, ecoregions.appspot.com.
BIOME_COLOURS = {1: "#38A700", 2: "#CCCD65", 3: "#88CE66", 4: "#00734C", 5: "#458970", 6: "#7AB6F5", 7: "#FEAA01",
                 8: "#FEFF73", 9: "#BEE7FF", 10: "#D6C39D", 11: "#9ED7C2", 12: "#FE0000", 13: "#CC6767", 14: "#FE01C4"}
#: No label, no class; no data of a satellite; what no palette knows.
NO_LABEL, NO_DATA, UNKNOWN = "#FFFFFF", "#808080", "#888888"
#: Prediction and label agree; they differ.
AGREES, DIFFERS = "#D6E4D6", "#BE1E2D"
#: matplotlib's name of the colours of confidence, dark (unsure) to light (sure).
CONFIDENCE = "magma"


def valid(colour: str) -> str:
    """A colour ``#rrggbb`` as it is, anything else as :data:`UNKNOWN`: a store's own palette reaches style sheets."""
    return colour if re.fullmatch("#[0-9A-Fa-f]{6}", colour) else UNKNOWN


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers, 0..255."""
    colour = valid(colour)
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour ``#rrggbb``."""
    parts = [value / 255 for value in rgb(colour)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return "#000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#fff"


def biome(number: int) -> str:
    """Colour of a biome."""
    return BIOME_COLOURS.get(number, UNKNOWN)


def biome_name(number: int) -> str:
    """Number and name of a biome."""
    return f"{number} {BIOMES.get(number, '')}".rstrip()


def words(name: str) -> str:
    """The name of a class for people."""
    return name.replace("_", " ")


def class_words(names: Sequence[str] = CLASSES) -> list[str]:
    """Names of classes for people."""
    return [words(name) for name in names]


def of_classes(label: np.ndarray, palette: Sequence[str] = PALETTE) -> np.ndarray:
    """Classes (y, x) in their palette; no label is white."""
    table = np.full((256, 3), rgb(NO_LABEL), "uint8")
    table[:len(palette)] = [rgb(colour) for colour in palette]
    out: np.ndarray = table[label]
    return out


def of_confidence(percent: np.ndarray) -> np.ndarray:
    """Percent (y, x), 0..100, as colours from dark (unsure) to light (sure); no data is white."""
    from matplotlib import colormaps

    table = np.full((256, 3), rgb(NO_LABEL), "uint8")
    table[:101] = colormaps[CONFIDENCE](np.linspace(0, 1, 101), bytes=True)[:, :3]
    out: np.ndarray = table[percent]
    return out


def of_agreement(label: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Where two classifications (y, x) agree and where they differ; no label is white."""
    out = np.full((*label.shape, 3), rgb(NO_LABEL), "uint8")
    known = label != IGNORE
    out[known & (label == said)] = rgb(AGREES)
    out[known & (label != said)] = rgb(DIFFERS)
    return out


def see_through(picture: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """A picture to lie on a map: uint8 (y, x, 4), transparent where (y, x) is missing."""
    return np.dstack([picture, np.where(missing, 0, 255).astype("uint8")])
