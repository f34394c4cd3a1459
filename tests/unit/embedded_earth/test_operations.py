"""Exports and downloads through the client: states, files, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import time
import urllib.error
import urllib.request

import ee
import numpy as np
import pytest
import rasterio
import shapely.geometry
from google.auth.credentials import AnonymousCredentials

import dwplus.earth.session
from dwplus.embedded_earth import EmbeddedEarth, Fault, Faults, serve
from tests.commands import PATIENCE
from tests.unit.embedded_earth.conftest import CRS, HEIGHT, ORIGIN, WIDTH, initialize, make_catalog

GRID = {"crs": CRS, "crsTransform": [10, 0, ORIGIN[0], 0, -10, ORIGIN[1]], "dimensions": f"{WIDTH}x{HEIGHT}"}


@pytest.fixture
def folder(tmp_path):
    """An Earth that exports into a folder, with the client connected to it."""
    initialize(EmbeddedEarth(make_catalog(), exports=tmp_path / "out"))
    yield tmp_path / "out"
    ee.Reset()
    dwplus.earth.session._current = None


def wait(task, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while task.status()["state"] in ("READY", "RUNNING", "CANCEL_REQUESTED"):
        assert time.monotonic() < end, task.status()
        time.sleep(0.01)
    return task.status()


def started(task):
    task.start()
    return task


def image():
    return ee.Image("T/OPT/s0").select(["B2", "B3"])


def test_an_image_is_written_as_a_geotiff(folder, catalog):
    task = started(ee.batch.Export.image.toDrive(image(), "scene", "dw", "part/one", **GRID))
    status = wait(task)
    assert status["state"] == "COMPLETED" and status["task_type"] == "EXPORT_IMAGE"
    assert status["description"] == "scene" and status["start_timestamp_ms"] >= status["creation_timestamp_ms"]
    path = folder / "drive" / "dw" / "part" / "one.tif"
    assert status["destination_uris"] == [path.as_uri()]
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32633 and file.descriptions == ("B2", "B3") and file.dtypes[0] == "uint16"
        assert tuple(file.transform)[:6] == (10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
        np.testing.assert_array_equal(file.read(1), catalog.image("T/OPT/s0").arrays["B2"])
        np.testing.assert_array_equal(file.read(2), catalog.image("T/OPT/s0").arrays["B3"])
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["one.tif"]


def test_large_images_are_computed_in_blocks_and_masks_become_nodata(folder, monkeypatch, catalog):
    monkeypatch.setattr("dwplus.embedded_earth.operations._BLOCK", 17)
    label = ee.Image("T/OPT/s0").select("label")
    scene = catalog.image("T/OPT/s0")
    tasks = [started(ee.batch.Export.image.toCloudStorage(band, f"x{i}", "bucket", formatOptions=options, **GRID))
             for i, (band, options) in enumerate(((label, {"noData": 255}), (label, None), (label.toFloat(), None)))]
    values, valid = scene.arrays["label"], scene.valid["label"]
    for task, fill, nodata in zip(tasks, (255, 0, np.nan), (255, None, None), strict=True):
        assert wait(task)["state"] == "COMPLETED"
        with rasterio.open(folder / "gs" / "bucket" / f"{task.config['description']}.tif") as file:
            assert file.nodata == nodata
            np.testing.assert_array_equal(file.read(1), np.where(valid, values, fill))


def test_a_region_and_a_scale(folder):
    region = ee.Geometry.Rectangle([ORIGIN[0] + 100, ORIGIN[1] - 300, ORIGIN[0] + 300, ORIGIN[1] - 100], CRS, False)
    assert wait(started(ee.batch.Export.image.toDrive(image(), "r", region=region, scale=20, crs=CRS))
                )["state"] == "COMPLETED"
    with rasterio.open(folder / "drive" / "r.tif") as file:
        assert file.shape == (10, 10) and file.transform.a == 20


def read_csv(data):
    return list(csv.DictReader(io.StringIO(data)))


def test_tables_as_csv_and_geojson(folder):
    table = ee.FeatureCollection("T/REGIONS").map(lambda f: f.set("list", [1, 2.5]))
    one = started(ee.batch.Export.table.toDrive(table, "rows", fileFormat="CSV"))
    two = started(ee.batch.Export.table.toDrive(table, "chosen", fileFormat="CSV", selectors=["code", "name"]))
    three = started(ee.batch.Export.table.toCloudStorage(table, "shapes", "b", fileFormat="GeoJSON"))
    for task in (one, two, three):
        assert wait(task)["state"] == "COMPLETED"
    rows = read_csv((folder / "drive" / "rows.csv").read_text())
    assert [r["name"] for r in rows] == ["r0", "r1", "r2"] and [r["system:index"] for r in rows] == ["0", "1", "2"]
    assert json.loads(rows[0]["list"]) == [1, 2.5]
    shape = shapely.geometry.shape(json.loads(rows[1][".geo"]))
    assert shape.equals(shapely.box(15, 49, 15.9, 50))
    assert (folder / "drive" / "chosen.csv").read_text() == "code,name\n1,r0\n2,r1\n3,r2\n"
    features = json.loads((folder / "gs" / "b" / "shapes.geojson").read_text())["features"]
    assert [f["properties"]["code"] for f in features] == [1, 2, 3]
    assert shapely.geometry.shape(features[2]["geometry"]).equals(shapely.box(16, 49, 16.9, 50))


def test_without_a_folder_results_stay_in_memory(earth, catalog):
    task = started(ee.batch.Export.image.toDrive(image(), "m", **GRID))
    assert wait(task)["state"] == "COMPLETED"
    files = earth.operations.results(f"projects/test/operations/{task.id}")
    assert list(files) == ["drive/m.tif"]
    with rasterio.open(io.BytesIO(files["drive/m.tif"])) as file:
        np.testing.assert_array_equal(file.read(1), catalog.image("T/OPT/s0").arrays["B2"])
    task = started(ee.batch.Export.table.toDrive(ee.FeatureCollection("T/REGIONS"), "t", selectors=["code"]))
    assert wait(task)["state"] == "COMPLETED"
    assert earth.operations.results(f"projects/test/operations/{task.id}") == {"drive/t.csv": b"code\n1\n2\n3\n"}


def test_memory_is_bounded(earth, monkeypatch):
    monkeypatch.setattr("dwplus.embedded_earth.operations.MAX_MEMORY", 30)
    tasks = []
    for _ in range(4):
        tasks.append(started(ee.batch.Export.table.toDrive(ee.FeatureCollection("T/REGIONS"), "t", selectors=["code"])))
        wait(tasks[-1])
    kept = [earth.operations.results(f"projects/test/operations/{task.id}") for task in tasks]
    assert [len(files) for files in kept] == [0, 0, 1, 1]


@pytest.mark.parametrize(("make", "words"), [
    (lambda: ee.Image("T/OPT/none"), "not found"), (lambda: ee.Image(1), "unbounded"),
    (lambda: image().addBands(image().select("B2").toDouble().rename("x")), "inconsistent types: Float64 and Uint16")])
def test_what_fails_says_why(earth, make, words):
    status = wait(started(ee.batch.Export.image.toDrive(make(), "f")))
    assert status["state"] == "FAILED" and words in status["error_message"]


def test_too_large_an_export_fails(earth):
    status = wait(started(ee.batch.Export.image.toDrive(image(), "f", maxPixels=1000, **GRID)))
    assert status["state"] == "FAILED"
    assert "Export too large: specified 3072 pixels (max: 1000)" in status["error_message"]


def test_what_cannot_be_exported_is_refused_at_once(earth):
    table = ee.FeatureCollection("T/REGIONS")
    for task, words in ((ee.batch.Export.image.toAsset(image(), "a", "projects/test/assets/x"), "read-only"),
                        (ee.batch.Export.image.toDrive(image(), "a", fileFormat="TFRecord"), "TF_RECORD"),
                        (ee.batch.Export.table.toDrive(table, "a", fileFormat="SHP"), "SHP")):
        with pytest.raises(ee.EEException, match=words):
            task.start()
    assert ee.data.listOperations() == []


def test_the_same_request_id_is_the_same_operation(earth, monkeypatch):
    body = {"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}, "description": "d", "requestId": "R",
            "fileExportOptions": {"fileFormat": "GEO_TIFF", "driveDestination": {"filenamePrefix": "d"}}}

    def send(body):
        answer = earth.handle("POST", "/v1/projects/test/image:export", {}, {}, json.dumps(body).encode())
        return answer.status, json.loads(answer.body)

    one, two = send(body), send(body)
    assert one[0] == 200 and one[1]["name"] == two[1]["name"] and len(ee.data.listOperations()) == 1
    status, other = send({**body, "description": "other"})
    assert status == 400 and "different Operation" in other["error"]["message"]
    # An answer that is lost on its way is asked for again by the client, and starts nothing twice.
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda seconds: None)
    ee.data.setMaxRetries(3)
    earth.faults = Faults([Fault("drop", "image:export", count=2)])
    started(ee.batch.Export.image.toDrive(image(), "again", **GRID))
    assert len(ee.data.listOperations()) == 2


def slow(catalog, seconds):
    """Every read of the first scene takes a while."""
    scene = catalog.image("T/OPT/s0")
    read = scene.read

    def late(bands, window):
        time.sleep(seconds)
        return read(bands, window)

    scene.read = late


def test_cancelling_what_waits_and_what_runs(tmp_path, monkeypatch, catalog):
    monkeypatch.setattr("dwplus.embedded_earth.operations._BLOCK", 4)
    slow(catalog, 0.05)
    initialize(EmbeddedEarth(catalog, exports=tmp_path))
    tasks = [started(ee.batch.Export.image.toDrive(image(), f"c{i}", **GRID)) for i in range(4)]
    states = [task.status()["state"] for task in tasks]
    while states[0] == "READY":
        states = [task.status()["state"] for task in tasks]
    # Two at once: the others wait.
    assert states[3] == "READY"
    for task in tasks:
        task.cancel()
    assert [wait(task)["state"] for task in tasks] == ["CANCELLED"] * 4
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    tasks[0].cancel()  # again, to no effect
    after = started(ee.batch.Export.table.toDrive(ee.FeatureCollection("T/REGIONS"), "after"))
    assert wait(after)["state"] == "COMPLETED"


def test_lists_pages_and_unknown_operations(earth):
    tasks = [started(ee.batch.Export.table.toDrive(ee.FeatureCollection("T/REGIONS"), f"t{i}")) for i in range(5)]
    for task in tasks:
        wait(task)
    assert [o["metadata"]["description"] for o in ee.data.listOperations()] == ["t4", "t3", "t2", "t1", "t0"]
    page = json.loads(earth.handle("GET", "/v1/projects/test/operations", {"pageSize": "2"}, {}, b"").body)
    assert [o["metadata"]["description"] for o in page["operations"]] == ["t4", "t3"]
    page = json.loads(earth.handle("GET", "/v1/projects/test/operations", {"pageSize": "2", "pageToken": "4"}, {},
                                   b"").body)
    assert len(page["operations"]) == 1 and "nextPageToken" not in page
    assert [t.id for t in ee.batch.Task.list()] == [t.id for t in reversed(tasks)]
    operation = ee.data.getOperation(f"projects/test/operations/{tasks[0].id}")
    assert operation["done"] and operation["metadata"]["state"] == "SUCCEEDED" and "response" in operation
    assert ee.data.getTaskStatus("NONE")[0]["state"] == "UNKNOWN"
    with pytest.raises(ee.EEException, match="not found"):
        ee.data.cancelOperation("projects/test/operations/NONE")


@pytest.mark.parametrize("prefix", ["../../../escaped", "/etc/escaped", "a/../../../../escaped", "..\\escaped", "."])
def test_no_name_leads_out_of_the_folder(folder, prefix):
    task = started(ee.batch.Export.table.toDrive(ee.FeatureCollection("T/REGIONS"), "d", "../..", prefix))
    assert wait(task)["state"] == "COMPLETED"
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert len(files) == 1 and files[0].resolve().is_relative_to(folder / "drive")


def test_tables_are_downloaded_over_loopback(earth, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = serve(earth).start()
    try:
        ee.Reset()
        ee.Initialize(AnonymousCredentials(), project="test", url=server.url)
        table = ee.FeatureCollection("T/REGIONS")
        with urllib.request.urlopen(table.getDownloadURL("CSV", ["name", "code"], "file")) as answer:
            assert answer.headers["content-type"].startswith("text/csv")
            assert answer.read() == b"name,code\nr0,1\nr1,2\nr2,3\n"
        with urllib.request.urlopen(table.getDownloadURL("GEO_JSON")) as answer:
            assert len(json.load(answer)["features"]) == 3
        with urllib.request.urlopen(ee.FeatureCollection([]).getDownloadURL("CSV")) as answer:
            assert answer.read() == b"system:index,.geo\n"
        for url, code in ((table.getDownloadURL("KML"), 400),
                          (server.url + "/v1/projects/test/tables/00:getFeatures", 404)):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(url)
            assert error.value.code == code
    finally:
        ee.Reset()
        dwplus.earth.session._current = None
        server.close()
