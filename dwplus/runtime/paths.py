"""Files that others name stay below the folder they were named for; files that we make have the mode that files get."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from dwplus.errors import InputError


def leads_out(name: str) -> bool:
    """Whether a relative path, as a text, is none, or leaves its folder: absolute, a drive's, with ``..`` or a NUL."""
    return (name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) is not None
            or ".." in re.split(r"[/\\]", name) or "\0" in name)


def below(root: str | Path, name: str, what: str) -> Path:
    """The file of a name that a table, plan or folder gives, below a root; symbolic links that lead out are refused.

    Parameters
    ----------
    what : whose name it is, for the sentence.

    Raises
    ------
    InputError
        Where it would lie elsewhere.
    """
    root = Path(root)
    if leads_out(name):
        raise InputError(f"{what} {name!r}: must be a path below {root}, without a leading slash and without ..")
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{what} {name!r}: is a symbolic link that leads out of {root}; copy the file there instead")
    return path


def all_below(root: str | Path, paths: Iterable[Path], what: str) -> None:
    """Refuse files found in a folder that lie elsewhere, behind symbolic links.

    Raises
    ------
    InputError
        With the first.
    """
    root, seen = Path(root), set()
    for path in paths:
        if path.parent in seen and not path.is_symlink():
            continue
        below(root, path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path), what)
        seen.add(path.parent)


def fresh(path: Path, mark: str = "new") -> Path:
    """A hidden name beside a path that nobody else has, to make something under and rename. What is made there by
    ordinary means has the mode that the user's umask gives; tempfile's has not."""
    return path.with_name(f".{path.name}.{mark}-{secrets.token_hex(4)}")
