"""The work every tool gets: the tiles of one plan, each as grid, scene ids and one ready Earth Engine expression."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dwplus.earth import connect
from dwplus.earth.images import dynamic_world, sentinel1, sentinel2
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import DatasetSpec, make_spec

#: Tiles of one biome in the list, as many as a shard holds: shards are full in a real export.
PER_BIOME = 16


def make_job(folder: Path, tiles: int) -> Path:
    """Plan on the sample planet; write ``plan.parquet`` and ``job.json`` to a folder.

    The expression is the exporter's own stack of 10 Sentinel-2 bands (uint16), VV and VH (int16, hundredths of dB) and
    label (uint8), every band with its fill value: a peer needs not know how to pair or mask.

    Returns
    -------
    The job.
    """
    spec = make_spec({"name": "peers", "region": "sample", "windows": [["2021-06-01", "2021-09-01"]],
                      "sampling": {"per_biome": min(tiles, PER_BIOME)}})
    plan = make_plan(connect(), spec)
    plan = plan[plan["state"] == "planned"].iloc[:tiles]
    if len(plan) < tiles:
        raise SystemExit(f"only {len(plan)} of {tiles} tiles could be planned")
    write_plan(plan, folder / "plan.parquet")
    job = folder / "job.json"
    job.write_text(json.dumps({
        "plan": str(folder / "plan.parquet"), "bands": [*spec.sentinel2.bands, *spec.s1_bands, "label"],
        "tiles": [_tile(spec, row) for row in plan.to_dict("records")]}))
    return job


def _tile(spec: DatasetSpec, row: dict[str, Any]) -> dict[str, Any]:
    s1_ids = row["s1_id"].split(",")
    image = (sentinel2.reflectance(row["s2_id"], "sr", spec.sentinel2.bands)
             .addBands(sentinel1.backscatter(s1_ids))
             .addBands(dynamic_world.label([row["label_id"]])))
    return {"name": f"{row['tile_id']}_{row['label_id'][:8]}", "tile_id": row["tile_id"], "epsg": int(row["epsg"]),
            "x0": row["x0"], "y0": row["y0"], "size": int(row["size"]), "scale": row["scale"],
            "bounds": list(row["geometry"].bounds), "s2_id": row["s2_id"], "label_id": row["label_id"],
            "s1_ids": s1_ids, "expression": image.serialize()}
