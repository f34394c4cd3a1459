"""The figures that published protocols differ in, each against a computation of its own, pixel by pixel."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from dwplus.errors import InputError
from dwplus.importers import Options, import_set
from model.checkpoint import load
from model.config import make_config
from model.data import TileDataset
from model.evaluate import evaluate, images_of
from model.metrics import Protocol
from model.normalise import Normaliser
from model.train import train
from tests import public_sets

CLASSES = ("background", "city", "road", "water", "forest", "farmland")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """PIE-RGB-SAR's imitation, cut into four tiles an image, and a network that sees neighbours, barely trained."""
    root = tmp_path_factory.mktemp("protocols")
    public_sets.pie(root / "pie", 8)
    import_set("pie-rgb-sar", root / "pie", root / "pie.zarr", Options(tile=32))
    train(root / "pie.zarr", root / "run", make_config({
        "model": {"name": "unet", "options": {"widths": [8, 16]}}, "data": {"augment": False, "threads": 1},
        "optim": {"epochs": 1, "batch_size": 4, "lr": 1e-3}, "run": {"tensorboard": False}}))
    return root


@pytest.fixture(scope="module")
def pixels(work):
    """Label and answer of every tile of split val, by window and step; the answers by plain loops over the network."""
    kept = load(work / "run")
    data = TileDataset(work / "pie.zarr", "val", normalisation=kept.normalisation)
    normaliser = Normaliser(kept.normalisation)

    @torch.inference_mode()
    def answers(window=None, stride=None):
        found = []
        for number in range(len(data)):
            tile = data.tile(number)
            both = torch.ones(1, 2, dtype=torch.bool)
            s2, s1, label = normaliser(*(torch.from_numpy(np.ascontiguousarray(a))[None] for a in (
                tile.s2, tile.s1, tile.label)), both)
            if window is None:
                chance = kept.net(s2, s1).softmax(1)[0]
            else:
                chance, seen = torch.zeros(6, 32, 32), torch.zeros(32, 32)
                starts = list(range(0, 32 - window, stride)) + [32 - window]
                for y in starts:
                    for x in starts:
                        part = kept.net(s2[..., y:y + window, x:x + window], s1[..., y:y + window, x:x + window])
                        chance[:, y:y + window, x:x + window] += part.softmax(1)[0]
                        seen[y:y + window, x:x + window] += 1
                chance = chance / seen
            found.append((label[0].numpy(), chance.argmax(0).numpy()))
        return found

    return data, answers


def pooled(tiles):
    return [np.concatenate([tile[side].ravel() for tile in tiles]) for side in (0, 1)]


def figures(truth, said, classes=range(6)):
    """Overall accuracy, mean IoU and mean F1 over the classes that occur, by scikit-learn."""
    keep = truth != 255
    truth, said = truth[keep], said[keep]
    there = [c for c in classes if (truth == c).any()]
    more = {"labels": there, "average": "macro", "zero_division": 0}
    return [accuracy_score(truth, said), jaccard_score(truth, said, **more), f1_score(truth, said, **more)]


def overall(work, tmp_path, **choices):
    found = evaluate(work / "pie.zarr", work / "run", tmp_path / "out", split="val", draws=60, shown=0,
                     protocol=Protocol(**choices))
    return [found["overall"][key] for key in ("oa", "miou", "macro_f1")], found


def test_all_pixels_together(work, pixels, tmp_path):
    found, _ = overall(work, tmp_path)
    assert found == pytest.approx(figures(*pooled(pixels[1]())))


def test_background_is_scored_or_not(work, pixels, tmp_path):
    truth, said = pooled(pixels[1]())
    found, more = overall(work, tmp_path, without=("background",))
    assert found == pytest.approx(figures(np.where(truth == 0, 255, truth), said, range(1, 6)))
    assert more["overall"]["iou"][0] is None and more["overall"]["pixels"] == int((truth > 0).sum())
    tiles = pd.read_csv(tmp_path / "out/tiles.csv")
    assert tiles["pixels"].sum() == more["overall"]["pixels"], "the tiles' table has the same protocol"


def test_each_image_has_its_figures_whatever_tiles_it_was_cut_into(work, pixels, tmp_path):
    data, answers = pixels
    images: dict[str, list] = {}
    for name, tile in zip(data.table["label_id"].astype(str), answers(), strict=True):
        images.setdefault(name, []).append(tile)
    assert len(images) == 2 and {len(tiles) for tiles in images.values()} == {4}
    each = np.array([figures(*pooled(tiles)) for tiles in images.values()])
    found, more = overall(work, tmp_path, per_image=True)
    assert found == pytest.approx(each.mean(axis=0).tolist())
    assert found != pytest.approx(figures(*pooled(answers())))
    for key, values in zip(("oa", "miou", "macro_f1"), each.T, strict=True):
        low, high = more["overall"]["interval"][key]
        # Two blocks, drawn again: both extremes come up among sixty draws.
        assert (low, high) == pytest.approx((values.min(), values.max()))
    both, _ = overall(work, tmp_path, per_image=True, without=("background",))
    masked = [pooled(tiles) for tiles in images.values()]
    assert both == pytest.approx(np.mean([figures(np.where(t == 0, 255, t), s, range(1, 6)) for t, s in masked],
                                         axis=0).tolist())


@pytest.mark.parametrize(("window", "stride"), [(16, None), (16, 8), (24, 10), (32, None)])
def test_a_sliding_window_is_the_mean_of_its_answers(work, pixels, tmp_path, window, stride):
    want = pixels[1](window, stride or window)
    found, _ = overall(work, tmp_path, window=window, stride=stride)
    assert found == pytest.approx(figures(*pooled(want)), abs=2e-3)  # pixels on the edge of two classes may turn


def test_a_smaller_window_gives_other_answers(pixels):
    whole, slid = (pooled(pixels[1](*choice))[1] for choice in ((), (16, 8)))
    assert (whole != slid).any(), "or the test above could not fail"


def test_absent_classes_count_as_zero_but_not_those_left_out():
    matrix = np.array([[[6, 2, 0], [1, 3, 0], [0, 0, 0]]])
    ious = 6 / 9, 3 / 6
    assert Protocol().of(matrix)["miou"] == pytest.approx(sum(ious) / 2)
    zero = Protocol(absent_as_zero=True)
    assert zero.of(matrix)["miou"] == pytest.approx(sum(ious) / 3)
    names = ("a", "b", "c")
    left = Protocol(without=("c",), absent_as_zero=True)
    assert left.of(left.masked(matrix, names), left.scored(names))["miou"] == pytest.approx(sum(ious) / 2)
    low, high = zero.interval(np.repeat(matrix, 4, axis=0), [0, 1, 2, 3], 20)["miou"]
    assert low == high == pytest.approx(sum(ious) / 3), "the interval is of the figure it stands beside"


def test_tiles_of_a_store_without_scenes_are_images():
    table = pd.DataFrame({"data": [0, 0, 1], "tile_id": ["a", "b_r00000_c00032", "a"], "window": "w"})
    assert len(set(images_of(table))) == 3
    cut = table.assign(scene_row=0, scene_col=[0, 32, 0]).assign(tile_id=["b_r00000_c00000", "b_r00000_c00032", "a"])
    assert len(set(images_of(cut))) == 2


@pytest.mark.parametrize(("choices", "words"), [
    ({"without": ("sky",)}, "--without sky: is no class; classes are background, "),
    ({"without": CLASSES}, "leaves no class"),
    ({"stride": 8}, "--stride 8: .* give --window too"),
    ({"window": 16, "stride": 17}, "--stride 17: must be 1 to the window's 16 px"),
    ({"window": 64}, "--window 64: is larger than the tiles, 32 px"),
])
def test_protocols_that_cannot_be_are_refused_before_anything_is_counted(work, tmp_path, choices, words):
    with pytest.raises(InputError, match=words):
        evaluate(work / "pie.zarr", work / "run", tmp_path / "out", split="val", protocol=Protocol(**choices))
    assert not list(tmp_path.iterdir())
