"""What became what between two maps, as files: rasters by zone, a picture, a page, and what a sample needs to know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dwplus.errors import StopError
from dwplus.maps import areas, look
from dwplus.maps.blocks import Block
from dwplus.maps.kinds import codes_of
from dwplus.maps.raster import Layer, extent, write_cog, write_vrt
from dwplus.pages import charts, colours, skeleton
from dwplus.pages.words import synthetic_map
from dwplus.runtime.names import VERSION
from dwplus.store.legend import DYNAMIC_WORLD, Legend, attributes_of

#: Changes that the page lists.
LISTED = 20
WORDS = ("Pixel count, not an estimate: where either map errs there seems to be change. For areas of change draw and "
         "label a sample of it.")


def write(folder: Path, before: Path, after: Path, paths: tuple[Sequence[Path], Sequence[Path]],
          table: pd.DataFrame, legend: Legend = DYNAMIC_WORLD) -> None:
    """Write the folder; ``change.json`` comes last and says that it is whole.

    Parameters
    ----------
    before, after : folders of the maps. paths : their class rasters. table : of :func:`dwplus.maps.areas.change`.
    legend : classes of both maps.

    Raises
    ------
    StopError
        Where something cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "change.json").unlink(missing_ok=True)
        banner = synthetic_map(before) or synthetic_map(after)
        title = f"Change from {before.name} to {after.name}"
        layer = layer_of(legend)
        rasters = _rasters(folder, paths, title, layer)
        write_vrt(folder / "change.vrt", layer, rasters)
        _picture(folder / "change.vrt", folder / "change.png", title, legend)
        skeleton.put(folder / "index.html", _page(title, table, folder / "change.png", banner, legend))
        facts = {"synthetic": bool(banner), "before": str(before.resolve()), "after": str(after.resolve()),
                 "code": codes_of(legend).words, "classes": list(legend.classes), "design": areas.COUNTED,
                 "software": f"dwplus {VERSION}"}
        if legend != DYNAMIC_WORLD:
            facts["legend"] = attributes_of(legend)
        (folder / "change.json").write_text(json.dumps(facts, indent=1) + "\n")
    except OSError as error:
        raise StopError(f"change {folder}: cannot be written ({error.strerror or error})") from None


def layer_of(legend: Legend) -> Layer:
    """The raster of change between maps of some classes."""
    codes = codes_of(legend)
    return Layer("change", ("change",), codes.dtype, codes.nodata, "MODE", (codes.words.replace("*", "x"),), legend)


def _rasters(folder: Path, paths: tuple[Sequence[Path], Sequence[Path]], title: str, layer: Layer) -> list[Path]:
    """One GeoTIFF per zone that both maps have."""
    by_zone: dict[int, list[Path]] = {}
    for path in paths[0]:
        by_zone.setdefault(int(path.stem.rpartition("epsg")[2]), []).append(path)
    written, codes = [], codes_of(layer.legend)
    for epsg, mine in sorted(by_zone.items()):
        blocks = [Block(f"{grid.x0:.0f}_{grid.y0:.0f}", grid, ()) for grid, _, _ in areas.change_pieces(mine, paths[1])]
        if not blocks:
            continue
        pieces = areas.change_pieces(mine, paths[1])

        def pixels(block: Block, rest: Any = pieces) -> np.ndarray:
            """The next piece: pieces come in the order of the blocks."""
            grid, old, new = next(rest)
            assert grid == block.grid
            return codes.of(old, new)[None]

        path = folder / f"change_epsg{epsg}.tif"
        write_cog(path, layer, extent(blocks), blocks, pixels, {"TITLE": title})
        written.append(path)
    return written


@skeleton.plain_text()
def _picture(mosaic: Path, path: Path, title: str, legend: Legend) -> None:
    """The map of change, with a legend of what things became."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    found, _, _ = look.thumbnail(mosaic, look.QUICKLOOK_PIXELS)
    codes = codes_of(legend)
    shades = np.full((codes.size, 3), colours.rgb(colours.NO_LABEL), "uint8")
    for value, colour in codes.colours().items():
        shades[value] = colour
    height, width = found.shape
    figure = Figure(figsize=(9, max(4.0, 7.5 * min(2.5, height / width)) + 1.4), layout="constrained")
    axis = figure.subplots()
    axis.imshow(shades[found], interpolation="nearest")
    axis.set_axis_off()
    figure.suptitle(title, fontsize=13, fontweight="bold")
    pairs = [codes.pair(int(v)) for v in np.unique(found) if v != codes.nodata]
    became = {after for before, after in pairs if before != after}
    figure.legend(handles=[Patch(facecolor=legend.colours[c], edgecolor="0.4",
                                 label=f"became {colours.words(legend.classes[c])}")
                           for c in sorted(became)] + [Patch(facecolor="#eeeeee", edgecolor="0.4", label="pale: as it "
                                                                                                         "was")],
                  loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    FigureCanvasAgg(figure).print_png(path)


def _page(title: str, table: pd.DataFrame, picture: Path, banner: str, legend: Legend) -> str:
    named = [charts.named(colour, colours.words(name)) for name, colour in zip(legend.classes, legend.colours,
                                                                               strict=True)]
    values, every = table.to_numpy(), range(len(legend))
    order = [(values[i, j], i, j) for i in every for j in every if i != j and values[i, j]]
    whole = values.sum()
    rows = [[named[i], named[j], f"{area:,.2f}", f"{area / whole:.2%}"]
            for area, i, j in sorted(order, reverse=True)[:LISTED]]
    changed = whole - np.trace(values)
    sums = [[named[i], *(f"{v:,.2f}" for v in (
        table.loc[name].sum(), table[name].sum(), table.loc[name].sum() - table.loc[name, name],
        table[name].sum() - table.loc[name, name]))] for i, name in enumerate(legend.classes)]
    facts = [(f"{whole:,.2f} km²", "shown by both maps"), (f"{changed / whole:.1%}", "differs")]
    return skeleton.sections(title, facts, [
        ("Where", "", skeleton.wide(picture.read_bytes(), title)),
        ("What became what", "", charts.table(("before", "after", "km²", "share"), rows)),
        ("By class", "", charts.table(("class", "before, km²", "after, km²", "lost, km²", "gained, km²"), sums))],
        notes=[*filter(None, [banner]), WORDS])
