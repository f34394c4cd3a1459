"""Tables of scenes and places, each from one bundled request."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ee
import shapely
import shapely.geometry

from dwplus.earth.images import dynamic_world, ecoregions, sentinel1, sentinel2
from dwplus.earth.session import Session
from dwplus.errors import InputError, RefusedError, TooLargeError
from dwplus.scenes import LabelScene, OpticalScene, RadarScene
from dwplus.spec import DatasetSpec

#: Points per request for biomes: below the 5,000 elements of an answer, and about 200 bytes each of a 10 MiB request.
POINTS_PER_REQUEST = 2_000
#: How far (m) a coastal tile may lie from its ecoregion's simplified outline.
COAST_METRES = 10_000


@dataclass(frozen=True)
class Catalogue:
    """Scenes that touch an area, labels within a window, radar within reach of it."""

    labels: list[LabelScene]
    optical: list[OpticalScene]
    radar: list[RadarScene]


@dataclass(frozen=True)
class Place:
    """Where a point lies: biome number 1..14, ecoregion, and whether it lies inside its polygon or near it."""

    biome: int
    ecoregion: str
    inside: bool


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


def catalogues(session: Session, spec: DatasetSpec, areas: Sequence[shapely.Geometry], start: dt.date,
               end: dt.date) -> list[Catalogue]:
    """Labels, optical and radar scenes over each of several areas, in one request.

    A request that is too much for the service is halved: first in areas, then in time.

    Parameters
    ----------
    areas : polygons in EPSG:4326, each about a degree across.
    start, end : the window of label dates, [start, end), UTC.

    Returns
    -------
    list of Catalogue, one per area, in order.
    """
    if not areas:
        return []
    try:
        answers = session.compute(ee.List([_scenes(spec, area, start, end) for area in areas]))
        return [_catalogue(answer) for answer in answers]
    except TooLargeError:
        if len(areas) > 1:
            half = len(areas) // 2
            return [found for part in (areas[:half], areas[half:])
                    for found in catalogues(session, spec, part, start, end)]
        days = (end - start).days
        if days < 2:
            raise
        middle = start + dt.timedelta(days=days // 2)
        (one,), (two,) = (catalogues(session, spec, areas, a, b) for a, b in ((start, middle), (middle, end)))
        return [Catalogue(one.labels + two.labels, _distinct(one.optical + two.optical),
                          _distinct(one.radar + two.radar))]


def _scenes(spec: DatasetSpec, area: shapely.Geometry, start: dt.date, end: dt.date) -> ee.Dictionary:
    """The three collections over an area; dates are filtered first, for the radar archive is large."""
    reach = dt.timedelta(hours=spec.sentinel1.max_gap_hours)
    first, last = _midnight(start), _midnight(end)
    bounds = ee.Geometry(shapely.geometry.mapping(area), None, False)
    # A twin's own time may differ from the label's by the length of a datatake.
    slack = dt.timedelta(hours=1)
    return ee.Dictionary({
        # Filters come before select, which maps over all that is left.
        "labels": dynamic_world.scenes().filterDate(first, last).filterBounds(bounds).select(["label"]),
        "optical": _features(
            sentinel2.scenes(spec.sentinel2.product).filterDate(first - slack, last + slack).filterBounds(bounds),
            ["system:index", "system:time_start", "MGRS_TILE", "CLOUDY_PIXEL_PERCENTAGE"]),
        "radar": _features(
            sentinel1.scenes(spec.sentinel1.orbit).filterDate(first - reach, last + reach).filterBounds(bounds),
            ["system:index", "system:time_start", "orbitProperties_pass", "relativeOrbitNumber_start",
             "platform_number"]),
    })


def _catalogue(answer: dict[str, Any]) -> Catalogue:
    return Catalogue(
        [scene for image in answer["labels"]["features"] if (scene := _label_scene(image))],
        [OpticalScene(p["index"], p["time"], p.get("mgrs"), _number(p.get("cloud")), shape)
         for p, shape in _read(answer["optical"], {"system:index": "index", "system:time_start": "time",
                                                   "MGRS_TILE": "mgrs", "CLOUDY_PIXEL_PERCENTAGE": "cloud"})],
        [RadarScene(p["index"], p["time"], p.get("pass", ""), _whole(p.get("orbit")), str(p.get("platform", "")), shape)
         for p, shape in _read(answer["radar"], {
             "system:index": "index", "system:time_start": "time", "orbitProperties_pass": "pass",
             "relativeOrbitNumber_start": "orbit", "platform_number": "platform"})],
    )


def places(session: Session, points: list[tuple[float, float]]) -> list[Place | None]:
    """Biome and ecoregion of points (lon, lat): the polygon around them, or the nearest within :data:`COAST_METRES`."""
    found: dict[int, tuple[int, bool]] = {}
    names: dict[int, tuple[int, str]] = {}
    for offset in range(0, len(points), POINTS_PER_REQUEST):
        batch = list(enumerate(points[offset:offset + POINTS_PER_REQUEST], offset))
        request = {"hits": ecoregions.painted().sampleRegions(_points(batch), scale=100).reduceColumns(
            ee.Reducer.toList(2), ["i", "eco_id"])}
        if not names:
            request["names"] = ecoregions.regions().reduceColumns(
                ee.Reducer.toList(3), ["ECO_ID", "BIOME_NUM", "ECO_NAME"])
        answer = session.compute(ee.Dictionary(request))
        if "names" in answer:
            names = {int(eco): (int(biome), name) for eco, biome, name in answer["names"]["list"]}
        found |= {int(i): (int(eco), True) for i, eco in answer["hits"]["list"]}
        missing = [item for item in batch if item[0] not in found]
        if missing:
            nearest = ee.Join.saveBest("nearest", "distance").apply(
                _points(missing), ecoregions.regions(),
                ee.Filter.withinDistance(distance=COAST_METRES, leftField=".geo", rightField=".geo", maxError=100))
            pairs = nearest.map(lambda f: f.set("eco_id", ee.Feature(f.get("nearest")).get("ECO_ID"))).reduceColumns(
                ee.Reducer.toList(2), ["i", "eco_id"])
            found |= {int(i): (int(eco), False) for i, eco in session.compute(pairs)["list"]}
    return [Place(*names[found[i][0]], found[i][1]) if i in found else None for i in range(len(points))]


def _points(batch: list[tuple[int, tuple[float, float]]]) -> ee.FeatureCollection:
    return ee.FeatureCollection([
        ee.Feature(ee.Geometry.Point([(lon + 180) % 360 - 180, lat]), {"i": i}) for i, (lon, lat) in batch])


def _features(collection: ee.ImageCollection, properties: list[str]) -> ee.FeatureCollection:
    """Each scene as a feature of its footprint with a few properties: a scene's own JSON is several kB."""
    return ee.FeatureCollection(collection.map(
        lambda image: ee.Feature(ee.Image(image).geometry()).copyProperties(image, properties)))


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
    return list({scene.index: scene for scene in scenes}.values())


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _whole(value: Any) -> int:
    return -1 if value is None else int(value)

