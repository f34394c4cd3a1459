"""What a store holds, for people: text, a page, charts, outlines of the continents, quicklooks."""

from typing import TYPE_CHECKING

from dwplus.runtime import names as _names

if TYPE_CHECKING:
    from dwplus.report.page import write_report
    from dwplus.report.text import describe

__all__ = ["describe", "write_report"]

__getattr__ = _names.lazy(__name__, {"describe": "dwplus.report.text", "write_report": "dwplus.report.page"})
