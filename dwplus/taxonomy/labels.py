"""The nine Dynamic World classes, and the label codings in circulation."""

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

#: The six classes of CloudLULC-Set, in the order of its README, and what becomes of Dynamic World's: ours.
SIX = ("water", "forest", "grassland", "barren", "built_up", "cropland")
_SIX_OF = {"water": 0, "trees": 1, "grass": 2, "flooded_vegetation": 2, "crops": 5, "shrub_and_scrub": 2, "built": 4,
           "bare": 3, "snow_and_ice": IGNORE}


def to_six(label: np.ndarray, shrub: str = "grassland") -> np.ndarray:
    """Nine Dynamic World classes to the six of CloudLULC-Set; uint8, 255 = ignore. The mapping is ours.

    Water, trees, crops, built and bare have their twins; grass and flooded vegetation are grassland, snow and ice is
    left out.

    Parameters
    ----------
    label : 0..8 or 255. shrub : shrub and scrub as ``grassland``, or ``ignore``.

    Raises
    ------
    ValueError
        On another label or choice.
    """
    if shrub not in ("grassland", "ignore"):
        raise ValueError(f"shrub {shrub!r}: must be grassland or ignore")
    label = np.asarray(label)
    wrong = label[(label >= len(CLASSES)) & (label != IGNORE)]
    if wrong.size:
        raise ValueError(f"label {wrong.flat[0]}: must be 0..8 or {IGNORE}")
    lookup = np.full(256, IGNORE, "uint8")
    for number, name in enumerate(CLASSES):
        lookup[number] = IGNORE if name == "shrub_and_scrub" and shrub == "ignore" else _SIX_OF[name]
    out: np.ndarray = lookup[label]
    return out


def from_six(label: np.ndarray) -> np.ndarray:
    """The six classes as those of the nine that stand for them: grassland is grass; uint8, 255 = ignore.

    Raises
    ------
    ValueError
        On a label that is not 0..5 or 255.
    """
    label = np.asarray(label)
    wrong = label[(label >= len(SIX)) & (label != IGNORE)]
    if wrong.size:
        raise ValueError(f"label {wrong.flat[0]}: must be 0..{len(SIX) - 1} or {IGNORE}")
    lookup = np.full(256, IGNORE, "uint8")
    for nine, six in reversed(list(enumerate(_SIX_OF[name] for name in CLASSES))):
        if six != IGNORE:
            lookup[six] = nine  # the first of the nine comes last and stays
    out: np.ndarray = lookup[label]
    return out


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
    out: np.ndarray = lookup[codes]
    return out
