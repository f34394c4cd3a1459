"""Limits by name, in the service's words; the profile of a request; restricted mode: through the real client."""

from __future__ import annotations

import io
import warnings

import ee
import pytest

import dwplus.earth.session
from dwplus.earth.cost import eecu_seconds
from dwplus.earth.errors import classify
from dwplus.embedded_earth import EmbeddedEarth, Fault, Faults, Limits, parse_limits
from dwplus.errors import EarthError, TooLargeError, TransientError
from tests.unit.embedded_earth.conftest import initialize, make_catalog, pixels


@pytest.fixture
def earth_with():
    def start(**limits):
        faults = limits.pop("faults", Faults())
        earth = EmbeddedEarth(make_catalog(), limits=Limits(**limits), faults=faults)
        initialize(earth)
        return earth

    yield start
    ee.Reset()
    dwplus.earth.session._current = None


def means(count):
    """So many regions reduced in one request."""
    square = ee.Geometry.Rectangle([15.0, 49.64, 15.001, 49.641])
    return ee.List.sequence(1, count).map(lambda number: ee.Image.constant(ee.Number(number)).reduceRegion(
        "mean", square, 10).get("constant"))


@pytest.mark.parametrize("code", [400, 429])
def test_too_many_aggregations_are_refused_and_taken_as_too_large(earth_with, code):
    earth_with(aggregations=10, aggregations_code=code)
    assert len(means(10).getInfo()) == 10
    with pytest.raises(ee.EEException, match="Too many concurrent aggregations") as refused:
        means(11).getInfo()
    assert isinstance(classify(refused.value), TooLargeError)


def test_by_default_any_number_of_aggregations_is_answered(earth_with):
    earth_with()
    assert len(means(30).getInfo()) == 30


def test_geometries_of_too_many_edges_are_refused(earth_with):
    earth_with(edges=100)
    circle = ee.Geometry.Point([15, 49]).buffer(100)
    assert circle.area(1).getInfo() > 0
    with pytest.raises(ee.EEException, match=r"Geometry has too many edges \(\d+ > 100\)"):
        circle.union(ee.Geometry.Point([16, 49]).buffer(100)).area(1).getInfo()


def test_a_request_may_not_be_too_long(earth_with):
    earth_with(payload_bytes=2_000)
    assert ee.String("a" * 100).length().getInfo() == 100
    with pytest.raises(ee.EEException, match="Request payload size exceeds the limit: 2000 bytes") as refused:
        ee.String("a" * 3_000).length().getInfo()
    assert isinstance(classify(refused.value), TooLargeError)


def test_the_mask_counts_a_byte_a_pixel(earth_with):
    earth_with(pixel_bytes=8 * 8 * 3)
    image = ee.Image("T/OPT/s0").select("B2")  # two bytes a pixel
    assert pixels(image, width=8, height=8).shape == (8, 8)
    with pytest.raises(ee.EEException, match=r"Total request size \(216 bytes\) must be less than or equal to 192"):
        pixels(image, width=9, height=8)


def test_work_has_an_end(earth_with):
    earth_with(seconds=0.0)
    with pytest.raises(ee.EEException, match="Computation timed out") as refused:
        ee.Number(1).add(1).getInfo()
    assert isinstance(classify(refused.value), TooLargeError)


def test_a_full_memory_of_the_service_is_waited_for(earth_with):
    earth_with(faults=Faults([Fault("capacity", ":compute", count=1)]))
    with pytest.raises(ee.EEException, match="memory capacity exceeded") as refused:
        ee.Number(1).getInfo()
    found = classify(refused.value)
    assert isinstance(found, TransientError) and found.throttled
    assert ee.Number(1).add(1).getInfo() == 2


def test_in_restricted_mode_every_answer_says_so(earth_with):
    earth_with(restricted=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert ee.Number(1).add(1).getInfo() == 2
        with pytest.raises(ee.EEException):
            ee.Image(1).select("none").getInfo()
    assert sum("restricted mode" in str(one.message) for one in said) == 2


def test_a_profile_tells_the_functions_of_a_request(earth_with):
    earth_with()
    text = io.StringIO()
    with ee.profilePrinting(text):
        means(3).getInfo()
        with pytest.raises(ee.EEException):
            ee.Image(1).select("none").getInfo()
    head, *rows = text.getvalue().splitlines()
    assert head.split() == ["EECU·s", "PeakMem", "Count", "Description"]
    counts = {row.split(maxsplit=3)[3]: int(row.split()[2]) for row in rows}
    assert counts["Algorithm Image.reduceRegion"] == 3 and counts["Algorithm Image.select"] == 1
    assert eecu_seconds(text.getvalue()) > 0
    again = io.StringIO()
    with ee.profilePrinting(again):
        pass  # nothing was asked
    assert "Image.reduceRegion" not in again.getvalue()


def test_rows_beyond_those_wanted_are_merged(earth_with):
    earth_with()
    ids = []
    with ee.data.profiling(ids.append):
        means(2).getInfo()
    lookup = ee.ApiFunction.lookup("Profile.getProfiles")
    short = lookup.call(ids=ids, maxEntries=2).getInfo().splitlines()
    assert len(short) == 3 and short[-1].endswith("(...)")
    assert eecu_seconds("\n".join(short)) == pytest.approx(eecu_seconds(lookup.call(ids=ids).getInfo()), abs=0.01)
    with pytest.raises(ee.EEException, match="was not found"):
        lookup.call(ids=["x"]).getInfo()


@pytest.mark.parametrize("text", ["", "no table", " EECU·s PeakMem Count  Description\n"])
def test_what_is_no_profile_is_no_cost(text):
    with pytest.raises(EarthError, match="no table of EECU-seconds"):
        eecu_seconds(text)


def test_a_profile_of_the_service_is_read():
    # The columns as https://geetools.readthedocs.io/en/latest/usage/profile.html shows them; figures of ours.
    assert eecu_seconds(" EECU·s PeakMem Count  Description\n  0.250     61k     6  Algorithm Image.reduceRegions\n"
                        " 12.000    1.5M   951  (plumbing)\n") == pytest.approx(12.25)


@pytest.mark.parametrize("text, words", [
    ("speed=1", "with a name of"), ("edges", "NAME=VALUE"), ("edges=-1", "above 0"), ("edges=many", "a number"),
    ("restricted=1", "true or false"), ("edges=none", "a number")])
def test_limits_from_texts(text, words):
    assert parse_limits(["aggregations=10", "restricted=true", "seconds=2.5", "concurrency=none"]) == Limits(
        aggregations=10, restricted=True, seconds=2.5, concurrency=None)
    with pytest.raises(ValueError, match=words):
        parse_limits([text])
