"""What is missing of an exported tile is damage, never a value; what was never exported may be absent."""

import http.server
import shutil
import threading

import numpy as np
import pytest

import dwplus
from dwplus.errors import InputError
from dwplus.store import columns, layout, stats, writer
from dwplus.store.reader import tile, tile_table
from dwplus.store.tiles import TileReader
from dwplus.store.writer import TileResult
from model.data import TileDataset

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    """Two shards of exported tiles with one rejected among them; what follows is pending."""
    path = tmp_path / "s.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    for start in (0, 4):
        writer.write_shard(layout.open_root(path, "r+")["biome_04"], start, start + 4, {
            i: TileResult(layout.REJECTED, "few_labels: 0.1") if i == 2
            else TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, start + 4)})
    return path


def empty_span(path, name, row):
    """Take one tile out of a shard, as a writer would that never had it."""
    form = writer.formats(path, layout.open_root(path)["biome_04"])[name]
    kept = {i: (bytes(span),) for i, span in enumerate(form.read(0)) if span is not None and i != row}
    form.write(0, kept)


READERS = {
    "TileReader": lambda store: TileReader(store).read("biome_04", 1),
    "dataset": lambda store: [TileDataset(store, "all")[i] for i in range(7)],
    "dataset, zarr": lambda store: [TileDataset(store, "all", reader="zarr").tile(i) for i in range(7)],
    "dataset, TensorStore": lambda store: [TileDataset(store, "all", reader="tensorstore").tile(i) for i in range(7)],
    "open_store": lambda store: dwplus.open_store(store, check=True),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["s2", "s1", "label"])
@pytest.mark.parametrize("how", ["span", "shard"])
def test_missing_pixels(store, reader, name, how):
    READERS[reader](store)
    if how == "span":
        empty_span(store, name, 1)
    else:
        shutil.rmtree(store / "biome_04" / name / "c" / "0")
    with pytest.raises(InputError, match=rf"biome_04/{name} tile [01].* is missing, though .*run dwplus repair"
                       ) as caught:
        READERS[reader](store)
    assert "\n" not in str(caught.value)


def test_missing_pixels_elsewhere(store, tmp_path):
    from dwplus.report.page import write_report
    from dwplus.report.quicklooks import quicklooks
    from dwplus.store.geotiff import write_geotiffs

    name = tile_table(store)["tile_id"][1]
    shutil.rmtree(store / "biome_04" / "s2" / "c" / "0")
    for read in (lambda: tile(store, name), lambda: write_geotiffs(store, name, tmp_path / "tif"),
                 lambda: stats.measure(store, "all"), lambda: write_report(store, tmp_path / "r.html"),
                 lambda: quicklooks(store, tmp_path / "q")):
        with pytest.raises(InputError, match="missing.*run dwplus repair"):
            read()


@pytest.mark.parametrize("column", ["status", "class_counts", "valid_fraction", "reason", "tile_id", "lon",
                                    "split", "coastal", "s1_time"])
def test_a_missing_column(store, column):
    number = "1" if column in writer.columns_of(layout.open_root(store)["biome_04"]) else "0"
    if column == "status":  # in a store whose runs have ended; before, a run may have been stopped ahead of it
        finish(store)
    drop(store, column, number)
    for read in (tile_table, lambda s: TileDataset(s, "all"), lambda s: stats.measure(s, "all")):
        with pytest.raises(InputError, match=rf"the column {column} of tile.* is missing .*run dwplus repair"):
            read(store)


def drop(store, column, number):
    path = store / "biome_04" / column / "c" / number
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def finish(store):
    layout.open_root(store, "r+").attrs[columns.FINISHED] = {}


def written_of(store):
    return writer.columns_of(layout.open_root(store)["biome_04"])


@pytest.mark.parametrize("kept", range(2, 5))
def test_a_run_stopped_between_the_columns_of_a_shard(store, kept):
    """They are written in order, the status last: what a stop leaves out is the end of them, and the shard is pending.
    Once the store is finished the same is damage."""
    order = written_of(store)
    assert order[-1] == "status"
    for column in order[kept:]:
        drop(store, column, "1")
    assert (tile_table(store).query("group == 'biome_04'")["status"].iloc[4:8] == "pending").all()
    finish(store)
    with pytest.raises(InputError, match="is missing .*run dwplus repair"):
        tile_table(store)


def test_a_gap_in_the_middle_is_no_stopped_run(store):
    """A column before the status is lost together with it: no stop leaves a later one and not the earlier."""
    for column in ("class_counts", "status"):
        drop(store, column, "1")
    with pytest.raises(InputError, match="is missing .*run dwplus repair"):
        tile_table(store)


def test_what_was_never_exported_is_no_data(store):
    reader = TileReader(store)
    for index in (2, 9):
        assert (reader.read("biome_04", index).label == 255).all()
    assert len(TileDataset(store, "all")) == 7
    assert np.isnan(dwplus.open_store(store, check=True)["biome_04"]["s2"][2]).all()


def test_over_http(store):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(store.parent))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/{store.name}"
    try:
        READERS["dataset"](url)
        shutil.rmtree(store / "biome_04" / "s1" / "c" / "0")
        for reader in ("TileReader", "dataset", "open_store"):
            with pytest.raises(InputError, match="biome_04/s1 tile [01].*is missing"):
                READERS[reader](url)
        drop(store, "status", "1")
        assert (tile_table(url).query("group == 'biome_04'")["status"].iloc[4:8] == "pending").all()
        finish(store)
        with pytest.raises(InputError, match="the column status .* is missing"):
            tile_table(url)
    finally:
        server.shutdown()
