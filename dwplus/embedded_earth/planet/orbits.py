"""Who flies over a site and when: Sentinel-1 and Sentinel-2 repeat cycles, swaths and granules.

Nothing is enumerated in advance: a pass is a day that fits a satellite's repeat cycle.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from dataclasses import dataclass

import numpy as np
import shapely

from dwplus.embedded_earth.planet.constellation import (
    DAY_MS,
    S1_CYCLE,
    S1_SERVICES,
    S2_CYCLE,
    S2_SERVICES,
    s1_orbit,
    s2_orbit,
)
from dwplus.embedded_earth.planet.noise import draw, seed_of
from dwplus.embedded_earth.planet.sites import (
    LATTICE_NORTH,
    LATTICE_STEP,
    SITE_MARGIN,
    Site,
    box_ring,
    lonlat_ring,
    ring_bounds,
    to_lonlat,
)

_EPOCH = dt.date(1970, 1, 1)
#: First and last day of the planet's archive (the first Dynamic World scenes are of 2015-06-27).
FIRST_DAY, LAST_DAY = dt.date(2015, 6, 27), dt.date(2026, 10, 1)

Bounds = tuple[float, float, float, float]


def day_of(ms: float) -> dt.date:
    """UTC date of a time in milliseconds."""
    return _EPOCH + dt.timedelta(days=int(ms // DAY_MS))


def ms_of(day: dt.date) -> int:
    """Milliseconds of 00:00 UTC of a date."""
    return (day - _EPOCH).days * DAY_MS


def stamp(ms: float) -> str:
    """``YYYYMMDDThhmmss`` of a time in milliseconds."""
    day, seconds = day_of(ms), int(ms // 1000) % 86_400
    return f"{day.year:04d}{day.month:02d}{day.day:02d}T{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"


def parse_stamp(text: str) -> int | None:
    """Milliseconds of a ``YYYYMMDDThhmmss`` stamp, or None where it is none."""
    try:
        moment = dt.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000


#: Half swath widths, metres: Sentinel-1 IW 250 km, Sentinel-2 290 km. Source: ESA user handbooks.
S1_HALF_SWATH, S2_HALF_SWATH = 125_000.0, 145_000.0
#: Length (m) and duration (s) of an IW slice: ground speed 6.8 km/s.
SLICE_LENGTH, SLICE_SECONDS = 170_000.0, 25
#: Orbit inclinations, degrees. Source: ESA user handbooks.
S1_INCLINATION, S2_INCLINATION = 98.18, 98.62
#: Local solar time at the site, hours: Sentinel-2's 10:30 descending node, Sentinel-1's dusk-dawn orbit.
S2_LOCAL_HOUR, S1_LOCAL_HOUR = 10.6, {"D": 5.9, "A": 18.1}
#: No optical scene is taken with the sun lower than this; ESA plans to about 82 to 87 degrees of zenith.
MAX_SUN_ZENITH = 87.0


@dataclass(frozen=True)
class Track:
    """A relative orbit as one site sees it.

    Attributes
    ----------
    key : index among the site's orbits of its kind.
    phase : day of the repeat cycle on which the first satellite passes.
    second : seconds after 00:00 UTC at which it is abreast of the site's centre.
    heading : degrees clockwise from grid north.
    offset : metres by which the site's centre lies from the middle of the swath, towards the far (right) side.
    mode : "IW", "EW" (Sentinel-1) or "MSI".
    """

    site: Site
    key: int
    phase: int
    second: int
    heading: float
    offset: float
    ascending: bool
    mode: str
    half_swath: float

    @functools.cached_property
    def along(self) -> tuple[float, float]:
        """Unit vector of flight in (easting, northing)."""
        a = math.radians(self.heading)
        return math.sin(a), math.cos(a)

    @functools.cached_property
    def across(self) -> tuple[float, float]:
        """Unit vector of the look direction, 90 degrees right of flight."""
        a = math.radians(self.heading)
        return math.cos(a), -math.sin(a)

    def strip(self, start: float, stop: float) -> np.ndarray:
        """Closed ring (5, 2), metres, of the swath between two distances along the track from the site's centre."""
        x, y = self.site.center
        (ax, ay), (lx, ly) = self.along, self.across
        near, far = -self.half_swath - self.offset, self.half_swath - self.offset
        corners = [(start, near), (stop, near), (stop, far), (start, far), (start, near)]
        return np.array([(x + s * ax + t * lx, y + s * ay + t * ly) for s, t in corners])

    def from_middle(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres from the swath's middle, positive on the far side; ``x`` (1, w) and ``y`` (h, 1) in metres."""
        (lx, ly), (cx, cy) = self.across, self.site.center
        return (x - cx) * lx + ((y - cy) * ly + self.offset)

    def along_track(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres along the track from the site's centre."""
        (ax, ay), (cx, cy) = self.along, self.site.center
        return (x - cx) * ax + (y - cy) * ay


@dataclass(frozen=True)
class Pass:
    """One overflight: ``time`` is the moment abreast of the site's centre, in milliseconds."""

    track: Track
    platform: str
    day: dt.date
    time: int
    orbit: int
    relative_orbit: int


def _heading(inclination: float, site: Site, ascending: bool) -> float:
    """Direction of a ground track from grid north (spherical; the Earth's turning left aside), degrees."""
    azimuth = math.degrees(math.asin(math.cos(math.radians(inclination)) / math.cos(math.radians(site.lat))))
    return ((azimuth if ascending else 180 - azimuth) - site.convergence) % 360


def _utc_second(site: Site, hour: float) -> int:
    return int(((hour - site.lon / 15) % 24) * 3600)


def s2_tracks(site: Site, seed: int) -> list[Track]:
    """Sentinel-2's relative orbits over a site: one in full, and mostly a neighbour whose swath ends near the site."""
    key = seed_of(seed, site.name, "s2")
    phase = int(draw(key, "phase") * 10)
    side = 1 if draw(key, "side") < 0.5 else -1
    # neighbouring ground tracks are flown 3 days (or 7) and about 10 minutes of local time apart
    choices = [(phase, side * 25_000.0, 0), (phase + 3, -side * 122_000.0, -side * 600)]
    return [Track(site, k, p % 10, _utc_second(site, S2_LOCAL_HOUR) + late, _heading(S2_INCLINATION, site, False),
                  offset, False, "MSI", S2_HALF_SWATH) for k, (p, offset, late) in enumerate(choices[:site.s2_orbits])]


def s1_tracks(site: Site, seed: int) -> list[Track]:
    """Sentinel-1's relative orbits over a site: two see all of it, a third perhaps a part."""
    key = seed_of(seed, site.name, "s1")
    phase = int(draw(key, "phase") * 12)
    side = 1 if draw(key, "side") < 0.5 else -1
    offsets = (side * 15_000.0, -side * 70_000.0, side * 112_000.0)
    tracks = []
    for k in range(site.s1_orbits):
        way = site.passes[k % len(site.passes)]
        # days 0, 5 and 9 of 12: with one satellite no moment is more than 84 hours from a full pass
        tracks.append(Track(site, k, (phase + (0, 5, 9)[k]) % 12, _utc_second(site, S1_LOCAL_HOUR[way]) - 240 * k,
                            _heading(S1_INCLINATION, site, way == "A"), offsets[k], way == "A", "IW",
                            S1_HALF_SWATH))
    if site.extended_wide:
        tracks.append(Track(site, len(tracks), (phase + 2) % 12, _utc_second(site, S1_LOCAL_HOUR["D"]) - 900,
                            _heading(S1_INCLINATION, site, False), 40_000.0, False, "EW", 200_000.0))
    return tracks


#: Of the passes of a satellite that flies now and then, the share that is taken: about a 20-day cycle, irregular. Ours.
SPARSE_SHARE = 0.45


def passes(track: Track, start_ms: float, end_ms: float) -> list[Pass]:
    """Overflights abreast of the site in [start, end), in order of time."""
    optical = track.mode == "MSI"
    services, orbit_of = (S2_SERVICES, s2_orbit) if optical else (S1_SERVICES, s1_orbit)
    cycle = (S2_CYCLE if optical else S1_CYCLE)[0]
    found = []
    lowest = max((day_of(max(start_ms, 0)) - _EPOCH).days - 1, (FIRST_DAY - _EPOCH).days)
    highest = min((day_of(min(end_ms, 4e12)) - _EPOCH).days + 1, (LAST_DAY - _EPOCH).days)
    for service in services:
        first = max(lowest, (service.first - _EPOCH).days)
        last = min(highest, (service.last - _EPOCH).days)
        first += (track.phase + service.shift - first) % cycle
        for n in range(first, last + 1, cycle):
            # the same orbit comes back within seconds; its number is that of the plain moment
            plain = n * DAY_MS + track.second * 1000
            time = plain + seed_of(track.key, track.phase, n) % 9_000
            if service.sparse and not track.site.european and draw(track.key, track.phase, n, "sparse") >= SPARSE_SHARE:
                continue
            if start_ms <= time < end_ms:
                absolute, relative = orbit_of(service, plain)
                found.append(Pass(track, service.platform, _EPOCH + dt.timedelta(days=n), time, absolute, relative))
    found.sort(key=lambda p: (p.time, p.platform))
    return found


# ---- Sentinel-2 granules ---------------------------------------------------------------------------------------------

#: Metres that a granule must hold of a site to be listed: what lies nearer to its edge is in the neighbour, as granules
#: overlap by 9.8 km.
_LEAST_SHARE = 5_000.0
#: Side of a granule, metres. Source: ESA Sentinel-2 product specification (109.8 km, 10,980 pixels at 10 m).
GRANULE_SIZE = 109_800
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone modulo 3
_ROWS = "ABCDEFGHJKLMNPQRSTUV"


@dataclass(frozen=True)
class Granule:
    """A Sentinel-2 granule: the 100 km MGRS square [east, +100 km] x [north, +100 km], grown to 109.8 km."""

    site: Site
    east: int
    north: int

    @functools.cached_property
    def tile(self) -> str:
        """MGRS tile, e.g. ``22JGS`` (letters by the MGRS lettering scheme AA, ellipsoid WGS 84)."""
        zone = self.site.zone
        column = _COLUMNS[zone % 3][self.east // 100_000 - 1]
        row = _ROWS[(self.north // 100_000 + (5 if zone % 2 == 0 else 0)) % 20]
        _, lat = to_lonlat(self.site.epsg).transform(self.east + 50_000, self.north + 50_000)
        band = _BANDS[min(int((lat + 80) // 8), len(_BANDS) - 1)]
        return f"{zone:02d}{band}{column}{row}"

    @property
    def ulx(self) -> int:
        """Easting of the upper-left corner: the largest multiple of 60 m that is not east of the square."""
        return self.east // 60 * 60

    @property
    def uly(self) -> int:
        """Northing of the upper-left corner: the square's north edge, up to whole 60 m from the equator.

        In the south that is 10,000,000 m less multiples of 60 m: T22HBD begins at 5,900,020 m, T32UQD at 5,900,040 m.
        """
        equator = 0 if self.site.lat >= 0 else LATTICE_NORTH
        return equator - (equator - self.north - 100_000) // 60 * 60

    @property
    def square(self) -> tuple[float, float, float, float]:
        """(west, south, east, north), metres."""
        return self.ulx, self.uly - GRANULE_SIZE, self.ulx + GRANULE_SIZE, self.uly


@dataclass(frozen=True)
class Footprint:
    """An outline: GeoJSON LinearRing coordinates and their bounds."""

    ring: list[list[float]]
    bounds: Bounds

    @staticmethod
    def of(epsg: int, ring: np.ndarray, pieces: int = 12) -> Footprint:
        lonlat = lonlat_ring(epsg, ring, pieces)
        return Footprint(lonlat, ring_bounds(lonlat))

    def geojson(self) -> dict[str, object]:
        return {"type": "LinearRing", "coordinates": self.ring}


def site_area(site: Site) -> shapely.Polygon:
    """The site's square with the margin in which scenes still exist, metres."""
    west, south, east, north = site.square
    return shapely.box(west - SITE_MARGIN, south - SITE_MARGIN, east + SITE_MARGIN, north + SITE_MARGIN)


def granules(site: Site) -> list[Granule]:
    """Granules of the site's zone that hold more than the margin of the site's square."""
    west, south, east, north = site.square
    west, south, east, north = west + _LEAST_SHARE, south + _LEAST_SHARE, east - _LEAST_SHARE, north - _LEAST_SHARE
    found = []
    for e in range(int(west - GRANULE_SIZE) // 100_000, int(east) // 100_000 + 1):
        for n in range(int(south - GRANULE_SIZE) // 100_000 - 1, int(north) // 100_000 + 2):
            granule = Granule(site, e * 100_000, n * 100_000)
            w, s, x, t = granule.square
            if w < east and x > west and s < north and t > south:
                found.append(granule)
    return found


#: Metres along the track from the site's centre within which a datastrip may end, and the share of the passes on which
#: one does. In the archive 300 to 400 granules a day, some 2 %, are cut so (microsoft/PlanetaryComputer issue 256).
_BORDER_REACH, _BORDER_SHARE = 100_000.0, 0.04


def datastrip_border(flight: Pass, seed: int) -> float | None:
    """Metres along the track from the site's centre at which one datastrip ends and the next begins; mostly None."""
    key = seed_of(seed, "datastrip", flight.track.site.name, flight.track.key, flight.day.toordinal())
    if draw(key, "cut") >= _BORDER_SHARE:
        return None
    return round(_BORDER_REACH * (2 * draw(key, "where") - 1), -1)


#: Along-track metres that hold every granule of a site.
ALL_ALONG = (-400_000.0, 400_000.0)


@functools.lru_cache(maxsize=2048)
def granule_footprint(track: Track, granule: Granule, ends: tuple[float, float] = ALL_ALONG,
                      ) -> tuple[Footprint, bool] | None:
    """Outline of what a track sees of a granule between two distances along it, and whether that is less than all;
    None where it misses the site."""
    square = shapely.box(*granule.square)
    seen = shapely.intersection(square, shapely.Polygon(track.strip(*ends)))
    if shapely.intersection(seen, site_area(granule.site)).area < 1e6:  # 1 km2
        return None
    whole = seen.area > square.area - 1
    ring = box_ring(*granule.square) if whole else np.array(shapely.geometry.polygon.orient(seen).exterior.coords)
    return Footprint.of(granule.site.epsg, ring), not whole


# ---- Sentinel-1 slices -----------------------------------------------------------------------------------------------

#: Origin of the radar grids off the 10 m lattice (easting, northing), metres: their products are resampled apart.
S1_GRID_OFFSET = (3.7, 6.4)


@dataclass(frozen=True)
class Slice:
    """A 25 s piece of a track. ``start`` is metres along the track from the site's centre."""

    track: Track
    number: int
    start: float

    @functools.cached_property
    def ring(self) -> np.ndarray:
        """Closed ring, metres: the strip, as far as the site's slices reach."""
        ring = self.track.strip(self.start, self.start + SLICE_LENGTH)
        low, high = self.track.site.reach
        if low <= ring[:, 0].min() and ring[:, 0].max() <= high:
            return ring
        kept = shapely.intersection(shapely.Polygon(ring), shapely.box(max(low, -1e7), -1e7, min(high, 1e7), 2e7))
        return np.array(shapely.geometry.polygon.orient(kept).exterior.coords)

    @functools.cached_property
    def grid(self) -> tuple[float, float, int, int]:
        """(x0, y0, height, width): the raster's upper-left corner in metres and its size in pixels."""
        west, south = self.ring.min(axis=0)
        east, north = self.ring.max(axis=0)
        x0 = math.floor(west / LATTICE_STEP) * LATTICE_STEP + S1_GRID_OFFSET[0] - LATTICE_STEP
        y0 = math.ceil(north / LATTICE_STEP) * LATTICE_STEP + S1_GRID_OFFSET[1]
        return x0, y0, math.ceil((y0 - south) / LATTICE_STEP), math.ceil((east - x0) / LATTICE_STEP)

    @functools.cached_property
    def footprint(self) -> Footprint:
        ring = self.ring if not _clockwise(self.ring) else self.ring[::-1]
        return Footprint.of(self.track.site.epsg, ring, 8)


def _clockwise(ring: np.ndarray) -> bool:
    return bool(np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]) < 0)


@functools.lru_cache(maxsize=256)
def slices(track: Track, seed: int) -> tuple[Slice, ...]:
    """The slices of a track that reach the site's area."""
    key = seed_of(seed, track.site.name, "slices", track.key)
    first = -draw(key) * SLICE_LENGTH  # start of the slice over the site's centre
    base = 3 + seed_of(key, "number") % 12
    area, found = site_area(track.site), []
    for k in (-1, 0, 1):
        piece = Slice(track, base + k, first + k * SLICE_LENGTH)
        if shapely.intersection(shapely.Polygon(track.strip(piece.start, piece.start + SLICE_LENGTH)), area).area > 1e6:
            found.append(piece)
    return tuple(found)
