"""Sky and soil: how cloudy an overpass is, where its clouds lie, how wet the ground is, how strong the wind blows."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from dwplus.embedded_earth.planet.landscape import NODE, Box, season
from dwplus.embedded_earth.planet.noise import box_mean, draw, draw_normal, fbm, node_range, seed_of, upsample
from dwplus.embedded_earth.planet.sites import LATTICE_NORTH, LATTICE_STEP, Site

#: Octaves of the cloud field by level (cells of 80 m x 2^level, up to 41 km); clouds scale about like r^(1/3) to r.
_OCTAVES = {9: 1.00, 8: 0.80, 7: 0.62, 6: 0.50, 5: 0.38, 4: 0.28, 3: 0.20, 2: 0.14, 1: 0.09}
#: Width of a cloud's soft edge in units of the field.
_SOFT = 0.12
#: Field values this far below the threshold are still masked as cloud by Dynamic World (it dilates its cloud mask).
MASK_MARGIN = 0.10
#: Nodes (80 m) between the samples that fix the threshold over a granule.
_SAMPLE = 12
#: Octaves of fair-weather cumulus: cells of 160 m to 1.3 km. On half of the overpasses up to 3 % of the ground is under
#: some that the L1C mask, and so CLOUDY_PIXEL_PERCENTAGE, does not know. Ours: how often, and how many.
_CUMULUS = {4: 0.6, 3: 1.0, 2: 0.8, 1: 0.4}
_CUMULUS_SHARE, _CUMULUS_MOST = 0.5, 0.03
_CUMULUS_SOFT = np.float32(0.5)
#: Veils of cirrus and haze: octaves (2.5 to 41 km), the share of overpasses with one, and how opaque they are at most.
#: That Dynamic World misses them is public (its mask is made for thicker cloud); the numbers are ours.
_VEIL = {9: 1.0, 8: 0.7, 7: 0.45, 6: 0.3, 5: 0.2}
_VEIL_SHARE, _VEIL_MOST = 0.35, 0.30
#: Height of cloud tops above ground, metres: fair-weather cumulus.
_HEIGHT = 1_500.0


def cloud_cover(site: Site, seed: int, day: dt.date, track: int, granule: str) -> float:
    """Cloudy share (%) of a granule at an overpass.

    One sky per overpass, a few percent between granules. U-shaped like real archives: many scenes clear, many overcast.
    """
    recipe = site.recipe
    key = seed_of(seed, site.name, "sky", day.toordinal(), track)
    swing = recipe.cloud_swing * season(day.timetuple().tm_yday, recipe.wet_peak)
    clear, overcast = max(recipe.clear_sky - swing, 0.05), max(recipe.overcast + swing, 0.05)
    u, v = draw(key, 1), draw(key, 2)
    if u < clear:
        cover = 14 * v * v
    elif u < clear + overcast:
        cover = 100 - 25 * v * v
    else:
        cover = 14 + 61 * v
    cover += 2.5 * draw_normal(key, granule) * min(cover / 20, 1.0)
    return round(min(max(cover, 0.0), 100.0), 6)


def rain(site: Site, seed: int, day: dt.date) -> float:
    """Soil moisture index 0 (dry) to 1 (wet): rain of the last nine days on top of the season."""
    recent = max(draw(seed, site.name, "rain", (day.toordinal() - lag) // 3) ** 3 * (1 - lag / 12) for lag in (0, 3, 6))
    wet = 0.5 + 0.5 * season(day.timetuple().tm_yday, site.recipe.wet_peak)
    return min(0.55 * recent + 0.45 * wet * (1 - site.recipe.clear_sky / 2), 1.0)


def wind(site: Site, seed: int, time_ms: int) -> float:
    """Wind speed at a pass, m/s (Rayleigh distribution with mean 4)."""
    u = draw(seed, site.name, "wind", time_ms // 60_000)
    return 3.2 * math.sqrt(-2 * math.log(1 - min(u, 0.999)))


def sun(lat: float, day: dt.date, hour: float) -> tuple[float, float]:
    """(zenith, azimuth) of the sun in degrees at a local solar hour (Cooper's declination, 1969)."""
    declination = math.radians(23.44) * math.sin(2 * math.pi * (284 + day.timetuple().tm_yday) / 365)
    phi, angle = math.radians(lat), math.radians(15 * (hour - 12))
    cosine = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(angle)
    azimuth = math.atan2(math.sin(angle), math.cos(angle) * math.sin(phi) - math.tan(declination) * math.cos(phi))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine)))), (math.degrees(azimuth) + 180) % 360


@dataclass(frozen=True)
class Sky:
    """Clouds over a window, (height, width) float32 each; None where there are none.

    Attributes
    ----------
    excess : field minus threshold: above 0 is cloud (this is what CLOUDY_PIXEL_PERCENTAGE counts).
    alpha : opacity, 0..1.
    shadow : darkening by cloud shadow, 0..1.
    veil : opacity of cirrus and haze, which no mask and no percentage counts, 0..0.3; None where there is none.
    """

    excess: np.ndarray
    alpha: np.ndarray
    shadow: np.ndarray
    veil: np.ndarray | None = None


#: Tells for x (1, w) and y (h, 1) in metres what is seen.
Seen = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Clouds:
    """The cloud field of one overpass over one granule.

    ``seen`` tells for x (1, w) and y (h, 1) in metres what the swath covers, None for all of the granule.
    """

    def __init__(self, key: int, cover: float, granule: Box, zenith: float, azimuth: float,
                 seen: Seen | None = None) -> None:
        self.seed, self.cover, self.granule, self.seen = key, cover, granule, seen
        reach = min(_HEIGHT * math.tan(math.radians(min(zenith, 70.0))), 3_000.0) / (NODE * LATTICE_STEP)
        #: Nodes from a shadow to its cloud: towards the sun.
        self.shift = (-round(reach * math.cos(math.radians(azimuth))), round(reach * math.sin(math.radians(azimuth))))

        few = draw(key, "cumulus")
        share = _CUMULUS_MOST * (few / _CUMULUS_SHARE) ** 2
        #: The cumulus field above which there is cloud, and the opacity of a veil at its thickest; None without.
        self.cumulus = NormalDist().inv_cdf(1 - share) if share > 1e-4 and few < _CUMULUS_SHARE else None
        thin = draw(key, "veil")
        self.veil = _VEIL_MOST * (0.2 + 0.8 * thin / _VEIL_SHARE) if thin < _VEIL_SHARE else None

    def _field(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return fbm([self.seed], _OCTAVES, rows, cols)[0]

    def _excess(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """The field less its threshold, or the cumulus's where that is higher."""
        field = self._field(rows, cols)
        field -= np.float32(self.threshold)
        if self.cumulus is not None:
            small = fbm([seed_of(self.seed, "cumulus")], _CUMULUS, rows, cols)[0]
            small -= np.float32(self.cumulus)
            small *= _CUMULUS_SOFT
            np.maximum(field, small, out=field)
        return field

    def _samples(self, seen: Seen | None) -> np.ndarray:
        """The field at every 12th node of the granule, as far as it is seen."""
        g, step = self.granule, float(NODE * LATTICE_STEP)
        rows = np.arange(g.row // NODE, (g.row + g.height) // NODE, _SAMPLE)
        cols = np.arange(g.col // NODE, (g.col + g.width) // NODE, _SAMPLE)
        values = self._field(rows, cols)
        return values if seen is None else values[seen(cols[None, :] * step, LATTICE_NORTH - rows[:, None] * step)]

    @functools.cached_property
    def threshold(self) -> float:
        """The field's quantile over what is seen of the granule that leaves ``cover`` percent above it."""
        if self.cover <= 0:
            return 99.0
        if self.cover >= 100:
            return -99.0
        values = np.sort(self._samples(self.seen), axis=None)
        if not len(values):
            return 99.0
        return float(values[min(int((1 - self.cover / 100) * len(values)), len(values) - 1)])

    def share_of(self, seen: Seen) -> float:
        """Cloudy share (0..1) of a part of the granule."""
        values = self._samples(seen)
        return float(np.mean(values >= self.threshold)) if len(values) else self.cover / 100

    def share(self, box: Box) -> float:
        """Cloudy share (0..1) of a box, from every second node."""
        rows, cols = node_range(box.row, box.height, NODE), node_range(box.col, box.width, NODE)
        return float(np.mean(self._excess(rows[::2], cols[::2]) > 0))

    def sky(self, box: Box, factor: int) -> Sky | None:
        """Clouds over a lattice box in pixels of ``factor`` lattice steps (1, 2 or 6)."""
        dr, dc = self.shift
        rows, cols = node_range(box.row, box.height, NODE), node_range(box.col, box.width, NODE)
        all_rows = np.arange(rows[0] + min(dr, 0), rows[-1] + max(dr, 0) + 1)
        all_cols = np.arange(cols[0] + min(dc, 0), cols[-1] + max(dc, 0) + 1)
        field = self._excess(all_rows, all_cols)
        veil = self._veil(box, rows, cols, factor)
        if field.max() < -MASK_MARGIN - _SOFT:
            if veil is None:
                return None
            none = np.broadcast_to(np.float32(0), veil.shape)
            return Sky(np.broadcast_to(np.float32(-9), veil.shape), none, none, veil)
        r, c = max(-dr, 0), max(-dc, 0)
        here = field[r:r + len(rows), c:c + len(cols)]
        there = field[r + dr:r + dr + len(rows), c + dc:c + dc + len(cols)]
        excess, alpha = self._alpha(here, box, factor)
        _, shadow = self._alpha(there, box, factor)
        return Sky(excess, alpha, shadow, veil)

    def _veil(self, box: Box, rows: np.ndarray, cols: np.ndarray, factor: int) -> np.ndarray | None:
        if self.veil is None:
            return None
        nodes = fbm([seed_of(self.seed, "veil")], _VEIL, rows, cols)[0]
        nodes *= np.float32(self.veil / 2)  # two standard deviations are the thickest
        np.clip(nodes, 0, np.float32(self.veil), out=nodes)
        if not nodes.any():
            return None
        return box_mean(upsample(nodes, NODE, box.row, box.col, box.height, box.width), factor)

    def _alpha(self, nodes: np.ndarray, box: Box, factor: int) -> tuple[np.ndarray, np.ndarray]:
        excess = box_mean(upsample(nodes, NODE, box.row, box.col, box.height, box.width), factor)
        alpha = excess * np.float32(1 / _SOFT)
        alpha += np.float32(0.5)
        np.clip(alpha, 0, 1, out=alpha)
        return excess, alpha
