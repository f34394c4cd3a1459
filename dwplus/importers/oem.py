"""OpenEarthMap-SAR, the set of IEEE DFC2025 track 1 (arXiv 2501.10891): RGB and SAR, 8 bits, mostly 1024 px."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import InputError
from dwplus.importers import folders, splits
from dwplus.importers.base import DataSet, Files, Found, Options, Pair
from dwplus.importers.rasters import RasterReader
from dwplus.taxonomy.tables import TABLES

LAYOUT = "train/rgb_images, train/sar_images, train/labels with files of one name; val and test may lie beside"
PARTS = ("rgb_images", "sar_images", "labels")


def find(folder: Path, options: Options) -> Found:
    """Pairs of a folder: of every official part whose optics and labels are there."""
    pairs: list[Pair] = []
    notes = ["training labels are in part made by networks from optical images, as the set's maintainer says"]
    if not (folder / "train").is_dir():
        raise InputError(f"folder {folder}: has no folder train; the layout is {LAYOUT}")
    for part in ("train", "val", "test"):
        here = folder / part
        lacking = [name for name in PARTS if not (here / name).is_dir()]
        if not here.is_dir():
            continue
        if lacking and part != "train":
            notes.append(f"{part} has no {' and '.join(lacking)}, which are not public, and is left out")
            continue
        found = folders.partners({name: folders.need(here, (name,), "images", LAYOUT) for name in PARTS})
        for name, files in found.items():
            pairs.append(Pair(name, Files((files["rgb_images"],), (3,)), Files((files["sar_images"],), (1, 3), (1,)),
                              Files((files["labels"],), (1,)), name, part, part))
    parts = {pair.split for pair in pairs}
    choice = options.splits or ("official" if len(parts) > 1 else "random")
    if choice == "official":
        split, words = pairs, "published folders"
        if len(parts) == 1:
            notes.append("only train has optics and labels; hold out files of it by --splits random, or by a CSV file "
                         "of "
                         "regions, to validate and test")
    elif choice == "random":
        split, words = splits.at_random(pairs), "images dealt out by the hash of their names; regions are mixed"
        notes.append("images of one region lie in several splits: scores will be too high for other regions")
    elif choice == "spatial":
        raise splits.no_place("spatial", "OpenEarthMap-SAR")
    else:
        split, words = splits.by_file(pairs, Path(choice)), f"file {Path(choice).name}"
    return Found(split, words, RasterReader(), notes)


SET = DataSet(
    "openearthmap-sar", "OpenEarthMap-SAR", TABLES["openearthmap"], ("red", "green", "blue"), ("sar",), "display",
    "display", find, tile=512, pixel=0.5,
    source="RGB at 0.15 to 0.5 m and display-scaled radar amplitude; sensor and calibration not established",
    references="https://arxiv.org/abs/2501.10891, https://zenodo.org/records/14622048",
    more={"pixel_size": "0.15 to 0.5 m; 0.5 m stands for it"})
