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
from model.choices import LARGE, kept_bytes, recompute
from model.networks import layers, lean
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
        torch.manual_seed(1)
        loss, kept = kept_of(lambda one=one: one(s2, s1).square().mean())
        loss.backward()
        held.append((float(loss.detach()), kept))
    assert held[0][0] == held[1][0] and held[1][1] < 0.6 * held[0][1]
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def test_a_network_without_stages_cannot_be_worked_again():
    with pytest.raises(InputError, match=r"run\.recompute: unet has no stages"):
        recompute(model.build("unet"), "unet")


def kept_of(action):
    """What the backward pass of an action's result is kept, beside its result."""
    held: dict[int, int] = {}

    def keep(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = action()
    return found, sum(held.values())


def doubles(*shapes):
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("normed", [True, False])
def test_products_that_keep_little_have_the_right_gradients(normed):
    x, w1, b1, w2, b2 = doubles((2, 4, 4, 3), (5, 3), (5,), (2, 12), (2,))
    norm = torch.nn.LayerNorm(3).double() if normed else None
    of_norm = [] if norm is None else [*norm.parameters()]

    def work(x, w1, b1, w2, b2, *_):
        return lean.products(x, norm, (1, w1, b1), (2, w2, b2))

    assert torch.autograd.gradcheck(work, (x, w1, b1, w2, b2, *of_norm))
    # Held parts ask for no gradient, and get none.
    for held in (w1, b2, x):
        held.requires_grad_(False)
    assert torch.autograd.gradcheck(work, (x, w1, b1, w2, b2, *of_norm))


@pytest.mark.parametrize("held", [False, True])
def test_mixing_that_keeps_little_has_the_right_gradients(held):
    (x,) = doubles((2, 3, 4, 5))
    depthwise, down = torch.nn.Conv2d(5, 5, 3, padding=1, groups=5).double(), torch.nn.Linear(5, 2).double()
    if held:
        depthwise.requires_grad_(False)
        x.requires_grad_(False)

    def work(x, *_):
        return lean.mixed(x, depthwise, down)

    torch.testing.assert_close(work(x), down(torch.nn.functional.gelu(
        depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), approximate="tanh")))
    assert torch.autograd.gradcheck(work, (x, *depthwise.parameters(), *down.parameters()))


@pytest.mark.parametrize("options", [{}, {"cross_query": "other"}, {"drop_path": 0.3, "dropout": 0.2}])
def test_a_training_keeps_less_and_has_the_numbers_of_what_autograd_keeps(options):
    torch.manual_seed(0)
    net = model.build("specsar_former", variant="small", **options).train()
    s2, s1, found = torch.randn(2, 10, 128, 128), torch.randn(2, 2, 128, 128), []
    for little in (True, False):
        torch.manual_seed(1)
        one = copy.deepcopy(net)
        if little:
            layers.keep_little(one)
        loss, kept = kept_of(lambda one=one: one(s2, s1).square().mean())
        loss.backward()
        found.append((loss, kept - sum(p.nbytes for p in one.parameters()), one))
    (loss, kept, one), (other_loss, other_kept, other) = found
    torch.testing.assert_close(loss, other_loss, rtol=1e-5, atol=0)
    assert kept < 0.8 * other_kept
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4 * float(b.grad.norm()) + 1e-7, msg=name)


def test_a_training_that_keeps_little_takes_half_precision():
    torch.manual_seed(0)
    net = model.build("specsar_former", variant="small", dropout=0.0).train()
    layers.keep_little(net)
    s2, s1 = torch.randn(1, 10, 64, 64), torch.randn(1, 2, 64, 64)
    gradients = []
    for half in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = net(s2, s1)
        logits.float().square().mean().backward()
        gradients.append(torch.cat([p.grad.ravel() for p in net.parameters()]))
        assert all(p.grad.dtype == torch.float32 for p in net.parameters())
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.98


def test_scores_that_keep_little_have_the_right_gradients(monkeypatch):
    monkeypatch.setattr(lean, "PIECE", 5)
    x, weight, bias = doubles((2, 3, 4, 6), (2, 6, 3), (3,))
    norm = torch.nn.BatchNorm2d(6, momentum=0.03).double().train()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(0.5, 1.0)
    other = copy.deepcopy(norm)

    def work(x, weight, bias, *_):
        return lean.scored(x, norm, weight, bias)

    rows = torch.relu(other(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    torch.testing.assert_close(work(x, weight, bias), torch.einsum("bhwc,bck->bhwk", rows, weight) + bias)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(norm, name), getattr(other, name))
    assert torch.autograd.gradcheck(work, (x, weight, bias, *norm.parameters()))


def test_a_large_training_on_a_cpu_keeps_little():
    """b2 on 512 px does, which takes a GB; on two of 256 px it does not, nor does a small network, nor one of
    convolutions."""
    held = [kept_bytes(name, {"variant": variant}, batch, side) > LARGE for name, variant, batch, side in (
        ("specsar_former", "b2", 1, 512), ("segformer_s2", "b2", 4, 256), ("specsar_former", "b2", 2, 256),
        ("specsar_former", "small", 8, 256), ("claire", "r34", 64, 512), ("unet", "", 64, 512))]
    assert held == [True, True, False, False, False, False]


@pytest.mark.parametrize("size", [64, 160])
def test_two_linear_layers_in_a_row_are_one_with_the_same_numbers(size, monkeypatch):
    torch.manual_seed(0)
    net = model.build("specsar_former", variant="small", dropout=0.0).train()
    s2, s1, found = torch.randn(2, 10, size, size), torch.randn(2, 2, size, size), []
    for apart in (False, True):
        one = copy.deepcopy(net)
        if apart:
            monkeypatch.setattr(Attention, "of_norms", lambda self, x, norm, other, through: self(norm(x),
                                                                                                  through(other)))
        logits = one(s2, s1)
        logits.square().mean().backward()
        found.append((logits, one))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
    for (name, a), b in zip(found[0][1].named_parameters(), found[1][1].parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4 * float(b.grad.norm()) + 1e-7, msg=name)
