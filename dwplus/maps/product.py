"""The files of a finished map: rasters by zone, mosaics, ledger, areas, STAC item, pictures, page."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from dwplus.errors import StopError
from dwplus.errors.reasons import meaning
from dwplus.maps import areas, look, stac, viewer
from dwplus.maps.blocks import Block
from dwplus.maps.raster import NO_SOURCE, Layer, extent, layers_of, outside, write_cog, write_vrt
from dwplus.maps.work import Work
from dwplus.pages import charts, colours, sheets, skeleton
from dwplus.pages.charts import number
from dwplus.pages.words import SYNTHETIC
from dwplus.runtime.names import VERSION
from dwplus.runtime.paths import whole
from dwplus.spec.radar import GAMMA_RTC, RTC_SOURCE
from dwplus.store.legend import DYNAMIC_WORLD, Legend, attributes_of
from dwplus.store.sources import SOURCES
from dwplus.taxonomy import IGNORE

#: Layers that are always written, and those by option.
ALWAYS, OPTIONS = ("class", "confidence"), ("probabilities", "sources")
#: Pixels of a raster beyond which a user is told before, where blocks fill less than this share of them.
LARGE, SPARSE = 1_000_000_000, 0.1


@dataclass(frozen=True)
class Product:
    """A map about to be written.

    Attributes
    ----------
    out : its folder. blocks : all of them. outcomes : what became of each, by id. clip : the region by zone; None shows
    whole blocks. layers : those by option. reference : of the map's errors, None where there is no sample of it.
    transferred : whether they were measured on other ground, and the user asked for their correction.
    title, subtitle : for people. created : ISO time. facts : for ``map.json``. legend : classes of the map.
    """

    out: Path
    work: Work
    blocks: Sequence[Block]
    outcomes: dict[str, dict[str, Any]]
    clip: dict[int, shapely.Geometry] | None
    layers: tuple[str, ...]
    reference: areas.Reference | None
    transferred: bool
    title: str
    subtitle: str
    created: str
    facts: dict[str, Any]
    legend: Legend = DYNAMIC_WORLD

    def write(self, polygons: str | None = None, name_field: str | None = None) -> pd.DataFrame:
        """Write everything; ``map.json`` comes last and says that the map is whole.

        Returns
        -------
        Areas by class; see :func:`dwplus.maps.areas.table`.

        Raises
        ------
        InputError
            For polygons that cannot be read.
        StopError
            Where something cannot be written.
        """
        try:
            return self._write(polygons, name_field)
        except OSError as error:
            raise StopError(f"map {self.out}: cannot be written ({error.strerror or error}); run the same command "
                            "again") from error

    def _write(self, polygons: str | None, name_field: str | None) -> pd.DataFrame:
        named = areas.read_polygons(polygons, name_field) if polygons else None
        self.out.mkdir(parents=True, exist_ok=True)
        rasters = self._rasters()
        for layer in self._wanted():
            write_vrt(self.out / f"{layer.name}.vrt", layer, [p for one, p in rasters.values() if one == layer])
        with whole(self.out / "blocks.parquet") as path:
            self._ledger().to_parquet(path, compression="zstd")
        classes = [path for layer, path in rasters.values() if layer.name == "class"]
        table, by_polygon = self._areas(classes, named)
        sheets.write_csv(table, self.out / "areas.csv", float_format="%.6f")
        if by_polygon is not None:
            sheets.write_csv(by_polygon, self.out / "areas_by_polygon.csv", float_format="%.6f")
        look.quicklook(self.out / "class.vrt", self.out / "confidence.vrt", self.out / "quicklook.png", self.title,
                       self.subtitle, self.legend)
        mapped = [block for block in self.blocks if self._state(block) == "mapped"]
        viewer.write(self.out, self.blocks, lambda block: self.work.picture(block.id), self.title,
                     [self._areas_are(), self.subtitle, *([SYNTHETIC] if self.facts["synthetic"] else [])], table,
                     self.legend)
        skeleton.put(self.out / "index.html", self._page(table, by_polygon))
        self._item(mapped, rasters)
        facts = {**self.facts, "areas": json.loads(table.to_json(orient="records")),
                 "files": sorted(path.name for path in self.out.iterdir() if not path.name.startswith("."))}
        if self.legend != DYNAMIC_WORLD:  # a map without a word on them is of Dynamic World's classes
            facts["legend"] = attributes_of(self.legend)
        with whole(self.out / "map.json") as path:
            path.write_text(json.dumps(facts, indent=1) + "\n")
        return table

    def _state(self, block: Block) -> str:
        return str(self.outcomes.get(block.id, {}).get("state", ""))

    def _wanted(self) -> list[Layer]:
        return [layers_of(self.legend)[name] for name in (*ALWAYS, *self.layers)]

    def _rasters(self) -> dict[str, tuple[Layer, Path]]:
        """One GeoTIFF per layer and zone that has anything to show."""
        found: dict[str, tuple[Layer, Path]] = {}
        tags = {"TITLE": self.title, "SOFTWARE": f"dwplus {VERSION}"}
        zones: dict[int, list[Block]] = {}
        for block in self.blocks:
            zones.setdefault(block.grid.epsg, []).append(block)
        for epsg, blocks in sorted(zones.items()):
            mapped = [block for block in blocks if self._state(block) == "mapped"]
            if not mapped:
                continue
            # The extent is that of the region, whatever became of its blocks: maps of one region lie on each other.
            grid = extent(blocks, None if self.clip is None else self.clip.get(epsg))
            for layer in self._wanted():
                path = self.out / f"{layer.name}_epsg{epsg}.tif"
                write_cog(path, layer, grid, mapped, functools.partial(self._pixels, layer), tags)
                found[f"{layer.name}_{areas.zone_name(epsg)}"] = layer, path
        return found

    def _pixels(self, layer: Layer, block: Block) -> np.ndarray | None:
        """A block's bands of a layer (band, y, x), cut to the region; None where it has none."""
        if self._state(block) != "mapped":
            return None
        layers = self.work.block(block.id)
        beyond = outside(block.grid, None if self.clip is None else self.clip.get(block.grid.epsg, shapely.Point()))
        if layer.name == "sources":
            best = block.scenes[0]
            dates = int(self.outcomes[block.id].get("dates", 1))
            values = [_day(best.s2_ms), _day(best.s1_ms), best.gap_minutes, dates]
            out = np.broadcast_to(np.array(values, "int32")[:, None, None], (len(values), *block.grid.shape)).copy()
            out[:, layers[0] == IGNORE] = NO_SOURCE
        else:
            out = {"class": layers[:1], "confidence": layers[1:2], "probabilities": layers[2:]}[layer.name].copy()
        if beyond is not None:
            out[:, beyond] = layer.nodata
        return out

    def _ledger(self) -> gpd.GeoDataFrame:
        rows = []
        for block in self.blocks:
            outcome, grid = self.outcomes.get(block.id, {}), block.grid
            rows.append({
                "block": block.id, "state": outcome.get("state", ""), "reason": outcome.get("reason", ""),
                "dates": int(outcome.get("dates", 0)), "epsg": grid.epsg, "x0": grid.x0, "y0": grid.y0,
                "size": grid.width, "scale": grid.scale, "s2_id": ",".join(s.s2_id for s in block.scenes),
                "s1_id": ";".join(s.s1_id for s in block.scenes),
                "s2_time": ",".join(stac.iso(s.s2_ms) for s in block.scenes),
                "gap_hours": block.scenes[0].gap_minutes / 60 if block.scenes else np.nan,
                "scenes": json.dumps([scene.as_kept() for scene in block.scenes]),
                "geometry": grid.footprint()})
        return gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")

    def _areas(self, classes: Sequence[Path], named: tuple[list[str], list[shapely.Geometry]] | None,
               ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        pixel = self.blocks[0].grid.scale ** 2
        names = self.legend.classes
        whole = np.zeros(len(names), "int64")
        for _, labels in areas.pieces(classes):
            whole += areas.count(labels, len(names))
        table = (areas.transferred(whole, pixel, self.reference, names) if self.reference and self.transferred else
                 areas.table(whole, pixel, self.reference, names))
        if named is None:
            return table, None
        counts = areas.count_by_polygon(classes, *named, names)
        # The errors of the whole map are not those of a part: parts are counted.
        parts = [areas.table(row.to_numpy(), pixel, None, names).assign(polygon=name)
                 for name, row in counts.iterrows()]
        found = pd.concat(parts, ignore_index=True)
        return table, found[["polygon", *(c for c in found if c != "polygon")]]

    def _item(self, mapped: Sequence[Block], rasters: dict[str, tuple[Layer, Path]]) -> None:
        others = {**{f"{layer.name}_mosaic": (self.out / f"{layer.name}.vrt", "application/xml")
                     for layer in self._wanted()},
                  "quicklook": (self.out / "quicklook.png", "image/png"),
                  "page": (self.out / "index.html", "text/html"),
                  "blocks": (self.out / "blocks.parquet", "application/vnd.apache.parquet"),
                  "areas": (self.out / "areas.csv", "text/csv")}
        item = stac.item(self.out.name, mapped, rasters, others, self.created,
                         {"processing:software": {"dwplus": VERSION}},
                         RTC_SOURCE if self.facts.get("radar") == GAMMA_RTC else SOURCES["sentinel1"], self.legend)
        with whole(self.out / "item.json") as path:
            path.write_text(json.dumps(item, indent=1) + "\n")

    def _page(self, table: pd.DataFrame, by_polygon: pd.DataFrame | None) -> str:
        """A page that fetches nothing."""
        whole = float(table["mapped_km2"].sum())
        states = pd.Series([self._state(block) for block in self.blocks]).value_counts()
        facts = [(f"{number(whole, 6 if whole >= 1000 else 4)} km²", "mapped"),
                 (f"{states.get('mapped', 0)} of {len(self.blocks)}", "blocks"),
                 (f"{max((len(b.scenes) for b in self.blocks), default=0)}", "dates a block at most")]
        missing = self._left_out()
        return skeleton.render(
            "map.html", title=self.title, subtitle=self.subtitle, facts=facts,
            synthetic=SYNTHETIC if self.facts["synthetic"] else "",
            picture=skeleton.data_url((self.out / "quicklook.png").read_bytes()),
            counted=areas.COUNTED.capitalize(), transferred=areas.TRANSFERRED.capitalize(),
            basis="counted" if self.reference is None else "transferred" if self.transferred else "sampled",
            areas=self._area_table(table),
            polygons=[] if by_polygon is None else [
                (str(name), self._area_table(rows)) for name, rows in by_polygon.groupby("polygon", sort=False)],
            missing=charts.table(("reason", "blocks", "meaning"), missing) if missing else None,
            made=charts.table(("", ""), [[k, v] for k, v in self.facts["made_from"].items()], "words"))

    def _area_table(self, table: pd.DataFrame) -> str:
        colour = dict(zip(self.legend.classes, self.legend.colours, strict=True))
        adjusted, moved = "adjusted_km2" in table, "transferred_km2" in table
        rows = []
        for row in table.to_dict("records"):
            name = str(row["class"])
            cells = [charts.named(colour[name], colours.words(name)), f"{row['mapped_km2']:,.2f}",
                     f"{row['mapped_share']:.1%}"]
            if adjusted:
                low, high = row["low_km2"], row["high_km2"]
                cells += [f"{row['adjusted_km2']:,.2f}",
                          "not known" if not np.isfinite(low) else f"{low:,.2f} to {high:,.2f}"]
            if moved:
                cells.append(f"{row['transferred_km2']:,.2f}")
            rows.append(cells)
        head = ["class", "counted, km²", "share", *(["estimate, km²", "95 % interval, km²"] if adjusted else []),
                *(["transferred correction, km²"] if moved else [])]
        return charts.table(head, rows)

    def _areas_are(self) -> str:
        """What the figures of area are, in a sentence."""
        if self.reference is None:
            return f"Areas: {areas.COUNTED}; dwplus sample and dwplus assess make estimates."
        return (f"Areas: {areas.TRANSFERRED}." if self.transferred else
                "The column estimate is one, from points drawn within each map class; counted areas are none.")

    def _left_out(self) -> list[list[str]]:
        reasons = [str(self.outcomes[b.id]["reason"]).split(":")[0] for b in self.blocks
                   if self._state(b) == "rejected"]
        return [[str(reason), str(n), meaning(str(reason))]
                for reason, n in pd.Series(reasons, dtype=str).value_counts().items()]


def large_rasters(blocks: Sequence[Block], clip: Mapping[int, shapely.Geometry] | None) -> list[str]:
    """A sentence for each zone whose blocks lie so far apart that its rasters are large and nearly empty. A zone has
    one raster a layer, whatever lies between its blocks.

    Parameters
    ----------
    clip : what is shown of each zone, in its metres, by EPSG code; None = the blocks.
    """
    zones: dict[int, list[Block]] = {}
    for block in blocks:
        zones.setdefault(block.grid.epsg, []).append(block)
    found = []
    for epsg, own in sorted(zones.items()):
        grid = extent(own, None if clip is None else clip.get(epsg))
        pixels, filled = grid.height * grid.width, sum(block.grid.height * block.grid.width for block in own)
        if pixels > LARGE and filled < SPARSE * pixels:
            wide, high = (side * grid.scale / 1000 for side in (grid.width, grid.height))
            found.append(f"zone {areas.zone_name(epsg)}: a raster of it is {wide:,.0f} x {high:,.0f} km ("
                         f"{pixels / 1e9:,.1f} thousand million pixels, {filled / pixels:.1%} of them in blocks) and "
                         "takes minutes to write; a map of each far-off part alone (REGION) has small ones")
    return found


def _day(milliseconds: int) -> int:
    return int(pd.Timestamp(milliseconds, unit="ms").strftime("%Y%m%d"))
