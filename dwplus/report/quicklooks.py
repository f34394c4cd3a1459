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


@plain_text()
def quicklooks(store: str | Path, folder: str | Path) -> list[Path]:
    """One PNG per biome: Sentinel-2, Sentinel-1 and label of the exported tile with the most even class mix.

    Returns
    -------
    Paths of the files written.
    """
    # The Agg canvas is used directly: pyplot would keep every figure and need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Patch

    root = layout.open_root(store)
    reader = TileReader(store, exported=True)
    table, legend = most_varied(tile_table(store)), legend_of(root.attrs.asdict(), f"store {store}")
    folder = Path(folder)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _, row in table.iterrows():
            label = reader.array(row["group"], "label", int(row["index"]))
            present = [c for c in range(len(legend)) if (label == c).any()]
            figure = Figure(figsize=(12, 5.4), layout=ConstrainedLayoutEngine(rect=(0, 0, 1, 0.88)))
            for axis, image, title in zip(
                    figure.subplots(1, 3),
                    pictures(root, reader, row["group"], int(row["index"])),
                    (f"Sentinel-2 true colour\n{row['s2_time']:%Y-%m-%d %H:%M} UTC, cloud {row['s2_cloud']:.0f} %",
                     f"Sentinel-1 VV, VH, VV-VH\n{row['s1_time']:%Y-%m-%d %H:%M} UTC, {str(row['orbit_pass']).lower()}",
                     f"Dynamic World label\n{(label != IGNORE).mean():.0%} labelled"), strict=True):
                axis.imshow(image, interpolation="nearest")
                axis.set_title(title, fontsize=10)
                axis.set_axis_off()
            figure.suptitle(f"{BIOMES[int(row['biome'])]} - {row['ecoregion']}\n{row['tile_id']} "
                            f"({row['lon']:.3f}, {row['lat']:.3f}), {row['split']}, gap S1 - S2 "
                            f"{row['gap_hours']:+.1f} h", fontsize=11, y=0.985)
            figure.legend(handles=[Patch(facecolor=colours.valid(legend.colours[c]), edgecolor="0.4",
                                         label=colours.words(legend.classes[c]))
                                   for c in present] + [Patch(facecolor=colours.NO_LABEL, edgecolor="0.4",
                                                              label="no label")],
                          loc="outside lower center", ncols=10, fontsize=8, frameon=False)
            path = folder / f"{row['group']}.png"
            FigureCanvasAgg(figure).print_png(path)
            written.append(path)
    except OSError as error:
        raise InputError(f"quicklooks {folder}: cannot be written ({error.strerror or error})") from None
    return written
