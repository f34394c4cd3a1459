"""Sentinel-1 GRD scenes: sigma nought in dB from class, state of the ground, incidence angle and speckle."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.landscape import (
    BARE,
    BLENDS,
    BUILT,
    CLASS_COUNT,
    CROPS,
    FLOODED,
    GRASS,
    SHRUB,
    SNOW,
    TREES,
    VIGORS,
    WATER,
    Landscape,
)
from dwplus.embedded_earth.planet.noise import TABLE_BITS, draw, draw_normal, hash_grid, seed_of
from dwplus.embedded_earth.planet.orbits import SLICE_LENGTH, SLICE_SECONDS, Pass, Slice, Track, stamp
from dwplus.embedded_earth.planet.patches import Box, Slope
from dwplus.embedded_earth.planet.terrain import ANGLE_STEP, RISE_STEPS, gain_table, lean_table, stretch_tables
from dwplus.embedded_earth.planet.weather import rain, wind

COLLECTION = "COPERNICUS/S1_GRD"
#: Equivalent number of looks of IW GRD high resolution. Source: ESA Sentinel-1 product specification, table "IW GRD".
LOOKS = 4.4
#: Sigma nought (VV, VH) in dB at the middle incidence angle; typical C-band values (Ulaby & Dobson, Handbook of Radar
#: Scattering Statistics, 1989, and published Sentinel-1 class statistics). Flooded woods: +4.2 dB VV by double bounce.
_SIGMA: dict[int, tuple[float, float]] = {
    WATER: (-22.0, -29.0), TREES: (-8.4, -14.2), GRASS: (-12.6, -19.6), FLOODED: (-4.2, -12.6), CROPS: (-12.0, -18.8),
    SHRUB: (-11.6, -17.4), BUILT: (-5.6, -13.2), BARE: (-13.6, -21.8), SNOW: (-12.5, -20.0),
}
#: Flooded vegetation without wood: stems of sedge and reed over water, a weaker double bounce.
_MARSH = (-8.2, -17.0)
#: Change with incidence angle, dB per degree, by class (VV; VH half): steep on water, flat in volumes.
_SLOPE = {WATER: -0.55, TREES: -0.10, GRASS: -0.16, FLOODED: -0.16, CROPS: -0.15, SHRUB: -0.13, BUILT: -0.10,
          BARE: -0.22, SNOW: -0.15}
#: Spread of the within-class state, dB from the poorest to the richest.
_STATE_DB = {WATER: 1.0, TREES: 1.6, GRASS: 2.5, FLOODED: 2.0, CROPS: 4.5, SHRUB: 2.5, BUILT: 4.0, BARE: 3.5, SNOW: 3.0}
#: Vigors of built pixels (of 32) with a corner reflector, and how much it adds (dB).
_CORNERS, _CORNER_DB = 2, 9.0
#: Incidence angles (degrees) at the near and far edge. Source: ESA, IW 29.1 to 46.0 and EW 18.9 to 47.0 at beam edges.
ANGLES = {"IW": (30.5, 46.0), "EW": (19.0, 47.0)}
MIDDLE_ANGLE = 38.25
#: Noise floor (NESZ) in dB, VV and VH. Source: ESA, better than -22; measured about -24 and -27 mid-swath.
FLOOR = (-25.5, -27.5)
#: Before this day the near and far edges carry a strip of noise that no mask removes; later a part of the slices still
#: does, a narrow one. Source: ESA, MPC-0243 (near-zero samples that are not zero, in all products of before March 2018)
#: and the handling of IPF 2.90 from 2018-03-13 on; Sensors 18:3454 (a large part of the later products is clean).
BORDER_FIX = dt.date(2018, 3, 13)
_BORDER_LATER, _NARROW = 0.10, 0.25
#: Width of that strip in metres (least, most): it varies along the track, and is not parallel to the side. Its level in
#: dB is not established; ESA says near zero, and that it overlaps dark water: mean and spread over slices are ours.
_BORDER, _BORDER_DB = (400.0, 4_000.0), (-36.0, 4.0)
#: Metres along the track between the points where that width is drawn.
_BORDER_STEP = 6_000.0
#: Metres that miss between one slice and the next, for each is geocoded for itself: about a pixel.
_SEAM = 6.0
#: Cross-polarised pixels so far below the noise floor, dB, are lost where thermal noise is taken off: what is left is
#: not positive. Seen as holes in dark water; the number is ours.
_HOLE_DB = np.float32(-4.0)
#: Share of slices that miss; ours.
_MISSING = 0.03
#: VV alone flew mixed with VV and VH on one track until mid 2017, mostly on the lesser tracks: the shares of passes on
#: the first track of a site and on the others are ours. Source: nasa/opera-sds issues 19 and 25.
_SINGLE, _SINGLE_UNTIL = (0.05, 0.45), dt.date(2017, 7, 1)
#: With A alone, whole regions had no scenes for months of 2022; which sites and days is ours.
#: Source: microsoft/PlanetaryComputer issue 266.
_SILENT_SHARE, _SILENT = 0.25, (dt.date(2022, 2, 1), dt.date(2022, 8, 31))
#: North of this latitude and in these months the lesser IW tracks are flown in HH and HV, as ESA plans for sea ice; how
#: often is ours.
_ICE_LATITUDE, _ICE_MONTHS = 66.0, (11, 12, 1, 2, 3, 4)


def gamma_quantiles(looks: float, count: int) -> np.ndarray:
    """Quantiles of a Gamma distribution of unit mean at the mid points of ``count`` equal classes (float64).

    By inverting the cumulated density on a fine grid; the mean of the table is set to exactly one.
    """
    x = np.linspace(1e-6, 8.0, 400_001)
    log_density = (looks - 1) * np.log(x) - looks * x
    cumulated = np.cumsum(np.exp(log_density - log_density.max()))
    cumulated /= cumulated[-1]
    table: np.ndarray = np.interp((np.arange(count) + 0.5) / count, cumulated, x)
    return table / table.mean()


@functools.cache
def speckle_table() -> np.ndarray:
    """Speckle in dB by hash, float32 (2 ** TABLE_BITS)."""
    return (10 * np.log10(gamma_quantiles(LOOKS, 1 << TABLE_BITS))).astype(np.float32)


@functools.cache
def slope_table(name: str) -> np.ndarray:
    """Change with the incidence angle, dB a degree, by class: float32 (9)."""
    share = 0.5 if name in ("VH", "HV") else 1.0
    return np.array([_SLOPE[k] * share for k in range(CLASS_COUNT)], dtype=np.float32)


def sigma_table(landscape: Landscape, seed: int, flight: Pass, name: str) -> np.ndarray:
    """Mean sigma nought in dB by (class, state) at the middle angle, noise floor included: float32 (9 * STATES)."""
    cross = name in ("VH", "HV")
    green, wet = landscape.greenness(flight.day), rain(landscape.site, seed, flight.day)
    speed = wind(landscape.site, seed, flight.time)
    thaw = 0.0 < landscape.snow_share(flight.day) < 0.6
    change = {
        # about 10 log10 of wind speed to the 1.8 (CMOD5, upwind and crosswind averaged)
        WATER: 18 * math.log10(max(speed, 0.8) / 3.0) * (0.4 if cross else 1.0),
        BARE: 4.0 * (wet - 0.4), GRASS: 2.5 * (wet - 0.4), SHRUB: 1.5 * (wet - 0.4),
        CROPS: (5.0 if cross else 2.5) * (green - 0.6) + 2.0 * (wet - 0.4),
        TREES: (0.8 if cross else 0.4) * (green - 0.6) + 0.5 * (wet - 0.4),
        FLOODED: (0.8 if cross else 0.4) * (green - 0.6),
        SNOW: -5.0 if thaw else 0.0,  # wet snow absorbs
    }
    vigor = np.repeat((np.arange(VIGORS) + 0.5) / VIGORS - 0.5, BLENDS)
    power = np.empty((CLASS_COUNT, VIGORS * BLENDS))
    for k in range(CLASS_COUNT):
        sigma = _SIGMA[k][cross]
        if k == FLOODED:
            sigma = landscape.site.swamp * sigma + (1 - landscape.site.swamp) * _MARSH[cross]
        level = sigma + change.get(k, 0.0) + _STATE_DB[k] * vigor
        if k == BUILT:
            level[-_CORNERS * BLENDS:] += _CORNER_DB
        power[k] = 10 ** (level / 10)
    power += 10 ** (FLOOR[cross] / 10)
    return (10 * np.log10(power)).astype(np.float32).ravel()


def silent(flight: Pass, seed: int) -> bool:
    """Whether a pass falls into the months of 2022 without scenes at its site."""
    site = flight.track.site
    return (_SILENT[0] <= flight.day <= _SILENT[1]
            and draw(seed_of(seed, site.name, "silent"), "2022") < _SILENT_SHARE)


def polarisations_of(flight: Pass, seed: int) -> tuple[str, ...]:
    """What is measured on a pass: all slices of it are alike."""
    track, day = flight.track, flight.day
    lesser = track.key > 0
    if track.mode == "EW" or (lesser and track.site.lat > _ICE_LATITUDE and day.month in _ICE_MONTHS):
        return ("HH", "HV")
    of_pass = seed_of(seed, track.site.name, track.key, day.toordinal())
    single = day < _SINGLE_UNTIL and draw(of_pass, "single") < _SINGLE[lesser]
    return ("VV",) if single else ("VV", "VH")


@dataclass(frozen=True)
class Acquisition:
    """One slice of one pass."""

    landscape: Landscape
    seed: int
    flight: Pass
    piece: Slice

    @functools.cached_property
    def key(self) -> int:
        return seed_of(self.seed, "s1", self.flight.track.site.name, self.flight.track.key,
                       self.flight.day.toordinal(), self.piece.number)

    @property
    def missing(self) -> bool:
        return silent(self.flight, self.seed) or draw(self.key, "missing") < _MISSING

    @functools.cached_property
    def time(self) -> int:
        """Start of the slice, milliseconds: slices of a pass follow one another every 25 s."""
        first = self.flight.time + int(self.piece.start / SLICE_LENGTH * SLICE_SECONDS * 1000)
        return first // 1000 * 1000

    @functools.cached_property
    def polarisations(self) -> tuple[str, ...]:
        return polarisations_of(self.flight, self.seed)

    @functools.cached_property
    def index(self) -> str:
        mode = self.flight.track.mode
        kind = {("VV",): "1SSV", ("VV", "VH"): "1SDV", ("HH", "HV"): "1SDH"}[self.polarisations]
        product = "IW_GRDH" if mode == "IW" else "EW_GRDM"
        end = self.time + SLICE_SECONDS * 1000
        take = seed_of(self.flight.orbit, self.flight.platform, "datatake") & 0xFFFFF
        return (f"S1{self.flight.platform}_{product}_{kind}_{stamp(self.time)}_{stamp(end)}_{self.flight.orbit:06d}_"
                f"{take:06X}_{self.key & 0xFFFF:04X}")


@functools.lru_cache(maxsize=1024)
def _bands(epsg: int, grid: tuple[float, float, int, int], polarisations: tuple[str, ...]) -> tuple[BandSpec, ...]:
    x0, y0, height, width = grid
    return tuple(BandSpec(name, "float" if name == "angle" else "double", f"EPSG:{epsg}", (10, 0, x0, 0, -10, y0),
                          width, height) for name in (*polarisations, "angle"))


class _Look(NamedTuple):
    """What all channels of a window share (arrays (h, w)): the address in a table of backscatter and the class (intp),
    degrees of incidence from the middle angle, what slopes add in dB (None = flat), where border noise is (None =
    nowhere)."""

    address: np.ndarray
    label: np.ndarray
    lean: np.ndarray
    gain: np.ndarray | None
    noisy: np.ndarray | None


class Sentinel1Scene:
    """One slice of ``COPERNICUS/S1_GRD``: backscatter in dB (float64) and ``angle`` in degrees (float32)."""

    def __init__(self, acquisition: Acquisition) -> None:
        self.acquisition = acquisition
        self.id = f"{COLLECTION}/{acquisition.index}"
        self.bands = _bands(acquisition.flight.track.site.epsg, acquisition.piece.grid, acquisition.polarisations)
        #: The last window: channels are read one by one, and a scene lives as long as its request.
        self._window: tuple[Window, _Look] | None = None

    @property
    def time(self) -> int:
        return self.acquisition.time

    @property
    def bounds(self) -> Bounds:
        return self.acquisition.piece.footprint.bounds

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        a, f = self.acquisition, self.acquisition.flight
        wide = f.track.mode == "EW"
        return {
            "system:index": a.index, "system:time_start": a.time, "system:time_end": a.time + SLICE_SECONDS * 1000,
            "system:footprint": a.piece.footprint.geojson(), "instrumentMode": f.track.mode,
            "transmitterReceiverPolarisation": list(a.polarisations), "productType": "GRD",
            "orbitProperties_pass": "ASCENDING" if f.track.ascending else "DESCENDING",
            "orbitNumber_start": f.orbit, "orbitNumber_stop": f.orbit,
            "relativeOrbitNumber_start": f.relative_orbit, "relativeOrbitNumber_stop": f.relative_orbit,
            "platform_number": f.platform, "familyName": "SENTINEL-1", "instrument": "Synthetic Aperture Radar",
            "resolution": "M" if wide else "H", "resolution_meters": 25 if wide else 10, "sliceNumber": a.piece.number,
            "totalSlices": a.piece.number + 4, "segmentStartTime": a.time - (a.piece.number - 1) * SLICE_SECONDS * 1000,
            "sliceProductFlag": True,
        }

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels; outside the slice's parallelogram they are masked and 0."""
        a = self.acquisition
        track = a.flight.track
        x0, y0, _, _ = a.piece.grid
        x = x0 + (np.arange(window.col, window.col + window.width) + 0.5)[None, :] * 10
        y = y0 - (np.arange(window.row, window.row + window.height) + 0.5)[:, None] * 10
        # pixels take the class of the lattice cell that holds their centre
        box = a.landscape.box(float(x[0, 0]), float(y[0, 0]), window.height, window.width)
        half = track.half_swath
        s, t = (_corners(f, x, y) for f in (track.along_track, track.from_middle))
        begin, end = a.piece.start + _SEAM, a.piece.start + SLICE_LENGTH - _SEAM
        low, high = track.site.reach
        whole = bool(s.min() >= begin and s.max() < end and np.abs(t).max() <= half and x[0, 0] >= low
                     and x[0, -1] < high)
        middle = track.from_middle(x, y).astype(np.float32)
        valid = None
        if not whole:
            along = track.along_track(x, y)
            valid = (along >= begin) & (along < end) & (np.abs(middle) <= half) & (x >= low) & (x < high)
        near, far = ANGLES[track.mode]
        angle = middle * np.float32((far - near) / 2 / half)
        angle += np.float32((far + near) / 2)
        result: dict[str, np.ndarray] = {}
        lost: dict[str, np.ndarray] = {}
        channels = [name for name in bands if name != "angle"]
        if channels:
            if self._window is None or self._window[0] != window:
                self._window = window, self._look(box, x, y, middle, angle)
            look = self._window[1]
            rows = np.arange(box.row, box.row + box.height)
            cols = np.arange(box.col, box.col + box.width)
            level = np.float32(_BORDER_DB[0] + _BORDER_DB[1] * draw_normal(a.key, "level"))
            for name in channels:
                value = sigma_table(a.landscape, a.seed, a.flight, name).take(look.address, mode="clip")
                change = slope_table(name).take(look.label, mode="clip")
                change *= look.lean
                value += change
                if look.gain is not None:
                    value += look.gain
                    # thermal noise knows no slopes
                    np.maximum(value, np.float32(FLOOR[name in ("VH", "HV")]), out=value)
                speckle = hash_grid(seed_of(a.key, name), rows, cols)
                speckle >>= np.uint32(32 - TABLE_BITS)
                grain = speckle_table().take(speckle, mode="clip")
                value += grain
                if look.noisy is not None:
                    # the power of few near-zero samples: twice the speckle's swing
                    np.copyto(value, grain * np.float32(2) + level, where=look.noisy)
                if name in ("VH", "HV"):
                    holes = value < np.float32(FLOOR[1]) + _HOLE_DB
                    if look.noisy is not None:
                        holes &= ~look.noisy
                    if holes.any():
                        lost[name] = holes
                result[name] = value.astype(np.float64)
        if "angle" in bands:
            result["angle"] = angle
        if valid is not None:
            for name in bands:
                result[name][~valid] = 0
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {name: (result[name], valid) for name in bands}
        for name, holes in lost.items():
            result[name][holes] = 0
            found[name] = result[name], ~holes if valid is None else valid & ~holes
        return found

    def _look(self, box: Box, x: np.ndarray, y: np.ndarray, middle: np.ndarray, angle: np.ndarray) -> _Look:
        """What all channels of a window share."""
        a = self.acquisition
        cover = a.landscape.cover(box, a.flight.day)
        where = cover.patch.box.slices(box)
        lean = angle - np.float32(MIDDLE_ANGLE)
        gain = None if cover.patch.slope is None else _relief(cover.patch.slope, where, a.flight.track, angle, lean)
        return _Look(cover.index[where].astype(np.intp), cover.label[where].astype(np.intp), lean, gain,
                     self.border(x, y, middle))

    def border(self, x: np.ndarray, y: np.ndarray, middle: np.ndarray) -> np.ndarray | None:
        """Pixels of border noise, (h, w) bool; None where there is none in sight.

        ``x`` (1, w) and ``y`` (h, 1) are metres, ``middle`` their distances from the middle of the swath.
        """
        a, track = self.acquisition, self.acquisition.flight.track
        least, most = _BORDER
        if a.flight.day >= BORDER_FIX:
            if draw(a.key, "later") >= _BORDER_LATER:
                return None
            least, most = least * _NARROW, most * _NARROW
        if np.abs(middle[[0, -1]][:, [0, -1]]).max() <= track.half_swath - most:
            return None
        along = track.along_track(x, y) * (1 / _BORDER_STEP)
        step = np.floor(along).astype(np.int64)
        first = int(step.min())
        widths = np.array([[least + (most - least) * draw(a.key, "border", side, k + 100_000)
                            for k in range(first, int(step.max()) + 2)] for side in (0, 1)], dtype=np.float32)
        part = (along - step).astype(np.float32)
        step -= first
        far = middle > 0
        near_width, far_width = (w.take(step) * (1 - part) + w.take(step + 1) * part for w in widths)
        noisy: np.ndarray = np.abs(middle) > np.float32(track.half_swath) - np.where(far, far_width, near_width)
        return noisy


def _relief(slope: Slope, where: tuple[slice, slice], track: Track, angle: np.ndarray, lean: np.ndarray) -> np.ndarray:
    """What slopes add to backscatter in dB by the ground's area in a cell; ``lean``, degrees of incidence from the
    middle angle, is changed to that on the slope."""
    near, far = ANGLES[track.mode]
    lx, ly = track.across
    rise = slope.east[where] * np.float32(lx)
    rise += slope.north[where] * np.float32(ly)
    rise += np.float32(RISE_STEPS + 0.5)
    step = rise.astype(np.intp)
    lean -= lean_table().take(step)
    table = gain_table(near, far)
    place = ((angle - np.float32(near)) * np.float32(1 / ANGLE_STEP)).astype(np.intp)
    np.clip(place, 0, len(table) - 1, out=place)
    place *= table.shape[1]
    place += step
    gain: np.ndarray = table.take(place)
    gain += stretch_tables()[0].take(slope.stretch[where])
    return gain


def _corners(f: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return f(x[:, [0, -1]], y[[0, -1]])
