"""Half products through client and embedded Earth: pixels of a mosaic are those of its parts, the first on top."""

import datetime as dt

import numpy as np
import pytest
import shapely

from dwplus.earth import connect
from dwplus.earth.probes import cloud_shares, probe
from dwplus.earth.stack import fetch_inputs, fetch_tile
from dwplus.earth.tables import Query, catalogues
from dwplus.grid import PixelGrid
from dwplus.grid.zones import transformer
from dwplus.planning.ground import coverage
from dwplus.spec import make_spec

SPEC = make_spec({"name": "halves", "region": "sample", "windows": [["2021-06-01", "2021-07-01"]],
                  "tile": {"size": 64}, "quality": {"clouds": "cloud-score-plus"}})


@pytest.fixture(scope="module")
def scenes():
    """Two granules of one overpass that share ground, as two parts of one would, and a tile on it."""
    session = connect(None, None)
    found, = catalogues(session, SPEC, [Query(shapely.box(9.0, 51.1, 9.4, 51.3), dt.date(2021, 6, 1),
                                              dt.date(2021, 7, 1))])
    radar = [min(found.radar, key=lambda s: s.index).index]
    for one in found.labels:
        for other in found.labels:
            if one.index[:15] == other.index[:15] and one.index < other.index:
                middle = shapely.intersection(one.footprint, other.footprint).centroid
                grid = _around(middle.x, middle.y)
                ids = {s.index for s in found.optical}
                if {one.index, other.index} <= ids and min(coverage(grid.footprint(), [s.footprint])
                                                           for s in (one, other)) > 0.999:
                    return session, grid, one.index, other.index, radar
    pytest.skip("no overpass with two granules in this month")


def _around(lon, lat):
    x, y = transformer(4326, 32632).transform(lon, lat)
    return PixelGrid(32632, 10.0 * round(x / 10) - 320, 10.0 * round(y / 10) + 320, 10.0, 64, 64)


def test_the_first_part_is_on_top_and_the_second_fills(scenes):
    session, grid, one, other, radar = scenes
    alone = fetch_tile(session, SPEC, grid, one, one, radar)
    both = fetch_tile(session, SPEC, grid, one, f"{one},{other}", radar)
    assert np.array_equal(alone.s2, both.s2) and np.array_equal(alone.s1, both.s1)
    assert (both.s2 != 65535).all()
    turned = fetch_tile(session, SPEC, grid, one, f"{other},{one}", radar)
    assert np.array_equal(turned.s2, fetch_tile(session, SPEC, grid, one, other, radar).s2)


def test_masks_and_measures_take_joined_ids(scenes):
    session, grid, one, other, radar = scenes
    joined = f"{one},{other}"
    s2, _, clear = fetch_inputs(session, SPEC, grid, joined, radar, mask_id=joined)
    assert s2.shape == (10, 64, 64) and clear.shape == (64, 64)
    looks = probe(session, SPEC, [(grid, joined, joined), (grid, one, one)])
    assert looks[0].clear == pytest.approx(looks[1].clear, abs=0.2)
    for source in ("cloud-score-plus", "s2cloudless", "scl"):
        share, = cloud_shares(session, source, [(grid, joined)])
        assert 0 <= share <= 1
