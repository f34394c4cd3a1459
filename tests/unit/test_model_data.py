"""Samples: what is stored is what the network sees, once and always the same."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
import zarr

from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from dwplus.store import layout, stats
from dwplus.store.locks import only_run
from model.data import TileDataset, band_statistics, keep_statistics, statistics
from model.loader import Loader
from model.normalise import Normalisation, Normaliser, Scaling
from model.sampling import TileSampler
from tests.commands import PATIENCE


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores") / "a.zarr", tiles=16, size=40)


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores") / "b.zarr", tiles=8, size=40, first=100)


def copied(store, tmp_path):
    import shutil

    return shutil.copytree(store, tmp_path / "copy.zarr")


def test_splits_add_up_and_hold_their_own_tiles(store):
    whole = TileDataset(store, "all")
    parts = [TileDataset(store, s) for s in ("train", "val", "test")]
    assert len(whole) == 16 == sum(map(len, parts)) and len(parts[0]) == 8
    assert set(whole.table["tile_id"]) == {t for p in parts for t in p.table["tile_id"]}
    assert (parts[1].table["split"] == "val").all()
    assert whole.table["block"].nunique() == 16
    assert parts[0].class_counts.sum() == sum(int((parts[0].tile(i).label != 255).sum()) for i in range(8))


@pytest.mark.parametrize("reader", ["tensorstore", "zarr"])
def test_pixels_as_stored(store, reader):
    data = TileDataset(store, "all", reader=reader)
    for i in (0, 5, 15):
        row = data.table.iloc[i]
        group = zarr.open_group(str(store), mode="r")[row["group"]]
        sample = data.tile(i)
        for name in ("s2", "s1", "label"):
            np.testing.assert_array_equal(getattr(sample, name), group[name][row["index"]])


def test_statistics_by_numpy(store):
    data = TileDataset(store, "train")
    found = statistics(store)
    assert found.tiles == 8 and found.s1.bands == ("VV", "VH")
    assert found.s2.bands == ("B2", "B3", "B4", "B8", "B11", "B12")
    tiles = [data.tile(i) for i in range(8)]
    for band in range(6):
        values = np.concatenate([t.s2[band].ravel() for t in tiles]).astype("float64")
        values = values[values != layout.S2_NODATA]
        low, high = np.quantile(values, [0.01, 0.99], method="inverted_cdf")
        assert (found.s2.low[band], found.s2.high[band]) == (low, high)
        clipped = np.clip(values, found.s2.low[band], found.s2.high[band])
        assert found.s2.mean[band] == pytest.approx(clipped.mean())
        assert found.s2.std[band] == pytest.approx(clipped.std())
    values = np.concatenate([t.s1[1].ravel() for t in tiles]).astype("float64")
    values = values[values != layout.S1_NODATA] / 100
    assert found.s1.mean[1] == pytest.approx(values.mean(), abs=0.05)
    assert Normalisation.from_dict(found.to_dict()) == found


def test_statistics_of_floats_are_those_of_hundredths():
    rng = np.random.default_rng(0)
    stored = rng.integers(-3000, 0, (2, 30, 30)).astype("int16")
    stored[0, :3] = layout.S1_NODATA
    floats = np.where(stored == layout.S1_NODATA, np.nan, stored / 100).astype("float32")
    a, b = (np.zeros((2, stats.VALUES), "int64") for _ in range(2))
    stats.count_values(stored, a)
    stats.count_values(floats, b)
    np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="band VV: holds no data"):
        Scaling.of([stats.band_statistics(np.zeros(stats.VALUES, "int64"), "VV", "s1")], 0.01)


def no_pixels(monkeypatch):
    monkeypatch.setattr(TileDataset, "tile", lambda *_: pytest.fail("a tile was read"))


def test_statistics_that_a_store_keeps_are_read_not_measured(store, tmp_path, monkeypatch):
    path = copied(store, tmp_path)
    want = statistics(path)
    assert stats.stored(path) is None  # nothing was written
    stats.store_statistics(path, stats.measure(path, "train"))
    no_pixels(monkeypatch)
    assert statistics(path) == want
    assert statistics(path, max_tiles=3, seed=5) == want  # a draw is of the same tiles, of which all are known


def test_statistics_measured_once_are_kept_in_the_store(store, tmp_path, monkeypatch):
    path = str(copied(store, tmp_path))
    choices = [{}, {"max_gap_hours": float(TileDataset(path, "train").table["gap_hours"].abs().median())}]
    want = []
    for choice in choices:
        found, fresh = band_statistics(path, **choice)
        assert fresh
        keep_statistics([path], found, tmp_path / "run" / "statistics.json")
        want.append(found)
    assert want[0] != want[1] and stats.stored(path) == want[0] and not (tmp_path / "run").exists()
    no_pixels(monkeypatch)
    assert [band_statistics(path, **choice) for choice in choices] == [(found, False) for found in want]


def test_statistics_of_other_tiles_are_not_taken(store, tmp_path):
    path = copied(store, tmp_path)
    stats.store_statistics(path, stats.measure(path, "train"))
    split = zarr.open_group(str(path), mode="r+")[layout.biome_groups(layout.open_root(path))[0]]["split"]
    split[:] = np.roll(split[:], 1)
    assert band_statistics(path)[1]
    attrs = zarr.open_group(str(store), mode="r").attrs.asdict()
    assert stats.KEY not in attrs and stats.CHOICES not in attrs  # the other tests' store was left alone


def test_statistics_lie_beside_the_run_where_the_store_is_held_or_there_are_two(store, later, tmp_path, monkeypatch):
    path, file = str(copied(store, tmp_path)), tmp_path / "run" / "statistics.json"
    found, _ = band_statistics(path)
    with only_run(path):
        keep_statistics([path], found, file)
    assert stats.stored(path) is None
    both, _ = band_statistics([path, str(later)])
    keep_statistics([path, str(later)], both, tmp_path / "both.json")
    no_pixels(monkeypatch)
    assert band_statistics(path, beside=file) == (found, False)
    assert band_statistics([path, str(later)], beside=tmp_path / "both.json") == (both, False)
    assert both.tiles > found.tiles and stats.stored(later) is None


def test_what_the_network_sees(store):
    data = TileDataset(store, "train")
    index = int(np.flatnonzero([(data.tile(i).s2 == layout.S2_NODATA).any() for i in range(8)])[0])
    sample, stored = data[index], data.tile(index)
    assert sample["s2"].dtype == torch.float32 and sample["label"].dtype == torch.uint8
    assert (sample["s2"][:, :8, :8] == 0).all() and (sample["s1"][:, -8:, -8:] == 0).all()
    scaling = data.normalisation.s1
    want = np.clip(stored.s1[0] / 100, scaling.low[0], scaling.high[0]) - scaling.mean[0]
    want /= scaling.std[0]
    np.testing.assert_allclose(sample["s1"][0, :-8], want[:-8], atol=1e-5)
    np.testing.assert_array_equal(sample["label"], stored.label)
    every = torch.stack([data[i]["s2"] for i in range(8)])
    assert abs(float(every.mean())) < 0.05 and abs(float(every.std()) - 1) < 0.05
    assert data[-1]["tile_id"] == data[7]["tile_id"]
    with pytest.raises(IndexError):
        data[8]


def test_radar_stored_as_floats_is_the_same(tmp_path, store):
    floats = make_store(tmp_path / "f.zarr", tiles=16, size=40, s1_dtype="float32")
    a, b = TileDataset(store, "train"), TileDataset(floats, "train")
    assert b.normalisation == a.normalisation and b.s1_dtype == "float32"
    torch.testing.assert_close(b[0]["s1"], a[0]["s1"], rtol=0, atol=1e-5)
    batch = next(iter(Loader(b, [[0, 1]])))
    assert batch.s1.dtype == torch.float32
    torch.testing.assert_close(Normaliser(a.normalisation)(batch.s2, batch.s1, batch.label, batch.keep)[1][1],
                               a[1]["s1"], rtol=0, atol=1e-5)


def test_a_pixel_nobody_saw_loses_its_label(store):
    normaliser = Normaliser(TileDataset(store).normalisation)
    s2, s1 = torch.full((2, 6, 2, 2), 900, dtype=torch.uint16), torch.full((2, 2, 2, 2), -900, dtype=torch.int16)
    s2[0, 3, 0, 0] = torch.tensor(65535, dtype=torch.uint16)
    s1[0, 1, 0, 0] = -32768
    label = torch.full((2, 2, 2), 4, dtype=torch.uint8)
    a, b, y = normaliser(s2, s1, label, torch.tensor([[True, True], [True, False]]))
    assert y[0, 0, 0] == 255 and (y == 255).sum() == 1
    assert (a[0, :, 0, 0] == 0).all() and (b[1] == 0).all() and (b[0, :, 1, 1] != 0).all()


def test_crops_and_turns_move_every_array_alike(tmp_path, store):
    path = copied(store, tmp_path)
    root = layout.open_root(path, "r+")
    place = np.arange(1600, dtype="uint16").reshape(40, 40)
    for name in layout.biome_groups(root):
        n = root[name]["s2"].shape[0]
        root[name]["s2"][:] = np.broadcast_to(place, (n, 6, 40, 40))
        root[name]["s1"][:] = np.broadcast_to(place.astype("int16"), (n, 2, 40, 40))
        root[name]["label"][:] = np.broadcast_to((place % 9).astype("uint8"), (n, 40, 40))
    data = TileDataset(path, "train", crop=16, augment=True)
    seen = set()
    for epoch in range(12):
        raw = data.raw(0, epoch)
        assert raw.s2.shape == (6, 16, 16)
        np.testing.assert_array_equal(raw.s2[2], raw.s1[1])
        np.testing.assert_array_equal(raw.s2[0] % 9, raw.label)
        seen.add((int(raw.s2[0, 0, 0]), int(raw.s2[0, 0, 1]) - int(raw.s2[0, 0, 0])))
        np.testing.assert_array_equal(raw.s2, data.raw(0, epoch).s2)
    assert len(seen) > 8 and {step for _, step in seen} >= {1, -1, 40, -40}


def test_missing_sensors(store):
    data = TileDataset(store, "train", drop_s1=0.3, drop_s2=0.2)
    keeps = [data.raw(i, e).keep for e in range(60) for i in range(8)]
    assert 0.2 < np.mean([k == (True, False) for k in keeps]) < 0.4
    assert 0.1 < np.mean([k == (False, True) for k in keeps]) < 0.3
    assert (False, False) not in keeps
    data.set_epoch(next(e for e in range(60) if data.raw(0, e).keep == (True, False)))
    assert (data[0]["s1"] == 0).all() and (data[0]["s2"] != 0).any()


def test_filters(store):
    table = TileDataset(store, "all").table
    for options, want in (({"max_gap_hours": 72}, table["gap_hours"].abs() <= 72),
                          ({"min_gap_hours": 72}, table["gap_hours"].abs() >= 72),
                          ({"max_cloud": 10}, table["s2_cloud"] <= 10), ({"biomes": [12]}, table["biome"] == 12),
                          ({"min_valid_fraction": 0.85}, table["valid_fraction"] >= 0.85)):
        assert set(TileDataset(store, "all", **options).table["tile_id"]) == set(table["tile_id"][want])
    assert len(TileDataset(store, "all", max_tiles=5)) == 5


def test_several_stores(store, later):
    data = TileDataset([store, later], "train")
    assert len(data) == 12 and data.table["store"].tolist() == [0] * 8 + [1] * 4
    np.testing.assert_array_equal(data.tile(9).label, TileDataset(later, "train").tile(1).label)


def test_it_can_be_pickled_after_reading(store):
    data = TileDataset(store, "train")
    data[0]
    again = pickle.loads(pickle.dumps(data))
    assert not again._arrays
    np.testing.assert_array_equal(again.tile(3).s2, data.tile(3).s2)


def _sum(data, index, queue):
    queue.put(int(data.tile(index).s2.sum()))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_it_reads_in_a_fork_of_a_process_that_has_read(store):
    data = TileDataset(store, "train")
    want = int(data.tile(0).s2.sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_sum, args=(data, 0, queue))
    child.start()
    assert queue.get(timeout=PATIENCE) == want
    child.join(PATIENCE)


def test_torch_data_loader(store):
    batch = next(iter(torch.utils.data.DataLoader(TileDataset(store, "train"), batch_size=3)))
    assert batch["s2"].shape == (3, 6, 40, 40) and batch["label"].shape == (3, 40, 40)


def test_loader_gives_the_samples_in_order_whatever_the_threads(store):
    data = TileDataset(store, "train", crop=24, augment=True, drop_s1=0.5)
    batches = TileSampler(data.table, 4).batches(2)
    for threads in (1, 3):
        got = list(Loader(data, batches, epoch=2, threads=threads))
        assert [b.index.tolist() for b in got] == batches
        for batch in got:
            for place, index in enumerate(batch.index.tolist()):
                raw = data.raw(index, 2)
                np.testing.assert_array_equal(batch.s2[place].numpy(), raw.s2)
                np.testing.assert_array_equal(batch.label[place].numpy(), raw.label)
                assert tuple(batch.keep[place].tolist()) == raw.keep


def test_loader_stops_cleanly_when_left_early(store):
    import threading

    loader = Loader(TileDataset(store, "train"), [[0, 1]] * 50, threads=2)
    for _ in loader:
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("tiles")]


def test_a_label_that_is_no_class_names_its_tile(tmp_path, store):
    path = copied(store, tmp_path)
    layout.open_root(path, "r+")["biome_04"]["label"][0, 3, 3] = 17
    data = TileDataset(path, "all")
    with pytest.raises(InputError, match=r"tile utm_\S+ \(biome_04, row 0\) holds label 17; labels must be 0 to 8"):
        data[0]
    with pytest.raises(InputError, match="holds label 17"):
        list(Loader(data, [[1, 0]]))


def test_a_broken_chunk_names_its_tile(tmp_path, store):
    path = copied(store, tmp_path)
    for file in (path / "biome_04" / "s2" / "c").rglob("0"):
        if file.is_file():
            file.write_bytes(b"x" * 40)
    for reader in ("tensorstore", "zarr"):
        with pytest.raises(InputError, match=r"\(biome_04, row \d+\) cannot be read") as caught:
            TileDataset(path, "all", reader=reader)[0]
        assert "\n" not in str(caught.value)


def test_mistakes_are_one_sentence(tmp_path, store, later):
    import shutil

    no_s1 = copied(store, tmp_path)
    shutil.rmtree(no_s1 / "biome_04" / "s1")
    other = make_store(tmp_path / "other.zarr", tiles=4, size=40, bands=("B2", "B3"))
    small = make_store(tmp_path / "small.zarr", tiles=4, size=32)
    only_train = make_store(tmp_path / "train.zarr", tiles=4, size=40, splits=("train",))
    for make, words in (
            (lambda: TileDataset(no_s1), "has no Sentinel-1"),
            (lambda: TileDataset([store, other]), "has s2_bands B2 B3, .* has B2 B3 B4"),
            (lambda: TileDataset([store, small]).window, "tiles are 32 40 px; set a crop"),
            (lambda: TileDataset(only_train, "test"), r"no tile is left in split test; take another .*train 4"),
            (lambda: TileDataset(store, max_gap_hours=-1), "after the filters; loosen"),
            (lambda: TileDataset(store, "dev"), "must be one of train, val, test, all"),
            (lambda: TileDataset(store, crop=41), "crop 41: must be 1 to 40"),
            (lambda: TileDataset(store, drop_s1=1.5), "must be probabilities"),
            (lambda: TileDataset(store, reader="hdf5"), "must be auto, direct, tensorstore or zarr"),
            (lambda: TileDataset([]), "give at least one"),
            (lambda: TileDataset(tmp_path / "none.zarr"), "no such store")):
        with pytest.raises(InputError, match=words) as caught:
            make()
        assert "\n" not in str(caught.value)
    assert len(TileDataset([store, small], crop=24)) == 10
