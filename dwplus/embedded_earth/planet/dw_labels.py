"""Annotated tiles: what people would have drawn over the planet's Sentinel-2 scenes.

Properties, codes and grid follow the real collection: WRI's uploader prints one of its rows
(github.com/wri/dl_exporter), Brown et al. 2022 (Sci Data 9:251) describe how tiles were drawn.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.features import sieve

from dwplus.embedded_earth.catalog import BandSpec, Bounds, Window
from dwplus.embedded_earth.planet.constellation import DAY_MS
from dwplus.embedded_earth.planet.dynamic_world import DOUBT_OCTAVES, doubt_tables
from dwplus.embedded_earth.planet.landscape import CLASS_COUNT, NODE, Box, Cache
from dwplus.embedded_earth.planet.noise import draw, fbm, node_range, seed_of, upsample
from dwplus.embedded_earth.planet.orbits import Footprint, ms_of, stamp
from dwplus.embedded_earth.planet.sentinel2 import SR, TOA, Overpass, Sentinel2Scene
from dwplus.embedded_earth.planet.sites import Site, box_ring, to_lonlat, to_utm

COLLECTION = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"
#: Side of a tile in pixels and metres.
SIDE, METRES = 510, 5_100
#: Codes: 0 unmarked, 1..9 the classes, 10 cloud.
UNMARKED, CLOUD = 0, 10
#: Names of the properties that hold each code's share of the marked pixels, as in WRI's row.
SHARES = ("Water", "Trees", "Grass", "FloodedVegetation", "Crops", "Scrub", "BuiltArea", "BareGround", "Snow Ice",
          "Clouds")


@dataclass(frozen=True)
class Labeler:
    """Who draws.

    Attributes
    ----------
    folder : part of the property ``folder``.
    errors : confusions, as a share of the Dynamic World model's.
    radius : pixels by which outlines are rounded off.
    """

    folder: str
    errors: float
    radius: int


#: Brown et al. 2022: 409 validation tiles (three experts' consensus), about 4,000 tiles by experts, 20,000 by others.
#: Non-experts agreed with the experts' consensus on 77.8 % of the pixels. ``WorkForce`` is WRI's word, the other two
#: folder names are ours.
VALIDATION, EXPERT, NON_EXPERT = (Labeler("Validation", 0.35, 2), Labeler("Experts", 0.6, 2),
                                  Labeler("WorkForce", 0.95, 4))
_TEAM = (VALIDATION,) * 4 + (EXPERT,) * 4 + (NON_EXPERT,) * 16
#: A site is cut into this many cells a side, a tile in each but the last: tiles never overlap.
_CELLS = 5
#: Shares of the dates: mostly 2019 (of 4,194 expert tiles 3,741, 393 and 60).
_YEARS = ((0.89, 2019), (0.98, 2018), (1.0, 2017))
#: Only scenes this clear (%), with this share of the tile in cloud and the sun this high (degrees) were given out.
_MAX_COVER, _MAX_CLOUD, _MAX_ZENITH = 30.0, 0.25, 75.0
#: Shares of rows whose ``S2_GEE_ID`` is empty, and is not there at all.
_EMPTY, _ABSENT = 0.03, 0.03
#: Smallest unit drawn, pixels (5 x 5).
_UNIT = 25
#: Unmarked share of a tile, least and most, drawn towards the least: about 87 % of all pixels are marked.
_UNMARKED = (0.02, 0.34)
#: Share of the pixels around that the commonest class must have, or the place is left unmarked.
_CLEAR_CUT = 0.45
#: Octaves of annotators' doubt and of what they leave out: they name and skip whole polygons. Up to 2.6 km.
_POLYGONS = {5: 0.8, 4: 1.0, 3: 0.7, 2: 0.2}
#: Part of an annotator's doubt that belongs to the place: what fools the model also fools people.
_PLACE = np.float32(0.5)
#: Cloud is drawn generously: this far below the threshold of the cloud field; shadows above this are left unmarked.
_CLOUD_MARGIN, _SHADOW = -0.04, 0.5


class LazyProperties(dict[str, Any]):
    """Properties of which some cost pixels: those are filled in when one of them, or the whole, is looked at."""

    def __init__(self, known: dict[str, Any], names: tuple[str, ...], make: Callable[[], dict[str, Any]]) -> None:
        super().__init__(known)
        self._names, self._make = frozenset(names), make

    def _fill(self) -> None:
        if self._names:
            self.update(self._make())
            self._names = frozenset()

    def __missing__(self, key: str) -> Any:
        if key not in self._names:
            raise KeyError(key)
        self._fill()
        return dict.__getitem__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict."""
        if key in self._names:
            self._fill()
        return dict.get(self, key, default)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self._names

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return dict.__iter__(self)

    def __len__(self) -> int:
        self._fill()
        return dict.__len__(self)

    def __eq__(self, other: object) -> bool:
        self._fill()
        return dict.__eq__(self, dict(other) if isinstance(other, LazyProperties) else other)

    __hash__ = None

    def keys(self) -> Any:
        """As of a dict."""
        self._fill()
        return dict.keys(self)

    def values(self) -> Any:
        """As of a dict."""
        self._fill()
        return dict.values(self)

    def items(self) -> Any:
        """As of a dict."""
        self._fill()
        return dict.items(self)

    def copy(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self.items())


@dataclass(frozen=True)
class Annotation:
    """One tile: where, when and by whom."""

    key: int
    labeler: Labeler
    lon: float
    lat: float
    center: tuple[int, int]  # metres
    overpass: Overpass

    @property
    def dw_id(self) -> str:
        return f"dw_{self.lon:.10f}_{self.lat:.10f}-{self.overpass.flight.day:%Y%m%d}"

    @property
    def window(self) -> Window:
        """The tile on the grid of the scene."""
        g, (x, y), half = self.overpass.granule, self.center, METRES // 2
        return Window((g.uly - y - half) // 10, (x - half - g.ulx) // 10, SIDE, SIDE)


def center_of(site: Site, lon: float, lat: float) -> tuple[int, int]:
    """The centre of a tile by its id's point, metres (exact on the one tile whose outline is published)."""
    x, y = to_utm(site.epsg).transform(lon, lat)
    return math.ceil(x / 10) * 10, math.floor(y / 10) * 10


def point_of(index: str) -> tuple[float, float] | None:
    """(lon, lat) in an asset's name; None where there is none."""
    match = re.fullmatch(r"label_dw_(-?\d+p\d+)_(-?\d+p\d+)-\d{8}", index)
    return None if match is None else (float(match[1].replace("p", ".")), float(match[2].replace("p", ".")))


def annotated_tiles(site: Site, seed: int, overpasses: Callable[[int], list[Overpass]]) -> list[Annotation]:
    """The annotated tiles of a site; ``overpasses`` gives the scenes of a year."""
    found = []
    key = seed_of(seed, site.name, "annotations")
    west, south, east, _ = site.square
    cell = (east - west) / _CELLS
    order = sorted(range(_CELLS ** 2), key=lambda k: draw(key, "cell", k))
    for k, (labeler, place) in enumerate(zip(_TEAM, order, strict=False)):
        own = seed_of(key, k)
        room = cell - METRES - 40
        x = west + place % _CELLS * cell + METRES / 2 + 20 + draw(own, "x") * room
        y = south + place // _CELLS * cell + METRES / 2 + 20 + draw(own, "y") * room
        lon, lat = (round(float(v), 10) for v in to_lonlat(site.epsg).transform(x, y))
        u = draw(own, "year")
        first = next(year for share, year in _YEARS if u < share)
        center = center_of(site, lon, lat)
        for year in (first, *(y for _, y in _YEARS if y != first)):
            overpass = _scene(own, center, overpasses(year))
            if overpass is not None:
                found.append(Annotation(own, labeler, lon, lat, center, overpass))
                break
    return found


def _scene(key: int, center: tuple[int, int], overpasses: list[Overpass]) -> Overpass | None:
    """A scene that holds all of a tile, and mostly clear."""
    half, (x, y) = METRES // 2, center

    def holds(o: Overpass) -> bool:
        west, south, east, north = o.granule.square
        return west <= x - half and x + half <= east and south <= y - half and y + half <= north

    for o in sorted(filter(holds, overpasses), key=lambda o: seed_of(key, o.key, o.granule.tile)):
        window = Window(int(o.granule.uly - y - half) // 10, int(x - half - o.granule.ulx) // 10, SIDE, SIDE)
        if o.valid(window, 10) is None and o.clouds.share(o.box(window, 10)) <= _MAX_CLOUD:
            return o
    return None


def given_out(overpass: Overpass) -> bool:
    """Whether a scene was clear and bright enough to be given to annotators."""
    return overpass.cover <= _MAX_COVER and overpass.sun[0] <= _MAX_ZENITH


class AnnotationScene:
    """One image of ``DW_LABELS``: ``lulc`` (uint8, 0..10) at 10 m; unmarked pixels (0) are masked."""

    def __init__(self, annotation: Annotation, drawn: Cache[np.ndarray]) -> None:
        self.annotation, self._drawn = annotation, drawn
        #: Earth Engine ids know no full stop. ``label_`` is seen in the public copy of the validation tiles.
        self.id = f"{COLLECTION}/label_{annotation.dw_id.replace('.', 'p')}"
        x, y = annotation.center
        half = METRES // 2
        self._square = x - half, y - half, x + half, y + half
        self.bands: tuple[BandSpec, ...] = (BandSpec(
            "lulc", "int", f"EPSG:{self._site.epsg}", (10, 0, x - half, 0, -10, y + half), SIDE, SIDE, 0, 255, "mode"),)

    @property
    def _site(self) -> Site:
        return self.annotation.overpass.granule.site

    @property
    def time(self) -> int:
        return ms_of(self.annotation.overpass.flight.day)

    @functools.cached_property
    def _footprint(self) -> Footprint:
        return Footprint.of(self._site.epsg, box_ring(*self._square), 4)

    @property
    def bounds(self) -> Bounds:
        return self._footprint.bounds

    @functools.cached_property
    def properties(self) -> dict[str, Any]:
        a, o, site = self.annotation, self.annotation.overpass, self._site
        # 2A where the scene has a surface reflectance twin
        level, index = ("1C", o.index) if o.sr_index is None else ("2A", o.sr_index)
        product = Sentinel2Scene(TOA if o.sr_index is None else SR, index, o).properties["PRODUCT_ID"]
        satellite, _, _, baseline, _, _, made = product.split("_")
        side = "WH" if -160 <= a.lon < -20 else "EH"
        known = {
            "system:index": self.id.rsplit("/", 1)[1], "system:time_start": self.time,
            "system:time_end": self.time + DAY_MS, "system:footprint": self._footprint.geojson(), "dw_id": a.dw_id,
            "lon": a.lon, "lat": a.lat, "crs": f"epsg:{site.epsg}", "date": o.flight.day.isoformat(),
            "timestamp": self.time, "biome": site.biome, "biome_name": o.landscape.names.biome(site.biome),
            "eco_region": site.ecoregion, "folder": f"v1/data/dev/{a.labeler.folder}/{side}/{site.biome}",
            "S2_PRODUCT_ID": product, "S2_GRID": o.granule.tile, "S2_LEVEL": level, "S2_METHOD": "firstNonNull",
            "S2_SENSING_ORBIT_DIRECTION": "DESCENDING",
            "S2_DATASTRIP_ID": f"{satellite}_OPER_MSI_L{level}_DS_SGS__{made}_S{stamp(o.second)}_"
                               f"{baseline[:3]}.{baseline[3:]}",
        }
        u = draw(a.key, "empty")
        if u >= _ABSENT:
            known["S2_GEE_ID"] = "" if u < _ABSENT + _EMPTY else index
        return LazyProperties(known, ("NBPixels", *SHARES), self._shares)

    def _shares(self) -> dict[str, Any]:
        counts = np.bincount(self.codes().ravel(), minlength=CLOUD + 1).tolist()
        marked = sum(counts[1:])
        return {"NBPixels": marked, **{name: count / max(marked, 1)
                                       for name, count in zip(SHARES, counts[1:], strict=True)}}

    def codes(self) -> np.ndarray:
        """The whole drawing (510, 510), uint8."""
        return self._drawn.get(self.id, SIDE ** 2, self._draw)

    def read(self, bands: tuple[str, ...], window: Window) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Native pixels of ``lulc``."""
        r, c = window.row, window.col
        codes = self.codes()[r:r + window.height, c:c + window.width]
        valid = codes != UNMARKED
        return {name: (codes.copy(), None if valid.all() else valid) for name in bands}

    def _draw(self) -> np.ndarray:
        a, o = self.annotation, self.annotation.overpass
        radius, box = a.labeler.radius, o.box(a.window, 10)
        wide = box.grow(radius)
        label = o.landscape.label(wide, o.flight.day)
        span = node_range(wide.row, wide.height, NODE), node_range(wide.col, wide.width, NODE)
        # the coarse octaves of the field that misleads Dynamic World
        place = fbm([seed_of(o.landscape.seed, "doubt")], {k: DOUBT_OCTAVES[k] for k in (4, 3)}, *span)[0]
        own, gaps = fbm([seed_of(a.key, "doubt"), seed_of(a.key, "gaps")], _POLYGONS, *span)
        swamp = o.landscape.site.swamp > 0.5
        apart: np.ndarray | None = None
        if a.labeler is VALIDATION:
            # where one of three errs there is no consensus; where the place misleads, all three err alike
            below, above = _errors(own, wide, label, doubt_tables(swamp))
            apart = (below | above)[radius:-radius, radius:-radius]
            doubt = place
        else:
            doubt = place * _PLACE + own * np.float32((1 - _PLACE ** 2) ** 0.5)
        tables = doubt_tables(swamp, a.labeler.errors)
        below, above = _errors(doubt, wide, label, tables)
        seen = label.copy()
        np.copyto(seen, tables[2].take(label), where=below)
        np.copyto(seen, tables[3].take(label), where=above)
        rounded, votes = _commonest(seen, radius)
        codes: np.ndarray = rounded + np.uint8(1)
        least, most = _UNMARKED
        share = least + (most - least) * draw(a.key, "share") ** 2
        inner = _field(gaps, wide)[radius:-radius, radius:-radius]
        codes[inner > np.quantile(inner, 1 - share)] = UNMARKED
        codes[votes < _CLEAR_CUT * (2 * radius + 1) ** 2] = UNMARKED
        if apart is not None:
            codes[apart] = UNMARKED
        sky = o.sky(box, 1)
        if sky is not None:
            codes[sky.shadow > _SHADOW] = UNMARKED
            codes[sky.excess > _CLOUD_MARGIN] = CLOUD
        out: np.ndarray = sieve(codes, _UNIT)
        return out


def _field(nodes: np.ndarray, box: Box) -> np.ndarray:
    return upsample(nodes, NODE, box.row, box.col, box.height, box.width)


def _errors(nodes: np.ndarray, box: Box, label: np.ndarray, tables: tuple[np.ndarray, ...],
            ) -> tuple[np.ndarray, np.ndarray]:
    """Where doubt takes the first and where the second wrong class."""
    doubt = _field(nodes * np.float32(1.1), box)
    return doubt < tables[0].take(label), doubt > tables[1].take(label)


def _commonest(label: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """The commonest class within ``radius`` rows and columns, and its votes; smaller by ``radius`` on each side."""
    height, width = (n - 2 * radius for n in label.shape)
    best = np.zeros((height, width), np.uint8)
    votes = np.zeros((height, width), np.uint8)
    for k in range(CLASS_COUNT):
        mask = (label == k).view(np.uint8)
        if not mask.any():
            continue
        rows = mask[:height].copy()
        for shift in range(1, 2 * radius + 1):
            rows += mask[shift:shift + height]
        count = rows[:, :width].copy()
        for shift in range(1, 2 * radius + 1):
            count += rows[:, shift:shift + width]
        more = count > votes
        np.copyto(best, np.uint8(k), where=more)
        np.copyto(votes, count, where=more)
    return best, votes
