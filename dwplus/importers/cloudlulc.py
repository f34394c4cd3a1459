"""CloudLULC-Set: clouded Sentinel-2 L2A, Sentinel-1 beside it, six classes, 512 px (arXiv 2606.17713)."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from dwplus.errors import InputError
from dwplus.importers import splits
from dwplus.importers.base import DataSet, Files, Found, Options, Pair
from dwplus.importers.rasters import RasterReader
from dwplus.spec import SR_BANDS
from dwplus.store.layout import SPLITS
from dwplus.taxonomy import IGNORE, SIX
from dwplus.taxonomy.tables import TABLES

LAYOUT = "SAR_S1/VH, SAR_S1/VV, Opt_S2_cloudy, Opt_S2_clear, Label, split/train.csv, val.csv, test.csv"
COLUMNS = ("split_id", "sar_vh", "sar_vv", "opt_cloudy", "opt_clear", "label")
FOLDERS = {"sar_vh": "SAR_S1/VH", "sar_vv": "SAR_S1/VV", "opt_cloudy": "Opt_S2_cloudy", "label": "Label"}


def find(folder: Path, options: Options) -> Found:
    """Pairs of a folder: what its CSV files list."""
    tables = sorted((folder / "split").glob("*.csv"))
    if not tables:
        raise InputError(f"folder {folder}: has no split/*.csv; the layout is {LAYOUT}")
    for name in FOLDERS.values():
        if not (folder / name).is_dir():
            raise InputError(f"folder {folder}: has no folder {name}; the layout is {LAYOUT}")
    pairs: dict[str, Pair] = {}
    for table in tables:
        for row in _rows(table):
            files = {key: _file(folder, table, row[key], FOLDERS[key]) for key in FOLDERS}
            name = files["label"].stem
            if name in pairs:
                raise InputError(f"table {table}: lists {name} a second time")
            if row["split_id"] not in ("1", "2", "3"):
                raise InputError(f"table {table}: {name} has split_id {row['split_id']!r}, must be 1, 2 or 3 (train, "
                                 "val, test)")
            roi = re.search(r"ROIs_\d+", name)
            word = SPLITS[int(row["split_id"]) - 1]
            pairs[name] = Pair(name, Files((files["opt_cloudy"],), (12,)),
                               Files((files["sar_vv"], files["sar_vh"]), (1,)), Files((files["label"],), (1,)),
                               roi[0] if roi else name, word, word)
    notes = []
    found = list(pairs.values())
    if (choice := options.splits or "official") == "official":
        split, words = found, "published lists"
        shared = {word: {pair.scene for pair in found if pair.split == word} for word in SPLITS}
        if shared["train"] & (shared["val"] | shared["test"]):
            notes.append("regions (ROIs in the names) lie in several splits, and patches overlap: scores will be too "
                         "high")
    elif choice in ("spatial", "random"):
        split, words = splits.at_random(found), "regions (ROIs in the names) held out, dealt by the hash of their names"
    else:
        split, words = splits.by_file(found, Path(choice)), f"file {Path(choice).name}"
    return Found(split, words, RasterReader(), notes)


def _rows(table: Path) -> list[dict[str, str]]:
    """Rows of a list. The delimiter, and whether there is a header, are not established: both are told from it."""
    try:
        lines = [line.strip() for line in table.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"table {table}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not lines:
        return []
    delimiter = next((mark for mark in ("\t", ",", ";") if mark in lines[0]), None)
    cells = [[cell.strip() for cell in (next(csv.reader([line], delimiter=delimiter)) if delimiter else line.split())]
             for line in lines]
    for row in cells:
        if len(row) != len(cells[0]):
            raise InputError(f"table {table}: has a row of {len(row)} cells, {' '.join(row)}, the first has "
                             f"{len(cells[0])}")
    header = [cell.lower() for cell in cells[0]]
    if "label" in header:
        if missing := [name for name in COLUMNS if name not in header and name != "opt_clear"]:
            raise InputError(f"table {table}: lacks the column {missing[0]!r}; it has {', '.join(header)}")
        return [dict(zip(header, row, strict=False)) for row in cells[1:]]
    if len(cells[0]) != len(COLUMNS):
        raise InputError(f"table {table}: has {len(cells[0])} columns and no header; the columns are "
                         f"{', '.join(COLUMNS)}")
    return [dict(zip(COLUMNS, row, strict=False)) for row in cells]


def _file(folder: Path, table: Path, cell: str, inner: str) -> Path:
    for path in (folder / cell, folder / inner / Path(cell.replace("\\", "/")).name):
        if cell and path.is_file():
            return path
    raise InputError(f"table {table}: names {cell or 'no file'}, which is not in {folder / inner}")


def codes_by(met: Sequence[int]) -> dict[int, str]:
    """Codes of the six classes from those that occur in the labels; they are not established.

    Six codes in a row, all met, can be the six classes only; fewer could be shifted.

    Raises
    ------
    InputError
        Where more than one reading fits.
    """
    codes = [code for code in met if code != IGNORE]
    ignored = {IGNORE: "ignore"} if IGNORE in met else {}
    if codes == list(range(1, 7)):
        return {**ignored, **{code: name for code, name in enumerate(SIX, 1)}}
    if codes == list(range(7)):
        return {**ignored, 0: "ignore", **{code: name for code, name in enumerate(SIX, 1)}}
    if codes == list(range(6)):
        return {**ignored, **dict(enumerate(SIX))}
    example = ",".join(f"{code}={name}" for code, name in enumerate(SIX, 1))
    raise InputError(f"codes met in the labels are {' '.join(map(str, met))}, and which class each is, is not "
                     f"established; say it by --codes, such as {example}")


SET = DataSet(
    "cloudlulc-set", "CloudLULC-Set", TABLES["cloudlulc"], tuple(SR_BANDS), ("VV", "VH"), "reflectance", None, find,
    source="Sentinel-2 L2A under cloud and Sentinel-1 GRD; type, scale and unit are not established",
    references="https://arxiv.org/abs/2606.17713", codes_by=codes_by,
    more={"optical": "the clouded scene; the clear one is left out"})
