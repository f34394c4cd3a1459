"""The nine Dynamic World classes, the label codings in circulation, and the 14 RESOLVE biomes."""

from __future__ import annotations

import numpy as np

#: Class names in Dynamic World V1's order: the index is the label.
CLASSES: tuple[str, ...] = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice",
)
#: Label of pixels that take no part in training or scoring.
IGNORE = 255
#: Dynamic World's own colours, one per class.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1
PALETTE: tuple[str, ...] = (
    "#419BDF", "#397D49", "#88B053", "#7A87C6", "#E49635", "#DFC35A", "#C4281B", "#A59B8F", "#B39FE1",
)

#: RESOLVE Ecoregions 2017: biome number -> name. "Rock and Ice" carries number 11 with the name "N/A" and is no biome.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017
BIOMES: dict[int, str] = {
    1: "Tropical & Subtropical Moist Broadleaf Forests",
    2: "Tropical & Subtropical Dry Broadleaf Forests",
    3: "Tropical & Subtropical Coniferous Forests",
    4: "Temperate Broadleaf & Mixed Forests",
    5: "Temperate Conifer Forests",
    6: "Boreal Forests/Taiga",
    7: "Tropical & Subtropical Grasslands, Savannas & Shrublands",
    8: "Temperate Grasslands, Savannas & Shrublands",
    9: "Flooded Grasslands & Savannas",
    10: "Montane Grasslands & Shrublands",
    11: "Tundra",
    12: "Mediterranean Forests, Woodlands & Scrub",
    13: "Deserts & Xeric Shrublands",
    14: "Mangroves",
}


def annotation_to_label(codes: np.ndarray) -> np.ndarray:
    """Recode drawn annotations (0 unmarked, 1..9 classes, 10 cloud) to labels (0..8, 255 ignore).

    Parameters
    ----------
    codes : integer array of any shape, values 0..10.

    Returns
    -------
    uint8 array of the same shape.

    Raises
    ------
    ValueError
        On a code outside 0..10.

    Source: Brown et al. 2022, Sci Data 9:251; PANGAEA 933475.
    """
    codes = np.asarray(codes)
    if codes.size and (codes.min() < 0 or codes.max() > 10):
        raise ValueError(f"annotation codes must be 0..10, found {codes.min()}..{codes.max()}")
    lookup = np.array([IGNORE, *range(9), IGNORE], dtype=np.uint8)
    return lookup[codes]
