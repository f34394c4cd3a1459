"""Executes the notebooks into ``build/notebooks``, from where the site shows them with their outputs.

A copy is made again when its notebook, or the code's version, is another; remove ``build/notebooks`` for all.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

import dwplus

ROOT = Path(__file__).parents[1]
COPIES = ROOT / "build" / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = "A map to move about in, where the notebook is open (`make notebooks`)."
#: Seconds for a cell.
PATIENCE = 1200


def copy_of(path: Path) -> Path:
    """The executed copy of a notebook, by what it is made from; DWPLUS_EPOCHS makes others."""
    others = f"{dwplus.__version__} {os.environ.get('DWPLUS_EPOCHS', '')}".rstrip()
    made_from = hashlib.sha256(path.read_bytes() + others.encode()).hexdigest()[:12]
    return COPIES / made_from / path.name


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook with all its outputs.

    Parameters
    ----------
    folder : where it runs and what it writes into.
    """
    # A path that readers have, too, for it is seen in outputs.
    os.environ.update(DWPLUS_DATA="data/notebooks", PYTHONPATH=os.pathsep.join(
        [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
                   ).execute()
    return notebook


def keep(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Write the copy of a notebook: its outputs as a page can show them."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                if WIDGET in output.get("data", {}):  # lives only where a kernel does
                    output["data"] = {"text/markdown": LIVE}
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    day = datetime.datetime.now(datetime.UTC).date()
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(
        f"*Executed on {day} with dwplus {dwplus.__version__}; outputs are those of that run.*"))
    copy = copy_of(path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, copy.with_suffix(".part"))
    copy.with_suffix(".part").rename(copy)


def main() -> None:
    """Execute what is not there yet; older copies go."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for old in set(COPIES.glob("*/*.ipynb")) - set(map(copy_of, notebooks)):
        shutil.rmtree(old.parent)
    for path in notebooks:
        if copy_of(path).exists():
            continue
        print(f"executing {path.name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            keep(path, execute(path, Path(folder)))


if __name__ == "__main__":
    main()
