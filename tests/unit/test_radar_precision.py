"""Sentinel-1 as int16 hundredths of dB loses less than 0.005 dB, from the request to the reader."""

import ee
import numpy as np
import pytest
import rasterio

import dwplus
from dwplus.earth import connect
from dwplus.earth.images.sentinel1 import NODATA, backscatter, scenes
from dwplus.spec import make_spec
from dwplus.store import layout, writer
from dwplus.store.writer import TileResult

#: Half a hundredth, and the spacing of float32 at 40 dB on either side of the rounding.
BOUND = 0.005 + 2 * np.spacing(np.float32(40.0))


def fetched(index, epsg, x0, y0, side=96):
    """Backscatter of a scene as the exporter asks for it, in both types it can store: (2, y, x) each."""
    grid = {"dimensions": {"width": side, "height": side}, "crsCode": f"EPSG:{epsg}", "affineTransform": {
        "scaleX": 10, "shearX": 0, "translateX": x0, "shearY": 0, "scaleY": -10, "translateY": y0}}
    found = []
    for dtype in ("int16", "float32"):
        pixels = ee.data.computePixels({"expression": backscatter([index], dtype=dtype), "grid": grid,
                                        "fileFormat": "NUMPY_NDARRAY"})
        found.append(np.stack([pixels["VV"], pixels["VH"]]))
    stored, db = found
    assert stored.dtype == np.int16 and db.dtype == np.float32
    return stored, np.where(db == NODATA["float32"], np.nan, db)


def through_a_store(tmp_path, plan, spec, stored):
    """dB as a user reads them back."""
    side = stored.shape[-1]
    spec = make_spec({**spec.model_dump(mode="json"), "tile": {"size": side}})
    layout.create(tmp_path / "s", plan, spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    writer.write_shard(layout.open_root(tmp_path / "s", "r+")["biome_12"], 0, 3, {0: TileResult(
        layout.EXPORTED, "", np.ones((3, side, side), "uint16"), stored, np.ones((side, side), "uint8"))})
    return dwplus.open_store(tmp_path / "s")["biome_12"]["s1"][0].to_numpy()


def check(found, want):
    assert want.size and np.isfinite(want).any() and np.nanstd(want) > 0.5  # it is backscatter, not a constant
    np.testing.assert_array_equal(np.isnan(found), ~np.isfinite(want))
    off = np.abs(found.astype("float64") - want)
    assert np.nanmax(off) <= BOUND
    # Rounding spreads evenly over a hundredth, and nothing else is lost.
    assert np.sqrt(np.nanmean(off**2)) == pytest.approx(0.01 / 12**0.5, rel=0.05)


def test_pixels_of_the_planet(tmp_path, small_plan, small_spec):
    connect()
    scene = scenes().filterBounds(ee.Geometry.Point(9.5, 51.2)).filterDate("2021-06-01", "2021-07-01").first()
    stored, db = fetched(scene.get("system:index").getInfo(), 32632, 534_000, 5_672_000)
    check(through_a_store(tmp_path, small_plan, small_spec, stored), db)


@pytest.mark.realworld
def test_real_pixels(realworld, tmp_path, small_plan, small_spec):
    connect(world=str(realworld))
    paths = sorted((realworld / "COPERNICUS" / "S1_GRD").glob("*.tif"))
    assert paths
    for number, path in enumerate(paths):
        with rasterio.open(path) as raster:
            stored, db = fetched(path.stem, raster.crs.to_epsg(), raster.transform.c + 403, raster.transform.f - 407)
        check(through_a_store(tmp_path / str(number), small_plan, small_spec, stored), db)
