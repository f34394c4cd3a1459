"""WHU-OPT-SAR: 100 sheets of Hubei, GaoFen-1 and GaoFen-3, 8-bit grey values (doi 10.1016/j.jag.2021.102638).

File names are numbers of sheets of the Chinese 1:50,000 map, which place each image on a grid of degrees: that the
sizes
in pixels fit these sheets is **ours** (derived), the author releases no coordinates.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from dwplus.errors import InputError
from dwplus.importers import folders, splits
from dwplus.importers.base import DataSet, Files, Found, Options, Pair
from dwplus.importers.rasters import RasterReader
from dwplus.taxonomy.tables import TABLES

LAYOUT = "image (or optical), sar, lbl with files of one name, such as NH49E004021.tif"
#: A sheet: zone of 6 degrees (31 begins at 0 E), band of 4 degrees (A begins at the equator), row and column.
_SHEET = re.compile(r"([A-Z])([A-Z])(\d{2})E(\d{3})(\d{3})")
#: Size of a sheet, degrees; rows count from the north.
SHEET_WIDTH, SHEET_HEIGHT = 0.25, 1 / 6
#: Sheets along a side of the blocks that are held out together: 1 degree by 40 minutes.
BLOCK = 4
#: Lists of the published split: one file with two blocks, or a file each.
DIVISION = "The division of the dataset.txt"


def sheet_centre(name: str) -> tuple[float, float] | None:
    """Longitude and latitude of a sheet's centre, degrees; None where a name is no sheet's."""
    match = _SHEET.fullmatch(name)
    if not match or match[1] not in "NS":
        return None
    hemisphere, band, zone = match[1], ord(match[2]) - ord("A"), int(match[3])
    row, column = int(match[4]), int(match[5])
    west = (zone - 31) * 6 + (column - 1) * SHEET_WIDTH
    top = (band + 1) * 4 if hemisphere == "N" else -band * 4
    return west + SHEET_WIDTH / 2, top - (row - 1) * SHEET_HEIGHT - SHEET_HEIGHT / 2


def find(folder: Path, options: Options) -> Found:
    """Pairs of a folder."""
    optical = folders.need(folder, ("image", "optical", "opt"), "optical images", LAYOUT)
    found = folders.partners({"optical": optical, "sar": folders.need(folder, ("sar",), "radar images", LAYOUT),
                              "lbl": folders.need(folder, ("lbl",), "labels", LAYOUT)})
    pairs = []
    for name, files in found.items():
        lon, lat = sheet_centre(name) or (math.nan, math.nan)
        pairs.append(Pair(name, Files((files["optical"],), (4,)), Files((files["sar"],), (1,)),
                          Files((files["lbl"],), (1,)), name, lon=lon, lat=lat))
    notes = [] if len(pairs) == 100 else [f"{len(pairs)} of the published 100 scenes are there; a user found a copy "
                                          f"with "
                                          "50 of them"]
    lists = _lists(folder)
    choice = options.splits or ("official" if lists else "spatial")
    if choice == "official":
        if not lists:
            raise InputError(f"--splits official: {folder} holds neither {DIVISION!r} nor train_list.txt and "
                             "test_list.txt; take them from the set's repository, or take spatial")
        split = splits.by_lists(pairs, lists, f"lists in {folder}")
        words = "published lists of scenes, without validation; training and test sheets touch"
        notes.append("the published split is no spatial hold-out; --splits spatial holds out blocks of sheets")
    elif choice == "spatial":
        split, words = _by_sheets(pairs), "blocks of sheets, derived from the sheet numbers in the names (ours)"
    elif choice == "random":
        split, words = splits.at_random(pairs), "scenes dealt out by the hash of their names; neighbours touch"
        notes.append("scenes of different splits touch: scores will be too high for other ground")
    else:
        split, words = splits.by_file(pairs, Path(choice)), f"file {Path(choice).name}"
    return Found(split, words, RasterReader(), notes)


def _by_sheets(pairs: list[Pair]) -> list[Pair]:
    for pair in pairs:
        if math.isnan(pair.lon):
            raise InputError(f"--splits spatial: {pair.name} is no sheet number, such as NH49E004021; take official, "
                             "random, or a CSV file")
    for size in (BLOCK, 1):  # few sheets, as in a part of the set, are blocks of one
        def key(pair: Pair, size: int = size) -> str:
            return (f"{math.floor(pair.lon / (SHEET_WIDTH * size))}:"
                    f"{math.floor(pair.lat / (SHEET_HEIGHT * size))}")

        if len({key(pair) for pair in pairs}) >= 3:
            break
    return splits.dealt(pairs, key)


def _lists(folder: Path) -> dict[str, list[str]]:
    """The published lists, by split; empty where there are none."""
    for inner in (folder, folder / "splits", folder / "split"):
        if (inner / DIVISION).is_file():
            return _division(inner / DIVISION)
        names = {"train": inner / "train_list.txt", "test": inner / "test_list.txt"}
        if all(path.is_file() for path in names.values()):
            return {word: splits.read_list(path) for word, path in names.items()}
    return {}


def _division(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    block: list[str] | None = None
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        word = line.strip()
        if word.rstrip(":\uff1a").lower() in ("train", "test") and word[-1:] in (":", "\uff1a"):
            block = found.setdefault(word[:-1].lower(), [])
        elif word and block is not None:
            block += [Path(name).stem for name in word.replace(",", " ").split()]
        elif word:
            raise InputError(f"list {path}: begins with {word!r}, must begin with train: or test:")
    if set(found) != {"train", "test"}:
        raise InputError(f"list {path}: must have blocks train: and test:")
    return found


SET = DataSet(
    "whu-opt-sar", "WHU-OPT-SAR", TABLES["whu-opt-sar"], ("blue", "green", "red", "nir"), ("sar",), "display",
    "display", find, tile=512, pixel=5.0,
    source="GaoFen-1 (5 m, display values; bands blue, green, red, NIR) and GaoFen-3 (one band, polarisation and "
           "filter "
           "not established)",
    references="https://doi.org/10.1016/j.jag.2021.102638",
    more={"places": "centres are derived from sheet numbers, by dwplus; pixels have no coordinates"})
