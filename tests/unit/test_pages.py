"""Pages, cards and sheets: text of the data is text everywhere, and one tile looks the same wherever it is shown."""

from __future__ import annotations

import ast
import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch

import dwplus
from dwplus.maps import look
from dwplus.pages import charts, colours, sheets, stretch
from dwplus.planning.plan import write_plan
from dwplus.planning.preview import write_map
from dwplus.report.page import write_report
from dwplus.report.quicklooks import quicklooks
from dwplus.store import layout, stats, writer
from dwplus.store.card import write_card
from dwplus.store.units import decibels
from dwplus.store.writer import TileResult
from dwplus.taxonomy import CLASSES, PALETTE

ROOT = Path(dwplus.__file__).parents[1]
#: Harmless, and markup wherever it is not escaped; without a slash, so that paths can hold it too.
ODD = "<b>x<b>&\"'`|$_$"
HTML = re.compile(r"</?(a|b|br|code|div|figure|h\d|i|img|p|pre|section|small|span|style|svg|table|td|th|tr)[ />]")
CREATED = "2026-01-02T03:04:05Z"


class Tags(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)


def check_page(text: str, least: int = 1) -> None:
    """No tag of the data's, no attribute that runs something, and the data's text is there as text."""
    page = Tags(text)
    assert "<b>x" not in text
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "script" not in page.tags and "default-src 'none'" in text
    shown = "".join(page.words) + "".join(value for _, value in page.attributes)
    assert shown.count(ODD) >= least


def spoil(value, keep=()):
    """Every text within a JSON value becomes odd, but under the keys to keep."""
    if isinstance(value, dict):
        return {key: inner if key in keep else spoil(inner, keep) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoil(inner, keep) for inner in value]
    return ODD if isinstance(value, str) else value


@pytest.fixture
def plan(small_plan):
    """A plan whose free texts are odd; ids stay different."""
    odd = {name: [f"{ODD}{i}" for i in range(len(small_plan))] for name in ("tile_id", "label_id", "s2_id", "s1_id")}
    reason = [f"no_s1: {ODD}" if state == "rejected" else "" for state in small_plan["state"]]
    return small_plan.assign(ecoregion=ODD, orbit_pass=ODD, reason=reason, **odd)


@pytest.fixture
def store(tmp_path, plan, small_spec, pixels_of):
    """A store with odd texts in its columns, names of bands and attributes."""
    path = tmp_path / f"s{ODD}.zarr"
    layout.create(path, plan, small_spec, created=CREATED, earth="embedded-earth")
    root = layout.open_root(path, "r+")
    for group, count in (("biome_04", 10), ("biome_12", 3)):
        for start in range(0, count, 4):
            stop = min(count, start + 4)
            writer.write_shard(root[group], start, stop, {
                i: TileResult(layout.EXPORTED, "", *pixels_of(i)) if i else TileResult(
                    layout.REJECTED, f"few_labels: {ODD}") for i in range(start, stop)})
    stats.store_statistics(path, stats.measure(path, "all"))
    write_plan(plan, f"{path}.plan.parquet")
    return path


def spoil_attributes(path: Path) -> None:
    file = path / "zarr.json"
    meta = json.loads(file.read_text())
    # Types and dates are no free text: with another one there the store is refused.
    keep = ("start", "end", "created", "s1_dtype", "earth", "label_source", "earth_version", "dwplus_version")
    meta["attributes"] = {key: value if key in ("plan_rows", "seal", "statistics") else spoil(value, keep)
                          for key, value in meta["attributes"].items()}
    meta["attributes"]["plan"]["rejected"] = {ODD: 1}
    meta["attributes"]["classes"] = [f"{ODD}{i}" for i in range(len(CLASSES))]
    file.write_text(json.dumps(meta))


def test_no_field_of_a_store_or_plan_is_markup_in_its_report(store, tmp_path):
    spoil_attributes(store)
    for group in ("biome_04", "biome_12"):
        array = layout.open_root(store, "r+")[f"{group}/s2_band"]
        array[:] = np.array([f"{ODD}{i}" for i in range(3)], array.dtype)
    text = write_report(store, tmp_path / "r.html").read_text()
    check_page(text, least=40)
    assert len(quicklooks(store, tmp_path / "q")) == 2  # whose titles no mathematics are read from


def test_no_field_of_a_store_or_plan_is_markup_in_its_card(store, tmp_path):
    meta = json.loads((store / "zarr.json").read_text())
    meta["attributes"]["sources"] = spoil(meta["attributes"]["sources"])
    meta["attributes"]["spec"]["name"] = ODD
    meta["attributes"]["plan"]["rejected"] = {ODD: 1}
    (store / "zarr.json").write_text(json.dumps(meta))
    text = (write_card(store, tmp_path / "card") / "README.md").read_text()
    assert "<b>" not in text and text.count("&lt;b&gt;x&lt;b&gt;") >= 10
    assert text.count("```") % 2 == 0
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows if "lt;b" in row}) == 1, "no cell of the data's own"
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    named = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert any(str(value).startswith(ODD) for value in named)  # and read by Python it is the very name


def test_no_field_of_a_run_is_markup_in_its_evaluation(store, tmp_path):
    from model.checkpoint import save
    from model.data import statistics
    from model.evaluate import evaluate
    from model.networks.registry import build

    options = {"s2_bands": 3, "s1_bands": 2}
    net = build("unet", **options)
    torch.manual_seed(0)
    run = tmp_path / f"run{ODD}"
    save(run / "best.safetensors", {f"net.{k}": v for k, v in net.state_dict().items()}, {
        "model": {"name": "unet", "options": options}, "s2_bands": ["B2", "B3", "B4"], "s1_bands": ["VV", "VH"],
        "normalisation": statistics(store, max_tiles=4).to_dict(), "epoch": 1, "specs": []})
    evaluate(store, run, tmp_path / "page", split="train", device="cpu", shown=2, draws=10, command=f"x {ODD}")
    text = (tmp_path / "page" / "index.html").read_text()
    check_page(text, least=8)
    assert "synthetic" in text and "agreement with Dynamic World V1" in text


def test_no_field_of_a_plan_is_markup_on_its_map(plan, tmp_path):
    write_map(plan, tmp_path / "plan.html")
    check_page((tmp_path / "plan.html").read_text(), least=4)


def sources():
    for package in ("dwplus", "model", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "embedded_earth" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_markup_is_written_in_templates_alone():
    found, makers = [], set()
    for path, tree in sources():
        docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                      if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
                      and isinstance(node.body[0], ast.Expr)}
        for node in ast.walk(tree):
            if (isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
                    and HTML.search(node.value)):
                found.append((path, node.value[:60]))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Markup":
                makers.add(path)
    assert not found
    assert makers == {"dwplus/pages/skeleton.py"}


def png_of(text: str, words: str) -> np.ndarray:
    from PIL import Image

    tag = next(tag for tag in re.findall(r"<img [^>]*>", text) if f'alt="{words}' in tag)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(re.findall("base64,([^\"]*)", tag)[0]))))[..., :3]


def test_a_tile_looks_the_same_in_report_evaluation_quicklook_and_map(tmp_path, small_plan, small_spec, pixels_of,
                                                                      monkeypatch):
    import matplotlib.axes
    import rasterio
    import rasterio.transform

    from model.checkpoint import Checkpoint
    from model.data import TileDataset
    from model.page import panels

    path = tmp_path / "one.zarr"
    plan = small_plan.assign(split="train").iloc[:1]
    layout.create(path, plan, small_spec, created=CREATED, earth="embedded-earth")
    s2, s1, label = pixels_of(0)
    s2[:, :4, :4], s1[:, 4:8, :4] = layout.S2_NODATA, layout.S1_NODATA
    writer.write_shard(layout.open_root(path, "r+")["biome_04"], 0, 1,
                       {0: TileResult(layout.EXPORTED, "", s2, s1, label)})
    report = write_report(path, tmp_path / "r.html").read_text()
    shown = {"s2": png_of(report, "Sentinel-2, true colour"), "s1": png_of(report, "Sentinel-1: VV"),
             "label": png_of(report, "label of")}
    assert shown["s2"].shape == (32, 32, 3) and len(np.unique(shown["s2"].reshape(-1, 3), axis=0)) > 100
    assert (shown["s2"][:4, :4] == 128).all() and (shown["s1"][4:8, :4] == 128).all()
    assert {tuple(c) for c in shown["label"].reshape(-1, 3)} == {colours.rgb(PALETTE[c]) for c in (0, 1, 4, 8)} | {
        colours.rgb(colours.NO_LABEL)}

    monkeypatch.setattr("model.page.predict", lambda checkpoint, raw: raw.label)
    evaluation = dict(panels(TileDataset(path, "train"), 0, Checkpoint.__new__(Checkpoint)))
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(matplotlib.axes.Axes, "imshow", lambda self, image, **_: drawn.append(np.asarray(image)))
    quicklooks(path, tmp_path / "q")
    for i, (name, panel) in enumerate((("s2", "Sentinel-2"), ("s1", "Sentinel-1"), ("label", "label"))):
        np.testing.assert_array_equal(evaluation[panel], shown[name])
        np.testing.assert_array_equal(drawn[i], shown[name])

    for name, values in (("class", label), ("confidence", np.where(label == 255, 255, 80).astype("uint8"))):
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", width=32, height=32, count=1, dtype="uint8",
                           crs="EPSG:32631", transform=rasterio.transform.from_origin(500000, 5600000, 10, 10),
                           nodata=255) as raster:
            raster.write(values, 1)
    drawn.clear()
    monkeypatch.setattr("matplotlib.figure.Figure.colorbar", lambda *_, **__: Mock())
    look.quicklook(tmp_path / "class.tif", tmp_path / "confidence.tif", tmp_path / "map.png", "t", "s")
    np.testing.assert_array_equal(drawn[0], shown["label"])


def test_stretches():
    dark = np.full((3, 8, 8), 300, "uint16") + np.arange(64, dtype="uint16").reshape(8, 8)
    assert stretch.true_colour(dark, ("B2", "B3", "B4")).max() < 20  # noise of dark water does not shine
    grey = np.full((1, 4, 4), 7, "uint8") + np.arange(16, dtype="uint8").reshape(4, 4)
    assert stretch.true_colour(grey, ("grey",), unit="display").max() == 255
    assert stretch.radar(grey.astype("float32"), unit="display")[..., 0].max() == 255
    assert (stretch.radar(np.full((2, 2, 2), np.nan, "float32")) == 128).all()
    assert decibels(np.array([[[-1234, -32768]]], "int16"))[0, 0, 0] == pytest.approx(-12.34)
    checker = (np.indices((6, 6)).sum(0) % 2 * 255).astype("uint8")[..., None].repeat(3, -1)
    assert set(np.unique(stretch.smaller(checker, 3, classes=True))) <= {0, 255}
    assert set(np.unique(stretch.smaller(checker, 3))) == {128}


def test_colours_of_a_store_reach_no_style_sheet_unread():
    assert "url(" not in charts.chip("red;background:url(http://x)") and colours.UNKNOWN in charts.chip("x")
    assert colours.rgb("#419BDF") == (65, 155, 223) and colours.ink_on("#ffffff") == "#000"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", "'quoted"])
def test_no_cell_of_a_sheet_is_a_formula(text, tmp_path):
    table = pd.DataFrame({"name": [text, "plain"], "value": [-1.5, 2.0], text: ["a", "b"]}, index=[text, "row"])
    path = sheets.write_csv(table, tmp_path / "t.csv", index_label="at")
    cells = [cell.strip('"') for line in path.read_bytes().decode().split("\n") for cell in line.split(",")]
    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in cells) and "-1.5" in cells
    back = sheets.read_csv(path)
    assert list(back["name"]) == [text, "plain"] and list(back["at"]) == [text, "row"] and text in back
    assert back["value"].tolist() == [-1.5, 2.0] and list(tmp_path.iterdir()) == [path]


def test_one_writer_of_sheets():
    found = {path for path, tree in sources() for node in ast.walk(tree)
             if isinstance(node, ast.Attribute) and node.attr == "to_csv"}
    assert found == {"dwplus/pages/sheets.py"}


def test_tables_take_text_as_text():
    assert "&lt;b&gt;" in charts.table(["<b>"], [["<b>"]]) and "<b>" not in charts.table(["<b>"], [["<b>"]])
    assert "&lt;b&gt;" in charts.named("#123456", "<b>") and "&lt;b&gt;" in charts.bars({"<b>": 1.0})
