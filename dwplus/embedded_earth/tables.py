"""Features as CSV and GeoJSON, row by row."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dwplus.embedded_earth import encode
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.footprints import footprint
from dwplus.embedded_earth.values import Feature, Image

#: File formats, and the ends of their names.
FORMATS = {"CSV": "csv", "GEO_JSON": "geojson"}
_TYPES = {"CSV": "text/csv; charset=UTF-8", "GEO_JSON": "application/geo+json"}
_INDEX, _SHAPE = "system:index", ".geo"


def check_format(name: Any) -> str:
    """A file format that can be written.

    Raises
    ------
    ComputeError
        For any other.
    """
    if name not in FORMATS:
        raise ComputeError(f"Invalid file format: '{str(name)[:40]}'. The embedded Earth writes tables as "
                           f"{' and '.join(FORMATS)}.")
    return str(name)


def content_type(form: str) -> str:
    """The MIME type of a format."""
    return _TYPES[form]


def lines(elements: Iterable[Any], form: str, selectors: Sequence[str] | None, context: Context) -> Iterator[bytes]:
    """A table as bytes, a few rows at a time.

    Without selectors the columns of a CSV are ``system:index``, the first feature's properties and ``.geo``.
    """
    features = (_feature(element, context, position) for position, element in enumerate(elements))
    return _csv(features, selectors) if form == "CSV" else _geojson(features, selectors)


def _feature(element: Any, context: Context, position: int) -> dict[str, Any]:
    context.check_time()
    if isinstance(element, Image):
        element = Feature(footprint(element), element.properties, element.id)
    if not isinstance(element, Feature):
        raise ComputeError("The collection holds something that is no feature.")
    return encode.encode_feature(element, context, position)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, list | dict) else value


def _csv(features: Iterator[dict[str, Any]], selectors: Sequence[str] | None) -> Iterator[bytes]:
    first = next(features, None)
    names = list(selectors) if selectors else [_INDEX, *(first["properties"] if first else ()), _SHAPE]

    def row(feature: dict[str, Any]) -> list[Any]:
        own = {**feature["properties"], _INDEX: feature.get("id"), _SHAPE: feature["geometry"]}
        return [_cell(own.get(name)) for name in names]

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for feature in itertools.chain([first] if first else [], features):
        writer.writerow(row(feature))
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _geojson(features: Iterator[dict[str, Any]], selectors: Sequence[str] | None) -> Iterator[bytes]:
    yield b'{"type": "FeatureCollection", "features": ['
    for position, feature in enumerate(features):
        if selectors:
            feature["properties"] = {name: feature["properties"][name] for name in selectors
                                     if name in feature["properties"]}
        yield (b", " if position else b"") + json.dumps(feature, allow_nan=False).encode()
    yield b"]}\n"
