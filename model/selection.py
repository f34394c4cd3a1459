"""Which tiles of which stores a data set is of: what stores hold, what is asked of them, draws of what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import zarr

from dwplus.errors import InputError
from dwplus.spec import extras as more
from dwplus.spec.radar import SIGMA, quantity
from dwplus.store import layout
from dwplus.store.legend import legend_of, units_of
from dwplus.store.places import Folder
from dwplus.store.web import source_of

#: Side of the blocks that are drawn together when intervals are bootstrapped, m: the blocks of the splits.
BLOCK_METRES = 25_500


def tile_sizes(stores: Sequence[str]) -> list[int]:
    """Side of each store's tiles, px."""
    return [describe(path)["size"] for path in stores]


def describe(path: str) -> dict[str, Any]:
    """Bands, size and spec of a store."""
    root = layout.open_root(path)
    groups = layout.biome_groups(root)
    if not groups:
        raise InputError(f"store {path}: holds no tiles")
    group = root[groups[0]]
    assert isinstance(group, zarr.Group)
    place = source_of(path)
    for where, (name, what) in product(groups, (("s1", "Sentinel-1"), ("s2", "Sentinel-2"), ("label", "labels"))):
        # On disk: consolidated metadata still lists an array that was removed.
        there = (place.path / where / name / "zarr.json").exists() if isinstance(place, Folder) else (
            f"{where}/{name}" in root)
        if not there:
            raise InputError(f"store {path}: has no {what} (array {name} in {where}); export it with {what}, "
                             "training needs S2, S1 and labels")
    array = group["s1"]
    assert isinstance(array, zarr.Array)
    attributes = root.attrs.asdict()
    spec = attributes["spec"]
    scale = float(group.attrs.get("scale", 10.0))  # type: ignore[arg-type]
    s2_bands, s1_bands = (tuple(map(str, np.asarray(group[f"{sensor}_band"]))) for sensor in ("s2", "s1"))
    return {"s2_bands": s2_bands, "s1_bands": s1_bands, "legend": legend_of(attributes, f"store {path}"),
            "units": units_of(attributes, s2_bands, s1_bands), "s1_dtype": str(array.dtype),
            "shard": array.shards[0] if array.shards else 1, "size": int(array.shape[-1]),
            "half": array.shape[-1] * scale / 2, "spec": spec,
            "extras": {name: str(array_there.dtype) for name in more.INPUTS
                       if isinstance(array_there := group.get(name), zarr.Array)},
            "radar": quantity(spec) if isinstance(spec, Mapping) else SIGMA,
            "label_source": str(root.attrs["label_source"])}


def extras_of(stores: Sequence[str], described: Sequence[dict[str, Any]], names: Sequence[str]) -> list[more.Extra]:
    """The extras that are asked for, as the stores hold them.

    Raises
    ------
    InputError
        Where one is no input, or a store has it not, or otherwise than the first.
    """
    found = []
    for name in names:
        if name not in more.INPUTS:
            raise InputError(f"data.extras {name!r}: must be of {', '.join(more.INPUTS)}")
    for name in (name for name in more.INPUTS if name in names):
        types = [one["extras"].get(name) for one in described]
        for store, dtype in zip(stores, types, strict=True):
            if dtype is None:
                raise InputError(f"data.extras {name}: store {store} has no array {name}; export a spec with "
                                 f"extras: [{name}]")
            if dtype != types[0]:
                raise InputError(f"data.extras {name}: store {store} holds it as {dtype}, {stores[0]} as {types[0]}; "
                                 "give stores of one embedding_dtype")
        models = [_elevation(one["spec"]) for one in described]
        for store, model in zip(stores, models, strict=True):
            if name == "dem" and model != models[0]:
                raise InputError(f"data.extras dem: store {store} has heights of {model}, {stores[0]} of {models[0]}, "
                                 "which are above other geoids; give stores of one elevation")
        found.append(more.extra(name, str(types[0]), models[0]))
    return found


def _elevation(spec: Any) -> str:
    """The elevation model of a store by its spec; of imported stores and those of earlier builds, the default."""
    return str(spec.get("elevation", more.GLO30)) if isinstance(spec, Mapping) else more.GLO30


def words(values: Any) -> str:
    if isinstance(values, dict):
        return " ".join(f"{name}={unit}" for name, unit in values.items())
    return " ".join(map(str, values)) if isinstance(values, list | tuple) else str(values)


def filtered(table: pd.DataFrame, split: str, min_gap: float | None, max_gap: float | None, max_cloud: float | None,
             biomes: Sequence[int] | None, min_valid: float) -> pd.DataFrame:
    keep = table["status"] == "exported"
    if split != "all":
        keep &= table["split"] == split
    gap = table["gap_hours"].abs()
    if min_gap is not None:
        keep &= gap >= min_gap
    if max_gap is not None:
        keep &= gap <= max_gap
    if max_cloud is not None:
        keep &= table["s2_cloud"] <= max_cloud
    if biomes is not None:
        keep &= table["biome"].isin(list(biomes))
    # "not less": a valid_fraction that was never written does not exclude its tile when nothing is asked.
    return table[keep & ~(table["valid_fraction"] < min_valid)]


def check_known(table: pd.DataFrame, stores: Sequence[str], asked: dict[str, Any]) -> None:
    """Refuse a filter by what no tile of a store says: it would leave none, or all.

    Raises
    ------
    InputError
        With the option.
    """
    columns = {"min_gap_hours": "gap_hours", "max_gap_hours": "gap_hours", "max_cloud": "s2_cloud"}
    for number, store in enumerate(stores):
        rows = table[table["store"] == number]
        for option, value in asked.items():
            if value is None:
                continue
            unknown = (rows["biome"] == 0).all() if option == "biomes" else rows[columns[option]].isna().all()
            if unknown:
                raise InputError(f"{option} {value}: no tile of store {store} says it; leave the option out")


def nothing_left(stores: Sequence[str], table: pd.DataFrame, split: str) -> str:
    exported = table[table["status"] == "exported"]
    counts = ", ".join(f"{name} {int((exported['split'] == name).sum())}" for name in layout.SPLITS)
    of_split = len(exported) if split == "all" else int((exported["split"] == split).sum())
    why = " after the filters; loosen them" if of_split else "; take another split, or export more tiles"
    return f"store {', '.join(stores)}: no tile is left in split {split}{why} (exported tiles: {counts})"


def few(counts: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A seeded draw of a share of tiles, stratified by class: rows, in their order.

    A tile is of the class that it holds most of, beside the class's share of all; of every such class the same share of
    tiles is drawn, and at least one.

    Parameters
    ----------
    counts : (tiles, classes), labelled pixels.
    """
    every = counts.sum(axis=0)
    share_of_all = np.maximum(every / max(1.0, every.sum()), 1e-12)
    lift = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) / share_of_all
    own = lift.argmax(axis=1)
    rng = np.random.default_rng([seed, 11])
    kept = [rng.permutation(np.flatnonzero(own == c))[:max(1, round(share * int((own == c).sum())))]
            for c in np.unique(own)]
    return np.sort(np.concatenate(kept))


def at_most(count: int, most: int | None, seed: int) -> np.ndarray:
    """A seeded draw of at most so many of ``count`` tiles, in their order."""
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 7]).permutation(count)[:most])


def blocks(table: pd.DataFrame, halves: Sequence[float]) -> list[str]:
    """Name of the UTM block a tile's centre lies in; of tiles without a place, of their scene."""
    scenes = table["scene"].fillna("") if "scene" in table else table["tile_id"]
    if (table["epsg"] == 0).all():
        return [str(scene) for scene in scenes]
    half = np.asarray(halves)[table["store"].to_numpy()]
    x = np.floor((np.nan_to_num(table["x0"].to_numpy()) + half) / BLOCK_METRES).astype(int)
    y = np.floor((np.nan_to_num(table["y0"].to_numpy()) - half) / BLOCK_METRES).astype(int)
    return [f"{epsg}:{i}:{j}" if epsg else str(scene)
            for epsg, i, j, scene in zip(table["epsg"], x, y, scenes, strict=True)]
