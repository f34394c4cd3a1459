"""The figures as a table to read and to paste, and as a chart."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.peers.tools import TOOLS, Tool

#: At least so many times as fast as the fastest peer; at most so many times the floor's time.
BAR_PEERS, BAR_FLOOR = 6.0, 1.3


def machine() -> dict[str, Any]:
    """When and on what."""
    return {"date": dt.date.today().isoformat(), "cores": os.cpu_count(), "load": os.getloadavg()[0],
            "python": platform.python_version(), "machine": platform.machine()}


def markdown(document: dict[str, Any]) -> str:
    """A section for BENCHMARKS.md: a table for each latency, one for trouble, how each tool was used, the bars."""
    tiles = document["tiles"]
    lines = [f"{document['date']}; {document['machine']}, {document['cores']} cores (load {document['load']:.1f} at "
             f"the end), Python {document['python']}; {tiles} tiles of 510x510 px, 13 bands"
             + ("; the server answers from memory" if document["remember"] else "") + ".", ""]
    for latency in document["latencies"]:
        lines += _speed(document, f"{latency:.0f}")
    lines += _trouble(document)
    lines += ["How each was used, and what it cannot do:", ""]
    lines += [f"* {_of(figures).title} ({figures['version']}): {_of(figures).tuning}"
              + (f"; {_of(figures).at_once} tiles at once" if _of(figures).at_once > 1 else "") + "."
              for figures in document["figures"]]
    return "\n".join([*lines, "", *bars(document)])


def _of(figures: dict[str, Any]) -> Tool:
    return next(tool for tool in TOOLS if tool.name == figures["tool"])


def _speed(document: dict[str, Any], latency: str) -> list[str]:
    lines = [f"Latency {latency} ms:", "",
             "| tool | wall, s | tiles/s | start to end, s | client CPU, ms a tile | server CPU, ms a tile "
             "| requests a tile | peak memory, MB | stored, MB a tile | tiles right |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for figures in document["figures"]:
        title, tiles, at = _of(figures).title, figures["tiles"], figures["at"].get(latency)
        if at is None:
            lines.append(f"| {title} | {figures['trouble']} | | | | | | | | |")
            continue
        note = f" ({at['words']})" if at["words"] else ""
        lines.append(f"| {title} | {at['wall']:.1f} | {tiles / at['wall']:.1f} | {at['whole']:.1f} | "
                     f"{at['cpu'] / tiles * 1000:.0f} | {at['server_cpu'] / tiles * 1000:.0f} | "
                     f"{at['requests'] / tiles:.1f} | {at['memory'] / 1e6:.0f} | "
                     f"{figures['bytes'] / tiles / 1e6:.2f} | {at['right']} of {tiles}{note} |")
    return [*lines, ""]


def _trouble(document: dict[str, Any]) -> list[str]:
    shown = [figures for figures in document["figures"] if figures["interrupted"]]
    if not shown:
        return []
    lines = [f"Trouble, at {document['latencies'][-1]:.0f} ms: killed (SIGKILL) at half its time and run again; 5 % of "
             "the requests answered with a fault that heals.", "",
             "| tool | right after kill and second run | requests for pixels sent again | right under faults |",
             "|---|---|---|---|"]
    for figures in shown:
        killed, faults, tiles = figures["interrupted"], figures["faults"], figures["tiles"]
        cells = [f"{found['right']} of {tiles}" + (f" ({found['words']})" if found["words"] else "")
                 for found in (killed, faults)]
        lines.append(f"| {_of(figures).title} | {cells[0]} | {max(0, killed['repeated']):.0f} | {cells[1]} |")
    return [*lines, ""]


def bars(document: dict[str, Any]) -> list[str]:
    """What the bars say of these figures."""
    latency = f"{document['latencies'][-1]:.0f}"
    walls = {figures["tool"]: figures["at"][latency]["wall"] for figures in document["figures"]
             if _of(figures).same_grid and figures["at"].get(latency, {}).get("right") == figures["tiles"]}
    lines = []
    peers = {name: wall for name, wall in walls.items() if name not in ("dwplus", "floor")}
    if "dwplus" in walls and peers:
        best = min(peers, key=lambda name: peers[name])
        times = peers[best] / walls["dwplus"]
        lines.append(f"At {latency} ms {times:.1f} times as fast as the fastest complete peer, {best} (bar "
                     f"{BAR_PEERS:.0f}: {'met' if times >= BAR_PEERS else 'missed'}).")
    if "dwplus" in walls and "floor" in walls:
        times = walls["dwplus"] / walls["floor"]
        lines.append(f"At {latency} ms {times:.2f} times the time of bare requests (bar {BAR_FLOOR}: "
                     f"{'met' if times <= BAR_FLOOR else 'missed'}).")
    return lines


def chart(document: dict[str, Any], path: Path) -> None:
    """Tiles per second at the last latency, and right tiles under faults, as horizontal bars (SVG)."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    latency = f"{document['latencies'][-1]:.0f}"
    shown = [figures for figures in document["figures"] if latency in figures["at"]][::-1]
    names = [_of(figures).title for figures in shown]
    colours = ["#1b7837" if figures["tool"] == "dwplus" else "#bdbdbd" if figures["tool"] == "floor" else "#5e8ab4"
               for figures in shown]
    panels = [(f"tiles/s at {latency} ms latency", [f["tiles"] / f["at"][latency]["wall"] for f in shown]),
              ("client CPU, ms a tile", [f["at"][latency]["cpu"] / f["tiles"] * 1000 for f in shown]),
              ("requests a tile", [f["at"][latency]["requests"] / f["tiles"] for f in shown])]
    if all(f["interrupted"] for f in shown):
        panels.append(("% right after kill and second run",
                       [100 * f["interrupted"]["right"] / f["tiles"] for f in shown]))
        panels.append(("% right under 5 % faults", [100 * f["faults"]["right"] / f["tiles"] for f in shown]))
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dwplus", "font.size": 9}):
        figure, axes = plt.subplots(1, len(panels), figsize=(2.4 * len(panels) + 2, 0.4 * len(shown) + 1), sharey=True,
                                    layout="constrained")
        for axis, (title, values) in zip(axes, panels, strict=True):
            drawn = axis.barh(names, values, color=colours)
            axis.bar_label(drawn, fmt="%.3g", padding=2)
            axis.set_title(title, fontsize=9)
            axis.set_xlim(0, 1.25 * max(values))
            axis.set_xticks([])
            axis.spines[["top", "right", "bottom"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
