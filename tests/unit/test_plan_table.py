"""A plan is a file to edit: each edit is followed, or refused in one sentence that names file, tile, column, value and
what would be right; nothing is left behind then."""

import json
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq
import pytest
import shapely

from dwplus import cli
from dwplus.errors import InputError
from dwplus.grid import PixelGrid, tile_on_grid
from dwplus.planning import table
from dwplus.planning.plan import COLUMNS, MORE_COLUMNS, read_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store.reader import tile_table
from dwplus.store.summary import summarise


def put(column, value, row=3):
    """One cell; a column that cannot hold the value becomes one that can."""
    def edit(rows):
        values = list(rows[column])
        values[row] = value
        rows[column] = pd.Series(values, dtype=object) if isinstance(value, str) or value is None else values
        return rows
    edit.row = row
    return edit


def whole(column, value):
    def edit(rows):
        rows[column] = value
        return rows
    return edit


def without(column):
    def edit(rows):
        return rows.drop(columns=column)
    return edit


def both(*edits):
    def edit(rows):
        for one in edits:
            rows = one(rows)
        return rows
    return edit


def again(rows):
    return pd.concat([rows, rows.iloc[[3]]], ignore_index=True)


def off_lattice(rows):
    grid = PixelGrid(32631, 500963.0, 5600000.0, 10.0, 32, 32)
    return both(put("tile_id", tile_on_grid(grid).id), put("x0", 500963.0))(rows)


def far_north(rows):
    grid = PixelGrid(32631, 500960.0, 9900000.0, 10.0, 32, 32)
    return both(put("tile_id", tile_on_grid(grid).id), put("y0", 9900000.0))(rows)


def two_splits(rows):
    """Two windows of one tile in two splits: what one is trained on, the other is tested on."""
    june = pd.Timestamp("2020-06-10", tz="UTC")
    other = rows.iloc[[3]].assign(window="2020-06-01/2020-07-01", split="val", s2_time=june, s1_time=june,
                                  gap_hours=0.0)
    spec = json.loads(rows["spec"][0])
    spec["windows"].append({"start": "2020-06-01", "end": "2020-07-01"})
    return pd.concat([rows, other], ignore_index=True).assign(spec=json.dumps(spec))


NAN, INF = float("nan"), float("inf")
EARLY = pd.Timestamp("2019-01-10", tz="UTC")
#: Edits that cannot be followed: the column that is named, and what would be right.
WRONG = {
    "tile_id empty": (put("tile_id", ""), "tile_id", "the id of a tile"),
    "tile_id none": (put("tile_id", None), "tile_id", "the id of a tile"),
    "tile_id words": (put("tile_id", "my tile"), "tile_id", "utm_<epsg>"),
    "tile_id of no date": (put("tile_id", "dw_3.01_50.5-20201399"), "tile_id", "dw_<lon>_<lat>-<yyyymmdd>"),
    "tile_id of another tile": (put("tile_id", "utm_32631_700000_5600000_32x10"), "x0", "700000, as the tile's id"),
    "tile_id of a drawn tile": (put("tile_id", "dw_3.01_50.5-20200110"), "x0", "as the tile's id says"),
    "tile_id a number": (whole("tile_id", 7), "tile_id", "text"),
    "tile_id twice": (again, "tile_id", "is planned twice in the same window"),
    "window none": (put("window", None), "window", "2020-01-01/2020-06-01"),
    "window another": (put("window", "2021-01-01/2021-06-01"), "window", "a window of the spec"),
    "epsg degrees": (put("epsg", 4326), "epsg", "a UTM zone"),
    "epsg zone 61": (put("epsg", 32661), "epsg", "a UTM zone"),
    "epsg zone 0": (put("epsg", 32600), "epsg", "a UTM zone"),
    "epsg next zone": (put("epsg", 32632), "epsg", "32631, as the tile's id says"),
    "epsg nan": (put("epsg", NAN), "epsg", "a whole number"),
    "epsg half": (put("epsg", 32631.5), "epsg", "a whole number"),
    "epsg huge": (put("epsg", 10**15), "epsg", "a whole number"),
    "epsg text": (whole("epsg", "EPSG:32631"), "epsg", "a whole number"),
    "epsg flag": (whole("epsg", True), "epsg", "a whole number"),
    "x0 moved": (put("x0", 501600.0), "x0", "500960, as the tile's id says"),
    "x0 nan": (put("x0", NAN), "x0", "as UTM has it"),
    "x0 infinite": (put("x0", INF), "x0", "as UTM has it"),
    "x0 longitude": (put("x0", -3.0), "x0", "as UTM has it"),
    "x0 text": (whole("x0", "500000"), "x0", "a number"),
    "x0 off the lattice": (off_lattice, "x0", "on the lattice: a multiple of 10 m"),
    "y0 moved": (put("y0", 5600010.0), "y0", "5600000, as the tile's id says"),
    "y0 none": (put("y0", None), "y0", "as UTM has it"),
    "y0 past the zone": (far_north, "y0", "80 S and 84 N"),
    "size another": (put("size", 64), "size", "the spec's tile.size, 32"),
    "size nan": (put("size", NAN), "size", "a whole number"),
    "size negative": (whole("size", -32), "size", "the spec's tile.size, 32"),
    "scale another": (put("scale", 20.0), "scale", "the spec's tile.scale, 10"),
    "biome 0": (put("biome", 0), "biome", "1..14"),
    "biome 15": (put("biome", 15), "biome", "1..14"),
    "biome -1": (put("biome", -1), "biome", "1..14"),
    "biome nan": (put("biome", NAN), "biome", "a whole number"),
    "biome half": (put("biome", 4.5), "biome", "a whole number"),
    "biome words": (whole("biome", "Temperate"), "biome", "a whole number"),
    "ecoregion a number": (whole("ecoregion", 3), "ecoregion", "text"),
    "coastal none": (put("coastal", None), "coastal", "true or false"),
    "coastal words": (whole("coastal", "no"), "coastal", "true or false"),
    "label_id none": (put("label_id", None), "label_id", "the id of a scene"),
    "label_id with its collection": (put("label_id", "GOOGLE/DYNAMICWORLD/V1/a"), "label_id", "without the collection"),
    "label_id three": (put("label_id", "a,b,c"), "label_id", "two of a product's halves"),
    "label_id a number": (whole("label_id", 1), "label_id", "text"),
    "s2_id empty": (put("s2_id", ""), "s2_id", "the id of a scene"),
    "s2_id with spaces": (put("s2_id", "s2 1"), "s2_id", "without spaces"),
    "s2_id three": (put("s2_id", "a,b,c"), "s2_id", "two of a product's halves"),
    "s1_id empty": (put("s1_id", ""), "s1_id", "the id of a scene"),
    "s1_id none": (put("s1_id", None), "s1_id", "the id of a scene"),
    "s1_id trailing comma": (put("s1_id", "s1_1,"), "s1_id", "comma-joined"),
    "s1_id twice": (put("s1_id", "s1_1,s1_1"), "s1_id", "ids that differ"),
    "s2_time nat": (put("s2_time", pd.NaT), "s2_time", "the time of the scene"),
    "s2_time text": (whole("s2_time", "yesterday"), "s2_time", "a time"),
    "s2_time a number": (whole("s2_time", 5), "s2_time", "a time"),
    "s1_time nat": (put("s1_time", pd.NaT), "s1_time", "the time of the scene"),
    "s1_time moved": (put("s1_time", EARLY), "gap_hours", "s1_time minus s2_time"),
    "times another year": (both(put("s2_time", EARLY), put("s1_time", EARLY), put("gap_hours", 0.0)), "s2_time",
                           "in the row's window"),
    "gap sign": (put("gap_hours", 3.0), "gap_hours", "-3.000000, s1_time minus s2_time"),
    "gap infinite": (put("gap_hours", INF), "gap_hours", "s1_time minus s2_time"),
    "gap too long": (both(put("s1_time", pd.Timestamp("2020-03-10", tz="UTC")), put("gap_hours", NAN)), "gap_hours",
                     "at most sentinel1.max_gap_hours, 144"),
    "s1_count 0": (put("s1_count", 0), "s1_count", "at least 1"),
    "s1_count 9": (put("s1_count", 9), "s1_count", "at most one for each id"),
    "s1_coverage 2": (put("s1_coverage", 2.0), "s1_coverage", "0..1"),
    "s2_cloud -1": (put("s2_cloud", -1.0), "s2_cloud", "0..100"),
    "s2_cloud infinite": (put("s2_cloud", INF), "s2_cloud", "0..100"),
    "clear 3": (whole("clear", 3.0), "clear", "0..1"),
    "orbit_pass words": (put("orbit_pass", "up"), "orbit_pass", "ASCENDING, DESCENDING or MIXED"),
    "relative_orbit 0": (put("relative_orbit", 0), "relative_orbit", "1..175"),
    "relative_orbit 176": (put("relative_orbit", 176), "relative_orbit", "1..175"),
    "split words": (put("split", "training"), "split", "train, val, test or guard"),
    "split none": (put("split", None), "split", "train, val, test or guard"),
    "split a number": (whole("split", 0), "split", "text"),
    "split of two windows": (two_splits, "split", "the one that the tile has in its other rows"),
    "state words": (put("state", "Planned"), "state", "planned or rejected"),
    "state none": (put("state", None), "state", "planned or rejected"),
    "s2_product words": (whole("s2_product", "L2A"), "s2_product", "sr, toa"),
    "spec none": (put("spec", None), "spec", "that of the other rows"),
}
#: Edits that are followed.
LEGAL = {
    "nothing": lambda rows: rows,
    "in another order": lambda rows: rows.sample(frac=1, random_state=1),
    "filtered": lambda rows: rows[rows["biome"] == 4],
    "without rejects": lambda rows: rows[rows["state"] == "planned"],
    "planned by hand": both(put("state", "planned", 13), put("reason", "", 13)),
    "planned by hand, reason left": put("state", "planned", 13),
    "planned by hand, what follows left out": both(
        put("state", "planned", 13), put("gap_hours", NAN, 13), put("s1_count", NAN, 13), put("orbit_pass", "", 13),
        put("relative_orbit", NAN, 13), put("s2_cloud", NAN, 13), put("s1_coverage", NAN, 13)),
    "rejected by hand": put("state", "rejected"),
    "rejected with a reason": both(put("state", "rejected"), put("reason", "a lake")),
    "a reject without scenes": both(*(put(name, "", 13) for name in ("label_id", "s2_id", "s1_id", "orbit_pass")),
                                    put("s2_time", pd.NaT, 13), put("s1_time", pd.NaT, 13), put("gap_hours", NAN, 13)),
    "a column of one's own": whole("note", "x"),
    "two halves": both(put("label_id", "a,b"), put("s2_id", "a,b")),
    "another split": put("split", "test"),
    "another biome": put("biome", 12),
    "whole numbers as floats": lambda rows: rows.astype({"epsg": "float64", "biome": "float64", "size": "float64"}),
    "times without a zone": lambda rows: rows.assign(s2_time=rows["s2_time"].dt.tz_localize(None),
                                                     s1_time=rows["s1_time"].dt.tz_localize(None)),
    "times in nanoseconds": lambda rows: rows.astype({"s2_time": "datetime64[ns, UTC]"}),
    "categories": lambda rows: rows.astype({"split": "category", "state": "category", "orbit_pass": "category"}),
    "an index": lambda rows: rows.set_index("tile_id"),
    "without later columns": lambda rows: rows.drop(columns=[c for c in MORE_COLUMNS if c in rows]),
}


def rows_of(small_plan):
    rows = pd.DataFrame(small_plan.drop(columns="geometry"))
    rows["clear"], rows["s2_product"], rows["own_grid"] = NAN, "", False
    return rows


@pytest.fixture
def export(monkeypatch, tmp_path, capsys):
    """`dwplus export`, in this process, up to the first request; its exit code and words."""
    monkeypatch.setattr("dwplus.export.run.run_shards", lambda store, *_, **__: summarise(store))
    monkeypatch.setattr("pipelines.export_plan.connect_config", lambda _: type("Session", (), {"description": "none"}))
    monkeypatch.setattr("dwplus.export.run.connect_config", lambda _: type("Session", (), {"version": ""}))

    def run(plan):
        monkeypatch.setattr(sys, "argv", ["dwplus", "export", str(plan), str(tmp_path / "s.zarr"), "--no-quicklooks"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr().err

    return run


def test_each_wrong_edit_is_one_sentence(small_plan, tmp_path, export):
    assert len(WRONG) >= 60
    plan = tmp_path / "plan.parquet"
    bad = []
    for name, (edit, column, words) in WRONG.items():
        edit(rows_of(small_plan)).to_parquet(plan)
        code, said = export(plan)
        lines = said.strip().splitlines()
        ok = code == 2 and len(lines) == 1 and lines[0].startswith(f"error: plan {plan}: row ")
        ok = ok and f" {column} is " in lines[0] and words in lines[0]
        if column not in ("tile_id", "spec") and not name.startswith("tile_id"):
            ok = ok and "(tile utm_" in lines[0]
        if not ok or sorted(p.name for p in tmp_path.iterdir()) != ["plan.parquet"]:
            bad.append((name, code, said[-400:]))
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(small_plan, tmp_path, column):
    plan = tmp_path / "plan.parquet"
    without(column)(rows_of(small_plan)).to_parquet(plan)
    with pytest.raises(InputError, match=f"lacks the column '{column}'"):
        read_plan(plan)


def test_each_legal_edit_is_followed_whole(small_plan, tmp_path, export):
    import shutil

    plan, store = tmp_path / "plan.parquet", tmp_path / "s.zarr"
    for name, edit in LEGAL.items():
        rows = edit(rows_of(small_plan))
        rows.to_parquet(plan)
        code, said = export(plan)
        assert code == 1 and "error" not in said, (name, said)
        found = tile_table(store)
        assert (found["status"] == "pending").all()
        kept = rows.reset_index()
        assert set(found["tile_id"]) == set(kept.loc[kept["state"] == "planned", "tile_id"]), name
        assert len(found) == (kept["state"] == "planned").sum(), name
        code, said = export(plan)  # and again: it is the same plan
        assert code == 1 and "error" not in said, (name, said)
        shutil.rmtree(store)
        shutil.rmtree(f"{store}.run", ignore_errors=True)


def test_geometry_follows_from_the_grid(small_plan, tmp_path):
    """Lost, renamed or wrong: it decides nothing."""
    want = small_plan.geometry.to_numpy()
    for name, edited in {
            "lost": pd.DataFrame(small_plan.drop(columns="geometry")), "renamed": small_plan.rename_geometry("geom"),
            "wrong": small_plan.set_geometry(gpd.GeoSeries([shapely.box(0, 0, 1, 1)] * 14, crs="EPSG:4326"))}.items():
        path = tmp_path / f"{name}.parquet"
        edited.to_parquet(path)
        plan = read_plan(path)
        assert plan.crs == "EPSG:4326" and plan.geometry.name == "geometry" and "geom" not in plan
        assert shapely.equals_exact(plan.geometry.to_numpy(), want, tolerance=1e-12).all()


def test_what_other_software_writes(small_plan, tmp_path):
    """Large and viewed strings, decimals, dictionaries, microseconds, lost metadata, a broken one."""
    whole_plan = pyarrow.Table.from_pandas(rows_of(small_plan), preserve_index=False)
    write_plan(read_back(small_plan, tmp_path), tmp_path / "ours.parquet")
    want = read_plan(tmp_path / "ours.parquet")
    for kind in (pyarrow.large_string(), pyarrow.string_view(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
        found = whole_plan
        for i, field in enumerate(found.schema):
            if field.type in (pyarrow.string(), pyarrow.large_string()):
                column = found.column(i).cast(pyarrow.string())
                column = column.dictionary_encode() if pyarrow.types.is_dictionary(kind) else column.cast(kind)
                found = found.set_column(i, field.name, column)
        for name, to in (("x0", pyarrow.decimal128(18, 3)), ("s2_time", pyarrow.timestamp("us", "Europe/Oslo")),
                         ("biome", pyarrow.uint8()), ("epsg", pyarrow.int64())):
            i = found.schema.get_field_index(name)
            found = found.set_column(i, name, found.column(i).cast(to))
        found = found.replace_schema_metadata({"geo": "{broken", "pandas": "[" * 100_000})
        pq.write_table(found, tmp_path / "other.parquet")
        pd.testing.assert_frame_equal(read_plan(tmp_path / "other.parquet"), want)


def read_back(small_plan, tmp_path):
    rows_of(small_plan).to_parquet(tmp_path / "base.parquet")
    return read_plan(tmp_path / "base.parquet")


def test_files_that_are_no_plan(tmp_path, small_plan):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("x")
    good = tmp_path / "good.parquet"
    rows_of(small_plan).to_parquet(good)
    (tmp_path / "cut").write_bytes(good.read_bytes()[:-200])
    (tmp_path / "damaged").write_bytes(b"PAR1" + bytes(2000) + good.read_bytes()[2004:])
    rows_of(small_plan).iloc[:0].to_parquet(tmp_path / "empty")
    rows_of(small_plan).assign(spec="[" * 100_000).to_parquet(tmp_path / "deep")
    rows_of(small_plan).assign(spec="{}").to_parquet(tmp_path / "nospec")
    for name, words in (("folder", "is a folder"), ("text", "is no GeoParquet plan"), ("cut", "is no GeoParquet plan"),
                        ("damaged", "plan"), ("empty", "has no rows"), ("deep", "column spec"),
                        ("nospec", "column spec"), ("none", "no such file")):
        with pytest.raises(InputError, match=words) as caught:
            read_plan(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value) and len(str(caught.value)) < 700


def test_a_plan_at_the_antimeridian_lies_within_180_degrees(small_plan, small_spec, tmp_path):
    """Fiji, zone 1: the tile's western part lies at 179.99 E. GeoParquet 1.1 with a box of each row."""
    grid = PixelGrid(32701, 179200.0, 8197900.0, 10.0, 32, 32)
    spec = make_spec({**small_spec.model_dump(mode="json"), "name": "fiji"})
    row = small_plan.iloc[[0]].assign(tile_id=tile_on_grid(grid).id, epsg=32701, x0=grid.x0, y0=grid.y0,
                                      geometry=[grid.footprint()], spec=spec.to_json())
    west, _, east, _ = row.total_bounds
    assert east > 180 or west < -180, "the case must cross"
    path = tmp_path / "p.parquet"
    write_plan(gpd.GeoDataFrame(row, crs="EPSG:4326"), path)
    for plan in (gpd.read_parquet(path), read_plan(path)):
        west, _, east, _ = plan.total_bounds
        assert west == -180 and east == 180
        (shape,) = plan.geometry
        assert shape.geom_type == "MultiPolygon" and shape.area == pytest.approx(grid.footprint().area, rel=1e-9)
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert "bbox" not in read_plan(path)


def test_footprints_are_those_of_the_grids(small_plan):
    grids = [PixelGrid(row.epsg, row.x0, row.y0, row.scale, row.size, row.size) for row in small_plan.itertuples()]
    assert shapely.equals_exact(table.footprints(small_plan), [g.footprint() for g in grids], tolerance=1e-12).all()
    assert np.isfinite(shapely.area(table.footprints(small_plan))).all()


def test_drawn_tiles_keep_to_their_id(small_plan, small_spec, tmp_path):
    """Paths of GeoTIFFs below labels.path are ids there; what leads out of it is not."""
    from dwplus.grid import tile_from_id

    tile = tile_from_id("dw_3.01_50.5-20200110")
    spec = {**small_spec.model_dump(mode="json"), "tile": {"size": 510, "grid": "label"},
            "labels": {"source": "annotations", "path": "/somewhere"}}
    rows = rows_of(small_plan).iloc[[0]].assign(
        tile_id=tile.id, epsg=tile.grid.epsg, x0=tile.grid.x0, y0=tile.grid.y0, size=510, own_grid=True,
        label_id=f"Experts/EH/4/{tile.id}.tif", spec=make_spec(spec).to_json())
    path = tmp_path / "p.parquet"
    rows.to_parquet(path)
    assert len(read_plan(path)) == 1
    for column, value, words in (("x0", tile.grid.x0 + 10, "as the tile's id says"),
                                 ("label_id", "../../etc/passwd.tif", "below the spec's labels.path"),
                                 ("label_id", "/etc/passwd.tif", "below the spec's labels.path")):
        rows.assign(**{column: value}).to_parquet(path)
        with pytest.raises(InputError, match=words):
            read_plan(path)
