"""From a trained run to a map, as a user goes: on the sample planet, and from a store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from dwplus.earth import connect
from dwplus.errors import InputError, RejectedError, TransientError
from dwplus.grid import PixelGrid
from dwplus.maps.blocks import Block, Frame, Scene, WindowShape, overlap
from dwplus.maps.inputs import WindowPixels
from dwplus.maps.raster import extent
from dwplus.maps.sample import Plan
from dwplus.maps.work import Work
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.taxonomy import CLASSES, IGNORE
from model.checkpoint import load, save
from model.data import statistics
from model.mapping import Job, map_blocks
from model.networks.registry import build
from model.predict import Predictor, map_array
from pipelines import map_sample
from pipelines.map_region import Options, run
from tests.commands import PATIENCE

ROOT = Path(__file__).parents[2]
SIZE = 96
#: On the site in Hesse: three by three tiles have their centre in it, four by four touch it.
REGION = "9.183,51.190,9.226,51.217"
WINDOW = ["2021-06-01", "2021-07-15"]


@pytest.fixture(scope="module", autouse=True)
def steady():
    before, epoch = torch.get_num_threads(), os.environ.get("SOURCE_DATE_EPOCH")
    torch.set_num_threads(1)
    os.environ["SOURCE_DATE_EPOCH"] = "1770000000"
    yield
    torch.set_num_threads(before)
    os.environ.pop("SOURCE_DATE_EPOCH") if epoch is None else os.environ.update(SOURCE_DATE_EPOCH=epoch)


@pytest.fixture(scope="module")
def spec():
    west, south, east, north = map(float, REGION.split(","))
    return make_spec({"name": "tiny", "region": {"bbox": [west, south, east, north]}, "windows": [WINDOW],
                      "tile": {"size": SIZE}, "labels": {"per_window": "all"}, "quality": {"min_label_fraction": 0},
                      "store": {"shard_tiles": 4}})


@pytest.fixture(scope="module")
def store(spec, tmp_path_factory):
    """The same ground, exported."""
    from dwplus.earth.session import EarthConfig
    from dwplus.export.run import export

    folder = tmp_path_factory.mktemp("store")
    write_plan(make_plan(connect(), spec), folder / "plan.parquet")
    export(folder / "plan.parquet", folder / "tiny.zarr", EarthConfig())
    return folder / "tiny.zarr"


@pytest.fixture(scope="module")
def trained(store, spec, tmp_path_factory):
    """A run whose network has random weights: where a map comes from does not depend on how good it is."""
    torch.manual_seed(0)
    options = {"variant": "small", "s2_bands": 10, "s1_bands": 2}
    net = build("specsar_former", **options)
    with torch.no_grad():
        for parameter in net.parameters():  # wide enough for several classes to win somewhere
            parameter.mul_(1.5)
    folder = tmp_path_factory.mktemp("runs") / "first"
    save(folder / "best.safetensors", {f"net.{k}": v for k, v in net.state_dict().items()}, {
        "model": {"name": "specsar_former", "options": options}, "s2_bands": list(spec.sentinel2.bands),
        "s1_bands": ["VV", "VH"], "normalisation": statistics(store, max_tiles=8).to_dict(), "epoch": 1,
        "specs": [json.loads(spec.to_json())]})
    return folder


def options(trained, out, **more):
    return Options(**{"region": REGION, "start": WINDOW[0], "end": WINDOW[1], "run": str(trained), "out": str(out),
                      "margin": 8, "ramp": 16, **more})


@pytest.fixture(scope="module")
def mapped(trained, tmp_path_factory):
    """A map with every option."""
    out = tmp_path_factory.mktemp("maps") / "hesse"
    polygons = out.parent / "halves.geojson"
    west, south, east, north = map(float, REGION.split(","))
    middle = (west + east) / 2
    polygons.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": [
            [[a, south - 1], [b, south - 1], [b, north + 1], [a, north + 1], [a, south - 1]]]}}
        for name, a, b in (("west", west - 1, middle), ("east", middle, east + 1))]}))
    assert run(options(trained, out, layers=("probabilities", "sources"), dates="2", polygons=str(polygons))) == 0
    return out


def tifs(folder):
    """Contents of a map's files, by name."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def test_files_of_a_map(mapped):
    cogeo = pytest.importorskip("rio_cogeo")
    names = {p.name for p in mapped.iterdir()}
    layers = ("class", "confidence", "probabilities", "sources")
    assert names == {*(f"{n}_epsg32632.tif" for n in layers), *(f"{n}.vrt" for n in layers),
                     "class_epsg32632.tif.aux.xml", "areas.csv", "areas_by_polygon.csv", "blocks.parquet", "item.json",
                     "map.html", "index.html", "quicklook.png", "map.json"}
    for layer in layers:
        valid, errors, _ = cogeo.cog_validate(mapped / f"{layer}_epsg32632.tif", strict=True, quiet=True)
        assert valid, errors
    assert json.loads((mapped / "map.json").read_text())["blocks"].startswith("16 blocks = 16 mapped")
    assert not list(Path(f"{mapped}.run").glob("*/*")), "the work folder is swept"


def test_layers_agree(mapped):
    label, sure, chance, sources = (read(mapped / f"{n}_epsg32632.tif") for n in
                                    ("class", "confidence", "probabilities", "sources"))
    valid = label[0] != IGNORE
    assert 0.5 < valid.mean() < 1 and len(np.unique(label[0][valid])) > 2
    assert (sure[0][valid] == chance.max(axis=0)[valid]).all()
    assert (np.take_along_axis(chance, label.clip(0, 8), 0)[0][valid] == sure[0][valid]).all()
    assert np.abs(chance.sum(axis=0, dtype=int)[valid] - 100).max() <= 4
    assert (chance[:, ~valid] == IGNORE).all() and (sources[:, ~valid] == -2147483648).all()
    assert (sources[0][valid] // 100 >= 202106).all() and set(np.unique(sources[3][valid])) <= {1, 2}
    assert np.abs(sources[2][valid]).max() <= 144 * 60
    blocks = gpd.read_parquet(mapped / "blocks.parquet")
    assert set(blocks["state"]) == {"mapped"} and blocks["dates"].between(1, 2).all()
    assert (sources[2][valid] / 60).min() == pytest.approx(blocks["gap_hours"].min(), abs=0.02)


def test_the_map_ends_where_the_region_ends(mapped):
    """The raster covers the region; beyond it is no data, on it there is a class but under clouds."""
    west, south, east, north = map(float, REGION.split(","))
    with rasterio.open(mapped / "class_epsg32632.tif") as raster:
        label = raster.read(1)
        rows, cols = np.indices(label.shape).reshape(2, -1)[:, ::37]
        x, y = raster.xy(rows, cols)
    from dwplus.grid import transformer

    lon, lat = transformer(32632, 4326).transform(np.array(x), np.array(y))
    inside = (lon > west) & (lon < east) & (lat > south) & (lat < north)
    said = label[rows, cols] != IGNORE
    assert not said[~inside].any() and said[inside].mean() > 0.9 and (~inside).any()


def test_areas_add_up(mapped):
    table = pd.read_csv(mapped / "areas.csv")
    label = read(mapped / "class_epsg32632.tif")
    assert list(table["class"]) == list(CLASSES) and "adjusted_km2" not in table
    assert set(table["design"]) == {"pixel count, not an estimate"}
    assert table["mapped_km2"].sum() == pytest.approx((label != IGNORE).sum() * 100 / 1e6, abs=1e-4)
    parts = pd.read_csv(mapped / "areas_by_polygon.csv").groupby("class")["mapped_km2"].sum()
    for row in table.itertuples():
        assert parts[row[1]] == pytest.approx(row.mapped_km2, abs=1e-4)


def evaluated(trained, folder, biomes):
    """What an evaluation leaves beside a run: errors by block, and the biome of each tile."""
    folder.mkdir()
    pd.DataFrame({"block": ["a", "b"] * 9, "true": [*CLASSES] * 2, "map": [*CLASSES] * 2, "pixels": 100}).to_csv(
        folder / "blocks.csv", index=False)
    pd.DataFrame({"tile_id": range(len(biomes)), "biome": biomes}).to_csv(folder / "tiles.csv", index=False)
    return folder / "blocks.csv"


def test_no_correction_is_borrowed(mapped, trained, tmp_path, capsys):
    """An evaluation beside the run changes nothing; its correction comes on demand, named so, without an interval, and
    not for a map of another biome."""
    evaluation = evaluated(trained, trained / "evaluation_test", [4])
    small = "9.183,51.190,9.190,51.195"
    assert run(options(trained, tmp_path / "plain", region=small)) == 0
    said = capsys.readouterr().out
    assert "areas: pixel count, not an estimate" in said and "95 % interval" not in said and "dwplus sample" in said
    assert run(options(trained, tmp_path / "moved", region=small, transfer="run")) == 0
    said = capsys.readouterr().out
    assert "a correction transferred from other ground: not an estimate" in said and "95 % interval" not in said
    table = pd.read_csv(tmp_path / "moved" / "areas.csv")
    assert "transferred_km2" in table and not {"adjusted_km2", "low_km2"} & set(table)
    other = evaluated(trained, tmp_path / "other", [1, 2])
    with pytest.raises(InputError, match="the map has biome 4 .*the evaluation only 1 .*dwplus sample"):
        run(options(trained, tmp_path / "refused", region=small, transfer=str(other)))
    with pytest.raises(InputError, match="no sample of this map; --transfer"):
        run(options(trained, tmp_path / "refused", region=small, reference=str(evaluation)))
    assert not (tmp_path / "refused").exists() and not (tmp_path / "refused.run" / "windows").exists()


def test_page_and_quicklook(mapped):
    page = (mapped / "index.html").read_text()
    assert not re.search(r"(src|href)=['\"]https?:", page), "the page fetches nothing"
    assert "pixel count, not an estimate" in page.lower() and "flooded vegetation" in page
    assert "95 %" not in re.sub(r"with\s+intervals", "", page), "no interval without a sample"
    from PIL import Image

    picture = np.asarray(Image.open(mapped / "quicklook.png").convert("RGB"))
    label = read(mapped / "class_epsg32632.tif")
    common = np.bincount(label[label != IGNORE]).argmax()
    from dwplus.maps.raster import rgb
    from dwplus.taxonomy import PALETTE

    assert (picture == rgb(PALETTE[common])).all(axis=-1).mean() > 0.02
    web = (mapped / "map.html").read_text()
    assert web.count("data:image/png;base64,") == 2, "values and scenes"
    assert "http" not in web.replace("http-equiv", "") and "pixel count, not an estimate" in web


def test_the_map_page_works_in_a_browser_without_a_network(mapped, tmp_path):
    """Scenes left of the line, classes right of it, both where the rasters have them; dates under the pointer."""
    from tests.browser import chromium, complaints

    label = read(mapped / "class_epsg32632.tif")[0]
    with chromium(tmp_path) as browser:
        browser.get(f"file://{mapped / 'map.html'}")
        deadline = time.monotonic() + PATIENCE
        while not browser.execute_script("return document.body.dataset.ready") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert complaints(browser) == []
        values = np.array(browser.execute_script("return Array.from(values)"), "uint8").reshape(*label.shape, 4)
        assert (values[..., 0] == label).all()
        scene = np.array(browser.execute_script(
            "return Array.from(left.getContext('2d').getImageData(0, 0, width, height).data)"), "uint8")
        assert (scene.reshape(*label.shape, 4)[..., 3][label != IGNORE] == 255).mean() > 0.99
        browser.execute_script("$('layer').value = 'confidence'; $('layer').dispatchEvent(new Event('change'))")
        assert browser.execute_script("return !$('key').hidden")
        words = browser.execute_script(
            "const box = frame.getBoundingClientRect(); tell({clientX: box.left + x0 + scale * width / 2, "
            "clientY: box.top + y0 + scale * height / 2}); return $('words').textContent")
        assert re.search(r"Sentinel-2 2021-0[67]-\d\d, Sentinel-1 2021-0[67]-\d\d", words), words


@pytest.mark.parametrize("source", ["earth", "store"])
def test_a_sample_of_a_map_is_pictured_from_its_own_scenes(mapped, store, trained, tmp_path, source, capsys):
    """Sentinel-2, Sentinel-1, NDVI and surroundings of every point, with dates, in one file that fetches nothing."""
    folder = mapped
    if source == "store":
        folder = tmp_path / "stored"
        assert run(Options(region=None, start=None, end=None, run=str(trained), out=str(folder), store=str(store),
                           margin=8, ramp=16)) == 0
    assert map_sample.run(str(folder), Plan(18), None, str(tmp_path / "s.csv"), True, True) == 0
    assert "18 of 18 points with pictures" in capsys.readouterr().out
    page = (tmp_path / "s.html").read_text()
    assert page.count("data:image/png;base64,") == 4 * 18 and "NDVI" in page and "UTC" in page
    assert "http" not in page.replace("http-equiv", "")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    months = {re.search(r"\d{4}-\d\d", point["pictures"][0]["words"])[0] for point in data["points"]}
    assert months <= {"2021-06", "2021-07"}


def test_a_second_run_finds_the_map(mapped, trained, capsys):
    given = json.loads((mapped / "map.json").read_text())["settings"]
    before = tifs(mapped)
    same = options(trained, mapped, layers=("probabilities", "sources"), dates="2", polygons=given["polygons"])
    assert run(same) == 0 and "is there" in capsys.readouterr().out
    assert tifs(mapped) == before
    with pytest.raises(InputError, match="other settings .*dates: 2 -> best"):
        run(options(trained, mapped, layers=("probabilities", "sources"), polygons=given["polygons"]))


def test_blocks_of_a_store_equal_the_map_made_at_once(store, trained, tmp_path):
    """The same pixels as one array, mapped at once without any file: identical classes and confidences."""
    out = tmp_path / "stored"
    assert run(Options(region=None, start=None, end=None, run=str(trained), out=str(out), store=str(store),
                       clouds="keep", margin=8, ramp=16)) == 0
    table = tile_table(store)
    table = table[table["status"] == "exported"].sort_values(["s2_cloud", "s2_time"]).drop_duplicates("tile_id")
    grids = {r.tile_id: PixelGrid(int(r.epsg), r.x0, r.y0, 10.0, SIZE, SIZE) for r in table.itertuples()}
    whole = extent([Block(k, g, ()) for k, g in grids.items()])
    reader = TileReader(store)
    s2 = np.full((10, *whole.shape), 65535, "uint16")
    s1 = np.full((2, *whole.shape), -32768, "int16")
    assert table["s2_time"].nunique() == 1, "one date: no tile has to choose among its neighbours' dates"
    for row in table.rename(columns={"index": "place"}).itertuples():
        here = overlap(whole, grids[row.tile_id])[0]
        tile = reader.read(row.group, row.place)
        s2[(slice(None), *here)], s1[(slice(None), *here)] = tile.s2, tile.s1
    label, sure = map_array(Predictor(load(trained), torch.device("cpu")), s2, s1, SIZE, WindowShape(8, 16))
    found, confidence = read(out / "class_epsg32632.tif")[0], read(out / "confidence_epsg32632.tif")[0]
    assert len(table) == 9 and found.shape == label.shape and (label != IGNORE).all()
    assert (found == label).all() and (confidence == sure).all()


def test_a_region_cut_in_two_has_the_same_windows(mapped, trained, tmp_path):
    """A block away from the cut is the same whether its region is mapped whole or in parts: no window depends on how a
    region is cut up."""
    west, south, east, north = map(float, REGION.split(","))
    out = tmp_path / "part"
    part = f"{west},{south},{(west + east) / 2},{north}"
    assert run(options(trained, out, region=part, dates="2")) == 0
    with rasterio.open(out / "class_epsg32632.tif") as a, rasterio.open(mapped / "class_epsg32632.tif") as b:
        grid = [PixelGrid(32632, r.transform.c, r.transform.f, 10.0, r.height, r.width) for r in (a, b)]
        mine, theirs = overlap(*grid)
        one, other = a.read(1)[mine], b.read(1)[theirs]
    both = (one != IGNORE) & (other != IGNORE)
    # The last tiles lack their eastern neighbours: half a ramp of their rim may differ.
    assert both.mean() > 0.5 and (one == other)[both].mean() > 0.98


def command(trained, out, *more):
    return [sys.executable, "-m", "pipelines.map_region", "--region", REGION, "--start", WINDOW[0], "--end", WINDOW[1],
            "--run", str(trained), "--out", str(out), "--margin", "8", "--ramp", "16", "--dates", "2", *more]


def test_a_killed_run_resumes_to_identical_files(mapped, trained, tmp_path):
    """kill -9 in the middle of the blocks; the same command then ends with the bytes of a run that was left alone, also
    with other workers."""
    out = tmp_path / "hesse"
    given = json.loads((mapped / "map.json").read_text())["settings"]
    words = command(trained, out, "--layers", "probabilities", "sources", "--polygons", given["polygons"])
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = Path(f"{out}.run")
    deadline = time.monotonic() + PATIENCE
    while len(list(work.glob("windows/*.json"))) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= len(list(work.glob("windows/*.json"))) < 16 and not out.exists()
    (work / "windows" / ".x.npy.1.part").write_bytes(b"half")
    kept = {p.name: p.stat().st_mtime_ns for p in work.glob("windows/*.json")}
    done = subprocess.run([*words, "--scheduler", "processes"], cwd=ROOT, env=env, capture_output=True, text=True,
                          timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on with it" in done.stdout and kept
    one, other = tifs(mapped), tifs(out)
    assert one.keys() == other.keys()
    # Only what names the settings' own paths may differ.
    assert [n for n in one if one[n] != other[n]] in ([], ["map.json"])


@pytest.mark.parametrize(("change", "words"), [
    ({"run": "nowhere"}, ["nowhere", "no such file", "train first"]),
    ({"region": "20.0,10.0,20.05,10.05"}, ["no tile can be planned", "has no ground here", "no_label"]),
    ({"region": "1,2,3"}, ["REGION '1,2,3'", "west,south,east,north"]),
    ({"dates": "some"}, ["DATES 'some'", "best, all"]),
    ({"clouds": "none"}, ["CLOUDS 'none'", "mask"]),
    ({"layers": ("speed",)}, ["LAYERS 'speed'", "probabilities"]),
    ({"end": None}, ["START and END", "both"]),
    ({"polygons": "none.geojson"}, ["polygons none.geojson", "no such file"]),
    ({"reference": "none.csv"}, ["reference none.csv", "cannot be read"]),
    ({"ramp": 5}, ["ramp 5", "even"]),
    ({"store": "none.zarr"}, ["store none.zarr", "no such store"]),
    ({"region": None}, ["REGION", "STORE"]),
])
def test_mistakes_are_one_sentence_and_leave_nothing(trained, tmp_path, change, words):
    with pytest.raises(InputError) as caught:
        run(options(trained, tmp_path / "out", **change))
    for word in words:
        assert word in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_other_bands_are_refused(trained, tmp_path):
    spec = tmp_path / "other.yaml"
    spec.write_text(f"name: x\nregion: {{bbox: [{REGION}]}}\nwindows: [{WINDOW}]\nsentinel2: {{bands: [B2, B3]}}\n")
    with pytest.raises(InputError, match="asks for s2_bands B2 B3, checkpoint .* was trained on B2 B3 B4"):
        run(options(trained, tmp_path / "out", region=str(spec), start=None, end=None))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("x")
    with pytest.raises(InputError, match="is no map"):
        run(options(trained, tmp_path / "full"))


@dataclass
class Arrays:
    """Windows from memory; some blocks are refused, some fail as long as ``down``."""

    refused: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    down: bool = True

    def begin(self):
        pass

    def read(self, block, scene):
        if block.id in self.refused:
            raise RejectedError("s2_invalid: too little of it")
        if block.id in self.failing and self.down:
            raise TransientError("503")
        rng = np.random.default_rng(int(block.grid.x0) + 7 * int(block.grid.y0))
        side = WindowShape(8, 16).window(block.grid).width
        return WindowPixels(rng.integers(200, 4000, (10, side, side)).astype("uint16"),
                            rng.integers(-2500, 0, (2, side, side)).astype("int16"))


def grid_of_blocks():
    scene = Scene("s2", "s1", "", "sr", 0, 0, 0.0)
    blocks = [Block(f"{r}{c}", PixelGrid(32632, 5e5 + 640 * c, 5e6 - 640 * r, 10.0, 64, 64), (scene,))
              for r in range(3) for c in range(3)]
    return [*blocks, Block("far", PixelGrid(32632, 5e5 + 6400, 5e6, 10.0, 64, 64), (), "no_s1")]


def worked(folder, trained, source):
    work = Work(folder)
    work.prepare()
    shape = WindowShape(8, 16)
    tally = map_blocks(Job(source, str(trained), str(folder), shape, "cpu"), Frame(grid_of_blocks(), shape), None,
                       lambda *_: None)
    return work, tally


def test_refused_blocks_are_no_data_and_counted_by_reason(trained, tmp_path):
    work, tally = worked(tmp_path / "a", trained, Arrays(refused=("11",)))
    assert tally.line == "10 blocks = 8 mapped + 1 rejected:no_s1 + 1 rejected:s2_invalid"
    assert not work.has_block("11") and not work.has_block("far") and work.has_block("00")
    assert not list((tmp_path / "a").rglob("windows/*.npy")), "nobody needs a window any more"


def test_failed_blocks_hold_back_their_neighbours_until_they_heal(trained, tmp_path):
    """What a run could not fetch is fetched by the next; the map is then that of a run without trouble."""
    quiet, _ = worked(tmp_path / "quiet", trained, Arrays())
    work, tally = worked(tmp_path / "a", trained, Arrays(failing=("02",)))
    assert tally.failed == {"transient": 1} and tally.mapped == 8
    assert work.has_block("00") and not work.has_block("01") and not work.has_block("11")
    work, tally = worked(tmp_path / "a", trained, Arrays(failing=("02",), down=False))
    assert not tally.failed and tally.mapped == 9
    for block in grid_of_blocks()[:9]:
        assert (work.block(block.id) == quiet.block(block.id)).all()
