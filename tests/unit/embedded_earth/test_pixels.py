"""Pixels against references computed here with NumPy, rasterio and pyproj."""

from __future__ import annotations

import io

import ee
import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from tests.unit.embedded_earth.conftest import CRS, HEIGHT, ORIGIN, WIDTH, pixels

pytestmark = pytest.mark.usefixtures("earth")


def test_native_grid_is_bit_exact_with_one_type_per_band(catalog):
    got = pixels(ee.Image("T/OPT/s0"))
    assert got.dtype == np.dtype([("B2", "<u2"), ("B3", "<u2"), ("label", "u1")])
    scene = catalog.image("T/OPT/s0")
    np.testing.assert_array_equal(got["B2"], scene.arrays["B2"])
    np.testing.assert_array_equal(got["label"], np.where(scene.valid["label"], scene.arrays["label"], 0))


@given(dx=st.integers(-70, 70), dy=st.integers(-60, 60), sub=st.sampled_from([0.0, 3.0, 5.1, 9.9]),
       width=st.integers(1, 80), height=st.integers(1, 70))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nearest_takes_the_pixel_that_holds_the_centre(catalog, dx, dy, sub, width, height):
    x0, y0 = ORIGIN[0] + 10 * dx + sub, ORIGIN[1] - 10 * dy + sub
    got = pixels(ee.Image("T/OPT/s0").select("B2").unmask(65535, False).toUint16(), x0, y0, width, height)["B2"]
    cols = np.floor((x0 + (np.arange(width) + 0.5) * 10 - ORIGIN[0]) / 10 + 1e-9).astype(int)
    rows = np.floor((ORIGIN[1] - y0 + (np.arange(height) + 0.5) * 10) / 10 + 1e-9).astype(int)
    inside = ((rows >= 0) & (rows < HEIGHT))[:, None] & ((cols >= 0) & (cols < WIDTH))
    source = catalog.image("T/OPT/s0").arrays["B2"]
    want = np.where(inside, source[np.clip(rows, 0, HEIGHT - 1)][:, np.clip(cols, 0, WIDTH - 1)], 65535)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.7, -4.2), (5.0, 5.0)])
def test_bilinear_equals_gdal(catalog, shift):
    scene = catalog.image("T/COARSE/c")
    x0, y0 = ORIGIN[0] + 100 + shift[0], ORIGIN[1] - 100 + shift[1]
    got = pixels(ee.Image("T/COARSE/c").resample("bilinear"), x0, y0, 30, 20)["B11"]
    want = np.zeros((20, 30))
    reproject(scene.arrays["B11"], want, src_transform=Affine(20, 0, ORIGIN[0], 0, -20, ORIGIN[1]), src_crs=CRS,
              dst_transform=Affine(10, 0, x0, 0, -10, y0), dst_crs=CRS, resampling=Resampling.bilinear)
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_bilinear_on_the_own_grid_changes_nothing(catalog):
    got = pixels(ee.Image("T/SAR/x").resample("bilinear"), ORIGIN[0] + 3.7, ORIGIN[1] - 4.2)["VV"]
    np.testing.assert_array_equal(got, catalog.image("T/SAR/x").arrays["VV"])


def test_computed_values_are_what_is_interpolated(catalog):
    """Power, not decibels: the expression before ``resample`` is evaluated on native pixels."""
    power = ee.Image("T/SAR/x").multiply(np.log(10) / 10).exp().resample("bilinear")
    got = pixels(power, ORIGIN[0] + 100, ORIGIN[1] - 100, 20, 20)["VV"]
    want = np.zeros((20, 20))
    source = 10 ** (catalog.image("T/SAR/x").arrays["VV"] / 10)
    reproject(source, want, src_transform=Affine(10, 0, ORIGIN[0] + 3.7, 0, -10, ORIGIN[1] - 4.2), src_crs=CRS,
              dst_transform=Affine(10, 0, ORIGIN[0] + 100, 0, -10, ORIGIN[1] - 100), dst_crs=CRS,
              resampling=Resampling.bilinear)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_masked_neighbours_take_no_part(catalog):
    image = ee.Image("T/OPT/s0").select("label")
    got = pixels(image.toDouble().resample("bilinear").unmask(-1, False), ORIGIN[0] + 105, ORIGIN[1] - 105, 30, 20)
    scene = catalog.image("T/OPT/s0")
    values, valid = scene.arrays["label"].astype(float), scene.valid["label"].astype(float)
    block = [np.s_[10 + i:30 + i, 10 + j:40 + j] for i in (0, 1) for j in (0, 1)]
    weight = sum(valid[b] for b in block) / 4
    total = sum((values * valid)[b] for b in block) / 4
    want = np.where(weight > 0, total / np.where(weight > 0, weight, 1), -1)
    np.testing.assert_allclose(got["label"], want, atol=1e-12)


def test_another_projection(catalog):
    x0, y0 = Transformer.from_crs(CRS, 4326, always_xy=True).transform(ORIGIN[0] + 100, ORIGIN[1] - 100)
    scale = 1e-4
    got = pixels(ee.Image("T/OPT/s0").select("B3"), x0, y0, 40, 20, scale, "EPSG:4326")["B3"]
    lon, lat = np.meshgrid(x0 + (np.arange(40) + 0.5) * scale, y0 - (np.arange(20) + 0.5) * scale)
    x, y = Transformer.from_crs(4326, CRS, always_xy=True).transform(lon, lat)
    col, row = np.floor((x - ORIGIN[0]) / 10).astype(int), np.floor((ORIGIN[1] - y) / 10).astype(int)
    np.testing.assert_array_equal(got, catalog.image("T/OPT/s0").arrays["B3"][row, col])


def test_a_large_reprojected_grid_is_exact_within_a_thousandth_of_a_pixel():
    grid = dict(x0=14.9, y0=49.7, width=400, height=300, scale=1e-4, crs="EPSG:4326")
    got = pixels(ee.Image.pixelCoordinates(ee.Projection(CRS)), **grid)
    lon, lat = np.meshgrid(14.9 + (np.arange(400) + 0.5) * 1e-4, 49.7 - (np.arange(300) + 0.5) * 1e-4)
    x, y = Transformer.from_crs(4326, CRS, always_xy=True).transform(lon, lat)
    assert np.abs(got["x"] - x).max() < 0.01 and np.abs(got["y"] - y).max() < 0.01


@given(a=st.integers(-300, 70000), b=st.integers(-300, 70000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_integer_arithmetic_never_wraps(a, b):
    one, two = ee.Image.constant(a), ee.Image.constant(b)
    stack = ee.Image.cat([one.add(two), one.subtract(two), one.multiply(two)]).rename(["add", "sub", "mul"])
    got = pixels(stack, width=1, height=1)[0, 0]
    assert (int(got["add"]), int(got["sub"]), int(got["mul"])) == (a + b, a - b, a * b)


@pytest.mark.parametrize(("cast", "dtype", "low", "high"), [
    ("toUint8", "u1", 0, 255), ("toInt8", "i1", -128, 127), ("toInt16", "<i2", -32768, 32767),
    ("toUint16", "<u2", 0, 65535), ("toInt32", "<i4", -2**31, 2**31 - 1)])
def test_casts_clamp_and_cut(cast, dtype, low, high):
    values = [-1e12, -2.7, -0.5, 0.5, 2.5, 3.999, 1e12]
    got = pixels(getattr(ee.Image.constant(values), cast)(), width=1, height=1)[0, 0]
    assert all(got.dtype[i] == np.dtype(dtype) for i in range(len(values)))
    assert list(got) == [int(np.clip(np.trunc(v), low, high)) for v in values]


def test_functions_of_numbers_against_numpy(catalog):
    image = ee.Image("T/SAR/x")
    grid = (ORIGIN[0] + 3.7, ORIGIN[1] - 4.2)
    v = catalog.image("T/SAR/x").arrays["VV"]
    cases = {"exp": (image.exp(), np.exp(v)), "abs": (image.abs(), np.abs(v)),
             "round": (image.round(), np.floor(v + 0.5)), "floor": (image.floor(), np.floor(v)),
             "pow": (image.abs().pow(2), v**2), "gt": (image.gt(-10), v > -10),
             "clamp": (image.clamp(-12, -8), np.clip(v, -12, -8)),
             "unitScale": (image.unitScale(-20, 0), (v + 20) / 20),
             "where": (image.where(image.gt(-10), 5), np.where(v > -10, 5, v)),
             "divide": (image.divide(4), v / 4), "mod": (image.mod(3), np.fmod(v, 3)),
             "min": (image.min(-10), np.minimum(v, -10)), "atan2": (image.atan2(2), np.arctan2(2, v))}
    for name, (expression, want) in cases.items():
        np.testing.assert_allclose(pixels(expression, *grid)["VV"], want, rtol=1e-6, err_msg=name)


def test_what_is_not_finite_is_masked(catalog):
    v = catalog.image("T/SAR/x").arrays["VV"] + 10
    got = pixels(ee.Image("T/SAR/x").add(10).log().unmask(-99, False), ORIGIN[0] + 3.7, ORIGIN[1] - 4.2)["VV"]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(got, np.where(v > 0, np.log(v), -99))


def test_masks(catalog):
    scene = catalog.image("T/OPT/s0")
    label = ee.Image("T/OPT/s0").select("label")
    values, valid = scene.arrays["label"], scene.valid["label"]
    wide = dict(x0=ORIGIN[0] - 100, y0=ORIGIN[1] + 100, width=WIDTH + 20, height=HEIGHT + 20)
    inner = np.s_[10:10 + HEIGHT, 10:10 + WIDTH]
    everywhere = pixels(label.unmask(255, False), **wide)["label"]
    assert (everywhere[inner] == np.where(valid, values, 255)).all()
    outside = np.ones(everywhere.shape, bool)
    outside[inner] = False
    assert (everywhere[outside] == 255).all()
    # With the footprint kept, what lies outside stays masked and arrives as 0.
    same = pixels(label.unmask(255), **wide)["label"]
    assert (same[inner] == np.where(valid, values, 255)).all() and (same[outside] == 0).all()
    masked = pixels(label.updateMask(label.gt(4)).unmask(255, False))["label"]
    assert (masked == np.where(valid & (values > 4), values, 255)).all()
    assert (pixels(label.mask())["label"] == valid).all()
    assert (pixels(label.selfMask().mask())["label"] == (valid & (values != 0))).all()


def test_mosaic_lays_the_last_on_top(catalog):
    names = ["T/OPT/s0", "T/OPT/s1", "T/OPT/s2"]
    got = pixels(ee.ImageCollection([ee.Image(n).select("label") for n in names]).mosaic().unmask(255, False),
                 width=WIDTH + 20)["label"]
    want = np.full((HEIGHT, WIDTH + 20), 255)
    for i, name in enumerate(names):
        scene = catalog.image(name)
        part = want[:, 10 * i:10 * i + WIDTH]
        part[scene.valid["label"]] = scene.arrays["label"][scene.valid["label"]]
    np.testing.assert_array_equal(got, want)


def test_composites_fall_to_one_degree():
    composite = ee.ImageCollection("T/OPT").select("B2").mean()
    assert composite.projection().getInfo() == {"type": "Projection", "crs": "EPSG:4326",
                                                "transform": [1, 0, 0, 0, 1, 0]}
    assert "dimensions" not in composite.getInfo()["bands"][0]
    with pytest.raises(ee.EEException, match="different projections"):
        ee.Image("T/OPT/s0").addBands(ee.Image("T/COARSE/c")).projection().getInfo()


@pytest.mark.parametrize(("name", "reference"), [
    ("mean", np.ma.mean), ("median", np.ma.median), ("min", np.ma.min), ("max", np.ma.max), ("sum", np.ma.sum),
    ("stdDev", np.ma.std), ("variance", np.ma.var), ("count", np.ma.count)])
def test_reducing_a_collection(catalog, name, reference):
    got = pixels(ee.ImageCollection("T/OPT").select("label").reduce(getattr(ee.Reducer, name)()).unmask(-1, False),
                 ORIGIN[0] + 300, ORIGIN[1], 30, HEIGHT)[f"label_{name}"]
    stack = np.ma.stack([np.ma.array(s.arrays["label"], mask=~s.valid["label"])[:, 30 - 10 * i:60 - 10 * i]
                         for i, s in enumerate(catalog.listed[:4])]).astype(float)
    want = np.ma.filled(reference(stack, axis=0), -1)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_mode_takes_the_most_frequent_and_of_equals_the_smallest(catalog):
    got = pixels(ee.ImageCollection("T/OPT").select("label").mode().unmask(255, False), ORIGIN[0] + 300, ORIGIN[1], 30,
                 HEIGHT)["label"]
    parts = [(s.arrays["label"][:, 30 - 10 * i:60 - 10 * i], s.valid["label"][:, 30 - 10 * i:60 - 10 * i])
             for i, s in enumerate(catalog.listed[:4])]
    for r in range(HEIGHT):
        for c in range(30):
            values = [int(a[r, c]) for a, v in parts if v[r, c]]
            want = min(values, key=lambda x: (-values.count(x), x)) if values else 255
            assert got[r, c] == want


def test_reduce_region_and_sample_regions(catalog):
    scene = catalog.image("T/OPT/s0")
    to = Transformer.from_crs(CRS, 4326, always_xy=True).transform
    box = ee.Geometry.Polygon([[list(to(ORIGIN[0] + x, ORIGIN[1] - y)) for x, y in
                                ((101, 101), (301, 101), (301, 251), (101, 251))]], None, False)
    image = ee.Image("T/OPT/s0")
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True)
    got = image.select(["B2", "label"]).reduceRegion(reducer, box, 10).getInfo()
    # Counted are pixels whose centre lies inside; the mean weighs each pixel by its share inside.
    valid = scene.valid["label"][10:25, 10:30]
    assert got["B2_count"] == 300 and got["label_count"] == valid.sum()
    part = np.s_[10:26, 10:31]
    share = np.outer([0.9] + [1.0] * 14 + [0.1], [0.9] + [1.0] * 19 + [0.1])
    assert got["B2_mean"] == pytest.approx(np.average(scene.arrays["B2"][part], weights=share), rel=1e-6)
    assert got["label_mean"] == pytest.approx(
        np.average(scene.arrays["label"][part], weights=share * scene.valid["label"][part]), rel=1e-6)
    with pytest.raises(ee.EEException, match="Too many pixels in the region. Found 300, but maxPixels allows only 10"):
        image.reduceRegion(ee.Reducer.mean(), box, 10, maxPixels=10).getInfo()
    coarse = image.select("B2").reduceRegion(ee.Reducer.count(), box, 10, bestEffort=True, maxPixels=100).getInfo()
    assert 50 <= coarse["B2"] <= 100
    places = [(0, 0), (5, 7), (40, 60)]
    points = ee.FeatureCollection([
        ee.Feature(ee.Geometry.Point(list(to(ORIGIN[0] + 10 * c + 5, ORIGIN[1] - 10 * r - 5))), {"i": i})
        for i, (r, c) in enumerate(places)])
    rows = image.select("B2").sampleRegions(points, scale=10).reduceColumns(ee.Reducer.toList(2), ["i", "B2"]).getInfo()
    assert rows["list"] == [[i, int(scene.arrays["B2"][rc])] for i, rc in enumerate(places)]


@pytest.mark.parametrize("base", ["empty", "seven"])
def test_many_painted_places_are_as_each_alone(catalog, base):
    """At once where the answer has no geometries, pixel by pixel where it has; also off the polygons, beside areas."""
    start = ee.Image().toInt16() if base == "empty" else ee.Image(7).toInt16()
    twice = ee.FeatureCollection("T/REGIONS").merge(ee.FeatureCollection([
        ee.Feature(ee.Geometry.Rectangle([14.7, 49.2, 15.6, 49.6], None, False), {"code": 9})]))
    painted = start.paint(twice, "code").rename(["code"])
    lon, lat = np.random.default_rng(3).uniform([[13.7], [48.8]], [[17.5], [50.2]], (2, 60))
    places = [ee.Geometry.Point([x, y]) for x, y in zip(lon.tolist(), lat.tolist(), strict=True)]
    places.insert(5, ee.Geometry.Rectangle([14.9, 49.3, 14.904, 49.303], None, False))
    regions = ee.FeatureCollection([ee.Feature(place, {"i": i}) for i, place in enumerate(places)])

    def told(geometries):
        sampled = painted.sampleRegions(regions, scale=100, geometries=geometries)
        return sampled.reduceColumns(ee.Reducer.toList(3), ["i", "code", "system:index"]).getInfo()["list"]

    assert told(False) == told(True)
    assert {code for _, code, _ in told(False)} == {1, 2, 3, 9} | ({7} if base == "seven" else set())


def test_paint_and_sample(catalog):
    painted = ee.Image().toInt16().paint(ee.FeatureCollection("T/REGIONS"), "code").rename(["code"])
    points = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([14.5 + i, 49.5]), {"i": i}) for i in range(4)])
    got = painted.sampleRegions(points, scale=100).reduceColumns(ee.Reducer.toList(2), ["i", "code"]).getInfo()
    assert got["list"] == [[0, 1], [1, 2], [2, 3]]
    block = pixels(painted.unmask(0, False), 13.96, 50.03, 32, 12, 0.1, "EPSG:4326")["code"]
    lon, lat = np.meshgrid(13.96 + (np.arange(32) + 0.5) * 0.1, 50.03 - (np.arange(12) + 0.5) * 0.1)
    want = np.zeros(block.shape, int)
    for i in range(3):
        want[(lon > 14 + i) & (lon < 14.9 + i) & (lat > 49) & (lat < 50)] = i + 1
    np.testing.assert_array_equal(block, want)


def test_clip_and_footprints():
    box = ee.Geometry.Rectangle([15.0, 49.645, 15.004, 49.65], None, False)
    clipped = ee.Image("T/OPT/s0").select("B2").clip(box)
    got = pixels(clipped.mask())["B2"]
    assert 0 < got.sum() < got.size
    bounds = np.array(clipped.geometry().bounds().coordinates().getInfo()[0])
    assert bounds[:, 0].max() <= 15.0041 and bounds[:, 1].min() >= 49.6449


def test_geotiff_and_png(catalog):
    image = ee.Image("T/OPT/s0").select(["B2", "label"])
    grid = {"crsCode": CRS, "dimensions": {"width": WIDTH, "height": HEIGHT},
            "affineTransform": {"scaleX": 10, "translateX": ORIGIN[0], "scaleY": -10, "translateY": ORIGIN[1]}}
    with rasterio.open(io.BytesIO(ee.data.computePixels(
            {"expression": image, "fileFormat": "GEO_TIFF", "grid": grid}))) as file:
        assert file.descriptions == ("B2", "label") and file.crs.to_epsg() == 32633
        np.testing.assert_array_equal(file.read(1), catalog.image("T/OPT/s0").arrays["B2"])
    with rasterio.open(io.BytesIO(ee.data.computePixels({
            "expression": image.select("B2"), "fileFormat": "PNG", "grid": grid,
            "visualizationOptions": {"ranges": [{"min": 0, "max": 4000}]}}))) as file:
        want = catalog.image("T/OPT/s0").arrays["B2"] / 4000 * 255
        np.testing.assert_allclose(file.read(1), np.floor(want), atol=1)


def test_a_request_without_a_grid_takes_the_images_own(catalog):
    got = ee.data.computePixels({"expression": ee.Image("T/COARSE/c"), "fileFormat": "NUMPY_NDARRAY"})
    np.testing.assert_array_equal(got["B11"], catalog.image("T/COARSE/c").arrays["B11"])
    with pytest.raises(ee.EEException, match="unbounded"):
        ee.data.computePixels({"expression": ee.Image(1), "fileFormat": "NUMPY_NDARRAY"})


def test_a_scene_is_read_once_for_values_and_mask(catalog):
    image = ee.Image("T/SAR/x")
    pixels(image.exp().updateMask(image.gt(-10)).addBands(image.add(1).rename("again")), ORIGIN[0] + 3.7,
           ORIGIN[1] - 4.2)
    assert catalog.image("T/SAR/x").reads == 1


@pytest.mark.parametrize("factor", [2, 3, 4, 7])
def test_coarser_grids_read_the_pyramid(catalog, factor):
    """The level is the coarsest whose pixels are no larger than the grid's; labels take the mode, others the mean."""
    level = int(np.log2(factor))
    side, scale = 2**level, 10.0 * factor
    width, height = WIDTH // factor, HEIGHT // factor
    got = pixels(ee.Image("T/OPT/s0").unmask(255, False), width=width, height=height, scale=scale)
    scene = catalog.image("T/OPT/s0")
    blocks = scene.arrays["B2"].reshape(HEIGHT // side, side, WIDTH // side, side).astype(float)
    mean = blocks.mean(axis=(1, 3))
    rows = np.floor((np.arange(height) + 0.5) * factor / side).astype(int)
    cols = np.floor((np.arange(width) + 0.5) * factor / side).astype(int)
    np.testing.assert_allclose(got["B2"], mean[rows][:, cols], atol=0.51)


def test_modes_and_masks_in_the_pyramid(catalog):
    scene = catalog.image("T/OPT/s0")
    got = pixels(ee.Image("T/OPT/s0").select("label").unmask(255, False), width=WIDTH // 2, height=HEIGHT // 2,
                 scale=20.0)["label"]
    for r in range(HEIGHT // 2):
        for c in range(WIDTH // 2):
            block = np.s_[2 * r:2 * r + 2, 2 * c:2 * c + 2]
            values = scene.arrays["label"][block][scene.valid["label"][block]].tolist()
            if not values:
                assert got[r, c] == 255
            elif scene.bands[2].pyramid == "mode":
                assert values.count(got[r, c]) == max(map(values.count, values))
            else:
                assert got[r, c] == np.rint(np.mean(values))
