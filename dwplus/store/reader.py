"""Reading a store: as an xarray tree, and as a table of its tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from dwplus.errors import InputError
from dwplus.store import layout
from dwplus.taxonomy import CLASSES


def open_store(path: str | Path) -> xr.DataTree:
    """Open a store lazily.

    Returns
    -------
    xarray.DataTree with a node ``biome_NN`` per biome: ``s2`` (DN, NaN = no data), ``s1`` (dB, NaN = no data),
    ``label`` (0..8, 255 = ignore), and per-tile coordinates with decoded times.

    Raises
    ------
    InputError
        Where there is no store.
    """
    layout.open_root(path)
    return xr.open_datatree(str(path), engine="zarr", chunks={}, consolidated=False)


def tile_table(path: str | Path) -> pd.DataFrame:
    """One row per tile with its per-tile coordinates, ``group``, ``index`` in the group, and class counts by name.

    Raises
    ------
    InputError
        Where there is no store, or a column cannot be read.
    """
    root = layout.open_root(path)
    frames = []
    for name in layout.biome_groups(root):
        group = root[name]
        assert isinstance(group, zarr.Group)
        try:
            columns = {}
            for key, array in group.arrays():
                if array.ndim == 1 and array.metadata.dimension_names == ("tile",):  # type: ignore[union-attr]
                    columns[key] = np.asarray(array[...])
            frame = pd.DataFrame({"group": name, "index": np.arange(len(columns["tile_id"])), **columns})
            counts = np.asarray(group["class_counts"][...])  # type: ignore[index]
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise InputError(f"store {path}: {name} cannot be read ({type(error).__name__}: {error})") from None
        for number, label in enumerate(CLASSES):
            frame[f"count_{label}"] = counts[:, number]
        frames.append(frame)
    if not frames:
        raise InputError(f"store {path}: holds no tiles")
    table = pd.concat(frames, ignore_index=True)
    for key in ("s1_time", "s2_time"):
        table[key] = pd.to_datetime(table[key], unit="ms", utc=True)
    for key, names in (("status", layout.STATUSES), ("split", layout.SPLITS)):
        table[key] = pd.Categorical.from_codes(table[key].astype(int), categories=list(names))
    return table
