"""A comparison as a user runs it: several networks, one budget, one table; finished runs are taken up as they are."""

import json

import numpy as np
import pytest

from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from model import checkpoint as checkpoints
from model.compare import compare, score_all
from model.config import make_config
from model.evaluate import evaluate
from model.networks.layers import count_parameters
from tests.commands import here

MODELS = ("unet,widths=[4, 8]", "claire:small", "cloudlulc_net:small,anchor=false,loss.name=rift")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("learn") / "a.zarr", tiles=16, size=48)


def tool(*arguments):
    return here("pipelines.compare", *arguments)


def test_the_command(store, tmp_path, monkeypatch):
    monkeypatch.setattr("model.evaluate.write_page", lambda *_: None)  # its figures are looked at, not its pictures
    out = tmp_path / "table"
    arguments = ["--store", store, "--out", out, "--config", "small", "--set", "data.crop=32", "--set",
                 "optim.epochs=2", "--set", "run.tensorboard=false", "--speed-seconds", 0, "--seeds", 0, 1, "--models",
                 *MODELS]
    done = tool(*arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "compare.json").read_text())
    assert list(report["overall"]["entries"]) == list(MODELS) == list(report["cost"])
    table = (out / "compare.md").read_text()
    assert table.strip() in done.stdout and all(f"| {name} |" in table for name in MODELS)
    first = report["overall"]["entries"][MODELS[0]]["miou"]
    assert first["difference"] == 0 and first["difference_interval"] == [0, 0] and len(first["seeds"]) == 2
    for name in MODELS:
        row, cost = report["overall"]["entries"][name], report["cost"][name]
        found = evaluate(store, cost["runs"][1], tmp_path / "page", device="cpu", shown=1, draws=10)
        for score in ("miou", "oa", "macro_f1"):
            assert row[score]["seeds"][1] == pytest.approx(found["overall"][score], abs=1e-9)
        low, high = row["miou"]["interval"]
        assert low <= row["miou"]["value"] <= high
        kept = checkpoints.load(cost["runs"][0])
        assert cost["parameters"] == count_parameters(kept.net) and cost["gmac"] > 0
        assert kept.info["config"]["optim"]["epochs"] == 2 and kept.info["config"]["data"]["crop"] == 32
    assert checkpoints.load(cost["runs"][1]).info["config"]["loss"]["name"] == "rift"
    kept = np.load(out / "counts.npz")
    assert list(kept["entries"])[:len(MODELS)] == list(MODELS) and len(kept["block"]) == report["overall"]["tiles"]
    for i, name in enumerate(MODELS):  # whoever groups the counts anew, of all tiles at once, has the table's scores
        found = score_all(kept[f"confusion_{i}"].sum(1))[:, 0]
        np.testing.assert_allclose(found, report["overall"]["entries"][name]["miou"]["seeds"])
    # Again: nothing is trained twice, the scores are the same.
    again = tool(*arguments)
    assert again.returncode == 0 and "is finished" in again.stdout
    assert json.loads((out / "compare.json").read_text())["overall"] == report["overall"]


def test_mistakes_are_one_sentence(store, tmp_path):
    base = make_config({})
    for models, words in ((["vgg"], "must be one of"), (["unet", "unet"], "stands there twice"), ([], "at least one"),
                          (["claire,depth=3"], "has no option 'depth'"), (["unet,loss.name=dice"], "loss.name")):
        with pytest.raises(InputError, match=words) as caught:
            compare(store, tmp_path / "out", base, models, device="cpu")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    done = tool("--models", "unet")
    assert done.returncode == 2 and "STORE" in done.stderr and done.stderr.count("\n") == 1
