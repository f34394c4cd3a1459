"""A deterministic planet: sites in all 14 biomes, seen by Sentinel-1, Sentinel-2 and Dynamic World.

It stands in for Earth Engine's archives where none can be reached: pixels are functions of place, date and seed.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Scene, TableFeature, Window
from dwplus.embedded_earth.planet import (
    dem,
    dw_labels,
    dynamic_world,
    embeddings,
    rtc,
    sentinel1,
    sentinel2,
    worldcover,
)
from dwplus.embedded_earth.planet.cloud_masks import PROBABILITY, SCORE, CloudMaskScene
from dwplus.embedded_earth.planet.constellation import DAY_MS
from dwplus.embedded_earth.planet.dem import Glo30Scene, SrtmScene
from dwplus.embedded_earth.planet.dw_labels import AnnotationScene
from dwplus.embedded_earth.planet.dynamic_world import MAX_CLOUD, DynamicWorldScene
from dwplus.embedded_earth.planet.landscape import Cache, Landscape, Memory
from dwplus.embedded_earth.planet.names import Names
from dwplus.embedded_earth.planet.orbits import (
    ALL_ALONG,
    FIRST_DAY,
    LAST_DAY,
    MAX_SUN_ZENITH,
    S2_LOCAL_HOUR,
    Footprint,
    Granule,
    Pass,
    Track,
    datastrip_border,
    granule_footprint,
    granules,
    ms_of,
    parse_stamp,
    passes,
    s1_tracks,
    s2_tracks,
    slices,
)
from dwplus.embedded_earth.planet.rtc import RtcScene
from dwplus.embedded_earth.planet.sentinel1 import Acquisition, Sentinel1Scene
from dwplus.embedded_earth.planet.sentinel2 import Overpass, Sentinel2Scene
from dwplus.embedded_earth.planet.sites import (
    ALL_SITES,
    MORE_SITES,
    SITE_SIZE,
    SITES,
    Site,
    box_ring,
    ecoregion_rows,
    more_rows,
    ring_bounds,
    site_rows,
)
from dwplus.embedded_earth.planet.weather import Sky, sun

__all__ = ["ALL_SITES", "MORE_SITES", "SITES", "Planet", "Site"]

TRUTH = "SAMPLE/TRUTH"
_COLLECTIONS = (sentinel2.TOA, sentinel2.SR, sentinel2.RAW_TOA, sentinel2.RAW_SR, PROBABILITY, dynamic_world.COLLECTION,
                SCORE, sentinel1.COLLECTION, rtc.COLLECTION, rtc.STATIC, TRUTH, dw_labels.COLLECTION, dem.GLO30,
                embeddings.COLLECTION, *worldcover.YEARS)
_TABLES: dict[str, Callable[[Names], list[tuple[str, dict[str, Any], dict[str, Any]]]]] = {
    "SAMPLE/SITES": site_rows, "SAMPLE/MORE_SITES": more_rows, "RESOLVE/ECOREGIONS/2017": ecoregion_rows}
_KNOWN = (*_COLLECTIONS, *_TABLES, dem.SRTM)
#: The truth reaches this far beyond the site, metres (a tile may stick out by half its size).
_TRUTH_MARGIN = 6_000
#: The truth's day of the year: 1 July.
_TRUTH_DAY = (7, 1)
#: Pixels of skies (12 bytes each) that are kept: 48 MB.
_SKY_PIXELS = 4_000_000
#: Pixels of annotated tiles (1 byte each) that are kept: 15 tiles.
_DRAWN_PIXELS = 4_000_000
#: Longest time, milliseconds, between the moment a satellite is abreast of a site and the time stamp of its scene.
_SLACK = 300_000


class TruthScene:
    """The land cover itself on 1 July of a year, ``label`` uint8 at 10 m."""

    def __init__(self, landscape: Landscape, year: int) -> None:
        self.landscape = landscape
        self.day = dt.date(year, *_TRUTH_DAY)
        self.id = f"{TRUTH}/{landscape.site.name}_{year}"
        west, _, _, north = self._square
        n = int(SITE_SIZE + 2 * _TRUTH_MARGIN) // 10
        crs, transform = f"EPSG:{landscape.site.epsg}", (10, 0, west, 0, -10, north)
        self.bands: tuple[BandSpec, ...] = (BandSpec("label", "int", crs, transform, n, n, 0, 255, "mode"),)

    @functools.cached_property
    def _square(self) -> tuple[float, float, float, float]:
        west, south, east, north = self.landscape.site.square
        m = _TRUTH_MARGIN
        return west - m, south - m, east + m, north + m

    @functools.cached_property
    def _footprint(self) -> Footprint:
        return Footprint.of(self.landscape.site.epsg, box_ring(*self._square))

    @property
    def time(self) -> int:
        return ms_of(self.day)

    @property
    def bounds(self) -> Bounds:
        return self._footprint.bounds

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        site = self.landscape.site
        return {"system:index": self.id.rsplit("/", 1)[1], "system:time_start": self.time,
                "system:time_end": self.time + DAY_MS, "system:footprint": self._footprint.geojson(),
                "site": site.name, "biome": site.biome, "year": self.day.year}

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels of ``label``."""
        west, _, _, north = self._square
        box = self.landscape.box(west + 10 * window.col, north - 10 * window.row, window.height, window.width)
        label = self.landscape.label(box, self.day)
        return {name: (label.copy(), None) for name in bands}


def _meet(a: Bounds, b: Bounds) -> bool:
    """Whether two boxes share a point; either may cross the antimeridian (west > east)."""
    if a[3] < b[1] or b[3] < a[1]:
        return False
    return any(aw <= be and bw <= ae for aw, ae in _spans(a) for bw, be in _spans(b))


def _spans(box: Bounds) -> list[tuple[float, float]]:
    west, east = box[0], box[2]
    if west > east:
        return [(west, 180.0), (-180.0, east)]
    if east > 180:
        return [(west, 180.0), (-180.0, east - 360)]
    if west < -180:
        return [(west + 360, 180.0), (-180.0, east)]
    return [(west, east)]


def _crossed(track: Track, granule: Granule, border: float) -> bool:
    """Whether a line across the track meets a granule's square."""
    west, south, east, north = granule.square
    along = track.along_track(np.array([[west, east]]), np.array([[south], [north]]))
    return bool(along.min() < border < along.max())


class _World:
    """One site with everything that flies over it."""

    def __init__(self, site: Site, seed: int, memory: Memory, skies: Cache[tuple[Sky | None]],
                 drawn: Cache[np.ndarray], names: Names) -> None:
        self.site, self.seed, self.skies, self._drawn = site, seed, skies, drawn
        self.landscape = Landscape(site, seed, memory, names)
        self.s2 = [(track, self._granules(track)) for track in s2_tracks(site, seed)]
        self.s1 = [(track, slices(track, seed)) for track in s1_tracks(site, seed)]
        boxes = [seen.bounds for _, found in self.s2 for _, seen, _ in found]
        boxes += [piece.footprint.bounds for _, found in self.s1 for piece in found]
        boxes.append(ring_bounds(site.ring))
        self.bounds: Bounds = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes),
                               max(b[3] for b in boxes))
        self.tiles = {granule.tile for granule in granules(site)}

    def _granules(self, track: Track) -> list[tuple[Granule, Footprint, bool]]:
        found = []
        for granule in granules(self.site):
            seen = granule_footprint(track, granule)
            if seen is not None:
                found.append((granule, *seen))
        return found

    def overpasses(self, start: float, end: float, bounds: Bounds | None) -> Iterator[Overpass]:
        for track, found in self.s2:
            near = [entry for entry in found if bounds is None or _meet(entry[1].bounds, bounds)]
            if not near:
                continue
            for flight in passes(track, start - _SLACK, end + _SLACK):
                if sun(self.site.lat, flight.day, S2_LOCAL_HOUR)[0] > MAX_SUN_ZENITH:
                    continue
                border = datastrip_border(flight, self.seed)
                for granule, seen, cut in near:
                    for overpass in self._products(granule, seen, cut, flight, border):
                        if start <= overpass.time < end:
                            yield overpass
                            if overpass.reprocessed:
                                yield replace(overpass, copy=1)

    def _products(self, granule: Granule, seen: Footprint, cut: bool, flight: Pass, border: float | None,
                  ) -> Iterator[Overpass]:
        """One of a whole granule, two of one that a datastrip's end cuts."""
        if border is None:
            yield Overpass(self.landscape, self.seed, granule, seen, cut, flight, self.skies)
            return
        halves = [(strip, ends, granule_footprint(flight.track, granule, ends))
                  for strip, ends in enumerate(((ALL_ALONG[0], border), (border, ALL_ALONG[1])))]
        held = [(strip, ends, part[0]) for strip, ends, part in halves if part is not None]
        for strip, ends, part in held:
            # a datastrip that holds no more than the other one's sliver leaves the granule whole
            whole = len(held) == 1 and not _crossed(flight.track, granule, border)
            yield Overpass(self.landscape, self.seed, granule, seen if whole else part, cut or not whole, flight,
                           self.skies, strip, border, None if whole else ends)

    @functools.cached_property
    def annotated(self) -> list[AnnotationScene]:
        """The annotated tiles; the sites beside the sample have none."""
        if self.site not in SITES:
            return []

        @functools.cache
        def year(number: int) -> list[Overpass]:
            limits = ms_of(dt.date(number, 1, 1)), ms_of(dt.date(number + 1, 1, 1))
            return [overpass for overpass in self.overpasses(*limits, None) if dw_labels.given_out(overpass)]

        return [AnnotationScene(tile, self._drawn) for tile in dw_labels.annotated_tiles(self.site, self.seed, year)]

    def acquisitions(self, start: float, end: float, bounds: Bounds | None) -> Iterator[Acquisition]:
        for track, found in self.s1:
            near = [piece for piece in found if bounds is None or _meet(piece.footprint.bounds, bounds)]
            if not near:
                continue
            for flight in passes(track, start - _SLACK, end + _SLACK):
                for piece in near:
                    acquisition = Acquisition(self.landscape, self.seed, flight, piece)
                    if start <= acquisition.time < end and not acquisition.missing:
                        yield acquisition


    def bursts(self, start: float, end: float, bounds: Bounds | None) -> Iterator[RtcScene]:
        """Products of RTC-S1, one of each burst of a pass."""
        for track, _ in self.s1:
            near = tuple(burst for burst in rtc.bursts(track, self.seed)
                         if bounds is None or _meet(burst.footprint.bounds, bounds))
            for flight in passes(track, start - _SLACK, end + _SLACK) if near else ():
                for scene in rtc.scenes(self.landscape, self.seed, flight, near):
                    if start <= scene.time < end:
                        yield scene


_Scene = (Sentinel2Scene | DynamicWorldScene | CloudMaskScene | Sentinel1Scene | RtcScene | TruthScene
          | AnnotationScene)


#: Changes whenever a pixel, a scene or an id of the planet does: pixels of two versions do not belong in one store.
#: 1 is the planet of the first build, which did not say it.
PLANET_VERSION = 3


class Planet:
    """The procedural sample planet: a :class:`dwplus.embedded_earth.catalog.Catalog`.

    Parameters
    ----------
    seed : number that fixes every pixel and every date.
    names : words for classes and biomes; None for those of the public archives.
    """

    def __init__(self, seed: int = 0, names: Names | None = None) -> None:
        self.seed, self.names = seed, names or Names()

    @functools.cached_property
    def _worlds(self) -> list[_World]:
        memory, skies, drawn = Memory(), Cache[tuple[Sky | None]](_SKY_PIXELS), Cache[np.ndarray](_DRAWN_PIXELS)
        return [_World(site, self.seed, memory, skies, drawn, self.names) for site in ALL_SITES]

    @functools.cached_property
    def _heights(self) -> list[Glo30Scene]:
        return list(dem.glo30([world.landscape for world in self._worlds]))

    @functools.cached_property
    def _squares(self) -> list[tuple[Landscape, int, int]]:
        return embeddings.squares([world.landscape for world in self._worlds])

    def _still(self, collection: str) -> list[Scene] | None:
        """Scenes of a collection over which nothing flies; None for one that has others."""
        if collection == dem.GLO30:
            return list[Scene](self._heights)
        if collection == embeddings.COLLECTION:
            return list[Scene](embeddings.scenes(self._squares))
        if collection == rtc.STATIC:
            return [rtc.RtcStaticScene(world.landscape, burst) for world in self._worlds for track, _ in world.s1
                    for burst in rtc.bursts(track, self.seed)]
        if collection in worldcover.YEARS:
            return [worldcover.WorldCoverScene(collection, [world.landscape for world in self._worlds])]
        return None

    def describe(self) -> str:
        """One line for people: what this Earth is."""
        biomes = len({site.biome for site in ALL_SITES})
        return f"the procedural sample planet (seed {self.seed}, {len(ALL_SITES)} sites, {biomes} biomes)"

    @property
    def version(self) -> str:
        """What decides its pixels: version and seed."""
        return f"planet {PLANET_VERSION}" + (f" seed {self.seed}" if self.seed else "")

    def asset_type(self, asset_id: str) -> str | None:
        """``IMAGE``, ``IMAGE_COLLECTION``, ``TABLE``, ``FOLDER`` or None."""
        if asset_id in _COLLECTIONS:
            return "IMAGE_COLLECTION"
        if asset_id in _TABLES:
            return "TABLE"
        if any(known.startswith(asset_id + "/") for known in _KNOWN):
            return "FOLDER"
        return "IMAGE" if self.image(asset_id) is not None else None

    def children(self, asset_id: str) -> Iterable[str]:
        """Ids right below a folder (or the roots for an empty id), or of the scenes of a collection."""
        if asset_id in _COLLECTIONS:
            return [scene.id for scene in self.scenes(asset_id) or []]
        prefix = asset_id + "/" if asset_id else ""
        found = {prefix + known[len(prefix):].split("/")[0] for known in _KNOWN if known.startswith(prefix)}
        return sorted(found)

    def image(self, asset_id: str) -> Scene | None:
        """The scene of an id, found through the time and tile in it; None where there is none."""
        if asset_id == dem.SRTM:
            return SrtmScene([world.landscape for world in self._worlds])
        collection, _, index = asset_id.rpartition("/")
        if collection not in _COLLECTIONS:
            return None
        if (still := self._still(collection)) is not None:
            return next((scene for scene in still if scene.id == asset_id), None)
        if collection == TRUTH:
            name, _, year = index.rpartition("_")
            if not (year.isdigit() and len(year) == 4):
                return None
            start: int | None = ms_of(dt.date(int(year), *_TRUTH_DAY)) if 2000 < int(year) < 2100 else None
            worlds = [world for world in self._worlds if world.site.name == name]
        elif collection == dw_labels.COLLECTION:
            point = dw_labels.point_of(index)
            if point is None:
                return None
            worlds = [world for world in self._worlds if _meet(world.bounds, (*point, *point))]
            return next((tile for world in worlds for tile in world.annotated if tile.id == asset_id), None)
        elif collection == sentinel1.COLLECTION:
            parts = index.split("_")
            start = parse_stamp(parts[4]) if len(parts) == 9 else None
            worlds = self._worlds
        elif collection == rtc.COLLECTION:
            parts = index.split("_")
            start = parse_stamp(parts[4][:-1]) if len(parts) == 10 else None
            worlds = self._worlds
        else:
            parts = index.split("_")
            start = parse_stamp(parts[0]) if len(parts) == 3 else None
            worlds = [world for world in self._worlds if len(parts) == 3 and parts[2][1:] in world.tiles]
        if start is None:
            return None
        for scene in self._scenes(collection, worlds, start - 2 * _SLACK, start + 2 * _SLACK, None):
            if scene.id == asset_id:
                return scene
        return None

    def scenes(self, collection_id: str, start_ms: float | None = None, end_ms: float | None = None,
               bounds: Bounds | None = None) -> list[Scene] | None:
        """Scenes of a collection, sorted by (system:time_start, system:index); None where it does not exist."""
        if collection_id not in _COLLECTIONS:
            return None
        start = -1e15 if start_ms is None else start_ms
        end = 1e15 if end_ms is None else end_ms
        if (still := self._still(collection_id)) is not None:
            return [scene for scene in still if start <= scene.properties["system:time_start"] < end
                    and (bounds is None or _meet(scene.bounds, bounds))]
        worlds = [world for world in self._worlds if bounds is None or _meet(world.bounds, bounds)]
        found = list(self._scenes(collection_id, worlds, start, end, bounds))
        found.sort(key=lambda scene: (scene.time, scene.id))
        return list[Scene](found)

    def _scenes(self, collection: str, worlds: list[_World], start: float, end: float, bounds: Bounds | None,
                ) -> Iterator[_Scene]:
        for world in worlds:
            if collection == TRUTH:
                for year in range(FIRST_DAY.year, LAST_DAY.year + 1):
                    truth = TruthScene(world.landscape, year)
                    if start <= truth.time < end and (bounds is None or _meet(truth.bounds, bounds)):
                        yield truth
            elif collection == dw_labels.COLLECTION:
                for tile in world.annotated:
                    if start <= tile.time < end and (bounds is None or _meet(tile.bounds, bounds)):
                        yield tile
            elif collection == sentinel1.COLLECTION:
                for acquisition in world.acquisitions(start, end, bounds):
                    yield Sentinel1Scene(acquisition)
            elif collection == rtc.COLLECTION:
                yield from world.bursts(start, end, bounds)
            else:
                for overpass in world.overpasses(start, end, bounds):
                    if collection in (sentinel2.TOA, sentinel2.RAW_TOA):
                        yield Sentinel2Scene(collection, overpass.index, overpass)
                    elif collection in (sentinel2.SR, sentinel2.RAW_SR):
                        if overpass.sr_index is not None:
                            yield Sentinel2Scene(collection, overpass.sr_index, overpass)
                    elif collection in (SCORE, PROBABILITY):
                        yield CloudMaskScene(collection, overpass)
                    elif overpass.cover <= MAX_CLOUD:
                        yield DynamicWorldScene(overpass.index, overpass)

    def table(self, asset_id: str) -> list[TableFeature] | None:
        """Rows of a table asset, or None where it does not exist."""
        rows = _TABLES.get(asset_id)
        return None if rows is None else [TableFeature(*row) for row in rows(self.names)]
