"""A user's mistake is one sentence, the contract's exit code, and nothing left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import here

ROOT = Path(__file__).parents[2]
SPEC = "name: x\nregion: {region}\nwindows: [[{start}, {end}]]\n"


def dwplus(*args, module="dwplus"):
    return here(module, *args)


def refused(done, *words, code=2):
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def spec_file(folder, region="sample", start="2021-06-01", end="2021-07-01", more=""):
    path = folder / "spec.yaml"
    path.write_text(SPEC.format(region=region, start=start, end=end) + more)
    return path


@pytest.mark.parametrize(("fields", "words"), [
    ({"more": "sentinel1: {max_gap: 3}\n"}, ["spec.yaml", "sentinel1.max_gap", "max_gap_hours"]),
    ({"start": "2021-08-01"}, ["windows[0]", "2021-07-01 must come after start 2021-08-01"]),
    ({"region": "{bbox: [-30.5, 0.2, -30.1, 0.6]}"}, ["no tile can be planned", "at sea"]),
    ({"region": "{file: words.geojson}"}, ["words.geojson", "is no GeoJSON"]),
    ({"region": "{file: point.geojson}"}, ["point.geojson", "holds no polygon"]),
    ({"region": "{file: metres.geojson}"}, ["metres.geojson", "no degrees"]),
    ({"region": "{file: crs.geojson}"}, ["no tile can be planned", "at sea"]),  # metres are metres
    ({"region": "{file: none.geojson}"}, ["none.geojson", "no such file"]),
    ({"region": "{bbox: [10, 85, 11, 86]}"}, ["80 S to 84 N"]),
    ({"region": "{bbox: [10, 5, 10.001, 5.001]}"}, ["too small"]),
    ({"start": "2012-01-01", "end": "2012-06-01"}, ["no tile can be planned", "no Dynamic World image"]),
])
def test_specs_and_regions(tmp_path, fields, words):
    square = {"type": "Polygon", "coordinates": [[[1e6, 0], [1.1e6, 0], [1.1e6, 1e5], [1e6, 0]]]}
    (tmp_path / "words.geojson").write_text("just words")
    (tmp_path / "point.geojson").write_text(json.dumps({"type": "Point", "coordinates": [1, 2]}))
    (tmp_path / "metres.geojson").write_text(json.dumps(square))
    (tmp_path / "crs.geojson").write_text(json.dumps(
        {**square, "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}}))
    before = sorted(tmp_path.iterdir())
    path = spec_file(tmp_path, **fields)
    refused(dwplus("plan", path, "-o", tmp_path / "plan.parquet"), *words)
    assert sorted(tmp_path.iterdir()) == sorted([*before, path])


def test_usage_is_one_sentence_too(tmp_path):
    refused(dwplus("plan", "x.yaml"), "--output")
    refused(dwplus("export", tmp_path / "none.parquet", tmp_path / "s.zarr"), "no such file")
    refused(dwplus("describe", tmp_path / "none.zarr"), "no such store")
    refused(dwplus("frobnicate"), "frobnicate")
    (tmp_path / "text.parquet").write_text("text")
    refused(dwplus("export", tmp_path / "text.parquet", tmp_path / "s.zarr"), "is no GeoParquet plan")
    assert [p.name for p in tmp_path.iterdir()] == ["text.parquet"]


def test_worlds_that_are_none(tmp_path):
    spec = spec_file(tmp_path)
    refused(dwplus("plan", spec, "-o", tmp_path / "p", "--world", tmp_path / "none"), "none")
    refused(dwplus("plan", spec, "-o", tmp_path / "p", "--world", "http://127.0.0.1:9"), "http://127.0.0.1:9")
    refused(dwplus("plan", spec, "-o", tmp_path / "p", "--world", tmp_path, "--project", "p"), "give one")
    assert list(tmp_path.iterdir()) == [spec]


def test_a_project_without_credentials(tmp_path):
    import os

    env = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "EARTHENGINE_"))}
    env |= {"HOME": str(tmp_path), "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "pipelines.export_region", "--region", "sample", "--project",
                           "somebody", "--store", str(tmp_path / "s.zarr")], cwd=ROOT, env=env, text=True,
                          capture_output=True)
    refused(done, "credentials", "somebody", "earthengine authenticate")
    assert not list(tmp_path.glob("*s.zarr*"))


@pytest.fixture
def world(realworld, tmp_path):
    """A copy of the real asset tree, to take things away from; the big table is linked."""
    for folder in ("COPERNICUS", "GOOGLE"):
        shutil.copytree(realworld / folder, tmp_path / "world" / folder)
    (tmp_path / "world" / "RESOLVE").symlink_to(realworld / "RESOLVE", target_is_directory=True)
    return tmp_path / "world"


def real_region(tmp_path, world):
    done = dwplus("--region", "realworld", "--world", world, "--store", tmp_path / "s.zarr",
                  module="pipelines.export_region")
    return done


def remove(world, collection, keep_sidecar=False, match="*"):
    for path in (world / collection).glob(match):
        if not (keep_sidecar and path.suffix == ".json"):
            path.unlink()


def test_a_label_without_its_s2_scene(world, tmp_path):
    remove(world, "COPERNICUS/S2_SR_HARMONIZED")
    (world / "COPERNICUS/S2_SR_HARMONIZED/keep.txt").write_text("")
    refused(real_region(tmp_path, world), "no tile can be planned", "3 the label's Sentinel-2 scene", "no_s2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["world"]


def test_no_radar_in_reach(world, tmp_path):
    for path in (world / "COPERNICUS/S1_GRD").glob("*.json"):
        data = json.loads(path.read_text())
        for key in ("system:time_start", "system:time_end"):
            data["properties"][key] += 40 * 86_400_000
        path.chmod(0o644)
        path.write_text(json.dumps(data))
    refused(real_region(tmp_path, world), "no tile can be planned", "no_s1", "max_gap_hours")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["world"]


def test_one_scene_without_raster_fails_that_tile_only(world, tmp_path):
    """A sidecar alone lists and plans; its pixels are a failure with the server's words, and exit code 1."""
    remove(world, "COPERNICUS/S1_GRD", keep_sidecar=True, match="S1A_IW_GRDH_1SDV_2017*")
    done = real_region(tmp_path, world)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 planned = 2 exported" in done.stdout and "S1A_IW_GRDH_1SDV_20171030T053230" in done.stdout


def test_sample_on_an_earth_without_sites(realworld, tmp_path):
    refused(dwplus("plan", spec_file(tmp_path), "-o", tmp_path / "p", "--world", realworld), "region: sample")


def test_a_store_made_under_another_spec(realworld, tmp_path):
    store = tmp_path / "s.zarr"
    spec = (ROOT / "pipelines/regions/realworld.yaml").read_text()
    for name, text in (("a", spec), ("b", spec.replace("max_gap_hours: 144", "max_gap_hours: 100"))):
        (tmp_path / f"{name}.yaml").write_text(text)
        done = dwplus("plan", tmp_path / f"{name}.yaml", "-o", tmp_path / f"{name}.parquet", "--world", realworld)
        assert done.returncode == 0, done.stderr
    assert dwplus("export", tmp_path / "a.parquet", store, "--world", realworld).returncode == 0
    before = {f: f.stat().st_mtime_ns for f in store.rglob("*")}
    refused(dwplus("export", tmp_path / "b.parquet", store, "--world", realworld),
            "another spec", "sentinel1.max_gap_hours: 144.0 -> 100.0")
    assert before == {f: f.stat().st_mtime_ns for f in store.rglob("*")}
