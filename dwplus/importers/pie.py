"""PIE-RGB-SAR: RGB and GaoFen-3, 256 px, 8 bits, without places (ASANet, arXiv 2412.02044)."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import InputError
from dwplus.importers import folders, splits
from dwplus.importers.base import DataSet, Files, Found, Options, Pair
from dwplus.importers.rasters import RasterReader
from dwplus.taxonomy.tables import TABLES

LAYOUT = "rgb, sar, label with files of one name, train.txt, val.txt"


def find(folder: Path, options: Options) -> Found:
    """Pairs of a folder."""
    found = folders.partners({what: folders.need(folder, (what,), words, LAYOUT) for what, words in (
        ("rgb", "optical images"), ("sar", "radar images"), ("label", "labels"))})
    # Radar of one band is read as three equal channels by the published loader, and may be stored so.
    pairs = [Pair(name, Files((files["rgb"],), (3,)), Files((files["sar"],), (1, 3), (1,)),
                  Files((files["label"],), (1,)), name) for name, files in found.items()]
    notes = ["the set says no place, so whether its lists hold out ground cannot be known"]
    choice = options.splits or "official"
    if choice == "official":
        lists = {word: folder / f"{word}.txt" for word in ("train", "val")}
        for path in lists.values():
            if not path.is_file():
                raise InputError(f"folder {folder}: has no {path.name}; the layout is {LAYOUT}")
        split = splits.by_lists(pairs, {word: splits.read_list(path) for word, path in lists.items()},
                                f"lists in {folder}")
        words = "published lists; there is no test set, val is what is reported"
    elif choice == "random":
        split, words = splits.at_random(pairs), "images dealt out by the hash of their names"
    elif choice == "spatial":
        raise splits.no_place("spatial", "PIE-RGB-SAR")
    else:
        split, words = splits.by_file(pairs, Path(choice)), f"file {Path(choice).name}"
    return Found(split, words, RasterReader(), notes)


SET = DataSet(
    "pie-rgb-sar", "PIE-RGB-SAR", TABLES["pie-rgb-sar"], ("red", "green", "blue"), ("sar",), "display", "display", find,
    # The size of a pixel is not established; it only says how large pictures are drawn.
    pixel=1.0, source="RGB images and GaoFen-3 radar, both stretched to 8 bits; radar perhaps file by file",
    references="https://arxiv.org/abs/2412.02044",
    more={"pixel_size": "not established; 1 m stands for it", "background": "class 0 is scored by ASANet"})
