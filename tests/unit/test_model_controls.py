"""Controls: each does what it is, none is missing from a table, and truth is scored where there is one."""

import sys

import numpy as np
import pytest
import torch

import model
from benchmarks.bench_model import make_store
from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES, IGNORE
from model import controls
from model.compare import compare, lines
from model.config import make_config
from model.data import TileDataset
from model.scoring import count, evaluation_sets


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("controls") / "a.zarr", tiles=16, size=32)


CONFIG = make_config({"model": {"name": "unet", "options": {"widths": [4, 8]}}, "run": {"tensorboard": False},
                      "optim": {"epochs": 1, "batch_size": 4}})


def counted(name, store, truth=None):
    data = TileDataset(store, "train")
    kept, _ = controls.fitted(name, [str(store)], CONFIG, data.normalisation)
    return count(kept, evaluation_sets([str(store)], "test", kept), device=torch.device("cpu"), hide=False, truth=truth)


def test_a_pixel_is_told_by_itself():
    net = model.build("pixel_mlp").eval()
    s2, s1 = torch.randn(1, 10, 8, 8), torch.randn(1, 2, 8, 8)
    before = net(s2, s1)
    s2[..., 3, 3] += 5
    changed = (net(s2, s1) != before).any(1)[0]
    assert changed[3, 3] and int(changed.sum()) == 1


def test_the_majority_is_the_training_tiles_own(store):
    found = counted("majority", store)
    most = int(TileDataset(store, "train").class_counts.argmax())
    said = found.confusion[found.main].sum((0, 1))
    assert said[most] == said.sum() > 0


def test_a_forest_learns_what_pixels_tell(store):
    forest, majority = (r.confusion[r.main].sum(0) for r in (counted(n, store) for n in ("random_forest", "majority")))
    assert np.trace(forest) / forest.sum() > np.trace(majority) / majority.sum() + 0.2
    again = counted("random_forest", store)
    assert (again.confusion[again.main].sum(0) == forest).all()


def test_a_class_the_forest_never_saw_is_never_said():
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    trees = RandomForestClassifier(5, random_state=0).fit(rng.normal(size=(60, 3)), rng.choice([2, 7], 60))
    logits = controls.Forest(trees, len(CLASSES))(torch.randn(2, 2, 4, 4), torch.randn(2, 1, 4, 4))
    assert logits.shape == (2, len(CLASSES), 4, 4) and set(logits.argmax(1).unique().tolist()) <= {2, 7}
    torch.testing.assert_close(logits.softmax(1)[:, [2, 7]].sum(1), torch.ones(2, 4, 4))


def test_truth_is_scored_on_labelled_pixels(store):
    def truth(data, number):  # where the label errs the truth is water, and of the first row nothing is known
        found = np.where(data.tile(number).label == 1, 0, data.tile(number).label)
        found[0] = IGNORE
        return found

    found = counted("majority", store, truth)
    labels = found.labels_against_truth.sum(0)
    raw = [found.sets[0].tile(i).label[1:] for i in range(len(found.sets[0]))]
    assert labels.sum() == found.against_truth.sum() == sum(int((one != IGNORE).sum()) for one in raw)
    # Trees in the labels are water in truth; everything else is as it is labelled.
    assert labels[0, 1] == sum(int((one == 1).sum()) for one in raw) > 0 and labels[1].sum() == 0
    assert np.trace(labels) == labels.sum() - labels[0, 1]
    assert counted("majority", store).against_truth is None


def test_no_table_without_controls(store, tmp_path, monkeypatch):
    models = ["unet,widths=[4, 8]"]
    report = compare(store, tmp_path / "out", CONFIG, models, device="cpu", seconds=0, draws=50,
                     truth=lambda data, number: data.tile(number).label)
    assert list(report["overall"]["entries"]) == list(report["cost"]) == models
    names = ["pixel_mlp", "random_forest", "majority"]
    assert list(report["controls"]) == list(report["overall"]["controls"]) == list(report["control_cost"]) == names
    table = "\n".join(lines(report))
    assert all(f"| {name} (control) |" in table for name in names) and "| the labels (ceiling) | 100.00" in table
    against = report["against_truth"]
    assert against["controls"]["labels"]["miou"]["value"] == 1
    # This truth is the label: both tables say the same.
    assert against["entries"][models[0]]["miou"] == report["overall"]["entries"][models[0]]["miou"]
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match="scikit-learn") as caught:
        compare(store, tmp_path / "none", CONFIG, models, device="cpu")
    assert "\n" not in str(caught.value) and not (tmp_path / "none").exists()


def test_a_control_that_was_asked_for_is_an_entry(store, tmp_path):
    report = compare(store, tmp_path / "out", CONFIG, ["pixel_mlp,widths=[8]"], device="cpu", seconds=0, draws=20)
    assert list(report["controls"]) == ["random_forest", "majority"] and report["against_truth"] is None
