"""Every expression that ``dwplus.earth`` sends, as the client writes it: ``python -m tests.golden.graphs`` renews them.

A change in ``expressions.json`` is a change in what the service is asked to do: review it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

import ee
import ee.deprecation
import shapely
from ee import serializer
from google.auth.credentials import AnonymousCredentials

from dwplus.earth import tables
from dwplus.earth.images import dw_labels, dynamic_world, ecoregions, extras, maps, rtc, sentinel1, sentinel2
from dwplus.earth.probes import probe
from dwplus.embedded_earth import EmbeddedEarth, http_transport, open_catalog
from dwplus.grid import PixelGrid
from dwplus.spec import extras as arrays
from dwplus.spec import make_spec

FILE = Path(__file__).with_name("expressions.json")
S2 = "20210723T132241_20210723T132241_T22JGS"
RTC = [f"OPERA_L2_RTC-S1_T114-243014-IW{n}_20210721T12123{n}Z_20231213T184607Z_S1A_30_v1_0" for n in (1, 2)]
S1 = [f"S1A_IW_GRDH_1SDV_20210721T0840{s}_20210721T0840{s + 25}_038881_049682_7EA9" for s in (10, 35)]


class _Recorder:
    """A session that writes down what it is asked, and answers nothing."""

    description = "recorder"

    def __init__(self) -> None:
        self.expressions: list[Any] = []

    def compute(self, value: Any) -> Any:
        self.expressions.append(value)
        raise _Stop


class _Stop(Exception):
    """Raised once the expression is written down."""


def _recorded(action: Any) -> Any:
    recorder = _Recorder()
    with contextlib.suppress(_Stop):
        action(recorder)
    return recorder.expressions[0]


def expressions() -> dict[str, Any]:
    """Name -> expression."""
    spec = make_spec({"name": "golden", "region": {"bbox": [10, 50, 11, 51]},
                      "windows": [["2021-06-01", "2021-09-01"]]})
    mean = make_spec({**spec.model_dump(mode="json"), "sentinel1": {"policy": "mean", "orbit": "descending"}})
    flattened = make_spec({**spec.model_dump(mode="json"), "sentinel1": {"product": "rtc", "orbit": "ascending"}})
    by_label, by_score = (make_spec({**spec.model_dump(mode="json"), "quality": {"clouds": clouds}})
                          for clouds in ("label", "cloud-score-plus"))
    grid = PixelGrid(32632, 500000.0, 5600000.0, 10.0, 510, 510)
    area, here = shapely.box(10, 50, 10.5, 50.5), extras.area_of(grid)
    start, end = dt.date(2021, 6, 1), dt.date(2021, 9, 1)
    return {
        "label": dynamic_world.label([S2]), "label, confident": dynamic_world.label([S2], 0.5),
        "label, mode of two": dynamic_world.label([S2, S2.replace("0723", "0728")]),
        "label, drawn": dw_labels.label(dw_labels.DW_LABELS, "label_dw_10.1_50.1-20210723"),
        "label, map": maps.label("ESA/WorldCover/v200", "Map", ["2021"], {10: 0, 80: 1}),
        "label, map of two": maps.label("SAMPLE/TRUTH", "label", ["a_2021", "b_2021"], {0: 0}),
        "maps": _recorded(lambda s: tables.map_images(s, "ESA/WorldCover/v200", "Map", area)),
        "sentinel-2": sentinel2.reflectance(S2, "sr", ("B2", "B5", "B12")),
        "sentinel-1, one slice": sentinel1.backscatter(S1[:1]),
        "sentinel-1, two slices": sentinel1.backscatter(S1),
        "sentinel-1, angle, float32": sentinel1.backscatter(S1[:1], keep_angle=True, dtype="float32"),
        "sentinel-1, mean": sentinel1.backscatter(S1, policy="mean"),
        "sentinel-1, mean of dB": sentinel1.backscatter(S1, policy="mean", average="db"),
        "sentinel-1, flattened, filtered": sentinel1.backscatter(S1, keep_angle=True, ground=sentinel1.Ground(
            "volume", 30.0, ("local_incidence", "layover_shadow"), "gamma-map", 7, 4.4, extras.elevation(here))),
        "sentinel-1, mean, refined Lee": sentinel1.backscatter(S1, policy="mean", ground=sentinel1.Ground(
            "surface", speckle="refined-lee", height=extras.elevation(here))),
        "sentinel-1, RTC, one burst, float32": rtc.backscatter(RTC[:1], dtype="float32"),
        "sentinel-1, RTC, two bursts": rtc.backscatter(RTC),
        "sentinel-1, RTC, angles and codes": rtc.backscatter(RTC[:1], more=("angle", "local_incidence",
                                                                            "layover_shadow")),
        "sentinel-1, multitemporal": sentinel1.backscatter(S1, ground=sentinel1.Ground(
            "volume", speckle="multitemporal", height=extras.elevation(here, arrays.SRTM)),
            further=[[S1[0].replace("202107", "202108")], [index.replace("20210721", "20210802") for index in S1]]),
        "extras, dem, SRTM": extras.image(arrays.extra("dem", elevation=arrays.SRTM), grid, S2, S2),
        **{f"extras, {name}": extras.image(arrays.extra(name), grid, S2, S2) for name in arrays.NAMES},
        "extras, embedding, int8": extras.image(arrays.extra("embedding", "int8"), grid, S2, S2),
        "extras, years": _recorded(lambda s: tables.embedding_years(s, [2020, 2021])),
        "ecoregions": ecoregions.painted(),
        "sites": _recorded(tables.sample_sites),
        "catalogues": _recorded(lambda s: tables.catalogues(s, spec, [tables.Query(area, start, end)])),
        "catalogues, mean": _recorded(lambda s: tables.catalogues(s, mean, [tables.Query(area, start, end)])),
        "catalogues, RTC": _recorded(lambda s: tables.catalogues(s, flattened, [tables.Query(area, start, end)])),
        "RTC at all": _recorded(lambda s: tables.processed(s, start, end, dt.timedelta(days=6), area)),
        "drawn tiles": _recorded(lambda s: tables.annotations_of(s, dw_labels.DW_LABELS, start, end, area)),
        "probe, label": _recorded(lambda s: probe(s, by_label, [(grid, S2, S2)])),
        "probe, cloud score": _recorded(lambda s: probe(s, by_score, [(grid, S2, S2)])),
        "places": _recorded(lambda s: tables.habitats(s, [(10.1, 50.1), (-170.0, -80.0)])),
    }


def graphs() -> dict[str, dict[str, Any]]:
    """Name -> graph on the wire; connects the client to an embedded Earth of its own."""
    import dwplus.earth.session

    ee.Reset()
    dwplus.earth.session._current = None
    ee.deprecation.deprecated_assets = {"-": None}  # type: ignore[dict-item]
    ee.Initialize(AnonymousCredentials(), project="golden", url="http://embedded.earth",
                  http_transport=http_transport(EmbeddedEarth(open_catalog())))
    try:
        return {name: serializer.encode(expression, for_cloud_api=True) for name, expression in expressions().items()}
    finally:
        ee.Reset()


if __name__ == "__main__":
    FILE.write_text(json.dumps(graphs(), indent=1, sort_keys=True) + "\n")
    print(f"{FILE.name} renewed")
