"""A look at tiles' pixels while planning: how much of each is clear, how sure its label is, which classes it holds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ee

from dwplus.earth.images import clouds, dynamic_world
from dwplus.earth.session import Session
from dwplus.errors import AssetGoneError, TooLargeError
from dwplus.grid import PixelGrid
from dwplus.spec import DatasetSpec
from dwplus.taxonomy import CLASSES, IGNORE

#: Spacing (m) of the pixels looked at: 2,600 of a 5.1 km tile.
PROBE_SCALE = 100
#: Tiles of one scene measured by one aggregation, aggregations in one request, and requests in flight. The service
#: answers "Too many concurrent aggregations" to too many in one request; the limit is not published, 20 were too many.
TILES_PER_SCENE, SCENES_PER_REQUEST, IN_FLIGHT = 200, 10, 4

#: Ids of the scene that a tile is measured on.
Scene = tuple[str, ...]


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
    reducer = None
    if spec.labels.source == "dynamic-world-v1":
        reducer = ee.Reducer.frequencyHistogram()
    if spec.quality.clouds != "scene":
        mean = ee.Reducer.mean()
        reducer = mean if reducer is None else reducer.combine(mean, sharedInputs=False)
    if reducer is None:
        return [Probe(0.0) for _ in tiles]
    try:
        answers = _measured(session, reducer, [(grid, (label_id, s2_id)) for grid, label_id, s2_id in tiles],
                            lambda scene: _looked_at(spec, *scene))
    except AssetGoneError as error:
        if not error.asset.startswith(clouds.SCORE):
            raise
        raise AssetGoneError(f"quality.clouds cloud-score-plus: {error}; use label instead",
                             asset=error.asset) from error
    return [_read(spec, answer) for answer in answers]


def cloud_shares(session: Session, source: str, tiles: Sequence[tuple[PixelGrid, str]]) -> list[float]:
    """Cloud over tiles, 0..1, in few requests; NaN where no pixel of a tile is known.

    Parameters
    ----------
    source : of :func:`dwplus.earth.images.clouds.cloud`. tiles : grid and Sentinel-2 id of each.
    """
    answers = _measured(session, ee.Reducer.frequencyHistogram(), [(grid, (s2_id,)) for grid, s2_id in tiles],
                        lambda scene: clouds.cloud(source, *scene))
    counts = [_histogram(answer) for answer in answers]
    return [found.get(1, 0) / known if (known := found.get(0, 0) + found.get(1, 0)) else math.nan for found in counts]


@dataclass(frozen=True)
class _Question:
    """Tiles on one scene: the image to measure, the grid's CRS, and each tile's grid by its place in the answer."""

    image: ee.Image
    crs: str
    grids: Mapping[int, PixelGrid]

    def asked(self, reducer: ee.Reducer) -> ee.FeatureCollection:
        """One aggregation for all tiles."""
        tiles = [ee.Feature(ee.Geometry.Rectangle(list(grid.bounds), grid.crs, False), {"i": i})
                 for i, grid in self.grids.items()]
        return self.image.reduceRegions(collection=ee.FeatureCollection(tiles), reducer=reducer, crs=self.crs,
                                        crsTransform=[PROBE_SCALE, 0, 0, 0, -PROBE_SCALE, 0])

    def halves(self) -> list[_Question]:
        items = list(self.grids.items())
        middle = len(items) // 2
        return [replace(self, grids=dict(half)) for half in (items[:middle], items[middle:])]


def _measured(session: Session, reducer: ee.Reducer, tiles: Sequence[tuple[PixelGrid, Scene]],
              image_of: Callable[[Scene], ee.Image]) -> list[Mapping[str, Any]]:
    """What a reducer finds on each tile's scene, in order; the tiles of a scene by one aggregation."""
    by_scene: dict[tuple[str, Scene], dict[int, PixelGrid]] = defaultdict(dict)
    for i, (grid, scene) in enumerate(tiles):
        by_scene[grid.crs, scene][i] = grid
    questions = []
    for (crs, scene), grids in by_scene.items():
        image, items = image_of(scene), list(grids.items())
        questions += [_Question(image, crs, dict(items[i:i + TILES_PER_SCENE]))
                      for i in range(0, len(items), TILES_PER_SCENE)]
    requests = [questions[i:i + SCENES_PER_REQUEST] for i in range(0, len(questions), SCENES_PER_REQUEST)]
    found: dict[int, Mapping[str, Any]] = {}
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for answers in pool.map(partial(_answers, session, reducer), requests):
            found |= answers
    return [found[i] for i in range(len(tiles))]


def _answers(session: Session, reducer: ee.Reducer, questions: Sequence[_Question]) -> dict[int, Mapping[str, Any]]:
    """One request; halved in scenes, then in tiles, where the service finds it too much."""
    try:
        collections = session.compute(ee.List([question.asked(reducer) for question in questions]))
    except TooLargeError:
        if len(questions) == 1:
            questions = questions[0].halves()
        if not all(question.grids for question in questions):
            raise
        middle = len(questions) // 2
        return _answers(session, reducer, questions[:middle]) | _answers(session, reducer, questions[middle:])
    return {int(feature["properties"]["i"]): feature["properties"]
            for collection in collections for feature in collection["features"]}


def _looked_at(spec: DatasetSpec, label_id: str, s2_id: str) -> ee.Image:
    """The bands of one scene that are measured: its label, and what says how clear it is."""
    bands = []
    if spec.labels.source == "dynamic-world-v1":
        bands.append(dynamic_world.label(label_id.split(",")))
    if spec.quality.clouds == "cloud-score-plus":
        bands.append(clouds.clear(label_id if spec.labels.source == "dynamic-world-v1" else s2_id))
    elif spec.quality.clouds == "label":
        bands.append(dynamic_world.confidence(label_id))
    return bands[0] if len(bands) == 1 else bands[0].addBands(bands[1])


def _histogram(answer: Mapping[str, Any]) -> dict[int, float]:
    return {int(float(value)): float(count) for value, count in (answer.get("histogram") or {}).items()}


def _read(spec: DatasetSpec, answer: Mapping[str, Any]) -> Probe:
    counts = _histogram(answer)
    total = sum(counts.values())
    labelled = total - counts.get(IGNORE, 0.0)
    shares = {name: counts[i] / labelled for i, name in enumerate(CLASSES) if counts.get(i)}
    mean = float(answer.get("mean") or 0.0)
    if spec.quality.clouds == "cloud-score-plus":
        return Probe(mean, 0.0, shares)
    return Probe(labelled / total if total else 0.0, mean, shares)
