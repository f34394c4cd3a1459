"""Values as the JSON the service answers with."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.grid import Projection
from dwplus.embedded_earth.pixel_types import PixelType
from dwplus.embedded_earth.shapes import Geometry
from dwplus.embedded_earth.values import (
    Collection,
    ConfusionMatrix,
    Date,
    DateRange,
    ErrorMargin,
    Feature,
    Filter,
    Function,
    Image,
    Kernel,
    Reducer,
    index_of,
)


def number(value: float) -> float | int | str:
    """Whole floats print as integers; what JSON has no number for, as a text."""
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        if value.is_integer() and abs(value) < 2**53:
            return int(value)
    return value


def encode(value: Any, context: Context) -> Any:
    """A value as plain JSON.

    Raises
    ------
    ComputeError
        For collections of more elements than an answer holds, and values that have no form of their own.
    """
    context.write()
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, np.ndarray):
        return encode(value.tolist(), context)
    if isinstance(value, list | tuple):
        return [encode(item, context) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item, context) for key, item in value.items()}
    if isinstance(value, Image):
        return encode_image(value, context)
    if isinstance(value, Feature):
        return encode_feature(value, context)
    if isinstance(value, Collection):
        return encode_collection(value, context)
    if isinstance(value, Geometry):
        return value.json()
    if isinstance(value, Date):
        return {"type": "Date", "value": number(value.ms)}
    if isinstance(value, DateRange):
        return {"type": "DateRange", "dates": [None if v is None else number(v) for v in (value.start, value.end)]}
    if isinstance(value, Projection):
        return encode_projection(value)
    if isinstance(value, PixelType):
        return encode_type(value)
    if isinstance(value, ErrorMargin):
        size = {} if value.unit == "infinite" else {"value": None if value.value is None else number(value.value)}
        return {"type": "ErrorMargin", "unit": value.unit, **size}
    if isinstance(value, Kernel):
        return encode_kernel(value)
    if isinstance(value, ConfusionMatrix):
        return encode(value.counts, context)
    if isinstance(value, Function | Filter | Reducer) or value is not None:
        raise ComputeError(f"A value of type {type(value).__name__} cannot be returned.")
    return None


def encode_kernel(value: Kernel) -> dict[str, Any]:
    """Weights by row and the focus (column, row); in metres they depend on the pixels and are left out."""
    if value.metric:
        return {"type": "Kernel", "units": "meters"}
    found = value.at(1.0)
    return {"type": "Kernel", "units": "pixels", "center": [found.col, found.row],
            "weights": [[number(weight) for weight in row] for row in found.values.tolist()]}


def encode_type(value: PixelType) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "PixelType", "precision": value.precision}
    if value.minimum is not None and value.maximum is not None:
        out |= {"min": number(value.minimum), "max": number(value.maximum)}
    if value.dimensions:
        out["dimensions"] = value.dimensions
    return out


def encode_projection(value: Projection) -> dict[str, Any]:
    key = "crs" if not value.crs.startswith(("PROJCRS", "GEOGCRS", "PROJCS", "GEOGCS", "BOUNDCRS")) else "wkt"
    return {"type": "Projection", key: value.crs, "transform": [number(v) for v in value.transform]}


def encode_image(image: Image, context: Context) -> dict[str, Any]:
    bands = []
    for band in image.bands:
        out: dict[str, Any] = {"id": band.id, "data_type": encode_type(band.type)}
        if band.extent is not None:
            out["dimensions"] = [band.extent.width, band.extent.height]
            if band.extent.col or band.extent.row:
                out["origin"] = [band.extent.col, band.extent.row]
        out["crs"] = band.projection.crs
        out["crs_transform"] = [number(v) for v in band.projection.transform]
        bands.append(out)
    out = {"type": "Image", "bands": bands}
    if image.id is not None:
        out["id"] = image.id
    if image.version is not None:
        out["version"] = image.version
    if image.properties:
        out["properties"] = {key: encode(value, context) for key, value in image.properties.items()}
    return out


def encode_feature(feature: Feature, context: Context, position: int | None = None) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "Feature", "geometry": None if feature.geometry is None else feature.geometry.json()}
    index = feature.properties.get("system:index", feature.id)
    if index is not None or position is not None:
        out["id"] = str(index if index is not None else position)
    out["properties"] = {key: encode(value, context) for key, value in feature.properties.items()
                         if key != "system:index"}
    return out


def encode_collection(collection: Collection, context: Context) -> dict[str, Any]:
    elements = list(itertools.islice(iter(collection), context.elements + 1))
    if len(elements) > context.elements:
        raise ComputeError(f"Collection query aborted after accumulating over {context.elements} elements.")
    images = all(isinstance(element, Image) for element in elements) and collection.kind == "ImageCollection"
    out: dict[str, Any] = {"type": "ImageCollection" if images else "FeatureCollection"}
    if collection.id is not None:
        out["id"] = collection.id
    if images:
        out["bands"] = []
    else:
        out["columns"] = _columns(elements)
    features = []
    for position, element in enumerate(elements):
        if isinstance(element, Image):
            if "system:index" not in element.properties:
                element = element.with_properties({**element.properties, "system:index": index_of(element, position)})
            features.append(encode_image(element, context))
        elif isinstance(element, Feature):
            features.append(encode_feature(element, context, position))
        else:
            features.append(encode(element, context))
    out["properties"] = {key: encode(value, context) for key, value in collection.properties.items()}
    out["features"] = features
    return out


def _columns(elements: list[Any]) -> dict[str, str]:
    """Names and types of the first element's properties."""
    names = {bool: "Boolean", int: "Integer", float: "Float", str: "String", list: "List", dict: "Dictionary"}
    first = elements[0].properties if elements and isinstance(elements[0], Feature | Image) else {}
    return {"system:index": "String", **{key: names.get(type(value), "Object") for key, value in first.items()
                                         if key != "system:index"}}
