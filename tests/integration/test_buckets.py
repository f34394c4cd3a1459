"""Stores in buckets: the same bytes as in a folder, against an S3 server on loopback."""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

import dwplus
from dwplus.earth import EarthConfig
from dwplus.earth.session import embedded_earth
from dwplus.embedded_earth import serve
from dwplus.errors import InputError, StopError
from dwplus.export.budget import Budget
from dwplus.export.run import export, repair, summarise
from dwplus.report.text import describe
from dwplus.store import leases, stats
from dwplus.store.locks import only_run, only_writer
from dwplus.store.places import Bucket, Folder, place_of, upload
from dwplus.store.verify import verify
from tests.commands import PATIENCE, here
from tests.plans import plan_of_sites

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def s3():
    """An S3 server in another process, its bucket, and the environment that points to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("AWS_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "word"),
                            ("AWS_REGION", "us-east-1")):
            patch.setenv(name, value)
        for _ in range(10 * PATIENCE):
            try:
                # A bucket is made by a PUT of its name.
                request = urllib.request.Request(f"{url}/bucket", method="PUT")
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
                break
            except OSError:
                time.sleep(0.1)
        yield "s3://bucket"
        process.terminate()
        process.wait()


class Generations(BaseHTTPRequestHandler):
    """As much of Google Cloud Storage's XML interface as stores use: objects have generations, puts ask for one.
    Source: https://cloud.google.com/storage/docs/xml-api/reference-headers"""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, tuple[int, bytes]]] = {}
    lock = threading.Lock()

    def answer(self, status, body=b"", generation=0):
        self.send_response(status)
        for name, value in (("Content-Length", len(body)), ("ETag", f'"{generation}"'),
                            ("x-goog-generation", generation), ("Last-Modified", formatdate(usegmt=True))):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def key(self):
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).removeprefix("/bucket").strip("/")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = self.headers.get("x-goog-if-generation-match")
        with self.lock:
            generation = self.objects.get(self.key, (0,))[0]
            if wanted is not None and int(wanted) != generation:
                self.answer(412)
            else:
                self.objects[self.key] = generation + 1, body
                self.answer(200, generation=generation + 1)

    def do_GET(self):
        if self.key:
            generation, body = self.objects.get(self.key, (0, b""))
            return self.answer(200 if generation else 404, body, generation)
        prefix = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["prefix"][0]
        found = "".join(f"<Contents><Key>{key}</Key><Size>{len(body)}</Size><ETag>{generation}</ETag>"
                        "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
                        for key, (generation, body) in sorted(self.objects.items()) if key.startswith(prefix))
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())

    do_HEAD = do_GET

    def do_DELETE(self):
        self.objects.pop(self.key, None)
        self.answer(204)

    def log_message(self, *_):
        pass


@pytest.fixture
def gs(monkeypatch):
    """A bucket with generations in place of entity tags."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Generations)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    yield "gs://bucket"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Tiles of 32 pixels in shards of two, four in each of two biomes: what costs are objects, not pixels."""
    return plan_of_sites(tmp_path_factory.mktemp("plan"), "bucket", sites=2, size=32, per_biome=4)


@pytest.fixture(scope="module")
def local(plan, tmp_path_factory):
    store = tmp_path_factory.mktemp("local") / "local.zarr"
    assert export(plan, store, EarthConfig()).complete
    return store


@pytest.fixture(scope="module")
def lean(tmp_path_factory):
    """As many tiles and shards in one biome, whose objects are half as many, for runs that are stopped and go on."""
    return plan_of_sites(tmp_path_factory.mktemp("lean"), "bucket", sites=1, size=32, per_biome=8)


@pytest.fixture(scope="module")
def lean_local(lean, tmp_path_factory):
    store = tmp_path_factory.mktemp("local") / "lean.zarr"
    assert export(lean, store, EarthConfig()).complete
    return store


@pytest.fixture(scope="module")
def remote(s3, plan):
    assert export(plan, f"{s3}/some/where.zarr", EarthConfig()).complete
    return f"{s3}/some/where.zarr"


@pytest.fixture
def slow():
    """An Earth that answers one request at a time, late: a budget ends a run before its shards do."""
    server = serve(embedded_earth(None, latency_s=0.5)).start()
    yield EarthConfig(world=server.url, concurrency=1)
    server.close()


def content(store):
    place = place_of(store)
    return {key: place.read(key) for key in place.files()}


def cli(*arguments, **environment):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return here("dwplus", *arguments)


def test_every_object_is_the_file_of_the_local_store(local, remote):
    want, found = content(local), content(remote)
    assert len(want) > 50 and want.keys() == found.keys()
    assert [key for key in want if want[key] != found[key]] == []


def test_it_reads_as_a_local_one_does(local, remote):
    one, two = dwplus.open_store(local), dwplus.open_store(remote)
    assert one.identical(two)
    assert describe(remote).replace(remote, "") == describe(local).replace(str(local), "")
    assert stats.measure(remote, "all") == stats.measure(local, "all")
    assert stats.stored(remote) is None
    assert not verify(remote).faults and verify(remote).bytes == verify(local).bytes


def test_stop_and_go_on(s3, lean, lean_local, slow):
    """What one run leaves, another finishes, by worker processes; each tile is fetched once."""
    store = f"{s3}/stopped.zarr"
    assert export(lean, store, slow, budget=Budget(eecu_hours=0)).pending
    assert export(lean, store, EarthConfig(), scheduler="processes").complete
    assert content(store) == content(lean_local)
    lines = b"".join(body for key, body in sorted(content(f"{store}.run").items()) if key.startswith("attempts.jsonl/"))
    assert lines.count(b"\n") == summarise(store).planned
    assert "lock" not in content(f"{store}.run")


def test_a_second_run_is_refused_and_the_killed_holds_nothing(s3, lean, lean_local):
    """The driver is killed with its lock in the bucket; the next run of this machine knows that it is gone."""
    store = f"{s3}/killed.zarr"
    server = serve(embedded_earth(None, latency_s=0.3)).start()
    arguments = [sys.executable, "-m", "dwplus", "export", str(lean), store, "--no-quicklooks", "--world", server.url]
    try:
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL) as first:
            deadline = time.monotonic() + PATIENCE
            while not place_of(store).exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            with pytest.raises(InputError, match=rf"another run is writing it \(process {first.pid} on "):
                export(lean, store, EarthConfig(world=server.url))
            assert first.poll() is None
            first.send_signal(signal.SIGKILL)
        assert "lock" in content(f"{store}.run")
        assert export(lean, store, EarthConfig(world=server.url)).complete
    finally:
        server.close()
    assert content(store) == content(lean_local)


def test_a_half_made_store_is_made_again_and_strangers_stay(s3, lean, lean_local):
    """Killed while the metadata went up: a mark says so. Without it the objects are somebody else's."""
    half = place_of(f"{s3}/half.zarr")
    half.write("biome_99/s2/zarr.json", [b"{}"])
    with pytest.raises(InputError, match="is no store, but holds other objects"):
        export(lean, half.name, EarthConfig())
    assert half.files() == {"biome_99/s2/zarr.json": 2}
    place_of(f"{half.name}.run").write("creating", [b""])
    assert export(lean, half.name, EarthConfig()).complete
    assert content(half.name) == content(lean_local)


def test_damage_is_found_and_repaired(s3, lean_local):
    store = f"{s3}/damaged.zarr"
    place = place_of(store)
    upload(lean_local, place)
    key = next(key for key in sorted(place.files()) if "/s1/c/" in key)
    good = place.read(key)
    place.write(key, [good[:200], bytes([good[200] ^ 1]), good[201:]])
    done = cli("verify", store)
    assert done.returncode == 1 and f"{key} tile 0: checksum does not fit" in done.stdout, done.stdout + done.stderr
    assert f"`dwplus repair {store}` fetches 1 shards again" in done.stdout
    summary, left = repair(store, EarthConfig())
    assert summary.complete and not left and content(store) == content(lean_local)


def test_google_cloud_storage(gs, lean, lean_local, slow):
    """The same code, another client: the export, its lock, and damage."""
    store = f"{gs}/a/b.zarr"
    assert export(lean, store, slow, budget=Budget(eecu_hours=0)).pending
    with only_run(store), pytest.raises(InputError, match="another run is writing it"):
        export(lean, store, EarthConfig())
    assert export(lean, store, EarthConfig()).complete and content(store) == content(lean_local)
    key = next(key for key in sorted(place_of(store).files()) if "/label/c/" in key)
    generation, good = Generations.objects[f"a/b.zarr/{key}"]
    Generations.objects[f"a/b.zarr/{key}"] = generation, good[:-1] + bytes([good[-1] ^ 1])
    (fault,) = verify(store).faults
    assert fault.place == key and "checksum of the index" in fault.what


@pytest.mark.parametrize(("store", "environment", "words"), [
    ("s3://nowhere/x.zarr", {}, "NoSuchBucket"),
    ("s3://bucket/x.zarr", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS_ENDPOINT_URL"),
    ("s3://bucket", {}, "must be a folder, file:///path, s3://bucket/prefix or gs://bucket/prefix"),
    ("ftp://bucket/x.zarr", {}, "must be a folder"),
    ("s3://bucket/none.zarr", {}, "no such store")])
def test_what_cannot_be_used_is_one_sentence(s3, plan, store, environment, words):
    command = ("describe", store) if "none" in store else ("export", plan, store)
    done = cli(*command, **environment)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_wrong_credentials_are_one_sentence(s3, plan, remote):
    """The server checks keys for the time of this test; nothing is left behind."""
    def after(requests):
        url = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        asked = urllib.request.Request(url, requests.encode(), {"Content-Type": "text/plain"})
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked).close()

    after("0")
    try:
        for command in (("export", plan, f"{s3}/keys.zarr"), ("describe", remote), ("verify", remote)):
            done = cli(*command, AWS_ACCESS_KEY_ID="wrong", AWS_SECRET_ACCESS_KEY="wrong")
            assert done.returncode == 2 and "InvalidAccessKeyId" in done.stderr, done.stderr
            assert "AWS_SECRET_ACCESS_KEY" in done.stderr and done.stderr.startswith("error: store s3://")
            assert len(done.stderr.splitlines()) == 1
    finally:
        after("inf")
    assert not place_of(f"{s3}/keys.zarr").files()


def test_a_lost_lease_stops_its_holder(s3, monkeypatch):
    """Who could not show life, or was overtaken, must not write; who comes later takes a lock without life."""
    store = f"{s3}/lease.zarr"
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    with only_run(store) as hold:
        assert isinstance(hold.place, Bucket)
        old = hold.place.look("lock")
        assert isinstance(leases.take(hold.place, "lock"), dict)
        deadline = time.monotonic() + PATIENCE
        while hold.place.look("lock")[0] == old[0]:  # a sign of life is another body
            assert time.monotonic() < deadline
        hold.check()
        later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=leases.STALE_SECONDS + 60)
        with monkeypatch.context() as patch:
            patch.setattr(leases, "_server_time", lambda _: later)
            while isinstance(taken := leases.take(hold.place, "lock"), dict):  # a sign of life may come in between
                assert time.monotonic() < deadline
        with pytest.raises(StopError, match="another run has taken it over"):
            while time.monotonic() < deadline:
                hold.check()
        taken.check()
    taken.check()  # the loser gave nothing back
    taken.release()
    assert "lock" not in hold.place.files()


def test_a_shard_has_one_writer(s3, monkeypatch):
    store = f"{s3}/shard.zarr"
    monkeypatch.setattr("dwplus.store.locks.SHARD_SECONDS", 1.0)
    with only_writer(store, "biome_01", 0), only_writer(store, "biome_01", 16), pytest.raises(
            StopError, match="still writes biome_01 from tile 0 on"), only_writer(store, "biome_01", 0):
        pass
    with only_writer(store, "biome_01", 0) as check:
        check()


def test_names_of_places(tmp_path):
    assert place_of(f"file://{tmp_path}/a%20b.zarr") == Folder(tmp_path / "a b.zarr")
    assert place_of("gs://bucket/deep/er.zarr/") == Bucket("gs", "bucket", "deep/er.zarr")
    client = place_of("gs://bucket/deep/er.zarr").zarr().store
    assert type(client).__name__ == "GCSStore" and client.config["bucket"] == "bucket"
    for wrong in ("s3://", "s3://bucket", "s3:///x", "az://a/b", "gs://b/x?y=1", "file://host/x"):
        with pytest.raises(InputError, match="must be a folder"):
            place_of(wrong)
    assert place_of(tmp_path) == Folder(tmp_path)
