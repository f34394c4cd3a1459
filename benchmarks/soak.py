"""Does a store come out the same, whatever happens on the way? Kills, faults and a full disk, again and again.

One quiet run is the measure. Then, on a served Earth with faults in a fifth of its answers:

* ``faults``: a run in threads, and one in worker processes;
* ``kills``: runs in worker processes in which the driver or a worker is killed (-9) at a random moment, until there
  were ``--kills`` of them, each store completed and compared;
* ``full disk``: runs on a small file system (a tmpfs where it may be mounted, else a limit on the size of a file) that
  stop for want of space and are completed when there is some.

Every store must be byte-identical to the quiet one and pass ``dwplus verify``. Prints a line for each; exit code 1 if
one fails. The moments come from ``--seed``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from dwplus.cli import main
main()
"""


def files(store: Path) -> dict[str, bytes]:
    return {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}


class Soak:
    """The quiet store, the served Earth, and the row of each case."""

    def __init__(self, folder: Path, seed: int, deadline: float) -> None:
        self.folder, self.random, self.deadline = folder, random.Random(seed), deadline
        self.plan = folder / "plan.parquet"
        self.rows: list[tuple[str, bool, str]] = []

    def prepare(self) -> None:
        """Plan tiles of 128 pixels around five sites, and export them undisturbed."""
        from dwplus.earth import EarthConfig, connect
        from dwplus.earth.tables import sample_sites
        from dwplus.export.run import export
        from dwplus.planning.plan import make_plan, write_plan
        from dwplus.spec import make_spec

        centres = [site.polygon.centroid for site in sample_sites(connect())[:5]]
        boxes = [{"bbox": [c.x - 0.03, c.y - 0.03, c.x + 0.03, c.y + 0.03]} for c in centres]
        spec = make_spec({"name": "soak", "region": boxes, "windows": [["2021-06-01", "2021-08-01"]],
                          "tile": {"size": 128}, "sampling": {"per_biome": 12}, "store": {"shard_tiles": 3}})
        write_plan(make_plan(connect(), spec), self.plan)
        self.quiet = self.folder / "quiet.zarr"
        if not export(self.plan, self.quiet, EarthConfig()).complete:
            sys.exit("the quiet run is not complete")
        self.want = files(self.quiet)

    @contextmanager
    def served(self, rate: float) -> Iterator[str]:
        process = subprocess.Popen([sys.executable, "-m", "dwplus", "earth", "serve", "--fault-rate", str(rate),
                                    "--latency-ms", "20"], cwd=ROOT, text=True, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait()

    def command(self, store: Path, url: str | None, scheduler: str) -> list[str]:
        return ["export", str(self.plan), str(store), "--no-quicklooks", "--scheduler", scheduler,
                *(["--world", url] if url else [])]

    def run(self, store: Path, url: str | None, scheduler: str = "threads") -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "dwplus", *self.command(store, url, scheduler)], cwd=ROOT,
                              text=True, capture_output=True)

    def compare(self, case: str, store: Path, done: subprocess.CompletedProcess[str], note: str) -> None:
        from dwplus.store.verify import verify

        found = files(store)
        differing = [name for name in self.want.keys() | found.keys() if self.want.get(name) != found.get(name)]
        faults = verify(store).faults
        good = done.returncode == 0 and not differing and not faults
        self.rows.append((case, good, note if good else f"{note}; exit {done.returncode}, {len(differing)} files "
                                                        f"differ, {len(faults)} faults {done.stderr[-300:]}"))
        print(f"{'ok  ' if good else 'FAIL'}  {case:<22}{self.rows[-1][2]}", flush=True)
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(f"{store}.run", ignore_errors=True)

    def faults(self) -> None:
        for scheduler in ("threads", "processes"):
            with self.served(0.2) as url:
                store = self.folder / "faults.zarr"
                began = time.monotonic()
                done = self.run(store, url, scheduler)
                self.compare(f"faults, {scheduler}", store, done, f"20 % of answers, {time.monotonic() - began:.0f} s")

    def kills(self, wanted: int) -> None:
        killed = {"driver": 0, "worker": 0}
        number = 0
        with self.served(0.2) as url:
            while sum(killed.values()) < wanted and time.monotonic() < self.deadline:
                number += 1
                store = self.folder / f"kills{number}.zarr"
                before = dict(killed)
                for _ in range(wanted):
                    ended = self._disturbed(store, url, killed, wanted)
                    if ended or sum(killed.values()) >= wanted or time.monotonic() > self.deadline:
                        break
                done = self.run(store, url)
                self.compare(f"kills, store {number}", store, done, ", ".join(
                    f"{killed[name] - before[name]} of a {name}" for name in killed))
        reached = sum(killed.values()) >= wanted
        self.rows.append((f"{wanted} kills", reached, f"{killed['driver']} of drivers, {killed['worker']} of workers"))
        print(f"{'ok  ' if reached else 'FAIL'}  {wanted} kills in all: {self.rows[-1][2]}", flush=True)

    def _disturbed(self, store: Path, url: str, killed: dict[str, int], wanted: int) -> bool:
        """One run with kills at random moments; True if it ended by itself."""
        driver = subprocess.Popen([sys.executable, "-m", "dwplus", *self.command(store, url, "processes")], cwd=ROOT,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Importing takes seconds, shards do not: from the first moment at which there is something to disturb.
        while not _workers(driver.pid) and driver.poll() is None:
            time.sleep(0.05)
        while driver.poll() is None and sum(killed.values()) < wanted:
            time.sleep(self.random.uniform(0.1, 2.5))
            workers = _workers(driver.pid)
            if self.random.random() < 0.5 and workers:
                _kill(self.random.choice(workers).pid)
                killed["worker"] += 1
            elif driver.poll() is None:
                _kill(driver.pid)
                driver.wait()
                killed["driver"] += 1
                # Workers end with their driver; the next run would wait for their shards anyhow.
                psutil.wait_procs(workers, timeout=10)
                return False
        return driver.wait() == 0

    def full_disk(self, times: int) -> None:
        size = sum(map(len, self.want.values()))
        largest = max(map(len, self.want.values()))
        with self._disk(size) as disk:
            for number in range(times):
                store = (disk or self.folder) / "full.zarr"
                stops = 0
                for _ in range(2):
                    stops += self._filled(store, disk) if disk else self._limited(store, largest)
                self.compare(f"full disk {number + 1}", store, self.run(store, None),
                             f"{stops} stops for want of space, {'tmpfs' if disk else 'size limit'}")
                if not stops:
                    self.rows.append((f"full disk {number + 1}", False, "never full"))

    def _filled(self, store: Path, disk: Path) -> bool:
        """A run during which somebody else takes all the room; whether it stopped for that."""
        ballast = disk / "ballast"
        done = len(list(store.glob("biome_*/status/c/*")))
        enough = done + self.random.randint(1, 5)
        process = subprocess.Popen([sys.executable, "-m", "dwplus", *self.command(store, None, "threads")], cwd=ROOT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and len(list(store.glob("biome_*/status/c/*"))) < enough:
            time.sleep(0.01)
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while process.poll() is None:
                file.write(b"x" * 65536)
        _, words = process.communicate()
        ballast.unlink(missing_ok=True)
        return process.returncode == 1 and "the disk is full" in words

    def _limited(self, store: Path, largest: int) -> bool:
        """A run whose files may not grow beyond a size; whether it stopped for that."""
        limit = int(largest * self.random.uniform(0.5, 0.95))
        done = subprocess.run([sys.executable, "-c", LIMITED, str(limit), *self.command(store, None, "threads")],
                              cwd=ROOT, capture_output=True, text=True)
        return done.returncode == 1 and "the disk is full" in done.stderr

    @contextmanager
    def _disk(self, size: int) -> Iterator[Path | None]:
        """A tmpfs with room for one store and a little more; None where it may not be mounted."""
        disk = self.folder / "disk"
        disk.mkdir(exist_ok=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(size * 1.3) + 4 * 2**20}", "tmpfs",
                                  str(disk)], capture_output=True).returncode == 0
        try:
            yield disk if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", str(disk)], check=True)


def _workers(pid: int) -> list[Any]:
    """Dask's worker processes below a driver."""
    try:
        return [c for c in psutil.Process(pid).children(recursive=True) if "spawn_main" in " ".join(c.cmdline())]
    except psutil.Error:
        return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Export under faults, kills and a full disk; every store must be "
                                                 "byte-identical to a quiet run's.")
    parser.add_argument("--kills", type=int, default=50, help="kills in all")
    parser.add_argument("--full", type=int, default=3, help="stores on a full disk")
    parser.add_argument("--minutes", type=float, default=18, help="no new store after so many")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), options.seed, began + options.minutes * 60)
        soak.prepare()
        print(f"quiet run: {len(soak.want)} files, {sum(map(len, soak.want.values())) / 1e6:.1f} MB, "
              f"{time.monotonic() - began:.0f} s", flush=True)
        cases: list[Callable[[], None]] = [soak.faults, lambda: soak.full_disk(options.full),
                                           lambda: soak.kills(options.kills)]
        for case in cases:
            case()
    bad = [name for name, good, _ in soak.rows if not good]
    minutes = (time.monotonic() - began) / 60
    print(f"{len(soak.rows)} cases, {len(bad)} failed, {minutes:.1f} minutes, seed {options.seed}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
