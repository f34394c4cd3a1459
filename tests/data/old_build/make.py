"""Make the stores, plan, spec and run of one build, as text: ``python make.py OUT`` in a checkout of that build.

Uses only what commit 12d83e5 has. Pixels of the asset tree are coarse on purpose: few bytes once compressed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import xarray as xr
from rasterio.transform import from_origin
from rasterio.warp import transform_geom

from dwplus.earth import EarthConfig, connect
from dwplus.earth.session import embedded_earth
from dwplus.embedded_earth import serve
from dwplus.embedded_earth.faults import Fault, Faults
from dwplus.errors import StopError
from dwplus.export import export
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import load_spec
from dwplus.store import layout
from dwplus.store.reader import tile_table
from model.config import make_config
from model.train import train

#: (epsg, x0, y0, MGRS tile) of the scenes: far apart, so that they fall into blocks, and splits, of their own.
PLACES = [(32631, 500000, 5600000, "31UES"), (32631, 620000, 5710000, "31UFT"), (32631, 450000, 5820000, "31UDU"),
          (32722, 600000, 7300000, "22JFR"), (32722, 700000, 7150000, "22JGQ"), (32722, 420000, 7420000, "22KDS")]
SIDE = 136
S2_BANDS = ["B2", "B3", "B4", "B8"]
CLASSES = ["water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare",
           "snow_and_ice"]
TREE_SPEC = """name: old-tree
region: [{bbox: [-60, -35, -45, -20]}, {bbox: [0, 48, 8, 54]}]
windows: [[2021-06-01, 2021-08-01]]
tile: {size: 64, grid: label}
sentinel1: {max_gap_hours: 48}
sentinel2: {bands: [B2, B3, B4, B8]}
sampling: {per_biome: 12, seed: SEED}
store: {shard_tiles: 2}
"""
PLANET_SPEC = """name: old-planet
region: {bbox: [WEST, SOUTH, EAST, NORTH]}
windows: [[2021-06-01, 2021-08-01]]
tile: {size: 32}
sentinel2: {bands: [B2, B3, B4]}
sampling: {per_biome: 5}
store: {shard_tiles: 2}
"""
#: The smallest network there is.
CONFIG = {"model": {"name": "unet", "options": {"widths": [4, 8]}}, "data": {"crop": 32, "threads": 1, "augment": True},
          "optim": {"epochs": 2, "batch_size": 2, "lr": 1e-3}, "run": {"tensorboard": False}}


def asset_tree(root: Path) -> None:
    """Scenes of Sentinel-2, Sentinel-1 and Dynamic World at each place, and two polygons of ecoregions."""
    for number, (epsg, x0, y0, mgrs) in enumerate(PLACES):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 9, (SIDE // 8, SIDE // 8))
        label = np.kron(coarse, np.ones((8, 8), int))
        noise = np.kron(rng.integers(0, 20, (SIDE // 8, SIDE // 8)), np.ones((8, 8), int))
        time = 1624442400000 + 86400000 * number
        s2_id = f"2021062{3 + number}T100000_2021062{3 + number}T100000_T{mgrs}"
        orbit = "DESCENDING" if number % 2 else "ASCENDING"
        s1_id = f"S1A_IW_GRDH_1SDV_2021062{3 + number}T173000_2021062{3 + number}T173025_038400_048800_{number:04d}"
        box = shapely.box(x0, y0 - 10 * SIDE, x0 + 10 * SIDE, y0)
        ring = transform_geom(f"EPSG:{epsg}", "EPSG:4326", shapely.geometry.mapping(box))["coordinates"][0]
        outline = {"system:footprint": {"type": "LinearRing", "coordinates": ring}}
        s2 = np.stack([200 * (i + 1) + 150 * (label * (i + 2) % 9) + noise for i in range(4)])
        s1 = np.stack([-8.0 - label, -14.0 - 0.5 * label - 0.25 * (noise % 3)])
        probabilities = np.stack([np.where(label == c, 0.9, 0.0125) for c in range(9)])
        write(root / "COPERNICUS/S2_SR_HARMONIZED" / s2_id, epsg, x0, y0, s2.astype("uint16"), S2_BANDS, {
            "system:time_start": time, "MGRS_TILE": mgrs, "SPACECRAFT_NAME": "Sentinel-2A",
            "CLOUDY_PIXEL_PERCENTAGE": 1.0, **outline})
        write(root / "COPERNICUS/S1_GRD" / s1_id, epsg, x0, y0, s1.astype("float32"), ["VV", "VH"], {
            "system:time_start": time + 27000000, "instrumentMode": "IW", "platform_number": "A",
            "transmitterReceiverPolarisation": ["VV", "VH"], "orbitProperties_pass": orbit,
            "relativeOrbitNumber_start": 8 + number, **outline})
        write(root / "GOOGLE/DYNAMICWORLD/V1" / s2_id, epsg, x0, y0,
              np.concatenate([probabilities, label[None]]).astype("float32"), [*CLASSES, "label"],
              {"system:time_start": time, "dynamicworld_algorithm_version": "3.5", **outline})
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(shapely.box(*bounds)), "properties": {
        "ECO_ID": biome, "ECO_NAME": f"Region {biome}", "BIOME_NUM": biome, "BIOME_NAME": f"Biome {biome}",
        "REALM": "None"}} for biome, bounds in ((4, (-5, 45, 15, 60)), (7, (-70, -40, -40, -10)))]
    (root / "RESOLVE/ECOREGIONS").mkdir(parents=True)
    (root / "RESOLVE/ECOREGIONS/2017.geojson").write_text(json.dumps(
        {"type": "FeatureCollection", "features": features}))


def write(stem: Path, epsg: int, x0: float, y0: float, pixels: np.ndarray, bands: list[str], properties: dict) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(f"{stem}.tif", "w", driver="GTiff", width=SIDE, height=SIDE, count=len(bands), crs=f"EPSG:{epsg}",
                       dtype=pixels.dtype, transform=from_origin(x0, y0, 10, 10), compress="deflate") as raster:
        raster.write(pixels)
        raster.descriptions = bands
    Path(f"{stem}.json").write_text(json.dumps({"bands": bands, "properties": properties}))


def stores(out: Path, name: str, spec: str, world: str | None, stop_after: int) -> None:
    """Plan, a whole store, and one whose export was stopped after some tiles."""
    (out / f"{name}.yaml").write_text(spec)
    plan = out / f"{name}.parquet"
    write_plan(make_plan(connect(world=world), load_spec(out / f"{name}.yaml")), plan)
    summary = export(plan, out / f"{name}.zarr", EarthConfig(world=world))
    assert summary.complete, summary.line
    earth = embedded_earth(world, faults=Faults([Fault(
        "status", ":computePixels", 401, "Request had invalid authentication credentials.", skip=stop_after)]))
    server = serve(earth).start()
    try:
        export(plan, out / f"{name}_half.zarr", EarthConfig(world=server.url, concurrency=1))
    except StopError:
        pass
    server.close()


def damage(store: Path) -> None:
    """Bits flipped in a shard of pixels, a shard of statuses cut short, a shard gone."""
    groups = layout.biome_groups(layout.open_root(store))
    for place, position in ((f"{groups[0]}/s2/c/1/0/0/0", 500), (f"{groups[1]}/label/c/0/0/0", -3)):
        content = bytearray((store / place).read_bytes())
        content[position] ^= 1
        (store / place).write_bytes(content)
    (store / groups[1] / "s1/c/2/0/0/0").unlink()


def facts(store: Path) -> dict:
    """What this build reads of a store: a row and the digest of the stored pixels for each tile."""
    table = tile_table(store)
    table["s2_time"], table["s1_time"] = table["s2_time"].astype(str), table["s1_time"].astype(str)
    digests = {}
    for node in xr.open_datatree(store, engine="zarr", mask_and_scale=False).children.values():
        group = node.to_dataset()
        for i, tile_id in enumerate(group["tile_id"].values):
            digests[str(tile_id)] = {array: hashlib.sha256(np.ascontiguousarray(
                group[array].values[i]).tobytes()).hexdigest()[:16] for array in ("s2", "s1", "label", "class_counts")}
    keep = ["tile_id", "biome", "epsg", "x0", "y0", "s2_id", "s1_id", "s2_time", "s1_time", "gap_hours", "split", "status"]
    return {"rows": json.loads(table[[c for c in keep if c in table]].to_json(orient="records")), "digests": digests}


def pack(out: Path) -> str:
    """A tar with nothing of the day or the machine in it, compressed, in lines of text."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(p for p in out.rglob("*") if p.is_file() and p.name != "lock"):
            info = tarfile.TarInfo(str(path.relative_to(out)))
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
    packed = lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    return "\n".join(textwrap.wrap(base64.b64encode(packed).decode(), 120)) + "\n"


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], text=True, capture_output=True).stdout.strip()
    out = target / "old"
    out.mkdir(parents=True)
    os.chdir(out)  # a checkpoint keeps the path of its store
    asset_tree(out / "tree")
    stores(out, "tree", TREE_SPEC.replace("SEED", "1"), "tree", 5)
    from dwplus.earth.tables import sample_sites

    c = sample_sites(connect())[0].polygon.centroid
    planet = PLANET_SPEC
    for word, value in (("WEST", c.x - 0.01), ("SOUTH", c.y - 0.01), ("EAST", c.x + 0.01), ("NORTH", c.y + 0.01)):
        planet = planet.replace(word, f"{value:.4f}")
    stores(out, "planet", planet, None, 3)
    shutil.copytree(out / "tree.zarr", out / "tree_damaged.zarr")
    damage(out / "tree_damaged.zarr")
    whole = train(["tree.zarr"], target / "whole", make_config(CONFIG), device="cpu")
    train(["tree.zarr"], "run", make_config(CONFIG), device="cpu", pause_after=1)
    known: dict[str, Any] = {name: facts(out / f"{name}.zarr") for name in ("tree", "planet")}
    known["losses"] = [record["loss"] for record in whole.history]
    known["commit"] = commit
    (target / "known.json").write_text(json.dumps(known, indent=1) + "\n")
    (target / "old_build.tar.xz.txt").write_text(pack(out))


if __name__ == "__main__":
    main()
