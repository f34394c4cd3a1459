"""What a store says of its classes, bands and units; a store of an earlier build, which says less, is Dynamic World's.

Root attributes: ``classes`` (names; the place is the label), ``class_codes`` (of each class in its own data set),
``palette``, ``ignore`` (the label of pixels that count nowhere, always 255), ``class_table``, ``band_units`` (by band).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dwplus.errors import InputError
from dwplus.pages.colours import of_classes
from dwplus.taxonomy import CLASSES, IGNORE, PALETTE
from dwplus.taxonomy.tables import TABLES, ClassTable, spare_colour

#: Units a band may have. ``display`` is a grey value of a picture, without physical meaning.
REFLECTANCE, DECIBEL, DEGREE, CODE, DISPLAY = "reflectance", "dB", "degree", "code", "display"
UNITS = (REFLECTANCE, DECIBEL, DEGREE, CODE, DISPLAY)
#: Radar bands that are no backscatter.
RADAR_UNITS = {"angle": DEGREE, "local_incidence": DEGREE, "layover_shadow": CODE}


@dataclass(frozen=True)
class Legend:
    """Classes of a store.

    Attributes
    ----------
    classes : names; the place is the label. codes : in the data set's files. colours : ``#RRGGBB``. table : name of the
        class table. ignore : label of pixels that count nowhere.
    """

    classes: tuple[str, ...] = CLASSES
    codes: tuple[int, ...] = tuple(range(len(CLASSES)))
    colours: tuple[str, ...] = PALETTE
    table: str = "dynamic-world"
    ignore: int = IGNORE

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def counts(self) -> list[str]:
        """Names of the columns that hold labelled pixels by class."""
        return [f"count_{name}" for name in self.classes]

    def pictured(self, label: np.ndarray) -> np.ndarray:
        """Labels (y, x) to uint8 (y, x, 3); no label is white."""
        return of_classes(label, self.colours)


#: Of Dynamic World's nine classes.
DYNAMIC_WORLD = Legend()


def legend_from(table: ClassTable) -> Legend:
    """The legend of a store of a table."""
    return Legend(table.classes, table.codes, table.colours, table.name)


def legend_of(attributes: Mapping[str, Any], where: str = "store") -> Legend:
    """The legend that a root's attributes, or the header of a checkpoint, give.

    Raises
    ------
    InputError
        Where they are no legend.
    """
    names = attributes.get("classes", list(CLASSES))
    if not isinstance(names, list | tuple) or not names or len(names) >= IGNORE or len(set(map(str, names))) < len(
            names):
        raise InputError(f"{where}: its attribute classes must be a list of 1 to 254 different names, found {names!r}")
    names = tuple(map(str, names))
    codes = attributes.get("class_codes", list(range(len(names))))
    colours = attributes.get("palette") or (PALETTE if names == CLASSES else [spare_colour(i) for i in
                                                                             range(len(names))])
    if len(codes) != len(names) or len(colours) != len(names):
        raise InputError(f"{where}: has {len(names)} classes, {len(codes)} class_codes and {len(colours)} colours; run "
                         "dwplus verify on it")
    table = str(attributes.get("class_table", "dynamic-world" if names == CLASSES else "custom"))
    return Legend(names, tuple(int(code) for code in codes), tuple(map(str, colours)), table)


def attributes_of(legend: Legend) -> dict[str, Any]:
    """The root attributes of a legend."""
    return {"classes": list(legend.classes), "class_codes": list(legend.codes), "class_table": legend.table,
            "ignore": legend.ignore, "palette": list(legend.colours)}


def dynamic_world_units(s2_bands: Sequence[str], s1_bands: Sequence[str]) -> dict[str, str]:
    """Units of the bands of a store of this project's own export, and of one that says none."""
    return {**dict.fromkeys(s2_bands, REFLECTANCE),
            **{band: RADAR_UNITS.get(band, DECIBEL) for band in s1_bands}}


def units_of(attributes: Mapping[str, Any], s2_bands: Sequence[str], s1_bands: Sequence[str]) -> dict[str, str]:
    """Unit of every band, by name."""
    said = attributes.get("band_units")
    return {**dynamic_world_units(s2_bands, s1_bands), **(dict(said) if isinstance(said, Mapping) else {})}


def refuse_display(units: Mapping[str, str], bands: Sequence[str], what: str, where: str) -> None:
    """Refuse an option that takes physical values, of bands that are pictures.

    Raises
    ------
    InputError
        With the first such band.
    """
    shown = [band for band in bands if units.get(band) == DISPLAY]
    if shown:
        raise InputError(f"{what}: needs reflectance or dB, but band {shown[0]} of {where} is a grey value for "
                         "display, without physical meaning; leave the option out")


def known_table(name: str) -> bool:
    """Whether a table of classes ships under this name."""
    return name in TABLES


def legend_in(facts: Mapping[str, Any], where: str) -> Legend:
    """The classes that ``map.json`` or ``change.json`` says; without a word on them Dynamic World's.

    Raises
    ------
    InputError
        Where they are none.
    """
    kept = facts.get("legend", {})
    if not isinstance(kept, Mapping):
        raise InputError(f"{where}: its legend must be a mapping with classes, found {type(kept).__name__}")
    return legend_of(kept, where)


def map_legend(folder: str | Path) -> Legend:
    """The classes of a map's folder.

    Raises
    ------
    InputError
        Where ``map.json`` cannot be read, or holds no classes.
    """
    path = Path(folder) / "map.json"
    return legend_in(facts_of(path), f"map {folder}")


def facts_of(path: Path) -> dict[str, Any]:
    """``map.json`` or ``change.json`` of a map's folder.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"map {path.parent}: {path.name} cannot be read ({error})") from None
    if not isinstance(known, dict):
        raise InputError(f"map {path.parent}: {path.name} must hold a mapping, found {type(known).__name__}")
    return known
