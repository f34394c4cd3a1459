"""What do the tests of another checkout take here, beside what they take there?

``python -m benchmarks.bench_tests --beside ../first``: both checkouts run the tests that both have, by name (a file may
have moved), at the same time, so that the machine is the same for both; seconds of CPU by file. What is only here, or
has another name, is not counted. A test's CPU is that of its process and of all that was started under it, fixtures
included, and servers that go on; the imports of the session are a row of their own.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

IMPORTS, FAILED = "(imports and collection)", "(failed)"
#: From linux/prctl.h: processes whose parents ended become our children, and count.
PR_SET_CHILD_SUBREAPER = 36


# ------------------------------------------------------------------------------------------- a plugin of both sessions

def spent(root: int) -> float:
    """Seconds of CPU of a process, of all below it, and of those that they waited for."""
    ticks: dict[int, int] = {}
    below: dict[int, list[int]] = collections.defaultdict(list)
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        fields = line[line.rindex(")") + 2:].split()
        ticks[int(name)] = sum(map(int, fields[11:15]))
        below[int(fields[1])].append(int(name))
    todo, total = [root], 0
    while todo:
        process = todo.pop()
        total += ticks.get(process, 0)
        todo += below[process]
    return total / os.sysconf("SC_CLK_TCK")


class Meter:
    """Measures the tests that are wanted; the rest is left out."""

    def __init__(self, root: int, wanted: list[str], out: Path) -> None:
        self.root, self.wanted, self.out = root, set(wanted), out
        self.found: dict[str, Any] = {FAILED: []}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.wanted]
        self.found[IMPORTS] = spent(self.root)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        before = spent(self.root)
        yield
        self.found[item.nodeid] = spent(self.root) - before
        self.out.write_text(json.dumps(self.found))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.found[FAILED].append(report.nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Loaded with ``-p bench_tests``."""
    wanted = json.loads(Path(os.environ["BENCH_WANTED"]).read_text())
    config.pluginmanager.register(Meter(int(os.environ["BENCH_ROOT"]), wanted, Path(os.environ["BENCH_OUT"])))


def under(command: list[str]) -> int:
    """Run a command below this process, which takes in orphans."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command, env={**os.environ, "BENCH_ROOT": str(os.getpid())})
    while True:
        ended, status = os.wait()
        if ended == child.pid:
            return os.waitstatus_to_exitcode(status)


# ------------------------------------------------------------------------------------------------------ the comparison

def python_of(checkout: Path) -> str:
    """The checkout's own environment, or this one."""
    own = checkout / ".venv" / "bin" / "python"
    return str(own if own.exists() else sys.executable)


def names(checkout: Path, files: list[str]) -> list[str]:
    """Node ids of the tests of a checkout."""
    done = subprocess.run([python_of(checkout), "-m", "pytest", "-q", "--collect-only", "-p", "no:xdist", *files],
                          cwd=checkout, text=True, capture_output=True)
    return [line for line in done.stdout.splitlines() if "::" in line and line.startswith("tests/")]


def pairs(there: list[str], here: list[str]) -> dict[str, str]:
    """Which test here is which there: same name and parameters, where possible in a file of the same name."""
    free = collections.defaultdict(list)
    for name in here:
        free[name.partition("::")[2]].append(name)
    found = {}
    for name in there:
        file, _, test = name.partition("::")
        if free[test]:
            best = min(free[test], key=lambda other: Path(other.partition("::")[0]).name != Path(file).name)
            found[name] = best
            free[test].remove(best)
    return found


def start(checkout: Path, wanted: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A session over these tests; its measures go to ``cpu.json`` in the folder."""
    folder.mkdir()
    shutil.copy(__file__, folder / "bench_tests.py")
    (folder / "wanted.json").write_text(json.dumps(wanted))
    environment = {**os.environ, "PYTHONPATH": str(folder), "BENCH_WANTED": str(folder / "wanted.json"),
                   "BENCH_OUT": str(folder / "cpu.json")}
    python, files = python_of(checkout), sorted({name.partition("::")[0] for name in wanted})
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([python, str(folder / "bench_tests.py"), "--under", python, "-m", "pytest", "-q",
                                 "-p", "no:xdist", "-p", "bench_tests", *files],
                                cwd=checkout, env=environment, stdout=log, stderr=log)


def table(found: dict[str, str], then: dict[str, Any], now: dict[str, Any]) -> str:
    """Markdown, the file with the most CPU there first."""
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0, 0.0])
    for there, here in found.items():
        if there in then and here in now:
            row = sums[here.partition("::")[0]]
            row[0] += 1
            row[1] += then[there]
            row[2] += now[here]
    rows = sorted(sums.items(), key=lambda item: -item[1][1])
    rows.append(("**all**", [sum(row[i] for row in sums.values()) for i in range(3)]))
    lines = ["| file | tests | there | here | share |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {row[0]:.0f} | {row[1]:.1f} s | {row[2]:.1f} s | {row[2] / max(row[1], 0.01):.2f} |"
              for name, row in rows]
    lines += [f"| {IMPORTS} | | {then[IMPORTS]:.1f} s | {now[IMPORTS]:.1f} s | |"]
    return "\n".join(lines)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="test files of the other checkout; all where none is given")
    parser.add_argument("--beside", type=Path, required=True, help="the other checkout")
    arguments = parser.parse_args()
    here, there = Path(__file__).resolve().parents[1], arguments.beside.resolve()
    found = pairs(names(there, arguments.files), names(here, []))
    with tempfile.TemporaryDirectory() as scratch:
        folders = Path(scratch) / "there", Path(scratch) / "here"
        runs = [start(checkout, wanted, folder) for checkout, wanted, folder in zip(
            (there, here), (list(found), list(found.values())), folders, strict=True)]
        for run in runs:
            run.wait()
        then, now = (json.loads((folder / "cpu.json").read_text()) for folder in folders)
    print(table(found, then, now))
    for place, measured in (("there", then), ("here", now)):
        if measured[FAILED]:
            print(f"failed {place}: {', '.join(measured[FAILED])}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--under"]:
        sys.exit(under(sys.argv[2:]))
    main()
