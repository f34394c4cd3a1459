"""Orbits of Sentinel-1: numbers and days as in the names of real products, satellites in service when they were."""

from __future__ import annotations

import datetime as dt

import pytest

from dwplus.embedded_earth.planet.constellation import S1_SERVICES, s1_orbit, s1_service
from dwplus.embedded_earth.planet.orbits import day_of, ms_of, parse_stamp, passes, s1_tracks
from tests.unit.planet.conftest import S1, around, named

#: Names of real products, met in public repositories, with the relative orbits that ESA's formulas give.
ANCHORS = """
S1A_IW_GRDH_1SDV_20260106T215835_20260106T215900_062652 105
S1A_IW_GRDH_1SDV_20260130T215833_20260130T215858_063002 105
S1A_IW_GRDH_1SDV_20260203T062746_20260203T062811_063051 154
S1A_IW_GRDH_1SDV_20260329T181812_20260329T181837_063846 74
S1A_IW_GRDH_1SDV_20260613T064316_20260613T064341_064947 125
S1A_IW_GRDH_1SDV_20260618T051026_20260618T051051_065019 22
S1A_IW_SLC__1SDV_20260623T225050_20260623T225120_065103 106
S1B_IW_SLC__1SDV_20160909T002726_20160909T002753_001985 34
S1B_IW_SLC__1SDV_20190712T031957_20190712T032024_017095 94
S1C_IW_GRDH_1SDV_20250806T092202_20250806T092231_003550 54
S1C_IW_GRDH_1SDV_20260128T062655_20260128T062720_006100 154
S1C_IW_GRDH_1SDV_20260306T000637_20260306T000702_006636 165
S1C_IW_GRDH_1SDV_20260331T171425_20260331T171450_007011 15
S1C_IW_SLC__1SDV_20260606T094330_20260606T094357_007983 112
S1C_IW_SLC__1SDV_20260624T224958_20260624T225025_008254 106
S1C_IW_GRDH_1SDV_20260710T100242_20260710T100307_008479 156
S1C_IW_GRDH_1SDV_20260720T213054_20260720T213119_008632 134
S1C_IW_GRDH_1SDV_20260728T151018_20260728T151051_008745 72
S1C_IW_GRDH_1SDV_20260818T001104_20260818T001133_009042 19
S1C_IW_GRDH_1SDV_20260916T020601_20260916T020631_009466 93
S1D_IW_SLC__1SDV_20260417T014936_20260417T015003_002380 64
S1D_IW_SLC__1SDV_20260604T014939_20260604T015006_003080 64
S1D_IW_GRDH_1SDV_20260626T010234_20260626T010259_003400 34
S1D_IW_GRDH_1SDV_20260716T100235_20260716T100300_003697 156
S1D_IW_GRDH_1SDV_20260802T092231_20260802T092300_003945 54
S1D_IW_GRDH_1SDV_20260816T122116_20260816T122141_004151 85
S1D_IW_GRDH_1SDV_20261008T230043_20261008T230108_004930 164
S1A_IW_GRDH_1SDV_20210721T084010_20210721T084035_038873 126
"""


@pytest.mark.parametrize("line", ANCHORS.strip().splitlines())
def test_orbits_are_those_of_real_products(line):
    name, relative = line.split()
    parts = name.replace("SLC__", "SLC_").split("_")
    ms = parse_stamp(parts[4])
    assert ms is not None
    assert s1_orbit(s1_service(name[2], ms), ms) == (int(parts[6]), int(relative))


@pytest.mark.parametrize(("first", "last", "platforms"), [
    ((2015, 7, 1), (2015, 9, 1), "A"), ((2017, 6, 1), (2017, 8, 1), "AB"), ((2022, 9, 1), (2022, 12, 1), "A"),
    ((2025, 6, 1), (2025, 8, 1), "AC"), ((2026, 6, 9), (2026, 6, 22), "AD"), ((2026, 7, 1), (2026, 9, 1), "CD")])
def test_satellites_fly_when_they_were_in_service(planet, first, last, platforms):
    found = planet.scenes(S1, ms_of(dt.date(*first)), ms_of(dt.date(*last)), around(named("hesse")))
    assert {scene.properties["platform_number"] for scene in found} == set(platforms)


def test_last_days_of_a_and_the_silence_of_c():
    track = s1_tracks(named("hesse"), 0)[0]
    flown = [(f.platform, day_of(f.time)) for site_track in s1_tracks(named("hesse"), 0)
             for f in passes(site_track, ms_of(dt.date(2026, 1, 1)), ms_of(dt.date(2026, 10, 1)))]
    assert max(day for platform, day in flown if platform == "A") <= dt.date(2026, 6, 29)
    assert not [day for platform, day in flown if platform == "C" and dt.date(2026, 6, 8) <= day < dt.date(2026, 6, 24)]
    assert min(day for platform, day in flown if platform == "D") >= dt.date(2026, 4, 14)
    # after its move C passes a day after A's day, six days from D
    c = [f.time for f in passes(track, ms_of(dt.date(2026, 7, 1)), ms_of(dt.date(2026, 9, 1))) if f.platform == "C"]
    d = [f.time for f in passes(track, ms_of(dt.date(2026, 7, 1)), ms_of(dt.date(2026, 9, 1))) if f.platform == "D"]
    gaps = {round(abs(a - b) / 86_400_000) % 12 for a in c for b in d}
    assert gaps == {6}
    a = [f.time for f in passes(track, ms_of(dt.date(2026, 5, 1)), ms_of(dt.date(2026, 6, 29))) if f.platform == "A"]
    assert {round((x - y) / 86_400_000) % 12 for x in c for y in a} == {1}


def test_slots_of_the_constellation_do_not_overlap_for_one_satellite():
    for platform in "ABCD":
        own = sorted((s for s in S1_SERVICES if s.platform == platform), key=lambda s: s.first)
        assert all(a.last < b.first for a, b in zip(own, own[1:], strict=False))


def test_some_regions_have_no_scenes_for_months_of_2022(planet):
    from dwplus.embedded_earth.planet import SITES

    limits = ms_of(dt.date(2022, 2, 1)), ms_of(dt.date(2022, 9, 1))
    counts = {site.name: len(list(planet.scenes(S1, *limits, around(site)))) for site in SITES}
    assert 0 < sum(n == 0 for n in counts.values()) < len(counts) / 2


def test_vv_alone_mixes_with_vv_and_vh_on_one_track_until_mid_2017(planet):
    def kinds(year):
        found = planet.scenes(S1, ms_of(dt.date(year, 1, 1)), ms_of(dt.date(year, 6, 1)), around(named("hesse")))
        return {(s.properties["relativeOrbitNumber_start"], tuple(s.properties["transmitterReceiverPolarisation"]))
                for s in found}

    early = kinds(2016)
    tracks = {track for track, bands in early if bands == ("VV",)}
    assert tracks & {track for track, bands in early if bands == ("VV", "VH")}
    assert {bands for _, bands in kinds(2019)} == {("VV", "VH")}
