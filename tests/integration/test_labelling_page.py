"""The labelling page in a real browser without a network: a script labels points, saves, goes on, and assesses."""

from __future__ import annotations

import csv
import json
import time

import numpy as np
import pytest

from dwplus.maps import labelling, sample
from dwplus.maps.legend import open_map
from dwplus.taxonomy import CLASSES
from pipelines import map_assess
from tests.browser import chromium, complaints
from tests.commands import PATIENCE
from tests.unit.test_map_sample import edited, map_folder, patches

By = pytest.importorskip("selenium.webdriver.common.by").By


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A sample of 24 points with pictures, and its map."""
    folder = tmp_path_factory.mktemp("label")
    truth, said = patches(0, 400)
    shown = open_map(map_folder(folder / "map", said))
    frame = sample.draw(shown, sample.Plan(24), shown.counts())
    sample.write(frame, folder / "s.csv", folder / "s.gpkg")
    rng = np.random.default_rng(0)
    chip = labelling.Chip(rng.integers(300, 3000, (10, 256, 256)).astype("uint16"),
                          rng.normal(-12, 2, (2, 256, 256)).astype("float32"),
                          ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"], ("2021-06-01", "2021-06-02"))
    pictures = {name: labelling._pictures(chip, "") for name in frame["id"]}
    labelling.write_page(shown, frame, pictures, folder / "s.html")
    return folder


def until(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_twenty_points_are_labelled_by_keys_and_buttons_and_saved(page, tmp_path):
    with chromium(tmp_path) as browser:
        browser.get(f"file://{page / 's.html'}")
        assert complaints(browser) == [], "nothing is fetched, nothing fails"
        shots = browser.find_elements(By.CSS_SELECTOR, ".shot img")
        assert len(shots) == 4
        assert all(browser.execute_script("return arguments[0].naturalWidth", shot) >= 64 for shot in shots)
        browser.find_element(By.ID, "save").click()
        assert "who you are" in browser.find_element(By.ID, "said").text and not list(tmp_path.iterdir())
        browser.find_element(By.ID, "who").send_keys("Ann B.")
        browser.execute_script("document.activeElement.blur()")
        body = browser.find_element(By.TAG_NAME, "body")
        for turn in range(10):
            body.send_keys(str(turn % 4 + 1))
        for turn in range(9):
            browser.find_element(By.CSS_SELECTOR, f"button.class[data-name={CLASSES[turn % 4]}]").click()
        note = browser.find_element(By.ID, "note")
        note.send_keys('a "hedge", by a road')
        browser.execute_script("arguments[0].blur()", note)
        body.send_keys("0")
        assert browser.find_element(By.ID, "count").text == "20 of 24 labelled"
        body.send_keys("s")
        saved = tmp_path / "s.Ann_B_.csv"
        until(saved.exists)
        assert "4 points are still open" in browser.find_element(By.ID, "said").text
        # A reload finds the labels; a correction counts.
        browser.refresh()
        assert browser.find_element(By.ID, "count").text == "20 of 24 labelled"
        browser.execute_script("document.activeElement.blur()")
        body = browser.find_element(By.TAG_NAME, "body")
        for _ in range(20):
            browser.find_element(By.ID, "back").click()
        assert browser.find_element(By.ID, "title").text == "Point 01 (1 of 24)"
        pressed = browser.find_element(By.CSS_SELECTOR, "button[aria-pressed=true]")
        assert pressed.get_attribute("data-name") == "water"
    with saved.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 and [r["reference"] for r in rows[:4]] == list(CLASSES[:4])
    assert rows[19]["reference"] == "cannot tell" and rows[19]["note"] == 'a "hedge", by a road'
    assert {r["interpreter"] for r in rows} == {"Ann B."} and [r["reference"] for r in rows[20:]] == [""] * 4
    with (page / "s.csv").open(newline="") as file:
        drawn = list(csv.DictReader(file))
    assert [float(r["weight"]) for r in rows] == [float(r["weight"]) for r in drawn]
    assert [r["stratum"] for r in rows] == [r["stratum"] for r in drawn]
    # The file is what assess takes, once nothing is blank.
    edited(saved, lambda rows: rows.__setitem__("reference", [v or "cannot tell" for v in rows["reference"]]))
    assert map_assess.run(map_assess.Options(str(page / "map"), [str(saved)])) == 0
    assert json.loads((tmp_path / "s.Ann_B_.assessment" / "assessment.json").read_text())["points"] == 19


def test_a_saved_file_is_read_back(page, tmp_path):
    """Another machine's file: the labels are there, and saving writes the same."""
    rows = list(csv.reader((page / "s.csv").open(newline="")))
    head, rows = [*rows[0], "interpreter", "sure", "note"], rows[1:]
    file = tmp_path / "from.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([head, *([*row[:-1], CLASSES[i % 9], "Bo", "yes", "x, y"]
                                           for i, row in enumerate(rows))])
    with chromium(tmp_path) as browser:
        browser.get(f"file://{page / 's.html'}")
        browser.find_element(By.ID, "file").send_keys(str(file))
        until(lambda: browser.find_element(By.ID, "count").text == "24 of 24 labelled")
        assert "24 labels read" in browser.find_element(By.ID, "said").text
        browser.find_element(By.ID, "save").click()
        until((tmp_path / "s.Bo.csv").exists)
        assert complaints(browser) == []
    again = list(csv.DictReader((tmp_path / "s.Bo.csv").open(newline="")))
    assert [r["reference"] for r in again] == [CLASSES[i % 9] for i in range(24)]
    assert {(r["sure"], r["note"]) for r in again} == {("yes", "x, y")}


def test_names_are_text_and_no_other_script_runs(page, tmp_path):
    """A table that somebody else made may hold anything; here it would set the title."""
    evil = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    data = {"key": "k", "stem": "s", "columns": ["id", "reference"], "cannot": "cannot tell",
            "sides": ["before", "after"], "classes": [{"name": n, "colour": "#000000"} for n in CLASSES],
            "points": [{"id": evil, "lon": 0.0, "lat": 0.0, "row": {"id": evil}, "pictures": [
                {"src": "", "words": evil, "mark": 1}]}]}
    (tmp_path / "evil.html").write_text(labelling.page_text("Label", data, True), encoding="utf-8")
    with chromium(tmp_path) as browser:
        browser.get(f"file://{tmp_path / 'evil.html'}")
        assert browser.title == "Label" and "script" in browser.find_element(By.ID, "title").text
        # Change: a class on either side makes a label.
        assert len(browser.find_elements(By.CSS_SELECTOR, "button.class")) == 19
        browser.find_element(By.CSS_SELECTOR, "button.class[data-name=trees][data-side='0']").click()
        assert browser.find_element(By.ID, "count").text == "0 of 1 labelled"
        browser.find_element(By.CSS_SELECTOR, "button.class[data-name=crops][data-side='1']").click()
        assert browser.find_element(By.ID, "count").text == "1 of 1 labelled"
        assert browser.execute_script("return table()").splitlines()[1].startswith('"</script>')
        assert "trees to crops" in browser.execute_script("return table()")
