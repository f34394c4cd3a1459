"""What file managers, network drives and backups leave in a folder; it is no part of a store and harms nothing."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

#: Files, and folders with all that is in them.
FILES = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".directory", ".localized", "Icon\r", ".nfs*", ".fuse_hidden*",
         "*.swp", "*~")
FOLDERS = ("@eaDir", ".AppleDouble", ".Spotlight-V100", ".Trashes", ".fseventsd", ".TemporaryItems", "__MACOSX",
           "#recycle", "@Recycle", ".snapshot", ".snapshots", ".Trash-*", "lost+found", "$RECYCLE.BIN")

_FILE = re.compile("|".join(map(fnmatch.translate, FILES)))
_FOLDER = re.compile("|".join(map(fnmatch.translate, FOLDERS)))


def is_litter(key: str) -> bool:
    """Whether a file, by its path in the store, is such."""
    *folders, name = key.split("/")
    return _FILE.match(name) is not None or any(_FOLDER.match(folder) for folder in folders)


def sentence(keys: Iterable[str]) -> str:
    """What to say of some litter, once."""
    keys = sorted(keys)
    names = sorted({next((part for part in key.split("/") if is_litter(f"{part}/x") or is_litter(part)), key)
                    for key in keys})
    shown = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
    return (f"{len(keys)} file{'s' * (len(keys) > 1)} of a file manager or network drive ({shown}) in the store, the "
            f"first is {keys[0]}; remove them")
