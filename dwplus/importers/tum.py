"""SEN12MS and DFC2020: Sentinel-1 in dB, Sentinel-2 with 13 bands, 256 px, in folders by season and scene."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dwplus.errors import InputError
from dwplus.importers import folders, splits
from dwplus.importers.base import DataSet, Files, Found, Options, Pair
from dwplus.importers.rasters import RasterReader
from dwplus.taxonomy.tables import IGBP_TO_SIMPLIFIED, TABLES

BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_SEASON = re.compile(r"ROIs\d{4}_\w+")
LAYOUT = {"sen12ms": "ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p30.tif with s1_1 and lc_1 beside s2_1",
          "dfc2020": "ROIs0000_test/s2_0/ROIs0000_test_s2_0_p0.tif with s1_0 and dfc_0 beside s2_0, or flat folders "
                     "s1, "
                     "s2, dfc"}


def _pairs(folder: Path, name: str, label: str) -> list[Pair]:
    """Pairs by the published rule: the partner's name has ``s1`` or the label's word in place of ``s2``."""
    seasons = sorted(path for path in folder.iterdir() if path.is_dir() and _SEASON.fullmatch(path.name))
    flat = all((folder / part).is_dir() for part in ("s1", "s2", label))
    opticals = [(folder / "s2", "")] if flat and not seasons else [
        (optical, season.name) for season in seasons for optical in sorted(season.iterdir())
        if optical.is_dir() and optical.name.startswith("s2_")]
    if not opticals:
        raise InputError(f"folder {folder}: holds no folder of optical images; the layout is {LAYOUT[name]}")
    pairs = []
    for optical, season in opticals:
        scene = optical.name.removeprefix("s2_") if season else ""
        partner = {word: optical.with_name(word + optical.name[2:]) for word in ("s1", label)}
        for word, other in partner.items():
            if not other.is_dir():
                more = "; lc holds MODIS labels of 500 m and must not be taken for dfc" if word == "dfc" and (
                    optical.with_name("lc" + optical.name[2:])).is_dir() else ""
                raise InputError(f"folder {optical}: has no {other.name} beside it{more}; the layout is {LAYOUT[name]}")
        for stem, path in folders.files_in(optical).items():
            files = {word: other / (re.sub(r"(^|_)s2(_|$)", rf"\g<1>{word}\g<2>", stem) + path.suffix)
                     for word, other in partner.items()}
            for other in files.values():
                if not other.is_file():
                    raise InputError(f"{path}: has no partner {other}; pairs must be complete")
            # MODIS labels have four bands, of which the first is IGBP's; DFC2020's have one.
            pairs.append(Pair(stem, Files((path,), (13,)), Files((files["s1"],), (2,)),
                              Files((files[label],), (1, 4), (1,)), f"{season}_{scene}" if season else _scene(stem)))
    return pairs


def _scene(stem: str) -> str:
    return re.sub(r"_p\d+$", "", stem)


def _chosen(pairs: list[Pair], choice: str, official: Callable[[], tuple[list[Pair], str]],
            notes: list[str]) -> tuple[list[Pair], str]:
    if choice == "official":
        return official()
    if choice == "spatial":
        # Patches of a scene overlap; scenes lie apart.
        if len({pair.scene for pair in pairs}) < 3:
            raise InputError("--splits spatial: the folder holds fewer than three scenes, so that none can be held "
                             "out; "
                             "take random, or a CSV file")
        return splits.dealt(pairs, lambda pair: pair.scene), "scenes held out, dealt by the hash of their names (ours)"
    if choice == "random":
        notes.append("patches of one scene overlap and lie in several splits: scores will be too high")
        return splits.dealt(pairs, lambda pair: pair.name), "patches dealt out by the hash of their names"
    return splits.by_file(pairs, Path(choice)), f"file {Path(choice).name}"


def find_sen12ms(folder: Path, options: Options) -> Found:
    """Pairs of SEN12MS."""
    pairs, notes = _pairs(folder, "sen12ms", "lc"), ["labels are MODIS's of about 500 m: coarse, not drawn"]
    lists = {word: path for word in ("train", "val", "test") for inner in (folder, folder / "splits")
             if (path := inner / f"{word}_list.txt").is_file()}

    def official() -> tuple[list[Pair], str]:
        if "train" not in lists or "test" not in lists:
            raise InputError(f"--splits official: {folder} holds no train_list.txt and test_list.txt (of the toolbox's "
                             "folder splits); put them there, or take spatial")
        named = {word: splits.read_list(path) for word, path in lists.items()}
        have = {pair.name for pair in pairs}
        known = {word: [name for name in names if name in have] for word, names in named.items()}
        if not any(known.values()):
            raise InputError(f"lists in {folder}: name none of the files that are there, such as {pairs[0].name}")
        left = sum(map(len, named.values())) - sum(map(len, known.values()))
        if left:
            notes.append(f"the lists name {left} patches that are not there")
        return splits.by_lists(pairs, known, f"lists in {folder}"), "published lists, which hold out scenes"

    choice = options.splits or ("official" if lists else "spatial" if len({p.scene for p in pairs}) >= 3 else "random")
    found, words = _chosen(pairs, choice, official, notes)
    return Found(found, words, RasterReader(IGBP_TO_SIMPLIFIED), notes)


def find_dfc2020(folder: Path, options: Options) -> Found:
    """Pairs of DFC2020."""
    if not any(_SEASON.fullmatch(path.name) for path in folder.iterdir()) and (folder / "dfc2020_s1s2").is_dir():
        folder = folder / "dfc2020_s1s2"
    pairs, notes = _pairs(folder, "dfc2020", "dfc"), []
    lists = {word: folder / f"dfc-{word}-new.csv" for word in ("train", "val", "test")}
    resplit = all(path.is_file() for path in lists.values())

    def official() -> tuple[list[Pair], str]:
        if resplit:
            named = {word: _first_column(path) for word, path in lists.items()}
            return splits.by_lists(pairs, named, f"lists in {folder}"), "lists of Copernicus-Bench"
        out = []
        for pair in pairs:
            season = pair.optical.paths[0].parent.parent.name.rsplit("_", 1)[-1]
            word = {"validation": "val", "test": "test"}.get(season)
            if word is None:
                raise InputError(f"--splits official: {pair.name} lies in neither ROIs0000_validation nor "
                                 "ROIs0000_test, and there are no lists dfc-train-new.csv and so on; take random, or a "
                                 "CSV file")
            out.append(replace(pair, split=word, published=season))
        notes.append("the published folders are for validation and test of networks that were trained on SEN12MS, and "
                     "none is for training; --splits spatial, random or a CSV file make a training split")
        return out, "published folders, validation and test"

    choice = options.splits or ("official" if resplit else "gfm-bench")
    if choice == "gfm-bench":
        resplit = False
        out, _ = official()
        notes.clear()
        notes.append("patches of training and validation come from the same scenes; only the test score counts")
        inside = {pair.name: pair.split for pair in splits.dealt(
            [pair for pair in out if pair.published == "test"], lambda pair: pair.name)}
        found = [replace(pair, split="test" if pair.published == "validation" else
                         "val" if inside[pair.name] == "val" else "train") for pair in out]
        words = "as GFM-Bench: the published validation patches test, the published test patches train and validate"
    else:
        found, words = _chosen(pairs, choice, official, notes)
    return Found(found, words, RasterReader(), notes)


def _first_column(path: Path) -> list[str]:
    """Names of a list of patches: the first word of each line, without suffix; a header is left out."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            cells = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"list {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    names = [re.sub(r"(^|_)(dfc|s1)(_|$)", r"\g<1>s2\g<3>", Path(cell).stem) for cell in cells]
    return [name for name in names if "ROIs" in name]


SEN12MS = DataSet(
    "sen12ms", "SEN12MS", TABLES["igbp-simplified"], BANDS, ("VV", "VH"), "reflectance", "dB", find_sen12ms,
    source="Sentinel-2 L1C digital numbers, Sentinel-1 sigma0 in dB, MODIS land cover (IGBP, band 1 of lc)",
    references="https://mediatum.ub.tum.de/1474000",
    more={"codes_in_files": "IGBP 1 to 17, merged to the ten of the DFC2020 baseline before codes are read",
          "igbp_to_simplified": {str(k): v for k, v in IGBP_TO_SIMPLIFIED.items()}})
DFC2020 = DataSet(
    "dfc2020", "DFC2020", TABLES["dfc2020"], BANDS, ("VV", "VH"), "reflectance", "dB", find_dfc2020,
    licence="CC BY 4.0 as re-listed by Copernicus-Bench; that of the DataPort page is not established",
    source="Sentinel-2 L1C digital numbers, Sentinel-1 sigma0 in dB, labels of 10 m",
    references="https://github.com/lukasliebel/dfc2020_baseline")
