"""The area under the curve from histograms, against its definition over all pairs."""

import numpy as np
import pytest

from model.reliability import auc


def test_against_all_pairs():
    rng = np.random.default_rng(0)
    clear, cloudy = rng.integers(0, 9, 200), rng.integers(0, 7, 150)
    higher = (clear[:, None] > cloudy).mean() + (clear[:, None] == cloudy).mean() / 2
    assert auc(np.bincount(clear, minlength=9), np.bincount(cloudy, minlength=9)) == pytest.approx(higher)


def test_ends():
    assert auc(np.array([0, 5]), np.array([3, 0])) == 1 and auc(np.array([5, 0]), np.array([0, 3])) == 0
    assert auc(np.array([5, 5]), np.array([2, 2])) == 0.5 and np.isnan(auc(np.array([5]), np.array([0])))
