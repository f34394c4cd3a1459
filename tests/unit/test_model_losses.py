"""RIFT by its formula, in parts, at the edges; the Tversky loss against the Dice loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dwplus.errors import InputError
from model.config import LossPart, make_config
from model.losses import FocalLoss, RiftLoss, TverskyLoss, clipped_weights, make_loss


def sample(seed=0, classes=9, shape=(2, 6, 5)):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(shape[0], classes, *shape[1:])), dtype=torch.float32, requires_grad=True)
    target = rng.integers(0, classes, shape)
    target[rng.random(shape) < 0.2] = 255
    return logits, torch.tensor(target)


def by_hand(logits, target, a, b, power=1.0):
    chance = logits.detach().softmax(1).permute(0, 2, 3, 1)[target != 255].numpy().astype("float64")
    truth = target[target != 255].numpy()
    found = []
    for c in np.unique(truth):
        hit = chance[truth == c, c].sum()
        index = hit / (hit + a * chance[truth != c, c].sum() + b * (1 - chance[truth == c, c]).sum())
        found.append((1 - index) ** power)
    return np.mean(found)


@pytest.mark.parametrize(("a", "b", "power"), [(0.3, 0.7, 1.0), (0.5, 0.5, 1.0), (0.7, 0.3, 0.75), (1.0, 1.0, 1.0)])
def test_tversky_by_hand(a, b, power):
    logits, target = sample()
    target[target == 4] = 5  # an absent class takes no part
    found = TverskyLoss(a, b, power)(logits, target)
    assert float(found.detach()) == pytest.approx(by_hand(logits, target, a, b, power), rel=1e-5)


def test_half_and_half_is_dice():
    logits, target = sample(1)
    keep = (target != 255)
    chance = logits.softmax(1) * keep[:, None]
    truth = F.one_hot(torch.where(keep, target, 0), 9).permute(0, 3, 1, 2) * keep[:, None]
    dice = 1 - 2 * (chance * truth).sum((0, 2, 3)) / (chance.sum((0, 2, 3)) + truth.sum((0, 2, 3)))
    torch.testing.assert_close(TverskyLoss(0.5, 0.5)(logits, target), dice.mean(), rtol=1e-5, atol=1e-6)


def test_misses_cost_more_than_false_alarms():
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[:, :2] = 1
    sure = 8 * F.one_hot(target, 2).permute(0, 3, 1, 2).float()
    missed, alarmed = sure.clone(), sure.clone()
    missed[:, :, 0], alarmed[:, :, 2] = sure[:, :, 0].flip(1), sure[:, :, 2].flip(1)
    favour = TverskyLoss(0.3, 0.7)
    # Of class 1: ten pixels missed against ten false alarms.
    assert favour(missed, target) - favour(alarmed, target) > 0.1


def test_rift_is_its_two_parts():
    logits, target = sample()
    weights = np.linspace(0.2, 5, 9)
    focal, tversky = FocalLoss(1.5, weights)(logits, target), TverskyLoss(0.2, 0.8, 0.75)(logits, target)
    for mix in (0.0, 0.3, 1.0):
        loss = RiftLoss(mix, 1.5, weights, 0.2, 0.8, 0.75)(logits, target)
        torch.testing.assert_close(loss, mix * focal + (1 - mix) * tversky)


def test_parts_of_a_batch_count_by_their_pixels():
    logits, target = sample(shape=(4, 6, 5))
    loss = RiftLoss(1.0)  # the focal part adds up exactly
    pixels = (target != 255).sum()
    parts = sum(loss(logits[i:i + 2], target[i:i + 2], pixels) for i in (0, 2))
    torch.testing.assert_close(parts, loss(logits, target))
    tversky = TverskyLoss()
    shares = [(target[i:i + 2] != 255).sum() / pixels for i in (0, 2)]
    want = sum(s * tversky(logits[i:i + 2], target[i:i + 2]) for s, i in zip(shares, (0, 2), strict=True))
    torch.testing.assert_close(sum(tversky(logits[i:i + 2], target[i:i + 2], pixels) for i in (0, 2)), want)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_finite_at_certainty_and_without_labels(exponent):
    target = torch.tensor([[[0, 1, 255]]])
    for scale in (0.0, 50.0, -50.0, 1e4):
        logits = (scale * F.one_hot(torch.tensor([[[0, 1, 0]]]), 3).permute(0, 3, 1, 2).float()).requires_grad_()
        loss = RiftLoss(exponent=exponent)(logits, target)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    empty = torch.zeros(1, 3, 1, 3, requires_grad=True)
    loss = RiftLoss(exponent=exponent)(empty, torch.full((1, 1, 3), 255))
    loss.backward()
    assert loss == 0 and (empty.grad == 0).all()


def test_clipped_weights():
    np.testing.assert_allclose(clipped_weights([100, 100]), [1, 1])
    np.testing.assert_allclose(clipped_weights([300, 100]), [2 / 3, 2])
    np.testing.assert_allclose(clipped_weights([1e6, 1, 0]), [1 / 3, 5, 5], rtol=1e-5)
    np.testing.assert_allclose(clipped_weights([300, 100], 0.5) ** 2, [2 / 3, 2], rtol=1e-6)
    np.testing.assert_allclose(clipped_weights([5, 1], 0), [1, 1])
    np.testing.assert_allclose(clipped_weights([0, 0]), [1, 1])


def test_the_config_makes_the_loss():
    assert isinstance(make_loss(LossPart(), [1, 2]), FocalLoss)
    config = make_config({"loss": {"name": "rift", "mix": 0.25, "gamma": 1, "false_positive": 0.4,
                                   "false_negative": 0.6, "exponent": 0.75, "weight_range": [0.5, 2]}})
    loss = make_loss(config.loss, [300, 100, 1])
    assert isinstance(loss, RiftLoss) and loss.mix == 0.25 and loss.focal.gamma == 1
    assert (loss.tversky.false_positive, loss.tversky.false_negative, loss.tversky.exponent) == (0.4, 0.6, 0.75)
    assert max(loss.class_weights) == 2 and min(loss.class_weights) == 0.5
    plain = make_loss(LossPart(gamma=0, alpha_power=0), [300, 100])
    logits, target = sample(classes=2)
    torch.testing.assert_close(plain(logits, target), F.cross_entropy(logits, target, ignore_index=255))
    for wrong, words in (({"name": "dice"}, "loss.name"), ({"mix": 2}, "loss.mix"), ({"exponent": 0}, "loss.exponent")):
        with pytest.raises(InputError, match=words):
            make_config({"loss": wrong})
