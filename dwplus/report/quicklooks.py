"""Quicklooks: what a tile looks like to a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from dwplus.errors import InputError
from dwplus.pages import colours
from dwplus.pages.colours import of_classes as label_colours
from dwplus.pages.skeleton import plain_text
from dwplus.pages.stretch import radar as false_colour
from dwplus.pages.stretch import true_colour
from dwplus.store import layout
from dwplus.store.legend import legend_of, units_of
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.units import decibels
from dwplus.taxonomy import BIOMES, IGNORE

__all__ = ["false_colour", "label_colours", "most_varied", "pictures", "quicklooks", "true_colour"]

#: Columns that a quicklook tells of, or is chosen by.
SHOWN = ("tile_id", "status", "valid_fraction", "biome", "ecoregion", "lon", "lat", "split", "gap_hours", "s2_time",
         "s2_cloud", "s1_time", "orbit_pass")


def most_varied(table: pd.DataFrame) -> pd.DataFrame:
    """Of each biome the exported tile with the most even class mix and the fewest holes; columns of the tile table."""
    table = table[table["status"] == "exported"]
    counts = table[[name for name in table if name.startswith("count_")]].to_numpy("float64")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mix = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1) * table["valid_fraction"]
    order = table.assign(mix=mix).sort_values(["biome", "mix", "tile_id"], ascending=[True, False, True])
    return order.groupby("biome").head(1)


def pictures(root: zarr.Group, reader: TileReader, group: str, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tile's Sentinel-2, Sentinel-1 and label as uint8 (y, x, 3)."""
    s2, s1, label = reader.read(group, index)
    optical, radar = ([str(b) for b in np.asarray(root[f"{group}/{kind}_band"])] for kind in ("s2", "s1"))
    attributes = root.attrs.asdict()
    units = units_of(attributes, optical, radar)
    return (true_colour(s2, optical, unit=units[optical[0]]), false_colour(decibels(s1), unit=units[radar[0]]),
            legend_of(attributes).pictured(label))


class _Sheet:
    """Three pictures side by side under their titles, classes with their colours below; drawn on again and again.

    Everything has its place: a layout that measures texts first, and axes made anew, take longer than the drawing.
    """

    def __init__(self) -> None:
        # The Agg canvas is used directly: pyplot would keep every figure and need a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(12, 5.4))
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = [self.figure.add_axes((0, 0, 1, 1), label=str(i)) for i in range(3)]
        for axis in self.axes:
            axis.set_axis_off()

    def draw(self, path: Path, heading: str, shown: dict[str, np.ndarray], classes: dict[str, str]) -> None:
        """As PNG: pictures by title, colours by class."""
        from matplotlib.patches import Patch

        figure = self.figure
        for artist in (*figure.texts, *figure.legends, *(image for axis in self.axes for image in axis.images)):
            artist.remove()
        height = 540
        bottom = 29 + 20 * -(-len(classes) // 10)
        for i, (axis, title) in enumerate(zip(self.axes, shown, strict=True)):
            axis.set_position(((4 + 400 * i) / 1200, bottom / height, 392 / 1200, (441 - bottom) / height))
            axis.imshow(shown[title], interpolation="nearest")
            figure.text((200 + 400 * i) / 1200, 448 / height, title, fontsize=10, ha="center", va="bottom")
        figure.text(0.5, 0.985, heading, fontsize=11, ha="center", va="top")
        figure.legend(handles=[Patch(facecolor=colour, edgecolor="0.4", label=name)
                               for name, colour in classes.items()],
                      loc="lower center", ncols=10, fontsize=8, frameon=False)
        self.canvas.print_png(path)


@plain_text()
def quicklooks(store: str | Path, folder: str | Path) -> list[Path]:
    """One PNG per biome: Sentinel-2, Sentinel-1 and label of the exported tile with the most even class mix.

    Returns
    -------
    Paths of the files written.
    """
    root = layout.open_root(store)
    reader = TileReader(store, exported=True)
    table, legend = most_varied(tile_table(store, SHOWN)), legend_of(root.attrs.asdict(), f"store {store}")
    folder, sheet = Path(folder), _Sheet()
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _, row in table.iterrows():
            label = reader.array(row["group"], "label", int(row["index"]))
            present = [c for c in range(len(legend)) if (label == c).any()]
            titles = (
                f"Sentinel-2 true colour\n{row['s2_time']:%Y-%m-%d %H:%M} UTC, cloud {row['s2_cloud']:.0f} %",
                f"Sentinel-1 VV, VH, VV-VH\n{row['s1_time']:%Y-%m-%d %H:%M} UTC, {str(row['orbit_pass']).lower()}",
                f"Dynamic World label\n{(label != IGNORE).mean():.0%} labelled")
            heading = (f"{BIOMES[int(row['biome'])]} - {row['ecoregion']}\n{row['tile_id']} ({row['lon']:.3f}, "
                       f"{row['lat']:.3f}), {row['split']}, gap S1 - S2 {row['gap_hours']:+.1f} h")
            classes = {colours.words(legend.classes[c]): colours.valid(legend.colours[c]) for c in present}
            path = folder / f"{row['group']}.png"
            sheet.draw(path, heading, dict(zip(titles, pictures(root, reader, row["group"], int(row["index"])),
                                          strict=True)), classes | {"no label": colours.NO_LABEL})
            written.append(path)
    except OSError as error:
        raise InputError(f"quicklooks {folder}: cannot be written ({error.strerror or error})") from None
    return written
