"""Edges of geometries: geodesics by default, straight lines where asked, against pyproj's geodesics."""

from __future__ import annotations

import ee
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dwplus.embedded_earth.shapes import STRAY, bent
from tests.unit.embedded_earth.conftest import pixels

GEOD = pyproj.Geod(ellps="WGS84")
RING = [[0, 60], [40, 60], [40, 50], [0, 50], [0, 60]]


def middle(lon0, lat0, lon1, lat1):
    return GEOD.npts(lon0, lat0, lon1, lat1, 1)[0]


@given(st.floats(-90, 90), st.floats(-75, 75), st.floats(-60, 60), st.floats(-75, 75))
@settings(max_examples=200, deadline=None)
def test_drawn_edges_stay_near_the_geodesic(lon, lat, across, lat2):
    x, y = bent([lon, lon + across], [lat, lat2])
    assert (x[0], y[0], x[-1], y[-1]) == (lon, lat, lon + across, lat2)
    straight_middles = np.column_stack([(x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2])
    azimuth, _, length = GEOD.inv(lon, lat, lon + across, lat2)
    for i, (mx, my) in enumerate(straight_middles):
        # Off the geodesic, not along it: of a slanted edge the two middles lie apart along it as well.
        course, _, _ = GEOD.inv(x[i], y[i], x[i + 1], y[i + 1])
        to_middle, _, metres = GEOD.inv(x[i], y[i], mx, my)
        aside = abs(np.arcsin(np.sin(metres / GEOD.a) * np.sin(np.radians(to_middle - course)))) * GEOD.a
        assert aside < 2 * STRAY + 1e-3 or across == 0 or abs(lat - lat2) > 1


def test_short_edges_get_no_vertices():
    x, y = bent([14.0, 14.01, 14.01], [49.0, 49.0, 49.01])
    assert x.tolist() == [14.0, 14.01, 14.01] and y.tolist() == [49.0, 49.0, 49.01]


def test_a_geodesic_polygon_reaches_beyond_its_parallel(earth):
    lon, lat = middle(0, 60, 40, 60)
    assert lat > 61.5
    below, above = ee.Geometry.Point([lon, lat - 0.001]), ee.Geometry.Point([lon, lat + 0.001])
    curved, flat = ee.Geometry.Polygon([RING]), ee.Geometry.Polygon([RING], None, False)
    assert [curved.contains(p).getInfo() for p in (below, above)] == [True, False]
    assert [flat.contains(p).getInfo() for p in (below, above)] == [False, False]
    north = max(y for _, y in curved.bounds().getInfo()["coordinates"][0])
    assert north == pytest.approx(lat, abs=1e-5)
    assert curved.getInfo()["coordinates"] == [RING]


def test_areas_follow_the_edges(earth):
    curved, flat = ee.Geometry.Polygon([RING]), ee.Geometry.Polygon([RING], None, False)
    assert curved.area().getInfo() == pytest.approx(abs(GEOD.geometry_area_perimeter(shapely.Polygon(RING))[0]))
    # Of a box between parallels the area is known: the integral of M(lat) N(lat) cos(lat).
    lat = np.radians(np.linspace(50, 60, 100_001))
    e2, axis = 0.0066943799901413165, 6378137.0
    cell = axis**2 * (1 - e2) / (1 - e2 * np.sin(lat) ** 2) ** 2 * np.cos(lat)
    exact = np.trapezoid(cell, lat) * np.radians(40)
    assert flat.area().getInfo() == pytest.approx(exact, rel=1e-5)


def test_pixels_are_painted_within_the_curve(earth):
    x = np.arange(0.5, 40) + 0.0
    top = np.array([np.interp(lon, *np.array(GEOD.npts(0, 60, 40, 60, 999)).T) for lon in x])
    low = np.array([np.interp(lon, *np.array(GEOD.npts(0, 50, 40, 50, 999)).T) for lon in x])
    rows = 70 - 0.25 * (np.arange(100) + 0.5)
    image = ee.Image(0).byte().paint(ee.FeatureCollection([ee.Feature(ee.Geometry.Polygon([RING]))]), 1)
    got = np.column_stack([pixels(image, lon - 0.125, 70, 1, 100, 0.25, "EPSG:4326")["constant"][:, 0] for lon in x])
    expected = (rows[:, None] < top) & (rows[:, None] > low)
    near = (np.abs(rows[:, None] - top) < 1e-3) | (np.abs(rows[:, None] - low) < 1e-3)
    np.testing.assert_array_equal(got.astype(bool)[~near], expected[~near])
