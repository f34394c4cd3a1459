"""What others need to find and use a store: Croissant, a STAC collection, its items as GeoParquet, a data card.

All is written into ``STORE.card``, the folder beside the store: ``croissant.json``, ``collection.json``,
``items.parquet``, ``README.md``. The store itself is not touched.

Sources: https://docs.mlcommons.org/croissant/docs/croissant-spec.html (1.0),
https://github.com/radiantearth/stac-spec (1.1.0) with the extensions Projection 2.0.0, SAT 1.0.0 and EO 2.0.0,
https://radiantearth.github.io/stac-geoparquet-spec/latest (1.0.0), https://geoparquet.org (1.1.0).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.grid.longitude import box_of, cut
from dwplus.pages import skeleton
from dwplus.runtime.names import VERSION
from dwplus.runtime.paths import whole
from dwplus.spec.extras import GLO30, Extra, extras_of
from dwplus.spec.radar import quantity, share_of
from dwplus.splits import GUARD, grids_of
from dwplus.store import layout, stats
from dwplus.store.imported import is_imported
from dwplus.store.legend import legend_of
from dwplus.store.locks import run_place
from dwplus.store.places import Folder, companion, place_of
from dwplus.store.reader import tile_table
from dwplus.taxonomy import BIOMES, IGNORE

FILES = ("croissant.json", "collection.json", "items.parquet", "README.md")
STAC_VERSION = "1.1.0"
EXTENSIONS = ("https://stac-extensions.github.io/projection/v2.0.0/schema.json",
              "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
              "https://stac-extensions.github.io/eo/v2.0.0/schema.json")
CC_BY = "https://creativecommons.org/licenses/by/4.0/"
COPERNICUS = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
ZARR_TYPE = "application/vnd.zarr; version=3"
PARQUET_TYPE = "application/vnd.apache.parquet"
CITATION = ("Brown, C. F., et al. (2022). Dynamic World, Near real-time global 10 m land use land cover mapping. "
            "Scientific Data 9, 251. https://doi.org/10.1038/s41597-022-01307-4")


def write_card(store: str | Path, folder: str | Path | None = None) -> Path:
    """Describe a store for others.

    Parameters
    ----------
    folder : where to; by default ``STORE.card``.

    Returns
    -------
    The folder.

    Raises
    ------
    InputError
        Where there is no store, nothing was exported into it, or the folder cannot be written.
    """
    place = place_of(str(store).rstrip("/"))
    attrs: Any = layout.open_root(store).attrs.asdict()
    if is_imported(attrs):
        raise InputError(f"store {store}: was imported, and a card says where and when tiles of an export are; `dwplus "
                         "describe` and `dwplus report` say what it holds, its root attributes where it comes from")
    table = tile_table(store)
    if folder is None and not isinstance(place, Folder):
        raise InputError(f"card of {store}: lies in a folder, not in a bucket; say which with -o DIR")
    folder = Path(f"{place.name}.card" if folder is None else folder)
    href = os.path.relpath(place.path.absolute(), folder.absolute()) if isinstance(place, Folder) else place.name
    items = item_table(store, table, attrs, href)
    if not len(items):
        raise InputError(f"store {store}: no tile was exported into it; there is nothing to describe")
    origin = provenance(store, attrs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stac = collection(attrs, items, href, origin)
        _write_items(items, stac, folder / "items.parquet")
        digest = hashlib.sha256((folder / "items.parquet").read_bytes()).hexdigest()
        _write_json(folder / "collection.json", stac)
        _write_json(folder / "croissant.json", croissant(attrs, items, href, digest, origin))
        (folder / "README.md").write_text(readme(place.name, attrs, items, origin), encoding="utf-8")
    except OSError as error:
        raise InputError(f"card {folder}: cannot be written ({error.strerror or error})") from None
    return folder


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def provenance(store: str | Path, attrs: dict[str, Any]) -> dict[str, Any]:
    """Where a store comes from: versions, Earth, hashes of spec and plan, and what its runs did, as far as known."""
    spec = json.dumps(attrs["spec"], sort_keys=True)
    found: dict[str, Any] = {
        "dwplus_version": attrs["dwplus_version"], "earth": attrs["earth"], "created": attrs["created"],
        "spec_sha256": hashlib.sha256(spec.encode()).hexdigest(), "plan": attrs["plan"], "spec": attrs["spec"],
    }
    plan = companion(store, ".plan.parquet")
    if plan.exists():
        found["plan_sha256"] = hashlib.sha256(plan.read_bytes()).hexdigest()
    run = run_place(store)
    if isinstance(run, Folder) and (run.path / "attempts.jsonl").exists():
        with (run.path / "attempts.jsonl").open("rb") as lines:
            found["tile_requests"] = sum(1 for _ in lines)
    return found


def _title(attrs: dict[str, Any]) -> str:
    return str(attrs.get("title") or f"{attrs['spec']['name']}: Sentinel-2, Sentinel-1 and Dynamic World labels")


def _label_title(attrs: dict[str, Any]) -> str:
    table = legend_of(attrs).table
    return "Dynamic World class" if table == "dynamic-world" else f"class of {table}"


def _extras(attrs: dict[str, Any]) -> list[Extra]:
    """The store's extras."""
    spec = attrs["spec"]
    return extras_of(spec.get("extras", ()), spec["store"].get("embedding_dtype", "float16"),
                     spec.get("elevation", GLO30))


def _is_rtc(attrs: dict[str, Any]) -> bool:
    return bool(attrs["spec"]["sentinel1"].get("product") == "rtc")


def _description(attrs: dict[str, Any], tiles: int) -> str:
    spec = attrs["spec"]
    windows = ", ".join(f"{w['start']} to {w['end']}" for w in spec["windows"])
    labels = (f"labels of {spec['labels']['asset']}" if attrs["label_source"] == "asset" else
              "labels annotated by people (Dynamic World training data)" if attrs["label_source"] == "annotations" else
              "labels predicted by the Dynamic World V1 model, not annotated by people")
    synthetic = (" The pixels come from an embedded Earth Engine: synthetic on its sample planet, and then good for no "
                 "statement about the real Earth." if attrs["earth"] == "embedded-earth" else "")
    shape, number = spec["tile"], len(legend_of(attrs).classes)
    classes = "nine" if number == 9 else str(number)
    passes = f" {line}." if (line := share_of(attrs)) else ""
    radar = f"backscatter ({quantity(spec)})" if _is_rtc(attrs) else "GRD backscatter"
    return (f"{tiles} tiles of {shape['size']} x {shape['size']} pixels of {shape['scale']:g} m in "
            f"UTM, each a land-cover label of {classes} classes, the Sentinel-2 scene it belongs to, and the "
            f"Sentinel-1 {radar} paired with it ({spec['sentinel1']['policy']}, |gap| <= "
            f"{spec['sentinel1']['max_gap_hours']:g} h); {labels}; label dates {windows}.{passes}{synthetic}")


def item_table(store: str | Path, table: pd.DataFrame, attrs: dict[str, Any], href: str) -> gpd.GeoDataFrame:
    """The exported tiles as STAC items, one a row, as the stac-geoparquet specification lays them out.

    Parameters
    ----------
    href : of the store, as seen from the card.
    """
    rows = table[table["status"] == "exported"].reset_index(drop=True)
    spec = attrs["spec"]
    size, scale = int(spec["tile"]["size"]), float(spec["tile"]["scale"])
    grids = grids_of(rows, size, scale)
    twice = rows["tile_id"].duplicated(keep=False)
    ids = np.where(twice, rows["tile_id"].astype(str) + "__" + rows["label_id"].astype(str), rows["tile_id"])
    times = pd.concat([rows["s1_time"], rows["s2_time"]], axis=1)
    frame: dict[str, Any] = {
        "type": "Feature", "stac_version": STAC_VERSION, "stac_extensions": [list(EXTENSIONS)] * len(rows), "id": ids,
        "collection": spec["name"], "datetime": rows["s2_time"], "start_datetime": times.min(axis=1),
        "end_datetime": times.max(axis=1), "eo:cloud_cover": rows["s2_cloud"].astype("float64"),
        "proj:code": [grid.crs for grid in grids], "proj:shape": [list(grid.shape) for grid in grids],
        "proj:transform": [list(grid.transform)[:6] for grid in grids], "proj:bbox": [list(g.bounds) for g in grids],
        # The extension knows ascending and descending; a mean of both has no one state.
        "sat:orbit_state": [s if (s := str(p).lower()) in ("ascending", "descending") else None
                            for p in rows["orbit_pass"]],
        "sat:relative_orbit": pd.array([o if o > 0 else None for o in rows["relative_orbit"].tolist()], "Int32"),
        "platform": "sentinel-1, sentinel-2",
        **{f"dwplus:{name}": rows[name].astype(str if rows[name].dtype.kind not in "iufM" else rows[name].dtype)
           for name in ("tile_id", "biome", "ecoregion", "split", "window", "label_id", "s2_id", "s1_id", "gap_hours",
                        "s1_count", "valid_fraction", "group", "index")},
        # Text: readers of the specification turn only its own times back into text.
        "dwplus:s1_datetime": rows["s1_time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{f"dwplus:pixels_{name}": rows[f"count_{name}"] for name in legend_of(attrs).classes},
        "assets": [{name: {"href": f"{href}/{group}/{name}", "type": ZARR_TYPE, "roles": ["data"], "title": title}
                    for name, title in (("s2", "Sentinel-2, digital numbers"), ("s1", "Sentinel-1, backscatter in dB"),
                                        ("label", _label_title(attrs)),
                                        *((one.name, one.attributes["long_name"]) for one in _extras(attrs)))}
                   for group in rows["group"]],
        "links": [[{"rel": "collection", "href": "collection.json", "type": "application/json"}]] * len(rows),
    }
    return gpd.GeoDataFrame(frame, geometry=[cut(grid.footprint()) for grid in grids], crs="OGC:CRS84")


def _write_items(items: gpd.GeoDataFrame, stac: dict[str, Any], path: Path) -> None:
    import pyarrow.parquet as pq

    with whole(path) as partial:
        items.to_parquet(partial, write_covering_bbox=True, schema_version="1.1.0", index=False)
        found = pq.read_table(partial)
        more = {b"stac-geoparquet": json.dumps({"version": "1.0.0", "collections": {stac["id"]: stac}}).encode()}
        pq.write_table(found.replace_schema_metadata({**(found.schema.metadata or {}), **more}), partial,
                       compression="zstd")


def _iso(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _bounds(items: gpd.GeoDataFrame) -> list[float]:
    return [round(float(v), 6) for v in box_of(items.geometry)]


def collection(attrs: dict[str, Any], items: gpd.GeoDataFrame, href: str, origin: dict[str, Any]) -> dict[str, Any]:
    """The STAC collection."""
    spec = attrs["spec"]

    interval = [_iso(items["start_datetime"].min()), _iso(items["end_datetime"].max())]

    def bands(sensor: str) -> list[dict[str, Any]]:
        names = spec["sentinel2"]["bands"] if sensor == "s2" else (
            ["VV", "VH"] + (["angle"] if spec["sentinel1"].get("keep_angle") else [])
            + spec["sentinel1"].get("keep", []))
        return [{"name": name} for name in names]

    int16 = spec["store"]["s1_dtype"] == "int16"
    return {
        "type": "Collection", "stac_version": STAC_VERSION, "stac_extensions": [], "id": spec["name"],
        "title": _title(attrs), "description": _description(attrs, len(items)), "license": "other",
        "keywords": ["land cover", "Dynamic World", "Sentinel-1", "Sentinel-2", "segmentation"],
        "providers": [{"name": "dwplus", "roles": ["processor"], "description": f"dwplus {VERSION}"},
                      {"name": "ESA, Copernicus", "roles": ["producer", "licensor"],
                       "url": "https://sentinels.copernicus.eu"},
                      *([{"name": "OPERA, NASA/JPL", "roles": ["producer", "licensor"],
                          "url": "https://www.jpl.nasa.gov/go/opera"}] if _is_rtc(attrs) else []),
                      {"name": "Google and World Resources Institute", "roles": ["producer", "licensor"],
                       "url": "https://dynamicworld.app"}],
        "extent": {"spatial": {"bbox": [_bounds(items)]},
                   "temporal": {"interval": [interval]}},
        "summaries": {"proj:code": sorted(set(items["proj:code"])), "gsd": [spec["tile"]["scale"]],
                      "dwplus:biome": [int(b) for b in sorted(set(items["dwplus:biome"]))],
                      "dwplus:split": [s for s in layout.SPLIT_FLAGS if (items["dwplus:split"] == s).any()],
                      "dwplus:gap_hours": {"minimum": float(items["dwplus:gap_hours"].min()),
                                           "maximum": float(items["dwplus:gap_hours"].max())}},
        "item_assets": {
            "s2": {"type": ZARR_TYPE, "roles": ["data"], "title": "Sentinel-2, reflectance x 10000", "data_type":
                   "uint16", "nodata": layout.S2_NODATA, "bands": bands("s2")},
            "s1": {"type": ZARR_TYPE, "roles": ["data"], "title": "Sentinel-1, backscatter in dB",
                   "data_type": spec["store"]["s1_dtype"], "unit": "dB", "bands": bands("s1"),
                   **({"nodata": layout.S1_NODATA, "dwplus:scale": layout.S1_SCALE} if int16 else {"nodata": "nan"})},
            "label": {"type": ZARR_TYPE, "roles": ["data"], "title": _label_title(attrs), "data_type": "uint8",
                      "nodata": IGNORE},
            **{one.name: {
                "type": ZARR_TYPE, "roles": ["data"], "title": one.attributes["long_name"], "data_type": one.dtype,
                "nodata": "nan" if one.fill != one.fill else one.fill, "bands": [{"name": b} for b in one.wire_bands],
                **({"unit": one.attributes["units"]} if "units" in one.attributes else {}),
                **({"dwplus:scale": one.attributes["scale_factor"]} if "scale_factor" in one.attributes else {})}
               for one in _extras(attrs)}},
        "assets": {
            "store": {"href": href, "type": ZARR_TYPE, "roles": ["data"], "title": "Zarr v3 store",
                      "description": "A group per biome; an item's dwplus:group and dwplus:index say where it lies"},
            "items": {"href": "items.parquet", "type": PARQUET_TYPE, "roles": ["collection-mirror"],
                      "title": "All items, stac-geoparquet"},
            "croissant": {"href": "croissant.json", "type": "application/ld+json", "roles": ["metadata"],
                          "title": "Croissant"}},
        "links": [{"rel": "license", "href": CC_BY, "title": "Dynamic World, RESOLVE Ecoregions: CC-BY-4.0"},
                  {"rel": "license", "href": COPERNICUS, "title": "Copernicus Sentinel data: legal notice"},
                  {"rel": "cite-as", "href": "https://doi.org/10.1038/s41597-022-01307-4"},
                  *([{"rel": "cite-as", "href": "https://doi.org/10.5067/SNWG/OPERA_L2_RTC-S1_V1"}] if _is_rtc(attrs)
                    else [])],
        "dwplus:sources": attrs["sources"], "dwplus:provenance": origin,
    }


#: The context that the Croissant specification prescribes.
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}


def croissant(attrs: dict[str, Any], items: gpd.GeoDataFrame, href: str, sha256: str,
              origin: dict[str, Any]) -> dict[str, Any]:
    """The Croissant description: the table of tiles can be read through it; the pixels are described as files.

    Parameters
    ----------
    sha256 : of ``items.parquet``.
    """
    def column(record: str, name: str, kind: str, words: str, **more: Any) -> dict[str, Any]:
        return {"@type": "cr:Field", "@id": f"{record}/{name.removeprefix('dwplus:')}", "description": words,
                "name": name.removeprefix("dwplus:"), "dataType": kind,
                "source": {"fileObject": {"@id": "items.parquet"}, "extract": {"column": name}}, **more}

    def inline(record: str, kind: str | None, words: str, key: str, fields: dict[str, str],
               data: list[dict[str, Any]]) -> dict[str, Any]:
        return {"@type": "cr:RecordSet", "@id": record, "name": record, "description": words,
                **({"dataType": kind} if kind else {}), "key": {"@id": f"{record}/{key}"},
                "field": [{"@type": "cr:Field", "@id": f"{record}/{name}", "name": name, "dataType": of}
                          for name, of in fields.items()],
                "data": [{f"{record}/{name}": value for name, value in row.items()} for row in data]}

    splits = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}
    if (items["dwplus:split"] == GUARD).any():
        splits[GUARD] = "cr:Split"  # in none of them: too near to another
    fields = [
        column("tiles", "id", "sc:Text", "Name of the item."),
        column("tiles", "dwplus:tile_id", "sc:Text", "Name of the tile; the same in stores of other dates."),
        column("tiles", "dwplus:split", "sc:Text", "Split, by blocks of ground.",
               references={"field": {"@id": "splits/name"}}),
        column("tiles", "dwplus:biome", "sc:Integer", "RESOLVE biome, 1 to 14.",
               references={"field": {"@id": "biomes/number"}}),
        column("tiles", "dwplus:ecoregion", "sc:Text", "RESOLVE ecoregion."),
        column("tiles", "datetime", "sc:Date", "Time of the Sentinel-2 scene and of its label, UTC."),
        column("tiles", "dwplus:gap_hours", "sc:Float", "Sentinel-1 time minus Sentinel-2 time, hours."),
        column("tiles", "eo:cloud_cover", "sc:Float", "Cloudiness of the whole Sentinel-2 scene, percent."),
        column("tiles", "dwplus:valid_fraction", "sc:Float", "Share of pixels with label, S2 and S1."),
        column("tiles", "dwplus:label_id", "sc:Text", "Label image."),
        column("tiles", "dwplus:s2_id", "sc:Text", "Sentinel-2 image."),
        column("tiles", "dwplus:s1_id", "sc:Text", "Sentinel-1 images, by commas."),
        column("tiles", "proj:code", "sc:Text", "Reference system of the tile, a UTM zone."),
        column("tiles", "dwplus:group", "sc:Text", "Group of the Zarr store that holds its pixels."),
        column("tiles", "dwplus:index", "sc:Integer", "Place along the group's first axis."),
        *(column("tiles", f"dwplus:pixels_{name}", "sc:Integer", f"Pixels labelled {name}.")
          for name in legend_of(attrs).classes),
    ]
    synthetic = attrs["earth"] == "embedded-earth"
    limits = "Labels predicted by a model carry its errors; scores on them are no scores against people's labels."
    if attrs["label_source"] == "annotations":
        limits = "Labels annotated by people on fixed dates; unlabelled pixels are 255 and to be left out."
    return {
        "@context": CONTEXT, "@type": "sc:Dataset", "name": attrs["spec"]["name"], "alternateName": _title(attrs),
        "description": _description(attrs, len(items)), "conformsTo": ["http://mlcommons.org/croissant/1.0",
                                                                       "http://mlcommons.org/croissant/RAI/1.0"],
        "license": [CC_BY, COPERNICUS], "url": "collection.json", "version": "1.0.0", "citeAs": CITATION,
        "datePublished": attrs["created"][:10], "dateCreated": attrs["created"],
        "creator": {"@type": "sc:Organization", "name": f"dwplus {attrs['dwplus_version']}"},
        "keywords": ["land cover", "Sentinel-1", "Sentinel-2", "Dynamic World", "semantic segmentation"],
        "isLiveDataset": False,
        "creditText": "; ".join(one["attribution"] for one in attrs["sources"].values()),
        "rai:dataCollection": _description(attrs, len(items)),
        "rai:dataLimitations": limits + (" Pixels may be synthetic: exported from an embedded Earth." if synthetic
                                         else ""),
        "rai:dataAnnotationProtocol": "Brown et al. 2022, doi.org/10.1038/s41597-022-01307-4",
        "rai:dataPreprocessingProtocol": json.dumps({k: v for k, v in origin.items() if k != "plan"}, sort_keys=True),
        "distribution": [
            {"@type": "cr:FileObject", "@id": "items.parquet", "name": "items.parquet", "description":
             "One row per tile, GeoParquet.", "contentUrl": "items.parquet", "encodingFormat": "application/x-parquet",
             "sha256": sha256},
            {"@type": "cr:FileSet", "@id": "store", "name": "store", "description":
             "The Zarr v3 store: a group biome_NN per biome with arrays s2 (tile, band, y, x) uint16, s1 (tile, band, "
             "y, x) and label (tile, y, x) uint8; open it with xarray.open_datatree(store, engine='zarr').",
             "encodingFormat": "application/vnd.zarr", "includes": f"{href}/**"}],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "tiles", "name": "tiles", "description": "The exported tiles.",
             "key": {"@id": "tiles/id"}, "field": fields},
            inline("splits", "cr:Split", "Splits, by blocks of ground.", "name", {"name": "sc:Text", "url": "sc:URL"},
                   [{"name": name, "url": url} for name, url in splits.items()]),
            inline("classes", "sc:Enumeration", "Classes of the labels; 255 is no label.", "number",
                   {"number": "sc:Integer", "name": "sc:Text", "colour": "sc:Text"},
                   [{"number": i, "name": name, "colour": colour}
                    for i, (name, colour) in enumerate(zip(
                        legend_of(attrs).classes, legend_of(attrs).colours, strict=True))]),
            inline("biomes", "sc:Enumeration", "RESOLVE biomes.", "number", {"number": "sc:Integer", "name": "sc:Text"},
                   [{"number": number, "name": name} for number, name in BIOMES.items()])],
    }


def readme(store: str, attrs: dict[str, Any], items: gpd.GeoDataFrame, origin: dict[str, Any]) -> str:
    """The data card for people, Markdown."""
    found = items["dwplus:split"].value_counts()
    total = max(1, sum(int(items[f"dwplus:pixels_{name}"].sum()) for name in legend_of(attrs).classes))
    kept = stats.stored(store)
    place = place_of(store)
    rejected = origin["plan"]["rejected"].items()
    return skeleton.render(
        "card.md", title=_title(attrs), description=_description(attrs, len(items)),
        splits=", ".join(f"{name} {found.get(name, 0)}" for name in layout.SPLIT_FLAGS
                         if name != GUARD or GUARD in found),
        store=place.path.name if isinstance(place, Folder) else place.name, tile=str(items["dwplus:tile_id"].iat[0]),
        biomes=[(b, BIOMES.get(int(b), ""), int((items["dwplus:biome"] == b).sum()))
                for b in sorted(set(items["dwplus:biome"]))],
        classes=[(i, name, f"{items[f'dwplus:pixels_{name}'].sum() / total:.2%}") 
                 for i, name in enumerate(legend_of(attrs).classes)],
        sources=[(name, one["collection"], one["licence"], one["attribution"])
                 for name, one in attrs["sources"].items()],
        copernicus=COPERNICUS, citation=CITATION, bands="" if kept is None else "\n".join(stats.describe(kept)),
        made=[(name, value) for name, value in origin.items() if name not in ("spec", "plan")], plan=origin["plan"],
        rejected=", ".join(f"{n} {reason}" for reason, n in rejected) or "none", spec=origin["spec"])
