"""Kernels and neighbourhoods against the service's printed tables, SciPy and NumPy."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.unit.embedded_earth.conftest import CRS, HEIGHT, ORIGIN, WIDTH, pixels

pytestmark = pytest.mark.usefixtures("earth")

#: Offset of the SAR scene, so that requests fall on its own pixels.
SAR = (ORIGIN[0] + 3.7, ORIGIN[1] - 4.2)


def weights_of(kernel, scale=10.0, radius=4):
    """A kernel as the service applies it: laid around a single bright pixel, which mirrors it."""
    size = 2 * radius + 1
    x, y = ORIGIN[0] + 10 * (radius + 0.5), ORIGIN[1] - 10 * (radius + 0.5)
    coordinates = ee.Image.pixelCoordinates(ee.Projection(CRS))
    centre = (coordinates.select("x").subtract(x).abs().lt(scale / 2)
              .And(coordinates.select("y").subtract(y).abs().lt(scale / 2)))
    got = pixels(centre.toDouble().convolve(kernel), x - scale * size / 2, y + scale * size / 2, size, size, scale)
    return got[got.dtype.names[0]][::-1, ::-1]


def centred(rows, radius=4):
    """A table padded with zeros to the size of :func:`weights_of`."""
    table = np.array(rows, float)
    out = np.zeros((2 * radius + 1,) * 2)
    top, left = radius - table.shape[0] // 2, radius - table.shape[1] // 2
    out[top:top + table.shape[0], left:left + table.shape[1]] = table
    return out


# The tables that the reference pages print for a radius of 3, without normalisation.
TABLES = {
    "circle": ["0001000", "0111110", "0111110", "1111111", "0111110", "0111110", "0001000"],
    "square": ["1111111"] * 7,
    "diamond": ["0001000", "0011100", "0111110", "1111111", "0111110", "0011100", "0001000"],
    "plus": ["0001000"] * 3 + ["1111111"] + ["0001000"] * 3,
    "cross": ["1000001", "0100010", "0010100", "0001000", "0010100", "0100010", "1000001"],
    "chebyshev": ["3333333", "3222223", "3211123", "3210123", "3211123", "3222223", "3333333"],
    "manhattan": ["6543456", "5432345", "4321234", "3210123", "4321234", "5432345", "6543456"],
}


@pytest.mark.parametrize("name", TABLES)
def test_shapes_are_those_of_the_reference_pages(name):
    table = np.array([[int(c) for c in row] for row in TABLES[name]], float)
    assert np.allclose(weights_of(getattr(ee.Kernel, name)(3, "pixels", False)), centred(table), atol=1e-12)
    assert np.allclose(weights_of(getattr(ee.Kernel, name)(3, "pixels", True, 2)), centred(2 * table / table.sum()))


def test_euclidean_gaussian_and_rectangle():
    offsets = np.arange(-3, 4)
    distance = np.hypot(offsets[:, None], offsets)
    assert np.allclose(weights_of(ee.Kernel.euclidean(3)), centred(distance))
    bell = np.exp(-distance**2 / (2 * 1.5**2))
    assert np.allclose(weights_of(ee.Kernel.gaussian(3, 1.5)), centred(bell / bell.sum()))
    assert np.allclose(weights_of(ee.Kernel.gaussian(3, 1.5, "pixels", False)), centred(bell / (2 * np.pi * 1.5**2)))
    assert np.allclose(weights_of(ee.Kernel.rectangle(3, 1)), centred(np.full((3, 7), 1 / 21)))


@pytest.mark.parametrize(("name", "rows"), [
    ("laplacian4", [[0, 1, 0], [1, -4, 1], [0, 1, 0]]), ("laplacian8", [[1, 1, 1], [1, -8, 1], [1, 1, 1]]),
    ("sobel", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]), ("prewitt", [[1, 0, -1], [1, 0, -1], [1, 0, -1]]),
    ("kirsch", [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]]), ("compass", [[1, 1, -1], [1, -2, -1], [1, 1, -1]])])
def test_edge_kernels(name, rows):
    assert np.allclose(weights_of(getattr(ee.Kernel, name)(2.0)), 2 * centred(rows), atol=1e-12)
    turned = getattr(ee.Kernel, name)().rotate(1)
    assert np.allclose(weights_of(turned), centred(np.rot90(rows, -1)), atol=1e-12)


def test_metres_scale_with_the_request():
    """30 m are 3 pixels at 10 m and 1 at 30 m."""
    kernel = ee.Kernel.circle(30, "meters", False)
    assert np.allclose(weights_of(kernel), weights_of(ee.Kernel.circle(3, "pixels", False)))
    assert np.allclose(weights_of(kernel, 30.0), weights_of(ee.Kernel.circle(1, "pixels", False)))
    assert np.allclose(weights_of(ee.Kernel.gaussian(30, 15, "meters")), weights_of(ee.Kernel.gaussian(3, 1.5)))
    assert np.allclose(weights_of(ee.Kernel.euclidean(30, "meters")), 10 * weights_of(ee.Kernel.euclidean(3)))


def test_normalisation_with_negative_weights_sums_to_zero():
    got = weights_of(ee.Kernel.fixed(3, 1, [[1, -4, 1]], normalize=True))
    assert abs(got.sum()) < 1e-12 and got.any()


def test_inverse_weights():
    """Distance becomes closeness; the focus, of weight zero, stays zero."""
    offsets = np.arange(-2, 3)
    distance = np.hypot(offsets[:, None], offsets)
    want = np.divide(1, distance, out=np.zeros((5, 5)), where=distance > 0)
    assert np.allclose(weights_of(ee.Kernel.euclidean(2).inverse()), centred(want))


def test_sums_of_kernels_lie_focus_on_focus():
    one = ee.Kernel.fixed(3, 1, [[1, 2, 3]])
    other = ee.Kernel.fixed(1, 3, [[4], [5], [6]])
    assert np.allclose(weights_of(one.add(other)), centred([[0, 4, 0], [1, 7, 3], [0, 6, 0]]))


def test_convolution_against_scipy(catalog):
    source = catalog.image("T/SAR/x").arrays["VV"]
    for rows, x, y in (([[1, 2, 3], [4, 5, 6], [7, 8, 10]], -1, -1), ([[0, 2, 1, 7]], 0, 0), ([[1], [2], [3]], 0, 2)):
        kernel = ee.Kernel.fixed(-1, -1, rows, x, y)
        got = pixels(ee.Image("T/SAR/x").convolve(kernel).unmask(-999, False), *SAR)["VV"]
        table = np.array(rows, float)
        focus = (y if y >= 0 else table.shape[0] // 2, x if x >= 0 else table.shape[1] // 2)
        padded = np.pad(source, 9, constant_values=np.nan)
        want = np.full(source.shape, 0.0)
        for i, j in np.ndindex(table.shape):
            if table[i, j]:
                top, left = 9 + i - focus[0], 9 + j - focus[1]
                want += table[i, j] * padded[top:top + HEIGHT, left:left + WIDTH]
        np.testing.assert_allclose(got, np.nan_to_num(want, nan=-999), rtol=1e-12)


@pytest.mark.parametrize("radius", [2, 14])
def test_large_kernels_against_scipy(catalog, radius):
    """Over 512 weights the sum goes by Fourier transform."""
    source = catalog.image("T/SAR/x").arrays["VV"]
    got = pixels(ee.Image("T/SAR/x").convolve(ee.Kernel.circle(radius)), *SAR)["VV"]
    offsets = np.arange(-radius, radius + 1)
    disc = (np.hypot(offsets[:, None], offsets) <= radius).astype(float)
    want = ndimage.correlate(source, disc / disc.sum(), mode="constant")
    inner = np.s_[radius:-radius, radius:-radius]
    np.testing.assert_allclose(got[inner], want[inner], rtol=1e-10)
    assert (got[:radius] == 0).all()


def neighbours(values, valid, kernel):
    """For every pixel (values, weights) of the valid neighbours under an odd kernel."""
    reach = kernel.shape[0] // 2
    padded = np.pad(values.astype(float), reach)
    seen = np.pad(valid, reach)
    for r, c in np.ndindex(values.shape):
        block = np.s_[r:r + 2 * reach + 1, c:c + 2 * reach + 1]
        use = seen[block] & (kernel != 0)
        yield r, c, padded[block][use], kernel[use]


CASES = {
    "mean": lambda v, w: np.average(v, weights=w), "sum": lambda v, w: (v * w).sum(),
    "min": lambda v, w: v.min(), "max": lambda v, w: v.max(), "median": lambda v, w: np.median(v),
    "variance": lambda v, w: np.average((v - np.average(v, weights=w))**2, weights=w),
    "stdDev": lambda v, w: np.sqrt(np.average((v - np.average(v, weights=w))**2, weights=w)),
    "mode": lambda v, w: min(set(v), key=lambda x: (-round(w[v == x].sum(), 9), x)),
    "count": lambda v, w: len(v),
}


# The weights of a median are not defined by a reference: it is tested with equal ones only.
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in CASES for kind in ("circle", "gaussian")
                                            if (name, kind) != ("median", "gaussian")])
@pytest.mark.parametrize("skip", [True, False])
def test_reducers_over_neighbourhoods_skip_what_is_masked(catalog, name, kind, skip):
    scene = catalog.image("T/OPT/s0")
    values, valid = scene.arrays["label"], scene.valid["label"]
    offsets = np.arange(-2, 3)
    distance = np.hypot(offsets[:, None], offsets)
    if kind == "circle":
        kernel, table = ee.Kernel.circle(2), (distance <= 2) / 13
    else:
        kernel, table = ee.Kernel.gaussian(2, 1.3, "pixels", False), np.exp(-distance**2 / (2 * 1.3**2))
        table = table / (2 * np.pi * 1.3**2)
    image = ee.Image("T/OPT/s0").select("label").reduceNeighborhood(getattr(ee.Reducer, name)(), kernel, "kernel", skip)
    got = pixels(image.toDouble().unmask(-1, False))[f"label_{name}"]
    want = np.full(values.shape, -1.0)
    for r, c, v, w in neighbours(values, valid, table):
        if valid[r, c] or not skip:
            want[r, c] = CASES[name](v, w) if len(v) else (0 if name == "count" else -1)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_combined_reducers_and_input_weights(catalog):
    scene = catalog.image("T/OPT/s0")
    source = scene.arrays["B2"].astype(float)
    reducer = ee.Reducer.mean().combine(ee.Reducer.max(), "", True)
    image = ee.Image("T/OPT/s0").select(["B2", "B3"]).reduceNeighborhood(reducer, ee.Kernel.gaussian(1, 0.7), "mask")
    got = pixels(image)
    assert got.dtype.names == ("B2_mean", "B2_max", "B3_mean", "B3_max")
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(got["B2_mean"][inner], ndimage.uniform_filter(source, 3)[inner], rtol=1e-12)
    np.testing.assert_array_equal(got["B2_max"], ndimage.maximum_filter(source, 3, mode="constant", cval=-1))


@given(name=st.sampled_from(["min", "max", "median"]), kind=st.sampled_from(["circle", "square", "plus", "diamond"]),
       radius=st.sampled_from([1, 1.5, 2]), iterations=st.integers(1, 2))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_focal_filters_against_scipy(catalog, name, kind, radius, iterations):
    source = catalog.image("T/SAR/x").arrays["VV"]
    method = getattr(ee.Image("T/SAR/x"), f"focal{name.title()}")
    got = pixels(method(radius, kind, "pixels", iterations), *SAR)["VV"]
    reach = int(radius)
    dy, dx = np.mgrid[-reach:reach + 1, -reach:reach + 1]
    shape = {"circle": np.hypot(dx, dy) <= radius, "square": dx == dx, "plus": (dx == 0) | (dy == 0),
             "diamond": abs(dx) + abs(dy) <= radius}[kind]
    want = source
    for _ in range(iterations):
        want = {"min": ndimage.minimum_filter, "max": ndimage.maximum_filter,
                "median": ndimage.median_filter}[name](want, footprint=shape)
    inner = np.s_[iterations * reach:HEIGHT - iterations * reach, iterations * reach:WIDTH - iterations * reach]
    np.testing.assert_allclose(got[inner], want[inner], rtol=1e-12)


def test_focal_mean_fills_gaps_and_both_names_are_the_same(catalog):
    """The usual way to fill the stripes of Landsat 7."""
    label = ee.Image("T/OPT/s0").select("label")
    scene = catalog.image("T/OPT/s0")
    valid = scene.valid["label"].astype(float)
    total = ndimage.correlate(scene.arrays["label"] * valid, np.ones((3, 3)), mode="constant")
    count = ndimage.correlate(valid, np.ones((3, 3)), mode="constant")
    want = np.where(count > 0, total / np.maximum(count, 1), -1)
    for image in (label.focal_mean(1, "square"), label.focalMean(1, "square"),
                  label.focalMean(kernel=ee.Kernel.square(1))):
        np.testing.assert_allclose(pixels(image.unmask(-1, False))["label"], want, rtol=1e-12)


def test_pixels_are_those_of_the_request(catalog):
    """At 20 m the neighbours of a 10 m image are 20 m away."""
    source = catalog.image("T/OPT/s0").arrays["B2"].astype(float)
    got = pixels(ee.Image("T/OPT/s0").select("B2").reproject(CRS, [10, 0, ORIGIN[0], 0, -10, ORIGIN[1]])
                 .reduceNeighborhood(ee.Reducer.max(), ee.Kernel.plus(1)), width=WIDTH // 2, height=HEIGHT // 2,
                 scale=20)["B2_max"]
    coarse = source[1::2, 1::2]  # the pixel that holds the centre
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    want = ndimage.maximum_filter(coarse, footprint=plus, mode="constant", cval=-1)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("dx", "dy"), [(0.1, 0.0), (0.0, 0.2), (-0.3, 0.4), (0.2, -0.2)])
def test_a_plane_has_its_slope_and_aspect(dx, dy):
    """Rising by dx eastwards and dy northwards: it faces down, clockwise from north."""
    coordinates = ee.Image.pixelCoordinates(ee.Projection(CRS))
    plane = coordinates.select("x").multiply(dx).add(coordinates.select("y").multiply(dy)).rename("elevation")
    got = pixels(ee.Terrain.slope(plane).addBands(ee.Terrain.aspect(plane)).addBands(ee.Terrain.hillshade(plane)),
                 width=8, height=8)
    np.testing.assert_allclose(got["slope"], np.degrees(np.arctan(np.hypot(dx, dy))), rtol=1e-4)
    np.testing.assert_allclose(got["aspect"], np.degrees(np.arctan2(-dx, -dy)) % 360, atol=1e-2)
    normal = np.array([-dx, -dy, 1]) / np.sqrt(dx**2 + dy**2 + 1)
    sun = np.array([-np.sqrt(0.5), 0, np.sqrt(0.5)])  # in the west, at 45 degrees
    np.testing.assert_allclose(got["hillshade"], 255 * max(normal @ sun, 0), atol=1)


def test_terrain_adds_its_products_to_the_image():
    plane = ee.Image.pixelCoordinates(ee.Projection(CRS)).rename(["elevation", "other"])
    got = pixels(ee.Terrain.products(plane), width=4, height=4)
    assert got.dtype.names == ("elevation", "other", "slope", "aspect", "hillshade") and got.dtype["hillshade"] == "u1"
    np.testing.assert_allclose(got["slope"], 45, rtol=1e-6)
    np.testing.assert_allclose(got["aspect"], 270, atol=1e-3)


def test_slope_in_degrees_of_longitude():
    """A plane of 1 m per kilometre northwards: degrees become metres by the ellipsoid (111.2 km at 49 N)."""
    plane = ee.Image.pixelLonLat().select("latitude").multiply(111.2)
    got = pixels(ee.Terrain.slope(plane), 14.0, 49.05, 10, 10, 0.01, "EPSG:4326")["slope"]
    np.testing.assert_allclose(got, np.degrees(np.arctan(1e-3)), rtol=2e-3)


def test_what_is_wrong_is_said():
    image = ee.Image("T/SAR/x")
    for expression, words in (
            (image.convolve(ee.Kernel.fixed(3, 3, [[1, 2], [3, 4]])), "2x2"),
            (image.convolve(ee.Kernel.fixed(-1, -1, [[1, 2], [3]])), "rows"),
            (image.convolve(ee.Kernel.circle(0)), "positive"), (image.convolve(ee.Kernel.circle(1e9)), "radius"),
            (image.convolve(ee.Kernel.circle(3, "miles")), "miles"),
            (image.focalMax(3, "star"), "star"),
            (image.reduceNeighborhood(ee.Reducer.mean(), ee.Kernel.square(1), "weight"), "weight"),
            (image.reduceNeighborhood(ee.Reducer.toList(), ee.Kernel.square(1)), "not supported")):
        with pytest.raises(ee.EEException, match=words):
            pixels(expression, *SAR, width=4, height=4)
