"""Scores against a published table and against sums done by hand; the loss against its formula."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES
from model.losses import FocalLoss, class_weights
from model.metrics import bootstrap, confusion_matrix, expected_calibration_error, scores

TABLE = Path(__file__).parents[1] / "data" / "published" / "brown2022_table6.csv"


def test_brown_2022_table_6():
    """Rows of the file are the model's class, columns the experts'; overall agreement is printed as 88.4 %."""
    with TABLE.open() as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0][1:]) == CLASSES
    printed = np.array([[int(v) for v in row[1:]] for row in rows[1:]])
    found = scores(printed.T)
    assert round(100 * found["oa"], 1) == 88.4
    assert found["pixels"] == printed.sum() and found["present"] == 9
    np.testing.assert_allclose(found["recall"], np.diag(printed) / printed.sum(axis=0))
    np.testing.assert_allclose(found["precision"], np.diag(printed) / printed.sum(axis=1))
    assert round(100 * float(found["recall"][0]), 1) == round(100 * 5964550 / printed[:, 0].sum(), 1)


def test_by_hand():
    found = scores([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    assert found["oa"] == pytest.approx(17 / 20)
    np.testing.assert_allclose(found["iou"], [8 / 11, 9 / 12, np.nan])
    np.testing.assert_allclose(found["precision"], [8 / 9, 9 / 11, np.nan])
    np.testing.assert_allclose(found["recall"], [0.8, 0.9, np.nan])
    assert found["miou"] == pytest.approx((8 / 11 + 9 / 12) / 2)
    assert found["macro_f1"] == pytest.approx((16 / 19 + 18 / 21) / 2)
    chance = (10 * 9 + 10 * 11) / 400
    assert found["kappa"] == pytest.approx((17 / 20 - chance) / (1 - chance))


def test_a_class_without_truth_is_absent_even_where_it_was_predicted():
    found = scores([[9, 1], [0, 0]])
    assert np.isnan(found["iou"][1]) and found["miou"] == pytest.approx(0.9) and found["precision"][1] == 0
    assert found["present"] == 1


def test_a_class_never_predicted_counts_as_zero():
    found = scores([[5, 0], [5, 0]])
    assert found["iou"].tolist() == [0.5, 0.0] and np.isnan(found["precision"][1]) and found["miou"] == 0.25


def test_nothing_to_score():
    found = scores(np.zeros((9, 9)))
    assert all(np.isnan(found[name]) for name in ("oa", "miou", "macro_f1", "kappa")) and found["pixels"] == 0


def test_confusion_ignores_255_and_refuses_other_values():
    truth, said = np.array([[0, 1], [255, 8]], "uint8"), np.array([[0, 2], [3, 8]])
    matrix = confusion_matrix(truth, said)
    assert matrix.sum() == 3 and matrix[0, 0] == matrix[1, 2] == matrix[8, 8] == 1
    with pytest.raises(InputError, match=r"truth must be 0\.\.8"):
        confusion_matrix(np.array([9]), np.array([0]))
    with pytest.raises(InputError, match="square"):
        scores(np.zeros((2, 3)))


def test_bootstrap_draws_blocks():
    rng = np.random.default_rng(0)
    good, bad = np.diag([50, 50]), np.array([[25, 25], [25, 25]])
    tiles = np.array([good if rng.random() < 0.5 else bad for _ in range(40)])
    one_by_one = bootstrap(tiles, list(range(40)))["oa"]
    whole = scores(tiles.sum(axis=0))["oa"]
    assert one_by_one[0] < whole < one_by_one[1]
    # Tiles of a block are copies of one another: forty tiles in ten blocks know no more than ten.
    blocks = bootstrap(np.repeat(tiles[:10], 4, axis=0), np.repeat(np.arange(10), 4))["oa"]
    assert blocks[1] - blocks[0] > one_by_one[1] - one_by_one[0]
    assert np.isnan(bootstrap(tiles, ["a"] * 40)["miou"][0])
    assert bootstrap(tiles, range(40)) == bootstrap(tiles, range(40))


def test_calibration_error():
    found = expected_calibration_error(np.array([8.0, 1]), np.array([6.0, 2]), np.array([10, 2]))
    assert found == pytest.approx(3 / 12)
    assert np.isnan(expected_calibration_error(np.zeros(2), np.zeros(2), np.zeros(2)))


def test_focal_loss_without_focus_is_cross_entropy():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 9, 5, 6), torch.randint(0, 9, (2, 5, 6))
    target[0, :2] = 255
    torch.testing.assert_close(FocalLoss(0)(logits, target), F.cross_entropy(logits, target, ignore_index=255))


def test_focal_loss_by_its_formula_and_in_parts():
    torch.manual_seed(0)
    alpha = np.linspace(0.5, 2, 9)
    loss = FocalLoss(2.0, alpha)
    logits, target = torch.randn(2, 9, 4, 4, dtype=torch.float64), torch.randint(0, 9, (2, 4, 4), dtype=torch.uint8)
    target[1, 0] = 255
    p = logits.softmax(1)
    want, pixels = 0.0, 0
    for b, y, x in np.ndindex(2, 4, 4):
        if (k := int(target[b, y, x])) != 255:
            q = float(p[b, k, y, x])
            want, pixels = want - alpha[k] * (1 - q) ** 2 * np.log(q), pixels + 1
    assert float(loss(logits, target)) == pytest.approx(want / pixels, rel=1e-5)
    parts = sum(float(loss(logits[i:i + 1], target[i:i + 1], pixels=pixels)) for i in range(2))
    assert parts == pytest.approx(want / pixels, rel=1e-5)


def test_focal_loss_is_finite_at_certainty_and_without_labels():
    logits = torch.zeros(1, 9, 1, 2)
    logits[0, 3] = 200.0
    logits.requires_grad_()
    loss = FocalLoss(0.5)(logits, torch.tensor([[[3, 255]]]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert FocalLoss()(logits.detach(), torch.full((1, 1, 2), 255)) == 0


def test_class_weights():
    np.testing.assert_allclose(class_weights([100, 100]), [1, 1])
    weights = class_weights([400, 100], 0.5)
    assert weights[1] / weights[0] == pytest.approx(2) and (weights * [0.8, 0.2]).sum() == pytest.approx(1)
    assert class_weights([100, 0], 1.0)[1] / class_weights([100, 0], 1.0)[0] == pytest.approx(10)
    np.testing.assert_allclose(class_weights([5, 1], 0), [1, 1])
