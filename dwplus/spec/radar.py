"""What Sentinel-1's numbers are: sigma nought of GRD, gamma nought with slopes divided out, or OPERA's RTC-S1. Pure.

Both are dB in a store, and are not the same: a network that learned the one is wrong on the other.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: OPERA RTC-S1, and its first day. It is not there of every pass; of Sentinel-1C from 2025-05-19, of 1D not yet.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/OPERA_RTC_L2_V1_S1, nasa/opera-sds 83, 102, 160.
RTC, RTC_STATIC, RTC_FIRST = "OPERA/RTC/L2_V1/S1", "OPERA/RTC/L2_V1/S1_STATIC", dt.date(2016, 4, 14)
#: Metres of a pixel of RTC-S1: one where GRD has nine.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/OPERA_RTC_L2_V1_S1
RTC_METRES = 30.0
RTC_SOURCE = {
    "collection": RTC, "licence": "CC0-1.0",
    "attribution": "NASA/JPL/OPERA (2023), OPERA Radiometric Terrain Corrected SAR Backscatter from Sentinel-1 "
                   "validated product (Version 1), NASA ASF DAAC, doi.org/10.5067/SNWG/OPERA_L2_RTC-S1_V1; contains "
                   "modified Copernicus Sentinel data"}
#: What a store or a run holds that says nothing.
SIGMA = "sigma nought of GRD"
GAMMA_RTC = "gamma nought of OPERA RTC-S1, slopes flattened by area"
#: Columns of a plan for RTC-S1: passes in reach that cover the tile, and those of them that have it.
PASSES, PROCESSED = "s1_passes", "rtc_passes"
_GRD = re.compile(r"S1[A-Z]_(?:IW|EW|SM)_GRD")


def quantity(spec: Mapping[str, Any]) -> str:
    """What VV and VH of a store are, in words, by its spec as JSON; also of specs of earlier builds and imports."""
    radar = spec.get("sentinel1")
    radar = radar if isinstance(radar, Mapping) else {}
    if radar.get("product", "grd") == "rtc":
        return GAMMA_RTC
    if radar.get("terrain", "none") != "none":
        return f"gamma nought of GRD, slopes divided out by angles (model {radar.get('terrain_model', 'volume')})"
    return SIGMA


def attributes(spec: Mapping[str, Any], plan: pd.DataFrame) -> dict[str, Any]:
    """What the root of a store of RTC-S1 says beyond its spec; nothing of others."""
    if quantity(spec) != GAMMA_RTC:
        return {}
    return {"s1_product": "rtc", "s1_backscatter": GAMMA_RTC, **said_passes(passes(plan))}


def said_passes(counts: tuple[int, int] | None) -> dict[str, Any]:
    """Root attributes of what :func:`passes` counts; none where it does not know."""
    return {} if counts is None else {"s1_passes": {"flown": counts[0], "rtc": counts[1]}}


def passes_in(attrs: Mapping[str, Any]) -> tuple[int, int] | None:
    """The counts of :func:`passes` by the root attributes of a store; None where they do not say them."""
    said = attrs.get("s1_passes")
    if not isinstance(said, Mapping) or not {"flown", "rtc"} <= set(said):
        return None
    return int(said["flown"]), int(said["rtc"])


def passes(plan: pd.DataFrame) -> tuple[int, int] | None:
    """Passes in reach that cover a tile, over all rows of a plan, and those that have RTC-S1; None where it does not
    say."""
    if PASSES not in plan or PROCESSED not in plan:
        return None
    return int(plan[PASSES].fillna(0).sum()), int(plan[PROCESSED].fillna(0).sum())


def share(flown: int, processed: int) -> str:
    """The share of passes that have RTC-S1, as a line."""
    part = f", {processed / flown:.0%}" if flown else ""
    return f"RTC-S1: {processed:,} of {flown:,} passes in reach that cover a tile have it{part}"


def share_of(attrs: Mapping[str, Any]) -> str:
    """The same by the root attributes of a store; empty where they do not say it."""
    counts = passes_in(attrs)
    return "" if counts is None else share(*counts)


def other_product(ids: Iterable[str], product: str) -> bool:
    """Whether one of a plan's ids is of the other product than the spec's."""
    return any(_GRD.match(name) is not None if product == "rtc" else "_RTC-S1_" in name for name in ids)
