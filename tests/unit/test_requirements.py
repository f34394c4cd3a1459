"""Install what you use: few hard requirements, extras for the rest, and a sentence where one is missing."""

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from dwplus.runtime.console import EXTRAS
from tests.commands import PATIENCE

ROOT = Path(__file__).parents[2]
#: Imported by the core and not listed: each comes with a requirement that cannot do without it.
COMES_WITH = {"requests": "earthengine-api", "httplib2": "earthengine-api", "numcodecs": "zarr",
              "google-crc32c": "zarr", "packaging": "xarray", "pandas": "xarray",
              "rasterio": "rioxarray", "rich": "typer"}
#: Distributions by the module they bring, where the names differ.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}
BLOCKED = sorted({name for names in EXTRAS.values() for name in names} | {"tensorboard", "IPython", "transformers"})
SPEC = """name: core
region: {bbox: [9.16, 51.17, 9.19, 51.18]}
windows: [[2021-06-01, 2021-09-01]]
tile: {size: 64}
sampling: {per_biome: 2}
"""
PLAY = f"""import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
from dwplus.cli import main
def run(*words):
    sys.argv = ["dwplus", *words]
    try:
        main()
    except SystemExit as stop:
        return stop.code
"""


@pytest.fixture(scope="module")
def declared():
    """Requirements by extra, "" for the core, from setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {name: [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
            for name, text in lists.items()}


def names_of(declared, extra):
    """Distributions of an extra and of those it includes."""
    found = set()
    for need in declared[extra]:
        found |= {need.name} if need.name != "dwplus" else set().union(*(names_of(declared, e) for e in need.extras))
    return found


def played(code, folder):
    return subprocess.run([sys.executable, "-c", PLAY + code], cwd=folder, text=True, capture_output=True,
                          timeout=PATIENCE, env={**os.environ, "PYTHONPATH": str(ROOT)})


def brought_by(owner, extras=("",)):
    """Distributions that one requires, with those of the extras it asks of others (zarr asks for numcodecs[crc32c])."""
    found = set()
    for need in map(Requirement, importlib.metadata.requires(owner) or ()):
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
            found |= {need.name} | (brought_by(need.name, tuple(need.extras)) if need.extras else set())
    return found


def test_the_core_requires_little(declared):
    core = names_of(declared, "")
    assert len(core) <= 17, sorted(core)
    assert not core & {"torch", "geemap", "matplotlib", "folium", "openpyxl", "tensorstore", "pillow", "safetensors"}
    for name, owner in COMES_WITH.items():
        assert owner in core and name not in core
        assert name in brought_by(owner)


def test_extras_are_what_the_console_knows(declared):
    for extra, modules in EXTRAS.items():
        assert {DISTRIBUTIONS.get(name, name) for name in modules} <= names_of(declared, extra), extra
        assert names_of(declared, extra) <= names_of(declared, "all")
    everything = set().union(*(names_of(declared, extra) for extra in declared))
    assert not everything & {"torchvision", "timm", "torchgeo", "segmentation-models-pytorch"}
    (torch,) = [need for need in declared["train"] if need.name == "torch"]
    assert torch.specifier.contains(re.search(r"^TORCH := torch==(\S+)", (ROOT / "Makefile").read_text(), re.M)[1])


def test_the_core_works_alone(tmp_path):
    (tmp_path / "core.yaml").write_text(SPEC)
    done = played("""
assert run("plan", "core.yaml", "-o", "core.parquet") == 0
assert run("export", "core.parquet", "core.zarr") == 0
assert run("verify", "core.zarr") == 0
assert run("describe", "core.zarr") == 0
import dwplus
tree = dwplus.open_store("core.zarr")
assert tree["biome_04"]["s2"].shape[0] == 2, tree
assert not dwplus.verify("core.zarr").faults
spec = dwplus.spec.load_spec("core.yaml")
plan = dwplus.make_plan(dwplus.connect(), spec, print)
from dwplus.planning.plan import write_plan
write_plan(plan, "again.parquet")
from dwplus.earth import EarthConfig
assert dwplus.export_plan("again.parquet", "again.zarr", EarthConfig()).complete
""", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no quicklooks: a picture needs the extra \"report\": pip install 'dwplus[report]'" in done.stdout
    assert not list(tmp_path.glob("*.quicklook"))


@pytest.mark.parametrize(("words", "extras"), [
    (["train", "--store", "x"], "train"), (["evaluate", "--store", "x"], "train"),
    (["compare", "--store", "x"], "train"), (["explain", "--store", "x"], "train"),
    (["report", "x", "-o", "y"], "report"),
    (["plan", "x.yaml", "-o", "y", "--map", "m.html"], "maps")])
def test_a_missing_extra_is_one_sentence(tmp_path, words, extras):
    done = played(f"sys.exit(run(*{words!r}))", tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: needs the extra \"{extras}\": pip install 'dwplus[{extras}]'\n"
    assert not list(tmp_path.iterdir())


def test_two_missing_extras_and_one_found_late(tmp_path):
    done = played("sys.exit(run('map'))", tmp_path)
    assert done.stderr == "error: needs the extras \"train\" and \"maps\": pip install 'dwplus[train,maps]'\n"
    late = played("from dwplus.runtime import console\ndef action():\n    import geemap\nsys.exit(console.run(action))",
                  tmp_path)
    assert late.returncode == 2 and "'dwplus[notebooks]'" in late.stderr and "Traceback" not in late.stderr
    other = played("from dwplus.runtime import console\ndef action():\n    import no_such_thing\n"
                   "sys.exit(console.run(action))", tmp_path)
    assert "ModuleNotFoundError" in other.stderr  # a fault of ours is not dressed up as the user's


def test_doctor_calls_extras_absent_not_failed(tmp_path):
    done = played("""
from pipelines.doctor import _extras, _gpu, _packages
for check in (_extras(), _gpu(), _packages()):
    print(check)
""", tmp_path)
    extras, gpu, packages = done.stdout.splitlines()
    assert extras.startswith("ok") and "train" in extras and "absent" in extras and "pip install 'dwplus[" in extras
    assert gpu.startswith("ok") and "train" in gpu
    assert packages.startswith("ok"), packages
