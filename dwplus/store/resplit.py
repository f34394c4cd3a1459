"""Other splits for stores that are there: worked out over all their tiles, and put in place of the old ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from dwplus.errors import InputError
from dwplus.splits import BLOCK_METRES, GUARD, assigned, grids_of
from dwplus.store import digests, layout, seal, tables, writer
from dwplus.store.imported import exported_spec
from dwplus.store.locks import only_run
from dwplus.store.places import place_of
from dwplus.store.reader import tile_table

#: Name of the root attribute that says how the splits were made.
KEY = "splits"


def resplit(stores: Sequence[str | Path], *, seed: int | None = None, stratify: str = "none",
            guard_metres: float | None = None, bad: frozenset[tuple[str, str]] = frozenset()) -> pd.DataFrame:
    """Assign the tiles of stores to splits anew, and write that into their ``split`` columns.

    A tile that several stores or windows hold has one split. With nothing given, the splits are again those of the
    first store's plan.

    Parameters
    ----------
    stores : folders or buckets. seed, guard_metres : None = those of the first store's spec.
    stratify : see :func:`dwplus.splits.assigned`.
    bad : tiles to set aside, in no split, by name and window, as :func:`dwplus.store.marks.bad_tiles` gives them; of a
        tile that several windows hold, a mark of one is a mark of all.

    Returns
    -------
    A row per tile: ``tile_id``, ``biome``, ``before``, ``split``, and labelled pixels by class, ``count_<class>``.

    Raises
    ------
    InputError
        On a bad option or tiles of several sizes, and then no split has changed; or where a store cannot be written.
    """
    for store in stores:
        exported_spec(layout.open_root(store).attrs.asdict(), f"store {store}", "dwplus split, which takes blocks of "
                      "ground,")
    sampling: Any = layout.open_root(stores[0]).attrs.asdict()["spec"]["sampling"]  # type: ignore[call-overload,index]
    seed = int(sampling["seed"]) if seed is None else seed
    metres = float(sampling.get("guard_metres", 0)) if guard_metres is None else guard_metres
    with contextlib.ExitStack() as held:
        runs = {str(store): held.enter_context(only_run(store)) for store in stores}
        found = {store: tile_table(store) for store in runs}
        every = pd.concat(found.values(), ignore_index=True)
        size, scale = _one_size(found)
        # Several windows and label scenes lie on one tile: its pixels of a class are those of all of them.
        counts = [name for name in every if name.startswith("count_")]
        unique = every.drop_duplicates("tile_id").set_index("tile_id")
        unique[counts] = every.groupby("tile_id")[counts].sum()
        if "label_set" in every:
            own = every.loc[every["label_set"] == "validation", "tile_id"]
            unique.loc[unique.index.isin(own), "label_set"] = "validation"
        splits = pd.Series(assigned(unique, grids_of(unique, size, scale), seed, stratify, metres), unique.index)
        marked = unique.index.isin({name for name, _ in bad})
        splits[marked] = GUARD
        how = {"seed": seed, "stratify": stratify, "guard_metres": metres, "block_metres": BLOCK_METRES,
               **({"marked": sorted(unique.index[marked])} if bad else {}),
               "tiles": hashlib.blake2b("\n".join(sorted(splits.index)).encode(), digest_size=8).hexdigest()}
        for store, hold in runs.items():
            had = tables.drop(store)
            _write(store, found[store], splits, how, hold.check)
            if had:
                tables.finish(store, hold.check)
    before = unique["split"].astype(str)
    return pd.concat([pd.DataFrame({"biome": unique["biome"], "before": before, "split": splits}), unique[counts]],
                     axis=1).reset_index()


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


def _write(store: str, table: pd.DataFrame, splits: pd.Series, how: dict[str, Any],
           still_ours: Callable[[], None]) -> None:
    """Make every file first, then put all in place; the root's, which names them, is the last."""
    place = place_of(store)
    try:
        meta = json.loads(place.read("zarr.json"))
        meta["attributes"][KEY] = how
        new: dict[str, bytes | None] = {}
        sealed: dict[str, str] = {}
        for name, rows in table.groupby("group", sort=True):
            values = np.array([layout.SPLIT_FLAGS.index(splits[t]) for t in rows.sort_values("index")["tile_id"]], "u1")
            own = json.loads(place.read(f"{name}/split/zarr.json"))
            own["attributes"] |= layout.split_attributes(values)
            meta["consolidated_metadata"]["metadata"][f"{name}/split"]["attributes"] = own["attributes"]
            memory: dict[str, Buffer] = {"zarr.json": default_buffer_prototype().buffer.from_bytes(
                json.dumps(own, indent=2).encode())}
            sealed |= {f"{name}/split": digests.of_values(values)}
            array = zarr.open_array(MemoryStore(memory), mode="r+", zarr_format=3)
            # Without digests, nothing but train is what a missing chunk means.
            array.with_config({"write_empty_chunks": seal.KEY in meta["attributes"]})[...] = values
            new |= {f"{name}/split/{key}": memory[key].to_bytes() if key in memory else None
                    for key in ("zarr.json", "c/0")}
        seal.reseal(meta, sealed)
        new["zarr.json"] = seal.to_bytes(meta)
        still_ours()
        for key, content in new.items():
            place.remove(key) if content is None else place.write(key, [content])
    except OSError as error:
        raise InputError(f"store {store}: cannot be written ({error.strerror or error}); run the same command again "
                         "when it can be") from None
