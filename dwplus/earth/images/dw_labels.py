"""Dynamic World annotations: tiles annotated by people, one image each, codes 0..10.

Source: Brown et al. 2022, Sci Data 9:251; published as PANGAEA 933475 and as the asset below.
"""

from __future__ import annotations

import datetime as dt

import ee

from dwplus.taxonomy import IGNORE

#: The publishers' own copy in Earth Engine.
DW_LABELS = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"


def scenes(asset: str, start: dt.datetime, end: dt.datetime, area: ee.Geometry | None = None) -> ee.ImageCollection:
    """The images of an asset of [start, end) that touch an area, with their first band, the label, only.

    Bands are chosen last: what is mapped first has to be looked at whole, image by image.
    """
    found = ee.ImageCollection(asset).filterDate(start, end)
    if area is not None:
        found = found.filterBounds(area)
    out: ee.ImageCollection = found.select([0], ["label"])
    return out


def label(asset: str, index: str) -> ee.Image:
    """Band ``label`` (uint8: 0..8, 255 where nothing or cloud was drawn) of one annotated tile, nearest neighbour."""
    codes = ee.Image(f"{asset}/{index}").select([0], ["label"])
    classes = codes.updateMask(codes.gte(1).And(codes.lte(9))).subtract(1)
    out: ee.Image = classes.unmask(IGNORE, False).toUint8().rename(["label"])
    return out
