"""Dynamic World V1: a model's label and class probabilities, one image per Sentinel-2 L1C scene of the same id.

Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1
"""

from __future__ import annotations

import ee

from dwplus.earth.images.granules import granule
from dwplus.scenes.records import sensing_groups
from dwplus.taxonomy import CLASSES, IGNORE

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"


def scenes() -> ee.ImageCollection:
    """The collection."""
    out: ee.ImageCollection = ee.ImageCollection(COLLECTION)
    return out


def label(indices: list[str], min_confidence: float = 0.0) -> ee.Image:
    """Band ``label`` (uint8: 0..8, 255 where masked) of one scene, or the mode of several; nearest neighbour.

    Parameters
    ----------
    indices : ``system:index`` of each scene. Those of one sensing and granule hold a part of it each and are put
        together first, the first on top. Of several scenes, each pixel takes the class that most of the scenes in which
        it is not masked agree on; ties go as Earth Engine's mode reducer has them.
    min_confidence : pixels whose highest class probability is lower are masked, scene by scene.
    """
    scenes = [granule(COLLECTION, ",".join(parts), lambda image: _confident(image, min_confidence))
              for parts in sensing_groups(",".join(indices))]
    labels = ee.ImageCollection(scenes).mode() if len(scenes) > 1 else scenes[0]
    # sameFootprint=False: fill beyond the scene's edge as well; masked pixels would arrive as 0, which is water.
    return labels.unmask(IGNORE, False).toUint8().rename(["label"])


def _confident(image: ee.Image, min_confidence: float) -> ee.Image:
    labels: ee.Image = image.select(["label"])
    if min_confidence > 0:
        labels = labels.updateMask(image.select(list(CLASSES)).reduce(ee.Reducer.max()).gte(min_confidence))
    return labels


def confidence(label_id: str) -> ee.Image:
    """Band ``top``: the highest class probability of a scene, 0..1; of comma-joined ones that of their mosaic."""
    return granule(COLLECTION, label_id, lambda image: image.select(list(CLASSES)).reduce(ee.Reducer.max())
                   .rename(["top"]))
