"""Every notebook runs from top to bottom, and is kept without outputs."""

import importlib.util
import os
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.timeout(3600)
ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "docs" / "run_notebooks.py")
assert _spec and _spec.loader
run_notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_notebooks)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_they_are_there():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    for name, value in (("DWPLUS_DATA", ""), ("PYTHONPATH", os.environ.get("PYTHONPATH", "")), ("DWPLUS_EPOCHS", "2"),
                        ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)  # what the run changes is put back
    notebook = run_notebooks.execute(path, tmp_path)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not any(output.get("name") == "stderr" and "Error" in output.text for output in shown)
    run_notebooks.keep(path, notebook)  # for `make docs` in .ci/run, which asks for as few epochs
