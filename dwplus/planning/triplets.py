"""Triplets for land cover under cloud: a clouded Sentinel-2 scene, the Sentinel-1 pass beside it, and a label from the
clear scene nearest in time. Pure code on tables of scenes; nothing here asks Earth Engine or reads pixels.

Published (CloudLULC-Set, arXiv 2606.17713 and its README): inputs are a clouded S2 L2A scene and a temporally adjacent
S1; a temporally close clear S2 serves the label only. **Ours**: every limit below (days, shares), the strata, the
balance.

Planning goes in turns: :func:`prospects` says what a tile offers, :func:`unmeasured` which scenes must be looked at
next, and once that is none, :func:`triplets` what became of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import shapely

from dwplus.errors.reasons import Reason
from dwplus.grid import PixelGrid
from dwplus.planning.pairing import (
    HOUR_MS,
    LABEL_PARTIAL,
    NO_LABEL,
    NO_S1,
    NO_S2,
    S2_PARTIAL,
    OpticalTable,
    Pairing,
    Pass,
    RadarPairing,
    Rejection,
    Rules,
    coverage,
    label_choices,
    pair_radar,
)
from dwplus.scenes.records import LabelScene, OpticalScene
from dwplus.taxonomy import STRATA, stratum_of

DAY_MS = 24 * HOUR_MS
NO_CLEAR_LABEL = Rejection(Reason.NO_CLEAR_LABEL, 8)
CLOUD_UNKNOWN = Rejection(Reason.CLOUD_UNKNOWN, 9)
STRATUM_FULL = Rejection(Reason.STRATUM_FULL, 10)


@dataclass(frozen=True)
class TripletRules:
    """Limits of a triplet.

    Attributes
    ----------
    label_days : largest distance of the clear scene from the clouded one: land cover must not change in between.
    prefer_s1_days : a pass beyond this is taken only where none is nearer; ``radar.max_gap_hours`` is the limit.
    clear : largest cloud share of a clear scene over the tile, 0..1. looks : clouded scenes measured of a tile.
    radar : rules of pairing with radar; its ``max_cloud`` (percent) is that of the label's whole scene.
    """

    label_days: float = 15.0
    prefer_s1_days: float = 6.0
    clear: float = 0.05
    looks: int = 6
    radar: Rules = field(default_factory=lambda: Rules(max_gap_hours=288))


@dataclass(frozen=True, kw_only=True)
class Triplet(Pairing):
    """One sample: ``optical`` is the clouded scene, ``label`` the label scene of ``clear``, found by ``match``.

    Attributes
    ----------
    clear : the clear scene. cloud : share of the tile that is cloud in ``optical``, 0..1.
    """

    clear: OpticalScene
    cloud: float

    @property
    def stratum(self) -> int:
        return stratum_of(self.cloud)

    @property
    def label_gap_hours(self) -> float:
        """Clear minus clouded, signed."""
        return (self.clear.time_ms - self.optical.time_ms) / HOUR_MS


@dataclass(frozen=True)
class Prospects:
    """What a tile offers before its pixels are looked at.

    Attributes
    ----------
    shown : scenes of the window with the pass beside them, by distance from the window's middle.
    clear : scenes that have a label, with it and how it was found; whether they are clear is not known yet.
    """

    shown: tuple[tuple[OpticalScene, RadarPairing], ...]
    clear: tuple[tuple[OpticalScene, LabelScene, str], ...]


def prospects(grid: PixelGrid, window: tuple[int, int], labels: Sequence[LabelScene], optical: OpticalTable,
              radar: Sequence[Pass], rules: TripletRules) -> Prospects | Rejection:
    """What a tile offers in a window, whose middle is the target date.

    Of the window's scenes at most ``rules.looks`` are kept: the strata, as each whole scene's percentage has them, take
    turns, and within a stratum the scene nearest to the target comes first.

    Parameters
    ----------
    window : [start, end), ms since 1970. labels : as ``optical`` reaching beyond the window.
    radar : see :func:`dwplus.planning.pairing.passes`.
    """
    tile = grid.footprint()
    inside = [s for s in optical.shots(tile, rules.radar.min_coverage)
              if window[0] <= s.time_ms < window[1] and _in_zone(s, grid)]
    whole = _one_per_overpass(s for s in inside if coverage(tile, [s.footprint]) >= rules.radar.min_coverage)
    if not whole:
        return S2_PARTIAL if inside else NO_S2
    clear = _labelled(tile, grid, labels, optical, rules)
    if isinstance(clear, Rejection):
        return clear
    middle = sum(window) / 2
    shown, furthest = [], NO_S1
    for scene in _spread(sorted(whole, key=lambda s: (abs(s.time_ms - middle), s.index)), rules.looks):
        beside = _beside(tile, scene, radar, rules)
        if isinstance(beside, Rejection):
            furthest = max(furthest, beside, key=lambda r: r.stage)
        else:
            shown.append((scene, beside))
    shown.sort(key=lambda item: (abs(item[0].time_ms - middle), item[0].index))
    return Prospects(tuple(shown), tuple(clear)) if shown else furthest


def _in_zone(scene: OpticalScene, grid: PixelGrid) -> bool:
    return scene.mgrs is None or int(scene.mgrs[:2]) in (grid.epsg % 100, grid.ground_epsg % 100)


def _one_per_overpass(scenes: Iterable[OpticalScene]) -> list[OpticalScene]:
    """Granules of one overpass overlap and show the same sky: the first by index stands for them."""
    return list({s.sensing[:15]: s for s in sorted(scenes, key=lambda s: s.index, reverse=True)}.values())


def _spread(scenes: Sequence[OpticalScene], most: int) -> list[OpticalScene]:
    """The first scene of every stratum, then the second, and so on, by what the whole scene's percentage says."""
    rank: Counter[int] = Counter()
    turns = []
    for number, scene in enumerate(scenes):
        stratum = stratum_of(scene.cloud / 100)
        turns.append((rank[stratum], number))
        rank[stratum] += 1
    return [scenes[number] for _, number in sorted(turns)[:most]]


def _labelled(tile: shapely.Geometry, grid: PixelGrid, labels: Sequence[LabelScene], optical: OpticalTable,
              rules: TripletRules) -> list[tuple[OpticalScene, LabelScene, str]] | Rejection:
    """Label scenes that cover a tile, with their optical scenes."""
    found: list[tuple[OpticalScene, LabelScene, str]] = []
    furthest = NO_LABEL
    enough = rules.radar.min_coverage
    own = [label for label in labels if label.in_zone(grid.epsg) or label.in_zone(grid.ground_epsg)]
    for label in label_choices(tile, own, enough):
        if coverage(tile, [label.footprint]) < enough:
            furthest = max(furthest, LABEL_PARTIAL, key=lambda r: r.stage)
            continue
        partner = optical.partner(label, tile, enough)
        # "not >": a percentage that is not known does not exclude its scene, for the tile is measured.
        if partner is not None and not partner[0].cloud > rules.radar.max_cloud:
            found.append((partner[0], label, partner[1]))
        else:
            furthest = NO_CLEAR_LABEL
    return found or furthest


def _beside(tile: shapely.Geometry, scene: OpticalScene, radar: Sequence[Pass],
            rules: TripletRules) -> RadarPairing | Rejection:
    """The pass beside a scene: within the preferred days if there is one, else within the limit."""
    near = Rules(**{**vars(rules.radar), "max_gap_hours": min(24 * rules.prefer_s1_days, rules.radar.max_gap_hours)})
    found = pair_radar(tile, scene.time_ms, radar, near)
    return found if isinstance(found, RadarPairing) else pair_radar(tile, scene.time_ms, radar, rules.radar)


def _nearest_first(offer: Prospects, scene: OpticalScene,
                   rules: TripletRules) -> list[tuple[OpticalScene, LabelScene, str]]:
    """Labelled scenes within reach of a clouded one, the nearest in time first."""
    near = [item for item in offer.clear if abs(item[0].time_ms - scene.time_ms) <= rules.label_days * DAY_MS]
    return sorted(near, key=lambda item: (abs(item[0].time_ms - scene.time_ms), item[0].index, item[1].index))


def unmeasured(offer: Prospects, measured: Mapping[str, float], rules: TripletRules) -> set[str]:
    """Indices of the optical scenes to measure next; empty when :func:`triplets` knows enough.

    Parameters
    ----------
    measured : cloud share over *this tile* by scene index, 0..1; NaN = looked at, and not known.
    """
    wanted = set()
    for scene, _ in offer.shown:
        if scene.index not in measured:
            wanted.add(scene.index)
        for clear, _, _ in _nearest_first(offer, scene, rules):
            if clear.index not in measured:
                wanted.add(clear.index)
                break
            if measured[clear.index] <= rules.clear:
                break
    return wanted


def triplets(offer: Prospects, measured: Mapping[str, float], rules: TripletRules) -> list[Triplet] | Rejection:
    """Every triplet of a tile: one per scene shown that is within reach of a clear one.

    A clear scene is its own label (gap zero): it fills the lowest stratum.

    Returns
    -------
    By distance from the window's middle; never empty. Or the rejection of the scene that came furthest.
    """
    found: list[Triplet] = []
    furthest = NO_CLEAR_LABEL
    for scene, beside in offer.shown:
        partner = next((item for item in _nearest_first(offer, scene, rules)
                        if measured.get(item[0].index, math.nan) <= rules.clear), None)
        if partner is None:
            continue
        share = measured.get(scene.index, math.nan)
        if math.isnan(share):
            furthest = CLOUD_UNKNOWN
            continue
        clear, label, match = partner
        found.append(Triplet(label, scene, beside, match, clear=clear, cloud=share))
    return found or furthest


class StrataBalance:
    """Tiles taken of each stratum of one biome, so that the strata become equally many."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def choose(self, found: Sequence[Triplet], quota: float = math.inf) -> Triplet | None:
        """Take the triplet of a tile that is needed most, ties going to the first; None where its strata are full.

        Parameters
        ----------
        quota : tiles wanted of all strata together.
        """
        most = quota if math.isinf(quota) else math.ceil(quota / (len(STRATA) - 1))
        open_ = [t for t in found if self.counts[t.stratum] < most]
        if not open_:
            return None
        chosen = min(open_, key=lambda t: self.counts[t.stratum])
        self.counts[chosen.stratum] += 1
        return chosen


#: Its name until version 0.1; goes with version 0.3.
Balance = StrataBalance
