"""Ten thousand random catalogues against a brute-force reading of the rules, which knows nothing of polygons or passes.

The reference lays points over the tile and asks of each overflight whether it may be taken, then which is nearest.
Catalogues in which a share or a gap lies too near a threshold for points to tell are drawn anew.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.grid import PixelGrid
from dwplus.planning import pairing
from dwplus.planning.pairing import OpticalTable, Pairing, Rules, pair, pair_radar, passes
from dwplus.scenes.records import LabelScene, OpticalScene, RadarScene

GRID = PixelGrid(32631, 497450.0, 5700000.0, 10.0, 510, 510)
TILE = GRID.footprint()
WEST, SOUTH, EAST, NORTH = TILE.bounds
S2_TIME = 1_600_000_000_000
HOUR = 3_600_000
#: Points over the tile, as shares of its width and height.
POINTS = np.stack(np.meshgrid((np.arange(20) + 0.5) / 20, (np.arange(20) + 0.5) / 20)).reshape(2, -1)
#: Corners of footprints, as shares: whole, halves and quarters of the tile, and off it.
EDGES = (-0.5, 0.25, 0.5, 0.75, 1.5)


def box(w, s, e, n):
    dx, dy = EAST - WEST, NORTH - SOUTH
    return shapely.box(WEST + w * dx, SOUTH + s * dy, WEST + e * dx, SOUTH + n * dy)


def random_box(rng):
    if rng.random() < 0.5:
        return (-0.5, -0.5, 1.5, 1.5)
    w, e = sorted(rng.choice(len(EDGES), 2, replace=False))
    s, n = sorted(rng.choice(len(EDGES), 2, replace=False))
    return EDGES[w], EDGES[s], EDGES[e], EDGES[n]


def inside(corners):
    w, s, e, n = corners
    return (POINTS[0] > w) & (POINTS[0] < e) & (POINTS[1] > s) & (POINTS[1] < n)


def random_catalogue(rng):
    """Overflights of one to three slices 25 s apart: [(start, orbit pass, relative orbit, platform, [corners])]."""
    flights = []
    for number in range(rng.integers(0, 6)):
        # Starts differ by minutes at least, so that no two overflights run into one another.
        hours = round(float(rng.integers(-320, 320)) / 2 + number * 0.05, 3)
        orbit = int(rng.integers(1, 5))
        flights.append((S2_TIME + round(hours * HOUR), ("ASCENDING", "DESCENDING")[orbit % 2], orbit,
                        "AB"[int(rng.integers(2))], [random_box(rng) for _ in range(rng.integers(1, 4))]))
    return flights


def scenes_of(flights, rng):
    """Slices in no order, some as two products."""
    found = []
    for i, (start, orbit_pass, orbit, platform, boxes) in enumerate(flights):
        for j, corners in enumerate(boxes):
            for copy in range(1 + (rng.random() < 0.2)):
                found.append(RadarScene(f"s{i}_{j}_{copy}", start + 25_000 * j, orbit_pass, orbit, platform,
                                        box(*corners)))
    rng.shuffle(found)
    return found


def reference(flights, rules):
    """The flights allowed, the best first, each (|gap| in ms with preferences counted, time, flight, share, hits); the
    reason of rejection; or None: too close to call.

    The time of a flight is that of the slice that covers most of the tile; a flight is allowed when its orbit pass is,
    its time is in reach, and all its slices together cover the tile.
    """
    reach = rules.max_gap_hours * HOUR
    allowed, touched = [], False
    for flight in flights:
        start, orbit_pass, orbit, _, boxes = flight
        if rules.orbit != "any" and orbit_pass.lower() != rules.orbit:
            continue
        hits = [inside(corners) for corners in boxes]
        most = max(range(len(boxes)), key=lambda j: (hits[j].sum(), -j))
        if any(hits[j].sum() == hits[most].sum() > 0 and boxes[j] != boxes[most] for j in range(len(boxes))):
            return None  # the tile is no exact rectangle in degrees: points cannot tell which covers more
        together = np.logical_or.reduce(hits).mean()
        time = start + 25_000 * most
        if abs(abs(time - S2_TIME) - reach) < 120_000:
            return None
        if not hits[most].any() or abs(time - S2_TIME) > reach:
            continue
        touched = True
        if together < rules.min_coverage:
            if rules.policy == "mean":
                allowed.append((abs(time - S2_TIME), time, flight, together, hits))
            continue
        unmet = (rules.prefer_orbit != "any" and orbit_pass.lower() != rules.prefer_orbit) + bool(
            rules.prefer_relative_orbits and orbit not in rules.prefer_relative_orbits)
        allowed.append((abs(time - S2_TIME) + unmet * rules.prefer_hours * HOUR, time, flight, together, hits))
    if rules.policy == "mean" and allowed:
        everything = np.logical_or.reduce([h for *_, hits in allowed for h in hits]).mean()
        if everything < rules.min_coverage:
            return "s1_partial"
    if not allowed:
        return "s1_partial" if touched else "no_s1"
    allowed.sort(key=lambda item: item[0])
    if rules.policy == "nearest" and len(allowed) > 1 and allowed[1][0] - allowed[0][0] < 60_000:
        return None  # ties have their own test
    return allowed


def test_ten_thousand_random_catalogues():
    rng = np.random.default_rng(7)
    told = {"pair": 0, "no_s1": 0, "s1_partial": 0}
    ruleset = [Rules(policy=policy, max_gap_hours=reach, orbit=orbit, prefer_orbit=prefer, prefer_hours=30.0,
                     prefer_relative_orbits=orbits, min_coverage=0.9)
               for policy, reach, orbit, prefer, orbits in itertools.product(
                   ("nearest", "nearest", "mean"), (40.0, 144.0), ("any", "any", "descending"), ("any", "ascending"),
                   ((), (1, 2)))]
    done = 0
    while done < 10_000:
        flights, rules = random_catalogue(rng), ruleset[done % len(ruleset)]
        expected = reference(flights, rules)
        if expected is None:
            continue
        done += 1
        found = pair_radar(TILE, S2_TIME, passes(scenes_of(flights, rng)), rules)
        if isinstance(expected, str):
            assert isinstance(found, pairing.Rejection) and found.reason == expected, (flights, rules)
            told[expected] += 1
            continue
        told["pair"] += 1
        assert not isinstance(found, pairing.Rejection), (flights, rules)
        if rules.policy == "mean":
            assert found.count == len(expected)
            gaps = [time - S2_TIME for _, time, *_ in expected]
            assert found.gap_hours == pytest.approx(np.mean(gaps) / HOUR, abs=1e-6)
            assert set(found.platform.split(",")) == {flight[3] for _, _, flight, *_ in expected}
            continue
        _, time, flight, share, _ = expected[0]
        assert found.gap_hours == pytest.approx((time - S2_TIME) / HOUR), (flights, rules)
        assert (found.orbit_pass, found.relative_orbit, found.platform) == flight[1:4]
        # The slices taken are this flight's, no two products of one, and cover what all of them do.
        number = flights.index(flight)
        assert {index.split("_")[0] for index in found.indices} == {f"s{number}"}
        assert len({index.rsplit("_", 1)[0] for index in found.indices}) == len(found.indices)
        assert found.coverage >= 0.9 and found.coverage <= share + 0.02
    assert min(told.values()) > 500, told


footprints = st.sampled_from([box(-1, -1, 2, 2), box(-1, -1, 0.5, 2), box(3, 3, 4, 4)])
days = st.integers(1, 28)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(days, footprints, st.sampled_from([0.0, 20.0, 60.0]), st.booleans(), st.booleans()),
                max_size=6, unique_by=lambda item: item[0]), st.floats(0, 1))
def test_the_best_label_is_the_least_cloudy_that_pairs(items, shuffle):
    """Brute force over labels: covering, with a partner under the limit that covers, and radar in reach."""
    labels, optical = [], []
    for day, shape, cloud, has_partner, renamed in items:
        stamp = f"202009{day:02d}T105021"
        index = f"{stamp}_{stamp}_T31UES"
        labels.append(LabelScene(index, S2_TIME + day * 24 * HOUR, shape))
        if has_partner:
            twin = f"{stamp}_202009{day:02d}T110000_T31UES" if renamed else index
            optical.append(OpticalScene(twin, S2_TIME + day * 24 * HOUR, "31UES", cloud, shape))
    radar = [RadarScene("r", S2_TIME + 10 * 24 * HOUR, "ASCENDING", 1, "A", box(-1, -1, 2, 2))]
    rules = Rules(max_cloud=35, max_gap_hours=144)
    order = sorted(range(len(labels)), key=lambda i: (i * shuffle) % 1)
    found = pair(GRID, [labels[i] for i in order], OpticalTable(optical), passes(radar), rules)
    fine = sorted((cloud, day) for day, shape, cloud, has_partner, _ in items
                  if shape.covers(TILE) and has_partner and cloud <= 35 and abs(day - 10) * 24 <= 144)
    if not fine:
        assert isinstance(found, pairing.Rejection)
    else:
        assert isinstance(found, list) and all(isinstance(item, Pairing) for item in found)
        assert [(p.optical.cloud, int(p.label.index[6:8])) for p in found] == fine
        assert all(p.match == ("id" if p.optical.index == p.label.index else "sensing") for p in found)


def test_ties_are_told_by_coverage_then_index():
    most = box(-1, -1, 0.95, 2)
    scenes = [RadarScene("a", S2_TIME + HOUR, "ASCENDING", 1, "A", most),
              RadarScene("c", S2_TIME - HOUR, "ASCENDING", 2, "A", box(-1, -1, 2, 2)),
              RadarScene("b", S2_TIME + HOUR, "ASCENDING", 3, "B", box(-1, -1, 2, 2))]
    for order in itertools.permutations(scenes):
        found = pair_radar(TILE, S2_TIME, passes(order), Rules(min_coverage=0.9))
        assert found.indices == ("b",)


def test_preferences_count_in_hours():
    whole = box(-1, -1, 2, 2)
    scenes = passes([RadarScene("near", S2_TIME + 2 * HOUR, "ASCENDING", 1, "A", whole),
                     RadarScene("far", S2_TIME + 20 * HOUR, "DESCENDING", 2, "A", whole)])
    def chosen(**rules):
        return pair_radar(TILE, S2_TIME, scenes, Rules(**rules)).indices[0]

    assert chosen() == "near"
    assert chosen(prefer_orbit="descending", prefer_hours=24) == "far"
    assert chosen(prefer_orbit="descending", prefer_hours=12) == "near"
    assert chosen(prefer_relative_orbits=(2,), prefer_hours=24) == "far"
    assert chosen(prefer_relative_orbits=(2,), prefer_orbit="descending", prefer_hours=10) == "far"
    # A preference never makes a pass acceptable that is out of reach.
    assert chosen(prefer_relative_orbits=(2,), prefer_hours=24, max_gap_hours=19) == "near"


def test_second_product_only_where_the_first_is_missing():
    index = "20200913T105021_20200913T105021_T31UES"
    whole = box(-1, -1, 2, 2)
    label = LabelScene(index, S2_TIME, whole)
    toa = OpticalScene(index, S2_TIME, "31UES", 1.0, whole, "toa")
    twin = OpticalScene(index.replace("_20200913T105021_", "_20200913T110000_"), S2_TIME, "31UES", 1.0, whole, "sr")
    assert OpticalTable([toa], "sr").partner(label, TILE) == (toa, "id")
    assert OpticalTable([toa, twin], "sr").partner(label, TILE) == (twin, "sensing")
    assert OpticalTable([twin, toa], "toa").partner(label, TILE) == (toa, "id")


def test_a_label_without_an_id_falls_back_to_its_day_and_granule():
    whole, half = box(-1, -1, 2, 2), box(-1, -1, 0.5, 2)
    def of(index, shape=whole, cloud=1.0, time=S2_TIME):
        return OpticalScene(index, time, index[-5:], cloud, shape)

    a, b = of("20200913T105021_20200913T105021_T31UES"), of("20200913T105021_20200913T105021_T31UFS", cloud=0.0)
    late = of("20200914T105021_20200914T105021_T31UES", time=S2_TIME + 24 * HOUR)
    other_zone = of("20200913T105021_20200913T105021_T32ULB", cloud=0.0)
    table = OpticalTable([a, b, late, other_zone])
    plain = LabelScene("drawn", S2_TIME - 3 * HOUR, whole, crs="EPSG:32631", by_date=True)
    assert table.partner(plain, TILE) == (b, "date")
    assert table.partner(LabelScene("drawn", S2_TIME, whole, mgrs="31UES", by_date=True), TILE) == (a, "date")
    assert OpticalTable([a, of(b.index, half)]).partner(plain, TILE) == (a, "date")  # coverage before cloud
    assert table.partner(LabelScene("drawn", S2_TIME, whole, crs="EPSG:32631"), TILE) is None
    assert OpticalTable([late]).partner(plain, TILE) is None
