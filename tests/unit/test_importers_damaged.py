"""Folders as they come from a bad download or a hasty script: one sentence and no store, or one bad tile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

import dwplus
from dwplus.errors import InputError
from dwplus.importers import Options, import_set
from dwplus.store.verify import verify
from tests import public_sets
from tests.unit.test_importers import first, rewrite, rewrite_all

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    root: Path = tmp_path_factory.mktemp("folders")
    for name, make in public_sets.MAKERS.items():
        make(root / name)
    return root


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def painted(path: Path) -> None:
    """A label as people export it from a drawing program: red, green, blue."""
    rewrite(path, lambda v: np.concatenate([v, v // 2, v // 3]))


def one_of_floats(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Digital numbers as floats, and one file of them changed."""
    rewrite_all(folder, "*_s2_*.tif", lambda v: v.astype("f4"))
    rewrite(sorted(folder.rglob("*_s2_*.tif"))[1], change)


def told(folder: Path, old: str, new: str) -> None:
    text = (folder / "import.yaml").read_text()
    assert old in text
    (folder / "import.yaml").write_text(text.replace(old, new))


def arrays(folder: Path, **new: Callable[[np.ndarray], np.ndarray]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(first(folder, "*.h5"), "a") as file:
        for name, change in new.items():
            values = change(file[name][...])
            del file[name]
            file.create_dataset(name, data=values)


DAMAGED: list[tuple[str, Spoil, str]] = [
    ("whu-opt-sar", lambda f: cut(first(f / "lbl", "*.tif")), "cut short or damaged"),
    ("whu-opt-sar", lambda f: painted(first(f / "lbl", "*.tif")), "has 3 bands, must have 1"),
    ("whu-opt-sar", lambda f: rewrite_all(f / "image", "*.tif", lambda v: v.astype("u2") * 16), "give --scale"),
    ("whu-opt-sar", lambda f: rewrite_all(f / "lbl", "*.tif", lambda v: v * 0), "no label file holds a class"),
    ("pie-rgb-sar", lambda f: (f / "train.txt").write_text(""), "do not name 00000"),
    ("pie-rgb-sar", lambda f: rewrite_all(f / "sar", "*.tif", lambda v: (v / 10 - 25).astype("f4")),
     "say --s1-unit dB"),
    ("pie-rgb-sar", lambda f: rewrite(first(f / "label", "*.tif"), lambda v: v.astype("f4")), "must be integers"),
    ("openearthmap-sar", lambda f: first(f / "train/rgb_images", "*.tif").unlink(), "no partner"),
    ("openearthmap-sar", lambda f: rewrite_all(f / "train/sar_images", "*.tif", lambda v: v.astype("complex64")),
     "must be real numbers"),
    ("openearthmap-sar", lambda f: cut(sorted((f / "train/sar_images").glob("*.tif"))[2]), "cut short or damaged"),
    ("dfc2020", lambda f: [(f / f"dfc-{word}-new.csv").write_bytes(b"\xff\xfe") for word in ("train", "val", "test")],
     "cannot be read"),
    ("dfc2020", lambda f: rewrite(first(f, "*_s1_*.tif"), lambda v: np.where(v < -20, -9999, v).astype("f4")),
     "name it in the files"),
    ("dfc2020", lambda f: rewrite_all(f, "*_s2_*.tif", lambda v: v * 0), "nothing but zeros"),
    ("sen12ms", lambda f: rewrite(first(f, "*_lc_*.tif"), lambda v: v[:2]), "must have 1 or 4"),
    ("sen12ms", lambda f: rewrite(first(f, "*_lc_*.tif"), lambda v: np.where(v == 1, -1, v.astype("i2"))),
     "holds code -1"),
    ("sen12ms", lambda f: rewrite_all(f, "*_s1_*.tif", lambda v: (v * 100).astype("i2")), "are no dB"),
    ("cloudlulc-set", lambda f: (f / "split/val.csv").write_text("2,a,b,c,d,e\n2,a\n"), "a row of 2 cells"),
    ("cloudlulc-set", lambda f: (f / "split/train.csv").write_bytes("split_id,label".encode("utf-16")),
     "cannot be read"),
    ("cloudlulc-set", lambda f: rewrite(first(f / "SAR_S1/VV", "*.tif"), lambda v: v[:, :-1]), "of one size"),
    ("mmearth", lambda f: cut(first(f, "*.h5")), "no HDF5"),
    ("mmearth", lambda f: arrays(f, dynamic_world=lambda v: v.astype("f4")), "labels must be integers"),
    ("mmearth", lambda f: arrays(f, sentinel2=lambda v: v[:, 0, 0]), "no array of tiles"),
    ("mmearth", lambda f: arrays(f, sentinel2=lambda v: (v / 10_000).astype("f4")), "--scale 10000"),
    ("mmearth", lambda f: first(f, "*_splits.json").write_text(json.dumps({"train": 5})), "must be a list of rows"),
    ("mmearth", lambda f: first(f, "*_splits.json").write_text(json.dumps({"train": [True]})), "names row True"),
    ("folder", lambda f: told(f, "(field_\\d+)_", "(field_["), "no regular expression"),
    ("folder", lambda f: told(f, "(field_\\d+)_", "field_"), "must have a group"),
    ("folder", lambda f: told(f, "(field_\\d+)_", "(plot_\\d+)_"), "finds no scene in the name field_0_0"),
    ("folder", lambda f: told(f, "7: wheat", "-1: wheat"), "code -1 must be 0 to 255"),
    ("folder", lambda f: told(f, "7: wheat", "7: 'win/ter wheat'"), "must be one word"),
    ("folder", lambda f: told(f, "[B2, B3, B4, B8]", "[B2, B3, B4, 'B/8']"), "band 'B/8' must be one word"),
    ("folder", lambda f: told(f, "masks/{name}.png.tif", "masks/*.tif"), "with {name} in it once"),
    ("folder", lambda f: (f / "import.yaml").write_text("- a\n"), "must be a mapping with name, optical"),
]


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_damage_is_one_sentence_and_no_store(folders, tmp_path, number):
    name, spoil, words = DAMAGED[number]
    shutil.copytree(folders / name, tmp_path / "set")
    spoil(tmp_path / "set")
    with pytest.raises(InputError) as caught:
        import_set(name, tmp_path / "set", tmp_path / "out.zarr", Options())
    assert words in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert not list(tmp_path.glob("out*/zarr.json"))


@pytest.mark.parametrize(("name", "spoil", "reason", "words"), [
    ("dfc2020", lambda f: one_of_floats(f, lambda v: v / 10_000),
     "s2_invalid", "where those of the set are digital numbers"),
    ("dfc2020", lambda f: rewrite(sorted(f.rglob("*_s1_*.tif"))[1], lambda v: (10 ** (v / 10)).astype("f4")),
     "s1_invalid", "where those of the set are dB"),
    ("dfc2020", lambda f: one_of_floats(f, lambda v: v * np.nan),
     "s2_invalid", "no optical pixel is finite"),
    ("pie-rgb-sar", lambda f: rewrite(first(f / "sar", "*.tif"), lambda v: v * 0), "s1_invalid",
     "every radar pixel is 0"),
])
def test_a_file_of_another_kind_than_its_set_is_no_tile(folders, tmp_path, name, spoil, reason, words):
    """The range of a set is that of some of its files: float reflectance in one other must not become zeros."""
    shutil.copytree(folders / name, tmp_path / "set")
    spoil(tmp_path / "set")
    found = import_set(name, tmp_path / "set", tmp_path / "out.zarr")
    assert found.rejected == {reason: 1} and found.exported == found.tiles - 1
    assert words in found.examples[0] and not verify(tmp_path / "out.zarr").faults


def test_the_fourth_band_of_bytes_is_no_alpha(folders, tmp_path):
    """GDAL writes four bands of 8 bits as red, green, blue and alpha; where near infrared is 0, the others hold."""
    shutil.copytree(folders / "whu-opt-sar", tmp_path / "set")
    path = first(tmp_path / "set/image", "*.tif")

    def dark(values: np.ndarray) -> np.ndarray:
        values[3, :20, :30] = 0
        return values

    rewrite(path, dark)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3].name == "alpha", "or there is nothing to be taken for it"
        want = raster.read()
    import_set("whu-opt-sar", tmp_path / "set", tmp_path / "out.zarr", Options(tile=64))
    group = dwplus.open_store(tmp_path / "out.zarr")["tiles"].load()
    row = list(group["tile_id"].values).index(f"{path.stem}_r00000_c00000")
    np.testing.assert_array_equal(group["s2"].values[row], want[:, :64, :64])


def test_lists_of_other_programs_are_read(folders, tmp_path):
    """A byte order mark, line ends and suffixes of Windows, upper case suffixes of files."""
    shutil.copytree(folders / "pie-rgb-sar", tmp_path / "set")
    names = (tmp_path / "set/train.txt").read_text().split()
    (tmp_path / "set/train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(f"{n}.TIF" for n in names).encode())
    for path in (tmp_path / "set").rglob("*.tif"):
        path.rename(path.with_suffix(".TIF"))
    assert import_set("pie-rgb-sar", tmp_path / "set", tmp_path / "out.zarr").exported == 6
    rows = "name,split\r\n" + "".join(f"{i:05d},{('train', 'val', 'test')[i % 3]}\r\n" for i in range(6))
    (tmp_path / "splits.csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    splits = Options(splits=str(tmp_path / "splits.csv"))
    found = import_set("pie-rgb-sar", tmp_path / "set", tmp_path / "s.zarr", splits)
    assert found.splits == {"train": 2, "val": 2, "test": 2}


def test_a_choice_of_splits_beside_lists_of_another(folders, tmp_path):
    """The lists of one re-split lie in the folder, the other is asked for."""
    shutil.copytree(folders / "dfc2020", tmp_path / "set")
    for word in ("train", "val", "test"):
        (tmp_path / f"set/dfc-{word}-new.csv").write_text("name\n")
    found = import_set("dfc2020", tmp_path / "set", tmp_path / "out.zarr", Options(splits="gfm-bench"))
    assert found.splits["test"] == 3
