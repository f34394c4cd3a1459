"""Public data sets into stores: each layout imitated to the letter, and broken in three ways."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

import dwplus
from dwplus.errors import InputError
from dwplus.importers import NAMES, Options, import_set, parse_codes, tiling, whu
from dwplus.store import layout, units
from dwplus.store.reader import tile_table
from dwplus.store.verify import verify
from tests import public_sets

CLASSES = {"whu-opt-sar": "farmland city village water forest road others",
           "pie-rgb-sar": "background city road water forest farmland",
           "openearthmap-sar": "bareland rangeland developed_space road tree water agriculture_land building",
           "dfc2020": "forest shrubland grassland wetland cropland urban barren water",
           "sen12ms": "forest shrubland savanna grassland wetland cropland urban snow_and_ice barren water",
           "cloudlulc-set": "water forest grassland barren built_up cropland",
           "mmearth": "water trees grass flooded_vegetation crops shrub_and_scrub built bare snow_and_ice",
           "folder": "maize wheat"}
BANDS = {"whu-opt-sar": (4, 1), "pie-rgb-sar": (3, 1), "openearthmap-sar": (3, 1), "dfc2020": (13, 2),
         "sen12ms": (13, 2), "cloudlulc-set": (12, 2), "mmearth": (12, 2), "folder": (4, 2)}
DISPLAY = {"whu-opt-sar", "pie-rgb-sar", "openearthmap-sar"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for name, make in public_sets.MAKERS.items():
        make(root / name)
        import_set(name, root / name, root / f"{name}.zarr", Options(tile=64 if name == "whu-opt-sar" else None))
    return root


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.rglob(pattern))[0]


def rewrite(path: Path, change) -> None:
    """A raster with its pixels changed, (band, y, x) in and out."""
    with rasterio.open(path) as raster:
        values, crs, transform = raster.read(), raster.crs, raster.transform
    values = change(values)
    with rasterio.open(path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
                       dtype=values.dtype, crs=crs, transform=transform) as raster:
        raster.write(values)


def rewrite_all(folder: Path, pattern: str, change) -> None:
    """The same of all rasters of a pattern below a folder."""
    for path in folder.rglob(pattern):
        rewrite(path, change)


@pytest.mark.parametrize("name", NAMES)
def test_every_set_says_what_it_is(sets, name):
    store = sets / f"{name}.zarr"
    attrs = layout.open_root(store).attrs.asdict()
    assert attrs["classes"] == CLASSES[name].split()
    assert len(attrs["class_codes"]) == len(attrs["palette"]) == len(attrs["classes"]) and attrs["ignore"] == 255
    group = dwplus.open_store(store)["tiles"]
    assert (group.sizes["s2_band"], group.sizes["s1_band"]) == BANDS[name]
    assert set(attrs["band_units"]) == {*group["s2_band"].values, *group["s1_band"].values}
    optical, radar = attrs["band_units"][str(group["s2_band"].values[0])], attrs["band_units"][
        str(group["s1_band"].values[0])]
    assert (optical, radar) == (("display", "display") if name in DISPLAY else ("reflectance", "dB"))
    assert attrs["license"] and attrs["import"]["dataset"] in (name, "my-fields")
    report = verify(store)
    assert not report.faults and report.tiles["exported"] > 0 and report.tiles["pending"] == 0
    assert (store / "tiles.parquet").is_file()
    labels = np.unique(group["label"].values)
    assert set(labels) <= {*range(len(attrs["classes"])), 255} and len(labels) > 1


def test_pixels_are_those_of_the_files(sets):
    name = public_sets.WHU_SHEETS[0]
    group = dwplus.open_store(sets / "whu-opt-sar.zarr")["tiles"].load()
    row = list(group["tile_id"].values).index(f"{name}_r00000_c00064")
    with rasterio.open(sets / "whu-opt-sar" / "image" / f"{name}.tif") as raster:
        optical = raster.read()[:, :64, 64:128]
    with rasterio.open(sets / "whu-opt-sar" / "sar" / f"{name}.tif") as raster:
        radar = raster.read()[:, :64, 64:128]
    with rasterio.open(sets / "whu-opt-sar" / "lbl" / f"{name}.tif") as raster:
        label = raster.read(1)[:64, 64:128]
    assert np.array_equal(group["s2"][row], optical) and np.allclose(group["s1"][row], radar, atol=1e-4)
    assert np.array_equal(group["label"][row], np.where(label == 0, 255, label // 10 - 1))


def test_padding_counts_every_pixel_once(sets):
    table = tile_table(sets / "whu-opt-sar.zarr")
    counted = table[[c for c in table if c.startswith("count_")]].to_numpy().sum()
    inside = 0
    for path in sorted((sets / "whu-opt-sar" / "lbl").glob("*.tif")):
        with rasterio.open(path) as raster:
            inside += int((raster.read(1) > 0).sum())
    assert counted == inside > 0
    assert tiling.cut(3704, 5556, 512, "shift")[-1] == (3704 - 512, 5556 - 512)
    assert len(tiling.cut(3704, 5556, 512, "shift")) == len(tiling.cut(3704, 5556, 512, "pad")) == 88
    assert len(tiling.cut(3704, 5556, 256, "drop")) == 294  # as the 256 px recipe of the leaky split has it


def test_sheets_lie_where_their_numbers_say():
    # NH49E004021: zone 49 begins at 108 E, band H ends at 32 N; west 113.0, north 31.5.
    assert whu.sheet_centre("NH49E004021") == pytest.approx((113.125, 31.5 - 1 / 12))
    assert whu.sheet_centre("TrainArea_033") is None


def test_published_splits_are_kept(sets):
    table = tile_table(sets / "whu-opt-sar.zarr")
    last = public_sets.WHU_SHEETS[-1]
    assert set(table.loc[table["split"] == "test", "scene"]) == {last}
    assert set(table["published_split"]) == {"train", "test"}
    assert set(tile_table(sets / "pie-rgb-sar.zarr")["split"].astype(str)) == {"train", "val"}
    dfc = tile_table(sets / "dfc2020.zarr")
    assert set(dfc.loc[dfc["published_split"] == "validation", "split"].astype(str)) == {"test"}
    assert set(tile_table(sets / "cloudlulc-set.zarr")["split"].astype(str)) == {"train", "val", "test"}


def test_a_spatial_split_holds_sheets_together(sets, tmp_path):
    import_set("whu-opt-sar", sets / "whu-opt-sar", tmp_path / "s.zarr", Options(splits="spatial", tile=64))
    table = tile_table(tmp_path / "s.zarr")
    assert table.groupby("scene")["split"].nunique().max() == 1
    assert set(table["split"].astype(str)) == {"train", "val", "test"}
    assert "derived" in layout.open_root(tmp_path / "s.zarr").attrs["import"]["splits"]


def test_mmearth_bands_are_taken_by_name(sets):
    group = dwplus.open_store(sets / "mmearth.zarr")["tiles"].load()
    names = list(group["s2_band"].values)
    assert "B10" not in names and names.index("B8") < names.index("B8A")
    known = group["label"].values[0] < 9
    code = group["label"].values[0][known].astype(float) + 1
    assert np.array_equal(group["s2"].sel(s2_band="B8").values[0][known], 2000 + 100 * code)
    assert np.array_equal(group["s2"].sel(s2_band="B8A").values[0][known], 800 + 100 * code)
    assert np.isfinite(group["s1"].values).all(), "the pass that is missing is not the one taken"
    assert set(map(str, group["s2_product"].values)) == {"toa", "sr"}


def test_placed_tiles_have_their_place(sets):
    group = dwplus.open_store(sets / "sen12ms.zarr")["tiles"].load()
    assert (group["epsg"] == 32650).all() and np.isfinite(group["lon"]).all()
    table = tile_table(sets / "whu-opt-sar.zarr")
    assert (table["epsg"] == 0).all() and table["lon"].between(108, 120).all()


def test_a_users_folder_with_floats_and_linear_power(sets):
    group = dwplus.open_store(sets / "folder.zarr")["tiles"].load()
    path = first(sets / "folder" / "optical", "*.tif")
    row = list(group["tile_id"].values).index(path.stem)
    with rasterio.open(path) as raster:
        assert np.allclose(group["s2"][row], raster.read() * 10_000, atol=0.51)
    assert float(group["s1"].min()) > -40 and float(group["s1"].max()) < 0


BROKEN: dict[str, list[tuple[Callable[[Path], object], str]]] = {
    "whu-opt-sar": [(lambda f: first(f / "sar", "*.tif").unlink(), "no partner"),
                    (lambda f: rewrite(first(f / "lbl", "*.tif"), lambda v: v[:, :, :-1]), "of one size"),
                    (lambda f: rewrite(first(f / "lbl", "*.tif"), lambda v: np.where(v == 70, 80, v).astype("u1")),
                     "holds code 80"),
                    (lambda f: rewrite(first(f / "image", "*.tif"), lambda v: v[:3]), "must have 4")],
    "pie-rgb-sar": [(lambda f: (f / "val.txt").unlink(), "has no val.txt"),
                    (lambda f: (f / "train.txt").write_text("00000\n99999\n"), "99999"),
                    (lambda f: first(f / "label", "*.tif").write_bytes(b""), "empty file")],
    "openearthmap-sar": [(lambda f: shutil.rmtree(f / "train/labels"), "no folder labels"),
                         (lambda f: rewrite(first(f / "train/labels", "*.tif"), lambda v: v + np.uint8(1)), "code 9"),
                         (lambda f: rewrite(first(f / "train/rgb_images", "*1.tif"),
                                            lambda v: (v / 255).astype("float32")), "of one type")],
    "dfc2020": [(lambda f: shutil.rmtree(f / "ROIs0000_test/dfc_0"), "must not be taken for dfc"),
                (lambda f: rewrite_all(f, "*_s2_*.tif", lambda v: (v / 10_000).astype("f4")),
                 "--scale 10000"),
                (lambda f: rewrite_all(f, "*_s1_*.tif", lambda v: 10 ** (v / 10)), "--s1-unit linear")],
    "sen12ms": [(lambda f: first(f, "*_s1_*.tif").unlink(), "no partner"),
                (lambda f: rewrite(first(f, "*_s2_*.tif"), lambda v: v[:12]), "must have 13"),
                (lambda f: rewrite_all(f, "*_s1_*.tif", lambda v: np.full_like(v, np.nan)),
                 "no finite value")],
    "cloudlulc-set": [(lambda f: rewrite_all(f / "Opt_S2_cloudy", "*.tif", lambda v: (v / 10_000).astype("f4")),
                       "they would all become 0"),
                      (lambda f: rewrite_all(f / "Label", "*.tif", lambda v: np.where(v == 6, 1, v).astype("u1")),
                       "is not established"),
                      (lambda f: first(f / "SAR_S1/VH", "*.tif").unlink(), "which is not in")],
    "mmearth": [(lambda f: first(f, "*_splits.json").unlink(), "has no data_100k"),
                (lambda f: first(f, "*.h5").write_bytes(b"no"), "no HDF5"),
                (lambda f: first(f, "*_splits.json").write_text(json.dumps({"train": [0, 99]})), "row 99")],
    "folder": [(lambda f: (f / "import.yaml").unlink(), "has no import.yaml"),
               (lambda f: (f / "import.yaml").write_text("name: a\noptical: 3\n"), "import.yaml"),
               (lambda f: first(f / "sar/VH", "*.tif").unlink(), "pairs must be complete")],
}


@pytest.mark.parametrize(("name", "number"), [(name, i) for name, cases in BROKEN.items() for i in range(len(cases))])
def test_what_is_broken_is_one_sentence_and_no_store(sets, tmp_path, name, number):
    spoil, words = BROKEN[name][number]
    shutil.copytree(sets / name, tmp_path / "set")
    spoil(tmp_path / "set")
    with pytest.raises(InputError) as caught:
        import_set(name, tmp_path / "set", tmp_path / "out.zarr")
    assert words in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert not (tmp_path / "out.zarr").exists()


def test_a_part_that_holds_nothing_is_rejected_and_said(sets, tmp_path):
    shutil.copytree(sets / "sen12ms", tmp_path / "set")
    rewrite(sorted((tmp_path / "set").rglob("*_s1_*.tif"))[1], lambda v: np.full_like(v, np.nan))
    rewrite(sorted((tmp_path / "set").rglob("*_s2_*.tif"))[3], lambda v: np.zeros_like(v))
    found = import_set("sen12ms", tmp_path / "set", tmp_path / "out.zarr")
    assert found.rejected == {"s1_invalid": 1, "s2_invalid": 1} and found.exported == found.tiles - 2
    assert not verify(tmp_path / "out.zarr").faults


def test_a_stopped_import_goes_on_and_ends_the_same(sets, tmp_path):
    store = tmp_path / "out.zarr"
    folder = tmp_path / "set"
    shutil.copytree(sets / "pie-rgb-sar", folder)
    spoiled = first(folder / "rgb", "*3.tif")
    whole = spoiled.read_bytes()
    original = len(whole)
    # A file whose header is whole and whose pixels are cut off, as a broken download leaves it.
    spoiled.write_bytes(whole[:200] + b"\0" * 0 + whole[200:original // 2])
    with pytest.raises(InputError):
        import_set("pie-rgb-sar", folder, store)
    spoiled.write_bytes(whole)
    import_set("pie-rgb-sar", folder, store)
    before = (store / "tiles.parquet").read_bytes()
    from dwplus.store import tables
    from dwplus.store.verify import reset

    tables.drop(store)
    reset(store, [("tiles", 0)])
    again = import_set("pie-rgb-sar", folder, store)
    assert again.written == again.tiles and (store / "tiles.parquet").read_bytes() == before
    with pytest.raises(InputError, match="of another import"):
        import_set("pie-rgb-sar", folder, store, Options(splits="random"))


def test_codes_are_read_and_merged(sets, tmp_path):
    assert parse_codes("1=water, 2=forest,0=ignore") == {1: "water", 2: "forest", 0: "ignore"}
    for wrong in ("1=water,1=forest", "300=water", "x=water", "1="):
        with pytest.raises(InputError, match="--codes"):
            parse_codes(wrong)
    codes = {0: "ignore", 10: "green", 20: "built", 30: "built", 40: "water", 50: "green", 60: "built", 70: "ignore"}
    import_set("whu-opt-sar", sets / "whu-opt-sar", tmp_path / "m.zarr", Options(codes=codes, tile=64))
    attrs = layout.open_root(tmp_path / "m.zarr").attrs.asdict()
    assert attrs["classes"] == ["green", "built", "water"] and attrs["class_codes"] == [10, 20, 40]
    old, new = tile_table(sets / "whu-opt-sar.zarr"), tile_table(tmp_path / "m.zarr")
    assert new["count_built"].sum() == old[["count_city", "count_village", "count_road"]].to_numpy().sum() > 0


def test_cloudlulc_codes_that_could_be_shifted_are_refused():
    from dwplus.importers.cloudlulc import codes_by

    assert codes_by([1, 2, 3, 4, 5, 6])[6] == codes_by([0, 1, 2, 3, 4, 5])[5] == "cropland"
    assert codes_by([0, 1, 2, 3, 4, 5, 6])[0] == "ignore"
    for met in ([1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [2, 3, 4, 5, 6], [10, 20]):
        with pytest.raises(InputError, match="not established"):
            codes_by(met)


@pytest.mark.parametrize(("low", "high", "right"), [(0.01, 0.5, None), (0, 1.4, None), (3, 200, None),
                                                   (200, 8000, 1.0)])
def test_the_range_decides_what_optics_are(low, high, right):
    found = units.range_of(np.random.default_rng(0).uniform(low, high, (3, 40, 40)).astype("float32"), "x.tif")
    if right is None:
        with pytest.raises(InputError, match="--scale"):
            units.optical_scale(found, "reflectance", None)
    else:
        assert units.optical_scale(found, "reflectance", None) == right
    if high < 2:
        assert units.optical_scale(found, "reflectance", 10_000) == 10_000


def test_linear_power_is_no_decibel():
    linear = units.range_of(np.random.default_rng(0).uniform(0.001, 0.8, (2, 40, 40)).astype("float32"), "x.tif")
    decibel = units.range_of(np.random.default_rng(0).uniform(-25, 3, (2, 40, 40)).astype("float32"), "x.tif")
    assert units.radar_unit(decibel, None, None) == "dB" and units.radar_unit(linear, None, "linear") == "linear"
    for found, told in ((linear, None), (linear, "dB"), (decibel, "linear"), (decibel, "display")):
        with pytest.raises(InputError):
            units.radar_unit(found, "dB", told)
    out = units.stored_radar(np.array([[0.1, 0.0, np.nan, 1.0]], "float32"), "linear")
    assert out.tolist() == [[-1000, layout.S1_NODATA, layout.S1_NODATA, 0]]


