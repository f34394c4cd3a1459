"""The page of an imported store: what it says of places, dates and biomes, of which it knows none, is left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from dwplus.pages import charts, colours, skeleton
from dwplus.pages.charts import number
from dwplus.report.base import StorePage
from dwplus.report.quicklooks import pictures
from dwplus.store.places import place_of
from dwplus.store.tiles import TileReader

#: Tiles on the page.
SHOWN = 6


class ImportedPage(StorePage):
    """What the page of one imported store shows."""

    def text(self) -> str:
        """The whole page."""
        import yaml

        attrs, legend = self.attrs, self.legend
        size = sum(place_of(self.store).files().values())
        scenes = self.table["scene"].nunique() if "scene" in self.table else len(self.table)
        found = self.tiles["split"].astype(str).value_counts()
        parts: dict[str, Any] = {"classes": None, "gallery": None}
        if len(self.tiles):
            parts = {"classes": self._by_split(), "bands": self.bands(), "gallery": self._shown(), "splits": {
                "words": f"{self.spec['origin']['splits']}.",
                "table": charts.table(("split", "tiles"), [[str(word), int(n)] for word, n in found.items()])}}
        made = [["made", f"{attrs['created']} by dwplus {attrs['dwplus_version']}"],
                ["licence", str(attrs.get("license", ""))], ["reference", str(attrs.get("references", ""))],
                ["bands", ", ".join(f"{band} ({unit})" for band, unit in attrs["band_units"].items())]]
        heading = str(attrs.get("title", self.spec["name"]))
        return skeleton.render(
            "imported.html", title=heading, heading=heading, source=str(attrs.get("source", "")),
            side=self.spec["tile"]["size"], notes=[str(note) for note in attrs.get("import", {}).get("notes", ())],
            facts=[(number(len(self.tiles), 9), "tiles"), (number(scenes, 9), "scenes"),
                   (str(len(legend)), "classes"), (f"{size / 1e6:.0f} MB", "on disk")],
            table=legend.table, rejects=self.rejects(), made=charts.table(("", ""), made, "words"),
            whole=yaml.safe_dump({"import": attrs.get("import"), "spec": self.spec}, sort_keys=False,
                                 default_flow_style=None, width=100), version=attrs["dwplus_version"], **parts)

    def _by_split(self) -> dict[str, Any]:
        legend = self.legend
        names = colours.class_words(legend.classes)
        by_split = self.tiles.groupby(self.tiles["split"].astype(str))[legend.counts].sum()
        everywhere = by_split.sum().to_list()
        total = max(1, sum(everywhere))
        rows = {str(split): row.to_list() for split, row in by_split.iterrows()}
        shares = [[name, code, f"{pixels / total:.1%}", number(int(pixels), 12)]
                  for name, code, pixels in zip(names, legend.codes, everywhere, strict=True)]
        return {"key": charts.key(names, legend.colours),
                "bars": charts.stacked({"all": everywhere, **rows}, names, legend.colours),
                "shares": charts.table(("class", "code in the files", "share", "pixels"), shares)}

    def _shown(self) -> list[dict[str, Any]]:
        counts = self.tiles[self.legend.counts].to_numpy("float64")
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        mix = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
        best = self.tiles.assign(mix=mix).sort_values(["mix", "tile_id"], ascending=[False, True]).head(SHOWN)
        reader = TileReader(self.store, exported=True)
        tiles = []
        for row in best.rename(columns={"index": "number"}).itertuples():
            shown = zip(pictures(self.root, reader, str(row.group), int(row.number)), ("optics", "radar", "label"),
                        strict=True)
            tiles.append({"shots": [skeleton.image(picture, f"{what} of {row.tile_id}", classes=what == "label")
                                    for picture, what in shown], "title": str(row.tile_id), "words": str(row.split)})
        return tiles
