"""Export: from a plan to pixels in a store. One task owns one shard; one request serves one tile."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import queue
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from dwplus.earth import EarthConfig, allowance, connect_config
from dwplus.earth.bundles import band_sizes
from dwplus.earth.limiter import Counts, Traffic
from dwplus.errors import InputError, StopError
from dwplus.errors.reasons import Reason
from dwplus.export.budget import NO_LIMIT, Budget
from dwplus.export.log import Ledger
from dwplus.export.shard import ROW, ShardReport, ShardTask, export_shard, export_tile, keep_memory
from dwplus.export.stops import size_words, stop_of
from dwplus.planning import plan as plans
from dwplus.planning.preview import cost, measured_seconds
from dwplus.runtime import cluster
from dwplus.runtime.names import VERSION
from dwplus.spec import DatasetSpec
from dwplus.store import kept, layout, mend, seal, tables, writer
from dwplus.store import verify as checks
from dwplus.store.imported import exported_spec
from dwplus.store.locks import Hold, only_run, sweep
from dwplus.store.places import BucketError, Folder, place_of
from dwplus.store.summary import Summary, by_biome_lines, summarise, summarise_table
from dwplus.store.upgrade import FIRST_BUILD
from dwplus.store.verify import Fault

if TYPE_CHECKING:
    import distributed
    import pandas as pd

__all__ = ["ShardReport", "ShardTask", "Summary", "by_biome_lines", "export", "export_shard", "export_tile", "repair",
           "run_shards", "summarise", "summarise_table", "unfinished_shards"]

#: Called with (shards done, shards in all, tiles by status so far in this run, state of the limiter in words).
RunProgress = Callable[[int, int, "Counter[str]", str], None]
#: Seconds between two looks at budget and progress, and between two lines of the run log.
TICK_SECONDS, LOG_SECONDS = 1.0, 30.0
#: Times a run goes over tiles that failed for a reason that may pass.
ROUNDS = 2
#: The planet of stores that say none.
FIRST_PLANET = "planet 1"


def export(plan_path: str | Path, store: str | Path, config: EarthConfig, *, scheduler: str = "threads",
           budget: Budget = NO_LIMIT, progress: RunProgress = lambda *_: None) -> Summary:
    """Export a plan into a store, or go on where an earlier run stopped.

    Parameters
    ----------
    plan_path : a plan (GeoParquet).
    store : folder or URL of the store (:mod:`dwplus.store.places`); made when missing.
    config : the Earth to ask.
    scheduler : ``threads`` (this process), ``processes`` (one worker process per core) or a Dask scheduler's address.
    budget : limits of this run; when one is reached, shards in work are finished and the summary says so.

    Returns
    -------
    Summary of the whole store.

    Raises
    ------
    InputError
        For a plan or store that does not fit, or a store that another run is writing.
    StopError
        Where the run cannot go on: credentials, quota, a full disk, no answer for long; what is exported stays.
    """
    keep_memory()
    place = place_of(store)
    plan = plans.read_plan(plan_path)
    spec = plans.spec_of(plan)
    if not (plan["state"] == "planned").any():
        raise InputError(f"plan {plan_path}: holds no planned tile ({plans.describe(plan)})")
    plan = plan.sort_values(["biome", "window", "epsg", "x0", "y0", "label_id"], kind="stable", ignore_index=True)
    earth = "earth-engine" if config.project else "embedded-earth"
    session = connect_config(config)  # before anything is written: a wrong project must leave nothing behind
    with only_run(store) as hold:
        try:
            if place.exists():
                check_version(store, session.version)
                rows = kept.check_same(store, plan, spec, earth)
            else:
                layout.create(store, plan, spec, created=plans.created(plan_path), earth=earth,
                              earth_version=session.version)
                rows = kept.rows(store)
        except InputError:
            if isinstance(place, Folder) and not place.exists():
                hold.place.clear()
            raise
        # From here on the store is the truth: its own rows are fetched, so that pixels and columns cannot part.
        if budget.eecu_per_request is None and (seconds := measured_seconds(plan)) is not None:
            budget = replace(budget, eecu_per_request=seconds / cost(plan, spec).requests)
        return run_shards(store, rows, spec, config, hold, scheduler=scheduler, budget=budget, progress=progress)


def check_version(store: str | Path, version: str) -> None:
    """Refuse to fetch pixels of another embedded Earth than a store's other tiles come from.

    Parameters
    ----------
    version : :attr:`dwplus.earth.Session.version` of this run.

    Raises
    ------
    InputError
        Where both are known and differ.
    """
    attributes = layout.open_root(store).attrs.asdict()
    if attributes.get("earth") != "embedded-earth" or not version:
        return
    source = str(attributes.get("earth_version", ""))
    if source == FIRST_BUILD or (not source and seal.KEY not in attributes):
        # The first build said no version; its store may come from an asset tree as well.
        source = version if version == "asset tree" else FIRST_PLANET
    if source and source != version:
        raise InputError(f"store {store}: holds pixels of {source}, this run has {version}; go on with the version "
                         "of dwplus and the --world it was exported from, or export the plan into a new STORE")


def repair(store: str | Path, config: EarthConfig, *, scheduler: str = "threads",
           progress: RunProgress = lambda *_: None, say: Callable[[str], None] = lambda _: None,
           plan_path: str | Path | None = None) -> tuple[Summary, list[Fault]]:
    """Check a store, put back what was fixed when it was made, fetch the damaged shards again, and check anew.

    Parameters
    ----------
    plan_path : the plan the store was made from, for columns that follow from nothing in the store.
    say : told what was found.

    Returns
    -------
    Summary of the store, and the faults that are left: those that no pixels can mend.

    Raises
    ------
    InputError
        For a store of another Earth, or one that another run is writing.
    """
    root = layout.open_root(store)
    earth = "earth-engine" if config.project else "embedded-earth"
    if root.attrs.get("earth") != earth:
        raise InputError(f"store {store}: holds pixels of {root.attrs.get('earth')}, this run would fetch from "
                         f"{earth}; give the --project or --world it was exported from")
    check_version(store, connect_config(config).version)
    plan = None if plan_path is None else plans.read_plan(plan_path)
    with only_run(store) as hold:
        sweep(store)
        for line in mend.restore(store, plan, hold.check):
            say(line)
        report = checks.verify(store)
        for found in (*report.faults, *report.notes):
            say(str(found))
        if not report.intact:
            # Which pixels would be the right ones is not known any more.
            return summarise(store), report.faults
        if any(fault.table for fault in report.faults):
            tables.drop(store)
        if not report.shards:
            tables.finish(store, hold.check)
            return summarise(store), [fault for fault in report.faults if not fault.table]
        tables.drop(store)
        tiles = checks.reset(store, report.shards)
        say(f"{len(report.shards)} shards with {tiles} tiles are fetched again")
        spec = exported_spec(root.attrs.asdict(), f"store {store}", "fetching pixels again")
        summary = run_shards(store, kept.rows(store), spec, config, hold, scheduler=scheduler, progress=progress,
                             only=frozenset(report.shards))
        return summary, checks.verify(store).faults


def run_shards(store: str | Path, rows: pd.DataFrame, spec: DatasetSpec, config: EarthConfig, hold: Hold, *,
               scheduler: str = "threads", budget: Budget = NO_LIMIT, progress: RunProgress = lambda *_: None,
               only: frozenset[tuple[str, int]] | None = None) -> Summary:
    """Fetch whatever is unfinished in a store, for who holds it (:func:`dwplus.store.locks.only_run`).

    Parameters
    ----------
    rows : of all tiles of the store, :func:`dwplus.store.kept.rows`.
    hold : that it is held.
    only : shards (group and first tile) to which the run keeps; None for all.

    Returns
    -------
    Summary of the whole store.
    """
    sweep(store)
    began = dt.datetime.now(dt.UTC)
    name = re.sub(r"[^a-z0-9]+", "-", spec.name.lower()).strip("-")[:38]
    config = replace(config, workload=f"dwplus-{name}-{began:%Y%m%dt%H%M%S}")
    connect_config(config)
    ledger = Ledger(hold.place, config.workload)
    try:
        if next(unfinished_shards(store, spec.store.shard_tiles), None) is not None:
            tables.drop(store)  # it tells of a store in which nothing changes
        run = _Run(store, rows, spec, config, hold, ledger, scheduler, budget, progress, only)
        summary = run.go()
        summary.stopped, summary.restricted, summary.workload = run.stopped, run.restricted, config.workload
        if not summary.pending:
            tables.finish(store, hold.check)
        ledger.log(f"ended: {run.stopped or 'done'}; {summary.line}")
    except Exception as error:
        stop = stop_of(store, error)
        with contextlib.suppress(OSError, BucketError):  # the disk may be what is broken
            ledger.log(f"stopped: {stop or f'{type(error).__name__}: {error}'}")
        if stop is None or stop is error:
            raise
        raise stop from error
    finally:
        sweep(store)
    return summary


def unfinished_shards(store: str | Path, shard_tiles: int) -> Iterator[tuple[str, int, int, list[int]]]:
    """The shards that hold pending or failed tiles: group, first and last + 1 tile, and the tiles to do."""
    root = layout.open_root(store)
    for name in layout.biome_groups(root):
        group = root[name]
        assert isinstance(group, zarr.Group)
        status = writer.statuses(group)
        for start in range(0, len(status), shard_tiles):
            stop = min(start + shard_tiles, len(status))
            todo = start + np.flatnonzero(np.isin(status[start:stop], (layout.PENDING, layout.FAILED)))
            if len(todo):
                yield name, start, stop, todo.tolist()


def _check_space(store: str | Path, tiles: int, spec: DatasetSpec) -> None:
    """Refuse to begin what cannot fit: half of the raw bytes is what a store needs at the least (measured 0.42; of
    embeddings 0.9)."""
    base, alike = band_sizes(spec)
    pixel = sum(base) + (spec.labels.path is not None) + 2 * sum(alike)
    needed = tiles * spec.tile.size ** 2 * pixel // 2
    place = place_of(store)
    if isinstance(place, Folder) and needed > (free := shutil.disk_usage(place.path).free):
        raise InputError(f"store {store}: needs about {size_words(needed)}, the disk has {size_words(free)} free; "
                         "free some space, or choose another STORE or fewer tiles")


class _Run:
    """One run over the unfinished shards of a store: hands them out, watches the budget, writes the ledger."""

    def __init__(self, store: str | Path, rows: pd.DataFrame, spec: DatasetSpec, config: EarthConfig, hold: Hold,
                 ledger: Ledger, scheduler: str, budget: Budget, progress: RunProgress,
                 only: frozenset[tuple[str, int]] | None) -> None:
        self.store, self.spec, self.config, self.hold = store, spec, config, hold
        self.spec_json = spec.to_json()
        self.ledger = ledger
        self.scheduler, self.budget, self.progress, self.only = scheduler, budget, progress, only
        self.groups = {str(group): {str(name): own[name].to_numpy() for name in own if name in ROW}
                       for group, own in rows.groupby("group", sort=True)}
        self.tiles: Counter[str] = Counter()
        self.done = self.total = self.lost = 0
        self.threads = 1  # threads of the workers
        self.restricted = False
        self.stopped = self.error = ""
        self.began = self._logged = time.monotonic()

    def go(self) -> Summary:
        """Run to the end, to the budget's end, or until the run must stop."""
        todo = self._unfinished()
        self.total = len(todo)
        _check_space(self.store, sum(len(item[3]) for item in todo), self.spec)
        self.ledger.log(f"begins: dwplus {VERSION}, {connect_config(self.config).description}, scheduler "
                        f"{self.scheduler}, {self.budget}, {self.total} shards to do")
        if not todo:
            self.progress(0, 0, self.tiles, "")
            return summarise(self.store)
        # Enough shards in work that every slot in flight is taken; one is being written meanwhile.
        tiles = sum(len(item[3]) for item in todo)
        slots = math.ceil(allowance.fetchers(self.config) * len(todo) / tiles) + 1
        with cluster.client_of(self.scheduler, min(slots, self.total)) as client:
            if self.scheduler == "threads":
                traffic: Callable[[], Traffic] = connect_config(self.config).limiter.state
            else:
                allowance.allow(client, self.config)
                traffic = allowance.traffic(client, self.config)
            self._before = traffic().counts
            for _ in range(ROUNDS):
                with cluster.watched(client, self.scheduler):
                    self._round(client, todo, traffic)
                if self.stopped or self.error:
                    break
                todo = [item for item in self._unfinished() if self._may_pass(item)]
                self.total += len(todo)
        if self.error:
            raise StopError(self.error)
        if self.lost:
            self.ledger.log(f"{self.lost} times a shard was lost with its worker; what is pending still, stays so")
        return summarise(self.store)

    def _unfinished(self) -> list[tuple[str, int, int, list[int]]]:
        return [item for item in unfinished_shards(self.store, self.spec.store.shard_tiles)
                if self.only is None or item[:2] in self.only]

    def _may_pass(self, item: tuple[str, int, int, list[int]]) -> bool:
        """Whether another round may end better: a tile's failure may pass, or the shard was lost with its worker."""
        group = layout.open_root(self.store)[item[0]]
        assert isinstance(group, zarr.Group)
        rows = slice(*item[1:3])
        if (writer.statuses(group, rows) == layout.PENDING).any():
            return True
        return any(Reason.of(reason) is Reason.TRANSIENT for reason in writer.reasons(group, rows))

    def _task(self, item: tuple[str, int, int, list[int]]) -> ShardTask:
        name, start, stop, todo = item
        columns = {column: values[todo].tolist() for column, values in self.groups[name].items()}
        rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return ShardTask(str(self.store), name, start, stop, self.spec_json, tuple(zip(todo, rows, strict=True)))

    def _round(self, client: distributed.Client, todo: list[tuple[str, int, int, list[int]]],
               traffic: Callable[[], Traffic]) -> None:
        rest = iter(todo)
        threads, counted = 1, -math.inf
        running: dict[Any, str] = {}
        ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._show(traffic())
        try:
            while True:
                # One a thread of the workers: a stop leaves nothing to take back that may just have begun.
                if time.monotonic() - counted >= TICK_SECONDS:
                    counted, self.threads = time.monotonic(), cluster.refill(client)
                    threads = self.threads or 1
                while len(running) < threads and not (self.stopped or self.error) and (item := next(rest, None)):
                    future = client.submit(export_shard, self._task(item), self.config, self.scheduler != "threads",
                                           pure=False)
                    running[future] = f"{item[0]} from tile {item[1]} on"
                    future.add_done_callback(ready.put)
                if not running:
                    return
                with contextlib.suppress(queue.Empty):
                    ready.get(timeout=TICK_SECONDS)
                for future in [future for future in running if future.done()]:
                    self._take(future, running.pop(future))
                now = traffic()
                self.hold.check()
                used = self._used(now.counts)
                if not self.stopped and (spent := self.budget.spent(time.monotonic() - self.began, used.seconds,
                                                                    used.requests)):
                    self.stopped = spent
                self._show(now)
        except BaseException:
            client.cancel(list(running))
            raise

    def _take(self, future: Any, where: str) -> None:
        import distributed

        self.done += 1
        try:
            report: ShardReport = future.result()
        except distributed.KilledWorker:
            self.lost += 1
            self.ledger.log(f"{where}: Dask lost its worker {cluster.LOST_WORKERS} times")
            return
        except distributed.CancelledError:
            self.lost += 1
            self.ledger.log(f"{where}: was dropped by the Dask scheduler")
            return
        self.tiles += report.counts
        self.error = self.error or report.stop
        self.ledger.attempts(report.attempts)

    def _used(self, now: Counts) -> Counts:
        """What this run sent: a cluster's limiter may have served others before."""
        old = self._before
        return Counts(now.requests - old.requests, now.throttled - old.throttled, now.retried - old.retried,
                      now.seconds - old.seconds, now.restricted - old.restricted)

    def _show(self, now: Traffic) -> None:
        used = self._used(now.counts)
        note = f"{now.active} of {now.slots} in flight, {used.requests} requests"
        if used.retried:
            note += f", {used.retried} tried again"
        if used.throttled:
            note += f", {used.throttled} times 429, rate now {now.rate:.0f}/s"
        if used.restricted:
            self.restricted = True
            note += ", restricted: the project's compute is used up"
        if self.budget.eecu_hours is not None:
            hours, known = self.budget.used(used.seconds, used.requests)
            note += f", {hours:.2g} EECU-hours {known}"
        if not self.threads:
            how = f"`dask worker {self.scheduler}` adds one" if "://" in self.scheduler else "others are started"
            note += f"; no worker is left: {how}"
        if self.stopped or self.error:
            note += ", stopping"
        self.progress(self.done, self.total, self.tiles, note)
        if time.monotonic() - self._logged >= LOG_SECONDS or self.done == self.total:
            self._logged = time.monotonic()
            counts = ", ".join(f"{n} {status}" for status, n in sorted(self.tiles.items()))
            self.ledger.log(f"shards {self.done}/{self.total}: {counts}; {note}")
