"""Border noise of Sentinel-1: by threshold, incidence angle, both or erosion; what is taken off and what stays."""

from __future__ import annotations

import datetime as dt
import json

import ee
import numpy as np
import pytest

from dwplus.earth import connect
from dwplus.earth.images.sentinel1 import NODATA, Edges, backscatter
from dwplus.earth.pixels import fetch
from dwplus.earth.stack import edges_of
from dwplus.embedded_earth.planet import SITES, Planet
from dwplus.embedded_earth.planet.orbits import ms_of
from dwplus.grid import PixelGrid
from dwplus.spec import DatasetSpec, make_spec

OLD, NEW = (f"S1A_IW_GRDH_1SDV_{day}T050000_{day}T050025_012345_0ABCDE_1234" for day in ("20180312", "20180313"))
SPEC = {"name": "x", "region": "sample", "windows": [["2021-06-01", "2021-07-01"]]}


def test_auto_is_strict_before_esa_cleaned_the_edges():
    edges = Edges("auto")
    assert (edges.of(OLD), edges.of(NEW)) == (Edges("threshold", -30.0), Edges("threshold", -40.0))
    assert Edges("auto", -20.0).of(OLD).db == -20.0  # stricter yet, where asked for
    assert Edges("angle").of(OLD) == Edges("angle").of(NEW) == Edges("angle")


def test_later_slices_are_asked_for_as_before():
    session = connect()
    assert session is not None
    asked = [json.loads(backscatter([NEW], edges=edges).serialize()) for edges in (Edges("auto"), Edges("threshold"))]
    assert asked[0] == asked[1]
    assert "angle" in backscatter([OLD], edges=Edges("both")).serialize()
    assert "angle" not in backscatter([OLD], edges=Edges("auto")).serialize()
    assert isinstance(backscatter([OLD], edges=Edges("none")), ee.Image)


def test_a_spec_takes_auto_and_a_kept_one_of_an_earlier_build_the_threshold():
    assert make_spec(SPEC).quality.s1_edges == "auto"
    kept = json.loads(make_spec(SPEC).to_json())
    for key in ("s1_edges", "s1_edge_angles", "s1_edge_erode"):
        kept["quality"].pop(key, None)
    text = json.dumps(kept, sort_keys=True)
    old = DatasetSpec.from_json(text)
    assert edges_of(old) == Edges("threshold", -40.0)
    assert old.to_json() == text  # an earlier build's plan and store keep their digest
    assert DatasetSpec.from_json(make_spec(SPEC).to_json()) == make_spec(SPEC)


@pytest.fixture(scope="module")
def noisy():
    """A slice of 2017 with noise at its side: its index, a grid of two rows over the near edge, and where noise is."""
    site = next(site for site in SITES if site.name == "durango")
    box = site.lon - 0.2, site.lat - 0.2, site.lon + 0.2, site.lat + 0.2
    for scene in Planet().scenes("COPERNICUS/S1_GRD", ms_of(dt.date(2017, 6, 1)), ms_of(dt.date(2017, 9, 1)), box):
        a = scene.acquisition
        if a.polarisations != ("VV", "VH"):
            continue
        track, (x0, y0, height, width) = a.flight.track, a.piece.grid
        top = height // 2
        y = y0 - (np.arange(top, top + 2) + 0.5)[:, None] * 10
        t = track.from_middle(x0 + (np.arange(width) + 0.5)[None, :] * 10, y)[0]
        left = int(np.flatnonzero(np.abs(t) <= track.half_swath)[0])
        x = x0 + (np.arange(left, left + 800) + 0.5)[None, :] * 10
        noise = scene.border(x, y, track.from_middle(x, y).astype(np.float32))
        if noise is not None and noise[:, 5:30].all():
            return a.index, PixelGrid(track.site.epsg, x0 + left * 10, y0 - top * 10, 10.0, 2, 800), noise
    raise AssertionError("no slice with noise")


def test_each_way_takes_off_what_it_says(noisy):
    index, grid, noise = noisy
    kept = {}
    for name, edges in (("none", Edges("none")), ("low", Edges("threshold")), ("high", Edges("threshold", db=-30)),
                        ("both", Edges("both")), ("auto", Edges("auto")), ("eroded", Edges("none", erode=500))):
        got = fetch(connect(), backscatter([index], edges=edges), grid, np.dtype([("VV", "<i2"), ("VH", "<i2")]))
        kept[name] = got["VV"] != NODATA["int16"]
    left = {name: float(mask[noise].mean()) for name, mask in kept.items()}
    assert left["none"] > 0.95
    assert left["both"] < 0.2 * left["low"] + 0.05
    assert left["high"] <= left["low"] < left["none"]
    assert np.array_equal(kept["auto"], kept["high"])
    # 500 m from the side are gone, and no more: two rows from the top of nothing
    assert not kept["eroded"][:, :40].any() and kept["eroded"][:, 120:].all()
