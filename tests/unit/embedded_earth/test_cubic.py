"""Bicubic interpolation against GDAL's and against parabolas, for which it is exact."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from scipy.ndimage import binary_dilation

from tests.unit.embedded_earth.conftest import CRS, ORIGIN, pixels

pytestmark = pytest.mark.usefixtures("earth")


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.7, -4.2), (5.0, 5.0), (10.0, 3.0)])
def test_bicubic_equals_gdal(catalog, shift):
    scene = catalog.image("T/COARSE/c")
    x0, y0 = ORIGIN[0] + 100 + shift[0], ORIGIN[1] - 100 + shift[1]
    got = pixels(ee.Image("T/COARSE/c").resample("bicubic"), x0, y0, 30, 20)["B11"]
    want = np.zeros((20, 30))
    reproject(scene.arrays["B11"], want, src_transform=Affine(20, 0, ORIGIN[0], 0, -20, ORIGIN[1]), src_crs=CRS,
              dst_transform=Affine(10, 0, x0, 0, -10, y0), dst_crs=CRS, resampling=Resampling.cubic)
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_the_own_grid_changes_nothing(catalog):
    got = pixels(ee.Image("T/SAR/x").resample("bicubic"), ORIGIN[0] + 3.7, ORIGIN[1] - 4.2)["VV"]
    np.testing.assert_array_equal(got, catalog.image("T/SAR/x").arrays["VV"])


def test_half_way_between_four_pixels_in_a_row(catalog):
    """(-1, 9, 9, -1) / 16 across, and the same down."""
    source = catalog.image("T/SAR/x").arrays["VV"]
    got = pixels(ee.Image("T/SAR/x").resample("bicubic"), ORIGIN[0] + 3.7 + 105, ORIGIN[1] - 4.2 - 105, 20, 10)["VV"]
    taps = np.array([-1, 9, 9, -1]) / 16
    want = sum(taps[i] * taps[j] * source[9 + i:19 + i, 9 + j:29 + j] for i in range(4) for j in range(4))
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_parabola_in_another_projection(catalog):
    """Values are those of the parabola at the centres of the pixels, in degrees."""
    catalog.image("T/SAR/x").arrays["VV"][:] = (np.arange(64) + 0.5)**2 / 100 + (np.arange(48)[:, None] + 0.5) / 10
    to = Transformer.from_crs(CRS, 4326, always_xy=True).transform
    x0, y0 = to(ORIGIN[0] + 150, ORIGIN[1] - 150)
    scale = 5e-5
    got = pixels(ee.Image("T/SAR/x").resample("bicubic"), x0, y0, 40, 20, scale, "EPSG:4326")["VV"]
    lon, lat = np.meshgrid(x0 + (np.arange(40) + 0.5) * scale, y0 - (np.arange(20) + 0.5) * scale)
    x, y = Transformer.from_crs(4326, CRS, always_xy=True).transform(lon, lat)
    col, row = (x - ORIGIN[0] - 3.7) / 10, (ORIGIN[1] - 4.2 - y) / 10
    np.testing.assert_allclose(got, col**2 / 100 + row / 10, atol=1e-5)


def test_beside_masked_pixels_and_edges_the_bilinear_value_stands_in(catalog):
    scene = catalog.image("T/OPT/s0")
    image = ee.Image("T/OPT/s0").select("label").toDouble()
    where = (ORIGIN[0] + 105, ORIGIN[1] - 105, 30, 20)
    cubic, linear = (pixels(image.resample(mode).unmask(-1, False), *where)["label"]
                     for mode in ("bicubic", "bilinear"))
    values, valid = scene.arrays["label"].astype(float), scene.valid["label"]
    taps = np.array([-1, 9, 9, -1]) / 16
    block = [(i, j, np.s_[9 + i:29 + i, 9 + j:39 + j]) for i in range(4) for j in range(4)]
    whole = np.logical_and.reduce([valid[b] for _, _, b in block])
    want = sum(taps[i] * taps[j] * values[b] for i, j, b in block)
    assert whole.any() and not binary_dilation(whole).all()
    np.testing.assert_allclose(cubic, np.where(whole, want, linear), atol=1e-12)
    source = ee.Image("T/COARSE/c")
    edge = (ORIGIN[0] - 25, ORIGIN[1] + 25, 20, 20)
    cubic, linear = (pixels(source.resample(mode).unmask(-1, False), *edge)["B11"] for mode in ("bicubic", "bilinear"))
    outer = np.s_[:5]  # less than a pixel and a half from the edge
    np.testing.assert_array_equal(cubic[outer], linear[outer])
    assert ((cubic == -1) == (linear == -1)).all()


def test_an_unknown_mode_is_refused():
    with pytest.raises(ee.EEException, match="sinc"):
        pixels(ee.Image("T/SAR/x").resample("sinc"))
