"""A run in other classes than Dynamic World's, from its store to a map, its change, its sample and its assessment."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from dwplus.earth import connect
from dwplus.errors import InputError
from dwplus.maps.sample import Plan
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store.legend import attributes_of, legend_from
from dwplus.store.relabel import relabel
from dwplus.taxonomy import IGNORE
from dwplus.taxonomy.tables import TABLES
from model.checkpoint import save
from model.data import statistics
from model.networks.registry import build
from pipelines import map_assess, map_change, map_sample
from pipelines.map_region import Options, run
from pipelines.view import subject_of

SIZE = 96
REGION, WINDOW = "9.183,51.190,9.213,51.209", ["2021-06-01", "2021-07-15"]
LEGEND = legend_from(TABLES["esa-worldcover"])


@pytest.fixture(scope="module", autouse=True)
def steady():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Four tiles of the sample planet, and the same in WorldCover's and in CloudLULC's classes."""
    from dwplus.earth.session import EarthConfig
    from dwplus.export.run import export

    folder = tmp_path_factory.mktemp("stores")
    spec = make_spec({"name": "tiny", "region": {"bbox": [float(v) for v in REGION.split(",")]}, "windows": [WINDOW],
                      "tile": {"size": SIZE}, "quality": {"min_label_fraction": 0}, "store": {"shard_tiles": 4}})
    write_plan(make_plan(connect(), spec), folder / "plan.parquet")
    export(folder / "plan.parquet", folder / "dw.zarr", EarthConfig())
    relabel(folder / "dw.zarr", folder / "cover.zarr", "esa-worldcover")
    relabel(folder / "dw.zarr", folder / "six.zarr", "cloudlulc")
    return folder, spec


def a_run(folder, spec, store, legend, seed):
    """A run whose network has random weights, wide enough for several classes to win somewhere."""
    torch.manual_seed(seed)
    options = {"variant": "small", "s2_bands": 10, "s1_bands": 2, "classes": len(legend)}
    net = build("specsar_former", **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    save(folder / "best.safetensors", {f"net.{k}": v for k, v in net.state_dict().items()}, {
        "model": {"name": "specsar_former", "options": options}, "s2_bands": list(spec.sentinel2.bands),
        "s1_bands": ["VV", "VH"], "normalisation": statistics(store, max_tiles=8).to_dict(), "epoch": 1,
        "specs": [json.loads(spec.to_json())], **attributes_of(legend)})
    return folder


@pytest.fixture(scope="module")
def maps(stores, tmp_path_factory):
    """Two maps of one table from two networks, of the Earth, and their runs."""
    folder, spec = stores
    out = tmp_path_factory.mktemp("maps")
    for seed in (0, 1):
        a_run(out / f"run{seed}", spec, folder / "cover.zarr", LEGEND, seed)
        assert run(options(out / f"run{seed}", out / f"map{seed}", layers=("probabilities",))) == 0
    return out


def options(trained, out, **more):
    return Options(**{"region": REGION, "start": WINDOW[0], "end": WINDOW[1], "run": str(trained), "out": str(out),
                      "margin": 8, "ramp": 16, **more})


def classes_in(folder):
    with rasterio.open(next(folder.glob("class_epsg*.tif"))) as raster:
        return raster.read(1), raster.colormap(1), raster.tags(1)


def test_a_map_is_in_the_runs_own_classes(maps):
    label, paint, tags = classes_in(maps / "map0")
    shown = label[label != IGNORE]
    assert len(shown) and shown.max() < 11 and len(np.unique(shown)) > 2
    assert [tags[f"class_{i}"] for i in range(11)] == list(LEGEND.classes)
    assert [paint[i][:3] for i in range(11)] == [tuple(bytes.fromhex(c[1:])) for c in LEGEND.colours]
    with rasterio.open(next((maps / "map0").glob("probabilities_epsg*.tif"))) as raster:
        assert raster.descriptions == LEGEND.classes
        chance = raster.read()
    valid = label != IGNORE
    assert (np.take_along_axis(chance, np.where(valid, label, 0)[None].astype(int), 0)[0] == chance.max(axis=0))[
        valid].all(), "a band a class: the class shown is the one of the highest"
    table = pd.read_csv(maps / "map0/areas.csv").set_index("class")["mapped_km2"]
    assert list(table.index) == list(LEGEND.classes)
    assert table.tolist() == pytest.approx((np.bincount(shown, minlength=11) * 1e-4).tolist())
    facts = json.loads((maps / "map0/map.json").read_text())
    assert facts["legend"]["classes"] == list(LEGEND.classes) and facts["legend"]["class_table"] == "esa-worldcover"
    assert facts["legend"]["class_codes"] == list(TABLES["esa-worldcover"].codes)
    item = json.loads((maps / "map0/item.json").read_text())
    told = next(a for key, a in item["assets"].items() if key.startswith("class_") and "classification:classes" in a)
    assert [c["name"] for c in told["classification:classes"]] == list(LEGEND.classes)
    for page in ("index.html", "map.html"):
        text = (maps / "map0" / page).read_text()
        assert "permanent water" in text or "permanent_water" in text
        assert "flooded" not in text


def test_change_sample_and_assessment_follow(maps, tmp_path, capsys):
    """The reference of every point is the map's own class: all is right, and areas are those counted."""
    assert map_change.run(str(maps / "map0"), str(maps / "map1"), str(tmp_path / "c.csv")) == 0
    before, after = (classes_in(maps / f"map{i}")[0] for i in (0, 1))
    both = (before != IGNORE) & (after != IGNORE)
    found = pd.read_csv(tmp_path / "c.csv", index_col="before").to_numpy()
    want = np.bincount(before[both].astype(int) * 11 + after[both], minlength=121).reshape(11, 11)
    np.testing.assert_allclose(found, want * 1e-4, atol=1e-6)
    assert map_sample.run(str(tmp_path / "c"), Plan(60), None, str(tmp_path / "change.csv"), False, False) == 0
    assert map_sample.run(str(maps / "map0"), Plan(60), None, str(tmp_path / "s.csv"), True, True) == 0
    assert "60 of 60 points with pictures" in capsys.readouterr().out
    for name, folder in (("s", maps / "map0"), ("change", tmp_path / "c")):
        rows = pd.read_csv(tmp_path / f"{name}.csv", dtype=str, keep_default_na=False)
        rows.assign(reference=rows["map"]).to_csv(tmp_path / f"{name}.labelled.csv", index=False)
        assert map_assess.run(map_assess.Options(str(folder), [str(tmp_path / f"{name}.labelled.csv")])) == 0
        facts = json.loads((tmp_path / f"{name}.labelled.assessment/assessment.json").read_text())
        assert facts["overall"]["value"] == pytest.approx(1.0)
    assert [c["class"] for c in json.loads((tmp_path / "s.labelled.assessment/assessment.json").read_text())[
        "classes"]] == list(LEGEND.classes)


def test_references_and_transfers_are_in_the_runs_classes(maps, tmp_path):
    shown = [LEGEND.classes[i] for i in np.unique(classes_in(maps / "map0")[0]) if i != IGNORE]
    points = tmp_path / "points.csv"
    pd.DataFrame({"true": shown * 3, "map": shown * 3}).to_csv(points, index=False)
    assert run(options(maps / "run0", tmp_path / "m", reference=str(points))) == 0
    table = pd.read_csv(tmp_path / "m/areas.csv")
    np.testing.assert_allclose(table["adjusted_km2"], table["mapped_km2"], atol=1e-6)
    points.write_text("true,map\ntrees,trees\n")
    with pytest.raises(InputError, match="true 'trees' is no class.*classes are tree_cover"):
        run(options(maps / "run0", tmp_path / "n", reference=str(points)))
    assert not list(tmp_path.glob("n*"))


def test_a_store_is_mapped_in_the_runs_classes_whatever_its_labels_are(maps, stores, tmp_path, capsys):
    """Two stores of one ground, labels in nine and in eleven classes: the same map. Where classes were lost by a table,
    a pixel without a label is no cloud."""
    same = {}
    for name in ("dw", "cover"):
        assert run(Options(None, None, None, str(maps / "run0"), str(tmp_path / name), str(stores[0] / f"{name}.zarr"),
                           margin=8, ramp=16)) == 0
        same[name] = classes_in(tmp_path / name)[0]
    assert (same["dw"] == same["cover"]).all() and (same["dw"] != IGNORE).any()
    capsys.readouterr()
    assert run(Options(None, None, None, str(maps / "run0"), str(tmp_path / "six"), str(stores[0] / "six.zarr"),
                       margin=8, ramp=16)) == 0
    assert "clouds are not masked: store" in (said := capsys.readouterr().out) and "snow_and_ice" in said


def test_the_view_names_a_maps_own_classes(maps, stores):
    pytest.importorskip("bokeh")
    from bokeh.document import Document
    from bokeh.models import Div

    from dwplus.report.view.maps import MapPage

    page, document = MapPage(maps / "map0"), Document()
    page.into(document)
    text = " ".join(div.text for div in document.select({"type": Div}))
    assert "permanent water" in text and "flooded" not in text
    with pytest.raises(InputError, match="has classes water trees .*was trained on tree_cover .*relabel"):
        subject_of(str(maps / "run0"), str(stores[0] / "dw.zarr"))
    assert subject_of(str(maps / "run0"), str(stores[0] / "cover.zarr")).predicts


@pytest.mark.parametrize(("name", "missing"), [("cloudlulc-set", "coordinates"), ("dfc2020", "dates")])
def test_runs_on_imported_sets_of_sentinel_pixels_map_the_earth(name, missing, tmp_path):
    """In the set's own classes, with the very bands it has; the imported store itself cannot lie on a map."""
    from dwplus.importers import import_set
    from dwplus.store import layout
    from tests.public_sets import MAKERS

    store = tmp_path / "set.zarr"
    import_set(name, MAKERS[name](tmp_path / "set"), store)
    attrs = layout.open_root(store).attrs.asdict()
    spec, count = attrs["spec"], len(attrs["classes"])
    choices = {"variant": "small", "s2_bands": len(spec["sentinel2"]["bands"]), "s1_bands": 2, "classes": count}
    torch.manual_seed(0)
    net = build("specsar_former", **choices)
    save(tmp_path / "run/best.safetensors", {f"net.{k}": v for k, v in net.state_dict().items()}, {
        "model": {"name": "specsar_former", "options": choices}, "s2_bands": spec["sentinel2"]["bands"],
        "s1_bands": ["VV", "VH"], "normalisation": statistics(store, max_tiles=8).to_dict(), "epoch": 1,
        "specs": [spec], **{key: attrs[key] for key in ("classes", "class_codes", "class_table", "palette")}})
    with pytest.raises(InputError, match=f"have no {missing}"):
        run(Options(None, None, None, str(tmp_path / "run"), str(tmp_path / "m"), str(store)))
    assert not list(tmp_path.glob("m*"))
    small = "9.183,51.190,9.193,51.196"
    assert run(options(tmp_path / "run", tmp_path / "m", region=small)) == 0
    label, _, tags = classes_in(tmp_path / "m")
    assert label[label != IGNORE].max() < count and [tags[f"class_{i}"] for i in range(count)] == attrs["classes"]
    planned = json.loads((tmp_path / "m/map.json").read_text())["settings"]["spec"]
    assert planned["sentinel2"]["bands"] == spec["sentinel2"]["bands"] and planned["tile"]["size"] == 64


def test_a_run_on_pictures_is_refused(tmp_path):
    from dwplus.importers import import_set
    from dwplus.store import layout
    from tests.public_sets import MAKERS

    store = tmp_path / "set.zarr"
    import_set("pie-rgb-sar", MAKERS["pie-rgb-sar"](tmp_path / "set"), store)
    attrs = layout.open_root(store).attrs.asdict()
    choices = {"s2_bands": 3, "s1_bands": 1, "classes": len(attrs["classes"])}
    net = build("pixel_mlp", **choices)
    save(tmp_path / "run/best.safetensors", {f"net.{k}": v for k, v in net.state_dict().items()}, {
        "model": {"name": "pixel_mlp", "options": choices}, "s2_bands": attrs["spec"]["sentinel2"]["bands"],
        "s1_bands": attrs["spec"]["sentinel1"]["bands"], "normalisation": statistics(store, max_tiles=4).to_dict(),
        "epoch": 1, "specs": [attrs["spec"]], **{k: attrs[k] for k in ("classes", "class_codes", "palette")}})
    with pytest.raises(InputError, match="trained on pie-rgb-sar, and Earth Engine cannot give its band .*grey values"):
        run(options(tmp_path / "run", tmp_path / "m"))
    assert not list(tmp_path.glob("m*"))
