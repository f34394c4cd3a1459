"""Stores read from afar are what they are at home: a bucket, a web server with byte ranges, and one without."""

import contextlib
import functools
import pickle
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import dwplus
from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from dwplus.store.locks import only_run
from dwplus.store.places import place_of, upload
from dwplus.store.reader import tile, tile_table
from dwplus.store.resplit import resplit
from dwplus.store.tiles import TileReader
from model.data import TileDataset
from model.loader import Loader
from tests.integration.test_buckets import s3  # noqa: F401  a fixture


class Plain(SimpleHTTPRequestHandler):
    """As ``python -m http.server``: whole files only."""

    def log_message(self, *_):
        pass


class Ranges(Plain):
    """As the servers of the world: RFC 9110, one range of bytes."""

    def do_GET(self):  # noqa: N802  its name in the standard library
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not wanted or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(content) - int(last))
        stop = int(last) + 1 if first and last else len(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.server.parts.append(stop - start)
        self.wfile.write(content[start:stop])


@contextlib.contextmanager
def serving(folder, handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    server.parts = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("home") / "a.zarr", tiles=24, size=40)


@pytest.fixture(scope="module")
def remote(home, s3):  # noqa: F811
    """URLs of the same store, by the kind of server."""
    upload(home, place_of(f"{s3}/some/where/a.zarr"))
    with serving(home.parent, Ranges) as ranges, serving(home.parent, Plain) as plain:
        yield {"s3": f"{s3}/some/where/a.zarr", "ranges": f"http://127.0.0.1:{ranges.server_port}/a.zarr",
               "plain": f"http://127.0.0.1:{plain.server_port}/a.zarr", "server": ranges}


KINDS = ["s3", "ranges", "plain"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_is_lazy_and_the_same(home, remote, kind):
    far, near = dwplus.open_store(remote[kind]), dwplus.open_store(home)
    assert far["biome_04"]["s2"].chunks is not None and set(far.children) == set(near.children)
    for name in near.children:
        xr.testing.assert_identical(far[name].to_dataset().compute(), near[name].to_dataset().compute())
    assert far.attrs == near.attrs


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_from_many_threads(home, remote, kind):
    table = tile_table(remote[kind])
    assert table.equals(tile_table(home))
    places = list(zip(table["group"], table["index"], strict=True)) * 2
    far, near = TileReader(remote[kind]), TileReader(home)
    with ThreadPoolExecutor(6) as pool:
        for place, found in zip(places, pool.map(lambda at: far.read(*at), places), strict=True):
            for a, b in zip(found, near.read(*place), strict=True):
                np.testing.assert_array_equal(a, b)
    again = pickle.loads(pickle.dumps(far)).read(*places[3])
    np.testing.assert_array_equal(again.label, near.read(*places[3]).label)
    one = tile(remote[kind], table["tile_id"].iat[5])
    assert one.rio.crs.to_epsg() == table["epsg"].iat[5]


@pytest.mark.parametrize(("kind", "reader"), [
    *((kind, "direct") for kind in KINDS), *((kind, "zarr") for kind in KINDS), ("s3", "tensorstore"),
    ("ranges", "tensorstore")])
def test_training_samples(home, remote, kind, reader):
    far, near = TileDataset(remote[kind], "train", reader=reader), TileDataset(home, "train")
    batches = [[0, 3], [2, 1]]
    for a, b in zip(Loader(far, batches), Loader(near, batches), strict=True):
        np.testing.assert_array_equal(a.s2.numpy(), b.s2.numpy())
        np.testing.assert_array_equal(a.label.numpy(), b.label.numpy())


def test_a_tile_is_fetched_and_not_its_shard(home, remote):
    reader = TileReader(remote["ranges"])
    reader.read("biome_04", 0)  # three indices, three tiles
    remote["server"].parts.clear()
    reader.read("biome_04", 1)
    shard = sum(f.stat().st_size for name in ("s2", "s1", "label") for f in [
        next(p for p in (home / "biome_04" / name / "c" / "0").rglob("*") if p.is_file())])
    assert len(remote["server"].parts) == 3 and sum(remote["server"].parts) < shard / 3


def test_damage_and_absence_are_one_sentence(home, remote, tmp_path, s3):  # noqa: F811
    broken = shutil.copytree(home, tmp_path / "b.zarr")
    shard = broken / "biome_04" / "s2" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[50] ^= 1
    shard.write_bytes(content)
    upload(broken, place_of(f"{s3}/b.zarr"))
    with pytest.raises(InputError, match="biome_04/s2 tile 0 .*: checksum.* does not fit"):
        TileReader(f"{s3}/b.zarr").read("biome_04", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/a.zarr"
    for url, words in ((remote["plain"] + "x", "no such store"), (f"{s3}/none.zarr", "no such store"),
                       (nobody, "cannot be read .* check the URL"), ("ftp://x/y", "must be a folder, file:///path, s3"),
                       ("http://nowhere", "must be a folder")):
        for read in (dwplus.open_store, TileReader, tile_table):
            with pytest.raises(InputError, match=words) as caught:
                read(url)
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="must be a folder"), only_run(remote["plain"]):
        pass


def test_a_store_in_a_bucket_is_split_anew(home, remote, tmp_path, s3):  # noqa: F811
    shutil.copytree(home, tmp_path / "c.zarr")
    upload(home, place_of(f"{s3}/c.zarr"))
    far = resplit([f"{s3}/c.zarr"], seed=7, stratify="biome")
    near = resplit([tmp_path / "c.zarr"], seed=7, stratify="biome")
    assert far.equals(near) and (far["before"] != far["split"]).any()
    assert tile_table(f"{s3}/c.zarr").equals(tile_table(tmp_path / "c.zarr"))
