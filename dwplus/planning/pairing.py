"""Pairing a tile with a label scene, its Sentinel-2 scene and Sentinel-1 passes. Pure code on tables of scenes.

A *pass* is one overflight of one satellite: the slices of a datatake, which follow each other every 25 s, are one
candidate, not several. Gaps are S1 minus S2 in hours, signed, from ``system:time_start``.

Of RTC-S1 every burst is a scene. Bursts of the three sub-swaths start within a second of each other and overlap: they
are told apart by their ids. The bursts of a pass are one candidate, beside the GRD slices that say that it flew.

A granule that a datastrip border cuts comes as two products of one sensing, each a part of it: they are chosen by what
they hold of the tile (:mod:`dwplus.planning.ground`) and stand as one scene whose index names both.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely

from dwplus.errors.reasons import Reason
from dwplus.grid import PixelGrid
from dwplus.planning.ground import chosen, coverage, newest, placed
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene, mosaic

__all__ = ["HOUR_MS", "OpticalTable", "Pairing", "Pass", "RadarPairing", "Rejection", "Rules", "Scenes",
           "burst_passes", "coverage", "label_choices", "newest", "on_grid", "pair", "pair_radar", "passes",
           "usable_labels", "with_labels"]

HOUR_MS = 3_600_000
#: Slices of one datatake start 25 s apart; longer pauses separate passes.
SLICE_PAUSE_MS = 60_000


@dataclass(frozen=True)
class Rejection:
    """Why a tile cannot be paired: a short reason, and how far the attempt came (higher = further); of RTC-S1 the
    passes that cover the tile, see :class:`RadarPairing`."""

    reason: Reason
    stage: int
    flown: int = 0


NO_LABEL = Rejection(Reason.NO_LABEL, 0)
LABEL_PARTIAL = Rejection(Reason.LABEL_PARTIAL, 1)
LABEL_OFF_GRID = Rejection(Reason.LABEL_OFF_GRID, 2)
NO_S2 = Rejection(Reason.NO_S2, 3)
S2_CLOUDY = Rejection(Reason.S2_CLOUDY, 4)
S2_PARTIAL = Rejection(Reason.S2_PARTIAL, 5)
NO_S1 = Rejection(Reason.NO_S1, 6)
S1_PARTIAL = Rejection(Reason.S1_PARTIAL, 7)
FEW_PASSES = Rejection(Reason.FEW_PASSES, 8)


@dataclass(frozen=True)
class Pass:
    """One overflight: its slices in time order.

    Of RTC-S1 ``slices`` are its bursts, none where it has no product, and ``grd`` its slices of GRD.
    """

    slices: tuple[RadarScene, ...]
    grd: tuple[RadarScene, ...] = ()

    @property
    def scenes(self) -> tuple[RadarScene, ...]:
        return self.slices + self.grd

    @property
    def orbit_pass(self) -> str:
        return self.scenes[0].orbit_pass

    @property
    def relative_orbit(self) -> int:
        return self.scenes[0].relative_orbit


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
    flown, processed : of RTC-S1 the passes in reach whose GRD covers the tile, and those of them that have RTC-S1 all
        over it; 0 of GRD.
    further : slices of each further pass of the same relative orbit that the rules want, the nearest in time first.
    """

    indices: tuple[str, ...]
    time_ms: int
    gap_hours: float
    coverage: float
    count: int
    orbit_pass: str
    relative_orbit: int
    platform: str
    flown: int = 0
    processed: int = 0
    further: tuple[tuple[str, ...], ...] = ()


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
    """The part of a spec that pairing obeys; see :class:`dwplus.spec.DatasetSpec` for the meaning.

    Attributes
    ----------
    passes, least : passes of one relative orbit wanted for a tile, its own included, and with how many it is content.
    pass_hours : largest distance of a further pass from the tile's own.
    """

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
    passes: int = 1
    least: int = 1
    pass_hours: float = 0.0


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


def burst_passes(grd: Iterable[RadarScene], bursts: Iterable[RadarScene]) -> list[Pass]:
    """Passes of RTC-S1 in order of time: the bursts of each, and the GRD slices that flew with them or alone.

    A burst that was made anew counts once (same satellite, burst and start, to the second): the last index wins. Orbits
    are numbered anew at the ascending node, and a pass goes on there: satellite and time make it.
    """
    unique = {(s.platform, s.burst, s.time_ms // 1000): s for s in sorted((*grd, *bursts), key=lambda s: s.index)}
    groups: list[list[RadarScene]] = []
    open_groups: dict[tuple[str, str], list[RadarScene]] = {}
    for scene in sorted(unique.values(), key=lambda s: (s.time_ms, s.index)):
        group = open_groups.get((scene.platform, scene.orbit_pass))
        if group is None or scene.time_ms - group[-1].time_ms > SLICE_PAUSE_MS:
            group = open_groups[scene.platform, scene.orbit_pass] = []
            groups.append(group)
        group.append(scene)
    return [Pass(tuple(s for s in group if s.burst), tuple(s for s in group if not s.burst)) for group in groups]


def _cover(tile: shapely.Geometry, slices: Sequence[RadarScene],
           enough: float) -> tuple[tuple[RadarScene, ...], float]:
    """The fewest slices that cover the tile, the most covering first, and the share they cover; of bursts all that
    touch it, for what a burst's footprint promises beyond its ground is then its neighbour's."""
    shares = sorted(((coverage(tile, [s.footprint]), s) for s in slices),
                    key=lambda item: (-item[0], item[1].time_ms, item[1].index))
    chosen: list[RadarScene] = []
    share = 0.0
    for single, scene in shares:
        if single == 0 or (share >= max(enough, 1 - 1e-9) and not scene.burst):
            break
        together = coverage(tile, [s.footprint for s in (*chosen, scene)])
        if together > share + 1e-9 or scene.burst:
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
    RadarPairing, or the Rejection ``no_s1`` (no pass in reach touches the tile), ``s1_partial`` (none covers it), of
    RTC-S1 ``no_rtc`` (those that cover it have no product there), or ``few_passes`` (of the one taken there are fewer
    further passes than the rules are content with).
    """
    nearest, reach = rules.min_gap_hours * HOUR_MS, rules.max_gap_hours * HOUR_MS
    fitting = []
    touched = False
    flown = processed = 0
    for one_pass in candidates:
        if rules.orbit != "any" and one_pass.orbit_pass.lower() != rules.orbit:
            continue
        if min(abs(s.time_ms - time_ms) for s in one_pass.scenes) > reach:
            continue
        slices, share = _cover(tile, one_pass.slices, rules.min_coverage)
        if one_pass.grd:
            own, whole = _cover(tile, one_pass.grd, rules.min_coverage)
            if whole >= rules.min_coverage and nearest <= abs(own[0].time_ms - time_ms) <= reach:
                flown += 1
                processed += share >= rules.min_coverage
        if not slices or not nearest <= abs(slices[0].time_ms - time_ms) <= reach:
            continue
        touched = True
        if rules.policy == "mean" or share >= rules.min_coverage:
            handicap = rules.prefer_hours * HOUR_MS * _unmet(one_pass, rules)
            fitting.append((abs(slices[0].time_ms - time_ms) + handicap, -share, slices[0].index, slices, one_pass))
    if not fitting:
        return Rejection(Reason.NO_RTC, 8, flown) if flown else S1_PARTIAL if touched else NO_S1
    fitting.sort(key=lambda item: item[:3])
    further: tuple[tuple[str, ...], ...] = ()
    if rules.policy == "nearest":
        fitting = fitting[:1]
        together = -fitting[0][1]
        further = _further(tile, fitting[0][3][0], candidates, rules)
        if 1 + len(further) < rules.least:
            return FEW_PASSES
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
        platform=",".join(sorted({p.slices[0].platform for *_, p in fitting})), flown=flown, processed=processed,
        further=further)


def _further(tile: shapely.Geometry, own: RadarScene, candidates: Sequence[Pass],
             rules: Rules) -> tuple[tuple[str, ...], ...]:
    """Slices of the further passes that go with a tile's own, whatever satellite flew them: of the same relative orbit,
    so that the ground is seen alike, covering the tile, the nearest in time first (ties: index)."""
    if rules.passes < 2 or own.relative_orbit < 1:
        return ()
    found = []
    for one_pass in candidates:
        far = min(abs(s.time_ms - own.time_ms) for s in one_pass.slices)
        if (one_pass.orbit_pass, one_pass.relative_orbit) != (own.orbit_pass, own.relative_orbit) or (
                own in one_pass.slices or far > rules.pass_hours * HOUR_MS):
            continue
        slices, share = _cover(tile, one_pass.slices, rules.min_coverage)
        if slices and share >= rules.min_coverage:
            found.append((abs(slices[0].time_ms - own.time_ms), tuple(s.index for s in slices)))
    return tuple(slices for _, slices in sorted(found)[:rules.passes - 1])


def _unmet(one_pass: Pass, rules: Rules) -> int:
    """How many of the preferences a pass does not meet."""
    unmet = rules.prefer_orbit != "any" and one_pass.orbit_pass.lower() != rules.prefer_orbit
    return unmet + bool(rules.prefer_relative_orbits
                        and one_pass.relative_orbit not in rules.prefer_relative_orbits)


class OpticalTable:
    """Optical scenes, found by a label's id; where ids differ, by its sensing and granule; by its date at the last.

    Scenes of a second product (``toa`` where ``sr`` was asked for) count only where the first has none over the tile.
    """

    def __init__(self, scenes: Iterable[OpticalScene], product: str = "sr") -> None:
        self._by_sensing: dict[str, list[OpticalScene]] = defaultdict(list)
        self._sensing_of: dict[str, str] = {}
        # The product asked for comes first, within it the newest.
        ordered = sorted(scenes, key=lambda s: s.index, reverse=True)
        for scene in sorted(ordered, key=lambda s: s.product != product):
            self._by_sensing[scene.sensing].append(scene)
            self._sensing_of[scene.index] = scene.sensing

    def shots(self, tile: shapely.Geometry, enough: float) -> list[OpticalScene]:
        """One scene per sensing and granule that touches a tile: the product that covers it, or a mosaic of two."""
        found = (self._over(tile, group, enough) for group in self._by_sensing.values())
        return [scene for scene in found if scene is not None]

    def cloud(self, label: LabelScene, tile: shapely.Geometry, enough: float) -> float:
        """Cloud of a label's scene, percent; infinite where there is none or it is not known."""
        group = self._group(label)
        scene = group[0] if len(group) == 1 else None
        if scene is None and group and (found := self.partner(label, tile, enough)):
            scene = found[0]
        return math.inf if scene is None or math.isnan(scene.cloud) else scene.cloud

    def _group(self, label: LabelScene) -> list[OpticalScene]:
        """The products of a label's sensing."""
        known = next((self._sensing_of[i] for i in label.s2_indices if i in self._sensing_of), label.sensing)
        return self._by_sensing.get(known, [])

    def _over(self, tile: shapely.Geometry, group: Sequence[OpticalScene], enough: float,
              ids: Sequence[str] = ()) -> OpticalScene | None:
        """The scene of one sensing for a tile, None where no product touches it; those that ``ids`` name go first
        where they cover it."""
        for product in dict.fromkeys(scene.product for scene in group):
            own = [scene for scene in group if scene.product == product]
            if len(own) == 1:
                if shapely.intersects(tile, placed(own[0].footprint, tile.centroid.x)):
                    return own[0]
                continue
            parts, share = chosen(tile, [scene for scene in own if scene.index in ids], enough)
            if share < enough:
                parts, share = chosen(tile, own, enough)
            if share > 0:
                return mosaic(parts)
        return None

    def partner(self, label: LabelScene, tile: shapely.Geometry,
                enough: float = 0.99) -> tuple[OpticalScene, str] | None:
        """The scene of a label over a tile and how it was found; None where there is none.

        Parameters
        ----------
        tile : where a label may fall back to its date (:attr:`LabelScene.by_date`), the scene of its granule that
            covers most of this is taken; ties go to the label's own zone, the least cloudy, then the first index.
        enough : share of the tile from which on one product of a sensing suffices.
        """
        ids = label.s2_indices
        if (scene := self._over(tile, self._group(label), enough, ids)) is not None:
            return scene, "id" if set(scene.index.split(",")) <= set(ids) else "sensing"
        if not label.by_date:
            return None
        zone = "" if label.crs is None else f"{int(label.crs[-2:]):02d}"
        of_day = [(-round(coverage(tile, [s.footprint]), 6), not (s.mgrs or zone).startswith(zone),
                   math.inf if math.isnan(s.cloud) else s.cloud, s.index, s)
                  for members in self._by_sensing.values() if members[0].date == label.date
                  and (not label.mgrs or members[0].mgrs == label.mgrs)
                  and (s := self._over(tile, members, enough)) is not None]
        return (min(of_day, key=lambda item: item[:4])[4], "date") if of_day else None


class Scenes:
    """Scenes over one area, ready for pairing: ``labels`` in order of time, then index; ``optical`` and ``passes``, of
    RTC-S1 where its ``bursts`` are given."""

    def __init__(self, labels: Iterable[LabelScene], optical: Iterable[OpticalScene], radar: Iterable[RadarScene],
                 product: str, bursts: Iterable[RadarScene] | None = None) -> None:
        self.labels = sorted(labels, key=lambda s: (s.time_ms, s.index))
        self.optical = OpticalTable(optical, product)
        self.passes = passes(radar) if bursts is None else burst_passes(radar, bursts)


def label_choices(tile: shapely.Geometry, labels: Iterable[LabelScene], enough: float) -> list[LabelScene]:
    """One label per sensing and granule for a tile, a mosaic where no product covers it alone; whether it does is not
    said. In the order of the first of each."""
    groups: dict[str, list[LabelScene]] = defaultdict(list)
    for label in labels:
        groups[label.sensing].append(label)
    found = (group if len(group) == 1 else chosen(tile, group, enough)[0] for group in groups.values())
    return [mosaic(parts) for parts in found if parts]


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
    labels : those over the tile and around it; of one sensing there may be several products.
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
        return optical.cloud(label, tile, rules.min_coverage), label.time_ms, label.index

    for label in sorted(label_choices(tile, _of_zone(labels, grid, rules), rules.min_coverage), key=rank):
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
    return [label.index for label in label_choices(tile, _of_zone(labels, grid, rules), rules.min_coverage)
            if coverage(tile, [label.footprint]) >= rules.min_coverage
            and not (rules.on_label_grid and not on_grid(grid, label))
            and not ((found := optical.partner(label, tile, rules.min_coverage))
                     and found[0].cloud > rules.max_cloud)]


def _of_zone(labels: Iterable[LabelScene], grid: PixelGrid, rules: Rules) -> list[LabelScene]:
    """The labels that may serve a tile: those of its zone and of its ground's (which has a granule wherever the
    neighbour's reaches over), or where tiles are cut from the labels' own grids, all."""
    zones = {grid.epsg, grid.ground_epsg}
    return [label for label in labels if rules.on_label_grid or any(map(label.in_zone, zones))]


def with_labels(pairing: Pairing, indices: Sequence[str]) -> Pairing:
    """The same pair with the label scenes of a composite, its own first."""
    return replace(pairing, labels=(pairing.label.index, *(i for i in indices if i != pairing.label.index)))


def _pair_label(grid: PixelGrid, tile: shapely.Geometry, label: LabelScene, optical: OpticalTable,
                radar: Sequence[Pass], rules: Rules) -> Pairing | Rejection:
    share = coverage(tile, [label.footprint])
    if share < rules.min_coverage:
        return LABEL_PARTIAL if share > 0 else NO_LABEL
    if rules.on_label_grid and not on_grid(grid, label):
        return LABEL_OFF_GRID
    found = optical.partner(label, tile, rules.min_coverage)
    if found is None:
        return NO_S2
    partner, match = found
    if partner.cloud > rules.max_cloud:
        return S2_CLOUDY
    if coverage(tile, [partner.footprint]) < rules.min_coverage:
        return S2_PARTIAL
    paired = pair_radar(tile, partner.time_ms, radar, rules)
    return paired if isinstance(paired, Rejection) else Pairing(label, partner, paired, match)
