"""Relief: what slopes do to radar and camera, terrain models of the same ground, veils, and how labels err."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from dwplus.embedded_earth.catalog import Window
from dwplus.embedded_earth.planet import SITES
from dwplus.embedded_earth.planet.landscape import BLENDS, CROPS, FLOODED, GRASS, STATES, TREES, WATER
from dwplus.embedded_earth.planet.terrain import (
    ANGLE_STEP,
    MOST_GAIN_DB,
    RISE_STEPS,
    SHADOW_DB,
    area_gain,
    aspect,
    gain_table,
    illumination,
    in_layover,
    in_shadow,
    local_incidence,
    steepness,
)
from tests.unit.planet.conftest import DW, S1, SR, TOA, covering, named, scenes, window_at

GLO30, SRTM = "COPERNICUS/DEM/GLO30_2024_1", "USGS/SRTMGL1_003"


def world_of(planet, name):
    return next(world for world in planet._worlds if world.site.name == name)


# ---- closed forms ----------------------------------------------------------------------------------------------------

def test_flat_ground_changes_nothing():
    theta = np.linspace(20, 47, 28)
    assert np.allclose(local_incidence(theta, 0.0), theta)
    assert np.allclose(area_gain(theta, 0.0), 1)
    assert np.allclose(illumination(0.0, 0.0, 55, 160), 1)


@pytest.mark.parametrize("theta", [31.0, 38.0, 45.0])
@pytest.mark.parametrize("alpha", [-30.0, -10.0, 8.0, 25.0])
def test_slopes_in_the_look_direction_follow_the_published_models(theta, alpha):
    """Vollrath et al. 2020 (Remote Sensing 12, 1867), slope alpha towards the sensor: surface sin / sin, and of gamma
    nought volume tan / tan."""
    rise = np.tan(np.radians(alpha))
    assert np.isclose(local_incidence(theta, rise), theta - alpha)
    assert np.isclose(area_gain(theta, rise), np.sin(np.radians(theta)) / np.sin(np.radians(theta - alpha)))
    volume = area_gain(theta, rise) * np.cos(np.radians(theta - alpha)) / np.cos(np.radians(theta))
    assert np.isclose(volume, np.tan(np.radians(90 - theta + alpha)) / np.tan(np.radians(90 - theta)))


def test_folding_begins_at_the_incidence_angle_and_shadow_at_its_complement():
    for theta in (30.0, 40.0):
        slopes = np.tan(np.radians([theta - 1, theta + 1, -(90 - theta) + 1, -(90 - theta) - 1]))
        assert in_layover(theta, slopes).tolist() == [False, True, False, False]
        assert in_shadow(theta, slopes).tolist() == [False, False, False, True]
        assert local_incidence(theta, slopes[3]) > 90 > local_incidence(theta, slopes[2])
        assert area_gain(theta, slopes[1]) < 0 < area_gain(theta, slopes[0])


def test_the_table_is_the_closed_form():
    table = gain_table(30.5, 46.0)
    theta = 30.5 + (np.arange(table.shape[0])[:, None] + 0.5) * ANGLE_STEP
    rise = np.arange(-RISE_STEPS, RISE_STEPS + 1)[None, :] / 100
    exact = area_gain(theta, rise) / np.sqrt(1 + rise ** 2)
    plain = (exact > 0) & (exact < 10 ** (MOST_GAIN_DB / 10)) & ~in_shadow(theta, rise)
    assert plain.mean() > 0.5
    assert np.allclose(table[plain], 10 * np.log10(exact[plain]), atol=1e-4)
    assert (table[np.broadcast_to(in_layover(theta, rise), table.shape)] == np.float32(MOST_GAIN_DB)).all()
    assert (table[in_shadow(theta, rise)] == np.float32(SHADOW_DB)).all()


def test_slope_and_aspect():
    assert np.allclose(steepness([0.0, 1.0, 0.3], [0.0, 0.0, 0.4]), [0, 45, np.degrees(np.arctan(0.5))])
    # ground that rises eastwards faces west; one that rises northwards faces south
    assert np.allclose(aspect([0.5, 0.0, -0.5, 0.0], [0.0, 0.5, 0.0, -0.5]), [270, 180, 90, 0])


# ---- one ground for all ----------------------------------------------------------------------------------------------

def test_some_sites_have_hills_and_some_have_none(planet):
    hilly = {world.site.name for world in planet._worlds if world.landscape.hilly}
    assert {"cascades", "drakensberg", "bergen", "ny_alesund"} < hilly
    assert {"pampas", "pantanal", "sundarbans", "rondonia"}.isdisjoint(hilly)


@pytest.mark.parametrize("name", ["cascades", "kangerlussuaq"])
def test_slopes_are_those_of_the_heights(planet, name):
    land = world_of(planet, name).landscape
    x0, y0 = land.site.center
    east, north = land.slopes(land.box(x0, y0, 320, 320))
    x, y = x0 + 5 + 10 * np.arange(320), y0 - 5 - 10 * np.arange(320)
    gradient = [land.height(*np.meshgrid(x + dx, y + dy)) - land.height(*np.meshgrid(x - dx, y - dy))
                for dx, dy in ((40, 0), (0, 40))]
    for kept, rise in zip((east, north), gradient, strict=True):
        assert np.corrcoef(kept.ravel(), rise.ravel() / 80)[0, 1] > 0.95
        assert abs(kept.mean() - rise.mean() / 80) < 0.01


def test_lakes_are_level(planet):
    land = world_of(planet, "cascades").landscape
    x0, y0 = land.site.center
    found = 0
    for dx in range(-28_000, 29_000, 7_000):
        for dy in range(-28_000, 29_000, 7_000):
            box = land.box(x0 + dx, y0 + dy, 64, 64)
            height = land.height(x0 + dx + 5 + 10 * np.arange(64)[None, :] + np.zeros((64, 1)),
                                 y0 + dy - 5 - 10 * np.arange(64)[:, None] + np.zeros((1, 64)))
            lake = height <= land.site.recipe.altitude
            if lake.any():
                found += 1
                # in the dry season a part is marsh
                assert np.isin(land.label(box, dt.date(2021, 8, 1))[lake], (WATER, FLOODED)).mean() > 0.8
            assert height.min() >= land.site.recipe.altitude
    assert found > 0


def test_terrain_models_are_the_planets_heights(planet):
    site = named("cascades")
    land = world_of(planet, "cascades").landscape
    at = (site.lon - 0.01, site.lat - 0.01, site.lon + 0.01, site.lat + 0.01)
    (scene,) = planet.scenes(GLO30, None, None, at)
    assert planet.image(scene.id).id == scene.id
    (band,) = scene.bands
    assert (band.id, band.crs, band.width, band.height) == ("DEM", "EPSG:4326", 3600, 3600)
    window = Window(int((45 - site.lat) * 3600), int((site.lon + 122) * 3600), 40, 40)
    values, valid = scene.read(("DEM",), window)["DEM"]
    assert valid is None and values.dtype == np.float32
    x, y = site.center
    assert abs(values[0, 0] - land.height(np.array([x]), np.array([y]))[0]) < 40
    assert np.ptp(values) > 30
    part = scene.read(("DEM",), Window(window.row + 7, window.col + 9, 11, 5))["DEM"][0]
    assert np.array_equal(part, values[7:18, 9:14])
    srtm = planet.image(SRTM)
    assert planet.asset_type(SRTM) == "IMAGE" and planet.asset_type("USGS") == "FOLDER"
    other = srtm.read(("elevation",), Window(int((60 - site.lat) * 3600), int((site.lon + 180) * 3600), 40, 40))
    heights, known = other["elevation"]
    assert known is None and heights.dtype == np.int16
    assert abs(heights.astype(float) - values).max() < 2.5
    nothing = srtm.read(("elevation",), Window(60 * 3600, 180 * 3600, 3, 3))["elevation"]
    assert not nothing[1].any()
    columns = {round(scene.bands[0].width / 3600 * 60) for scene in planet.scenes(GLO30)}
    assert columns == {60, 40, 30, 20}  # fewer columns a degree towards the poles


# ---- radar and light -------------------------------------------------------------------------------------------------

def trees_on_slopes(planet, ascending):
    """VV in dB, slope towards the east and the scene's geometry over one hilly wood."""
    site = named("cascades")
    found = [s for s in scenes(planet, S1, site, reach=0.3) if s.acquisition.flight.track.ascending == ascending]
    scene = covering(found, site)
    land = world_of(planet, "cascades").landscape
    window = window_at(scene, "VV", site.center[0] - 6_000, site.center[1] + 6_000, 900)
    values = scene.read(("VV", "angle"), window)
    x0, y0, _, _ = scene.acquisition.piece.grid
    box = land.box(x0 + window.col * 10 + 5, y0 - window.row * 10 - 5, 900, 900)
    wood = land.label(box, scene.acquisition.flight.day) == TREES
    east, north = land.slopes(box)
    return values["VV"][0][wood], values["angle"][0][wood], east[wood], north[wood], scene.acquisition.flight.track


@pytest.mark.parametrize("ascending", [True, False])
def test_slopes_turned_to_the_radar_are_bright_and_the_passes_differ(planet, ascending):
    value, angle, east, north, track = trees_on_slopes(planet, ascending)
    assert (track.across[0] > 0) == ascending  # the ascending pass looks east
    facing_west, facing_east = value[east > 0.3].mean(), value[east < -0.3].mean()
    assert (facing_west - facing_east > 3) == ascending
    assert abs(facing_west - facing_east) > 3
    # and as much as the closed forms say: area, and 0.1 dB a degree of local incidence
    rise = east * track.across[0] + north * track.across[1]
    side = east * track.along[0] + north * track.along[1]
    power = 10 ** (value / 10)
    flat = power[np.abs(rise) < 0.02].mean()
    for low, high in ((-0.5, -0.4), (-0.25, -0.2), (0.2, 0.25), (0.35, 0.4)):
        part = (rise > low) & (rise < high)
        assert part.sum() > 500
        expected = area_gain(angle[part], rise[part], side[part]) * 10 ** (
            -0.010 * (local_incidence(angle[part], rise[part], side[part]) - angle[part]))
        assert abs(10 * np.log10(power[part].mean() / flat / expected.mean())) < 0.7


def test_the_sunny_side_is_bright(planet):
    site = named("drakensberg")
    land = world_of(planet, "drakensberg").landscape
    contrast = {}
    for collection in (TOA, SR):
        scene = min(scenes(planet, collection, site), key=lambda s: s.properties["CLOUDY_PIXEL_PERCENTAGE"])
        window = window_at(scene, "B8", site.center[0], site.center[1], 400)
        value = scene.read(("B8",), window)["B8"][0]
        box = scene.overpass.box(window, 10)
        east, north = land.slopes(box)
        grass = land.label(box, scene.overpass.flight.day) == GRASS
        zenith, azimuth = scene.overpass.sun
        light = illumination(east, north, zenith, azimuth)
        sunny, shady = (value[grass & (light > 1.15)], value[grass & (light < 0.85)])
        assert min(len(sunny), len(shady)) > 500
        contrast[collection] = sunny.mean() / shady.mean()
    assert contrast[TOA] > 1.25
    assert 1.05 < contrast[SR] < contrast[TOA]  # Sen2Cor corrects most of it


# ---- veils and labels ------------------------------------------------------------------------------------------------

def test_veils_are_seen_by_bands_and_not_by_dynamic_world(planet):
    site = named("hesse")
    thin = []
    for scene in scenes(planet, DW, site):
        o = scene.overpass
        window = window_at(scene, "label", *site.center, 200)
        if min(window.row, window.col) < 0 or max(window.row, window.col) > 10_780:
            continue
        sky = o.sky(o.box(window, 10), 1)
        if sky is None or sky.veil is None or o.valid(window, 10) is not None:
            continue
        if sky.veil.mean() > 0.06 and not sky.shadow.any() and sky.excess.max() < -0.2:
            thin.append((scene, window, sky.veil))
    assert thin
    scene, window, veil = thin[0]
    masked = scene.read(("label",), window)["label"][1]
    assert masked is None or masked.all()
    toa = planet.image(scene.id.replace(DW, TOA))
    cirrus = toa.read(("B10",), window_at(toa, "B10", *site.center, 30))["B10"][0]
    assert cirrus.mean() > 60  # some 20 without


def test_most_scenes_have_some_cloud_and_so_have_many_of_the_clearest(planet):
    cloudy = least = number = 0
    for site in SITES[::3]:
        best = None
        for scene in scenes(planet, DW, site):
            o, window = scene.overpass, window_at(scene, "label", *site.center, 300)
            if min(window.row, window.col) < 0 or max(window.row, window.col) > 10_680:
                continue
            if o.valid(window, 10) is not None:
                continue
            valid = scene.read(("label",), window)["label"][1]
            number += 1
            cloudy += valid is not None
            if best is None or o.cover < best[0]:
                best = o.cover, valid is not None
        least += best is not None and best[1]
    assert number > 50
    assert cloudy / number > 0.3
    assert least > 0


def test_labels_err_where_pixels_are_ambiguous_and_in_patches(planet):
    wrong, blend, kind, near = [], [], [], []
    for name in ("hesse", "cascades", "durango"):
        site = named(name)
        for scene in sorted(scenes(planet, DW, site), key=lambda s: s.overpass.cover)[:2]:
            window = window_at(scene, "label", *site.center, 400)
            if min(window.row, window.col) < 0 or max(window.row, window.col) > 10_580:
                continue
            o = scene.overpass
            label, valid = scene.read(("label",), window)["label"]
            cover = o.landscape.cover(o.box(window, 10), o.flight.day)
            index = cover.index[cover.patch.box.slices(o.box(window, 10))]
            seen = np.ones_like(label, bool) if valid is None else valid
            truth = index // STATES
            error = (label != truth) & seen
            # edges err for another reason: outlines are rounded and moved
            inner = seen.copy()
            inner[:, 4:-4] &= (truth[:, 8:] == truth[:, 4:-4]) & (truth[:, :-8] == truth[:, 4:-4])
            inner[4:-4] &= (truth[8:] == truth[4:-4]) & (truth[:-8] == truth[4:-4])
            near.append(np.corrcoef(error[:, :-5].ravel(), error[:, 5:].ravel())[0, 1])
            wrong.append(error[inner])
            blend.append((index % BLENDS)[inner])
            kind.append(truth[inner])
    wrong, blend, kind = (np.concatenate(v) for v in (wrong, blend, kind))
    for k in (TREES, CROPS):
        mixed, pure = wrong[(kind == k) & (blend >= 6)].mean(), wrong[(kind == k) & (blend <= 1)].mean()
        assert mixed > 2 * pure
    assert np.mean(near) > 0.15


