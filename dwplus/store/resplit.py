"""Other splits for stores that are there: worked out over all their tiles, and put in place of the old ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from dwplus.errors import InputError
from dwplus.planning.sampling import BLOCK_METRES
from dwplus.splits import assigned, grids_of
from dwplus.store import layout, writer
from dwplus.store.locks import only_run
from dwplus.store.reader import tile_table

#: Name of the root attribute that says how the splits were made.
KEY = "splits"


def resplit(stores: Sequence[str | Path], *, seed: int | None = None, stratify: str = "none",
            guard_metres: float | None = None) -> pd.DataFrame:
    """Assign the tiles of stores to splits anew, and write that into their ``split`` columns.

    A tile that several stores or windows hold has one split. With nothing given, the splits are again those of the
    first store's plan.

    Parameters
    ----------
    stores : folders. seed, guard_metres : None = those of the first store's spec.
    stratify : see :func:`dwplus.splits.assigned`.

    Returns
    -------
    A row per tile: ``tile_id``, ``biome``, ``before``, ``split``.

    Raises
    ------
    InputError
        On a bad option or tiles of several sizes, and then no split has changed; or where a store cannot be written.
    """
    sampling: Any = layout.open_root(stores[0]).attrs.asdict()["spec"]["sampling"]  # type: ignore[call-overload,index]
    seed = int(sampling["seed"]) if seed is None else seed
    metres = float(sampling.get("guard_metres", 0)) if guard_metres is None else guard_metres
    with contextlib.ExitStack() as held:
        folders = {str(store): held.enter_context(only_run(store)) for store in stores}
        tables = {store: tile_table(store) for store in folders}
        every = pd.concat(tables.values(), ignore_index=True)
        size, scale = _one_size(tables)
        # Several windows and label scenes lie on one tile: its pixels of a class are those of all of them.
        counts = [name for name in every if name.startswith("count_")]
        unique = every.drop_duplicates("tile_id").set_index("tile_id")
        unique[counts] = every.groupby("tile_id")[counts].sum()
        if "label_set" in every:
            own = every.loc[every["label_set"] == "validation", "tile_id"]
            unique.loc[unique.index.isin(own), "label_set"] = "validation"
        splits = pd.Series(assigned(unique, grids_of(unique, size, scale), seed, stratify, metres), unique.index)
        how = {"seed": seed, "stratify": stratify, "guard_metres": metres, "block_metres": BLOCK_METRES,
               "tiles": hashlib.blake2b("\n".join(sorted(splits.index)).encode(), digest_size=8).hexdigest()}
        for store, folder in folders.items():
            _write(Path(store), folder, tables[store], splits, how)
    before = unique["split"].astype(str)
    return pd.DataFrame({"biome": unique["biome"], "before": before, "split": splits}).reset_index()


def _one_size(tables: dict[str, pd.DataFrame]) -> tuple[int, float]:
    found = {}
    for store in tables:
        group = layout.open_root(store)[layout.biome_groups(layout.open_root(store))[0]]
        assert isinstance(group, zarr.Group)
        found[store] = writer.array_of(group, "label").shape[-1], float(group.attrs["scale"])  # type: ignore[arg-type]
    if len(set(found.values())) > 1:
        raise InputError(f"stores {', '.join(found)}: their tiles are of several sizes "
                         f"({', '.join(f'{size} px of {scale:g} m' for size, scale in found.values())}); split them "
                         "one by one")
    return next(iter(found.values()))


def _write(store: Path, folder: Path, table: pd.DataFrame, splits: pd.Series, how: dict[str, Any]) -> None:
    """Make every file beside the store, then put all in place; the root's, which names them, is the last."""
    staged = folder / "split.new"
    shutil.rmtree(staged, ignore_errors=True)
    meta = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    meta["attributes"][KEY] = how
    try:
        for name, rows in table.groupby("group", sort=True):
            values = np.array([layout.SPLIT_FLAGS.index(splits[t]) for t in rows.sort_values("index")["tile_id"]], "u1")
            own = json.loads((store / str(name) / "split" / "zarr.json").read_text(encoding="utf-8"))
            own["attributes"] |= layout.split_attributes(values)
            meta["consolidated_metadata"]["metadata"][f"{name}/split"]["attributes"] = own["attributes"]
            target = staged / str(name)
            target.mkdir(parents=True)
            (target / "zarr.json").write_text(json.dumps(own, indent=2), encoding="utf-8")
            zarr.open_array(str(target), mode="r+", zarr_format=3)[...] = values
        (staged / "zarr.json").write_text(json.dumps(meta, indent=2, allow_nan=False), encoding="utf-8")
        for target in sorted(path for path in staged.iterdir() if path.is_dir()):
            for name in ("zarr.json", "c/0"):
                place = store / target.name / "split" / name
                if (target / name).exists():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(target / name, place)
                else:  # nothing but train, which is what a missing chunk means
                    place.unlink(missing_ok=True)
        os.replace(staged / "zarr.json", store / "zarr.json")
    except OSError as error:
        raise InputError(f"store {store}: cannot be written ({error.strerror or error}); run the same command again "
                         "when it can be") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
