"""Maps on the fly: 256-pixel tiles in Web Mercator of an image that a client keeps by a name."""

from __future__ import annotations

import math
from typing import Any

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.values import Image

#: Half the side of the Web Mercator square, metres: pi times the sphere's radius; pixels of a tile; the deepest zoom.
HALF, SIDE, DEEPEST = math.pi * 6_378_137.0, 256, 24


def tile_grid(zoom: int, x: int, y: int) -> dict[str, Any]:
    """Grid of a tile as a pixel request has it: x eastwards from 180 degrees west, y southwards from 85 north.

    Raises
    ------
    ComputeError
        For a tile that there is not.
    """
    count = 2 ** max(0, min(zoom, DEEPEST))
    if not 0 <= zoom <= DEEPEST or not 0 <= y < count or not 0 <= x < count:
        raise ComputeError(f"Tile {zoom}/{x}/{y} is not in the map: zooms are 0 to {DEEPEST}, x and y 0 to 2^zoom - 1.")
    scale = 2 * HALF / count / SIDE
    return {"crsCode": "EPSG:3857", "dimensions": {"width": SIDE, "height": SIDE}, "affineTransform": {
        "scaleX": scale, "shearX": 0, "translateX": -HALF + x * SIDE * scale, "shearY": 0, "scaleY": -scale,
        "translateY": HALF - y * SIDE * scale}}


def is_visible(image: Image) -> bool:
    """Whether bands are bytes already, as those of ``visualize`` are."""
    return all(band.type.precision == "int" and band.type.minimum is not None and band.type.maximum is not None
               and 0 <= band.type.minimum <= band.type.maximum <= 255 for band in image.bands)


def visualization(options: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments of ``Image.visualize`` from a request's visualisation options.

    Source: https://developers.google.com/earth-engine/reference/rest/v1alpha/VisualizationOptions

    Raises
    ------
    ComputeError
        Where they are none.
    """
    options = options or {}
    ranges, palette = options.get("ranges") or [], options.get("paletteColors")
    gamma, opacity = options.get("gamma"), options.get("opacity")
    if not isinstance(ranges, list) or not all(isinstance(part, dict) for part in ranges):
        raise ComputeError("Invalid visualization options: 'ranges' must be a list of objects.")
    found: dict[str, Any] = {}
    if ranges:
        found |= {key: [part.get(key, default) for part in ranges] for key, default in (("min", 0), ("max", 255))}
    if palette:
        found["palette"] = palette
    if gamma is not None:
        found["gamma"] = gamma.get("value", 1) if isinstance(gamma, dict) else gamma
    if opacity is not None:
        found["opacity"] = opacity
    return found
