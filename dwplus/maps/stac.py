"""A map as a STAC item: one JSON file that says where, when, what and from what. Pure.

Source: STAC 1.1.0, https://github.com/radiantearth/stac-spec, with its extensions projection, raster, classification.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rasterio
import shapely

from dwplus.grid.longitude import box_of, connected, cut, polygons_of
from dwplus.maps.blocks import Block
from dwplus.maps.raster import Layer
from dwplus.store.card import STAC_VERSION
from dwplus.store.legend import DYNAMIC_WORLD, Legend
from dwplus.store.sources import SOURCES

EXTENSIONS = [f"https://stac-extensions.github.io/{name}/schema.json"
              for name in ("projection/v2.0.0", "raster/v1.1.0", "classification/v1.1.0")]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def ground(blocks: Sequence[Block]) -> shapely.Geometry:
    """Outline of the blocks in EPSG:4326, cut at the antimeridian as GeoJSON wants it."""
    parts = [part for block in blocks for part in polygons_of(block.grid.footprint())]
    return cut(shapely.simplify(shapely.union_all(polygons_of(connected(shapely.MultiPolygon(parts)))), 1e-4))


def iso(milliseconds: int) -> str:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def item(name: str, blocks: Sequence[Block], rasters: dict[str, tuple[Layer, Path]],
         others: dict[str, tuple[Path, str]], created: str, properties: dict[str, Any],
         radar: dict[str, str] = SOURCES["sentinel1"], legend: Legend = DYNAMIC_WORLD) -> dict[str, Any]:
    """The item.

    Parameters
    ----------
    blocks : mapped ones, with their scenes. rasters : by key of the asset, the GeoTIFFs in the map's folder.
    others : by key, path and media type of further files. created : ISO time. properties : more of them. radar :
    where Sentinel-1's pixels come from, see :data:`dwplus.store.sources.SOURCES`. legend : classes of the map.
    """
    outline = ground(blocks)
    times = sorted(scene.s2_ms for block in blocks for scene in block.scenes)
    assets = {key: _raster_asset(layer, path) for key, (layer, path) in rasters.items()}
    for key, (path, kind) in others.items():
        assets[key] = {"href": f"./{path.name}", "type": kind, "roles": ["overview" if "png" in kind else "metadata"]}
    what = ("Nine land-cover classes of Dynamic World" if legend == DYNAMIC_WORLD else
            f"{len(legend)} land-cover classes of {legend.table}")
    return {
        "type": "Feature", "stac_version": STAC_VERSION, "stac_extensions": EXTENSIONS, "id": name,
        "geometry": json.loads(shapely.to_geojson(outline)), "bbox": list(box_of([outline])),
        "properties": {
            "datetime": iso(times[len(times) // 2]), "start_datetime": iso(times[0]), "end_datetime": iso(times[-1]),
            "created": created, "license": "proprietary", "title": f"Land cover, {name}",
            "description": f"{what} by a network that looks at Sentinel-2 and Sentinel-1; "
                           f"{SOURCES['sentinel2']['attribution']}; {radar['attribution']}",
            **properties},
        "links": [], "assets": assets}


def _raster_asset(layer: Layer, path: Path) -> dict[str, Any]:
    with rasterio.open(path) as raster:
        asset: dict[str, Any] = {
            "href": f"./{path.name}", "type": COG, "roles": ["data"], "title": layer.name,
            "proj:code": f"EPSG:{raster.crs.to_epsg()}", "proj:shape": [raster.height, raster.width],
            "proj:transform": list(raster.transform)[:6], "proj:bbox": list(raster.bounds)}
    asset["raster:bands"] = [{"data_type": layer.dtype, "nodata": layer.nodata, "spatial_resolution": raster.res[0],
                              **({"unit": unit} if unit else {})} for unit in layer.units]
    if layer.name == "class":
        asset["classification:classes"] = [
            {"value": i, "name": name, "description": name.replace("_", " "), "color_hint": colour.lstrip("#")}
            for i, (name, colour) in enumerate(zip(layer.legend.classes, layer.legend.colours,
                                                         strict=True))]
    return asset
