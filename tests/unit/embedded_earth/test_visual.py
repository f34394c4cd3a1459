"""Images for the eye and small functions, against NumPy and matplotlib."""

from __future__ import annotations

import ee
import matplotlib.colors
import numpy as np
import pytest

from tests.unit.embedded_earth.conftest import ORIGIN, pixels

pytestmark = pytest.mark.usefixtures("earth")


def test_visualize_stretches_and_colours(catalog):
    values = catalog.image("T/OPT/s0").arrays["B2"].astype(float)
    image = ee.Image("T/OPT/s0").select("B2")
    grey = pixels(image.visualize(min=500, max=3500))
    assert grey.dtype.names == ("vis-gray",)
    np.testing.assert_array_equal(grey["vis-gray"], np.floor(np.clip((values - 500) / 3000, 0, 1) * 255))
    coloured = pixels(image.visualize(min=0, max=4000, palette=["000000", "ff0000", "FFFF00"]))
    unit = values / 4000 * 2
    np.testing.assert_allclose(coloured["vis-red"], np.interp(unit, [0, 1, 2], [0, 255, 255]), atol=0.51)
    np.testing.assert_allclose(coloured["vis-green"], np.interp(unit, [0, 1, 2], [0, 0, 255]), atol=0.51)
    with pytest.raises(ee.EEException, match="Invalid color"):
        pixels(image.visualize(palette=["nocolour"]))


def test_blend_lays_valid_pixels_on_top(catalog):
    scene = catalog.image("T/OPT/s0")
    got = pixels(ee.Image(77).toUint8().blend(ee.Image("T/OPT/s0").select("label")))
    np.testing.assert_array_equal(got["constant"], np.where(scene.valid["label"], scene.arrays["label"], 77))


def test_random_depends_on_place_and_seed_only():
    whole = pixels(ee.Image.random(3))["random"]
    part = pixels(ee.Image.random(3), ORIGIN[0] + 100, ORIGIN[1] - 50, 20, 10)["random"]
    np.testing.assert_array_equal(part, whole[5:15, 10:30])
    assert (whole != pixels(ee.Image.random(4))["random"]).mean() > 0.99
    big = pixels(ee.Image.random(1), width=400, height=400)["random"]
    assert big.min() >= 0 and big.max() < 1 and abs(big.mean() - 0.5) < 0.005 and abs(big.std() - 12**-0.5) < 0.005
    normal = pixels(ee.Image.random(1, "normal"), width=400, height=400)["random"]
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02


def test_functions_of_one_band(catalog):
    values = catalog.image("T/COARSE/c").arrays["B11"]
    image, grid = ee.Image("T/COARSE/c"), dict(width=32, height=24, scale=20.0)
    np.testing.assert_allclose(pixels(image.polynomial([1, -2, 3]), **grid)["B11"], 1 - 2 * values + 3 * values**2)
    x, y = [0.2, 0.5, 0.7], [1, 3, 2]
    np.testing.assert_allclose(pixels(image.interpolate(x, y, "clamp"), **grid)["B11"], np.interp(values, x, y))
    masked = pixels(image.interpolate(x, y, "mask").unmask(-1, False), **grid)["B11"]
    inside = (values >= 0.2) & (values <= 0.7)
    np.testing.assert_allclose(masked, np.where(inside, np.interp(values, x, y), -1))
    extended = pixels(image.interpolate(x, y, "extrapolate"), **grid)["B11"]
    np.testing.assert_allclose(extended[values < 0.2], 1 + (values[values < 0.2] - 0.2) * 2 / 0.3)
    bits = catalog.image("T/OPT/s0").arrays["label"]
    np.testing.assert_array_equal(pixels(ee.Image("T/OPT/s0").select("label").bitwiseNot().unmask(0))["label"],
                                  np.where(catalog.image("T/OPT/s0").valid["label"], ~bits.astype(int), 0))


def test_colour_spaces(catalog):
    image = ee.Image.cat([ee.Image.random(i) for i in range(3)])
    values = pixels(image)
    rgb = np.stack([values[name] for name in values.dtype.names], -1)
    got = pixels(image.rgbToHsv())
    want = matplotlib.colors.rgb_to_hsv(rgb)
    for i, name in enumerate(("hue", "saturation", "value")):
        np.testing.assert_allclose(got[name], want[..., i], atol=1e-6)
    back = pixels(image.rgbToHsv().hsvToRgb())
    np.testing.assert_allclose(back["red"], rgb[..., 0], atol=1e-5)


def test_either_of_two(catalog):
    a = catalog.image("T/OPT/s0").arrays["B2"]
    image = ee.Image("T/OPT/s0").select("B2")
    got = pixels(image.gt(2000).multiply(image).firstNonZero(7))["B2"]
    np.testing.assert_array_equal(got, np.where(a > 2000, a, 7))
