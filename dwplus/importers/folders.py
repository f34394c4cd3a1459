"""Finding pairs in folders: partners by name, sorted, complete, each sentence with the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dwplus.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def need(folder: Path, names: Sequence[str], what: str, layout: str) -> Path:
    """The first of some folders that is there.

    Raises
    ------
    InputError
        Where none is.
    """
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise InputError(f"folder {folder}: has no folder {' or '.join(names)} ({what}); the layout is {layout}")


def files_in(folder: Path) -> dict[str, Path]:
    """Raster files of a folder by name without suffix; hidden files and those of other kinds are left out.

    Raises
    ------
    InputError
        Where two have one name, or there is none.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise InputError(f"{path}: has the name of {found[path.stem].name}; keep one of them")
        found[path.stem] = path
    if not found:
        raise InputError(f"folder {folder}: holds no image ({', '.join(SUFFIXES)})")
    return found


def partners(folders: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Files of one name in several folders, by name and folder.

    Parameters
    ----------
    folders : by what they hold, such as ``optical``.

    Raises
    ------
    InputError
        With the first file that has no partner.
    """
    found = {what: files_in(folder) for what, folder in folders.items()}
    every = sorted(set().union(*found.values()))
    for name in every:
        for what, files in found.items():
            if name not in files:
                other = next(path for one in found.values() if (path := one.get(name)) is not None)
                raise InputError(f"{other}: has no partner in {folders[what]} ({what}); pairs must be complete")
    return {name: {what: found[what][name] for what in folders} for name in every}
