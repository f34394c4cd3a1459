"""Tables of scenes and places, each from one bundled request."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ee
import numpy as np
import shapely
import shapely.geometry

from dwplus.earth import pixels
from dwplus.earth.images import dw_labels, dynamic_world, ecoregions, extras, maps, rtc, sentinel1, sentinel2
from dwplus.earth.session import Session
from dwplus.errors import AssetGoneError, InputError, RefusedError, TooLargeError
from dwplus.grid import PixelGrid
from dwplus.scenes.annotated import Annotation, annotation, plain_id
from dwplus.scenes.records import LabelScene, MapImage, OpticalScene, RadarScene
from dwplus.spec import DatasetSpec
from dwplus.spec.radar import RTC

#: Points per request for biomes: below the 5,000 elements of an answer, and about 200 bytes each of a 10 MiB request.
POINTS_PER_REQUEST = 2_000
#: Pixels of the map that large regions are thinned by, degrees: the globe is one request of 20 MB.
MAP_DEGREES = 0.1
#: Numbered points, degrees.
_Batch = list[tuple[int, tuple[float, float]]]
#: How far (m) a coastal tile may lie from its ecoregion's simplified outline.
COAST_METRES = 10_000


@dataclass(frozen=True)
class Catalogue:
    """Scenes that touch an area, labels within a window, radar within reach of it; bursts where RTC-S1 is wanted."""

    labels: list[LabelScene]
    optical: list[OpticalScene]
    radar: list[RadarScene]
    bursts: list[RadarScene] = field(default_factory=list)


@dataclass(frozen=True)
class Query:
    """What to look for: optical scenes over an area (EPSG:4326, about a degree across) on the days [start, end), UTC,
    radar within reach of them and, where ``labels``, Dynamic World images."""

    area: shapely.Geometry
    start: dt.date
    end: dt.date
    labels: bool = True


@dataclass(frozen=True)
class Habitat:
    """Where a point lies: biome number 1..14, ecoregion, and whether it lies inside its polygon or near it."""

    biome: int
    ecoregion: str
    inside: bool


@dataclass(frozen=True)
class EcoregionMap:
    """Ecoregions of a large region at a glance, pixels of :data:`MAP_DEGREES`.

    Attributes
    ----------
    ids : int16 (row, col), north up, 0 outside all; a pixel beside an ecoregion counts as in it, for coasts' sake.
    west, north : outer corner of the upper-left pixel, degrees.
    names : ecoregion's number -> (biome, name).
    """

    ids: np.ndarray
    west: float
    north: float
    names: dict[int, tuple[int, str]]

    def at(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """Ecoregion numbers at points, degrees; 0 outside all."""
        col = np.floor(((lon - self.west) % 360) / MAP_DEGREES).astype(int)
        row = np.floor((self.north - lat) / MAP_DEGREES).astype(int)
        inside = (row >= 0) & (row < self.ids.shape[0]) & (col >= 0) & (col < self.ids.shape[1])
        return np.where(inside, self.ids[row.clip(0, self.ids.shape[0] - 1), col.clip(0, self.ids.shape[1] - 1)], 0)


@dataclass(frozen=True)
class Site:
    """A site of the sample planet: its name and polygon (EPSG:4326)."""

    name: str
    polygon: shapely.Geometry


def sample_sites(session: Session) -> list[Site]:
    """The sample planet's sites.

    Raises
    ------
    InputError
        On an Earth that has none.
    """
    try:
        answer = session.compute(ee.FeatureCollection("SAMPLE/SITES"))
    except RefusedError as error:
        raise InputError(f"region: sample is the sample planet's, and this Earth ({session.description}) has none; "
                         "give a bbox or a file") from error
    return [Site(f["properties"]["name"], shapely.geometry.shape(f["geometry"])) for f in answer["features"]]


def embedding_years(session: Session, years: Iterable[int]) -> frozenset[int]:
    """Which of some years have annual embeddings, anywhere; one request."""
    found = session.compute(ee.Dictionary({str(year): extras.of_year(year).limit(1).size() for year in years}))
    return frozenset(int(year) for year, count in found.items() if count)


def processed(session: Session, start: dt.date, end: dt.date, reach: dt.timedelta,
              area: shapely.Geometry | None) -> bool:
    """Whether there is any RTC-S1 within reach of the days [start, end), UTC; one request.

    Parameters
    ----------
    area : polygon in EPSG:4326; None for the whole globe.

    Raises
    ------
    InputError
        On an Earth that has no such collection.
    """
    found = rtc.scenes().filterDate(_midnight(start) - reach, _midnight(end) + reach)
    if area is not None:
        found = found.filterBounds(ee.Geometry(shapely.geometry.mapping(area), None, False))
    try:
        return bool(session.compute(found.limit(1).size()))
    except AssetGoneError as error:
        raise InputError(f"sentinel1.product rtc: {RTC} is not on this Earth ({session.description}); take product "
                         "grd") from error


def catalogues(session: Session, spec: DatasetSpec, queries: Sequence[Query],
               on_split: Callable[[int], None] = lambda _: None) -> list[Catalogue]:
    """Labels, optical and radar scenes of several queries, in one request.

    A request that is too much for the service is halved: first in areas, then in time.

    Parameters
    ----------
    on_split : called with the number of queries of a request that was halved.

    Returns
    -------
    list of Catalogue, one per query, in order.
    """
    if not queries:
        return []
    try:
        answers = session.compute(ee.List([_scenes(spec, query) for query in queries]))
        return [_catalogue(answer) for answer in answers]
    except TooLargeError:
        if len(queries) > 1:
            on_split(len(queries))
            half = len(queries) // 2
            return [found for part in (queries[:half], queries[half:])
                    for found in catalogues(session, spec, part, on_split)]
        query, = queries
        days = (query.end - query.start).days
        if days < 2:
            raise
        middle = query.start + dt.timedelta(days=days // 2)
        (one,), (two,) = (catalogues(session, spec, [part]) for part in (replace(query, end=middle),
                                                                         replace(query, start=middle)))
        return [Catalogue(one.labels + two.labels, _distinct(one.optical + two.optical),
                          _distinct(one.radar + two.radar), _distinct(one.bursts + two.bursts))]


def _scenes(spec: DatasetSpec, query: Query) -> ee.Dictionary:
    """The collections over an area; dates are filtered first, for the radar archive is large."""
    reach = dt.timedelta(hours=spec.sentinel1.max_gap_hours)
    if spec.sentinel1.multitemporal:
        reach += dt.timedelta(days=spec.sentinel1.speckle_days)
    first, last = _midnight(query.start), _midnight(query.end)
    bounds = ee.Geometry(shapely.geometry.mapping(query.area), None, False)
    # A twin's own time may differ from the label's by the length of a datatake.
    slack = dt.timedelta(hours=1)
    parts: dict[str, Any] = {
        # Filters come before select, which maps over all that is left.
        f"optical_{product}": _features(
            sentinel2.scenes(product).filterDate(first - slack, last + slack).filterBounds(bounds),
            ["system:index", "system:time_start", "MGRS_TILE", "CLOUDY_PIXEL_PERCENTAGE"])
        for product in products(spec)}
    parts["radar"] = _features(
        sentinel1.scenes(spec.sentinel1.orbit).filterDate(first - reach, last + reach).filterBounds(bounds),
        ["system:index", "system:time_start", "orbitProperties_pass", "relativeOrbitNumber_start", "platform_number"])
    if spec.sentinel1.product == "rtc":
        parts["bursts"] = _features(
            rtc.scenes(spec.sentinel1.orbit).filterDate(first - reach, last + reach).filterBounds(bounds),
            list(rtc.PROPERTIES))
    if query.labels:
        parts["labels"] = dynamic_world.scenes().filterDate(first, last).filterBounds(bounds).select(["label"])
    return ee.Dictionary(parts)


def products(spec: DatasetSpec) -> tuple[str, ...]:
    """Sentinel-2 products to look in: the one asked for, and ``toa`` where the spec allows it as a fall-back."""
    asked = spec.sentinel2.product
    return (asked, "toa") if asked == "sr" and spec.sentinel2.fallback == "toa" else (asked,)


def _catalogue(answer: dict[str, Any]) -> Catalogue:
    return Catalogue(
        [scene for image in answer.get("labels", {"features": []})["features"] if (scene := _label_scene(image))],
        [OpticalScene(p["index"], p["time"], p.get("mgrs"), _number(p.get("cloud")), shape,
                      key.removeprefix("optical_"))
         for key in sorted(answer) if key.startswith("optical_")
         for p, shape in _read(answer[key], {"system:index": "index", "system:time_start": "time",
                                             "MGRS_TILE": "mgrs", "CLOUDY_PIXEL_PERCENTAGE": "cloud"})],
        [RadarScene(p["index"], p["time"], p.get("pass", ""), _whole(p.get("orbit")), str(p.get("platform", "")), shape)
         for p, shape in _read(answer["radar"], {
             "system:index": "index", "system:time_start": "time", "orbitProperties_pass": "pass",
             "relativeOrbitNumber_start": "orbit", "platform_number": "platform"})],
        [RadarScene(p["index"], p["time"], str(p.get("pass", "")).upper(), _whole(p.get("orbit")), rtc.platform(p),
                    shape, str(p.get("burst") or p["index"]))
         for p, shape in _read(answer.get("bursts", {"features": []}), dict(zip(
             rtc.PROPERTIES, ("index", "time", "pass", "orbit", "burst", "granules"), strict=True)))],
    )


def annotations_of(session: Session, asset: str, start: dt.date, end: dt.date, area: shapely.Geometry | None = None,
          ) -> list[Annotation]:
    """The tiles of an annotation asset that were annotated on scenes of [start, end), UTC, sorted by index.

    One request; halved in time where the service finds it too large (an answer holds 5,000 elements).

    Parameters
    ----------
    area : polygon in EPSG:4326 that an image must touch; None for the whole globe.

    Raises
    ------
    InputError
        Where there is no such collection.
    """
    ground = None if area is None else ee.Geometry(shapely.geometry.mapping(area), None, False)
    try:
        answer = session.compute(dw_labels.scenes(asset, _midnight(start), _midnight(end), ground))
    except TooLargeError:
        middle = start + dt.timedelta(days=(end - start).days // 2)
        if middle == start:
            raise
        both = {a.scene.index: a for span in ((start, middle), (middle, end))
                for a in annotations_of(session, asset, *span, area)}
        return [both[index] for index in sorted(both)]
    except AssetGoneError as error:
        raise InputError(f"labels.asset {asset}: is not on this Earth ({session.description}); the published one is "
                         f"{dw_labels.DW_LABELS}") from error
    found = []
    for image in answer["features"]:
        scene = _label_scene(image)
        properties = image["properties"]
        dw_id = plain_id(str(properties.get("dw_id") or "")) or plain_id(scene.index if scene else "")
        if scene is None or not dw_id or scene.crs is None or scene.transform is None or scene.shape is None:
            continue
        found.append(annotation(scene.index, dw_id, properties, scene.footprint, scene.crs, scene.transform,
                                scene.shape, str(properties.get("folder") or "")))
    return sorted(found, key=lambda a: a.scene.index)


def map_images(session: Session, asset: str, band: str, area: shapely.Geometry | None = None) -> list[MapImage]:
    """The images of a map of classes, or the one image that it is; two requests at most.

    Parameters
    ----------
    area : polygon in EPSG:4326 that an image must touch; None for the whole globe.

    Raises
    ------
    InputError
        Where there is no such asset, or it has no such band.
    """
    whole = ee.ImageCollection(asset)
    found = whole if area is None else whole.filterBounds(ee.Geometry(shapely.geometry.mapping(area), None, False))
    names = ["system:index", "system:time_start", "system:time_end"]
    try:
        answer = _of_map(session, whole, _features(found, names))
    except TooLargeError as error:
        raise InputError(f"labels.asset {asset}: has too many images over the region ({error}); take a smaller "
                         "region") from None
    except RefusedError:  # there is no such collection
        try:
            one = ee.Image(asset)
            answer = _of_map(session, ee.ImageCollection([one]), _features(ee.ImageCollection([one]), names))
        except RefusedError as error:
            raise InputError(f"labels.asset {asset}: is no image and no collection of images on this Earth "
                             f"({session.description}): {error}") from None
        for feature in answer["images"]["features"]:
            feature["properties"]["system:index"] = maps.name_of(asset)
    if not answer["images"]["features"]:
        raise InputError(f"labels.asset {asset}: has no image over the region")
    if band not in answer["bands"]:
        raise InputError(f"labels.band {band!r}: asset {asset} has {', '.join(answer['bands'])}")
    return [MapImage(str(p["index"]), _whole_or_none(p.get("start")), _whole_or_none(p.get("end")), shape)
            for p, shape in _map_rows(answer["images"])]


def _of_map(session: Session, whole: ee.ImageCollection, images: ee.FeatureCollection) -> dict[str, Any]:
    bands = ee.Image(whole.first()).bandNames()
    answer: dict[str, Any] = session.compute(ee.Dictionary({"images": images, "bands": bands}))
    return answer


def _map_rows(collection: dict[str, Any]) -> Iterator[tuple[dict[str, Any], shapely.Geometry | None]]:
    names = {"system:index": "index", "system:time_start": "start", "system:time_end": "end"}
    for feature in collection["features"]:
        properties = {new: feature["properties"][old] for old, new in names.items() if old in feature["properties"]}
        properties.setdefault("index", feature.get("id"))
        try:
            shape = _polygon(feature["geometry"])
        except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError):
            shape = None  # without bounds: an image of all of the globe
        globe = shape is None or not np.isfinite(shape.bounds).all() or shape.bounds[2] - shape.bounds[0] > 359
        yield properties, None if globe else shape


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else int(value)


def habitats(session: Session, points: list[tuple[float, float]],
             names: dict[int, tuple[int, str]] | None = None) -> list[Habitat | None]:
    """Biome and ecoregion of points (lon, lat): the polygon around them, or the nearest within :data:`COAST_METRES`.

    Parameters
    ----------
    names : of the ecoregions, where a caller asks more than once: asked for and put in where it is empty.
    """
    found: dict[int, tuple[int, bool]] = {}
    names = {} if names is None else names
    for offset in range(0, len(points), POINTS_PER_REQUEST):
        batch = list(enumerate(points[offset:offset + POINTS_PER_REQUEST], offset))
        if not names:
            names |= _ecoregion_names(session)
        found |= {i: (eco, True) for i, eco in _halving(session, _painted_at, batch)}
        if missing := [item for item in batch if item[0] not in found]:
            found |= {i: (eco, False) for i, eco in _halving(session, _nearest_to, missing)}
    return [Habitat(*names[found[i][0]], found[i][1]) if i in found else None for i in range(len(points))]


def _ecoregion_names(session: Session) -> dict[int, tuple[int, str]]:
    """Biome and name of each ecoregion, by its number."""
    answer = session.compute(ecoregions.regions().reduceColumns(
        ee.Reducer.toList(3), ["ECO_ID", "BIOME_NUM", "ECO_NAME"]))
    return {int(eco): (int(biome), name) for eco, biome, name in answer["list"]}


def _painted_at(batch: _Batch) -> ee.Dictionary:
    """Ecoregions that points lie in, painted to an image: polygons have millions of vertices."""
    return ecoregions.painted().sampleRegions(_points(batch), scale=100).reduceColumns(
        ee.Reducer.toList(2), ["i", "eco_id"])


def _nearest_to(batch: _Batch) -> ee.Dictionary:
    """The nearest ecoregions of points that lie in none."""
    nearest = ee.Join.saveBest("nearest", "distance").apply(
        _points(batch), ecoregions.regions(),
        ee.Filter.withinDistance(distance=COAST_METRES, leftField=".geo", rightField=".geo", maxError=100))
    named = nearest.map(lambda f: f.set("eco_id", ee.Feature(f.get("nearest")).get("ECO_ID")))
    out: ee.Dictionary = named.reduceColumns(ee.Reducer.toList(2), ["i", "eco_id"])
    return out


def _halving(session: Session, question: Callable[[_Batch], ee.Dictionary], batch: _Batch) -> list[tuple[int, int]]:
    """Pairs of a point's number and an ecoregion's; a request that is too much for the service is halved."""
    try:
        return [(int(i), int(eco)) for i, eco in session.compute(question(batch))["list"]]
    except TooLargeError:
        if len(batch) == 1:
            raise
        middle = len(batch) // 2
        return [*_halving(session, question, batch[:middle]), *_halving(session, question, batch[middle:])]


def ecoregion_map(session: Session, bounds: tuple[float, float, float, float]) -> EcoregionMap:
    """Ecoregions within (west, south, east, north), in two requests; longitudes may run past 180."""
    west, south, east, north = bounds
    if east - west > 350 or west < -180 or east > 180:
        west, east = -180.0, 180.0
    west, south = (MAP_DEGREES * (math.floor(v / MAP_DEGREES) - 1) for v in (west, south))
    east, north = (MAP_DEGREES * (math.ceil(v / MAP_DEGREES) + 1) for v in (east, north))
    west, east = max(west, -180.0), min(east, 180.0)
    grid = PixelGrid(4326, west, north, MAP_DEGREES, round((north - south) / MAP_DEGREES),
                     round((east - west) / MAP_DEGREES))
    image = ecoregions.painted().unmask(0, False).toInt16()
    ids = pixels.fetch(session, image, grid, np.dtype([("eco_id", "<i2")]))["eco_id"]
    grown = ids.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            beside = np.roll(ids, (down, right), (0, 1))
            np.copyto(grown, beside, where=(grown == 0))
    return EcoregionMap(grown, west, north, _ecoregion_names(session))


def _points(batch: _Batch) -> ee.FeatureCollection:
    out: ee.FeatureCollection = ee.FeatureCollection([
        ee.Feature(ee.Geometry.Point([(lon + 180) % 360 - 180, lat]), {"i": i}) for i, (lon, lat) in batch])
    return out


def _features(collection: ee.ImageCollection, properties: list[str]) -> ee.FeatureCollection:
    """Each scene as a feature of its footprint with a few properties: a scene's own JSON is several kB."""
    out: ee.FeatureCollection = ee.FeatureCollection(collection.map(
        lambda image: ee.Feature(ee.Image(image).geometry()).copyProperties(image, properties)))
    return out


def _read(collection: dict[str, Any], names: dict[str, str]) -> list[tuple[dict[str, Any], shapely.Geometry]]:
    rows = []
    for feature in collection["features"]:
        properties = {new: feature["properties"][old] for old, new in names.items() if old in feature["properties"]}
        # The client's features carry their system:index as the id, not as a property.
        properties.setdefault("index", feature.get("id"))
        if feature.get("geometry") and "time" in properties:
            rows.append((properties, _polygon(feature["geometry"])))
    return rows


def _label_scene(image: dict[str, Any]) -> LabelScene | None:
    properties = image["properties"]
    footprint = properties.get("system:footprint")
    if footprint is None or "system:time_start" not in properties:
        return None
    band = image["bands"][0]
    transform = band.get("crs_transform")
    dimensions = band.get("dimensions")
    return LabelScene(
        index=properties.get("system:index", image["id"].rsplit("/", 1)[-1]),
        time_ms=properties["system:time_start"], footprint=_polygon(footprint), crs=band.get("crs"),
        transform=tuple(transform) if transform else None, shape=tuple(dimensions[::-1]) if dimensions else None)


def _polygon(geometry: dict[str, Any]) -> shapely.Geometry:
    """A footprint as a polygon; Earth Engine keeps Sentinel footprints as rings."""
    if geometry["type"] in ("LinearRing", "LineString"):
        return shapely.geometry.Polygon(geometry["coordinates"])
    return shapely.geometry.shape(geometry)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def _distinct(scenes: list[Any]) -> list[Any]:
    return list({(scene.index, getattr(scene, "product", "")): scene for scene in scenes}.values())


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _whole(value: Any) -> int:
    return -1 if value is None else int(value)

