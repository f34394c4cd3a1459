"""The page of an exported store: what it holds, where, when, how good."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from dwplus.pages import charts, colours, skeleton, words
from dwplus.pages.charts import number
from dwplus.report.base import StorePage
from dwplus.report.quicklooks import most_varied, pictures
from dwplus.spec.radar import quantity, share_of
from dwplus.store import layout
from dwplus.store.places import place_of
from dwplus.store.tiles import TileReader
from dwplus.taxonomy import BIOMES

#: Degrees within which tiles of a biome share a circle of the map.
REACH_DEGREES = 3.0


def _clusters(tiles: pd.DataFrame) -> list[charts.Dot]:
    """Tiles of a biome near each other as one dot: each joins the first that lies within reach."""
    dots: list[charts.Dot] = []
    for biome, rows in tiles.sort_values(["lon", "lat"]).groupby("biome"):
        found: list[tuple[float, float, list[int]]] = []
        points = rows[["lon", "lat"]].to_numpy()
        for i, (lon, lat) in enumerate(points):
            for x, y, members in found:
                if abs(lon - x) <= REACH_DEGREES and abs(lat - y) <= REACH_DEGREES:
                    members.append(i)
                    break
            else:
                found.append((lon, lat, [i]))
        for _, _, members in found:
            lon, lat = points[members].mean(axis=0)
            dots.append(charts.Dot(float(lon), float(lat), int(str(biome)), len(members)))
    return dots


class ExportedPage(StorePage):
    """What the page of one exported store shows."""

    def text(self) -> str:
        """The whole page."""
        parts: dict[str, Any] = {"where": None, "gallery": None}
        if len(self.tiles):
            parts = {"where": self._map(), "classes": self._classes(), "gaps": self._gaps(), "clouds": self._clouds(),
                     "splits": self._splits(), "bands": self.bands(), "gallery": self._gallery()}
        human = self.attrs["label_source"] == "annotations"
        return skeleton.render(
            "store.html", title=f"{self.spec['name']}: a Dynamic World+ data set", spec=self.spec,
            labels=f"labels of {self.spec['labels']['asset']}" if self.attrs["label_source"] == "asset" else
            "labels annotated by people" if human else "predictions of the Dynamic World V1 model as labels",
            windows=", ".join(f"{w['start']} to {w['end']}" for w in self.spec["windows"]), facts=self._facts(),
            synthetic=words.synthetic(str(self.attrs.get("earth", "")), str(self.attrs.get("earth_version", ""))),
            rejects=self.rejects(), provenance=self._provenance(), version=self.attrs["dwplus_version"], **parts)

    def _facts(self) -> list[tuple[str, str]]:
        size = sum(place_of(self.store).files().values())
        facts = [(number(len(self.tiles), 9), "tiles exported"), (str(len(self.biomes)), "biomes"),
                 (f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB", "on disk")]
        if len(self.tiles):
            area = len(self.tiles) * (self.spec["tile"]["size"] * self.spec["tile"]["scale"] / 1000) ** 2
            facts += [(f"{number(area, 3 if area < 1000 else 9).split('.')[0]} km²", "of land and water"),
                      (f"{self.tiles['gap_hours'].abs().median():.1f} h", "median |S1 − S2|"),
                      (f"{self.tiles['valid_fraction'].mean():.1%}", "of pixels have label, S2 and S1")]
        return facts

    def _biome_cell(self, biome: int) -> Any:
        return charts.named(colours.biome(biome), colours.biome_name(biome))

    def _map(self) -> dict[str, Any]:
        counts = self.tiles.groupby("biome")
        rows = [[self._biome_cell(b), len(counts.get_group(b)), counts.get_group(b)["ecoregion"].nunique()]
                for b in self.biomes]
        return {"map": charts.world_map(_clusters(self.tiles), BIOMES),
                "table": charts.table(("biome", "tiles", "ecoregions"), rows)}

    def _classes(self) -> dict[str, Any]:
        names, palette = colours.class_words(self.legend.classes), self.legend.colours
        by_biome = self.tiles.groupby("biome")[self.legend.counts].sum()
        rows = {self._biome_cell(b): by_biome.loc[b].to_list() for b in self.biomes}
        everywhere = by_biome.sum().to_list()
        total = max(1, sum(everywhere))
        shares = [[name, f"{pixels / total:.1%}", number(pixels, 12)]
                  for name, pixels in zip(names, everywhere, strict=True)]
        full = [[colours.biome_name(b), *(f"{100 * v / max(1, by_biome.loc[b].sum()):.1f}" for v in by_biome.loc[b])]
                for b in self.biomes]
        return {"key": charts.key(names, palette), "bars": charts.stacked({"all": everywhere, **rows}, names, palette),
                "shares": charts.table(("class", "share", "pixels"), shares),
                "by_biome": charts.table(("biome, %", *names), full)}

    def _gaps(self) -> dict[str, Any]:
        gaps = self.tiles["gap_hours"]
        reach = max(6.0, float(gaps.abs().max()))
        step = next(s for s in (1, 2, 3, 6, 12, 24, 48, 96, 240, 720, 2400) if reach / s <= 13)
        high = step * math.ceil(reach / step)
        edges = np.arange(-high, high + step, step)
        half = high / 2 if high % 2 == 0 else 0
        ticks = [-high, -half, 0, half, high] if half else [-high, 0, high]

        def draw(title: str, rows: pd.DataFrame) -> Any:
            note = f"{len(rows)} tiles, median |gap| {rows['gap_hours'].abs().median():.1f} h"
            return charts.histogram(title, np.histogram(rows["gap_hours"], edges)[0].tolist(), -high, high, "h",
                                    note=note, marks={"no gap": 0}, at=ticks)

        years, biomes = self.tiles.groupby(self.tiles["s2_time"].dt.year), self.tiles.groupby("biome")
        passes = self.tiles["orbit_pass"].value_counts().items()
        return {"passes": ", ".join(f"{n} {str(name).lower()}" for name, n in passes),
                "years": [draw(str(year), rows) for year, rows in years],
                "biomes": [draw(colours.biome_name(int(str(b))), rows) for b, rows in biomes]}

    def _clouds(self) -> dict[str, Any]:
        limit = max(1.0, float(np.ceil(self.tiles["s2_cloud"].max())))
        valid = 100 * self.tiles["valid_fraction"]
        low = min(90.0, 10 * math.floor(float(valid.min()) / 10))
        size = self.spec["tile"]["size"] ** 2
        labelled = 100 * self.tiles[self.legend.counts].sum(axis=1) / size
        rows = [[colours.biome_name(b), f"{part['s2_cloud'].median():.2f}", f"{part['s2_cloud'].max():.2f}",
                 f"{part['valid_fraction'].mean():.2%}", f"{part['valid_fraction'].min():.2%}"]
                for b in self.biomes for part in (self.tiles[self.tiles["biome"] == b],)]
        floor = min(low, 10 * math.floor(float(labelled.min()) / 10))
        shown = (("Cloudy pixels of the scene", self.tiles["s2_cloud"], 0.0, limit),
                 ("Valid pixels of the tile", valid, low, 100.0),
                 ("Labelled pixels of the tile", labelled, floor, 100.0))
        return {"charts": [charts.histogram(name, np.histogram(values, 20, (first, last))[0].tolist(), first, last, "%",
                                            note=f"percent; median {values.median():.1f}")
                           for name, values, first, last in shown],
                "table": charts.table(("biome", "cloud %, median", "cloud %, most", "valid, mean", "valid, least"),
                                      rows)}

    def _splits(self) -> dict[str, Any]:
        found = pd.crosstab(self.tiles["biome"], self.tiles["split"])
        found = found.reindex(columns=[s for s in layout.SPLIT_FLAGS if s in layout.SPLITS or s in found], fill_value=0)
        rows = [[colours.biome_name(int(b)), *found.loc[b].to_list()] for b in found.index]
        rows.append(["all", *(int(found[s].sum()) for s in found)])
        how = layout.open_root(self.store).attrs.asdict().get("splits")
        said = "Drawn by blocks of ground, so that neighbours do not leak from training into test."
        if isinstance(how, dict):
            said += (f" Seed {how['seed']}"
                     + (f", dealt out by {how['stratify']}" if how["stratify"] != "none" else "")
                     + (f", at least {how['guard_metres']:g} m apart" if how["guard_metres"] else "") + ".")
        return {"words": said, "table": charts.table(("biome", *found), rows, "sums")}

    def _gallery(self) -> dict[str, Any]:
        reader = TileReader(self.store, exported=True)
        tiles = []
        for row in most_varied(self.table).rename(columns={"index": "row"}).itertuples():
            shown = zip(pictures(self.root, reader, str(row.group), int(row.row)),
                        ("Sentinel-2, true colour", "Sentinel-1: VV, VH, VV − VH", "label"), strict=True)
            tiles.append({
                "shots": [skeleton.image(picture, f"{what} of {row.tile_id}", classes=what == "label")
                          for picture, what in shown], "title": colours.biome_name(int(row.biome)),
                "words": f"{row.ecoregion}, {row.lat:.3f}, {row.lon:.3f}. S2 {row.s2_time:%Y-%m-%d %H:%M}, S1 "
                         f"{row.gap_hours:+.1f} h ({str(row.orbit_pass).lower()}); {row.split}"})
        return {"tiles": tiles, "key": charts.key([*colours.class_words(self.legend.classes), "no label"],
                                                  [*self.legend.colours, colours.NO_LABEL])}

    def _provenance(self) -> dict[str, Any]:
        import yaml

        attrs, spec = self.attrs, self.spec
        made = [
            ["made", f"{attrs['created']} by dwplus {attrs['dwplus_version']}, from {attrs['earth']}"],
            ["labels", f"{attrs['label_source']}, per window: {spec['labels'].get('per_window', 'best')}"],
            ["Sentinel-2", f"{spec['sentinel2']['product']}: {' '.join(spec['sentinel2']['bands'])}; digital numbers "
             "as delivered, no data 65535"],
            ["Sentinel-1", f"{spec['sentinel1']['policy']}, averaged {spec['sentinel1']['average']}, orbit "
             f"{spec['sentinel1']['orbit']}; {spec['store']['s1_dtype']}"
             + (f"; {quantity(spec)}" if spec["sentinel1"].get("product") == "rtc" else "")
             + (f"; {line}" if (line := share_of(attrs)) else "")],
            ["layout", f"Zarr v3, a chunk a tile, {spec['store']['shard_tiles']} tiles a shard, "
             f"{spec['store']['codec']} level {spec['store']['level']}, every chunk under a checksum"],
        ]
        sources = [[name, one["collection"], one["licence"], one["attribution"]]
                   for name, one in attrs["sources"].items()]
        return {"made": charts.table(("", ""), made, "words"),
                "sources": charts.table(("", "collection", "licence", "attribution"), sources, "words strong"),
                "spec": yaml.safe_dump(spec, sort_keys=False, default_flow_style=None, width=100),
                "store": repr(str(self.store)),
                "group": repr(layout.group_name(self.biomes[0] if self.biomes else 1))}
