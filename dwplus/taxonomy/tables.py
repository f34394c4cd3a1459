"""Class tables: which classes a data set has, by which codes, and what its classes are in another table.

Tables are data, each with its source. What a class becomes in another table goes by way of what it shows: every class
shows one kind of ground (:data:`KINDS`), and every table has a class for a kind, or none; what has none is ignored.
Which class shows what is **ours**, said here in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dwplus.errors import InputError
from dwplus.taxonomy.labels import CLASSES, IGNORE, PALETTE, SIX

#: Kinds of ground by which classes of different tables are held against each other.
KINDS = ("water", "forest", "mangrove", "grassland", "wetland", "cropland", "shrubland", "built", "building", "road",
         "paved", "bare", "snow", "moss", "savanna", "mixed")


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set.

    Attributes
    ----------
    name : of the table. classes : names; the number of a class is its label. codes : of each class in the set's files.
    colours : ``#RRGGBB``, one per class. ignored : codes that are no class. source : where codes and names are said.
    kinds : what each class shows, of :data:`KINDS`. takes : kinds that become a class which shows another, by name.
    """

    name: str
    classes: tuple[str, ...]
    codes: tuple[int, ...]
    colours: tuple[str, ...]
    ignored: tuple[int, ...] = ()
    source: str = ""
    kinds: tuple[str, ...] = ()
    takes: Mapping[str, str] = field(default_factory=dict)

    def lookup(self) -> np.ndarray:
        """Codes 0..255 to labels, int16 (256,): the class's number, 255 = ignored, -1 = a code that is none."""
        table = np.full(256, -1, "int16")
        table[list(self.ignored)] = IGNORE
        for number, code in enumerate(self.codes):
            table[code] = number
        return table

    def of_kind(self, kind: str) -> str | None:
        """The class that stands for a kind of ground; None where the table has none."""
        if kind in self.kinds:
            return self.classes[self.kinds.index(kind)]
        return self.takes.get(kind)


_ALL_BUILT = {"building": "built", "road": "built", "paved": "built"}
#: Colours of tables whose files hold none: ours, by what the class shows; water, forest and so on as Dynamic World has
#: them, so that pages of two sets read alike.
_OURS = {"water": "#419BDF", "forest": "#397D49", "mangrove": "#2F6B5E", "grassland": "#88B053", "wetland": "#7A87C6",
         "cropland": "#E49635", "shrubland": "#DFC35A", "built": "#C4281B", "building": "#8E1B12", "road": "#4D4D4D",
         "paved": "#B0A8A8", "bare": "#A59B8F", "snow": "#B39FE1", "moss": "#D9E3A0", "savanna": "#C7C65A",
         "mixed": "#8C6BB1"}


def _table(name: str, rows: Sequence[tuple[int, str, str]], ignored: tuple[int, ...], source: str,
           takes: Mapping[str, str], colours: Sequence[str] | None = None) -> ClassTable:
    """A table from rows of code, class, kind."""
    codes, classes, kinds = zip(*rows, strict=True)
    return ClassTable(name, classes, codes, tuple(colours or (_OURS[kind] for kind in kinds)), ignored, source, kinds,
                      takes)


TABLES: dict[str, ClassTable] = {table.name: table for table in (
    _table("dynamic-world", list(zip(range(9), CLASSES, ("water", "forest", "grassland", "wetland", "cropland",
                                                         "shrubland", "built", "bare", "snow"), strict=True)),
           (IGNORE,), "Earth Engine catalogue, GOOGLE/DYNAMICWORLD/V1",
           {"mangrove": "flooded_vegetation", **_ALL_BUILT}, PALETTE),
    _table("esa-worldcover", [
        (10, "tree_cover", "forest"), (20, "shrubland", "shrubland"), (30, "grassland", "grassland"),
        (40, "cropland", "cropland"), (50, "built_up", "built"), (60, "bare_sparse_vegetation", "bare"),
        (70, "snow_and_ice", "snow"), (80, "permanent_water", "water"), (90, "herbaceous_wetland", "wetland"),
        (95, "mangroves", "mangrove"), (100, "moss_and_lichen", "moss")], (0, 255),
        "Earth Engine catalogue, ESA/WorldCover/v200; no data is 0 or 255 in the copies of MMEarth's loaders",
        {kind: "built_up" for kind in _ALL_BUILT},
        ("#006400", "#FFBB22", "#FFFF4C", "#F096FF", "#FA0000", "#B4B4B4", "#F0F0F0", "#0064C8", "#0096A0", "#00CF75",
         "#FAE6A0")),
    _table("cloudlulc", list(zip(range(6), SIX, ("water", "forest", "grassland", "bare", "built", "cropland"),
                                 strict=True)),
           (),
           "README of CloudLULC-Set for names and order; the codes in its files are not established: these are ours",
           {"mangrove": "forest", "wetland": "grassland", "shrubland": "grassland",
            **{kind: "built_up" for kind in _ALL_BUILT}}),
    _table("openearthmap", [
        (1, "bareland", "bare"), (2, "rangeland", "grassland"), (3, "developed_space", "paved"), (4, "road", "road"),
        (5, "tree", "forest"), (6, "water", "water"), (7, "agriculture_land", "cropland"),
        (8, "building", "building")], (0,),
        "loaders of cliffbb/DFC2025-OEM-SAR-Baseline (672f2e8) and its issue 4; colours are ours",
        {"shrubland": "rangeland", "mangrove": "tree"}),
    _table("dfc2020", [
        (1, "forest", "forest"), (2, "shrubland", "shrubland"), (4, "grassland", "grassland"),
        (5, "wetland", "wetland"), (6, "cropland", "cropland"), (7, "urban", "built"), (9, "barren", "bare"),
        (10, "water", "water")], (0, 3, 8),
        "lukasliebel/dfc2020_baseline (3640faf); codes 3 and 8 do not occur in its labels; colours are ours",
        {"mangrove": "wetland", **{kind: "urban" for kind in _ALL_BUILT}}),
    _table("igbp-simplified", [
        (1, "forest", "forest"), (2, "shrubland", "shrubland"), (3, "savanna", "savanna"),
        (4, "grassland", "grassland"), (5, "wetland", "wetland"), (6, "cropland", "cropland"), (7, "urban", "built"),
        (8, "snow_and_ice", "snow"), (9, "barren", "bare"), (10, "water", "water")], (0,),
        "lukasliebel/dfc2020_baseline (3640faf): ten classes made of the 17 of IGBP; colours are ours",
        {"mangrove": "wetland", **{kind: "urban" for kind in _ALL_BUILT}}),
    _table("whu-opt-sar", [
        (10, "farmland", "cropland"), (20, "city", "built"), (30, "village", "built"), (40, "water", "water"),
        (50, "forest", "forest"), (60, "road", "road"), (70, "others", "mixed")], (0,),
        "README of AmberHen/WHU-OPT-SAR-dataset; its colours are not established (three palettes go round), these are "
        "ours", {"mangrove": "forest"}, ("#E49635", "#C4281B", "#E07B6E", "#419BDF", "#397D49", "#4D4D4D", "#A59B8F")),
    _table("pie-rgb-sar", [
        (0, "background", "mixed"), (1, "city", "built"), (2, "road", "road"), (3, "water", "water"),
        (4, "forest", "forest"), (5, "farmland", "cropland")], (255,),
        "whu-pzhang/ASANet (58f64c3), where background is a scored class; colours are ours",
        {"mangrove": "forest", "building": "city"}),
)}
#: IGBP's codes 1..17 as the ten simplified: forest 1-5, shrubland 6-7, savanna 8-9, grassland 10, wetland 11, cropland
#: 12 and 14, urban 13, snow 15, barren 16, water 17.
IGBP_TO_SIMPLIFIED = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 2, 7: 2, 8: 3, 9: 3, 10: 4, 11: 5, 12: 6, 13: 7, 14: 6, 15: 8,
                      16: 9, 17: 10}


def table_of(name: str) -> ClassTable:
    """A table by name.

    Raises
    ------
    InputError
        With the names there are.
    """
    if name not in TABLES:
        raise InputError(f"class table {name!r}: must be one of {', '.join(TABLES)}, or a YAML file")
    return TABLES[name]


def translation(source: Sequence[str], source_table: str, target: ClassTable) -> dict[str, str | None]:
    """What each class becomes in another table, by name; None = ignored.

    Parameters
    ----------
    source : names of the classes. source_table : the table they are of.

    Raises
    ------
    InputError
        Where the table is not known, or has no such class.
    """
    if source_table == target.name:
        return {name: name if name in target.classes else None for name in source}
    table = TABLES.get(source_table)
    missing = [name for name in source if table is None or name not in table.classes]
    if table is None or missing:
        raise InputError(f"class {missing[0] if missing else source_table!r}: what it shows is not known, so that it "
                         f"has no place in {target.name}; give a YAML file that says for each new class which old ones "
                         "it takes")
    return {name: target.of_kind(table.kinds[table.classes.index(name)]) for name in source}


def table_from(values: Any, where: str) -> tuple[ClassTable, dict[str, str]]:
    """A table that a user wrote: ``{name: ..., classes: {new: [old, ...]}, colours: {new: '#RRGGBB'}}``.

    Returns
    -------
    The table, its codes 0 and on, and which old class becomes which new one; those not named are ignored.

    Raises
    ------
    InputError
        In one sentence.
    """
    classes = values.get("classes") if isinstance(values, dict) else None
    if not isinstance(classes, dict) or not classes:
        raise InputError(f"{where}: must hold classes, each new class with the list of old ones it takes, such as "
                         "classes: {built: [city, village]}")
    becomes: dict[str, str] = {}
    for new, old in classes.items():
        for name in [old] if isinstance(old, str) else old if isinstance(old, list) else [None]:
            if not isinstance(name, str):
                raise InputError(f"{where}: class {new} must have a list of names of old classes, found {old!r}")
            if name in becomes:
                raise InputError(f"{where}: old class {name} is taken by {becomes[name]} and {new}; name it once")
            becomes[name] = str(new)
    given = values.get("colours") or {}
    names = tuple(map(str, classes))
    colours = tuple(str(given.get(name, spare_colour(i))) for i, name in enumerate(names))
    name = str(values.get("name", "custom"))
    return ClassTable(name, names, tuple(range(len(names))), colours, (), where), becomes


#: Assets whose band and class table are known.
KNOWN_ASSETS = {"ESA/WorldCover/v100": ("Map", "esa-worldcover"), "ESA/WorldCover/v200": ("Map", "esa-worldcover")}
#: Name of a table that a spec's ``labels.codes`` gives.
OWN_TABLE = "labels.codes"


def table_of_codes(pairs: Sequence[tuple[int, str]]) -> ClassTable:
    """A table of codes and classes as a user lists them; codes of one class may be several."""
    names = tuple(dict.fromkeys(name for _, name in pairs))
    first = {name: code for code, name in reversed(pairs)}
    return ClassTable(OWN_TABLE, names, tuple(first[name] for name in names),
                      tuple(spare_colour(i) for i in range(len(names))), (), "the spec")


def spare_colour(number: int) -> str:
    """A colour for a class that has none, by the number of the class."""
    spare = tuple(_OURS.values())
    return spare[number % len(spare)]
