"""Sentinel-1 GRD backscatter: border noise masked, resampled and averaged in linear power, delivered in dB.

Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ee

from dwplus.earth.images import speckle, terrain

COLLECTION = "COPERNICUS/S1_GRD"
POLARISATIONS = ("VV", "VH")
#: Stored value of a pixel without data, for the two types; 0 dB is a legal value.
NODATA = {"int16": -32768, "float32": -9999.0}
#: From this day on ESA masks border noise (IPF 2.90), in most products.
BORDER_FIX = "20180313"
#: VV at or below which earlier slices are masked, dB: as in Earth Engine's own example. On the sample planet it leaves
#: a tenth of the noise and costs 0.5 % of the water (docs/planet.md).
EARLY_DB = -30.0
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


@dataclass(frozen=True)
class Edges:
    """How border noise is masked; the keys ``quality.s1_edges`` and following of a spec say the same.

    Attributes
    ----------
    way : ``threshold``: VV at or below ``db`` is masked in all bands; ``angle``: what is seen under an incidence angle
        outside ``angles`` (degrees); ``both``; ``none``; ``auto``: ``threshold``, of at least :data:`EARLY_DB` for
        slices of before :data:`BORDER_FIX`.
    erode : metres by which what is seen is eroded from the slice's edge inwards.
    """

    way: str = "threshold"
    db: float = -40.0
    angles: tuple[float, float] = (30.64, 45.24)
    erode: float = 0.0

    def of(self, index: str) -> Edges:
        """The same for one slice, ``auto`` settled by the date in its id."""
        if self.way != "auto":
            return self
        match = re.search(r"_(\d{8})T", index)
        early = match is not None and match[1] < BORDER_FIX
        return replace(self, way="threshold", db=max(self.db, EARLY_DB) if early else self.db)


def _kept(image: ee.Image, decibels: ee.Image, edges: Edges) -> ee.Image | None:
    """Where a slice is kept; None for all of it."""
    tests = []
    if edges.way in ("threshold", "both"):
        tests.append(decibels.select(["VV"]).gt(edges.db))
    if edges.way in ("angle", "both"):
        angle, (low, high) = image.select(["angle"]), edges.angles
        tests.append(angle.gte(low).And(angle.lte(high)))
    if edges.erode:
        tests.append(image.select(["angle"]).mask().focalMin(edges.erode, "square", "meters"))
    if not tests:
        return None
    kept: ee.Image = tests[0]
    for test in tests[1:]:
        kept = kept.And(test)
    return kept


def _scene(index: str, edges: Edges, angle: bool, power: bool) -> ee.Image:
    """One slice: VV, VH in linear power (or dB), ``angle`` in degrees by option; interpolated bilinearly.

    The image stands left in every operation, so that the result keeps the scene's projection for ``resample``.
    """
    image = ee.Image(f"{COLLECTION}/{index}")
    decibels = image.select(list(POLARISATIONS))
    value: ee.Image = decibels.multiply(math.log(10) / 10).exp() if power else decibels
    kept = _kept(image, decibels, edges.of(index))
    value = (value if kept is None else value.updateMask(kept)).resample("bilinear")
    if angle:
        value = value.addBands(image.select(["angle"]).resample("bilinear"))
    return value


@dataclass(frozen=True)
class Ground:
    """What is done about slopes and speckle, and which bands tell of slopes; by default nothing.

    Attributes
    ----------
    flatten : ``none``, or the model of :meth:`dwplus.earth.images.terrain.View.factor`: ``volume`` or ``surface``. The
        bands are then gamma nought, and layover and shadow are masked.
    buffer : metres by which layover and shadow are grown.
    keep : of ``local_incidence`` (degrees) and ``layover_shadow`` (0..3), further bands in this order.
    speckle : ``none``, a name of :data:`dwplus.earth.images.speckle.FILTERS`, or ``multitemporal``, over ``window``
        pixels, for an equivalent number of looks ``enl``.
    height : elevation in metres; what ``flatten`` and ``keep`` look at.
    """

    flatten: str = "none"
    buffer: float = 0.0
    keep: tuple[str, ...] = ()
    speckle: str = "none"
    window: int = 7
    enl: float = 4.4
    height: ee.Image | None = None

    @property
    def sloped(self) -> bool:
        return self.flatten != "none" or bool(self.keep)

    def applied(self, value: ee.Image, others: Sequence[ee.Image] = ()) -> ee.Image:
        """VV, VH (linear power), ``angle`` and what is kept, from VV, VH, ``angle``, and VV, VH of further passes."""
        power = value.select(list(POLARISATIONS))
        seen = power.mask()
        if self.speckle == "multitemporal":
            power = speckle.multitemporal(power, others, self.window).updateMask(seen)
        elif self.speckle != "none":
            power = speckle.FILTERS[self.speckle](power, self.window, self.enl).updateMask(seen)
        found: ee.Image
        if not self.sloped:
            found = power.addBands(value.select(["angle"]))
            return found
        assert self.height is not None
        angle = value.select(["angle"])
        view = terrain.view(angle, self.height)
        codes = view.layover_shadow(self.buffer)
        if self.flatten != "none":
            power = power.divide(view.theta.cos()).divide(view.factor(self.flatten)).updateMask(codes.eq(0))
        found = power.addBands(angle)
        for name in self.keep:
            image = view.local_incidence() if name == "local_incidence" else codes
            found = found.addBands(image.rename([name]))
        return found


DEFAULT_EDGES, PLAIN = Edges(), Ground()


def _together(slices: Sequence[ee.Image]) -> ee.Image:
    """The slices of a pass as one image, the first on top."""
    found: ee.Image = ee.ImageCollection(slices[::-1]).mosaic() if len(slices) > 1 else slices[0]
    return found


def backscatter(indices: Sequence[str], *, policy: str = "nearest", average: str = "linear",
                edges: Edges = DEFAULT_EDGES, keep_angle: bool = False, dtype: str = "int16",
                ground: Ground = PLAIN, further: Sequence[Sequence[str]] = ()) -> ee.Image:
    """Bands VV, VH (then ``angle``, ``local_incidence``, ``layover_shadow``) of a pass or of a mean over passes.

    Parameters
    ----------
    indices : ``system:index`` of each slice. With ``nearest`` they belong to one pass and are mosaicked, the first on
        top; with ``mean`` they are averaged.
    average : what ``mean`` averages: ``linear`` power or ``db``.
    edges : what is border noise, masked in all bands.
    dtype : ``int16`` hundredths of dB (of a degree or code for the others), -32768 masked; ``float32`` dB, -9999
        masked.
    ground : slopes and speckle; linear power only. Slices of a pass are one image to it, so that windows and slopes
        cross their seams; of a mean, each slice is seen for itself.
    further : slices of each further pass, for the filter that is multitemporal; linear power, border noise masked.
    """
    power = policy == "nearest" or average == "linear"
    treated = ground.sloped or ground.speckle != "none"
    slices = [_scene(index, edges, keep_angle or treated, power) for index in indices]
    if policy == "mean":
        slices = [ground.applied(one) for one in slices] if treated else slices
        value = ee.ImageCollection(slices).mean() if len(slices) > 1 else slices[0]
    else:
        value = _together(slices)
        others = [_together([_scene(index, edges, False, True) for index in one]) for one in further]
        value = ground.applied(value, others) if treated else value
    more = [*(["angle"] if keep_angle else []), *ground.keep]
    bands = [*POLARISATIONS, *more]
    if power:
        decibels = value.select(list(POLARISATIONS)).log10().multiply(10)
        value = decibels.addBands(value.select(more)) if more else decibels
    if dtype == "int16":
        return value.multiply(UNITS).round().unmask(NODATA[dtype], False).toInt16().rename(bands)
    return value.unmask(NODATA[dtype], False).toFloat().rename(bands)
