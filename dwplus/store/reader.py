"""Reading a store: as an xarray tree, as a table of its tiles, and a tile with its place on earth."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.store import columns, layout, tables, tiles
from dwplus.store.places import BucketError, Folder
from dwplus.store.web import source_of
from dwplus.taxonomy import IGNORE

#: What of a variable's encoding says how this store is cut and packed; a copy of some tiles is cut otherwise.
_CUT = ("chunks", "preferred_chunks", "shards", "compressors", "filters", "serializer")


def open_store(path: str | Path, *, check: bool = False) -> xr.DataTree:
    """Open a store lazily.

    What it returns can be saved: a selection, a group or the whole tree with ``.to_zarr()``, a group's tiles with
    ``.to_netcdf()``. Copies hold the store's integers, one chunk a tile and no shards.

    Parameters
    ----------
    path : folder, or URL: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``https://host/path``.
    check : look first whether every exported tile has its bytes; a read of each shard's index. Without it xarray takes
        what is missing for no data: it fills absent chunks with the fill value, and cannot know better.

    Returns
    -------
    xarray.DataTree with a node ``biome_NN`` per biome, ``tiles`` where none is known: ``s2`` (DN, float32, NaN = no
    data), ``s1`` (dB, float32, NaN = no data), ``label`` (0..8, uint8, 255 = ignore), and per-tile coordinates with
    decoded times. Pixels are Dask arrays of one chunk a tile.

    Raises
    ------
    InputError
        Where there is no store; with ``check``, also where something is missing of an exported tile.
    """
    layout.open_root(path)
    if check:
        tiles.check_presence(path, tile_table(path))
    place = source_of(path)
    # Far away one read of the root's copy stands for hundreds; a folder's own files are always the newest.
    tree = xr.open_datatree(place.zarr(), engine="zarr", chunks={},  # type: ignore[arg-type]
                            consolidated=not isinstance(place, Folder))
    nodes = {node.path: _plain(node.to_dataset(inherit=False)) for node in tree.subtree}
    return xr.DataTree.from_dict(dict(sorted(nodes.items())), name=tree.name)


def _plain(group: xr.Dataset) -> xr.Dataset:
    """A group without the store's chunks and shards, columns in one piece, decibels in single precision."""
    group = group.copy()
    for name in group.variables:
        variable = group[name]
        encoding = {key: value for key, value in variable.encoding.items() if key not in _CUT}
        if variable.dtype == "float64" and encoding.get("dtype") == np.dtype("int16"):
            # 16 bits by a factor: xarray takes doubles, for the factor is one in JSON.
            variable = variable.astype("float32")
        if "y" not in variable.dims and variable.chunks is not None:
            variable = variable.chunk(-1)  # whatever tiles are taken, what is left is one piece
        group[name] = variable
        group[name].encoding = encoding
    return group


def tile_table(path: str | Path, only: Collection[str] = ()) -> pd.DataFrame:
    """One row per tile with its per-tile coordinates, ``group``, ``index`` in the group, and class counts by name.

    Parameters
    ----------
    only : coordinates to read, ``tile_id`` among them; empty for all.

    Raises
    ------
    InputError
        Where there is no store, or a column cannot be read or is missing in part.
    """
    if not isinstance(source_of(path), Folder):
        # Far away one object stands for hundreds; a folder's columns are read as they are.
        found = tables.read(path, layout.open_root(path).attrs.asdict())
        if found is not None:
            wanted = [name for name in found if not only or name in only or name in ("group", "index")
                      or str(name).startswith("count_")]
            return found[wanted]
    return columns.decoded(path, columns.read_columns(path, only))


def find_tile(path: str | Path, tile_id: str, window: str | None = None) -> pd.Series:
    """The row of an exported tile in the store's table.

    Raises
    ------
    InputError
        Where there is no such tile, several, or it was not exported.
    """
    table = tile_table(path)
    rows = table[table["tile_id"] == tile_id]
    if not len(rows):
        raise InputError(f"tile {tile_id!r}: is not in store {path}, whose first is {table['tile_id'].iat[0]!r}")
    if window is not None:
        if not (rows["window"] == window).any():
            raise InputError(f"window {window!r}: tile {tile_id} has {', '.join(sorted(set(rows['window'])))}")
        rows = rows[rows["window"] == window]
    exported = rows[rows["status"] == "exported"]
    if not len(exported):
        why = f" ({rows['reason'].iat[0]})" if rows["reason"].iat[0] else ""
        raise InputError(f"tile {tile_id!r}: is {rows['status'].iat[0]} in store {path}{why}")
    if len(exported) > 1 and window is None and exported["window"].nunique() > 1:
        raise InputError(f"tile {tile_id!r}: is there for several windows; give one of "
                         f"{', '.join(sorted(set(exported['window'])))}")
    return exported.iloc[0]


def tile(path: str | Path, tile_id: str, window: str | None = None, *, decoded: bool = True) -> xr.Dataset:
    """One tile with its place on earth, in memory; ``.rio`` knows its reference system, transform and no-data.

    Parameters
    ----------
    window : ``START/END``, where a tile was exported for several. Of several label scenes of a window the first is
        given.
    decoded : True gives ``s2`` as float32 DN and ``s1`` as float32 dB, NaN = no data; False gives both as stored.

    Returns
    -------
    xarray.Dataset of ``s2`` (s2_band, y, x), ``s1`` (s1_band, y, x), ``label`` (y, x) uint8 with 255 = ignore; ``x``
    and ``y`` are pixel centres in m; ``spatial_ref`` holds the UTM zone; attributes are the tile's columns.

    Raises
    ------
    InputError
        Where there is no such exported tile, or it cannot be read.
    """
    import rioxarray  # noqa: F401  registers .rio

    row = find_tile(path, tile_id, window)
    group = layout.open_root(path)[row["group"]]
    assert isinstance(group, zarr.Group)
    scale, index = float(group.attrs["scale"]), int(row["index"])  # type: ignore[arg-type]
    try:
        reader = tiles.TileReader(path, exported=True)
        pixels = {name: reader.array(row["group"], name, index) for name in ("s2", "s1", "label")}
    except (ValueError, OSError, RuntimeError, BucketError) as error:
        raise InputError(f"tile {tile_id!r}: cannot be read ({type(error).__name__}: {error}); run dwplus verify "
                         f"{path}") from None
    fill: dict[str, float] = {"s2": layout.S2_NODATA, "s1": layout.S1_NODATA, "label": IGNORE}
    if pixels["s1"].dtype.kind == "f":
        fill["s1"] = np.nan
    if decoded:
        for name, factor in (("s2", 1.0), ("s1", layout.S1_SCALE)):
            raw = pixels[name]
            if raw.dtype.kind != "f":
                pixels[name] = np.where(raw == fill[name], np.nan, raw * np.float32(factor)).astype("float32")
            fill[name] = np.nan
    height, width = pixels["label"].shape
    placed = bool(row["epsg"])
    x0, y0 = (float(row["x0"]), float(row["y0"])) if placed else (0.0, scale * height)
    grid = PixelGrid(int(row["epsg"]), x0, y0, scale, height, width)
    found = xr.Dataset(
        {name: ((f"{name}_band", "y", "x") if values.ndim == 3 else ("y", "x"), values)
         for name, values in pixels.items()},
        {"x": grid.x0 + scale * (np.arange(width) + 0.5), "y": grid.y0 - scale * (np.arange(height) + 0.5),
         **{f"{name}_band": [str(b) for b in np.asarray(group[f"{name}_band"])] for name in ("s2", "s1")}},
        {key: value for key, value in row.items()
         if isinstance(value, str | int | float | np.integer | np.floating) and key != "index"})
    for name in pixels:
        found[name].attrs = {key: value for key, value in group[name].attrs.items()
                             if key not in ("_FillValue", "scale_factor")}
        if not decoded and name == "s1" and pixels["s1"].dtype.kind == "i":
            found[name].attrs["scale_factor"] = layout.S1_SCALE
        found[name].rio.write_nodata(fill[name], inplace=True)
    # Pixels without a place lie on a grid of their own, in m from their lower left corner.
    out: xr.Dataset = (found.rio.write_crs(grid.crs) if placed else found).rio.write_transform(grid.transform)
    return out
