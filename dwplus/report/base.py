"""What the page of an exported store and that of an imported one have in common: bands and rejects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dwplus.errors import InputError
from dwplus.pages import charts, colours
from dwplus.pages.charts import number
from dwplus.store import layout, stats
from dwplus.store.legend import legend_of
from dwplus.store.places import companion
from dwplus.store.reader import tile_table

#: Tiles read for the statistics of a page when the store keeps none.
SAMPLE_TILES = 64


class StorePage:
    """What the page of a store shows."""

    def __init__(self, store: str | Path) -> None:
        self.store = store
        self.root = layout.open_root(store)
        self.attrs: Any = self.root.attrs.asdict()
        self.spec: Any = self.attrs["spec"]
        self.legend = legend_of(self.attrs, f"store {store}")
        self.table = tile_table(store)
        self.tiles = self.table[self.table["status"] == "exported"]
        self.biomes = sorted(int(b) for b in self.tiles["biome"].unique())

    def text(self) -> str:
        """The whole page."""
        raise NotImplementedError

    def bands(self) -> dict[str, Any]:
        """Statistics of the bands and their histograms: those the store keeps, else of a seeded draw of tiles."""
        kept = stats.stored(self.store, self.table)
        split = "train" if (self.tiles["split"] == "train").any() else "all"
        found = kept or stats.measure(self.store, split, max_tiles=SAMPLE_TILES)
        every = len(self.tiles) if found.split == "all" else int((self.tiles["split"] == found.split).sum())
        whole = found.tiles == every
        units = {"DN": "reflectance × 10,000", "dB": "dB", "degree": "degrees", "grey": "grey values"}
        bands = [*found.s2, *found.s1]
        plots = [charts.histogram(b.name, b.histogram, *b.edges, units.get(b.unit, b.unit),
                                  note=units.get(b.unit, b.unit), what="pixels",
                                  marks={"1st percentile": b.p1, "mean": b.mean, "99th percentile": b.p99})
                 for b in bands if b.count]
        rows = [[b.name, b.unit, number(b.mean), number(b.std), number(b.p1), number(b.p99), number(b.low),
                 number(b.high), f"{b.nodata / max(1, b.count + b.nodata):.2%}"] for b in bands]
        return {"split": found.split, "basis": f"all {found.tiles}" if whole else f"a seeded draw of {found.tiles}",
                "drawn": not whole, "charts": plots,
                "table": charts.table(("band", "unit", "mean", "std", "p1", "p99", "least", "most", "no data"), rows)}

    def rejects(self) -> dict[str, Any]:
        """What was left out while planning and exporting, by reason."""
        reasons: dict[str, int] = {str(k): int(v) for k, v in self.attrs["plan"]["rejected"].items()}
        plan = companion(self.store, ".plan.parquet")
        by_biome: Any = None
        if plan.exists():
            try:
                rows = pd.read_parquet(plan, columns=["biome", "state", "reason"])
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"plan {plan}: cannot be read ({type(error).__name__}: {error}); move it away, or "
                                 "plan again") from None
            rows = rows[rows["state"] == "rejected"]
            reasons = {str(k): int(v) for k, v in rows["reason"].value_counts().items()}
            if len(rows):
                cross = pd.crosstab(rows["biome"], rows["reason"])
                by_biome = charts.table(("biome", *cross.columns), [
                    [colours.biome_name(int(b)), *cross.loc[b].to_list()] for b in cross.index])
        candidates = int(self.attrs["plan"]["candidates"])
        planning = charts.bars(reasons, {k: f"{v:,} ({v / max(1, candidates):.1%})" for k, v in reasons.items()})
        rest = self.table[self.table["status"] != "exported"]
        first = rest["reason"].astype(str).str.split(":").str[0]
        kinds = rest["status"].astype(str) + first.map(_after_colon)
        exporting = charts.bars({str(k): int(v) for k, v in kinds.value_counts().items()})
        said = (f"{candidates:,} candidates were looked at, {int(self.attrs['plan']['planned']):,} planned, "
                f"{len(self.tiles):,} exported."
                + ("" if reasons or len(rest) else " Nothing was left out."))
        return {"words": said, "planning": planning if reasons else None, "by_biome": by_biome,
                "exporting": exporting if len(rest) else None}


def _after_colon(reason: str) -> str:
    return f": {reason}" if reason else ""
