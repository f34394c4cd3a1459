"""What becomes of tiles of which triplets are wanted: scenes are measured in rounds until nothing is left to know."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from dwplus.earth import Session
from dwplus.earth.probes import cloud_shares
from dwplus.grid import PixelGrid
from dwplus.planning import triplets
from dwplus.planning.pairing import Pairing, Rejection, Rules, Scenes
from dwplus.spec import DatasetSpec, Window


def settle(session: Session, spec: DatasetSpec, window: Window, radar: Rules,
           tiles: Mapping[str, tuple[PixelGrid, Scenes]]) -> dict[str, list[Pairing] | Rejection]:
    """Triplets of tiles, or why there are none, by the tiles' keys.

    A round measures the next scene that each tile needs, all tiles in few requests; there are as many rounds as the
    unluckiest tile has labelled scenes before a clear one.

    Parameters
    ----------
    radar : rules of pairing. tiles : grid of each, and the scenes over it.
    """
    assert spec.triplets is not None
    wish = spec.triplets
    rules = triplets.TripletRules(wish.max_label_days, wish.prefer_s1_days, wish.clear, wish.looks, radar)
    outcomes: dict[str, list[Pairing] | Rejection] = {}
    offers: dict[str, triplets.Prospects] = {}
    for key, (grid, scenes) in tiles.items():
        offer = triplets.prospects(grid, (_ms(window.start), _ms(window.end)), scenes.labels, scenes.optical,
                                   scenes.passes, rules)
        if isinstance(offer, Rejection):
            outcomes[key] = offer
        else:
            offers[key] = offer
    measured: dict[str, dict[str, float]] = {key: {} for key in offers}
    while wanted := [(key, index) for key, offer in offers.items()
                     for index in sorted(triplets.unmeasured(offer, measured[key], rules))]:
        shares = cloud_shares(session, wish.cloud, [(tiles[key][0], index) for key, index in wanted])
        for (key, index), share in zip(wanted, shares, strict=True):
            measured[key][index] = share
    for key, offer in offers.items():
        found = triplets.triplets(offer, measured[key], rules)
        outcomes[key] = found if isinstance(found, Rejection) else list(found)
    return outcomes


def _ms(day: dt.date) -> int:
    return round(1000 * dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
