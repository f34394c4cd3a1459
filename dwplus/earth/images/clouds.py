"""Cloud masks of Sentinel-2 scenes: band ``cloud`` (uint8: 0 clear, 1 cloud, 255 not known), nearest neighbour.

Sources: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED,
COPERNICUS_S2_CLOUD_PROBABILITY and COPERNICUS_S2_SR_HARMONIZED of the same catalogue.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import ee

from dwplus.earth.images import granules
from dwplus.earth.images.sentinel2 import COLLECTIONS
from dwplus.scenes.records import sensing_key

UNKNOWN = 255
#: Cloud Score+: quality of every pixel, 0 occluded to 1 clear; clear from here on, the catalogue's own example.
SCORE, SCORE_BAND, CLEAR_SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "cs_cdf", 0.60
#: s2cloudless: probability of cloud, percent.
PROBABILITY, CLOUDY_PERCENT = "COPERNICUS/S2_CLOUD_PROBABILITY", 50
#: Scene classes of Sen2Cor: cloud shadow, cloud of medium and of high probability, thin cirrus.
CLOUDY_CLASSES = (3, 8, 9, 10)


def cloud(source: str, s2_index: str) -> ee.Image:
    """The mask of one scene.

    Parameters
    ----------
    source : ``cloud-score-plus``, ``s2cloudless`` or ``scl``.
    s2_index : of the scene shown, comma-joined of a mosaic's. The first two go by the L1C scene's id, which may differ
        from the L2A scene's in its second time stamp; they are found by sensing and granule.
    """
    if source == "scl":
        classes = granules.granule(COLLECTIONS["sr"], s2_index, lambda image: image.select(["SCL"]))
        mask = classes.remap(list(CLOUDY_CLASSES), [1] * len(CLOUDY_CLASSES), 0)
    elif source == "cloud-score-plus":
        mask = _of_scene(SCORE, SCORE_BAND, s2_index, lambda image: image.lt(CLEAR_SCORE))
    else:
        mask = _of_scene(PROBABILITY, "probability", s2_index, lambda image: image.gte(CLOUDY_PERCENT))
    out: ee.Image = mask.unmask(UNKNOWN, False).toUint8().rename(["cloud"])
    return out


def clear(label_id: str) -> ee.Image:
    """Band ``clear`` (1 clear, 0 not, by Cloud Score+) of a scene; 0 beyond its edge.

    Parameters
    ----------
    label_id : of the Dynamic World image, which is that of the L1C scene the score was made from; the score is found by
        sensing and granule, for an L2A twin may have another second time stamp. Where no score was made, nothing counts
        as clear.
    """
    score = _of_scene(SCORE, SCORE_BAND, label_id.split(",")[0], lambda image: image.gte(CLEAR_SCORE))
    return score.unmask(0, False).rename(["clear"])


def score(s2_index: str) -> ee.Image:
    """Band ``cs_cdf`` of Cloud Score+, 0 occluded to 1 clear, of a scene found by sensing and granule; masked where no
    score was made."""
    return _of_scene(SCORE, SCORE_BAND, s2_index, lambda image: image)


def _of_scene(collection: str, band: str, s2_index: str, judge: Callable[[ee.Image], ee.Image]) -> ee.Image:
    """A band of the scene's twin in another collection, judged; masked everywhere where there is none."""
    start, _, granule = sensing_key(s2_index).partition("_")
    try:
        sensed = dt.datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return judge(granules.granule(collection, s2_index, lambda image: image.select([band])))
    hour = dt.timedelta(hours=1)
    twins = (ee.ImageCollection(collection).filterDate(sensed - hour, sensed + hour)
             .filter(ee.Filter.stringStartsWith("system:index", start))
             .filter(ee.Filter.stringEndsWith("system:index", f"T{granule}")).select([band]))
    nothing = ee.Image.constant(0).toFloat().rename([band]).updateMask(0)
    return judge(ee.ImageCollection([nothing]).merge(twins).mosaic())
