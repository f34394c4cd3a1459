"""Labels from a map of classes: which of its images label a tile in a Sentinel-2 scene. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import shapely

from dwplus.planning.ground import placed
from dwplus.planning.pairing import LABEL_PARTIAL, NO_LABEL, Rejection
from dwplus.scenes.records import MapImage


def images_for(tile: shapely.Geometry, time_ms: int, images: Sequence[MapImage], rule: str,
               enough: float) -> tuple[str, ...] | Rejection:
    """The fewest images that cover a tile, the first on top.

    Parameters
    ----------
    tile : footprint in EPSG:4326. time_ms : of the Sentinel-2 scene.
    rule : ``any``: the newest first; ``year``: of the scene's calendar year alone, the newest first; ``nearest``: those
        nearest to the scene in time first.
    enough : share of the tile that they must cover.

    Returns
    -------
    Their indices, or the Rejection: ``no_label`` where none of that date touches the tile, ``label_partial`` where all
    together do not cover it.
    """
    if rule == "year":
        images = [image for image in images if _in_year(image, time_ms)]
    order = sorted(images, key=lambda image: image.index, reverse=True)
    order.sort(key=lambda image: _distance(image, time_ms) if rule == "nearest" else -(image.start_ms or 0))
    chosen: list[str] = []
    rest, share = tile, 0.0
    for image in order:
        own = tile if image.footprint is None else placed(image.footprint, tile.centroid.x)
        new = shapely.intersection(rest, own).area / tile.area
        if new <= 1e-6:
            continue
        chosen.append(image.index)
        share += new
        if share >= max(enough, 1 - 1e-6):
            break
        rest = shapely.difference(rest, own)
    if not chosen:
        return NO_LABEL
    return tuple(chosen) if share >= enough else LABEL_PARTIAL


def _in_year(image: MapImage, time_ms: int) -> bool:
    """Whether an image is of the scene's calendar year, or of several with it."""
    if image.start_ms is None:
        return False
    last = image.start_ms if image.end_ms is None else max(image.start_ms, image.end_ms - 1)
    return _year(image.start_ms) <= _year(time_ms) <= _year(last)


def _year(time_ms: int) -> int:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).year


def _distance(image: MapImage, time_ms: int) -> float:
    """Time from the scene to an image's span, ms; images without a date come last."""
    if image.start_ms is None:
        return float("inf")
    end = image.start_ms if image.end_ms is None else image.end_ms
    return max(image.start_ms - time_ms, time_ms - end, 0)
