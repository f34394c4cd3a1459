"""What is installed is all that is needed: the wheel's and the source archive's files, and the citation's version."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import dwplus
from tests.commands import PATIENCE

# The wheel is built, installed and used; a minute or two on idle cores.
pytestmark = pytest.mark.timeout(3600)
ROOT = Path(__file__).parents[2]


def sources(*folders):
    return {str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A source archive of the tree, and the wheel made from that archive, offline."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)], check=True,
                   capture_output=True, timeout=PATIENCE)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_the_wheel_holds_the_packages_and_their_files(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    wanted = sources("dwplus", "model", "pipelines")
    for pattern in ("pipelines/regions/*.yaml", "model/configs/*.yaml", "*/py.typed", "dwplus/pages/templates/*",
                    "dwplus/maps/pages/*"):
        wanted |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    assert {"dwplus/py.typed", "pipelines/regions/sample.yaml", "model/configs/small.yaml"} <= wanted
    assert wanted <= names, wanted - names
    foreign = {name for name in names - wanted if ".dist-info/" not in name}
    assert not foreign, foreign
    assert any(name.endswith("LICENSE") for name in names)


def test_the_source_archive_builds_and_tests_itself(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile", "setup.cfg", "pyproject.toml",
              "mkdocs.yml", "docs/quickstart.md", "pipelines/regions/sample.yaml", "model/configs/small.yaml",
              "notebooks/01_quickstart.ipynb"}
    wanted |= sources("dwplus", "model", "pipelines", "tests", "benchmarks")
    assert wanted <= names, sorted(wanted - names)


def test_it_runs_from_the_wheel_alone(built, tmp_path):
    """Unpacked elsewhere: the shipped regions and configs are found."""
    zipfile.ZipFile(built[1]).extractall(tmp_path)
    code = ("import dwplus, pathlib; from pipelines.export_region import spec_for;"
            "from model.config import load_config;"
            "assert pathlib.Path(dwplus.__file__).is_relative_to(pathlib.Path.cwd()), dwplus.__file__;"
            "print(spec_for('sample', None, None).name, load_config('small').model.name)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=PATIENCE,
                          env=environment)
    assert done.stdout.split() == ["sample", "specsar_former"], done.stderr


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder of the programs of an environment into which the wheel was put; it sees the packages of this one."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next(home.glob("lib/python*/site-packages"))
    shared = dict.fromkeys(str(Path(path).resolve()) for path in sys.path
                           if "-packages" in path and not Path(path).is_relative_to(ROOT))
    own = str(next((ROOT / ".venv").glob("lib/python*/site-packages"), ""))
    (site / "shared.pth").write_text("\n".join([*shared, own]))
    subprocess.run([sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet",
                    "--no-deps", "--no-index", "--force-reinstall", str(built[1])], check=True, timeout=PATIENCE)
    return home / "bin"


@pytest.fixture
def folder(tmp_path):
    """A user's folder with files of their own under our packages' names."""
    for name in ("model", "pipelines"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a file of the user was imported')\n")
    # Two corners of two biomes, with tiles of every split: a map of all sample sites has rasters from pole to pole.
    corners = "[{bbox: [-105.6, 24.2, -105.0, 24.6]}, {bbox: [-5.5, 37.3, -4.8, 37.7]}]"
    for name, region, per_biome in (("two", "{bbox: [9.16, 51.17, 9.19, 51.18]}", 2), ("small", corners, 6)):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\nregion: {region}\nwindows: [[2021-06-01, 2021-09-01]]\ntile: {{size: 64}}\n"
            f"sampling: {{per_biome: {per_biome}}}\n")
    return tmp_path


def use(program, folder, *arguments):
    """Run a program as a user does, in a folder that is no checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([*map(str, program), *map(str, arguments)], cwd=folder, text=True, capture_output=True,
                          timeout=PATIENCE, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_files_of_the_user_are_not_taken_for_ours(installed, folder):
    """The script, ``python -m dwplus`` and the worker processes that they start."""
    for number, program in enumerate(([installed / "dwplus"], [installed / "python", "-m", "dwplus"])):
        text = use(program, folder, "export-region", "--region", "two.yaml", "--store", f"{number}.zarr",
                   "--scheduler", "processes")
        assert "2 planned = 2 exported + 0 pending" in text, text
        assert "no fault" in use(program, folder, "verify", f"{number}.zarr")
        assert "--dates" in use(program, folder, "map", "--help")
    place = use([installed / "python", "-P", "-c", "import dwplus; print(dwplus.__file__)"], folder)
    assert not Path(place.strip()).is_relative_to(ROOT)


def test_the_way_to_a_map_needs_no_checkout(installed, folder):
    """Trained, evaluated and mapped from the wheel, defaults found, worker processes too."""
    program = [installed / "dwplus"]
    use(program, folder, "export-region", "--region", "small.yaml", "--store", "data/sample.zarr")
    text = use(program, folder, "train", "--model", "unet", "--set", "optim.epochs=1", "data.crop=64",
               "optim.batch_size=4", "run.tensorboard=false")
    assert "runs/unet" in text
    assert "page:  runs/unet" in use(program, folder, "evaluate", "--model", "unet")
    use(program, folder, "map", "--model", "unet", "--store", "data/sample.zarr", "--scheduler", "processes")
    assert list((folder / "maps").glob("*/map.json"))


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert {"message", "title", "authors"} <= set(citation)
    setup = (ROOT / "setup.cfg").read_text()
    assert f"version = {dwplus.__version__}\n" in setup and citation["version"] == dwplus.__version__
    assert dwplus.__version__ in (ROOT / "CHANGELOG.md").read_text()
