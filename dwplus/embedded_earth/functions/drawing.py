"""Features as pictures: outlines, fills and points of some pixels' width, in the pixels of the grid asked for."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.features
import shapely

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import as_geometry, function
from dwplus.embedded_earth.functions.visual import colour
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels, invert
from dwplus.embedded_earth.pixel_types import integer_type
from dwplus.embedded_earth.values import Band, Collection, Image

_BYTE = integer_type("uint8")


@dataclass(frozen=True)
class Style:
    """How a feature is drawn: colours as red, green, blue and opacity (0..255), widths in pixels."""

    line: tuple[int, int, int, int]
    fill: tuple[int, int, int, int]
    point: float
    width: float


def rgba(text: Any) -> tuple[int, int, int, int]:
    """A colour by name or by six digits, with two more for its opacity.

    Raises
    ------
    ComputeError
        Where it is none.
    """
    plain = str(text).strip().lstrip("#")
    opacity = 255
    if re.fullmatch(r"[0-9a-fA-F]{8}", plain):
        plain, opacity = plain[:6], int(plain[6:], 16)
    red, green, blue = (int(part) for part in colour(plain))
    return red, green, blue, opacity


def _parts(shape: shapely.Geometry) -> list[tuple[shapely.Geometry, int]]:
    """Simple shapes with their dimension."""
    found = []
    for part in shapely.get_parts(shape):
        if shapely.get_num_geometries(part) > 1 or part.geom_type.startswith(("Multi", "GeometryCollection")):
            found += _parts(part)
        elif not part.is_empty:
            found.append((part, int(shapely.get_dimensions(part))))
    return found


def _layers(context: Context, drawn: list[tuple[Any, Style]], grid: Grid) -> np.ndarray:
    """Red, green, blue (0..255) and opacity (0..1), (4, h, w): later features over earlier ones."""
    out = np.zeros((4, *grid.shape))
    a, b, c, d, e, f = invert(grid.transform)

    def lay(shape: shapely.Geometry, colour_: tuple[int, int, int, int]) -> None:
        if colour_[3] == 0 or shape.is_empty:
            return
        inside = rasterio.features.rasterize([shape], grid.shape, dtype="uint8") == 1
        share = colour_[3] / 255
        below = out[3][inside] * (1 - share)
        for i in range(3):
            out[i][inside] = (colour_[i] * share + out[i][inside] * below) / (share + below)
        out[3][inside] = share + below

    for element, style in drawn:
        context.check_time()
        geometry = as_geometry(context, element)
        if geometry is None:
            continue
        pixels = shapely.transform(geometry.drawn(grid.crs), lambda x, y: (a * x + b * y + c, d * x + e * y + f),
                                   interleaved=False)
        for part, dimension in _parts(pixels):
            if dimension == 0:
                disc = part.buffer(max(style.point, 0.5))
                lay(disc, style.fill)
                lay(disc.boundary.buffer(style.width / 2), style.line)
                continue
            if dimension == 2:
                lay(part, style.fill)
            lay((part.boundary if dimension == 2 else part).buffer(style.width / 2), style.line)
    return out


def _picture(context: Context, drawn: list[tuple[Any, Style]]) -> Image:
    last: list[tuple[Grid, np.ndarray]] = []

    def layers(grid: Grid) -> np.ndarray:
        if not last or last[0][0] != grid:
            last[:] = [(grid, _layers(context, drawn, grid))]
        return last[0][1]

    def read(grid: Grid, channel: int) -> Pixels:
        found = layers(grid)
        return np.rint(found[channel]).astype("u1"), masks.tidied(found[3].astype("f4"))

    return Image(tuple(Band(name, _BYTE, WGS84, None, functools.partial(read, channel=channel))
                       for channel, name in enumerate(("vis-red", "vis-green", "vis-blue"))))


@function("Collection.draw")
def draw(context: Context, collection: Collection, color: str, radius: int, width: int) -> Image:
    """Lines and points opaque, areas filled at half opacity."""
    line = rgba(color)
    style = Style(line, (*line[:3], line[3] // 2), float(radius), float(width))
    return _picture(context, [(element, style) for element in collection])


@function("Collection.style")
def style(context: Context, collection: Collection, color: str, point: int, shape: str, width: float, fill: str | None,
          key: str | None, neighborhood: int, line_type: str) -> Image:
    """Each feature in the style given, or in its own: a dictionary in the property ``styleProperty``."""
    drawn = []
    for element in collection:
        own = element.properties.get(key) if key else None
        given = own if isinstance(own, dict) else {}
        form, kind = given.get("pointShape", shape), given.get("lineType", line_type)
        if form != "circle" or kind != "solid":
            raise ComputeError(f"Collection.style: the {'point shape' if form != 'circle' else 'line type'} "
                               f"'{form if form != 'circle' else kind}' is not supported by the embedded Earth.")
        line = rgba(given.get("color", color))
        filled = given.get("fillColor", fill)
        drawn.append((element, Style(line, (*line[:3], line[3] * 2 // 3) if filled is None else rgba(filled),
                                     float(given.get("pointSize", point)) / 2, float(given.get("width", width)))))
    return _picture(context, drawn)
