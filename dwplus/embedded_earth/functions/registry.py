"""Which functions there are, their signatures, and turning arguments into what a signature asks for.

Signatures (names, defaults, types) are the service's own, from the list that ships with its client.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely

from dwplus.embedded_earth.arrays import array_of
from dwplus.embedded_earth.bands import constant_band
from dwplus.embedded_earth.client import ALGORITHMS, client_json
from dwplus.embedded_earth.composites import mosaic, stack
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.dates import date_of
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.filter_text import clauses
from dwplus.embedded_earth.footprints import footprint, together
from dwplus.embedded_earth.grid import UNIT, Projection, canonical_crs
from dwplus.embedded_earth.pixel_types import PixelType, pixel_type
from dwplus.embedded_earth.shapes import Geometry, geometry_of
from dwplus.embedded_earth.values import (
    Classifier,
    Collection,
    ConfusionMatrix,
    Date,
    DateRange,
    ErrorMargin,
    Feature,
    Filter,
    Function,
    Image,
    Join,
    Kernel,
    Reducer,
    collection_of,
    error_margin,
)

_log = logging.getLogger(__name__)
_FUNCTIONS: dict[str, Callable[..., Any]] = {}
#: What the service calls an aggregation.
_AGGREGATIONS = frozenset({"Image.reduceRegion", "Image.reduceRegions"})


def function(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under one or more names; it takes the context, then the signature's arguments in order."""
    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            _FUNCTIONS[name] = implementation
        return implementation

    return register


@functools.cache
def signatures() -> dict[str, dict[str, Any]]:
    """Signature of every function of the service, by name.

    Raises
    ------
    ClientFileError
        Where the client comes without its list of functions.
    """
    listed = client_json(ALGORITHMS)["algorithms"]
    return {entry["name"].split("/", 1)[1]: entry for entry in listed}


def supported() -> list[str]:
    """Names of the functions that work here."""
    return sorted(name for name in _FUNCTIONS if name in signatures())


def missing() -> list[str]:
    """Names of the service's functions that do not."""
    return sorted(name for name in signatures() if name not in _FUNCTIONS)


def call(context: Context, name: str, arguments: dict[str, Any]) -> Any:
    """Call a built-in function with named arguments.

    Raises
    ------
    ComputeError
        For a function that does not exist or is not supported here (by name), and for wrong arguments.
    """
    signature = signatures().get(name)
    if signature is None:
        raise ComputeError(f"Function not found: '{name}' is no function of Earth Engine.")
    implementation = _FUNCTIONS.get(name)
    if implementation is None:
        raise ComputeError(f"{name}: this function is not supported by the embedded Earth.")
    context.check_time()
    declared = signature.get("arguments", [])
    unknown = set(arguments) - {entry["argumentName"] for entry in declared}
    if unknown:
        raise ComputeError(f"{name}: unrecognized argument '{sorted(unknown)[0]}'.")
    values = []
    for entry in declared:
        argument = entry["argumentName"]
        value = arguments.get(argument)
        if value is None:
            if not entry.get("optional"):
                raise ComputeError(f"{name}: Parameter '{argument}' is required and may not be null.")
            value = entry.get("defaultValue")
        values.append(None if value is None else convert(context, value, entry["type"], f"{name}, argument "
                                                         f"'{argument}'"))
    if name in _AGGREGATIONS:
        context.aggregate()
    try:
        if context.profile is None:
            result = implementation(context, *values)
        else:
            with context.profile.inside(name):
                result = implementation(context, *values)
        if isinstance(result, Geometry):
            context.check_edges(result)
        return result
    except ComputeError as error:
        if name.split(".")[0] + "." not in error.message and ": " not in error.message:
            raise ComputeError(f"{name}: {error.message}", error.code) from error
        raise
    except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError, shapely.errors.ShapelyError) as error:
        # Arguments of the right type that make no sense together; the request is at fault, not the Earth.
        _log.debug("arguments that %s cannot work with", name, exc_info=True)
        raise ComputeError(f"{name}: the arguments do not fit together ({error}).") from error


def convert(context: Context, value: Any, kind: str, where: str) -> Any:
    """A value as the type a signature names.

    Raises
    ------
    ComputeError
        Where it cannot be that.
    """
    converter = _CONVERTERS.get(kind.split("<")[0])
    if converter is None or value is None:
        return value
    converted = converter(context, value)
    if converted is None:
        raise ComputeError(f"{where}: Invalid type. Expected type: {kind}. Actual type: {type_name(value)}.")
    return converted


def type_name(value: Any) -> str:
    """The service's name of a value's type."""
    if isinstance(value, bool):
        return "Boolean"
    names: list[tuple[type | tuple[type, ...], str]] = [
        (int, "Integer"), (float, "Float"), (str, "String"), (list, "List"), (dict, "Dictionary"),
        (Image, "Image"), (Feature, "Feature"), (Date, "Date"), (Geometry, "Geometry"), (Projection, "Projection")]
    for kind, name in names:
        if isinstance(value, kind):
            return name
    return value.kind if isinstance(value, Collection) else type(value).__name__


def as_image(context: Context, value: Any) -> Image | None:
    """Numbers become constants, ids stored images, lists and collections stacks."""
    if isinstance(value, Image):
        return value
    if isinstance(value, bool | int | float):
        return Image((constant_band(value),))
    if isinstance(value, str):
        return context.image(value)
    if isinstance(value, list):
        return stack([image for item in value if (image := as_image(context, item)) is not None])
    if isinstance(value, Collection):
        return mosaic(context, images_of(context, value))
    return None


def images_of(context: Context, elements: Collection) -> list[Image]:
    """Elements of a collection as images; what is none is left out."""
    found = [as_image(context, element) for element in elements]
    return [image for image in found if image is not None]


def as_collection(context: Context, value: Any) -> Collection | None:
    """Elements and lists of them become collections."""
    if isinstance(value, Collection):
        return value
    if isinstance(value, Feature | Image):
        return collection_of([value], "ImageCollection" if isinstance(value, Image) else "FeatureCollection")
    if isinstance(value, Geometry):
        return collection_of([Feature(value)])
    if isinstance(value, str):
        return context.table(value)
    if isinstance(value, list):
        elements = [as_element(context, item) for item in value]
        if any(element is None for element in elements):
            return None
        images = bool(elements) and all(isinstance(element, Image) for element in elements)
        return collection_of(elements, "ImageCollection" if images else "FeatureCollection")
    return None


def as_image_collection(context: Context, value: Any) -> Collection | None:
    if isinstance(value, str):
        return context.image_collection(value)
    if isinstance(value, list):
        images = [as_image(context, item) for item in value]
        return None if any(image is None for image in images) else collection_of(images, "ImageCollection")
    return as_collection(context, value)


def as_element(context: Context, value: Any) -> Feature | Image | Collection | None:
    if isinstance(value, Feature | Image | Collection):
        return value
    return Feature(value) if isinstance(value, Geometry) else None


def as_feature(context: Context, value: Any) -> Feature | None:
    if isinstance(value, Image):
        return Feature(value.footprint, value.properties)
    element = as_element(context, value)
    return element if isinstance(element, Feature) else None


def as_geometry(context: Context, value: Any) -> Geometry | None:
    """Elements become their geometry, collections the union of theirs."""
    if isinstance(value, Geometry):
        return value
    if isinstance(value, Feature):
        return value.geometry
    if isinstance(value, Image):
        return footprint(value)
    if isinstance(value, Collection):
        return together(value)
    if isinstance(value, dict) and "type" in value and ("coordinates" in value or "geometries" in value):
        crs = value.get("crs")
        name = crs.get("properties", {}).get("name", "EPSG:4326") if isinstance(crs, dict) else crs or "EPSG:4326"
        return geometry_of(value, canonical_crs(name), bool(value.get("geodesic", True)))
    return None


def as_projection(context: Context, value: Any) -> Projection | None:
    if isinstance(value, Projection):
        return value
    if isinstance(value, str):
        return Projection(canonical_crs(value))
    if isinstance(value, dict) and "crs" in value:
        transform = value.get("transform") or UNIT
        return Projection(canonical_crs(value["crs"]), tuple(map(float, transform)))  # type: ignore[arg-type]
    return None


def as_date(context: Context, value: Any) -> Date | None:
    return date_of(value)


def as_date_range(context: Context, value: Any) -> DateRange | None:
    if isinstance(value, DateRange):
        return value
    if isinstance(value, Date):
        return DateRange(value.ms, value.ms + 1)
    if isinstance(value, dict) and value.get("type") == "DateRange":
        ends = value.get("dates")
        if isinstance(ends, list) and len(ends) == 2:
            start, end = (None if end is None else date_of(end) for end in ends)
            return DateRange(start.ms if start else None, end.ms if end else None)
    return None


def as_number(context: Context, value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def as_integer(context: Context, value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def as_float(context: Context, value: Any) -> float | None:
    if value in ("Infinity", "-Infinity", "NaN"):
        return float(value)
    return float(value) if isinstance(value, int | float) else None


def as_list(context: Context, value: Any) -> list[Any] | None:
    if isinstance(value, list):
        return value
    return None if isinstance(value, dict) else [value]


def as_margin(context: Context, value: Any) -> ErrorMargin | None:
    if isinstance(value, ErrorMargin):
        return value
    if isinstance(value, dict) and value.get("type") == "ErrorMargin":
        return error_margin(value.get("value"), value.get("unit", "meters"))
    return error_margin(float(value)) if isinstance(value, int | float) else None


def as_reducer(context: Context, value: Any) -> Reducer | None:
    if isinstance(value, str):
        return call(context, f"Reducer.{value}", {})
    return value if isinstance(value, Reducer) else None


def as_pixel_type(context: Context, value: Any) -> PixelType | None:
    return pixel_type(value)


def _only(kind: type) -> Callable[[Context, Any], Any]:
    return lambda context, value: value if isinstance(value, kind) else None


def as_filter(context: Context, value: Any) -> Filter | None:
    """A filter, or one written as a text."""
    if not isinstance(value, str):
        return value if isinstance(value, Filter) else None
    found, joiner = clauses(value)
    made = [call(context, f"Filter.{clause.filter}", {"leftField": clause.name, "rightValue": clause.value})
            for clause in found]
    only: Filter = made[0] if len(made) == 1 else call(context, f"Filter.{joiner}", {"filters": made})
    return only


def as_array(context: Context, value: Any) -> np.ndarray | None:
    return array_of(value)


_CONVERTERS: dict[str, Callable[[Context, Any], Any]] = {
    "Image": as_image, "ImageCollection": as_image_collection, "FeatureCollection": as_collection,
    "Element": as_element, "Feature": as_feature, "Geometry": as_geometry, "Projection": as_projection,
    "Date": as_date, "DateRange": as_date_range, "Number": as_number, "Integer": as_integer, "Long": as_integer,
    "Float": as_float, "List": as_list, "ErrorMargin": as_margin, "Reducer": as_reducer, "PixelType": as_pixel_type,
    "String": _only(str), "Boolean": lambda _, v: bool(v) if isinstance(v, bool | int | float) else None,
    "Dictionary": _only(dict), "Filter": as_filter, "Join": _only(Join), "Kernel": _only(Kernel),
    "Algorithm": _only(Function), "Array": as_array, "ConfusionMatrix": _only(ConfusionMatrix),
    "Classifier": _only(Classifier),
}


def plain_function(name: str, run: Callable[..., Any]) -> None:
    """Register a function of plain values; what Python says of bad ones is the answer."""
    @function(name)
    def call(context: Context, *arguments: Any) -> Any:
        try:
            return run(*arguments)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, MemoryError, OverflowError,
                re.error) as error:
            raise ComputeError(f"{name}: {error}.") from error
