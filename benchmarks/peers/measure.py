"""Run one tool and say what it took."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.check import right_tiles
from benchmarks.peers.server import Server
from benchmarks.peers.tools import Tool

#: Longest run, s.
TIMEOUT = 600


@dataclass
class Run:
    """One run of a tool.

    Attributes
    ----------
    wall : from libraries loaded to all written, s; None where it did not end.
    whole : of the command, s.
    cpu : after the libraries were loaded, of the process and its children, s.
    memory : peak of the largest process, bytes.
    counts : of the server.
    words : the tool's own on what went wrong.
    """

    wall: float | None
    whole: float
    cpu: float
    memory: int
    counts: dict[str, float]
    words: str = ""


@dataclass
class Figures:
    """All figures of one tool."""

    tool: str
    version: str = ""
    trouble: str = ""
    tiles: int = 0
    at: dict[str, dict[str, Any]] = field(default_factory=dict)
    bytes: int = 0
    interrupted: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)


def run(command: list[str], server: Server, *, latency_ms: float, fault_rate: float = 0,
        kill_after: float | None = None) -> Run:
    """Run a driver.

    Parameters
    ----------
    kill_after : seconds after its libraries were loaded at which it and its children are killed (SIGKILL).
    """
    server.reset(latency_ms, fault_rate)
    environment = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONWARNINGS": "ignore"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
                                   start_new_session=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        while first and not first.startswith("BEGIN"):
            first = process.stdout.readline()
        loading = float(first.split()[1]) if first else 0.0
        with _Alarm(process.pid, TIMEOUT if kill_after is None else kill_after) as patience:
            rest = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        whole = time.perf_counter() - started
        errors.seek(0)
        last = [line for line in errors.read().splitlines() if line.strip()][-1:]
    ends = [json.loads(line.removeprefix("END")) for line in rest.splitlines() if line.startswith("END")]
    words = ""
    if not ends:
        words = f"killed after {patience.seconds:.1f} s" if patience.rang else " ".join(last)[:200]
    elif ends[0]["failed"]:
        words = f"{ends[0]['failed']} lost: {ends[0]['words'][0][0]}"
    return Run(ends[0]["wall"] if ends else None, whole, usage.ru_utime + usage.ru_stime - loading,
               usage.ru_maxrss * 1024, server.counts(), words)


class _Alarm:
    """Kills a process group after some seconds, unless left before."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.rang, self.seconds = False, seconds
        self._pid = pid
        self._timer = threading.Timer(seconds, self._ring)

    def _ring(self) -> None:
        self.rang = True
        os.killpg(self._pid, signal.SIGKILL)

    def __enter__(self) -> _Alarm:
        self._timer.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._timer.cancel()
        if kind is not None:  # interrupted: leave no tool behind
            self._ring()


def measure(tool: Tool, job_path: Path, server: Server, truth: Path, latencies: list[float], *, warm: bool = False,
            trouble: bool = True, rounds: int | None = None) -> Figures:
    """All figures of one tool.

    Parameters
    ----------
    truth : folder the floor wrote.
    latencies : of the server, ms; interrupt and faults are tried at the last.
    warm : run once before the clock, so that a remembering server knows the tool's requests.
    trouble : whether to try interrupt and faults.
    """
    job = json.loads(job_path.read_text())
    figures = Figures(tool.name, trouble=tool.install(), tiles=len(job["tiles"]))
    if figures.trouble:
        return figures
    figures.version = tool.version()  # only an environment that was made can be asked
    with tempfile.TemporaryDirectory() as folder:
        def one(place: str, **options: Any) -> Run:
            return run(tool.command(job_path, server.url, Path(folder, place)), server, **options)

        if warm:
            one("warm", latency_ms=0)
        for latency in latencies:
            places = [f"{latency:.0f}_{i}" for i in range(rounds or tool.rounds)]
            runs = [one(place, latency_ms=latency) for place in places]
            if runs[0].wall is None:
                figures.trouble = runs[0].words
                return figures
            figures.at[f"{latency:.0f}"] = _median(runs, right_tiles(tool.driver, Path(folder, places[0]), job, truth))
            figures.bytes = _size(Path(folder, places[0]))
        last = figures.at[f"{latencies[-1]:.0f}"]
        if trouble:
            killed = one("killed", latency_ms=latencies[-1], kill_after=last["wall"] / 2)
            resumed = one("killed", latency_ms=latencies[-1])
            figures.interrupted = {
                "right": right_tiles(tool.driver, Path(folder, "killed"), job, truth),
                "repeated": killed.counts["pixels"] + resumed.counts["pixels"] - last["pixels"], "words": resumed.words}
            faulty = one("faults", latency_ms=latencies[-1], fault_rate=0.05)
            figures.faults = {"right": right_tiles(tool.driver, Path(folder, "faults"), job, truth),
                              "wall": faulty.wall, "words": faulty.words}
    return figures


def _median(runs: list[Run], right: int) -> dict[str, Any]:
    walls = sorted(run.wall if run.wall is not None else float("inf") for run in runs)
    middle = min(runs, key=lambda run: abs((run.wall or float("inf")) - statistics.median(walls)))
    return {"wall": middle.wall, "walls": walls, "whole": middle.whole, "cpu": middle.cpu, "memory": middle.memory,
            "words": middle.words, "right": right, **middle.counts}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
