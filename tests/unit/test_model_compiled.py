"""Compiled training: the numbers of the network as written, its names in checkpoints, and a word where it cannot be."""

import copy
import os
import shutil

import pytest
import torch

import model
from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from model import checkpoint as checkpoints
from model.compiling import Trial, compiled, graphs_fit, wanted
from model.config import make_config
from model.distributed import World
from model.loader import Loader
from model.networks.layers import MLPDecoder
from model.train import Trainer, train

COMPILER = shutil.which(os.environ.get("CXX", "g++")) is not None
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C++ compiler, which torch's compiler needs on a CPU")
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("compiled") / "a.zarr", tiles=8, size=32)


def config_of(**run):
    return make_config({"model": {"name": "pixel_mlp", "options": {"variant": "small"}},
                        "optim": {"batch_size": 2, "epochs": 2, "ema": 0.9, "lr": 1e-3},
                        "data": {"threads": 1}, "run": {"tensorboard": False, **run}})


def trial_of(label=False):
    return Trial(6, 2, 32, 2, label, torch.float32)


@pytest.mark.parametrize(("said", "meant"), [(True, "on"), (False, "off"), ("auto", "auto"), ("on", "on")])
def test_what_earlier_builds_wrote_is_read(said, meant):
    assert make_config({"run": {"compile": said}}).run.compile == meant


def test_other_words_are_refused():
    with pytest.raises(InputError, match=r"run\.compile: .*'auto', 'on' or 'off', found 'fast'"):
        make_config({"run": {"compile": "fast"}})


def test_by_itself_a_gpu_is_compiled_for_and_a_cpu_is_not():
    assert [wanted(choice, device) for choice in ("auto", "on", "off") for device in (CUDA, CPU)] == [
        True, False, True, True, False, False]
    # Gradients that add up, or wait for other processes, may not lie where the next pass writes.
    assert graphs_fit(CUDA, 1, 1)
    assert not any(graphs_fit(*case) for case in ((CPU, 1, 1), (CUDA, 2, 1), (CUDA, 1, 2)))


@needs_compiler
def test_compiled_steps_have_the_losses_of_the_network_as_written(store, tmp_path, capsys):
    found = {}
    for choice in ("off", "on"):
        trainer = Trainer([str(store)], tmp_path / choice, config_of(compile=choice), World(0, 1, CPU))
        weights = {name: t.clone() for name, t in trainer.net.state_dict().items()}
        trainer.net.train()
        for batch in Loader(trainer.data, [[0, 1], [2, 3], [0, 2], [1, 3], [3, 0]], threads=1):
            trainer._step([batch])
        trainer._flush()
        found[choice] = trainer.passed.losses, weights
        assert (trainer.forward is trainer.net) == (choice == "off")
    assert "network: compiled\n" in capsys.readouterr().out
    assert found["on"][0] == pytest.approx(found["off"][0], rel=1e-4) and len(found["on"][0]) == 5
    assert found["on"][0][-1] < found["on"][0][0]
    # The trial left no trace in weights, nor in what batch norms have seen.
    assert all(torch.equal(t, found["off"][1][name]) for name, t in found["on"][1].items())


class Head(torch.nn.Module):
    """A decoder alone: dropout, batch norm and maps of two sizes."""

    def __init__(self):
        super().__init__()
        self.decoder = MLPDecoder((6, 2), 8, 5, dropout=0.4)

    def forward(self, s2, s1):
        return self.decoder([s2.permute(0, 2, 3, 1), s1.permute(0, 2, 3, 1)[:, ::2, ::2]], s2.shape[2:])


@needs_compiler
def test_compiled_dropout_draws_what_it_draws_without_and_batch_norms_see_the_same():
    torch._dynamo.reset()
    torch.manual_seed(0)
    net = Head().train()
    other = copy.deepcopy(net)
    forward, said = compiled(net, trial_of(), CPU, graphs=False)
    assert said == "compiled" and forward is not net
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    for seed in range(3):
        logits = []
        for one in (forward, other):
            torch.manual_seed(seed)
            s2, s1 = torch.randn(2, 6, 32, 32), torch.randn(2, 2, 32, 32)
            logits.append(one(s2, s1))
            logits[-1].square().mean().backward()
        torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(net.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=name)
    for a, b in zip(net.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@needs_compiler
def test_a_run_goes_on_compiled_that_was_begun_without(store, tmp_path):
    """And its checkpoints have the names of the network as written."""
    train(store, tmp_path / "run", config_of(compile="off"), pause_after=1)
    names = set(checkpoints.read(tmp_path / "run" / "last.safetensors")[0])
    assert train(store, tmp_path / "run", config_of(compile="on")).epochs == 2
    assert set(checkpoints.read(tmp_path / "run" / "last.safetensors")[0]) == names
    assert not any("_orig_mod" in name for name in names)


@needs_compiler
def test_where_compiling_fails_the_network_is_trained_as_written():
    import torch._inductor.config as inductor

    torch._dynamo.reset()
    torch.manual_seed(0)
    net = model.build("pixel_mlp", variant="small", s2_bands=6, s1_bands=2).train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    torch.manual_seed(3)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        forward, said = compiled(net, trial_of(), CPU, graphs=False)
    assert forward is net
    assert said.startswith("not compiled, for that failed (") and said.count("\n") == 0
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters()) and torch.equal(torch.rand(2), drawn)


@pytest.mark.parametrize("name", ["specsar_former", "cloudlulc_net"])  # the second takes labels
def test_a_network_is_one_graph_in_training(name):
    """A break would be a launch by hand in the middle of a step."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    net = model.build(name, variant="small", s2_bands=6, s1_bands=2).train()
    trial_of(bool(getattr(net, "takes_label", False))).run(torch.compile(net, backend="eager", fullgraph=True), CPU)
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
