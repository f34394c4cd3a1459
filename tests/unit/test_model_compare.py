"""Entries, costs and intervals of a comparison."""

import numpy as np
import pytest
import torch

import model
from dwplus.errors import InputError
from model.compare import config_of, drawn, gigamacs, interval, lines, parameters, parse_entry, rarest, score_all
from model.config import make_config
from model.evaluate import STRATUM_EDGES, strata, tile_cloud
from model.metrics import bootstrap, scores
from model.networks.registry import options_for


def matrices(tiles=12, seed=0):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 50, (tiles, 9, 9)) + 60 * np.eye(9, dtype=int)
    found[:, 3] = 0  # a class without truth
    found[0] = 0
    return found


def test_many_scores_are_those_of_one_by_one():
    found = score_all(matrices()[None])
    assert found.shape == (1, 12, 4) and np.isnan(found[0, 0]).all()
    for i, m in enumerate(matrices()[1:], 1):
        want = scores(m)
        np.testing.assert_allclose(found[0, i, :3], [want["miou"], want["oa"], want["macro_f1"]])


def test_the_rarest_classes():
    """Three of those that occur, by true pixels of all tiles; a draw does not choose others."""
    m = np.diag([50, 5, 40, 0, 4, 30, 60, 70, 20])
    m[1, 0], m[8, 7] = 5, 20
    assert rarest(m).tolist() == [4, 1, 5]
    assert score_all(m)[3] == pytest.approx((1 + 5 / 10 + 1) / 3)
    assert score_all(m, np.array([8]))[3] == pytest.approx(20 / 40)
    every = np.stack([m, np.diag([0, 90, 0, 0, 90, 0, 0, 0, 1])])
    assert rarest(every.sum(0)).tolist() == [5, 2, 8]
    values = drawn(every[None], ["a", "b"], 50)
    first = values[np.isclose(values[:, 1], score_all(m)[1])]  # draws of the first tile alone
    np.testing.assert_allclose(first[:, 3], (1 + 20 / 40 + 1) / 3)


def test_intervals_are_those_of_the_evaluation():
    m, blocks = matrices(), np.repeat(["a", "b", "c", "d"], 3)
    want = bootstrap(m, blocks, 200)
    values = drawn(m[None], blocks, 200)
    for i, name in enumerate(("miou", "oa", "macro_f1")):
        np.testing.assert_allclose(interval(values[:, i]), want[name])
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_differences_are_paired():
    m, blocks = matrices(), np.repeat(["a", "b", "c", "d"], 3)
    better = m + 20 * np.eye(9, dtype=int) * (m.sum(-1) > 0)[..., None]
    apart = drawn(better[None], blocks, 200) - drawn(m[None], blocks, 200)
    alone = drawn(better[None], blocks, 200)
    assert (apart > 0).all() and apart[:, 0].std() < alone[:, 0].std()
    assert (drawn(np.stack([m, m]), blocks, 50) == drawn(m[None], blocks, 50)).all()


def test_gigamacs_of_the_published_network():
    # facts/models.md 1.2: 124.83 GFLOP at 512 px, two per multiply-add.
    options = {"plain_decoder": True, "s2_bands": 10, "s1_bands": 2}
    assert round(2 * gigamacs("specsar_former", options, 512), 2) == 124.83
    for name in ("claire", "cloudlulc_net", "unet"):
        assert gigamacs(name, {"s2_bands": 10, "s1_bands": 2}, 128) > 1


def test_parameters_leave_the_anchor_out():
    with torch.device("meta"):
        whole = model.build("cloudlulc_net", variant="small")
        bare = model.build("cloudlulc_net", variant="small", anchor=False)
    assert parameters(whole) == parameters(bare) < sum(p.numel() for p in whole.parameters())


def test_an_entry_changes_network_options_and_config():
    base = make_config({"model": {"name": "specsar_former", "options": {"variant": "b2", "dropout": 0.2}}})
    entry = parse_entry("cloudlulc_net:small, orm=false, loss.name=rift, loss.mix=0.3")
    config = config_of(entry, base, 7)
    assert config.model.options == {"variant": "small", "dropout": 0.2, "orm": False}
    assert (config.loss.name, config.loss.mix, config.run.seed) == ("rift", 0.3, 7)
    assert entry.folder == "cloudlulc_net_small_orm=false_loss.name=rift_loss.mix=0.3"
    assert config_of(parse_entry("unet,widths=[4, 8],sensors=s1"), base, 0).model.options == {
        "widths": [4, 8], "sensors": "s1"}
    # A variant that a network has not gives way to its own.
    assert config_of(parse_entry("claire"), base, 0).model.options == {"dropout": 0.2}
    assert config_of(parse_entry("segformer"), base, 0).model.options == {"variant": "b2", "dropout": 0.2}
    assert options_for("unet", {"variant": "b2"}) == {}
    for text, words in (("vgg", "must be one of"), ("claire:b2", "variant must be one of small, r18, r34"),
                        ("unet:small", r"\(none\)"), ("claire,orm", "must be key=value")):
        with pytest.raises(InputError, match=words) as caught:
            parse_entry(text)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="MODELS claire,loss.mix=2: loss.mix"):
        config_of(parse_entry("claire,loss.mix=2"), base, 0)


def test_strata_of_cloud():
    import pandas as pd

    table = pd.DataFrame({"s2_cloud": [0.0, 9.99, 10, 49, 50, 70, 100, np.nan]})
    found = strata(table)
    names = [f"{a} to {b} %" for a, b in ((0, 10), (10, 30), (30, 50), (50, 70), (70, 100))]
    assert [name for name, _ in found] == [*names, "unknown"]
    assert [int(mask.sum()) for _, mask in found] == [2, 1, 1, 1, 2, 1] and STRATUM_EDGES[-1] == 100
    # The tile's own cloud comes before the scene's.
    table["cloud_fraction"] = 0.25
    assert (tile_cloud(table) == 25).all() and [name for name, _ in strata(table)] == ["10 to 30 %"]


def test_the_table():
    row = {"value": 0.5, "interval": [0.4, 0.6], "difference": 0.1, "difference_interval": [0.05, None]}
    group = {"tiles": 3, "blocks": 2, "rare": ["water", "snow_and_ice"], "entries": {
        n: {s: row for s in ("miou", "oa", "macro_f1", "rare_miou")} for n in ("a", "b")}}
    report = {"split": "test", "seeds": [0, 1], "machine": "m", "reference": "a", "tile_px": 510, "overall": group,
              "by_cloud_stratum": {"0 to 10 %": group, "70 to 100 %": group}, "over_half_cloud": group,
              "reliability": {"b": [None, {"auc": 0.9, "clear": 0.8, "cloudy": 0.2, "clear_pixels": 5,
                                           "cloudy_pixels": 6}]},
              "cost": {n: {"parameters": 1_500_000, "gmac": 2.0, "images_per_second": [3.0, 2.5, 3.5],
                           "train_minutes": 1.0} for n in ("a", "b")}}
    found = lines(report)
    assert found[4] == (f"| a{' | 50.00 [40.0, 60.0]' * 4} |  |  | 1.50 | 2.00 | 3.00 [2.50, 3.50] | 1.0 |")
    assert "IoU of the rarest (water, snow_and_ice)" in found[2]
    assert "| +10.00 | +10.00 |" in found[5] and "| network | 0 to 10 % (3 tiles) | 70 to 100 % (3 tiles) |" in found
    tables = [line for line in found if line.startswith("|")]
    assert {line.count("|") for line in tables[:4]} == {12} and {line.count("|") for line in tables[4:]} == {4}
    assert "| b | 50.00 [40.0, 60.0] | +10.00 |" in found and "tiles of at least 50 % cloud: 3 in 2 blocks" in found
    assert found[-1].startswith("b: ") and "AUC 0.900" in found[-1]
