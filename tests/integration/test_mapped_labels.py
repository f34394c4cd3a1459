"""Labels from any map of classes: ESA WorldCover ready made, others by band and codes, each by its date rule."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import zarr

from dwplus.earth import EarthConfig, connect
from dwplus.errors import InputError
from dwplus.export import export, repair
from dwplus.planning.mapped import images_for
from dwplus.planning.pairing import LABEL_PARTIAL, NO_LABEL
from dwplus.planning.plan import make_plan, read_plan, write_plan
from dwplus.scenes.records import MapImage
from dwplus.spec import DatasetSpec, make_spec
from dwplus.store.card import write_card
from dwplus.store.copies import subset
from dwplus.store.relabel import relabel
from dwplus.store.verify import verify
from model.data import TileDataset

BOX = [9.18, 51.18, 9.22, 51.22]
COVER = {"source": "asset", "asset": "ESA/WorldCover/v200"}
#: The planet's truth, in classes of our own: woods, water, and the rest of the land.
TRUTH = {"source": "asset", "asset": "SAMPLE/TRUTH", "band": "label", "date": "year",
         "codes": {0: "water", 1: "wood", **dict.fromkeys(range(2, 9), "land")}}


def spec(labels, **more) -> DatasetSpec:
    return make_spec({
        "name": "mapped", "region": {"bbox": BOX}, "windows": [["2021-06-01", "2021-08-01"]], "tile": {"size": 32},
        "sampling": {"per_biome": 3}, "store": {"shard_tiles": 2}, "labels": labels, **more})


def exported(folder, wanted):
    path, store = folder / "plan.parquet", folder / "store.zarr"
    write_plan(make_plan(connect(), wanted), path)
    assert export(path, store, EarthConfig()).exported == 3
    return path, store


@pytest.fixture(scope="module")
def cover(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("cover"), spec(COVER, extras=["worldcover"]))


def test_worldcover_needs_no_codes(cover):
    """Its labels are the places of its codes in the class table; the extra holds the codes themselves."""
    path, store = cover
    assert set(read_plan(path).query("state == 'planned'")["label_id"]) == {"2021"}
    root = zarr.open_group(store, mode="r")
    assert root.attrs["class_table"] == "esa-worldcover" and root.attrs["label_source"] == "asset"
    assert root.attrs["sources"]["labels"]["collection"] == "ESA/WorldCover/v200"
    label, codes = (root["biome_04"][name][...] for name in ("label", "worldcover"))
    np.testing.assert_array_equal(np.array(root.attrs["class_codes"])[label], codes)
    assert root["biome_04"]["class_counts"].shape == (3, 11)
    assert verify(store).faults == []


def test_the_store_serves_as_others_do(cover, tmp_path):
    store = cover[1]
    name = str(zarr.open_group(store, mode="r")["biome_04"]["tile_id"][0])
    assert subset(store, tmp_path / "one.zarr", f"tile_id == '{name}'") == []
    found = relabel(store, tmp_path / "nine.zarr", "dynamic-world")
    assert found.became["tree_cover"] == "trees" and verify(tmp_path / "nine.zarr").faults == []
    assert len(TileDataset(store, "all").legend) == 11
    label = next((store / "biome_04" / "label" / "c").rglob("0"))
    while label.is_dir():
        label = next(label.iterdir())
    label.write_bytes(label.read_bytes()[:-3])
    assert repair(store, EarthConfig())[1] == []
    write_card(store, tmp_path / "card")
    assert any("11 classes" in file.read_text() for file in (tmp_path / "card").glob("*.json"))


def test_codes_of_ones_own(tmp_path):
    _, store = exported(tmp_path, spec(TRUTH))
    root = zarr.open_group(store, mode="r")
    assert root.attrs["classes"] == ["water", "wood", "land"]
    assert set(np.unique(root["biome_04"]["label"])) <= {0, 1, 2}
    assert {str(name) for name in root["biome_04"]["label_id"]} == {"hesse_2021"}
    assert verify(store).faults == []


def image(index, start, box=(0, 0, 2, 2), end=None):
    return MapImage(index, start, end, shapely.box(*box) if box else None)


def test_date_rules():
    day = 86_400_000
    tile, at = shapely.box(0.5, 0.5, 1.5, 1.5), 18_800 * day  # 2021-06-22
    old, new, last = image("2019", 17_897 * day), image("2021", 18_628 * day), image("2024", 19_723 * day)
    assert images_for(tile, at, [old, new, last], "any", 0.99) == ("2024",)
    assert images_for(tile, at, [old, new, last], "year", 0.99) == ("2021",)
    assert images_for(tile, at, [old, last], "year", 0.99) is NO_LABEL
    assert images_for(tile, at, [old, last], "nearest", 0.99) == ("2019",)
    assert images_for(tile, at, [old, new, last], "nearest", 0.99) == ("2021",)
    parts = [image("w", 0, (0, 0, 1, 2)), image("e", 0, (1, 0, 2, 2))]
    assert images_for(tile, at, parts, "any", 0.99) == ("w", "e")
    assert images_for(tile, at, parts[:1], "any", 0.99) is LABEL_PARTIAL
    assert images_for(tile, at, [image("globe", None, None)], "any", 0.99) == ("globe",)


@pytest.mark.parametrize(("labels", "words"), [
    ({"source": "asset"}, "source asset needs asset"),
    ({"source": "asset", "asset": "users/me/map"}, "band of asset users/me/map is not known"),
    ({**COVER, "codes": "nothing"}, "codes 'nothing' must be one of"),
    ({**COVER, "codes": {-1: "wood"}}, "different whole numbers 0 to 65535"),
    ({**COVER, "codes": {i: f"c{i}" for i in range(300)}}, "at most 254 classes"),
    ({**COVER, "codes": {3: "old wood"}}, "must be one word"),
    ({**COVER, "per_window": "mode"}, "per_window mode is Dynamic World V1's"),
    ({"codes": "esa-worldcover"}, "codes belongs to source asset"),
    ({"asset": "ESA/WorldCover/v200"}, "asset belongs to source annotations or asset"),
])
def test_bad_specs_say_why(labels, words):
    with pytest.raises(InputError, match=words):
        spec(labels)


@pytest.mark.parametrize(("labels", "words"), [
    ({**TRUTH, "asset": "SAMPLE/NOTHING"}, "is no image and no collection of images on this Earth"),
    ({**TRUTH, "band": "classes"}, "labels.band 'classes': asset SAMPLE/TRUTH has label"),
    ({**TRUTH, "asset": "RESOLVE/ECOREGIONS/2017"}, "is no image and no collection"),
])
def test_bad_assets_say_why(labels, words):
    with pytest.raises(InputError, match=words):
        make_plan(connect(), spec(labels))


def test_one_image_is_a_map_as_well():
    plan = make_plan(connect(), spec({**TRUTH, "asset": "SAMPLE/TRUTH/hesse_2020", "date": "any"}))
    assert set(plan.query("state == 'planned'")["label_id"]) == {"hesse_2020"}


def test_a_year_without_a_map_is_a_reason():
    with pytest.raises(InputError, match="no_label"):
        make_plan(connect(), spec({**TRUTH, "asset": "SAMPLE/TRUTH/hesse_2020"}))
