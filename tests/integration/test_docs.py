"""What the documentation shows is true: its commands run, and what cannot run here at least exists.

A page's blocks run in order, in a copy of the repository where the sample is small (``SAMPLE``). A block whose title
says what it ``needs`` or that it ``takes minutes`` is only looked at: commands, options, targets and variables exist.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml

from dwplus.cli import app
from dwplus.spec import make_spec

# A page is a dozen commands; about a minute on two idle cores, a quarter of an hour where ten others work on them.
pytestmark = pytest.mark.timeout(3600)
ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]*)")?[^\n]*\n(.*?)^```$', re.MULTILINE | re.DOTALL)
#: The sample in small, sites of biomes that pages speak of: what `make export-region` means where REGION is not given.
SAMPLE = """name: sample
region:
- bbox: [-63.67, -9.87, -63.13, -9.33]
- bbox: [8.77, 50.93, 9.63, 51.47]
- bbox: [-57.48, -17.87, -56.92, -17.33]
- bbox: [88.91, 21.63, 89.49, 22.17]
windows: [[2021-06-01, 2021-09-01]]
tile: {size: 64}
sampling: {per_biome: 8}
"""
#: About two tiles of 510 px in Hesse: the region that readers bring along.
CORNERS = [[9.16, 51.17], [9.27, 51.17], [9.27, 51.24], [9.16, 51.24], [9.16, 51.17]]
#: Run by CI itself, and by this very test.
ELSEWHERE = ("make test", "make lint", "make docs", "make setup")
#: Programs that are not ours and may not be here.
OTHERS = {"gcloud", "aws", "source", "export"}


class Block(NamedTuple):
    language: str
    title: str
    text: str

    @property
    def runs(self) -> bool:
        return not self.title.startswith(("needs ", "takes "))


@cache
def blocks(page):
    return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text())]


def lines(block):
    """Commands of a block: comments off, continued lines joined."""
    joined = block.text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := re.sub(r"(^|\s)#.*", "", line).strip())]


def shell_blocks():
    return [pytest.param(page, block, id=f"{page}-{i}") for page in PAGES for i, block in enumerate(blocks(page))
            if block.language == "bash"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, quick_python):
    """A copy of the repository with an environment, the small sample, and the region files that readers bring."""
    place = tmp_path_factory.mktemp("newcomer") / "dwplus"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True,
                            text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    tools = place / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, module in (("python", ""), ("dwplus", "-m dwplus"), ("torchrun", "-m torch.distributed.run")):
        (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(quick_python))} {module} "$@"\n')
        (tools / name).chmod(0o755)
    (tools.parent / ".ready").touch()
    (place / "small.yaml").write_text(SAMPLE)
    for name in ("region.geojson", "delta.geojson"):
        (place / name).write_text(json.dumps({"type": "Polygon", "coordinates": [CORNERS]}))
    run(place, "make export-region")
    return place


def run(place, command, **options):
    """A command as in a shell with the environment activated."""
    path = os.pathsep.join([str(place / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    # Workers that torchrun starts need not import torch again either.
    small = {"REGION": "small.yaml", "SET": "optim.epochs=1", "OMP_NUM_THREADS": "1",
             "PYTHON_EXEC": str(place / ".venv" / "bin" / "python")}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=place, text=True, capture_output=True,
                          timeout=3000, env={**os.environ, **small, "PATH": path, "PYTHONPATH": str(place)}, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def serves(place, command):
    """A command that runs until it is stopped: its first line is the URL."""
    program, *arguments = shlex.split(command)
    process = subprocess.Popen([place / ".venv" / "bin" / program, *arguments], cwd=place, text=True,
                               stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(place)})
    assert process.stdout is not None
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.runs for block in blocks(page))])
def test_a_page_does_what_it_says(page, workplace):
    for block in blocks(page):
        if block.language == "yaml":
            spec = yaml.safe_load(block.text)
            if {"name", "region", "windows"} <= set(spec):
                make_spec(spec, page)
            if block.title:
                (workplace / block.title).write_text(block.text)
        elif block.title == "runs until stopped":
            for command in lines(block):
                serves(workplace, command)
        elif block.language == "bash" and block.runs:
            # One shell for a block, as variables set in one line are used in the next.
            wanted = [line for line in lines(block) if not line.startswith(ELSEWHERE)]
            run(workplace, "\n".join(wanted))
        elif block.language == "python" and block.runs:
            run(workplace, f"python - <<'PROGRAM'\n{block.text}\nPROGRAM")


def test_blocks_are_seen():
    """The pattern finds every fence, and shells go by one name."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert 2 * len(blocks(page)) == len(re.findall(r"^```", text, re.MULTILINE)), page
        assert not {block.language for block in blocks(page)} & {"console", "sh", "shell", "text"}, page
    assert sum(block.language == "bash" and block.runs for page in PAGES for block in blocks(page)) >= 15


@cache
def commands():
    """Options of each command of dwplus."""
    found = {}

    def add(command, name):
        for key, inner in getattr(command, "commands", {}).items():
            add(inner, (*name, key))
        found[name] = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}

    add(typer.main.get_command(app), ())
    return found


@cache
def makefile():
    text = (ROOT / "Makefile").read_text()
    return (set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)), set(re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE)))


def exists(words):
    """What a command names is there."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if not words or words[0] in OTHERS or "=" in words[0]:
        return
    program, rest = Path(words[0]).name, [word for word in words[1:] if word != "--"]
    options = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    if program == "make":
        targets, variables = makefile()
        for word in rest:
            name, equals, _ = word.partition("=")
            assert name in (variables if equals else targets), word
    elif program == "dwplus":
        name = max((n for n in commands() if tuple(rest[:len(n)]) == n), key=len)
        assert name, f"dwplus {rest[0]}"
        assert options <= commands()[name], options - commands()[name]
    elif program in ("python", "torchrun") and "-m" in rest:
        module = rest[rest.index("-m") + 1]
        found = importlib.util.find_spec(module)
        assert found is not None and found.origin, module
        if module.startswith(("pipelines.", "tests.")):
            own = {word.split("=")[0] for word in rest[rest.index(module) + 1:] if re.match(r"--?[a-z]", word)}
            source = Path(found.origin).read_text()
            door = re.search(r'run_command\("([a-z-]+)"\)', source)
            known = commands()[(door[1],)] if door else {option for option in own if f'"{option}"' in source}
            assert own <= known, own - known
    else:
        here = Path(sys.executable).parent
        assert program == "python" or shutil.which(program) or (here / program).exists(), program


@pytest.mark.parametrize(("page", "block"), shell_blocks())
def test_what_a_command_names_is_there(page, block):
    for line in lines(block):
        exists(shlex.split(re.sub(r"\$\(.*\)", "x", line)))


def test_the_site_builds_without_a_warning(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, text=True, capture_output=True, timeout=3000,
                          env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    page = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text()
    assert "sentinel1.max_gap_hours" in page and "dwplus doctor" in page and "optim.epochs" in page
    assert "TileDataset" in (tmp_path / "site" / "reference" / "model" / "index.html").read_text()
