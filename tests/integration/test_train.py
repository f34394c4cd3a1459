"""Training and evaluation as a user runs them, on small stores whose pixels tell the class."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench_model import make_store
from dwplus.errors import DwplusError, InputError
from dwplus.store import layout
from model import checkpoint as checkpoints
from model.config import load_config, make_config
from model.data import TileDataset
from model.evaluate import evaluate
from model.metrics import scores
from model.train import Trainer, train
from tests.commands import PATIENCE, here

ROOT = Path(__file__).parents[2]
#: No randomness but the order and the weights, so that runs cut otherwise can be compared.
STEADY = {"model": {"options": {"variant": "small", "dropout": 0.0, "drop_path": 0.0}},
          "data": {"crop": 32, "threads": 2}, "optim": {"epochs": 3, "batch_size": 4, "lr": 1e-3},
          "run": {"tensorboard": False}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("learn") / "a.zarr", tiles=16, size=64)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A network trained for a few seconds, with missing sensors."""
    run = tmp_path_factory.mktemp("runs") / "first"
    config = load_config("small", {"data": {"crop": 48, "drop_s1": 0.15, "drop_s2": 0.15},
                                   "optim": {"epochs": 25, "batch_size": 4, "lr": 2e-3}})
    return run, train(store, run, config, device="cpu")


def steady(**changes):
    from model.config import merged

    return make_config(merged(STEADY, changes))


def losses(summary):
    return [record["loss"] for record in summary.history]


def tool(name, *arguments):
    return here(f"pipelines.{name}", *arguments)


def test_it_learns_and_keeps_what_it_needs(trained, store):
    run, summary = trained
    assert summary.best_miou > 0.4 and summary.history[-1]["loss"] < summary.history[0]["loss"] / 2
    for name in ("config.yaml", "best.safetensors", "last.safetensors", "log.jsonl"):
        assert (run / name).stat().st_size > 0
    kept = checkpoints.load(run)
    assert kept.name == "specsar_former" and kept.info["s1_bands"] == ["VV", "VH"]
    assert kept.info["specs"][0]["name"] == "learnable" and kept.info["config"]["optim"]["epochs"] == 25
    assert kept.normalisation == TileDataset(store).normalisation
    assert [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()] == list(range(1, 26))


def test_evaluation_says_where_it_is_wrong(trained, store, tmp_path):
    run, summary = trained
    found = evaluate(store, run, tmp_path / "page", split="val", device="cpu", shown=3, draws=100)
    assert found["overall"]["miou"] == pytest.approx(summary.best_miou, abs=1e-6)
    assert found["overall"] == found["by_modality"]["s2+s1"]
    # Two pairs of classes look alike in S2, and S1 is noisy.
    both, s2, s1 = (found["by_modality"][m]["miou"] for m in ("s2+s1", "s2", "s1"))
    assert both > s2 > s1
    data = TileDataset(store, "val")
    labelled = sum(int((data.tile(i).label != 255).sum()) for i in range(len(data)))
    for key in ("by_biome", "by_gap_hours", "by_cloud"):
        assert sum(group["pixels"] for group in found[key].values()) == labelled == found["overall"]["pixels"]
    low, high = found["overall"]["interval"]["miou"]
    assert low < found["overall"]["miou"] < high
    np.testing.assert_allclose(found["overall"]["miou"], scores(found["confusion"])["miou"])
    bins = found["calibration"]
    assert sum(bins["pixels"]) == labelled and 0 <= bins["ece"] <= 1
    stored = json.loads((tmp_path / "page" / "metrics.json").read_text())
    assert stored["overall"]["oa"] == found["overall"]["oa"]
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<figure>") == 3 and "src=\"http" not in page and "flooded vegetation" in page
    assert (tmp_path / "page" / "tiles.csv").read_text().count("\n") == 1 + len(data)


def test_a_stopped_run_goes_on_as_if_it_had_not(store, tmp_path):
    config = steady(model={"options": {"dropout": 0.1, "drop_path": 0.1}},
                    data={"augment": True, "drop_s1": 0.2, "radiometric": 0.1},
                    optim={"ema": 0.9, "accumulate": 2, "batch_size": 2})
    whole = train(store, tmp_path / "whole", config, device="cpu")
    first = train(store, tmp_path / "cut", config, device="cpu", pause_after=1)
    assert first.stopped == "paused" and first.epochs == 1
    second = train(store, tmp_path / "cut", config, device="cpu")
    assert second.epochs == 3 and losses(second) == losses(whole)
    assert [r["val_miou"] for r in second.history] == [r["val_miou"] for r in whole.history]
    a, b = (checkpoints.read(tmp_path / name / "last.safetensors")[0] for name in ("whole", "cut"))
    assert set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)
    again = train(store, tmp_path / "cut", config, device="cpu")
    assert again.epochs == 3 and losses(again) == losses(whole)
    faster = config.model_copy(update={"optim": config.optim.model_copy(update={"lr": 2e-3})})
    with pytest.raises(InputError, match=r"was begun otherwise \(optim.lr: 0.001 -> 0.002\); choose another RUN"):
        train(store, tmp_path / "cut", faster, device="cpu")


def test_a_finished_run_goes_on_to_more_epochs(store, tmp_path, capsys):
    """With a constant rate as if it had been begun for so many; with a cosine at the rate of that step in the longer
    run; to fewer never."""
    def config(epochs, schedule):
        return steady(optim={"epochs": epochs, "schedule": schedule, "batch_size": 4})

    whole = train(store, tmp_path / "whole", config(3, "constant"), device="cpu")
    train(store, tmp_path / "longer", config(2, "constant"), device="cpu")
    capsys.readouterr()
    longer = train(store, tmp_path / "longer", config(3, "constant"), device="cpu")
    assert "goes on from epoch 2 to 3 epochs, begun for 2\n" in capsys.readouterr().out
    assert longer.stopped == "done" and losses(longer) == losses(whole)
    train(store, tmp_path / "cosine", config(1, "cosine"), device="cpu")
    train(store, tmp_path / "cosine", config(2, "cosine"), device="cpu")
    assert "the rate is that of this step in a run of that many" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"was begun otherwise \(optim.epochs: 3 -> 2\)"):
        train(store, tmp_path / "longer", config(2, "constant"), device="cpu")


def test_a_run_killed_within_an_epoch_goes_on_as_if_it_had_not(store, tmp_path, monkeypatch):
    config = steady(data={"augment": True, "drop_s1": 0.2, "shuffle_buffer": 4, "balance": "biome"},
                    optim={"ema": 0.9, "accumulate": 2, "batch_size": 1, "epochs": 2}, run={"save_every": 1})
    whole = train(store, tmp_path / "whole", config, device="cpu")
    step, per_epoch = Trainer._step, whole.steps // 2
    assert per_epoch >= 4

    def dies(self, parts):
        if self.step == per_epoch + 2:
            raise KeyboardInterrupt
        return step(self, parts)

    monkeypatch.setattr(Trainer, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train(store, tmp_path / "cut", config, device="cpu")
    monkeypatch.setattr(Trainer, "_step", step)
    assert checkpoints.read(tmp_path / "cut" / "last.safetensors")[1]["passed"]["steps"] == 2
    steps = []
    monkeypatch.setattr(Trainer, "_step", lambda self, parts: steps.append(self.step) or step(self, parts))
    again = train(store, tmp_path / "cut", config, device="cpu")
    assert steps[0] == per_epoch + 2 and losses(again) == losses(whole)
    a, b = (checkpoints.read(tmp_path / name / "last.safetensors")[0] for name in ("whole", "cut"))
    assert set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_parts_of_a_batch_add_up_to_it(store, tmp_path):
    """Without batch norm in the way: the labelled pixels of the whole batch weigh every part."""
    config = steady()
    trainer = Trainer([str(store)], tmp_path / "a", config, _here())
    data = TileDataset(store, "train", crop=32, augment=True)
    trainer.net.eval()
    from model.loader import Loader

    whole, parts = next(iter(Loader(data, [[0, 1, 2, 3]]))), list(Loader(data, [[0], [1, 2, 3]]))
    norms = []
    for batches in ([whole], parts):
        norms.append(trainer._step(batches).read())
        trainer.step = 0
        torch.manual_seed(0)
        trainer.net.load_state_dict(_fresh(trainer))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def _here():
    from model.distributed import World

    return World(0, 1, torch.device("cpu"))


def _fresh(trainer):
    from model.networks.registry import build

    torch.manual_seed(trainer.config.run.seed)
    return build(trainer.config.model.name, **trainer.options).state_dict()


DDP = """
import sys, json, torch
torch.set_num_threads(1)
from model.config import make_config
from model.train import train
store, run, config = sys.argv[1:4]
for pause in (1, None):
    summary = train(store, run + str(pause or 2), make_config(json.loads(config)), device="cpu", pause_after=pause)
"""


def test_two_processes_equal_one(store, tmp_path):
    """The same global batch of eight: once in one process, once four by four, batch norm included.

    Losses and gradients agree to 1e-5. Weights are not compared: where a gradient is zero but for rounding (the bias of
    the keys), AdamW makes a whole step of the rounding.
    """
    one = train(store, tmp_path / "one", steady(optim={"epochs": 2, "batch_size": 8}), device="cpu", pause_after=1)
    gradients, _ = checkpoints.read(tmp_path / "one" / "last.safetensors")
    one = train(store, tmp_path / "one", steady(optim={"epochs": 2, "batch_size": 8}), device="cpu")
    script = tmp_path / "ddp.py"
    script.write_text(DDP)
    config = steady(optim={"epochs": 2, "batch_size": 4}).to_dict()
    both = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script),
         str(store), str(tmp_path / "two"), json.dumps(config)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    try:
        said, _ = both.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(both.pid, signal.SIGKILL)  # torchrun and its workers: a hung pair would outlive the test
        raise
    assert both.returncode == 0, said[-3000:]
    assert "Warning" not in said, said
    theirs, _ = checkpoints.read(tmp_path / "two1" / "last.safetensors")
    _, info = checkpoints.read(tmp_path / "two2" / "last.safetensors")
    assert info["processes"] == 2 and info["step"] == 2
    for mine, other in zip(losses(one), [r["loss"] for r in info["history"]], strict=True):
        assert mine == pytest.approx(other, rel=1e-5)
    # After one step AdamW's first moment is a tenth of the gradient.
    names = [n for n in gradients if n.startswith("optim.exp_avg.")]
    whole = torch.cat([gradients[n].double().ravel() for n in names])
    apart = torch.cat([(gradients[n].double() - theirs[n].double()).ravel() for n in names])
    assert float(apart.norm() / whole.norm()) < 1e-5
    torch.testing.assert_close(gradients["net.decoder.norm.running_var"], theirs["net.decoder.norm.running_var"],
                               rtol=1e-5, atol=1e-6)


def test_other_networks_and_several_stores(store, tmp_path):
    later = make_store(tmp_path / "later.zarr", tiles=8, size=48, first=200)
    for name in ("unet", "segformer_s1", "late_fusion"):
        options = {"widths": [4, 8]} if name == "unet" else {"variant": "small"}
        config = make_config({"model": {"name": name, "options": options}, "data": {"crop": 32},
                              "optim": {"epochs": 1, "batch_size": 4}, "run": {"tensorboard": False}})
        summary = train([store, later], tmp_path / name, config, device="cpu")
        assert summary.epochs == 1 and np.isfinite(summary.best_miou)
    found = evaluate([store, later], tmp_path / "segformer_s1", tmp_path / "page", device="cpu", shown=1, draws=10)
    assert list(found["by_modality"]) == ["s1"] and found["overall"]["tiles"] == 6


def test_averaged_weights_of_a_network_without_buffers(store, tmp_path):
    config = make_config({"model": {"name": "pixel_mlp", "options": {"widths": [8]}}, "data": {"crop": 32},
                          "optim": {"epochs": 1, "batch_size": 4, "ema": 0.9}, "run": {"tensorboard": False}})
    assert np.isfinite(train(store, tmp_path / "run", config, device="cpu").best_miou)


def test_without_validation_tiles(tmp_path, capsys):
    store = make_store(tmp_path / "a.zarr", tiles=4, size=32, splits=("train",))
    summary = train(store, tmp_path / "run", steady(optim={"epochs": 2}), device="cpu")
    assert summary.best_epoch == 2 and (tmp_path / "run" / "best.safetensors").exists()
    assert "training without validation" in capsys.readouterr().out


def test_early_stop(store, tmp_path):
    config = steady(optim={"epochs": 9, "lr": 1e-9, "schedule": "constant"}, run={"patience": 2})
    summary = train(store, tmp_path / "run", config, device="cpu")
    assert summary.stopped == "early" and summary.epochs == summary.best_epoch + 2 < 9
    assert train(store, tmp_path / "run", config, device="cpu").epochs == summary.epochs


def test_a_loss_that_is_not_finite_stops_the_run(store, tmp_path, monkeypatch):
    calls = []
    real = Trainer._backward

    def broken(self, part, pixels):
        calls.append(1)
        loss = real(self, part, pixels)
        return loss * float("nan") if len(calls) in (2, 3) or len(calls) > 6 else loss

    monkeypatch.setattr(Trainer, "_backward", broken)
    config = steady(optim={"epochs": 20}, run={"max_bad_steps": 3})
    with pytest.raises(DwplusError, match="not finite for 3 steps in a row .*lower optim.lr"):
        train(store, tmp_path / "run", config, device="cpu")
    assert len(calls) == 10  # a step is looked at in the middle of the next
    tensors, info = checkpoints.read(tmp_path / "run" / "last.safetensors")
    assert [r["skipped"] for r in info["history"]] == [1, 1, 0, 2] and info["history"][3]["loss"] is None
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_bf16_and_no_augmentation(store, tmp_path):
    config = steady(data={"augment": False, "crop": None}, optim={"epochs": 1}, run={"precision": "bf16"})
    assert np.isfinite(losses(train(store, tmp_path / "run", config, device="cpu"))).all()


def test_the_two_commands(store, tmp_path):
    run = tmp_path / "run"
    done = tool("train", "--store", store, "--run", run, "--config", "small", "--model", "segformer:small", "--set",
                "data.crop=32", "--set", "optim.epochs=2", "--set", "run.tensorboard=false")
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stdout and f"dwplus evaluate --store {store} --run {run}" in done.stdout
    done = tool("evaluate", "--store", store, "--run", run, "--shown", 1)
    assert done.returncode == 0, done.stderr
    assert "mIoU" in done.stdout and (run / "evaluation_test" / "index.html").exists()


def test_mistakes_are_one_sentence(trained, store, tmp_path):
    run, _ = trained
    other = make_store(tmp_path / "other.zarr", tiles=4, size=32, bands=("B2", "B3"))
    no_s1 = Path(shutil.copytree(store, tmp_path / "no_s1.zarr"))
    shutil.rmtree(no_s1 / "biome_12" / "s1")
    wrong = Path(shutil.copytree(store, tmp_path / "wrong.zarr"))
    layout.open_root(wrong, "r+")["biome_04"]["label"][0, 0, 0] = 99
    not_ours = tmp_path / "x.safetensors"
    not_ours.write_bytes(b"nothing")
    for make, words in (
            (lambda: train(no_s1, tmp_path / "r", steady()), "has no Sentinel-1"),
            (lambda: train(wrong, tmp_path / "r", steady()), "holds label 99; labels must be 0 to 8"),
            (lambda: train(store, tmp_path / "r", steady(data={"min_gap_hours": 999})), "after the filters"),
            (lambda: train(store, run, steady()), "was begun otherwise .* choose another RUN"),
            (lambda: train(other, run, load_config("small")), "was begun otherwise"),
            (lambda: evaluate(other, run, tmp_path / "o"), "has s2_bands B2 B3, checkpoint .* was trained on"),
            (lambda: evaluate(store, run, tmp_path / "o", expect="unet"), "is of model specsar_former, not unet"),
            (lambda: evaluate(store, tmp_path / "none", tmp_path / "o"), "no such file; train first"),
            (lambda: evaluate(store, not_ours, tmp_path / "o"), "is no checkpoint of this project"),
            (lambda: train(store, tmp_path / "r", make_config({"model": {"name": "vgg"}})), "must be one of"),
            (lambda: make_config({"optim": {"rate": 1}}), "unknown key optim.rate; did you mean optim.lr"),
            (lambda: make_config({"optim": {"lr": -1}}), "optim.lr: input should be greater than 0"),
            (lambda: load_config("nothing"), "one of .*small, specsar_former")):
        with pytest.raises(InputError, match=words) as caught:
            make()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_weights_of_another_size_are_refused(trained):
    from model.networks.registry import build

    run, _ = trained
    tensors, _ = checkpoints.read(run / "best.safetensors")
    with pytest.raises(InputError, match="holds the weights of another model"):
        checkpoints.fill(build("specsar_former", variant="b0"), checkpoints.part(tensors, "net"), "checkpoint x")


def test_the_commands_answer_one_line_and_two(tmp_path):
    for name, arguments in (("train", ("--store", tmp_path / "no")),
                            ("evaluate", ("--store", tmp_path / "no", "--run", tmp_path / "no"))):
        done = tool(name, *arguments)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
