"""The page of a store: one HTML file that fetches nothing."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import InputError
from dwplus.pages import skeleton
from dwplus.report.exported import ExportedPage
from dwplus.report.imported import ImportedPage
from dwplus.store import layout
from dwplus.store.imported import is_imported


def write_report(store: str | Path, output: str | Path) -> Path:
    """Write a page on a store: one HTML file that fetches nothing.

    Statistics of the bands are those the store keeps (`dwplus stats`), else those of a seeded draw of its tiles, which
    the page says. Rejects come from the plan beside the store, ``STORE.plan.parquet``, where it is.

    Returns
    -------
    Path of the file.

    Raises
    ------
    InputError
        Where there is no store, or the page cannot be written.
    """
    imported = is_imported(layout.open_root(store).attrs.asdict())
    text = (ImportedPage if imported else ExportedPage)(store).text()
    output = Path(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        skeleton.put(output, text)
    except OSError as error:
        raise InputError(f"report {output}: cannot be written ({error.strerror or error})") from None
    return output
