"""A correction measured on other ground, on demand: what it is made from, and where it is refused.

An evaluation draws no sample of the mapped ground. Its correction may be taken over where somebody asks for it by name;
never with an interval, and not where the map has a biome that the evaluation has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dwplus.errors import InputError
from dwplus.maps import areas
from dwplus.pages import sheets
from dwplus.taxonomy import BIOMES, CLASSES


def correction(path: Path, biomes: Iterable[int], classes: Sequence[str] = CLASSES) -> areas.Reference:
    """The errors that an evaluation found, for a map of some biomes.

    Parameters
    ----------
    path : ``blocks.csv`` of an evaluation; ``tiles.csv`` beside it says its biomes. biomes : of the map, 1..14.
    classes : names of its classes.

    Raises
    ------
    InputError
        Where it is none, where its biomes are not known, or where the map has one that it has not.
    """
    found = areas.read_reference(path, classes)
    if not found.clustered:
        raise InputError(f"--transfer {path}: must be blocks.csv of an evaluation; points drawn in this map are no "
                         "transfer: dwplus assess takes them")
    beside = path.with_name("tiles.csv")
    try:
        known = {int(b) for b in sheets.read_csv(beside)["biome"]}
    except (OSError, ValueError, KeyError):
        raise InputError(f"--transfer {path}: {beside.name} beside it does not say which biomes were evaluated; "
                         "evaluate again (make evaluate)") from None
    if other := sorted(set(biomes) - known):
        raise InputError(f"--transfer {path}: the map has biome {_words(other)}, the evaluation only {_words(known)}; "
                         "errors of other biomes say nothing here: draw a sample of the map (dwplus sample)")
    return found


def _words(biomes: Iterable[int]) -> str:
    return ", ".join(f"{number} ({BIOMES.get(number, 'unknown')})" for number in sorted(biomes))
