"""Small questions to an Earth whose answers differ between a faithful server and a careless one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ee
import numpy as np
import shapely

#: The days that are looked at, and those in which satellites C and D began, until when the platforms are counted.
WINDOW = (dt.date(2021, 6, 1), dt.date(2021, 8, 1))
LATE = ("2024-12-01", "2027-01-01")
#: Collections in which one scene has one id.
TWINS = {"L1C": "COPERNICUS/S2_HARMONIZED", "L2A": "COPERNICUS/S2_SR_HARMONIZED", "label": "GOOGLE/DYNAMICWORLD/V1",
         "cloud score": "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"}


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


def _box(box: tuple[float, float, float, float]) -> ee.Geometry:
    found: ee.Geometry = ee.Geometry(shapely.geometry.mapping(shapely.box(*box)), None, False)
    return found


def pixels(image: ee.Image, crs: str, x0: float, y0: float, scale: float, size: int,
           rows: int | None = None) -> np.ndarray:
    """A square of pixels, or so many rows, as a structured array."""
    found: np.ndarray = ee.data.computePixels({
        "expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": {
            "crsCode": crs, "dimensions": {"width": size, "height": rows or size}, "affineTransform": {
                "scaleX": scale, "shearX": 0, "translateX": x0, "shearY": 0, "scaleY": -scale, "translateY": y0}}})
    return found


def bilinear(scene: str) -> ee.Image:
    """Column numbers of a scene's own pixels, every fourth column masked, interpolated; and the mask that results."""
    band = ee.Image(scene).select("VV")
    column = ee.Image.pixelCoordinates(band.projection()).select("x").floor()
    lined = band.multiply(0).add(column).updateMask(column.mod(4).neq(0)).rename("value")
    smooth = lined.resample("bilinear")
    found: ee.Image = smooth.unmask(-1, False).addBands(smooth.mask().rename("mask")).toDouble()
    return found


def mask(scene: str) -> ee.Image:
    """A scene's mask as numbers."""
    found: ee.Image = ee.Image(scene).select("VV").mask().rename("mask").toDouble()
    return found


def band(scene: str) -> ee.Image:
    """The first band of a scene."""
    found: ee.Image = ee.Image(scene).select("VV")
    return found


def mixed() -> ee.Image:
    """Bands of five types."""
    bands = [ee.Image.constant(1).toByte(), ee.Image.constant(2).toUint16(), ee.Image.constant(3).toInt32(),
             ee.Image.constant(0.5).toFloat(), ee.Image.constant(0.25).toDouble()]
    found: ee.Image = ee.Image.cat(bands).rename(["byte", "uint16", "int32", "float", "double"])
    return found


def _ids(collection: str, box: tuple[float, float, float, float]) -> ee.List:
    scenes = ee.ImageCollection(collection).filterDate(*map(str, WINDOW)).filterBounds(_box(box))
    found: ee.List = scenes.aggregate_array("system:index")
    return found


def twins(box: tuple[float, float, float, float]) -> ee.Dictionary:
    """Ids in the collections of :data:`TWINS`."""
    found: ee.Dictionary = ee.Dictionary({name: _ids(collection, box) for name, collection in TWINS.items()})
    return found


def first_radar(box: tuple[float, float, float, float]) -> ee.Image:
    """A Sentinel-1 scene of the window."""
    radar = ee.ImageCollection("COPERNICUS/S1_GRD").filterDate(*map(str, WINDOW)).filterBounds(_box(box))
    found: ee.Image = ee.Image(radar.limit(1).first())
    return found


def client() -> str:
    """Version of the client."""
    return str(ee.__version__)


def platforms(box: tuple[float, float, float, float]) -> ee.Dictionary:
    """Scenes by platform, first days of C and D over the box, and scenes without VH in the window."""
    radar = ee.ImageCollection("COPERNICUS/S1_GRD").filterBounds(_box(box))
    late = radar.filterDate(*LATE)

    def first(letter: str) -> Any:
        times = late.filter(ee.Filter.eq("platform_number", letter)).aggregate_min("system:time_start")
        return ee.List([times])

    window = radar.filterDate(*map(str, WINDOW)).filter(ee.Filter.eq("instrumentMode", "IW"))
    has_vh = ee.Filter.listContains("transmitterReceiverPolarisation", "VH")
    found: ee.Dictionary = ee.Dictionary({
        "platform_number": late.aggregate_histogram("platform_number"), "first C, ms": first("C"),
        "first D, ms": first("D"), "IW scenes": window.size(), "without VH": window.filter(has_vh.Not()).size()})
    return found
