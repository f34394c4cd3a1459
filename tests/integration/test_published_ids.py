"""Real lists: 102 of Dynamic World's 409 validation tiles, as published, against our grids and biomes."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import pytest

from dwplus.earth import connect
from dwplus.earth.tables import habitats
from dwplus.grid import tile_from_id, transformer
from dwplus.scenes.annotated import plain_id
from dwplus.taxonomy import BIOMES

IDS = Path(__file__).parents[1] / "data" / "published" / "dw_validation_ids_sample.csv"


@pytest.fixture(scope="module")
def rows():
    with IDS.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_grids_are_exact(rows):
    """Centres lie on the 10 m lattice where the published centroids are (means of degrees, off by a few cm)."""
    assert len(rows) == 102
    for row in rows:
        tile = tile_from_id(row["dw_tile"])
        assert tile_from_id(row["ee_system_index"]).grid == tile.grid
        assert plain_id(row["ee_system_index"]) == row["dw_tile"]
        assert tile.date == dt.date.fromisoformat(row["date"]) and tile.grid.shape == (510, 510)
        west, south, east, north = tile.grid.bounds
        x, y = transformer(4326, tile.grid.epsg).transform(float(row["centroid_lon"]), float(row["centroid_lat"]))
        assert (x, y) == pytest.approx(((west + east) / 2, (south + north) / 2), abs=0.1), row["dw_tile"]
        assert tile.grid.x0 % 10 == 0 and tile.grid.y0 % 10 == 0


def test_biomes_agree(rows, realworld):
    """At least 95 % of the ids that lie in a polygon; those off the coast get the nearest polygon's, and say so."""
    session = connect(world=realworld)
    found = habitats(session, [tile_from_id(row["dw_tile"]).grid.center for row in rows])
    inside = [(row, place) for row, place in zip(rows, found, strict=True) if place is not None and place.inside]
    right = [int(row["biome_num"]) == place.biome for row, place in inside]
    assert len(inside) >= 0.9 * len(rows) and sum(right) >= 0.95 * len(right), f"{sum(right)} of {len(right)}"
    assert all(row["biome_name"] == BIOMES[int(row["biome_num"])] for row in rows)
    names = [row["eco_name"] == place.ecoregion for row, place in inside]
    assert sum(names) >= 0.9 * len(names), f"{sum(names)} of {len(names)} ecoregions"
