"""Groups, pictures and settings: what evaluation and configs are made of."""

import json

import numpy as np
import pandas as pd
import pytest

from dwplus.errors import InputError
from dwplus.pages.colours import of_agreement, of_classes
from dwplus.pages.stretch import radar, true_colour
from dwplus.store.units import decibels
from dwplus.taxonomy import PALETTE
from model.config import load_config, make_config, merged, parse_override
from model.evaluate import CLOUD_EDGES, GAP_EDGES, bins, plain
from pipelines.train import config_for


def test_every_tile_is_in_one_group():
    for values, edges in ((pd.Series([0.0, 11.9, 12, 71, 144, 5000, np.nan]), GAP_EDGES),
                          (pd.Series([0.0, 2, 34.9, 35, 100, np.nan]), CLOUD_EDGES)):
        masks = np.array([mask for _, mask in bins(values, edges, "u")])
        assert (masks.sum(axis=0) == 1).all()
    names = [name for name, _ in bins(pd.Series([13.0, 2000, np.nan]), GAP_EDGES, "h")]
    assert names == ["12 to 24 h", "over 1440 h", "unknown"]


def test_not_a_number_is_null():
    found = plain({"a": np.array([1.5, np.nan]), "b": (float("inf"), np.int64(3)), "c": "x"})
    assert json.dumps(found) == '{"a": [1.5, null], "b": [null, 3], "c": "x"}'


def test_pictures():
    label = np.array([[0, 8], [255, 3]], "uint8")
    shown = of_classes(label)
    assert "#{:02X}{:02X}{:02X}".format(*shown[0, 0]) == PALETTE[0] and (shown[1, 0] == 255).all()
    wrong = of_agreement(label, np.array([[0, 7], [1, 3]], "uint8"))
    assert (wrong[0, 0] == wrong[1, 1]).all() and (wrong[0, 0] != wrong[0, 1]).any() and (wrong[1, 0] == 255).all()
    s2 = np.arange(3 * 16, dtype="uint16").reshape(3, 4, 4) * 100
    s2[:, 0, 0] = 65535
    picture = true_colour(s2, ("B2", "B3", "B4"))
    assert picture.shape == (4, 4, 3) and (picture[0, 0] == 128).all() and picture[3, 3].max() == 255
    s1 = np.full((1, 2, 2), -1200, "int16")
    assert radar(decibels(s1)).shape == (2, 2, 3)
    assert (radar(np.full((2, 2, 2), np.nan, "float32")) == 128).all()


def test_shipped_configs_and_the_published_recipe():
    recipe = load_config("specsar_former")
    assert recipe.optim.lr == 5e-4 and recipe.optim.epochs == 200 and recipe.optim.batch_size == 4
    assert recipe.model.options == {"variant": "b2"} and recipe.data.crop is None
    assert load_config("small").model.options == {"variant": "small"}
    assert make_config(recipe.to_dict()) == recipe


def test_settings():
    assert parse_override("optim.lr=1e-3") == {"optim": {"lr": 0.001}}
    assert parse_override("data.crop=null") == {"data": {"crop": None}}
    assert parse_override("model.options.variant=b0") == {"model": {"options": {"variant": "b0"}}}
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    config = config_for("small", "unet", ["optim.epochs=3"])
    assert config.model.name == "unet" and config.model.options == {} and config.optim.epochs == 3
    assert config_for("small", "segformer:b0", []).model.options == {"variant": "b0"}
    for make, words in ((lambda: parse_override("optim.lr"), "must be key=value"),
                        (lambda: config_for("small", "vgg", []), "MODEL 'vgg': must be one of"),
                        (lambda: config_for("small", None, ["optim.speed=1"]), "unknown key optim.speed"),
                        (lambda: config_for("small", None, ["optim=3"]), "optim: input should be"),
                        (lambda: config_for("/nowhere.yaml", None, []), "no such file")):
        with pytest.raises(InputError, match=words) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_a_config_that_is_no_mapping(tmp_path):
    for text, words in (("- 1", "must be a mapping"), ("a: [", "is no YAML")):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(InputError, match=words):
            load_config(str(tmp_path / "c.yaml"))
