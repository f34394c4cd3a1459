"""Export under fire: limits kept by several processes, faults, kills, a full disk, a stop, damage and its repair."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import distributed
import pytest

from dwplus.earth import EarthConfig
from dwplus.earth.session import embedded_earth
from dwplus.embedded_earth import Limits, serve
from dwplus.embedded_earth.faults import Fault, Faults, random_faults
from dwplus.errors import InputError, StopError
from dwplus.export.budget import Budget
from dwplus.export.run import export, summarise
from dwplus.store import layout
from dwplus.store.verify import verify
from tests.commands import PATIENCE, here
from tests.plans import plan_of_sites

ROOT = Path(__file__).parents[2]


def files(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


def same(one, two):
    a, b = files(one), files(two)
    return a.keys() == b.keys() and not [name for name in a if a[name] != b[name]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Tiles of 64 pixels in shards of two, seven in each of five biomes."""
    return plan_of_sites(tmp_path_factory.mktemp("plan"), "fire", sites=5, size=64, per_biome=7)


@pytest.fixture(scope="module")
def quiet(plan, tmp_path_factory):
    """The store of an undisturbed run."""
    store = tmp_path_factory.mktemp("quiet") / "quiet.zarr"
    assert export(plan, store, EarthConfig()).complete
    return store


@pytest.fixture
def served():
    """Serves an embedded Earth with options in this process, for others."""
    servers = []

    def start(**options):
        earth = embedded_earth(None, **options)
        earth.starts = []
        enter = earth.gate.enter

        def counted():
            enter()
            earth.starts.append(time.monotonic())

        earth.gate.enter = counted
        servers.append(serve(earth).start())
        return earth, servers[-1].url

    yield start
    for server in servers:
        server.close()


def test_three_workers_keep_to_one_allowance(plan, quiet, served, tmp_path):
    """Twelve places and 40 requests a second, for three processes together; the server refuses whatever is more."""
    earth, url = served(latency_s=0.3, limits=Limits(concurrency=12, per_second=40))
    with distributed.LocalCluster(n_workers=3, threads_per_worker=4, processes=True, dashboard_address=None) as cluster:
        earth.starts.clear()
        summary = export(plan, tmp_path / "s.zarr", EarthConfig(world=url, concurrency=12, per_second=40),
                         scheduler=cluster.scheduler_address)
    assert summary.complete and same(quiet, tmp_path / "s.zarr")
    # More than one process used the places; together they never took more. Rates are timed: see benchmarks.bench_fire.
    assert 4 < earth.gate.peak <= 12
    assert "429" not in (tmp_path / "s.zarr.run" / "run.log").read_text()


def test_faults_of_all_kinds_leave_no_trace(plan, quiet, served, tmp_path):
    earth, url = served(faults=random_faults(0.2, 7))
    summary = export(plan, tmp_path / "s.zarr", EarthConfig(world=url))
    assert earth.faults.hits >= 5 and summary.complete and same(quiet, tmp_path / "s.zarr")
    assert summary.planned == summary.exported + sum(summary.rejected.values())


def test_what_is_too_much_is_split_and_remembered(plan, quiet, served, tmp_path):
    """The service refuses the first requests for memory; later ones begin smaller."""
    earth, url = served(faults=Faults([Fault("status", ":computePixels", 400, "User memory limit exceeded.", count=1)]))
    assert export(plan, tmp_path / "s.zarr", EarthConfig(world=url, concurrency=1)).complete
    assert same(quiet, tmp_path / "s.zarr")
    # Tiles that were on their way when the first was refused go whole.
    assert earth.faults.hits == 1 and earth.requests >= 3 * summarise(quiet).planned


@pytest.mark.parametrize(("code", "words", "sentence"), [
    (401, "Request had invalid authentication credentials.", "earthengine authenticate"),
    (429, "Quota exceeded: the project has used up its monthly EECU-hours.", "wait until it is renewed")])
def test_no_access_stops_and_the_run_goes_on_later(plan, quiet, served, tmp_path, code, words, sentence):
    """Tiles that were fetched before stay; the rest is fetched by the same command."""
    store = tmp_path / "s.zarr"
    earth, url = served(faults=Faults([Fault("status", ":computePixels", code, words, skip=10)]))
    with pytest.raises(StopError, match=sentence) as found:
        export(plan, store, EarthConfig(world=url))
    assert found.value.exit_code == 1
    assert words in str(found.value) or code == 401  # the client tries to refresh, and says why it cannot
    left = summarise(store)
    assert left.exported + sum(left.rejected.values()) == 10 and not left.failed and left.pending
    earth.faults = Faults()
    assert export(plan, store, EarthConfig(world=url)).complete and same(quiet, store)
    attempts = [json.loads(line) for line in (tmp_path / "s.zarr.run" / "attempts.jsonl").read_text().splitlines()]
    done = Counter(row["tile"] for row in attempts if row["status"] != "stopped")
    assert set(done.values()) == {1} and len(done) == left.planned


def test_a_refusal_rejects_the_tile_with_the_words_and_counts_as_a_failure(plan, served, tmp_path):
    fault = Fault("status", ":computePixels", 403, "Permission 'assets.get' denied on resource.", count=1)
    _, url = served(faults=Faults([fault]))
    summary = export(plan, tmp_path / "s.zarr", EarthConfig(world=url))
    assert summary.rejected["refused"] == 1 and fault.message in summary.examples["refused"] and not summary.complete


def test_a_budget_ends_the_run_cleanly(plan, quiet, tmp_path):
    store = tmp_path / "s.zarr"
    done = here("dwplus", "export", plan, store, "--no-quicklooks", "--budget-eecu-hours", "0")
    assert done.returncode == 1 and "0 EECU-hours" in done.stdout
    assert f"go on with: dwplus export {plan} {store}" in done.stdout
    assert summarise(store).pending
    assert export(plan, store, EarthConfig(), budget=Budget(hours=1, eecu_hours=1)).stopped == ""
    assert same(quiet, store)


def test_a_second_run_is_refused(plan, served, tmp_path):
    _, url = served(latency_s=0.5)
    store = tmp_path / "s.zarr"
    arguments = [sys.executable, "-m", "dwplus", "export", str(plan), str(store), "--no-quicklooks", "--world", url]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL) as first:
        wait_for(lambda: store.exists())
        with pytest.raises(InputError, match=rf"another run is writing it \(process {first.pid} on "):
            export(plan, store, EarthConfig(world=url))
        first.kill()
    assert export(plan, store, EarthConfig(world=url)).complete  # the dead hold no lock


def wait_for(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def children(pid):
    """Worker processes below a driver."""
    import psutil

    return [c for c in psutil.Process(pid).children(recursive=True) if "spawn_main" in " ".join(c.cmdline())]


def test_killed_workers_and_drivers_change_nothing(plan, quiet, served, tmp_path):
    """A worker dies mid-shard and is replaced; then the driver dies with its workers; the next run completes."""
    _, url = served(latency_s=0.1)
    store = tmp_path / "s.zarr"
    arguments = [sys.executable, "-m", "dwplus", "export", str(plan), str(store), "--no-quicklooks", "--world", url,
                 "--scheduler", "processes"]

    def shards():
        return len(list(store.glob("biome_*/status/c/*")))

    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        wait_for(lambda: shards() >= 1)
        children(driver.pid)[0].kill()
        wait_for(lambda: shards() >= 4)
        workers = children(driver.pid)
        os.kill(driver.pid, signal.SIGKILL)
    wait_for(lambda: not any(w.is_running() and w.status() != "zombie" for w in workers))
    assert summarise(store).pending
    done = subprocess.run(arguments, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(quiet, store) and not verify(store).faults


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from dwplus.cli import main
main()
"""


def test_a_full_disk_stops_and_space_heals(plan, quiet, tmp_path):
    """No file may grow beyond 40 kB: the shards of one array do not fit, and the system says so as for a full disk."""
    store = tmp_path / "s.zarr"
    assert export(plan, store, EarthConfig(), budget=Budget(eecu_hours=0)).pending
    done = subprocess.run([sys.executable, "-c", LIMITED, "40000", "export", str(plan), str(store), "--no-quicklooks"],
                          cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 1 and "free some space and run the same command again" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not list(store.rglob("*.partial"))
    assert not any(fault.shard is None for fault in verify(store).faults)
    assert export(plan, store, EarthConfig()).complete and same(quiet, store)


def test_damage_is_named_and_repaired(quiet, tmp_path):
    store = tmp_path / "s.zarr"
    shutil.copytree(quiet, store)
    assert not verify(store).faults
    groups = layout.biome_groups(layout.open_root(store))
    flip(store / groups[0] / "s2/c/1/0/0/0", 5000)
    flip(store / groups[1] / "label/c/2/0/0", -3)
    flip(store / groups[2] / "status/c/0", 5)
    (store / groups[3] / "s1/c/0/0/0/0").unlink()
    flip(store / groups[4] / "reason/c/0" if (store / groups[4] / "reason/c/0").exists()
         else store / groups[4] / "class_counts/c/1/0", 9)
    stray = store / groups[0] / "s2/c/1/0/0/0.0123.partial"
    stray.write_bytes(b"x")
    report = verify(store)
    assert {shard[0] for shard in report.shards} == set(groups) and len(report.shards) == 5
    assert [fault.place for fault in report.faults if fault.shard is None] == [str(stray.relative_to(store))]
    done = here("dwplus", "verify", store)
    assert done.returncode == 1 and f"{groups[0]}/s2/c/1/0/0/0 tile" in done.stdout
    before = {f: f.stat().st_mtime_ns for f in store.rglob("*") if f.is_file()}
    done = here("dwplus", "repair", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(quiet, store)
    touched = {f.relative_to(store).parts[0] for f, t in before.items() if f.exists() and f.stat().st_mtime_ns != t}
    assert touched - {"zarr.json", "tiles.parquet"} == set(groups)
    untouched = [f for f, t in before.items() if f.exists() and f.stat().st_mtime_ns == t]
    assert len(untouched) > len(before) / 2


def test_columns_and_metadata_are_checked(quiet, tmp_path):
    store = tmp_path / "s.zarr"
    shutil.copytree(quiet, store)
    groups = layout.biome_groups(layout.open_root(store))
    flip(store / groups[0] / "s1_time/c/0", 20)
    path = store / groups[1] / "s1/zarr.json"
    path.write_text(path.read_text().replace("0.01", "0.02"))
    root = layout.open_root(store, "r+")
    root[groups[2]]["gap_hours"][0] += 1
    root[groups[3]]["x0"][0] += 10
    root[groups[3]]["class_counts"][1] += 1
    found = "\n".join(map(str, verify(store).faults))
    for words in (f"{groups[0]}/s1_time: cannot be read", f"{groups[1]}/s1/zarr.json: differs", "gap_hours is",
                  "another grid than its corner", "centre does not follow", "class_counts are not"):
        assert words in found, found


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
