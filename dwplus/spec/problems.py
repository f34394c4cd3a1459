"""What is wrong with a spec, as one sentence: the key, what was found, what would be right."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dwplus.spec.base import short
from dwplus.spec.region import WKT_WORDS, BBox


def first_problem(error: ValidationError, root: type[BaseModel]) -> str:
    """The first error of reading a ``root`` as one sentence: key, what is wrong, what would be right."""
    problems = error.errors(include_url=False)
    # pydantic calls a list "too short" when its only item is wrong: the item's own problem says more.
    inner = {p["loc"][0] for p in problems if len(p["loc"]) > 1}
    problems = [p for p in problems if p["type"] != "too_short" or p["loc"][0] not in inner]
    region = [p for p in problems if p["loc"][:1] == ("region",) and len(p["loc"]) > 1]
    if region and problems[0] is region[0]:
        return _region_problem(region)
    problem = problems[0]
    key = _key(problem["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = list(_model_at(problem["loc"], root).model_fields)
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}" if close else f"known keys are {', '.join(known)}"
        return f"{key}: unknown key; {hint}{more}"
    if problem["type"] == "missing":
        return f"{key}: is required{more}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "too_short":
        message = "needs at least one item"
    found = "" if problem["type"] in ("value_error", "too_short") else f", found {short(problem['input'])}"
    return f"{key}: {message[0].lower()}{message[1:]}{found}{more}"


def _model_at(location: tuple[str | int, ...], root: type[BaseModel]) -> type[BaseModel]:
    """The model that holds the last key of an error's location."""
    model = root
    for key in location[:-1]:
        field = model.model_fields.get(str(key))
        if field is None:
            continue
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model


def _key(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "spec"


def _region_problem(problems: list[Any]) -> str:
    """A region part fits one of three forms; report what fits the form the user meant."""
    for problem in problems:
        if problem["loc"][2:4] == ("BBox", "bbox") and isinstance(problems[0]["input"], dict | BBox):
            return f"{_key((*problem['loc'][:2], *problem['loc'][3:]))}: {problem['msg'].removeprefix('Value error, ')}"
    index, value = problems[0]["loc"][1], problems[0]["input"]  # the first problem is of the whole part
    if isinstance(value, str) and value.strip().upper().startswith(WKT_WORDS):
        said = next(p["msg"] for p in problems if p["type"] == "value_error").removeprefix("Value error, ")
        return f"region[{index}]: {said}, found {short(value)}"
    return (f"region[{index}]: must be sample, {{bbox: [west, south, east, north]}}, {{file: x.geojson}} or a WKT "
            f"text, found {short(value)}")
