"""One owner for sure: whatever a store is called, its second run and its second writer are kept out. Two processes."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dwplus.errors import InputError, StopError
from dwplus.store import locks
from dwplus.store.locks import only_run, only_writer, run_place
from dwplus.store.places import Bucket, place_of

#: Holds a store and a shard until its input ends.
HOLDER = """
import contextlib, sys
from dwplus.store.locks import only_run, only_writer
with contextlib.ExitStack() as held:
    if "run" in sys.argv[2]:
        held.enter_context(only_run(sys.argv[1]))
    if "shard" in sys.argv[2]:
        held.enter_context(only_writer(sys.argv[1], "biome_01", 0))
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held_by_another(store, what, cwd):
    command = [sys.executable, "-c", HOLDER, str(store), what]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd,
                          env=environment) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.stdin.close()


@pytest.fixture
def names(tmp_path, monkeypatch):
    """One store, by all the names it has."""
    store = tmp_path / "Disk" / "real.zarr"
    store.mkdir(parents=True)
    (tmp_path / "link.zarr").symlink_to(store)
    (tmp_path / "twice.zarr").symlink_to("link.zarr")
    (tmp_path / "disk").symlink_to("Disk", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space disk").symlink_to("Disk", target_is_directory=True)
    return {
        "absolute": str(store), "relative": "Disk/real.zarr", "slash": f"{store}/", "dots": "Disk/../Disk/./real.zarr",
        "doubled": f"{tmp_path}//Disk//real.zarr", "link": "link.zarr", "link of a link": f"{tmp_path}/twice.zarr/",
        "linked parent": "disk/real.zarr", "out of the link": "disk/../Disk/real.zarr", "url": f"file://{store}",
        "quoted url": f"file://{tmp_path}/space%20disk/real.zarr", "path": store}


def test_a_run_keeps_all_names_out(names, tmp_path):
    for held in ("link", "absolute"):
        with held_by_another(names[held], "run", tmp_path):
            for name, spelled in names.items():
                with pytest.raises(InputError, match="another run is writing it"), only_run(spelled):
                    pytest.fail(f"{name} got in while {held} was held")
    for spelled in names.values():
        with only_run(spelled) as hold:
            hold.check()
    assert sorted(p.name for p in (tmp_path / "Disk").iterdir()) == ["real.zarr", "real.zarr.run"]
    assert not list(tmp_path.glob("*.run"))


def test_a_writer_keeps_all_names_out(names, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "SHARD_SECONDS", 0.3)
    with held_by_another(names["link of a link"], "run shard", tmp_path):
        for name, spelled in names.items():
            with pytest.raises(StopError, match="still writes biome_01 from tile 0 on"), \
                    only_writer(spelled, "biome_01", 0):
                pytest.fail(f"{name} got in")
            with only_writer(spelled, "biome_01", 16) as check:
                check()


def test_a_store_that_is_not_there_yet(tmp_path):
    """The first export of all: the folder above is a link, the store is none."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    with held_by_another(tmp_path / "link" / "new.zarr", "run", tmp_path):
        with pytest.raises(InputError, match="another run is writing it"), only_run(tmp_path / "real" / "new.zarr"):
            pytest.fail("got in")
        with only_run(tmp_path / "real" / "other.zarr"):
            pass


def test_a_circle_of_links_is_one_sentence(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="cannot be (found|written)"), only_run(tmp_path / "a" / "x.zarr"):
        pytest.fail("got in")


def test_a_lock_that_is_removed_stops_its_holder(tmp_path):
    store = tmp_path / "s.zarr"
    with only_run(store) as hold, only_writer(store, "biome_01", 0) as writer:
        hold.check()
        writer()
        shutil.rmtree(hold.place.path)
        with pytest.raises(StopError, match="was removed while it was held"):
            hold.check()
        with only_run(store):  # another run may begin, and so the first must not go on
            for check in (hold.check, writer):
                with pytest.raises(StopError, match="was removed while it was held"):
                    check()


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:9000"])
def test_names_of_one_bucket(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    for name in ("s3://b/deep/x.zarr", "s3://b/deep/x.zarr/", "s3://b//deep///x.zarr//", "S3://b/deep/x.zarr",
                 "s3://b.s3.eu-west-1.amazonaws.com/deep/x.zarr", "s3://b.s3-eu-west-1.amazonaws.com/deep/x.zarr",
                 "s3://b.s3.amazonaws.com/deep/x.zarr", "s3://s3.eu-west-1.amazonaws.com/b/deep/x.zarr",
                 "s3://b.s3.dualstack.eu-west-1.amazonaws.com/deep//x.zarr/", "s3://s3.cn-north-1.amazonaws.com.cn/b/deep/x.zarr",
                 *(["s3://127.0.0.1:9000/b/deep/x.zarr/"] if endpoint else [])):
        assert place_of(name) == Bucket("s3", "b", "deep/x.zarr"), name
        assert run_place(name) == Bucket("s3", "b", "deep/x.zarr.run"), name
    for name in ("gs://b/x.zarr", "gs://storage.googleapis.com/b/x.zarr/", "gs://b.storage.googleapis.com//x.zarr",
                 "gs://europe-west3-storage.googleapis.com/b/x.zarr", "gs://storage.cloud.google.com/b/x.zarr"):
        assert place_of(name) == Bucket("gs", "b", "x.zarr"), name
    for name in ("s3://b.of.dots/x.zarr", "s3://s3.of.mine/x.zarr"):
        assert place_of(name).bucket == name.split("/")[2]
    for name in ("s3://b", "s3://b//", "s3://b/../c/x.zarr", "s3://key:word@b/x.zarr", "s3://s3.amazonaws.com/b",
                 "s3://b/x.zarr?versionId=1", "s3:///x.zarr"):
        with pytest.raises(InputError, match="must be a folder"):
            place_of(name)
