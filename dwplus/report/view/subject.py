"""What is looked at: a table of tiles, and where there are pixels, a way to a tile's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.pages import colours, words
from dwplus.store import layout
from dwplus.store.legend import legend_of, units_of
from dwplus.store.places import Folder
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.units import decibels
from dwplus.store.web import source_of
from dwplus.taxonomy import IGNORE

#: A tile's class as a network has it, uint8 (y, x), from its pixels s2 (DN) and s1 (as stored).
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
#: Columns of the table that is shown, and what they are where a subject has none of them.
COLUMNS = {"tile_id": "", "window": "", "biome": 0, "ecoregion": "", "split": "", "status": "", "reason": "",
           "gap_hours": np.nan, "s2_cloud": np.nan, "valid_fraction": np.nan, "s2_time": pd.NaT, "orbit_pass": ""}


@dataclass
class Tile:
    """Pixels of a tile.

    Attributes
    ----------
    s2 : as stored (s2_band, y, x). s1 : float32 (s1_band, y, x), NaN = no data. label : uint8 (y, x), 255 = none.
    predicted : likewise, or None. cloud : uint8 (y, x), 1 = cloud, or None.
    """

    s2: np.ndarray
    s1: np.ndarray
    label: np.ndarray
    predicted: np.ndarray | None = None
    cloud: np.ndarray | None = None


@dataclass
class Subject:
    """What is looked at.

    Attributes
    ----------
    title : of the page. banner : a sentence above it, such as that pixels are synthetic; may be empty.
    table : a row a tile, with :data:`COLUMNS`, ``lon``, ``lat``, and ``share_<class>``, 0..1, where labels are known.
    classes, palette : names and colours of the labels. s2_bands, s1_bands : names. s1_unit, s2_unit : of the values.
    pixels : of a row of the table, by its number; None where there are none to see. predicts : whether a network's
    classes are among them.
    """

    title: str
    banner: str
    table: pd.DataFrame
    classes: tuple[str, ...] = ()
    palette: tuple[str, ...] = ()
    s2_bands: tuple[str, ...] = ()
    s1_bands: tuple[str, ...] = ()
    s2_unit: str = "reflectance"
    s1_unit: str = "dB"
    pixels: Callable[[int], Tile] | None = field(default=None, repr=False)
    predicts: bool = False


def of_store(path: str, predict: Predict | None = None) -> Subject:
    """A store, near or far.

    Raises
    ------
    InputError
        Where there is none.
    """
    root = layout.open_root(path)
    attributes = root.attrs.asdict()
    table = tile_table(path).reset_index(drop=True)
    known = legend_of(attributes, f"store {path}")
    counts = [name for name in table if str(name).startswith("count_")]
    total = table[counts].sum(axis=1).to_numpy("float64")
    shares = {str(name).replace("count_", "share_", 1): np.where(total > 0, table[name] / np.maximum(total, 1), np.nan)
              for name in counts}
    first = layout.biome_groups(root)[0]
    bands = {sensor: tuple(map(str, np.asarray(root[f"{first}/{sensor}_band"]))) for sensor in ("s2", "s1")}
    reader = TileReader(path, exported=True)
    clouded = {name for name in layout.biome_groups(root) if "cloud" in layout.group_of(root, name)}
    groups, rows = table["group"].tolist(), table["index"].to_numpy()
    status, names = table["status"].astype(str).tolist(), table["tile_id"].tolist()

    def pixels(number: int) -> Tile:
        if status[number] != "exported":
            raise InputError(f"tile {names[number]}: is {status[number]} and has no pixels")
        s2, s1, label = reader.read(groups[number], int(rows[number]))
        cloud = reader.array(groups[number], "cloud", int(rows[number])) if groups[number] in clouded else None
        said = None if predict is None else np.asarray(predict(s2, s1), "uint8")
        return Tile(s2, decibels(s1).astype("float32"), label, said, cloud)

    units = units_of(attributes, bands["s2"], bands["s1"])
    banner = words.synthetic(str(attributes.get("earth", "")), str(attributes.get("earth_version", "")))
    return Subject(str(path), banner, _shown(table.assign(**shares)), known.classes, known.colours, bands["s2"],
                   bands["s1"], units[bands["s2"][0]], units[bands["s1"][0]], pixels,
                   predict is not None)


def of_plan(path: str) -> Subject:
    """A plan: its tiles, scenes and reasons; it has no pixels.

    Raises
    ------
    InputError
        Where it is none.
    """
    from dwplus.planning.plan import read_plan

    plan = read_plan(Path(path))
    centres = shapely.get_coordinates(shapely.centroid(plan.geometry.to_numpy()))
    for number in np.flatnonzero(shapely.get_num_geometries(plan.geometry.to_numpy()) > 1):  # cut at the 180th meridian
        row = plan.iloc[number]
        size = int(row["size"])
        centres[number] = PixelGrid(int(row["epsg"]), float(row["x0"]), float(row["y0"]), float(row["scale"]), size,
                                    size).center
    table = pd.DataFrame(plan.drop(columns="geometry")).rename(columns={"state": "status"})
    return Subject(str(path), "", _shown(table.assign(lon=centres[:, 0], lat=centres[:, 1])))


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are looked at, plain types, missing ones filled."""
    out = pd.DataFrame({name: table.get(name, empty) for name, empty in COLUMNS.items()}, table.index)
    for name in ("tile_id", "window", "ecoregion", "split", "status", "reason", "orbit_pass"):
        out[name] = out[name].astype(str).replace({"nan": "", "None": "", "<NA>": ""})
    for name in ("gap_hours", "s2_cloud", "valid_fraction"):
        out[name] = pd.to_numeric(out[name], errors="coerce").astype("float64").round(3)
    out["biome"] = pd.to_numeric(out["biome"], errors="coerce").fillna(0).astype(int)
    out["s2_time"] = pd.to_datetime(out["s2_time"], utc=True).dt.tz_localize(None)
    for name in ("lon", "lat"):
        out[name] = pd.to_numeric(table[name], errors="coerce").astype("float64") if name in table else np.nan
    shares = [name for name in table if str(name).startswith("share_")]
    out[shares] = table[shares]
    if shares:
        values = table[shares].to_numpy("float64")
        known = np.isfinite(values).any(axis=1)
        best = np.where(known, np.nan_to_num(values).argmax(axis=1), 0)
        names = np.array([str(name).removeprefix("share_") for name in shares], object)
        out["class"] = np.where(known, names[best], "")
    else:
        out["class"] = ""
    out["colour"] = [colours.biome(number) for number in out["biome"]]
    return out.reset_index(drop=True)


def near(path: str) -> bool:
    """Whether a store is a folder of this machine."""
    return isinstance(source_of(path), Folder)


def values_at(tile: Tile, subject: Subject, y: int, x: int) -> list[tuple[str, str]]:
    """What the arrays hold at a pixel, by name, in words."""
    def name(code: int) -> str:
        return "no label" if code == IGNORE or code >= len(subject.classes) else colours.words(subject.classes[code])

    missing = tile.s2.dtype.kind == "u"
    found = [(band, "no data" if (missing and value == layout.S2_NODATA) or value != value else f"{value:g}")
             for band, value in zip(subject.s2_bands, tile.s2[:, y, x].tolist(), strict=True)]
    found += [(band, "no data" if value != value else f"{value:.2f} {subject.s1_unit}")
              for band, value in zip(subject.s1_bands, tile.s1[:, y, x].tolist(), strict=True)]
    found.append(("label", name(int(tile.label[y, x]))))
    if tile.predicted is not None:
        found.append(("prediction", name(int(tile.predicted[y, x]))))
    if tile.cloud is not None:
        found.append(("cloud", {0: "clear", 1: "cloud"}.get(int(tile.cloud[y, x]), "not known")))
    return found
