"""Dynamic World V1: a model's label and class probabilities, one image per Sentinel-2 L1C scene of the same id.

Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1
"""

from __future__ import annotations

import ee

from dwplus.taxonomy import CLASSES, IGNORE

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"


def scenes() -> ee.ImageCollection:
    """The collection."""
    return ee.ImageCollection(COLLECTION)


def label(index: str, min_confidence: float = 0.0) -> ee.Image:
    """Band ``label`` (uint8: 0..8, 255 where masked) of one scene, nearest neighbour.

    Parameters
    ----------
    index : the scene's ``system:index``.
    min_confidence : pixels whose highest class probability is lower become 255.
    """
    image = ee.Image(f"{COLLECTION}/{index}")
    labels = image.select(["label"])
    if min_confidence > 0:
        labels = labels.updateMask(image.select(list(CLASSES)).reduce(ee.Reducer.max()).gte(min_confidence))
    # sameFootprint=False: fill beyond the scene's edge as well; masked pixels would arrive as 0, which is water.
    return labels.unmask(IGNORE, False).toUint8().rename(["label"])
