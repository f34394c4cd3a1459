"""What `dwplus view` shows: filters keep the tiles they say, marks are written at once, pictures are the report's."""

import re
import types

import numpy as np
import pytest

pytest.importorskip("bokeh")

from bokeh.document import Document  # noqa: E402

from dwplus.errors import InputError  # noqa: E402
from dwplus.pages import colours, stretch  # noqa: E402
from dwplus.planning.plan import write_plan  # noqa: E402
from dwplus.report.view.page import Viewer, continents, pictures, rgba  # noqa: E402
from dwplus.report.view.subject import of_plan, of_store  # noqa: E402
from dwplus.store import layout, writer  # noqa: E402
from dwplus.store.marks import BAD, KEEP, Mark, bad_tiles, read_marks, write_marks  # noqa: E402
from dwplus.store.writer import TileResult  # noqa: E402
from pipelines.view import marks_beside, subject_of  # noqa: E402


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    """Twelve tiles exported, one rejected."""
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    for name, count in (("biome_04", 10), ("biome_12", 3)):
        group = layout.open_root(path, "r+")[name]
        for start in range(0, count, 4):
            stop = min(start + 4, count)
            results = {i: TileResult(layout.EXPORTED, "", *pixels_of(i)) for i in range(start, stop)}
            if start == 4:
                results[5] = TileResult(layout.REJECTED, "few_labels: 0.1")
            writer.write_shard(group, start, stop, results)
    return path


@pytest.fixture
def viewer(store, tmp_path):
    found = Viewer(of_store(str(store), lambda s2, s1: np.full(s2.shape[1:], 4, "uint8")), tmp_path / "marks.csv")
    found.into(Document())
    return found


def shown(viewer):
    return list(viewer.source.data["tile_id"])


def test_filters_keep_what_they_say(viewer):
    table = viewer.subject.table
    assert len(shown(viewer)) == len(table) == 13
    viewer.choices["biome"].value = ["12"]
    assert shown(viewer) == table.loc[table["biome"] == 12, "tile_id"].tolist() and len(shown(viewer)) == 3
    viewer.choices["biome"].value = []
    viewer.choices["status"].value = ["rejected"]
    assert shown(viewer) == [table["tile_id"].iat[5]]
    viewer.choices["status"].value = []
    viewer.ranges["gap_hours"].value = (-3, 0)
    viewer._filter("value_throttled", None, None)
    assert shown(viewer) == table.loc[table["gap_hours"] >= -3, "tile_id"].tolist()
    assert "4 of 13 tiles" in viewer.count.text
    viewer.ranges["gap_hours"].value = viewer.ranges["gap_hours"].start, viewer.ranges["gap_hours"].end
    viewer.share_of.value, viewer.share.value = "crops", 20
    viewer._filter("value_throttled", None, None)
    want = table.loc[table["share_crops"] >= 0.2, "tile_id"].tolist()
    assert shown(viewer) == want and 0 < len(want) < 13


def test_marks_are_written_at_once_and_read_again(viewer, tmp_path):
    names = viewer.subject.table["tile_id"].tolist()
    viewer.press("n")
    viewer.note.value = "a road taken for water"
    viewer.press("b")
    viewer.press("n")
    viewer.press("k")
    marks = read_marks(tmp_path / "marks.csv")
    assert [(m.tile_id, m.mark) for m in marks] == [(names[0], BAD), (names[1], KEEP)]
    assert marks[0].note == "a road taken for water" and marks[0].window == "2020-01-01/2020-06-01"
    assert bad_tiles(tmp_path / "marks.csv") == {(names[0], "2020-01-01/2020-06-01")}
    assert viewer.source.data["mark"][:3] == [BAD, KEEP, ""]
    again = Viewer(viewer.subject, tmp_path / "marks.csv")
    assert again.source.data["mark"][:3] == [BAD, KEEP, ""]
    again.step(1)
    assert again.note.value == "a road taken for water"
    again.press("u")
    assert [(m.tile_id, m.mark) for m in read_marks(tmp_path / "marks.csv")] == [(names[1], KEEP)]
    viewer.marked.value = "keep"
    assert shown(viewer) == [names[1]]


def test_marks_that_cannot_be_written_are_said(viewer, tmp_path):
    viewer.path = tmp_path / "nowhere" / "marks.csv"
    viewer.press("n")
    viewer.press("b")
    assert "cannot be written" in viewer.values.text


def test_values_under_the_pointer(viewer, store, pixels_of):
    """Rows are counted from the north, as the arrays are; Bokeh's y from the south."""
    viewer.step(1)
    s2, s1, label = pixels_of(0)
    viewer._point(types.SimpleNamespace(x=3.7, y=32 - 1 - 20 + 0.5))
    text = re.sub("</?b>", "", viewer.values.text)
    assert f"row 20, column 3: B2 {s2[0, 20, 3]}, B3 {s2[1, 20, 3]}" in text
    assert f"VV {s1[0, 20, 3] / 100:.2f} dB" in text and "prediction crops" in text
    before = viewer.values.text
    viewer._point(types.SimpleNamespace(x=-1, y=5))
    assert viewer.values.text == before


def test_pictures_are_those_of_every_other_page(viewer, pixels_of):
    viewer.step(1)
    s2, s1, label = pixels_of(0)
    found = pictures(viewer.tile, viewer.subject, "true colour")
    assert list(found) == ["Sentinel-2", "Sentinel-1", "label", "prediction", "disagreement"]
    np.testing.assert_array_equal(found["Sentinel-2"], stretch.true_colour(s2, ["B2", "B3", "B4"]))
    np.testing.assert_array_equal(found["label"], colours.of_classes(label))
    there = rgba(found["label"])
    assert there.dtype == "uint32" and there.shape == (32, 32)
    np.testing.assert_array_equal(there[::-1].view("uint8").reshape(32, 32, 4)[..., :3], found["label"])


def test_a_tile_without_pixels_says_so(viewer):
    viewer.source.selected.indices = [5]
    assert "is rejected and has no pixels" in viewer.values.text


def test_steps_go_round_what_is_shown(viewer):
    viewer.choices["biome"].value = ["12"]
    for _ in range(4):
        viewer.press("n")
    assert viewer.open == 10  # 10, 11, 12, 10
    viewer.press("p")
    assert viewer.open == 12


def test_names_of_foreign_stores_are_text(store, tmp_path):
    subject = of_store(str(store))
    subject.title, subject.banner = "<b>x</b>.zarr", "<i>y</i>"
    viewer = Viewer(subject, tmp_path / "<u>m</u>.csv")
    assert not re.search("<b>x|<i>y|<u>m", viewer.head.text)


def test_a_plan_has_reasons_and_no_pixels(small_plan, tmp_path):
    write_plan(small_plan, tmp_path / "plan.parquet")
    subject = of_plan(str(tmp_path / "plan.parquet"))
    assert subject.pixels is None and (subject.table["status"] == "rejected").sum() == 1
    np.testing.assert_allclose(subject.table["lat"], 50.53, atol=0.05)
    viewer = Viewer(subject, tmp_path / "m.csv")
    viewer.into(Document())
    viewer.choices["status"].value = ["rejected"]
    viewer.step(1)
    assert "no_s1" in viewer.values.text


def test_outlines_are_the_worlds():
    xs, ys = continents()
    assert len(xs) == len(ys) > 20
    x, y = np.concatenate([np.array(v) for v in xs]), np.concatenate([np.array(v) for v in ys])
    assert -181 <= x.min() < -150 and 150 < x.max() <= 181 and -60 < y.min() < -50 and 80 < y.max() < 85


def test_what_a_path_is(store, tmp_path):
    assert subject_of(str(store), None).title == str(store)
    assert marks_beside(str(store)) == tmp_path / "small.zarr.marks.csv"
    assert str(marks_beside("s3://bucket/a/small.zarr/")) == "small.zarr.marks.csv"
    with pytest.raises(InputError, match="is not there; give a store, a plan"):
        subject_of(str(tmp_path / "none.zarr"), None)
    write_marks(tmp_path / "m.csv", [Mark("x", mark=KEEP)])
    with pytest.raises(InputError, match="m.csv"):
        subject_of(str(tmp_path / "m.csv"), None)
