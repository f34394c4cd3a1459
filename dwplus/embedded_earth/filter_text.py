"""Filters written as texts, as in ``points.filter("random < 0.7")``: comparisons joined by "and" or by "or"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dwplus.embedded_earth.errors import ComputeError

_OPERATORS = {"<": "lessThan", "<=": "lessThanOrEquals", ">": "greaterThan", ">=": "greaterThanOrEquals",
              "==": "equals", "=": "equals", "!=": "notEquals", "<>": "notEquals"}
_CLAUSE = re.compile(r"""\s*([A-Za-z_][\w:]*)\s*(<=|>=|==|!=|<>|<|>|=)\s*
                     (?:([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|'([^']*)'|"([^"]*)")\s*""", re.VERBOSE)
_JOINER = re.compile(r"(and|&&|or|\|\|)\b\s*|(&&|\|\|)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Clause:
    """A property, the filter that compares it, and with what."""

    name: str
    filter: str
    value: float | str


def clauses(text: str) -> tuple[list[Clause], str]:
    """Comparisons of a text, and how they are joined: ``and`` or ``or``.

    Raises
    ------
    ComputeError
        For a text of another form.
    """
    found: list[Clause] = []
    joiners: set[str] = set()
    place = 0
    while True:
        match = _CLAUSE.match(text, place)
        if match is None:
            raise ComputeError(f"Collection.filter: the text '{text[:80]}' is not supported by the embedded Earth: "
                               "comparisons of a property with a number or a text in quotes, joined by 'and' or 'or'.")
        name, operator, number, single, double = match.groups()
        value: float | str = float(number) if number is not None else single if single is not None else double
        found.append(Clause(name, _OPERATORS[operator], value))
        place = match.end()
        if place == len(text):
            break
        joiner = _JOINER.match(text, place)
        if joiner is None:
            raise ComputeError(f"Collection.filter: the text '{text[:80]}' cannot be read at "
                               f"'{text[place:place + 20]}'.")
        joiners.add("and" if joiner[0].strip().lower() in ("and", "&&") else "or")
        place = joiner.end()
    if len(joiners) > 1:
        raise ComputeError("Collection.filter: 'and' and 'or' in one text are not supported by the embedded Earth.")
    return found, joiners.pop() if joiners else "and"
