"""No two tiles of different splits lie nearer than the guard: on whole regions, across zones, on annotations."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from dwplus.grid import PixelGrid, utm_epsg
from dwplus.planning.sampling import split_of
from dwplus.splits import near_pairs, outside_guard

SIDE = 5100.0
GEOD = Geod(ellps="WGS84")


def grid(epsg, i, j, side=SIDE):
    return PixelGrid(epsg, i * side, (j + 1) * side, 10.0, int(side / 10), int(side / 10))


def region(epsg, i0, j0, columns, rows):
    return [grid(epsg, i, j) for i in range(i0, i0 + columns) for j in range(j0, j0 + rows)]


def ground_distance(a, b):
    """Metres over the ellipsoid between two footprints: the least over points of their outlines."""
    def outline(g):
        west, south, east, north = g.bounds
        ring = shapely.segmentize(shapely.box(west, south, east, north).exterior, 640)
        from dwplus.grid import transformer
        return np.column_stack(transformer(g.epsg, 4326).transform(*np.array(ring.coords).T))

    p, q = outline(a), outline(b)
    i, j = np.meshgrid(range(len(p)), range(len(q)))
    _, _, metres = GEOD.inv(p[i.ravel(), 0], p[i.ravel(), 1], q[j.ravel(), 0], q[j.ravel(), 1])
    return metres.min()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("guard", [1.0, 5_000.0, 12_000.0])
def test_a_whole_region_keeps_its_guard(seed, guard):
    tiles = region(32631, 90, 1000, 30, 30)
    splits = [split_of(seed, g) for g in tiles]
    keep = outside_guard(tiles, splits, guard)
    kept = [(g, s) for g, s, k in zip(tiles, splits, keep, strict=True) if k]
    assert {s for _, s in kept} == set(splits)
    bounds = np.array([g.bounds for g, _ in kept])
    names = np.array([s for _, s in kept])
    # Gap between boxes along each axis, by brute force.
    dx = np.maximum(0, np.maximum(bounds[:, None, 0] - bounds[None, :, 2], bounds[None, :, 0] - bounds[:, None, 2]))
    dy = np.maximum(0, np.maximum(bounds[:, None, 1] - bounds[None, :, 3], bounds[None, :, 1] - bounds[:, None, 3]))
    other = names[:, None] != names[None, :]
    assert np.hypot(dx, dy)[other].min() >= guard
    # Nobody left without need: each tile left out lies within the guard of a kept tile that goes before it.
    order = ("test", "val", "train")
    for i in np.flatnonzero(~np.array(keep)):
        west, south, east, north = tiles[i].bounds
        near = np.hypot(np.maximum(0, np.maximum(bounds[:, 0] - east, west - bounds[:, 2])),
                        np.maximum(0, np.maximum(bounds[:, 1] - north, south - bounds[:, 3]))) <= guard * 1.005
        assert any(order.index(s) < order.index(splits[i]) for s in names[near])


def test_without_a_guard_tiles_of_different_splits_touch():
    tiles = region(32631, 90, 1000, 30, 30)
    splits = [split_of(0, g) for g in tiles]
    assert near_pairs(tiles, splits, 0.0) and all(outside_guard(tiles, splits, 0.0))


@settings(max_examples=25, deadline=None)
@given(lat=st.floats(-60, 70), edge=st.sampled_from([-180, -174, 0, 6, 174]), guard=st.sampled_from([500.0, 8_000.0]),
       seed=st.integers(0, 99))
def test_zone_edges_the_equator_and_the_antimeridian(lat, edge, guard, seed):
    rng = np.random.default_rng(seed)
    tiles = []
    for _ in range(14):
        lon = (edge + rng.uniform(-0.15, 0.15) / math.cos(math.radians(lat)) + 180) % 360 - 180
        y = lat + rng.uniform(-0.15, 0.15)
        epsg = utm_epsg(lon, y)
        from dwplus.grid import transformer
        x0, y0 = transformer(4326, epsg).transform(lon, y)
        tiles.append(PixelGrid(epsg, round(x0 / 10) * 10.0, round(y0 / 10) * 10.0, 10.0, 128, 128))
    splits = rng.choice(["train", "val", "test"], len(tiles)).tolist()
    keep = outside_guard(tiles, splits, guard)
    kept = [i for i in range(len(tiles)) if keep[i]]
    for n, i in enumerate(kept):
        for j in kept[:n]:
            if splits[i] != splits[j]:
                assert ground_distance(tiles[i], tiles[j]) >= guard * 0.999
    assert all(keep[i] for i in range(len(tiles)) if splits[i] == "test")


def test_val_that_gave_way_pushes_nobody_out():
    tiles = [grid(32631, i, 1000) for i in (100, 101, 102)]
    assert outside_guard(tiles, ["test", "val", "train"], 1.0) == [True, False, True]
    assert outside_guard(tiles, ["val", "train", "train"], 1.0) == [True, False, True]
