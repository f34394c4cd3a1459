"""Drawing without an Earth: outcomes are made up, so that every order and shortage can be tried."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.earth.tables import Habitat
from dwplus.grid import PixelGrid, tile_on_grid
from dwplus.planning import pairing
from dwplus.planning.candidates import Candidate
from dwplus.planning.draw import Drawing, draw
from dwplus.spec import make_spec
from dwplus.splits import unit_hash


def candidates(sizes, seed=0):
    """Tiles in ecoregions of biomes: sizes = {(biome, ecoregion): count}."""
    found = []
    for (biome, name), count in sizes.items():
        for i in range(count):
            grid = PixelGrid(32601 + biome, 5100.0 * i + 300_000, 5100.0 * (900 + ord(name)), 10.0, 510, 510)
            tile = tile_on_grid(grid)
            found.append(Candidate(tile, Habitat(biome, name, True), "train", unit_hash(seed, name, i)))
    return sorted(found, key=lambda c: c.draw)


class Fake:
    """What :func:`draw` knows of a Drawing: a share of the candidates is rejected, each has ratings of its own."""

    def __init__(self, strategy, rejects=0.3, ecoregions="area"):
        self.spec = SimpleNamespace(sampling=SimpleNamespace(strategy=strategy, ecoregions=ecoregions))
        self.rejects, self.weights = rejects, None
        self.outcomes, self.ratings, self.resolved = {}, {}, 0

    def resolve(self, batch):
        for c in batch:
            self.resolved += c.id not in self.outcomes
            fine = unit_hash("reject", c.id) >= self.rejects
            self.outcomes[c.id] = ["pair"] if fine else pairing.NO_S1
            if fine:
                self.ratings[c.id] = random.Random(c.id).choice(["h--------", "-h-------", "-ml------", "h--------"])

    def balance(self, candidate, strata, quota=0):
        """These are no triplets."""


def taken(fake, drawn):
    return [c.id for c in drawn if isinstance(fake.outcomes[c.id], list)]


SIZES = {(1, "a"): 120, (1, "b"): 40, (1, "c"): 3, (2, "d"): 30, (3, "e"): 1}


@pytest.mark.parametrize("strategy", ["grid", "stratified"])
def test_quotas_are_filled_or_everything_is_taken(strategy):
    for quota in (1, 5, 20, 500):
        fake = Fake(strategy)
        pool = candidates(SIZES)
        drawn = draw(fake, pool, quota, lambda _: None)
        fake.resolve(pool)
        fine = Counter(c.habitat.biome for c in pool if isinstance(fake.outcomes[c.id], list))
        got = Counter(c.habitat.biome for c in drawn if isinstance(fake.outcomes[c.id], list))
        assert got == {biome: min(quota, n) for biome, n in fine.items()}
        assert len({c.id for c in drawn}) == len(drawn)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 25), st.integers(1, 25), st.sampled_from(["grid", "stratified"]),
       st.sampled_from(["area", "equal"]), st.floats(0, 0.9))
def test_more_tiles_keep_those_already_chosen(few, extra, strategy, ecoregions, rejects):
    """Of every biome the first tiles taken are the same, in the same order, whatever the quota and the look-ahead."""
    one, two = Fake(strategy, rejects, ecoregions), Fake(strategy, rejects, ecoregions)
    pool = candidates(SIZES)
    small = draw(one, pool, few, lambda _: None)
    large = draw(two, pool, few + extra, lambda _: None)
    for biome in (1, 2, 3):
        short = taken(one, [c for c in small if c.habitat.biome == biome])
        long = taken(two, [c for c in large if c.habitat.biome == biome])
        assert long[:len(short)] == short


def test_ecoregions_keep_their_proportion():
    fake = Fake("grid")
    got = Counter(c.habitat.ecoregion for c in draw(fake, candidates(SIZES), 40, lambda _: None)
                  if c.habitat.biome == 1 and isinstance(fake.outcomes[c.id], list))
    assert abs(got["a"] - 40 * 120 / 163) <= 1 and abs(got["b"] - 40 * 40 / 163) <= 1
    equal = Fake("grid", rejects=0, ecoregions="equal")
    got = Counter(c.habitat.ecoregion for c in draw(equal, candidates(SIZES), 20, lambda _: None)
                  if c.habitat.biome == 1)
    assert got["c"] == 3 and abs(got["a"] - got["b"]) <= 1  # the small one gives all it has


def test_looking_ahead_stays_in_proportion():
    """About half as many again as wanted are looked up where none is rejected; a chunk for four where stratified."""
    fake = Fake("grid", rejects=0)
    draw(fake, candidates({(1, "a"): 1000}), 40, lambda _: None)
    assert fake.resolved <= 60
    fake = Fake("stratified", rejects=0)
    draw(fake, candidates({(1, "a"): 1000}), 40, lambda _: None)
    assert 160 <= fake.resolved <= 16 * 15


def test_stratified_takes_what_is_rare():
    fake = Fake("stratified", rejects=0)
    drawn = draw(fake, candidates({(1, "a"): 400}), 40, lambda _: None)
    counts = Counter(fake.ratings[c.id] for c in drawn)
    assert max(counts.values()) - min(counts.values()) <= 6  # in the pool one kind is twice as frequent


def test_what_no_extra_can_be_had_for_is_said_before_any_scene_is_looked_up():
    """A drawn tile of a year without embedding; a tile north of SRTM. Neither asks the Earth for anything."""
    spec = make_spec({"name": "drawn", "region": "sample", "windows": [["2017-01-01", "2019-01-01"]],
                      "labels": {"source": "annotations", "asset": "projects/x/drawn"},
                      "extras": ["dem", "embedding"], "elevation": "USGS/SRTMGL1_003"})
    archive = SimpleNamespace(session=None, spec=spec, window=spec.windows[0], years=frozenset({2018}))

    def reason(year, north):
        tile = tile_on_grid(PixelGrid(32632, 500_000.0, north, 10.0, 510, 510))
        drawn = SimpleNamespace(date=dt.date(year, 6, 1), labelled=1.0, scene=SimpleNamespace(index="one"))
        candidate = Candidate(tile, Habitat(4, "a", True), "train", 0.0, drawn)
        early = Drawing(archive, [candidate])._early(candidate)
        return None if early is None else early.reason.value

    south = 5_600_000.0
    assert (reason(2018, south), reason(2017, south)) == (None, "no_embedding")
    # 60 N is 6,651,411 m north on the middle of a zone; slopes and interpolation look 200 m further.
    assert reason(2018, 6_651_411.0 - 300) is None
    assert reason(2018, 6_651_411.0 - 100) == reason(2018, 6_660_000.0) == "no_elevation"
