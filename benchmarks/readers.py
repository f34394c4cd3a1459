"""Which software reads a store? Each is asked for one tile and one column of text; what it gives is compared.

    python -m venv v && v/bin/pip install xarray zarr tensorstore zarrs rasterio netCDF4 duckdb polars pyarrow
    npm install zarrita
    v/bin/python benchmarks/readers.py STORE [FOLDER OF node_modules]

The table in docs/store_format.md is what this printed. What is not installed is left out.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import zarr

NODE = """
import * as zarr from "zarrita"; import { FileSystemStore } from "@zarrita/storage";
const group = await zarr.open.v3(new FileSystemStore(process.argv[1]), { kind: "group" });
const out = {};
for (const [name, pick] of [["s2", [0, null, null, null]], ["s1", [0, null, null, null]], ["label", [0, null, null]],
                            ["tile_id", null]]) {
  try {
    const data = (await zarr.get(await zarr.open.v3(group.resolve(name), { kind: "array" }), pick)).data;
    out[name] = Array.from(data);
  } catch (error) { out[name] = String(error); }
}
console.log(JSON.stringify(out));
"""


def with_xarray(group: Path) -> dict[str, Any]:
    import xarray

    node = xarray.open_zarr(group, mask_and_scale=False, consolidated=False, chunks=None)
    return {**{name: node[name][0].values for name in ("s2", "s1", "label")}, "tile_id": node["tile_id"].values}


def with_zarr(group: Path) -> dict[str, Any]:
    found: Any = zarr.open_group(group, mode="r")
    return {**{name: found[name][0] for name in ("s2", "s1", "label")}, "tile_id": found["tile_id"][...]}


def with_zarrs(group: Path) -> dict[str, Any]:
    importlib.import_module("zarrs")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return with_zarr(group)


def with_tensorstore(group: Path) -> dict[str, Any]:
    import tensorstore

    def opened(name: str) -> Any:
        kvstore = {"driver": "file", "path": f"{group}/{name}/"}
        return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True).result()

    def first(name: str) -> Any:
        return opened(name)[0].read().result()

    return {**{name: attempt(functools.partial(first, name)) for name in ("s2", "s1", "label")},
            "tile_id": attempt(lambda: opened("tile_id").read().result())}


def with_gdal(group: Path) -> dict[str, Any]:
    import rasterio

    def opened(name: str) -> Any:
        with rasterio.open(f'ZARR:"{group}":/{name}:0' if name != "label" else f'ZARR:"{group}":/{name}') as raster:
            return raster.read()

    return {**{name: attempt(functools.partial(opened, name)) for name in ("s2", "s1", "label")},
            "tile_id": "no text in a raster"}


def with_netcdf(group: Path) -> dict[str, Any]:
    import netCDF4

    with netCDF4.Dataset(f"file://{group}#mode=zarr,file", "r") as data:
        data.set_auto_maskandscale(False)

        def first(name: str) -> Any:
            return data[name][0]

        return {**{name: attempt(functools.partial(first, name)) for name in ("s2", "s1", "label")},
                "tile_id": attempt(lambda: data["tile_id"][:])}


def with_zarrita(group: Path, modules: Path) -> dict[str, Any]:
    done = subprocess.run(["node", "--input-type=module", "-e", NODE, str(group)], cwd=modules, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "node failed")
    return dict(json.loads(done.stdout))


def attempt(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # whatever it raises is the finding
        return f"{type(error).__name__}: {error}"


def verdict(found: Any, want: np.ndarray) -> str:
    if isinstance(found, str):
        return " ".join(found.split())[:160]
    values = np.asarray(found)
    if want.dtype.kind not in "iuf":
        return "yes" if [str(v) for v in values.ravel()] == [str(v) for v in want.ravel()] else "other values"
    return "yes" if values.size == want.size and (values.ravel() == want.ravel()).all() else "other values"


def tables(store: Path) -> None:
    """Software for tables reads `tiles.parquet`."""
    table = store / "tiles.parquet"
    if not table.exists():
        print(f"no {table}: nothing to ask DuckDB and polars")
        return
    for name in ("duckdb", "polars"):
        if not importlib.util.find_spec(name):
            continue
        module = importlib.import_module(name)
        rows = (module.sql(f"select * from '{table}'").fetchall() if name == "duckdb"
                else module.read_parquet(table).rows())
        print(f"| {name} | {metadata.version(name)} | {len(rows)} rows of tiles.parquet |")


def main() -> None:
    store = Path(sys.argv[1]).resolve()
    group = sorted(store.glob("biome_*"))[0]
    want = with_zarr(group)
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        "xarray": with_xarray, "zarr": with_zarr, "zarrs": with_zarrs, "tensorstore": with_tensorstore,
        "rasterio": with_gdal, "netCDF4": with_netcdf}
    if len(sys.argv) > 2:
        readers["zarrita"] = lambda place: with_zarrita(place, Path(sys.argv[2]))
    print("| reader | version | s2 | s1 | label | text |\n|---|---|---|---|---|---|")
    for name, read in readers.items():
        if name != "zarrita" and not importlib.util.find_spec(name):
            continue
        found: Any = attempt(functools.partial(read, group))
        cells = ([verdict(found[key], np.asarray(want[key])) for key in ("s2", "s1", "label", "tile_id")]
                 if isinstance(found, dict) else [verdict(found, np.asarray(want["s2"]))])
        version = "npm" if name == "zarrita" else metadata.version(name)
        if name == "rasterio":
            version += f", GDAL {importlib.import_module('rasterio').__gdal_version__}"
        if name == "netCDF4":
            version += f", netCDF-C {importlib.import_module('netCDF4').__netcdf4libversion__}"
        print(f"| {name} | {version} | {' | '.join(cells)} |")
    tables(store)


if __name__ == "__main__":
    main()
