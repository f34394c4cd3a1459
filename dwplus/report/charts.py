"""Charts and tables as HTML and SVG text, for pages that fetch nothing. Pure: values in, text out.

Colours come from CSS variables (see :data:`STYLE`), so that one page serves light and dark; Dynamic World's palette and
RESOLVE's colours of the biomes are those of their authors and stay.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dwplus.report.outlines import CONTINENTS

#: Colours of the biomes on RESOLVE's own map, ecoregions.appspot.com.
BIOME_COLOURS = {1: "#38A700", 2: "#CCCD65", 3: "#88CE66", 4: "#00734C", 5: "#458970", 6: "#7AB6F5", 7: "#FEAA01",
                 8: "#FEFF73", 9: "#BEE7FF", 10: "#D6C39D", 11: "#9ED7C2", 12: "#FE0000", 13: "#CC6767", 14: "#FE01C4"}

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f8;--card:#fff;--ink:#16191d;--soft:#59616b;--faint:#8b939d;--line:#dfe3e8;
--accent:#2468b2;--accent-soft:#2468b233;--land:#dde2e6;--sea:#f1f4f7;--warn:#8a5a00;--warn-back:#fff4dc}
@media (prefers-color-scheme:dark){:root{--page:#101418;--card:#181d23;--ink:#e9edf1;--soft:#a7b0ba;--faint:#78828d;
--line:#2d353e;--accent:#6fabed;--accent-soft:#6fabed40;--land:#313a44;--sea:#1c2229;--warn:#f2c66d;
--warn-back:#33290f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:2.2rem 1.2rem 4rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0 0 .2rem}h3{font-size:.82rem;font-weight:600;margin:0 0 .3rem;line-height:1.3}
p{margin:.2rem 0 .9rem;max-width:78ch}.lead{color:var(--soft);font-size:1.05rem}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.3rem 1.4rem;margin-top:1.1rem}
.note{background:var(--warn-back);color:var(--warn);border-radius:8px;padding:.6rem .9rem;margin:1rem 0 0;
max-width:none}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:1.1rem;margin-top:1.3rem}
.facts b{display:block;font-size:1.65rem;line-height:1.15;font-weight:650;letter-spacing:-.01em}
.facts span{color:var(--soft);font-size:.85rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:1.2rem 1.4rem}
.grid>div{display:flex;flex-direction:column;justify-content:flex-end}
h3 small{display:block;font-weight:400;font-size:.78rem;color:var(--soft)}
.scroll{overflow-x:auto}
svg{display:block;width:100%;height:auto;overflow:visible}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
.bar{fill:var(--accent)}.axis{stroke:var(--faint);stroke-width:1}.rule{stroke:var(--line);stroke-width:1}
.mark{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:3 3}
.map{min-width:560px}.map path{fill:var(--land)}.map .sea{fill:var(--sea)}.map circle{stroke:var(--card);stroke-width:1}
.map line.lead{stroke:var(--soft);stroke-width:.8}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.88rem}
th,td{text-align:right;padding:.28rem .55rem;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--soft)}td:first-child,th:first-child{text-align:left;padding-left:0}
td:last-child,th:last-child{padding-right:0}tr:last-child td{border-bottom:0}
.words td,.words th{white-space:normal;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.words td:first-child,.words th:first-child{white-space:nowrap;overflow-wrap:normal}
.chip{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em;vertical-align:-.06em;
box-shadow:inset 0 0 0 1px #0003}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;margin:.5rem 0 .9rem;font-size:.88rem}
.stack{display:grid;grid-template-columns:minmax(9rem,19rem) 1fr;gap:.35rem .9rem;align-items:center;font-size:.88rem}
.stack .name{line-height:1.25}.stack .name small{color:var(--soft)}
.strip{display:flex;gap:2px;height:1.55rem;min-width:0}
.strip i{display:flex;align-items:center;justify-content:center;min-width:0;overflow:hidden;font:600 .72rem system-ui;
border-radius:2px}
.track{background:var(--accent-soft);border-radius:3px;height:1.1rem}.track i{display:block;height:100%;min-width:2px;
background:var(--accent);border-radius:3px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:1.4rem}
figure{margin:0;min-width:0}.shots{display:grid;grid-template-columns:repeat(3,1fr);gap:3px}
.shots img{width:100%;height:auto;display:block;border-radius:3px}
figcaption{font-size:.82rem;color:var(--soft);line-height:1.4;margin-top:.45rem;overflow-wrap:anywhere}
figcaption b{color:var(--ink)}
code,pre{font:.85em/1.5 ui-monospace,Menlo,Consolas,monospace}pre{overflow-x:auto;
background:var(--sea);padding:.8rem 1rem;border-radius:8px;margin:.4rem 0 0}
details summary{cursor:pointer;color:var(--accent);margin-top:.8rem}
footer{color:var(--soft);font-size:.85rem;margin-top:1.4rem}
@media (max-width:620px){main{padding:1.3rem .8rem 3rem}section{padding:1rem}.stack{
grid-template-columns:1fr;gap:.15rem}.stack .strip,.stack .track{margin-bottom:.55rem}h1{font-size:1.55rem}
.gallery{grid-template-columns:1fr}.grid{grid-template-columns:repeat(auto-fill,minmax(145px,1fr));gap:1rem}
.grid svg text{font-size:15px}td:first-child{white-space:normal;min-width:9rem}.words td:first-child{min-width:0}
.map{min-width:0}.map circle{r:13px}.map text{font-size:15px}}
@media print{section{break-inside:avoid}}
"""

esc = html.escape


#: What a page may load: pictures and styles that lie in it, nothing else, and no script whatever its data say.
POLICY = ("<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
          "style-src 'unsafe-inline'\">")


def page(title: str, body: Sequence[str]) -> str:
    """A whole HTML page."""
    return (f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>{POLICY}"
            f"<meta name='viewport' content='width=device-width,initial-scale=1'><title>{esc(title)}</title>"
            f"<style>{STYLE}</style></head><body><main>\n{chr(10).join(body)}\n</main></body></html>\n")


def number(value: float, digits: int = 4) -> str:
    """A number for people: thousands apart, no needless zeros."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}" if value else "0"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour ``#rrggbb``."""
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return "#000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#fff"


def chip(colour: str) -> str:
    return f"<span class='chip' style='background:{colour}'></span>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table; cells are HTML."""
    cells = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    title = "<tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr>" if any(head) else ""
    return f"<div class='scroll'><table class='{kind}'>{title}{cells}</table></div>"


def key(names: Sequence[str], colours: Sequence[str]) -> str:
    """A legend."""
    return "<div class='key'>" + "".join(f"<span>{chip(c)}{esc(n)}</span>"
                                         for n, c in zip(names, colours, strict=True)) + "</div>"


def stacked(rows: Mapping[str, Sequence[float]], names: Sequence[str], colours: Sequence[str]) -> str:
    """One bar per row that shows the shares of its parts; keys are HTML."""
    parts = []
    for label, values in rows.items():
        total = sum(values)
        strip = ""
        for name, colour, value in zip(names, colours, values, strict=True):
            share = value / total if total else 0
            if share < 0.0005:
                continue
            text = f"{share:.0%}" if share >= 0.06 else ""
            strip += (f"<i style='flex:{share:.5f} 1 0;background:{colour};color:{ink_on(colour)}' "
                      f"title='{esc(name)}: {share:.1%}'>{text}</i>")
        parts.append(f"<div class='name'>{label}</div><div class='strip'>{strip}</div>")
    return f"<div class='stack'>{''.join(parts)}</div>"


def bars(rows: Mapping[str, float], words: Mapping[str, str] | None = None) -> str:
    """One horizontal bar per row, relative to the longest."""
    longest = max([*rows.values(), 1e-12])
    parts = [f"<div class='name'>{esc(name)} <small>{(words or {}).get(name, number(value))}</small></div>"
             f"<div class='track'><i style='width:{100 * value / longest:.2f}%'></i></div>"
             for name, value in rows.items()]
    return f"<div class='stack'>{''.join(parts)}</div>"


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
              marks: Mapping[str, float] | None = None, at: Sequence[float] | None = None, what: str = "tiles") -> str:
    """Columns of equal bins between low and high, with round ticks; each column says its numbers when pointed at.

    Parameters
    ----------
    marks : name and place of dashed lines. at : places of the ticks.
    """
    width, height, base = 260.0, 96.0, 92.0
    top = max([*counts, 1e-12])
    each = width / max(1, len(counts))
    gap = min(1.5, each * 0.15)
    shapes = []
    for i, count in enumerate(counts):
        start, stop = (low + (high - low) * (i + k) / len(counts) for k in (0, 1))
        tall = base * 0.93 * count / top
        if count:
            shapes.append(f"<rect class='bar' x='{i * each + gap / 2:.2f}' y='{base - max(tall, 1):.2f}' rx='1' "
                          f"width='{each - gap:.2f}' height='{max(tall, 1):.2f}'><title>{number(start)} to "
                          f"{number(stop)} {esc(unit)}: {number(count)} {what}</title></rect>")

    def x(value: float) -> float:
        return (value - low) / ((high - low) or 1) * width

    for name, value in (marks or {}).items():
        if low <= value <= high:
            shapes.append(f"<line class='mark' x1='{x(value):.1f}' x2='{x(value):.1f}' y1='2' y2='{base}'>"
                          f"<title>{esc(name)} {number(value)} {esc(unit)}</title></line>")
    shapes.append(f"<line class='axis' x1='0' x2='{width}' y1='{base}' y2='{base}'/>")
    for value in at if at is not None else ticks(low, high):
        # Ends are set inwards: text must not hang over into the neighbour.
        anchor = "start" if x(value) < 14 else "end" if x(value) > width - 14 else "middle"
        shapes.append(f"<line class='axis' x1='{x(value):.1f}' x2='{x(value):.1f}' y1='{base}' y2='{base + 3}'/>"
                      f"<text x='{x(value):.1f}' y='{base + 15}' text-anchor='{anchor}'>{number(value)}</text>")
    small = f"<small>{note}</small>" if note else ""
    return (f"<div><h3>{title}{small}</h3><svg viewBox='0 0 {width:g} {height + 14:g}' role='img' "
            f"aria-label='{esc(title)}, {esc(unit)}'>{''.join(shapes)}</svg></div>")


@dataclass
class Dot:
    """Some tiles of a biome on the map: place in degrees, how many."""

    lon: float
    lat: float
    biome: int
    tiles: int


def world_map(dots: Sequence[Dot], names: Mapping[int, str]) -> str:
    """Continents with a numbered circle per group of tiles, moved apart where they overlap."""
    west, north, width, height = -360, -168, 720, 286
    lines = "".join(f"<line class='rule' x1='{2 * lon}' x2='{2 * lon}' y1='{north}' y2='{north + height}'/>"
                    for lon in range(-150, 180, 30))
    lines += "".join(f"<line class='rule' x1='{west}' x2='{-west}' y1='{-2 * lat}' y2='{-2 * lat}'/>"
                     for lat in (-30, 0, 30, 60))
    numbered = len(dots) <= 60
    most = max([dot.tiles for dot in dots], default=1)
    true = np.array([(2 * d.lon, -2 * d.lat) for d in dots], "float64").reshape(-1, 2)
    radius = np.array([(8 if numbered else 2) + 4 * math.sqrt(d.tiles / most) for d in dots])
    place = _apart(true, radius) if numbered else true
    shapes = []
    for dot, at, (x, y), r in zip(dots, true, place, radius, strict=True):
        colour = BIOME_COLOURS.get(dot.biome, "#888888")
        said = f"{dot.biome} {esc(names.get(dot.biome, ''))}: {dot.tiles} tiles near {dot.lat:.1f}, {dot.lon:.1f}"
        if math.hypot(*(at - (x, y))) > 1:
            shapes.append(f"<line class='lead' x1='{at[0]:.1f}' y1='{at[1]:.1f}' x2='{x:.1f}' y2='{y:.1f}'/>")
        shapes.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{r:.1f}' fill='{colour}'><title>{said}</title></circle>")
        if numbered:
            shapes.append(f"<text x='{x:.1f}' y='{y + 3.9:.1f}' text-anchor='middle' pointer-events='none' "
                          f"style='font-weight:650;fill:{ink_on(colour)}'>{dot.biome}</text>")
    return (f"<div class='scroll'><svg class='map' viewBox='{west} {north} {width} {height}' role='img' "
            f"aria-label='map of the tiles'><rect class='sea' x='{west}' y='{north}' width='{width}' "
            f"height='{height}' rx='6'/>{lines}<path d='{''.join(CONTINENTS)}'/>{''.join(shapes)}</svg></div>")


def _apart(true: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Places near the true ones at which circles do not overlap (as good as a few rounds give)."""
    place: np.ndarray = true + np.column_stack([np.arange(len(true)), np.zeros(len(true))]) * 1e-3
    for _ in range(60):
        for i in range(len(place)):
            away = place[i] - place
            distance = np.hypot(*away.T)
            short = radius[i] + radius + 0.5 - distance
            short[i] = 0
            push = np.where(short > 0, short / 2, 0)[:, None] * away / np.maximum(distance, 1e-6)[:, None]
            place[i] += push.sum(axis=0)
            place -= push
    return place


def png(picture: np.ndarray, words: str, side: int = 170) -> str:
    """An image tag with the picture in it, scaled down to about ``side`` pixels by block means.

    Parameters
    ----------
    picture : float (y, x, 3), 0..1.
    """
    from PIL import Image

    step = max(1, round(picture.shape[0] / side))
    rows, columns = (n // step * step for n in picture.shape[:2])
    small = picture[:rows, :columns].reshape(rows // step, step, columns // step, step, 3).mean(axis=(1, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.clip(small, 0, 1) * 255).round().astype("uint8")).save(buffer, "PNG", optimize=True)
    return (f"<img alt='{esc(words)}' title='{esc(words)}' loading='lazy' width='{columns // step}' "
            f"height='{rows // step}' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>")
