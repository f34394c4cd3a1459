"""Reducers of several inputs, of circles, histograms and groups, and arrays, against SciPy and NumPy."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from dwplus.embedded_earth.functions.statistics import incomplete_beta
from tests.unit.embedded_earth.conftest import CRS, HEIGHT, ORIGIN, WIDTH, pixels

pytestmark = pytest.mark.usefixtures("earth")


def table(**columns):
    """Features with the given properties."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return ee.FeatureCollection([ee.Feature(None, dict(zip(names, row, strict=True))) for row in rows])


RNG = np.random.default_rng(2)
X = RNG.normal(size=25)
Y = 3 * X - 1 + RNG.normal(size=25)
W = RNG.random(25)


def reduce(reducer, weights=None, **columns):
    columns = {k: np.asarray(v).tolist() for k, v in columns.items()}
    selectors = list(columns)
    if weights is not None:
        columns["w"] = np.asarray(weights).tolist()
    return table(**columns).reduceColumns(reducer, selectors, ["w"] if weights is not None else None).getInfo()


def test_linear_fit():
    slope, offset = np.polyfit(X, Y, 1)
    got = reduce(ee.Reducer.linearFit(), x=X, y=Y)
    assert (got["scale"], got["offset"]) == (pytest.approx(slope), pytest.approx(offset))
    slope, offset = np.polyfit(X, Y, 1, w=np.sqrt(W))
    got = reduce(ee.Reducer.linearFit(), W, x=X, y=Y)
    assert (got["scale"], got["offset"]) == (pytest.approx(slope), pytest.approx(offset))
    assert reduce(ee.Reducer.linearFit(), x=[1, 1], y=[2, 3]) == {"scale": None, "offset": None}


def test_trend_of_a_collection(catalog):
    """The slope of every pixel over time; masked dates take no part."""
    def dated(image):
        return ee.Image.constant(image.date().difference("2020-09-13", "day")).toDouble().rename("t").addBands(
            image.select("label"))

    trend = ee.ImageCollection("T/OPT").map(dated).reduce(ee.Reducer.linearFit())
    got = pixels(trend.unmask(-99, False), ORIGIN[0] + 300, ORIGIN[1], 30, HEIGHT)
    assert got.dtype.names == ("scale", "offset")
    start = (1_600_000_000_000 - 1_599_955_200_000) / 86_400_000
    parts = [(start + i, s.arrays["label"][:, 30 - 10 * i:60 - 10 * i], s.valid["label"][:, 30 - 10 * i:60 - 10 * i])
             for i, s in enumerate(catalog.listed[:4])]
    for r, c in np.ndindex(got.shape):
        rows = [(t, float(a[r, c])) for t, a, v in parts if v[r, c]]
        want = np.polyfit(*zip(*rows, strict=True), 1) if len(rows) > 1 else (-99, -99)
        np.testing.assert_allclose((got["scale"][r, c], got["offset"][r, c]), want, atol=1e-9)


def test_correlation():
    for x, y in ((X, Y), (X, W), (X[:4], W[:4])):
        want = stats.pearsonr(x, y)
        got = reduce(ee.Reducer.pearsonsCorrelation(), x=x, y=y)
        assert got["correlation"] == pytest.approx(want.statistic)
        assert got["p-value"] == pytest.approx(want.pvalue, rel=1e-9, abs=1e-300)
    assert reduce(ee.Reducer.pearsonsCorrelation(), x=[1, 1], y=[1, 2])["correlation"] is None


@given(a=st.floats(0.1, 200), b=st.floats(0.1, 200), x=st.floats(0, 1))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_incomplete_beta(a, b, x):
    assert incomplete_beta(a, b, x) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-12)


def test_linear_regression():
    design = np.stack([np.ones(25), X, W], 1)
    targets = np.stack([Y, X * W], 1)
    want, *_ = np.linalg.lstsq(design, targets, rcond=None)
    got = reduce(ee.Reducer.linearRegression(3, 2), a=design[:, 0], b=X, c=W, y=Y, z=X * W)
    np.testing.assert_allclose(got["coefficients"], want)
    np.testing.assert_allclose(got["residuals"], np.sqrt(((targets - design @ want)**2).mean(axis=0)))
    assert reduce(ee.Reducer.linearRegression(2), a=[1, 2], b=[1, 3], y=[1, 4]) == {
        "coefficients": None, "residuals": None}


def test_circles(catalog):
    angles = np.array([3.0, -3.0, 2.5, 3.1])
    assert reduce(ee.Reducer.circularMean(), x=angles)["circularMean"] == pytest.approx(
        stats.circmean(angles, np.pi, -np.pi))
    assert reduce(ee.Reducer.circularVariance(), x=angles)["circularVariance"] == pytest.approx(stats.circvar(angles))
    assert reduce(ee.Reducer.circularStddev(), x=angles)["circularStdDev"] == pytest.approx(stats.circstd(angles))
    image = ee.Image("T/OPT/s0").select(["B2", "B3"]).toDouble().reduce(ee.Reducer.circularMean())
    b2, b3 = (catalog.image("T/OPT/s0").arrays[name].astype(float) for name in ("B2", "B3"))
    np.testing.assert_allclose(pixels(image)["circularMean"],
                               np.angle(np.exp(1j * b2) + np.exp(1j * b3)), atol=1e-6)


def test_logic_bits_and_runs(catalog):
    assert reduce(ee.Reducer.bitwiseAnd(), x=[12, 10]) == {"bitwiseAnd": 8}
    assert reduce(ee.Reducer.bitwiseOr(), x=[12, 10]) == {"bitwiseOr": 14}
    assert reduce(ee.ApiFunction.call_("Reducer.and"), x=[1, 0]) == {"all": 0}
    assert reduce(ee.ApiFunction.call_("Reducer.or"), x=[1, 0]) == {"any": 1}
    assert reduce(ee.Reducer.countRuns(), x=[1, 1, 2, 2, 1, 3]) == {"count": 4}
    got = pixels(ee.Image("T/OPT/s0").select(["B2", "B3"]).reduce(ee.Reducer.bitwiseOr()))["bitwiseOr"]
    arrays = catalog.image("T/OPT/s0").arrays
    np.testing.assert_array_equal(got, arrays["B2"] | arrays["B3"])


@pytest.mark.parametrize("cumulative", [False, True])
def test_fixed_histogram(cumulative):
    values = RNG.uniform(-1, 11, 200)
    got = np.array(reduce(ee.Reducer.fixedHistogram(0, 10, 7, cumulative), x=values)["histogram"])
    counts, edges = np.histogram(values[values < 10], 7, (0, 10))
    np.testing.assert_allclose(got[:, 0], edges[:-1])
    np.testing.assert_allclose(got[:, 1], np.cumsum(counts) if cumulative else counts)


def test_groups(catalog):
    """Mean reflectance per class, as zonal statistics are made."""
    scene = catalog.image("T/OPT/s0")
    region = ee.Geometry.Rectangle([ORIGIN[0], ORIGIN[1] - 10 * HEIGHT, ORIGIN[0] + 10 * WIDTH, ORIGIN[1]], CRS, False)
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True).group(1, "class")
    got = ee.Image("T/OPT/s0").select(["B2", "label"]).reduceRegion(reducer, region, 10).getInfo()["groups"]
    assert [g["class"] for g in got] == list(range(9))
    for group in got:
        chosen = scene.valid["label"] & (scene.arrays["label"] == group["class"])
        assert group["count"] == chosen.sum()
        assert group["mean"] == pytest.approx(scene.arrays["B2"][chosen].mean(), rel=1e-9)
    by_name = reduce(ee.Reducer.sum().group(0), k=["b", "a", "b"], x=[1, 2, 3])
    assert by_name == {"groups": [{"group": "a", "sum": 2}, {"group": "b", "sum": 4}]}


def test_copies_of_reducers(catalog):
    scene = catalog.image("T/OPT/s0")
    region = ee.Geometry.Rectangle([ORIGIN[0], ORIGIN[1] - 10 * HEIGHT, ORIGIN[0] + 10 * WIDTH, ORIGIN[1]], CRS, False)
    image = ee.Image("T/OPT/s0").select(["B2", "B3"])
    got = image.reduceRegion(ee.Reducer.max().forEachBand(image), region, 10).getInfo()
    assert got == {name: int(scene.arrays[name].max()) for name in ("B2", "B3")}
    got = image.reduceRegion(ee.Reducer.minMax().forEach(["x", "y"]), region, 10).getInfo()
    assert got["x_max"] == scene.arrays["B2"].max() and got["y_min"] == scene.arrays["B3"].min()


# ------------------------------------------------------------------------------------------------------------- arrays

M = np.array([[2.0, 1.0], [1.5, -3.0], [0.5, 4.0]])
N = np.array([[1, 2, 3], [4, 5, 7], [7, 8, 10]])


def array(values):
    return ee.Array(values.tolist())


def test_arrays_of_shapes():
    a = array(M)
    cases = {
        "whole": (a, M), "get": (a.get([1, 1]), -3), "length": (a.length(), [3, 2]), "list": (a.toList(), M),
        "slice": (a.slice(0, 1, 3).slice(1, -1), M[1:3, -1:]), "step": (a.slice(0, 0, None, 2), M[::2]),
        "transpose": (a.transpose(), M.T), "reshape": (a.reshape([2, 3]), M.reshape(2, 3)),
        "cat": (ee.Array.cat([a, a], 1), np.hstack([M, M])), "new axis": (ee.Array.cat([[1, 2], [3, 4]], 1),
                                                                          [[1, 3], [2, 4]]),
        "project": (a.slice(1, 0, 1).project([0]), M[:, 0]), "repeat": (a.repeat(0, 2), np.vstack([M, M])),
        "identity": (ee.Array.identity(3), np.eye(3)), "argmax": (a.argmax(), [2, 1])}
    for name, (got, want) in cases.items():
        np.testing.assert_allclose(got.getInfo(), want, err_msg=name)


def test_arrays_as_matrices():
    a, b = array(M), array(N)
    cases = {
        "multiply": (b.matrixMultiply(a), N @ M), "inverse": (b.matrixInverse(), np.linalg.inv(N)),
        "determinant": (b.matrixDeterminant(), np.linalg.det(N)), "trace": (b.matrixTrace(), 16),
        "norm": (a.matrixFnorm(), np.linalg.norm(M)), "diagonal": (b.matrixDiagonal(), [[1], [5], [10]]),
        "to diagonal": (ee.Array([[1], [2]]).matrixToDiag(), np.diag([1, 2])),
        "solve": (b.matrixSolve(a), np.linalg.solve(N, M)), "least squares": (
            a.matrixSolve([[1], [2], [3]]), np.linalg.lstsq(M, [[1], [2], [3]], rcond=None)[0]),
        "pseudo": (a.matrixPseudoInverse(), np.linalg.pinv(M)),
        "dot": (ee.Array([1, 2]).dotProduct([3, 4]), 11)}
    for name, (got, want) in cases.items():
        np.testing.assert_allclose(got.getInfo(), want, err_msg=name)


def test_arrays_element_by_element():
    a = array(M)
    cases = {
        "add": (a.add(a), M + M), "subtract": (a.subtract(1), M - 1), "multiply": (a.multiply(a), M * M),
        "max": (a.max(array(-M)), np.abs(M)), "gt": (a.gt(1), M > 1), "and": (a.gt(0).And(a.lt(2)), (M > 0) & (M < 2)),
        "abs": (a.abs(), np.abs(M)), "exp": (a.exp(), np.exp(M)), "round": (a.round(), np.floor(M + 0.5)),
        "int": (a.int(), np.floor(M + 0.5)), "uint8": (a.toUint8(), np.clip(np.floor(M + 0.5), 0, 255)),
        "not": (a.Not(), M == 0)}
    for name, (got, want) in cases.items():
        np.testing.assert_allclose(np.array(got.getInfo(), float), want, err_msg=name)


def test_arrays_in_other_values():
    feature = ee.Feature(None, {"a": array(M)})
    np.testing.assert_allclose(feature.getArray("a").getInfo(), M)
    assert ee.Dictionary({"b": 2, "a": 1}).toArray().getInfo() == [1, 2]
    assert ee.Dictionary({"b": 2, "a": 1}).toArray(["b"]).getInfo() == [2]
    np.testing.assert_allclose(ee.Dictionary({"x": array(M)}).getArray("x").getInfo(), M)
    counts = ee.Array(table(x=[1, 2, 2]).reduceColumns(ee.Reducer.fixedHistogram(0, 4, 4), ["x"]).get("histogram"))
    assert counts.slice(1, 1).project([0]).getInfo() == [0, 1, 2, 0]


@pytest.mark.parametrize(("make", "words"), [
    (lambda: ee.Array([[1, 2], [3]]), "Array"), (lambda: ee.Array([1, 2]).get([2]), "outside"),
    (lambda: ee.Array([1, 2]).add([1, 2, 3]), "same shape"),
    (lambda: ee.Array([[0, 0], [0, 0]]).matrixInverse(), "singular"),
    (lambda: ee.Array([[1, 2]]).matrixInverse(), "square"), (lambda: ee.Array([1, 2]).reshape([3]), "fill"),
    (lambda: ee.Array([1, 2]).slice(2), "axis"), (lambda: ee.Array([1]).repeat(0, 10**9), "memory"),
    (lambda: ee.Array([1]).reshape([-5]), "fill"), (lambda: ee.Array.cat([[1, 2], [[3]]], 0), "agree"),
    (lambda: ee.Array.identity(10**6), "size")])
def test_what_is_wrong_is_said(make, words):
    with pytest.raises(ee.EEException, match=words):
        make().getInfo()
