"""Drawing: candidates tried in their order until every quota is full; metadata fetched ahead, in few large requests."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import shapely

from dwplus.earth import Session
from dwplus.earth.probes import Probe, probe
from dwplus.earth.tables import Catalogue, Habitat, Query, catalogues, habitats
from dwplus.errors.reasons import Reason
from dwplus.planning import clouded, mapped, pairing, sampling
from dwplus.planning.candidates import Candidate, Key, areas_of, lookups
from dwplus.planning.triplets import STRATUM_FULL, StrataBalance, Triplet
from dwplus.scenes.records import LabelScene, MapImage
from dwplus.spec import DatasetSpec, Window

#: Queries bundled into one metadata request (of cells; of single tiles, which are smaller), and requests in flight.
CELLS_PER_REQUEST, TILES_PER_REQUEST, LOOKUPS = 16, 100, 4
#: Label scenes of a tile that are looked at, the least cloudy first, where ``quality.clouds`` needs pixels.
PROBED_SCENES = 3
#: Stratified: candidates of an ecoregion looked at together, and how many of them are taken.
CHUNK, CHOSEN = 16, 4
#: Degrees of latitude around a tile of which heights are looked at: some 200 m, as slopes and interpolation need.
HEIGHTS_AROUND = 0.002
#: Candidates of a biome looked up in one round at the least.
LEAST_AHEAD = 6

Progress = Callable[[str], None]
#: What became of a candidate: pairs (the first is the best), or why there are none.
Outcome = list[pairing.Pairing] | pairing.Rejection

CLOUDED = pairing.Rejection(Reason.CLOUDED, 8)
MARKED = pairing.Rejection(Reason.MARKED, 0)
NO_ECOREGION = pairing.Rejection(Reason.NO_ECOREGION, 0)
OTHER_ECOREGION = pairing.Rejection(Reason.OTHER_ECOREGION, 0)
FEW_LABELS = pairing.Rejection(Reason.FEW_LABELS, 2)
NO_ELEVATION = pairing.Rejection(Reason.NO_ELEVATION, 0)
NO_EMBEDDING = pairing.Rejection(Reason.NO_EMBEDDING, 1)
DUPLICATE = pairing.Rejection(Reason.DUPLICATE, 2)


class Archive:
    """The scenes of one window, fetched once per area.

    Parameters
    ----------
    years : of which label scenes count, for others have no annual embedding; None for all.
    images : of the map that the labels come from; None where they come from scenes of their own.
    """

    def __init__(self, session: Session, spec: DatasetSpec, window: Window, years: frozenset[int] | None = None,
                 images: Sequence[MapImage] | None = None) -> None:
        self.session, self.spec, self.window, self.years, self.images = session, spec, window, years, images
        self._lookups: dict[Key, pairing.Scenes] = {}
        #: Queries a request, by whether they are of single tiles.
        self._sizes = {False: CELLS_PER_REQUEST, True: TILES_PER_REQUEST}

    def fetch(self, areas: dict[Key, shapely.Geometry]) -> None:
        """Fetch the areas not yet known: many a request, a few requests at a time."""
        missing = [key for key in sorted(areas, key=_order) if key not in self._lookups]
        queries = {key: self._query(key, areas[key]) for key in missing}
        alone = any(key[2] or key[3] for key in missing)

        def look_up(bundle: list[Key]) -> list[pairing.Scenes]:
            found = catalogues(self.session, self.spec, [queries[key] for key in bundle],
                               lambda count: self._learn(alone, count))
            product = self.spec.sentinel2.product
            flattened = self.spec.sentinel1.product == "rtc"
            return [pairing.Scenes(self._counting(self._labels(scenes)), scenes.optical, scenes.radar, product,
                                   scenes.bursts if flattened else None) for scenes in found]

        with ThreadPoolExecutor(LOOKUPS) as pool:
            while missing:
                size = self._sizes[alone]
                wave, missing = missing[:LOOKUPS * size], missing[LOOKUPS * size:]
                bundles = [wave[i:i + size] for i in range(0, len(wave), size)]
                for bundle, found in zip(bundles, pool.map(look_up, bundles), strict=True):
                    self._lookups |= dict(zip(bundle, found, strict=True))

    def _labels(self, scenes: Catalogue) -> list[LabelScene]:
        """The label scenes; of a map every Sentinel-2 scene of the window is one, for the map labels it."""
        if self.images is None:
            return scenes.labels
        return [LabelScene(scene.index, scene.time_ms, scene.footprint) for scene in scenes.optical
                if self.window.start <= scene.date < self.window.end]

    def _counting(self, labels: list[LabelScene]) -> list[LabelScene]:
        return labels if self.years is None else [scene for scene in labels if scene.date.year in self.years]

    def _learn(self, alone: bool, count: int) -> None:
        """So many queries were too much for one request: later requests hold half of them."""
        self._sizes[alone] = max(1, min(self._sizes[alone], count // 2))

    def _query(self, key: Key, area: shapely.Geometry) -> Query:
        day = key[2]
        if day is None:
            reach = dt.timedelta(days=0 if self.spec.triplets is None else math.ceil(self.spec.triplets.max_label_days))
            return Query(area, self.window.start - reach, self.window.end + reach, labels=self.images is None)
        return Query(area, day, day + dt.timedelta(days=1), labels=False)

    def labels(self) -> Iterator[LabelScene]:
        """All label scenes fetched so far."""
        for lookup in self._lookups.values():
            yield from lookup.labels

    def __getitem__(self, key: Key) -> pairing.Scenes:
        return self._lookups[key]

    def clear(self) -> None:
        self._lookups.clear()


def _order(key: Key) -> tuple[dt.date, int, int, str]:
    # By date first: the archives are filtered by date before place, so that one request spans few months.
    return key[2] or dt.date.min, key[0], key[1], key[3]


class Drawing:
    """One window's candidates and what became of those looked at.

    Parameters
    ----------
    archive : of the window.
    candidates : those with a place, in seeded order.
    weights : size of each ecoregion, by name; None where the candidates are all there are.
    bad : tiles that a person marked as such, by name and window (empty: any); see :mod:`dwplus.store.marks`.
    """

    def __init__(self, archive: Archive, candidates: Sequence[Candidate],
                 weights: Mapping[str, float] | None = None,
                 bad: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.archive, self.spec = archive, archive.spec
        self._bad = bad
        self.areas = areas_of(candidates)
        self._shared: dict[str, Key] = {}
        self._ecoregions: dict[int, tuple[int, str]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.probes: dict[tuple[str, str], Probe] = {}
        self.ratings: dict[str, str] = {}
        self.habitats: dict[str, Habitat | None] = {}
        self.weights = weights
        labels, radar = self.spec.labels, self.spec.sentinel1
        several = radar.multitemporal
        self._rules = pairing.Rules(
            policy=radar.policy, max_gap_hours=radar.max_gap_hours, min_gap_hours=radar.min_gap_hours,
            orbit=radar.orbit, prefer_orbit=radar.prefer_orbit, prefer_relative_orbits=radar.prefer_relative_orbits,
            prefer_hours=radar.prefer_hours, max_cloud=self.spec.sentinel2.max_cloud,
            min_coverage=self.spec.quality.min_coverage,
            on_label_grid=self.spec.tile.grid == "label" and labels.source != "annotations",
            passes=radar.speckle_scenes if several else 1, least=radar.least_scenes if several else 1,
            pass_hours=24 * radar.speckle_days if several else 0.0)
        self._stratified = self.spec.sampling.strategy == "stratified"
        self._probing = self.spec.quality.clouds != "scene" or (self._stratified and labels.source != "annotations")
        self._best = labels.per_window != "all" and self.spec.quality.clouds == "scene"

    def resolve(self, batch: Iterable[Candidate]) -> None:
        """Settle what becomes of each of a batch; a candidate settled before costs nothing."""
        todo = [c for c in batch if c.id not in self.outcomes]
        # Single tiles are fetched one by one and not kept: their radar lists would fill the memory.
        alone = any(c.alone for c in todo)
        step = LOOKUPS * TILES_PER_REQUEST if alone else max(1, len(todo))
        for i in range(0, len(todo), step):
            part = todo[i:i + step]
            self._place([c for c in part if c.sparse])
            wanted = [c for c in part if self._early(c) is None]
            areas, self._shared = lookups([c for c in wanted if c.alone])
            shared = {c.key: self.areas[c.key] for c in wanted if not c.alone}
            cells = {key: area for key, area in areas.items() if not (key[2] or key[3])}
            if len(cells) > CELLS_PER_REQUEST:  # a cell is more than a tile: many do not fit the tiles' requests
                self.archive.fetch(cells)
            self.archive.fetch(shared | areas)
            if self.spec.triplets is not None:
                self.outcomes |= clouded.settle(self.archive.session, self.spec, self.archive.window, self._rules, {
                    c.id: (c.tile.grid, self._scenes(c)) for c in wanted})
            for candidate in part:
                if candidate.id not in self.outcomes:
                    early = self._early(candidate)
                    self.outcomes[candidate.id] = early if early is not None else self._pair(candidate)
            if self._probing:
                self._probe(part)
            for candidate in part:
                self._rate(candidate)
            if alone:
                self.archive.clear()

    def _scenes(self, candidate: Candidate) -> pairing.Scenes:
        return self.archive[self._shared.get(candidate.id, candidate.key)]

    def _place(self, candidates: Sequence[Candidate]) -> None:
        """Exact places of tiles that have them from the coarse map."""
        points = [c.tile.grid.center for c in candidates]
        found = habitats(self.archive.session, points, self._ecoregions) if points else []
        self.habitats |= {c.id: here for c, here in zip(candidates, found, strict=True)}

    def habitat_of(self, candidate: Candidate) -> Habitat | None:
        """Where a settled candidate lies."""
        return self.habitats.get(candidate.id, candidate.habitat)

    def _early(self, candidate: Candidate) -> pairing.Rejection | None:
        """What can be said before any scene is looked up."""
        if self._bad and not self._bad.isdisjoint({(candidate.id, ""), (candidate.id, str(self.archive.window))}):
            return MARKED
        if not self._heights(candidate):
            return NO_ELEVATION
        if candidate.sparse:
            here = self.habitats[candidate.id]
            same = here is not None and candidate.habitat is not None and here.ecoregion == candidate.habitat.ecoregion
            return None if same else NO_ECOREGION if here is None else OTHER_ECOREGION
        if candidate.annotation is None:
            return None
        if candidate.duplicate:
            return DUPLICATE
        if self.archive.years is not None and candidate.annotation.date.year not in self.archive.years:
            return NO_EMBEDDING
        return FEW_LABELS if candidate.annotation.labelled < self.spec.quality.min_label_fraction else None

    def _heights(self, candidate: Candidate) -> bool:
        """Whether the elevation model reaches over a tile and the neighbours of its pixels, where it is looked at."""
        model = self.spec.elevation_model
        if not self.spec.needs_heights or model.covers(-90, 90):
            return True
        _, south, _, north = candidate.tile.grid.footprint().bounds
        return model.covers(south - HEIGHTS_AROUND, north + HEIGHTS_AROUND)

    def balance(self, candidate: Candidate, strata: StrataBalance, quota: float = math.inf) -> None:
        """Of a settled candidate's triplets keep the one its biome needs most; it is rejected where none is."""
        outcome = self.outcomes[candidate.id]
        if self.spec.triplets is not None and isinstance(outcome, list):
            chosen = strata.choose([pair for pair in outcome if isinstance(pair, Triplet)], quota)
            self.outcomes[candidate.id] = STRATUM_FULL if chosen is None else [chosen]

    def _pair(self, candidate: Candidate) -> Outcome:
        scenes = self._scenes(candidate)
        labels = scenes.labels if candidate.annotation is None else [candidate.annotation.scene]
        images = self.archive.images
        if images is None:
            named = {}
        else:
            tile, labels_of = candidate.tile.grid.footprint(), self.spec.labels
            said = {scene.time_ms: mapped.images_for(tile, scene.time_ms, images, labels_of.date,
                                                     self.spec.quality.min_coverage) for scene in labels}
            named = {time: ids for time, ids in said.items() if isinstance(ids, tuple)}
            if said and not named:
                return max((r for r in said.values() if isinstance(r, pairing.Rejection)), key=lambda r: r.stage)
            labels = [scene for scene in labels if scene.time_ms in named]
        found = pairing.pair(candidate.tile.grid, labels, scenes.optical, scenes.passes, self._rules,
                             best_only=self._best)
        if isinstance(found, list) and images is not None:
            return [replace(pair, labels=named[pair.label.time_ms]) for pair in found]
        if isinstance(found, list) and self.spec.labels.per_window == "mode":
            return self._with_mode(candidate, labels, found)
        return found

    def _with_mode(self, candidate: Candidate, labels: Sequence[LabelScene],
                   found: list[pairing.Pairing]) -> list[pairing.Pairing]:
        scenes = self._scenes(candidate)
        all_of = pairing.usable_labels(candidate.tile.grid, labels, scenes.optical, self._rules)
        return [pairing.with_labels(pair, all_of) for pair in found]

    def _probe(self, batch: Sequence[Candidate]) -> None:
        """Look at the first scenes of each tile of a batch; reject, or put the clearest first."""
        wanted = []
        for candidate in batch:
            outcome = self.outcomes[candidate.id]
            if isinstance(outcome, list):
                count = (1 if self.spec.quality.clouds == "scene" else
                         len(outcome) if self.spec.labels.per_window == "all" else PROBED_SCENES)
                wanted += [(candidate, pair) for pair in outcome[:count]]
        probes = probe(self.archive.session, self.spec,
                      [(c.tile.grid, pair.label.index, pair.optical.index) for c, pair in wanted])
        for (candidate, pair), one in zip(wanted, probes, strict=True):
            self.probes[candidate.id, pair.label.index] = one
        if self.spec.quality.clouds == "scene":
            return
        for candidate in batch:
            outcome = self.outcomes[candidate.id]
            if isinstance(outcome, list):
                seen = [(probed, pair) for pair in outcome
                        if (probed := self.probes.get((candidate.id, pair.label.index))) is not None]
                fine = [item for item in seen if item[0].clear >= self.spec.quality.min_clear]
                # Least masked to a hundredth, then most confident; Python's sort keeps the order of the rest.
                fine.sort(key=lambda item: (-round(item[0].clear, 2), -round(item[0].confidence, 3)))
                self.outcomes[candidate.id] = [pair for _, pair in fine] or CLOUDED

    def _rate(self, candidate: Candidate) -> None:
        if not self._stratified:
            return
        outcome = self.outcomes[candidate.id]
        if candidate.annotation is not None:
            self.ratings[candidate.id] = sampling.strata(candidate.annotation.shares)
        elif isinstance(outcome, list):
            self.ratings[candidate.id] = sampling.strata(self.probes[candidate.id, outcome[0].label.index].shares)

    def forget(self, candidate: Candidate) -> None:
        """Give up what became of a candidate, which nobody asks for again."""
        self.outcomes.pop(candidate.id, None)

    def pairs(self, candidate: Candidate) -> Outcome:
        """The pairs of a settled candidate that the spec wants, or why there are none."""
        outcome = self.outcomes[candidate.id]
        if isinstance(outcome, list) and self.spec.labels.per_window != "all":
            return outcome[:1]
        return outcome


def draw(drawing: Drawing, candidates: Sequence[Candidate], quota: int | None, progress: Progress) -> list[Candidate]:
    """:func:`drawn`, all of them."""
    return list(drawn(drawing, candidates, quota, progress))


def drawn(drawing: Drawing, candidates: Sequence[Candidate], quota: int | None,
          progress: Progress) -> Iterator[Candidate]:
    """Candidates drawn, in order of drawing: those taken and those rejected on the way. Where all are taken, each comes
    as soon as it is settled.

    Per biome the ecoregions take turns (see :class:`dwplus.planning.sampling.Turns`) and a rejected tile is replaced by
    the next of its ecoregion. The order depends on the candidates alone, never on the quota.

    Parameters
    ----------
    quota : tiles wanted per biome; None takes all.
    """
    if quota is None:
        strata: dict[int, StrataBalance] = defaultdict(StrataBalance)
        for i in range(0, len(candidates), 4000):
            drawing.resolve(candidates[i:i + 4000])
            for candidate in candidates[i:i + 4000]:
                assert candidate.habitat is not None
                drawing.balance(candidate, strata[candidate.habitat.biome])
                yield candidate
            if i + 4000 < len(candidates):
                progress(f"{i + 4000} candidates looked at")
        return
    by_biome: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        assert candidate.habitat is not None
        by_biome[candidate.habitat.biome].append(candidate)
    weighted = drawing.spec.sampling.ecoregions == "area"
    kind = _Stratified if drawing.spec.sampling.strategy == "stratified" else _InTurn
    biomes = [kind(drawing, group, weighted) for _, group in sorted(by_biome.items())]
    while waiting := [biome for biome in biomes if biome.taken < quota and not biome.exhausted]:
        # Look up half as many again as are missing, for some will be rejected, and never so few that rounds add up.
        drawing.resolve([c for biome in waiting
                         for c in biome.ahead(max(LEAST_AHEAD, math.ceil(1.5 * (quota - biome.taken))))])
        for biome in waiting:
            biome.advance(quota)
        progress(f"{sum(biome.taken for biome in biomes)} tiles planned, "
                 f"{sum(len(biome.drawn) for biome in biomes)} drawn")
    yield from (candidate for biome in biomes for candidate in biome.drawn)


class _InTurn:
    """The candidates of one biome: ecoregions in turn, each in seeded order."""

    def __init__(self, drawing: Drawing, candidates: Sequence[Candidate], by_area: bool) -> None:
        self.drawing = drawing
        self.queues: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in reversed(candidates):  # a queue's next is its last
            assert candidate.habitat is not None
            self.queues[candidate.habitat.ecoregion].append(candidate)
        # Tiles are equal in area, so that their number is an ecoregion's area within the region.
        self.turns = sampling.Turns({
            name: 1 if not by_area else len(queue) if drawing.weights is None else drawing.weights[name]
            for name, queue in self.queues.items()})
        self.drawn: list[Candidate] = []
        self.taken = 0
        self.strata = StrataBalance()

    @property
    def exhausted(self) -> bool:
        return not any(self.queues.values())

    def ahead(self, count: int) -> list[Candidate]:
        """The next candidates, were none rejected."""
        turns, places = self.turns.copy(), {name: len(queue) for name, queue in self.queues.items()}
        found: list[Candidate] = []
        while len(found) < count and (open_ := [name for name, place in places.items() if place]):
            name = turns.next(open_)
            turns.take(name)
            places[name] -= 1
            found.append(self.queues[name][places[name]])
        return found

    def advance(self, quota: int) -> None:
        """Draw until the quota is full or a candidate comes up that is not settled."""
        while self.taken < quota and (open_ := [name for name, queue in self.queues.items() if queue]):
            name = self.turns.next(open_)
            candidate = self.queues[name][-1]
            if candidate.id not in self.drawing.outcomes:
                return
            self.queues[name].pop()
            self.drawn.append(candidate)
            self.drawing.balance(candidate, self.strata, quota)
            if isinstance(self.drawing.outcomes[candidate.id], list):
                self.taken += 1
                self.turns.take(name)


class _Stratified(_InTurn):
    """As :class:`_InTurn`, but of every :data:`CHUNK` candidates of an ecoregion the :data:`CHOSEN` are taken that even
    out the classes' levels in the biome best; the others wait until all chunks have had their turn."""

    def __init__(self, drawing: Drawing, candidates: Sequence[Candidate], by_area: bool) -> None:
        super().__init__(drawing, candidates, by_area)
        self.balance = sampling.Balance()
        self.chunks: dict[str, list[Candidate]] = {name: [] for name in self.queues}
        self.left: Counter[str] = Counter()
        self.reserve: dict[str, list[Candidate]] = {name: [] for name in self.queues}

    @property
    def exhausted(self) -> bool:
        return not self._open()

    def _open(self) -> list[str]:
        return [name for name in self.queues if self.queues[name] or self.reserve[name] or self.chunks[name]]

    def ahead(self, count: int) -> list[Candidate]:
        """Whole chunks, enough for ``count`` tiles."""
        per_name: Counter[str] = Counter()
        turns = self.turns.copy()
        names = [name for name, queue in self.queues.items() if queue]
        for _ in range(count if names else 0):
            name = turns.next(names)
            turns.take(name)
            per_name[name] += 1
        return [c for name, wanted in per_name.items()
                for c in self.queues[name][::-1][:CHUNK * math.ceil(wanted / CHOSEN)]]

    def advance(self, quota: int) -> None:
        while self.taken < quota and (open_ := self._open()):
            name = self.turns.next(open_)
            if not self.chunks[name] or not self.left[name]:
                if not self._next_chunk(name):
                    return
                continue  # a chunk of rejects only leaves the turn where it is
            ratings = self.drawing.ratings
            chosen = max(self.chunks[name], key=lambda c: (self.balance.need(ratings[c.id]), -c.draw, c.id))
            self.chunks[name].remove(chosen)
            self.left[name] -= 1
            self.balance.take(ratings[chosen.id])
            self.drawn.append(chosen)
            self.taken += 1
            self.turns.take(name)

    def _next_chunk(self, name: str) -> bool:
        """Bring up the next chunk; False where it is not settled yet."""
        queue = self.queues[name]
        self.reserve[name] += self.chunks[name]
        self.chunks[name] = []
        if not queue:
            self.chunks[name], self.reserve[name] = self.reserve[name], []
            self.left[name] = len(self.chunks[name])
            return True
        chunk = queue[::-1][:CHUNK]
        if any(c.id not in self.drawing.outcomes for c in chunk):
            return False
        del queue[-len(chunk):]
        for candidate in chunk:
            if isinstance(self.drawing.outcomes[candidate.id], list):
                self.chunks[name].append(candidate)
            else:
                self.drawn.append(candidate)
        self.left[name] = min(CHOSEN, len(self.chunks[name]))
        return True
