"""Distances, connected pixels and windows against SciPy and NumPy, through the real client."""

from __future__ import annotations

import ee
import numpy as np
import pytest
import scipy.ndimage as ndi
from scipy.spatial.distance import cdist

from tests.unit.embedded_earth.conftest import HEIGHT, WIDTH, pixels

IMAGE = "T/OPT/s0"


def targets():
    """About one pixel in fifty."""
    return ee.Image(IMAGE).select("B2").lt(80)


def seen(catalog):
    return catalog.image(IMAGE).arrays["B2"] < 80


@pytest.mark.parametrize(
    "metric, theirs, power",
    [("squared_euclidean", "euclidean", 2), ("manhattan", "cityblock", 1), ("chebyshev", "chebyshev", 1)],
)
def test_fast_distance_transform(earth, catalog, metric, theirs, power):
    found = pixels(targets().fastDistanceTransform(4, "pixels", metric))["distance"]
    places = np.argwhere(seen(catalog))
    every = np.argwhere(np.ones((HEIGHT, WIDTH), bool))
    apart = cdist(every, places, theirs) ** power
    apart[np.abs(every[:, None] - places[None]).max(axis=2) > 4] = np.inf
    want = apart.min(axis=1).reshape(HEIGHT, WIDTH)
    np.testing.assert_allclose(found[np.isfinite(want)], want[np.isfinite(want)])
    assert not np.isfinite(want).all() and (found[~np.isfinite(want)] == 5**power).all()


def test_where_no_target_is_near_the_distance_is_the_least_it_can_be(earth):
    found = pixels(ee.Image(0).fastDistanceTransform(4), width=5, height=5)["distance"]
    assert (found == 25).all()


@pytest.mark.parametrize("angle, step", [(0, (0, 1)), (90, (-1, 0)), (180, (0, -1)), (270, (1, 0)), (45, (-1, 1))])
def test_directional_distance_looks_the_way_of_the_angle(earth, catalog, angle, step):
    found = pixels(targets().directionalDistanceTransform(angle, 10))["distance"]
    target = seen(catalog)
    padded = np.pad(target, 10)
    want = np.zeros(target.shape)
    length = np.hypot(*step)
    for k in range(10, 0, -1):  # the nearest one is written last; slanted rays count their own length
        reach = round(k * step[0] / length), round(k * step[1] / length)
        hit = padded[10 + reach[0] : 10 + reach[0] + HEIGHT, 10 + reach[1] : 10 + reach[1] + WIDTH]
        want[hit] = np.hypot(*reach)
    np.testing.assert_allclose(found, np.where(target, 0, want), rtol=1e-6)
    assert (found > 0).sum() > 100


def test_bands_are_carried_along_from_the_target(earth, catalog):
    found = pixels(
        targets().rename("t").addBands(ee.Image(IMAGE).select("B3")).directionalDistanceTransform(0, 10, "t")
    )
    values = catalog.image(IMAGE).arrays["B3"]
    rows, cols = np.nonzero(found["distance"])
    assert len(rows) > 100
    np.testing.assert_array_equal(
        found["B3"][rows, cols], values[rows, cols + found["distance"][rows, cols].astype(int)]
    )


def test_kernel_distance_is_masked_beyond_the_kernel(earth, catalog):
    found = ee.Image(IMAGE).select("B2").lt(80).distance(ee.Kernel.euclidean(3))
    got, have = pixels(found)["B2"], pixels(found.mask())["B2"]
    exact = ndi.distance_transform_edt(~seen(catalog))
    inside = (exact <= 3) & (np.abs(exact) >= 0)
    np.testing.assert_allclose(got[inside], exact[inside])
    assert (have[inside] == 1).all() and (have[exact > 3 * np.sqrt(2)] == 0).all()


@pytest.mark.parametrize("eight", [True, False])
def test_connected_pixels_are_counted(earth, catalog, eight):
    image = ee.Image(IMAGE).select("B2").lt(2000)
    found = pixels(image.connectedPixelCount(40, eight))["B2"]
    values = catalog.image(IMAGE).arrays["B2"] < 2000
    want = np.zeros(values.shape, int)
    for kind in (values, ~values):
        labels, _ = ndi.label(kind, np.ones((3, 3)) if eight else None)
        want[kind] = np.bincount(labels.ravel())[labels[kind]]
    np.testing.assert_array_equal(found, np.minimum(want, 40))
    assert len(np.unique(found)) > 1


def test_components_have_one_label_each_and_large_ones_are_masked(earth, catalog):
    image = ee.Image(IMAGE).select("B2").lt(400).selfMask()
    made = image.connectedComponents(ee.Kernel.square(1), 8)
    found, have = pixels(made)["labels"], pixels(made.select("labels").mask())["labels"]
    labels, count = ndi.label(catalog.image(IMAGE).arrays["B2"] < 400, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    small = [i for i in range(1, count + 1) if sizes[i] <= 8]
    assert len(small) > 20 and ((have == 1) == np.isin(labels, small)).all()
    assert all(len(np.unique(found[labels == i])) == 1 for i in small)
    assert len({found[labels == i][0] for i in small}) == len(small)


def test_labels_of_neighbouring_requests_agree(earth):
    made = ee.Image(IMAGE).select("B2").lt(400).selfMask().connectedComponents(ee.Kernel.square(1), 8).select("labels")
    whole, part = pixels(made)["labels"], pixels(made, x0=500_200.0, width=20)["labels"]
    np.testing.assert_array_equal(part, whole[:, 20:40])


def test_a_reducer_over_components(earth, catalog):
    image = ee.Image(IMAGE).select("B2").lt(400).selfMask().rename("key").addBands(ee.Image(IMAGE).select("B3"))
    found = pixels(image.reduceConnectedComponents(ee.Reducer.max(), "key", 30))["B3"]
    labels, count = ndi.label(catalog.image(IMAGE).arrays["B2"] < 400, np.ones((3, 3)))
    want = ndi.maximum(catalog.image(IMAGE).arrays["B3"], labels, range(count + 1))
    np.testing.assert_array_equal(found, np.where(labels, np.asarray(want)[labels], 0))


def test_windows_as_bands_and_as_arrays(earth, catalog):
    image = ee.Image(IMAGE).select("B2")
    values = np.pad(catalog.image(IMAGE).arrays["B2"], 1)
    bands = pixels(image.neighborhoodToBands(ee.Kernel.square(1)))
    assert bands.dtype.names[0] == "B2_-1_-1" and len(bands.dtype.names) == 9
    np.testing.assert_array_equal(bands["B2_1_-1"], values[:HEIGHT, 2:])
    middle = pixels(image.neighborhoodToArray(ee.Kernel.square(1)).arrayGet([2, 0]))["B2"]
    np.testing.assert_array_equal(middle, values[2:, :WIDTH])


def test_entropy_of_a_window(earth, catalog):
    found = pixels(ee.Image(IMAGE).select("B2").divide(1000).toByte().entropy(ee.Kernel.square(1)))["B2"]
    values = (catalog.image(IMAGE).arrays["B2"] / 1000).astype("u1")
    share = np.unique(values[9:12, 19:22], return_counts=True)[1] / 9
    assert found[10, 20] == pytest.approx(-(share * np.log2(share)).sum())


def test_unmixing_gives_the_shares_back(earth, catalog):
    image = ee.Image(IMAGE).select(["B2", "B3"])
    found = pixels(image.unmix([[2, 1], [1, 3]]))
    made = np.array([[2, 1], [1, 3]])
    back = np.stack([found["band_0"], found["band_1"]], -1) @ made
    np.testing.assert_allclose(back[..., 0], catalog.image(IMAGE).arrays["B2"], atol=1e-8)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ee.Image(0).fastDistanceTransform(0), "neighborhood"),
        (lambda: ee.Image(0).fastDistanceTransform(9, "meters"), "pixels"),
        (lambda: ee.Image([0, 1]).directionalDistanceTransform(0, 5), "labelBand"),
        (lambda: ee.Image(0).connectedPixelCount(5000), "maxSize"),
        (lambda: ee.Image(0.5).connectedPixelCount(5), "whole numbers"),
        (lambda: ee.Image(1).unmix([[1]], True), "not supported"),
    ],
)
def test_what_is_refused(earth, make, words):
    with pytest.raises(ee.EEException, match=words):
        pixels(make(), width=2, height=2)
