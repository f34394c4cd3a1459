"""Side by side: our exporter, its peers and the floor, on one server and one list of tiles. Prints a table.

The server is the embedded Earth on the sample planet, in a process of its own; every tool gets the same scene ids,
grids and, where it can take one, the same expression. A tile counts as right when every band equals the floor's,
pixel for pixel. The bars, at the last latency: at least 6 times as fast as the fastest peer, at most 1.3 times the
floor's time. `--tune` tries a tool with several numbers of tiles at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

from benchmarks.peers import report
from benchmarks.peers.job import make_job
from benchmarks.peers.measure import Figures, measure, run
from benchmarks.peers.server import Server
from benchmarks.peers.tools import TOOLS, Tool

#: Tiles at once that --tune tries: the service allows 40 requests in flight.
TRIED = (1, 4, 8, 16, 32, 40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=48)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0, 300])
    parser.add_argument("--tools", nargs="+", choices=[tool.name for tool in TOOLS],
                        default=[tool.name for tool in TOOLS])
    parser.add_argument("--remember", action=argparse.BooleanOptionalAction, default=True,
                        help="the server answers from memory what it computed before, for the service computes "
                             "elsewhere; --no-remember has the planet's arithmetic on the very cores that are measured")
    parser.add_argument("--no-trouble", dest="trouble", action="store_false", help="no interrupt, no faults")
    parser.add_argument("--rounds", type=int, help="runs of each tool, of which the median counts")
    parser.add_argument("--tune", action="store_true", help="only try numbers of tiles at once, at the last latency")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--chart", type=Path, help="write a chart (SVG) here")
    options = parser.parse_args()
    chosen = [tool for tool in TOOLS if tool.name in options.tools]
    with tempfile.TemporaryDirectory() as folder, Server(options.remember) as server:
        job = make_job(Path(folder), options.tiles)
        if options.tune:
            _tune(chosen, job, server, options.latency_ms[-1], options.remember)
            return
        floor = TOOLS[0]
        truth = Path(folder, "truth")
        run(floor.command(job, server.url, truth), server, latency_ms=0)  # warms the planet, too
        found = []
        for tool in chosen:
            found.append(measure(tool, job, server, truth, options.latency_ms, warm=options.remember,
                                 trouble=options.trouble, rounds=options.rounds))
            print(f"{tool.title}: {_line(found[-1])}", flush=True)
    document = {**report.machine(), "tiles": options.tiles, "latencies": options.latency_ms,
                "remember": options.remember, "figures": [dataclasses.asdict(figures) for figures in found]}
    print(report.markdown(document))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1))
    if options.chart:
        options.chart.parent.mkdir(parents=True, exist_ok=True)
        report.chart(document, options.chart)


def _line(figures: Figures) -> str:
    if figures.trouble:
        return figures.trouble
    return ", ".join(f"{at['wall']:.1f} s at {latency} ms, {at['right']} right" for latency, at in figures.at.items())


def _tune(tools: list[Tool], job: Path, server: Server, latency_ms: float, warm: bool) -> None:
    for tool in tools:
        if trouble := tool.install():
            print(f"{tool.title}: {trouble}")
            continue
        if warm:
            with tempfile.TemporaryDirectory() as folder:
                run(tool.command(job, server.url, Path(folder)), server, latency_ms=0)
        for at_once in TRIED:
            with tempfile.TemporaryDirectory() as folder:
                done = run(tool.command(job, server.url, Path(folder), at_once), server, latency_ms=latency_ms)
            wall = "no end" if done.wall is None else f"{done.wall:.1f} s"
            print(f"{tool.title}, {at_once} tiles at once: {wall}, {done.cpu:.1f} s CPU, "
                  f"{done.counts['refused']:.0f} times 429 {done.words}", flush=True)


if __name__ == "__main__":
    main()
