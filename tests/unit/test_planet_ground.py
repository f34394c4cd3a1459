"""Boxes that go round the Earth the wrong way, and ground that the sample planet lacks: a sentence, no wrong tiles."""

import re

import pytest
import shapely

import dwplus
from dwplus.cli import app
from dwplus.earth.session import planet_sites
from dwplus.errors import InputError
from dwplus.planning import regions
from dwplus.planning.candidates import lattice
from dwplus.spec import make_spec


@pytest.fixture(scope="module")
def session():
    return dwplus.connect()


def spec_of(*boxes):
    return make_spec({"name": "x", "region": [{"bbox": list(box)} for box in boxes],
                      "windows": [["2021-06-01", "2021-07-01"]]})


def test_west_and_east_swapped(session):
    with pytest.raises(InputError, match=r"west lies east of east.*359\.8 degrees wide; swap the two"):
        regions.polygons(session, spec_of((9.30, 51.15, 9.10, 51.25)))
    (crossing,) = regions.polygons(session, spec_of((179.9, -17, -179.9, -16.9)))
    assert crossing.bounds == (179.9, -17, 180.1, -16.9)
    (whole,) = regions.polygons(session, spec_of((-180, -60, 180, 70)))
    assert whole.bounds == (-180, -60, 180, 70)


@pytest.mark.parametrize("box", [(2.0, 48.5, 2.2, 48.7), (179.9, -17, 180.1, -16.9), (9.2, 52.2, 9.4, 52.4)])
def test_land_without_a_site_is_no_sea(session, box):
    with pytest.raises(InputError, match=r"the sample planet has no ground here, .* sites .*--project ID"):
        regions.check_ground(session, [shapely.box(*box)])


def test_nearest_sites_come_first(session):
    with pytest.raises(InputError, match="are hesse at 9.2,51.2, "):
        regions.check_ground(session, [shapely.box(11, 51, 12, 52)])


def test_every_site_is_ground_and_its_box_holds_a_tile(session, capsys):
    with pytest.raises(SystemExit) as stop:
        app(["earth", "sites"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out
    boxes = [tuple(map(float, found.split(","))) for found in re.findall(r"REGION=(\S+)", lines)]
    sites, side = planet_sites()
    assert len(boxes) == len(sites) >= 15 and side == 60_000
    for box, site in zip(boxes, sites, strict=True):
        regions.check_ground(session, [shapely.box(*box)])
        for turn in (-360, 360):
            regions.check_ground(session, [shapely.box(box[0] + turn, box[1], box[2] + turn, box[3])])
        assert len(lattice([shapely.box(*box)], spec_of(box))) >= 1, site.name
