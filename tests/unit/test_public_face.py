"""What ``import dwplus`` gives, and that names of earlier builds still do."""

import ast
import importlib
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import dwplus
from dwplus.runtime.names import MOVED
from tests.commands import PATIENCE

ROOT = Path(__file__).parents[2]


def test_the_face_is_small():
    functions = {"open_store", "connect", "make_plan", "export_plan", "verify", "tile"}
    modules = {"grid", "taxonomy", "spec", "errors"}
    assert set(dir(dwplus)) == functions | modules | {"__version__"}
    assert all(callable(getattr(dwplus, name)) for name in functions)
    assert all(getattr(dwplus, name).__name__ == f"dwplus.{name}" for name in modules)
    assert (ROOT / "dwplus" / "py.typed").exists() and (ROOT / "model" / "py.typed").exists()


def test_annotations_are_never_those_of_future():
    code = ("import warnings; warnings.simplefilter('ignore')\nfrom dwplus import annotations\nimport __future__\n"
            "from dwplus.scenes import annotated\nassert annotations is not __future__.annotations\n"
            "names = [name for name in vars(annotated) if not name.startswith('_')]\n"
            "assert names and all(getattr(annotations, name) is getattr(annotated, name) for name in names)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_old_module_names_give_the_same_objects_and_warn(old, new):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=new.replace(".", r"\.")):
        alias = importlib.import_module(old)
    today = importlib.import_module(new)
    names = [name for name in vars(today) if not name.startswith("__")]
    assert names or hasattr(today, "__path__")  # a package may hold files alone
    assert all(getattr(alias, name) is getattr(today, name) for name in names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.import_module(new)


def test_no_code_of_ours_asks_under_an_old_name():
    asked = []
    for room in ("dwplus", "model", "pipelines", "benchmarks", "tests", "docs"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
                asked += [f"{path.relative_to(ROOT)}: {name}" for name in names if name in MOVED]
    # Built at an earlier commit, whose names it uses.
    assert [line for line in asked if not line.startswith("tests/data/old_build/")] == []
