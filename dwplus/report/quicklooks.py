"""Quicklooks: what a tile looks like to a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from dwplus.errors import InputError
from dwplus.store import layout
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.taxonomy import BIOMES, CLASSES, IGNORE, PALETTE


def true_colour(s2: np.ndarray, bands: list[str]) -> np.ndarray:
    """Red, green, blue of a tile, stretched to its own 2nd to 98th percentile (at least 0..0.15 reflectance).

    Parameters
    ----------
    s2 : uint16 (s2_band, y, x), DN, 65535 = no data.
    bands : names along the first axis; B4, B3, B2 are used, or the first band thrice where they are missing.

    Returns
    -------
    float (y, x, 3), 0..1; no data is mid grey.
    """
    chosen = ["B4", "B3", "B2"] if {"B4", "B3", "B2"} <= set(bands) else [bands[0]] * 3
    rgb = np.stack([s2[bands.index(b)] for b in chosen], axis=-1).astype("float32")
    missing = (rgb == layout.S2_NODATA).any(axis=-1)
    good = rgb[~missing]
    low, high = (np.percentile(good, 2), np.percentile(good, 98)) if good.size else (0, 1)
    out: np.ndarray = np.clip((rgb - low) / max(high - low, 1500 if low < 1500 else 1), 0, 1)
    out[missing] = 0.5
    return out


def false_colour(s1: np.ndarray) -> np.ndarray:
    """VV, VH and VV - VH of a tile as red, green, blue.

    Parameters
    ----------
    s1 : float (s1_band, y, x), dB, NaN = no data; VV and VH are the first two.

    Returns
    -------
    float (y, x, 3), 0..1, over -20..0, -26..-5 and 0..15 dB; no data is mid grey.
    """
    vv, vh = s1[0], s1[1]
    out: np.ndarray = np.stack([(vv + 20) / 20, (vh + 26) / 21, (vv - vh) / 15], axis=-1)
    missing = ~np.isfinite(out).all(axis=-1)
    out = np.clip(np.nan_to_num(out), 0, 1)
    out[missing] = 0.5
    return out


def label_colours(label: np.ndarray) -> np.ndarray:
    """Labels (y, x) in Dynamic World's palette, float (y, x, 3); ignored pixels are white."""
    table = np.ones((256, 3))
    table[:len(PALETTE)] = [[int(c[i:i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE]
    out: np.ndarray = table[label]
    return out


def most_varied(table: pd.DataFrame) -> pd.DataFrame:
    """Of each biome the exported tile with the most even class mix and the fewest holes; columns of the tile table."""
    table = table[table["status"] == "exported"]
    counts = table[[f"count_{c}" for c in CLASSES]].to_numpy("float64")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mix = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1) * table["valid_fraction"]
    order = table.assign(mix=mix).sort_values(["biome", "mix", "tile_id"], ascending=[True, False, True])
    return order.groupby("biome").head(1)


def pictures(root: zarr.Group, reader: TileReader, group: str, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tile's Sentinel-2, Sentinel-1 and label as float (y, x, 3), 0..1."""
    s2, s1, label = reader.read(group, index)
    bands = [str(b) for b in np.asarray(root[f"{group}/s2_band"])]
    decibels = s1.astype("float32")
    if s1.dtype.kind == "i":
        decibels = np.where(s1 == layout.S1_NODATA, np.nan, s1 * np.float32(layout.S1_SCALE))
    return true_colour(s2, bands), false_colour(decibels), label_colours(label)


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
    table = most_varied(tile_table(store))
    folder = Path(folder)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _, row in table.iterrows():
            label = reader.array(row["group"], "label", int(row["index"]))
            present = [c for c in range(len(CLASSES)) if (label == c).any()]
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
            figure.legend(handles=[Patch(facecolor=PALETTE[c], edgecolor="0.4", label=CLASSES[c].replace("_", " "))
                                   for c in present] + [Patch(facecolor="white", edgecolor="0.4", label="ignored")],
                          loc="outside lower center", ncols=10, fontsize=8, frameon=False)
            path = folder / f"{row['group']}.png"
            FigureCanvasAgg(figure).print_png(path)
            written.append(path)
    except OSError as error:
        raise InputError(f"quicklooks {folder}: cannot be written ({error.strerror or error})") from None
    return written
