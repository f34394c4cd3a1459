"""What can be said of a store from its spec and the digests of its plan: all there is for stores of earlier builds,
which have no seal, and a second witness for the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dwplus.spec import DatasetSpec
from dwplus.spec.radar import GAMMA_RTC
from dwplus.store import layout, plan_rows, writer
from dwplus.taxonomy import BIOMES, IGNORE, STRATUM_NAMES

#: Arrays that no tile is an axis of.
_BANDS = ("s2_band", "s1_band", "class")


def bands(spec: DatasetSpec) -> dict[str, list[str]]:
    """What those arrays must hold."""
    found = dict(zip(_BANDS, (list(spec.sentinel2.bands), list(spec.s1_bands), list(spec.labels.table.classes)),
                     strict=True))
    return found | {f"{one.name}_band": list(one.bands) for one in spec.extra_arrays if one.bands}


def wrong(spec: DatasetSpec, attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What of a store's metadata does not follow from its spec: path and what is wrong.

    Parameters
    ----------
    attributes : of the root. metadata : every group's and array's ``zarr.json``, by path.
    """
    for key, want in _root(spec).items():
        if attributes.get(key) != want:
            yield "zarr.json", f"says {key} {_short(attributes.get(key))}, of its spec follows {_short(want)}"
    arrays = _arrays(spec)
    for path, meta in sorted(metadata.items()):
        group, _, name = path.partition("/")
        try:
            if not name:
                yield from ((f"{path}/zarr.json", words) for words in _group(spec, group, meta["attributes"]))
            else:
                tiles = None if name in bands(spec) else metadata[f"{group}/label"]["shape"][0]
                yield from ((f"{path}/zarr.json", words) for words in _array(spec, name, arrays.get(name, {}), meta,
                                                                             tiles))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            yield f"{path}/zarr.json", f"is no metadata of this project ({type(error).__name__}: {error})"


def implied(spec: DatasetSpec, attributes: Mapping[str, Any], groups: Mapping[str, Mapping[str, np.ndarray]],
            ) -> Iterator[tuple[str, str]]:
    """What of a sealed store's root and columns does not follow from its spec and its plan: path and what is wrong.

    Parameters
    ----------
    attributes : of the root. groups : fixed columns as stored, by group and name.
    """
    # What a relabelling made of the classes is in no spec; the seal holds it.
    free = ("classes", "palette", "class") if "relabelled" in attributes else ()
    for key, want in _root(spec).items():
        if attributes.get(key) != want and key not in free:
            yield "zarr.json", f"says {key} {_short(attributes.get(key))}, of its spec follows {_short(want)}"
    windows = {str(window) for window in spec.windows}
    for group, columns in groups.items():
        for name, words in bands(spec).items():
            if (have := [str(word) for word in columns.get(name, [])]) != words and name not in free:
                yield f"{group}/{name}", f"holds {' '.join(have)}, of the spec follows {' '.join(words)}"
        if (wrong := sorted({*map(str, columns.get("window", []))} - windows)) and not wrong[0].startswith(
                "2015-06-23/2100"):
            yield f"{group}/window", f"holds {wrong[0]!r}, which is no window of the spec"
    kept: Any = attributes.get(plan_rows.KEY)
    try:
        frames = [pd.DataFrame({name: values for name, values in columns.items() if name in {
            *plan_rows.CONTRACT, *plan_rows.MORE}}) for columns in groups.values()]
        table = pd.concat(frames, ignore_index=True)
        for name in plan_rows.TIMES:
            table[name] = pd.to_datetime(table[name], unit="ms", utc=True)
        table["split"] = np.array(layout.SPLIT_FLAGS, object)[table["split"].to_numpy()]
        found = plan_rows.digests(table)
    except (KeyError, ValueError, IndexError, TypeError):
        return  # what is missing was said
    # A store of an earlier build keeps none, also when it has digests now.
    kept = kept if isinstance(kept, dict) else {}
    for name in sorted(kept.keys() & found.keys()):
        if kept[name] != found[name] and not (name == "split" and "splits" in attributes):
            yield "zarr.json", f"says another digest of its plan's column {name!r} than the column has"


def _root(spec: DatasetSpec) -> dict[str, Any]:
    table = spec.labels.table
    return {"classes": list(table.classes), "biomes": {str(number): name for number, name in BIOMES.items()},
            "palette": list(table.colours), "label_source": spec.labels.source,
            **({"s1_product": "rtc", "s1_backscatter": GAMMA_RTC} if spec.sentinel1.product == "rtc" else {})}


def _group(spec: DatasetSpec, group: str, attributes: Mapping[str, Any]) -> Iterator[str]:
    biome = attributes["biome"]
    for key, want in (("biome", int(group.removeprefix("biome_"))), ("biome_name", BIOMES.get(biome)),
                      ("scale", spec.tile.scale)):
        if attributes.get(key) != want:
            yield f"says {key} {_short(attributes.get(key))}, must be {_short(want)}"


def _arrays(spec: DatasetSpec) -> dict[str, dict[str, Any]]:
    """Of each array what decides how it is read."""
    def flags(names: Any) -> dict[str, Any]:
        return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}

    s2 = {"data_type": "uint16", "fill_value": layout.S2_NODATA, "dimension_names": ["tile", "s2_band", "y", "x"],
          "attributes": {"units": "1e-4", "_FillValue": layout.S2_NODATA}}
    floats = spec.store.s1_dtype == "float32"
    s1 = {"data_type": spec.store.s1_dtype, "fill_value": "NaN" if floats else layout.S1_NODATA,
          "dimension_names": ["tile", "s1_band", "y", "x"], "attributes": {"units": "dB", **({} if floats else {
              "scale_factor": layout.S1_SCALE, "_FillValue": layout.S1_NODATA})}}
    plain = {"data_type": "uint8", "dimension_names": ["tile", "y", "x"]}
    found: dict[str, dict[str, Any]] = {
        "s2": s2, "s1": s1, "s2_clear": s2,
        "label": {**plain, "fill_value": IGNORE, "attributes": {**flags(spec.labels.table.classes), "ignore": IGNORE}},
        "cloud": {**plain, "fill_value": layout.UNKNOWN_CLOUD, "attributes": flags(("clear", "cloud"))},
        "status": {"data_type": "uint8", "fill_value": 0, "attributes": flags(layout.STATUSES)},
        "stratum": {"data_type": "int8", "fill_value": -1, "attributes": flags(STRATUM_NAMES)},
        "valid_fraction": {"data_type": "float32", "fill_value": 0.0, "attributes": {"units": "1"}},
        "cloud_fraction": {"data_type": "float32", "fill_value": "NaN", "attributes": {"units": "1"}},
        "class_counts": {"data_type": "int32", "fill_value": 0, "dimension_names": ["tile", "class"]},
        "reason": {"data_type": "string", "fill_value": ""},
        "split": {"data_type": "uint8", "fill_value": 0},
        "lon": {"attributes": {"units": "degrees_east", "standard_name": "longitude"}},
        "lat": {"attributes": {"units": "degrees_north", "standard_name": "latitude"}},
        **{name: {"attributes": {"units": "m"}} for name in ("x0", "y0")},
        **{name: {"attributes": {"units": "h"}} for name in ("gap_hours", "label_gap_hours")},
        **{name: {"data_type": "int64", "attributes": {"units": "milliseconds since 1970-01-01T00:00:00",
                                                       "calendar": "proleptic_gregorian"}}
           for name in ("s1_time", "s2_time")},
        "s2_cloud": {"attributes": {"units": "percent"}}, "biome": {"data_type": "uint8"},
        "epsg": {"data_type": "int32"}, "relative_orbit": {"data_type": "int32"}, "s1_count": {"data_type": "int32"},
    }
    for one in spec.extra_arrays:
        found[one.name] = {
            "data_type": one.dtype, "fill_value": "NaN" if one.fill != one.fill else one.fill,
            "dimension_names": ["tile", *([f"{one.name}_band"] if one.bands else []), "y", "x"],
            "attributes": one.attributes}
    return found


#: Attributes that change what values mean; what else an array says is for people.
_MEANING = ("scale_factor", "add_offset", "_FillValue", "units", "flag_values", "flag_meanings", "calendar", "ignore",
            "standard_name", "valid_range", "valid_min", "valid_max", "missing_value", "dtype", "_Unsigned", "encoding")


def _array(spec: DatasetSpec, name: str, want: Mapping[str, Any], meta: Mapping[str, Any],
           tiles: int | None) -> Iterator[str]:
    if '"endian": "big"' in json.dumps(meta["codecs"]) or meta.get("storage_transformers") or (
            meta["chunk_key_encoding"] != {"name": "default", "configuration": {"separator": "/"}}):
        yield "says its bytes lie otherwise than this project writes them"
    for key in ("data_type", "fill_value", "dimension_names"):
        if key in want and meta.get(key) != want[key]:
            yield f"says {key} {_short(meta.get(key))}, must be {_short(want[key])}"
    given = meta.get("attributes", {})
    wanted = dict(want.get("attributes", {}))
    if name == "split":
        words = given.get("flag_meanings")
        names = layout.SPLIT_FLAGS if words == " ".join(layout.SPLIT_FLAGS) else layout.SPLITS
        wanted = {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}
    for key in _MEANING:
        if given.get(key) != wanted.get(key):
            yield f"says {key} {_short(given.get(key))}, must be {_short(wanted.get(key))}"
    if tiles is None:
        return
    side, shard = spec.tile.size, spec.store.shard_tiles
    many = {"s2": (len(spec.sentinel2.bands),), "s2_clear": (len(spec.sentinel2.bands),), "s1": (len(spec.s1_bands),),
            **{one.name: (len(one.bands),) for one in spec.extra_arrays if one.bands}}
    pixels = name in (*writer.PIXELS, *writer.MORE_PIXELS)
    classes = [len(spec.labels.table.classes)] if name == "class_counts" else []
    tail = [*many.get(name, ()), side, side] if pixels else classes
    if meta["shape"] != [tiles, *tail]:
        yield f"says shape {meta['shape']}, must be {[tiles, *tail]}"
    chunk = meta["chunk_grid"]["configuration"]["chunk_shape"]
    per_shard = pixels or name in (*writer.COLUMNS, *writer.TRIPLET_COLUMNS)
    if chunk != [shard if per_shard else max(1, tiles), *tail]:
        yield f"says chunk_shape {chunk}, must be {[shard if per_shard else max(1, tiles), *tail]}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."
