"""The main job on the sample planet, with real kills and real faults."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dwplus.earth import EarthConfig, connect
from dwplus.export.run import export, summarise
from dwplus.planning.plan import make_plan, read_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store.reader import tile_table
from dwplus.taxonomy import BIOMES
from tests.commands import PATIENCE, here

ROOT = Path(__file__).parents[2]


def files(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


def command(*args):
    return here(*args)


@pytest.fixture(scope="module")
def spec():
    return make_spec({"name": "few", "region": "sample", "windows": [["2021-06-01", "2021-08-01"]],
                      "tile": {"size": 255}, "sampling": {"per_biome": 2}, "store": {"shard_tiles": 2}})


@pytest.fixture(scope="module")
def plan(spec, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.parquet"
    write_plan(make_plan(connect(), spec), path)
    return path


@pytest.fixture(scope="module")
def two_sites(spec):
    return of_two_sites(spec, 2)


@pytest.fixture(scope="module")
def quiet(plan, tmp_path_factory):
    """The store of an undisturbed run."""
    store = tmp_path_factory.mktemp("quiet") / "quiet.zarr"
    summary = export(plan, store, EarthConfig())
    return store, summary


def test_plan_covers_all_biomes_and_adds_up(plan):
    rows = read_plan(plan)
    planned = rows[rows["state"] == "planned"]
    assert planned.groupby("biome").size().to_dict() == dict.fromkeys(BIOMES, 2)
    assert len(rows) == len(planned) + (rows["state"] == "rejected").sum()
    assert (rows.loc[rows["state"] == "rejected", "reason"] != "").all()
    assert (planned["gap_hours"].abs() <= 144).all()
    hours = (planned["s1_time"] - planned["s2_time"]).dt.total_seconds() / 3600
    np.testing.assert_allclose(hours, planned["gap_hours"], atol=1e-6)
    assert (planned["label_id"].str.slice(0, 15) == planned["s2_id"].str.slice(0, 15)).all()


def of_two_sites(spec, per_biome):
    """A plan of two sites, which tell as much as fourteen."""
    sites = [{"bbox": [-105.6, 24.2, -105.0, 24.6]}, {"bbox": [-5.5, 37.3, -4.8, 37.7]}]
    return make_plan(connect(), make_spec({
        **spec.model_dump(mode="json"), "region": sites, "sampling": {"per_biome": per_biome}}))


def test_the_same_spec_gives_the_same_plan(spec, two_sites, tmp_path):
    write_plan(two_sites, tmp_path / "plan.parquet")
    again = of_two_sites(spec, 2)
    assert len(again) >= 4
    assert read_plan(tmp_path / "plan.parquet").drop(columns="geometry").equals(again.drop(columns="geometry"))


def test_more_tiles_keep_those_already_chosen(spec, two_sites):
    first, more = two_sites, of_two_sites(spec, 3)
    kept = set(more.loc[more["state"] == "planned", "tile_id"])
    assert len(kept) == 6 and set(first.loc[first["state"] == "planned", "tile_id"]) < kept


def test_an_export_adds_up(quiet):
    store, summary = quiet
    assert summary.planned == 28 and summary.pending == 0 and not summary.failed
    assert summary.planned == summary.exported + sum(summary.rejected.values())
    assert set(summary.by_biome) == set(BIOMES)
    assert summary.exported >= 24


def test_xarray_reads_it_with_decoded_units(quiet):
    store, _ = quiet
    tree = xr.open_datatree(store, engine="zarr")
    assert sorted(tree.children) == [f"biome_{b:02d}" for b in BIOMES]
    for node in tree.children.values():
        done = node.to_dataset().isel(tile=np.flatnonzero(node["status"].values == 1))
        s1 = done["s1"].values
        assert -40 < np.nanmean(s1) < 5 and np.isfinite(s1).mean() > 0.9
        assert np.nanmax(done["s2"].values) < 30000
        assert set(np.unique(done["label"].values)) <= {*range(9), 255}
        assert node["s1_time"].dtype.kind == "M"


def holder(store):
    """Process of the run that writes a store."""
    try:
        return json.loads(Path(f"{store}.run/lock").read_text())["pid"]
    except (OSError, ValueError):  # not yet, or not whole
        return None


def test_killed_and_run_again_it_is_complete_and_the_same(quiet, plan, tmp_path, quick_python):
    """kill -9 as soon as the first shards lie on disk; twice; the next run completes the store to the same bytes."""
    store = tmp_path / "killed.zarr"
    args = [quick_python, "-m", "dwplus", "export", str(plan), str(store), "--no-quicklooks"]
    last = None
    for shards in (1, 5):
        process = subprocess.Popen(args, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while len(list(store.glob("biome_*/label/c/*/0/0"))) < shards or holder(store) in (None, last):
            assert time.monotonic() < deadline and process.poll() is None, "the export ended before it could be killed"
            time.sleep(0.02)
        last = holder(store)
        os.kill(last, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    left = summarise(store)
    assert left.pending > 0
    done = command("dwplus", "export", str(plan), str(store), "--no-quicklooks")
    assert done.returncode == 0, done.stderr
    assert summarise(store).pending == 0
    one, two = files(quiet[0]), files(store)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert not list(tmp_path.glob(".killed.zarr*"))


def test_worker_processes_and_a_served_earth_give_the_same_bytes(quiet, plan, tmp_path, quick_python):
    """Another process serves the Earth; two worker processes ask it over HTTP."""
    server = subprocess.Popen([quick_python, "-m", "dwplus", "earth", "serve"], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        done = command("dwplus", "export", str(plan), str(tmp_path / "p.zarr"), "--world", url, "--scheduler",
                       "processes", "--no-quicklooks")
        assert done.returncode == 0, done.stderr
    finally:
        server.terminate()
        server.wait()
    one, two = files(quiet[0]), files(tmp_path / "p.zarr")
    assert [name for name in one if one[name] != two.get(name)] == [] and one.keys() == two.keys()


def test_the_command_prints_what_it_did(tmp_path):
    """The pipeline as make calls it: a bbox inside a site, dates of its own."""
    from dwplus.earth.tables import sample_sites

    site = sample_sites(connect())[0].polygon.centroid
    box = f"{site.x - 0.06:.4f},{site.y - 0.06:.4f},{site.x + 0.06:.4f},{site.y + 0.06:.4f}"
    store = tmp_path / "box.zarr"
    done = command("pipelines.export_region", "--region", box, "--start", "2020-06-01", "--end", "2020-10-01",
                   "--store", str(store))
    assert done.returncode == 0, done.stderr
    assert "embedded Earth" in done.stdout.splitlines()[0]
    line = re.search(r"(\d+) planned = (.+)", done.stdout.splitlines()[-4])
    assert line, done.stdout
    assert int(line[1]) == sum(int(n) for n in re.findall(r"(\d+) ", line[2] + " "))
    assert len(list((tmp_path / "box.zarr.quicklook").glob("*.png"))) == tile_table(store)["biome"].nunique()
    again = command("pipelines.export_region", "--region", box, "--start", "2020-06-01", "--end", "2020-10-01",
                    "--store", str(store))
    assert again.returncode == 0 and "going on with it" in again.stdout
    changed = command("pipelines.export_region", "--region", box, "--start", "2020-06-01", "--end", "2020-11-01",
                      "--store", str(store))
    assert changed.returncode == 2 and "windows" in changed.stderr
