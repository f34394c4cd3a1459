"""The page of a store: what it holds, where, when, how good; one HTML file that fetches nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.report import charts
from dwplus.report.charts import esc, number
from dwplus.store import layout, stats
from dwplus.store.places import companion, place_of
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader
from dwplus.taxonomy import BIOMES, CLASSES, PALETTE

#: Tiles read for the statistics of a page when the store keeps none.
SAMPLE_TILES = 64
#: Degrees within which tiles of a biome share a circle of the map.
REACH_DEGREES = 3.0


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
    report = _Page(store)
    text = charts.page(f"{report.spec['name']}: a Dynamic World+ data set", list(report.sections()))
    output = Path(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"report {output}: cannot be written ({error.strerror or error})") from None
    return output


def _section(title: str, words: str, *parts: str) -> str:
    said = f"<p class='soft'>{words}</p>" if words else ""
    return f"<section><h2>{title}</h2>{said}{''.join(parts)}</section>"


def _biome(biome: int) -> str:
    return f"{biome} {esc(BIOMES.get(biome, ''))}"


def _clusters(tiles: pd.DataFrame) -> list[charts.Dot]:
    """Tiles of a biome near each other as one dot: each joins the first that lies within reach."""
    dots: list[charts.Dot] = []
    for biome, rows in tiles.sort_values(["lon", "lat"]).groupby("biome"):
        found: list[tuple[float, float, list[int]]] = []
        places = rows[["lon", "lat"]].to_numpy()
        for i, (lon, lat) in enumerate(places):
            for x, y, members in found:
                if abs(lon - x) <= REACH_DEGREES and abs(lat - y) <= REACH_DEGREES:
                    members.append(i)
                    break
            else:
                found.append((lon, lat, [i]))
        for _, _, members in found:
            lon, lat = places[members].mean(axis=0)
            dots.append(charts.Dot(float(lon), float(lat), int(str(biome)), len(members)))
    return dots


class _Page:
    """The sections of the page of one store."""

    def __init__(self, store: str | Path) -> None:
        self.store = store
        self.root = layout.open_root(store)
        self.attrs: Any = self.root.attrs.asdict()
        self.spec: Any = self.attrs["spec"]
        self.table = tile_table(store)
        self.tiles = self.table[self.table["status"] == "exported"]
        self.biomes = sorted(int(b) for b in self.tiles["biome"].unique())

    def sections(self) -> Iterator[str]:
        """In the order of the page."""
        yield self._head()
        if len(self.tiles):
            yield self._map()
            yield self._classes()
            yield self._gaps()
            yield self._clouds()
            yield self._splits()
            yield self._bands()
        yield self._rejects()
        if len(self.tiles):
            yield self._gallery()
        yield self._provenance()
        yield (f"<footer>Written by dwplus {esc(self.attrs['dwplus_version'])} from the store alone; this page fetches "
               "nothing. Outline of the continents: Natural Earth, public domain.</footer>")

    def _head(self) -> str:
        size = sum(place_of(self.store).files().values())
        windows = ", ".join(f"{w['start']} to {w['end']}" for w in self.spec["windows"])
        human = self.attrs["label_source"] == "annotations"
        labels = "labels drawn by people" if human else "predictions of the Dynamic World V1 model as labels"
        facts = [(number(len(self.tiles), 9), "tiles exported"), (str(len(self.biomes)), "biomes"),
                 (f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB", "on disk")]
        if len(self.tiles):
            area = len(self.tiles) * (self.spec["tile"]["size"] * self.spec["tile"]["scale"] / 1000) ** 2
            facts += [(f"{number(area, 3 if area < 1000 else 9).split('.')[0]} km²", "of land and water"),
                      (f"{self.tiles['gap_hours'].abs().median():.1f} h", "median |S1 − S2|"),
                      (f"{self.tiles['valid_fraction'].mean():.1%}", "of pixels have label, S2 and S1")]
        note = ""
        if self.attrs.get("earth") == "embedded-earth":
            note = ("<p class='note'>Its pixels come from the embedded Earth: synthetic on the sample planet. Good for "
                    "trying, testing and teaching, for no statement about the real Earth.</p>")
        return (f"<header><h1>{esc(self.spec['name'])}</h1><p class='lead'>Sentinel-2, the Sentinel-1 pass closest in "
                f"time, and {labels}, {esc(windows)}; tiles of {self.spec['tile']['size']} × "
                f"{self.spec['tile']['size']} pixels of {self.spec['tile']['scale']:g} m.</p>{note}<div class='facts'>"
                + "".join(f"<div><b>{value}</b><span>{esc(what)}</span></div>" for value, what in facts)
                + "</div></header>")

    def _map(self) -> str:
        dots = _clusters(self.tiles)
        counts = self.tiles.groupby("biome")
        rows = [[charts.chip(charts.BIOME_COLOURS[b]) + _biome(b), str(len(counts.get_group(b))),
                 str(counts.get_group(b)["ecoregion"].nunique())] for b in self.biomes]
        return _section("Where the tiles lie", "Numbers and colours are those of RESOLVE's biomes; a circle stands for "
                        "the tiles of a biome nearby.", charts.world_map(dots, BIOMES),
                        "<div style='height:1rem'></div>", charts.table(("biome", "tiles", "ecoregions"), rows))

    def _classes(self) -> str:
        columns = [f"count_{c}" for c in CLASSES]
        names = [c.replace("_", " ") for c in CLASSES]
        by_biome = self.tiles.groupby("biome")[columns].sum()
        rows = {f"{charts.chip(charts.BIOME_COLOURS[b])}{_biome(b)}": by_biome.loc[b].to_list() for b in self.biomes}
        everywhere = by_biome.sum().to_list()
        share = [[name, *(f"{row[i] / max(1, sum(row)):.1%}" for row in [everywhere]), number(everywhere[i], 12)]
                 for i, name in enumerate(names)]
        full = [[_biome(b), *(f"{100 * v / max(1, by_biome.loc[b].sum()):.1f}" for v in by_biome.loc[b])]
                for b in self.biomes]
        return _section(
            "Classes by biome", "Shares of the labelled pixels.", charts.key(names, PALETTE),
            charts.stacked({"<b>all</b>": everywhere, **rows}, names, PALETTE),
            "<details><summary>as tables</summary>", charts.table(("class", "share", "pixels"), share),
            charts.table(("biome, %", *names), full), "</details>")

    def _gaps(self) -> str:
        gaps = self.tiles["gap_hours"]
        reach = max(6.0, float(gaps.abs().max()))
        step = next(s for s in (1, 2, 3, 6, 12, 24, 48, 96, 240, 720, 2400) if reach / s <= 13)
        high = step * math.ceil(reach / step)
        edges = np.arange(-high, high + step, step)
        half = high / 2 if high % 2 == 0 else 0
        places = [-high, -half, 0, half, high] if half else [-high, 0, high]

        def draw(title: str, rows: pd.DataFrame) -> str:
            note = f"{len(rows)} tiles, median |gap| {rows['gap_hours'].abs().median():.1f} h"
            return charts.histogram(title, np.histogram(rows["gap_hours"], edges)[0].tolist(), -high, high, "h",
                                    note=note, marks={"no gap": 0}, at=places)

        years = self.tiles.groupby(self.tiles["s2_time"].dt.year)
        biomes = self.tiles.groupby("biome")
        passes = ", ".join(f"{n} {str(name).lower()}" for name, n in self.tiles["orbit_pass"].value_counts().items())
        return _section(
            "Time between the satellites", f"S1 minus S2 in hours: left of the line the radar came first. The plan "
            f"allowed {self.spec['sentinel1']['max_gap_hours']:g} h, policy {esc(self.spec['sentinel1']['policy'])}; "
            f"passes: {esc(passes)}.",
            "<div class='grid'>", *(draw(str(year), rows) for year, rows in years), "</div><div style='height:1.2rem'>"
            "</div><div class='grid'>", *(draw(_biome(int(str(b))), rows) for b, rows in biomes), "</div>")

    def _clouds(self) -> str:
        limit = max(1.0, float(np.ceil(self.tiles["s2_cloud"].max())))
        valid = 100 * self.tiles["valid_fraction"]
        low = min(90.0, 10 * math.floor(float(valid.min()) / 10))
        size = self.spec["tile"]["size"] ** 2
        labelled = 100 * self.tiles[[f"count_{c}" for c in CLASSES]].sum(axis=1) / size
        rows = [[_biome(b), f"{part['s2_cloud'].median():.2f}", f"{part['s2_cloud'].max():.2f}",
                 f"{part['valid_fraction'].mean():.2%}", f"{part['valid_fraction'].min():.2%}"]
                for b in self.biomes for part in (self.tiles[self.tiles["biome"] == b],)]
        floor = min(low, 10 * math.floor(float(labelled.min()) / 10))
        return _section(
            "Clouds and valid pixels", "Cloudiness is that of the whole Sentinel-2 scene. A pixel is valid with a "
            "label, every S2 band and every S1 band.", "<div class='grid'>",
            *(charts.histogram(name, np.histogram(values, 20, (first, last))[0].tolist(), first, last, "%",
                               note=f"percent; median {values.median():.1f}")
              for name, values, first, last in (("Cloudy pixels of the scene", self.tiles["s2_cloud"], 0.0, limit),
                                                ("Valid pixels of the tile", valid, low, 100.0),
                                                ("Labelled pixels of the tile", labelled, floor, 100.0))),
            "</div>", "<details><summary>by biome</summary>",
            charts.table(("biome", "cloud %, median", "cloud %, most", "valid, mean", "valid, least"), rows),
            "</details>")

    def _splits(self) -> str:
        found = pd.crosstab(self.tiles["biome"], self.tiles["split"])
        found = found.reindex(columns=[s for s in layout.SPLIT_FLAGS if s in layout.SPLITS or s in found], fill_value=0)
        rows = [[_biome(int(b)), *(str(found.loc[b, s]) for s in found)] for b in found.index]
        rows.append(["<b>all</b>", *(f"<b>{found[s].sum()}</b>" for s in found)])
        how = layout.open_root(self.store).attrs.asdict().get("splits")
        words = "Drawn by blocks of ground, so that neighbours do not leak from training into test."
        if isinstance(how, dict):
            words += (f" Seed {how['seed']}"
                      + (f", dealt out by {esc(str(how['stratify']))}" if how["stratify"] != "none" else "")
                      + (f", at least {how['guard_metres']:g} m apart" if how["guard_metres"] else "") + ".")
        return _section("Splits", words, charts.table(("biome", *found), rows))

    def _bands(self) -> str:
        kept = stats.stored(self.store, self.table)
        split = "train" if (self.tiles["split"] == "train").any() else "all"
        found = kept or stats.measure(self.store, split, max_tiles=SAMPLE_TILES)
        every = len(self.tiles) if found.split == "all" else int((self.tiles["split"] == found.split).sum())
        basis = (f"all {found.tiles}" if found.tiles == every else
                 f"a seeded draw of {found.tiles}; <code>dwplus stats</code> reads all")
        units = {"DN": "reflectance × 10,000", "dB": "dB", "degree": "degrees"}
        bands = [*found.s2, *found.s1]
        plots = [charts.histogram(esc(b.name), b.histogram, *b.edges, units[b.unit], note=units[b.unit], what="pixels",
                                  marks={"1st percentile": b.p1, "mean": b.mean, "99th percentile": b.p99})
                 for b in bands if b.count]
        rows = [[esc(b.name), esc(b.unit), number(b.mean), number(b.std), number(b.p1), number(b.p99), number(b.low),
                 number(b.high), f"{b.nodata / max(1, b.count + b.nodata):.2%}"] for b in bands]
        return _section(
            "Bands", f"Tiles of split {found.split}: {basis}. Lines: 1st percentile, mean, 99th percentile; what lies "
            "beyond the axis is in the outer columns.", "<div class='grid'>", *plots, "</div>",
            "<div style='height:1.2rem'></div>",
            charts.table(("band", "unit", "mean", "std", "p1", "p99", "least", "most", "no data"), rows))

    def _rejects(self) -> str:
        reasons: dict[str, int] = {str(k): int(v) for k, v in self.attrs["plan"]["rejected"].items()}
        plan = companion(self.store, ".plan.parquet")
        by_biome = ""
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
                by_biome = ("<details><summary>by biome</summary>" + charts.table(
                    ("biome", *map(esc, cross.columns)),
                    [[_biome(int(b)), *map(str, cross.loc[b])] for b in cross.index]) + "</details>")
        parts = []
        candidates = int(self.attrs["plan"]["candidates"])
        if reasons:
            parts += ["<h3>While planning</h3>", charts.bars(reasons, {
                k: f"{v:,} ({v / max(1, candidates):.1%})" for k, v in reasons.items()}), by_biome]
        rest = self.table[self.table["status"] != "exported"]
        if len(rest):
            first = rest["reason"].str.split(":").str[0]
            kinds = rest["status"].astype(str) + first.map(lambda reason: f": {reason}" if reason else "")
            parts += ["<h3 style='margin-top:1rem'>While exporting</h3>",
                      charts.bars({str(k): int(v) for k, v in kinds.value_counts().items()})]
        words = (f"{candidates:,} candidates were looked at, {int(self.attrs['plan']['planned']):,} planned, "
                 f"{len(self.tiles):,} exported." + ("" if parts else " Nothing was left out."))
        return _section("What was left out", words, *parts)

    def _gallery(self) -> str:
        from dwplus.report.quicklooks import most_varied, pictures

        figures, reader = [], TileReader(self.store, exported=True)
        for row in most_varied(self.table).rename(columns={"index": "place"}).itertuples():
            words = ("Sentinel-2, true colour", "Sentinel-1: VV, VH, VV − VH", "label")
            shots = "".join(charts.png(picture, f"{what} of {row.tile_id}") for picture, what in
                            zip(pictures(self.root, reader, str(row.group), int(row.place)), words, strict=True))
            figures.append(
                f"<figure><div class='shots'>{shots}</div><figcaption><b>{_biome(int(row.biome))}</b><br>"
                f"{esc(str(row.ecoregion))}, {row.lat:.3f}, {row.lon:.3f}. S2 {row.s2_time:%Y-%m-%d %H:%M}, S1 "
                f"{row.gap_hours:+.1f} h ({esc(str(row.orbit_pass).lower())}); {row.split}</figcaption></figure>")
        return _section("A tile of each biome", "Of each biome the exported tile with the most even mix of classes: "
                        "Sentinel-2 in true colour, Sentinel-1 as VV, VH and their difference, and the label.",
                        charts.key([c.replace("_", " ") for c in CLASSES] + ["no label"], [*PALETTE, "#FFFFFF"]),
                        "<div class='gallery'>", *figures, "</div>")

    def _provenance(self) -> str:
        attrs, spec = self.attrs, self.spec
        made = [
            ["made", f"{esc(attrs['created'])} by dwplus {esc(attrs['dwplus_version'])}, from "
             f"{esc(str(attrs['earth']))}"],
            ["labels", f"{esc(attrs['label_source'])}, per window: {esc(spec['labels'].get('per_window', 'best'))}"],
            ["Sentinel-2", f"{esc(spec['sentinel2']['product'])}: {esc(' '.join(spec['sentinel2']['bands']))}; digital "
             "numbers as delivered, no data 65535"],
            ["Sentinel-1", f"{esc(spec['sentinel1']['policy'])}, averaged {esc(spec['sentinel1']['average'])}, orbit "
             f"{esc(spec['sentinel1']['orbit'])}; {esc(spec['store']['s1_dtype'])}"],
            ["layout", f"Zarr v3, a chunk a tile, {esc(str(spec['store']['shard_tiles']))} tiles a shard, "
             f"{esc(spec['store']['codec'])} level {esc(str(spec['store']['level']))}, every chunk under a checksum"],
        ]
        sources = [[f"<b>{esc(name)}</b>", esc(one["collection"]), esc(one["licence"]), esc(one["attribution"])]
                   for name, one in attrs["sources"].items()]
        import yaml

        text = esc(yaml.safe_dump(spec, sort_keys=False, default_flow_style=None, width=100))
        return _section(
            "Provenance and licences", "", charts.table(("", ""), made, "words"),
            "<h3 style='margin-top:1.1rem'>Sources</h3>",
            charts.table(("", "collection", "licence", "attribution"), sources, "words"),
            f"<details><summary>the whole spec</summary><pre>{text}</pre></details>",
            "<h3 style='margin-top:1.1rem'>Open it</h3><pre>import dwplus\n\ntree = dwplus.open_store("
            f"{esc(repr(str(self.store)))})   # or xarray.open_datatree(..., engine='zarr')\n"
            f"tree[{esc(repr(layout.group_name(self.biomes[0] if self.biomes else 1)))}]</pre>")
