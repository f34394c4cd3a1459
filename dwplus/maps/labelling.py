"""A page on which people label the points of a sample: one HTML file with all its pictures, which fetches nothing.

Pictures are of the very scenes that the map was made from. Which class the map has at a point is not shown: whoever
knows it agrees with it more often.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from dwplus.earth.session import EarthConfig, connect_config
from dwplus.earth.stack import fetch_inputs
from dwplus.errors import DwplusError, InputError
from dwplus.grid import PixelGrid
from dwplus.maps.interpreters import CANNOT_TELL
from dwplus.maps.legend import Shown
from dwplus.pages import sheets, skeleton
from dwplus.pages.stretch import radar as false_colour
from dwplus.pages.stretch import true_colour, vegetation
from dwplus.spec import DatasetSpec
from dwplus.store import layout
from dwplus.store.tiles import TileReader
from dwplus.store.units import decibels

#: Side of what is fetched around a point, of the near pictures cut out of it, and of the picture of the surroundings.
AROUND, NEAR, THIN = 256, 64, 2
#: Points pictured at once.
THREADS = 8


@dataclass(frozen=True)
class Chip:
    """What lies around a point: S2 uint16 (band, y, x), S1 dB (band, y, x), names of the S2 bands, words on when."""

    s2: np.ndarray
    s1: np.ndarray
    bands: list[str]
    words: tuple[str, str]


def pictures(shown: Shown, frame: gpd.GeoDataFrame, progress: Callable[[int, int], None],
             ) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """The pictures of every point, by its id, and a clause on how many there are."""
    folders = [shown.folder] if not shown.change else [Path(shown.facts[key]) for key in ("before", "after")]
    names = [""] if not shown.change else ["before", "after"]
    try:
        sources = [_Source(folder) for folder in folders]
    except InputError as error:
        return {}, f"without pictures: {error}"
    found: dict[str, list[dict[str, Any]]] = {}
    failed = ""

    def work(row: Any) -> list[dict[str, Any]]:
        return [picture for name, source in zip(names, sources, strict=True)
                for picture in _pictures(source.chip(row.epsg, row.x, row.y), name)]

    rows = list(frame.itertuples())
    with ThreadPoolExecutor(THREADS) as pool:
        for number, (row, future) in enumerate([(row, pool.submit(work, row)) for row in rows], start=1):
            try:
                found[row.id] = future.result()
            except DwplusError as error:
                failed = str(error)
            progress(number, len(rows))
    words = f"{len(found)} of {len(rows)} points with pictures"
    return found, words + (f"; {failed}" if failed else "")


class _Source:
    """Pixels around points, of the scenes a map was made from."""

    def __init__(self, folder: Path) -> None:
        try:
            facts = json.loads((folder / "map.json").read_text())["settings"]
            blocks = gpd.read_parquet(folder / "blocks.parquet")
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"map {folder}: cannot be read again ({error})") from None
        if "scenes" not in blocks:
            raise InputError(f"map {folder}: was made by an earlier version, which kept no list of its scenes")
        self.blocks = blocks[blocks["state"] == "mapped"].reset_index(drop=True)
        self.store = facts["store"]
        if self.store:
            self.reader = TileReader(self.store)
            root = layout.open_root(self.store)
            first = layout.biome_groups(root)[0]
            self.bands = [str(b) for b in np.asarray(root[f"{first}/s2_band"])]
        else:
            self.spec = DatasetSpec.model_validate(facts["spec"])
            self.bands = list(self.spec.sentinel2.bands)
            self.config = EarthConfig(facts["project"] or None, facts["world"] or None, workload="dwplus-sample")
            connect_config(self.config)

    def chip(self, epsg: int, x: float, y: float) -> Chip:
        """What lies around a point in metres of its zone."""
        b = self.blocks
        inside = ((b["epsg"] == epsg) & (b["x0"] <= x) & (x < b["x0"] + b["size"] * b["scale"])
                  & (b["y0"] - b["size"] * b["scale"] < y) & (y <= b["y0"]))
        if not inside.any():
            raise InputError("a point lies in no mapped block")
        row = b[inside].iloc[0]
        scene, scale = json.loads(row["scenes"])[0], float(row["scale"])
        half = AROUND // 2
        grid = PixelGrid(int(epsg), x - scale / 2 - half * scale, y + scale / 2 + half * scale, scale, AROUND, AROUND)
        if self.store:
            s2, s1 = self._stored(scene, row, grid)
        else:
            s2, s1, _ = fetch_inputs(connect_config(self.config), self.spec, grid, scene["s2_id"],
                                     scene["s1_id"].split(","), scene["product"] or None,
                                     speckle_ids=scene.get("speckle_ids", ""))
        words = [f"{pd.Timestamp(scene[key], unit='ms'):%Y-%m-%d %H:%M} UTC" for key in ("s2_ms", "s1_ms")]
        return Chip(s2, decibels(s1).astype("float32"), self.bands, (words[0], words[1]))

    def _stored(self, scene: dict[str, Any], row: Any, grid: PixelGrid) -> tuple[np.ndarray, np.ndarray]:
        """Cut out of the block's tile; beyond it there is no data."""
        from dwplus.maps.blocks import overlap

        tile = self.reader.read(scene["group"], int(scene["row"]))
        own = PixelGrid(int(row["epsg"]), float(row["x0"]), float(row["y0"]), float(row["scale"]), int(row["size"]),
                        int(row["size"]))
        shared = overlap(grid, own)
        assert shared is not None
        nothing = np.nan if tile.s1.dtype.kind == "f" else layout.S1_NODATA
        s2 = np.full((len(tile.s2), *grid.shape), layout.S2_NODATA, tile.s2.dtype)
        s1 = np.full((len(tile.s1), *grid.shape), nothing, tile.s1.dtype)
        for target, source in ((s2, tile.s2), (s1, tile.s1)):
            target[(slice(None), *shared[0])] = source[(slice(None), *shared[1])]
        return s2, s1


def _pictures(chip: Chip, name: str) -> list[dict[str, Any]]:
    """The near pictures and the surroundings, as data URLs."""
    edge = (AROUND - NEAR) // 2
    near = np.s_[edge:edge + NEAR, edge:edge + NEAR]
    colour = true_colour(chip.s2, chip.bands)
    index = vegetation(chip.s2, chip.bands)
    metres = f"{NEAR * 10} m"
    first = f"{name}: " if name else ""
    out = [("Sentinel-2", colour[near], f"{first}Sentinel-2, {chip.words[0]}, {metres} wide", NEAR),
           ("Sentinel-1", false_colour(chip.s1)[near], f"{first}Sentinel-1 (VV, VH, VV-VH), {chip.words[1]}", NEAR)]
    if index is not None:
        out.append(("NDVI", index[near], f"{first}NDVI of the same Sentinel-2 scene: brown 0, green 0.8", NEAR))
    out.append(("context", colour[::THIN, ::THIN], f"{first}around: {AROUND * 10 / 1000:.2f} km wide", AROUND))
    return [{"src": _png(image), "words": words, "mark": 100 / wide} for _, image, words, wide in out]


def _png(image: np.ndarray) -> str:
    """uint8 (y, x, 3) as a PNG of 128 colours in a data URL: a third of the bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).quantize(128).save(buffer, "PNG", optimize=True)
    return skeleton.data_url(buffer.getvalue())


def write_page(shown: Shown, frame: gpd.GeoDataFrame, found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    found : pictures by point, of :func:`pictures`; points without any are labelled by their coordinates.

    Raises
    ------
    InputError
        Where it cannot be written.
    """
    columns = [c for c in frame.columns if c != "geometry"]
    rows = frame[columns].astype(object).where(frame[columns].notna(), "").to_dict("records")
    data = {
        "key": f"{path.stem}-{hashlib.sha256(sheets.text_of(frame[columns]).encode()).hexdigest()[:12]}",
        "stem": path.stem, "columns": [c for c in columns if c != "reference"] + ["reference"], "cannot": CANNOT_TELL,
        "sides": ["before", "after"] if shown.change else [""],
        "classes": [{"name": n, "colour": c} for n, c in zip(shown.legend.classes, shown.legend.colours,
                                                               strict=True)],
        "points": [{"id": str(row["id"]), "lon": float(row["lon"]), "lat": float(row["lat"]), "row": row,
                    "pictures": found.get(str(row["id"]), [])} for row in rows]}
    text = page_text(f"Label {path.stem}", data, shown.change)
    try:
        skeleton.put(path, text)
    except OSError as error:
        raise InputError(f"page {path}: cannot be written ({error.strerror or error})") from None


def page_text(title: str, data: dict[str, Any], change: bool) -> str:
    """The page as text; its one script is named by its digest, so that no other runs."""
    folder = resources.files("dwplus.maps") / "pages"
    style, script = ((folder / f"label.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    count = len(data["classes"])
    own = f"1 to {min(count, 9)}" + (" and letters" if count > 9 else "")
    keys = (f"Keys: {own} before, with shift after" if change else f"Keys: {own} classes") + (
        ", 0 cannot tell, arrows back and on, Enter the next open point, S save")
    return skeleton.with_script("label.html", script, style, json.loads(json.dumps(data, default=_plain)), title=title,
                                keys=keys)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
