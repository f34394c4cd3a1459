"""Triplets for land cover under cloud: a clouded Sentinel-2 scene, the Sentinel-1 pass beside it, and a label from the
clear scene nearest in time. Pure code on tables of scenes; nothing here asks Earth Engine or reads pixels.

Published (CloudLULC-Set, arXiv 2606.17713 and its README): inputs are a clouded S2 L2A scene and a temporally adjacent
S1; a temporally close clear S2 serves the label only; six classes. **Ours**: every limit below (days, shares, strata),
the mapping of nine classes to six, the balance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from dwplus.grid import PixelGrid
from dwplus.planning.pairing import (
    HOUR_MS,
    LABEL_PARTIAL,
    NO_LABEL,
    NO_S2,
    OpticalTable,
    Pass,
    RadarPairing,
    Rejection,
    Rules,
    coverage,
    pair_radar,
)
from dwplus.scenes import LabelScene, OpticalScene
from dwplus.taxonomy import CLASSES, IGNORE

DAY_MS = 24 * HOUR_MS
#: Edges of the strata of cloud, shares of the tile.
STRATA = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
NO_CLEAR_LABEL = Rejection("no_clear_label", 2)

#: The six classes of CloudLULC-Set, in the order of its README.
SIX = ("water", "forest", "grassland", "barren", "built_up", "cropland")
_SIX_OF = {"water": 0, "trees": 1, "grass": 2, "flooded_vegetation": 2, "crops": 5, "shrub_and_scrub": 2, "built": 4,
           "bare": 3, "snow_and_ice": IGNORE}


@dataclass(frozen=True)
class TripletRules:
    """Limits of a triplet.

    Attributes
    ----------
    target_days : largest distance of the clouded scene from the target date. label_days : of the clear scene from the
        clouded one: land cover must not change in between. radar_days, radar_preferred_days : of the S1 pass; beyond
        the second it is taken only where no pass is nearer.
    clear : largest cloud share of a clear scene over the tile. min_coverage : least share of the tile in a footprint.
    orbit : ``any``, ``ascending`` or ``descending``.
    """

    target_days: float = 30.0
    label_days: float = 30.0
    radar_days: float = 12.0
    radar_preferred_days: float = 6.0
    clear: float = 0.05
    min_coverage: float = 0.99
    orbit: str = "any"

    def radar(self) -> Rules:
        """The rules of pairing with radar."""
        return Rules(max_gap_hours=24 * self.radar_days, orbit=self.orbit, min_coverage=self.min_coverage)


@dataclass(frozen=True)
class Triplet:
    """One sample.

    Attributes
    ----------
    cloudy : the scene that is shown. clear : the scene of the label. label : its label scene.
    cloud : share of the tile that is cloud in ``cloudy``, 0..1. stratum : 0..4, see :data:`STRATA`.
    label_gap_hours : clear minus cloudy, signed. adjacent : whether S1 is within the preferred days.
    """

    cloudy: OpticalScene
    clear: OpticalScene
    label: LabelScene
    radar: RadarPairing
    cloud: float
    label_gap_hours: float
    adjacent: bool

    @property
    def stratum(self) -> int:
        return stratum_of(self.cloud)


def stratum_of(cloud: float) -> int:
    """Stratum of a cloud share: 0..4, or -1 where it is not known.

    Raises
    ------
    ValueError
        Outside 0..1.
    """
    if math.isnan(cloud):
        return -1
    if not 0 <= cloud <= 1:
        raise ValueError(f"cloud share {cloud}: must be 0..1")
    return min(int(np.searchsorted(STRATA, cloud, side="right")) - 1, len(STRATA) - 2)


def cloud_share(scene: OpticalScene, measured: Mapping[str, float]) -> float:
    """Cloud over the tile, 0..1: measured where it is, else the whole scene's percentage; NaN where unknown."""
    return measured.get(scene.index, scene.cloud / 100)


def triplets(grid: PixelGrid, target_ms: int, labels: Sequence[LabelScene], optical: Sequence[OpticalScene],
             radar: Sequence[Pass], measured: Mapping[str, float],
             rules: TripletRules | None = None) -> list[Triplet] | Rejection:
    """Every triplet of a tile about a date: one per scene in reach that has a clear label and a radar pass.

    A clear scene is its own label (gap zero): it fills the lowest stratum.

    Parameters
    ----------
    target_ms : ms since 1970. labels : one per sensing and granule (:func:`dwplus.planning.pairing.newest`).
    optical : of any cloudiness. radar : see :func:`dwplus.planning.pairing.passes`.
    measured : cloud share over *this tile* by scene index, 0..1.

    Returns
    -------
    Ordered by distance from the target date, then index; never empty. Or the rejection of the scene that came furthest.
    """
    rules = rules or TripletRules()
    tile = grid.footprint()
    shown = [s for s in optical if abs(s.time_ms - target_ms) <= rules.target_days * DAY_MS
             and not math.isnan(cloud_share(s, measured)) and _covers(tile, s, rules)]
    if not shown:
        return NO_S2
    clear, furthest = _clear_labels(tile, grid, labels, OpticalTable(optical), measured, rules)
    if not clear:
        return furthest
    found: list[Triplet] = []
    furthest = NO_CLEAR_LABEL
    for scene in sorted(shown, key=lambda s: (abs(s.time_ms - target_ms), s.index)):
        partner, label = _nearest(clear, scene)
        gap = partner.time_ms - scene.time_ms
        if abs(gap) > rules.label_days * DAY_MS:
            continue
        beside = pair_radar(tile, scene.time_ms, radar, rules.radar())
        if isinstance(beside, Rejection):
            furthest = max(furthest, beside, key=lambda r: r.stage)
            continue
        found.append(Triplet(scene, partner, label, beside, cloud_share(scene, measured), gap / HOUR_MS,
                             abs(beside.gap_hours) <= 24 * rules.radar_preferred_days))
    return found or furthest


def _nearest(clear: Sequence[tuple[OpticalScene, LabelScene]], scene: OpticalScene
             ) -> tuple[OpticalScene, LabelScene]:
    """The clear scene nearest in time; ties go to the smaller indices."""
    return min(clear, key=lambda pair: (abs(pair[0].time_ms - scene.time_ms), pair[0].index, pair[1].index))


def _covers(tile: shapely.Geometry, scene: OpticalScene | LabelScene, rules: TripletRules) -> bool:
    return coverage(tile, [scene.footprint]) >= rules.min_coverage


def _clear_labels(tile: shapely.Geometry, grid: PixelGrid, labels: Sequence[LabelScene], optical: OpticalTable,
                  measured: Mapping[str, float], rules: TripletRules
                  ) -> tuple[list[tuple[OpticalScene, LabelScene]], Rejection]:
    """Label scenes whose optical scene is clear over the tile, each with it; and why there is none."""
    found, furthest = [], NO_LABEL
    for label in labels:
        if label.epsg not in (None, grid.epsg):
            continue
        if not _covers(tile, label, rules):
            furthest = max(furthest, LABEL_PARTIAL, key=lambda r: r.stage)
            continue
        partner = optical.partner(label, tile)
        # "not <=": a share that is not known is no clear one.
        if partner is None or not cloud_share(partner[0], measured) <= rules.clear:
            furthest = NO_CLEAR_LABEL
            continue
        found.append((partner[0], label))
    return found, furthest


def balance(table: pd.DataFrame, per_cell: int, per_tile: int = 2, seed: int = 0) -> pd.DataFrame:
    """Choose rows so that strata of cloud and biomes are equally many.

    Parameters
    ----------
    table : one row per triplet with ``tile_id``, ``biome``, ``stratum`` and ``s2_id``. per_cell : most rows of one
        biome and stratum. per_tile : most rows of one tile.

    Returns
    -------
    The chosen rows in their order. Rows are drawn cell by cell, the rarest cell first, so that a tile's few places go
    where they are needed; the same seed gives the same rows, in whatever order they come.
    """
    keyed = table.assign(_draw=[_draw(seed, f"{t}|{s}") for t, s in zip(table["tile_id"], table["s2_id"], strict=True)])
    keyed = keyed[keyed["stratum"] >= 0]
    cells = sorted(keyed.groupby(["biome", "stratum"]), key=lambda cell: (len(cell[1]), cell[0]))
    used: dict[str, int] = {}
    chosen: list[object] = []
    for _, cell in cells:
        taken = 0
        for row, tile in cell.sort_values(["_draw", "tile_id", "s2_id"])["tile_id"].items():
            if taken < per_cell and used.get(tile, 0) < per_tile:
                used[tile] = used.get(tile, 0) + 1
                taken += 1
                chosen.append(row)
    return table.loc[table.index.isin(chosen)]


def _draw(seed: int, key: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(f"{seed}|{key}".encode(), digest_size=8).digest(), "big")


def to_six(label: np.ndarray, shrub: str = "grassland") -> np.ndarray:
    """Nine Dynamic World classes to the six of CloudLULC-Set; uint8, 255 = ignore. The mapping is ours.

    Water, trees, crops, built and bare have their twins; grass and flooded vegetation are grassland, snow and ice is
    left out.

    Parameters
    ----------
    label : 0..8 or 255. shrub : shrub and scrub as ``grassland``, or ``ignore``.

    Raises
    ------
    ValueError
        On another label or choice.
    """
    if shrub not in ("grassland", "ignore"):
        raise ValueError(f"shrub {shrub!r}: must be grassland or ignore")
    label = np.asarray(label)
    wrong = label[(label >= len(CLASSES)) & (label != IGNORE)]
    if wrong.size:
        raise ValueError(f"label {wrong.flat[0]}: must be 0..8 or {IGNORE}")
    lookup = np.full(256, IGNORE, "uint8")
    for number, name in enumerate(CLASSES):
        lookup[number] = IGNORE if name == "shrub_and_scrub" and shrub == "ignore" else _SIX_OF[name]
    return lookup[label]
