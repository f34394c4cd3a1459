"""Inputs that are no decibels: codes are a mask, and heights above two geoids are not mixed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwplus.errors import InputError
from dwplus.spec.extras import GLO30, SRTM
from dwplus.store import stats
from model.normalise import Normalisation, Normaliser
from model.selection import extras_of


def test_layover_and_shadow_reach_a_network_as_a_mask():
    """Codes 0 to 3 (stored times 100) become 0 or 1, though layover is rarer than what is clipped."""
    rng = np.random.default_rng(1)
    decibels = rng.normal(-1200, 300, (200, 200)).astype("int16")
    codes = np.zeros((200, 200), "int16")
    codes[0, :10], codes[1, :5], codes[2, :3] = 100, 200, 300
    found = []
    for name, band in (("VV", decibels), ("layover_shadow", codes)):
        counts = np.zeros((1, stats.VALUES), "int64")
        stats.count_values(band[None], counts)
        found.append(stats.band_statistics(counts[0], name, "s1"))
    optical = stats.band_statistics(np.bincount(np.arange(1000), minlength=stats.VALUES), "B4", "s2")
    kept = Normalisation.of(stats.Statistics("train", 1, "", (optical,), tuple(found)))
    assert (kept.s1.mean[1], kept.s1.std[1], kept.s1.low[1], kept.s1.high[1]) == (0, 1, 0, 1)
    assert kept.s1.mean[0] != 0 and Normalisation.from_dict(kept.to_dict()) == kept
    radar = np.stack([decibels, codes])
    radar[:, 5, 5] = -32768
    _, s1, _ = Normaliser(kept)(torch.zeros(1, 1, 200, 200, dtype=torch.uint16), torch.from_numpy(radar[None]),
                                torch.zeros(1, 200, 200, dtype=torch.uint8), torch.ones(1, 2, dtype=torch.bool))
    assert (s1[0, 1].numpy() == (codes > 0)).all() and s1[0, :, 5, 5].tolist() == [0, 0]
    assert abs(float(s1[0, 0].std()) - 1) < 0.1


def test_heights_above_two_geoids_are_not_mixed():
    one, other = ({"extras": {"dem": "float32", "cloud_score": "uint8"}, "spec": spec} for spec in (
        {"name": "earlier"}, {"elevation": SRTM}))
    with pytest.raises(InputError, match=f"store b has heights of {SRTM}, a of {GLO30}.*one elevation"):
        extras_of(["a", "b"], [one, other], ["dem"])
    assert extras_of(["b", "c"], [other, other], ["dem"])[0].source["collection"] == SRTM
    assert extras_of(["a", "b"], [one, other], ["cloud_score"])[0].name == "cloud_score"
