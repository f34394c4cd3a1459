"""The ground truth: land cover as a function of place, day and seed, on each zone's 10 m lattice.

Lattice row ``r`` spans northings ``LATTICE_NORTH - 10 (r + 1) .. LATTICE_NORTH - 10 r``, column ``c`` eastings
``10 c .. 10 (c + 1)``. Every sensor looks its pixels up there, so all of them see one world.
"""

from __future__ import annotations

import datetime as dt
import functools
import math

import numpy as np

from dwplus.embedded_earth.planet.names import Names
from dwplus.embedded_earth.planet.noise import draw, fbm, hash_grid, node_range, seed_of, upsample
from dwplus.embedded_earth.planet.patches import Box as Box
from dwplus.embedded_earth.planet.patches import Cache as Cache
from dwplus.embedded_earth.planet.patches import Cover, Patch, Slope
from dwplus.embedded_earth.planet.sites import LATTICE_NORTH, LATTICE_STEP, SITE_SIZE, Site
from dwplus.embedded_earth.planet.terrain import SLOPE_UNIT, STRETCH_UNIT

WATER, TREES, GRASS, FLOODED, CROPS, SHRUB, BUILT, BARE, SNOW = range(9)
CLASS_COUNT = 9

#: Pixels per node of the coarse fields: 80 m.
NODE = 8
#: Within-class states of a pixel: VIGORS levels (how lush, bright or rough it is for its class) times BLENDS levels
#: (how much of a similar class is mixed in).
VIGORS, BLENDS = 32, 8
STATES = VIGORS * BLENDS
#: Pixels computed around a window: sensors may look 12 pixels aside (label smoothing, lattice offsets).
PAD = 12
#: Rows computed at a time: 128 x 534 float32 are 273 kB, a handful of them fit a second-level cache.
_STRIP = 128
#: Pixels of patches (20 bytes each) and covers (3 bytes each) that are kept, over all sites: 80 MB and 36 MB, some 14
#: and 42 windows of 534 x 534.
_PATCH_PIXELS, _COVER_PIXELS = 4_000_000, 12_000_000

_ELEVATION, _FOREST, _FARM, _TOWN, _OPEN, _VIGOR, _RIVER = range(7)
#: Octave amplitudes of the coarse fields by level (cells of 80 m x 2^level), in the order of the indices above.
#: Elevation falls off like 1/f (mountain relief, Mandelbrot 1982); the others are patchier by eye.
_OCTAVES: dict[int, tuple[float, ...]] = {
    8: (1.00, 0.50, 0.60, 0.30, 0.50, 0.00, 1.00),
    7: (0.70, 0.60, 0.80, 0.50, 0.60, 0.20, 0.70),
    6: (0.45, 0.70, 0.80, 0.80, 0.60, 0.40, 0.40),
    5: (0.30, 0.70, 0.50, 0.90, 0.60, 0.50, 0.25),
    4: (0.20, 0.60, 0.30, 0.80, 0.60, 0.60, 0.12),
    3: (0.12, 0.50, 0.10, 0.50, 0.50, 0.60, 0.05),
    2: (0.07, 0.30, 0.00, 0.30, 0.40, 0.60, 0.02),
    1: (0.04, 0.20, 0.00, 0.10, 0.30, 0.50, 0.00),
}
#: Weight of the fine detail (20 to 40 m) and of the parcel's own number in each decision, in standard deviations.
_DETAIL = {_ELEVATION: 0.012, _FOREST: 0.18, _TOWN: 0.20, _OPEN: 0.25}
_PARCEL = {_FARM: 0.50, _TOWN: 0.25}
#: Standard deviation of the fine detail before scaling: bilinear uniform noise, 1/sqrt(3) * 2/3, octaves 1 and 0.6.
_DETAIL_STD = 3 ** -0.5 * 2 / 3 * math.hypot(1, 0.6)
#: Nodes between the samples that thresholds are taken from, over the site.
_CALIBRATION_STRIDE = 6

#: Steps of the integers that fields are kept in; fields are cut at +-15 standard deviations.
FIELD_UNIT, RIVER_UNIT, YEAR_UNIT = 2048, 16384, 100
#: A site with less relief than this, metres per standard deviation, is flat to all sensors.
HILLY = 40.0


def season(day: int, peak: int) -> float:
    """1 on the day of year ``peak``, -1 half a year away."""
    return math.cos(2 * math.pi * (day - peak) / 365.25)


class Memory:
    """What a planet keeps of its landscapes, shared by all sites."""

    def __init__(self) -> None:
        self.patches: Cache[Patch] = Cache(_PATCH_PIXELS)
        self.covers: Cache[Cover] = Cache(_COVER_PIXELS)


class Landscape:
    """The land of one site (and of everything around it in its zone)."""

    def __init__(self, site: Site, seed: int, memory: Memory | None = None, names: Names | None = None) -> None:
        self.site, self.seed = site, seed_of(seed, site.name, "land")
        self.names = names or Names()
        self._memory = memory or Memory()
        self._seeds = [seed_of(self.seed, k) for k in range(len(_OCTAVES[8]))]
        angle = draw(self.seed, "angle") * math.pi / 2
        self._axis = round(math.cos(angle) * 1024), round(math.sin(angle) * 1024)

    def box(self, x0: float, y0: float, height: int, width: int, scale: int = LATTICE_STEP) -> Box:
        """The lattice box under a raster window whose upper-left corner is (x0, y0) metres."""
        k = scale // LATTICE_STEP
        return Box(int((LATTICE_NORTH - y0) // LATTICE_STEP), int(x0 // LATTICE_STEP), height * k, width * k)

    def patch(self, box: Box) -> Patch:
        """A patch that contains the box."""
        name = self.site.name
        found = self._memory.patches.find(lambda key: key[0] == name and key[1].contains(box))
        if found is not None:
            return found
        padded = box.grow(PAD)
        return self._memory.patches.get((name, padded), padded.pixels, lambda: self._make_patch(padded))

    def cover(self, box: Box, day: dt.date) -> Cover:
        """Land cover of a patch that contains the box, on a day."""
        patch = self.patch(box)
        return self._memory.covers.get((self.site.name, patch.box, day), patch.box.pixels,
                                       lambda: self._make_cover(patch, day))

    def label(self, box: Box, day: dt.date) -> np.ndarray:
        """Classes (uint8, 0..8) of a box on a day."""
        cover = self.cover(box, day)
        return cover.label[cover.patch.box.slices(box)]

    # ---- fields ------------------------------------------------------------------------------------------------

    def _nodes(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return fbm(self._seeds, _OCTAVES, rows, cols)

    def _detail(self, box: Box) -> np.ndarray:
        """Fine noise of unit variance with cells of 40 and 20 m."""
        total: np.ndarray | None = None
        for factor, weight in ((4, 1.0), (2, 0.6)):
            h = hash_grid(seed_of(self.seed, "detail", factor), node_range(box.row, box.height, factor),
                          node_range(box.col, box.width, factor))
            nodes = (h >> np.uint32(8)).astype(np.float32)
            nodes *= np.float32(2.0 ** -23 * weight / _DETAIL_STD)
            nodes -= np.float32(weight / _DETAIL_STD)
            layer = upsample(nodes, factor, box.row, box.col, box.height, box.width)
            total = layer if total is None else np.add(total, layer, out=total)
        assert total is not None
        return total

    @functools.cached_property
    def _sorted_fields(self) -> np.ndarray:
        """Sorted samples (field, n) of each decision field over the site: their empirical quantiles."""
        x, y = self.site.center
        half = int(SITE_SIZE / 2 / LATTICE_STEP)
        row, col = int((LATTICE_NORTH - y) // LATTICE_STEP), int(x // LATTICE_STEP)
        rows = np.arange((row - half) // NODE, (row + half) // NODE, _CALIBRATION_STRIDE)
        cols = np.arange((col - half) // NODE, (col + half) // NODE, _CALIBRATION_STRIDE)
        fields = self._nodes(rows, cols)
        spread = (hash_grid(seed_of(self.seed, "calibration"), rows, cols) >> np.uint32(8)).astype(np.float32)
        spread = spread * np.float32(2.0 ** -23) - np.float32(1)  # uniform in -1..1
        for k, weight in _DETAIL.items():
            fields[k] += spread * np.float32(weight * 3 ** 0.5)  # the detail has unit variance
        for k, weight in _PARCEL.items():
            fields[k] += spread[::-1] * np.float32(weight)
        fields[_RIVER] = np.abs(fields[_RIVER])
        return np.sort(fields.reshape(len(fields), -1), axis=1)

    def _quantile(self, k: int, share: float) -> np.int16:
        """The value (x FIELD_UNIT) below which ``share`` of the site's field lies; beyond all of it outside 0..1."""
        values = self._sorted_fields[k]
        if not 0 < share < 1:
            return np.int16(-32768 if share <= 0 else 32767)
        return np.int16(round(float(values[int(share * len(values))]) * FIELD_UNIT))

    # ---- relief ------------------------------------------------------------------------------------------------

    @property
    def hilly(self) -> bool:
        """Whether the site has slopes that sensors see."""
        return self.site.recipe.relief >= HILLY

    @functools.cached_property
    def _shore(self) -> np.float32:
        """The elevation of lakes in the mean over the year, standard deviations: nothing lies lower."""
        return np.float32(self._quantile(_ELEVATION, self.site.recipe.water) / FIELD_UNIT)

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres above the sea at points of the zone, float64 of their shape; lakes are level."""
        at_col, at_row = np.asarray(x) / (NODE * LATTICE_STEP), (LATTICE_NORTH - np.asarray(y)) / (NODE * LATTICE_STEP)
        if not at_col.size:
            return np.zeros(at_col.shape)
        first_row, first_col = math.floor(at_row.min()), math.floor(at_col.min())
        octaves = {level: amplitudes[_ELEVATION] for level, amplitudes in _OCTAVES.items()}
        nodes = fbm(self._seeds[_ELEVATION:_ELEVATION + 1], octaves,
                    np.arange(first_row, math.floor(at_row.max()) + 2),
                    np.arange(first_col, math.floor(at_col.max()) + 2))[0]
        np.maximum(nodes, self._shore, out=nodes)
        row, col = np.floor(at_row).astype(int), np.floor(at_col).astype(int)
        down, right = at_row - row, at_col - col
        row, col = row - first_row, col - first_col
        upper = nodes[row, col] * (1 - right) + nodes[row, col + 1] * right
        lower = nodes[row + 1, col] * (1 - right) + nodes[row + 1, col + 1] * right
        metres: np.ndarray = upper * (1 - down) + lower * down - self._shore
        return self.site.recipe.altitude + self.site.recipe.relief * metres

    def slopes(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (east, north) of the ground on a box, metres per metre by 0.01, float32: what sensors see."""
        slope = self.patch(box).slope
        if slope is None:
            return np.zeros((box.height, box.width), np.float32), np.zeros((box.height, box.width), np.float32)
        where = self.patch(box).box.slices(box)
        unit = np.float32(1 / SLOPE_UNIT)
        return slope.east[where] * unit, slope.north[where] * unit

    def _gradient(self, nodes: np.ndarray) -> np.ndarray:
        """(2, h - 2, w - 2) from the elevation at the nodes: east and north, metres per metre x SLOPE_UNIT."""
        level = np.maximum(nodes, self._shore)
        scale = np.float32(self.site.recipe.relief * SLOPE_UNIT / (2 * NODE * LATTICE_STEP))
        east, north = level[1:-1, 2:] - level[1:-1, :-2], level[:-2, 1:-1] - level[2:, 1:-1]
        return np.stack([east, north]) * scale

    # ---- patches -----------------------------------------------------------------------------------------------

    def _make_patch(self, box: Box) -> Patch:
        """Compute a patch in strips of rows: what is at work then stays in the processor's cache."""
        rows, cols = node_range(box.row, box.height, NODE), node_range(box.col, box.width, NODE)
        if self.hilly:  # one more node on each side, for the slope at the last
            nodes = self._nodes(np.arange(rows[0] - 1, rows[-1] + 2), np.arange(cols[0] - 1, cols[-1] + 2))
            nodes = np.concatenate([nodes[:, 1:-1, 1:-1], self._gradient(nodes[_ELEVATION])])
        else:
            nodes = self._nodes(rows, cols)
        shape = (box.height, box.width)
        short, byte = np.int16, np.uint8
        patch = Patch(
            box=box, elevation=np.empty(shape, short), forest=np.empty(shape, short), farm=np.empty(shape, short),
            town=np.empty(shape, short), open=np.empty(shape, short), river=np.empty(shape, short),
            ice=None if self.site.recipe.ice is None else np.empty(shape, bool), road=np.empty(shape, bool),
            turn=np.empty(shape, byte), felled=np.empty(shape, short),
            slope=Slope.empty(shape) if self.hilly else None,
            state=np.empty(shape, byte), parcel_state=np.empty(shape, byte), pixel_state=np.empty(shape, byte))
        first = box.row // NODE
        for start in range(0, box.height, _STRIP):
            strip = Box(box.row + start, box.col, min(_STRIP, box.height - start), box.width)
            span = node_range(strip.row, strip.height, NODE)
            self._fill(patch, slice(start, start + strip.height), strip,
                       nodes[:, span[0] - first:span[-1] + 1 - first])
        return patch

    def _fill(self, patch: Patch, at: slice, strip: Box, nodes: np.ndarray) -> None:
        """Write the rows ``at`` of a patch: the strip of the lattice under ``nodes``."""
        recipe = self.site.recipe
        layers = [upsample(layer, NODE, strip.row, strip.col, strip.height, strip.width) for layer in nodes]
        if patch.slope is not None:
            north, east = layers.pop(), layers.pop()
            for target, steep in ((patch.slope.east, east), (patch.slope.north, north)):
                np.rint(steep, out=steep)
                target[at] = np.clip(steep, -127, 127, out=steep)
                steep *= steep
            east += north
            east *= np.float32(SLOPE_UNIT ** -2)
            east += np.float32(1)
            np.sqrt(east, out=east)
            east -= np.float32(1)
            east *= np.float32(STRETCH_UNIT)
            patch.slope.stretch[at] = east
        detail = self._detail(strip)

        rows = np.arange(strip.row, strip.row + strip.height, dtype=np.int32)
        cols = np.arange(strip.col, strip.col + strip.width, dtype=np.int32)
        a, b = self._axis
        length, width = (side // LATTICE_STEP * 1024 for side in recipe.parcel)
        u = (rows * np.int32(b))[:, None] + (cols * np.int32(a))[None, :]
        v = (rows * np.int32(a))[:, None] - (cols * np.int32(b))[None, :]
        qu, qv = u // np.int32(length), v // np.int32(width)
        # Roads: 15 m wide, along every fourth parcel side one way and every eighth the other.
        u -= qu * np.int32(length)
        v -= qv * np.int32(width)
        patch.road[at] = ((u < 1536) & ((qu & 3) == 0)) | ((v < 1536) & ((qv & 7) == 0))
        # what belongs to parcels is looked up in a table of those at hand
        u0, v0 = int(qu.min()), int(qv.min())
        us = np.arange(u0, int(qu.max()) + 1, dtype=np.int32)
        vs = np.arange(v0, int(qv.max()) + 1, dtype=np.int32)
        parcels = hash_grid(seed_of(self.seed, "parcel"), us, vs)
        blocks = hash_grid(seed_of(self.seed, "felling"), us >> 1, vs >> 2)
        place = np.multiply(qu - np.int32(u0), len(vs), dtype=np.intp)
        place += qv
        place -= v0
        pixel = hash_grid(seed_of(self.seed, "pixel"), rows, cols)

        own = ((parcels & np.uint32(0xFFFF)).astype(np.float32) * np.float32(2 / 65536) - np.float32(1)).take(place)
        for k, weight in _PARCEL.items():
            layers[k] += own * np.float32(weight)
        for k, weight in _DETAIL.items():
            layers[k] += detail * np.float32(weight)
        if recipe.trees:
            years = blocks.astype(np.float32) * np.float32(2.0 ** -32 / max(recipe.clearing, 1e-4) * YEAR_UNIT)
            np.minimum(years, 32767).astype(np.int16).take(place, out=patch.felled[at], mode="clip")
        if recipe.coast is not None:
            edge = (LATTICE_NORTH - self.site.center[1] - recipe.coast) / LATTICE_STEP
            drop = np.maximum(rows.astype(np.float32) - np.float32(edge), np.float32(0))
            layers[_ELEVATION] -= (drop * np.float32(0.01))[:, None]  # sea floor: 1 unit a kilometre
        if recipe.ice is not None and patch.ice is not None:
            edge = (self.site.center[0] + recipe.ice) / LATTICE_STEP
            # the margin of the ice wanders by about 1.5 km
            patch.ice[at] = layers[_FOREST] * np.float32(150) > (np.float32(edge) - cols.astype(np.float32))[None, :]
        if recipe.coast is not None:
            np.maximum(layers[_ELEVATION], np.float32(-15), out=layers[_ELEVATION])
        kept = ((patch.elevation, _ELEVATION), (patch.forest, _FOREST), (patch.farm, _FARM), (patch.town, _TOWN),
                (patch.open, _OPEN))
        for target, k in kept:
            layers[k] *= np.float32(FIELD_UNIT)
            target[at] = layers[k]
        river = np.abs(layers[_RIVER], out=layers[_RIVER])
        river *= np.float32(RIVER_UNIT)
        patch.river[at] = np.minimum(river, np.float32(32767), out=river)
        vigor = layers[_VIGOR]
        vigor *= np.float32(VIGORS / 6)
        vigor += np.float32(VIGORS / 2)
        np.clip(vigor, 0, VIGORS - 1, out=vigor)
        detail *= np.float32(-BLENDS / 4)
        detail += np.float32(BLENDS / 2)
        np.clip(detail, 0, BLENDS - 1, out=detail)
        patch.state[at] = vigor
        patch.state[at] *= np.uint8(BLENDS)
        patch.state[at] += detail.astype(np.uint8)
        # parcels differ a lot among themselves, a little within
        (parcels >> np.uint32(16)).astype(np.uint8).take(place, out=patch.turn[at], mode="clip")
        vigors = (parcels >> np.uint32(24) & np.uint32(STATES - BLENDS)).astype(np.uint8)
        vigors.take(place, out=patch.parcel_state[at], mode="clip")
        patch.parcel_state[at] += detail.astype(np.uint8)
        pixel >>= np.uint32(24)
        patch.pixel_state[at] = pixel

    # ---- classes -----------------------------------------------------------------------------------------------

    def snow_share(self, day: dt.date) -> float:
        """Share of open land under snow, highest in January (July in the south)."""
        recipe = self.site.recipe
        doy = day.timetuple().tm_yday
        cold = season(doy, 25 if self.site.lat >= 0 else 207)
        year_to_year = 0.12 * (2 * draw(self.seed, "winter", day.year) - 1)
        shape = min(max(0.5 + 1.1 * cold + year_to_year - 0.35, 0.0), 1.0)
        return recipe.snow_low + (recipe.snow_peak - recipe.snow_low) * shape

    def greenness(self, day: dt.date) -> float:
        """How green the vegetation stands, 0..1 (phenology: one season, cosine)."""
        recipe = self.site.recipe
        doy = day.timetuple().tm_yday
        middle, swing = (recipe.green_peak + recipe.green_low) / 2, (recipe.green_peak - recipe.green_low) / 2
        return middle + swing * season(doy, recipe.peak_day)

    def _make_cover(self, p: Patch, day: dt.date) -> Cover:
        recipe, q = self.site.recipe, self._quantile
        doy = day.timetuple().tm_yday
        when = day.year + (doy - 1) / 365.25
        wet = season(doy, recipe.wet_peak)
        grass, shrub, _ = recipe.open_mix

        # open land: grass, shrub, bare along one field
        step = (p.open > q(_OPEN, grass)).view(np.uint8) + (p.open > q(_OPEN, grass + shrub)).view(np.uint8)
        label = np.array([GRASS, SHRUB, BARE], dtype=np.uint8).take(step)
        # woods, and what felling made of them: bare in the first year, then grass
        if recipe.trees:
            wood = p.forest > q(_FOREST, 1 - min(recipe.trees / (1 - recipe.crops), 0.999))
            now = round((when - 2005) * YEAR_UNIT)
            label[wood] = TREES
            wood &= p.felled < now
            label[wood] = GRASS
            wood &= p.felled > now - YEAR_UNIT
            label[wood] = BARE
        # crops; out of season part of the parcels lies bare, more where the dry season is hard
        if recipe.crops:
            farm = p.farm > q(_FARM, 1 - recipe.crops)
            low = 1 - (self.greenness(day) - recipe.green_low) / max(recipe.green_peak - recipe.green_low, 0.05)
            fallow = round(255 * min(0.05 + 0.55 * low * (1 - recipe.green_low), 0.9))
            label[farm] = CROPS
            farm &= p.turn < fallow
            label[farm] = BARE
        # low land: marsh, mangrove, swamp; drier parts of it keep their cover
        share = recipe.water + recipe.water_swing * wet
        marsh = p.elevation < q(_ELEVATION, share + 1.5 * recipe.flooded)
        marsh &= p.open < q(_OPEN, 1 / 1.5)
        label[marsh] = FLOODED
        # settlements grow; roads through farm land
        town = p.town > q(_TOWN, 1 - recipe.built * (1 + recipe.growth * (when - 2020)))
        if recipe.crops:
            town |= p.road & (p.farm > q(_FARM, 1 - 1.3 * recipe.crops))
        label[town] = BUILT
        water = p.elevation < q(_ELEVATION, share)
        if recipe.river:
            water |= p.river < round(recipe.river * (1 + 0.25 * wet) * RIVER_UNIT)
        label[water] = WATER
        # snow from the heights downwards; woods and towns keep their own label, lakes freeze in hard winters
        white = self.snow_share(day)
        if white > 0:
            snow = p.elevation > q(_ELEVATION, 1 - white)
            if white > 0.85:
                snow |= water
            snow &= (label != TREES) & (label != BUILT)
            label[snow] = SNOW
        if p.ice is not None:
            label[p.ice] = SNOW

        index = p.state.astype(np.uint16)
        np.copyto(index, p.parcel_state, where=label == CROPS)
        np.copyto(index, p.pixel_state, where=label == BUILT)
        index += np.multiply(label, STATES, dtype=np.uint16)
        return Cover(p, label, index)
