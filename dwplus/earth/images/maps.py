"""Labels from any map of classes on Earth Engine: an image, or a collection of images that lie side by side or follow
each other in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ee

from dwplus.taxonomy import IGNORE


def name_of(asset: str) -> str:
    """The index of an asset that is one image: the last part of its id."""
    return asset.rpartition("/")[2]


def label(asset: str, band: str, indices: Sequence[str], codes: Mapping[int, int]) -> ee.Image:
    """Band ``label`` (uint8, 255 where the map holds nothing or another code), nearest neighbour.

    Parameters
    ----------
    indices : ``system:index`` of the images, the first on top; the asset's own name of one that is an image.
    codes : label of each code.
    """
    images = [ee.Image(asset if index == name_of(asset) else f"{asset}/{index}").select([band]) for index in indices]
    value = images[0] if len(images) == 1 else ee.ImageCollection(images[::-1]).mosaic()
    classes = value.remap(list(codes), list(codes.values()))
    out: ee.Image = classes.unmask(IGNORE, False).toUint8().rename(["label"])
    return out
