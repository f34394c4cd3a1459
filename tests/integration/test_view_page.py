"""`dwplus view` in a real browser without a network: open, look, mark by key, filter, load again."""

import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("bokeh")

from benchmarks.bench_model import make_store  # noqa: E402
from dwplus.store.marks import read_marks  # noqa: E402
from tests.browser import chromium, complaints  # noqa: E402
from tests.commands import PATIENCE  # noqa: E402


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A store of 20 tiles of 64 px, and the page on it."""
    folder = tmp_path_factory.mktemp("view")
    store = make_store(folder / "tiles.zarr", tiles=20, size=64)
    program = subprocess.Popen([sys.executable, "-m", "dwplus", "view", str(store)], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert "looking at 20 tiles" in program.stdout.readline()
        yield folder, program.stdout.readline().split()[1]
    finally:
        program.terminate()
        program.wait(PATIENCE)


@pytest.fixture
def browser(tmp_path, served):
    with chromium(tmp_path, here=True) as found:
        yield found


def model(browser, name, what):
    return browser.execute_script(f"return Bokeh.documents[0].get_model_by_name({name!r}).{what}")


def until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def load(browser, url):
    browser.get(url)
    until(lambda: browser.execute_script("return !!(window.Bokeh && Bokeh.documents.length && "
                                         "Bokeh.documents[0].roots().length && Object.keys(Bokeh.index).length)"))
    until(lambda: browser.execute_script("return document.querySelectorAll('.bk-Column').length > 0"))


def press(browser, key):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(key).perform()


def test_look_mark_filter_and_load_again(browser, served):
    folder, url = served
    load(browser, url)
    assert "20 of 20 tiles" in model(browser, "count", "text")
    press(browser, "n")
    until(lambda: browser.execute_script(
        "return Bokeh.documents[0].all_models ? [...Bokeh.documents[0].all_models].filter("
        "m => m.type == 'ImageRGBA').length : 0") >= 3)
    press(browser, "b")
    marks = until(lambda: (folder / "tiles.zarr.marks.csv").exists() and read_marks(folder / "tiles.zarr.marks.csv"))
    first = model(browser, "tiles", "data['tile_id'][0]")
    assert [(mark.tile_id, mark.mark) for mark in marks] == [(first, "bad")]
    until(lambda: model(browser, "tiles", "data['mark'][0]") == "bad")
    press(browser, "n")
    press(browser, "k")
    until(lambda: len(read_marks(folder / "tiles.zarr.marks.csv")) == 2)

    load(browser, url)
    assert list(model(browser, "tiles", "data['mark']"))[:3] == ["bad", "keep", ""]
    browser.execute_script("Bokeh.documents[0].get_model_by_name('biome').value = ['12']")
    until(lambda: "10 of 20 tiles" in model(browser, "count", "text"))
    assert set(model(browser, "tiles", "data['biome']")) == {12}
    assert complaints(browser) == []


def test_only_this_machine_is_answered(served):
    _, url = served
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        assert answer.status == 200
    request = urllib.request.Request(url, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    assert refused.value.code == 404
