"""Read what a tool wrote and compare it, tile by tile, with the floor's arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.windows
import xarray as xr
import zarr

from dwplus.store.reader import tile_table

Bands = dict[str, np.ndarray]
#: Fill value of the label where it is masked.
IGNORE = 255


def right_tiles(name: str, out: Path, job: dict[str, Any], truth: Path) -> int:
    """How many tiles of a job are there, complete and equal to the floor's.

    Parameters
    ----------
    name : of the driver. out : folder it wrote. truth : folder the floor wrote.
    """
    return sum(_equal(name, out, tile, job, np.load(truth / f"{tile['name']}.npy")) for tile in job["tiles"])


def _equal(name: str, out: Path, tile: dict[str, Any], job: dict[str, Any], truth: np.ndarray) -> bool:
    try:
        found = READERS[name](out, tile, job)
        if name == "edown":
            drawn = truth["label"] != IGNORE
            return found["label"].shape == drawn.shape and np.array_equal(found["label"][drawn], truth["label"][drawn])
        return all(np.array_equal(found[band], truth[band]) for band in job["bands"])
    except Exception:  # a torn or missing file may fail in any way a reader knows
        return False


def _npy(out: Path, tile: dict[str, Any], job: dict[str, Any]) -> Bands:
    answer = np.load(out / f"{tile['name']}.npy")
    return {band: answer[band] for band in job["bands"]}


def _geotiff(out: Path, tile: dict[str, Any], job: dict[str, Any]) -> Bands:
    with rasterio.open(out / f"{tile['name']}.tif") as file:
        return dict(zip(job["bands"], file.read(), strict=True))


def _geebeam(out: Path, tile: dict[str, Any], job: dict[str, Any]) -> Bands:
    position = job["tiles"].index(tile)
    path = next(path for path in out.glob(f"*/train/{position:05d}.tif") if path.parts[-3].endswith(".done"))
    with rasterio.open(path) as file:
        if (file.transform.c, file.transform.f) != (tile["x0"], tile["y0"]):
            raise ValueError("another grid")
        return dict(zip(job["bands"], file.read(), strict=True))


def _edown(out: Path, tile: dict[str, Any], job: dict[str, Any]) -> Bands:
    """The label; of the other scenes, which lie on grids of their own, only that they can be read."""
    found: Bands = {}
    for kind, scene in (("S1_GRD", tile["s1_ids"][0]), ("S2_SR", tile["s2_id"]), ("DYNAMICWORLD", tile["label_id"])):
        path = next(path for path in (out / tile["name"]).rglob(f"*{scene}.tif") if kind in path.name)
        with rasterio.open(path) as file:
            side = tile["size"] * tile["scale"]
            found["label"] = file.read(1, window=rasterio.windows.from_bounds(
                tile["x0"], tile["y0"] - side, tile["x0"] + side, tile["y0"], file.transform))
    return found


def _xee(out: Path, tile: dict[str, Any], job: dict[str, Any]) -> Bands:
    with xr.open_zarr(out / f"{tile['name']}.zarr", consolidated=False) as data:
        return {band: data[band].isel(time=0).to_numpy() for band in job["bands"]}


def _dwplus(out: Path, tile: dict[str, Any], job: dict[str, Any]) -> Bands:
    name, index = _places(out)[tile["tile_id"]]
    group = zarr.open_group(out / "store.zarr" / name, mode="r")
    s2, s1, label = (np.asarray(group[key][index]) for key in ("s2", "s1", "label"))  # type: ignore[index]
    return dict(zip(job["bands"], [*s2, *s1, label], strict=True))


@functools.lru_cache(maxsize=1)
def _places(out: Path) -> dict[str, tuple[str, int]]:
    """Group and index of each exported tile; a folder is looked at once, when its tool is done with it."""
    table = tile_table(out / "store.zarr")
    table = table[table["status"] == "exported"]
    return {str(tile): (str(group), int(index))
            for tile, group, index in zip(table["tile_id"], table["group"], table["index"], strict=True)}


READERS: dict[str, Callable[[Path, dict[str, Any], dict[str, Any]], Bands]] = {
    "floor": _npy, "url": _geotiff, "geedim": _geotiff, "xee": _xee, "edown": _edown, "geebeam": _geebeam,
    "dwplus": _dwplus}
