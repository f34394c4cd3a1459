"""Where networks begin: near the cross entropy of no knowledge, in training and evaluation, whatever the crop."""

import math

import pytest
import torch
from torch import nn

import model
from dwplus.taxonomy import CLASSES
from model.losses import FocalLoss, RiftLoss
from model.networks.layers import GlobalBatchNorm2d
from model.networks.registry import NETWORKS, variants_of

#: Every network, every variant.
EVERY = [(name, {"variant": variant} if variant else {}) for name in NETWORKS
         for variant in (variants_of(name) or ("",))]
SMALL = [(name, options) for name, options in EVERY if options.get("variant", "small") == "small"]


def inputs(batch, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, bands, height, width, generator=generator) for bands in (10, 2)]


def cross_entropy(net, batch, height, width, seed):
    label = torch.randint(len(CLASSES), (batch, height, width), generator=torch.Generator().manual_seed(seed + 99))
    logits = net(*inputs(batch, height, width, seed))
    assert logits.shape == (batch, len(CLASSES), height, width)
    return float(nn.functional.cross_entropy(logits, label)), float(logits.abs().max())


@pytest.mark.parametrize(("name", "options"), EVERY, ids=[f"{n}-{o.get('variant', '')}" for n, o in EVERY])
@torch.no_grad()
def test_a_network_begins_at_the_logarithm_of_its_classes(name, options):
    # One seed of the large ones: drawing sixty million weights takes its time.
    for seed, (height, width) in enumerate(((64, 64), (48, 96), (130, 33))[:3 if (name, options) in SMALL else 1]):
        torch.manual_seed(seed)
        net = model.build(name, **options)
        for mode in (True, False):
            # Evaluation comes first: training has not set running statistics yet.
            found, largest = cross_entropy(net.train(not mode), 2, height, width, seed)
            assert abs(found - math.log(len(CLASSES))) < 0.4, (name, options, mode, found)
            assert largest < 10, (name, options, mode, largest)


@pytest.mark.parametrize(("name", "options"), SMALL, ids=[n for n, _ in SMALL])
def test_every_parameter_gets_a_gradient_from_the_first_step(name, options):
    torch.manual_seed(0)
    net = model.build(name, **options)
    label = torch.randint(len(CLASSES), (2, 64, 64))
    found = net(*inputs(2, 64, 64, 0), label) if getattr(net, "takes_label", False) else net(*inputs(2, 64, 64, 0))
    logits, extra = found if isinstance(found, tuple) else (found, 0.0)
    (nn.functional.cross_entropy(logits, label) + extra).backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A softmax over a single key, and keys' biases, which it does not see, have no gradient by their mathematics.
    assert [n for n in dead if "kv" not in n and ".q." not in n] == []


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (33, 47)])
@pytest.mark.parametrize(("name", "options"), SMALL, ids=[n for n, _ in SMALL])
def test_a_batch_of_one_small_crop_trains(name, options, size):
    net = model.build(name, **options).train()
    logits = net(*inputs(1, *size, 0))
    assert logits.shape == (1, len(CLASSES), *size)
    nothing = torch.full((1, *size), 255, dtype=torch.uint8)
    for loss in (FocalLoss(), RiftLoss()):
        assert torch.isfinite(loss(logits, nothing))
    nn.functional.cross_entropy(logits, torch.zeros(1, *size, dtype=torch.long)).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert all(torch.isfinite(b).all() for b in net.buffers())


def test_one_value_a_channel_is_scaled_by_the_running_statistics():
    norm = GlobalBatchNorm2d(3).train()
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    before = [b.clone() for b in norm.buffers()]
    torch.testing.assert_close(norm(torch.full((1, 3, 1, 1), 5.0)), torch.full((1, 3, 1, 1), 2.0))
    assert all(torch.equal(a, b) for a, b in zip(before, norm.buffers(), strict=True))
    norm(torch.randn(2, 3, 1, 1))
    assert not torch.equal(before[0], norm.running_mean)
