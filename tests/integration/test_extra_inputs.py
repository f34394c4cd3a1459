"""Extras as bands of the optical branch: the same numbers in training, evaluation, an exported network and a map."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dwplus.earth import EarthConfig, connect
from dwplus.earth.stack import fetch_inputs
from dwplus.errors import InputError
from dwplus.export import export
from dwplus.grid import PixelGrid
from dwplus.maps.blocks import WindowShape
from dwplus.maps.inputs import StoreInputs, blocks_of_store
from dwplus.maps.plan import map_spec
from dwplus.planning.plan import make_plan, read_plan, spec_of, write_plan
from dwplus.spec import extras, make_spec
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from model import checkpoint
from model.compare import compare, lines
from model.config import make_config
from model.data import TileDataset
from model.export import Whole
from model.normalise import Normalisation, Normaliser, Scaling
from model.scoring import count, evaluation_sets

BANDS = ["B2", "B3", "B4", "B8"]
CONFIG = make_config({"model": {"name": "unet", "options": {"widths": [4, 8]}}, "run": {"tensorboard": False},
                      "data": {"extras": ["embedding", "dem"], "crop": 16},
                      "optim": {"epochs": 1, "batch_size": 4}})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    boxes = [{"bbox": [x, 51.15, x + 0.04, 51.19]} for x in (8.85, 9.2, 9.5)]
    write_plan(make_plan(connect(), make_spec({
        "name": "inputs", "region": boxes, "windows": [["2021-06-01", "2021-08-01"]], "tile": {"size": 32},
        "sampling": {"per_biome": 12}, "store": {"shard_tiles": 8}, "sentinel2": {"bands": BANDS},
        "extras": ["dem", "embedding"]})), folder / "plan.parquet")
    export(folder / "plan.parquet", folder / "store.zarr", EarthConfig())
    return folder / "store.zarr"


def test_coding_keeps_what_there_is():
    dem = extras.as_input(extras.extra("dem"), np.array([[-12.4, 8848.0, np.nan]], "float32"))
    assert dem.shape == (1, 1, 3) and dem.tolist() == [[[4938, 49240, 65535]]]
    half = extras.as_input(extras.extra("embedding"), np.full((64, 1, 1), -0.5, "float16"))
    assert half.shape == (64, 1, 1) and (half == 15_000).all()
    codes = extras.as_input(extras.extra("embedding", "int8"), np.full((64, 1, 1), -128, "int8"))
    assert (codes == 65535).all()
    score = extras.as_input(extras.extra("cloud_score"), np.array([[0, 200, 255]], "uint8"))
    assert score.tolist() == [[[0, 200, 65535]]]
    assert extras.inputs_in(["B2", "dem", "B3"]) == () and extras.inputs_in(["B2", "dem"]) == ("dem",)


def test_samples_have_the_extras_behind_their_bands(store):
    data = TileDataset(store, "all", extras=["embedding", "dem"])
    assert data.s2_bands == (*BANDS, "dem", *extras.EMBEDDING_BANDS)
    raw = data.tile(3)
    row = data.table.iloc[3]
    reader = TileReader(store)
    np.testing.assert_array_equal(raw.s2[:4], reader.read(row["group"], row["index"]).s2)
    heights = raw.s2[4] / 5 - 1000
    np.testing.assert_allclose(heights, reader.array(row["group"], "dem", row["index"]), atol=0.11)
    for kind in ("zarr", "tensorstore"):
        np.testing.assert_array_equal(TileDataset(store, "all", extras=["embedding", "dem"], reader=kind).tile(3).s2,
                                      raw.s2)


def test_what_an_extra_lacks_is_its_own():
    """No elevation hides neither Sentinel-2 nor the label; an exported network does alike."""
    scaling = Scaling(("B2", "dem"), (100.0, 5000.0), (10.0, 50.0), (0.0, 0.0), (200.0, 10_000.0))
    radar = Scaling(("VV",), (-10.0,), (1.0,), (-30.0,), (0.0,))
    normalisation = Normalisation(scaling, radar, 1)
    s2 = torch.tensor([[[[110, 65535]], [[65535, 5050]]]], dtype=torch.int32).to(torch.uint16)
    s1 = torch.full((1, 1, 1, 2), -1000, dtype=torch.int16)
    label = torch.zeros(1, 1, 2, dtype=torch.uint8)
    out, _, label = Normaliser(normalisation)(s2, s1, label, torch.tensor([[True] * 2]))
    assert out.tolist() == [[[[1.0, 0.0]], [[0.0, 1.0]]]] and label.tolist() == [[[0, 0]]]

    class Seen(torch.nn.Module):
        def forward(self, s2, s1):
            return s2

    assert torch.equal(Whole(Seen(), normalisation)(s2.float(), s1 * 0.01), out)


@pytest.fixture(scope="module")
def compared(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    return out, compare(store, out, CONFIG, ["unet"], split="train", device="cpu", draws=20, seconds=0.01)


def test_comparison_has_a_head_on_the_embedding_alone(compared, store):
    out, report = compared
    assert "embedding_head" in report["controls"] and "embedding_head" in "\n".join(lines(report))
    head, most = (report["overall"]["controls"][name]["oa"]["value"] for name in ("embedding_head", "majority"))
    assert head > most + 0.1
    kept = checkpoint.load(out / "unet" / "seed_0")
    assert kept.info["s2_bands"] == [*BANDS, "dem", *extras.EMBEDDING_BANDS]
    assert count(kept, evaluation_sets([str(store)], "train", kept), device=torch.device("cpu"), hide=False)
    assert not [k for k in json.loads((store / "zarr.json").read_text())["attributes"] if "statistics" in k]


def test_maps_ask_for_what_the_network_takes(compared, store):
    """Windows from Earth Engine and from the store hold the bands that samples hold."""
    kept = checkpoint.load(compared[0] / "unet" / "seed_0")
    names = extras.inputs_in(kept.info["s2_bands"])
    assert names == ("dem", "embedding")
    plan = read_plan(store.parent / "plan.parquet")
    spec = map_spec(spec_of(plan), kept.info["specs"][0], 1, names)
    assert spec.extras == names
    data = TileDataset(store, "all", normalisation=kept.normalisation)
    row = plan[plan["tile_id"] == data.table["tile_id"].iat[0]].iloc[0]
    grid = PixelGrid(int(row["epsg"]), row["x0"], row["y0"], 10.0, 32, 32)
    s2, _, _ = fetch_inputs(connect(), spec, grid, row["s2_id"], row["s1_id"].split(","), with_extras=True)
    whole = data.tile(0).s2
    np.testing.assert_array_equal(s2[:5], whole[:5])
    assert np.abs(s2.astype(int) - whole).max() <= 8  # an embedding of float16 and one of int16
    table = tile_table(store)
    blocks = blocks_of_store(table, 10.0, 32, None)
    source = StoreInputs(str(store), blocks, WindowShape(margin=0, ramp=0), False, data.extras)
    source.begin()
    block = next(b for b in blocks if b.id == row["tile_id"])
    found = source.read(block, block.scenes[0])
    np.testing.assert_array_equal(found.s2, whole)


def test_what_is_not_there_is_said(store):
    with pytest.raises(InputError, match="has no array cloud_score"):
        TileDataset(store, "all", extras=["cloud_score"])
    with pytest.raises(InputError, match="must be of dem, embedding, cloud_score"):
        TileDataset(store, "all", extras=["worldcover"])
