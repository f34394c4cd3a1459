"""Arrays beside labels and sensors: exported, checked, copied, repaired and read as the others are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr

import dwplus
from dwplus.earth import EarthConfig, connect, pixels
from dwplus.earth.bundles import bundles, requests_of
from dwplus.earth.images import extras as images
from dwplus.embedded_earth.planet import Planet
from dwplus.errors import EarthError, InputError
from dwplus.export import export, repair
from dwplus.export.extend import extend
from dwplus.grid import PixelGrid
from dwplus.planning.plan import make_plan, read_plan, spec_of, write_plan
from dwplus.planning.preview import cost, preview
from dwplus.report.text import describe
from dwplus.spec import DatasetSpec, extras, load_spec, make_spec
from dwplus.store.card import write_card
from dwplus.store.copies import merge, subset
from dwplus.store.geotiff import write_geotiffs
from dwplus.store.relabel import relabel
from dwplus.store.tars import export_tar
from dwplus.store.tiles import TileReader
from dwplus.store.verify import verify

#: Some km of the planet's Hesse: hills, woods, fields.
BOX = [9.18, 51.18, 9.22, 51.22]
ALL = ["dem", "embedding", "cloud_score", "worldcover"]


def spec(**more) -> DatasetSpec:
    return make_spec({
        "name": "more", "region": {"bbox": BOX}, "windows": [["2021-06-01", "2021-08-01"]], "tile": {"size": 32},
        "sampling": {"per_biome": 3}, "store": {"shard_tiles": 2}, "extras": ALL, **more})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extras")
    path = folder / "plan.parquet"
    write_plan(make_plan(connect(), spec()), path)
    store = folder / "store.zarr"
    assert export(path, store, EarthConfig()).exported == 3
    return path, store


def truth_grid(store):
    """Grid and year of the first tile."""
    group = zarr.open_group(store, mode="r")["biome_04"]
    return PixelGrid(int(group["epsg"][0]), float(group["x0"][0]), float(group["y0"][0]), 10.0, 32, 32)


def test_arrays_are_what_they_say(made):
    group = zarr.open_group(made[1], mode="r")["biome_04"]
    for one in extras.extras_of(ALL):
        array = group[one.name]
        assert array.dtype == one.dtype and array.shape[1:] == ((64, 32, 32) if one.bands else (32, 32))
        assert dict(array.attrs) == one.attributes
    assert list(group["embedding_band"]) == list(extras.EMBEDDING_BANDS)
    assert group["embedding"].metadata.dimension_names == ("tile", "embedding_band", "y", "x")
    assert set(ALL) < set(zarr.open_group(made[1], mode="r").attrs["sources"])
    assert [*group["digested"]] == ["outcome", "s2", "s1", "label", *ALL]
    vectors = group["embedding"][...].astype("f4")
    assert np.abs(np.sqrt((vectors**2).sum(axis=1)) - 1).max() < 1e-3
    assert set(np.unique(group["worldcover"])) <= {10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100}
    assert group["cloud_score"][...].max() <= 200


def test_elevation_is_the_planets_relief(made):
    """Interpolated between pixels of an arc second, so to some metres on slopes."""
    grid = truth_grid(made[1])
    land = next(world.landscape for world in Planet()._worlds if world.site.name == "hesse")
    x, y = np.meshgrid(grid.x0 + 10 * (np.arange(32) + 0.5), grid.y0 - 10 * (np.arange(32) + 0.5))
    heights = zarr.open_group(made[1], mode="r")["biome_04"]["dem"][0]
    assert np.abs(heights - land.height(x, y)).max() < 3
    assert np.unique(heights).size > 900  # no steps of 30 m


def test_elevation_has_no_seam_between_degrees():
    """Across 9 E, where one image of the model ends, as smooth and as right as elsewhere."""
    grid = PixelGrid(32632, 499_840.0, 5_672_000.0, 10.0, 32, 32)  # 500 km east is 9 E
    one = extras.extra("dem")
    answer = pixels.fetch(connect(), images.image(one, grid, "", ""), grid, np.dtype([("dem", "<f4")]))
    land = next(world.landscape for world in Planet()._worlds if world.site.name == "hesse")
    x, y = np.meshgrid(grid.x0 + 10 * (np.arange(32) + 0.5), grid.y0 - 10 * (np.arange(32) + 0.5))
    assert np.abs(answer["dem"] - land.height(x, y)).max() < 3
    assert np.abs(np.diff(answer["dem"], axis=1)).max() < 6


def test_store_is_sound_and_copies_keep_all(made, tmp_path):
    path, store = made
    assert verify(store).faults == []
    one, two = (tmp_path / f"{name}.zarr" for name in ("one", "two"))
    names = [str(name) for name in zarr.open_group(store, mode="r")["biome_04"]["tile_id"]]
    assert subset(store, one, f"tile_id == '{names[0]}'") == []
    assert subset(store, two, f"tile_id != '{names[0]}'") == []
    assert merge([one, two], tmp_path / "both.zarr") == []
    summary, faults = extend(one, path, tmp_path / "grown.zarr", EarthConfig())
    assert faults == [] and summary.exported == 3
    relabel(store, tmp_path / "six.zarr", "cloudlulc")
    assert verify(tmp_path / "six.zarr").faults == []
    for copy in ("both", "grown", "six"):
        found = zarr.open_group(tmp_path / f"{copy}.zarr", mode="r")["biome_04"]
        for name in ALL:
            np.testing.assert_array_equal(found[name][...], zarr.open_group(store, mode="r")["biome_04"][name][...])


@pytest.mark.parametrize("name", ALL)
def test_damage_is_found_and_mended(made, tmp_path, name):
    store = tmp_path / "store.zarr"
    shutil.copytree(made[1], store)
    reader = TileReader(store)
    form = reader.formats("biome_04")[name]
    before = reader.array("biome_04", name, 0)
    raw = bytearray(form.path(0).read_bytes())
    raw[40] ^= 1
    form.path(0).write_bytes(raw)
    assert any(name in fault.place for fault in verify(store).faults)
    _, left = repair(store, EarthConfig())
    assert left == []
    np.testing.assert_array_equal(TileReader(store).array("biome_04", name, 0), before)


def test_metadata_that_lies_is_found(made, tmp_path):
    store = tmp_path / "store.zarr"
    shutil.copytree(made[1], store)
    file = store / "biome_04" / "dem" / "zarr.json"
    meta = json.loads(file.read_text())
    meta["attributes"]["units"] = "ft"
    file.write_text(json.dumps(meta))
    assert any("dem" in fault.place for fault in verify(store).faults)
    assert repair(store, EarthConfig())[1] == []


def test_a_tile_can_be_looked_at(made, tmp_path):
    store = made[1]
    name = str(zarr.open_group(store, mode="r")["biome_04"]["tile_id"][0])
    tile = dwplus.tile(store, name)
    assert tile["dem"].dims == ("y", "x") and tile["embedding"].dims == ("embedding_band", "y", "x")
    assert tile["embedding"].dtype == "float32" and 0 <= float(tile["cloud_score"].max()) <= 1
    written = write_geotiffs(store, name, tmp_path)
    with rasterio.open(written["dem"]) as raster:
        np.testing.assert_array_equal(raster.read(1), tile["dem"].values)
    with rasterio.open(written["embedding"]) as raster:
        assert raster.count == 64 and raster.descriptions[63] == "A63"
    with rasterio.open(written["worldcover"]) as raster:
        assert raster.nodata == 0 and raster.colormap(1)[10] == (0, 100, 0, 255)
    assert "extras        dem, embedding, cloud_score, worldcover" in describe(store)
    export_tar(store, tmp_path / "tar")
    said = json.loads((tmp_path / "tar" / "dataset.json").read_text())["extras"]
    assert said["dem"]["units"] == "m" and said["dem"]["nodata"] is None and said["worldcover"]["nodata"] == 0
    write_card(store, tmp_path / "card")
    items = json.loads((tmp_path / "card" / "collection.json").read_text())["item_assets"]
    assert items["embedding"]["data_type"] == "float16" and len(items["embedding"]["bands"]) == 64
    tree = dwplus.open_store(store)
    assert float(tree["biome_04"]["cloud_score"].max()) <= 1


def test_int8_is_the_publishers_quantisation(made, tmp_path):
    """One request a tile where float16 takes two; to half a step of it the values are the same."""
    path = tmp_path / "plan.parquet"
    small = spec(extras=["embedding"], store={"shard_tiles": 2, "embedding_dtype": "int8"})
    write_plan(make_plan(connect(), small), path)
    export(path, tmp_path / "store.zarr", EarthConfig())
    codes = zarr.open_group(tmp_path / "store.zarr", mode="r")["biome_04"]["embedding"][...]
    assert codes.dtype == "int8" and verify(tmp_path / "store.zarr").faults == []
    exact = zarr.open_group(made[1], mode="r")["biome_04"]["embedding"][...].astype("f4")
    want = np.sign(exact) * np.sqrt(np.abs(exact)) * 127.5
    assert np.abs(codes - want).max() < 0.6
    assert np.isnan(extras.unquantised(np.array([-128], "int8"))).all()
    assert extras.unquantised(np.array([-51, 0, 127], "int8")) == pytest.approx([-0.16, 0, 0.99217], abs=1e-5)


def test_coarse_embeddings_are_of_unit_length():
    """Means of vectors are shorter than 1: at 20 m they are brought back, in the direction of the mean."""
    fine = PixelGrid(32632, 513_600.0, 5_672_000.0, 10.0, 16, 16)
    coarse = PixelGrid(32632, 513_600.0, 5_672_000.0, 20.0, 8, 8)
    one, scene = extras.extra("embedding"), "20210723T132241_20210723T132241_T32UNC"
    bands = np.dtype([(name, "<i2") for name in one.wire_bands])
    exact, mean = (np.stack([answer[name] for name in one.wire_bands]).astype("f4") / extras.WIRE_UNIT for answer in (
        pixels.fetch(connect(), images.image(one, grid, scene, scene), grid, bands) for grid in (fine, coarse)))
    assert np.abs(np.sqrt((mean**2).sum(axis=0)) - 1).max() < 1e-3
    want = exact.reshape(64, 8, 2, 8, 2).mean(axis=(2, 4))
    length = np.sqrt((want**2).sum(axis=0))
    assert length.min() < 0.98
    np.testing.assert_allclose(mean, want / length, atol=1e-3)


def test_requests_are_few_and_counted(made):
    plan = read_plan(made[0])
    assert cost(plan, spec_of(plan)).requests == 3
    assert any("1 request(s) a tile" in line for line in preview(plan))
    large = {"tile": {"size": 510}}
    assert requests_of(spec(extras=[], **large), 510) == 1
    assert requests_of(spec(extras=["dem", "cloud_score", "worldcover"], **large), 510) == 1
    assert requests_of(spec(**large), 510) == 2
    assert requests_of(spec(**large, store={"embedding_dtype": "int8"}), 510) == 1
    shared = bundles(510, 510, (2,) * 13, (2,) * 64)
    assert len(shared) == 2 and sum(shared) == 64
    assert bundles(510, 510, (2,) * 13, ()) == (0,)  # without extras nothing is shared out


def test_bands_shared_out_are_the_same_pixels(made, monkeypatch):
    """A limit that makes several requests of one tile changes no value."""
    from dwplus.earth import bundles as module
    from dwplus.earth import limits
    from dwplus.earth.stack import fetch_tile

    row = read_plan(made[0]).query("state == 'planned'").iloc[0]
    grid = PixelGrid(int(row["epsg"]), row["x0"], row["y0"], 10.0, 32, 32)
    ask = (connect(), spec(), grid, row["label_id"], row["s2_id"], row["s1_id"].split(","))
    whole = fetch_tile(*ask)
    module.bundles.cache_clear()
    monkeypatch.setattr(limits, "PIXEL_BYTES", 32 * 32 * 120)
    try:
        assert len(bundles(32, 32, *module.band_sizes(spec()))) > 1
        parts = fetch_tile(*ask)
    finally:
        module.bundles.cache_clear()
    for name in ALL:
        np.testing.assert_array_equal(parts.extras[name], whole.extras[name])
    np.testing.assert_array_equal(parts.s2, whole.s2)


@pytest.mark.parametrize(("more", "words"), [
    ({"windows": [["2016-01-01", "2016-06-01"]]}, "embeddings begin with 2017"),
    ({"extras": ["dem", "dem"]}, "dem is named twice"),
    ({"extras": ["slope"]}, "extras"),
    ({"extras": [], "store": {"embedding_dtype": "int8"}}, "store.embedding_dtype is of extras"),
])
def test_bad_specs_say_why(more, words):
    with pytest.raises(InputError, match=words):
        spec(**more)


def test_years_without_embedding_are_said_before_the_export(made):
    with pytest.raises(InputError, match="has no annual embedding"):
        make_plan(connect(), spec(windows=[["2025-06-01", "2025-08-01"]]))
    assert images.year_of("20210723T132241_20210723T132241_T22JGS") == 2021
    with pytest.raises(EarthError, match="begins with no date"):
        images.year_of("somewhere")


def test_a_window_across_the_first_year_takes_scenes_of_years_with_embeddings():
    plan = make_plan(connect(), spec(extras=["embedding"], windows=[["2016-10-01", "2017-04-01"]]))
    assert set(plan.query("state == 'planned'")["s2_time"].dt.year) == {2017}


def test_a_tile_beyond_the_elevation_model_is_rejected(made, tmp_path, monkeypatch):
    """At sea the model has no degree; the reason is a sentence, and the store stays sound."""
    monkeypatch.setattr(Planet, "_heights", property(lambda self: []))
    path = tmp_path / "plan.parquet"
    write_plan(make_plan(connect(), spec(extras=["dem"])), path)
    summary = export(path, tmp_path / "store.zarr", EarthConfig())
    assert summary.rejected == {"no_extra": 3}
    reason = str(zarr.open_group(tmp_path / "store.zarr", mode="r")["biome_04"]["reason"][0])
    assert reason.startswith("no_extra: dem knows no pixel of the tile")
    assert verify(tmp_path / "store.zarr").faults == []


def test_the_shipped_region_asks_for_one_request_a_tile():
    """At 510 px with elevation and int8 embeddings, on the smallest part of it planned as it is."""
    whole = load_spec(Path(__file__).parents[2] / "pipelines/regions/analysis-ready.yaml")
    assert {"dem", "embedding"} <= set(whole.extras) and requests_of(whole, whole.tile.size) == 1
    small = {"region": [{"bbox": BOX}], "tile": {"size": 32}, "sampling": {"per_biome": 1}}
    plan = make_plan(connect(), make_spec(whole.model_dump(mode="json") | small))
    assert len(plan.query("state == 'planned'")) == 1


def test_a_spec_without_extras_keeps_its_text():
    text = make_spec({"name": "plain", "region": "sample", "windows": [["2021-06-01", "2021-08-01"]]}).to_json()
    assert "extras" not in text and "embedding" not in text
    assert DatasetSpec.from_json(spec().to_json()) == spec()


# ---------------------------------------------------------------------------------------------------- another elevation

SRTM = "USGS/SRTMGL1_003"


def test_the_other_elevation_model_says_its_geoid(made, tmp_path):
    """SRTM, in whole metres above EGM96: to some metres the relief, and told apart by the array and the sources."""
    path = tmp_path / "plan.parquet"
    write_plan(make_plan(connect(), spec(extras=["dem"], elevation=SRTM)), path)
    assert export(path, tmp_path / "store.zarr", EarthConfig()).exported == 3
    assert verify(tmp_path / "store.zarr").faults == []
    root = zarr.open_group(tmp_path / "store.zarr", mode="r")
    array, other = root["biome_04"]["dem"], zarr.open_group(made[1], mode="r")["biome_04"]["dem"]
    assert "EGM96" in array.attrs["long_name"] and array.attrs["units"] == "m"
    assert "EGM2008" in other.attrs["long_name"]
    assert root.attrs["sources"]["dem"]["collection"] == SRTM
    assert 0 < np.abs(array[...] - other[...]).max() < 4
    write_card(tmp_path / "store.zarr", tmp_path / "card")
    assert "EGM96" in (tmp_path / "card" / "collection.json").read_text()


def test_beyond_the_elevation_model_a_tile_is_rejected_while_planning(tmp_path):
    """SRTM ends at 60 N, which no store takes for the sea's level."""
    norway = {"region": {"bbox": [7.7, 59.97, 7.95, 60.03]}, "windows": [["2021-06-01", "2021-09-01"]],
              "sampling": {"per_biome": None}, "extras": ["dem"], "tile": {"size": 128}}
    plan = make_plan(connect(), spec(**norway, elevation=SRTM))
    north = plan.geometry.bounds["maxy"] + 0.002 > 60
    assert (plan.loc[north, "reason"] == "no_elevation").all() and north.any()
    planned = plan["state"] == "planned"
    assert planned.any() and not (planned & north).any()
    whole = make_plan(connect(), spec(**norway))
    assert "no_elevation" not in set(whole["reason"]) and (whole.loc[whole.geometry.bounds["maxy"] > 60, "state"]
                                                           == "planned").any()
    at = plan.index[north][0]
    twin = whole.set_index("tile_id").loc[plan.loc[at, "tile_id"]]
    for column in ("s2_id", "s1_id", "label_id", "s2_time", "s1_time", "gap_hours", "relative_orbit", "s1_count",
                   "state", "orbit_pass"):
        plan.loc[at, column] = twin[column]
    write_plan(plan, tmp_path / "edited.parquet")
    with pytest.raises(InputError, match=r"elevation, USGS/SRTMGL1_003, is: it ends at 60 N and 56 S"):
        read_plan(tmp_path / "edited.parquet")


def test_a_region_beyond_the_elevation_model_is_refused_in_one_sentence():
    north = {"region": {"bbox": [7.7, 60.3, 7.95, 60.4]}, "extras": ["dem"], "elevation": SRTM}
    with pytest.raises(InputError, match=r"ends at 60 N and 56 S, and the region lies outside; take") as error:
        make_plan(connect(), spec(**north))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="none of which this spec has"):
        spec(extras=["worldcover"], elevation=SRTM)
    with pytest.raises(InputError, match="elevation"):
        spec(elevation="NASA/NASADEM_HGT/001")
    assert "elevation" not in spec().to_json() and SRTM in spec(elevation=SRTM).to_json()


def test_more_than_one_request_says_what_makes_it_one(made):
    """Where 48 MiB do not hold a tile with its extras."""
    large = spec(tile={"size": 510}, region={"bbox": [9.1561, 51.1723, 9.2439, 51.2277]})
    plan = make_plan(connect(), large)
    line = next(line for line in preview(plan) if "request(s) a tile" in line)
    assert "2 request(s) a tile of 510 px, for one holds at most 48 MiB" in line and "embedding_dtype int8" in line
    side = int(line.split("at most")[-1].split()[0])
    assert [requests_of(spec(tile={"size": size}), size) for size in (side, side + 1)] == [1, 2]
