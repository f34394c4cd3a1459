"""What only a CUDA device can show. ``make gpu-check`` runs these and the benchmark; elsewhere they skip."""

import numpy as np
import pytest
import torch

import model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def net_and_batch(name="specsar_former", **options):
    torch.manual_seed(0)
    net = model.build(name, **({} if name == "unet" else {"variant": "b0"}), **options).eval()
    return net, torch.randn(2, 10, 130, 96), torch.randn(2, 2, 130, 96)


@pytest.mark.parametrize("name", sorted(model.NETWORKS))
def test_the_device_agrees_with_the_cpu(name):
    net, s2, s1 = net_and_batch(name)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        want = net(s2, s1)
        got = net.cuda()(s2.cuda(), s1.cuda()).cpu()
    assert (got - want).abs().max() < 1e-3 * want.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_says_the_same_classes(dtype):
    net, s2, s1 = net_and_batch()
    net, s2, s1 = net.cuda(), s2.cuda(), s1.cuda()
    with torch.inference_mode():
        want = net(s2, s1).argmax(1)
        with torch.autocast("cuda", dtype):
            got = net(s2, s1).argmax(1)
    assert (got == want).float().mean() > 0.95


def test_compiled_agrees():
    net, s2, s1 = net_and_batch()
    net, s2, s1 = net.cuda(), s2.cuda(), s1.cuda()
    with torch.inference_mode():
        want = net(s2, s1)
        got = torch.compile(net, fullgraph=True)(s2, s1)
    assert (got - want).abs().max() < 1e-2 * want.abs().max()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    pytest.importorskip("zarr")
    from benchmarks.bench_model import make_store

    return make_store(tmp_path_factory.mktemp("learn") / "a.zarr", tiles=16, size=64)


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_a_short_training(store, tmp_path, precision):
    from model.config import load_config
    from model.evaluate import evaluate
    from model.train import train

    config = load_config("small", {"data": {"crop": 48}, "run": {"precision": precision},
                                   "optim": {"epochs": 25, "batch_size": 4, "lr": 2e-3}})
    first = train(store, tmp_path / "run", config, pause_after=10)
    summary = train(store, tmp_path / "run", config)
    assert first.epochs == 10 and summary.best_miou > 0.4
    found = evaluate(store, tmp_path / "run", tmp_path / "page", split="val", shown=1, draws=20)
    assert found["overall"]["miou"] == pytest.approx(summary.best_miou, abs=0.02)


def test_unsigned_pixels_become_floats_on_the_device(store):
    from model.data import TileDataset
    from model.loader import Loader, device_batches
    from model.normalise import Normaliser

    data = TileDataset(store, "train")
    normaliser = Normaliser(data.normalisation)
    loader = Loader(data, [[0, 1], [2, 3], [4, 5]], pin=True)
    for on_device, plain in zip(device_batches(loader, torch.device("cuda")), Loader(data, [[0, 1], [2, 3], [4, 5]]),
                                strict=True):
        got = normaliser.cuda()(on_device.s2, on_device.s1, on_device.label, on_device.keep)
        want = normaliser.cpu()(plain.s2, plain.s1, plain.label, plain.keep)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a.cpu().numpy(), b.numpy(), atol=1e-4)


@pytest.mark.parametrize("compiled", ["off", "on"])
def test_a_step_waits_for_nothing(store, tmp_path, compiled):
    """A host that asks the device for a number waits until all of its work is done."""
    from model.config import load_config
    from model.distributed import World
    from model.loader import Loader, device_batches
    from model.train import Trainer

    config = load_config("small", {"data": {"crop": 48}, "optim": {"batch_size": 4},
                                   "run": {"tensorboard": False, "compile": compiled}})
    device = torch.device("cuda", 0)
    trainer = Trainer([str(store)], tmp_path / "run", config, World(0, 1, device))
    trainer.net.train()
    batches = list(device_batches(Loader(trainer.data, [[0, 1, 2, 3]] * 5, pin=True), device))
    trainer._step([batches[0]])
    trainer._step([batches[1]])
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[2:]:
            trainer._step([batch])
    finally:
        torch.cuda.set_sync_debug_mode(before)
    trainer._flush()
    assert len(trainer.passed.losses) + trainer.passed.skipped == 5


def test_compiled_steps_have_the_losses_of_the_network_as_written(store, tmp_path):
    """CUDA graphs and all, in full precision."""
    from model.config import load_config
    from model.distributed import World
    from model.loader import Loader, device_batches
    from model.train import Trainer

    found = []
    for compiled in ("off", "on"):
        config = load_config("small", {"data": {"crop": 48}, "optim": {"batch_size": 4},
                                       "run": {"tensorboard": False, "compile": compiled, "precision": "fp32"}})
        device = torch.device("cuda", 0)
        trainer = Trainer([str(store)], tmp_path / compiled, config, World(0, 1, device))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        trainer.net.train()
        for batch in device_batches(Loader(trainer.data, [[0, 1, 2, 3], [4, 5, 6, 7]] * 3, pin=True), device):
            trainer._step([batch])
        trainer._flush()
        assert (trainer.forward is trainer.net) == (compiled == "off")
        found.append(trainer.passed.losses)
    assert found[0] == pytest.approx(found[1], rel=1e-3) and len(found[0]) == 6


def test_the_largest_batch_fits_and_leaves_no_trace(store, tmp_path):
    from model.config import load_config
    from model.train import train

    config = load_config("small", {"data": {"crop": 48}, "optim": {"batch_size": "auto", "epochs": 1},
                                   "run": {"tensorboard": False}})
    summary = train(store, tmp_path / "run", config)
    assert summary.steps == 1  # all of the few tiles


def test_attention_takes_the_kernel_that_is_named():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from model.networks.layers import kernels

    for width in (16, 48):
        for dtype in (torch.bfloat16, torch.float32):
            first = kernels(width, dtype)[0]
            q = torch.randn(2, 4, 64, width, device="cuda", dtype=dtype)
            with sdpa_kernel(first):  # alone: it raises where that one cannot
                alone = torch.nn.functional.scaled_dot_product_attention(q, q, q)
            with sdpa_kernel(SDPBackend.MATH):
                plain = torch.nn.functional.scaled_dot_product_attention(q, q, q)
            assert (alone - plain).abs().max() < 0.05
