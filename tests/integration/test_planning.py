"""Planning on the sample planet: quotas, strata, composites, gates, requests, and what the preview says of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from dwplus.earth import connect
from dwplus.earth.stack import fetch_tile
from dwplus.earth.tables import sample_sites
from dwplus.errors import InputError, RefusedError
from dwplus.grid import tile_from_id
from dwplus.planning.plan import MORE_COLUMNS, make_plan, read_plan, write_plan
from dwplus.planning.preview import cost, pairing_rates, preview, write_map
from dwplus.spec import make_spec
from dwplus.store import layout
from dwplus.taxonomy import BIOMES, CLASSES
from tests.commands import here

WINDOW = ["2021-06-01", "2021-08-01"]


def spec(**more):
    return make_spec({"name": "p", "region": "sample", "windows": [WINDOW], **more})


def site_box(name, shrink=0.15):
    west, south, east, north = next(s for s in sample_sites(connect()) if s.name == name).polygon.bounds
    return {"bbox": [west + shrink, south + shrink, east - shrink, north - shrink]}


def planned(plan):
    return plan[plan["state"] == "planned"]


def test_at_most_ten_requests_for_a_thousand_tiles():
    session = connect()
    before = session.limiter.requests
    rows = planned(make_plan(session, spec(sampling={"per_biome": 72})))
    assert len(rows) >= 1000
    assert session.limiter.requests - before <= 10


def test_ecoregions_have_their_share():
    """Biome 11 has two ecoregions on the planet: tiles in proportion to their candidates, or alike."""
    here = [site_box("hardangervidda", 0.1), site_box("kangerlussuaq", 0.2)]
    total = make_plan(connect(), spec(region=here))
    area = total[total["biome"] == 11].groupby("ecoregion").size()
    assert len(area) == 2 and area.max() > 1.3 * area.min()
    for mode, weights in (("area", area), ("equal", area * 0 + 1)):
        rows = planned(make_plan(connect(), spec(region=here, sampling={"per_biome": 20, "ecoregions": mode})))
        counts = rows["ecoregion"].value_counts()
        assert counts.sum() == 20
        for name, weight in weights.items():
            assert abs(counts[name] - 20 * weight / weights.sum()) <= 1


@pytest.fixture(scope="module")
def stratified():
    return make_plan(connect(), spec(region=site_box("hesse"), sampling={"per_biome": 8, "strategy": "stratified"}))


def test_stratified_rates_what_the_labels_hold(stratified):
    """The letters say what the label's own pixels say."""
    session, rows = connect(), planned(stratified)
    assert len(rows) == 8
    row = rows.iloc[0]
    pixels = fetch_tile(session, spec(), tile_from_id(row["tile_id"]).grid, row["label_id"], row["s2_id"],
                        row["s1_id"].split(","))
    shares = np.bincount(pixels.label[pixels.label < 255], minlength=9) / (pixels.label < 255).sum()
    for letter, share, name in zip(row["strata"], shares, CLASSES, strict=True):
        low, high = {"-": (0, 0.01), "l": (0.002, 0.13), "m": (0.07, 0.45), "h": (0.35, 1)}[letter]
        assert low <= share <= high, name


def test_radar_without_data_is_nan_in_float_stores(stratified):
    """Where an int16 store has its fill value, a float32 store has NaN, which is what its readers take for no data."""
    session, row = connect(), planned(stratified).iloc[0]
    radar = {}
    for dtype in ("int16", "float32"):
        wanted = spec(store={"s1_dtype": dtype}, quality={"s1_edge_db": -10})  # masks a good part of the land
        pixels = fetch_tile(session, wanted, tile_from_id(row["tile_id"]).grid, row["label_id"], row["s2_id"],
                            row["s1_id"].split(","))
        radar[dtype] = pixels.s1
    masked = radar["int16"] == layout.S1_NODATA
    assert 0.01 < masked.mean() < 0.99
    np.testing.assert_array_equal(np.isnan(radar["float32"]), masked)
    assert np.nanmin(radar["float32"]) > -60


def test_stratified_keeps_its_tiles_when_more_are_wanted(stratified):
    more = make_plan(connect(), spec(region=site_box("hesse"), sampling={"per_biome": 13, "strategy": "stratified"}))
    assert set(planned(stratified)["tile_id"]) < set(planned(more)["tile_id"]) and len(planned(more)) == 13
    again = make_plan(connect(), spec(region=site_box("hesse"), sampling={"per_biome": 8, "strategy": "stratified"}))
    assert again.drop(columns="geometry").equals(stratified.drop(columns="geometry"))


def test_stratified_evens_levels_out(stratified):
    """Levels of the classes are taken more evenly than in seeded order."""
    whole = make_plan(connect(), spec(region=site_box("hesse"), sampling={"strategy": "stratified"}))
    letters = planned(whole).set_index("tile_id")["strata"]
    plain = planned(make_plan(connect(), spec(region=site_box("hesse"), sampling={"per_biome": 8})))["tile_id"]

    def kinds(ids):
        return len({(i, letter) for tile in ids for i, letter in enumerate(letters[tile]) if letter != "-"})

    assert kinds(planned(stratified)["tile_id"]) >= kinds(plain)


def test_mode_composite():
    """Each pixel is the class most of the scenes agree on; the scenes are those that cover the tile."""
    session, wanted = connect(), spec(region=site_box("sonora", 0.25), labels={"per_window": "mode"},
                                      windows=[["2021-06-01", "2021-06-20"]])
    rows = planned(make_plan(session, wanted))
    row = rows.loc[rows["label_id"].str.count(",").idxmax()]
    ids = row["label_id"].split(",")
    assert len(ids) >= 3 and len(set(ids)) == len(ids) and ids[0][:15] == row["s2_id"][:15]
    grid = tile_from_id(row["tile_id"]).grid.block(0, 0, 96, 96)
    s1 = row["s1_id"].split(",")
    composite = fetch_tile(session, wanted, grid, row["label_id"], row["s2_id"], s1).label
    single = np.stack([fetch_tile(session, wanted, grid, i, row["s2_id"], s1).label for i in ids])
    votes = np.stack([(single == k).sum(axis=0) for k in range(9)])
    drawn = composite < 255
    assert ((votes.sum(axis=0) > 0) == drawn).all()
    taken = np.take_along_axis(votes, composite.clip(0, 8)[None].astype(int), axis=0)[0]
    assert (taken[drawn] == votes.max(axis=0)[drawn]).all()
    # The best single scene is the same with and without the composite.
    best = planned(make_plan(session, spec(region=site_box("sonora", 0.25), windows=[["2021-06-01", "2021-06-20"]])))
    assert best.set_index("tile_id")["s2_id"].equals(rows.set_index("tile_id")["s2_id"])


def test_clear_tiles_by_the_labels_own_mask():
    """What the plan measured is what the exported label shows; cloudier tiles are rejected with the reason."""
    session = connect()
    wanted = spec(region=site_box("hesse", 0.24), quality={"clouds": "label", "min_clear": 0.9},
                  windows=[["2021-06-01", "2021-06-15"]])
    rows = make_plan(session, wanted)
    fine = planned(rows)
    assert (fine["clear"] >= 0.9).all() and rows.loc[rows["state"] == "rejected", "clear"].isna().all()
    row = fine.loc[fine["clear"].idxmin()]
    label = fetch_tile(session, wanted, tile_from_id(row["tile_id"]).grid, row["label_id"], row["s2_id"],
                       row["s1_id"].split(",")).label
    assert (label < 255).mean() == pytest.approx(row["clear"], abs=0.03)
    strict = spec(region=site_box("hesse", 0.24), quality={"clouds": "label", "min_clear": 1.0},
                  windows=[["2021-06-01", "2021-06-15"]])
    try:
        left = make_plan(session, strict)
    except InputError as error:
        assert "clouded" in str(error)
    else:
        assert len(planned(left)) <= len(fine) and (planned(left)["clear"] == 1).all()


def test_clear_tiles_by_cloud_score():
    session = connect()
    wanted = spec(region=site_box("hesse", 0.25), quality={"clouds": "cloud-score-plus"},
                  windows=[["2021-06-01", "2021-06-15"]])
    try:
        rows = make_plan(session, wanted)
    except RefusedError as error:
        assert "use label instead" in str(error)
        pytest.skip("this Earth has no Cloud Score+")
    assert planned(rows)["clear"].between(0.7, 1).all()


def test_a_large_region_is_thinned_and_keeps_its_tiles_when_more_are_wanted():
    """Half a continent, 400,000 lattice cells: found by a map of ecoregions, in a few requests."""
    here = {"bbox": [-75, -40, -40, -5]}
    session = connect()
    before = session.limiter.requests
    few = make_plan(session, spec(region=here, sampling={"per_biome": 3}))
    assert session.limiter.requests - before <= 10
    more = make_plan(session, spec(region=here, sampling={"per_biome": 5}))
    assert planned(few).groupby("biome").size().to_dict() == {1: 3, 7: 3, 8: 3, 9: 3}
    assert set(planned(few)["tile_id"]) < set(planned(more)["tile_id"])
    # The same lattice as that of small regions, and exact places.
    for row in planned(few).itertuples():
        grid = tile_from_id(row.tile_id).grid
        assert grid.x0 % 5100 == 0 and grid.y0 % 5100 == 0
    again = make_plan(session, spec(region=here, sampling={"per_biome": 3}))
    assert again.drop(columns="geometry").equals(few.drop(columns="geometry"))


def test_label_grid_tiles_do_not_overlap():
    rows = planned(make_plan(connect(), spec(region=site_box("matopiba", 0.05), tile={"grid": "label"})))
    shapes = rows.geometry.to_numpy()
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for i, j in zip(one, other, strict=True):
        if i < j:
            assert shapely.intersection(shapes[i], shapes[j]).area < 0.005 * shapes[i].area
    assert len(rows) > 20


def test_a_stingy_service_gives_the_same_plan_and_is_asked_for_less_from_then_on():
    """Requests above 10 kB answer "too large": bundles are halved, and later ones begin with the halved size."""
    from dataclasses import replace

    from dwplus.earth.session import Session
    from dwplus.errors import TooLargeError

    refused, sent = [], []

    class Stingy(Session):
        def compute(self, value):
            size = len(value.serialize())
            (refused if size > 10_000 else sent).append(size)
            if size > 10_000:
                raise TooLargeError("User memory limit exceeded.")
            return super().compute(value)

    session = connect()
    wanted = spec(region={"bbox": [-75, -40, -40, -5]}, sampling={"per_biome": 12})
    stingy = Stingy(session.config, session.description, session.limiter)
    plan = make_plan(stingy, wanted)
    assert plan.drop(columns="geometry").equals(make_plan(session, wanted).drop(columns="geometry"))
    assert refused and len(refused) < len(sent)
    assert replace(session.config) == stingy.config


def test_l1c_stands_in_where_l2a_is_missing():
    """2017: the planet, like the archive, lacks some L2A twins."""
    when = [["2017-05-01", "2017-09-01"]]
    strict = make_plan(connect(), spec(region=site_box("guadalquivir"), windows=when, labels={"per_window": "all"}))
    mixed = make_plan(connect(), spec(region=site_box("guadalquivir"), windows=when, labels={"per_window": "all"},
                                      sentinel2={"fallback": "toa"}))
    sr, toa = (planned(mixed)[planned(mixed)["s2_product"] == p] for p in ("sr", "toa"))
    assert set(planned(strict)["s2_product"]) == {"sr"} and len(toa) > 0
    assert set(zip(planned(strict)["tile_id"], planned(strict)["s2_id"], strict=True)) == set(
        zip(sr["tile_id"], sr["s2_id"], strict=True))
    row = toa.iloc[0]
    grid = tile_from_id(row["tile_id"]).grid.block(0, 0, 64, 64)
    pixels = fetch_tile(connect(), spec(), grid, row["label_id"], row["s2_id"], row["s1_id"].split(","), "toa")
    assert (pixels.s2 != 65535).mean() > 0.9
    with pytest.raises(RefusedError):
        fetch_tile(connect(), spec(), grid, row["label_id"], row["s2_id"], row["s1_id"].split(","))


def test_overlapping_windows_plan_a_scene_once():
    rows = make_plan(connect(), spec(region=site_box("sonora", 0.25), windows=[WINDOW, ["2021-06-01", "2021-08-15"]]))
    keys = planned(rows)[["tile_id", "label_id"]]
    assert not keys.duplicated().any()
    assert (rows["reason"] == "duplicate").any()


def test_orbit_preferences_change_passes_only_within_their_hours():
    plain = planned(make_plan(connect(), spec(sampling={"per_biome": 3}))).set_index("tile_id")
    chosen = planned(make_plan(connect(), spec(sampling={"per_biome": 3}, sentinel1={
        "prefer_orbit": "ascending", "prefer_hours": 36}))).set_index("tile_id")
    both = chosen.index.intersection(plain.index)
    assert len(both) == len(plain)
    longer = chosen.loc[both, "gap_hours"].abs() - plain.loc[both, "gap_hours"].abs()
    assert (longer >= -1e-9).all() and (longer <= 36).all() and (longer > 0).any()
    assert (chosen.loc[longer[longer > 0].index, "orbit_pass"] == "ASCENDING").all()
    assert set(plain["platform"]) <= {"A", "B"}
    assert (plain["platform"] == plain["s1_id"].str[2]).all()


def test_plans_of_before_are_read(tmp_path):
    rows = make_plan(connect(), spec(region=site_box("sonora", 0.25)))
    write_plan(rows.drop(columns=list(MORE_COLUMNS)), tmp_path / "old.parquet")
    old = read_plan(tmp_path / "old.parquet")
    assert set(MORE_COLUMNS) <= set(old.columns) and (old["platform"] == "").all()


def test_preview_adds_up(tmp_path):
    rows = make_plan(connect(), spec(windows=[WINDOW, ["2019-06-01", "2019-08-01"]], sampling={"per_biome": 2},
                                     sentinel1={"max_gap_hours": 60}))
    text = preview(rows, budget=0.001)
    fine = planned(rows)
    table = text[1:1 + len(BIOMES)]
    assert text[0].split()[-3:] == ["2019", "2021", "all"] and len(table) == fine["biome"].nunique() == 14
    assert sum(int(line.split()[-1]) for line in table) == len(fine)
    rates = pairing_rates(rows)
    tried = len(fine) + rows["reason"].isin(["no_s1", "s1_partial"]).sum()
    assert rates[1] == (fine["gap_hours"].abs() <= 24).sum() / tried and rates[1] < rates[3] <= 1
    joined = "\n".join(text)
    assert "6 d not searched" in joined and "assumed, not measured on the service" in joined
    bars = [line for line in text if " to " in line and line.startswith("  ")]
    assert sum(int(line.split()[3]) for line in bars) == len(fine)
    if (rows["state"] == "rejected").any():
        assert "rejected" in text
    # Of two tiles a biome, each a block, some splits get none of some biomes, and that is said.
    for split in ("train", "val", "test"):
        lacks = sorted(set(fine["biome"]) - set(fine.loc[fine["split"] == split, "biome"]))
        said = [line for line in text if line.startswith(f"split {split} has no tile of biome")]
        assert [line.rpartition("biome")[2].lstrip("s ") for line in said] == (
            [", ".join(map(str, lacks))] if lacks else [])
    assert "which classes are missing is not known" in joined
    found = cost(rows, spec())
    assert found.requests == found.tiles == len(fine) and found.raw_bytes == len(fine) * 510 ** 2 * (2 * 10 + 2 * 2 + 1)
    assert f"{found.eecu_hours / 0.001:.0%} of it, exceeds it" in joined
    for name in ("map.html", "map.png"):
        write_map(rows, tmp_path / name)
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert all(tile in page for tile in fine["tile_id"]) and (tmp_path / "map.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="must end in .html or .png"):
        write_map(rows, tmp_path / "map.pdf")


def test_regions_at_the_edge_of_the_map():
    """The antimeridian is ground like any other; beyond UTM the spec is refused before a request is sent."""
    session = connect()
    before = session.limiter.requests
    with pytest.raises(InputError, match="UTM serves 80 S to 84 N"):
        make_plan(session, spec(region={"bbox": [0, 83, 10, 86]}))
    assert session.limiter.requests == before
    with pytest.raises(InputError, match="has no ground here.*no_ecoregion"):
        make_plan(session, spec(region={"bbox": [179.9, -17.05, -179.9, -16.95]}))


def test_regenerate_gives_drawn_tiles_new_dates():
    from pipelines.regenerate import spec_for

    old = make_spec({"name": "d", "region": "sample", "windows": [["2019-01-01", "2020-01-01"]],
                     "tile": {"grid": "label"}, "labels": {"source": "annotations", "path": "somewhere"}})
    new = spec_for(old, "2021-01-01", "2021-06-01")
    assert new.labels.source == "dynamic-world-v1" and new.tile.grid == "utm" and new.sampling == old.sampling
    assert json.loads(new.to_json())["windows"] == [{"start": "2021-01-01", "end": "2021-06-01"}]


def test_the_command_prints_the_preview_and_draws_maps(tmp_path):
    """As a user calls it: preview, budget, maps and the sum of the states; a map of another kind is refused at once."""
    box = site_box("pampas", 0.2)["bbox"]
    (tmp_path / "spec.yaml").write_text(f"name: few\nregion: {{bbox: {box}}}\nwindows:\n  - [2021-06-01, 2021-08-01]\n")

    def run(*more):
        return here("dwplus", "plan", tmp_path / "spec.yaml", "-o", tmp_path / "p.parquet", *more)

    done = run("--budget", "2", "--map", str(tmp_path / "m.html"), "--map", str(tmp_path / "m.png"))
    assert done.returncode == 0, done.stderr
    for words in ("tiles by biome and year", "gap S1 - S2, hours", "budget of 2 EECU-hours", "candidates ="):
        assert words in done.stdout
    assert (tmp_path / "m.html").is_file() and (tmp_path / "m.png").is_file()
    (tmp_path / "p.parquet").unlink()
    wrong = run("--map", "m.pdf")
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1 and not (tmp_path / "p.parquet").exists()
