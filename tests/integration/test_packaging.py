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

ROOT = Path(__file__).parents[2]


def sources(*folders):
    return {str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A source archive of the tree, and the wheel made from that archive, offline."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)], check=True,
                   capture_output=True, timeout=200)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_the_wheel_holds_the_packages_and_their_files(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    wanted = sources("dwplus", "model", "pipelines")
    for pattern in ("pipelines/regions/*.yaml", "model/configs/*.yaml"):
        wanted |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    assert "pipelines/regions/sample.yaml" in wanted and "model/configs/small.yaml" in wanted
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
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=100,
                          env=environment)
    assert done.stdout.split() == ["sample", "specsar_former"], done.stderr


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert {"message", "title", "authors"} <= set(citation)
    setup = (ROOT / "setup.cfg").read_text()
    assert f"version = {dwplus.__version__}\n" in setup and citation["version"] == dwplus.__version__
    assert dwplus.__version__ in (ROOT / "CHANGELOG.md").read_text()
