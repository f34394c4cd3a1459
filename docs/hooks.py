"""What the site has besides its pages: tables from the code, the figures, notebooks with outputs, no dead link."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import typer
from mkdocs.plugins import event_priority
from mkdocs.structure.files import Files

sys.path.insert(0, str(Path(__file__).parent))
from run_notebooks import copy_of  # noqa: E402

log = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).parents[1]
#: Pages that show a file from outside of their folder.
SHOWN = {"benchmarks.md": "BENCHMARKS.md", "findings.md": "findings/README.md", "changelog.md": "CHANGELOG.md"}
MARK = re.compile(r"^<!-- table: ([a-z ]+) -->$", re.MULTILINE)
LINK = re.compile(r"<[^<>]+?\s(?:href|src)=\"([^\"]+)\"")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs calls this with the text of each page."""
    text = MARK.sub(lambda match: "\n".join(TABLES[match[1]]()), markdown)
    if page.file.src_uri in SHOWN:
        return re.sub(r"\]\((?:\.\./)?docs/", "](", (ROOT / SHOWN[page.file.src_uri]).read_text())
    # Links that readers of the repository follow out of the pages' folder.
    for name, path in SHOWN.items():
        text = re.sub(rf"\]\((?:\.\./)+{re.escape(path)}", f"]({'../' * page.file.src_uri.count('/')}{name}", text)
    return text


@event_priority(-100)  # after the notebooks were made pages
def on_files(files: Files, config: Any) -> Files:
    """MkDocs calls this with all files: notebooks give way to their executed copies, where `make docs` made them."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy, old = copy_of(path), files.get_file_from_path(f"notebooks/{path.name}")
        if old is None or not copy.exists():
            log.info("%s is shown without outputs; make docs executes it", path.name)
            continue
        old.abs_src_path = str(copy)
    return files


def on_post_build(config: Any) -> None:
    """MkDocs calls this when the site is there: a link to nothing, also out of the pages' folder, is a warning."""
    site = Path(config["site_dir"]).resolve()
    for page in site.rglob("*.html"):
        links = {match[1] for match in LINK.finditer(page.read_text()) if page.name != "404.html"}
        for link in sorted(link for link in links if not re.match(r"[a-z]+:|#|//", link)):
            path = unquote(link.partition("#")[0].partition("?")[0])
            place = (site if path.startswith("/") else page.parent) / path.lstrip("/")
            if not (place / "index.html" if place.is_dir() else place).exists():
                log.warning("%s links to %s, which is not there", page.relative_to(site), link)


def cell(text: Any) -> str:
    """Text that does not break a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def spec_keys() -> Iterator[str]:
    from dwplus.spec import DatasetSpec

    yield from model_keys(DatasetSpec)


def training_keys() -> Iterator[str]:
    from model.config import TrainConfig

    yield from model_keys(TrainConfig)


def model_keys(model: Any) -> Iterator[str]:
    """Keys of a pydantic model and of the models in it, with default and description."""
    def rows(model: Any, prefix: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from rows(field.annotation, f"{prefix}{name}.")
                continue
            default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
            yield f"| `{prefix}{field.alias or name}` | {cell(default)} | {cell(field.description)} |"

    yield from ("| key | default | meaning |", "|---|---|---|")
    yield from rows(model, "")


def commands() -> Iterator[str]:
    """Every command of `dwplus` with its arguments and options."""
    from dwplus.cli import app

    def rows(command: Any, name: str) -> Iterator[str]:
        if hasattr(command, "commands"):
            for key, inner in command.commands.items():
                yield from rows(inner, f"{name} {key}")
            return
        words = [word_of(option) for option in command.params if option.name != "help"]
        yield f"| `{name}` | {cell(command.help)} | {' '.join(f'`{cell(word)}`' for word in words)} |"

    yield from ("| command | what it does | arguments and options |", "|---|---|---|")
    yield from rows(typer.main.get_command(app), "dwplus")


def word_of(option: Any) -> str:
    """An option with its default or an argument's name, for a table."""
    if option.param_type_name != "option":
        return str(option.metavar or option.name.upper())
    default = option.default
    if default in (None, "") or isinstance(default, bool) or callable(default):
        return str(option.opts[0])
    return f"{option.opts[0]} ({' '.join(map(str, default)) if isinstance(default, (list, tuple)) else default})"


def targets() -> Iterator[str]:
    """Targets of the Makefile with their one-line help."""
    yield from ("| target | what it does |", "|---|---|")
    for name, words in re.findall(r"^([a-z-]+):.*## (.*)$", Path("Makefile").read_text(), re.MULTILINE):
        yield f"| `make {name}` | {cell(words)} |"


def variables() -> Iterator[str]:
    """Variables of the Makefile, as `make help` says them."""
    text = subprocess.run(["make", "--no-print-directory", "help"], capture_output=True, text=True, check=True).stdout
    found: list[list[str]] = []
    for line in text.split("variables, all optional\n", 1)[1].splitlines():
        if match := re.match(r"  ((?:[A-Z_]+= ?)+) +(.*)", line):
            found.append([match[1].strip(), match[2]])
        elif found:
            found[-1][1] += f" {line.strip()}"
    yield from ("| variable | what it says |", "|---|---|")
    for names, words in found:
        yield f"| {' '.join(f'`{name}`' for name in names.split())} | {cell(words)} |"


TABLES = {"spec keys": spec_keys, "training keys": training_keys, "commands": commands, "targets": targets,
          "variables": variables}
