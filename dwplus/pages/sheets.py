"""Sheets for people: the one writer of CSV.

A cell that begins with ``=``, ``+``, ``-`` or ``@`` is a formula to a spreadsheet: text that does gets an apostrophe in
front, which spreadsheets take as "this is text". Numbers stay numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dwplus.runtime.paths import whole

#: First characters that make a cell a formula, or that spreadsheets strip before they look; and the apostrophe itself.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def quoted(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula; anything else as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def unquoted(value: Any) -> Any:
    """What :func:`quoted` was given."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:].startswith(FORMULA) else value


def safe(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts, names of columns and rows included, no spreadsheet takes for a formula."""
    out = table.copy()
    for column in range(out.shape[1]):
        values = out.iloc[:, column]
        if not pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_datetime64_any_dtype(values):
            out.isetitem(column, values.astype(object).map(quoted))
    out.columns = pd.Index([quoted(name) for name in out.columns], name=out.columns.name)
    if out.index.dtype.kind not in "iufM":
        out.index = pd.Index([quoted(name) for name in out.index], name=out.index.name)
    return out


def text_of(table: pd.DataFrame) -> str:
    """A table as the text of a sheet, without the rows' names."""
    text: str = safe(table).to_csv(index=False)
    return text


def write_csv(table: pd.DataFrame, path: str | Path, *, index_label: str | None = None,
              float_format: str | None = None) -> Path:
    """Write a table as CSV, whole or not at all.

    Parameters
    ----------
    index_label : the rows' names are the first column under this name; None leaves them out.
    float_format : of numbers, such as ``%.6f``.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    path = Path(path)
    with whole(path) as partial:
        safe(table).to_csv(partial, index=index_label is not None, index_label=index_label, float_format=float_format)
    return path


def read_csv(path: str | Path, **options: Any) -> pd.DataFrame:
    """Read a sheet, ours or a user's: what :func:`write_csv` put in front of texts is taken off again."""
    table: pd.DataFrame = pd.read_csv(path, **options)
    for name in table.columns:
        if table[name].dtype.kind == "O" or isinstance(table[name].dtype, pd.StringDtype):
            table[name] = table[name].map(unquoted)
    return table.rename(columns=unquoted)
