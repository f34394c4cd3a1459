"""The score on what Google publishes that the service answers: ``python -m tests.unit.embedded_earth.published``.

The table lies in ``tests/data/published``; its README says where it comes from. Published values are texts of comments:
rounded, sometimes shortened, sometimes as a console prints them. What they mean is read here, and only here.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from dwplus.embedded_earth import EmbeddedEarth, Limits, open_catalog

FOLDER = Path(__file__).parents[2] / "data" / "published"
PATH = "/v1/projects/p/value:compute"


def rows(name: str) -> list[dict[str, Any]]:
    """Entries of ``earth_engine_answers`` or of ``earth_engine_answers_that_hold``."""
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def ask(earth: EmbeddedEarth, graph: dict[str, Any]) -> tuple[int, Any]:
    """HTTP status, and the result or the error's text."""
    answer = earth.handle("POST", PATH, {}, {}, json.dumps({"expression": graph}).encode())
    told = json.loads(answer.body)
    return answer.status, told["result"] if answer.status == 200 else told["error"]["message"]


def verdict(earth: EmbeddedEarth, row: dict[str, Any]) -> str:
    """``equal``, ``wrong: ...``, ``error: ...`` or ``unsupported``."""
    status, found = ask(earth, row["graph"])
    if status != 200:
        return "unsupported" if "not supported" in found else f"error: {found}"
    return "equal" if alike(row["expected"], found) else f"wrong: {found}"


def alike(published: Any, found: Any) -> bool:
    """Whether an answer is what was published."""
    if published is None:  # the sample shows the call and no value
        return True
    if isinstance(published, bool) or isinstance(found, bool):
        return bool(published) == bool(found)
    if isinstance(found, list) and len(found) == 1 and isinstance(published, int | float):
        found = found[0]  # the sample's comment leaves the brackets out
    if isinstance(published, int | float):
        return _number(published, found)
    if isinstance(published, str):
        return _text(published, found)
    if isinstance(published, list):
        if isinstance(found, dict) and found.get("type") == "Image":
            return _bands(published, found)
        if isinstance(found, dict) and found.get("type") == "Date":  # as Python prints it
            moment = dt.datetime.fromtimestamp(found["value"] / 1000, dt.UTC)
            return published == ["date", f"{moment:%Y-%m-%d %H:%M:%S}"]
        return isinstance(found, list) and len(published) == len(found) and all(map(alike, published, found))
    if isinstance(published, dict):
        return isinstance(found, dict) and all(alike(value, found.get(key)) for key, value in published.items()) and \
            not (published == {"unit": "infinite"} and found.get("value") is not None)
    return False


def _number(published: float, found: Any) -> bool:
    """As many digits as are published; '+0000' was read as the number 0."""
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            return False
    if not isinstance(found, int | float):
        return False
    if math.isinf(found) or math.isinf(published):
        return found == published
    text = repr(published)
    digits = re.fullmatch(r"-?(\d+)\.?(\d*)(?:e([+-]\d+))?", text)
    assert digits is not None
    step = 10.0 ** (int(digits[3] or 0) - len(digits[2]))
    return abs(found - published) <= max(1.01 * step if digits[2] else 0.0, 1e-9 * abs(published), 1e-12)


def _bands(published: list[Any], found: dict[str, Any]) -> bool:
    """Bands as the console lists them: number, name, 'int ∈ [low, high]', CRS."""
    return [[str(i), band["id"], "{precision} ∈ [{min}, {max}]".format(**band["data_type"]), band["crs"]]
            for i, band in enumerate(found["bands"])] == published


def _text(published: str, found: Any) -> bool:
    if isinstance(found, str):
        return published in (found, f" {found}")
    text = published.strip()
    repeated = re.fullmatch(r'Array of (\d+) "(.+)" values', text)
    if repeated:
        return bool(found == [json.loads(repeated[2])] * int(repeated[1]))
    many = re.fullmatch(r"(\d+) elements", text)
    if many:
        return isinstance(found, list) and len(found) == int(many[1])
    if isinstance(found, dict):  # as the console prints objects
        return all(f"{key}: {found[key]}" in text for key in ("unit", "value", "crs") if key in found)
    if isinstance(found, list) and re.match(r"0: ", text):
        return len(text.splitlines()) == len(found) and all(
            line.strip().startswith(f"{i}: {item['type'] if isinstance(item, dict) else item}")
            for i, (line, item) in enumerate(zip(text.splitlines(), found, strict=True)))
    if isinstance(found, list):
        return alike(json.loads(f"[{text}]"), found)
    return isinstance(found, int | float) and text in ("NaN", "Infinity", "-Infinity") and math.isnan(float(text))


def main() -> None:
    """Print the score by kind."""
    earth = EmbeddedEarth(open_catalog(), limits=Limits(per_second=None))
    score: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for name in ("earth_engine_answers", "earth_engine_answers_that_hold"):
        for row in rows(name):
            if not row.get("graph"):
                continue
            told = verdict(earth, row)
            counts = score[row.get("kind", "held already")]
            place = ("equal", "wrong", "error", "unsupported").index(told.split(":")[0])
            counts[place] += 1
            if place:
                print(f"{row['source']}:{row['line']} {row.get('call', '')[:160]}")
                print(f"  published {row['expected']}\n  {told[:300]}")
    print("\n| kind | equal | wrong | error | unsupported |\n|---|---|---|---|---|")
    for kind, counts in [*score.items(), ("all", [sum(column) for column in zip(*score.values(), strict=True)])]:
        print(f"| {kind} | {' | '.join(map(str, counts))} |")


if __name__ == "__main__":
    main()
