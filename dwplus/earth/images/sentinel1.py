"""Sentinel-1 GRD backscatter: border noise masked, resampled and averaged in linear power, delivered in dB.

Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import ee

COLLECTION = "COPERNICUS/S1_GRD"
POLARISATIONS = ("VV", "VH")
#: Stored value of a pixel without data, for the two types; 0 dB is a legal value.
NODATA = {"int16": -32768, "float32": -9999.0}
#: Stored int16 units per dB (and per degree of the angle band).
UNITS = 100


def scenes(orbit: str = "any") -> ee.ImageCollection:
    """IW scenes with both VV and VH, of one orbit pass or any."""
    collection: ee.ImageCollection = (ee.ImageCollection(COLLECTION)
                                      .filter(ee.Filter.eq("instrumentMode", "IW"))
                                      .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VV"))
                                      .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH")))
    if orbit != "any":
        collection = collection.filter(ee.Filter.eq("orbitProperties_pass", orbit.upper()))
    return collection


def _scene(index: str, edge_db: float, angle: bool, power: bool) -> ee.Image:
    """One slice: VV, VH in linear power (or dB), ``angle`` in degrees by option; interpolated bilinearly.

    The image stands left in every operation, so that the result keeps the scene's projection for ``resample``.
    """
    image = ee.Image(f"{COLLECTION}/{index}")
    decibels = image.select(list(POLARISATIONS))
    value: ee.Image = decibels.multiply(math.log(10) / 10).exp() if power else decibels
    value = value.updateMask(decibels.select(["VV"]).gt(edge_db)).resample("bilinear")
    if angle:
        value = value.addBands(image.select(["angle"]).resample("bilinear"))
    return value


def backscatter(indices: Sequence[str], *, policy: str = "nearest", average: str = "linear", edge_db: float = -40.0,
                keep_angle: bool = False, dtype: str = "int16") -> ee.Image:
    """Bands VV, VH (and angle) of a pass or of a mean over passes.

    Parameters
    ----------
    indices : ``system:index`` of each slice. With ``nearest`` they belong to one pass and are mosaicked, the first on
        top; with ``mean`` they are averaged.
    average : what ``mean`` averages: ``linear`` power or ``db``.
    edge_db : VV at or below this is border noise, masked in all bands.
    dtype : ``int16`` hundredths of dB (of a degree for the angle), -32768 masked; ``float32`` dB, -9999 masked.
    """
    power = policy == "nearest" or average == "linear"
    slices = [_scene(index, edge_db, keep_angle, power) for index in indices]
    if policy == "mean":
        value = ee.ImageCollection(slices).mean() if len(slices) > 1 else slices[0]
    else:
        value = ee.ImageCollection(slices[::-1]).mosaic() if len(slices) > 1 else slices[0]
    bands = [*POLARISATIONS, "angle"] if keep_angle else list(POLARISATIONS)
    if power:
        decibels = value.select(list(POLARISATIONS)).log10().multiply(10)
        value = decibels.addBands(value.select(["angle"])) if keep_angle else decibels
    if dtype == "int16":
        return value.multiply(UNITS).round().unmask(NODATA[dtype], False).toInt16().rename(bands)
    return value.unmask(NODATA[dtype], False).toFloat().rename(bands)
