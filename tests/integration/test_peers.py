"""Other people's clients, unmodified, against the embedded Earth: their pixels equal the source."""

from __future__ import annotations

import ee
import ee.deprecation
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from google.auth.credentials import AnonymousCredentials

import dwplus.earth.session
from dwplus.embedded_earth import EmbeddedEarth, serve
from tests.unit.embedded_earth.conftest import CRS, HEIGHT, ORIGIN, WIDTH, make_catalog, pixels

geedim = pytest.importorskip("geedim", reason="the extra `peers` is not installed")
xee_helpers = pytest.importorskip("xee.helpers", reason="the extra `peers` is not installed")
geemap = pytest.importorskip("geemap")
IMAGE = "T/OPT/s0"


@pytest.fixture(scope="module")
def catalog():
    """The archive, served on loopback: downloads by URL need a socket."""
    found = make_catalog()
    server = serve(EmbeddedEarth(found)).start()
    patch = pytest.MonkeyPatch()
    patch.setenv("no_proxy", "127.0.0.1")
    ee.Reset()
    dwplus.earth.session._current = None
    ee.deprecation.deprecated_assets = {"-": None}
    ee.Initialize(AnonymousCredentials(), project="test", url=server.url)
    ee.data.setMaxRetries(0)
    yield found
    ee.Reset()
    dwplus.earth.session._current = None
    server.close()
    patch.undo()


def source(catalog, band="B2", image=IMAGE):
    return catalog.image(image).arrays[band]


def test_xee_opens_a_collection_and_reads_blocks(catalog):
    images = ee.ImageCollection("T/OPT").select(["B2", "B3"])
    data = xr.open_dataset(images, engine="ee", **xee_helpers.extract_grid_params(ee.Image(images.first())))
    assert dict(data.sizes) == {"time": 4, "y": HEIGHT, "x": WIDTH}
    np.testing.assert_array_equal(data["B2"].isel(time=0).values, source(catalog))
    block = data["B3"].isel(time=0, x=slice(5, 15), y=slice(7, 27)).values
    np.testing.assert_array_equal(block, source(catalog, "B3")[7:27, 5:15])
    assert data["x"].values[0] == ORIGIN[0] + 5 and data["y"].values[0] == ORIGIN[1] - 5
    assert data["time"].dt.year.values.tolist() == [2020] * 4


def test_xee_reprojects(catalog):
    grid = xee_helpers.fit_geometry(geometry=shapely.box(15.0, 49.648, 15.006, 49.651), geometry_crs="EPSG:4326",
                                    grid_crs="EPSG:4326", grid_shape=(40, 30))
    data = xr.open_dataset(ee.ImageCollection("T/OPT").select("B2"), engine="ee", **grid)
    got = data["B2"].isel(time=0)
    scale = float(got["x"][1] - got["x"][0]), float(got["y"][1] - got["y"][0])
    west, north = float(got["x"][0]) - scale[0] / 2, float(got["y"][0]) - scale[1] / 2
    want = ee.data.computePixels({
        "expression": ee.Image(IMAGE).select("B2"), "fileFormat": "NUMPY_NDARRAY", "grid": {
            "crsCode": "EPSG:4326", "dimensions": {"width": 40, "height": 30}, "affineTransform": {
                "scaleX": scale[0], "translateX": west, "scaleY": scale[1], "translateY": north}}})["B2"]
    np.testing.assert_array_equal(np.nan_to_num(got.values), want)


def test_xee_on_a_mapped_collection(catalog):
    images = ee.ImageCollection("T/OPT").map(
        lambda image: image.select("B2").multiply(2).copyProperties(image, ["system:time_start"]))
    data = xr.open_dataset(images, engine="ee", **xee_helpers.extract_grid_params(ee.Image(IMAGE).select("B2")))
    np.testing.assert_array_equal(data["B2"].isel(time=0).values, 2 * source(catalog))


def test_geedim_downloads_arrays(catalog):
    image = ee.Image(IMAGE).select(["B2", "B3"])
    array = image.gd.toNumPy()
    np.testing.assert_array_equal(array[..., 0], source(catalog))
    np.testing.assert_array_equal(array[..., 1], source(catalog, "B3"))


def test_geedim_writes_geotiff_and_xarray(catalog, tmp_path):
    from geedim import stac

    stac.STACClient()._cache.update({IMAGE: None, "T/OPT": None})  # it would look this archive up on the internet
    image = ee.Image(IMAGE).select(["B2", "B3"])
    image.gd.toGeoTIFF(tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif") as file:
        np.testing.assert_array_equal(file.read(1), source(catalog))
        assert (file.transform.c, file.transform.f) == ORIGIN and file.crs.to_string() == CRS
    np.testing.assert_array_equal(image.gd.toXarray().sel(band="B2").values, source(catalog))


def test_geedim_exports_on_another_grid(catalog):
    image = ee.Image(IMAGE).select("B2")
    ready = image.gd.prepareForExport(crs="EPSG:3857", scale=20, region=image.geometry(), resampling="bilinear")
    info = ready.getInfo()["bands"][0]
    assert info["crs"] == "EPSG:3857" and ready.gd.toNumPy().shape[:2] == tuple(info["dimensions"][::-1])


@pytest.mark.parametrize("method", ["mosaic", "median", "mean"])
def test_geedim_composites(catalog, method):
    images = ee.ImageCollection("T/OPT").select(["B2", "B3"])
    composite = images.gd.composite(method=method, mask=False)
    grid = composite.gd.prepareForExport(crs=CRS, scale=10, region=ee.Image(IMAGE).geometry())
    got = grid.gd.toNumPy()[..., 0]
    layers = [np.ma.masked_all((HEIGHT, WIDTH), float) for _ in range(4)]
    for i, layer in enumerate(layers):
        layer[:, 10 * i:] = catalog.image(f"T/OPT/s{i}").arrays["B2"][:, :WIDTH - 10 * i]
    stack = np.ma.stack(layers)
    if method in ("median", "mean"):
        np.testing.assert_allclose(got, getattr(np.ma, method)(stack, axis=0), rtol=1e-6)
    else:
        assert ((got == stack.filled(-1)).any(axis=0)).all()  # each pixel is one of the images'


def test_geedim_lists_a_collection(catalog):
    found = ee.ImageCollection("T/OPT").gd.filter("2020-09-01", "2020-09-15", region=ee.Image(IMAGE).geometry())
    assert sorted(found.gd.properties) == ["s0", "s1"]


def test_geemap_reads_and_exports(catalog, tmp_path):
    image = ee.Image(IMAGE).select(["B2", "B3"])
    np.testing.assert_array_equal(geemap.ee_to_numpy(image, region=image.geometry(), scale=10)[..., 0], source(catalog))
    properties = geemap.image_props(ee.Image(IMAGE)).getInfo()
    assert properties["system:index"] == "s0" and properties["NOMINAL_SCALE"] == 10
    statistics = geemap.image_stats(image.select("B2"), scale=10).getInfo()
    assert statistics["max"]["B2"] == source(catalog).max()
    assert statistics["mean"]["B2"] == pytest.approx(source(catalog).mean(), rel=1e-3)
    geemap.ee_export_image(image, str(tmp_path / "g.tif"), scale=10, region=image.geometry(), verbose=False)
    with rasterio.open(tmp_path / "g.tif") as file:
        np.testing.assert_array_equal(file.read(2), source(catalog, "B3"))


def test_the_clients_own_downloads(catalog):
    import io
    import urllib.request

    image = ee.Image(IMAGE).select("B2")
    url = image.getDownloadURL({"format": "NPY", "scale": 10, "region": image.geometry()})
    with urllib.request.urlopen(url) as answer:
        array = np.load(io.BytesIO(answer.read()))
    np.testing.assert_array_equal(array["B2"], source(catalog))
    thumbnail = image.getThumbURL({"dimensions": 32, "min": 0, "max": 4000, "format": "png"})
    with urllib.request.urlopen(thumbnail) as answer:
        assert answer.read()[:4] == b"\x89PNG"
    np.testing.assert_array_equal(pixels(image)["B2"], source(catalog))
