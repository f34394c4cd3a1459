"""Confusion matrices, numbers as texts, parts of geometries, special functions on images: through the real client."""

from __future__ import annotations

import ee
import numpy as np
import pyproj
import pytest
import scipy.special
import shapely

from tests.unit.embedded_earth.conftest import pixels

GEOD = pyproj.Geod(ellps="WGS84")
#: Story and Congalton (1986), "Accuracy assessment: a user's perspective", the worked example: forest, water, urban.
STORY = [[28, 1, 1], [14, 15, 1], [15, 5, 20]]


def test_accuracies_of_a_published_matrix(earth):
    matrix = ee.ConfusionMatrix(STORY)
    counts = np.array(STORY)
    assert matrix.accuracy().getInfo() == pytest.approx(0.63)
    np.testing.assert_allclose(matrix.producersAccuracy().getInfo(), (np.diagonal(counts) / counts.sum(1))[:, None])
    np.testing.assert_allclose(matrix.consumersAccuracy().getInfo(), (np.diagonal(counts) / counts.sum(0))[None])
    assert matrix.getInfo() == STORY and matrix.order().getInfo() == [0, 1, 2]
    chance = (counts.sum(0) * counts.sum(1)).sum() / 100**2
    assert matrix.kappa().getInfo() == pytest.approx((0.63 - chance) / (1 - chance))
    precision, recall = np.diagonal(counts) / counts.sum(0), np.diagonal(counts) / counts.sum(1)
    np.testing.assert_allclose(matrix.fscore(2).getInfo(), 5 * precision * recall / (4 * precision + recall))


def test_an_error_matrix_counts_pairs(earth):
    pairs = [(0, 1), (2, 2), (2, 0), (2, 2)]
    table = ee.FeatureCollection([ee.Feature(None, {"is": a, "said": b}) for a, b in pairs])
    assert table.errorMatrix("is", "said").getInfo() == [[0, 1, 0], [0, 0, 0], [1, 0, 2]]
    assert table.errorMatrix("is", "said", [2, 1, 0]).getInfo() == [[2, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert table.errorMatrix("is", "said").producersAccuracy().getInfo()[1] == [0]  # no such class
    with pytest.raises(ee.EEException, match="not in 'order'"):
        table.errorMatrix("is", "said", [0, 1]).getInfo()


@pytest.mark.parametrize(
    "value, pattern, text",
    [  # by hand from Formatter's page
        (1, "%03d", "001"),
        (123476, "%.3e", "1.235e+05"),
        (2.5, "%.0f", "3"),
        (0.125, "%.2f", "0.13"),
        (1234567, "%,d", "1,234,567"),
        (-5, "%(d", "(5)"),
        (0.0001, "%g", "0.000100000"),
        (1e10, "%s", "1.0E10"),
        (0.001, "%s", "0.001"),
        (1e-5, "%s", "1.0E-5"),
        (255, "%X", "FF"),
        (12, "%d%%", "12%"),
        (9.9996, "%.3e", "1.000e+01"),
        (-3.14159, "%010.3f", "-00003.142"),
        (12, "|%-8d|", "|12      |"),
        (7, "%+d", "+7"),
        (8, "%#o", "010"),
    ],
)
def test_numbers_are_written_as_java_does(earth, value, pattern, text):
    assert ee.Number(value).format(pattern).getInfo() == text


@pytest.mark.parametrize("pattern", ["%", "%q", "%.2d"])
def test_bad_patterns_are_refused(earth, pattern):
    with pytest.raises(ee.EEException, match="bad pattern"):
        ee.Number(1).format(pattern).getInfo()


def test_a_pixel_type_has_a_range_and_axes(earth):
    assert ee.PixelType("double", 0, 10, 2).getInfo() == {
        "type": "PixelType",
        "precision": "double",
        "min": 0,
        "max": 10,
        "dimensions": 2,
    }
    assert ee.PixelType("int", 0, 10, 1).dimensions().getInfo() == 1
    with pytest.raises(ee.EEException, match="precision"):
        ee.PixelType("complex").getInfo()


def test_a_margin_has_a_unit_that_there_is(earth):
    with pytest.raises(ee.EEException, match="Unknown unit"):
        ee.ErrorMargin(1, "feet").getInfo()


@pytest.mark.parametrize(
    "name, theirs",
    [
        ("erf", scipy.special.erf),
        ("erfc", scipy.special.erfc),
        ("gamma", scipy.special.gamma),
        ("digamma", scipy.special.digamma),
    ],
)
def test_special_functions_of_pixels_and_of_arrays(earth, catalog, name, theirs):
    values = catalog.image("T/COARSE/c").arrays["B11"]
    image = ee.Image("T/COARSE/c")
    found = pixels(getattr(image, name)(), width=32, height=24, scale=20.0)["B11"]
    np.testing.assert_allclose(found, theirs(values), rtol=1e-5)
    found = pixels(getattr(image.toArray(), name)().arrayGet([0]), width=32, height=24, scale=20.0)["array"]
    np.testing.assert_allclose(found, theirs(values), rtol=1e-6)


def test_functions_of_one_image_take_arrays(earth):
    arrays = ee.Image([4, -9]).toArray()
    for found, want in (
        (arrays.abs().sqrt(), [2, 3]),
        (arrays.clamp(0, 3), [3, 0]),
        (arrays.bitwiseNot(), [-5, 8]),
        (arrays.toByte(), [4, 0]),
        (ee.Image([7, 8]).toArray().bitCount(), [3, 1]),
    ):
        assert found.rename("a").sample(ee.Geometry.Point([0, 0]), 1).first().get("a").getInfo() == want


def test_incomplete_gamma_takes_x_first(earth):
    found = pixels(ee.Image(2.5).gammainc(4), width=1, height=1)["constant"][0, 0]
    assert found == pytest.approx(scipy.special.gammainc(4, 2.5), rel=1e-6)


def test_the_cells_of_a_grid_that_cover_a_shape(earth):
    box = ee.Geometry.Polygon([[[500_050, 5_500_050], [500_350, 5_500_050], [500_050, 5_500_350]]], "EPSG:32633", False)
    cells = box.coveringGrid("EPSG:32633", 100).getInfo()["features"]
    found = {cell["id"] for cell in cells}
    # Of the 4 by 4 cells around the triangle, those wholly beyond its slanted edge are left out.
    corners = {(col, row) for col in range(4) for row in range(4)}
    wanted = {(col, row) for col, row in corners if 100 * col + 100 * row <= 400}
    assert found == {f"{5000 + col},{-55_001 - row}" for col, row in wanted}
    assert ee.Geometry.Point([500_050, 5_500_050], "EPSG:32633").coveringGrid("EPSG:32633", 100).size().getInfo() == 1
    with pytest.raises(ee.EEException, match="a scale may be missing"):
        ee.Geometry.Rectangle([0, 0, 10, 10]).coveringGrid("EPSG:3857").size().getInfo()


def test_lines_are_cut_at_distances(earth):
    line = ee.Geometry.LineString([[0, 0], [1, 0], [1, 1]])
    parts = line.cutLines([30_000, 150_000]).getInfo()["coordinates"]
    lengths = [GEOD.geometry_length(shapely.LineString(part)) for part in parts]
    assert lengths[:2] == pytest.approx([30_000, 120_000]) and parts[1][1] == [1, 0]
    assert sum(lengths) == pytest.approx(GEOD.geometry_length(shapely.LineString([[0, 0], [1, 0], [1, 1]])))


def test_the_nearest_points_of_two_shapes(earth):
    point, line = ee.Geometry.Point([0, 0]), ee.Geometry.LineString([[1, -1], [1, 1]])
    found = point.closestPoints(line, 1).getInfo()
    assert found["left"]["coordinates"] == pytest.approx([0, 0], abs=1e-9)
    assert found["right"]["coordinates"] == pytest.approx([1, 0], abs=1e-4)
    assert point.closestPoint(line, 1).getInfo()["coordinates"] == found["right"]["coordinates"]


def test_features_as_arrays_and_filters_by_area(earth):
    table = ee.FeatureCollection(
        [
            ee.Feature(ee.Geometry.Rectangle([0, 0, 1, 1]), {"a": 1, "b": 2.5}),
            ee.Feature(ee.Geometry.Point([0, 0]), {"a": 1}),
        ]
    )
    assert table.makeArray(["a", "b"]).aggregate_array("array").getInfo() == [[1, 2.5]]
    assert table.filter(ee.Filter.area(1e9, 2e10)).size().getInfo() == 1
    assert ee.Feature(table.first()).toArray(["b", "a"]).getInfo() == [2.5, 1]


def test_rows_are_collected_as_features(earth):
    found = ee.FeatureCollection(ee.List([3, 4]).reduce(ee.Reducer.toCollection(["v"]))).getInfo()["features"]
    assert [feature["properties"] for feature in found] == [{"v": 3}, {"v": 4}]


def test_a_text_of_an_object_is_refused_in_words(earth):
    with pytest.raises(ee.EEException, match="not supported"):
        ee.Algorithms.String(ee.Date(0)).getInfo()


@pytest.mark.parametrize(("text", "left"), [
    ("a < 2", [1]), ("a >= 2 and b == 'x'", [2]), ("a == 1 or b = \"y\"", [1, 3]), ("a != 2", [1, 3]),
    ("a > -1e1", [1, 2, 3])])
def test_filters_written_as_texts(earth, text, left):
    table = ee.FeatureCollection([ee.Feature(None, {"a": a, "b": b}) for a, b in ((1, "x"), (2, "x"), (3, "y"))])
    assert table.filter(text).aggregate_array("a").getInfo() == left


@pytest.mark.parametrize("text", ["a", "a < b", "a < 1 and a > 0 or a == 5", "a < 1 b > 2"])
def test_texts_that_are_no_filters_are_refused(earth, text):
    with pytest.raises(ee.EEException, match="Collection.filter"):
        ee.FeatureCollection([ee.Feature(None, {"a": 1})]).filter(text).size().getInfo()
