"""What a store keeps of the plan it was made from: an export's rows, and what a plan brought later must agree with."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import zarr

from dwplus.errors import InputError
from dwplus.spec import DatasetSpec, differences
from dwplus.store import layout
from dwplus.store.places import BucketError
from dwplus.store.plan_rows import CONTRACT, KEY, MORE, TIMES, digests, first_difference, plain


def rows(store: str | Path) -> pd.DataFrame:
    """What a store keeps of its plan's rows, all that fetching their pixels needs.

    Returns
    -------
    A row per tile in the order of the store: ``group``, ``index`` in the group, the columns of :data:`CONTRACT` and
    those of :data:`MORE` that are there, ``scale`` (m a pixel) and ``size`` (pixels); times as datetime64, splits and
    ids as text.

    Raises
    ------
    InputError
        Where there is no store, or a column cannot be read.
    """
    root = layout.open_root(store)
    frames = []
    with ThreadPoolExecutor(16) as pool:
        for name in layout.biome_groups(root):
            group = root[name]
            assert isinstance(group, zarr.Group)
            try:
                arrays: dict[str, Any] = {key: group[key] for key in (*CONTRACT, *MORE) if key in group}
                values = dict(zip(arrays, pool.map(np.asarray, arrays.values()), strict=True))
                frame = pd.DataFrame({"group": name, "index": np.arange(len(values["tile_id"])), **values})
                frame["scale"] = float(group.attrs["scale"])  # type: ignore[arg-type]
                frame["size"] = group["label"].shape[-1]  # type: ignore[union-attr]
                frame["split"] = np.array(layout.SPLIT_FLAGS, object)[frame["split"].to_numpy()]
            except (ValueError, KeyError, IndexError, TypeError, OSError, RuntimeError, BucketError) as error:
                raise InputError(f"store {store}: {name} cannot be read ({type(error).__name__}: {error}); run dwplus "
                                 f"verify {store}") from None
            frames.append(frame)
    if not frames:
        raise InputError(f"store {store}: holds no tiles")
    table = pd.concat(frames, ignore_index=True)
    for key in TIMES:
        table[key] = pd.to_datetime(table[key], unit="ms", utc=True)
    return table


def check_same(store: str | Path, plan: gpd.GeoDataFrame, spec: DatasetSpec, earth: str) -> pd.DataFrame:
    """Refuse to go on with a store that was made under another spec, from another plan, or on another Earth.

    Rejected rows and the order of rows do not matter. Splits are the store's own once ``dwplus split`` has been there:
    the plan's may be the first ones or the new ones. A store of an earlier build keeps no digest; then its columns
    alone are compared.

    Returns
    -------
    :func:`rows` of the store.

    Raises
    ------
    InputError
        With the first differences; of plans with the first row and column that differ.
    """
    attributes = layout.open_root(store).attrs.asdict()
    stored = DatasetSpec.from_json(json.dumps(attributes.get("spec")), f"store {store}")
    if changed := differences(stored, spec):
        shown = "; ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise InputError(f"store {store}: was made under another spec ({shown}); choose another STORE, or remove it")
    if attributes.get("earth") != earth:
        raise InputError(f"store {store}: holds pixels of {attributes.get('earth')}, this run's come from {earth}; "
                         "choose another STORE")
    planned = plan[plan["state"] == "planned"]
    found, ours = rows(store), digests(planned)
    kept: Any = attributes.get(KEY)
    kept = kept if isinstance(kept, dict) else {}
    # Of splits that were made anew the first ones are known by their digest alone.
    free = {"split"} if "splits" in attributes and kept.get("split", ours["split"]) == ours["split"] else set()
    changed = [name for name, digest in kept.items() if ours.get(name) != digest]
    if difference := first_difference(plain(planned), plain(found), free):
        if kept and not changed:
            raise InputError(f"store {store}: is not as this plan made it ({difference}); run dwplus verify {store}")
        raise InputError(f"store {store}: was made from another plan ({difference}); choose another STORE, or export "
                         "the plan it was made from")
    if changed := [name for name in changed if name != "split" or "splits" not in attributes]:
        raise InputError(f"store {store}: its column {changed[0]!r} is not the one it was made with; run dwplus verify "
                         f"{store}")
    return found
