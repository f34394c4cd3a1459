"""Errors, limits, faults and the two doors."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import ee
import numpy as np
import pytest
from google.auth.credentials import AnonymousCredentials

import dwplus.earth.session
from dwplus.earth.limiter import Limiter
from dwplus.embedded_earth import EmbeddedEarth, Fault, Faults, Limits, random_faults, serve
from dwplus.embedded_earth.functions import missing, supported
from dwplus.errors import RefusedError, StopError
from tests.unit.embedded_earth.conftest import CRS, initialize, make_catalog, pixels


def compute(earth, expression):
    body = json.dumps({"expression": expression}).encode()
    answer = earth.handle("POST", "/v1/projects/p/value:compute", {}, {}, body)
    return answer.status, json.loads(answer.body)


def invoke(name, **arguments):
    return {"result": "0", "values": {"0": {"functionInvocationValue": {
        "functionName": name, "arguments": {k: {"constantValue": v} for k, v in arguments.items()}}}}}


def test_functions_are_known_to_the_service():
    assert len(supported()) > 250
    assert not set(supported()) & set(missing())


@pytest.mark.parametrize(("expression", "words"), [
    (invoke("Image.hersImage"), ["Image.hersImage"]),
    (invoke("Terrain.fillMinima", image=1), ["Terrain.fillMinima", "not supported"]),
    (invoke("Image.frobnicate"), ["Image.frobnicate", "no function"]),
    (invoke("Number.add", left=1), ["Number.add", "'right'", "required"]),
    (invoke("Number.add", left=1, right=2, up=3), ["Number.add", "'up'"]),
    (invoke("Number.add", left="a", right=2), ["Number.add", "'left'", "Number", "String"]),
    (invoke("Image.load", id="T/OPT/none"), ["T/OPT/none", "not found"]),
    (invoke("ImageCollection.load", id="T/NONE"), ["T/NONE", "not found"]),
    ({"result": "0", "values": {"0": {"valueReference": "0"}}}, ["refers to itself"]),
    ({"result": "0", "values": {"0": {"valueReference": "1"}}}, ["leads nowhere"]),
    ({"result": "0", "values": {"0": {"argumentReference": "x"}}}, ["'x'"]),
    ({"result": "0", "values": {"0": {"frob": 1}}}, ["frob"]),
    ({"result": "0", "values": {"0": {"functionInvocationValue": 1}}}, ["form"]),
    ({"result": "0", "values": {"0": {"arrayValue": {"values": 1.5}}}}, ["form"]),
    ({"result": "0", "values": {"0": {"functionInvocationValue": {"functionName": "Image.load", "arguments": "x"}}}},
     ["form"]),
    ({"result": "0"}, ["Invalid expression"]), (None, ["Invalid expression"]), ([1], ["Invalid expression"]),
    (invoke("List.repeat", value=1, count=10**9), ["memory"]),
    (invoke("List.sequence", start=0, end=1e12), ["memory"]),
])
def test_what_is_wrong_is_a_400_that_says_so(expression, words):
    status, body = compute(EmbeddedEarth(make_catalog()), expression)
    assert status == 400 and body["error"]["status"] == "INVALID_ARGUMENT"
    for word in words:
        assert word in body["error"]["message"], body


def test_deep_graphs_are_refused_not_fatal():
    node = {"constantValue": 1}
    for _ in range(300):
        node = {"arrayValue": {"values": [node]}}
    status, body = compute(EmbeddedEarth(make_catalog()), {"result": "0", "values": {"0": node}})
    assert status == 400 and "deep" in body["error"]["message"]
    raw = b'{"expression":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = EmbeddedEarth(make_catalog()).handle("POST", "/v1/projects/p/value:compute", {}, {}, raw)
    assert answer.status == 400


def test_limits_of_pixels_elements_and_payload(earth):
    image = ee.Image("T/OPT/s0").select("B2").toDouble()
    with pytest.raises(ee.EEException, match=r"Total request size \(56623104 bytes\) must be less than or equal to "
                                             r"50331648 bytes"):
        pixels(ee.Image.cat([image] * 48), width=512, height=256)
    with pytest.raises(ee.EEException, match=r"\(32769x1\) must be less than or equal to 32768"):
        pixels(image, width=32769, height=1)
    with pytest.raises(ee.EEException, match="1024"):
        pixels(ee.Image.constant([0] * 1025), width=1, height=1)
    many = ee.FeatureCollection(ee.List.sequence(1, 5001).map(lambda n: ee.Feature(None, {"n": n})))
    with pytest.raises(ee.EEException, match="Collection query aborted after accumulating over 5000 elements"):
        many.getInfo()
    assert len(many.limit(5000).getInfo()["features"]) == 5000
    answer = earth.handle("POST", "/v1/projects/p/value:compute", {}, {}, b" " * (10 * 2**20 + 1))
    assert answer.status == 400 and b"payload" in answer.body


def test_forty_at_once_and_no_more():
    earth = EmbeddedEarth(make_catalog(), latency_s=0.5)
    body = json.dumps({"expression": invoke("Number.add", left=1, right=2)}).encode()
    answers = []

    def ask():
        answers.append(earth.handle("POST", "/v1/projects/p/value:compute", {}, {}, body).status)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 40 + [429] * 10 and earth.gate.peak == 40


def test_a_deadline_ends_long_work():
    earth = EmbeddedEarth(make_catalog(), limits=Limits(seconds=0.2))
    initialize(earth)
    heavy = ee.List.sequence(1, 1_000_000).map(lambda n: ee.Number(n).sqrt())
    with pytest.raises(ee.EEException, match="timed out"):
        heavy.getInfo()


def test_missing_assets_are_404_and_listed_ones_have_their_shape(earth):
    assert ee.data.getInfo("T/OPT/none") is None
    with pytest.raises(ee.EEException, match="not found"):
        ee.data.getAsset("T/OPT/none")
    asset = ee.data.getAsset("T/OPT/s0")
    assert asset["type"] == "IMAGE" and asset["bands"][0]["grid"]["crsCode"] == CRS
    listed = ee.data.listAssets("projects/earthengine-public/assets/T/OPT")["assets"]
    assert [a["id"] for a in listed] == ["T/OPT/s0", "T/OPT/s1", "T/OPT/s2", "T/OPT/s3"]
    got = ee.data.getPixels({"assetId": "projects/earthengine-public/assets/T/COARSE/c", "fileFormat": "NUMPY_NDARRAY"})
    assert got.shape == (24, 32)
    table = ee.FeatureCollection("T/REGIONS")
    frame = ee.data.computeFeatures({"expression": table, "fileFormat": "PANDAS_DATAFRAME"})
    assert frame["name"].tolist() == ["r0", "r1", "r2"]


@pytest.mark.parametrize("fault", [
    Fault("status", ":compute", 429), Fault("status", ":compute", 503, "away"),
    Fault("status", ":compute", 500, "oops"), Fault("drop", ":compute"), Fault("truncate", ":compute")])
def test_troubles_that_heal(monkeypatch, fault):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    earth = EmbeddedEarth(make_catalog(), faults=Faults([Fault(**{**fault.__dict__, "count": 3})]))
    initialize(earth)
    limiter = Limiter()
    assert limiter.send(lambda: ee.Number(1).add(1).getInfo()) == 2
    assert limiter.retried == 3 and limiter.requests == 4
    earth.faults = Faults([fault])
    monkeypatch.setattr("dwplus.earth.limiter.OUTAGE_SECONDS", 0.2)
    with pytest.raises(StopError, match="answered no request"):
        limiter.send(lambda: ee.Number(1).add(1).getInfo())


def test_troubles_that_do_not_heal(earth):
    earth.faults = Faults([Fault("status", ":compute", 400, "Image.load: nonsense")])
    limiter = Limiter()
    with pytest.raises(RefusedError, match="nonsense"):
        limiter.send(lambda: ee.Number(1).add(1).getInfo())
    assert limiter.requests == 1


def test_random_faults_keep_to_their_rate():
    faults = random_faults(0.3, seed=4)
    hits = [faults.meet("/v1/projects/p/image:computePixels") for _ in range(4000)]
    assert 0.27 < sum(hit is not None for hit in hits) / 4000 < 0.33
    assert {hit.kind for hit in hits if hit} == {"status", "drop", "truncate"}
    again = random_faults(0.3, seed=4)
    assert [again.meet("/v1/projects/p/image:computePixels") for _ in range(4000)] == hits
    assert faults.meet("/v1/projects/p/algorithms") is None


def test_over_loopback_the_answers_are_the_same(earth, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    image = ee.Image("T/OPT/s0").unmask(0, False)
    want, info = pixels(image), image.getInfo()
    server = serve(earth).start()
    try:
        ee.Reset()
        ee.Initialize(AnonymousCredentials(), project="test", url=server.url)
        np.testing.assert_array_equal(pixels(image), want)
        assert image.getInfo() == info
        url = image.getDownloadURL({"format": "NPY", "dimensions": "64x48", "crs": CRS,
                                    "crs_transform": [10, 0, 500000, 0, -10, 5500000]})
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200 and len(answer.read()) > 64 * 48 * 5
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(server.url + "/etc/passwd")
        assert error.value.code == 404
    finally:
        ee.Reset()
        dwplus.earth.session._current = None
        server.close()
