"""What became of a store's tiles, in numbers that add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dwplus.spec.radar import share_of
from dwplus.store import layout
from dwplus.store.reader import tile_table
from dwplus.taxonomy import BIOMES

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Summary:
    """Numbers of a store that add up: planned = exported + rejected:<reason> + failed:<class> + pending.

    ``rejected`` and ``failed`` count by reason; ``examples`` keeps one full reason of each; ``by_biome`` holds counts
    by status; ``stopped`` says which limit of the budget ended the run before its end, ``restricted`` whether the
    service computed with less parallelism for the project, ``workload`` the tag of the run's requests, ``radar`` the
    share of passes that have RTC-S1, in words, where that was asked for.
    """

    planned: int
    exported: int
    pending: int
    rejected: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    by_biome: dict[int, dict[str, int]] = field(default_factory=dict)
    stopped: str = ""
    restricted: bool = False
    workload: str = ""
    radar: str = ""

    @property
    def complete(self) -> bool:
        """Whether every tile was exported or rejected for what it holds; a tile the service refused was not."""
        return not (self.failed or self.pending or self.rejected.get("refused"))

    @property
    def line(self) -> str:
        """The sum, in one line."""
        parts = [f"{self.exported} exported",
                 *(f"{n} rejected:{reason}" for reason, n in self.rejected.items()),
                 *(f"{n} failed:{kind}" for kind, n in self.failed.items()), f"{self.pending} pending"]
        return f"{self.planned} planned = {' + '.join(parts)}"


def summarise(store: str | Path) -> Summary:
    """The summary of a store, from its statuses and reasons alone.

    Raises
    ------
    InputError
        Where there is no store, or a column cannot be read.
    """
    found = summarise_table(tile_table(store, only=("tile_id", "biome", "status", "reason")))
    found.radar = share_of(layout.open_root(store).attrs.asdict())
    return found


def summarise_table(table: pd.DataFrame) -> Summary:
    """As :func:`summarise`, from a :func:`dwplus.store.reader.tile_table`."""
    summary = Summary(planned=len(table), exported=int((table["status"] == "exported").sum()),
                      pending=int((table["status"] == "pending").sum()))
    for status, counts in (("rejected", summary.rejected), ("failed", summary.failed)):
        reasons = table.loc[table["status"] == status, "reason"].astype(str)
        counts |= reasons.str.split(":").str[0].value_counts().sort_index().to_dict()
        summary.examples |= {reason.split(":")[0]: reason for reason in reasons.sort_values()}
    for biome, rows in table.groupby("biome"):
        summary.by_biome[int(biome)] = {s: int((rows["status"] == s).sum()) for s in layout.STATUSES}
    assert summary.planned == (summary.exported + summary.pending + sum(summary.rejected.values())
                               + sum(summary.failed.values()))
    return summary


def by_biome_lines(summary: Summary) -> list[str]:
    """A table of counts by biome, as lines."""
    lines = [f"{'biome':<60}" + "".join(f"{s:>10}" for s in layout.STATUSES)]
    for biome, counts in summary.by_biome.items():
        name = f"{biome:2d} {BIOMES.get(biome, 'not known')}"
        lines.append(f"{name:<60}" + "".join(f"{counts[s]:>10}" for s in layout.STATUSES))
    return lines
