"""One name, one thing: words that the glossary retired do not come back as identifiers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dwplus

ROOT = Path(dwplus.__file__).parents[1]
#: Retired name, and the only files that may hold it, as an alias.
RETIRED = {"HealingError": {"dwplus/errors/__init__.py"}, "chance": set(), "chances": set(), "letters": set(),
           # A key of specs keeps its name.
           "looks": {"dwplus/planning/clouded.py", "dwplus/planning/triplets.py", "dwplus/spec/tiles.py"}}
#: Classes of which there is one.
SINGLE = {"Window": "dwplus/spec/region.py", "Report": "dwplus/store/verify.py",
          "Balance": "dwplus/planning/sampling.py",
          "Reason": "dwplus/errors/reasons.py", "Habitat": "dwplus/earth/tables.py",
          "Georeference": "dwplus/importers/base.py",
          "BandStatistics": "dwplus/store/stats.py"}


def trees() -> list[tuple[str, ast.Module]]:
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text()))
            for package in ("dwplus", "model", "pipelines") for path in sorted((ROOT / package).rglob("*.py"))
            if "embedded_earth" not in path.parts]


def identifiers(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        found |= {getattr(node, key) for key in ("id", "attr", "arg", "name", "asname")
                  if isinstance(getattr(node, key, None), str)}
    return found


@pytest.mark.parametrize("word", RETIRED)
def test_retired_words_stay_away(word):
    assert {path for path, tree in trees() if word in identifiers(tree)} == RETIRED[word]


@pytest.mark.parametrize("name", SINGLE)
def test_one_class_of_a_name(name):
    assert [path for path, tree in trees() for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and node.name == name] == [SINGLE[name]]
