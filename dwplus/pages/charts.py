"""Charts and tables for pages that fetch nothing: places and sizes are worked out here, ``templates/parts.html`` draws.

What is given as text is text: only what a template made (:class:`markupsafe.Markup`) is markup. Colours come from CSS
variables (``templates/style.css``), so that one page serves light and dark; Dynamic World's palette and RESOLVE's
colours of the biomes are those of their authors and stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from dwplus.pages import colours as palette
from dwplus.pages.outlines import CONTINENTS

if TYPE_CHECKING:
    import jinja2

_environment: list[jinja2.Environment] = []


def use(environment: jinja2.Environment) -> None:
    """The templates that draw."""
    _environment[:] = [environment]


def part(name: str, **values: Any) -> Markup:
    """A part of a page: a macro of ``templates/parts.html``."""
    found: Markup = getattr(_environment[0].get_template("parts.html").module, name)(**values)
    return found


def number(value: float, digits: int = 4) -> str:
    """A number for people: thousands apart, no needless zeros."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}" if value else "0"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def chip(colour: str) -> Markup:
    """A small square of a colour, before a name."""
    return part("chip", colour=palette.valid(colour))


def named(colour: str, name: str) -> Markup:
    """A name with its colour before it."""
    return chip(colour) + name


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "") -> Markup:
    """A table; ``kind`` is ``words`` where cells hold sentences."""
    return part("table", head=list(head), rows=[list(row) for row in rows], kind=kind)


def key(names: Sequence[str], colours: Sequence[str]) -> Markup:
    """A legend."""
    return part("key", entries=[named(c, n) for n, c in zip(names, colours, strict=True)])


def stacked(rows: Mapping[str, Sequence[float]], names: Sequence[str], colours: Sequence[str]) -> Markup:
    """One bar per row that shows the shares of its parts."""
    drawn = []
    for label, values in rows.items():
        total = sum(values)
        shares = [value / total if total else 0 for value in values]
        drawn.append((label, [
            {"flex": f"{share:.5f}", "colour": palette.valid(colour), "ink": palette.ink_on(colour),
             "title": f"{name}: {share:.1%}", "text": f"{share:.0%}" if share >= 0.06 else ""}
            for name, colour, share in zip(names, colours, shares, strict=True) if share >= 0.0005]))
    return part("stacked", rows=drawn)


def bars(rows: Mapping[str, float], words: Mapping[str, str] | None = None) -> Markup:
    """One horizontal bar per row, relative to the longest."""
    longest = max([*rows.values(), 1e-12])
    return part("bars", rows=[(name, (words or {}).get(name, number(value)), f"{100 * value / longest:.2f}")
                              for name, value in rows.items()])


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round values between low and high."""
    if not high > low:
        return [low]
    raw = (high - low) / wanted
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def histogram(title: str, counts: Sequence[float], low: float, high: float, unit: str, *, note: str = "",
              marks: Mapping[str, float] | None = None, at: Sequence[float] | None = None, what: str = "tiles",
              ) -> Markup:
    """Columns of equal bins between low and high, with round ticks; each column says its numbers when pointed at.

    Parameters
    ----------
    marks : name and value of dashed lines. at : values of the ticks.
    """
    width, height, base = 260.0, 96.0, 92.0
    top = max([*counts, 1e-12])
    each = width / max(1, len(counts))
    gap = min(1.5, each * 0.15)
    columns = []
    for i, count in enumerate(counts):
        start, stop = (low + (high - low) * (i + k) / len(counts) for k in (0, 1))
        tall = max(base * 0.93 * count / top, 1)
        if count:
            columns.append({"x": f"{i * each + gap / 2:.2f}", "y": f"{base - tall:.2f}", "width": f"{each - gap:.2f}",
                            "height": f"{tall:.2f}",
                            "title": f"{number(start)} to {number(stop)} {unit}: {number(count)} {what}"})

    def x(value: float) -> float:
        return (value - low) / ((high - low) or 1) * width

    lines = [{"x": f"{x(value):.1f}", "title": f"{name} {number(value)} {unit}"}
             for name, value in (marks or {}).items() if low <= value <= high]
    # Ends are set inwards: text must not hang over into the neighbour.
    marked = [{"x": f"{x(value):.1f}", "text": number(value),
                "anchor": "start" if x(value) < 14 else "end" if x(value) > width - 14 else "middle"}
               for value in (at if at is not None else ticks(low, high))]
    return part("histogram", title=title, note=note, unit=unit, columns=columns, marks=lines, ticks=marked,
                width=f"{width:g}", height=f"{height + 14:g}", base=f"{base:g}")


@dataclass
class Dot:
    """Some tiles of a biome on the map: their middle in degrees, how many."""

    lon: float
    lat: float
    biome: int
    tiles: int


def world_map(dots: Sequence[Dot], names: Mapping[int, str]) -> Markup:
    """Continents with a numbered circle per group of tiles, moved apart where they overlap."""
    numbered = len(dots) <= 60
    most = max([dot.tiles for dot in dots], default=1)
    true = np.array([(2 * d.lon, -2 * d.lat) for d in dots], "float64").reshape(-1, 2)
    radius = np.array([(8 if numbered else 2) + 4 * math.sqrt(d.tiles / most) for d in dots])
    spots = _apart(true, radius) if numbered else true
    circles = []
    for dot, at, (x, y), r in zip(dots, true, spots, radius, strict=True):
        colour = palette.biome(dot.biome)
        circles.append({
            "x": f"{x:.1f}", "y": f"{y:.1f}", "r": f"{r:.1f}", "colour": colour, "ink": palette.ink_on(colour),
            "text": str(dot.biome) if numbered else "", "below": f"{y + 3.9:.1f}",
            "lead": (f"{at[0]:.1f}", f"{at[1]:.1f}") if math.hypot(*(at - (x, y))) > 1 else None,
            "title": f"{dot.biome} {names.get(dot.biome, '')}: {dot.tiles} tiles near {dot.lat:.1f}, {dot.lon:.1f}"})
    return part("world", circles=circles, land="".join(CONTINENTS), meridians=[2 * lon for lon in range(-150, 180, 30)],
                parallels=[-2 * lat for lat in (-30, 0, 30, 60)], west=-360, north=-168, width=720, height=286)


def _apart(true: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Places near the true ones at which circles do not overlap (as good as a few rounds give)."""
    spots: np.ndarray = true + np.column_stack([np.arange(len(true)), np.zeros(len(true))]) * 1e-3
    for _ in range(60):
        for i in range(len(spots)):
            away = spots[i] - spots
            distance = np.hypot(*away.T)
            short = radius[i] + radius + 0.5 - distance
            short[i] = 0
            push = np.where(short > 0, short / 2, 0)[:, None] * away / np.maximum(distance, 1e-6)[:, None]
            spots[i] += push.sum(axis=0)
            spots -= push
    return spots
