"""Masks with shares between 0 and 1, against NumPy, SciPy and shapely."""

from __future__ import annotations

import ee
import numpy as np
import pytest
import scipy.ndimage
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dwplus.embedded_earth import masks
from tests.unit.embedded_earth.conftest import CRS, HEIGHT, ORIGIN, WIDTH, ArrayScene, pixels

IMAGE = "T/OPT/s0"
#: An unmasked image of shares, 0 included.
SHARES = "T/SHARES/x"
quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def shares(catalog, earth):
    """Random shares, a third of them 0 and a third 1, as an image and as an array."""
    rng = np.random.default_rng(7)
    found = np.select([rng.random((HEIGHT, WIDTH)) < 1 / 3, rng.random((HEIGHT, WIDTH)) < 0.5], [0, 1],
                      rng.uniform(0.05, 0.95, (HEIGHT, WIDTH))).astype("f4")
    other = np.roll(found, 5, axis=1)
    catalog.listed.append(ArrayScene(SHARES, {"a": found, "b": other}, 1_600_000_000_000))
    return ee.Image(SHARES), found, other


def stored(catalog, name="B2"):
    return next(s for s in catalog.listed if s.id == IMAGE).arrays[name]


def box_of(left, top, right, bottom):
    """A planar rectangle given in pixels of the scenes, for the client and for shapely in metres."""
    west, north = ORIGIN[0] + 10 * left, ORIGIN[1] - 10 * top
    east, south = ORIGIN[0] + 10 * right, ORIGIN[1] - 10 * bottom
    return ee.Geometry.Rectangle([west, south, east, north], CRS, False), shapely.box(west, south, east, north)


def cover(shape):
    """Share of every pixel that lies in a shape, by shapely."""
    out = np.zeros((HEIGHT, WIDTH))
    for row in range(HEIGHT):
        for col in range(WIDTH):
            x, y = ORIGIN[0] + 10 * col, ORIGIN[1] - 10 * row
            out[row, col] = shapely.box(x, y - 10, x + 10, y).intersection(shape).area / 100
    return out


# --------------------------------------------------------------------------------------------------------- the algebra


def test_plain_masks_stay_plain():
    assert masks.tidied(np.ones((2, 2), "f4")) is None
    assert masks.tidied(np.array([0.0, 1.0])).dtype == bool
    assert masks.tidied(np.array([0.0, 0.5, np.nan, 3.0, -2.0])).tolist() == [0, 0.5, 0, 1, 0]
    boolean = np.array([True, False])
    assert masks.both(boolean, ~boolean).dtype == masks.either(boolean, ~boolean).dtype == bool
    assert masks.both(None, None) is masks.either(None, boolean) is masks.chosen(boolean, None, None) is None


@given(arrays("f4", 6, elements=st.floats(0, 1, width=32)), arrays("f4", 6, elements=st.floats(0, 1, width=32)),
       arrays(bool, 6))
@quick
def test_masks_meet_in_the_smaller_and_join_in_the_larger_share(one, other, take):
    np.testing.assert_array_equal(masks.both(one, other), np.minimum(one, other))
    np.testing.assert_array_equal(masks.either(one, other), np.maximum(one, other))
    np.testing.assert_array_equal(masks.both(one, take), np.where(take, one, 0))
    mixed = masks.chosen(take, one, None)
    np.testing.assert_allclose(masks.shares(mixed, one.shape), np.where(take, one, 1), atol=2 * masks.NOISE)


# ---------------------------------------------------------------------------------------------------- setting and using


def test_a_new_mask_holds_where_there_was_one(shares):
    image, found, other = shares
    once = ee.Image(7).updateMask(image.select("a"))
    np.testing.assert_allclose(pixels(once.mask())["constant"], found, atol=1e-6)
    twice = once.updateMask(image.select("b"))
    np.testing.assert_allclose(pixels(twice.mask())["constant"], np.where(found > 0, other, 0), atol=1e-6)
    wild = ee.Image(7).updateMask(image.select("a").multiply(4).subtract(1))
    np.testing.assert_allclose(pixels(wild.mask())["constant"], np.clip(4 * found - 1, 0, 1), atol=1e-6)


def test_any_share_is_a_valid_pixel(shares):
    image, found, _ = shares
    got = pixels(ee.Image(7).updateMask(image.select("a")))["constant"]
    np.testing.assert_array_equal(got, np.where(found > 0, 7, 0))


def test_operations_keep_the_smaller_mask(shares):
    image, found, other = shares
    total = ee.Image(2).updateMask(image.select("a")).add(ee.Image(3).updateMask(image.select("b")))
    np.testing.assert_allclose(pixels(total.mask())["constant"], np.minimum(found, other), atol=1e-6)


def test_unmask_fills_where_the_mask_is_zero_only(shares):
    image, found, other = shares
    filled = ee.Image(2).updateMask(image.select("a")).unmask(ee.Image(9).updateMask(image.select("b")))
    np.testing.assert_array_equal(pixels(filled)["constant"], np.where(found > 0, 2, np.where(other > 0, 9, 0)))
    np.testing.assert_allclose(pixels(filled.mask())["constant"], np.where(found > 0, found, other), atol=1e-6)


def test_a_set_mask_shows_zeros_where_nothing_was(shares):
    image, found, other = shares
    shown = ee.Image(5).byte().updateMask(image.select("a")).mask(image.select("b"))
    np.testing.assert_array_equal(pixels(shown)["constant"], np.where((other > 0) & (found > 0), 5, 0))
    np.testing.assert_allclose(pixels(shown.mask())["constant"], other, atol=1e-6)


def test_blend_is_opacity_and_mosaic_is_the_topmost(shares):
    image, found, other = shares
    bottom, top = (ee.Image(v).double().updateMask(image.select(n)) for v, n in ((10, "a"), (20, "b")))
    alpha = other + found * (1 - other.astype("f8"))
    value = np.divide(20 * other + 10 * found * (1 - other.astype("f8")), alpha, out=np.zeros(alpha.shape),
                      where=alpha > 0)
    blended = bottom.blend(top)
    np.testing.assert_allclose(pixels(blended)["constant"], value, rtol=1e-5)
    np.testing.assert_allclose(pixels(blended.mask())["constant"], alpha, atol=1e-5)
    laid = ee.ImageCollection([bottom, top]).mosaic()
    np.testing.assert_array_equal(pixels(laid)["constant"],
                                  np.where(other > 0, 20, np.where(found > 0, 10, 0)))
    np.testing.assert_allclose(pixels(laid.mask())["constant"], np.where(other > 0, other, found), atol=1e-6)


def test_opacity_thins_the_mask(shares):
    image, found, _ = shares
    seen = ee.Image(3).updateMask(image.select("a")).visualize(min=0, max=10, opacity=0.5)
    np.testing.assert_allclose(pixels(seen.mask())["vis-gray"], found / 2, atol=1e-6)


# ------------------------------------------------------------------------------------------- resampling and pyramids


@given(st.floats(-15, 15), st.floats(-15, 15), st.integers(0, 2**32 - 1))
@quick
def test_bilinear_masks_are_interpolated(catalog, earth, dx, dy, seed):
    rng = np.random.default_rng(seed)
    data, valid = rng.normal(size=(HEIGHT, WIDTH)), rng.random((HEIGHT, WIDTH)) > 0.3
    scene = ArrayScene(f"T/BIL/{seed}", {"v": data}, 1_600_000_000_000, valid={"v": valid})
    catalog.listed.append(scene)
    image = ee.Image(scene.id).resample("bilinear")
    at = np.meshgrid(np.arange(HEIGHT) - dy / 10, np.arange(WIDTH) + dx / 10, indexing="ij")
    padded = [np.pad(a, 3) for a in (valid.astype(float), data * valid)]
    share, total = (scipy.ndimage.map_coordinates(a, [i + 3 for i in at], order=1) for a in padded)
    got = pixels(image.addBands(image.mask().rename("m")), ORIGIN[0] + dx, ORIGIN[1] + dy)
    clear = share > 0.01
    np.testing.assert_allclose(got["m"], share, atol=1e-4)
    np.testing.assert_allclose(got["v"][clear], (total[clear] / share[clear]), rtol=1e-4, atol=1e-4)


def blocks(array, n=4):
    return array.reshape(HEIGHT // n, n, WIDTH // n, n).swapaxes(1, 2).reshape(HEIGHT // n, WIDTH // n, n * n)


def test_pyramids_weigh_by_the_mask(catalog, earth):
    rng = np.random.default_rng(3)
    data, valid = rng.normal(size=(HEIGHT, WIDTH)), rng.random((HEIGHT, WIDTH)) > 0.6
    valid[8:20, 4:12] = False
    catalog.listed.append(ArrayScene("T/PYR/x", {"v": data}, 1_600_000_000_000, valid={"v": valid}))
    image = ee.Image("T/PYR/x")
    got = pixels(image.addBands(image.mask().rename("m")), width=WIDTH // 4, height=HEIGHT // 4, scale=40)
    share = blocks(valid).mean(axis=2)
    assert (share == 0).any() and ((share > 0) & (share < 1)).any()
    expected = np.where(share > 0, blocks(data * valid).mean(axis=2) / np.where(share > 0, share, 1), 0)
    np.testing.assert_allclose(got["m"], share, atol=1e-6)
    np.testing.assert_allclose(got["v"], expected, rtol=1e-9)


def test_resolution_is_reduced_by_any_reducer(catalog, shares):
    image, found, _ = shares
    values = stored(catalog).astype("f8")
    band = ee.Image(IMAGE).select("B2").updateMask(image.select("a"))
    reducer = ee.Reducer.mean().combine(ee.Reducer.max(), "", True)
    small = {"width": WIDTH // 4, "height": HEIGHT // 4, "scale": 40}
    reduced = band.reduceResolution(reducer)
    got, weight = pixels(reduced, **small), blocks(found.astype("f8"))
    total = weight.sum(axis=2)
    np.testing.assert_allclose(got["B2_mean"], (blocks(values) * weight).sum(axis=2) / total, rtol=1e-5)
    np.testing.assert_array_equal(got["B2_max"], np.where(weight > 0, blocks(values), 0).max(axis=2))
    mean = band.reduceResolution(ee.Reducer.mean())
    np.testing.assert_allclose(pixels(mean.mask(), **small)["B2"], total / 16, rtol=1e-4)
    with pytest.raises(ee.EEException, match="maxPixels allows only 4"):
        pixels(band.reduceResolution(reducer, False, 4), **small)


def test_labels_have_the_mean_of_the_masks_too(catalog, earth):
    scene = next(s for s in catalog.listed if s.id == IMAGE)
    got = pixels(ee.Image(IMAGE).select("label").mask(), width=WIDTH // 2, height=HEIGHT // 2, scale=20)["label"]
    np.testing.assert_allclose(got, blocks(scene.valid["label"], 2).mean(axis=2), atol=1e-6)


# --------------------------------------------------------------------------------------------------------- reductions


def edges(low, high):
    """Places of an edge that no pixel's centre lies on: there, in or out is a matter of rounding."""
    return st.floats(low, high).filter(lambda at: abs(at % 1 - 0.5) > 1e-3)


@given(edges(0.1, 30), edges(0.1, 20), edges(31, 60), edges(21, 44))
@quick
def test_regions_weigh_by_the_smaller_of_mask_and_cover(catalog, shares, left, top, right, bottom):
    image, found, _ = shares
    region, shape = box_of(left, top, right, bottom)
    weight = np.minimum(np.where(cover(shape) < 1 / 256, 0, cover(shape)), found)
    weight = np.where(weight < 1 / 256, 0, weight)
    centres = shapely.contains_xy(shape, *np.meshgrid(ORIGIN[0] + 10 * np.arange(WIDTH) + 5,
                                                      ORIGIN[1] - 10 * np.arange(HEIGHT) - 5))
    values = stored(catalog).astype("f8")
    band = ee.Image(IMAGE).select("B2").updateMask(image.select("a"))
    reducer = (ee.Reducer.mean().combine(ee.Reducer.sum(), "", True).combine(ee.Reducer.count(), "", True)
               .combine(ee.Reducer.mean().unweighted(), "flat_", True))
    got = band.reduceRegion(reducer, region).getInfo()
    assert got["B2_mean"] == pytest.approx(np.average(values, weights=weight), rel=1e-5)
    assert got["B2_sum"] == pytest.approx((values * weight).sum(), rel=1e-5)
    assert got["B2_count"] == (centres & (found > 0)).sum()
    assert got["B2_flat_mean"] == pytest.approx(values[centres & (found > 0)].mean(), rel=1e-9)


def test_split_weights_take_a_band_for_the_mask(catalog, shares):
    image, found, _ = shares
    region, _ = box_of(0, 0, WIDTH, HEIGHT)
    band = ee.Image(IMAGE).select("B2").addBands(image.select("a"))
    got = band.reduceRegion(ee.Reducer.mean().splitWeights(), region).getInfo()
    assert got == {"mean": pytest.approx(np.average(stored(catalog).astype("f8"), weights=found), rel=1e-9)}


def test_clips_cover_edge_pixels_in_part(earth):
    region, shape = box_of(10.25, 5.5, 40.75, 30.125)
    mask = pixels(ee.Image(IMAGE).select("B2").clip(region).mask())["B2"]
    np.testing.assert_allclose(mask, cover(shape), atol=1e-5)


def test_collections_weigh_by_the_mask(shares):
    image, found, other = shares
    pair = ee.ImageCollection([ee.Image(10).double().updateMask(image.select("a")),
                               ee.Image(40).double().updateMask(image.select("b"))])
    total = found + other.astype("f8")
    got = pixels(pair.mean())["constant"]
    np.testing.assert_allclose(got, np.divide(10 * found + 40 * other, total, out=np.zeros(total.shape),
                                              where=total > 0), rtol=1e-6)
    np.testing.assert_array_equal(pixels(pair.count())["constant"], (found > 0).astype(int) + (other > 0))
    np.testing.assert_array_equal(pixels(pair.reduce(ee.Reducer.mean().unweighted()))["constant_mean"],
                                  np.select([(found > 0) & (other > 0), found > 0, other > 0], [25, 10, 40], 0))


def test_neighbourhoods_weigh_by_the_mask_where_asked(catalog, shares):
    image, found, _ = shares
    values = stored(catalog).astype("f8")
    band = ee.Image(IMAGE).select("B2").updateMask(image.select("a"))
    got = pixels(band.reduceNeighborhood(ee.Reducer.mean(), ee.Kernel.square(1, "pixels"), "mask", False))["B2_mean"]
    kernel = np.ones((3, 3))
    total = scipy.ndimage.convolve(values * found, kernel, mode="constant")
    weight = scipy.ndimage.convolve(found.astype("f8"), kernel, mode="constant")
    assert (weight == 0).sum() < weight.size / 10
    np.testing.assert_allclose(got, np.divide(total, weight, out=np.zeros(total.shape), where=weight > 0), rtol=1e-5)
