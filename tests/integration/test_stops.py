"""Hard stops: signals, a lost cluster, a store that goes away, secrets of a whole run; each in one sentence."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dwplus.earth import EarthConfig
from dwplus.earth.session import embedded_earth
from dwplus.embedded_earth import serve
from dwplus.errors import StopError
from dwplus.export.run import export, summarise
from dwplus.export.stops import size_words
from tests.commands import PATIENCE, stretched
from tests.plans import plan_of_sites

# Seconds on an idle machine; processes take a minute to begin where ten others work.
pytestmark = pytest.mark.timeout(3600)
ROOT = Path(__file__).parents[2]


def files(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Tiles of 64 pixels in shards of two, eight in each of two biomes."""
    return plan_of_sites(tmp_path_factory.mktemp("plan"), "stops", sites=2, size=64, per_biome=8)


@pytest.fixture(scope="module")
def quiet(plan, tmp_path_factory):
    store = tmp_path_factory.mktemp("quiet") / "quiet.zarr"
    assert export(plan, store, EarthConfig()).complete
    return store


@pytest.fixture(scope="module")
def slow():
    """An Earth that takes half a second for a request."""
    server = serve(embedded_earth(None, latency_s=0.5)).start()
    yield server.url
    server.close()


def wait_for(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def shards(store):
    return len(list(Path(store).glob("biome_*/status/c/*")))


def begin(plan, store, url, scheduler="threads"):
    return subprocess.Popen([sys.executable, "-m", "dwplus", "export", str(plan), str(store), "--no-quicklooks",
                             "--world", url, "--scheduler", scheduler], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=_heed)


def _heed():
    """A shell that starts tests in the background has their programs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"),
                                                      (signal.SIGINT, 130, "interrupted")])
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_signal_ends_in_a_sentence_and_loses_nothing(plan, quiet, slow, tmp_path, number, code, word, scheduler):
    store = tmp_path / "s.zarr"
    with begin(plan, store, slow, scheduler) as run:
        wait_for(lambda: shards(store) >= 1)
        run.send_signal(number)
        _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == code
    assert errors.strip() == f"{word}: what is exported stays; the same command goes on from here"
    assert not list(store.rglob("*.partial"))
    assert export(plan, store, EarthConfig()).complete and files(store) == files(quiet)


class Cluster:
    """A Dask scheduler and workers, each a process of its own."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2],
                                    "--no-dashboard", "--no-show")

    def start(self, what, *words):
        process = subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{what}", *words], cwd=ROOT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def worker(self):
        return self.start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                          "--local-directory", str(self.folder))

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    found = Cluster(tmp_path / "dask")
    yield found
    found.close()


def test_a_lost_scheduler_is_named_with_the_command_to_go_on(plan, quiet, slow, tmp_path, cluster):
    store = tmp_path / "s.zarr"
    worker = cluster.worker()
    with begin(plan, store, slow, cluster.address) as run:
        wait_for(lambda: shards(store) >= 1)
        cluster.scheduler.kill()
        said, errors = run.communicate(timeout=PATIENCE)
    worker.wait(timeout=PATIENCE)  # it gives up its shard, for which the next run would wait
    assert run.returncode == 1 and len(errors.strip().splitlines()) == 1, errors
    assert f"the Dask scheduler {cluster.address} is lost" in errors
    assert f"dwplus export {plan} {store} --world {slow} --scheduler {cluster.address}" in errors
    assert "pending" in said and "Traceback" not in said
    assert "is lost" in (tmp_path / "s.zarr.run" / "run.log").read_text()
    assert export(plan, store, EarthConfig()).complete and files(store) == files(quiet)


def test_both_workers_killed_and_one_added_goes_on_within_a_minute(plan, quiet, slow, tmp_path, cluster):
    store = tmp_path / "s.zarr"
    two = [cluster.worker(), cluster.worker()]
    with begin(plan, store, slow, cluster.address) as run:
        wait_for(lambda: shards(store) >= 1)
        for worker in two:
            worker.kill()
        for worker in two:
            worker.wait()
        time.sleep(1)
        before, began = shards(store), time.monotonic()
        cluster.worker()
        wait_for(lambda: shards(store) > before)
        assert time.monotonic() - began < stretched(60)
        _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0 and not errors.strip(), errors
    assert files(store) == files(quiet)


def test_a_store_that_is_moved_while_it_is_written(plan, slow, tmp_path):
    store = tmp_path / "s.zarr"
    with begin(plan, store, slow) as run:
        wait_for(lambda: shards(store) >= 1)
        store.rename(tmp_path / "moved.zarr")
        _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1 and len(errors.strip().splitlines()) == 1, errors
    assert "moved or removed while this run wrote it" in errors
    assert summarise(tmp_path / "moved.zarr").pending


@pytest.mark.parametrize(("number", "words"), [
    (errno.EPERM, "cannot be written any more"), (errno.EROFS, "cannot be written any more"),
    (errno.ENOSPC, "the disk is full"), (errno.EIO, "when the disk is well")])
def test_a_disk_that_refuses_is_a_sentence(plan, quiet, tmp_path, monkeypatch, number, words):
    store, real = tmp_path / "s.zarr", os.replace

    def refuse(source, target, **options):
        if "biome_" in str(target) and ".partial" in str(source):
            raise OSError(number, os.strerror(number), str(target))
        return real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(StopError, match=words):
            export(plan, store, EarthConfig())
    assert export(plan, store, EarthConfig()).complete and files(store) == files(quiet)


def test_sizes_are_said_in_their_unit():
    assert size_words(3_500_000) == "3.5 MB" and size_words(2e9) == "2.0 GB" and size_words(12) == "12 bytes"


def test_a_whole_run_holds_no_password(plan, tmp_path):
    server = serve(embedded_earth(None)).start()
    try:
        host = server.url.removeprefix("http://")
        world = f"http://ann:hunter2@{host}"
        spec = tmp_path / "spec.yaml"
        spec.write_text("name: secret\nregion: {bbox: [9.183, 51.190, 9.203, 51.200]}\n"
                        "windows: [[2021-06-01, 2021-07-01]]\ntile: {size: 64}\nsampling: {per_biome: 2}\n")
        for words in (["plan", str(spec), "-o", str(tmp_path / "p.parquet")],
                      ["export", str(tmp_path / "p.parquet"), str(tmp_path / "s.zarr")],
                      ["repair", str(tmp_path / "s.zarr")], ["doctor"]):
            done = subprocess.run([sys.executable, "-m", "dwplus", *words, "--world", world], cwd=tmp_path, text=True,
                                  env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=PATIENCE)
            assert words[0] == "doctor" or done.returncode == 0, done.stderr
            (tmp_path / f"{words[0]}.out").write_text(done.stdout + done.stderr)
        subprocess.run([sys.executable, "-m", "dwplus", "card", str(tmp_path / "s.zarr")], cwd=ROOT, check=True,
                       capture_output=True)
    finally:
        server.close()
    # And where nothing answers, in the error.
    done = subprocess.run([sys.executable, "-m", "dwplus", "plan", str(spec), "-o", "x.parquet", "--world",
                           "http://ann:hunter2@127.0.0.1:9"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 2 and "no embedded Earth answers at http://***@127.0.0.1:9" in done.stderr
    (tmp_path / "error.out").write_text(done.stdout + done.stderr)
    found = files(tmp_path)
    assert len(found) > 30 and "s.zarr.run/run.log" in found and b"***@" in found["s.zarr.run/run.log"]
    assert not [name for name, content in found.items() if b"hunter2" in content]
