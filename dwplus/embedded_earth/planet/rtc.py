"""OPERA RTC-S1 on the planet: gamma nought of a burst, 30 m, linear power, slopes flattened, with its mask.

Sources: https://developers.google.com/earth-engine/datasets/catalog/OPERA_RTC_L2_V1_S1 (bands, codes, properties,
years), nasa/opera-sds issues 83, 102 and 160 (what is processed), names of products of opera-adt/RTC.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.constellation import DAY_MS, S1_CYCLE, S1_EPOCH, S1_SERVICES, s1_orbit
from dwplus.embedded_earth.planet.landscape import Landscape
from dwplus.embedded_earth.planet.noise import TABLE_BITS, box_mean, draw, hash_grid, seed_of
from dwplus.embedded_earth.planet.orbits import (
    SLICE_LENGTH,
    SLICE_SECONDS,
    Footprint,
    Pass,
    Track,
    ms_of,
    site_area,
    stamp,
)
from dwplus.embedded_earth.planet.patches import Box
from dwplus.embedded_earth.planet.sentinel1 import (
    ANGLES,
    FLOOR,
    MIDDLE_ANGLE,
    gamma_quantiles,
    polarisations_of,
    sigma_table,
    silent,
    slope_table,
)
from dwplus.embedded_earth.planet.terrain import (
    ANGLE_STEP,
    RISE_STEPS,
    SLOPE_UNIT,
    gain_table,
    in_layover,
    in_shadow,
    lean_table,
    stretch_tables,
)

COLLECTION, STATIC = "OPERA/RTC/L2_V1/S1", "OPERA/RTC/L2_V1/S1_STATIC"
#: Bands of the static layers beside ``mask``; all are dated this day.
STATIC_BANDS = ("local_incidence_angle", "incidence_angle", "number_of_looks", "rtc_anf_gamma0_to_beta0",
                "rtc_anf_gamma0_to_sigma0")
_STATIC_DAY = dt.date(2014, 4, 3)
#: Radar samples in a pixel at the near edge, and more of them a degree: the catalogue's picture goes from 15 to 19.
_SAMPLES = (15.0, 4 / 15.5)
#: Metres a pixel, and pixels of the planet's lattice in it, a side.
SCALE, CELLS = 30, 3
#: First day of the products, and of those of each satellite. Sentinel-1D is not processed yet.
FIRST = {"A": dt.date(2016, 4, 14), "B": dt.date(2016, 4, 14), "C": dt.date(2025, 5, 19)}
#: From this day on all passes are processed; before, a part of them. That it is so is public, the shares are ours.
WHOLE_FROM = dt.date(2022, 1, 1)
_SHARE_EARLY, _SHARE = 0.6, 0.97
#: Share of bursts that miss in a pass that is there, and of those that are listed twice, made anew later (the archive
#: has such: opera-sds, edge cases); ours.
_MISSING, _TWICE = 0.005, 0.02
#: Seconds from one burst of a sub-swath to its next, from the ascending node to the first, and from one sub-swath's
#: burst to the next one's. Source: ESA, Sentinel-1 SLC algorithm definition (by s1-reader); dwell times of the beams.
BURST_SECONDS, _PREAMBLE, BEAM_SECONDS = 2.758273, 2.299849, (0.0, 0.82, 1.88)
_SPEED = SLICE_LENGTH / SLICE_SECONDS
#: Metres along the track that a burst holds, a tenth more than to the next one; metres by which sub-swaths overlap.
BURST_LENGTH, _OVERLAP = 20_500.0, 3_000.0
#: Equivalent number of looks of a pixel of 30 m: the catalogue shows 15 to 19 radar samples in one.
LOOKS = 15.0
#: What is hidden from the sensor, or seen at a grazing angle, has at least this cosine: gamma nought stays finite.
_LEAST_COSINE = 0.05
#: Steps of the table from dB to power, hundredths of dB from here on.
_LOWEST_DB, _DB_STEPS = -60.0, 10_000
#: Codes of ``mask``, beside 0, valid, and 3, both.
SHADOW, LAYOVER, INVALID = 1, 2, 255


@functools.cache
def _power() -> np.ndarray:
    """Linear power of dB by hundredths from :data:`_LOWEST_DB`, float32: no pixel's bits depend on its neighbours."""
    return (10 ** ((_LOWEST_DB + np.arange(_DB_STEPS) / 100) / 10)).astype(np.float32)


@functools.cache
def _grains() -> np.ndarray:
    return gamma_quantiles(LOOKS, 1 << TABLE_BITS).astype(np.float32)


@functools.cache
def _views() -> tuple[np.ndarray, np.ndarray]:
    """By (incidence angle by quarters, rise): sin(theta) rise + cos(theta), float32; codes of shadow and layover."""
    near, far = ANGLES["IW"]
    theta = np.arange(near, far + 2 * ANGLE_STEP, ANGLE_STEP)[:, None] + ANGLE_STEP / 2
    rise = np.arange(-RISE_STEPS, RISE_STEPS + 1)[None, :] / SLOPE_UNIT
    angle = np.radians(theta)
    codes = in_shadow(theta, rise) * SHADOW + in_layover(theta, rise) * LAYOVER
    return (np.sin(angle) * rise + np.cos(angle)).astype(np.float32), codes.astype(np.uint8)


@dataclass(frozen=True)
class Burst:
    """A piece of a sub-swath: the same ground on every pass of its track.

    Attributes
    ----------
    swath : 1 to 3. number : ESA's, from the first ascending node of the cycle on. start : metres along the track from
        the site's centre.
    """

    track: Track
    swath: int
    number: int
    start: float

    @property
    def ends(self) -> tuple[float, float]:
        """Metres from the middle of the swath, near and far."""
        width = (2 * self.track.half_swath + 2 * _OVERLAP) / 3
        near = (self.swath - 1) * (width - _OVERLAP) - self.track.half_swath
        return near, near + width

    @functools.cached_property
    def outline(self) -> shapely.Geometry:
        """Polygon, metres, as far as the site's scenes reach."""
        x, y = self.track.site.center
        (ax, ay), (lx, ly) = self.track.along, self.track.across
        near, far = (end - self.track.offset for end in self.ends)
        corners = [(s, t) for s, t in ((self.start, near), (self.start + BURST_LENGTH, near),
                                       (self.start + BURST_LENGTH, far), (self.start, far))]
        whole = shapely.Polygon([(x + s * ax + t * lx, y + s * ay + t * ly) for s, t in corners])
        low, high = self.track.site.reach
        return shapely.intersection(whole, shapely.box(max(low, -1e7), -1e7, min(high, 1e7), 2e7))

    @functools.cached_property
    def grid(self) -> tuple[int, int, int, int]:
        """(x0, y0, height, width): corner in metres, multiples of 30, and size in pixels."""
        west, south, east, north = self.outline.bounds
        x0, y0 = math.floor(west / SCALE) * SCALE, math.ceil(north / SCALE) * SCALE
        return x0, y0, math.ceil((y0 - south) / SCALE), math.ceil((east - x0) / SCALE)

    @functools.cached_property
    def footprint(self) -> Footprint:
        ring = np.array(shapely.geometry.polygon.orient(self.outline).exterior.coords)
        return Footprint.of(self.track.site.epsg, ring, 8)


@functools.lru_cache(maxsize=256)
def bursts(track: Track, seed: int) -> tuple[Burst, ...]:
    """The bursts of a track that reach the site's area; none of what is no IW."""
    if track.mode != "IW":
        return ()
    step = BURST_SECONDS * _SPEED
    first = draw(seed_of(seed, track.site.name, "bursts", track.key)) * step
    since = (track.phase * DAY_MS + track.second * 1000 - S1_EPOCH.timestamp() * 1000) % (S1_CYCLE[0] * DAY_MS)
    base = 1 + int((since / 1000 + first / _SPEED - _PREAMBLE) // BURST_SECONDS)
    area, found = site_area(track.site), []
    for k in range(-5, 6):
        for swath, late in enumerate(BEAM_SECONDS, 1):
            burst = Burst(track, swath, base + k, first + k * step + late * _SPEED)
            if shapely.intersection(burst.outline, area).area > 1e6:
                found.append(burst)
    return tuple(found)


def processed(flight: Pass, seed: int) -> bool:
    """Whether a pass has products at all."""
    first = FIRST.get(flight.platform)
    if first is None or flight.day < first or flight.track.mode != "IW" or silent(flight, seed):
        return False
    share = _SHARE if flight.day >= WHOLE_FROM else _SHARE_EARLY
    return draw(seed_of(seed, flight.track.site.name, flight.track.key, flight.day.toordinal()), "rtc") < share


def _burst_id(track: int, burst: Burst) -> str:
    return f"T{track:03d}-{burst.number:06d}-IW{burst.swath}"


@functools.lru_cache(maxsize=2048)
def _bands(epsg: int, grid: tuple[int, int, int, int], polarisations: tuple[str, ...]) -> tuple[BandSpec, ...]:
    x0, y0, height, width = grid
    transform = (SCALE, 0, x0, 0, -SCALE, y0)
    return (*(BandSpec(name, "float", f"EPSG:{epsg}", transform, width, height) for name in polarisations),
            BandSpec("mask", "int", f"EPSG:{epsg}", transform, width, height, 0, 255, "mode"))


@dataclass(frozen=True)
class _View:
    """What a track sees of a window of a burst: ``valid`` and ``code`` (h, w) by pixel of 30 m; by cell of 10 m the
    incidence angle (degrees), ``lean`` (that angle on the slope, from the middle one), the cosine of the local
    incidence angle, what lies in shadow (None for level land) and the ground's area over that of flat ground, dB,
    where it was asked for."""

    box: Box
    valid: np.ndarray
    code: np.ndarray
    angle: np.ndarray
    lean: np.ndarray
    cosine: np.ndarray
    hidden: np.ndarray | None
    gain: np.ndarray | None


def _seen(landscape: Landscape, burst: Burst, window: Window, gains: bool = False) -> _View:
    """The view of a window; with ``gains`` also the ground's area in a cell over that of flat ground, dB."""
    x0, y0, _, _ = burst.grid
    h, w, track = window.height, window.width, burst.track
    left, top = x0 + SCALE * window.col, y0 - SCALE * window.row
    x = left + (np.arange(w) + 0.5)[None, :] * SCALE
    y = top - (np.arange(h) + 0.5)[:, None] * SCALE
    along, middle = track.along_track(x, y), track.from_middle(x, y)
    (near, far), (low, high) = burst.ends, track.site.reach
    valid = (along >= burst.start) & (along < burst.start + BURST_LENGTH) & (middle >= near)
    valid &= (middle < far) & (x >= low) & (x < high)
    box = landscape.box(left, top, h * CELLS, w * CELLS)
    patch = landscape.patch(box)
    where = patch.box.slices(box)
    cells_x = left + (np.arange(w * CELLS) + 0.5)[None, :] * (SCALE / CELLS)
    cells_y = top - (np.arange(h * CELLS) + 0.5)[:, None] * (SCALE / CELLS)
    low_angle, high_angle = ANGLES["IW"]
    angle = track.from_middle(cells_x, cells_y).astype(np.float32)
    angle *= np.float32((high_angle - low_angle) / 2 / track.half_swath)
    angle += np.float32((high_angle + low_angle) / 2)
    faces, codes = _views()
    place = ((angle - np.float32(low_angle)) * np.float32(1 / ANGLE_STEP)).astype(np.intp)
    np.clip(place, 0, len(faces) - 1, out=place)
    place *= faces.shape[1]
    lean = angle - np.float32(MIDDLE_ANGLE)
    slope = patch.slope
    if slope is None:
        return _View(box, valid, np.zeros((h, w), np.uint8), angle, lean, faces.take(place + RISE_STEPS), None, None)
    lx, ly = track.across
    rise = slope.east[where] * np.float32(lx)
    rise += slope.north[where] * np.float32(ly)
    rise += np.float32(RISE_STEPS + 0.5)
    step = rise.astype(np.intp)
    lean -= lean_table().take(step)
    place += step
    stretch = slope.stretch[where]
    of_cell = codes.take(place)
    gain = gain_table(low_angle, high_angle).take(place) + stretch_tables()[0].take(stretch) if gains else None
    return _View(box, valid, np.bitwise_or.reduce(of_cell.reshape(h, CELLS, w, CELLS), axis=(1, 3)), angle, lean,
                 faces.take(place) * stretch_tables()[1].take(stretch), of_cell == SHADOW, gain)


class RtcScene:
    """A burst of a pass: VV, VH (HH, HV) in linear power, float32, and ``mask``: 0 valid, 1 shadow, 2 layover, 3 both,
    255 invalid. What is in layover or shadow has values all the same."""

    def __init__(self, landscape: Landscape, seed: int, flight: Pass, burst: Burst, again: bool = False) -> None:
        self.landscape, self.seed, self.flight, self.burst = landscape, seed, flight, burst
        self.polarisations = polarisations_of(flight, seed)
        self.time = flight.time + int(burst.start / _SPEED * 1000)
        self.key = seed_of(seed, "rtc", flight.track.site.name, flight.track.key, flight.day.toordinal(), burst.number,
                           burst.swath)
        self.burst_id = _burst_id(flight.relative_orbit, burst)
        # earlier years were processed later
        made = max(self.time, 1_735_689_600_000) + DAY_MS + self.key % (3 * DAY_MS) + again * 30 * DAY_MS
        self.made = made // 1000 * 1000
        self.index = (f"OPERA_L2_RTC-S1_{self.burst_id}_{stamp(self.time)}Z_{stamp(self.made)}Z_S1{flight.platform}_30_"
                      "v1_0")
        self.id = f"{COLLECTION}/{self.index}"
        self.bands = _bands(flight.track.site.epsg, burst.grid, self.polarisations)

    @property
    def bounds(self) -> Bounds:
        return self.burst.footprint.bounds

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        f, made = self.flight, stamp(self.made)
        kind = "1SDV" if "VH" in self.polarisations else "1SDH" if "HH" in self.polarisations else "1SSV"
        take = seed_of(f.orbit, f.platform, "datatake") & 0xFFFFF
        start = self.time // 1000 * 1000 - 10_000
        slc = (f"S1{f.platform}_IW_SLC__{kind}_{stamp(start)}_{stamp(start + 27_000)}_{f.orbit:06d}_{take:06X}_"
               f"{self.key & 0xFFFF:04X}")
        return {
            "system:index": self.index, "system:time_start": self.time, "system:time_end": self.time + 3_000,
            "system:footprint": self.burst.footprint.geojson(), "ABSOLUTE_ORBIT_NUMBER": f.orbit,
            "ACQUISITION_MODE": "Interferometric Wide (IW)", "BURST_ID": self.burst_id,
            "INPUT_L1_SLC_GRANULES": [slc], "INSTRUMENT_NAME": "Sentinel-1 CSAR", "LOOK_DIRECTION": "right",
            "ORBIT_PASS_DIRECTION": "ascending" if f.track.ascending else "descending",
            "POLARIZATIONS": list(self.polarisations), "PROCESSING_TYPE": "NOMINAL", "PRODUCT_VERSION": "1.0",
            "PROCESSING_DATETIME": f"{made[:4]}-{made[4:6]}-{made[6:11]}:{made[11:13]}:{made[13:15]}Z",
            "SUB_SWATH_ID": f"IW{self.burst.swath}", "TRACK_NUMBER": f.relative_orbit,
        }

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels; outside the burst the power is masked and ``mask`` is 255."""
        x0, y0, _, _ = self.burst.grid
        h, w = window.height, window.width
        view = _seen(self.landscape, self.burst, window)
        cover = self.landscape.cover(view.box, self.flight.day)
        where = cover.patch.box.slices(view.box)
        lean, cosine = view.lean, np.maximum(view.cosine, np.float32(_LEAST_COSINE))
        valid, code, hidden = view.valid, view.code, view.hidden
        rows, cols = np.arange(h) + window.row - y0 // SCALE, np.arange(w) + window.col + x0 // SCALE
        index, label = cover.index[where].astype(np.intp), cover.label[where]
        whole = None if valid.all() else valid
        result: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for name in bands:
            if name == "mask":
                result[name] = np.where(valid, code, np.uint8(INVALID)), None
                continue
            level = sigma_table(self.landscape, self.seed, self.flight, name).take(index, mode="clip")
            level += slope_table(name).take(label, mode="clip") * lean
            level -= np.float32(_LOWEST_DB)
            level *= np.float32(100)
            power = _power().take(level.astype(np.intp), mode="clip")
            power /= cosine
            if hidden is not None:  # nothing comes back from there but thermal noise
                np.copyto(power, np.float32(10 ** (FLOOR[name in ("VH", "HV")] / 10)), where=hidden)
            grain = hash_grid(seed_of(self.key, name), rows, cols) >> np.uint32(32 - TABLE_BITS)
            found = box_mean(power, CELLS) * _grains().take(grain)
            if whole is not None:
                found[~valid] = 0
            result[name] = found, whole
        return result


def scenes(landscape: Landscape, seed: int, flight: Pass, found: tuple[Burst, ...]) -> Iterator[RtcScene]:
    """The products of a pass: one a burst, some listed twice, made anew."""
    if not processed(flight, seed):
        return
    for burst in found:
        scene = RtcScene(landscape, seed, flight, burst)
        if draw(scene.key, "missing") >= _MISSING:
            yield scene
            if draw(scene.key, "twice") < _TWICE:
                yield RtcScene(landscape, seed, flight, burst, again=True)


class RtcStaticScene:
    """What of a burst does not change: angles (degrees), radar samples in a pixel, the factors from gamma nought to
    beta nought and to sigma nought (they multiply), and the codes of ``mask``."""

    def __init__(self, landscape: Landscape, burst: Burst) -> None:
        self.landscape, self.burst = landscape, burst
        track = burst.track
        _, relative = s1_orbit(S1_SERVICES[0], track.phase * DAY_MS + track.second * 1000)
        self.burst_id = _burst_id(relative, burst)
        self.index = f"OPERA_L2_RTC-S1-STATIC_{self.burst_id}_20140403_S1A_30_v1_0"
        self.id = f"{STATIC}/{self.index}"
        self.relative_orbit = relative
        mask, = (band for band in _bands(track.site.epsg, burst.grid, ()) if band.id == "mask")
        self.bands: tuple[BandSpec, ...] = (*(replace(mask, id=name, precision="float", minimum=None, maximum=None,
                                                      pyramid="mean") for name in STATIC_BANDS), mask)

    @property
    def time(self) -> int:
        return ms_of(_STATIC_DAY)

    @property
    def bounds(self) -> Bounds:
        return self.burst.footprint.bounds

    @property
    def properties(self) -> dict[str, Any]:
        return {"system:index": self.index, "system:time_start": self.time, "system:time_end": self.time + DAY_MS,
                "system:footprint": self.burst.footprint.geojson(), "BURST_ID": self.burst_id,
                "ORBIT_PASS_DIRECTION": "ascending" if self.burst.track.ascending else "descending",
                "SUB_SWATH_ID": f"IW{self.burst.swath}", "TRACK_NUMBER": self.relative_orbit,
                "LOOK_DIRECTION": "right", "PRODUCT_VERSION": "1.0"}

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels; outside the burst all but ``mask`` are masked."""
        view = _seen(self.landscape, self.burst, window, gains=True)
        theta = np.radians(view.angle.astype(np.float64))
        cosine = np.clip(view.cosine, -1, 1).astype(np.float64)
        seen = np.maximum(cosine, _LEAST_COSINE) * (1 if view.gain is None else 10 ** (view.gain / 10.0))
        layers: dict[str, np.ndarray] = {
            "local_incidence_angle": np.degrees(np.arccos(cosine)), "incidence_angle": np.degrees(theta),
            "number_of_looks": np.rint(_SAMPLES[0] + (np.degrees(theta) - ANGLES["IW"][0]) * _SAMPLES[1]),
            "rtc_anf_gamma0_to_beta0": seen / np.sin(theta), "rtc_anf_gamma0_to_sigma0": seen}
        whole = None if view.valid.all() else view.valid
        result: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for name in bands:
            if name == "mask":
                result[name] = np.where(view.valid, view.code, np.uint8(INVALID)), None
                continue
            # rounded, for such functions may differ in their last bit from window to window
            found = np.round(box_mean(layers[name], CELLS), 5).astype(np.float32)
            found[~view.valid] = 0
            result[name] = found, whole
        return result
