"""Arrays, images of arrays, and special functions, against NumPy and SciPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.special

from dwplus.embedded_earth import EmbeddedEarth, Limits, open_catalog, special
from dwplus.embedded_earth.eigen import NoConvergence, eigen
from tests.unit.embedded_earth import published


@pytest.fixture(scope="module")
def earth():
    return EmbeddedEarth(open_catalog(), limits=Limits(per_second=None))


def call(name, **arguments):
    """A node that calls a function."""
    return {"functionInvocationValue": {"functionName": name, "arguments": {
        key: value if isinstance(value, dict) else {"constantValue": value} for key, value in arguments.items()}}}


def array(values):
    return call("Array", values=np.asarray(values).tolist())


def answer(earth, node):
    status, found = published.ask(earth, {"result": "0", "values": {"0": node}})
    assert status == 200, found
    return found


def refusal(earth, node):
    status, found = published.ask(earth, {"result": "0", "values": {"0": node}})
    assert status == 400, found
    return found


NUMBERS = np.random.default_rng(0).normal(size=(3, 4)).round(3)


# ------------------------------------------------------------------------------------------------------------- special


@pytest.mark.parametrize("ours, theirs, at", [
    (special.erf_inverse, scipy.special.erfinv, np.linspace(-0.9999999, 0.9999999, 101)),
    (special.erfc_inverse, scipy.special.erfcinv, np.r_[np.logspace(-30, -1, 30), np.linspace(0.1, 1.9, 40)]),
    (special.gamma, scipy.special.gamma, np.linspace(-5.5, 50, 100)),
    (special.digamma, scipy.special.digamma, np.r_[np.linspace(-60.3, 60, 120), 1e-8, 1e9]),
    (special.trigamma, lambda x: scipy.special.polygamma(1, x), np.linspace(0.01, 60, 100))])
def test_special_functions(ours, theirs, at):
    np.testing.assert_allclose([ours(float(x)) for x in at], theirs(at), rtol=1e-11)


@pytest.mark.parametrize("a", [0.1, 0.5, 1, 2, 10, 100, 1e4])
@pytest.mark.parametrize("x", [0, 0.1, 1, 2, 10, 200, 1e4])
def test_incomplete_gamma(x, a):
    assert special.gamma_incomplete(x, a) == pytest.approx(scipy.special.gammainc(a, x), abs=1e-10)


def test_arguments_outside_a_domain_are_no_numbers():
    assert np.isnan([special.erf_inverse(1.5), special.erfc_inverse(-1), special.gamma(-2), special.gamma(0),
                     special.gamma_incomplete(-1, 1), special.gamma_incomplete(1, 0)]).all()


# -------------------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("name", ["Array.bitwiseOr", "Array.bitwise_or"])
def test_bits(earth, name):
    assert answer(earth, call(name, left=array([6, -1]), right=array([9, 8]))) == [15, -1]
    assert answer(earth, call("Array.bitwiseNot", input=array([0, 255, -1]))) == [-1, -256, 0]
    assert answer(earth, call("Array.leftShift", left=array([1, 5]), right=array([3, 1]))) == [8, 10]
    assert answer(earth, call("Array.rightShift", left=array([-8, 5]), right=array([1, 1]))) == [-4, 2]


def test_powers_and_roundings(earth):
    assert answer(earth, call("Array.pow", left=array([2, 4, 2]), right=array([3, 0.5, -1]))) == [8, 2, 0.5]
    assert answer(earth, call("Array.toInt8", input=array([0.5, 1.4, -0.5, 300]))) == [1, 1, 0, 127]
    assert answer(earth, call("Number.toByte", input=1.7)) == 2


def test_mask_sort_cut_and_pad(earth):
    grid = np.arange(6).reshape(2, 3)
    assert answer(earth, call("Array.mask", input=array(grid), mask=array([[1, 0, 1]]))) == [[0, 2], [3, 5]]
    assert answer(earth, call("Array.mask", input=array(grid), mask=array([[0], [1]]))) == [[3, 4, 5]]
    assert answer(earth, call("Array.sort", array=array([3, 1, 2]))) == [1, 2, 3]
    assert answer(earth, call("Array.sort", array=array(grid), keys=array([[3, 1, 2]]))) == [[1, 2, 0], [4, 5, 3]]
    assert answer(earth, call("Array.cut", array=array(grid), position=[-1, 1])) == [[1], [4]]
    assert answer(earth, call("Array.pad", array=array([[1]]), lengths=[2, 3], pad=7)) == [[1, 7, 7], [7, 7, 7]]
    assert "one axis only" in refusal(earth, call("Array.sort", array=array(grid)))


def test_reductions_against_numpy(earth):
    for axis in (0, 1):
        found = answer(earth, call("Array.reduce", array=array(NUMBERS), reducer=call("Reducer.mean"), axes=[axis]))
        np.testing.assert_allclose(found, NUMBERS.mean(axis, keepdims=True))
    both = call("Reducer.minMax")
    found = answer(earth, call("Array.reduce", array=array(NUMBERS[:, :1]), reducer=both, axes=[0], fieldAxis=1))
    np.testing.assert_allclose(found, [[NUMBERS[:, 0].min(), NUMBERS[:, 0].max()]])
    assert "fieldAxis" in refusal(earth, call("Array.reduce", array=array(NUMBERS), reducer=both, axes=[0]))
    found = answer(earth, call("Array.accum", array=array(NUMBERS), axis=1, reducer=call("Reducer.max")))
    np.testing.assert_allclose(found, np.maximum.accumulate(NUMBERS, 1))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_decompositions_give_the_matrix_back(earth, size):
    matrix = np.random.default_rng(size).normal(size=(size, size)).round(3)
    found = {key: np.array(value) for key, value in answer(earth, call(
        "Array.matrixLUDecomposition", array=array(matrix))).items()}
    np.testing.assert_allclose(found["P"] @ matrix, found["L"] @ found["U"], atol=1e-12)
    found = answer(earth, call("Array.matrixQRDecomposition", array=array(matrix)))
    np.testing.assert_allclose(np.array(found["Q"]) @ found["R"], matrix, atol=1e-12)
    np.testing.assert_allclose(np.array(found["Q"]).T @ found["Q"], np.eye(size), atol=1e-12)
    found = answer(earth, call("Array.matrixSingularValueDecomposition", array=array(matrix)))
    np.testing.assert_allclose(np.array(found["U"]) @ found["S"] @ np.array(found["V"]).T, matrix, atol=1e-12)
    square = matrix @ matrix.T + np.eye(size)
    lower = np.array(answer(earth, call("Array.matrixCholeskyDecomposition", array=array(square)))["L"])
    np.testing.assert_allclose(lower @ lower.T, square)
    assert "positive definite" in refusal(earth, call("Array.matrixCholeskyDecomposition", array=array(-square)))


@pytest.mark.parametrize("symmetric", [True, False])
def test_eigenvectors(symmetric):
    draw = np.random.default_rng(1)
    for _ in range(40):
        size = int(draw.integers(1, 9))
        basis = draw.normal(size=(size, size))
        matrix = basis + basis.T if symmetric else basis @ np.diag(draw.normal(size=size)) @ np.linalg.inv(basis)
        values, vectors = eigen(matrix)
        assert (np.diff(values) <= 1e-9).all()
        np.testing.assert_allclose(matrix @ vectors.T, vectors.T * values, atol=1e-6 * max(1, np.abs(matrix).max()))


def test_complex_eigenvalues_are_refused():
    with pytest.raises(NoConvergence, match="complex"):
        eigen(np.array([[0.0, 1.0], [-1.0, 0.0]]))


# ----------------------------------------------------------------------------------------------------- images of arrays


def image(*numbers):
    out = call("Image.constant", value=numbers[0])
    for number in numbers[1:]:
        out = call("Image.addBands", dstImg=out, srcImg=call("Image.constant", value=number))
    return out


def pixel(earth, node):
    """Values of one pixel, by band."""
    point = call("GeometryConstructors.Point", coordinates=[9, 51])
    sample = call("Image.sample", image=node, region=point, scale=10)
    return answer(earth, call("Element.toDictionary", element=call("Collection.first", collection=sample)))


def vector(*numbers):
    return call("Image.toArray", image=image(*numbers))


def test_images_of_arrays(earth):
    three = vector(5, 1, 3)
    assert pixel(earth, three) == {"array": [5, 1, 3]}
    assert pixel(earth, call("Image.arraySort", image=three)) == {"array": [1, 3, 5]}
    assert pixel(earth, call("Image.arraySlice", input=three, axis=0, start=image(1))) == {"array": [1, 3]}
    assert pixel(earth, call("Image.arrayGet", image=three, position=image(2))) == {"array": 3}
    assert pixel(earth, call("Image.arrayReduce", input=three, reducer=call("Reducer.sum"), axes=[0])) == {"array": [9]}
    assert pixel(earth, call("Image.arrayArgmax", image=three)) == {"array": [0]}
    assert pixel(earth, call("Image.arrayCat", image1=three, image2=vector(7), axis=0)) == {"array": [5, 1, 3, 7]}
    assert pixel(earth, call("Image.arrayMask", input=three, mask=vector(1, 0, 1))) == {"array": [5, 3]}
    assert pixel(earth, call("Image.arrayDotProduct", image1=three, image2=three)) == {"array": 35}
    assert pixel(earth, call("Image.add", image1=three, image2=image(1))) == {"array": [6, 2, 4]}
    assert pixel(earth, call("Image.arrayFlatten", image=three, coordinateLabels=[["a", "b", "c"]])) == {
        "a": 5, "b": 1, "c": 3}
    assert pixel(earth, call("Image.arrayRepeat", input=three, axis=1, copies=image(2))) == {
        "array": [[5, 5], [1, 1], [3, 3]]}


def test_matrices_in_pixels(earth):
    matrix = call("Image.constant", value=array([[2, 1], [1, 3]]))
    inverse = call("Image.matrixInverse", value=matrix)
    np.testing.assert_allclose(pixel(earth, call("Image.matrixMultiply", image1=matrix, image2=inverse))["constant"],
                               np.eye(2), atol=1e-12)
    assert pixel(earth, call("Image.matrixDeterminant", value=matrix))["constant"] == pytest.approx(5)
    assert pixel(earth, call("Image.matrixIdentity", size=2))["array"] == [[1, 0], [0, 1]]


def test_collections_of_arrays(earth):
    images = call("ImageCollection.fromImages", images={"arrayValue": {"values": [image(1, 2), image(3, 4)]}})
    assert pixel(earth, call("ImageCollection.toArray", collection=images)) == {"array": [[1, 2], [3, 4]]}
    assert pixel(earth, call("ImageCollection.toArrayPerBand", collection=images)) == {
        "constant": [1, 3], "constant_1": [2, 4]}


def test_arrays_are_no_pixels_to_download(earth):
    grid = {"crsCode": "EPSG:4326", "dimensions": {"width": 1, "height": 1},
            "affineTransform": {"scaleX": 1, "scaleY": -1, "translateX": 0, "translateY": 0}}
    body = {"expression": {"result": "0", "values": {"0": vector(1, 2)}}, "fileFormat": "NPY", "grid": grid}
    told = earth.handle("POST", "/v1/projects/p/image:computePixels", {}, {}, json.dumps(body).encode())
    assert told.status == 400 and b"array" in told.body


def test_unknown_functions_stay_not_supported(earth):
    assert "not supported" in refusal(earth, call("Image.glcmTexture", image=image(1), size=1))
