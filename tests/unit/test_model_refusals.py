"""What a config asks of a store that cannot be is refused before anything is measured, not put right in silence."""

import pytest

from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from model import train as training
from model.compare import config_of, parse_entry
from model.config import load_config, make_config
from model.distributed import world
from model.train import Trainer, train


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("refusals") / "a.zarr", tiles=8, size=32)


def config(**parts):
    return make_config({"model": {"name": "unet", "options": {"widths": [4, 8]}}, "run": {"tensorboard": False},
                        "optim": {"epochs": 1}} | parts)


@pytest.mark.parametrize(("parts", "words"), [
    ({"data": {"crop": 600}}, "data.crop 600: the tiles of store .* are 32 px"),
    ({"model": {"name": "unet", "options": {"s2_bands": 3}}}, "model.options.s2_bands 3: store .* has 6"),
    ({"model": {"name": "unet", "options": {"s1_bands": 1}}}, "model.options.s1_bands 1: store .* has 2"),
    ({"model": {"name": "specsar_former", "options": {"variant": "b9"}}}, "variant"),
])
def test_refused_before_statistics_are_read(store, tmp_path, monkeypatch, parts, words):
    def measured(*_, **__):
        raise AssertionError("statistics were read")

    monkeypatch.setattr(training, "band_statistics", measured)
    with pytest.raises(InputError, match=words) as caught:
        train(store, tmp_path / "run", config(**parts), device="cpu")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_shipped_crop_gives_way_and_one_that_is_set_does_not(store, tmp_path):
    shipped = load_config("small")
    assert shipped.data.crop == 256 and shipped.data.crop_gives_way
    with world("cpu") as here:
        assert Trainer([str(store)], tmp_path / "a", shipped, here).side == 32
    assert not load_config("small", {"data": {"crop": 600}}).data.crop_gives_way
    entry = parse_entry("unet,data.crop=600")
    assert not config_of(entry, shipped, 0).data.crop_gives_way
    own = tmp_path / "own.yaml"
    own.write_text("data: {crop: 600}\n")
    assert not load_config(str(own)).data.crop_gives_way


def test_a_run_of_earlier_builds_with_a_larger_crop_goes_on(store, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "crop_of", lambda crop, sizes, stores, gives_way: min(crop, *sizes))
    train(store, tmp_path / "run", config(data={"crop": 600}, optim={"epochs": 2}), device="cpu", pause_after=1)
    monkeypatch.undo()
    found = train(store, tmp_path / "run", config(data={"crop": 600}, optim={"epochs": 2}), device="cpu")
    assert found.epochs == 2


def test_no_tensorboard_is_said(store, tmp_path, monkeypatch, capsys):
    # None in sys.modules: importing it fails, as where it is not installed.
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    found = train(store, tmp_path / "run", config(run={"tensorboard": True}), device="cpu")
    assert found.epochs == 1 and "tensorboard is not installed" in capsys.readouterr().out
