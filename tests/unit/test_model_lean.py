"""What a training does without: a compiler, copies of gradients, pages made anew, maps kept for the backward pass."""

import copy
import json
import subprocess
import sys

import pytest
import torch

import model
from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from model.choices import recompute
from model.networks.layers import Attention, MLPDecoder
from model.optimiser import AdamW

BEGIN = """
import json, resource, sys, torch
from pathlib import Path
from model.config import make_config
from model.distributed import World
from model.loader import Loader
from model.train import Trainer
store, run = sys.argv[1:]
config = make_config({"model": {"options": {"variant": "small"}}, "optim": {"batch_size": 2, "ema": 0.9},
                      "data": {"threads": 1}, "run": {"tensorboard": False}})
trainer = Trainer([store], Path(run), config, World(0, 1, torch.device("cpu")))
trainer.net.train()
for batch in Loader(trainer.data, [[0, 1], [2, 3]], threads=1):
    trainer._step([batch])
trainer._flush()
print("RESULT", json.dumps([len(trainer.passed.losses), "torch._dynamo" in sys.modules, "sympy" in sys.modules]))
"""
PAGES = """
import resource, sys, torch
from model.memory import keep_pages
if sys.argv[1] == "keep" and not keep_pages():
    print("RESULT null")
    raise SystemExit
def step():
    maps = [torch.ones(1_500_000) for _ in range(40)]  # 240 MB: 58,600 pages of 4 kB, or 120 of 2 MB
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print("RESULT", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def result_of(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[7:])


def test_a_training_loads_no_compiler(tmp_path):
    store = make_store(tmp_path / "a.zarr", tiles=8, size=32)
    assert result_of(BEGIN, store, tmp_path / "run") == [2, False, False]


def test_memory_that_was_let_go_is_not_made_anew():
    kept, usual = result_of(PAGES, "keep"), result_of(PAGES, "usual")
    if kept is None:
        pytest.skip("the C library is not glibc")
    assert kept < 0.1 * max(usual, 200)


def test_adamw_has_the_numbers_of_torch():
    torch.manual_seed(0)
    net = torch.nn.Linear(7, 5)
    other = copy.deepcopy(net)
    ours, theirs = (
        [{"params": [n.weight], "weight_decay": 0.1}, {"params": [n.bias], "weight_decay": 0.0}] for n in (net, other))
    mine = AdamW(ours, 1e-2, (0.9, 0.99))
    torchs = torch.optim.AdamW(theirs, lr=1e-2, betas=(0.9, 0.99), fused=True)
    for step in range(6):
        x = torch.randn(4, 7)
        for n, optimiser in ((net, mine), (other, torchs)):
            n(x).square().sum().backward()
            optimiser.found_inf = torch.tensor(float(step == 3))
            optimiser.step()
            optimiser.zero_grad()
        assert torch.equal(net.weight, other.weight) and torch.equal(net.bias, other.bias)
        assert net.weight.grad is None
    assert float(mine.state[net.weight]["step"]) == float(torchs.state[other.weight]["step"]) == 5.0


def names(function, seen=None):
    """Names of a result's history."""
    seen = {} if seen is None else seen
    if function is not None and function not in seen:
        seen[function] = function.name()
        for before, _ in function.next_functions:
            names(before, seen)
    return set(seen.values())


@pytest.mark.parametrize("training", [True, False])
def test_the_decoder_sums_without_copies_of_gradients(training):
    """And has the numbers of the published order, dropout included."""
    torch.manual_seed(0)
    fast = MLPDecoder((8, 16, 24, 32), 12, 5, dropout=0.4).train(training)
    plain = copy.deepcopy(fast)
    plain.plain = True
    maps = [torch.randn(3, 32 // 2**i, 24 // 2**i, width) for i, width in enumerate((8, 16, 24, 32))]
    found = []
    for decoder in (fast, plain):
        torch.manual_seed(1)
        own = [m.clone().requires_grad_() for m in maps]
        logits = decoder(own, (64, 48))
        history = names(logits.grad_fn)
        logits.square().mean().backward()
        found.append([logits, *(m.grad for m in own), *(p.grad for p in decoder.parameters())])
        if decoder is fast:
            assert "UpsampleBilinear2DBackward0" in history and "CopySlices" not in history
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(("reduction", "height", "width"), [(2, 8, 12), (4, 8, 8), (4, 10, 8), (8, 4, 16)])
def test_reduction_as_a_product_has_the_numbers_of_the_convolution(reduction, height, width):
    torch.manual_seed(0)
    attention = Attention(12, 3, reduction).train()
    x, found = torch.randn(2, height, width, 12), []
    for training in (True, False):  # evaluation takes the convolution
        own = x.clone().requires_grad_()
        attention.train(training).zero_grad()
        out = attention(own)
        assert ("ConvolutionBackward0" in names(out.grad_fn)) == (not training or (height, reduction) == (10, 4))
        out.square().mean().backward()
        found.append([out, own.grad, *(p.grad.clone() for p in attention.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_blocks_worked_again_have_the_same_numbers_and_keep_less():
    torch.manual_seed(0)
    net = model.build("specsar_former", variant="small", drop_path=0.3, dropout=0.2).train()
    again = copy.deepcopy(net)
    recompute(again, "specsar_former")
    s2, s1 = torch.randn(2, 10, 64, 64), torch.randn(2, 2, 64, 64)
    held = []
    for one in (net, again):
        kept: dict[int, int] = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = one(s2, s1).square().mean()
        loss.backward()
        held.append((float(loss.detach()), sum(kept.values())))
    assert held[0][0] == held[1][0] and held[1][1] < 0.6 * held[0][1]
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def test_a_network_without_stages_cannot_be_worked_again():
    with pytest.raises(InputError, match=r"run\.recompute: unet has no stages"):
        recompute(model.build("unet"), "unet")
