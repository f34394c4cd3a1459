"""The procedural planet: tiles annotated by people."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import SITES, Planet
from dwplus.embedded_earth.planet.dw_labels import (
    EXPERT,
    NON_EXPERT,
    SHARES,
    VALIDATION,
    AnnotationScene,
    center_of,
    point_of,
)
from dwplus.embedded_earth.planet.landscape import Cache
from dwplus.embedded_earth.planet.orbits import (
    day_of,
    ms_of,
)
from dwplus.embedded_earth.planet.sites import Site
from dwplus.taxonomy import BIOMES, IGNORE, annotation_to_label
from tests.unit.planet.conftest import DRAWN, SR, TOA, around, named, read_fresh, spec_of

# ---- annotated tiles -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def drawn(planet) -> list[AnnotationScene]:
    """A few sites' annotated tiles; all sites' take 2 s."""
    return [tile for world in planet._worlds if world.site.name in ("hesse", "pampas", "sundarbans")
            for tile in world.annotated]


def test_annotated_tiles_lie_as_their_ids_say():
    """The one tile whose outline is public: EPSG:32720, x 458460..463560, y 9565330..9570430."""
    site = Site("x", 1, "x", 0, "x", -63.35, -3.9, SITES[0].recipe)
    assert center_of(site, -63.3512901800, -3.9093045532) == (461_010, 9_567_880)
    assert point_of("label_dw_-63p3512901800_-3p9093045532-20190812") == (-63.3512901800, -3.9093045532)
    assert point_of("dw_-63.35_-3.9-20190812") is None


def test_annotated_tiles_have_the_rows_of_the_real_collection(planet, drawn):
    for tile in drawn:
        p = tile.properties
        site = tile.annotation.overpass.granule.site
        assert tile.id == f"{DRAWN}/{p['system:index']}"
        assert p["dw_id"] == f"dw_{p['lon']:.10f}_{p['lat']:.10f}-{p['date'].replace('-', '')}"
        assert p["system:index"] == "label_" + p["dw_id"].replace(".", "p")
        assert p["system:time_start"] == p["timestamp"] == ms_of(dt.date.fromisoformat(p["date"]))
        assert p["system:time_end"] - p["system:time_start"] == 86_400_000
        assert (p["biome"], p["biome_name"], p["crs"]) == (site.biome, BIOMES[site.biome], f"epsg:{site.epsg}")
        assert p["eco_region"] == site.ecoregion
        (spec,) = tile.bands
        assert (spec.id, spec.width, spec.height, spec.pyramid, spec.crs) == ("lulc", 510, 510, "mode",
                                                                              p["crs"].upper())
        x, y = center_of(site, p["lon"], p["lat"])
        assert spec.transform == (10, 0, x - 2_550, 0, -10, y + 2_550)
        assert int((p["lon"] + 180) // 6) + 1 == site.zone
        assert p["S2_LEVEL"] in ("1C", "2A")
        assert p["S2_PRODUCT_ID"].split("_")[5] == "T" + p["S2_GRID"]
        assert p["S2_DATASTRIP_ID"].startswith(p["S2_PRODUCT_ID"][:3] + "_OPER_MSI_L")
    again = planet.image(drawn[30].id)
    assert again is not None
    assert again.properties == drawn[30].properties
    assert planet.asset_type(drawn[30].id) == "IMAGE"
    assert planet.asset_type(DRAWN) == "IMAGE_COLLECTION"
    assert planet.image(drawn[30].id[:-1] + "0") is None
    site = named("pampas")
    there = planet.scenes(DRAWN, ms_of(dt.date(2019, 1, 1)), ms_of(dt.date(2019, 7, 1)), around(site, 0.5))
    assert there
    assert {t.properties["eco_region"] for t in there} == {"Humid Pampas"}
    assert all(t.properties["date"].startswith("2019-0") for t in there)


def test_the_scene_of_an_annotated_tile_is_there_and_holds_it(planet, drawn):
    for tile in drawn:
        p = tile.properties
        index = p.get("S2_GEE_ID")
        if not index:
            continue
        scene = planet.image(f"{SR if p['S2_LEVEL'] == '2A' else TOA}/{index}")
        assert scene is not None
        assert scene.properties["PRODUCT_ID"] == p["S2_PRODUCT_ID"]
        assert scene.properties["MGRS_TILE"] == p["S2_GRID"]
        assert day_of(scene.properties["system:time_start"]).isoformat() == p["date"]
        window = tile.annotation.window
        sx, _, tx, _, _, ty = spec_of(scene, "B4").transform
        _, _, left, _, _, top = tile.bands[0].transform
        assert (tx + sx * window.col, ty - sx * window.row) == (left, top)
        assert 0 <= min(window.row, window.col) <= max(window.row, window.col) <= 10_980 - 510
        assert scene.overpass.valid(window, 10) is None


def test_every_biome_has_annotated_tiles_by_all_three(planet):
    tiles = planet.scenes(DRAWN)
    by_biome = {b: [t for t in tiles if t.properties["biome"] == b] for b in BIOMES}
    assert min(map(len, by_biome.values())) >= 20
    assert len({t.id for t in tiles}) == len(tiles)
    for found in by_biome.values():
        kinds = {t.properties["folder"].split("/")[3] for t in found}
        assert kinds == {"Validation", "Experts", "WorkForce"}
    years = [t.properties["date"][:4] for t in tiles]
    assert set(years) == {"2017", "2018", "2019"}
    assert years.count("2019") > 0.8 * len(years)
    empty = [t.properties.get("S2_GEE_ID", "absent") for t in tiles]
    assert 0 < empty.count("") < 0.1 * len(tiles)
    assert 0 < empty.count("absent") < 0.1 * len(tiles)
    starts = [t.properties["system:time_start"] for t in tiles]
    assert starts == sorted(starts)


def test_drawings_are_like_people_s(planet, drawn):
    from scipy.ndimage import label as components
    marked, clouds = [], 0
    for tile in drawn[::5]:
        a = tile.annotation
        (codes, valid), = tile.read(("lulc",), Window(0, 0, 510, 510)).values()
        assert codes.dtype == np.uint8
        assert codes.max() <= 10
        assert np.array_equal(valid, codes > 0) if valid is not None else codes.all()
        p = tile.properties
        assert p["NBPixels"] == (codes > 0).sum()
        for code, name in enumerate(SHARES, 1):
            assert p[name] == pytest.approx((codes == code).sum() / p["NBPixels"])
        assert sum(p[name] for name in SHARES) == pytest.approx(1)
        if tile is drawn[0]:
            part = read_fresh(tile.id, ("lulc",), Window(100, 37, 21, 300))["lulc"]
            assert np.array_equal(part[0], codes[100:121, 37:337])
        # nothing smaller than 5 x 5 pixels was drawn
        sizes = np.concatenate([np.bincount(components(codes == k)[0].ravel())[1:] for k in range(11)])
        assert sizes[sizes < 25].sum() < 0.002 * codes.size
        truth = a.overpass.landscape.label(a.overpass.box(a.window, 10), a.overpass.flight.day)
        edges = [np.mean(m[:, 1:] != m[:, :-1]) for m in (truth, codes)]
        assert edges[1] < 0.05
        assert edges[1] < max(0.7 * edges[0], 0.03)  # outlines are rounder than the land's
        marked.append(p["NBPixels"] / codes.size)
        clouds += int((codes == 10).sum())
    assert clouds > 0
    assert 0.4 < min(marked) < max(marked) < 1
    assert 0.7 < np.mean(marked) < 0.95


def test_experts_draw_better_than_others(drawn):
    """The same tiles by each: three experts' consensus is nearest to the truth, at the price of unmarked places."""
    right = {kind: 0 for kind in (VALIDATION, EXPERT, NON_EXPERT)}
    known = dict(right)
    for tile in drawn[2::12]:
        o = tile.annotation.overpass
        truth = o.landscape.label(o.box(tile.annotation.window, 10), o.flight.day)
        for kind in right:
            label = annotation_to_label(AnnotationScene(replace(tile.annotation, labeler=kind), Cache(0)).codes())
            known[kind] += int((label != IGNORE).sum())
            right[kind] += int((label == truth).sum())
    share = {kind: right[kind] / known[kind] for kind in right}
    assert share[NON_EXPERT] + 0.03 < share[EXPERT] < share[VALIDATION] - 0.03
    assert 0.65 < share[NON_EXPERT] < 0.9
    assert known[VALIDATION] < known[EXPERT]


def test_listing_annotated_tiles_draws_none(planet):
    """The shares of the classes cost pixels: a filter by biome or date must not pay for them."""
    tile = next(t for world in Planet()._worlds if world.site.name == "sonora" for t in world.annotated)
    p = tile.properties
    assert "Water" in p
    assert p.get("biome") == 13
    assert p.get("nothing") is None
    assert tile.id not in tile._drawn._items
    assert 0 <= p["Water"] <= 1
    assert tile.id in tile._drawn._items
    assert set(SHARES) | {"NBPixels", "dw_id"} <= set(dict(p)) == set({**p}) == set(p.keys())
    with pytest.raises(KeyError):
        p["nothing"]
