"""Samples of a map: designs, draws, files; interpreters; assessments of what they said."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.maps import areas, designs, interpreters, labelled, sample, small_areas
from dwplus.maps.estimators import Points
from dwplus.maps.legend import OTHER, open_map
from dwplus.taxonomy import CLASSES, IGNORE
from pipelines import map_assess, map_change
from tests.commands import here


def map_folder(folder, labels, epsg=32632, x0=500_000.0, y0=5_670_000.0):
    """A finished map of given classes."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = PixelGrid(epsg, x0, y0, 10.0, *labels.shape)
    with rasterio.open(folder / f"class_epsg{epsg}.tif", "w", driver="GTiff", count=1, height=grid.height,
                       width=grid.width, dtype="uint8", crs=grid.crs, transform=grid.transform, nodata=255) as raster:
        raster.write(labels.astype("uint8"), 1)
    (folder / "map.json").write_text(json.dumps({"settings": {"store": None}}))
    return folder


def patches(seed=0, side=800):
    """Patches of four classes, one of them rare, and a corner without data; the truth beside it."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, (side // 20, side // 20), p=[0.55, 0.3, 0.13, 0.02]).repeat(20, 0).repeat(20, 1)
    wrong = rng.random(truth.shape) < 0.1
    said = np.where(wrong, np.array([1, 0, 1, 2])[truth], truth)
    said[:100, :100] = IGNORE
    return truth, said


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    truth, said = patches()
    return map_folder(tmp_path_factory.mktemp("maps") / "one", said), truth, said


# --- designs ---------------------------------------------------------------------------------------------------------

#: Olofsson et al. 2014, table 5: shares of the map and expected user's accuracies of its four strata.
WEIGHTS, USERS = np.array([0.02, 0.015, 0.32, 0.645]), np.array([0.70, 0.60, 0.90, 0.95])


def test_olofssons_sample_size_and_allocations():
    """Equation 13 with the paper's strata and a standard error of 0.01: 641 points; equal and proportional allocation
    as in its table 5."""
    assert designs.points_needed(WEIGHTS, USERS, 0.01 * designs.Z95) == 641
    pixels = WEIGHTS * 10_000_000
    assert designs.allocate(pixels, 640, "equal", 2, USERS).tolist() == [160] * 4
    assert designs.allocate(pixels, 641, "proportional", 2, USERS).tolist() == [13, 10, 205, 413]


def test_allocations_keep_the_sum_and_the_least():
    rng = np.random.default_rng(0)
    for _ in range(200):
        pixels = np.where(rng.random(9) < 0.2, 0, rng.integers(1, 10 ** rng.integers(1, 6, 9)))
        pixels[0] = 50_000
        for how in designs.ALLOCATIONS:
            found = designs.allocate(pixels, 400, how, 20, np.linspace(0.6, 0.95, 9))
            assert found.sum() == min(400, pixels.sum()) and (found <= pixels).all()
            assert (found >= np.minimum(20, pixels)).all()
    with pytest.raises(InputError, match="-n 100: 9 strata .* need 180"):
        designs.allocate(np.full(9, 1000), 100, "equal", 20, np.full(9, 0.8))


def test_neyman_gives_more_where_more_is_unsure():
    found = designs.allocate(np.array([1000, 1000]), 100, "neyman", 2, np.array([0.5, 0.98]))
    assert found.tolist() == [78, 22]  # 0.5 to 0.14


def test_the_power_table_names_the_half_widths():
    """A simple sample of 683 points holds +-3 points of an accuracy of 0.8."""
    lines = designs.power_lines(np.array([1.0]), np.array([0.8]), "simple", 1, 683)
    assert "  +-3 points:    683" in lines and "about +-3.0 points" in lines[-1]
    blocks = designs.power_lines(np.array([1.0]), np.array([0.8]), "two-stage", 10, 683)
    assert int(blocks[3].split()[-1].replace(",", "")) > 683


@pytest.mark.parametrize(("text", "words"), [("much", "must be a number"), ("1.2", "between 0 and 1"),
                                             ("forest=0.9", "no class 'forest'")])
def test_expected_accuracies_are_checked(text, words):
    with pytest.raises(InputError, match=words):
        designs.expected_of(text, CLASSES)
    found = designs.expected_of("0.7,water=0.95", CLASSES)
    assert found[0] == 0.95 and set(found[1:]) == {0.7}


# --- draws -----------------------------------------------------------------------------------------------------------

def drawn(folder, **options):
    shown = open_map(folder)
    return sample.draw(shown, sample.Plan(**options), shown.counts())


@pytest.mark.parametrize("design", designs.DESIGNS)
def test_points_are_centres_of_pixels_with_their_class(mapped, design):
    folder, _, said = mapped
    frame = drawn(folder, count=200, design=design, seed=3)
    assert len(frame) == 200 and frame["id"].is_unique and (frame["reference"] == "").all()
    col, row = (frame["x"] - 500_000) / 10 - 0.5, (5_670_000 - frame["y"]) / 10 - 0.5
    assert (col == col.round()).all() and (row == row.round()).all()
    assert [CLASSES[c] for c in said[row.astype(int), col.astype(int)]] == frame["map"].tolist()
    assert frame["weight"].sum() == pytest.approx((said != IGNORE).sum())
    again, other = (drawn(folder, count=200, design=design, seed=s) for s in (3, 4))
    pd.testing.assert_frame_equal(again, frame)
    assert set(zip(other["x"], other["y"], strict=True)) != set(zip(frame["x"], frame["y"], strict=True))


def test_strata_have_their_sizes_and_their_least(mapped):
    folder, _, said = mapped
    frame = drawn(folder, count=200, least=15)
    for name, rows in frame.groupby("stratum"):
        pixels = int((said == CLASSES.index(name)).sum())
        assert set(rows["stratum_pixels"]) == {pixels} and set(rows["stratum_points"]) == {len(rows)}
        assert len(rows) >= 15 and rows["weight"].iloc[0] == pytest.approx(pixels / len(rows))
        assert not rows.duplicated(["x", "y"]).any()


def test_every_pixel_has_the_same_chance(tmp_path):
    """Two-stage: 400 draws of a map with a nearly empty block; each half of the ground gets its part."""
    labels = np.full((512, 1024), IGNORE)
    labels[:, :512] = 0
    labels[:128, 512:] = 1
    folder = map_folder(tmp_path / "m", labels)
    shares = [float((drawn(folder, count=40, per_block=4, design="two-stage", seed=s)["map"] == "trees").mean())
              for s in range(100)]
    assert np.mean(shares) == pytest.approx(0.2, abs=0.04)


def test_two_zones_are_one_population(tmp_path):
    folder = map_folder(tmp_path / "m", np.zeros((64, 64)))
    map_folder(folder, np.ones((64, 64)), 32633, 300_000.0)
    frame = drawn(folder, count=40, design="simple")
    assert set(frame["epsg"]) == {32632, 32633} and 8 <= (frame["map"] == "water").sum() <= 32
    assert frame["lon"].between(8.9, 12.2).all()


@pytest.mark.parametrize(("options", "words"), [
    ({"count": 1}, "at least 2 points"), ({"count": 10, "design": "grid"}, "--design 'grid'"),
    ({"count": 10, "allocation": "none"}, "--allocation 'none'"), ({"count": 10, "least": 1}, "--least 1"),
    ({"count": 10, "design": "two-stage", "per_block": 8}, "--per-block 8"), ({"count": 10**7}, "pixels with a class"),
])
def test_slips_are_one_sentence(mapped, options, words):
    with pytest.raises(InputError, match=words):
        drawn(mapped[0], **options)


# --- from the command line to areas ----------------------------------------------------------------------------------

def label(table, truth, error=0.0, seed=0, who="ann"):
    """What an interpreter who knows the truth says, now and then something else."""
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    col = ((rows["x"].astype(float) - 500_000) / 10 - 0.5).round().astype(int)
    row = ((5_670_000 - rows["y"].astype(float)) / 10 - 0.5).round().astype(int)
    rng = np.random.default_rng(seed)
    known = np.where(rng.random(len(rows)) < error, rng.integers(0, 4, len(rows)), truth[row, col])
    rows["reference"] = [CLASSES[c] for c in known]
    rows["interpreter"] = who
    path = table.with_suffix(f".{who}.csv")
    rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("design", designs.DESIGNS)
def test_from_a_map_to_areas_that_hold(mapped, tmp_path, design):
    folder, truth, said = mapped
    table = tmp_path / "s.csv"
    found = here("dwplus", "sample", folder, "-n", 300, "--design", design, "-o", table, "--no-page")
    assert found.returncode == 0 and "for an overall accuracy near 80% you need" in found.stdout, found.stderr
    package = gpd.read_file(tmp_path / "s.gpkg")
    assert len(package) == 300 and package.crs.to_epsg() == 4326 and set(package["design"]) == {design}
    labelled_file = label(table, truth)
    found = here("dwplus", "assess", folder, labelled_file)
    assert found.returncode == 0 and "overall accuracy 0." in found.stdout, found.stderr
    out = labelled_file.with_suffix(".assessment")
    facts = json.loads((out / "assessment.json").read_text())
    valid = said != IGNORE
    right = float((said == truth)[valid].mean())
    assert facts["overall"]["low"] <= right <= facts["overall"]["high"] and facts["post_stratified"]
    classes = pd.read_csv(out / "classes.csv").set_index("class")
    for c in range(3):
        area = (truth == c)[valid].sum() * 1e-4
        assert classes.loc[CLASSES[c], "area_low_km2"] <= area <= classes.loc[CLASSES[c], "area_high_km2"]
    assert classes["area_km2"].sum() == pytest.approx(valid.sum() * 1e-4)
    assert pd.read_csv(out / "matrix.csv", index_col=0).loc["true", "map"] == pytest.approx(1)
    page = (out / "index.html").read_text()
    assert "http" not in page.replace("http-equiv", "") and "producer's accuracy" in page


def test_a_sample_is_not_written_over(mapped, tmp_path):
    table = tmp_path / "s.csv"
    table.write_text("labels of a week")
    found = here("dwplus", "sample", mapped[0], "-n", 50, "-o", table, "--no-page")
    assert found.returncode == 2 and "labels may be in it" in found.stderr
    assert table.read_text() == "labels of a week" and len(list(tmp_path.iterdir())) == 1


def edited(path, change):
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(rows)
    rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("column", "value", "words"), [
    ("reference", "", "reference is blank in row 4 "), ("reference", "forest", "'forest' is no class, in row 4"),
    ("stratum", "", "stratum is blank in row 4"), ("map", "", "map is blank in row 4"),
    ("stratum_pixels", "", "stratum_pixels is blank in row 4"), ("stratum_pixels", "-3", "above 0, in row 4"),
    ("stratum_pixels", "77", "different stratum_pixels"), ("x", "", "must be numbers, in row 4"),
    ("id", "001", "twice, in row 4")])
def test_bad_cells_are_refused_by_row(mapped, tmp_path, column, value, words):
    folder, truth, _ = mapped
    table = tmp_path / "s.csv"
    sample.write(drawn(folder, count=60), table, tmp_path / "s.gpkg")
    path = edited(label(table, truth), lambda rows: rows.__setitem__(
        column, [*rows[column][:3], value, *rows[column][4:]]))
    rows = pd.read_csv(path, dtype=str)
    assert rows["id"][0] == "01"
    if column == "id":
        edited(path, lambda rows: rows.__setitem__("id", ["001", *rows["id"][1:]]))
    with pytest.raises(InputError, match=words):
        map_assess.run(map_assess.Options(str(folder), [str(path)]))
    assert not path.with_suffix(".assessment").exists()


def test_blank_blocks_are_refused_by_row(mapped, tmp_path):
    """A blank block used to be counted to the last one."""
    folder, truth, _ = mapped
    table = tmp_path / "s.csv"
    sample.write(drawn(folder, count=60, design="two-stage", per_block=5), table, tmp_path / "s.gpkg")
    path = edited(label(table, truth), lambda rows: rows.__setitem__("block", ["", *rows["block"][1:]]))
    with pytest.raises(InputError, match=r"block is blank in row 1 \(line 2"):
        labelled.read_table(path)


def test_a_map_that_changed_since_the_draw_is_assessed_as_it_is(mapped, tmp_path):
    """A better map under an old sample: strata are those of the draw, classes those of now; its areas hold."""
    folder, truth, said = mapped
    table = tmp_path / "s.csv"
    sample.write(drawn(folder, count=400), table, tmp_path / "s.gpkg")
    path = label(table, truth)
    better = np.where(np.random.default_rng(5).random(said.shape) < 0.5, truth, said)
    better[said == IGNORE] = IGNORE
    newer = map_folder(tmp_path / "newer", better)
    shown = open_map(newer)
    found = labelled.labelled(labelled.read_table(path), shown, shown.counts(), "s")
    assert any("has changed at" in note for note in found.notes)
    assert found.points.pixels.sum() == (said != IGNORE).sum() and len(found.strata) == 4
    assert map_assess.run(map_assess.Options(str(newer), [str(path)])) == 0
    facts = json.loads((path.with_suffix(".assessment") / "assessment.json").read_text())
    right = float((better == truth)[said != IGNORE].mean())
    assert facts["overall"]["low"] <= right <= facts["overall"]["high"]


def test_points_nobody_could_tell_are_left_out_and_said(mapped, tmp_path, capsys):
    folder, truth, _ = mapped
    table = tmp_path / "s.csv"
    sample.write(drawn(folder, count=100), table, tmp_path / "s.gpkg")
    path = edited(label(table, truth), lambda rows: rows.__setitem__(
        "reference", [interpreters.CANNOT_TELL] * 5 + list(rows["reference"][5:])))
    assert map_assess.run(map_assess.Options(str(folder), [str(path)])) == 0
    said = capsys.readouterr().out
    assert "5 of 100 points are left out" in said and "95 points" in said


# --- interpreters ----------------------------------------------------------------------------------------------------

def test_cohens_kappa():
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement 0.7, by chance 0.5, kappa 0.4."""
    one = ["y"] * 25 + ["n"] * 25
    other = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert interpreters.kappa(one, other) == pytest.approx(0.4)
    assert interpreters.kappa(one, one) == 1 and np.isnan(interpreters.kappa(["y"], ["y"]))


def test_consensus_rules():
    labels = {"a": pd.Series({"1": "water", "2": "water", "3": "water", "4": interpreters.CANNOT_TELL}),
              "b": pd.Series({"1": "water", "2": "trees", "3": "trees", "4": "bare"}),
              "c": pd.Series({"1": "water", "2": "trees"})}
    no = interpreters.CANNOT_TELL
    assert interpreters.consensus(labels, "majority").to_dict() == {"1": "water", "2": "trees", "3": no, "4": "bare"}
    assert interpreters.consensus(labels, "unanimous").to_dict() == {"1": "water", "2": no, "3": no, "4": "bare"}
    assert interpreters.consensus(labels, "last").to_dict() == {"1": "water", "2": "trees", "3": "trees", "4": "bare"}


def test_several_interpreters_are_compared_and_joined(mapped, tmp_path, capsys):
    folder, truth, _ = mapped
    table = tmp_path / "s.csv"
    sample.write(drawn(folder, count=100), table, tmp_path / "s.gpkg")
    paths = [str(label(table, truth, 0.2, i, who)) for i, who in enumerate(("ann", "bob", "cem"))]
    assert map_assess.run(map_assess.Options(str(folder), paths)) == 0
    said = capsys.readouterr().out
    assert said.count("kappa 0.") == 3 and "ann and bob" in said
    edited(tmp_path / "s.bob.csv", lambda rows: rows.__setitem__("id", ["x", *rows["id"][1:]]))
    with pytest.raises(InputError, match="point x is not in"):
        labelled.join(paths, "majority")


# --- change, polygons ------------------------------------------------------------------------------------------------

def test_change_is_a_raster_a_picture_a_page_and_a_map_to_sample(tmp_path, capsys):
    truth, _ = patches(1, 400)
    later = truth.copy()
    later[:, 200:][truth[:, 200:] == 1] = 2
    later[0, :10] = (truth[0, :10] + 5) % 9
    before, after = map_folder(tmp_path / "a", truth), map_folder(tmp_path / "b", later)
    (after / "map.json").write_text(json.dumps({**json.loads((after / "map.json").read_text()), "synthetic": True}))
    assert map_change.run(str(before), str(after), None) == 0
    assert "pixel count, not an estimate" in capsys.readouterr().out
    folder = after / "change_from_a"
    assert {p.name for p in folder.iterdir()} >= {"change_epsg32632.tif", "change.vrt", "change.png", "index.html",
                                                  "change.json"}
    with rasterio.open(folder / "change_epsg32632.tif") as raster:
        assert (raster.read(1) == 10 * truth + later).all()
        assert raster.colormap(1)[12][:3] == raster.colormap(1)[62][:3]  # what became grass has one colour
    page = (folder / "index.html").read_text()
    assert "Pixel count, not an estimate" in page and "synthetic on the sample planet" in page
    shown = open_map(folder)
    assert shown.change and "trees to grass" in shown.names and shown.names[-1] == OTHER
    assert shown.counts().sum() == truth.size
    table = tmp_path / "c.csv"
    sample.write(sample.draw(shown, sample.Plan(120), shown.counts()), table, tmp_path / "c.gpkg")
    path = edited(table, lambda rows: rows.__setitem__("reference", [
        "water to bare" if m == OTHER else m for m in rows["map"]]))
    assert map_assess.run(map_assess.Options(str(folder), [str(path)])) == 0
    assert "synthetic on the sample planet" in (tmp_path / "c.assessment" / "index.html").read_text()
    found = pd.read_csv(tmp_path / "c.assessment" / "classes.csv").set_index("class")
    right = ((truth == 1) & (later == 2)).sum() * 1e-4
    assert found.loc["trees to grass", "area_low_km2"] <= right <= found.loc["trees to grass", "area_high_km2"]


def test_small_areas_are_honest(mapped, tmp_path):
    """A part is estimated from its own points where they are enough, else counted, and each says which it is."""
    folder, truth, said = mapped
    from tests.unit.test_map_edges import degrees

    table = tmp_path / "s.csv"
    sample.write(drawn(folder, count=400, design="simple"), table, tmp_path / "s.gpkg")
    path = label(table, truth)
    parts = {"west": shapely.box(500_000, 5_662_000, 503_000, 5_670_000),
             "speck": shapely.box(503_000, 5_662_000, 503_300, 5_662_300)}
    file = tmp_path / "parts.geojson"
    gpd.GeoDataFrame({"name": list(parts)}, geometry=[degrees(shapely.segmentize(p, 500), 32632)
                                                      for p in parts.values()], crs=4326).to_file(file)
    assert map_assess.run(map_assess.Options(str(folder), [str(path)], polygons=str(file))) == 0
    found = pd.read_csv(path.with_suffix(".assessment") / "polygons.csv")
    west, speck = (found[found["polygon"] == n].set_index("class") for n in parts)
    valid = said[:, :300] != IGNORE
    for c in range(3):
        row, right = west.loc[CLASSES[c]], (truth[:, :300] == c)[valid].sum() * 1e-4
        assert row["design"] == "model-assisted estimate" and row["area_low_km2"] <= right <= row["area_high_km2"]
        assert row["mapped_km2"] == pytest.approx((said[:, :300] == c).sum() * 1e-4)
    assert speck["design"].str.contains("too few points").all() and speck["area_km2"].isna().all()
    assert speck["mapped_km2"].sum() == pytest.approx(0.09)


def test_a_point_belongs_to_one_of_two_polygons():
    """The rule of areas: a pixel whose centre lies on the common edge is in the eastern one."""
    from tests.unit.test_map_edges import degrees

    halves = [degrees(shapely.box(a, 5_669_900, b, 5_670_000), 32632)
              for a, b in ((500_000, 500_055), (500_055, 500_100))]
    place = np.full(10, 32632), 500_005.0 + 10 * np.arange(10), np.full(10, 5_669_995.0)
    west, east = (small_areas.inside(shape, *place, 10.0) for shape in halves)
    assert west.tolist() == [True] * 5 + [False] * 5 and (east == ~west).all()


def test_a_part_without_disagreement_still_has_a_width():
    points = Points(np.zeros(40, int), np.array([4000.0]), np.zeros(40, int), np.zeros(40, int))
    value, error, low, high = small_areas.estimate(points, np.arange(40) < 25, np.array([900.0, 100.0]))[0]
    assert value == 0.9 and error == 0 and low < 0.9 < high


def test_reference_counts_are_those_of_areas(tmp_path):
    """Tables of points that were drawn before there was `dwplus sample` are assessed by map class."""
    folder = map_folder(tmp_path / "m", np.repeat([0, 1], 32)[:, None] * np.ones((1, 64)))
    path = tmp_path / "p.csv"
    path.write_text("true,map\n" + "water,water\n" * 9 + "trees,water\n" + "trees,trees\n" * 10)
    assert map_assess.run(map_assess.Options(str(folder), [str(path)], interval="normal")) == 0
    found = pd.read_csv(tmp_path / "p.assessment" / "classes.csv").set_index("class")
    expected = areas.estimate(np.array([2048, 2048, 0, 0, 0, 0, 0, 0, 0]), areas.read_reference(path))
    assert found.loc["water", "area_km2"] == pytest.approx(expected.share[0] * 0.4096)
    assert found.loc["water", "area_se_km2"] == pytest.approx(expected.error[0] * 0.4096, abs=1e-6)
