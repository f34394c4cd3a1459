"""What we ask of the service stays within what it takes: few aggregations a request, and every bundle can be halved."""

from __future__ import annotations

from types import SimpleNamespace

import ee
import pytest

from dwplus.earth import connect, tables
from dwplus.earth.errors import _answered
from dwplus.earth.probes import SCENES_PER_REQUEST, cloud_shares, probe
from dwplus.errors import TooLargeError, TransientError
from dwplus.grid import PixelGrid
from dwplus.planning.plan import make_plan
from dwplus.spec import make_spec

#: Functions that the service counts as aggregations.
AGGREGATIONS = {"Image.reduceRegion", "Image.reduceRegions", "Collection.reduceColumns", "AggregateFeatureCollection"}
SPEC = {"name": "a", "region": {"bbox": [9.0, 51.0, 9.4, 51.4]}, "windows": [["2021-06-01", "2021-08-01"]],
        "tile": {"size": 128}, "sampling": {"per_biome": 24}}


def aggregations(expression) -> int:
    """Aggregations in what goes over the wire; shared sub-graphs count each time they are named."""
    def count(node):
        if isinstance(node, dict):
            own = node.get("functionName", "") in AGGREGATIONS
            return own + sum(count(child) for child in node.values())
        return sum(count(child) for child in node) if isinstance(node, list) else 0

    return count(ee.serializer.encode(expression, for_cloud_api=True))


class Counting:
    """A session that notes the aggregations of each request, and finds those with more than ``most`` too many."""

    def __init__(self, session, most=10 ** 9):
        self._session, self._most, self.seen = session, most, []

    def __getattr__(self, name):
        return getattr(self._session, name)

    def compute(self, expression):
        self.seen.append(aggregations(expression))
        if self.seen[-1] > self._most:
            raise TooLargeError("Too many concurrent aggregations.")
        return self._session.compute(expression)


@pytest.mark.parametrize("source", ["label", "cloud-score-plus"])
def test_a_plan_that_looks_at_pixels_sends_few_aggregations_a_request(source):
    session = Counting(connect())
    plan = make_plan(session, make_spec({**SPEC, "quality": {"clouds": source}}), lambda *_: None)
    assert (plan["state"] == "planned").sum() == 24
    assert 0 < max(session.seen) <= 10


def scenes_of(session, count):
    """Label and Sentinel-2 ids over one tile."""
    spec = make_spec({**SPEC, "labels": {"per_window": "all"}})
    plan = make_plan(session, spec, lambda *_: None)
    rows = plan[plan["state"] == "planned"].drop_duplicates("label_id").head(count)
    return [(PixelGrid(int(r.epsg), r.x0, r.y0, r.scale, int(r.size), int(r.size)), r.label_id, r.s2_id)
            for r in rows.itertuples()]


def test_measured_in_one_request_or_in_many_tiles_are_the_same():
    session = connect()
    tiles = scenes_of(session, 14)
    assert len({label for _, label, _ in tiles}) > SCENES_PER_REQUEST
    spec = make_spec({**SPEC, "quality": {"clouds": "label"}})
    whole = probe(session, spec, tiles)
    assert probe(Counting(session, most=1), spec, tiles) == whole
    assert [probe(session, spec, [tile])[0] for tile in tiles] == whole
    assert all(0 < sum(found.shares.values()) <= 1 + 1e-9 for found in whole if found.clear)
    assert all(0 < found.confidence <= 1 for found in whole if found.clear)
    clouds = cloud_shares(session, "cloud-score-plus", [(grid, s2) for grid, _, s2 in tiles])
    assert cloud_shares(Counting(session, most=1), "cloud-score-plus", [(g, s2) for g, _, s2 in tiles]) == clouds


def test_an_l2a_twin_of_another_name_does_not_stop_a_plan():
    """Cloud Score+ goes by the L1C scene; the twin's second time stamp may differ."""
    session = connect()
    (grid, label, s2), *_ = scenes_of(session, 1)
    start, second, granule = s2.split("_")
    other = f"{start}_{second[:-2]}{(int(second[-2:]) + 7) % 60:02d}_{granule}"
    spec = make_spec({**SPEC, "quality": {"clouds": "cloud-score-plus"}})
    assert probe(session, spec, [(grid, label, other)]) == probe(session, spec, [(grid, label, s2)])


def test_a_look_up_of_ecoregions_is_halved_when_it_takes_too_long():
    session = connect()

    class Slow:
        """Answers "Computation timed out" to more than three points."""

        def compute(self, expression):
            points = str(ee.serializer.encode(expression, for_cloud_api=True)).count("GeometryConstructors.Point")
            if points > 3:
                raise TooLargeError("Computation timed out.")
            return session.compute(expression)

    points = [(9.2 + i / 100, 51.2) for i in range(8)] + [(-170.0, -80.0)]
    assert tables.habitats(Slow(), points) == tables.habitats(session, points)


@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize("words", [
    "Too many concurrent aggregations.", "User memory limit exceeded.", "Computation timed out.",
    "Total request size (60000000 bytes) must be less than or equal to 50331648 bytes.",
    "Request payload size exceeds the limit: 10485760 bytes.",
    "Collection query aborted after accumulating over 5000 elements.", "Object too large (107374182 bytes).",
    "Geometry has too many edges (2134567 > 2000000).", "Computed value is too large.",
    "Output of image computation is too large (20 bands for 1000000 pixels = 160.0 MiB > 80.0 MiB)."])
def test_what_is_too_much_at_once_is_split_whatever_its_code(status, words):
    assert isinstance(_answered(words, SimpleNamespace(status=status)), TooLargeError)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_service_short_of_memory_is_waited_for(status):
    error = _answered("Earth Engine memory capacity exceeded.", SimpleNamespace(status=status))
    assert isinstance(error, TransientError)
    assert error.throttled
