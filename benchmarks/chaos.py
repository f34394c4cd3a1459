"""Whatever happens, the store comes out the same or says why: seeded rounds of trouble, one export each.

    make chaos SEED=3        # or: python -m benchmarks.chaos --seed 3 --minutes 30

A round exports a small plan on threads, worker processes or a cluster of two workers, and does one of these to it:

* ``kill``: -9 for the driver, a worker, the Dask scheduler or the Earth's server (scheduler and server come back);
* ``signal``: SIGTERM or SIGINT for the driver;
* ``disk``: syncs and renames within the store fail (ENOSPC, EIO, EROFS) or are slow (:mod:`benchmarks.chaos_layer`);
* ``clock``: the time of day jumps by a day, there and back;
* ``twins``: two runs at once on one store under two names.

Whoever ends otherwise than by a kill must say so in a line or two, without a trace. Then plain runs go on until the
store is complete, at most three; it must be byte-identical to an undisturbed run's and pass ``dwplus verify``. Prints a
line a round; exit code 1 where a round fails. What is drawn follows from the seed; moments follow from the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chaos_layer import VARIABLE

ROOT = Path(__file__).parents[1]
#: Seconds that a disturbed run may take, and a plain one afterwards.
PATIENCE = 180.0
#: Lines that a run which was not killed may say on stderr.
LINES = 2
KINDS = ("kill", "signal", "disk", "clock", "twins")
SCHEDULERS = ("threads", "processes", "cluster")
DISKS: tuple[list[str], ...] = (["ENOSPC"], ["EIO"], ["EROFS"], ["slow"], ["ENOSPC", "EIO", "slow"])


def files(store: Path) -> dict[str, bytes]:
    """Every file of a store."""
    return {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


class Parts:
    """The processes of a round besides the driver: the Earth's server, and a cluster where there is one."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.port, self.dask = free_port(), free_port()

    def start(self, name: str, trouble: dict[str, Any] | None = None) -> None:
        """Start a part, or start it again: ``server``, ``scheduler``, ``worker0``, ``worker1``."""
        words = {
            "server": ["-m", "dwplus", "earth", "serve", "--port", str(self.port), "--latency-ms", "60"],
            "scheduler": ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.dask),
                          "--no-dashboard", "--no-show"],
        }.get(name, ["-m", "benchmarks.chaos_layer", "dask-worker", f"tcp://127.0.0.1:{self.dask}", "--nthreads", "1",
                     "--no-nanny", "--no-dashboard"])
        environment = {**os.environ, **({VARIABLE: json.dumps(trouble)} if trouble else {})}
        self.running[name] = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment,
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if name in ("server", "scheduler"):
            self.wait(self.port if name == "server" else self.dask)

    def wait(self, port: int) -> None:
        """Until something listens at a port."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.1)
        raise TimeoutError(f"nothing listens at port {port}")

    def kill(self, name: str) -> None:
        """-9."""
        self.running[name].kill()
        self.running[name].wait()

    def close(self) -> None:
        """End all of them."""
        for name in self.running:
            self.kill(name)


class Chaos:
    """The plan, the undisturbed store, and the rounds."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.plan = folder / "plan.parquet"

    def prepare(self) -> None:
        """Plan tiles of 64 pixels around three sites, and export them undisturbed."""
        from dwplus.earth import EarthConfig, connect
        from dwplus.earth.tables import sample_sites
        from dwplus.export.run import export
        from dwplus.planning.plan import make_plan, write_plan
        from dwplus.spec import make_spec

        centres = [site.polygon.centroid for site in sample_sites(connect())[:3]]
        boxes = [{"bbox": [c.x - 0.03, c.y - 0.03, c.x + 0.03, c.y + 0.03]} for c in centres]
        write_plan(make_plan(connect(), make_spec({
            "name": "chaos", "region": boxes, "windows": [["2021-06-01", "2021-08-01"]], "tile": {"size": 64},
            "sampling": {"per_biome": 12}, "store": {"shard_tiles": 2}})), self.plan)
        if not export(self.plan, self.folder / "quiet.zarr", EarthConfig()).complete:
            sys.exit("the quiet run is not complete")
        self.want = files(self.folder / "quiet.zarr")

    def round(self, number: int) -> tuple[str, str]:
        """One round: what was done, and what went wrong; empty for nothing."""
        rng = random.Random(f"{self.seed}:{number}")
        kind, scheduler = rng.choice(KINDS), rng.choice(SCHEDULERS)
        trouble: dict[str, Any] | None = None
        if kind == "disk":
            trouble = {"seed": f"{self.seed}:{number}", "rate": rng.choice((0.02, 0.1, 0.5)),
                       "errors": rng.choice(DISKS)}
        if kind == "clock":
            trouble = {"clock": 86400}
        parts = Parts()
        store = self.folder / f"round{number}.zarr"
        try:
            parts.start("server")
            if scheduler == "cluster":
                for name in ("scheduler", "worker0", "worker1"):
                    parts.start(name, trouble)
            said, wrong = self.disturb(rng, kind, scheduler, trouble, parts, store)
            wrong = wrong or self.complete(store, parts)
        finally:
            parts.close()
            for path in self.folder.glob(f"round{number}*"):
                if path.is_symlink():
                    path.unlink()
                else:
                    shutil.rmtree(path, ignore_errors=True)
        return f"{kind}, {scheduler}: {said}", wrong

    def begin(self, store: Path, scheduler: str, parts: Parts, trouble: dict[str, Any] | None = None,
              ) -> subprocess.Popen[str]:
        """A run of its own."""
        address = f"tcp://127.0.0.1:{parts.dask}" if scheduler == "cluster" else scheduler
        environment = {**os.environ, **({VARIABLE: json.dumps(trouble)} if trouble else {})}
        return subprocess.Popen([
            sys.executable, "-m", "benchmarks.chaos_layer", "export", str(self.plan), str(store), "--no-quicklooks",
            "--scheduler", address, "--world", f"http://127.0.0.1:{parts.port}"], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def disturb(self, rng: random.Random, kind: str, scheduler: str, trouble: dict[str, Any] | None, parts: Parts,
                store: Path) -> tuple[str, str]:
        """One disturbed run: what was done to it, and what it should not have said."""
        driver = self.begin(store, scheduler, parts, trouble)
        wanted = rng.randint(0, 10)
        while driver.poll() is None and len(list(store.glob("biome_*/status/c/*"))) < wanted:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        killed, said = False, f"after {wanted} shards"
        if kind == "kill":
            victim = rng.choice(("driver", "server", *(("worker",) if scheduler == "processes" else ()),
                                 *(("scheduler", "worker0", "both workers") if scheduler == "cluster" else ())))
            killed, said = victim == "driver", f"{victim} {said}"
            self.kill(victim, driver, parts)
        elif kind == "signal":
            which = rng.choice((signal.SIGTERM, signal.SIGINT))
            said = f"{which.name} {said}"
            with suppress(ProcessLookupError):
                driver.send_signal(which)
        elif kind == "twins":
            other = store.with_name(f"{store.stem}.twin.zarr")
            other.symlink_to(store)
            twin = self.begin(other, "threads", parts)
            _, words = twin.communicate(timeout=PATIENCE)
            said = f"the other ended with {twin.returncode} {said}"
            if twin.returncode not in (0, 2):
                return said, f"the second run: exit {twin.returncode}, {words[-400:]}"
        elif trouble:
            said = json.dumps(trouble)
        try:
            _, words = driver.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            driver.kill()
            return said, f"did not end within {PATIENCE:g} s"
        if not killed and ("Traceback" in words or len(words.strip().splitlines()) > LINES):
            return said, f"exit {driver.returncode} with {len(words.splitlines())} lines: {words[-600:]}"
        return f"{said}, exit {driver.returncode}", ""

    def kill(self, victim: str, driver: subprocess.Popen[str], parts: Parts) -> None:
        """-9 for a part, which comes back where a run may wait for it."""
        if victim == "driver":
            driver.kill()
        elif victim == "worker":
            with suppress(psutil.Error, IndexError):
                workers = [c for c in psutil.Process(driver.pid).children(recursive=True)
                           if "spawn_main" in " ".join(c.cmdline())]
                workers[0].kill()
        elif victim == "both workers":
            parts.kill("worker0")
            parts.kill("worker1")
            time.sleep(1)
            parts.start("worker0")
        else:
            parts.kill(victim)
            time.sleep(0.5)
            if victim == "server":
                parts.start("server")

    def complete(self, store: Path, parts: Parts) -> str:
        """Plain runs until the store is complete; what is wrong with it then."""
        from dwplus.store.verify import verify

        words, code = "", None
        for _ in range(3):
            run = self.begin(store, "threads", parts)
            try:
                _, words = run.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                run.kill()
                return "a plain run did not end"
            if (code := run.returncode) == 0:
                break
        if code != 0:
            return f"not complete after three plain runs: exit {code}, {words[-400:]}"
        found = files(store)
        differing = sorted(name for name in self.want.keys() | found.keys() if self.want.get(name) != found.get(name))
        faults = verify(store).faults
        if differing or faults:
            return f"{len(differing)} files differ ({', '.join(differing[:3])}), {len(faults)} faults"
        return ""


def main() -> None:
    """Rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30, help="no new round after so many")
    parser.add_argument("--rounds", type=int, default=10_000, help="at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first round, to repeat one")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    failed = done = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        chaos = Chaos(Path(folder), options.seed)
        chaos.prepare()
        for number in range(options.first, options.first + options.rounds):
            if time.monotonic() > until:
                break
            said, wrong = chaos.round(number)
            done += 1
            failed += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {number:4d} {said}{f'; {wrong}' if wrong else ''}", flush=True)
    print(f"{done} rounds, {failed} failed, seed {options.seed}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
