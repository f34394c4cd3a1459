"""OPERA RTC-S1: bursts of a pass, masked by their codes, resampled in linear power, delivered in dB.

Source: https://developers.google.com/earth-engine/datasets/catalog/OPERA_RTC_L2_V1_S1
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import ee

from dwplus.earth.images.sentinel1 import NODATA, POLARISATIONS, UNITS
from dwplus.spec.radar import RTC, RTC_STATIC

#: What a burst's feature keeps for planning. No property says the satellite: it stands in the names of the input.
PROPERTIES = ("system:index", "system:time_start", "ORBIT_PASS_DIRECTION", "TRACK_NUMBER", "BURST_ID",
              "INPUT_L1_SLC_GRANULES")
#: Code of the band ``mask`` of what is neither hidden, folded over nor invalid; 1 shadow, 2 layover, 3 both, 255 none.
VALID, INVALID = 0, 255
#: Bands of the static layers, by ours.
LAYERS = {"angle": "incidence_angle", "local_incidence": "local_incidence_angle"}


def scenes(orbit: str = "any") -> ee.ImageCollection:
    """Bursts with both VV and VH, of one orbit pass or any."""
    collection: ee.ImageCollection = ee.ImageCollection(RTC)
    for name in POLARISATIONS:
        collection = collection.filter(ee.Filter.listContains("POLARIZATIONS", name))
    if orbit != "any":
        # written in lower case by OPERA's processor; how the archive spells it is not documented
        collection = collection.filter(ee.Filter.inList("ORBIT_PASS_DIRECTION", [orbit, orbit.upper(), orbit.title()]))
    return collection


def platform(properties: dict[str, Any]) -> str:
    """Letter of a burst's satellite, by the first of its input granules or else by its index; empty where neither says
    it."""
    granules = properties.get("granules") or []
    names = [*(granules if isinstance(granules, list) else [granules]), properties.get("index", "")]
    found = (re.search(r"(?:^|[_/'])S1([A-Z])_", str(name)) for name in names)
    return next((match[1] for match in found if match), "")


def backscatter(indices: Sequence[str], *, more: Sequence[str] = (), dtype: str = "int16") -> ee.Image:
    """Bands VV, VH of a pass, then ``more``: gamma nought, as :func:`dwplus.earth.images.sentinel1.backscatter`
    delivers it.

    What is in shadow or layover, or invalid, is masked in both bands; the neighbours of 30 m are weighted in linear
    power, and where bursts overlap the first with data is taken.

    Parameters
    ----------
    indices : ``system:index`` of each burst, the first on top.
    more : of ``angle`` and ``local_incidence`` (degrees, of the burst's static layers) and ``layover_shadow`` (0..3).
    dtype : ``int16`` hundredths of dB, -32768 masked; ``float32`` dB, -9999 masked.
    """
    bursts, bands = [_burst(index, more) for index in indices], [*POLARISATIONS, *more]
    value = ee.ImageCollection(bursts[::-1]).mosaic() if len(bursts) > 1 else bursts[0]
    if more:
        value = value.select(list(POLARISATIONS)).log10().multiply(10).addBands(value.select(list(more)))
    else:
        value = value.log10().multiply(10)
    if dtype == "int16":
        return value.multiply(UNITS).round().unmask(NODATA[dtype], False).toInt16().rename(bands)
    return value.unmask(NODATA[dtype], False).toFloat().rename(bands)


def _burst(index: str, more: Sequence[str]) -> ee.Image:
    """VV, VH in linear power, interpolated bilinearly; power that is not positive has no dB.

    Masked before, so that no neighbour takes of what is hidden, and after, for interpolation fills what is masked from
    its neighbours: of a pixel of 30 m all of its ground is masked.
    """
    image = ee.Image(f"{RTC}/{index}")
    power = image.select(list(POLARISATIONS))
    kept = power.gt(0).And(image.select(["mask"]).eq(VALID))
    found: ee.Image = power.updateMask(kept).resample("bilinear").updateMask(kept)
    for name in more:
        if name == "layover_shadow":
            codes = image.select(["mask"])
            band = codes.updateMask(codes.lt(INVALID))
        else:
            band = _static(image).select([LAYERS[name]]).resample("bilinear")
        found = found.addBands(band.rename([name]))
    return found


def _static(image: ee.Image) -> ee.Image:
    """What of a burst's geometry does not change: its layers are an image of their own, with the same id of burst."""
    same = ee.Filter.eq("BURST_ID", image.get("BURST_ID"))
    found: ee.Image = ee.Image(ee.ImageCollection(RTC_STATIC).filterBounds(image.geometry()).filter(same).first())
    return found
