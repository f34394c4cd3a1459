"""What Google publishes that the service answers, kind by kind."""

from __future__ import annotations

import pytest

from dwplus.embedded_earth import EmbeddedEarth, Limits, open_catalog
from tests.unit.embedded_earth import published

#: Answers that cannot be met, with the reason; docs/embedded_earth.md has them too.
EXCEPTIONS = {
    ("ee_array_eigen.py", 30): "both are eigenvectors; which sign comes out is decided by rounding",
    ("ee_array_eigen.py", 40): "the comment leaves out the last of three numbers",
    ("ee_date_format", 42): "the comment's year is not that of the call's milliseconds",
}
ANSWERS = [row for row in published.rows("earth_engine_answers") if row.get("graph")]
KINDS = sorted({row["kind"] for row in ANSWERS})
SOURCES = sorted({row["source"] for row in published.rows("earth_engine_answers_that_hold")})


@pytest.fixture(scope="module")
def earth():
    return EmbeddedEarth(open_catalog(), limits=Limits(per_second=None))


def _differing(earth, rows):
    found = {f"{row['source']}:{row['line']}": published.verdict(earth, row) for row in rows
             if (row["source"], row["line"]) not in EXCEPTIONS}
    assert found
    return {name: told for name, told in found.items() if told != "equal"}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_by_kind(earth, kind):
    assert _differing(earth, [row for row in ANSWERS if row["kind"] == kind]) == {}


@pytest.mark.parametrize("source", SOURCES)
def test_answers_that_held_hold(earth, source):
    rows = [row for row in published.rows("earth_engine_answers_that_hold") if row["source"] == source]
    assert _differing(earth, rows) == {}


def test_exceptions_are_in_the_table_and_differ(earth):
    rows = {(row["source"], row["line"]): row for row in [*ANSWERS, *published.rows("earth_engine_answers_that_hold")]}
    for place in EXCEPTIONS:
        assert published.verdict(earth, rows[place]).startswith("wrong"), place


@pytest.mark.parametrize("expected, found, alike", [
    (1.16, 1.1631, True), (1.16, 1.18, False), (0, "+0000", True), (-700, "-0700", True), (2, [2], True),
    ([1, 2], [1, 3], False), ("AM", " AM", False), (" AM", "AM", True),
    ({"unit": "infinite"}, {"unit": "infinite"}, True),
    ({"unit": "infinite"}, {"unit": "infinite", "value": 1}, False), (' Array of 2 "1" values', [1, 1], True)])
def test_the_comparison_compares(expected, found, alike):
    assert published.alike(expected, found) is alike
