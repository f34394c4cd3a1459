"""No two tiles of different splits lie nearer than the guard: on whole regions, across zones, on annotations."""

import math

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, transformer, utm_epsg
from dwplus.splits import (
    SPLITS,
    assigned,
    block_of,
    blocks_of,
    missing,
    missing_words,
    near_pairs,
    outside_guard,
    split_of,
    splits_of,
)
from dwplus.taxonomy import CLASSES

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


def table_of(tiles, seed=0):
    """Tiles with biomes in patches of several blocks, and classes of which one is rare and clustered."""
    rng = np.random.default_rng(seed)
    column = np.array([g.x0 // 102_000 for g in tiles])
    counts = rng.integers(0, 50_000, (len(tiles), len(CLASSES)))
    keys = sorted({block_of(g) for g in tiles})
    rare = {keys[i] for i in rng.choice(len(keys), max(1, len(keys) // 6), replace=False)}
    counts[:, 8] = [40_000 * (block_of(g) in rare) for g in tiles]
    return pd.DataFrame({"tile_id": [f"t{i}" for i in range(len(tiles))],
                         "biome": 1 + (column - column.min()).astype(int) % 14,
                         **{f"count_{name}": counts[:, i] for i, name in enumerate(CLASSES)}})


def block_names(tiles):
    return pd.Series([str(block_of(g)) for g in tiles])


def test_blocks_are_those_of_the_zone_that_the_centre_lies_in():
    """By the rule, one tile at a time: western Norway, Svalbard, both hemispheres, both sides of 180 degrees."""
    made = [grid(epsg, i, j) for epsg, i, j in
            ((32631, 110, 1310), (32632, 40, 1310), (32632, 98, 1000), (32633, 20, 1600), (32732, 98, 1700),
             (32660, 160, 1370), (32601, 30, 1370), (32661 - 60, 98, 0))]
    blocks = blocks_of(made)
    for one, block in zip(made, blocks, strict=True):
        lon, lat = one.center
        x, y = transformer(4326, utm_epsg(lon, lat)).transform(lon, lat)
        assert block == (utm_epsg(lon, lat), x // 25_500, y // 25_500)
        assert block == block_of(one)
        assert splits_of(5, [one]) == [split_of(5, one)]
    assert any(block[0] != one.epsg for one, block in zip(made, blocks, strict=True))  # the rule had work
    assert splits_of(5, made) == [split_of(5, one) for one in made]
    assert blocks_of([]) == [] == splits_of(5, [])


def test_by_default_a_block_is_the_same_in_every_store():
    tiles = region(32631, 90, 1000, 30, 30)
    table = table_of(tiles)
    whole = assigned(table, tiles, 3)
    assert whole == [split_of(3, g) for g in tiles]
    some = list(range(0, 900, 7))
    assert assigned(table.iloc[some], [tiles[i] for i in some], 3) == [whole[i] for i in some]


@pytest.mark.parametrize("seed", range(3))
def test_every_biome_gets_its_shares(seed):
    tiles = region(32631, 80, 1000, 80, 20)  # 4 biomes of 16 blocks, and 2 halves
    table = table_of(tiles)
    found = np.array(assigned(table, tiles, seed, "biome"))
    block = pd.Series(found).groupby(block_names(tiles)).nunique()
    assert (block == 1).all() and len(block) > 60
    for _, inside in table.groupby("biome"):
        one = 25 / len(inside)  # a whole block of 5 x 5 tiles
        for name, share in SPLITS.items():
            assert abs((found[inside.index] == name).mean() - share) <= one, (name, one)
    assert (np.array(assigned(table, tiles, seed + 1, "biome")) != found).any()
    order = np.random.default_rng(seed).permutation(len(tiles))
    again = assigned(table.iloc[order], [tiles[i] for i in order], seed, "biome")
    assert again == found[order].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_every_class_gets_its_shares(seed):
    tiles = region(32631, 80, 1000, 40, 40)
    table = table_of(tiles)
    off, rare = {}, {}
    for how in ("none", "class"):
        found = np.array(assigned(table, tiles, seed, how))
        assert (pd.Series(found).groupby(block_names(tiles)).nunique() == 1).all()
        pixels = table[[f"count_{name}" for name in CLASSES]]
        shares = pd.DataFrame({name: pixels[found == name].sum() / pixels.sum() - SPLITS[name] for name in SPLITS})
        off[how], rare[how] = shares.abs().to_numpy().max(), shares.abs().iloc[-1].max()
    # One of its ten or so blocks is a tenth of the rare class.
    assert off["class"] <= 0.1 and rare["class"] <= min(0.1, rare["none"]) and off["class"] < off["none"]


@pytest.mark.parametrize("stratify", ["none", "biome", "class"])
@pytest.mark.parametrize("metres", [1.0, 10_000.0])
def test_the_guard_holds_and_the_annotations_own_test_set_is_honoured(stratify, metres):
    tiles = region(32631, 90, 1000, 30, 30)
    table = table_of(tiles)
    own = np.random.default_rng(1).random(900) < 0.04
    table["label_set"] = np.where(own, "validation", "expert")
    found = np.array(assigned(table, tiles, 0, stratify, metres))
    assert ((found == "test") == own).all() and {"train", "val", "guard"} <= set(found)
    kept = found != "guard"
    assert near_pairs([g for g, k in zip(tiles, kept, strict=True) if k], found[kept].tolist(), metres / 1.004) == []
    # The test set is never thinned, and without a guard nobody is left out.
    assert "guard" not in assigned(table, tiles, 0, stratify)


def test_words_for_mistakes():
    tiles = region(32631, 90, 1000, 2, 2)
    with pytest.raises(InputError, match="stratify 'biomes': must be one of none, biome, class"):
        assigned(table_of(tiles), tiles, 0, "biomes")
    empty = table_of(tiles).assign(**{f"count_{name}": 0 for name in CLASSES})
    with pytest.raises(InputError, match="no tile has a labelled pixel yet"):
        assigned(empty, tiles, 0, "class")


def test_a_class_of_few_blocks_and_every_biome_reach_every_split():
    """Shares can be met without them: 40 blocks, a class in three of them, biomes of three and of two blocks."""
    tiles = [grid(32631, 100 + 5 * i, 1000) for i in range(40)]
    table = pd.DataFrame({"biome": [1] * 35 + [2] * 3 + [3] * 2,
                          **{f"count_{name}": [900] * 40 for name in CLASSES}})
    table["count_snow_and_ice"] = [50 if i in (3, 11, 36) else 0 for i in range(40)]
    table["count_bare"] = 0
    lacking = 0
    for seed in range(20):
        found = assigned(table, tiles, seed, "class")
        lacks = missing(table, found)
        assert {split: [b for b in biomes if b != 3] for split, (_, biomes) in lacks.items()} == {
            "train": [], "val": [], "test": []}
        assert all(classes == [] for classes, _ in lacks.values())
        assert [b for _, biomes in lacks.values() for b in biomes] == [3]  # two blocks reach two splits
        assert sorted(set(found)) == ["test", "train", "val"] and found.count("train") > 20
        lacking += any(any(pair) for pair in missing(table, assigned(table, tiles, seed)).values())
        biomes = missing(table, assigned(table, tiles, seed, "biome"))
        assert all(set(b) <= {3} for _, b in biomes.values())
    assert lacking > 10  # by blocks alone, most seeds miss something
    words = missing_words(missing(table.iloc[:36], ["train"] * 35 + ["val"]))
    assert words == ["split train has no tile of biome 2",
                     "split val has no tile of class snow_and_ice and of biome 1",
                     f"split test has no tile of classes {', '.join(n for n in CLASSES if n != 'bare')} and of biomes "
                     "1, 2"]
