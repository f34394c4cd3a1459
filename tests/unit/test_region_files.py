"""Regions as desktop programs, databases and web maps write them: the same ground from each, or one sentence."""

import json
import time

import geopandas as gpd
import pytest
import shapely

from dwplus.errors import InputError
from dwplus.maps.areas import read_polygons
from dwplus.planning.regions import read_geojson
from dwplus.spec import load_spec, make_spec

RING = [[9.12, 51.2], [9.22, 51.2], [9.22, 51.3], [9.12, 51.3], [9.12, 51.2]]
PLAIN = {"type": "Polygon", "coordinates": [RING]}
SHAPE = shapely.geometry.shape(PLAIN)
BOW = {"type": "Polygon", "coordinates": [[[9.12, 51.2], [9.32, 51.4], [9.32, 51.2], [9.12, 51.4], [9.12, 51.2]]]}


def written(tmp_path, data, name="r.geojson"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return str(path)


@pytest.mark.parametrize("data", [
    b"\xef\xbb\xbf" + json.dumps(PLAIN).encode(), {**PLAIN, "crs": None}, {"type": "Feature", "geometry": PLAIN},
    {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None, "properties": {}},
                                               {"type": "Feature", "geometry": PLAIN, "properties": None}]},
    {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [0, 0]}, PLAIN]},
    {"type": "Polygon", "coordinates": [[[x, y, 250.0] for x, y in RING]]},
    {"type": "MultiPolygon", "coordinates": [[RING]], "crs": {"type": "name", "properties": {
        "name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}},
    {**PLAIN, "crs": {"type": "name", "properties": {"name": 4326}}}],
    ids=["mark", "crs null", "feature", "collection", "geometries", "heights", "CRS84", "number"])
def test_geojson_of_every_kind(tmp_path, data):
    assert read_geojson(written(tmp_path, data)).equals_exact(SHAPE, 1e-9) or read_geojson(
        written(tmp_path, data)).symmetric_difference(SHAPE).area < 1e-12


@pytest.mark.parametrize("crs", [{"type": "name", "properties": None}, {"type": "name", "properties": []}, [], 4326,
                                 "x",
                                 {"type": "name", "properties": {"name": None}}, {"type": "link", "properties": {}},
                                 {"type": "name", "properties": {"name": "EPSG:999999"}}])
def test_an_odd_crs_is_a_sentence(tmp_path, crs):
    with pytest.raises(InputError, match="r.geojson: .*(crs member|has CRS)") as caught:
        read_geojson(written(tmp_path, {**PLAIN, "crs": crs}))
    assert "\n" not in str(caught.value)


def test_bow_ties_are_mended_before_they_are_measured(tmp_path):
    found = read_geojson(written(tmp_path, BOW))
    assert found.is_valid and found.area == pytest.approx(0.02)
    names, shapes = read_polygons(written(tmp_path, BOW))
    assert names == ["polygon 1"] and shapes[0].area == pytest.approx(0.02)


@pytest.mark.parametrize("data", [
    b"[" * 5000, b"{", b"\xff\xfe", b"null", {"type": "Point", "coordinates": [1, 2]}, {"type": 3},
    {"type": "Polygon", "coordinates": []}, {"type": "Polygon", "coordinates": [[[1]]]}, {"type": "Feature"},
    {"type": "Polygon", "coordinates": [[[500000, 5e6], [510000, 5e6], [510000, 5.1e6], [500000, 5e6]]]},
    b'{"type": "Polygon", "coordinates": [[[NaN, 0], [1, 0], [1, 1], [NaN, 0]]]}',
    {"type": "FeatureCollection", "features": 7}])
def test_what_is_no_region_is_a_sentence(tmp_path, data):
    with pytest.raises(InputError, match="region file ") as caught:
        read_geojson(written(tmp_path, data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "options"), [
    ("r.gpkg", {}), ("r.shp", {}), ("r.fgb", {}), ("r.kml", {"driver": "KML"}), ("r.parquet", None)])
@pytest.mark.parametrize("epsg", [4326, 32632, 3035])
def test_files_of_other_programs(tmp_path, name, options, epsg):
    if name == "r.kml" and epsg != 4326:
        pytest.skip("KML is always longitude, latitude")
    frame = gpd.GeoDataFrame({"NAME_1": ["here"]}, geometry=[SHAPE], crs=4326).to_crs(epsg)
    path = tmp_path / name
    if options is None:
        frame.to_parquet(path)
    else:
        frame.to_file(path, **options)
    assert read_geojson(str(path)).symmetric_difference(SHAPE).area < 1e-4 * SHAPE.area + (epsg != 4326) * 1e-5
    if name != "r.kml":
        assert read_polygons(path)[0] == ["here"]


def test_layers_are_taken_together_and_broken_files_are_a_sentence(tmp_path):
    path = tmp_path / "r.gpkg"
    east = shapely.affinity.translate(SHAPE, 1)
    for layer, shape in (("a", SHAPE), ("b", east)):
        gpd.GeoDataFrame(geometry=[shape], crs=4326).to_file(path, layer=layer)
    assert read_geojson(str(path)).area == pytest.approx(2 * SHAPE.area)
    for name in ("x.gpkg", "x.shp", "x.fgb", "x.kml", "x.parquet", "x.zip"):
        (tmp_path / name).write_bytes(b"not what it says")
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_geojson(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_geojson(str(tmp_path / "none.gpkg"))


def test_holes_stay(tmp_path):
    hole = [[9.15, 51.23], [9.18, 51.23], [9.18, 51.26], [9.15, 51.23]]
    found = read_geojson(written(tmp_path, {"type": "Polygon", "coordinates": [RING, hole]}))
    assert found.area == pytest.approx(0.01 - 0.03 * 0.03 / 2)


GOOD = "name: x\nregion: {bbox: [9, 51, 10, 52]}\nwindows: [[2021-06-01, 2021-07-01]]\n"


@pytest.mark.parametrize(("text", "sentence"), [
    (GOOD.replace("2021-07-01", "2021-06-31"), "2021-06-31 is no date"),
    (GOOD.replace("2021-07-01", "2021-07-01T00:00:00+02:00"), "a day in UTC"),
    (GOOD.replace("2021-07-01", "'2021-07-01T00:00:00+02:00'"), "a day in UTC"),
    (GOOD.replace("2021-07-01", "2021-07-01 12:00:00"), "a day in UTC"),
    (GOOD.replace("2021-07-01", "20210701"), "a day in UTC"),
    (GOOD.replace("2021-07-01", "9999-12-31"), "years are 1970 to 2199"),
    (GOOD + "name: y\n", "key 'name' is there twice"),
    (GOOD + "tile: {size: 510, size: 256}\n", "line 4: key 'size' is there twice"),
    (GOOD + "sentinel1: {max_gap_hours: .inf}\n", "sentinel1.max_gap_hours"),
    (GOOD + "sentinel1: {max_gap_hours: 1e300}\n", "sentinel1.max_gap_hours"),
    (GOOD + "quality: {min_coverage: .nan}\n", "quality.min_coverage"),
    (GOOD + "tile: {scale: .nan}\n", "tile.scale"),
    (GOOD + "sampling: {seed: .inf}\n", "sampling.seed"),
    (GOOD.replace("9, 51", ".nan, 51"), "region[0].bbox"),
    ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)), "aliases"),
    ("a: &a [*a]\n", "levels deep"),
    ("x: " + "[" * 5000 + "]" * 5000, "levels deep"), ("- " * 5000 + "x", "levels deep"),
    ("{" * 3000, "levels deep"), (GOOD + "name: " + "y" * 2_000_000, "bytes"),
    (GOOD.replace("{bbox: [9, 51, 10, 52]}", "POLYGON((9 51, 10 51"), "is no WKT"),
    (GOOD.replace("{bbox: [9, 51, 10, 52]}", "sampel"), "must be sample"),
    (GOOD + "x: !!python/object/apply:os.system [ls]\n", "is no YAML"),
])
def test_slips_and_bombs_are_one_sentence_at_once(tmp_path, text, sentence):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(InputError) as caught:
        load_spec(path)
    assert sentence in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert time.process_time() - began < 5


def test_days_in_utc_are_taken_and_a_region_may_be_wkt(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(GOOD.replace("2021-07-01", "2021-07-01T00:00:00Z").replace(
        "{bbox: [9, 51, 10, 52]}", "'POLYGON((9.12 51.2, 9.22 51.2, 9.22 51.3, 9.12 51.2))'"))
    spec = load_spec(path)
    assert str(spec.windows[0]) == "2021-06-01/2021-07-01" and spec.region[0].startswith("POLYGON")
    assert make_spec(json.loads(spec.to_json())) == spec
