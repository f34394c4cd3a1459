"""Maps in other classes than Dynamic World's: rasters, change, samples and pages follow the map's own table."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.importers import Options, data_set
from dwplus.maps import areas, labelled, labelling, sample, stac
from dwplus.maps.blocks import UNIT, Block, Scene, WindowShape, blend, finish
from dwplus.maps.kinds import codes_of
from dwplus.maps.legend import open_map
from dwplus.maps.plan import map_spec
from dwplus.maps.raster import layers_of, write_cog, write_vrt
from dwplus.spec import make_spec
from dwplus.store.legend import DYNAMIC_WORLD, attributes_of, legend_from
from dwplus.taxonomy import IGNORE
from dwplus.taxonomy.tables import TABLES, ClassTable
from pipelines import map_change

WORLDCOVER = legend_from(TABLES["esa-worldcover"])
#: More classes than a byte has room for pairs of.
MANY = legend_from(ClassTable("fields", tuple(f"crop_{i}" for i in range(20)), tuple(range(20)),
                              tuple(f"#{10 * i:02X}8040" for i in range(20))))
GRID = PixelGrid(32648, 500_000.0, 1_300_000.0, 10.0, 300, 300)


def map_at(folder, labels, legend):
    """A map's folder as far as change, samples and assessments read it."""
    folder.mkdir()
    layer = layers_of(legend)["class"]
    path = folder / "class_epsg32648.tif"
    write_cog(path, layer, GRID, [Block("a", GRID, ())], lambda _: labels[None].astype("uint8"), {"TITLE": "x"})
    write_vrt(folder / "class.vrt", layer, [path])
    more = {} if legend == DYNAMIC_WORLD else {"legend": attributes_of(legend)}
    (folder / "map.json").write_text(json.dumps({"settings": {}, "synthetic": False, **more}))
    return path


def labels_of(legend, seed):
    """Square fields of every class, a corner without data."""
    rng = np.random.default_rng(seed)
    fields = rng.permutation(np.arange(225) % len(legend)).reshape(15, 15)
    labels = np.kron(fields, np.ones((20, 20), int))
    labels[:10, :10] = IGNORE
    return labels


@pytest.mark.parametrize(("legend", "base", "dtype"), [(DYNAMIC_WORLD, 10, "uint8"), (WORLDCOVER, 16, "uint8"),
                                                       (MANY, 256, "uint16")])
def test_codes_of_change_are_unique_and_readable_back(legend, base, dtype):
    codes, n = codes_of(legend), len(legend)
    before, after = (a.ravel() for a in np.indices((n, n)))
    found = codes.of(before, after)
    assert found.dtype == dtype and len(np.unique(found)) == n * n and codes.nodata not in found
    assert codes.base == base and [codes.pair(int(c)) for c in found] == list(zip(before, after, strict=True))
    assert codes.of(np.array([IGNORE, 1]), np.array([1, IGNORE])).tolist() == [codes.nodata] * 2
    assert codes.colours()[base + 0] == tuple(bytes.fromhex(legend.colours[0][1:])), "what changed: what it became"


def test_rasters_name_and_paint_their_own_classes(tmp_path):
    labels = labels_of(WORLDCOVER, 0)
    path = map_at(tmp_path / "m", labels, WORLDCOVER)
    with rasterio.open(path) as raster:
        assert (raster.read(1) == labels).all()
        paint = raster.colormap(1)
        assert [paint[i][:3] for i in range(11)] == [tuple(bytes.fromhex(c[1:])) for c in WORLDCOVER.colours]
        assert [raster.tags(1)[f"class_{i}"] for i in range(11)] == list(WORLDCOVER.classes)
    said = [name.replace("_", " ") for name in WORLDCOVER.classes]
    for file in (path.with_name(f"{path.name}.aux.xml"), tmp_path / "m/class.vrt"):
        assert [n.text for n in ET.parse(file).getroot().iter("Category")] == said
    assert layers_of(WORLDCOVER)["probabilities"].bands == WORLDCOVER.classes


def test_an_item_tells_its_classes(tmp_path):
    path = map_at(tmp_path / "m", labels_of(WORLDCOVER, 0), WORLDCOVER)
    scene = Scene("s2", "s1", "", "sr", 1_600_000_000_000, 1_600_000_000_000, 1.0)
    made = stac.item("demo", [Block("a", GRID, (scene,))], {"class_48N": (layers_of(WORLDCOVER)["class"], path)}, {},
                     "2026-01-01T00:00:00Z", {}, legend=WORLDCOVER)
    told = made["assets"]["class_48N"]["classification:classes"]
    assert [(c["value"], c["name"]) for c in told] == list(enumerate(WORLDCOVER.classes))
    assert "11 land-cover classes of esa-worldcover" in made["properties"]["description"]


def test_windows_of_any_number_of_classes_are_blended():
    """Against the plain weighted mean of two windows."""
    shape, rng = WindowShape(0, 8), np.random.default_rng(0)
    grids = [PixelGrid(32648, 0.0 + 320 * i, 0.0, 10.0, 32, 32) for i in range(2)]
    windows = {str(i): (shape.support(g), (rng.dirichlet(np.ones(13), shape.support(g).shape).transpose(2, 0, 1)
                                           * UNIT).astype("uint16")) for i, g in enumerate(grids)}
    total, weight = blend(grids[0], windows, shape)
    assert total.shape == (13, 32, 32)
    layers = finish(grids[0], windows, shape, True)
    assert layers.shape == (15, 32, 32) and (layers[0] == total.argmax(axis=0)).all() and weight.min() > 0
    assert (layers[1] == layers[2:].max(axis=0)).all()


@pytest.mark.parametrize("legend", [WORLDCOVER, MANY], ids=["worldcover", "many"])
def test_change_between_maps_of_one_table(tmp_path, legend, capsys):
    """Areas, raster and names, against counts made here; a sample of the change is drawn and assessed."""
    old, new = labels_of(legend, 1), labels_of(legend, 1)
    new[100:220, 40:200] = 3
    paths = [map_at(tmp_path / name, labels, legend) for name, labels in (("a", old), ("b", new))]
    assert map_change.run(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c.csv")) == 0
    table = pd.read_csv(tmp_path / "c.csv", index_col="before")
    assert list(table.columns) == list(legend.classes) == list(table.index)
    both = (old != IGNORE) & (new != IGNORE)
    for i, name in enumerate(legend.classes):
        assert table.loc[name, legend.classes[3]] == pytest.approx((both & (old == i) & (new == 3)).sum() * 1e-4)
    shown = open_map(tmp_path / "c")
    assert shown.legend == legend and shown.change
    counts = dict(zip(shown.names, shown.counts(), strict=True))
    assert sum(counts.values()) == both.sum()
    moved = {f"{legend.classes[i]} to {legend.classes[3]}": int((both & (old == i) & (new == 3)).sum())
             for i in range(len(legend)) if i != 3}
    often = {name: count for name, count in moved.items() if count >= 0.005 * both.sum()}
    assert often and {name: counts[name] for name in often} == often
    page = (tmp_path / "c/index.html").read_text()
    assert legend.classes[3].replace("_", " ") in page and "trees" not in page
    assert json.loads((tmp_path / "c/change.json").read_text())["classes"] == list(legend.classes)
    frame = sample.draw(shown, sample.Plan(120), shown.counts())
    rows = pd.DataFrame(frame.drop(columns="geometry")).astype(str).assign(reference=frame["map"])
    found = labelled.labelled(rows, shown, shown.counts(), "here")
    assert (found.points.true == found.points.mapped).all() and len(found.points.true) == 120
    assert len(paths) == 2 and "areas: pixel count" in capsys.readouterr().out


def test_maps_of_different_tables_have_no_change(tmp_path):
    map_at(tmp_path / "a", labels_of(WORLDCOVER, 1), WORLDCOVER)
    map_at(tmp_path / "b", labels_of(DYNAMIC_WORLD, 1), DYNAMIC_WORLD)
    with pytest.raises(InputError, match="a has the classes of esa-worldcover .*b those of dynamic-world .*one class "
                                         "table"):
        map_change.run(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c.csv"))
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b"}


def test_samples_pages_and_references_take_the_maps_classes(tmp_path):
    labels = labels_of(WORLDCOVER, 2)
    map_at(tmp_path / "m", labels, WORLDCOVER)
    shown = open_map(tmp_path / "m")
    counts = shown.counts()
    assert counts.tolist() == np.bincount(labels[labels != IGNORE], minlength=11).tolist()
    frame = sample.draw(shown, sample.Plan(110), counts)
    assert set(frame["map"]) == set(WORLDCOVER.classes)
    labelling.write_page(shown, frame, {}, tmp_path / "s.html")
    page = (tmp_path / "s.html").read_text()
    assert all(f'"name": "{name}"' in page or f'"name":"{name}"' in page for name in WORLDCOVER.classes)
    assert "Keys: 1 to 9 and letters classes" in page and "flooded_vegetation" not in page
    rows = pd.DataFrame(frame.drop(columns="geometry")).astype(str)
    by_number = rows.assign(reference=[str(WORLDCOVER.classes.index(name)) for name in rows["map"]])
    assert (labelled.classes_of(by_number, "reference", shown, "here") ==
            labelled.classes_of(rows.assign(reference=rows["map"]), "reference", shown, "here")).all()
    with pytest.raises(InputError, match="reference 'trees' is no class, in row 1 .*classes are tree_cover, "):
        labelled.classes_of(rows.assign(reference="trees").iloc[:1], "reference", shown, "here")
    (tmp_path / "r.csv").write_text("true,map\nmangroves,water\n")
    with pytest.raises(InputError, match="map 'water' is no class.*permanent_water.*0 to 10"):
        areas.read_reference(tmp_path / "r.csv", WORLDCOVER.classes)
    halves = [shapely.box(104, 11.7, 105.5, 11.8)]
    found = areas.count_by_polygon(shown.paths, ["all"], halves, WORLDCOVER.classes)
    assert found.loc["all"].tolist() == counts.tolist()
    table = areas.table(counts, 100.0, None, WORLDCOVER.classes)
    assert table["class"].tolist() == list(WORLDCOVER.classes)
    assert table["mapped_km2"].sum() == pytest.approx(counts.sum() * 1e-4)


def test_a_map_that_says_no_classes_is_dynamic_worlds_and_a_broken_word_is_refused(tmp_path):
    map_at(tmp_path / "m", labels_of(DYNAMIC_WORLD, 2), DYNAMIC_WORLD)
    assert open_map(tmp_path / "m").legend == DYNAMIC_WORLD
    for wrong, words in (({"classes": []}, "1 to 254 different names"), ([1], "must be a mapping")):
        (tmp_path / "m/map.json").write_text(json.dumps({"legend": wrong}))
        with pytest.raises(InputError, match=words):
            open_map(tmp_path / "m")
    (tmp_path / "m/map.json").write_text("[]")
    with pytest.raises(InputError, match="must hold a mapping"):
        open_map(tmp_path / "m")


def imported(optical, radar, units, size=64):
    return {"kind": "import", "name": "theirs", "sentinel2": {"bands": optical, "product": "unknown"},
            "sentinel1": {"bands": radar, "product": "unknown"}, "band_units": units,
            "tile": {"size": size, "scale": 10.0, "edge": "pad"}, "store": {}}


REGION = make_spec({"name": "r", "region": {"bbox": [9, 51, 9.1, 51.1]}, "windows": [["2021-06-01", "2021-07-01"]]})


@pytest.mark.parametrize(("name", "product"), [("dfc2020", "toa"), ("sen12ms", "toa"), ("cloudlulc-set", "sr"),
                                               ("mmearth", "sr")])
def test_sets_of_sentinel_pixels_can_be_mapped(name, product):
    """The Earth gives the very bands, in the set's order, from the product that holds them."""
    known = data_set(name, Path(), Options())
    units = {**dict.fromkeys(known.optical_bands, "reflectance"), **dict.fromkeys(known.radar_bands, "dB")}
    spec = map_spec(REGION, imported(list(known.optical_bands), list(known.radar_bands), units), 1)
    assert spec.sentinel2.bands == known.optical_bands and spec.sentinel2.product == product
    assert spec.s1_bands == ("VV", "VH") and spec.tile.size == 64 and spec.tile.grid == "utm"


@pytest.mark.parametrize(("optical", "radar", "units", "words"), [
    (["blue", "nir"], ["SAR"], {"blue": "display", "nir": "display"}, "band blue: its values are grey values"),
    (["B2", "B3"], ["SAR"], {"B2": "reflectance", "B3": "reflectance", "SAR": "display"}, "band SAR: its values are "),
    (["red", "nir"], ["VV", "VH"], {"red": "reflectance"}, "band red: Sentinel-2 has B1, B2"),
    (["B2", "B3", "B4", "B8"], ["VV"], {"VV": "dB"}, "radar bands VV: a map takes VV and VH in dB"),
    (["B2", "B3"], ["VH", "VV"], {"VV": "dB"}, "radar bands VH, VV"),
])
def test_bands_that_no_earth_gives_are_refused_with_the_reason(optical, radar, units, words):
    with pytest.raises(InputError, match=f"trained on theirs, and Earth Engine cannot give its {words}"):
        map_spec(REGION, imported(optical, radar, units), 1)
