"""Sentinel-2, harmonised: L1C top of atmosphere and L2A surface reflectance, DN = reflectance x 10000.

The harmonised collections remove the +1000 offset of processing baseline 04.00 and later.
Source: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
"""

from __future__ import annotations

import ee

from dwplus.earth.images.granules import granule

COLLECTIONS = {"sr": "COPERNICUS/S2_SR_HARMONIZED", "toa": "COPERNICUS/S2_HARMONIZED"}
#: DN of a pixel without data; 0 is a legal dark value after harmonisation.
NODATA = 65535


def scenes(product: str) -> ee.ImageCollection:
    """The collection of a product, ``sr`` or ``toa``."""
    out: ee.ImageCollection = ee.ImageCollection(COLLECTIONS[product])
    return out


def reflectance(index: str, product: str, bands: tuple[str, ...]) -> ee.Image:
    """The bands of one scene as uint16 DN, 65535 where masked; of comma-joined ids those of their mosaic.

    Bilinear, so that the 20 m and 60 m bands come smooth to 10 m; on the scene's own lattice 10 m bands come through
    unchanged.
    """
    image = granule(COLLECTIONS[product], index, lambda one: one.select(list(bands)).resample("bilinear"))
    out: ee.Image = image.round().unmask(NODATA, False).toUint16().rename(list(bands))
    return out
