"""Fills the pages' tables of commands and keys from the code, when the site is built."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

MARK = re.compile(r"^<!-- table: ([a-z ]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this with the text of each page."""
    return MARK.sub(lambda match: "\n".join(TABLES[match[1]]()), markdown)


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
