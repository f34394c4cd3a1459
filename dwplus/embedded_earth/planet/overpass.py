"""One Sentinel-2 granule at one overflight: times, names, cloud, and what is seen of it."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet.landscape import (
    Box,
    Cache,
    Landscape,
)
from dwplus.embedded_earth.planet.noise import draw, seed_of
from dwplus.embedded_earth.planet.orbits import (
    GRANULE_SIZE,
    S2_HALF_SWATH,
    S2_LOCAL_HOUR,
    Footprint,
    Granule,
    Pass,
    stamp,
)
from dwplus.embedded_earth.planet.weather import Clouds, Sky, cloud_cover, sun

#: Shares of scenes without Level 2A, (until, share) outside and in Europe.
_SR_HOLES = ([(dt.date(2017, 3, 28), 1.0), (dt.date(2018, 12, 15), 0.55)],
             [(dt.date(2017, 3, 28), 1.0), (dt.date(2018, 3, 26), 0.30), (dt.date(2018, 12, 15), 0.10)])
#: Cloud covers of half products (by overpass, tile and datastrip) that are kept: they cost a look at the sky.
_HALF_COVERS: Cache[float] = Cache(4096)


@dataclass(frozen=True)
class Overpass:
    """What the optical collections share: one granule, or one datastrip's half of it, at one overflight.

    ``strip`` is the datastrip (0 the pass's first, 1 that after a ``border``);
    ``ends`` are the distances along the track between which a half lies, None where the granule is whole. ``copy`` is 1
    for what was processed anew and stands beside the first product.
    """

    landscape: Landscape
    seed: int
    granule: Granule
    footprint: Footprint
    cut: bool
    flight: Pass
    skies: Cache[tuple[Sky | None]]
    strip: int = 0
    border: float | None = None
    ends: tuple[float, float] | None = None
    copy: int = 0

    @functools.cached_property
    def key(self) -> int:
        return seed_of(self.seed, self.granule.site.name, self.flight.track.key, self.flight.day.toordinal())

    @functools.cached_property
    def datatake(self) -> int:
        """Start of the datatake in milliseconds, 40 to 250 s before the pass of the site.

        The last digit of its second tells the satellite: B 9, C 1, A 1 from 2017 on and 2 before (seen in names of real
        products, not documented).
        """
        lead = 40 + seed_of(self.granule.site.name, self.flight.track.key) % 200
        digit = {"A": 1 if self.flight.day.year >= 2017 else 2, "B": 9, "C": 1}[self.flight.platform]
        return (self.flight.time - lead * 1000) // 10_000 * 10_000 - (10 - digit) * 1000

    @functools.cached_property
    def time(self) -> int:
        """Sensing time of the granule, milliseconds: southern granules come later (6.7 km/s)."""
        return self.flight.time + int((self.granule.site.center[1] - self.granule.north - 50_000) / 6.7)

    @functools.cached_property
    def whole_cover(self) -> float:
        """Cloudy share of all that the pass sees of the granule, percent."""
        return cloud_cover(self.granule.site, self.seed, self.flight.day, self.flight.track.key, self.granule.tile)

    @functools.cached_property
    def cover(self) -> float:
        """Cloudy share of the product, percent; of a half, its own."""
        if self.ends is None:
            return self.whole_cover
        return _HALF_COVERS.get((self.key, self.granule.tile, self.strip), 1,
                                lambda: round(100 * self.clouds.share_of(self._inside), 6))

    @functools.cached_property
    def sun(self) -> tuple[float, float]:
        return sun(self.granule.site.lat, self.flight.day, S2_LOCAL_HOUR)

    @functools.cached_property
    def index(self) -> str:
        """``system:index`` of the top-of-atmosphere scene: starts of the datatake and of the datastrip."""
        return f"{stamp(self.datatake)}_{stamp(self.second)}_T{self.granule.tile}"

    @functools.cached_property
    def second(self) -> int:
        """The second time in the id, milliseconds: the datastrip's start, some seconds after the datatake's or before
        it, now and then minutes after; hours in the processing of before mid 2016."""
        if self.strip and self.border is not None:
            second = self.flight.time + int(self.border / 6.7)
        else:
            u, v = draw(self.key, "second"), draw(self.key, "second", 1)
            late = 0.0 if u < 0.35 else 1 + 15 * v if u < 0.80 or self.border is not None else (
                16 + 160 * v if u < 0.92 else -1 - 5 * v)
            second = self.datatake + int(late) * 1000
        if self.flight.day < dt.date(2016, 6, 1):
            second += (7_200 + seed_of(self.key, "processing") % 20_000) * 1000
        return second + self.copy * (3 + self.key % 5) * 1000

    @property
    def reprocessed(self) -> bool:
        """Whether a product of a later baseline stands beside this one: 2 % of those of before 2022.

        That the archive holds two baselines of one sensing is public (cirrus-earth-search issue 4); how often, and that
        their ids then differ in the second time, is ours.
        """
        return self.flight.day < dt.date(2022, 1, 1) and draw(self.key, "anew", self.granule.tile) < 0.02

    @functools.cached_property
    def sr_index(self) -> str | None:
        """``system:index`` of the surface reflectance twin, or None where there is none.

        Before 2017-03-28 there is no Level 2A, until the end of 2018 it is not global (Earth Engine catalogue; ESA's
        began with Europe in March 2018 and was global in December): the shares that miss are ours. Later about 3 %
        miss, and 1 % carry another second stamp.
        """
        u = draw(self.key, "twin", self.granule.tile, self.strip) if self.strip else draw(
            self.key, "twin", self.granule.tile)
        day, europe = self.flight.day, self.granule.site.european
        missing = next((share for until, share in _SR_HOLES[europe] if day < until), 0.03)
        if u < missing:
            return None
        if u > 0.99:
            return f"{stamp(self.datatake)}_{stamp(self.datatake + 431_000 + self.copy * 3_000)}_T{self.granule.tile}"
        return self.index

    @functools.cached_property
    def clouds(self) -> Clouds:
        g = self.granule
        n = GRANULE_SIZE // 10
        return Clouds(seed_of(self.key, "clouds"), self.whole_cover, self.landscape.box(g.ulx, g.uly, n, n), *self.sun,
                      seen=self._in_swath if self.cut else None)

    def _in_swath(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside: np.ndarray = np.abs(self.flight.track.from_middle(x, y)) <= S2_HALF_SWATH
        return inside

    def _inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What lies within the swath and within the half."""
        inside = self._in_swath(x, y)
        if self.ends is not None:
            along = self.flight.track.along_track(x, y)
            inside &= (along >= self.ends[0]) & (along < self.ends[1])
        return inside

    def sky(self, box: Box, factor: int) -> Sky | None:
        return self.skies.get((self.key, self.granule.tile, box, factor), box.pixels // factor ** 2,
                              lambda: (self.clouds.sky(box, factor),))[0]

    def box(self, window: Window, scale: int) -> Box:
        """The lattice box under a window of the granule's grid of ``scale`` metres."""
        g = self.granule
        return self.landscape.box(g.ulx + window.col * scale, g.uly - window.row * scale, window.height, window.width,
                                  scale)

    def valid(self, window: Window, scale: int) -> np.ndarray | None:
        """Which pixels lie within the swath and the half; None for all."""
        if not self.cut:
            return None
        x = self.granule.ulx + (np.arange(window.col, window.col + window.width) + 0.5)[None, :] * scale
        y = self.granule.uly - (np.arange(window.row, window.row + window.height) + 0.5)[:, None] * scale
        track = self.flight.track
        corners = x[:, [0, -1]], y[[0, -1]]
        whole = np.abs(track.from_middle(*corners)).max() <= S2_HALF_SWATH
        if whole and self.ends is not None:
            along = track.along_track(*corners)
            whole = along.min() >= self.ends[0] and along.max() < self.ends[1]
        return None if whole else self._inside(x, y)

    def properties(self, index: str) -> dict[str, Any]:
        """Properties all optical collections share, with the names of Earth Engine's catalogue."""
        zenith, azimuth = self.sun
        return {
            "system:index": index, "system:time_start": self.time, "system:time_end": self.time,
            "system:footprint": self.footprint.geojson(), "MGRS_TILE": self.granule.tile,
            "CLOUDY_PIXEL_PERCENTAGE": self.cover, "SENSING_ORBIT_NUMBER": self.flight.relative_orbit,
            "SENSING_ORBIT_DIRECTION": "DESCENDING", "SPACECRAFT_NAME": f"Sentinel-2{self.flight.platform}",
            "MEAN_SOLAR_ZENITH_ANGLE": round(zenith, 6), "MEAN_SOLAR_AZIMUTH_ANGLE": round(azimuth, 6),
        }
