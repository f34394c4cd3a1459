"""The main job on real pixels: what comes out must equal what the folder's own list says of them."""

from __future__ import annotations

import json
import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.crs import CRS

from dwplus.store.reader import tile_table
from dwplus.taxonomy import CLASSES
from pipelines.export_region import run
from tests.conftest import NO_REALWORLD, REALWORLD

pytestmark = pytest.mark.realworld


@pytest.fixture(scope="module")
def exported(tmp_path_factory, request):
    if not REALWORLD.is_dir():
        pytest.skip(NO_REALWORLD)
    store = tmp_path_factory.mktemp("real") / "real.zarr"
    assert run("realworld", None, None, str(store), None, str(REALWORLD), "threads") == 0
    return store, json.loads((REALWORLD / "places.json").read_text())


def tile_of(store, place):
    tree = xr.open_datatree(store, engine="zarr")
    for node in tree.children.values():
        hits = np.flatnonzero(node["s2_id"].values == place["s2"])
        if len(hits):
            return node.isel(tile=int(hits[0]))
    raise AssertionError(f"no tile of {place['s2']}")


def test_every_place_is_one_tile(exported):
    store, places = exported
    table = tile_table(store)
    assert len(table) == len(places) and (table["status"] == "exported").all()
    regions = gpd.read_file(REALWORLD / "RESOLVE/ECOREGIONS/2017.geojson")
    for place in places:
        # A coastal tile's centre may lie off the simplified outline: the nearest polygon counts.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # distances in degrees are good enough for the nearest
            gaps = regions.distance(shapely.Point(place["lon"], place["lat"]))
        hit, tile = regions.loc[gaps.idxmin()], tile_of(store, place)
        assert (tile["biome"].item(), tile["ecoregion"].item()) == (hit["BIOME_NUM"], hit["ECO_NAME"])


def test_ids_gaps_and_times(exported):
    store, places = exported
    for place in places:
        tile = tile_of(store, place)
        assert tile["s1_id"].item() == place["s1"] and tile["label_id"].item() == place["s2"]
        assert tile["gap_hours"].item() == pytest.approx(place["gap_hours"], abs=1e-4)
        assert str(tile["s2_time"].values)[:19] == place["s2_time"]
        assert str(tile["s1_time"].values)[:19] == place["s1_time"]
        assert CRS.from_epsg(tile["epsg"].item()) == CRS.from_string(place["crs"])


def test_labels_pixel_for_pixel(exported):
    store, places = exported
    for place in places:
        tile = tile_of(store, place)
        counts = dict(zip(CLASSES, np.bincount(tile["label"].values.ravel(), minlength=9), strict=True))
        assert counts == place["label_counts"]
        assert tile["class_counts"].values.tolist() == list(place["label_counts"].values())
        assert tile["valid_fraction"].item() == 1


def test_reflectance_and_backscatter(exported):
    store, places = exported
    for place in places:
        tile = tile_of(store, place)
        means = {str(b): float(tile["s2"].sel(s2_band=b).mean(dtype="float64")) for b in tile["s2_band"].values}
        assert means == pytest.approx(place["l2a_mean"], abs=1e-3)
        s1 = [float(tile["s1"].sel(s1_band=b).mean(dtype="float64")) for b in ("VV", "VH")]
        assert s1 == pytest.approx(place["s1_mean"], abs=0.01)


def test_pixels_equal_the_rasters(exported):
    """Not only the means: each pixel, with the quantisation of the store."""
    store, places = exported
    for place in places:
        tile = tile_of(store, place)
        with rasterio.open(REALWORLD / "COPERNICUS/S1_GRD" / f"{place['s1']}.tif") as raster:
            np.testing.assert_allclose(tile["s1"].values, raster.read([1, 2]), atol=0.0051)
            assert (raster.transform.c, raster.transform.f) == (tile["x0"].item(), tile["y0"].item())
        with rasterio.open(REALWORLD / "COPERNICUS/S2_SR_HARMONIZED" / f"{place['s2']}.tif") as raster:
            np.testing.assert_array_equal(tile["s2"].values, raster.read())


def test_quicklooks_are_drawn(exported):
    store, _ = exported
    folder = store.parent / "real.zarr.quicklook"
    assert sorted(p.name for p in folder.iterdir()) == ["biome_01.png", "biome_04.png", "biome_12.png"]
