"""What users of geedim and geemap do, unmodified, on the collections' real ids: the sample planet answers."""

from __future__ import annotations

import csv
import io

import ee
import ee.deprecation
import numpy as np
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from PIL import Image as Picture

import dwplus.earth.session
from dwplus.embedded_earth import EmbeddedEarth, open_catalog, serve
from tests.commands import PATIENCE

geedim = pytest.importorskip("geedim", reason="the extra `peers` is not installed")
geemap = pytest.importorskip("geemap")

SR, LABELS = "COPERNICUS/S2_SR_HARMONIZED", "GOOGLE/DYNAMICWORLD/V1"
SCENE = "20210628T094811_20210628T094811_T32UNB"
#: About 1 km across, at the planet's site in Hesse.
BOX = [9.44, 51.30, 9.455, 51.31]
PALETTE = ["419bdf", "397d49", "88b053", "7a87c6", "e49635", "dfc35a", "c4281b", "a59b8f", "b39fe1"]


@pytest.fixture(scope="module", autouse=True)
def planet():
    """The planet on loopback: downloads and tiles by URL need a socket."""
    server = serve(EmbeddedEarth(open_catalog())).start()
    patch = pytest.MonkeyPatch()
    patch.setenv("no_proxy", "127.0.0.1")
    ee.Reset()
    dwplus.earth.session._current = None
    ee.deprecation.deprecated_assets = {"-": None}
    ee.Initialize(AnonymousCredentials(), project="test", url=server.url)
    ee.data.setMaxRetries(0)
    yield server
    ee.Reset()
    dwplus.earth.session._current = None
    server.close()
    patch.undo()


def region():
    return ee.Geometry.Rectangle(BOX)


def arrays(image, scale=60):
    """Bands of an image over the box as a structured array."""
    ready = image.gd.prepareForExport(crs="EPSG:32632", scale=scale, region=region())
    return ready.gd.toNumPy(masked=False, structured=True)


# ------------------------------------------------------------------------------------------------------------- geedim


def test_mask_bands_are_added():
    image = ee.Image(f"{SR}/{SCENE}").gd.addMaskBands()
    assert {"FILL_MASK", "CLOUDLESS_MASK", "CLOUD_DIST", "CLOUD_SCORE"} <= set(image.bandNames().getInfo())
    found = arrays(image.select(["FILL_MASK", "CLOUDLESS_MASK", "CLOUD_DIST"]))
    assert (found["FILL_MASK"] == 1).all() and set(np.unique(found["CLOUDLESS_MASK"])) <= {0, 1}
    cloudy = found["CLOUDLESS_MASK"] == 0
    assert (found["CLOUD_DIST"][cloudy] == 0).all() if cloudy.any() else True
    assert found["CLOUD_DIST"].max() <= 5000 and (found["CLOUD_DIST"] >= 0).all()


def test_distances_to_clouds_grow_by_the_pixel():
    # By definition: neighbours differ by at most the way between them, diagonals included.
    image = ee.Image(f"{SR}/20210623T094819_20210623T094829_T32UNB").gd.addMaskBands().select("CLOUD_DIST")
    distance = arrays(image)["CLOUD_DIST"].astype(float)
    for axis in (0, 1):
        assert np.abs(np.diff(distance, axis=axis)).max() <= 60 * np.sqrt(2) + 1


@pytest.mark.parametrize("method", ["mosaic", "q-mosaic"])
def test_composites_of_masked_images(method):
    images = ee.ImageCollection(SR).gd.filter("2021-06-22", "2021-06-29", region=region())
    assert SCENE in images.gd.properties
    found = arrays(images.gd.composite(method=method).select(["B4", "B8"]))
    assert 0 < np.nanmean(found["B4"]) < np.nanmean(found["B8"]) < 6000


@pytest.mark.parametrize("old, new", [("COPERNICUS/S2", "COPERNICUS/S2_HARMONIZED"), ("COPERNICUS/S2_SR", SR)])
def test_the_deprecated_collections_keep_the_offset_of_newer_baselines(old, new):
    for start, end, offset in (("2021-06-20", "2021-07-05", 0), ("2022-06-20", "2022-07-05", 1000)):
        images = ee.ImageCollection(new).filterDate(start, end).filterBounds(region())
        index = ee.Image(images.first()).get("system:index").getInfo()
        both = ee.Image(f"{old}/{index}").select(["B4"], ["old"]).addBands(ee.Image(f"{new}/{index}").select("B4"))
        found = both.reduceRegion(ee.Reducer.mean(), region(), 60).getInfo()
        assert found["old"] - found["B4"] == pytest.approx(offset)


# ------------------------------------------------------------------------------------------------------------- geemap


def tile_at(layer, zoom=13):
    """The middle tile of a map's layer, as red, green, blue and opacity."""
    lon, lat = (BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2
    count = 2**zoom
    x, y = int((lon + 180) / 360 * count), int((1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * count)
    url = layer.url_format if hasattr(layer, "url_format") else layer.url
    answer = requests.get(url.format(x=x, y=y, z=zoom), timeout=PATIENCE)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    return np.array(Picture.open(io.BytesIO(answer.content)).convert("RGBA"))


def test_a_map_shows_label_optical_image_radar_and_features():
    world = geemap.Map(center=(51.305, 9.447), zoom=13, ee_initialize=False)
    world.addLayer(ee.Image(f"{SR}/{SCENE}"), {"bands": ["B4", "B3", "B2"], "min": 0, "max": 3000}, "S2")
    world.addLayer(ee.Image(f"{LABELS}/{SCENE}").select("label"), {"min": 0, "max": 8, "palette": PALETTE}, "label")
    radar = ee.ImageCollection("COPERNICUS/S1_GRD").filterDate("2021-06-28", "2021-07-01").filterBounds(region())
    world.addLayer(radar.select("VV"), {"min": -20, "max": 0}, "S1")
    world.addLayer(ee.FeatureCollection([ee.Feature(region())]), {"color": "ff0000"}, "box")
    layers = {layer.name: layer for layer in world.layers}
    optical, label, backscatter, box = (tile_at(layers[name]) for name in ("S2", "label", "S1", "box"))
    assert (optical[..., 3] == 255).mean() > 0.9 and len(np.unique(optical[..., 1])) > 30
    known = {tuple(int(text[i:i + 2], 16) for i in (0, 2, 4)) for text in PALETTE}
    colours = {tuple(map(int, colour)) for colour in np.unique(label[label[..., 3] == 255][:, :3], axis=0)}
    assert len(colours) >= 3 and colours <= known
    grey = backscatter[backscatter[..., 3] == 255]
    assert len(grey) and (grey[:, 0] == grey[:, 1]).all() and len(np.unique(grey[:, 0])) > 30
    assert 0 < (box[..., 3] > 0).mean() < 1 and tuple(box[box[..., 3] == 255][0][:3]) == (255, 0, 0)


def test_statistics_of_zones(tmp_path):
    zones = ee.FeatureCollection([
        ee.Feature(ee.Geometry.Rectangle([9.44, 51.30, 9.447, 51.31]), {"name": "west"}),
        ee.Feature(ee.Geometry.Rectangle([9.447, 51.30, 9.455, 51.31]), {"name": "east"})])
    image = ee.Image(f"{SR}/{SCENE}").select("B8")
    geemap.zonal_stats(image, zones, str(tmp_path / "z.csv"), stat_type="MEAN", scale=60, verbose=False)
    rows = {row["name"]: float(row["mean"]) for row in csv.DictReader((tmp_path / "z.csv").open())}
    for name, found in rows.items():
        zone = zones.filter(ee.Filter.eq("name", name)).geometry()
        assert found == pytest.approx(image.reduceRegion("mean", zone, 60).get("B8").getInfo())
    geemap.zonal_stats_by_group(ee.Image(f"{LABELS}/{SCENE}").select("label"), zones, str(tmp_path / "g.csv"),
                                stat_type="PERCENTAGE", scale=60, verbose=False)
    for row in csv.DictReader((tmp_path / "g.csv").open()):
        shares = [float(value) for key, value in row.items() if key.startswith("Class_") and key != "Class_sum"]
        assert sum(shares) == pytest.approx(1)
