"""Reading a store: as an xarray tree, as a table of its tiles, and a tile with its place on earth."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.spec import extras
from dwplus.store import columns, layout, tables, tiles, writer
from dwplus.store.places import BucketError, Folder
from dwplus.store.web import source_of
from dwplus.taxonomy import IGNORE

#: Columns in the order in which one looks at them.
_FIRST = ("tile_id", "window", "split", "status", "reason", "biome", "ecoregion", "lon", "lat", "epsg", "x0", "y0",
          "s2_time", "s1_time", "gap_hours", "orbit_pass", "relative_orbit", "s2_cloud", "valid_fraction", "label_id",
          "s2_id", "s1_id")
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
    data), ``s1`` (dB, float32, NaN = no data), ``label`` (0..8, uint8, 255 = ignore). Pixels are Dask arrays of one
    chunk a tile. The columns, a value a tile, are in memory: times decoded, ``split`` and ``status`` in words;
    ``tile_id`` is an index, as in ``tree["biome_04"].ds.sel(tile_id=...)``. ``y`` and ``x`` are metres from the tile's
    upper left corner (``x0``, ``y0``) to the pixels' centres, ``y`` downwards, so that a plot is upright.

    Raises
    ------
    InputError
        Where there is no store; with ``check``, also where something is missing of an exported tile.
    """
    root = layout.open_root(path)
    if check:
        tiles.check_presence(path, tile_table(path))
    place = source_of(path)
    # Far away one read of the root's copy stands for hundreds; a folder's own files are always the newest.
    near = isinstance(place, Folder)
    table = None if near else tables.read(path, root.attrs.asdict())
    with warnings.catch_warnings():
        # What lies beside the groups, tiles.parquet, is ours.
        warnings.filterwarnings("ignore", "Object at .* is not recognized", UserWarning)
        tree = xr.open_datatree(place.zarr(), engine="zarr", chunks={},  # type: ignore[arg-type]
                                consolidated=not near)
    nodes = {}
    for node in tree.subtree:
        rows = None if table is None else table[table["group"] == node.name]
        try:
            nodes[node.path] = _plain(node.to_dataset(inherit=False), rows)
        except columns.TROUBLE as error:
            raise InputError(f"store {path}: {node.name} cannot be read ({type(error).__name__}: {error}); run dwplus "
                             f"verify {path}") from None
    return xr.DataTree.from_dict(dict(sorted(nodes.items())), name=tree.name)


def _plain(group: xr.Dataset, rows: pd.DataFrame | None) -> xr.Dataset:
    """A group as people use it.

    Without the store's chunks and shards; columns in memory, those one looks at first in front, codes as words, tiles
    by name; decibels in single precision; metres within the tile as coordinates.

    Parameters
    ----------
    rows : the group's rows of the store's table, where that is at hand, in place of reads of its columns.
    """
    found = {}
    for name, variable in group.variables.items():
        encoding = {key: value for key, value in variable.encoding.items() if key not in _CUT}
        if variable.dtype == "float64" and encoding.get("dtype") == np.dtype("int16"):
            # 16 bits by a factor: xarray takes doubles, for the factor is one in JSON.
            variable = variable.astype("float32")
        if variable.dims == ("tile",):
            if rows is not None and name in rows and len(rows) == len(variable):
                variable = xr.Variable(("tile",), _values(rows[str(name)]), variable.attrs)
            if "flag_meanings" in variable.attrs:
                variable, encoding = _words(str(name), variable.load()), {}
            variable = variable.load()
        elif "y" not in variable.dims and variable.chunks is not None:
            variable = variable.chunk(-1)  # whatever tiles are taken, what is left is one piece
        found[name] = variable.copy(deep=False)
        found[name].encoding = encoding
    first = [name for name in _FIRST if name in found]
    order = [*first, *(name for name in group.variables if name not in first)]
    coords = {name: found[name] for name in order if name in group.coords}
    scale = group.attrs.get("scale")
    for axis, sign in (("y", -1), ("x", 1)):
        if axis in group.sizes and axis not in coords and isinstance(scale, int | float):
            coords[axis] = xr.Variable((axis,), sign * scale * (np.arange(group.sizes[axis]) + 0.5), {
                "units": "m", "long_name": f"from {axis}0 of the tile, its upper left corner, to the pixel's centre"})
    plain = xr.Dataset({name: found[name] for name in order if name in group.data_vars}, coords, group.attrs)
    return plain.set_xindex("tile_id") if "tile_id" in coords else plain


def _values(column: pd.Series) -> np.ndarray:
    """A column of the table as xarray has it: times in UTC without saying so, words as words."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        values: np.ndarray = column.dt.tz_localize(None).to_numpy("datetime64[ns]")
    elif isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind == "O":
        values = column.astype(str).to_numpy(np.dtypes.StringDType())
    else:
        values = column.to_numpy()
    return values


def _words(name: str, variable: xr.Variable) -> xr.Variable:
    """Codes as the words of ``flag_meanings``, by ``flag_values``."""
    attrs = dict(variable.attrs)
    meanings, values = attrs["flag_meanings"].split(), attrs.pop("flag_values", None)  # the words there are stay
    if variable.dtype.kind in "iu":
        words = dict(zip(np.arange(len(meanings)) if values is None else np.atleast_1d(values).tolist(), meanings,
                         strict=True))
        known = np.isin(variable.values, list(words))
        if not known.all():
            index = int(np.flatnonzero(~known)[0])
            raise ValueError(f"{name} of tile {index} is {variable.values[index]}, which is none of "
                             f"{', '.join(f'{code} {word}' for code, word in words.items())}")
        text = np.asarray([words[code] for code in variable.values.tolist()], np.dtypes.StringDType())
        variable = xr.Variable(variable.dims, text)
    return xr.Variable(variable.dims, variable.values, attrs)


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


def first_exported(path: str | Path, window: str | None = None) -> tuple[str, str]:
    """Name and window of the first tile that was exported.

    Raises
    ------
    InputError
        Where none was.
    """
    table = tile_table(path, ("tile_id", "window", "status"))
    rows = table[table["status"] == "exported"]
    rows = rows if window is None else rows[rows["window"] == window]
    if not len(rows):
        raise InputError(f"store {path}: no tile {'' if window is None else f'of window {window} '}was exported; run "
                         "dwplus export")
    return str(rows["tile_id"].iat[0]), str(rows["window"].iat[0])


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
    xarray.Dataset of ``s2`` (s2_band, y, x), ``s1`` (s1_band, y, x), ``label`` (y, x) uint8 with 255 = ignore, and the
    store's extras (:mod:`dwplus.spec.extras`; decoded as float32 with NaN, but for the codes of ``worldcover``);
    ``x`` and ``y`` are pixel centres in m and alone say where the tile lies, so that a crop of it is found at its own
    place by every reader; ``spatial_ref`` holds the UTM zone; attributes are the tile's columns.

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
        more = [name for name in writer.EXTRA_PIXELS if name in reader.shapes(row["group"])]
        pixels = {name: reader.array(row["group"], name, index) for name in (*writer.PIXELS, *more)}
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
    for name in more:
        one = extras.extra(name, str(pixels[name].dtype))
        pixels[name] = one.decoded(pixels[name]) if decoded else pixels[name]
        fill[name] = np.nan if pixels[name].dtype.kind == "f" else one.fill
    height, width = pixels["label"].shape
    placed = bool(row["epsg"])
    x0, y0 = (float(row["x0"]), float(row["y0"])) if placed else (0.0, scale * height)
    grid = PixelGrid(int(row["epsg"]), x0, y0, scale, height, width)
    found = xr.Dataset(
        {name: ((f"{name}_band", "y", "x") if values.ndim == 3 else ("y", "x"), values)
         for name, values in pixels.items()},
        {"x": grid.x0 + scale * (np.arange(width) + 0.5), "y": grid.y0 - scale * (np.arange(height) + 0.5),
         **{f"{name}_band": [str(b) for b in np.asarray(group[f"{name}_band"])]
            for name, values in pixels.items() if values.ndim == 3}},
        {key: value for key, value in row.items()
         if isinstance(value, str | int | float | np.integer | np.floating) and key != "index"})
    for name in pixels:
        found[name].attrs = {key: value for key, value in group[name].attrs.items()
                             if key not in ("_FillValue", "scale_factor")}
        if not decoded and "scale_factor" in group[name].attrs:
            found[name].attrs["scale_factor"] = group[name].attrs["scale_factor"]
        found[name].rio.write_nodata(fill[name], inplace=True)
    if not placed:  # pixels without a place lie on a grid of their own, in m from their lower left corner
        out: xr.Dataset = found.rio.write_transform(grid.transform)
        return out
    # No GeoTransform: isel would keep it, and GDAL, open_rasterio and rasterix believe it before x and y
    # (findings/crops-placed-by-their-whole.sh). GDAL takes x and y if their attributes say what they are.
    out = found.rio.write_crs(grid.crs).rio.write_coordinate_system()
    return out
