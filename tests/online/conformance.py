"""The exporter's own recipes, run on an Earth and written down: what a user can send us from real Earth Engine.

``python -m tests.online.conformance --project PROJECT -o report.json`` asks the service (about 12 requests, a few
EECU-seconds) and writes shapes, types, ids and statistics. Attach the file to an issue, or put it into
``tests/online/recorded/``: the tests compare every Earth with what lies there.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
from pathlib import Path
from typing import Any

import ee
import numpy as np
import shapely

import dwplus
from dwplus.earth import Session, connect
from dwplus.earth.stack import fetch_tile
from dwplus.earth.tables import habitats
from dwplus.grid import tile_from_id
from dwplus.planning.plan import make_plan
from dwplus.spec import make_spec

#: A place on real Earth Engine, and a site of the sample planet, both about 10 km across.
REAL = (9.40, 51.25, 9.55, 51.35)
WINDOW = (dt.date(2021, 6, 1), dt.date(2021, 8, 1))


def statistics(values: np.ndarray, nodata: float) -> dict[str, Any]:
    """Shape, type, share of valid pixels and percentiles of an array."""
    valid = values[values != nodata].astype("f8")
    return {"shape": list(values.shape), "dtype": str(values.dtype), "valid": round(valid.size / values.size, 4),
            "p05_p50_p95": [round(float(v), 3) for v in np.percentile(valid, [5, 50, 95])] if valid.size else None}


def semantics() -> dict[str, Any]:
    """Small questions whose answers differ between a faithful server and a careless one."""
    one = ee.Image.constant(1)
    return {
        "types": ee.Image.cat([one, one.divide(2), one.add(254), ee.Image.constant(0.1), one.toFloat().log10(),
                               one.gt(0), one.mask()]).bandTypes(),
        "half rounds": ee.List([ee.Number(0.5).round(), ee.Number(-0.5).round(), ee.Number(2.5).round()]),
        "composite projection": ee.ImageCollection([one, one]).mosaic().projection(),
        "region of half pixels": ee.Image.pixelLonLat().select("longitude").reduceRegion(
            ee.Reducer.mean().combine(ee.Reducer.count(), "", True),
            ee.Geometry.Rectangle([0.05, 0.05, 0.25, 0.15], "EPSG:4326", False), crs="EPSG:4326",
            crsTransform=[0.1, 0, 0, 0, -0.1, 0]),
        "month end": ee.Date("2021-01-31").advance(1, "month").format("YYYY-MM-dd"),
        "sort with nulls": ee.FeatureCollection([ee.Feature(None, {"a": 2}), ee.Feature(None, {}),
                                                 ee.Feature(None, {"a": 1})]).sort("a").aggregate_array("a"),
        "division by zero": ee.Image.constant(1).divide(0).unmask(-1).reduceRegion(
            ee.Reducer.first(), ee.Geometry.Point([0, 0]), 100),
    }


def report(session: Session, box: tuple[float, float, float, float] = REAL) -> dict[str, Any]:
    """Run everything on an Earth."""
    spec = make_spec({"name": "conformance", "region": {"bbox": list(box)}, "windows": [list(map(str, WINDOW))],
                      "tile": {"size": 128}, "sampling": {"per_biome": 1}})
    plan = make_plan(session, spec)
    row = next(r for r in plan.itertuples() if r.state == "planned")
    ids = str(row.s1_id).split(",")
    tile = fetch_tile(session, spec, tile_from_id(str(row.tile_id)).grid, str(row.label_id), str(row.s2_id), ids)
    west, south, east, north = box
    found: dict[str, Any] = {
        "dwplus": dwplus.__version__, "client": ee.__version__, "python": platform.python_version(),
        "earth": session.description, "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "plan": {"tile_id": row.tile_id, "label_id": row.label_id, "s2_id": row.s2_id, "s1_id": row.s1_id,
                 "gap_hours": round(float(row.gap_hours), 3), "biome": int(row.biome), "ecoregion": row.ecoregion},
        "place": [p and [p.biome, p.ecoregion, p.inside]
                  for p in habitats(session, [((west + east) / 2, (south + north) / 2)])],
        "pixels": {"s2": statistics(tile.s2, 65535), "s1": statistics(tile.s1, -32768),
                   "label": statistics(tile.label, 255)},
    }
    answers = {}
    for name, expression in semantics().items():
        try:
            answers[name] = session.compute(expression)
        except Exception as error:  # an answer like any other: what the server says is what we want to know
            answers[name] = f"{type(error).__name__}: {error}"
    found["semantics"] = answers
    images = ee.ImageCollection("COPERNICUS/S1_GRD").filterDate(*map(str, WINDOW)).filterBounds(shapely_box(box))
    found["sentinel-1 image"] = outline(session.compute(images.limit(1).first()))
    return found


def shapely_box(box: tuple[float, float, float, float]) -> ee.Geometry:
    """A planar box."""
    return ee.Geometry(shapely.geometry.mapping(shapely.box(*box)), None, False)


def outline(image: dict[str, Any]) -> dict[str, Any]:
    """An image's JSON without its values: which keys, bands and property types it has."""
    bands = [{key: band[key] if key in ("id", "data_type") else type(band[key]).__name__ for key in sorted(band)}
             for band in image["bands"]]
    return {"keys": sorted(image), "bands": bands,
            "properties": {k: type(v).__name__ for k, v in sorted(image["properties"].items())}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", help="Google Cloud project; without it the embedded Earth is asked")
    parser.add_argument("-o", "--output", type=Path, default=Path("conformance.json"))
    arguments = parser.parse_args()
    made = report(connect(arguments.project))
    arguments.output.write_text(json.dumps(made, indent=1, default=str) + "\n")
    print(json.dumps(made["semantics"], indent=1, default=str))
    print(f"written to {arguments.output}; attach it to an issue")


if __name__ == "__main__":
    main()
