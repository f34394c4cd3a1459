"""The batch size found by memory, and weights that are cast once a step."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from model.batching import largest
from model.config import make_config
from model.distributed import World
from model.loader import Loader
from model.train import Trainer, train


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("batch") / "a.zarr", tiles=16, size=32)


def config_of(batch_size, run=None, **optim):
    return make_config({"model": {"name": "segformer", "options": {"variant": "small"}},
                        "optim": {"batch_size": batch_size, "epochs": 2, **optim},
                        "data": {"threads": 1}, "run": {"tensorboard": False, **(run or {})}})


@pytest.mark.parametrize("room", [0, 1, 2, 3, 7, 8, 31, 99, 100, 1000])
def test_the_largest_that_fits_is_found_in_few_trials(room):
    tried = []
    assert largest(lambda n: not tried.append(n) and n <= room, 100) == min(room, 100)
    assert len(tried) == len(set(tried)) <= 14 and max(tried) <= 100


def test_a_cpu_finds_no_batch_size(store, tmp_path):
    with pytest.raises(InputError, match=r"^optim\.batch_size auto: is found by the memory of a GPU, .*cpu; give"):
        train(store, tmp_path / "run", config_of("auto"), device="cpu")


def test_a_run_goes_on_with_the_batch_size_that_was_found(store, tmp_path):
    first = train(store, tmp_path / "run", config_of(4), device="cpu", pause_after=1)
    summary = train(store, tmp_path / "run", config_of("auto"), device="cpu")
    assert summary.epochs == 2 and summary.steps == 2 * first.steps
    with pytest.raises(InputError, match=r"optim\.batch_size: 4 -> 2"):
        train(store, tmp_path / "run", config_of(2, epochs=3), device="cpu")


class Casts(TorchDispatchMode):
    """Counts how often each of some tensors is cast."""

    def __init__(self, tensors):
        super().__init__()
        self.places = {t.data_ptr() for t in tensors}
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() in self.places:
            self.counts[args[0].data_ptr()] += 1
        return func(*args, **(kwargs or {}))


def test_a_weight_is_cast_once_a_step_of_several_parts(store, tmp_path):
    trainer = Trainer([str(store)], tmp_path / "run", config_of(2, {"precision": "bf16"}, accumulate=2),
                      World(0, 1, torch.device("cpu")))
    trainer.net.train()
    parts = list(Loader(trainer.data, [[0, 1], [2, 3]], threads=1))
    with Casts(trainer.net.parameters()) as casts:
        trainer._step(parts)
    # What is cut or turned before it is cast is no parameter any more: the decoder's fusing weights, and on a CPU the
    # reductions'.
    several = {name for name, p in trainer.net.named_parameters() if casts.counts[p.data_ptr()] > 1}
    assert several == {name for name in dict(trainer.net.named_parameters()) if name.endswith("reduce.weight")
                       or name == "decoder.fuse.weight"}
    assert sum(count == 1 for count in casts.counts.values()) > 70
    trainer._flush()
    assert len(trainer.passed.losses) == 1


def test_parts_of_a_batch_have_the_gradients_of_the_whole_in_half_precision(store, tmp_path):
    """The second part goes back through casts that the first one has gone through."""
    found = []
    for batch, parts in ((4, 1), (2, 2)):
        trainer = Trainer([str(store)], tmp_path / str(batch),
                          config_of(batch, {"precision": "bf16"}, accumulate=parts, clip=None),
                          World(0, 1, torch.device("cpu")))
        trainer.net.eval()  # batch norm and dropout would tell the parts apart
        trainer._step(list(Loader(trainer.data, [[0, 1, 2, 3]] if parts == 1 else [[0, 1], [2, 3]], threads=1)))
        trainer._flush()
        found.append((trainer.passed.losses[0], trainer.passed.norms[0]))
    assert found[0] == pytest.approx(found[1], rel=2e-2)
