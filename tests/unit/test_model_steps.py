"""A training step: the arithmetic of the first build, no number asked of the device, checkpoints written beside it."""

import copy
import math
import threading
import time

import pytest
import torch

from benchmarks.bench_model import make_store
from dwplus.errors import DwplusError
from model import checkpoint as checkpoints
from model.config import make_config
from model.distributed import World
from model.loader import Loader
from model.losses import make_loss
from model.radiometry import varied
from model.train import Trainer
from model.validation import tiles_at_once

STEPS = 50


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("steps") / "a.zarr", tiles=16, size=32)


def trainer_of(store, run, **optim):
    config = make_config({"model": {"options": {"variant": "small", "dropout": 0.0}},
                          "optim": {"batch_size": 2, "epochs": STEPS, "ema": 0.9, "lr": 1e-3, **optim},
                          "data": {"threads": 1}, "run": {"tensorboard": False}})
    return Trainer([str(store)], run, config, World(0, 1, torch.device("cpu")))


def batches_of(trainer, count):
    """Batches of whole tiles, again and again."""
    tiles = len(trainer.data)
    return list(Loader(trainer.data, [[2 * i % tiles, (2 * i + 1) % tiles] for i in range(count)], threads=1))


def first_build(trainer, batches):
    """Losses, weights and averaged weights by the first build's step: AdamW unfused, each step looked at at once."""
    optim = trainer.config.optim
    net = copy.deepcopy(trainer.net).train()
    average = copy.deepcopy(net).requires_grad_(False)
    loss_of = make_loss(trainer.config.loss, trainer.data.class_counts)
    groups = [{"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": optim.weight_decay},
              {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas)
    losses = []
    for step, batch in enumerate(batches):
        trainer.step = step
        for group in optimiser.param_groups:
            group["lr"] = trainer._rate()
        s2, s1, label = trainer.normaliser(batch.s2, batch.s1, batch.label, batch.keep)
        loss = loss_of(net(s2, s1), label, (batch.label != 255).sum().clamp_min(1).float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), optim.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        keep = min(optim.ema, (2 + step) / (11 + step))
        with torch.no_grad():
            for old, new in zip(average.parameters(), net.parameters(), strict=True):
                old.lerp_(new, 1 - keep)
            for old, new in zip(average.buffers(), net.buffers(), strict=True):
                old.copy_(new)
        losses.append(float(loss.detach()))
    trainer.step = 0
    return losses, average


def test_fifty_steps_have_the_losses_of_the_first_build(store, tmp_path):
    # At a rate at which training is not yet chaotic: from a higher one on, rounding itself grows past any bound.
    trainer = trainer_of(store, tmp_path / "run", lr=1e-4, warmup_epochs=2)
    batches = batches_of(trainer, STEPS)
    want, average = first_build(trainer, batches)
    trainer.net.train()
    for batch in batches:
        trainer._step([batch])
    trainer._flush()
    # Rounding is another from machine to machine, and grows with the steps: 4e-7 after 15 of them and 7e-5 after 50,
    # with vectors of 512 bits. A rate that is 0.2 % off shows as 1e-4 after 15.
    assert len(want) == STEPS and trainer.passed.losses[:15] == pytest.approx(want[:15], rel=1e-5)
    assert trainer.passed.losses == pytest.approx(want, rel=2e-4)
    assert min(want) < 0.85 * want[0]  # it learnt, so that a step that is none would show
    theirs, ours = average.state_dict(), trainer.ema.state_dict()
    torch.testing.assert_close(ours["decoder.norm.running_var"], theirs["decoder.norm.running_var"], rtol=2e-2,
                               atol=1e-6)
    apart = torch.cat([(ours[n] - theirs[n]).ravel() for n in ours if ours[n].is_floating_point()]).norm()
    assert apart < 1e-3 * torch.cat([theirs[n].ravel() for n in ours if ours[n].is_floating_point()]).norm()


def test_a_step_asks_no_tensor_for_a_number(store, tmp_path, monkeypatch):
    """On CUDA each such question would wait for the device."""
    trainer = trainer_of(store, tmp_path / "run")
    batches = batches_of(trainer, 3)
    trainer.net.train()
    trainer._step([batches[0]])
    asked = []
    for name in ("item", "__float__", "__bool__", "__int__", "__index__", "cpu"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, *a, real=real, name=name, **k: (
            asked.append(name), real(self, *a, **k))[1])
    trainer._step([batches[1]])
    trainer._step([batches[2]])
    assert asked == []
    assert float(torch.ones(())) == 1.0 and asked == ["__float__"]  # the counter counts
    assert len(trainer.passed.losses) == 2  # the third is still to be looked at


def test_a_step_that_is_not_finite_changes_nothing(store, tmp_path, monkeypatch):
    trainer = trainer_of(store, tmp_path / "run")
    good, bad, after = batches_of(trainer, 3)
    trainer.net.train()
    trainer._step([good])
    trainer._flush()
    weights, average = ({n: t.clone() for n, t in net.named_parameters()} for net in (trainer.net, trainer.ema))
    moments = {p: s["exp_avg"].clone() for p, s in trainer.optimiser.state.items()}
    real = Trainer._backward

    def broken(self, part, pixels):
        loss = real(self, part, pixels)
        next(self.net.parameters()).grad.fill_(math.inf)
        return loss

    monkeypatch.setattr(Trainer, "_backward", broken)
    trainer._step([bad])
    trainer._flush()
    assert trainer.passed.skipped == 1 and len(trainer.passed.losses) == 1 and trainer.bad == 1
    for net, before in ((trainer.net, weights), (trainer.ema, average)):
        assert all(torch.equal(t, before[n]) for n, t in net.named_parameters())
    assert all(torch.equal(s["exp_avg"], moments[p]) for p, s in trainer.optimiser.state.items())
    assert {float(s["step"]) for s in trainer.optimiser.state.values()} == {1.0}
    monkeypatch.setattr(Trainer, "_backward", real)
    trainer._step([after])
    trainer._flush()
    assert trainer.bad == 0 and len(trainer.passed.losses) == 2
    assert not all(torch.equal(t, weights[n]) for n, t in trainer.net.named_parameters())


def test_a_checkpoint_is_written_beside_and_holds_what_was(tmp_path, monkeypatch):
    begin, weight, info = threading.Event(), torch.ones(4), {"epoch": [1]}
    real = checkpoints._write

    def slow(*arguments):
        assert begin.wait(20)
        real(*arguments)

    monkeypatch.setattr(checkpoints, "_write", slow)
    with checkpoints.Background() as writing:
        began = time.perf_counter()
        writing.save(tmp_path / "a.safetensors", {"net.a": weight}, info)
        assert time.perf_counter() - began < 10 and not (tmp_path / "a.safetensors").exists()
        weight.zero_()  # what comes after is not in it
        info["epoch"].append(2)
        begin.set()
    tensors, found = checkpoints.read(tmp_path / "a.safetensors")
    assert torch.equal(tensors["net.a"], torch.ones(4)) and found["epoch"] == [1]


def test_what_goes_wrong_beside_is_said(tmp_path):
    with pytest.raises(DwplusError, match=r"was not written, for net.a is not finite"), \
            checkpoints.Background() as writing:
        writing.save(tmp_path / "a.safetensors", {"net.a": torch.tensor([math.nan])}, {})
    assert list(tmp_path.iterdir()) == []


def test_validation_batches_hold_many_pixels():
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert [tiles_at_once(cuda, 8, 32, tile) for tile in (32, 64, 3200)] == [16, 4, 1]
    assert [tiles_at_once(cpu, 8, 32, tile) for tile in (32, 256, 510)] == [16, 4, 1]


@pytest.mark.parametrize("radar", ["int16", "float32"])
def test_scaling_leaves_what_it_is_given_alone(store, tmp_path, radar):
    """It works in place on copies of its own, as floats are given by stores of floats."""
    trainer = trainer_of(store, tmp_path / "run")
    (batch,) = batches_of(trainer, 1)
    s1 = batch.s1 if radar == "int16" else batch.s1.float() / 100
    given = [batch.s2.float(), s1, batch.label]
    before = [t.clone() for t in given]
    s2, _, _ = trainer.normaliser(*given, batch.keep)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    no_data = (before[0] == 65535).any(1, keepdim=True).expand_as(s2)
    assert (s2[no_data] == 0).all() and s2.std() > 0.1
    # Band by band or all at once, to the last bit.
    low, high, mean, std = (getattr(trainer.normaliser, f"s2_{key}") for key in ("low", "high", "mean", "std"))
    assert torch.equal(s2, ((before[0].clamp(low, high) - mean) / std).masked_fill(no_data, 0.0))


def test_radiometry_varies_each_band_of_each_sample_and_leaves_no_data_alone():
    torch.manual_seed(0)
    x = torch.randn(64, 3, 16, 16)
    x[:, :, :4] = 0
    y = varied(x, 0.1)
    assert varied(x, 0.0) is x and (y[:, :, :4] == 0).all()
    flat, other = x[:, :, 4:].flatten(2), y[:, :, 4:].flatten(2)
    gain = other.std(-1) / flat.std(-1)
    offset = (other - gain[..., None] * flat).mean(-1)
    assert (other - gain[..., None] * flat - offset[..., None]).abs().max() < 1e-5  # one of each a band, nothing else
    for found, mean in ((gain, 1.0), (offset, 0.0)):
        assert abs(float(found.mean()) - mean) < 0.03 and 0.08 < float(found.std()) < 0.12
    assert len(gain.unique()) == gain.numel()
