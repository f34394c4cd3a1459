"""Published tiles as files: names, sets, sheets, codes; and the gates on a tile's pixels."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.transform import from_origin

from dwplus.errors import InputError, RefusedError
from dwplus.grid import PixelGrid, tile_from_id
from dwplus.planning.quality import refuse
from dwplus.scenes.annotated import plain_id, read_folder, read_labels, set_of
from dwplus.scenes.records import product_sensing, sensing_date
from dwplus.spec import Quality
from dwplus.store.writer import has_data
from dwplus.taxonomy import annotation_to_label

DW_ID = "dw_-63.3512901800_-3.9093045532-20190812"
GRID = tile_from_id(DW_ID).grid


def write(path, arrays, names=(), grid=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = arrays[0].shape
    with rasterio.open(path, "w", driver="GTiff", width=width, height=height, count=len(arrays), dtype="uint8",
                       crs=grid.crs, transform=from_origin(grid.x0, grid.y0, grid.scale, grid.scale)) as raster:
        for i, array in enumerate(arrays):
            raster.write(array, i + 1)
        if names:
            raster.descriptions = names


def codes(height=510, width=510):
    return (np.indices((height, width)).sum(axis=0) % 11).astype("uint8")


@pytest.mark.parametrize(("folder", "expected"), [
    ("v1/data/dev/WorkForce/WH/1", "non_expert"), ("Non_expert/WorkForce/EH/4/x.tif", "non_expert"),
    ("Non_expert_tiles/x.tif", "non_expert"), ("Experts/EH/4/x.tif", "expert"),
    ("pangaea/Experts_tiles/x.tif", "expert"), ("validation_set_tiles/expert1/x.tif", "validation"),
    ("v1/data/Validation/WH/3", "validation"), ("tiles/x.tif", "")])
def test_sets_by_folder(folder, expected):
    assert set_of(folder) == expected


def test_spellings_of_ids():
    assert plain_id("label_dw_-63p3512901800_-3p9093045532-20190812") == DW_ID
    assert plain_id(f"{DW_ID}.tif") == DW_ID and plain_id("notes") == ""
    name = "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657"
    assert product_sensing(name) == product_sensing(name + ".SAFE") == "20190812T143759_20MMA"
    assert product_sensing("S1A_IW") == "" and sensing_date("20190812T143759_20MMA") == dt.date(2019, 8, 12)


def test_a_folder_with_its_sheet(tmp_path):
    """The sheet beside the set's folder is found; its scene's day counts, not the id's; shares have the class names."""
    write(tmp_path / "Experts/WH/1" / f"{DW_ID}.tif", [codes()])
    pd.DataFrame([{"dw_id": DW_ID, "S2_PRODUCT_ID": "S2B_MSIL2A_20190815T143759_N0213_R096_T20MMA_20190812T165657",
                   "biome": 1, "biome_name": "Tropical & Subtropical Moist Broadleaf Forests", "date": "2019-08-12",
                   "Water": 0.5, "Trees": 0.3, "Snow_Ice": 0.1, "Bare_Ground": 0.1, "labeler": "x"}]).to_excel(
        tmp_path / "v1_dw_tile_metadata_for_public_release.xlsx", sheet_name="expert", index=False)
    found, = read_folder(tmp_path / "Experts")
    assert found.date == dt.date(2019, 8, 15) and found.scene.sensing == "20190815T143759_20MMA"
    assert (found.set, found.biome, found.scene.mgrs, found.scene.index) == ("expert", 1, "20MMA", f"WH/1/{DW_ID}.tif")
    assert {k: v for k, v in found.shares.items() if v} == {
        "water": 0.5, "trees": 0.3, "bare": 0.1, "snow_and_ice": 0.1}
    tile, = found.tiles(510, 10)
    assert tile.id == DW_ID and tile.grid == GRID


def test_zenodos_copy(tmp_path):
    """512 pixels, the model's label beside the drawn one: the published 510 pixels lie one in, and `lulc` is read."""
    wide = PixelGrid(GRID.epsg, GRID.x0 - 10, GRID.y0 + 10, 10.0, 512, 512)
    name = f"label_{DW_ID}.tif"
    write(tmp_path / name, [np.full((512, 512), 3, "uint8"), codes(512, 512)], ("label", "lulc"), wide)
    found, = read_folder(tmp_path)
    tile, = found.tiles(510, 10)
    assert tile.grid == GRID
    expected = annotation_to_label(codes(512, 512)[1:-1, 1:-1])
    np.testing.assert_array_equal(read_labels(tmp_path, name, tile.grid), expected)


def test_files_that_do_not_fit(tmp_path):
    write(tmp_path / "two.tif", [codes(), codes()])
    with pytest.raises(RefusedError, match="has 2 bands, none named 'lulc'"):
        read_labels(tmp_path, "two.tif", GRID)
    write(tmp_path / "code.tif", [np.full((510, 510), 11, "uint8")])
    with pytest.raises(RefusedError, match=r"codes must be 0\.\.10"):
        read_labels(tmp_path, "code.tif", GRID)
    write(tmp_path / "fine.tif", [codes()])
    for off in (GRID.block(1, 0, 510, 510), PixelGrid(GRID.epsg, GRID.x0 + 4, GRID.y0, 10.0, 500, 500)):
        with pytest.raises(RefusedError, match="does not have the tile's pixels"):
            read_labels(tmp_path, "fine.tif", off)
    (tmp_path / "sheet.csv").write_text("a,b\n1,2,3\n4")
    write(tmp_path / f"{DW_ID}.tif", [codes()])
    (tmp_path / "sheet.xlsx").write_bytes(b"no book")
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_folder(tmp_path)


def test_gates_on_pixels():
    s2 = np.zeros((3, 10, 10), "uint16")
    s1 = np.zeros((2, 10, 10), "int16")
    quality = Quality()
    assert refuse(*has_data(s2, s1), quality) == ""
    s2[1, :6] = 65535
    assert refuse(*has_data(s2, s1), quality).startswith("s2_invalid: 0.400 of the tile")
    s2[1, :6] = 0
    s1[0, :3], s1[1, 3:6] = -32768, -32768
    assert refuse(*has_data(s2, s1), quality).startswith("s1_invalid: 0.400")
    decibels = np.where(s1 == -32768, np.float32(np.nan), np.float32(-12))
    assert refuse(*has_data(s2, decibels), quality).startswith("s1_invalid: 0.400")
    assert refuse(*has_data(s2, s1), Quality(min_s1_valid=0.4)) == ""
