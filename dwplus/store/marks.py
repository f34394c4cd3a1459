"""What a person says of tiles after looking at them: a CSV that planning, splits and training take.

One row a mark: ``tile_id``, ``window`` (empty: all), ``mark`` (``bad``, ``keep``, ``note``), ``note``, ``store``,
``time`` (UTC). ``dwplus view`` writes it; any CSV with a column ``tile_id`` is read, as a list of bad tiles where it
has no column ``mark``.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from dwplus.errors import InputError
from dwplus.pages import sheets

#: What a mark may say: leave the tile out; it was looked at and is good; words alone.
BAD, KEEP, NOTE = "bad", "keep", "note"
MARKS = (BAD, KEEP, NOTE)


@dataclass(frozen=True)
class Mark:
    """What was said of a tile."""

    tile_id: str
    window: str = ""
    mark: str = BAD
    note: str = ""
    store: str = ""
    time: str = ""


def now() -> str:
    """The time as marks keep it, UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_marks(path: str | Path) -> list[Mark]:
    """The marks of a file, in order.

    Raises
    ------
    InputError
        Where there is no such file, it is no CSV with a column ``tile_id``, or a mark is none of :data:`MARKS`.
    """
    try:
        table = sheets.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"marks {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"marks {path}: cannot be read as CSV ({str(error).splitlines()[0]})") from None
    if "tile_id" not in table:
        raise InputError(f"marks {path}: has no column tile_id, only {', '.join(map(str, table))[:200]}")
    known = [field.name for field in fields(Mark) if field.name in table]
    found = [Mark(**{str(key): value.strip() for key, value in row.items()})
             for row in table[known].to_dict("records")]
    for number, mark in enumerate(found, 2):
        if mark.mark not in MARKS:
            raise InputError(f"marks {path}: line {number}: mark {mark.mark!r} must be one of {', '.join(MARKS)}")
        if not mark.tile_id:
            raise InputError(f"marks {path}: line {number}: has no tile_id")
    return found


def write_marks(path: str | Path, marks: Iterable[Mark]) -> None:
    """Write a file whole, or leave the old one.

    Raises
    ------
    InputError
        Where it cannot be written.
    """
    path = Path(path)
    table = pd.DataFrame([asdict(mark) for mark in marks], columns=[field.name for field in fields(Mark)])
    try:
        sheets.write_csv(table, path)
    except OSError as error:
        raise InputError(f"marks {path}: cannot be written ({error.strerror or error})") from None


def bad_tiles(path: str | Path) -> frozenset[tuple[str, str]]:
    """Tiles that are to be left out, as pairs of name and window; an empty window stands for all."""
    return frozenset((mark.tile_id, mark.window) for mark in read_marks(path) if mark.mark == BAD)


def is_bad(table: pd.DataFrame, bad: frozenset[tuple[str, str]]) -> pd.Series:
    """Which rows of a table with ``tile_id`` and ``window`` are marked bad."""
    names, windows = table["tile_id"].astype(str), table["window"].astype(str)
    return pd.Series([(name, "") in bad or (name, window) in bad
                      for name, window in zip(names, windows, strict=True)], table.index, dtype=bool)
