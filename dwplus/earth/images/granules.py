"""A granule of Sentinel-2, or what was made of it: one image, or the mosaic of those that hold a part of it each."""

from __future__ import annotations

from collections.abc import Callable

import ee


def granule(collection: str, index: str, prepare: Callable[[ee.Image], ee.Image]) -> ee.Image:
    """The image of an index; of comma-joined ones their mosaic, the first on top.

    Parameters
    ----------
    index : ``system:index``; several, comma-joined, are products of one sensing on either side of a datastrip border.
    prepare : done with each before they are put together: a mosaic has no projection to resample in.
    """
    images = [prepare(ee.Image(f"{collection}/{one}")) for one in index.split(",")]
    return images[0] if len(images) == 1 else ee.ImageCollection(images[::-1]).mosaic()
