"""Pairing a tile with a label scene, its Sentinel-2 scene and Sentinel-1 passes. Pure code on tables of scenes.

A *pass* is one overflight of one satellite: the slices of a datatake, which follow each other every 25 s, are one
candidate, not several. Gaps are S1 minus S2 in hours, signed, from ``system:time_start``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely

from dwplus.grid import PixelGrid, near_longitude
from dwplus.reasons import Reason
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene

HOUR_MS = 3_600_000
#: Slices of one datatake start 25 s apart; longer pauses separate passes.
SLICE_PAUSE_MS = 60_000


@dataclass(frozen=True)
class Rejection:
    """Why a tile cannot be paired: a short reason, and how far the attempt came (higher = further)."""

    reason: Reason
    stage: int


NO_LABEL = Rejection(Reason.NO_LABEL, 0)
LABEL_PARTIAL = Rejection(Reason.LABEL_PARTIAL, 1)
LABEL_OFF_GRID = Rejection(Reason.LABEL_OFF_GRID, 2)
NO_S2 = Rejection(Reason.NO_S2, 3)
S2_CLOUDY = Rejection(Reason.S2_CLOUDY, 4)
S2_PARTIAL = Rejection(Reason.S2_PARTIAL, 5)
NO_S1 = Rejection(Reason.NO_S1, 6)
S1_PARTIAL = Rejection(Reason.S1_PARTIAL, 7)


@dataclass(frozen=True)
class Pass:
    """One overflight: its slices in time order."""

    slices: tuple[RadarScene, ...]

    @property
    def orbit_pass(self) -> str:
        return self.slices[0].orbit_pass

    @property
    def relative_orbit(self) -> int:
        return self.slices[0].relative_orbit


@dataclass(frozen=True)
class RadarPairing:
    """The slices chosen for a tile.

    Attributes
    ----------
    indices : ``system:index`` of each slice.
    time_ms : the pass's time over the tile (the slice that covers most of it); the mean over passes for ``mean``.
    gap_hours : S1 minus S2.
    coverage : share of the tile inside the slices' footprints.
    count : passes averaged; 1 for ``nearest``.
    orbit_pass, relative_orbit : of the pass; ``MIXED`` and -1 where passes differ.
    platform : satellites, comma-joined.
    """

    indices: tuple[str, ...]
    time_ms: int
    gap_hours: float
    coverage: float
    count: int
    orbit_pass: str
    relative_orbit: int
    platform: str


@dataclass(frozen=True)
class Pairing:
    """A label scene with its optical and radar partners.

    ``match`` says how the optical scene was found: ``id``, ``sensing`` (same sensing start and granule under another
    id) or ``date`` (an annotation without an id: same day and granule). ``labels`` are the scenes of a composite.
    """

    label: LabelScene
    optical: OpticalScene
    radar: RadarPairing
    match: str = "id"
    labels: tuple[str, ...] = ()

    @property
    def label_ids(self) -> tuple[str, ...]:
        """The label scenes to export: ``label`` alone, or all scenes of a composite with ``label`` first."""
        return self.labels or (self.label.index,)


@dataclass(frozen=True)
class Rules:
    """The part of a spec that pairing obeys; see :class:`dwplus.spec.DatasetSpec` for the meaning."""

    policy: str = "nearest"
    max_gap_hours: float = 144.0
    min_gap_hours: float = 0.0
    orbit: str = "any"
    prefer_orbit: str = "any"
    prefer_relative_orbits: tuple[int, ...] = ()
    prefer_hours: float = 24.0
    max_cloud: float = 100.0
    min_coverage: float = 0.99
    on_label_grid: bool = False


def coverage(tile: shapely.Geometry, footprints: Sequence[shapely.Geometry]) -> float:
    """Share of a tile inside the union of footprints, 0..1 (all EPSG:4326; a share of a few km needs no projection)."""
    lon = tile.centroid.x
    shapes = [near_longitude(f, lon) for f in footprints]
    shapes = [s if s.is_valid else shapely.make_valid(s) for s in shapes]
    return float(shapely.intersection(shapely.union_all(shapes), tile).area / tile.area)


def passes(scenes: Iterable[RadarScene]) -> list[Pass]:
    """Group slices into passes, in order of time.

    Several products of one slice (same satellite and start, to the second) count once: the last index wins.
    """
    unique = {(s.platform, s.time_ms // 1000): s for s in sorted(scenes, key=lambda s: s.index)}
    groups: list[list[RadarScene]] = []
    open_groups: dict[tuple[str, str, int], list[RadarScene]] = {}
    for scene in sorted(unique.values(), key=lambda s: (s.time_ms, s.index)):
        key = (scene.platform, scene.orbit_pass, scene.relative_orbit)
        group = open_groups.get(key)
        if group is None or scene.time_ms - group[-1].time_ms > SLICE_PAUSE_MS:
            group = open_groups[key] = []
            groups.append(group)
        group.append(scene)
    return [Pass(tuple(group)) for group in groups]


def _cover(tile: shapely.Geometry, one_pass: Pass, enough: float) -> tuple[tuple[RadarScene, ...], float]:
    """The fewest slices that cover the tile, the most covering first, and the share they cover."""
    shares = sorted(((coverage(tile, [s.footprint]), s) for s in one_pass.slices),
                    key=lambda item: (-item[0], item[1].time_ms, item[1].index))
    chosen: list[RadarScene] = []
    share = 0.0
    for single, scene in shares:
        if single == 0 or share >= max(enough, 1 - 1e-9):
            break
        together = coverage(tile, [s.footprint for s in (*chosen, scene)])
        if together > share + 1e-9:
            chosen.append(scene)
            share = together
    return tuple(chosen), share


def pair_radar(tile: shapely.Geometry, time_ms: int, candidates: Sequence[Pass],
               rules: Rules) -> RadarPairing | Rejection:
    """Pair a tile and a time with radar.

    ``nearest``: of the passes in reach (``min_gap_hours`` to ``max_gap_hours``) that cover the tile, the one with the
    smallest |gap|, counted ``prefer_hours`` larger for each preference (orbit pass, relative orbit) it does not meet;
    ties go to the larger coverage, then the smaller index. ``mean``: all passes in reach that touch the tile, which
    together must cover it.

    Returns
    -------
    RadarPairing, or the Rejection ``no_s1`` (no pass in reach touches the tile) or ``s1_partial`` (none covers it).
    """
    nearest, reach = rules.min_gap_hours * HOUR_MS, rules.max_gap_hours * HOUR_MS
    fitting = []
    touched = False
    for one_pass in candidates:
        if rules.orbit != "any" and one_pass.orbit_pass.lower() != rules.orbit:
            continue
        if min(abs(s.time_ms - time_ms) for s in one_pass.slices) > reach:
            continue
        slices, share = _cover(tile, one_pass, rules.min_coverage)
        if not slices or not nearest <= abs(slices[0].time_ms - time_ms) <= reach:
            continue
        touched = True
        if rules.policy == "mean" or share >= rules.min_coverage:
            handicap = rules.prefer_hours * HOUR_MS * _unmet(one_pass, rules)
            fitting.append((abs(slices[0].time_ms - time_ms) + handicap, -share, slices[0].index, slices, one_pass))
    if not fitting:
        return S1_PARTIAL if touched else NO_S1
    fitting.sort(key=lambda item: item[:3])
    if rules.policy == "nearest":
        fitting = fitting[:1]
        together = -fitting[0][1]
    else:
        together = -min(item[1] for item in fitting)
        if together < 1 - 1e-9:  # no pass covers the whole tile alone
            together = coverage(tile, [s.footprint for *_, slices, _ in fitting for s in slices])
        if together < rules.min_coverage:
            return S1_PARTIAL
    orbit_passes = {p.orbit_pass for *_, p in fitting}
    orbits = {p.relative_orbit for *_, p in fitting}
    mean_ms = round(sum(slices[0].time_ms for *_, slices, _ in fitting) / len(fitting))
    return RadarPairing(
        indices=tuple(s.index for *_, slices, _ in fitting for s in slices),
        time_ms=mean_ms, gap_hours=(mean_ms - time_ms) / HOUR_MS, coverage=together,
        count=len(fitting), orbit_pass=orbit_passes.pop() if len(orbit_passes) == 1 else "MIXED",
        relative_orbit=orbits.pop() if len(orbits) == 1 else -1,
        platform=",".join(sorted({p.slices[0].platform for *_, p in fitting})))


def _unmet(one_pass: Pass, rules: Rules) -> int:
    """How many of the preferences a pass does not meet."""
    unmet = rules.prefer_orbit != "any" and one_pass.orbit_pass.lower() != rules.prefer_orbit
    return unmet + bool(rules.prefer_relative_orbits
                        and one_pass.relative_orbit not in rules.prefer_relative_orbits)


def newest(scenes: Iterable[LabelScene]) -> list[LabelScene]:
    """One scene per sensing and granule: of reprocessed products the last index wins. In order of time, then index."""
    latest = {scene.sensing: scene for scene in sorted(scenes, key=lambda s: s.index)}
    return sorted(latest.values(), key=lambda s: (s.time_ms, s.index))


class OpticalTable:
    """Optical scenes, found by a label's id; where ids differ, by its sensing and granule; by its date at the last.

    Scenes of a second product (``toa`` where ``sr`` was asked for) count only where the first has none.
    """

    def __init__(self, scenes: Iterable[OpticalScene], product: str = "sr") -> None:
        ordered = sorted(scenes, key=lambda s: (s.product == product, s.index))  # the product asked for wins, then the
        self._by_sensing = {s.sensing: s for s in ordered}                       # last product of a sensing
        self._by_index = {s.index: s for s in ordered}

    @property
    def scenes(self) -> list[OpticalScene]:
        """One scene per sensing and granule."""
        return list(self._by_sensing.values())

    def partner(self, label: LabelScene, tile: shapely.Geometry | None = None) -> tuple[OpticalScene, str] | None:
        """The scene of a label and how it was found; None where there is none.

        Parameters
        ----------
        tile : where a label may fall back to its date (:attr:`LabelScene.by_date`), the scene of its granule that
            covers most of this is taken; ties go to the least cloudy, then the first index.
        """
        if scene := self._by_index.get(label.s2_index or label.index):
            # An id of the second product may have a twin of the first under another id.
            twin = self._by_sensing[scene.sensing]
            return (scene, "id") if twin.product == scene.product else (twin, "sensing")
        if scene := self._by_sensing.get(label.sensing):
            return scene, "sensing"
        if not label.by_date or tile is None:
            return None
        zone = "" if label.crs is None else f"{int(label.crs[-2:]):02d}"
        of_day = [(-coverage(tile, [s.footprint]), math.inf if math.isnan(s.cloud) else s.cloud, s.index, s)
                  for s in self._by_sensing.values() if s.date == label.date
                  and (s.mgrs == label.mgrs if label.mgrs else (s.mgrs or zone).startswith(zone))]
        return (min(of_day, key=lambda item: item[:3])[3], "date") if of_day else None


class Scenes:
    """Scenes over one area, ready for pairing: ``labels`` (:func:`newest`), ``optical`` and ``passes``."""

    def __init__(self, labels: Iterable[LabelScene], optical: Iterable[OpticalScene], radar: Iterable[RadarScene],
                 product: str) -> None:
        self.labels = newest(labels)
        self.optical = OpticalTable(optical, product)
        self.passes = passes(radar)


def on_grid(grid: PixelGrid, scene: LabelScene) -> bool:
    """Whether a tile's pixels are pixels of the label image."""
    if scene.crs != grid.crs or scene.transform is None or scene.shape is None:
        return False
    a, b, x0, d, e, y0 = scene.transform
    if b or d or not math.isclose(a, grid.scale) or not math.isclose(-e, grid.scale):
        return False
    col, row = (grid.x0 - x0) / a, (grid.y0 - y0) / e
    return bool(np.allclose([col, row], np.round([col, row]), atol=1e-6)
                and round(col) >= 0 and round(row) >= 0
                and round(row) + grid.height <= scene.shape[0] and round(col) + grid.width <= scene.shape[1])


def pair(grid: PixelGrid, labels: Sequence[LabelScene], optical: OpticalTable, radar: Sequence[Pass],
         rules: Rules, best_only: bool = False) -> list[Pairing] | Rejection:
    """The label scenes that a tile can be paired with, the least cloudy first (ties: time, then index).

    Parameters
    ----------
    grid : the tile.
    labels : one per sensing and granule, see :func:`newest`.
    radar : see :func:`passes`.
    best_only : stop at the first.

    Returns
    -------
    list of Pairing, never empty, or the Rejection of the label that came furthest.
    """
    tile = grid.footprint()
    found: list[Pairing] = []
    furthest = NO_LABEL

    def rank(label: LabelScene) -> tuple[float, int, str]:
        partner = optical.partner(label)
        cloud = math.inf if partner is None or math.isnan(partner[0].cloud) else partner[0].cloud
        return cloud, label.time_ms, label.index

    for label in sorted(labels, key=rank):
        outcome = _pair_label(grid, tile, label, optical, radar, rules)
        if isinstance(outcome, Pairing):
            found.append(outcome)
            if best_only:
                break
        elif outcome.stage > furthest.stage:
            furthest = outcome
    return found or furthest


def usable_labels(grid: PixelGrid, labels: Sequence[LabelScene], optical: OpticalTable, rules: Rules) -> list[str]:
    """Indices of the label scenes that cover a tile and are not too cloudy, paired with radar or not; in order of
    time."""
    tile = grid.footprint()
    return [label.index for label in labels
            if label.epsg in (None, grid.epsg) and coverage(tile, [label.footprint]) >= rules.min_coverage
            and not (rules.on_label_grid and not on_grid(grid, label))
            and not ((found := optical.partner(label, tile)) and found[0].cloud > rules.max_cloud)]


def with_labels(pairing: Pairing, indices: Sequence[str]) -> Pairing:
    """The same pair with the label scenes of a composite, its own first."""
    return replace(pairing, labels=(pairing.label.index, *(i for i in indices if i != pairing.label.index)))


def _pair_label(grid: PixelGrid, tile: shapely.Geometry, label: LabelScene, optical: OpticalTable,
                radar: Sequence[Pass], rules: Rules) -> Pairing | Rejection:
    if label.epsg is not None and label.epsg != grid.epsg:
        return NO_LABEL  # the granule of the neighbouring zone: the tile's own zone has one as well
    share = coverage(tile, [label.footprint])
    if share < rules.min_coverage:
        return LABEL_PARTIAL if share > 0 else NO_LABEL
    if rules.on_label_grid and not on_grid(grid, label):
        return LABEL_OFF_GRID
    found = optical.partner(label, tile)
    if found is None:
        return NO_S2
    partner, match = found
    if partner.cloud > rules.max_cloud:
        return S2_CLOUDY
    if coverage(tile, [partner.footprint]) < rules.min_coverage:
        return S2_PARTIAL
    paired = pair_radar(tile, partner.time_ms, radar, rules)
    return paired if isinstance(paired, Rejection) else Pairing(label, partner, paired, match)
