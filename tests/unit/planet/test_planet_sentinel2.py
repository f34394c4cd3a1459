"""Sentinel-2's archive as untidy as the real one: orbits, names, baselines, holes."""

from __future__ import annotations

import collections
import datetime as dt

import numpy as np
import pytest

from dwplus.embedded_earth.planet import ALL_SITES, MORE_SITES
from dwplus.embedded_earth.planet.constellation import DAY_MS, S2_EPOCH, S2_SERVICES, s2_orbit
from dwplus.embedded_earth.planet.orbits import day_of, ms_of, parse_stamp, passes, s2_tracks, stamp
from dwplus.embedded_earth.planet.products import baseline
from tests.unit.planet.conftest import DW, SR, TOA, around, named, window_at

#: Names of real products (public repositories): satellite, start of the datatake, relative orbit.
ANCHORS = """
A 20170116T105401 051
A 20180727T104021 008
A 20200210T073031 049
A 20200626T104031 008
A 20210603T175911 041
A 20210723T132241 038
A 20220319T132851 024
B 20170820T115639 066
B 20180802T150759 025
B 20180821T104019 008
B 20200621T121649 009
B 20220413T150759 025
B 20220624T104629 051
"""


def service(platform: str, day: dt.date):
    return next(s for s in S2_SERVICES if s.platform == platform and s.first <= day <= s.last)


@pytest.mark.parametrize("line", ANCHORS.strip().splitlines())
def test_relative_orbits_are_those_of_real_products(line):
    platform, start, relative = line.split()
    ms = parse_stamp(start)
    assert ms is not None
    absolute, found = s2_orbit(service(platform, day_of(ms)), ms)
    assert found == int(relative)
    # ESA's formulas: relative = (absolute - k) mod 143 + 1
    assert (absolute - {"A": 141, "B": 27}[platform]) % 143 + 1 == found


@pytest.mark.parametrize(("platform", "start", "absolute", "relative"), [
    ("A", "20201217T224831", 28_669, 72), ("B", "20220624T104629", 27_676, 51)])
def test_absolute_orbits_are_those_of_real_datatakes(platform, start, absolute, relative):
    ms = parse_stamp(start)
    assert ms is not None
    assert s2_orbit(service(platform, day_of(ms)), ms) == (absolute, relative)


@pytest.mark.parametrize("name", ["hesse", "kangerlussuaq"])
def test_one_track_is_flown_by_c_then_a_then_b(name):
    track = s2_tracks(named(name), 0)[0]
    flown = passes(track, ms_of(dt.date(2026, 1, 1)), ms_of(dt.date(2026, 9, 1)))
    days = {p: {f.time // DAY_MS % 10 for f in flown if f.platform == p} for p in "ABC"}
    (c,), (b,), (a,) = days["C"], days["B"], days["A"]
    assert ((a - c) % 10, (b - c) % 10) == (2, 5)
    assert len({f.relative_orbit for f in flown}) == 1
    # before 2025 A flew where C flies
    old = passes(track, ms_of(dt.date(2021, 1, 1)), ms_of(dt.date(2021, 9, 1)))
    assert {f.time // DAY_MS % 10 for f in old if f.platform == "A"} == {c}


def test_a_is_sparse_outside_europe_after_its_move():
    def share(name):
        flown = passes(s2_tracks(named(name), 0)[0], ms_of(dt.date(2025, 4, 1)), ms_of(dt.date(2026, 9, 1)))
        counts = collections.Counter(f.platform for f in flown)
        return counts["A"] / counts["B"]

    assert share("hesse") == pytest.approx(1, abs=0.05)
    assert 0.1 < share("pampas") < 0.8


def test_the_last_digit_of_the_second_tells_the_satellite(planet):
    box = around(named("hesse"))
    for year, digits in ((2016, {"A": "2"}), (2021, {"A": "1", "B": "9"}), (2026, {"A": "1", "B": "9", "C": "1"})):
        found = planet.scenes(TOA, ms_of(dt.date(year, 5, 1)), ms_of(dt.date(year, 8, 1)), box)
        assert {(s.overpass.flight.platform, s.index[14]) for s in found} == set(digits.items())


def test_the_second_stamp_is_the_datastrips_and_may_come_first(planet):
    late = collections.Counter()
    for scene in planet.scenes(TOA, ms_of(dt.date(2021, 1, 1)), ms_of(dt.date(2021, 7, 1))):
        first, second = (parse_stamp(part) for part in scene.index.split("_")[:2])
        assert first is not None and second is not None
        late["before" if second < first else "same" if second == first else "after"] += 1
        assert -10_000 <= second - first <= 400_000
        assert first < scene.time
    assert min(late.values()) > 50 and len(late) == 3


def test_names_near_midnight_have_the_day_before(planet):
    site = next(s for s in MORE_SITES if s.name == "kamchatka")
    found = planet.scenes(DW, ms_of(dt.date(2021, 6, 1)), ms_of(dt.date(2021, 9, 1)), around(site))
    apart = [s for s in found if stamp(s.time)[:8] != s.index[:8]]
    assert apart
    for scene in apart:
        name = parse_stamp(scene.index[:15])
        assert name is not None and 0 < scene.time - name < 400_000
        assert planet.image(scene.id).id == scene.id
    # the day of system:time_start finds them, the day in the name does not
    day = ms_of(day_of(apart[0].time))
    assert apart[0].id in {s.id for s in planet.scenes(DW, day, day + DAY_MS, around(site))}
    assert apart[0].id not in {s.id for s in planet.scenes(DW, day - DAY_MS, day, around(site))}


def test_some_sensings_are_there_in_two_baselines(planet):
    found = collections.defaultdict(list)
    for scene in planet.scenes(TOA, ms_of(dt.date(2021, 1, 1)), ms_of(dt.date(2022, 1, 1))):
        found[scene.index[:15], scene.index[-5:], scene.overpass.strip].append(scene)
    two = [pair for pair in found.values() if len(pair) == 2]
    assert 0.005 < len(two) / len(found) < 0.05
    for old, new in (sorted(pair, key=lambda s: s.overpass.copy) for pair in two[:20]):
        assert old.index != new.index and old.time == new.time
        assert old.properties["PROCESSING_BASELINE"] < new.properties["PROCESSING_BASELINE"] == "05.00"
        assert old.properties["PRODUCT_ID"][:26] == new.properties["PRODUCT_ID"][:26]
        assert old.properties["PRODUCT_ID"][-15:-11] < new.properties["PRODUCT_ID"][-15:-11]  # made years later
    later = planet.scenes(TOA, ms_of(dt.date(2023, 1, 1)), ms_of(dt.date(2023, 7, 1)))
    assert not any(s.overpass.copy for s in later)


@pytest.mark.parametrize(("day", "surface", "number"), [
    ((2017, 1, 16), False, "02.04"), ((2018, 4, 2), True, "02.07"), ((2018, 7, 27), True, "02.08"),
    ((2018, 10, 10), True, "02.09"), ((2019, 3, 1), True, "02.11"), ((2020, 2, 10), True, "02.14"),
    ((2020, 6, 26), False, "02.09"), ((2021, 6, 3), True, "03.00"), ((2022, 3, 19), False, "04.00"),
    ((2024, 8, 8), True, "05.11"), ((2026, 3, 1), True, "05.12")])
def test_baselines_are_those_of_real_products_of_the_day(day, surface, number):
    assert baseline(dt.date(*day), surface) == number


def test_surface_reflectance_begins_in_2017_and_is_whole_from_2019(planet):
    def share(name, first, last):
        limits = ms_of(dt.date(*first)), ms_of(dt.date(*last)), around(named(name))
        toa, sr = ({s.index[:15] for s in planet.scenes(c, *limits)} for c in (TOA, SR))
        return len(toa & sr) / len(toa)

    assert share("pampas", (2016, 1, 1), (2017, 3, 1)) == 0
    assert 0.2 < share("pampas", (2017, 6, 1), (2018, 10, 1)) < 0.7
    assert share("pampas", (2017, 6, 1), (2018, 10, 1)) + 0.1 < share("hesse", (2017, 6, 1), (2018, 10, 1))
    assert share("pampas", (2020, 1, 1), (2021, 1, 1)) > 0.9


def test_cloud_masks_of_the_product_have_their_holes(planet):
    site = named("hesse")
    for day, old, new in (((2021, 6, 1), True, False), ((2023, 6, 1), False, False), ((2024, 6, 1), True, True)):
        start = ms_of(dt.date(*day))
        scene = next(s for s in planet.scenes(SR, start, start + 60 * DAY_MS, around(site))
                     if 20 < s.properties["CLOUDY_PIXEL_PERCENTAGE"] < 80
                     and 0 <= window_at(s, "QA60", *site.center, 100).row < 1700
                     and 0 <= window_at(s, "QA60", *site.center, 100).col < 1700)
        window = window_at(scene, "QA60", *site.center, 100)
        got = scene.read(("QA60", "MSK_CLASSI_OPAQUE", "MSK_CLASSI_CIRRUS", "MSK_CLASSI_SNOW_ICE"), window)
        seen = {name: valid is None or bool(valid.any()) for name, (_, valid) in got.items()}
        assert seen["QA60"] == old
        assert {seen[name] for name in got if name != "QA60"} == {new}
        if new:
            assert np.array_equal(got["MSK_CLASSI_OPAQUE"][0] == 1, got["QA60"][0] == 1 << 10)


def test_the_epoch_is_the_archives():
    """4.958 days after 2026 began, modulo ten: the phase of A's and C's real names."""
    days = (S2_EPOCH - dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).total_seconds() / 86_400
    assert days == pytest.approx(4.958, abs=1e-3)
    assert len({site.name for site in ALL_SITES}) == len(ALL_SITES)
