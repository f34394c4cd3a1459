"""Labels annotated by people: the published folder layout and the Earth Engine asset, from plan to pixels."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from dwplus.earth import connect
from dwplus.earth.stack import fetch_tile
from dwplus.earth.tables import sample_sites
from dwplus.errors import InputError, RefusedError
from dwplus.grid import tile_from_id
from dwplus.planning.plan import make_plan, read_plan, write_plan
from dwplus.spec import make_spec
from dwplus.taxonomy import annotation_to_label

SITES = ("hesse", "pampas", "guadalquivir", "sonora")


def write_tile(path, grid, codes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff", width=grid.width, height=grid.height, count=1, dtype="uint8",
                       crs=grid.crs, transform=from_origin(grid.x0, grid.y0, grid.scale, grid.scale)) as raster:
        raster.write(codes, 1)


def codes_of(grid, seed=0):
    """Blocks of the codes 0..10, as drawn: each in its turn."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 11, (-(-grid.height // 10), -(-grid.width // 10)), dtype=np.uint8)
    return np.kron(blocks, np.ones((10, 10), np.uint8))[:grid.height, :grid.width]


@pytest.fixture(scope="module")
def scenes():
    """Per site, the Sentinel-2 scene a Dynamic World plan takes there: what an annotator would have drawn on."""
    session = connect()
    found = {}
    for site in sample_sites(session):
        if site.name in SITES:
            x, y = site.polygon.centroid.coords[0]
            spec = make_spec({"name": "a", "region": {"bbox": [x - .06, y - .05, x + .06, y + .05]},
                              "windows": [["2019-05-01", "2019-09-01"]], "sampling": {"per_biome": 1}})
            row = make_plan(session, spec).query("state == 'planned'").iloc[0]
            found[site.name] = (x, y, row["s2_id"])
    assert set(found) == set(SITES)
    return found


@pytest.fixture(scope="module")
def published(scenes, tmp_path_factory):
    """A folder in the published layout; hesse has its S2_GEE_ID, pampas the product only, the others neither; sonora is
    in the validation set and among the experts' tiles."""
    folder = tmp_path_factory.mktemp("pangaea")
    rows, ids = [], {}
    for number, (name, (lon, lat, s2_id)) in enumerate(scenes.items()):
        dw_id = f"dw_{lon:.10f}_{lat:.10f}-{s2_id[:8]}"
        ids[name] = dw_id
        grid = tile_from_id(dw_id).grid
        place = {"hesse": "Experts/EH/4", "pampas": "Non_expert/WorkForce/WH/8", "guadalquivir": "Experts/EH/12",
                 "sonora": "validation_set_tiles/WH/13"}[name]
        codes = codes_of(grid, number)
        write_tile(folder / place / f"{dw_id}.tif", grid, codes)
        if name == "sonora":
            write_tile(folder / "Experts/WH/13" / f"{dw_id}.tif", grid, codes)
        stamp, _, granule = s2_id.split("_")
        rows.append({"dw_id": dw_id, "biome": 1, "biome_name": "x", "date": f"{s2_id[:4]}-{s2_id[4:6]}-{s2_id[6:8]}",
                     "S2_GEE_ID": s2_id if name == "hesse" else None,
                     "S2_PRODUCT_ID": f"S2A_MSIL2A_{stamp}_N0212_R036_{granule}_20190801T000000" if name == "pampas"
                     else None, "NBPixels": int(((codes > 0) & (codes < 10)).sum())})
    with pd.ExcelWriter(folder / "v1_dw_tile_metadata_for_public_release.xlsx") as book:
        pd.DataFrame(rows[:2]).to_excel(book, sheet_name="expert", index=False)
        pd.DataFrame(rows[2:]).to_excel(book, sheet_name="non_expert", index=False)
    return folder, ids


def spec_of(labels, **more):
    return make_spec({"name": "drawn", "region": {"bbox": [-180, -90, 180, 90]}, "labels": labels,
                      "windows": [["2017-01-01", "2020-01-01"]], **more})


def test_folder_plan(published, scenes):
    folder, ids = published
    plan = make_plan(connect(), spec_of({"source": "annotations", "path": str(folder)}))
    rows = plan[plan["state"] == "planned"].set_index("tile_id")
    assert set(rows.index) == set(ids.values())
    by_site = {name: rows.loc[dw_id] for name, dw_id in ids.items()}
    for name, row in by_site.items():
        grid = tile_from_id(ids[name]).grid
        assert (row["epsg"], row["x0"], row["y0"], row["size"]) == (grid.epsg, grid.x0, grid.y0, 510)
        assert row["s2_time"].date() == dt.datetime.strptime(scenes[name][2][:8], "%Y%m%d").date()
    assert by_site["hesse"]["s2_id"] == scenes["hesse"][2] and by_site["hesse"]["s2_match"] == "id"
    assert by_site["pampas"]["s2_id"] == scenes["pampas"][2] and by_site["pampas"]["s2_match"] == "sensing"
    assert by_site["guadalquivir"]["s2_match"] == "date"
    assert [by_site[n]["label_set"] for n in ids] == [
        {"hesse": "expert", "pampas": "non_expert", "guadalquivir": "expert", "sonora": "validation"}[n] for n in ids]
    # The published held-out tiles are the test split, and no other tile is.
    assert set(rows.loc[rows["split"] == "test"].index) == {ids["sonora"]}
    left = plan[plan["state"] == "rejected"]
    assert left["reason"].tolist() == ["duplicate"] and left["label_id"].str.startswith("Experts/").all()
    assert {b: n for b, n in rows["biome"].value_counts().items()} == {4: 1, 8: 1, 12: 1, 13: 1}


def test_all_takes_each_annotation(published):
    folder, ids = published
    plan = make_plan(connect(), spec_of({"source": "annotations", "path": str(folder), "per_window": "all"}))
    assert (plan["state"] == "planned").sum() == 5
    assert plan["tile_id"].value_counts()[ids["sonora"]] == 2


def test_windows_and_region_choose(published, scenes):
    folder, ids = published
    lon, lat, s2_id = scenes["pampas"]
    day = dt.datetime.strptime(s2_id[:8], "%Y%m%d").date()
    labels = {"source": "annotations", "path": str(folder)}
    here = {"bbox": [lon - 1, lat - 1, lon + 1, lat + 1]}
    plan = make_plan(connect(), spec_of(labels, region=here, windows=[[day, day + dt.timedelta(days=1)]]))
    assert plan["tile_id"].tolist() == [ids["pampas"]]
    with pytest.raises(InputError, match="no drawn tile"):
        make_plan(connect(), spec_of(labels, region=here, windows=[["2015-01-01", "2016-01-01"]]))


def test_pixels_come_from_the_file(published):
    folder, ids = published
    spec = spec_of({"source": "annotations", "path": str(folder)})
    plan = make_plan(connect(), spec)
    row = plan[plan["tile_id"] == ids["hesse"]].iloc[0]
    grid = tile_from_id(ids["hesse"]).grid
    pixels = fetch_tile(connect(), spec, grid, row["label_id"], row["s2_id"], row["s1_id"].split(","))
    with rasterio.open(folder / row["label_id"]) as raster:
        np.testing.assert_array_equal(pixels.label, annotation_to_label(raster.read(1)))
    assert set(np.unique(pixels.label)) == {*range(9), 255}
    assert pixels.s2.shape == (10, 510, 510)
    assert (pixels.s2 != 65535).mean() > 0.9 and (pixels.s1 != -32768).mean() > 0.9
    with pytest.raises(RefusedError, match="not found"):
        fetch_tile(connect(), spec, grid, "gone.tif", row["s2_id"], row["s1_id"].split(","))


def test_tiles_smaller_than_the_drawn_one_are_cut(published):
    folder, ids = published
    spec = spec_of({"source": "annotations", "path": str(folder)}, tile={"size": 255})
    plan = make_plan(connect(), spec)
    rows = plan[plan["state"] == "planned"]
    assert len(rows) == 16 and rows["label_id"].nunique() == 4
    row = rows.iloc[3]
    grid = tile_from_id(row["tile_id"]).grid
    pixels = fetch_tile(connect(), spec, grid, row["label_id"], row["s2_id"], row["s1_id"].split(","))
    with rasterio.open(folder / row["label_id"]) as raster:
        codes = raster.read(1, window=rasterio.windows.from_bounds(*grid.bounds, transform=raster.transform))
    np.testing.assert_array_equal(pixels.label, annotation_to_label(codes))


def test_published_recipe_on_a_folder(published):
    """S1 as published: the mean of all descending passes within 180 days; each is stored with its count."""
    folder, _ = published
    plan = make_plan(connect(), spec_of(
        {"source": "annotations", "path": str(folder)},
        sentinel1={"policy": "mean", "max_gap_hours": 4320, "orbit": "descending", "average": "db"}))
    rows = plan[plan["state"] == "planned"]
    assert len(rows) == 4 and (rows["s1_count"] >= 15).all() and set(rows["orbit_pass"]) == {"DESCENDING"}
    assert (rows["gap_hours"].abs() < 400).all()


def test_a_plan_survives_its_file_and_is_the_same_twice(published, tmp_path):
    folder, _ = published
    spec = spec_of({"source": "annotations", "path": str(folder)}, sampling={"per_biome": 1})
    one, two = make_plan(connect(), spec), make_plan(connect(), spec)
    write_plan(one, tmp_path / "p.parquet")
    assert read_plan(tmp_path / "p.parquet").drop(columns="geometry").equals(two.drop(columns="geometry"))


@pytest.mark.parametrize(("labels", "sentence"), [
    ({"source": "annotations"}, "labels: annotations need a path"),
    ({"source": "annotations", "path": "a", "asset": "b"}, "not both"),
    ({"path": "a"}, "path belongs to source annotations"),
    ({"source": "annotations", "path": "a", "per_window": "mode"}, "annotations have one date each"),
    ({"source": "annotations", "path": "a", "min_confidence": 0.5}, "carry no probabilities")])
def test_mistakes_in_the_spec(labels, sentence):
    with pytest.raises(InputError, match=sentence):
        spec_of(labels)


def test_mistakes_in_the_folder(tmp_path):
    def plan(path):
        return make_plan(connect(), spec_of({"source": "annotations", "path": str(path)}))

    with pytest.raises(InputError, match="no such folder"):
        plan(tmp_path / "none")
    with pytest.raises(InputError, match="holds no file named dw_"):
        plan(tmp_path)
    bad = tmp_path / "dw_9.2000000000_51.2000000000-20190701.tif"
    bad.write_bytes(b"no raster")
    with pytest.raises(InputError, match="cannot be read as a GeoTIFF"):
        plan(tmp_path)
    bad.unlink()
    with rasterio.open(bad, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8", crs="EPSG:4326",
                       transform=from_origin(9, 51, .1, .1)) as raster:
        raster.write(np.zeros((1, 4, 4), "uint8"))
    with pytest.raises(InputError, match="north-up in a UTM zone"):
        plan(tmp_path)


# --- the asset: a small tree written by code, with the property names of the published collection ---------------------

ASSET = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two drawn tiles of one scene: the first with its S2_GEE_ID, the second with an empty one and a grid only."""
    root = tmp_path_factory.mktemp("tree")
    s2_id = "20190812T143759_20190812T143758_T20MMA"
    tiles = {}
    for number, (lon, lat) in enumerate([(-63.35129018, -3.9093045532), (-63.30129018, -3.9593045532)]):
        dw_id = f"dw_{lon:.10f}_{lat:.10f}-20190812"
        grid = tile_from_id(dw_id).grid
        index = f"label_{dw_id.replace('.', 'p')}"
        path = root / ASSET / f"{index}.tif"
        codes = codes_of(grid, number)
        write_tile(path, grid, codes)
        tiles[dw_id] = (index, codes)
        path.with_suffix(".json").write_text(json.dumps({"bands": ["b1"], "properties": {
            "system:time_start": 1565568000000, "system:time_end": 1565654400000, "dw_id": dw_id, "date": "2019-08-12",
            "S2_GEE_ID": "" if number else s2_id, "S2_GRID": "20MMA", "S2_LEVEL": "2A", "biome": 1, "crs": "epsg:32720",
            "biome_name": "Tropical & Subtropical Moist Broadleaf Forests", "eco_region": "Purus várzea",
            "NBPixels": 200000, "Water": 0.5, "Trees": 0.4, "Snow Ice": 0.1, "BareGround": 0,
            "folder": "v1/data/dev/WorkForce/WH/1"}}))
    area = shapely.union_all([tile_from_id(d).grid.footprint() for d in tiles]).buffer(0.05)
    ring = {"type": "LinearRing", "coordinates": [list(c) for c in shapely.box(*area.bounds).exterior.coords]}
    x0, y0, side = 455000.0, 9575000.0, 1500

    def scene(collection, index, bands, dtype, properties):
        path = root / collection / f"{index}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(path, "w", driver="GTiff", width=side, height=side, count=len(bands), dtype=dtype,
                           crs="EPSG:32720", transform=from_origin(x0, y0, 10, 10)) as raster:
            for i in range(len(bands)):
                raster.write(np.full((side, side), i - 15 if dtype == "float32" else 100 * i, dtype), i + 1)
            raster.descriptions = bands
        path.with_suffix(".json").write_text(json.dumps(
            {"bands": bands, "properties": {"system:footprint": ring, **properties}}))

    for index, cloud in ((s2_id, 2.0), (s2_id.replace("T20MMA", "T20MNA"), 1.0)):
        scene("COPERNICUS/S2_SR_HARMONIZED", index, ["B2", "B3", "B4"], "uint16", {
            "system:time_start": 1565620680000, "MGRS_TILE": index[-5:], "CLOUDY_PIXEL_PERCENTAGE": cloud})
    scene("COPERNICUS/S1_GRD", "S1B_IW_GRDH_1SDV_20190813T100000_20190813T100025_017565_021085_0000", ["VV", "VH"],
          "float32", {"system:time_start": 1565690400000, "instrumentMode": "IW", "platform_number": "B",
                      "transmitterReceiverPolarisation": ["VV", "VH"], "orbitProperties_pass": "DESCENDING",
                      "relativeOrbitNumber_start": 83})
    (root / "RESOLVE/ECOREGIONS").mkdir(parents=True)
    (root / "RESOLVE/ECOREGIONS/2017.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [{
        "type": "Feature", "geometry": shapely.geometry.mapping(shapely.box(-70, -10, -60, 0)), "properties": {
            "ECO_ID": 486, "ECO_NAME": "Purus várzea", "BIOME_NUM": 1, "REALM": "Neotropic",
            "BIOME_NAME": "Tropical & Subtropical Moist Broadleaf Forests"}}]}))
    return root, tiles, s2_id


def test_asset_from_plan_to_pixels(tree):
    root, tiles, s2_id = tree
    session = connect(world=root)
    spec = spec_of({"source": "annotations", "asset": ASSET}, sentinel2={"bands": ["B2", "B3", "B4"]})
    plan = make_plan(session, spec).set_index("tile_id")
    assert set(plan.index) == set(tiles) and (plan["state"] == "planned").all()
    first, second = (plan.loc[dw_id] for dw_id in tiles)
    # Without an id: the date and the published granule, not the less cloudy neighbour.
    assert (first["s2_id"], first["s2_match"]) == (s2_id, "id")
    assert (second["s2_id"], second["s2_match"]) == (s2_id, "date")
    assert first["label_set"] == "non_expert" and first["biome"] == 1 and first["ecoregion"] == "Purus várzea"
    assert first["platform"] == "B" and first["relative_orbit"] == 83
    assert first["gap_hours"] == pytest.approx((1565690400 - 1565620680) / 3600)
    for dw_id, (index, codes) in tiles.items():
        row = plan.loc[dw_id]
        assert row["label_id"] == index
        pixels = fetch_tile(session, spec, tile_from_id(dw_id).grid, index, row["s2_id"], row["s1_id"].split(","))
        np.testing.assert_array_equal(pixels.label, annotation_to_label(codes))


def test_few_labels_are_known_before_any_pixel(tree):
    root, tiles, _ = tree
    spec = spec_of({"source": "annotations", "asset": ASSET}, quality={"min_label_fraction": 0.9})
    with pytest.raises(InputError, match="2 less than quality.min_label_fraction of the tile is labelled"):
        make_plan(connect(world=root), spec)


def test_an_earth_without_the_asset_says_so(tree):
    with pytest.raises(InputError, match="labels.asset some/where/else: is not on this Earth"):
        make_plan(connect(world=tree[0]), spec_of({"source": "annotations", "asset": "some/where/else"}))


def test_an_annotation_off_the_granule_is_rejected(tree):
    """A Sentinel-2 id that is gone falls back to the date; without a scene of that date the tile says so."""
    root, _, s2_id = tree
    spec = spec_of({"source": "annotations", "asset": ASSET}, sentinel2={"max_cloud": 1.5, "bands": ["B2"]})
    with pytest.raises(InputError, match="s2_cloudy"):
        make_plan(connect(world=root), spec)


def test_exported_store_says_where_its_labels_come_from(published, tmp_path):
    """The whole way with the exporter, from the folder and from the asset."""
    from dwplus.earth import EarthConfig
    from dwplus.export.run import export
    from dwplus.store.layout import open_root
    from dwplus.store.reader import tile_table

    folder, ids = published
    spec = spec_of({"source": "annotations", "path": str(folder)}, store={"shard_tiles": 2})
    write_plan(make_plan(connect(), spec), tmp_path / "p.parquet")
    summary = export(tmp_path / "p.parquet", tmp_path / "s.zarr", EarthConfig())
    assert (summary.planned, summary.exported) == (4, 4)
    attrs = open_root(tmp_path / "s.zarr").attrs.asdict()
    assert attrs["label_source"] == "annotations" and attrs["sources"]["labels"]["collection"] == "PANGAEA 933475"
    table = tile_table(tmp_path / "s.zarr").set_index("tile_id")
    row = table.loc[ids["hesse"]]
    with rasterio.open(folder / row["label_id"]) as raster:
        label = annotation_to_label(raster.read(1))
    counts = [row[c] for c in table.columns if c.startswith("count_")]
    assert counts == np.bincount(label[label < 255], minlength=9).tolist()
    assert table["label_set"].to_dict() == {ids[n]: s for n, s in zip(
        ids, ("expert", "non_expert", "expert", "validation"), strict=True)}


def test_the_published_recipe_on_the_sample_planet(tmp_path):
    """The shipped spec at one site and in half a year; the preview sets its figures beside the published ones."""
    from pathlib import Path

    from dwplus.earth.images.dw_labels import DW_LABELS
    from dwplus.planning.preview import preview
    from dwplus.spec import load_spec

    session = connect()
    whole = load_spec(Path(__file__).parents[2] / "pipelines/regions/dynamic-world-plus.yaml")
    assert whole.labels.asset == DW_LABELS
    site = next(s for s in sample_sites(session) if s.name == "hesse")
    spec = load_spec(Path(__file__).parents[2] / "pipelines/regions/dynamic-world-plus.yaml",
                     {"region": {"bbox": list(site.polygon.bounds)}, "windows": [["2019-03-01", "2019-08-01"]]})
    plan = make_plan(session, spec)
    rows = plan[plan["state"] == "planned"]
    assert len(rows) >= 5 and set(rows["label_set"]) <= {"validation", "expert", "non_expert"}
    assert set(rows["orbit_pass"]) == {"DESCENDING"} and (rows["s1_count"] > 10).all()
    assert (rows["split"] == "test").equals(rows["label_set"] == "validation")
    for row in rows.itertuples():
        grid = tile_from_id(row.tile_id).grid
        assert (grid.epsg, grid.x0, grid.y0) == (row.epsg, row.x0, row.y0)
    text = "\n".join(preview(plan))
    held_out = int((rows["label_set"] == "validation").sum())
    assert f"16,893 training and 299 test tiles; this plan: {len(rows) - held_out} of the training sets" in text


def test_drawn_tiles_get_new_dates(published):
    """Regenerate: the same tiles, places and splits, with Dynamic World's own labels of the new window."""
    from dwplus.planning.plan import candidates_of
    from pipelines.regenerate import spec_for

    folder, ids = published
    spec = spec_of({"source": "annotations", "path": str(folder)})
    old = make_plan(connect(), spec)
    new = make_plan(connect(), spec_for(spec, "2021-06-01", "2021-08-01"), kept=candidates_of(old))
    before = old[old["state"] == "planned"].set_index("tile_id")
    after = new[new["state"] == "planned"].set_index("tile_id")
    assert set(new["tile_id"]) == set(ids.values()) and len(after) == 4
    for column in ("epsg", "x0", "y0", "biome", "ecoregion", "split"):
        assert (after[column] == before.loc[after.index, column]).all()
    assert (after["s2_time"].dt.year == 2021).all() and (after["label_id"] == after["s2_id"]).all()


def test_long_lists_are_asked_for_in_pieces():
    """An answer holds 5,000 elements; here twelve, so that half a year of the whole sample comes in many answers."""
    import datetime as dt

    from dwplus.earth.session import Session
    from dwplus.earth.tables import annotations_of
    from dwplus.errors import TooLargeError

    refused = []

    class Short(Session):
        def compute(self, value):
            answer = super().compute(value)
            if len(answer["features"]) > 12:
                refused.append(len(answer["features"]))
                raise TooLargeError("Collection query aborted after accumulating over 5000 elements.")
            return answer

    session = connect()
    area = shapely.MultiPolygon([s.polygon for s in sample_sites(session) if s.name in ("hesse", "sonora")])
    when = (dt.date(2019, 4, 1), dt.date(2019, 9, 1))
    whole = annotations_of(session, ASSET, *when, area)
    pieces = annotations_of(Short(session.config, session.description, session.limiter), ASSET, *when, area)
    assert refused and len(whole) > 12 and [a.dw_id for a in pieces] == [a.dw_id for a in whole]
    assert all(when[0] <= a.date < when[1] for a in whole)
