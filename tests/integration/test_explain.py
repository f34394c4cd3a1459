"""Explanations as a user gets them: from a trained network, by the template and by a language model that answers."""

import http.server
import json
import threading

import numpy as np
import pytest
import torch

from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from model.config import make_config
from model.data import TileDataset
from model.evaluate import evaluate
from model.explain import explain_store, unheld
from model.metrics import scores
from model.train import train
from tests.commands import here


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("learn") / "a.zarr", tiles=12, size=48)


def trained(store, run, name, loss="focal"):
    options = {"widths": [4, 8]} if name == "unet" else {"variant": "small"}
    config = make_config({"model": {"name": name, "options": options}, "data": {"crop": 32},
                          "loss": {"name": loss},
                          "optim": {"epochs": 3, "batch_size": 4, "lr": 2e-3}, "run": {"tensorboard": False}})
    return run, train(store, run, config, device="cpu")


@pytest.fixture(scope="module")
def cloudlulc(store, tmp_path_factory):
    """Trained with its anchor, under RIFT."""
    return trained(store, tmp_path_factory.mktemp("runs") / "c", "cloudlulc_net", "rift")


def read(folder):
    return [json.loads(line) for line in (folder / "explanations.jsonl").read_text().splitlines()]


def test_it_learns_with_anchor_and_rift_and_goes_on(cloudlulc, store, tmp_path):
    _, summary = cloudlulc
    losses = [record["loss"] for record in summary.history]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    config = make_config({"model": {"name": "cloudlulc_net", "options": {"variant": "small"}}, "data": {"crop": 32},
                          "loss": {"name": "rift"}, "optim": {"epochs": 2, "batch_size": 4},
                          "run": {"tensorboard": False}})
    whole = train(store, tmp_path / "whole", config, device="cpu")
    train(store, tmp_path / "cut", config, device="cpu", pause_after=1)
    resumed = train(store, tmp_path / "cut", config, device="cpu")
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in whole.history]
    with pytest.raises(InputError, match="was begun otherwise .*loss.mix: 0.5 -> 0.4"):
        train(store, tmp_path / "cut", config.model_copy(update={"loss": config.loss.model_copy(update={"mix": 0.4})}),
              device="cpu")


def test_the_facts_are_those_of_the_evaluation(cloudlulc, store, tmp_path):
    run, _ = cloudlulc
    done = explain_store(store, run, tmp_path / "out", split="all", device="cpu")
    assert done == {"tiles": 12, "by_model": 0, "by_template": 12, "refused": 0}
    records = read(tmp_path / "out")
    found = evaluate(store, run, tmp_path / "page", split="all", device="cpu", shown=1, draws=10)
    tiles = {line.split(",")[0]: line.split(",") for line in (tmp_path / "page" / "tiles.csv").read_text().splitlines()}
    head = tiles["tile_id"]
    for record in records:
        facts = record["facts"]
        row = dict(zip(head, tiles[facts["tile"]["id"]], strict=True))
        assert facts["scores"]["overall_accuracy"] == pytest.approx(100 * float(row["oa"]), abs=0.051)
        assert facts["scores"]["miou"] == pytest.approx(100 * float(row["miou"]), abs=0.051)
        assert facts["labelled"]["pixels"] == int(row["pixels"])
        assert unheld(record["text"], facts) == []
        assert 0 < facts["fusion"]["reliability"] < 100 and facts["fusion"]["optical_shares"] is None
    pixels = np.array([r["facts"]["labelled"]["pixels"] for r in records])
    for sensor, other in (("s2", "s1"), ("s1", "s2")):
        right = np.array([r["facts"]["sensors"][f"without_{sensor}"]["overall_accuracy"] for r in records])
        assert (right * pixels).sum() / pixels.sum() == pytest.approx(100 * found["by_modality"][other]["oa"], abs=0.06)
    assert found["by_cloud_stratum"] and sum(g["tiles"] for g in found["by_cloud_stratum"].values()) == 12
    assert (tmp_path / "out" / "explanations.md").read_text().count("## ") == 12


def test_networks_that_can_say_less(store, tmp_path):
    for name, sensors in (("segformer_s2", False), ("claire", True)):
        run, _ = trained(store, tmp_path / name, name)
        explain_store(store, run, tmp_path / f"{name}_out", device="cpu", limit=1)
        (record,) = read(tmp_path / f"{name}_out")
        facts = record["facts"]
        assert (facts["sensors"] is not None) == sensors and facts["fusion"]["reliability"] is None
        assert (facts["fusion"]["optical_shares"] is not None) == (name == "claire")
        assert ("leans on" in record["text"]) == sensors


def test_the_command_and_a_language_model(cloudlulc, store, tmp_path):
    run, _ = cloudlulc
    answers = iter(["A map of 123.456 %.", "A map, good in places.", *["Of 99,999,999 pixels none."] * 2])

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"content": next(answers)}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    def tool(*arguments):
        return here("pipelines.explain", *arguments)

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = tool("--store", store, "--run", run, "--limit", 2, "--lm", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert "1 by the language model, 1 by the template, 3 answers refused" in done.stdout
    first, second = read(run / "explanations_test")
    assert first["text"] == "A map, good in places." and first["refused"][0]["numbers"] == ["123.456"]
    assert second["source"] == "template"
    for arguments, words in ((["--store", tmp_path / "no", "--run", run], "no"), (["--run", run], "STORE"),
                             (["--store", store, "--run", tmp_path / "no"], "train first"),
                             (["--store", store, "--run", run, "--lm", tmp_path], "holds no config.json"),
                             (["--store", store, "--run", run, "--limit", 0], "--limit 0")):
        done = tool(*arguments)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_the_facts_add_up(cloudlulc, store, tmp_path):
    run, _ = cloudlulc
    explain_store(store, run, tmp_path / "out", device="cpu")
    data = TileDataset(store, "test")
    for index, record in enumerate(read(tmp_path / "out")):
        facts, label = record["facts"], data.tile(index).label
        truth = np.bincount(label[label != 255], minlength=9)
        shares = {c["name"]: c["true"] for c in facts["classes"]}
        for name, pixels in zip(("water", "trees", "grass"), truth, strict=False):
            assert shares.get(name, 0.0) == pytest.approx(100 * pixels / truth.sum(), abs=0.051)
        assert sum(c["mapped"] for c in facts["classes"]) == pytest.approx(100, abs=0.5)
        assert scores(np.diag(truth))["present"] == facts["scores"]["classes_present"]
