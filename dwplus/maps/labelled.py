"""Labelled samples as people bring them: read, checked row by row, joined, and turned into points to estimate from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.maps import interpreters
from dwplus.maps.areas import row_words
from dwplus.maps.estimators import Points
from dwplus.maps.interpreters import CANNOT_TELL
from dwplus.maps.legend import OTHER, Shown
from dwplus.pages import sheets
from dwplus.taxonomy import IGNORE


@dataclass(frozen=True)
class Labelled:
    """A sample with labels.

    Attributes
    ----------
    points : what :func:`dwplus.maps.estimators.assess` takes. table : the rows behind them. strata : names. design :
    in words. notes : what was left out or differs, for people.
    """

    points: Points
    table: pd.DataFrame
    strata: list[str]
    design: str
    notes: list[str]


def read_table(path: str | Path) -> pd.DataFrame:
    """A labelled sample, all columns text, no cell blank that is needed.

    Raises
    ------
    InputError
        Where it cannot be read, lacks a column, or has a blank or twofold row; the sentence says the row.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".gpkg", ".geojson", ".json", ".shp"):
            rows = pd.DataFrame(gpd.read_file(path).drop(columns="geometry"))
            rows = rows.astype(object).where(rows.notna(), "").astype(str)
        else:
            rows = sheets.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except Exception as error:
        raise InputError(f"sample {path}: cannot be read ({' '.join(str(error).split())})") from None
    rows = rows.rename(columns={"true": "reference"} if "reference" not in rows else {})
    rows = rows.apply(lambda column: column.fillna("").str.strip())
    if missing := [name for name in ("map", "reference") if name not in rows]:
        raise InputError(f"sample {path}: lacks the column {missing[0]}; a sample of dwplus sample has it")
    if not len(rows):
        raise InputError(f"sample {path}: holds no point")
    if "block" in rows and (rows["block"] == "").all():
        rows = rows.drop(columns="block")
    needed = [c for c in ("id", "map", "stratum", "stratum_pixels", "block", "reference") if c in rows]
    for column in needed:
        if (blank := rows[column] == "").any():
            more = (f"; label it, or write {CANNOT_TELL!r}, which leaves the point out"
                    if column == "reference" else "; fill it in or leave the row out")
            raise InputError(f"sample {path}: {column} is blank in {row_words(blank)}{more}")
    if "id" in rows and (twice := rows["id"].duplicated()).any():
        raise InputError(f"sample {path}: id {rows['id'][twice].iloc[0]!r} is there twice, in {row_words(twice)}")
    return rows


def join(paths: Sequence[str | Path], rule: str) -> tuple[pd.DataFrame, list[str]]:
    """One table of several interpreters' files of one sample, and how far they agree.

    Raises
    ------
    InputError
        Where the files are not of one sample.
    """
    tables = [read_table(path) for path in paths]
    if len(tables) == 1:
        return tables[0], []
    for path, table in zip(paths, tables, strict=True):
        if "id" not in table:
            raise InputError(f"sample {path}: lacks the column id, by which interpreters' files are joined")
    first = tables[0].set_index("id")
    labels = {}
    for path, table in zip(paths, tables, strict=True):
        table = table.set_index("id")
        if other := sorted(set(table.index) - set(first.index)):
            raise InputError(f"sample {path}: point {other[0]} is not in {paths[0]}; give files of one sample")
        who = table["interpreter"].iloc[0] if "interpreter" in table and table["interpreter"].iloc[0] else ""
        labels[who if who and who not in labels else Path(path).stem] = table["reference"].reindex(first.index).dropna()
    first["reference"] = interpreters.consensus(labels, rule).reindex(first.index).fillna(CANNOT_TELL)
    return first.reset_index(), interpreters.agreement(labels)


def classes_of(rows: pd.DataFrame, column: str, shown: Shown, where: str) -> np.ndarray:
    """Class numbers of a column of names, or of a map's class numbers.

    Raises
    ------
    InputError
        For a name the map does not have, with its row.
    """
    names, single = shown.names, shown.legend.classes
    known = {name: i for i, name in enumerate(names)} | {name.replace("_", " "): i for i, name in enumerate(names)}
    if not shown.change:
        known = {str(i): i for i in range(len(names))} | known
    else:  # kinds of change that are rare here are one class
        rest = known.get(OTHER)
        every = [*single, *(f"{a} to {b}" for a in single for b in single if a != b)]
        known = ({} if rest is None else dict.fromkeys(every, rest)) | known
    found = rows[column].map(known)
    if found.isna().any():
        raise InputError(f"{where}: {column} {rows[column][found.isna()].iloc[0]!r} is no class, in "
                         f"{row_words(found.isna())}; classes are {', '.join(names)}")
    return np.asarray(found, int)


def labelled(rows: pd.DataFrame, shown: Shown, mapped: np.ndarray, where: str) -> Labelled:
    """Points out of a checked table, with the classes that the map has now.

    Parameters
    ----------
    mapped : (class,) pixels of the map. where : the file, for sentences.

    Raises
    ------
    InputError
        For classes or sizes that cannot be.
    """
    notes = []
    unknown = rows["reference"].str.lower() == CANNOT_TELL
    if unknown.any():
        notes.append(f"{int(unknown.sum())} of {len(rows)} points are left out, nobody could tell what is there: the "
                     "others of their stratum stand for them")
    rows = rows[~unknown].reset_index(drop=True)
    if not len(rows):
        raise InputError(f"{where}: no point has a label")
    true = classes_of(rows, "reference", shown, where)
    said = _mapped_now(rows, shown, where, notes)
    keep = said != IGNORE
    rows, true, said = rows[keep].reset_index(drop=True), true[keep], said[keep]
    if not len(rows):
        raise InputError(f"{where}: no point lies where the map has a class; take the map that the sample is of")
    strata, pixels, design = _strata(rows, shown, mapped, said, where)
    stratum = np.array([strata.index(s) for s in (rows["stratum"] if "stratum" in rows else
                                                  np.array(shown.names, object)[said])])
    cluster = None
    if "block" in rows:
        cluster = pd.factorize(rows["block"])[0]
        stratum, strata, pixels = np.zeros(len(rows), int), ["all"], np.array([float(pixels.sum())])
        design = f"two-stage sample of {cluster.max() + 1} blocks"
    return Labelled(Points(stratum, pixels, said, true, cluster), rows, strata, design, notes)


def _mapped_now(rows: pd.DataFrame, shown: Shown, where: str, notes: list[str]) -> np.ndarray:
    """Classes at the points in the map's rasters; without coordinates, what the table says."""
    if not {"epsg", "x", "y"} <= set(rows):
        return classes_of(rows, "map", shown, where)
    points = {c: pd.to_numeric(rows[c], errors="coerce").to_numpy(float) for c in ("epsg", "x", "y")}
    if (wrong := ~np.isfinite(np.column_stack(list(points.values()))).all(axis=1)).any():
        raise InputError(f"{where}: epsg, x and y must be numbers, in {row_words(pd.Series(wrong))}")
    said = shown.at(points["epsg"], points["x"], points["y"])
    if (gone := int((said == IGNORE).sum())):
        notes.append(f"{gone} points lie where this map has no data; they are left out")
    before = rows["map"].to_numpy(str)
    moved = int(sum(shown.names[s] != b for s, b in zip(said, before, strict=True) if s != IGNORE))
    if moved:
        notes.append(f"the map has changed at {moved} of {len(rows)} points since the sample was drawn: strata are "
                     "those of the draw, classes and their sizes those of this map (post-stratified)")
    return said


def _strata(rows: pd.DataFrame, shown: Shown, mapped: np.ndarray, said: np.ndarray, where: str,
            ) -> tuple[list[str], np.ndarray, str]:
    """Names and sizes of the strata, and the design in words."""
    if "stratum" not in rows:
        if "block" in rows:
            return ["all"], np.array([float(mapped.sum())]), ""
        return list(shown.names), np.asarray(mapped, float), "points taken to be drawn at random within each map class"
    names = list(dict.fromkeys(rows["stratum"]))
    if "stratum_pixels" in rows:
        sizes = pd.to_numeric(rows["stratum_pixels"], errors="coerce")
        if (wrong := ~(sizes > 0)).any():
            raise InputError(f"{where}: stratum_pixels must be a number above 0, in {row_words(wrong)}")
        per = sizes.groupby(rows["stratum"]).agg(["min", "max"])
        if (differ := per["min"] != per["max"]).any():
            raise InputError(f"{where}: stratum {per.index[differ][0]!r} has different stratum_pixels in its rows")
        pixels = per["min"].reindex(names).to_numpy(float)
    elif set(names) <= set(shown.names):
        pixels = np.array([float(mapped[shown.names.index(name)]) for name in names])
    else:
        raise InputError(f"{where}: lacks the column stratum_pixels, the size of each stratum")
    if "ground_pixels" in rows:
        rest = float(pd.to_numeric(rows["ground_pixels"], errors="coerce").max()) - pixels.sum()
        if rest > 0.5:  # strata of which no point is labelled
            names, pixels = [*names, "without a point"], np.append(pixels, rest)
    simple = len(names) == 1
    return names, pixels, "simple random sample" if simple else f"stratified sample, {len(names)} strata"
