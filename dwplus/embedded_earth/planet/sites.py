"""The sample planet's sites: where they lie, their biome, and what their land is made of.

Places are real (coordinates of well-known regions, ecoregion names of RESOLVE Ecoregions 2017, Dinerstein et al. 2017);
what grows there is invented. Fractions are rough area shares of the biome as Dynamic World sees it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyproj

from dwplus.embedded_earth.planet.names import Names

#: Side of a site, metres: 11.8 lattice tiles of 5,100 m, so 121 to 144 tile centres lie inside.
SITE_SIZE = 60_000.0
#: Metres a granule or slice may lie outside the site and still exist (half a tile sticks out: 2,550 m).
SITE_MARGIN = 4_000.0
#: Metres by which an ecoregion polygon reaches beyond its site.
ECOREGION_MARGIN = 40_000.0
#: Row 0 of the 10 m lattice lies at this northing in every zone; rows count southwards.
LATTICE_NORTH = 10_000_000
LATTICE_STEP = 10
#: How wooded flooded vegetation is, by biome: 1 mangrove or swamp forest, 0 sedge, reed and moss. By hand, after the
#: biomes' descriptions in Dinerstein et al. 2017.
SWAMP = {1: 0.9, 2: 0.6, 3: 0.5, 4: 0.4, 5: 0.5, 6: 0.35, 7: 0.3, 8: 0.05, 9: 0.3, 10: 0.0, 11: 0.0, 12: 0.15, 13: 0.05,
         14: 1.0}


@dataclass(frozen=True)
class Recipe:
    """Area shares and habits of a site's land cover.

    Attributes
    ----------
    water, river, flooded, built, crops, trees : share of the site (0..1); river is a half width in
        standard deviations of a field that changes by about one in 10 km (0.01 makes some 100 m).
    open_mix : shares of grass, shrub_and_scrub, bare within what is left; they add up to 1.
    water_swing : seasonal change of the water share (wet minus dry season), same units as ``water``.
    wet_peak : day of year of the highest water.
    snow_peak, snow_low : share of open land under snow in mid-winter and at the end of summer.
    clearing : share of the woods felled per year.
    growth : relative growth of the built share per year.
    green_low, green_peak, peak_day : greenness (0..1) in the worst and best season, day of year of the best.
    parcel : (length, width) of crop parcels in metres.
    clear_sky, overcast : shares of overpasses with little and with full cloud, in the mean over the year.
    cloud_swing : seasonal change of both, largest at ``wet_peak``.
    coast : metres north of the site's centre where the sea begins southwards, or None.
    ice : metres east of the site's centre where permanent ice begins, or None.
    relief : metres of height per standard deviation of the elevation field.
    altitude : metres above the sea of the site's lakes.
    """

    water: float
    river: float
    flooded: float
    built: float
    crops: float
    trees: float
    open_mix: tuple[float, float, float]
    water_swing: float = 0.01
    wet_peak: int = 120
    snow_peak: float = 0.0
    snow_low: float = 0.0
    clearing: float = 0.002
    growth: float = 0.02
    green_low: float = 0.5
    green_peak: float = 0.9
    peak_day: int = 190
    parcel: tuple[int, int] = (320, 160)
    clear_sky: float = 0.4
    overcast: float = 0.3
    cloud_swing: float = 0.1
    coast: float | None = None
    ice: float | None = None
    relief: float = 12.0
    altitude: float = 20.0


@dataclass(frozen=True)
class Site:
    """A square of :data:`SITE_SIZE` metres in one UTM zone.

    Attributes
    ----------
    lon, lat : degrees, of the centre before it is rounded to whole 10 m lattice cells.
    passes : Sentinel-1 pass directions that see the site, "D", "A" or "DA".
    s1_orbits : number of relative orbits of Sentinel-1.
    s2_orbits : number of relative orbits of Sentinel-2.
    extended_wide : whether Sentinel-1 also flies EW mode here (polar seas and coasts).
    reach : eastings, metres, between which its radar slices lie: where two sites are nearer than a swath is wide, each
        keeps to its side.
    surroundings : metres by which its ecoregion's polygon reaches beyond the site.
    """

    name: str
    biome: int
    ecoregion: str
    eco_id: int
    realm: str
    lon: float
    lat: float
    recipe: Recipe = field(repr=False)
    passes: str = "DA"
    s1_orbits: int = 3
    s2_orbits: int = 2
    extended_wide: bool = False
    reach: tuple[float, float] = (-math.inf, math.inf)
    surroundings: float = ECOREGION_MARGIN

    @property
    def zone(self) -> int:
        """The zone of the military grid: six degrees, but for western Norway and Svalbard."""
        return grid_zone(self.lon, self.lat)

    @property
    def european(self) -> bool:
        """Whether it lies in Europe, roughly."""
        return 34 < self.lat < 72 and -25 < self.lon < 45

    @property
    def epsg(self) -> int:
        return (32600 if self.lat >= 0 else 32700) + self.zone

    @property
    def swamp(self) -> float:
        """How wooded the flooded vegetation is, 0..1."""
        return SWAMP[self.biome]

    @functools.cached_property
    def convergence(self) -> float:
        """Angle at the centre from true north to grid north, degrees clockwise (Snyder 1987, on the sphere)."""
        offset = math.radians(self.lon - (6 * self.zone - 183))
        return math.degrees(math.atan(math.tan(offset) * math.sin(math.radians(self.lat))))

    @functools.cached_property
    def center(self) -> tuple[float, float]:
        """(easting, northing), metres, on the 10 m lattice."""
        x, y = to_utm(self.epsg).transform(self.lon, self.lat)
        return round(x / LATTICE_STEP) * float(LATTICE_STEP), round(y / LATTICE_STEP) * float(LATTICE_STEP)

    @functools.cached_property
    def square(self) -> tuple[float, float, float, float]:
        """(west, south, east, north), metres."""
        x, y = self.center
        half = SITE_SIZE / 2
        return x - half, y - half, x + half, y + half

    @functools.cached_property
    def ring(self) -> list[list[float]]:
        """The site's square as a closed lon/lat ring, 16 pieces a side."""
        return lonlat_ring(self.epsg, box_ring(*self.square), 16)


def grid_zone(lon: float, lat: float) -> int:
    """Zone of the military grid: 32V is three degrees wider to the west; 31X and 37X have nine degrees, 33X and 35X
    twelve, and there are no 32X, 34X and 36X."""
    if 56 <= lat < 64 and 3 <= lon < 12:
        return 32
    if lat >= 72 and 0 <= lon < 42:
        return 31 + 2 * int((lon + 3) // 12)
    return int((lon + 180) // 6) + 1


@functools.lru_cache(maxsize=64)
def to_utm(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, epsg, always_xy=True)


@functools.lru_cache(maxsize=64)
def to_lonlat(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)


def box_ring(west: float, south: float, east: float, north: float) -> np.ndarray:
    """Counter-clockwise closed ring (5, 2) of a rectangle."""
    return np.array([(west, south), (east, south), (east, north), (west, north), (west, south)], dtype=np.float64)


def lonlat_ring(epsg: int, ring: np.ndarray, pieces: int) -> list[list[float]]:
    """A closed ring in metres as lon/lat pairs, each edge in ``pieces`` so that it follows the UTM line closely."""
    t = np.arange(pieces)[:, None] / pieces
    points = np.concatenate([a + (b - a) * t for a, b in zip(ring[:-1], ring[1:], strict=True)] + [ring[-1:]])
    lon, lat = to_lonlat(epsg).transform(points[:, 0], points[:, 1])
    return [[round(float(x), 9), round(float(y), 9)] for x, y in zip(lon, lat, strict=True)]


def ring_bounds(ring: list[list[float]]) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a lon/lat ring."""
    lon, lat = [p[0] for p in ring], [p[1] for p in ring]
    return min(lon), min(lat), max(lon), max(lat)


SITES: tuple[Site, ...] = (
    Site("rondonia", 1, "Madeira-Tapajos moist forests", 476, "Neotropic", -63.4, -9.6, Recipe(
        water=0.03, river=0.020, flooded=0.05, built=0.012, crops=0.08, trees=0.68, open_mix=(0.70, 0.20, 0.10),
        water_swing=0.02, wet_peak=75, clearing=0.008, growth=0.04, green_low=0.80, green_peak=0.95, peak_day=75,
        parcel=(640, 320), relief=12.0, altitude=110.0,
        clear_sky=0.32, overcast=0.36, cloud_swing=0.22), passes="D", s1_orbits=2),
    Site("vidarbha", 2, "Central Deccan Plateau dry deciduous forests", 302, "Indomalayan", 79.8, 19.6, Recipe(
        water=0.03, river=0.015, flooded=0.02, built=0.035, crops=0.40, trees=0.32, open_mix=(0.25, 0.60, 0.15),
        water_swing=0.02, wet_peak=240, green_low=0.25, green_peak=0.95, peak_day=260, parcel=(160, 80),
        growth=0.04, relief=30.0, altitude=260.0,
        clear_sky=0.50, overcast=0.25, cloud_swing=0.16), passes="D", s1_orbits=2),
    Site("durango", 3, "Sierra Madre Occidental pine-oak forests", 305, "Nearctic", -105.4, 24.3, Recipe(
        water=0.01, river=0.006, flooded=0.008, built=0.015, crops=0.10, trees=0.50, open_mix=(0.35, 0.50, 0.15),
        wet_peak=225, green_low=0.45, green_peak=0.85, peak_day=240, parcel=(240, 160), relief=350.0, altitude=1900.0,
        clear_sky=0.55,
        overcast=0.20, cloud_swing=0.12)),
    Site("hesse", 4, "Western European broadleaf forests", 686, "Palearctic", 9.2, 51.2, Recipe(
        water=0.015, river=0.006, flooded=0.02, built=0.10, crops=0.38, trees=0.34, open_mix=(0.85, 0.08, 0.07),
        wet_peak=45, snow_peak=0.25, green_low=0.30, green_peak=0.95, peak_day=165, parcel=(320, 160),
        growth=0.01, relief=80.0, altitude=180.0, clear_sky=0.30, overcast=0.38, cloud_swing=0.06)),
    Site("cascades", 5, "Central-Southern Cascades Forests", 347, "Nearctic", -121.9, 44.6, Recipe(
        water=0.02, river=0.006, flooded=0.02, built=0.025, crops=0.07, trees=0.62, open_mix=(0.40, 0.35, 0.25),
        wet_peak=30, snow_peak=0.70, snow_low=0.02, clearing=0.010, green_low=0.60, green_peak=0.90, peak_day=170,
        relief=650.0, altitude=900.0, clear_sky=0.40, overcast=0.33, cloud_swing=0.15)),
    Site("athabasca", 6, "Mid-Canada Boreal Plains forests", 372, "Nearctic", -111.3, 56.6, Recipe(
        water=0.06, river=0.008, flooded=0.14, built=0.015, crops=0.02, trees=0.60, open_mix=(0.30, 0.50, 0.20),
        wet_peak=160, snow_peak=0.97, clearing=0.006, green_low=0.25, green_peak=0.90, peak_day=195,
        relief=25.0, altitude=250.0, clear_sky=0.38, overcast=0.30, cloud_swing=0.04), s1_orbits=2),
    Site("matopiba", 7, "Cerrado", 567, "Neotropic", -46.3, -12.4, Recipe(
        water=0.01, river=0.008, flooded=0.035, built=0.012, crops=0.34, trees=0.20, open_mix=(0.30, 0.60, 0.10),
        wet_peak=45, clearing=0.006, growth=0.05, green_low=0.30, green_peak=0.90, peak_day=50, parcel=(1280, 640),
        relief=25.0, altitude=600.0, clear_sky=0.50, overcast=0.25, cloud_swing=0.20), passes="D", s1_orbits=2),
    Site("pampas", 8, "Humid Pampas", 576, "Neotropic", -62.2, -34.8, Recipe(
        water=0.04, river=0.000, flooded=0.05, built=0.025, crops=0.52, trees=0.03, open_mix=(0.80, 0.12, 0.08),
        water_swing=0.03, wet_peak=270, green_low=0.40, green_peak=0.90, peak_day=20, parcel=(960, 480),
        relief=5.0, altitude=90.0, clear_sky=0.45, overcast=0.28, cloud_swing=0.05)),
    Site("pantanal", 9, "Pantanal", 585, "Neotropic", -57.2, -17.6, Recipe(
        water=0.07, river=0.012, flooded=0.30, built=0.006, crops=0.02, trees=0.22, open_mix=(0.65, 0.30, 0.05),
        water_swing=0.09, wet_peak=110, green_low=0.50, green_peak=0.95, peak_day=75, relief=5.0, altitude=100.0,
        clear_sky=0.45,
        overcast=0.26, cloud_swing=0.15), passes="D", s1_orbits=2),
    Site("drakensberg", 10, "Drakensberg grasslands", 83, "Afrotropic", 28.6, -30.2, Recipe(
        water=0.012, river=0.006, flooded=0.02, built=0.03, crops=0.15, trees=0.06, open_mix=(0.66, 0.18, 0.16),
        wet_peak=30, snow_peak=0.08, green_low=0.20, green_peak=0.85, peak_day=30, parcel=(240, 120),
        relief=480.0, altitude=1700.0, clear_sky=0.52, overcast=0.22, cloud_swing=0.12)),
    Site("hardangervidda", 11, "Scandinavian Montane Birch forest and grasslands", 780, "Palearctic", 7.9, 60.4, Recipe(
        water=0.09, river=0.005, flooded=0.04, built=0.012, crops=0.01, trees=0.22, open_mix=(0.42, 0.33, 0.25),
        wet_peak=170, snow_peak=0.97, snow_low=0.03, clearing=0.001, green_low=0.20, green_peak=0.80, peak_day=205,
        relief=260.0, altitude=900.0, clear_sky=0.30, overcast=0.38, cloud_swing=0.04),
         reach=(368_000.0, math.inf)),
    Site("guadalquivir", 12, "Southwest Iberian Mediterranean sclerophyllous and mixed forests", 805, "Palearctic",
         -5.2, 37.6, Recipe(
             water=0.02, river=0.008, flooded=0.03, built=0.05, crops=0.42, trees=0.16, open_mix=(0.35, 0.52, 0.13),
             wet_peak=30, green_low=0.25, green_peak=0.85, peak_day=100, parcel=(400, 200), relief=90.0, altitude=60.0,
             clear_sky=0.58,
             overcast=0.18, cloud_swing=0.16)),
    Site("sonora", 13, "Sonoran desert", 437, "Nearctic", -111.3, 29.6, Recipe(
        water=0.008, river=0.003, flooded=0.004, built=0.02, crops=0.09, trees=0.02, open_mix=(0.06, 0.52, 0.42),
        wet_peak=225, green_low=0.15, green_peak=0.45, peak_day=240, parcel=(640, 320), growth=0.03,
        relief=140.0, altitude=200.0, clear_sky=0.72, overcast=0.10, cloud_swing=0.10), s1_orbits=2),
    Site("sundarbans", 14, "Sundarbans mangroves", 326, "Indomalayan", 89.2, 21.9, Recipe(
        water=0.12, river=0.045, flooded=0.30, built=0.03, crops=0.16, trees=0.36, open_mix=(0.50, 0.20, 0.30),
        water_swing=0.04, wet_peak=235, clearing=0.001, green_low=0.65, green_peak=0.95, peak_day=280,
        parcel=(160, 80), relief=2.0, altitude=0.0,
        clear_sky=0.46, overcast=0.28, cloud_swing=0.18, coast=-20_000.0), passes="D", s1_orbits=2),
    Site("kangerlussuaq", 11, "Kalaallit Nunaat Arctic steppe", 409, "Nearctic", -50.6, 67.0, Recipe(
        water=0.07, river=0.008, flooded=0.025, built=0.004, crops=0.0, trees=0.0, open_mix=(0.34, 0.36, 0.30),
        wet_peak=190, snow_peak=0.98, snow_low=0.02, green_low=0.10, green_peak=0.65, peak_day=205,
        relief=220.0, altitude=40.0,
        clear_sky=0.42, overcast=0.28, cloud_swing=0.03, ice=17_000.0), extended_wide=True),
)

#: Sites beside the fifteen of ``region: sample``. In the wide zones of the military grid: western Norway is 32V as far
#: west as 3 E, Svalbard 31X west of 9 E and 33X east of it; Svalbard's ecoregion, and land at all in the sea off its
#: west coast, are ours.
WIDE_SITES: tuple[Site, ...] = (
    Site("bergen", 5, "Scandinavian coastal conifer forests", 708, "Palearctic", 5.32, 60.39, Recipe(
        water=0.22, river=0.006, flooded=0.02, built=0.05, crops=0.05, trees=0.40, open_mix=(0.40, 0.40, 0.20),
        wet_peak=330, snow_peak=0.55, snow_low=0.01, green_low=0.45, green_peak=0.85, peak_day=190,
        parcel=(160, 80), relief=380.0, altitude=0.0, clear_sky=0.24, overcast=0.46, cloud_swing=0.06),
         reach=(-math.inf, 368_000.0), surroundings=10_000.0),
    Site("ny_alesund", 11, "Russian Arctic desert", 778, "Palearctic", 12.8, 78.9, Recipe(
        water=0.14, river=0.004, flooded=0.01, built=0.002, crops=0.0, trees=0.0, open_mix=(0.22, 0.18, 0.60),
        wet_peak=195, snow_peak=0.99, snow_low=0.30, green_low=0.05, green_peak=0.45, peak_day=205,
        relief=480.0, altitude=0.0, clear_sky=0.30, overcast=0.42, cloud_swing=0.03),
         extended_wide=True, reach=(372_000.0, math.inf), surroundings=10_000.0),
    Site("ny_alesund_west", 11, "Russian Arctic desert", 778, "Palearctic", 6.5, 78.9, Recipe(
        water=0.35, river=0.0, flooded=0.01, built=0.0, crops=0.0, trees=0.0, open_mix=(0.22, 0.18, 0.60),
        wet_peak=195, snow_peak=0.99, snow_low=0.35, green_low=0.05, green_peak=0.40, peak_day=205,
        relief=260.0, altitude=0.0, clear_sky=0.28, overcast=0.45, cloud_swing=0.03),
         extended_wide=True, reach=(-math.inf, 628_000.0), surroundings=10_000.0),
)
#: Where Sentinel-2 passes at midnight, UTC: its datatakes begin the day before.
MIDNIGHT_SITES: tuple[Site, ...] = (
    Site("kamchatka", 6, "Kamchatka taiga", 712, "Palearctic", 158.9, 55.9, Recipe(
        water=0.03, river=0.010, flooded=0.06, built=0.004, crops=0.0, trees=0.62, open_mix=(0.40, 0.45, 0.15),
        wet_peak=160, snow_peak=0.98, clearing=0.003, green_low=0.30, green_peak=0.85, peak_day=200,
        relief=340.0, altitude=120.0, clear_sky=0.28, overcast=0.42, cloud_swing=0.04), surroundings=10_000.0),
)
MORE_SITES = WIDE_SITES + MIDNIGHT_SITES
ALL_SITES = SITES + MORE_SITES


def _polygon(rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [rings]}


def site_rows(names: Names) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(index, geometry, properties) of the table of sites of ``region: sample``."""
    return _rows(SITES, names)


def more_rows(names: Names) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The same of the other sites."""
    return _rows(MORE_SITES, names)


def _rows(sites: tuple[Site, ...], names: Names) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    return [(f"{k:04d}", _polygon(site.ring), {
        "name": site.name, "biome": site.biome, "biome_name": names.biome(site.biome), "ecoregion": site.ecoregion,
        "epsg": site.epsg}) for k, site in enumerate(sites)]


def ecoregion_rows(names: Names) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(index, geometry, properties) of the ecoregion table, RESOLVE's property names.

    At a coastal site the polygon ends 5 km inside the site's seaward edge; at a site with an ice sheet it ends where
    "Rock and Ice" (number 11, name "N/A", as in RESOLVE) begins.
    """
    rows: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for site in ALL_SITES:
        west, south, east, north = site.square
        m = site.surroundings
        box = [west - m, south - m, east + m, north + m]
        if site.recipe.coast is not None:
            box[1] = south + 5_000.0
        if site.recipe.ice is not None:
            edge = site.center[0] + site.recipe.ice
            ice = lonlat_ring(site.epsg, box_ring(edge, box[1], box[2], box[3]), 16)
            rows.append(("", _polygon(ice), {"ECO_NAME": "Rock and Ice", "BIOME_NUM": 11, "BIOME_NAME": "N/A",
                                             "REALM": "N/A", "ECO_ID": 0}))
            box[2] = edge
        rows.append(("", _polygon(lonlat_ring(site.epsg, box_ring(box[0], box[1], box[2], box[3]), 16)), {
            "ECO_NAME": site.ecoregion, "BIOME_NUM": site.biome, "BIOME_NAME": names.biome(site.biome),
            "REALM": site.realm, "ECO_ID": site.eco_id}))
    return [(f"{k:020d}", geometry, properties) for k, (_, geometry, properties) in enumerate(rows)]
