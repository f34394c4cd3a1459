"""Maps without an Earth: windows and seams, rasters, areas, change."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, covering_tiles, in_zone, lattice_tiles, utm_epsg, zone_pieces
from dwplus.maps import areas, stac
from dwplus.maps.blocks import (
    UNIT,
    Block,
    Frame,
    Scene,
    WindowShape,
    blend,
    decide,
    finish,
    overlap,
    percent,
    said,
)
from dwplus.maps.look import round_length
from dwplus.maps.plan import clip_of, map_spec
from dwplus.maps.product import large_rasters
from dwplus.maps.raster import LAYERS, extent, outside, write_cog, write_vrt
from dwplus.spec import make_spec
from dwplus.taxonomy import CLASSES, IGNORE, PALETTE

SIZE = 64


def grid_at(row, col, epsg=32648, size=SIZE):
    return PixelGrid(epsg, 500_000.0 + 10 * size * col, 1_300_000.0 - 10 * size * row, 10.0, size, size)


def blocks_of(rows, cols):
    return [Block(f"{r}_{c}", grid_at(r, c), ()) for r in range(rows) for c in range(cols)]


def windows_of(blocks, shape, seed=0):
    """Random probabilities on the support of each block, a tenth of the pixels without data."""
    rng = np.random.default_rng(seed)
    found = {}
    for block in blocks:
        support = shape.support(block.grid)
        chance = rng.dirichlet(np.ones(len(CLASSES)), support.shape).transpose(2, 0, 1)
        found[block.id] = support, np.round(chance * UNIT).astype("uint16") * (rng.random(support.shape) > 0.1)
    return found


@pytest.mark.parametrize(("margin", "ramp"), [(32, 32), (0, 0), (5, 14), (32, 64)])
def test_weights_sum_to_one_everywhere(margin, ramp):
    """Between any two neighbours the weights add up to the full weight, exactly; windows hold margin and ramp."""
    shape = WindowShape(margin, ramp)
    line = shape.weights(SIZE).astype(int)
    assert len(line) == SIZE + ramp
    half = ramp // 2
    total = line[half:half + SIZE].copy()
    total[:half] += line[SIZE + half:]
    total[SIZE - half:] += line[:half]
    assert set(total) == {shape.full}
    window, support = shape.window(grid_at(0, 0)), shape.support(grid_at(0, 0))
    assert window.width % 32 == 0
    shared = overlap(window, support)
    assert shared is not None and shared[0][0].stop - shared[0][0].start == SIZE + ramp
    assert min(shared[0][0].start, window.height - shared[0][0].stop) >= margin



def test_one_window_alone_says_what_sums_of_it_say():
    """All probabilities there are, and ties, and pixels without data."""
    rng = np.random.default_rng(0)
    chance = rng.integers(0, UNIT + 1, (len(CLASSES), 64, 96)).astype("uint16")
    chance[0].flat[:] = np.arange(64 * 96) * (UNIT + 1) // (64 * 96)
    chance[:, :8] = chance[:1, :8]  # ties go to the first
    chance[:, :, :5] = 0
    weight = chance.any(axis=0).astype("uint64")
    label, sure = said(chance)
    for ours, theirs in zip((label, sure), decide(chance.astype("uint64"), weight), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    every = np.arange(UNIT + 1, dtype="uint16").reshape(1, 1, -1)
    np.testing.assert_array_equal(said(every)[1][0, 1:],
                                  percent(every.astype("uint64"), np.ones((1, UNIT + 1), "uint64"))[0, 0, 1:])
    assert (label[:, :5] == IGNORE).all() and (sure[:, :5] == IGNORE).all() and (label[8:, 5:] != IGNORE).all()


def test_blocks_are_the_whole():
    """Finishing blocks one by one gives, to the bit, what blending all windows at once gives."""
    shape = WindowShape(8, 16)
    blocks = blocks_of(3, 4)
    windows = windows_of(blocks, shape)
    whole = extent(blocks)
    total, weight = blend(whole, windows, shape)
    label, sure = decide(total, weight)
    chances = percent(total, weight)
    frame = Frame(blocks, shape)
    for block in blocks:
        some = {name: windows[name] for name in frame.touching(block.id)}
        layers = finish(block.grid, some, shape, probabilities=True)
        here = overlap(whole, block.grid)[0]
        assert (layers[0] == label[here]).all() and (layers[1] == sure[here]).all()
        assert (layers[2:] == chances[(slice(None), *here)]).all()
        backwards = dict(reversed(some.items()))
        assert (finish(block.grid, backwards, shape, probabilities=True) == layers).all()
    assert len(frame.touching("1_1")) == 9 and len(frame.touching("0_0")) == 4
    assert (label == IGNORE).any() and set(np.unique(label)) == {*range(9), IGNORE}


def test_blending_is_a_weighted_mean():
    """Across a border the probability goes from one window's to the other's without a step."""
    shape = WindowShape(0, 16)
    blocks = blocks_of(1, 2)
    windows = {}
    for block, share in zip(blocks, (0.9, 0.1), strict=True):
        chance = np.zeros((9, *shape.support(block.grid).shape), "uint16")
        chance[0], chance[1] = round(share * UNIT), round((1 - share) * UNIT)
        windows[block.id] = shape.support(block.grid), chance
    total, weight = blend(extent(blocks), windows, shape)
    row = percent(total, weight)[0, SIZE // 2].astype(int)
    assert row[0] == 90 and row[-1] == 10
    assert (np.diff(row) <= 0).all() and np.abs(np.diff(row)).max() <= 6
    assert abs(row[SIZE - 1] + row[SIZE] - 100) <= 1  # each is rounded by itself


def test_no_data_neither_counts_nor_spreads():
    shape = WindowShape(0, 16)
    blocks = blocks_of(1, 2)
    windows = windows_of(blocks, shape, seed=1)
    windows["0_1"][1][:] = 0
    layers = finish(blocks[0].grid, windows, shape)
    alone = finish(blocks[0].grid, {"0_0": windows["0_0"]}, shape)
    assert (layers == alone).all()
    assert (finish(blocks[1].grid, windows, shape)[0][:, 8:] == IGNORE).all()


def test_frames_refuse_other_lattices():
    with pytest.raises(InputError, match="lattice"):
        Frame([Block("a", grid_at(0, 0), ()), Block("b", PixelGrid(32648, 500_003.0, 1.3e6, 10.0, SIZE, SIZE), ())],
              WindowShape())
    with pytest.raises(InputError, match="one size"):
        Frame([Block("a", grid_at(0, 0), ()), Block("b", grid_at(0, 5, size=32), ())], WindowShape())
    with pytest.raises(InputError, match="ramp"):
        WindowShape(0, 7)


@pytest.mark.parametrize("box", [(104.9, 11.9, 105.2, 12.2), (5.8, 49.9, 6.3, 50.2), (-0.2, -0.1, 0.2, 0.1),
                                 (179.8, -17.2, 180.3, -16.8), (102.001, 11.001, 102.002, 11.002)])
def test_tiles_cover_a_region(box):
    """No point of a region lies outside the tiles of its own zone: at zone borders, the equator, the antimeridian, and
    for a region much smaller than a tile."""
    region = shapely.box(*box)
    tiles = covering_tiles(region, 510, 10)
    ids = {tile.id for tile in tiles}
    assert len(ids) == len(tiles)
    for epsg, piece in zone_pieces(region):
        ground = in_zone(piece, epsg)
        covered = shapely.union_all([shapely.box(*t.grid.bounds) for t in tiles if t.grid.epsg == epsg])
        assert ground.difference(covered.buffer(1e-3)).area == pytest.approx(0, abs=1)
        assert all(shapely.box(*t.grid.bounds).intersects(ground) for t in tiles if t.grid.epsg == epsg)
    if box[2] - box[0] > 0.1 and box[0] > 0 and box[2] < 180:
        assert {t.id for t in lattice_tiles(region, 510, 10)} <= ids


def test_zones_share_no_ground():
    """A region over a zone's border is cut there: each point belongs to the zone of its longitude."""
    clip = clip_of([shapely.box(5.9, 50, 6.1, 50.1)])
    assert sorted(clip) == [32631, 32632]
    grid = PixelGrid(32631, 711_000.0, 5_549_000.0, 10.0, 900, 900)
    west = outside(grid, clip[32631])
    assert west is not None and 0 < west.mean() < 1
    from dwplus.grid import transformer

    rows, cols = np.nonzero(~west)
    lon, lat = transformer(32631, 4326).transform(grid.x0 + 10 * (cols + 0.5), grid.y0 - 10 * (rows + 0.5))
    assert {utm_epsg(a, b) for a, b in zip(lon[::500], lat[::500], strict=True)} == {32631}


def class_file(folder, epsg=32648, x0=500_000.0, seed=0, labels=None, size=512):
    grid = PixelGrid(epsg, x0, 1_300_000.0, 10.0, size, size)
    block = Block("one", grid, ())
    if labels is None:
        labels = np.random.default_rng(seed).integers(0, 9, (size // 8, size // 8)).repeat(8, 0).repeat(8, 1)
    path = folder / f"class_epsg{epsg}.tif"
    write_cog(path, LAYERS["class"], grid, [block], lambda _: labels[None].astype("uint8"), {"TITLE": "x"})
    return path, labels


def test_geotiffs_are_cogs_with_colours_and_names(tmp_path):
    cogeo = pytest.importorskip("rio_cogeo")
    path, labels = class_file(tmp_path, size=1024)
    valid, errors, warnings = cogeo.cog_validate(path, strict=True, quiet=True)
    assert valid and not errors and not warnings
    with rasterio.open(path) as raster:
        assert (raster.read(1) == labels).all() and raster.nodata == IGNORE and raster.overviews(1)
        table = raster.colormap(1)
        assert ["#{:02X}{:02X}{:02X}".format(*table[i][:3]) for i in range(9)] == list(PALETTE)
        assert [raster.tags(1)[f"class_{i}"] for i in range(9)] == list(CLASSES)
    names = ET.parse(f"{path}.aux.xml").findall(".//CategoryNames/Category")
    assert [n.text for n in names] == [c.replace("_", " ") for c in CLASSES]


def test_bytes_do_not_depend_on_the_order_of_blocks(tmp_path):
    blocks = [Block(f"{i}", PixelGrid(32648, 5e5 + 3000 * (i % 2), 1.3e6 - 3000 * (i // 2), 10.0, 300, 300), ())
              for i in range(4)]
    pixels = {b.id: np.random.default_rng(int(b.id)).integers(0, 100, (1, 300, 300)).astype("uint8") for b in blocks}
    for name, order in (("a.tif", blocks), ("b.tif", blocks[::-1])):
        write_cog(tmp_path / name, LAYERS["confidence"], extent(blocks), order, lambda b: pixels[b.id], {})
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_far_sites_of_a_zone_are_said_before():
    """Two blocks 2,900 km apart make a raster of 2,900 km; near ones, a region at one of them, and two zones do not."""
    north = Block("north", PixelGrid(32648, 500_000.0, 6_000_000.0, 10, 512, 512), ())
    south = Block("south", PixelGrid(32648, 200_000.0, 3_100_000.0, 10, 512, 512), ())
    line, = large_rasters([north, south], None)
    assert "zone 48N" in line and "305 x 2,905 km" in line and "8.9 thousand million pixels" in line
    assert large_rasters(blocks_of(2, 3), None) == []
    assert large_rasters([north, south], {32648: shapely.box(500_000, 5_999_000, 501_000, 6_000_000)}) == []
    other = Block("other", PixelGrid(32649, 200_000.0, 3_100_000.0, 10, 512, 512), ())
    assert large_rasters([north, other], None) == []


def test_mosaics(tmp_path):
    """Of one zone the mosaic is the file itself; of two, pixels lie where their zone says, to a pixel."""
    a, labels = class_file(tmp_path, 32648, 780_000.0)
    write_vrt(tmp_path / "one.vrt", LAYERS["class"], [a])
    with rasterio.open(tmp_path / "one.vrt") as raster:
        assert (raster.read(1) == labels).all() and raster.crs.to_epsg() == 32648
        assert raster.colormap(1)[6][:3] == (196, 40, 27)
    b, _ = class_file(tmp_path, 32649, 215_000.0, labels=np.full((512, 512), 4))
    write_vrt(tmp_path / "both.vrt", LAYERS["class"], [a, b])
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in [p for p in tmp_path.iterdir() if p.is_file()]:
        path.rename(moved / path.name)
    with rasterio.open(moved / "both.vrt") as raster:
        assert raster.crs.to_epsg() == 4326
        middle = PixelGrid(32649, 215_000.0, 1_300_000.0, 10.0, 512, 512).center
        assert next(raster.sample([middle]))[0] == 4
        rng = np.random.default_rng(0)
        hits = []
        for row, col in rng.integers(0, 512, (200, 2)):
            point = PixelGrid(32648, 780_000.0 + 10 * col, 1_300_000.0 - 10 * row, 10.0, 1, 1).center
            hits.append(next(raster.sample([point]))[0] == labels[row, col])
        assert np.mean(hits) > 0.85  # patches of 8 pixels: a pixel's shift costs an eighth at the most


def test_stac_item_is_valid(tmp_path):
    pystac = pytest.importorskip("pystac")
    path, _ = class_file(tmp_path)
    scene = Scene("s2", "s1", "", "sr", 1_625_000_000_000, 1_625_003_600_000, 1.0)
    block = Block("one", PixelGrid(32648, 500_000.0, 1_300_000.0, 10.0, 512, 512), (scene,))
    made = stac.item("demo", [block], {"class_48N": (LAYERS["class"], path)}, {}, "2026-01-01T00:00:00Z", {})
    item = pystac.Item.from_dict(json.loads(json.dumps(made)))
    assert item.assets["class_48N"].extra_fields["proj:code"] == "EPSG:32648"
    assert [c["name"] for c in made["assets"]["class_48N"]["classification:classes"]] == list(CLASSES)
    west, south, east, north = item.bbox
    assert 105 <= west < east < 105.06 and 11.7 < south < north < 11.8
    validation = pytest.importorskip("pystac.validation")
    validation.validate_dict({**made, "stac_extensions": []})  # the extensions' schemas lie on the internet


# --- areas -----------------------------------------------------------------------------------------------------------

def test_olofsson_worked_example():
    """The worked example of Olofsson et al. 2014, table 8 and section 5: four classes, 640 sample units."""
    counts = np.zeros((1, 9, 9))
    # Rows of the publication are map classes; ours are true classes.
    published = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    counts[0, :4, :4] = published.T
    mapped = np.zeros(9)
    mapped[:4] = [200_000, 150_000, 3_200_000, 6_450_000]
    found = areas.estimate(mapped, areas.Reference(counts, clustered=False))
    hectares = found.share[:4] * 10_000_000 * 0.09
    assert hectares == pytest.approx([21_158, 11_686, 285_770, 581_386], rel=1e-3)
    half = areas.Z95 * found.error[:4] * 10_000_000 * 0.09
    assert half == pytest.approx([6_158, 3_756, 15_510, 16_282], rel=2e-3)


def truth_and_map(seed, side=600):
    """A patchy true map and one with the errors of a classifier, some in patches, some alone."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(9, (side // 20, side // 20), p=[.05, .3, .1, .05, .2, .15, .05, .08, .02])
    truth = cells.repeat(20, 0).repeat(20, 1)
    wrong = (rng.random((side // 10, side // 10)) < 0.12).repeat(10, 0).repeat(10, 1) | (rng.random(truth.shape) < 0.05)
    return truth, np.where(wrong, np.array([2, 5, 4, 0, 2, 2, 7, 5, 7])[truth], truth)


def test_intervals_hold_the_true_areas_for_drawn_points():
    """50 draws of 100 points a map class: at least 90 % of the intervals hold the true area, as 95 % ones should."""
    truth, said = truth_and_map(0)
    true_share = np.bincount(truth.ravel(), minlength=9) / truth.size
    mapped = np.bincount(said.ravel(), minlength=9)
    places = [np.flatnonzero(said.ravel() == c) for c in range(9)]
    rng = np.random.default_rng(1)
    held = []
    for _ in range(50):
        counts = np.zeros((1, 9, 9))
        for c in range(9):
            drawn = rng.choice(places[c], min(100, len(places[c])), replace=False)
            np.add.at(counts[0], (truth.ravel()[drawn], c), 1)
        found = areas.estimate(mapped, areas.Reference(counts, clustered=False))
        held.append(np.abs(found.share - true_share) <= areas.Z95 * found.error)
    assert np.mean(held) >= 0.90
    assert np.abs(mapped / mapped.sum() - true_share).max() > 0.02  # the counted areas are off by more


def test_intervals_hold_the_true_areas_for_drawn_blocks():
    """Whole blocks of pixels as an evaluation has them: neighbours err alike, and the intervals know it."""
    truth, said = truth_and_map(2, side=1200)
    true_share = np.bincount(truth.ravel(), minlength=9) / truth.size
    mapped = np.bincount(said.ravel(), minlength=9)
    step = 60
    every = np.zeros((400, 9, 9))
    for k, (i, j) in enumerate(np.ndindex(20, 20)):
        here = np.s_[i * step:(i + 1) * step, j * step:(j + 1) * step]
        np.add.at(every[k], (truth[here].ravel(), said[here].ravel()), 1)
    rng = np.random.default_rng(3)
    held, naive = [], []
    for _ in range(50):
        counts = every[rng.choice(400, 60, replace=False)]
        found = areas.estimate(mapped, areas.Reference(counts, clustered=True))
        held.append(np.abs(found.share - true_share) <= areas.Z95 * found.error)
        plain = areas.estimate(mapped, areas.Reference(counts.sum(axis=0, keepdims=True), clustered=False))
        naive.append(np.abs(plain.share - true_share) <= areas.Z95 * plain.error)
    assert np.mean(held) >= 0.90
    assert np.mean(naive) < 0.6  # pixels taken for independent samples would promise far too much


def test_classes_without_reference_leave_the_errors_unknown():
    mapped = np.array([10, 10, 0, 0, 0, 0, 0, 0, 0])
    counts = np.zeros((3, 9, 9))
    counts[:, 0, 0] = 5
    for clustered in (True, False):
        found = areas.estimate(mapped, areas.Reference(counts, clustered))
        assert found.share == pytest.approx([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0]) and np.isnan(found.error).all()
    table = areas.table(mapped, 100.0, areas.Reference(counts, True))
    assert table["low_km2"].isna().all() and table["adjusted_km2"].sum() == pytest.approx(20 * 100 / 1e6)


def test_references_are_read(tmp_path):
    path = tmp_path / "points.csv"
    pd.DataFrame({"true": ["water", "trees", 1], "map": ["water", "water", "trees"]}).to_csv(path, index=False)
    found = areas.read_reference(path)
    assert not found.clustered and found.confusion[0, 1, 0] == 1 and found.confusion.sum() == 3
    pd.DataFrame({"block": ["a", "a", "b"], "true": ["water"] * 3, "map": ["water", "bare", "water"],
                  "pixels": [5, 2, 7]}).to_csv(path, index=False)
    found = areas.read_reference(path)
    assert found.clustered and found.confusion.shape == (2, 9, 9) and found.confusion[0, 0, 7] == 2
    path.write_text("true,map\nwater,forest\n")
    with pytest.raises(InputError, match="'forest' is no class"):
        areas.read_reference(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns true and map"):
        areas.read_reference(path)


@pytest.mark.parametrize(("text", "words"), [
    ("block,true,map,pixels\na,water,water,5\n,water,trees,2\n", ["block is blank", "row 2", "line 3"]),
    ("true,map\nwater,water\nwater,water\n,trees\n", ["true is blank", "row 3"]),
    ("true,map\nwater,\n", ["map is blank", "row 1"]),
    ("true,map\nwater, \n,trees\n", ["true is blank", "row 2"]),
    ("block,true,map,pixels\na,water,water,\n", ["pixels is blank", "row 1"]),
    ("block,true,map,pixels\na,water,water,5\na,water,water,-1\n", ["pixels '-1'", "row 2"]),
    ("block,true,map,pixels\na,water,water,many\n", ["pixels 'many'", "row 1"]),
    ("true,map\nwater,water\nwater,forest\n", ["'forest' is no class", "row 2"]),
    ("true,map\n", ["holds no row"]),
])
def test_blanks_in_a_reference_are_refused_by_row(tmp_path, text, words):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        areas.read_reference(path)
    for word in words:
        assert word in str(caught.value)


def test_every_table_of_areas_names_its_design():
    mapped = np.array([10, 10, 0, 0, 0, 0, 0, 0, 0])
    counts = np.zeros((2, 9, 9))
    counts[:, 0, 0] = counts[:, 1, 1] = 5
    assert set(areas.table(mapped, 100.0, None)["design"]) == {"pixel count, not an estimate"}
    moved = areas.transferred(mapped, 100.0, areas.Reference(counts, True))
    assert "not an estimate" in moved["design"][0] and not {"low_km2", "adjusted_km2"} & set(moved)
    few = areas.table(mapped, 100.0, areas.Reference(counts[:1], False))
    assert "stratified" in few["design"][0] and (few["high_km2"] > few["low_km2"]).all(), "5 of 5 is no certainty"


def test_areas_by_polygon(tmp_path):
    """Two halves of a map: each has the pixels whose centres lie in it, together all."""
    path, labels = class_file(tmp_path)
    grid = PixelGrid(32648, 500_000.0, 1_300_000.0, 10.0, 512, 512)
    west, south, east, north = grid.bounds
    halves = [shapely.box(west, south, 502_000, north), shapely.box(502_000, south, east, north)]
    from dwplus.grid import transformer

    shapes = [shapely.transform(shapely.segmentize(h, 100), lambda xy: np.column_stack(
        transformer(32648, 4326).transform(xy[:, 0], xy[:, 1]))) for h in halves]
    file = tmp_path / "halves.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "geometry": shapely.geometry.mapping(s), "properties": {"name": n}}
        for s, n in zip(shapes, ("west", "east"), strict=True)]}))
    names, read = areas.read_polygons(file)
    assert names == ["west", "east"]
    found = areas.count_by_polygon([path], names, read)
    assert (found.loc["west"].to_numpy() == areas.count(labels[:, :200])).all()
    assert found.to_numpy().sum() == labels.size
    with pytest.raises(InputError, match="no property 'NAME_9'"):
        areas.read_polygons(file, "NAME_9")


def test_change_between_maps(tmp_path):
    """Only ground that both maps show counts, wherever their corners lie."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    before = np.zeros((512, 512), int)
    before[:, :100] = IGNORE
    after = np.ones((512, 512), int)
    a, _ = class_file(old, labels=before)
    b, _ = class_file(new, x0=500_000.0 + 2560, labels=after)
    found = areas.change([a], [b])
    assert found.loc["water", "trees"] == pytest.approx(512 * 256 * 100 / 1e6)
    assert found.to_numpy().sum() == found.loc["water", "trees"]
    other, _ = class_file(new, epsg=32649)
    with pytest.raises(InputError, match="share no pixel"):
        areas.change([a], [other])


def test_the_spec_of_a_map_is_that_of_the_training_where_the_region_is_silent():
    trained = json.loads(make_spec({"name": "t", "region": "sample", "windows": [["2020-01-01", "2020-02-01"]],
                                    "sentinel1": {"policy": "mean"}, "tile": {"size": 128, "grid": "label"},
                                    "sentinel2": {"bands": ["B2", "B3"]}}).to_json())
    region = make_spec({"name": "r", "region": {"bbox": [1, 2, 3, 4]}, "windows": [["2021-01-01", "2021-02-01"]],
                        "sentinel1": {"orbit": "ascending"}, "sampling": {"per_biome": 3}})
    spec = map_spec(region, trained, None)
    assert spec.sentinel2.bands == ("B2", "B3") and spec.tile.size == 128 and spec.tile.grid == "utm"
    assert spec.sentinel1.policy == "nearest" and spec.sentinel1.orbit == "ascending"
    assert spec.sampling.per_biome is None and spec.labels.per_window == "all"
    assert map_spec(region, trained, 1).labels.per_window == "best"


def test_scale_bars_are_round():
    assert [round_length(v) for v in (1, 9.9, 37, 1234, 5000, 60_000)] == [1, 5, 20, 1000, 5000, 50_000]
