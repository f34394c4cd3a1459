"""The page: a map of tiles, a table with filters, the time line of gaps, a tile's pictures side by side, marks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import DocumentReady, MouseMove
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColumnDataSource,
    CustomJS,
    DataTable,
    DateFormatter,
    Div,
    HoverTool,
    MultiChoice,
    NumberFormatter,
    Range1d,
    RangeSlider,
    Select,
    Slider,
    TableColumn,
    TapTool,
    TextInput,
)
from bokeh.plotting import figure

from dwplus.errors import InputError
from dwplus.pages import colours, skeleton, stretch
from dwplus.pages.outlines import CONTINENTS
from dwplus.report.view.subject import Subject, Tile, values_at
from dwplus.store.marks import BAD, KEEP, NOTE, Mark, now, read_marks, write_marks

#: How Sentinel-2 may be shown: bands taken as red, green, blue.
STRETCHES = {"true colour": ("B4", "B3", "B2"), "near infrared": ("B8", "B4", "B3"),
             "short-wave infrared": ("B12", "B8", "B4"), "vegetation and water": ("B8", "B11", "B4")}
#: Side of a picture on the page, px.
SIDE = 300
ALL = "any class"
#: Numbers one filters by: column, words, ends where nothing is known, step.
RANGES = (("gap_hours", "gap, hours (S1 minus S2)", (-144.0, 144.0), 1.0),
          ("s2_cloud", "cloud of the scene, %", (0.0, 100.0), 1.0),
          ("valid_fraction", "complete pixels", (0.0, 1.0), 0.01))
#: Columns that the page does not show: the fewer, the sooner it is there.
UNSEEN = ("ecoregion", "orbit_pass")
KEYS = "keys: n next, p previous, b bad, k keep, u unmark"


def continents() -> tuple[list[list[float]], list[list[float]]]:
    """The bundled outline as lists of longitudes and latitudes, one each a ring."""
    xs: list[list[float]] = []
    ys: list[list[float]] = []
    for ring in re.findall(r"M([^Mz]+)z?", CONTINENTS):
        steps = np.array([float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", ring)]).reshape(-1, 2)
        x, y = np.cumsum(steps, axis=0).T / 2
        xs.append(x.tolist())
        ys.append((-y).tolist())
    return xs, ys


def pictures(tile: Tile, subject: Subject, shown: str) -> dict[str, np.ndarray]:
    """What there is to see of a tile, by name, uint8 (y, x, 3)."""
    wanted = STRETCHES[shown]
    names = list(subject.s2_bands)
    if set(wanted) <= set(names):
        s2 = stretch.true_colour(tile.s2[[names.index(b) for b in wanted]], ("B4", "B3", "B2"), unit=subject.s2_unit)
    else:
        s2 = stretch.true_colour(tile.s2, names, unit=subject.s2_unit)
    found = {"Sentinel-2": s2, "Sentinel-1": stretch.radar(tile.s1, unit=subject.s1_unit),
             "label": colours.of_classes(tile.label, subject.palette)}
    if tile.predicted is not None:
        found["prediction"] = colours.of_classes(tile.predicted, subject.palette)
        found["disagreement"] = colours.of_agreement(tile.label, tile.predicted)
    if tile.cloud is not None:
        found["cloud"] = np.where((tile.cloud == 1)[..., None], 255, np.where(tile.cloud == 0, 40, 128)[..., None]
                                  ).astype("uint8").repeat(3, axis=-1)
    return found


def piece(name: str, **values: Any) -> str:
    """A piece of the page as HTML, from its template."""
    return skeleton.render("view.html", piece=name, **values).strip()


def rgba(picture: np.ndarray) -> np.ndarray:
    """Uint8 (y, x, 3), north first, as Bokeh takes it: uint32 (y, x), south first."""
    height, width = picture.shape[:2]
    out = np.full((height, width, 4), 255, "uint8")
    out[..., :3] = picture
    found: np.ndarray = out[::-1].copy().view("uint32").reshape(height, width)
    return found


class Viewer:
    """One reader's page: what is shown, which tile is open, the marks."""

    def __init__(self, subject: Subject, marks: Path) -> None:
        self.subject, self.path = subject, marks
        self.marks = self._kept()
        self.rows = np.arange(len(subject.table))
        self.open: int | None = None
        self.tile: Tile | None = None
        self.source = ColumnDataSource(self._data(self.rows), name="tiles")
        self._filters()
        self._figures()
        self._marks()

    def _kept(self) -> dict[tuple[str, str], Mark]:
        """The marks of the file, which another page may have written, too."""
        return {(mark.tile_id, mark.window): mark for mark in read_marks(self.path)} if self.path.exists() else {}

    # -- the table ------------------------------------------------------------------------------------------------

    def _data(self, rows: np.ndarray) -> dict[str, Any]:
        part = self.subject.table.iloc[rows]
        data: dict[str, Any] = {name: part[name].to_numpy() for name in part
                                if not str(name).startswith("share_") and name not in UNSEEN}
        data["row"] = rows
        data["mark"] = [self._said(t, w) for t, w in zip(part["tile_id"], part["window"], strict=True)]
        return data

    def _said(self, tile_id: str, window: str) -> str:
        mark = self.marks.get((tile_id, window)) or self.marks.get((tile_id, ""))
        return mark.mark if mark else ""

    def _filters(self) -> None:
        table = self.subject.table
        self.choices = {}
        for name in ("biome", "split", "status", "reason", "class"):
            options = sorted({str(value) for value in table[name]} - {""}, key=lambda v: (len(v), v))
            if len(options) > (1 if name != "biome" else 0):
                self.choices[name] = MultiChoice(title=name, name=name, options=options, width=260)
        self.ranges = {}
        for name, words, (least, most), step in RANGES:
            known = table[name].to_numpy("float64")
            known = known[np.isfinite(known)]
            if known.size:
                low, high = min(least, math.floor(known.min())), max(most, math.ceil(known.max()))
                self.ranges[name] = RangeSlider(title=words, start=low, end=high, value=(low, high), step=step,
                                                width=260)
        shares = [str(name).removeprefix("share_") for name in table if str(name).startswith("share_")]
        self.share_of = Select(title="at least this much of", options=[ALL, *shares], value=ALL, width=150)
        self.share = Slider(title="share, %", start=0, end=100, value=0, step=1, width=100)
        self.text = TextInput(title="name contains", width=260)
        self.marked = Select(title="mark", options=["all", "bad", "keep", "note", "none"], value="all", width=260)
        for widget in (*self.choices.values(), self.share_of, self.text, self.marked):
            widget.on_change("value", self._filter)
        for widget in (*self.ranges.values(), self.share):
            widget.on_change("value_throttled", self._filter)
        self.count = Div(text="", width=260, name="count")
        self._say_count()

    def _filter(self, attr: str, old: Any, new: Any) -> None:
        table = self.subject.table
        keep = np.ones(len(table), bool)
        for name, widget in self.choices.items():
            if widget.value:
                keep &= table[name].astype(str).isin(widget.value).to_numpy()
        for name, slider in self.ranges.items():
            low, high = slider.value
            if (low, high) != (slider.start, slider.end):
                values = table[name].to_numpy("float64")
                keep &= (values >= low) & (values <= high)
        if self.share_of.value != ALL and self.share.value:
            keep &= np.nan_to_num(table[f"share_{self.share_of.value}"].to_numpy("float64")) * 100 >= self.share.value
        if self.text.value:
            keep &= table["tile_id"].str.contains(self.text.value, regex=False).to_numpy()
        if self.marked.value != "all":
            wanted = "" if self.marked.value == "none" else self.marked.value
            said = [self._said(t, w) for t, w in zip(table["tile_id"], table["window"], strict=True)]
            keep &= np.array([word == wanted for word in said])
        self.rows = np.flatnonzero(keep)
        self.source.selected.indices = []  # numbers of the old rows
        self.source.data = self._data(self.rows)
        self._say_count()

    def _say_count(self) -> None:
        words = f"{len(self.rows):,} of {len(self.subject.table):,} tiles"
        self.count.text = piece("strong", words=words)

    # -- map, time line, pictures ---------------------------------------------------------------------------------

    def _figures(self) -> None:
        hover = [("tile", "@tile_id"), ("biome", "@biome"), ("split", "@split"), ("status", "@status @reason"),
                 ("gap", "@gap_hours h"), ("mark", "@mark")]
        table = self.subject.table
        self.map = figure(title="tiles", width=620, height=340, tools="pan,wheel_zoom,box_zoom,reset",
                          active_scroll="wheel_zoom", output_backend="webgl", x_axis_label="longitude",
                          y_axis_label="latitude", x_range=self._around("lon", -180, 180),
                          y_range=self._around("lat", -62, 84))
        xs, ys = continents()
        self.map.patches(xs, ys, fill_color="#e8e8e2", line_color="#b8b8b0", line_width=0.5)
        dots = self.map.scatter("lon", "lat", source=self.source, size=7, color="colour", line_color="#333333",
                                line_width=0.4, nonselection_alpha=0.5)
        self.map.add_tools(HoverTool(tooltips=hover, renderers=[dots]))
        self.map.add_tools(TapTool(renderers=[dots]))
        self.time = figure(title="gap between the sensors", width=620, height=200, x_axis_type="datetime",
                           tools="pan,wheel_zoom,reset,tap", output_backend="webgl", y_axis_label="S1 minus S2, hours")
        if table["s2_time"].notna().any():
            gaps = self.time.scatter("s2_time", "gap_hours", source=self.source, size=5, color="colour",
                                     nonselection_alpha=0.3)
            self.time.add_tools(HoverTool(tooltips=hover, renderers=[gaps]))
        columns = [TableColumn(field="tile_id", title="tile", width=230)]
        columns += [TableColumn(field=name, title=title, width=width) for name, title, width in (
            ("window", "window", 150), ("biome", "biome", 45), ("split", "split", 45), ("status", "status", 65),
            ("class", "most", 80), ("mark", "mark", 40), ("reason", "reason", 90))]
        columns += [TableColumn(field=name, title=title, width=55, formatter=NumberFormatter(format=shape,
                                                                                             nan_format="-"))
                    for name, title, shape in (("gap_hours", "gap, h", "0.0"), ("s2_cloud", "cloud", "0.0"),
                                               ("valid_fraction", "valid", "0.00"))]
        columns.append(TableColumn(field="s2_time", title="Sentinel-2", width=80,
                                   formatter=DateFormatter(format="%Y-%m-%d", nan_format="-")))
        self.table = DataTable(source=self.source, columns=columns, width=1100, height=250, index_position=None,
                               reorderable=False)
        self.source.selected.on_change("indices", self._select)
        self.head = Div(text=self._heading(), width=1100)
        self.values = Div(text="", width=1100, height=44, name="values")
        self.shown = Select(title="Sentinel-2 as", options=list(STRETCHES), value="true colour", width=200)
        self.shown.on_change("value", lambda attr, old, new: self._draw())
        self.plots: dict[str, Any] = {}
        self.sources: dict[str, ColumnDataSource] = {}
        self.pane = row(self._empty(), styles={"flex-wrap": "wrap"}, width=1240)

    def _around(self, name: str, least: float, most: float) -> Range1d:
        """The tiles' extent and as much again on both sides, at least five degrees, within the world's."""
        known = self.subject.table[name].to_numpy("float64")
        known = known[np.isfinite(known)]
        if not known.size:
            return Range1d(start=least, end=most)
        low, high = float(known.min()), float(known.max())
        margin = max(5.0, (high - low) * 0.1)
        return Range1d(start=max(least, low - margin), end=min(most, high + margin))

    def _empty(self) -> Div:
        words = "choose a tile on the map, in the table or with the keys: its pictures come here"
        return Div(text=piece("hint", words=words), width=1100)

    def _heading(self) -> str:
        return piece("heading", title=self.subject.title, banner=self.subject.banner,
                               words=f"{KEYS}; marks are written to {self.path}")

    def _select(self, attr: str, old: Any, chosen: list[int]) -> None:
        if not chosen:
            return
        self.open = int(self.rows[chosen[0]]) if chosen[0] < len(self.rows) else None
        self.tile = None
        if self.open is None:
            return
        shown = self.subject.table.iloc[self.open]
        if self.subject.pixels is not None:
            try:
                self.tile = self.subject.pixels(self.open)
                self.values.text = piece("hint", words=f"{shown['tile_id']}: move the pointer over a picture")
            except InputError as error:
                self.values.text = piece("strong", words=str(error))
        else:
            self.values.text = piece("hint", words=f"{shown['tile_id']}: {shown['status']} "
                                                       f"{shown['reason']}")
        mark = self.marks.get((shown["tile_id"], shown["window"]))
        self.note.value = mark.note if mark else ""
        self._draw()

    def _draw(self) -> None:
        if self.tile is None:
            self.pane.children = [self._empty()]
            return
        found = pictures(self.tile, self.subject, self.shown.value)
        height, width = self.tile.label.shape
        if list(found) != list(self.plots) or self.extent != (height, width):
            self._lay_out(list(found), height, width)
        for name, picture in found.items():
            self.sources[name].data = {"image": [rgba(picture)]}
        self.pane.children = list(self.plots.values())

    def _lay_out(self, names: list[str], height: int, width: int) -> None:
        self.extent = height, width
        x, y = Range1d(start=0, end=width), Range1d(start=0, end=height)  # shared: where one picture is zoomed, all are
        self.plots, self.sources = {}, {}
        for name in names:
            self.sources[name] = ColumnDataSource({"image": []})
            plot = figure(title=name, width=SIDE, height=SIDE + 24, x_range=x, y_range=y, tools="pan,wheel_zoom,reset",
                          active_scroll="wheel_zoom", match_aspect=True, toolbar_location=None)
            plot.image_rgba("image", source=self.sources[name], x=0, y=0, dw=width, dh=height)
            plot.axis.visible = False
            plot.grid.visible = False
            plot.on_event(MouseMove, self._point)
            self.plots[name] = plot

    def _point(self, event: Any) -> None:
        if self.tile is None or event.x is None or event.y is None:
            return
        height, width = self.tile.label.shape
        x, y = math.floor(event.x), height - 1 - math.floor(event.y)
        if 0 <= x < width and 0 <= y < height:
            name = self.subject.table["tile_id"].iat[self.open]
            self.values.text = piece("values", where=f"{name}, row {y}, column {x}",
                                     values=values_at(self.tile, self.subject, y, x))

    # -- marks ----------------------------------------------------------------------------------------------------

    def _marks(self) -> None:
        self.note = TextInput(title="note", width=300)
        self.buttons = [Button(label=label, button_type=kind, width=110) for label, kind in (
            ("bad label (b)", "danger"), ("keep (k)", "success"), ("unmark (u)", "default"), ("save note", "default"),
            ("previous (p)", "default"), ("next (n)", "default"))]
        for button, action in zip(self.buttons, (lambda: self.mark(BAD), lambda: self.mark(KEEP), lambda: self.mark(""),
                                                 self.save_note, lambda: self.step(-1), lambda: self.step(1)),
                                  strict=True):
            button.on_click(action)
        self.key = TextInput(value="", visible=False)
        self.key.on_change("value", lambda attr, old, new: self.press(new.split(" ")[0]))

    def press(self, key: str) -> None:
        """A key of the keyboard."""
        if key in ("n", "ArrowRight"):
            self.step(1)
        elif key in ("p", "ArrowLeft"):
            self.step(-1)
        elif key in ("b", "k", "u"):
            self.mark({"b": BAD, "k": KEEP, "u": ""}[key])

    def step(self, by: int) -> None:
        """Open the next or the previous tile of those shown."""
        if not len(self.rows):
            return
        found = np.flatnonzero(self.rows == (-1 if self.open is None else self.open))
        at = int(found[0]) + by if len(found) else 0
        self.source.selected.indices = [at % len(self.rows)]

    def mark(self, word: str) -> None:
        """Mark the tile that is open, or take its mark away; the file is written at once."""
        if self.open is None:
            return
        shown = self.subject.table.iloc[self.open]
        key = shown["tile_id"], shown["window"]
        try:
            self.marks = self._kept()
        except InputError as error:
            self.values.text = piece("strong", words=str(error))
            return
        if word:
            self.marks[key] = Mark(*key, word, self.note.value, self.subject.title, now())
        else:
            self.marks.pop(key, None)
            self.marks.pop((key[0], ""), None)
        try:
            write_marks(self.path, self.marks.values())
        except InputError as error:
            self.values.text = piece("strong", words=str(error))
            return
        at = int(np.flatnonzero(self.rows == self.open)[0]) if self.open in self.rows else None
        if at is not None:
            self.source.patch({"mark": [(at, word)]})

    def save_note(self) -> None:
        """Keep the note with the tile's mark, or alone."""
        if self.open is not None:
            shown = self.subject.table.iloc[self.open]
            self.mark(self._said(shown["tile_id"], shown["window"]) or NOTE)

    # -- together -------------------------------------------------------------------------------------------------

    def into(self, document: Document) -> None:
        """Put the page into a document."""
        document.title = f"{Path(self.subject.title).name}: dwplus view"
        side = column(self.count, self.text, *self.choices.values(), *self.ranges.values(),
                      *([row(self.share_of, self.share)] if len(self.share_of.options) > 1 else []), self.marked)
        parts: list[Any] = [self.head, row(side, column(self.map, self.time)), self.table]
        if self.subject.pixels is not None:
            parts += [row(self.shown, self.note, *self.buttons), self.values, self.pane,
                      Div(text=legend_text(self.subject), width=1100)]
        else:
            parts += [row(self.note, *self.buttons), self.values]
        document.add_root(column(*parts, self.key))
        document.js_on_event(DocumentReady, CustomJS(args={"key": self.key}, code="""
            document.addEventListener("keydown", (event) => {
                const where = event.composedPath()[0]
                if (["INPUT", "TEXTAREA", "SELECT"].includes(where.tagName) || event.ctrlKey || event.metaKey) return
                key.value = event.key + " " + Date.now()
            })"""))


def legend_text(subject: Subject) -> str:
    """Names and colours of the classes as HTML, and of where a prediction differs."""
    entries = [(colours.valid(colour), colours.words(name)) for name, colour in zip(
        subject.classes, subject.palette, strict=True)]
    if subject.predicts:
        entries += [(colours.AGREES, "agrees with the label"), (colours.DIFFERS, "differs from it")]
    return piece("key", entries=[*entries, (colours.NO_LABEL, "no label")])
