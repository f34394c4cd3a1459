"""Files that others name stay below their folder; what we make follows the umask."""

import os
import stat

import pytest

from dwplus.errors import InputError, RefusedError
from dwplus.grid import PixelGrid
from dwplus.planning.plan import write_plan
from dwplus.runtime.paths import all_below, below
from dwplus.scenes.annotated import read_folder, read_labels
from dwplus.store import layout
from dwplus.store.folder import _file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "out.tif").write_bytes(b"x")
    (tmp_path / "in" / "sub" / "a.tif").write_bytes(b"x")
    (tmp_path / "in" / "link.tif").symlink_to(tmp_path / "out.tif")
    (tmp_path / "in" / "linked").symlink_to(tmp_path)
    (tmp_path / "in" / "inner.tif").symlink_to(tmp_path / "in" / "sub" / "a.tif")
    return tmp_path / "in"


@pytest.mark.parametrize("name", ["/etc/hostname", "../out.tif", "sub/../../out.tif", "..\\out.tif", "C:\\out.tif",
                                  "link.tif", "linked/out.tif", "a\0b"])
def test_names_that_lead_out(folder, name):
    with pytest.raises(InputError, match="must be a path below|leads out of") as caught:
        below(folder, name, "file")
    assert "\n" not in str(caught.value)
    with pytest.raises(RefusedError):
        read_labels(folder, name, PixelGrid(32631, 500000, 5600000, 10, 4, 4))
    with pytest.raises(InputError):
        _file(folder, {"label": name}, "label")


def test_names_that_stay(folder, tmp_path):
    for name in ("sub/a.tif", "inner.tif", "./sub/a.tif", "..a/not there yet"):
        assert below(folder, name, "file") == folder / name
    (tmp_path / "root").symlink_to(folder)  # the root itself may be one
    assert below(tmp_path / "root", "sub/a.tif", "file").is_file()


def test_many_files_of_a_folder(folder, tmp_path):
    all_below(folder, [folder / "sub" / "a.tif", folder / "inner.tif"], "file")
    for path in (folder / "link.tif", folder / "linked" / "out.tif", tmp_path / "out.tif", folder / ".." / "out.tif"):
        with pytest.raises(InputError, match="must be a path below|leads out of"):
            all_below(folder, [folder / "sub" / "a.tif", path], "file")


def test_a_label_folder_with_a_link_that_leads_out(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "dw_3.0_50.0-20200101.tif").write_bytes(b"x")
    (tmp_path / "labels" / "dw_3.0_50.0-20200101.tif").symlink_to(tmp_path / "dw_3.0_50.0-20200101.tif")
    with pytest.raises(InputError, match="leads out of"):
        read_folder(tmp_path / "labels")


@pytest.mark.parametrize(("mask", "folders", "files"), [(0o077, 0o700, 0o600), (0o022, 0o755, 0o644),
                                                        (0o002, 0o775, 0o664)])
def test_what_is_made_has_the_mode_of_the_umask(tmp_path, small_plan, small_spec, mask, folders, files):
    before = os.umask(mask)
    try:
        write_plan(small_plan, tmp_path / "p.parquet")
        layout.create(tmp_path / "s.zarr", small_plan, small_spec, created="2026-01-02T03:04:05Z", earth="earth-engine")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes[tmp_path / "s.zarr"] == folders and modes[tmp_path / "p.parquet"] == files
    assert {mode for path, mode in modes.items() if path.is_dir()} == {folders}
    assert {mode for path, mode in modes.items() if path.is_file()} == {files}
    assert not [path for path in modes if path.name.startswith(".")]
