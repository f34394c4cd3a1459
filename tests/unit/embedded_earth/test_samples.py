"""Samples, regions, random points and linked collections against the arrays and against geometry."""

from __future__ import annotations

import ee
import numpy as np
import pytest
import rasterio.features
import shapely
import shapely.geometry
from pyproj import Transformer
from rasterio.transform import Affine
from scipy import ndimage

from tests.unit.embedded_earth.conftest import CRS, DAY, ORIGIN, pixels

pytestmark = pytest.mark.usefixtures("earth")

TO = Transformer.from_crs(CRS, 4326, always_xy=True).transform


def box(left=10, top=10, right=30, bottom=25):
    """A region around pixels of T/OPT/s0, by column and row."""
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return ee.Geometry.Polygon([[list(TO(ORIGIN[0] + 10 * x, ORIGIN[1] - 10 * y)) for x, y in corners]], None, False)


PART = np.s_[10:25, 10:30]


def rows_of(collection):
    return [feature["properties"] for feature in collection.getInfo()["features"]]


# ------------------------------------------------------------------------------------------------------------ samples


def test_a_sample_is_every_pixel_of_the_region(catalog):
    scene = catalog.image("T/OPT/s0")
    found = ee.Image("T/OPT/s0").select(["B2", "B3"]).sample(box(), geometries=True).getInfo()["features"]
    assert [f["properties"]["B2"] for f in found] == scene.arrays["B2"][PART].ravel().tolist()
    assert [f["properties"]["B3"] for f in found] == scene.arrays["B3"][PART].ravel().tolist()
    assert [f["id"] for f in found] == [str(i) for i in range(300)]
    cols, rows = np.meshgrid(np.arange(10, 30), np.arange(10, 25))
    lon, lat = TO(ORIGIN[0] + 10 * cols.ravel() + 5, ORIGIN[1] - 10 * rows.ravel() - 5)
    np.testing.assert_allclose([f["geometry"]["coordinates"] for f in found], np.stack([lon, lat], 1), atol=1e-9)


def test_masked_pixels_are_dropped_or_null(catalog):
    scene = catalog.image("T/OPT/s0")
    valid = scene.valid["label"][PART].ravel()
    image = ee.Image("T/OPT/s0").select(["B2", "label"])
    dropped = rows_of(image.sample(box()))
    assert [r["B2"] for r in dropped] == scene.arrays["B2"][PART].ravel()[valid].tolist()
    kept = rows_of(image.sample(box(), dropNulls=False))
    want = [int(v) if ok else None for v, ok in zip(scene.arrays["label"][PART].ravel(), valid, strict=True)]
    assert [r.get("label") for r in kept] == want


def test_a_coarser_scale_takes_fewer_pixels():
    assert ee.Image("T/OPT/s0").select("B2").sample(box(), scale=50).size().getInfo() == 4 * 3


def test_random_parts_are_reproducible_and_of_the_asked_size(catalog):
    image = ee.Image("T/OPT/s0").select("B2").addBands(ee.Image.pixelCoordinates(ee.Projection(CRS)))
    every = {tuple(r.values()) for r in rows_of(image.sample(box()))}
    some = rows_of(image.sample(box(), numPixels=40, seed=7))
    assert len(some) == 40 and some == rows_of(image.sample(box(), numPixels=40, seed=7))
    assert some != rows_of(image.sample(box(), numPixels=40, seed=8))
    assert {tuple(r.values()) for r in some} <= every and len({tuple(r.values()) for r in some}) == 40
    share = ee.Image("T/OPT/s0").select("B2").sample(box(0, 0, 60, 48), factor=0.25).size().getInfo() / (60 * 48)
    assert 0.21 < share < 0.29
    assert ee.Image("T/OPT/s0").select("B2").sample(box(), numPixels=10_000).size().getInfo() == 300


def test_a_stratified_sample_has_as_many_of_every_class(catalog):
    scene = catalog.image("T/OPT/s0")
    label, valid = scene.arrays["label"][PART], scene.valid["label"][PART]
    image = ee.Image("T/OPT/s0").select(["label", "B2"])
    got = rows_of(image.stratifiedSample(5, "label", box(), seed=3))
    counts = np.bincount([r["label"] for r in got], minlength=9)
    assert counts.tolist() == np.minimum(np.bincount(label[valid], minlength=9), 5).tolist()
    pairs = set(zip(label[valid].tolist(), scene.arrays["B2"][PART][valid].tolist(), strict=True))
    assert {(r["label"], r["B2"]) for r in got} <= pairs
    got = rows_of(image.stratifiedSample(2, "label", box(), classValues=[3, 4], classPoints=[0, 1000]))
    counts = np.bincount([r["label"] for r in got], minlength=9)
    assert counts[3] == 0 and counts[4] == (label[valid] == 4).sum() and counts[5] == 2


def test_what_is_wrong_with_a_sample_is_said():
    image = ee.Image("T/OPT/s0").select("B2")
    for expression, words in (
            (image.sample(box(), factor=0.5, numPixels=3), "both"), (image.sample(box(), factor=2), "factor"),
            (image.toDouble().stratifiedSample(3, "B2", box()), "integers"),
            (image.stratifiedSample(3, "B2", box(), classValues=[1]), "same size")):
        with pytest.raises(ee.EEException, match=words):
            expression.getInfo()


# --------------------------------------------------------------------------------------------- regions of collections


def test_get_region_is_a_table_of_pixels_and_images(catalog):
    x, y = TO(ORIGIN[0] + 405, ORIGIN[1] - 205)
    table = ee.ImageCollection("T/OPT").select(["B2", "label"]).getRegion(
        ee.Geometry.Point([x, y]), crs=CRS, crsTransform=[10, 0, ORIGIN[0], 0, -10, ORIGIN[1]]).getInfo()
    assert table[0] == ["id", "longitude", "latitude", "time", "B2", "label"]
    assert len(table) == 5
    for i, row in enumerate(table[1:]):
        scene = catalog.image(f"T/OPT/s{i}")
        at = 20, 40 - 10 * i
        assert row[0] == f"s{i}" and row[3] == 1_600_000_000_000 + i * DAY and row[4] == scene.arrays["B2"][at]
        assert row[5] == (scene.arrays["label"][at] if scene.valid["label"][at] else None)
        np.testing.assert_allclose(row[1:3], (x, y), atol=1e-9)


def test_get_region_leaves_out_images_that_do_not_reach_there_and_too_many_values():
    x, y = TO(ORIGIN[0] + 55, ORIGIN[1] - 205)
    table = ee.ImageCollection("T/OPT").getRegion(ee.Geometry.Point([x, y]), 10).getInfo()
    assert [row[0] for row in table[1:]] == ["s0"]
    with pytest.raises(ee.EEException, match=r"Too many values: \d+ points x 3 bands x 4 images > 1048576"):
        ee.ImageCollection("T/OPT").getRegion(ee.Geometry.Rectangle([14, 49, 14.1, 49.1], None, False), 10).getInfo()
    with pytest.raises(ee.EEException, match="empty"):
        ee.ImageCollection([]).getRegion(ee.Geometry.Point([0, 0]), 10).getInfo()


# ------------------------------------------------------------------------------------------------------ random points


def test_random_points_are_uniform_on_the_sphere():
    """Between the equator and 60 degrees, half of the area lies below 25.66 degrees (asin of half of sin 60)."""
    region = ee.Geometry.Rectangle([0, 0, 40, 60], None, False)
    points = ee.FeatureCollection.randomPoints(region, 4000, 5).geometry().coordinates().getInfo()
    xy = np.array(points)
    assert len(xy) == 4000 and xy[:, 0].min() > 0 and xy[:, 0].max() < 40 and xy[:, 1].max() < 60
    assert abs((xy[:, 1] < np.degrees(np.arcsin(np.sin(np.radians(60)) / 2))).mean() - 0.5) < 0.03
    assert abs((xy[:, 0] < 10).mean() - 0.25) < 0.03


def test_random_points_lie_in_the_parts_of_the_highest_dimension():
    ring = ee.Geometry.Polygon([[[0, 0], [10, 0], [10, 10], [0, 10]], [[2, 2], [8, 2], [8, 8], [2, 8]]], None, False)
    for feature in ee.FeatureCollection.randomPoints(ring, 50).getInfo()["features"]:
        x, y = feature["geometry"]["coordinates"]
        assert not (2 < x < 8 and 2 < y < 8)
    line = ee.Geometry.LineString([[0, 0], [10, 0]], None, False)
    on_line = ee.FeatureCollection.randomPoints(line, 20).getInfo()["features"]
    assert all(abs(f["geometry"]["coordinates"][1]) < 1e-9 for f in on_line)
    both = ee.FeatureCollection.randomPoints(ee.Geometry.MultiPoint([[1, 2], [3, 4]]), 20).getInfo()["features"]
    assert {tuple(f["geometry"]["coordinates"]) for f in both} == {(1, 2), (3, 4)}
    assert ee.FeatureCollection.randomPoints(ring, 0).size().getInfo() == 0


# ------------------------------------------------------------------------------------------------- tables to pixels


@pytest.mark.parametrize(("name", "reference"), [("mean", np.mean), ("count", len), ("max", np.max), ("sum", np.sum)])
def test_reduce_to_image(name, reference):
    shapes = [(shapely.box(14, 49, 14.5, 49.5), 1), (shapely.box(14.2, 49.2, 14.9, 49.8), 5),
              (shapely.Point(14.7, 49.65).buffer(0.1), 4.5)]
    table = ee.FeatureCollection([ee.Feature(ee.Geometry(shapely.geometry.mapping(shape), None, False), {"v": value})
                                  for shape, value in shapes] + [ee.Feature(None, {"v": 9})])
    image = table.reduceToImage(["v"], getattr(ee.Reducer, name)())
    got = pixels(image.toDouble().unmask(-1, False), 13.9, 49.9, 55, 48, 0.02, "EPSG:4326")
    assert got.dtype.names == (name,)
    masks = [rasterio.features.rasterize([shape], got.shape, transform=Affine(0.02, 0, 13.9, 0, -0.02, 49.9))
             for shape, _ in shapes]
    for r, c in np.ndindex(got.shape):
        values = [value for mask, (_, value) in zip(masks, shapes, strict=True) if mask[r, c]]
        want = reference(values) if values else 0 if name == "count" else -1
        assert got[name][r, c] == pytest.approx(want)
    nowhere = pixels(image.toDouble().unmask(-1, False), 100, 10, 3, 3, 0.02, "EPSG:4326")[name]
    assert (nowhere == (0 if name == "count" else -1)).all()


# ------------------------------------------------------------------------------------------------- linked collections


def test_linked_collections(catalog):
    image = ee.Image("T/OPT/s1").select("B2")
    others = ee.ImageCollection("T/OPT").select(["B3", "label"])
    linked = image.linkCollection(others, ["B3"], ["cloud"], "system:index")
    got = pixels(linked, ORIGIN[0] + 100)
    assert got.dtype.names == ("B2", "B3")
    np.testing.assert_array_equal(got["B3"], catalog.image("T/OPT/s1").arrays["B3"])
    assert linked.get("cloud").getInfo() == 10
    overwritten = image.linkCollection(others.map(lambda i: i.select(["B3"], ["B2"])), "B2")
    np.testing.assert_array_equal(pixels(overwritten, ORIGIN[0] + 100)["B2"], catalog.image("T/OPT/s1").arrays["B3"])
    lonely = image.set("system:index", "none").linkCollection(others, ["B3"], "cloud")
    assert (pixels(lonely.select("B3").mask(), ORIGIN[0] + 100)["B3"] == 0).all()
    assert lonely.get("cloud").getInfo() is None


def test_combined_collections_meet_by_index(catalog):
    one = ee.ImageCollection("T/OPT").select("B2")
    other = ee.ImageCollection("T/OPT").filter(ee.Filter.expression("cloud < 25")).select("B3")
    both = one.combine(other)
    assert both.aggregate_array("system:index").getInfo() == ["s1", "s3"]
    got = pixels(both.first(), ORIGIN[0] + 100)
    np.testing.assert_array_equal(got["B3"], catalog.image("T/OPT/s1").arrays["B3"])
    assert pixels(one.combine(one, True).first()).dtype.names == ("B2",)
    assert pixels(one.combine(one).first()).dtype.names == ("B2", "B2_1")


def test_casting_a_collection():
    got = pixels(ee.ImageCollection("T/OPT").cast({"B2": "double", "label": "int16"}, ["label", "B2"]).first())
    assert got.dtype == np.dtype([("label", "<i2"), ("B2", "<f8")])


def test_columns_become_features():
    table = ee.FeatureCollection(ee.ApiFunction.call_("Collection.fromColumns", [[1, 2], ["a", "b"]], ["n", "s"]))
    assert rows_of(table) == [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}]


# --------------------------------------------------------------------------------------------------- pixels as shapes


@pytest.mark.parametrize("eight", [True, False])
def test_segments_become_features(catalog, eight):
    """Groups of equal neighbours, their size and a statistic, against SciPy's labelling."""
    scene = catalog.image("T/OPT/s0")
    part = PART
    classes = (scene.arrays["label"][part] // 3).astype(int)
    valid, blue = scene.valid["label"][part], scene.arrays["B2"][part].astype(float)
    wanted = []
    for value in range(3):
        found, count = ndimage.label(valid & (classes == value), np.ones((3, 3)) if eight else None)
        for n in range(1, count + 1):
            wanted.append((value, int((found == n).sum()), round(blue[found == n].mean(), 6)))
    image = ee.Image("T/OPT/s0")
    segments = image.select("label").divide(3).floor().toInt().addBands(image.select("B2"))
    region = ee.Geometry.Rectangle([ORIGIN[0] + 100, ORIGIN[1] - 250, ORIGIN[0] + 300, ORIGIN[1] - 100], CRS, False)
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True)
    features = segments.reduceToVectors(reducer, region, 10, eightConnected=eight).getInfo()["features"]
    got = [(f["properties"]["label"], f["properties"]["count"], round(f["properties"]["mean"], 6)) for f in features]
    assert sorted(got) == sorted(wanted)
    for feature in features:
        shape = shapely.transform(shapely.geometry.shape(feature["geometry"]),
                                  Transformer.from_crs(4326, CRS, always_xy=True).transform, interleaved=False)
        assert shape.area / 100 == pytest.approx(feature["properties"]["count"], rel=1e-6)
    default = segments.select(0).reduceToVectors(geometry=region, scale=10, eightConnected=eight)
    assert sorted(default.aggregate_array("count").getInfo()) == sorted(w[1] for w in wanted)
    centres = segments.select(0).reduceToVectors(geometry=region, scale=10, geometryType="centroid")
    assert centres.first().geometry().type().getInfo() == "Point"
    with pytest.raises(ee.EEException, match="maxPixels"):
        segments.select(0).reduceToVectors(geometry=region, scale=10, maxPixels=100).getInfo()


def test_rectangles_become_arrays(catalog):
    scene = catalog.image("T/OPT/s0")
    region = ee.Geometry.Rectangle([ORIGIN[0] + 100, ORIGIN[1] - 250, ORIGIN[0] + 300, ORIGIN[1] - 100], CRS, False)
    image = ee.Image("T/OPT/s0")
    got = image.select(["B2", "label"]).sampleRectangle(region, ["cloud"], 255).getInfo()["properties"]
    assert set(got) == {"B2", "label", "cloud"}
    np.testing.assert_array_equal(got["B2"], scene.arrays["B2"][PART])
    np.testing.assert_array_equal(got["label"], np.where(scene.valid["label"], scene.arrays["label"], 255)[PART])
    array = image.select("B2").sampleRectangle(region).getArray("B2")
    assert array.get([3, 4]).getInfo() == scene.arrays["B2"][13, 14]
    with pytest.raises(ee.EEException, match="defaultValue"):
        image.select("label").sampleRectangle(region).getInfo()
    with pytest.raises(ee.EEException, match="262144"):
        image.select("B2").sampleRectangle(ee.Geometry.Rectangle([14, 49, 16, 51], None, False)).getInfo()
