"""Temperatures: found where they are known, kept with the weights, used by maps and evaluation; flips likewise."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.bench_model import make_store
from model import checkpoint as checkpoints
from model.calibration import fit_temperature
from model.config import make_config
from model.evaluate import evaluate
from model.predict import Predictor
from model.probabilities import mean_probabilities, turned_logits
from model.train import train


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 9, generator=generator)
    label = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
    found = fit_temperature(logits, label)
    assert found.temperature == pytest.approx(temperature, rel=0.05) and found.pixels == 20_000
    assert found.after <= found.before and found.after == pytest.approx(
        float(nn.functional.cross_entropy(logits / found.temperature, label)), abs=1e-5)


def test_no_temperature_where_there_is_none():
    logits = 5 * torch.eye(9)
    assert fit_temperature(logits, torch.arange(9)) is None  # right about all: the colder the better
    assert fit_temperature(logits, (torch.arange(9) + 1) % 9) is None  # wrong about all: the warmer the better
    assert fit_temperature(torch.empty(0, 9), torch.empty(0)) is None


class Sided(nn.Module):
    """Knows how far left and how far up a pixel lies, so that flips change its answer."""

    def forward(self, s2, s1):
        ramp = torch.linspace(0, 1, s2.shape[-1])
        return torch.stack([s2[:, 0] + ramp, s1[:, 0] + ramp[:, None], s2[:, 0] * 0], dim=1)


def test_flips_lie_as_the_image_does():
    generator = torch.Generator().manual_seed(1)
    s2, s1 = (torch.randn(1, 1, 6, 6, generator=generator) for _ in range(2))
    plain = turned_logits(Sided(), s2, s1)
    assert len(plain) == 1 and torch.equal(plain[0], Sided()(s2, s1))
    found = turned_logits(Sided(), s2, s1, flips=True)
    assert len(found) == 4 and not torch.allclose(found[1], plain[0])
    mean = mean_probabilities(found)
    torch.testing.assert_close(mean.sum(1), torch.ones(1, 6, 6))
    # Whoever flips the image gets the flipped answer: the mean is free of sides.
    for axis in (-1, -2):
        turned = mean_probabilities(turned_logits(Sided(), s2.flip(axis), s1.flip(axis), flips=True))
        torch.testing.assert_close(turned.flip(axis), mean)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    store = make_store(folder / "a.zarr", tiles=12, size=32)
    config = make_config({"model": {"name": "pixel_mlp", "options": {"widths": [16]}}, "run": {"tensorboard": False},
                          "loss": {"gamma": 0}, "optim": {"epochs": 12, "batch_size": 2, "lr": 2e-2}})
    train(store, folder / "run", config, device="cpu")
    return store, folder / "run"


def test_a_run_keeps_its_temperature_and_the_evaluation_tells(trained, tmp_path):
    store, run = trained
    kept = checkpoints.load(run)
    assert kept.info["calibration"]["temperature"] == kept.temperature != 1
    assert kept.info["calibration"]["nll_after"] <= kept.info["calibration"]["nll_before"]
    found = evaluate(store, run, tmp_path / "page", split="val", device="cpu", shown=1, draws=10)
    assert found == json.loads((tmp_path / "page/metrics.json").read_text())
    before, after = found["calibration"]["ece"], found["calibration"]["after_temperature"]["ece"]
    assert found["temperature"] == kept.temperature and before != after
    assert "temperature of" in (tmp_path / "page/index.html").read_text()
    flipped = evaluate(store, run, tmp_path / "flips", split="val", device="cpu", shown=1, draws=10, flips=True)
    assert flipped["flips"] and flipped["overall"]["pixels"] == found["overall"]["pixels"]
    assert flipped["confusion"] == found["confusion"]  # a network that sees single pixels does not mind


def test_maps_use_it_and_a_checkpoint_without_one_is_as_before(trained, tmp_path):
    _, run = trained
    tensors, info = checkpoints.read(run / "best.safetensors")
    info.pop("format")
    for number, kept in enumerate((None, {"temperature": 4.0})):
        info["calibration"] = kept
        checkpoints.save(tmp_path / f"{number}.safetensors", tensors, info)
    rng = np.random.default_rng(0)
    s2, s1 = rng.integers(1, 4000, (1, 6, 32, 32)).astype("uint16"), np.full((1, 2, 32, 32), -1200, "int16")
    plain, warm = (Predictor(checkpoints.load(tmp_path / f"{n}.safetensors"), torch.device("cpu"))(s2, s1, 16)
                   for n in range(2))
    assert plain.max(1).mean() > warm.max(1).mean() + 500
    assert (plain.argmax(1) == warm.argmax(1)).mean() > 0.999
