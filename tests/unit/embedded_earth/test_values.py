"""Collections, filters, joins, dates, lists and geometries through the real client."""

from __future__ import annotations

import datetime as dt

import ee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Geod

from tests.unit.embedded_earth.conftest import DAY

pytestmark = pytest.mark.usefixtures("earth")
START = 1_600_000_000_000
FIXTURE = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def indices(collection):
    return [f.get("id", "").rsplit("/", 1)[-1] for f in collection.getInfo()["features"]]


def test_dates_and_boxes_reach_the_archive(catalog):
    box = ee.Geometry.Rectangle([14.99, 49.6, 15.1, 49.7], None, False)
    found = ee.ImageCollection("T/OPT").filterDate(START + DAY, START + 3 * DAY).filterBounds(box)
    assert indices(found) == ["s1", "s2"]
    collection, start, end, bounds = catalog.asked[-1]
    assert (collection, start, end) == ("T/OPT", START + DAY, START + 3 * DAY)
    assert bounds == pytest.approx((14.99, 49.6, 15.1, 49.7))


def test_filters():
    opt = ee.ImageCollection("T/OPT")
    cases = {
        "lt": (ee.Filter.lt("cloud", 25), ["s1", "s3"]), "gte": (ee.Filter.gte("cloud", 30), ["s0", "s2"]),
        "eq": (ee.Filter.eq("cloud", 10), ["s1"]), "neq": (ee.Filter.neq("cloud", 10), ["s0", "s2", "s3"]),
        "contains": (ee.Filter.listContains("modes", "VH"), ["s1", "s3"]),
        "in": (ee.Filter.inList("system:index", ["s3", "s0"]), ["s0", "s3"]),
        "and": (ee.Filter.And(ee.Filter.gt("cloud", 15), ee.Filter.lt("cloud", 35)), ["s2", "s3"]),
        "or": (ee.Filter.Or(ee.Filter.eq("cloud", 10), ee.Filter.eq("cloud", 40)), ["s0", "s1"]),
        "not": (ee.Filter.listContains("modes", "VH").Not(), ["s0", "s2"]),
        "missing": (ee.Filter.gt("nothing", 0), []), "notNull": (ee.Filter.notNull(["cloud", "nothing"]), []),
        "starts": (ee.Filter.stringStartsWith("system:index", "s"), ["s0", "s1", "s2", "s3"]),
        "far": (ee.Filter.bounds(ee.Geometry.Point([0, 0])), []),
    }
    for name, (condition, want) in cases.items():
        assert indices(opt.filter(condition)) == want, name


def test_order_limit_and_aggregates():
    opt = ee.ImageCollection("T/OPT")
    assert indices(opt.sort("cloud")) == ["s1", "s3", "s2", "s0"]
    assert indices(opt.sort("cloud", False).limit(2)) == ["s0", "s2"]
    assert opt.size().getInfo() == 4
    assert opt.aggregate_array("cloud").getInfo() == [40, 10, 30, 20]
    assert opt.aggregate_mean("cloud").getInfo() == 25
    assert ee.Image(opt.sort("cloud").first()).get("system:index").getInfo() == "s1"
    rows = opt.reduceColumns(ee.Reducer.toList(2), ["system:index", "cloud"]).get("list").getInfo()
    assert rows == [["s0", 40], ["s1", 10], ["s2", 30], ["s3", 20]]


def test_a_limit_is_taken_before_later_filters():
    assert indices(ee.ImageCollection("T/OPT").limit(2).filter(ee.Filter.eq("cloud", 30))) == []
    assert indices(ee.ImageCollection("T/OPT").limit(2).filterDate(START + DAY, START + 9 * DAY)) == ["s1"]


def test_mapped_elements_keep_their_index():
    mapped = ee.ImageCollection("T/OPT").map(lambda image: ee.Feature(image.geometry(), {"n": image.get("cloud")}))
    info = ee.FeatureCollection(mapped).getInfo()
    assert [f["id"] for f in info["features"]] == ["s0", "s1", "s2", "s3"]
    assert [f["properties"]["n"] for f in info["features"]] == [40, 10, 30, 20]
    assert info["features"][0]["geometry"]["type"] == "Polygon"


def test_image_information_is_the_services_shape():
    info = ee.Image("T/OPT/s1").getInfo()
    assert info["type"] == "Image" and info["id"] == "T/OPT/s1"
    assert info["bands"][0] == {
        "id": "B2", "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [64, 48], "crs": "EPSG:32633", "crs_transform": [10, 0, 500100, 0, -10, 5500000]}
    assert info["properties"]["system:footprint"]["type"] == "LinearRing"


def test_save_best_against_geodesics():
    points = [(14.95, 49.5), (17.2, 49.5), (15.95, 50.02)]
    left = ee.FeatureCollection([ee.Feature(ee.Geometry.Point(p), {"i": i}) for i, p in enumerate(points)])
    condition = ee.Filter.withinDistance(distance=10_000, leftField=".geo", rightField=".geo", maxError=1)
    joined = ee.Join.saveBest("near", "distance").apply(left, ee.FeatureCollection("T/REGIONS"), condition)
    rows = joined.map(lambda f: f.set("name", ee.Feature(f.get("near")).get("name"),
                                      "d", ee.Feature(f.get("near")).get("distance")))
    got = {f["properties"]["i"]: f["properties"] for f in rows.getInfo()["features"]}
    geod = Geod(ellps="WGS84")
    assert set(got) == {0, 2}  # the second lies 22 km away
    assert got[0]["name"] == "r0" and got[0]["d"] == pytest.approx(geod.inv(14.95, 49.5, 14.9, 49.5)[2], rel=1e-3)
    assert got[2]["name"] in ("r1", "r2") and got[2]["d"] == pytest.approx(
        min(geod.inv(15.95, 50.02, lon, 50.0)[2] for lon in (15.9, 16.0)), rel=1e-2)


def test_other_joins():
    opt, sar = ee.ImageCollection("T/OPT"), ee.ImageCollection("T/SAR")
    near = ee.Filter.maxDifference(difference=DAY, leftField="system:time_start", rightField="system:time_start")
    assert indices(ee.ImageCollection(ee.Join.simple().apply(opt, sar, near))) == ["s0", "s1"]
    assert indices(ee.ImageCollection(ee.Join.inverted().apply(opt, sar, near))) == ["s2", "s3"]
    pairs = ee.Join.inner("a", "b").apply(opt, sar, near)
    assert pairs.size().getInfo() == 2
    saved = ee.Join.saveAll("all", "system:time_start").apply(sar, opt, near)
    assert ee.List(ee.Element(saved.first()).get("all")).size().getInfo() == 2


@given(st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2060, 1, 1)), st.integers(-60, 60))
@FIXTURE
def test_dates_against_datetime(moment, months):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    date = ee.Date(moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3])
    total = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(total, 12)
    last = (dt.date(year + month // 11, (month + 1) % 12 + 1, 1) - dt.timedelta(days=1)).day
    moved = moment.replace(year=year, month=month + 1, day=min(moment.day, last))
    got = ee.List([date.millis(), date.format("YYYY-MM-dd'T'HH:mm:ss"), date.get("month"),
                   date.getRelative("day", "year"), date.advance(months, "month").millis(),
                   date.advance(1, "day").difference(date, "hour")]).getInfo()
    epoch = dt.datetime(1970, 1, 1)
    assert got == [round((moment - epoch) / dt.timedelta(milliseconds=1)), moment.strftime("%Y-%m-%dT%H:%M:%S"),
                   moment.month, moment.timetuple().tm_yday - 1,
                   round((moved - epoch) / dt.timedelta(milliseconds=1)), 24]


@given(st.lists(st.integers(-5, 5), max_size=8), st.integers(-4, 4), st.integers(-4, 8))
@FIXTURE
def test_lists_against_python(items, a, b):
    value = ee.List(items)
    got = ee.List([value.sort(), value.reverse(), value.slice(a, b), value.distinct(), value.size(),
                   value.map(lambda x: ee.Number(x).multiply(2)), value.contains(3), value.indexOf(2)]).getInfo()
    assert got == [sorted(items), items[::-1], items[a:b], list(dict.fromkeys(items)), len(items),
                   [2 * x for x in items], 3 in items, items.index(2) if 2 in items else -1]


def test_geometry_measures_against_geodesics():
    geod = Geod(ellps="WGS84")
    ring = [(14, 49), (15, 49), (15, 50), (14, 50), (14, 49)]
    area = abs(geod.polygon_area_perimeter([p[0] for p in ring], [p[1] for p in ring])[0])
    box = ee.Geometry.Polygon([ring])
    assert box.area().getInfo() == pytest.approx(area, rel=1e-9)
    point = ee.Geometry.Point([14.5, 49.5])
    assert point.buffer(1000).area().getInfo() == pytest.approx(3.1415926e6, rel=5e-3)
    assert point.distance(ee.Geometry.Point([14.6, 49.5])).getInfo() == pytest.approx(
        geod.inv(14.5, 49.5, 14.6, 49.5)[2], rel=1e-6)
    assert box.contains(point).getInfo() is True
    assert box.bounds().coordinates().getInfo()[0][0] == [14, 49]


def test_a_box_across_the_antimeridian_meets_both_sides():
    box = ee.Geometry.Rectangle([179, -1, 181, 1], None, False)
    features = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([lon, 0]), {"lon": lon})
                                     for lon in (-179.5, 0, 179.5)])
    assert features.filterBounds(box).aggregate_array("lon").getInfo() == [-179.5, 179.5]


def test_iterate_and_conditions():
    total = ee.List.sequence(1, 10).iterate(lambda x, acc: ee.Number(acc).add(x), 0)
    assert ee.Number(total).getInfo() == 55
    assert ee.Algorithms.If(ee.Number(0), "yes", "no").getInfo() == "no"
    assert ee.Dictionary({"a": 1}).combine({"b": 2}).keys().getInfo() == ["a", "b"]
