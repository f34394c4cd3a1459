"""What a person says of tiles is taken by plans, splits and training, and by nothing else than the tiles named."""

import pandas as pd
import pytest

import dwplus
from dwplus.errors import InputError
from dwplus.planning.plan import make_plan
from dwplus.spec import make_spec
from dwplus.store import layout, writer
from dwplus.store.marks import BAD, KEEP, NOTE, Mark, bad_tiles, is_bad, read_marks, write_marks
from dwplus.store.reader import tile_table
from dwplus.store.resplit import resplit
from dwplus.store.verify import verify
from dwplus.store.writer import TileResult
from model.data import TileDataset


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created="2026-01-02T03:04:05Z", earth="embedded-earth")
    for name, count in (("biome_04", 10), ("biome_12", 3)):
        group = layout.open_root(path, "r+")[name]
        for start in range(0, count, 4):
            stop = min(start + 4, count)
            writer.write_shard(group, start, stop, {i: TileResult(layout.EXPORTED, "", *pixels_of(i))
                                                    for i in range(start, stop)})
    return path


def marks_of(path, *tiles):
    marks = [Mark(tile, "", BAD, 'a "quoted", note\nof two lines') for tile in tiles]
    marks += [Mark("somewhere_else", "", BAD), Mark("utm_kept", "", KEEP), Mark("utm_n", "", NOTE, "x")]
    write_marks(path, marks)
    return path


def test_what_is_written_is_read(tmp_path):
    file = marks_of(tmp_path / "m.csv", "utm_1")
    assert read_marks(file)[0] == Mark("utm_1", "", BAD, 'a "quoted", note\nof two lines')
    assert bad_tiles(file) == {("utm_1", ""), ("somewhere_else", "")}
    assert not list(tmp_path.glob(".*"))


def test_any_list_of_tiles_will_do(tmp_path):
    pd.DataFrame({"biome": [4], "tile_id": ["utm_1"]}).to_csv(tmp_path / "list.csv", index=False)
    assert bad_tiles(tmp_path / "list.csv") == {("utm_1", "")}


def test_a_mark_may_be_of_one_window():
    table = pd.DataFrame({"tile_id": ["a", "a", "b"], "window": ["2019", "2020", "2020"]})
    assert is_bad(table, frozenset({("a", "2019")})).tolist() == [True, False, False]
    assert is_bad(table, frozenset({("a", "")})).tolist() == [True, True, False]


@pytest.mark.parametrize(("text", "words"), [
    (None, "no such file"), ("", "cannot be read as CSV"),
    ("name,mark\nx,bad\n", "has no column tile_id, only name, mark"),
    ("tile_id,mark\nx,terrible\n", "line 2: mark 'terrible' must be one of bad, keep, note"),
    ("tile_id,mark\n,bad\n", "line 2: has no tile_id")])
def test_bad_files_are_one_sentence(tmp_path, text, words):
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        bad_tiles(tmp_path / "m.csv")


def test_training_leaves_them_out(store, tmp_path):
    names = [str(name) for name in tile_table(store).query("split == 'train'")["tile_id"]]
    file = marks_of(tmp_path / "m.csv", names[1])
    whole, some = TileDataset(store, "train"), TileDataset(store, "train", exclude=file)
    assert whole.table["tile_id"].tolist() == names
    assert some.table["tile_id"].tolist() == [name for name in names if name != names[1]]


def test_splits_set_them_aside(store, tmp_path):
    resplit([store])
    before = tile_table(store).set_index("tile_id")["split"].astype(str)
    chosen = before.index[[0, 5]]
    resplit([store], bad=bad_tiles(marks_of(tmp_path / "m.csv", *chosen)))
    after = tile_table(store).set_index("tile_id")["split"].astype(str)
    assert (after[chosen] == "guard").all()
    assert after.drop(chosen).equals(before.drop(chosen)) and verify(store).faults == []
    assert layout.open_root(store).attrs["splits"]["marked"] == sorted(chosen)
    resplit([store])
    assert tile_table(store).set_index("tile_id")["split"].astype(str).equals(before)


def test_plans_reject_them_and_draw_others():
    session = dwplus.connect()
    spec = make_spec({"name": "x", "region": {"bbox": [9.10, 51.15, 9.30, 51.25]}, "tile": {"size": 128},
                      "windows": [["2021-06-01", "2021-07-01"]], "sampling": {"per_biome": 5}})
    first = make_plan(session, spec)
    gone = first.loc[first["state"] == "planned", "tile_id"].iat[0]
    other = make_plan(session, spec, bad=frozenset({(gone, "")}))
    row = other[other["tile_id"] == gone].iloc[0]
    assert (row["state"], row["reason"]) == ("rejected", "marked")
    assert (first["state"] == "planned").sum() == (other["state"] == "planned").sum() == 5
    elsewhere = make_plan(session, spec, bad=frozenset({(gone, "2019-06-01/2019-07-01")}))
    assert elsewhere["state"].tolist() == first["state"].tolist()
