"""A look at tiles' pixels while planning: how much of each is clear, how sure its label is, which classes it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import ee

from dwplus.earth.images import clouds, dynamic_world
from dwplus.earth.images.granules import granule
from dwplus.earth.session import Session
from dwplus.errors import AssetGoneError, TooLargeError
from dwplus.grid import PixelGrid
from dwplus.spec import DatasetSpec
from dwplus.taxonomy import CLASSES, IGNORE

#: Spacing (m) of the pixels looked at: 2,600 of a 5.1 km tile.
PROBE_SCALE = 100
#: Tiles bundled into one request, and requests in flight.
TILES_PER_REQUEST, IN_FLIGHT = 200, 4


@dataclass(frozen=True)
class Probe:
    """What a tile holds.

    Attributes
    ----------
    clear : share of the tile that is clear, 0..1, by the label's own mask or by Cloud Score+.
    confidence : mean of the label's highest class probability over its pixels, 0..1; 0 where not looked at.
    shares : share of each class among the labelled pixels, by class name.
    """

    clear: float
    confidence: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)


def probe(session: Session, spec: DatasetSpec, tiles: Sequence[tuple[PixelGrid, str, str]]) -> list[Probe]:
    """Look at tiles in few requests; halved where the service finds one too large.

    Parameters
    ----------
    tiles : grid, label id and Sentinel-2 id of each, comma-joined of mosaics.

    Returns
    -------
    list of Probe, in order.
    """
    try:
        return [_read(answer) for answer in _bundles(session, [_measure(spec, *tile) for tile in tiles])]
    except AssetGoneError as error:
        if not error.asset.startswith(clouds.SCORE):
            raise
        raise AssetGoneError(f"quality.clouds cloud-score-plus: {error}; use label instead",
                             asset=error.asset) from error


def cloud_shares(session: Session, source: str, tiles: Sequence[tuple[PixelGrid, str]]) -> list[float]:
    """Cloud over tiles, 0..1, in few requests; NaN where no pixel of a tile is known.

    Parameters
    ----------
    source : of :func:`dwplus.earth.images.clouds.cloud`. tiles : grid and Sentinel-2 id of each.
    """
    answers = _bundles(session, [
        _reduced(clouds.cloud(source, s2_id), ee.Reducer.frequencyHistogram(),
                 ee.Geometry.Rectangle(list(grid.bounds), grid.crs, False), grid) for grid, s2_id in tiles])
    counts = [{int(float(value)): count for value, count in (answer.get("cloud") or {}).items()} for answer in answers]
    return [found.get(1, 0) / known if (known := found.get(0, 0) + found.get(1, 0)) else math.nan for found in counts]


def _bundles(session: Session, questions: Sequence[ee.Dictionary]) -> list[Mapping[str, Any]]:
    """Answers to many questions, in order."""
    parts = [questions[i:i + TILES_PER_REQUEST] for i in range(0, len(questions), TILES_PER_REQUEST)]
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return [answer for found in pool.map(lambda part: _bundle(session, part), parts) for answer in found]


def _bundle(session: Session, questions: Sequence[ee.Dictionary]) -> list[Mapping[str, Any]]:
    try:
        answers: list[Mapping[str, Any]] = session.compute(ee.List(list(questions)))
        return answers
    except TooLargeError:
        if len(questions) == 1:
            raise
        half = len(questions) // 2
        return [*_bundle(session, questions[:half]), *_bundle(session, questions[half:])]


def _measure(spec: DatasetSpec, grid: PixelGrid, label_id: str, s2_id: str) -> ee.Dictionary:
    """Numbers of one tile, from every tenth pixel of it or so."""
    region = ee.Geometry.Rectangle(list(grid.bounds), grid.crs, False)
    parts: dict[str, Any] = {}
    if spec.labels.source == "dynamic-world-v1":
        parts["classes"] = _reduced(dynamic_world.label(label_id.split(",")), ee.Reducer.frequencyHistogram(), region,
                                    grid).get("label")
    if spec.quality.clouds == "cloud-score-plus":
        score = granule(clouds.SCORE, s2_id, lambda image: image.select([clouds.SCORE_BAND]))
        clear = score.gte(clouds.CLEAR_SCORE).unmask(0, False).rename(["clear"])
        parts["clear"] = _reduced(clear, ee.Reducer.mean(), region, grid).get("clear")
    elif spec.quality.clouds == "label" and spec.labels.source == "dynamic-world-v1":
        image = granule(dynamic_world.COLLECTION, label_id, lambda one: one.select(list(CLASSES)))
        top = image.reduce(ee.Reducer.max()).rename(["top"])
        parts["confidence"] = _reduced(top, ee.Reducer.mean(), region, grid).get("top")
    return ee.Dictionary(parts)


def _reduced(image: ee.Image, reducer: ee.Reducer, region: ee.Geometry, grid: PixelGrid) -> ee.Dictionary:
    return image.reduceRegion(reducer=reducer, geometry=region, crs=grid.crs,
                              crsTransform=[PROBE_SCALE, 0, grid.x0, 0, -PROBE_SCALE, grid.y0])


def _read(answer: Mapping[str, Any]) -> Probe:
    counts = {int(float(value)): float(count) for value, count in (answer.get("classes") or {}).items()}
    total = sum(counts.values())
    labelled = total - counts.get(IGNORE, 0.0)
    shares = {name: counts[i] / labelled for i, name in enumerate(CLASSES) if counts.get(i)}
    clear = answer["clear"] if "clear" in answer else labelled / total if total else 0.0
    return Probe(float(clear or 0.0), float(answer.get("confidence") or 0.0), shares)
