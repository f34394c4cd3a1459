"""Files that others name stay below the folder they were named for; what we make appears whole, with the mode that
files get."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
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


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A hidden name beside a file, to write under: what is written takes the file's place at the end, whole or not at
    all. It ends as the file does, for some writers go by that.

    Raises
    ------
    OSError
        Where it cannot take that place.
    """
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_new(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    InputError
        Where it is there and not empty, or is no folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"folder {out}: is there and not empty; choose another")


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``out`` at the end, whole or not at all.

    Raises
    ------
    InputError
        As :func:`check_new`, and where it cannot be written.
    """
    check_new(out)
    partial = fresh(out)
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    except OSError as error:
        raise InputError(f"folder {out}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
