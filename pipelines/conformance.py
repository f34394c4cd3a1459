"""What an Earth answers to this project's own questions, written down: a user with a key can send us the file.

About twenty requests, thirty at most, and a few EECU-seconds. It works against every Earth: the tests run it on the
embedded one and compare its semantics with whatever was recorded on the service.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dwplus.earth import Session, questions
from dwplus.earth.cost import profiled
from dwplus.earth.questions import WINDOW
from dwplus.earth.stack import fetch_tile
from dwplus.earth.tables import habitats
from dwplus.errors import DwplusError, InputError
from dwplus.grid import tile_from_id
from dwplus.planning.plan import make_plan
from dwplus.runtime.names import VERSION
from dwplus.spec import make_spec

#: A place on real Earth Engine, about 10 km across.
REAL = (9.40, 51.25, 9.55, 51.35)
#: Requests at most, and what is said before.
MOST_REQUESTS = 30
BEFOREHAND = f"about 20 requests, {MOST_REQUESTS} at most, and a few EECU-seconds of the project's compute"


class _Asked:
    """Questions by name, each answered or with the server's words; none after the last request that is allowed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before = session.limiter.requests
        self.answers: dict[str, Any] = {}

    @property
    def requests(self) -> int:
        return self._session.limiter.requests - self._before

    def ask(self, name: str, question: Callable[[], Any], into: dict[str, Any] | None = None) -> Any:
        """Keep the answer of a question, which takes one request; None where there is none."""
        answers = self.answers if into is None else into
        if self.requests >= MOST_REQUESTS:
            answers[name] = f"not asked: {MOST_REQUESTS} requests are used"
            return None
        try:
            answers[name] = question()
        except DwplusError as error:  # an answer like any other: what the server says is what we want to know
            answers[name] = f"{type(error).__name__}: {error}"
            return None
        return answers[name]


def statistics(values: np.ndarray, nodata: float) -> dict[str, Any]:
    """Shape, type, share of valid pixels and percentiles of an array."""
    valid = values[values != nodata].astype("f8")
    return {"shape": list(values.shape), "dtype": str(values.dtype), "valid": round(valid.size / values.size, 4),
            "p05_p50_p95": [round(float(v), 3) for v in np.percentile(valid, [5, 50, 95])] if valid.size else None}


def _listed(array: np.ndarray) -> dict[str, Any]:
    """Bands of a structured array as lists, and their types."""
    names = array.dtype.names or ()
    return {"dtype": str(array.dtype), **{name: np.round(array[name].astype("f8"), 4).tolist() for name in names}}


def _radar_questions(session: Session, asked: _Asked, scene: str) -> None:
    """Interpolation beside masked pixels and at the edge, coarse masks: on the Sentinel-1 scene of the tile."""
    info = asked.ask("sentinel-1 band", lambda: session.compute(questions.band(scene)))
    if not isinstance(info, dict):
        return
    band = info["bands"][0]
    crs, (a, _, c, _, e, f) = band["crs"], band["crs_transform"]
    width, height = band["dimensions"]
    middle = c + a * (width // 2) + a / 4, f + e * (height // 2)
    asked.ask("bilinear beside masked pixels", lambda: _listed(session.send(
        lambda: questions.pixels(questions.bilinear(scene), crs, *middle, a / 2, 12))))
    strip = asked.ask("masks of the 100 m pyramid", lambda: _listed(session.send(
        lambda: questions.pixels(questions.mask(scene), crs, c, middle[1], 100.0, 1024, 1))))
    shares = np.array(strip["mask"][0]) if isinstance(strip, dict) else np.zeros(0)
    if not (shares > 0).any():
        return
    # The scene's edge on that row: what interpolation does where there is nothing on one side.
    edge = int((shares > 0).argmax())
    asked.answers["masks of the 100 m pyramid"] = {"first valid pixel": edge, "around it": shares[
        max(0, edge - 4):edge + 4].tolist(), **_shares(shares)}
    asked.ask("bilinear at the scene's edge", lambda: _listed(session.send(
        lambda: questions.pixels(questions.bilinear(scene), crs, c + 100.0 * edge - 60.0, middle[1], a / 2, 40, 2))))


def _shares(mask: np.ndarray) -> dict[str, int]:
    """How many pixels have a mask of 0, in between, and 1."""
    return {"none": int((mask == 0).sum()), "in part": int(((mask > 0) & (mask < 1)).sum()),
            "all": int((mask == 1).sum())}


def _twins(session: Session, box: tuple[float, float, float, float]) -> dict[str, Any]:
    """Which scenes of one collection have no twin of the same id in another, and granules that come in two halves."""
    found = {name: set(ids) for name, ids in session.compute(questions.twins(box)).items()}
    granules = Counter((name.split("_")[0], name.split("_")[-1]) for name in found["L1C"])
    missing = {f"{name} without L1C": sorted(found[name] - found["L1C"]) for name in ("L2A", "label", "cloud score")}
    return {"scenes": {name: len(ids) for name, ids in found.items()}, **missing,
            "L1C without L2A": sorted(found["L1C"] - found["L2A"]),
            "granules in two halves": sorted("_".join(key) for key, count in granules.items() if count > 1)}


def outline(image: dict[str, Any]) -> dict[str, Any]:
    """An image's JSON without its values: which keys, bands and property types it has."""
    bands = [{key: band[key] if key in ("id", "data_type") else type(band[key]).__name__ for key in sorted(band)}
             for band in image["bands"]]
    return {"keys": sorted(image), "bands": bands,
            "properties": {k: type(v).__name__ for k, v in sorted(image["properties"].items())}}


def report(session: Session, box: tuple[float, float, float, float] = REAL) -> dict[str, Any]:
    """Ask an Earth everything.

    Raises
    ------
    InputError
        Where no tile can be planned in the box.
    EarthError
        Where planning is refused.
    """
    asked = _Asked(session)
    spec = make_spec({"name": "conformance", "region": {"bbox": list(box)}, "windows": [list(map(str, WINDOW))],
                      "tile": {"size": 128}, "sampling": {"per_biome": 1}})
    plan = make_plan(session, spec)
    planned = plan[plan["state"] == "planned"]
    if planned.empty:
        raise InputError(f"conformance: no tile can be planned in the box {', '.join(f'{v:g}' for v in box)}")
    row = planned.iloc[0]
    ids = str(row["s1_id"]).split(",")
    tile, seconds = profiled(session, lambda: fetch_tile(
        session, spec, tile_from_id(str(row["tile_id"])).grid, str(row["label_id"]), str(row["s2_id"]), ids))
    west, south, east, north = box
    found: dict[str, Any] = {
        "dwplus": VERSION, "client": questions.client(), "python": platform.python_version(),
        "earth": session.description, "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "plan": {"tile_id": row["tile_id"], "label_id": row["label_id"], "s2_id": row["s2_id"], "s1_id": row["s1_id"],
                 "gap_hours": round(float(row["gap_hours"]), 3), "biome": int(row["biome"]),
                 "ecoregion": row["ecoregion"]},
        "place": [p and [p.biome, p.ecoregion, p.inside]
                  for p in habitats(session, [((west + east) / 2, (south + north) / 2)])],
        "pixels": {"s2": statistics(tile.s2, 65535), "s1": statistics(tile.s1, -32768),
                   "label": statistics(tile.label, 255)},
        "profile of the tile, EECU-s": round(seconds, 4),
    }
    found["semantics"] = {}
    for name, expression in questions.semantics().items():
        asked.ask(name, functools.partial(session.compute, expression), found["semantics"])
    asked.ask("sentinel-1 image", lambda: outline(session.compute(questions.first_radar(box))))
    _radar_questions(session, asked, f"COPERNICUS/S1_GRD/{ids[0]}")
    asked.ask("NPY of mixed types", lambda: _listed(session.send(
        lambda: questions.pixels(questions.mixed(), "EPSG:4326", 0, 0, 0.1, 1))))
    asked.ask("ids of one scene", lambda: _twins(session, box))
    asked.ask("platforms", lambda: session.compute(questions.platforms(box)))
    return {**found, **asked.answers, "requests": asked.requests}


def write(session: Session, path: str | Path, box: tuple[float, float, float, float] = REAL) -> dict[str, Any]:
    """:func:`report` into a JSON file.

    Raises
    ------
    InputError
        Where the file cannot be written, which is looked at before anything is asked.
    """
    path = Path(path)
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise InputError(f"conformance report {path}: cannot be written ({error.strerror or error})") from None
    empty = path.stat().st_size == 0
    try:
        made = report(session, box)
    except BaseException:
        if empty:
            path.unlink(missing_ok=True)
        raise
    path.write_text(json.dumps(made, indent=1, default=str) + "\n", encoding="utf-8")
    return made
