"""Elements and collections: properties, mapping, ordering, mosaics and stacks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.composites import composite, groups, mosaic
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.footprints import footprint, together
from dwplus.embedded_earth.functions import reducers
from dwplus.embedded_earth.functions.filters import sort_key, value_of
from dwplus.embedded_earth.functions.geometries import bounds
from dwplus.embedded_earth.functions.images import renamed
from dwplus.embedded_earth.functions.registry import as_element, as_geometry, as_image, function, images_of
from dwplus.embedded_earth.functions.scalars import equal
from dwplus.embedded_earth.functions.statistics import reduce_together
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels, Projection
from dwplus.embedded_earth.pixel_types import PixelType, cast
from dwplus.embedded_earth.regular import expression
from dwplus.embedded_earth.shapes import Geometry
from dwplus.embedded_earth.values import (
    Band,
    Collection,
    Date,
    Element,
    Feature,
    Function,
    Hints,
    Image,
    Reducer,
    collection_of,
    index_of,
)

# --------------------------------------------------------------------------------------------------------- elements


@function("Feature")
def feature(context: Context, geometry: Geometry | None, properties: Any, key: str | None) -> Feature:
    return Feature(geometry, dict(properties or {}))


@function("Feature.id")
def feature_id(context: Context, element: Element) -> str | None:
    return element.id if element.id is not None else element.properties.get("system:index")


@function("Feature.geometry", "Element.geometry")
def element_geometry(context: Context, element: Any, *_: Any) -> Geometry | None:
    return as_geometry(context, element)


@function("Image.geometry")
def image_geometry(context: Context, image: Image, *_: Any) -> Geometry:
    return footprint(image)


@function("Feature.setGeometry")
def set_geometry(context: Context, element: Any, geometry: Geometry | None) -> Feature:
    return Feature(geometry, element.properties, element.id)


@function("Feature.select")
def select(context: Context, element: Any, names: list[str], new: list[str] | None, keep: bool) -> Any:
    if not all(isinstance(name, str) for name in names):
        raise ComputeError("Feature.select: bad property selector: a name or a pattern was expected.")
    chosen = [key for name in names for key in element.properties
              if key == name or (not key.startswith("system:")
                                 and expression(name, where="Feature.select").fullmatch(key))]
    if new is not None and len(new) != len(chosen):
        raise ComputeError(f"Feature.select: {len(chosen)} properties are selected, but {len(new)} names given.")
    properties = dict(zip(new or chosen, (element.properties[key] for key in chosen), strict=True))
    if "system:index" in element.properties:
        properties.setdefault("system:index", element.properties["system:index"])
    return Feature(element.geometry if keep else None, properties, element.id) if isinstance(element, Feature) \
        else element.with_properties(properties)


@function("Element.get", "Element.getNumber", "Element.getString")
def get(context: Context, element: Any, name: str) -> Any:
    return element.properties.get(name) if name != "system:id" else element.id


@function("Element.set")
def set_(context: Context, element: Any, key: str, value: Any) -> Any:
    return changed(element, {key: value})


@function("Element.setMulti")
def set_multi(context: Context, element: Any, properties: dict[str, Any]) -> Any:
    return changed(element, properties)


def changed(element: Any, properties: dict[str, Any]) -> Any:
    """An element (or collection) with some properties set; null removes one."""
    merged = {**element.properties, **properties}
    kept = {key: value for key, value in merged.items() if value is not None}
    if isinstance(element, Collection):
        return replace(element, properties=kept)
    made = element.with_properties(kept)
    if "system:footprint" in properties and isinstance(made, Image):
        shape = properties["system:footprint"]
        made = replace(made, footprint=shape if isinstance(shape, Geometry) else made.footprint)
    return made


@function("Element.propertyNames")
def property_names(context: Context, element: Any) -> list[str]:
    return list(element.properties)


@function("Element.toDictionary")
def to_dictionary(context: Context, element: Any, names: list[str] | None) -> dict[str, Any]:
    if names is not None:
        missing = [name for name in names if name not in element.properties]
        if missing:
            raise ComputeError(f"Element.toDictionary: the element has no property '{missing[0]}'.")
        return {name: element.properties[name] for name in names}
    return {key: value for key, value in element.properties.items() if not key.startswith("system:")}


@function("Element.copyProperties", "Image.copyProperties")
def copy_properties(context: Context, destination: Any, source: Any, names: list[str] | None,
                    exclude: list[str] | None) -> Any:
    if destination is None or source is None:
        raise ComputeError("Element.copyProperties: Parameters 'destination' and 'source' may not be null.")
    if names is not None and exclude is not None:
        raise ComputeError("Element.copyProperties: 'exclude' must not be given with 'properties'.")
    if names is None:
        copied = {k: v for k, v in source.properties.items()
                  if not k.startswith("system:") and k not in (exclude or ())}
    else:
        copied = {name: source.properties[name] for name in names if name in source.properties}
    return changed(destination, copied)


@function("Element.replaceProperties")
def replace_properties(context: Context, destination: Any, source: Any) -> Any:
    return destination.with_properties(dict(source.properties if source is not None else {}))


# ------------------------------------------------------------------------------------------------------ collections


@function("Collection")
def collection(context: Context, elements: list[Any]) -> Collection:
    found = [as_element(context, element) for element in elements]
    if any(element is None for element in found):
        raise ComputeError("Collection: every element must be a feature, an image or a geometry.")
    return collection_of(found)


@function("ImageCollection.load")
def load_images(context: Context, asset_id: str, version: Any) -> Collection:
    return context.image_collection(asset_id)


@function("Collection.loadTable")
def load_table(context: Context, asset_id: str, column: str | None, version: Any) -> Collection:
    return context.table(asset_id)


@function("ImageCollection.fromImages")
def from_images(context: Context, images: list[Any]) -> Collection:
    found = [as_image(context, image) for image in images]
    if any(image is None for image in found):
        raise ComputeError("ImageCollection.fromImages: every element must be an image.")
    return collection_of(found, "ImageCollection")


@function("Collection.size")
def size(context: Context, elements: Collection) -> int:
    return sum(1 for _ in elements)


@function("Collection.first")
def first(context: Context, elements: Collection) -> Any:
    return next(iter(elements), None)


@function("Collection.limit")
def limit(context: Context, elements: Collection, count: int | None, key: str | None, ascending: bool) -> Collection:
    if count is not None and count < 0:
        raise ComputeError(f"Collection.limit: 'limit' must not be negative: {count}.")

    def load(hints: Hints) -> Iterable[Any]:
        # After a limit, hints from outside must not change which elements come first.
        found: Iterable[Any] = elements.load(hints if count is None else Hints())
        if key is not None:
            found = sorted(found, key=lambda e: sort_key(value_of(context, e, key)), reverse=not ascending)
            if not ascending:  # what lacks the property stays last
                found = sorted(found, key=lambda e: sort_key(value_of(context, e, key))[0] == 2)
        return found if count is None else itertools.islice(iter(found), count)

    return elements.using(load)


@function("Collection.toList")
def to_list(context: Context, elements: Collection, count: int, offset: int) -> list[Any]:
    return list(itertools.islice(iter(elements), offset, offset + count))


#: What stops a whole request, whichever element it met.
_WHOLE_REQUEST = ("Computation timed out.", "User memory limit exceeded.")


def _in_map(error: ComputeError, index: str) -> ComputeError:
    """An error of one element, with that element's index."""
    if error.code != 400 or error.message in _WHOLE_REQUEST:
        return error
    return ComputeError(f"Error in map(ID={index}):\n{error.message}")


@function("Collection.map")
def map_(context: Context, elements: Collection, algorithm: Function, drop_nulls: bool) -> Collection:
    kind = elements.kind

    def load(_: Hints) -> Iterable[Any]:
        for position, element in enumerate(elements):
            context.check_time()
            try:
                result = algorithm.call(element)
            except ComputeError as error:
                raise _in_map(error, index_of(element, position)) from error
            if result is None:
                if drop_nulls:
                    continue
                raise ComputeError("Collection.map: A mapped algorithm returned null.")
            made = as_element(context, result)
            if made is None or isinstance(made, Collection):
                raise ComputeError("Collection.map: A mapped algorithm must return a Feature or Image.")
            # An element keeps the index it had.
            made = made.with_properties({**made.properties, "system:index": index_of(element, position)})
            yield made

    found = elements.using(load)
    return Collection(kind, found.load, found.properties, found.id)


@function("Collection.iterate")
def iterate(context: Context, elements: Collection, algorithm: Function, start: Any) -> Any:
    for element in elements:
        context.check_time()
        start = algorithm.call(element, start)
    return start


def _merge(one: Collection, other: Collection) -> Collection:
    def load(hints: Hints) -> Iterable[Any]:
        for prefix, part in (("1_", one), ("2_", other)):
            for position, element in enumerate(part.load(hints)):
                yield element.with_properties({**element.properties,
                                               "system:index": prefix + index_of(element, position)})

    return Collection(one.kind, load)


@function("Collection.merge")
def merge(context: Context, one: Collection, other: Collection) -> Collection:
    return _merge(one, other)


@function("ImageCollection.merge")
def merge_images(context: Context, one: Collection, other: Collection) -> Collection:
    return _merge(one, other)


@function("Collection.flatten")
def flatten(context: Context, elements: Collection) -> Collection:
    def load(_: Hints) -> Iterable[Any]:
        for position, part in enumerate(elements):
            if not isinstance(part, Collection):
                raise ComputeError("Collection.flatten: the elements must be collections.")
            for inner, element in enumerate(part):
                yield element.with_properties({**element.properties,
                                               "system:index": f"{position}_{index_of(element, inner)}"})

    return Collection("FeatureCollection", load)


@function("Collection.distinct")
def distinct(context: Context, elements: Collection, names: Any) -> Collection:
    keys = names if isinstance(names, list) else [names]
    if not all(isinstance(key, str) for key in keys):
        raise ComputeError("Collection.distinct: 'properties' must be a name or a list of names.")

    def load(_: Hints) -> Iterable[Any]:
        seen: list[Any] = []
        hashed: set[str] = set()
        for element in elements:
            values = [value_of(context, element, key) for key in keys]
            text = repr(values)
            if text in hashed or any(equal(values, other) for other in seen if text == repr(other)):
                continue
            hashed.add(text)
            yield element

    return elements.using(load)


@function("Collection.remap")
def remap(context: Context, elements: Collection, before: list[Any], after: list[Any], name: str) -> Collection:
    def load(_: Hints) -> Iterable[Any]:
        for element in elements:
            hits = [new for old, new in zip(before, after, strict=True) if equal(old, element.properties.get(name))]
            if hits:
                yield changed(element, {name: hits[0]})

    return elements.using(load)


@function("Collection.randomColumn")
def random_column(context: Context, elements: Collection, name: str, seed: int, distribution: str,
                  keys: list[str]) -> Collection:
    def load(_: Hints) -> Iterable[Any]:
        for position, element in enumerate(elements):
            values = [index_of(element, position) if key == "system:index" else element.properties.get(key)
                      for key in keys]
            draw = random.Random(f"{seed}:{values}")
            yield changed(element, {name: draw.random() if distribution == "uniform" else draw.gauss(0, 1)})

    return elements.using(load)


@function("Collection.geometry", "Collection.union")
def collection_geometry(context: Context, elements: Collection, margin: Any) -> Geometry:
    return together(elements)


@function("Collection.bounds")
def collection_bounds(context: Context, elements: Collection, margin: Any, projection: Projection) -> Geometry:
    return bounds(together(elements), projection)


def _aggregate(name: str, run: Callable[[list[Any]], Any]) -> None:
    @function(f"AggregateFeatureCollection.{name}")
    def aggregate(context: Context, elements: Collection, key: str) -> Any:
        values = (value_of(context, element, key) for element in elements)
        return run([value.ms if isinstance(value, Date) else value for value in values if value is not None])


def _histogram(values: list[Any]) -> dict[str, int]:
    out: dict[str, int] = {}
    for value in values:
        key = f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
        out[key] = out.get(key, 0) + 1
    return out


def _stats(values: list[Any]) -> dict[str, Any]:
    data = np.array(values, "f8")
    return {"max": float(data.max()), "mean": float(data.mean()), "min": float(data.min()),
            "sample_sd": float(data.std(ddof=1)) if len(data) > 1 else None,
            "sample_var": float(data.var(ddof=1)) if len(data) > 1 else None, "sum": float(data.sum()),
            "sum_sq": float((data**2).sum()), "total_count": len(data), "total_sd": float(data.std()),
            "total_var": float(data.var()), "valid_count": len(data), "weight_sum": len(data),
            "weighted_sum": float(data.sum())} if len(data) else {"total_count": 0}


for _name, _run in {
        "array": lambda v: v, "count": len, "count_distinct": lambda v: len({repr(x) for x in v}),
        "first": lambda v: v[0] if v else None, "histogram": _histogram, "max": lambda v: max(v, default=None),
        "min": lambda v: min(v, default=None), "mean": lambda v: float(np.mean(v)) if v else None,
        "sum": lambda v: sum(v), "product": lambda v: float(np.prod(v)), "stats": _stats,
        "total_sd": lambda v: float(np.std(v)) if v else None, "total_var": lambda v: float(np.var(v)) if v else None,
        "sample_sd": lambda v: float(np.std(v, ddof=1)) if len(v) > 1 else None,
        "sample_var": lambda v: float(np.var(v, ddof=1)) if len(v) > 1 else None}.items():
    _aggregate(_name, _run)


# ------------------------------------------------------------------------------------------------------- composites


@function("ImageCollection.mosaic")
def mosaic_collection(context: Context, elements: Collection) -> Image:
    return mosaic(context, images_of(context, elements))


@function("ImageCollection.qualityMosaic")
def quality_mosaic(context: Context, elements: Collection, quality: str) -> Image:
    images = images_of(context, elements)
    scores = [image.band(quality) for image in images]

    last: list[tuple[Grid, np.ndarray]] = []

    def best(grid: Grid) -> np.ndarray:
        """Number of the image whose pixel is taken; found once for all bands."""
        if not last or last[0][0] != grid:
            stack = []
            for band in scores:
                values, valid = band.read(grid)
                stack.append(values.astype("f8") if valid is None else np.where(masks.seen(valid), values, -np.inf))
            last[:] = [(grid, np.argmax(np.stack(stack), axis=0))]
        return last[0][1]

    def of(name: str, group: list[Band]) -> Band:
        common = group[0].type
        for band in group[1:]:
            common = common.union(band.type)

        def read(grid: Grid) -> Pixels:
            index = best(grid)
            out = np.zeros(grid.shape, common.dtype)
            put, mask = masks.assembled(grid.shape)
            for i, band in enumerate(group):
                take = index == i
                values, valid = band.read(grid)
                np.copyto(out, cast(values, common), where=take)
                put(take, None if valid is None else valid[take])
            return out, masks.tidied(mask())

        return Band(name, common, WGS84, None, read)

    return composite(images, [of(name, group) for name, group in groups(images).items()])


def reduce_collection(context: Context, elements: Collection, reducer: Reducer, suffix: bool) -> Image:
    """Reduce a collection pixel by pixel, band by band."""
    images = images_of(context, elements)
    if reducer.inputs > 1:
        like = Band("", PixelType("double"), WGS84, None, lambda grid: (np.zeros(grid.shape), None))
        return composite(images, reduce_together(reducer, images, like))
    by_name = groups(images)
    like = Band("", PixelType("double"), WGS84, None, lambda grid: (np.zeros(grid.shape), None))
    bands = reducers.reduce_images(reducer, list(by_name.values()), list(by_name), like)
    if not suffix:
        bands = renamed(bands, list(by_name), f"reduce.{reducer.name}")
    return composite(images, bands)


@function("ImageCollection.reduce")
def reduce_images(context: Context, elements: Collection, reducer: Reducer, parallel: float) -> Image:
    return reduce_collection(context, elements, reducer, True)


def _register_reduce(name: str, reducer: str) -> None:
    @function(f"reduce.{name}")
    def run(context: Context, elements: Collection) -> Image:
        return reduce_collection(context, elements, reducers._SIMPLE[reducer], False)


for _name, _reducer in {"mean": "mean", "median": "median", "min": "min", "max": "max", "sum": "sum", "mode": "mode",
                        "count": "count", "product": "product", "and": "allNonZero", "or": "anyNonZero"}.items():
    _register_reduce(_name, _reducer)


@function("ImageCollection.toBands")
def to_bands(context: Context, elements: Collection) -> Image:
    bands, images = [], []
    for position, image in enumerate(images_of(context, elements)):
        index = index_of(image, position)
        images.append(image)
        bands += [band.named(f"{index}_{band.id}") for band in image.bands]
    return Image(tuple(bands), {}, None, None, images[0].footprint if images else None)
