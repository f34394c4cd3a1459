"""Names of scenes against the orbits of the Sentinels: real ones pass, invented ones do not."""

from __future__ import annotations

import pytest

from dwplus.scenes.orbits import doubt, doubtful, warning
from tests.unit.planet.test_orbits import ANCHORS

#: Names of real products, met in public repositories.
REAL = """
S2A_MSIL2A_20180727T104021_N0208_R008_T32VNM_20180727T134459
S2B_MSIL2A_20180821T104019_N0208_R008_T32VNM_20180821T170337
S2B_MSIL2A_20181010T104019_N0209_R008_T32VNM_20181010T171128
S2A_MSIL1C_20200626T104031_N0209_R008_T32VNM_20200626T125124
S2B_MSIL2A_20220624T104629_N0400_R051_T32VNM_20220624T122953
S2A_MSIL1C_20170116T105401_N0204_R051_T32VNM_20170116T105355
S2A_MSIL2A_20180402T151801_N0207_R068_T33XWJ_20180402T202222
S2B_MSIL1C_20200621T121649_N0209_R009_T33XWH_20200621T141815
S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126
S2B_MSIL1C_20180802T150759_N0206_R025_T31XEL_20180802T201204
S2A_MSIL1C_20220319T132851_N0400_R024_T31XEK_20220319T135444
S2B_MSIL1C_20170820T115639_N0205_R066_T35XMG_20170820T115639
S2A_MSIL2A_20210603T175911_N0300_R041_T23XML_20210603T230410
S2A_MSIL2A_20200210T073031_N0214_R049_T37MEU_20200210T130912
"""
#: Names met in public code that stand for no scene.
INVENTED = """
S1C_IW_GRDH_1SDV_20260704T093712_20260704T093737_004123_008F3B
S1A_IW_GRDH_1SDV_20260819T041309_20260819T041334_009059_012345
S2A_MSIL2A_20240601T105021_N0510_R051_T32VNM_20240601T120000
S2A_MSIL2A_20260315T052021_N0512_R019_T43QGV_20260315T120000
S2B_MSIL2A_20260926T050709_N0512_R019_T43QGV_20260926T120000
S2C_MSIL2A_20260614T075611_N0512_R035_T38TPT_20260614T120000
S1B_IW_GRDH_1SDV_20230105T052104_20230105T052129_046654_05979A
"""


@pytest.mark.parametrize("name", [line.split()[0] for line in ANCHORS.strip().splitlines()] + REAL.split())
def test_names_of_real_products_are_not_doubted(name):
    assert doubt(name) is None
    assert doubt(name + "_9846" if name[1] == "1" else name + ".SAFE") is None


@pytest.mark.parametrize("name", INVENTED.split())
def test_invented_names_are(name):
    assert doubt(name)


def test_a_real_name_with_another_orbit_day_or_satellite_is_told():
    name = "S1A_IW_GRDH_1SDV_20260106T215835_20260106T215900_062652_07DAC0"
    assert doubt(name) is None
    for wrong in (name.replace("062652", "062655"), name.replace("20260106T21", "20260107T21"),
                  name.replace("S1A", "S1C")):
        assert "relative orbit" in str(doubt(wrong))


@pytest.mark.parametrize("name", ["", "20210723T132241_20210723T132241_T22JGS", "label_dw_1p0_2p0-20190101",
                                  "S1E_IW_GRDH_1SDV_20300106T215835_20300106T215900_062652_07DAC0"])
def test_names_that_do_not_tell_are_not_doubted(name):
    assert doubt(name) is None


def test_the_warning_counts_and_shows_the_first():
    names = [*REAL.split()[:2], *INVENTED.split()[2:4]]
    assert list(doubtful(names)) == names[2:]
    said = warning(names, "products")
    assert said is not None
    assert said.startswith(f"2 of 4 products have names that no satellite can have made, the first {names[2]}: ")
    assert warning(names[:2], "products") is None


def test_doctor_warns_of_a_folder_of_annotated_tiles(tmp_path, drawn_folder):
    from pipelines.doctor import examine

    real, invented = REAL.split()[0], INVENTED.split()[2]
    for name, state in ((real, "ok"), (invented, "warn")):
        folder = drawn_folder(tmp_path / state, name)
        (check,) = [check for check in examine(scenes=str(folder)) if check.name == "scenes"]
        assert check.state == state
        assert (name in check.found) == (state == "warn")
    (check,) = [check for check in examine(scenes=str(tmp_path / "nothing.parquet")) if check.name == "scenes"]
    assert check.state == "fail" and "nothing.parquet" in check.found


@pytest.fixture
def drawn_folder():
    """Makes a folder with one annotated tile and its sheet."""
    import numpy as np
    import rasterio

    def make(folder, product):
        folder.mkdir()
        tile = "dw_9.0000000000_60.0000000000-20180727"
        with rasterio.open(folder / f"{tile}.tif", "w", driver="GTiff", width=510, height=510, count=1, dtype="uint8",
                           crs="EPSG:32632", transform=(10, 0, 497_450, 0, -10, 6_654_000)) as file:
            file.write(np.ones((510, 510), np.uint8), 1)
        (folder / "sheet.csv").write_text(f"dw_id,S2_PRODUCT_ID\n{tile},{product}\n")
        return folder

    return make
