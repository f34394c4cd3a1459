"""``map.html``: the map in a browser, with the scenes it was made from under a swipe; fetches nothing.

Classes and confidence travel as one picture, class in red and percent in green, and are painted by the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import rasterio.warp
from rasterio.enums import Resampling

from dwplus.grid import PixelGrid, transformer
from dwplus.grid.longitude import near
from dwplus.maps import look
from dwplus.maps.blocks import Block, overlap
from dwplus.maps.raster import extent
from dwplus.pages import colours, skeleton
from dwplus.pages.colours import rgb
from dwplus.store.legend import DYNAMIC_WORLD, Legend

#: Longest side of the page's pictures, px; blocks are outlined up to so many.
PIXELS, OUTLINES = 1800, 2_000
#: A picture of a block has one pixel for so many of its own along a side.
THIN = 3
#: Reflectance (DN) that is white in the pictures of scenes: one stretch for all, so that blocks do not differ.
WHITE = 2800.0


def picture(s2: np.ndarray, bands: Sequence[str]) -> np.ndarray | None:
    """A small picture of a block's Sentinel-2 pixels.

    Parameters
    ----------
    s2 : uint16 (band, y, x), DN, 65535 = no data. bands : their names.

    Returns
    -------
    uint8 (3, y / THIN, x / THIN), 0 = no data; None without the visible bands.
    """
    if not {"B4", "B3", "B2"} <= set(bands):
        return None
    found = np.stack([s2[list(bands).index(b)][THIN // 2::THIN, THIN // 2::THIN] for b in ("B4", "B3", "B2")])
    # Square root: dark forests and water keep their detail.
    shade: np.ndarray = np.clip(np.sqrt(found.astype("float32") / WHITE) * 254, 1, 255).astype("uint8")
    shade[:, (found == 65535).any(axis=0)] = 0
    return shade


def write(folder: Path, blocks: Sequence[Block], pictures: Callable[[Block], np.ndarray | None], title: str,
          words: Sequence[str], table: pd.DataFrame, legend: Legend = DYNAMIC_WORLD) -> None:
    """Write ``map.html`` into the folder of a map whose mosaics are there.

    Parameters
    ----------
    pictures : a block's, of :func:`picture`; None where there is none. words : on the map, the first of them on what
    its areas are. table : areas by class. legend : classes of the map.
    """
    label, bounds, _ = look.thumbnail(folder / "class.vrt", PIXELS)
    sure, _, _ = look.thumbnail(folder / "confidence.vrt", PIXELS)
    with rasterio.open(folder / "class.vrt") as raster:
        crs = raster.crs
    height, width = label.shape
    step = (bounds[2] - bounds[0]) / width, (bounds[3] - bounds[1]) / height
    transform = rasterio.Affine(step[0], 0, bounds[0], 0, -step[1], bounds[3])
    scene = _scenes(blocks, pictures, crs, transform, (height, width))
    data = {
        "width": width, "height": height, "values": _url(np.dstack([label, sure, np.zeros_like(label)])),
        "scene": "" if scene is None else _url(scene),
        "classes": [{"name": n, "rgb": list(rgb(c))} for n, c in zip(legend.classes, legend.colours, strict=True)],
        "ramp": colours.of_confidence(np.arange(101, dtype="uint8")).tolist(),
        "hint": "drag to move, wheel to zoom, point at a place for its class and dates",
        "blocks": [_outline(b, crs, transform) for b in blocks] if len(blocks) <= OUTLINES else []}
    skeleton.put(folder / "map.html", _page(title, words, table, data, legend))


def _url(image: np.ndarray) -> str:
    return skeleton.data_url(skeleton.png(image))


def _scenes(blocks: Sequence[Block], pictures: Callable[[Block], np.ndarray | None], crs: rasterio.CRS,
            transform: rasterio.Affine, shape: tuple[int, int]) -> np.ndarray | None:
    """All blocks' pictures in the frame of the page, uint8 (y, x, 4); None where no block has one."""
    out = np.zeros((4, *shape), "uint8")
    zones: dict[int, list[Block]] = {}
    for block in blocks:
        zones.setdefault(block.grid.epsg, []).append(block)
    for epsg, mine in sorted(zones.items()):
        found = [(block, seen) for block in mine if (seen := pictures(block)) is not None]
        if not found:
            continue
        # A pixel of the zone's own picture is a whole number of the blocks' picture pixels, about one of the page's.
        whole = extent([block for block, _ in found])
        coarse = max(1, round(max(whole.height, whole.width) / THIN / PIXELS))
        scale = whole.scale * THIN * coarse
        frame = PixelGrid(epsg, whole.x0, whole.y0, scale, -(-whole.height // (THIN * coarse)),
                          -(-whole.width // (THIN * coarse)))
        image = np.zeros((3, *frame.shape), "uint8")
        for block, seen in found:
            thin = seen[:, ::coarse, ::coarse]
            grid = PixelGrid(epsg, block.grid.x0, block.grid.y0, scale, *thin.shape[1:])
            if (shared := overlap(frame, grid)) is not None:
                image[(slice(None), *shared[0])] = thin[(slice(None), *shared[1])]
        part = np.zeros((3, *shape), "uint8")
        rasterio.warp.reproject(image, part, src_transform=frame.transform, src_crs=frame.crs, src_nodata=0,
                                dst_transform=transform, dst_crs=crs, dst_nodata=0, resampling=Resampling.nearest)
        seen_here = part.any(axis=0)
        out[:3, seen_here] = part[:, seen_here]
        out[3, seen_here] = 255
    return np.moveaxis(out, 0, -1) if out[3].any() else None


def _outline(block: Block, crs: rasterio.CRS, transform: rasterio.Affine) -> dict[str, Any]:
    """Corners of a block in the page's pixels, and words on its dates."""
    west, south, east, north = block.grid.bounds
    x, y = np.array([west, east, east, west]), np.array([north, north, south, south])
    if crs.to_epsg() != block.grid.epsg:
        lon, lat = transformer(block.grid.epsg, 4326).transform(x, y)
        # In the turn of the mosaic, whose longitudes may run past 180.
        x, y = near(np.asarray(lon), transform.c + 1e-9 + 179.0), np.asarray(lat)
    corners = [[round((a - transform.c) / transform.a, 1), round((b - transform.f) / transform.e, 1)]
               for a, b in zip(x, y, strict=True)]
    if block.scenes:
        first = block.scenes[0]
        days = [f"{pd.Timestamp(ms, unit='ms'):%Y-%m-%d}" for ms in (first.s2_ms, first.s1_ms)]
        words = f"Sentinel-2 {days[0]}, Sentinel-1 {days[1]}"
        words += f", {len(block.scenes)} dates" if len(block.scenes) > 1 else ""
    else:
        words = block.reason
    return {"corners": corners, "words": words}


def _page(title: str, words: Sequence[str], table: pd.DataFrame, data: dict[str, Any],
          legend: Legend) -> str:
    folder = resources.files("dwplus.maps") / "pages"
    style, script = ((folder / f"map.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    palette = dict(zip(legend.classes, legend.colours, strict=True))
    estimates = "adjusted_km2" in table
    rows = [(palette[row["class"]], [colours.words(row["class"]), f"{row['mapped_km2']:,.2f}",
                                     f"{row['mapped_share']:.1%}",
                                     *([f"{row['adjusted_km2']:,.2f}"] if estimates else [])])
            for row in table.to_dict("records")]
    head = ["class", "counted, km²", "share", *(["estimate, km²"] if estimates else [])]
    return skeleton.with_script("viewer.html", script, style, data, title=title, words=list(words), head=head,
                                rows=rows)
