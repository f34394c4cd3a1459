"""`dwplus doctor` on machines that lack something: one line each, and what to do."""

import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.bench_model import make_store
from dwplus.earth import connect
from dwplus.earth.access import project_config
from tests.commands import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def doctor(quick_python):
    """Exit code, and the lines by name: state, words."""
    def examine(*arguments, home, python=quick_python, **more):
        env = {name: value for name, value in os.environ.items() if name != "GOOGLE_APPLICATION_CREDENTIALS"}
        done = subprocess.run([python, "-m", "dwplus", "doctor", *map(str, arguments)], text=True, timeout=PATIENCE,
                              cwd=home, capture_output=True,
                              env={**env, "HOME": str(home), "PYTHONPATH": str(ROOT), **more})
        assert not done.stderr, done.stderr
        *lines, last = done.stdout.splitlines()
        found = {name: (state, words) for state, name, words in (line.split(maxsplit=2) for line in lines)}
        failed = sum(state == "fail" for state, _ in found.values())
        assert last == (f"{failed} failed" if failed else "ready") and done.returncode == (1 if failed else 0)
        return found

    return examine


def test_a_fresh_machine_is_ready(doctor, tmp_path):
    found = doctor(home=tmp_path, python=sys.executable)
    assert set(found) == {"python", "packages", "extras", "client", "gpu", "disk", "store", "credentials", "earth"}
    assert found["earth"][1].startswith("embedded Earth, the procedural sample planet")
    assert "none needed without a project" in found["credentials"][1]
    assert not list(tmp_path.iterdir())


def test_no_credentials_for_a_project(doctor, tmp_path):
    found = doctor("--project", "some-project", home=tmp_path)
    for name in ("credentials", "project"):
        state, words = found[name]
        assert state == "fail" and "earthengine authenticate" in words
    (tmp_path / "key.json").write_text("{}")
    state, words = doctor("--project", "some-project", home=tmp_path,
                          GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "key.json"))["credentials"]
    assert state == "fail" and "is no usable key" in words


def test_the_store(doctor, tmp_path):
    store = make_store(tmp_path / "a.zarr", tiles=8, size=16)
    assert "8 planned = 8 exported + 0 pending" in doctor("--store", store, home=tmp_path)["store"][1]
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "x").write_text("no store")
    for wrong, words in (("b.zarr", "has no zarr.json"), ("b.zarr/x", "is a file"),
                         ("/proc/x.zarr", "cannot be written"), ("ftp7://x/y.zarr", "must be a folder")):
        state, found = doctor("--store", wrong, home=tmp_path)["store"]
        assert state == "fail" and words in found


def test_a_store_behind_a_url(doctor, tmp_path):
    make_store(tmp_path / "a.zarr", tiles=8, size=16)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        assert doctor("--store", f"{url}/a.zarr", home=tmp_path, no_proxy="127.0.0.1")["store"][0] == "ok"
        assert doctor("--store", f"{url}/b.zarr", home=tmp_path, no_proxy="127.0.0.1")["store"][0] == "fail"
    finally:
        server.shutdown()
        server.server_close()


def test_a_full_disk(doctor, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(OSError), open(disk / "full", "wb", buffering=0) as file:
            while True:
                file.write(b"0" * 4096)
        found = doctor("--store", disk / "a.zarr", home=tmp_path)
        assert found["disk"][0] == found["store"][0] == "fail"
        assert "room for about 0 tiles" in found["disk"][1] and "No space left" in found["store"][1]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_config_of_a_project_is_asked_of_the_service():
    assert project_config(connect())["maxConcurrentExports"] == 2
