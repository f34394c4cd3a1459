"""What a store says of itself to others, judged by their own validators; a tile by GDAL and rioxarray."""

import copy
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, tile_on_grid, utm_epsg
from dwplus.planning.plan import write_plan
from dwplus.store import card, layout, stats, writer
from dwplus.store.geotiff import write_geotiffs
from dwplus.store.reader import tile, tile_table
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


def export(path, plan, spec, pixels_of, group="biome_04", stop=4):
    layout.create(path, plan, spec, created=CREATED, earth="embedded-earth")
    writer.write_shard(layout.open_root(path, "r+")[group], 0, stop, {
        i: TileResult(layout.EXPORTED, "", *pixels_of(i)) if i != 3
        else TileResult(layout.REJECTED, "few_labels: 0.1 < 0.2") for i in range(stop)})


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "small.zarr"
    export(path, small_plan, small_spec, pixels_of)
    write_plan(small_plan, f"{path}.plan.parquet")
    return path


def test_files_beside_the_store(store):
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    folder = card.write_card(store)
    assert folder.name == "small.zarr.card" and sorted(p.name for p in folder.iterdir()) == sorted(card.FILES)
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before
    stac = json.loads((folder / "collection.json").read_text())
    assert (folder / stac["assets"]["store"]["href"]).resolve() == store
    origin = stac["dwplus:provenance"]
    assert origin["plan"]["planned"] == 13 and len(origin["plan_sha256"]) == len(origin["spec_sha256"]) == 64
    text = (folder / "README.md").read_text()
    assert "CC-BY-4.0" in text and "contains modified Copernicus Sentinel data" in text and "synthetic" in text
    stats.store_statistics(store, stats.measure(store, "all"))
    card.write_card(store)
    assert "## Bands" in (folder / "README.md").read_text()


def test_croissant(store):
    mlc = pytest.importorskip("mlcroissant")
    folder = card.write_card(store)
    found = mlc.Dataset(str(folder / "croissant.json"))  # raises ValidationError with every fault
    assert not found.metadata.issues.errors and not found.metadata.issues.warnings
    records = list(found.records("tiles"))
    table = tile_table(store).iloc[:3]
    assert [r["tiles/tile_id"].decode() for r in records] == table["tile_id"].tolist()
    assert [r["tiles/split"].decode() for r in records] == ["train", "val", "test"]
    assert [r["tiles/pixels_trees"] for r in records] == table["count_trees"].tolist()
    assert [r["classes/name"] for r in found.records("classes")][:2] == ["water", "trees"]
    assert {r["splits/url"] for r in found.records("splits")} == {
        "cr:TrainingSplit", "cr:ValidationSplit", "cr:TestSplit"}


def core(thing):
    """Without the extensions, whose schemas lie on the internet; their fields are checked by hand below."""
    return {**copy.deepcopy(thing), "stac_extensions": []}


def test_stac(store):
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("pystac.validation")
    sga = pytest.importorskip("stac_geoparquet.arrow")
    folder = card.write_card(store)
    stac = json.loads((folder / "collection.json").read_text())
    validation.validate_dict(core(stac))
    table = pq.read_table(folder / "items.parquet")
    kept = json.loads(table.schema.metadata[b"stac-geoparquet"])
    assert kept["version"] == "1.0.0" and kept["collections"] == {"small": stac}
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0" and "covering" in geo["columns"]["geometry"]
    items = list(sga.stac_table_to_items(table))
    assert len(items) == 3
    rows = tile_table(store)
    for item, row in zip(items, rows.itertuples(), strict=False):
        validation.validate_dict(core(item))
        assert item["id"] == row.tile_id and item["collection"] == stac["id"]
        p = item["properties"]
        assert p["proj:code"] == f"EPSG:{row.epsg}" and p["proj:shape"] == [32, 32]
        assert p["proj:transform"] == [10, 0, row.x0, 0, -10, row.y0]
        assert p["proj:bbox"] == [row.x0, row.y0 - 320, row.x0 + 320, row.y0]
        assert p["sat:orbit_state"] == "ascending" and p["sat:relative_orbit"] == 8
        assert p["datetime"].startswith(f"{row.s2_time:%Y-%m-%dT%H:%M:%S}")
        group, name = item["assets"]["s2"]["href"].split("/")[-2:]
        assert (store / group / name / "zarr.json").exists() and p["dwplus:group"] == group
        assert shapely.contains_xy(shapely.geometry.shape(item["geometry"]), row.lon, row.lat)


@pytest.mark.parametrize("lon", [179.9999, -179.9999, 3.0])
def test_footprints_are_legal_across_the_antimeridian(lon, tmp_path, small_plan, small_spec, pixels_of):
    from dwplus.grid import transformer

    epsg = utm_epsg(lon, 65.0)
    x, y = (round(v / 10) * 10.0 for v in transformer(4326, epsg).transform(lon, 65.0))
    grid = PixelGrid(epsg, x - 160, y + 160, 10.0, 32, 32)
    plan = small_plan.iloc[:1].assign(epsg=epsg, x0=grid.x0, y0=grid.y0, tile_id=tile_on_grid(grid).id)
    export(tmp_path / "s", plan, small_spec, pixels_of, stop=1)
    folder = card.write_card(tmp_path / "s")
    import geopandas as gpd

    (shape,) = gpd.read_parquet(folder / "items.parquet").geometry
    west, south, east, north = shape.bounds
    assert shape.is_valid and west >= -180 and east <= 180
    assert shape.geom_type == ("Polygon" if lon == 3 else "MultiPolygon")
    assert sum(p.area for p in shapely.get_parts(shape)) == pytest.approx(grid.footprint().area)


def test_nothing_to_describe(tmp_path, small_plan, small_spec):
    layout.create(tmp_path / "s", small_plan, small_spec, created=CREATED, earth="embedded-earth")
    with pytest.raises(InputError, match="no tile was exported"):
        card.write_card(tmp_path / "s")
    assert not (tmp_path / "s.card").exists()


def test_cf_attributes(store):
    attrs = layout.open_root(store).attrs.asdict()
    assert attrs["Conventions"] == "CF-1.11"
    assert all(attrs[name] for name in ("title", "source", "references", "history", "license"))


def test_a_tile_with_its_place(store, small_plan, pixels_of):
    s2, s1, label = pixels_of(1)
    row = small_plan.iloc[1]
    found = tile(store, row.tile_id)
    assert found.rio.crs.to_epsg() == row.epsg
    assert tuple(found.rio.transform())[:6] == (10, 0, row.x0, 0, -10, row.y0)
    assert found.rio.bounds() == (row.x0, row.y0 - 320, row.x0 + 320, row.y0)
    assert found["s2_band"].values.tolist() == ["B2", "B3", "B4"] and found.attrs["split"] == "val"
    np.testing.assert_array_equal(found["s2"], s2)
    np.testing.assert_allclose(found["s1"], s1 / 100, atol=1e-4)
    np.testing.assert_array_equal(found["label"], label)
    assert np.isnan(found["s1"].rio.nodata) and found["label"].rio.nodata == 255
    lon, lat = found.rio.reproject("EPSG:4326")["label"].rio.bounds()[:2]
    assert shapely.distance(shapely.Point(lon, lat), row.geometry) < 1e-3


def test_a_crop_of_a_tile_lies_where_it_was_cut(store, small_plan, tmp_path):
    row = small_plan.iloc[1]
    crop = tile(store, row.tile_id)[["label"]].isel(y=slice(8, 24), x=slice(16, 32))
    crop.to_netcdf(tmp_path / "crop.nc", engine="h5netcdf")
    with rasterio.open(f"netcdf:{tmp_path / 'crop.nc'}:label") as raster:
        assert raster.crs.to_epsg() == row.epsg
        assert raster.bounds == (row.x0 + 160, row.y0 - 240, row.x0 + 320, row.y0 - 80)
        np.testing.assert_array_equal(raster.read(1), crop["label"])


def test_gdal_opens_a_tile(store, small_plan, pixels_of, tmp_path):
    s2, s1, label = pixels_of(2)
    row = small_plan.iloc[2]
    paths = write_geotiffs(store, row.tile_id, tmp_path / "deep" / "tif")
    for name, want in (("s2", s2), ("s1", s1), ("label", label[None])):
        with rasterio.open(paths[name]) as raster:
            np.testing.assert_array_equal(raster.read(), want)
            assert raster.crs.to_epsg() == row.epsg and raster.dtypes[0] == want.dtype
            assert raster.bounds == (row.x0, row.y0 - 320, row.x0 + 320, row.y0)
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.nodata == {"s2": 65535, "s1": -32768, "label": 255}[name]
            if name == "s1":
                assert raster.scales == (0.01, 0.01) and raster.descriptions == ("VV", "VH")
            if name == "label":
                assert raster.colormap(1)[1][:3] == (0x39, 0x7D, 0x49)


def test_tiles_that_are_not_there(store, small_plan):
    with pytest.raises(InputError, match="tile 'x': is not in store"):
        tile(store, "x")
    with pytest.raises(InputError, match=r"is rejected in store .*few_labels"):
        tile(store, small_plan["tile_id"].iloc[3])
    with pytest.raises(InputError, match="window '2019': tile .* has 2020-01-01/2020-06-01"):
        tile(store, small_plan["tile_id"].iloc[0], "2019")


def test_commands(store, small_plan, capsys, tmp_path, monkeypatch):
    import sys

    from dwplus.cli import main

    def dwplus(*words):
        monkeypatch.setattr(sys, "argv", ["dwplus", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    for words, said in ((("report", store, "-o", tmp_path / "r.html"), "report written to"),
                        (("stats", store), "1 tiles of split train"), (("card", store), "croissant.json"),
                        (("tile", store, small_plan["tile_id"].iloc[0], "-o", tmp_path), "_s2.tif")):
        code, out = dwplus(*words)
        assert code == 0 and said in out.out, words
    code, out = dwplus("tile", store, "nowhere")
    assert code == 2 and out.err.startswith("error: tile 'nowhere': is not in store") and not out.out
