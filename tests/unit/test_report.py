"""The page of a store: whole, self-contained, right in its numbers; also for stores that hold little."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dwplus.errors import InputError
from dwplus.pages import charts
from dwplus.planning.plan import write_plan
from dwplus.report.page import write_report
from dwplus.store import layout, stats, writer
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path, small_plan, small_spec):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    return path


def fill(path, pixels_of):
    writer.write_shard(layout.open_root(path, "r+")["biome_04"], 0, 4, {
        i: TileResult(layout.EXPORTED, "", *pixels_of(i)) if i != 3
        else TileResult(layout.REJECTED, "few_labels: 0.1 < 0.2") for i in range(4)})


class Checker(HTMLParser):
    """Tags close in order; what would be fetched is listed."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.images = [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and not value.startswith("data:image/png;base64,"):
                self.fetched.append(value)
        self.images += tag == "img"

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(text):
    checker = Checker()
    checker.feed(text)
    assert not checker.open and not checker.fetched and "url(" not in text and "<script" not in text
    assert not re.search(r"\bnan\b", re.sub(r'base64,[^"]*', "", text).lower())
    return checker


def test_a_page_of_one_file(store, pixels_of, small_plan):
    fill(store, pixels_of)
    write_plan(small_plan, f"{store}.plan.parquet")
    text = write_report(store, store.parent / "deep" / "report.html").read_text()
    checker = check(text)
    assert checker.images == 3  # one biome has exported tiles
    assert "<b>3</b><span>tiles exported" in text and "prefers-color-scheme:dark" in text
    assert "no_s1 <small>1 (7.1%)" in text and "rejected: few_labels <small>1<" in text
    assert "pending <small>9<" in text
    for word in ("Where the tiles lie", "Classes by biome", "Time between the satellites", "Clouds and valid pixels",
                 "Splits", "Bands", "What was left out", "A tile of each biome", "Provenance and licences",
                 "CC-BY-4.0", "contains modified Copernicus Sentinel data", "synthetic"):
        assert word in text, word


def test_shares_and_gaps_are_the_stores(store, pixels_of):
    fill(store, pixels_of)
    text = write_report(store, store.parent / "r.html").read_text()
    labels = np.concatenate([pixels_of(i)[2].ravel() for i in range(3)])
    share = (labels == 1).sum() / (labels != 255).sum()
    assert f'title="trees: {share:.1%}"' in text
    assert "3 tiles, median |gap| 1.0 h" in text


def test_an_empty_store_still_gets_a_page(store):
    text = write_report(store, store.parent / "r.html").read_text()
    assert check(text).images == 0 and "pending <small>13<" in text


def test_kept_statistics_are_used(store, pixels_of):
    fill(store, pixels_of)
    draw = write_report(store, store.parent / "r.html").read_text()
    stats.store_statistics(store, stats.measure(store, "all"))
    kept = write_report(store, store.parent / "r.html").read_text()
    assert "Tiles of split train" in draw and "Tiles of split all: all 3" in kept


def test_band_names_of_a_foreign_store_are_text_and_no_script_may_run(store, pixels_of):
    fill(store, pixels_of)
    for group in layout.biome_groups(layout.open_root(store)):
        names = layout.open_root(store, "r+")[f"{group}/s2_band"]
        names[:] = np.array(["<b>x</b>", *names[1:]], names.dtype)
    text = write_report(store, store.parent / "r.html").read_text()
    assert "<b>x" not in text and "&lt;b&gt;x" in text and "default-src 'none'" in text
    check(text)


def test_names_are_escaped(store, pixels_of, small_plan, small_spec, tmp_path):
    odd = small_plan.assign(ecoregion="<b>&'x")
    layout.create(tmp_path / "odd", odd, small_spec, created=CREATED, earth="embedded-earth")
    fill(tmp_path / "odd", pixels_of)
    text = write_report(tmp_path / "odd", tmp_path / "r.html").read_text()
    assert "<b>&'x" not in text and "&lt;b&gt;&amp;&#39;x" in text
    check(text)


def test_errors_are_one_sentence(store, tmp_path):
    with pytest.raises(InputError, match="no such store"):
        write_report(tmp_path / "none", tmp_path / "r.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="report .*cannot be written"):
        write_report(store, tmp_path / "file" / "r.html")
    (tmp_path / "small.zarr.plan.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="plan .*cannot be read"):
        write_report(store, tmp_path / "r.html")


@pytest.mark.parametrize("value, text", [(0, "0"), (1234567, "1,234,567"), (0.5, "0.5"), (-12.345, "−12.35"),
                                         (100, "100"), (float("nan"), "–")])
def test_numbers(value, text):
    assert charts.number(value) == text


@pytest.mark.parametrize("low, high, want", [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (-22, 1, [-20, -10, 0]),
                                             (188, 5737, [2000, 4000]), (5, 5, [5])])
def test_ticks(low, high, want):
    assert charts.ticks(low, high) == want


def test_circles_come_apart():
    dots = [charts.Dot(10, 50, b, 16) for b in (1, 2, 3)]
    found = re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)" r="([\d.]+)"', charts.world_map(dots, {}))
    places, radius = np.array(found, float)[:, :2], float(found[0][2])
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(3)
    assert distance.min() > 1.8 * radius and np.hypot(*(places - (20, -100)).T).max() < 40
