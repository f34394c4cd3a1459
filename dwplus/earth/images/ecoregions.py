"""RESOLVE Ecoregions 2017: 846 ecoregions in 14 biomes; "Rock and Ice" is left out, for it is neither.

Source: https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017
"""

from __future__ import annotations

import ee

TABLE = "RESOLVE/ECOREGIONS/2017"


def regions() -> ee.FeatureCollection:
    """The polygons that belong to a biome. "Rock and Ice" carries BIOME_NUM 11 (tundra's) and BIOME_NAME "N/A"."""
    out: ee.FeatureCollection = ee.FeatureCollection(TABLE).filter(ee.Filter.neq("BIOME_NAME", "N/A"))
    return out


def painted() -> ee.Image:
    """Band ``eco_id``, int16: the ecoregion's number, masked outside all polygons.

    Painting and sampling costs one request for thousands of points; the polygons have millions of vertices, so that
    joining them with points does not.
    """
    out: ee.Image = ee.Image().toInt16().paint(regions(), "ECO_ID").rename(["eco_id"])
    return out
