"""Classifiers, tiles of maps and drawings, through the real client."""

from __future__ import annotations

import io

import ee
import numpy as np
import pytest
from PIL import Image as Picture

from dwplus.embedded_earth.maps import HALF, tile_grid
from tests.unit.embedded_earth.conftest import CRS, ORIGIN, pixels

IMAGE = "T/OPT/s0"
INPUTS = ["B2", "B3"]


# --------------------------------------------------------------------------------------------------------- classifiers


def samples(count=300):
    """Features with two bands and a class that follows from them: whether their sum is above 4,000."""
    rng = np.random.default_rng(0)
    table = rng.integers(0, 4000, (count, 2))
    return ee.FeatureCollection([ee.Feature(None, {"B2": int(a), "B3": int(b), "class": int(a + b > 4000)})
                                 for a, b in table])


def forest(**options):
    return ee.Classifier.smileRandomForest(20, **options)


@pytest.mark.parametrize("make", [forest, ee.Classifier.smileCart, lambda: ee.Classifier.smileKNN(5),
                                  lambda: ee.Classifier.smileGradientTreeBoost(50, 0.2)])
def test_classes_of_pixels(earth, catalog, make):
    pytest.importorskip("sklearn")
    trained = make().train(samples(), "class", INPUTS)
    found = pixels(ee.Image(IMAGE).classify(trained))["classification"]
    arrays = catalog.image(IMAGE).arrays
    truth = arrays["B2"].astype(int) + arrays["B3"] > 4000
    assert found.dtype == np.uint8 and (found == truth).mean() > 0.93


def test_masked_pixels_have_no_class(earth, catalog):
    pytest.importorskip("sklearn")
    trained = forest().train(samples(), "class", INPUTS)
    image = ee.Image(IMAGE)
    found = image.updateMask(image.select("B2").gt(1000)).classify(trained).mask()
    np.testing.assert_array_equal(pixels(found)["classification"] > 0, catalog.image(IMAGE).arrays["B2"] > 1000)


def test_what_a_classifier_tells_of_itself(earth):
    pytest.importorskip("sklearn")
    trained = forest().train(samples(), "class")
    assert trained.schema().getInfo() == INPUTS and trained.mode().getInfo() == "CLASSIFICATION"
    assert forest().schema().getInfo() is None
    told = trained.explain().getInfo()
    assert told["classes"] == [0, 1] and told["numberOfTrees"] == 20
    assert sum(told["importance"].values()) == pytest.approx(1)
    matrix, share = np.array(trained.confusionMatrix().getInfo()), trained.confusionMatrix().accuracy().getInfo()
    assert matrix.sum() == 300 and np.trace(matrix) / 300 == pytest.approx(share)


def test_the_usual_flow_of_a_land_cover_user(earth):
    pytest.importorskip("sklearn")
    image = ee.Image(IMAGE)
    labelled = image.select(INPUTS).addBands(image.select("B2").gt(2000).rename("class"))
    region = ee.Geometry.Rectangle([*ORIGIN, ORIGIN[0] + 640, ORIGIN[1] - 480], CRS, False)
    points = labelled.sample(region, 10, numPixels=600, seed=1).randomColumn(seed=2)
    train, test = points.filter("random < 0.7"), points.filter("random >= 0.7")
    trained = forest().train(train, "class", INPUTS)
    matrix = test.classify(trained).errorMatrix("class", "classification")
    assert matrix.accuracy().getInfo() > 0.95 and matrix.kappa().getInfo() > 0.9
    assert np.array(matrix.getInfo()).sum() == test.size().getInfo() > 50


def test_shares_of_classes_and_regression(earth):
    pytest.importorskip("sklearn")
    shares = forest().setOutputMode("MULTIPROBABILITY").train(samples(), "class", INPUTS)
    flat = ee.Image(IMAGE).classify(shares).arrayFlatten([["no", "yes"]])
    found = pixels(flat)
    np.testing.assert_allclose(found["no"] + found["yes"], 1)
    sums = samples().map(lambda f: f.set("sum", ee.Number(f.get("B2")).add(f.get("B3"))))
    tree = forest().setOutputMode("REGRESSION").train(sums, "sum", INPUTS)
    both = ee.Image(IMAGE).expression("b('B2') + b('B3')").rename("sum").addBands(ee.Image(IMAGE).classify(tree))
    got = pixels(both)
    assert np.corrcoef(got["sum"].ravel(), got["classification"].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("make, words", [
    (lambda: ee.Image(IMAGE).classify(forest()), "has not been trained"),
    (lambda: forest().setOutputMode("PROBABILITY"), "not supported"),
    (lambda: forest().train(samples(), "none", INPUTS), "No features contained non-null values of 'none'"),
    (lambda: forest(bagFraction=2), "bagFraction"),
    (lambda: forest().train(samples().filter("class == 1"), "class", INPUTS), "Only one class"),
    (lambda: forest().train(samples(), "class", INPUTS).setOutputMode("REGRESSION"), "before the training")])
def test_what_is_refused_of_classifiers(earth, make, words):
    pytest.importorskip("sklearn")
    with pytest.raises(ee.EEException, match=words):
        found = make()
        if isinstance(found, ee.Classifier):
            found = ee.Image(IMAGE).classify(found)
        found.getInfo()


# -------------------------------------------------------------------------------------------------------------- tiles


def tile(image, zoom, x, y, **options):
    """Red, green, blue and opacity (256, 256, 4) of a tile."""
    body = image.getMapId(options)["tile_fetcher"].fetch_tile(x, y, zoom)
    return np.array(Picture.open(io.BytesIO(body)).convert("RGBA"))


def test_a_tile_is_the_image_in_web_mercator(earth):
    # Zoom 1 has four tiles: the first spans longitudes -180 to 0 and latitudes 85.05 to 0.
    found = tile(ee.Image.pixelLonLat(), 1, 0, 0, bands=["longitude", "latitude", "latitude"], min=-180, max=180)
    longitude = found[..., 0] / 255 * 360 - 180
    np.testing.assert_allclose(longitude[100], -180 + (np.arange(256) + 0.5) * 180 / 256, atol=1.5)
    row = HALF * (1 - (np.arange(256) + 0.5) / 256)
    latitude = np.degrees(2 * np.arctan(np.exp(row / 6_378_137.0)) - np.pi / 2)
    np.testing.assert_allclose(found[:, 100, 1] / 255 * 360 - 180, latitude, atol=1.5)
    assert (found[..., 3] == 255).all()


def at(lon, lat, zoom):
    """Column and row of the tile that holds a place."""
    count = 2**zoom
    return int((lon + 180) / 360 * count), int((1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * count)


def test_palettes_ranges_and_masks_of_an_image_in_another_crs(earth):
    place = 15.004, 49.6485
    image = ee.Image(IMAGE).select("B2")
    x, y = at(*place, 16)
    found = tile(image.gt(2000), 16, x, y, palette=["0000ff", "ff0000"], min=0, max=1)
    inside = found[..., 3] == 255
    colours = {tuple(colour) for colour in found[inside][:, :3]}
    assert 0.1 < inside.mean() < 1 and colours == {(0, 0, 255), (255, 0, 0)}
    half = tile(image, 16, x, y, min=0, max=4000, opacity=0.5)
    assert set(np.unique(half[..., 3])) <= {0, 127, 128} and (half[inside][:, 0] == half[inside][:, 1]).all()


def test_an_image_without_options_is_stretched_by_its_type(earth):
    assert (tile(ee.Image.constant(0.5), 0, 0, 0)[..., 0] == 127).all()
    assert (tile(ee.Image.constant(7).toByte(), 0, 0, 0)[..., 0] == 7).all()


def test_options_in_the_request_itself(earth):
    made = ee.data.getMapId({"image": ee.Image([1, 2]), "bands": "constant_1", "min": "0", "max": "2",
                             "palette": "000000,00ff00"})
    body = made["tile_fetcher"].fetch_tile(0, 0, 0)
    assert (np.array(Picture.open(io.BytesIO(body)).convert("RGB"))[0, 0] == [0, 255, 0]).all()


def test_tiles_and_maps_that_there_are_not(earth):
    fetcher = ee.Image(1).getMapId()["tile_fetcher"]
    with pytest.raises(ee.EEException, match="not in the map"):
        fetcher.fetch_tile(0, 0, 25)
    with pytest.raises(ee.EEException, match="not in the map"):
        fetcher.fetch_tile(2, 0, 1)
    with pytest.raises(ee.EEException, match="Not found"):
        ee.data.TileFetcher("", map_name="projects/test/maps/" + "0" * 32).fetch_tile(0, 0, 0)
    assert tile_grid(0, 0, 0)["affineTransform"]["translateX"] == pytest.approx(-20_037_508.342789244)


def test_features_are_drawn(earth):
    square = ee.FeatureCollection([ee.Geometry.Rectangle([-90, -45, 90, 45], None, False)])
    found = tile(square, 0, 0, 0, color="ff0000")
    assert tuple(found[128, 128]) == (255, 0, 0, 127) and found[10, 10, 3] == 0
    assert found[128, 64, 3] == 255  # the outline, at 90 degrees west
    styled = tile(square.style(color="0000ff", fillColor="00ff0080", width=4), 0, 0, 0)
    assert tuple(styled[128, 128]) == (0, 255, 0, 128) and tuple(styled[128, 64][:3]) == (0, 0, 255)
    point = tile(ee.FeatureCollection([ee.Geometry.Point([0, 0])]).style(pointSize=20, color="red"), 0, 0, 0)
    assert 250 < (point[..., 3] > 0).sum() < 500
    own = ee.FeatureCollection([ee.Feature(ee.Geometry.Rectangle([-90, -45, 90, 45], None, False),
                                           {"style": {"fillColor": "ff00ff", "width": 0}})])
    assert tuple(tile(own.style(styleProperty="style"), 0, 0, 0)[128, 128]) == (255, 0, 255, 255)
    with pytest.raises(ee.EEException, match="not supported"):
        tile(square.style(lineType="dashed"), 0, 0, 0)
