"""From a plan to pixels in a store: the run and its Dask tasks, the work on one shard, the run log, budgets."""

from typing import TYPE_CHECKING

from dwplus.runtime import names as _names

if TYPE_CHECKING:
    from dwplus.export.run import export, repair
    from dwplus.store.summary import Summary, by_biome_lines, summarise, summarise_table

__all__ = ["Summary", "by_biome_lines", "export", "repair", "summarise", "summarise_table"]

__getattr__ = _names.lazy(__name__, {
    "export": "dwplus.export.run", "repair": "dwplus.export.run", "Summary": "dwplus.store.summary",
    "by_biome_lines": "dwplus.store.summary", "summarise": "dwplus.store.summary",
    "summarise_table": "dwplus.store.summary"})
