"""What file managers, network drives and backups leave in a folder; it is no part of a store and harms nothing."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

#: Files, and folders with all that is in them.
FILES = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".directory", ".localized", "Icon\r", ".nfs*", ".fuse_hidden*",
         "*.swp", "*~")
FOLDERS = ("@eaDir", ".AppleDouble", ".Spotlight-V100", ".Trashes", ".fseventsd", ".TemporaryItems", "__MACOSX",
           "#recycle", "@Recycle", ".snapshot", ".snapshots", ".Trash-*", "lost+found", "$RECYCLE.BIN")


def is_litter(key: str) -> bool:
    """Whether a file, by its path in the store, is such."""
    *folders, name = key.split("/")
    return (any(fnmatch.fnmatchcase(name, pattern) for pattern in FILES)
            or any(fnmatch.fnmatchcase(folder, pattern) for folder in folders for pattern in FOLDERS))


def sentence(keys: Iterable[str]) -> str:
    """What to say of some litter, once."""
    keys = sorted(keys)
    names = sorted({next((part for part in key.split("/") if is_litter(f"{part}/x") or is_litter(part)), key)
                    for key in keys})
    shown = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
    return (f"{len(keys)} file{'s' * (len(keys) > 1)} of a file manager or network drive ({shown}) in the store, the "
            f"first is {keys[0]}; remove them")
