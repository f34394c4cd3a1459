"""Ten thousand random catalogues of half products, both zone rules and the antimeridian against a brute-force reading
of the rules, which knows points over the tile only; and random splits of regions, whose tiles must not change."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from dwplus.grid import PixelGrid, lattice_tiles
from dwplus.grid.longitude import shifted
from dwplus.grid.zones import utm_epsg
from dwplus.planning import pairing
from dwplus.planning.pairing import OpticalTable, Rejection, Rules, Scenes, pair, passes
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene

DAY = 86_400_000
START = 1_600_000_000_000
#: Tiles: in Germany, in western Norway, on Svalbard, and on both sides of the antimeridian and across it; and the zone
#: that the plain rule or the neighbour would have.
PLACES = {
    "plain": (PixelGrid(32632, 500_000.0, 5_700_000.0, 10.0, 510, 510), "U", 31),
    "norway": (PixelGrid(32632, 295_000.0, 6_700_000.0, 10.0, 510, 510), "V", 31),
    "svalbard": (PixelGrid(32633, 432_000.0, 8_760_000.0, 10.0, 510, 510), "X", 32),
    "west of 180": (PixelGrid(32760, 800_000.0, 8_140_000.0, 10.0, 510, 510), "K", 1),
    "across 180": (PixelGrid(32760, 817_000.0, 8_140_000.0, 10.0, 510, 510), "K", 1),
    "east of 180": (PixelGrid(32701, 190_000.0, 8_140_000.0, 10.0, 510, 510), "K", 60),
}
POINTS = np.stack(np.meshgrid((np.arange(12) + 0.5) / 12, (np.arange(12) + 0.5) / 12)).reshape(2, -1)
#: Shares of the tile's height at which a datastrip may end; beyond 0..1 the tile lies in one half.
BORDERS = (-0.6, 0.25, 0.75, 1.6)


class Place:
    def __init__(self, name):
        self.grid, self.letter, self.other = PLACES[name]
        self.bounds = self.grid.footprint().bounds
        self.zone = self.grid.epsg % 100
        assert utm_epsg(*self.grid.center) == self.grid.epsg

    def ground(self, low, high, rng):
        """A strip of ground between two shares of the tile's height, in one of the fashions of writing longitudes."""
        west, south, east, north = self.bounds
        height = north - south
        box = shapely.box(west - 0.3, south + low * height, east + 0.3, south + high * height)
        fashion = rng.integers(3)
        if fashion == 0 or not (box.bounds[2] > 180 or box.bounds[0] < -180):
            return box if fashion < 2 else shifted(box, int(rng.integers(-1, 2)))
        return shapely.transform(box, lambda xy: np.column_stack([(xy[:, 0] + 180) % 360 - 180, xy[:, 1]]))


def inside(low, high):
    return (POINTS[1] > low) & (POINTS[1] < high)


def strips(rng):
    """Products of one sensing, the oldest first: (low, high) shares of the tile's height."""
    border = float(rng.choice(BORDERS))
    halves = [(-9.0, border + 0.02), (border - 0.02, 9.0)]
    kind = rng.integers(6)
    if kind == 0:
        return [(-9.0, 9.0)]
    if kind == 1:
        return [(-9.0, 9.0)] * 2  # processed again
    if kind == 2:
        return [(-9.0, 9.0), *halves]  # whole at first, then again as halves
    if kind == 3:
        return [halves[int(rng.integers(2))]]  # the other half is missing
    return halves[::1 if rng.random() < 0.5 else -1]


def catalogue(place, rng):
    """Sensings: their granule's zone, products of labels and of optical scenes, all shuffled."""
    labels, optical, told = [], [], []
    for number in range(rng.integers(1, 4)):
        time = START + number * 2 * DAY
        first = f"2020{9 + number:02d}13T12264{number}"
        zone = place.zone if rng.random() < 0.75 else place.other
        tile = f"T{zone:02d}{place.letter}AB"
        parts = strips(rng)
        aligned = rng.random() < 0.85
        crs_zone = zone if rng.random() < 0.8 else (place.other if zone == place.zone else place.zone)
        other_stamp, missing = rng.random() < 0.2, rng.random() < 0.15
        rows = []
        for k, (low, high) in enumerate(parts):
            index = f"{first}_2020{9 + number:02d}13T1300{k:02d}_{tile}"
            twin = index.replace("T1300", "T1400") if other_stamp else index
            ground, cloud = place.ground(low, high, rng), float(rng.integers(0, 12))
            shift = 0.0 if aligned else 3.0
            transform = (10.0, 0.0, place.grid.x0 - 1000 + shift, 0.0, -10.0, place.grid.y0 + 1000)
            labels.append(LabelScene(index, time + k * 1000, ground, f"EPSG:{place.grid.epsg // 100}{crs_zone:02d}",
                                     transform, (2000, 2000)))
            if not (missing and k == len(parts) - 1):
                optical.append(OpticalScene(twin, time + k * 1000, tile[1:], cloud, ground))
            rows.append((index, twin, inside(low, high), cloud, time + k * 1000, not (missing and k == len(parts) - 1)))
        told.append((zone, crs_zone, aligned, rows))
    rng.shuffle(labels)
    rng.shuffle(optical)
    return labels, optical, told


def picked(products):
    """Of (index, hits, ...) the oldest first: the fewest that cover the tile, the largest first; None where none do."""
    kept = []
    for k, product in enumerate(products):
        newer = np.logical_or.reduce([p[1] for p in products[k + 1:]] or [np.zeros(POINTS.shape[1], bool)])
        if (product[1] & ~newer).any():
            kept.append(product)
    for pool in (kept, products):
        whole = [p for p in pool if p[1].all()]
        if whole:
            return [whole[-1]]
        if pool and np.logical_or.reduce([p[1] for p in pool]).all():
            return sorted(pool, key=lambda p: -p[1].sum())
    return None


def reference(place, told, max_cloud, on_label_grid):
    """Ids (label, s2), time and cloud of every pair, the least cloudy first."""
    found = []
    for zone, crs_zone, aligned, rows in told:
        if on_label_grid and not (aligned and crs_zone == place.zone):
            continue
        if not on_label_grid and place.zone not in (zone, crs_zone):
            continue
        label = picked([(index, hits) for index, _, hits, *_ in rows])
        if label is None:
            continue
        scenes = [(twin, hits, cloud, time) for _, twin, hits, cloud, time, there in rows if there]
        names = {index for index, _ in label}
        own = picked([s for s in scenes if s[0] in names]) or picked(scenes)
        if own is None or own[0][2] > max_cloud:
            continue
        found.append((own[0][2], min(t for _, _, _, _, t, _ in rows), ",".join(i for i, _ in label),
                      ",".join(s[0] for s in own), own[0][3]))
    return found


@pytest.mark.timeout(1200)  # a minute of one core
def test_ten_thousand_random_catalogues():
    rng = np.random.default_rng(11)
    places = {name: Place(name) for name in PLACES}
    counts = {"paired": 0, "mosaic": 0, "none": 0, "fewer": 0}
    for number in range(10_000):
        place = places[list(places)[number % len(places)]]
        labels, optical, told = catalogue(place, rng)
        rules = Rules(max_cloud=9.0, on_label_grid=bool(number // len(places) % 2))
        around = shapely.box(*place.bounds).buffer(0.5)
        radar = passes([RadarScene("s1", START + DAY, "ASCENDING", 8, "A", around)])
        found = pair(place.grid, labels, OpticalTable(optical), radar, rules)
        expected = reference(place, told, 9.0, rules.on_label_grid)
        got = [] if isinstance(found, Rejection) else [
            (p.optical.cloud, p.label.index, p.optical.index, p.optical.time_ms) for p in found]
        assert sorted(got) == sorted((cloud, label, s2, time) for cloud, _, label, s2, time in expected), (number, told)
        assert [g[0] for g in got] == sorted(g[0] for g in got)
        counts["paired" if got else "none"] += 1
        counts["mosaic"] += any("," in g[1] for g in got)
        # What lies beyond the tile changes nothing: not even the reason.
        west, south, east, north = place.bounds
        if number % 4:
            continue
        near = [s for s in labels if pairing.coverage(place.grid.footprint(), [s.footprint]) > 0]
        if len(near) < len(labels):
            counts["fewer"] += 1
            near_optical = [s for s in optical if pairing.coverage(place.grid.footprint(), [s.footprint]) > 0]
            assert pair(place.grid, near, OpticalTable(near_optical), radar, rules) == found
    assert min(counts.values()) > 200, counts


@pytest.mark.parametrize("seed", range(6))
def test_a_larger_region_keeps_the_tiles_of_a_smaller_one_and_their_scenes(seed):
    rng = np.random.default_rng(seed)
    west, south = [(9.1, 51.1), (5.2, 60.3), (179.85, -16.9)][seed % 3]
    whole = shapely.box(west, south, west + 0.25, south + 0.2)
    letter = "UVK"[seed % 3]
    scenes, labels = [], []
    zones = sorted({tile.grid.epsg for tile in lattice_tiles(whole, 256, 10)})
    for k in range(3):
        cut = south + rng.uniform(0.02, 0.18)
        bottom = shapely.box(west - 0.5, -89, west + 0.9, cut + 0.003)
        top = shapely.box(west - 0.5, cut, west + 0.9, 89)
        for epsg in zones:
            for part, ground in enumerate((bottom, top)[::1 if rng.random() < 0.5 else -1]):
                index = f"2020091{k}T122640_2020091{k}T13000{part}_T{epsg % 100:02d}{letter}AB"
                labels.append(LabelScene(index, START + k * DAY, ground))
                scenes.append(OpticalScene(index, START + k * DAY, index[-5:], float(rng.integers(20)), ground))
    radar = [RadarScene("s1", START, "ASCENDING", 8, "A", shapely.box(west - 1, south - 1, west + 2, south + 1))]

    def plan(region):
        tiles = lattice_tiles(region, 256, 10)
        area = shapely.box(*shapely.total_bounds([shapely.transform(
            t.grid.footprint(), lambda xy: np.column_stack([west + (xy[:, 0] - west + 180) % 360 - 180, xy[:, 1]]))
            for t in tiles]))
        over = Scenes([s for s in labels if s.footprint.intersects(area)],
                      [s for s in scenes if s.footprint.intersects(area)], radar, "sr")
        return {t.id: [(p.label.index, p.optical.index) for p in found] if isinstance(
            found := pair(t.grid, over.labels, over.optical, over.passes, Rules()), list) else found for t in tiles}

    all_of = plan(whole)
    assert any(isinstance(found, list) and "," in found[0][0] for found in all_of.values())
    for _ in range(2):
        line, upright = rng.uniform(0.3, 0.7), rng.random() < 0.5
        w, s, e, n = whole.bounds
        pieces = [shapely.box(w, s, w + line * (e - w), n), shapely.box(w + line * (e - w), s, e, n)] if upright else [
            shapely.box(w, s, e, s + line * (n - s)), shapely.box(w, s + line * (n - s), e, n)]
        parts = [plan(piece) for piece in pieces]
        assert not set(parts[0]) & set(parts[1])
        assert parts[0] | parts[1] == all_of
