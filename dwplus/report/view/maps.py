"""A map of ``dwplus map``: classes and confidence side by side, with the values under the pointer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from bokeh.document import Document
from bokeh.events import MouseMove, RangesUpdate
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Div, Range1d
from bokeh.plotting import figure
from rasterio.enums import Resampling
from rasterio.windows import Window

from dwplus.errors import InputError
from dwplus.pages import colours
from dwplus.pages.words import synthetic_map
from dwplus.report.view.page import piece, rgba
from dwplus.store.legend import map_legend
from dwplus.taxonomy import IGNORE

#: Longest side of what is read for the page, px; the pointer reads the raster itself.
LONGEST = 700
SIDE = 560


class MapPage:
    """Rasters of a map's folder, thinned to what a screen shows.

    Raises
    ------
    InputError
        Where they cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.legend = map_legend(folder)
        try:
            with rasterio.open(folder / "class.vrt") as raster:
                self.size, self.crs = (raster.height, raster.width), str(raster.crs)
        except rasterio.RasterioIOError as error:
            raise InputError(f"map {folder}: cannot be read ({error}); run the same dwplus map again") from None

    def read(self, name: str, left: float, top: float, width: float, height: float) -> np.ndarray:
        """A part of a layer, in pixels of the map, thinned to :data:`LONGEST`; nearest: a mean of classes is none."""
        factor = max(1.0, max(width, height) / LONGEST)
        shape = max(1, round(height / factor)), max(1, round(width / factor))
        with rasterio.open(self.folder / f"{name}.vrt") as raster:
            found: np.ndarray = raster.read(1, window=Window(left, top, width, height), out_shape=shape, boundless=True,
                                            fill_value=255, resampling=Resampling.nearest)
        return found

    def into(self, document: Document) -> None:
        """Put the page into a document; what is zoomed into is read again."""
        height, width = self.size
        x, y = Range1d(start=0, end=width), Range1d(start=0, end=height)
        names: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "class": self.legend.pictured, "confidence": colours.of_confidence}
        names = {name: paint for name, paint in names.items() if (self.folder / f"{name}.vrt").exists()}
        values = Div(text=str(piece("hint", words="move the pointer over the map")), width=2 * SIDE)
        sources = {name: ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []}) for name in names}

        def draw(*_: Any) -> None:
            (west, east), (low, high) = (sorted(map(float, ends)) for ends in ((x.start, x.end), (y.start, y.end)))
            left, right = math.floor(max(0.0, west)), math.ceil(min(float(width), east))
            bottom, top = math.floor(max(0.0, low)), math.ceil(min(float(height), high))
            if right - left < 1 or top - bottom < 1:
                return
            for name, paint in names.items():
                part = self.read(name, left, height - top, right - left, top - bottom)
                sources[name].data = {"image": [rgba(paint(part))], "x": [left], "y": [bottom], "dw": [right - left],
                                      "dh": [top - bottom]}

        def point(event: Any) -> None:
            column_, row_ = math.floor(event.x), height - 1 - math.floor(event.y)
            if not (0 <= column_ < width and 0 <= row_ < height):
                return
            said = []
            for name in names:
                with rasterio.open(self.folder / f"{name}.vrt") as raster:
                    value = int(raster.read(1, window=Window(column_, row_, 1, 1))[0, 0])
                    lon, lat = raster.xy(row_, column_)
                word = "no data" if value == IGNORE else f"{value} %" if name == "confidence" else colours.words(
                    self.legend.classes[value]) if value < len(self.legend) else str(value)
                said.append((name, word))
            values.text = str(piece("values", where=f"{lon:.5f}, {lat:.5f} ({self.crs})", values=said))

        plots = []
        for name in names:
            plot = figure(title=name, width=SIDE, height=max(200, round(SIDE * min(2.0, height / width))), x_range=x,
                          y_range=y, tools="pan,wheel_zoom,box_zoom,reset", active_scroll="wheel_zoom")
            plot.image_rgba("image", source=sources[name], x="x", y="y", dw="dw", dh="dh")
            plot.axis.visible = False
            plot.on_event(MouseMove, point)
            plots.append(plot)
        if plots:
            plots[0].on_event(RangesUpdate, draw)
        draw()
        key = piece("key", entries=[(colour, colours.words(name))
                                      for name, colour in zip(self.legend.classes, self.legend.colours, strict=True)])
        head = piece("heading", title=str(self.folder), banner=synthetic_map(self.folder),
                     words="what you zoom into is read again")
        document.title = f"{self.folder.name}: dwplus view"
        document.add_root(column(Div(text=str(head), width=2 * SIDE), Div(text=str(key), width=2 * SIDE),
                                 row(*plots), values))
