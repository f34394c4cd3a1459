"""The bench beside peers, with those tools that need no environment of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

from benchmarks.peers import tools
from benchmarks.peers.measure import measure
from benchmarks.peers.server import Server

ROOT = Path(__file__).parents[2]


def test_every_tool_gets_the_same_pixels_and_ours_resumes(tmp_path):
    """Floor, exporter and download URLs store the same values; one request of pixels a tile each; a killed export
    is completed by the second run, and faults that heal cost nothing."""
    found = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", "--tiles", "2", "--rounds", "1", "--latency-ms", "0", "100",
         "--tools", "floor", "dwplus", "url", "--json", str(found), "--chart", str(tmp_path / "chart.svg")],
        cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(found.read_text())
    figures = {one["tool"]: one for one in document["figures"]}
    assert set(figures) == {"floor", "dwplus", "url"}
    for one in figures.values():
        assert {latency: at["right"] for latency, at in one["at"].items()} == {"0": 2, "100": 2}, one
        assert one["at"]["100"]["pixels"] == 2 and one["at"]["100"]["wall"] > 0.1
    ours = figures["dwplus"]
    assert ours["interrupted"]["right"] == 2 and ours["faults"]["right"] == 2
    assert 0 < ours["bytes"] < figures["floor"]["bytes"]
    assert "| dwplus export |" in done.stdout and "times the time of bare requests" in done.stdout
    assert (tmp_path / "chart.svg").read_text().count("<svg") == 1


def test_a_tool_that_cannot_be_installed_is_said_and_asked_nothing(tmp_path, monkeypatch):
    """A fresh clone has no environment of a peer: none may be asked before it was made."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(tools, "VENVS", tmp_path / "file")
    none = tools.Tool("none", "a tool without a place", "floor", "nothing", 1, "")
    job = tmp_path / "job.json"
    job.write_text('{"tiles": [1, 2]}')
    # It gets as far as its installation: the server is never asked.
    found = measure(none, job, cast(Server, None), tmp_path, [0.0])
    assert found.trouble.startswith("not installed: ") and "Not a directory" in found.trouble
    assert (found.tiles, found.version, found.at) == (2, "", {})
