"""The recipes on the embedded Earth always; on real Earth Engine with ``-m earthengine`` and EE_PROJECT set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dwplus.earth import connect
from tests.online.conformance import report

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


@pytest.fixture(scope="module")
def embedded():
    return report(connect())


def check(made):
    """What must hold on any Earth."""
    pixels = made["pixels"]
    assert pixels["s2"]["dtype"] == "uint16" and pixels["s1"]["dtype"] == "int16"
    assert pixels["label"]["dtype"] == "uint8" and pixels["s2"]["shape"] == [10, 128, 128]
    assert -3500 < pixels["s1"]["p05_p50_p95"][1] < 500 and 0 < pixels["s2"]["p05_p50_p95"][1] < 10_000
    assert abs(made["plan"]["gap_hours"]) <= 144
    semantics = made["semantics"]
    assert semantics["composite projection"] == {"type": "Projection", "crs": "EPSG:4326",
                                                 "transform": [1, 0, 0, 0, 1, 0]}
    assert semantics["month end"] == "2021-02-28"
    assert made["sentinel-1 image"]["properties"]["transmitterReceiverPolarisation"] == "list"
    assert {b["id"]: b["data_type"]["precision"] for b in made["sentinel-1 image"]["bands"]}["VV"] == "double"


def test_the_embedded_earth(embedded):
    check(embedded)


@pytest.mark.earthengine
def test_the_service():
    project = os.environ.get("EE_PROJECT")
    if not project:
        pytest.skip("EE_PROJECT names no Google Cloud project")
    check(report(connect(project)))


@pytest.mark.parametrize("file", RECORDED, ids=lambda f: f.stem)
def test_the_embedded_earth_answers_as_recorded(embedded, file):
    """Semantics word for word; of the scenes only the shape, for the planet is another world."""
    recorded = json.loads(file.read_text())
    assert embedded["semantics"] == recorded["semantics"]
    assert embedded["sentinel-1 image"]["bands"] == recorded["sentinel-1 image"]["bands"]
    assert set(embedded["pixels"]) == set(recorded["pixels"])
