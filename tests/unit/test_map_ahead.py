"""A map's next blocks are fetched while the network works, and its probabilities are those of whole windows."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from benchmarks.bench_map import untrained
from benchmarks.bench_model import BANDS, make_store
from dwplus.grid import PixelGrid
from dwplus.maps.blocks import UNIT, Block, Frame, Scene, WindowShape
from dwplus.maps.inputs import WindowPixels
from dwplus.maps.work import Work
from model import mapping, predict
from model.checkpoint import load
from model.mapping import Job, map_blocks
from model.predict import Predictor

SHAPE = WindowShape(margin=16, ramp=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ahead")
    store = make_store(folder / "a.zarr", tiles=4, size=64, bands=BANDS)
    return untrained(folder, str(store))


def pixels_of(side):
    rng = np.random.default_rng(0)
    s2 = rng.integers(200, 4000, (10, side, side)).astype("uint16")
    s1 = rng.integers(-2500, 0, (2, side, side)).astype("int16")
    s2[:, :, :15], s1[:, :, :15] = 65535, -32768
    return s2, s1


@dataclass
class Slow:
    """Pixels that say when they are asked for; the third block's come once the network has begun with the first's."""

    asked: list = field(default_factory=list)
    third: threading.Event = field(default_factory=threading.Event)
    network: threading.Event = field(default_factory=threading.Event)
    in_time: bool = False

    def begin(self):
        """Nothing to make ready."""

    def read(self, block, scene):
        self.asked.append(block.id)
        if block.id == "2":
            self.third.set()
            self.in_time = self.network.wait(30)
        s2, s1 = pixels_of(SHAPE.window(block.grid).width)
        return WindowPixels(s2, s1, np.ones(s2.shape[1:], bool))


def test_the_next_blocks_are_fetched_while_the_network_works(run, tmp_path, monkeypatch):
    inputs, real, waited = Slow(), Predictor.__call__, []

    def work(self, s2, s1, keep):
        # The third is being fetched while the first is worked, and comes only because this one has begun.
        if not waited:
            waited.append(inputs.third.wait(30))
            inputs.network.set()
        return real(self, s2, s1, keep)

    monkeypatch.setattr(Predictor, "__call__", work)
    mapping._predictor.cache_clear()
    scene = Scene("s2", "s1", "", "sr", 0, 0, 0.0)
    blocks = [Block(str(i), PixelGrid(32648, 5e5 + 640 * i, 1e6, 10.0, 64, 64), (scene,)) for i in range(3)]
    Work(tmp_path).prepare()
    job = Job(inputs, run, str(tmp_path), SHAPE, device="cpu")
    found = map_blocks(job, Frame(blocks, SHAPE), None, lambda *_: None)
    assert found.mapped == 3 and waited == [True] and inputs.in_time and sorted(inputs.asked) == ["0", "1", "2"]


def test_probabilities_of_a_few_rows_at_a_time_are_those_of_the_window(run, monkeypatch):
    predictor, side, keep = Predictor(load(run), torch.device("cpu")), 90, 70
    s2, s1 = pixels_of(side)
    found = []
    for rows in (32, 1000):
        monkeypatch.setattr(predict, "ROWS", rows)
        found.append(predictor(s2[None], s1[None], keep))
    assert found[0].shape == (1, 9, keep, keep) and np.array_equal(*found)
    assert not found[0][..., :5].any() and found[0][..., 5:].any()
    total = found[0][..., 5:].sum(1, dtype="uint32")
    assert (np.abs(total.astype("int64") - UNIT) <= 9).all()
