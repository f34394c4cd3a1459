"""Export: from a plan to pixels in a store. One task owns one shard; one request serves one tile."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr

from dwplus.earth import EarthConfig, Session, connect_config
from dwplus.errors import AccessError, DwplusError, HealingError, InputError, RefusedError, TooLargeError
from dwplus.planning import plan as plans
from dwplus.spec import DatasetSpec
from dwplus.store import layout, writer
from dwplus.store.reader import tile_table
from dwplus.store.writer import TileResult
from dwplus.taxonomy import BIOMES

if TYPE_CHECKING:
    import distributed
    import geopandas as gpd
    import pandas as pd

#: Called with (shards done, shards in all, tiles by status so far in this run).
Progress = Callable[[int, int, "Counter[str]"], None]
#: Classes of failure, for the summary.
FAILURES: tuple[tuple[type[DwplusError], str], ...] = (
    (HealingError, "transient"), (TooLargeError, "too_large"), (RefusedError, "refused"))


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs to make one shard; picklable.

    ``rows`` holds, for each tile of the shard that is not finished, its index in the group and its plan row.
    """

    store: str
    group: str
    start: int
    stop: int
    spec: str
    rows: tuple[tuple[int, dict[str, Any]], ...]


@dataclass
class Summary:
    """Numbers of a store that add up: planned = exported + rejected:<reason> + failed:<class> + pending.

    ``rejected`` and ``failed`` count by reason; ``examples`` keeps one full reason of each; ``by_biome`` holds counts
    by status.
    """

    planned: int
    exported: int
    pending: int
    rejected: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    by_biome: dict[int, dict[str, int]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The sum, in one line."""
        parts = [f"{self.exported} exported",
                 *(f"{n} rejected:{reason}" for reason, n in self.rejected.items()),
                 *(f"{n} failed:{kind}" for kind, n in self.failed.items()), f"{self.pending} pending"]
        return f"{self.planned} planned = {' + '.join(parts)}"


def summarise(store: str | Path) -> Summary:
    """The summary of a store, from its statuses alone."""
    return summarise_table(tile_table(store))


def summarise_table(table: pd.DataFrame) -> Summary:
    """As :func:`summarise`, from a :func:`dwplus.store.reader.tile_table`."""
    summary = Summary(planned=len(table), exported=int((table["status"] == "exported").sum()),
                      pending=int((table["status"] == "pending").sum()))
    for status, counts in (("rejected", summary.rejected), ("failed", summary.failed)):
        reasons = table.loc[table["status"] == status, "reason"].astype(str)
        counts |= reasons.str.split(":").str[0].value_counts().sort_index().to_dict()
        summary.examples |= {reason.split(":")[0]: reason for reason in reasons.sort_values()}
    for biome, rows in table.groupby("biome"):
        summary.by_biome[int(biome)] = {s: int((rows["status"] == s).sum()) for s in layout.STATUSES}
    assert summary.planned == (summary.exported + summary.pending + sum(summary.rejected.values())
                               + sum(summary.failed.values()))
    return summary


def export(plan_path: str | Path, store: str | Path, config: EarthConfig, *, scheduler: str = "threads",
           progress: Progress = lambda *_: None) -> Summary:
    """Export a plan into a store, or go on where an earlier run stopped.

    Parameters
    ----------
    plan_path : a plan (GeoParquet).
    store : folder of the store; made when missing.
    config : the Earth to ask.
    scheduler : ``threads`` (this process), ``processes`` (one worker process per core) or a Dask scheduler's address.

    Returns
    -------
    Summary of the whole store.

    Raises
    ------
    InputError
        For a plan or store that does not fit.
    AccessError
        Where Earth Engine refuses the credentials or the quota is gone; what is exported stays.
    """
    if "://" in str(store):
        raise InputError(f"store {store}: only local folders can be written so far")
    plan = plans.read_plan(plan_path)
    spec = plans.spec_of(plan)
    if not (plan["state"] == "planned").any():
        raise InputError(f"plan {plan_path}: holds no planned tile ({plans.describe(plan)})")
    plan = plan.sort_values(["biome", "window", "epsg", "x0", "y0", "label_id"], kind="stable", ignore_index=True)
    earth = "earth-engine" if config.project else "embedded-earth"
    connect_config(config)  # before anything is written: a wrong project must leave nothing behind
    if Path(store).exists():
        layout.check_same(store, plan, spec, earth)
    else:
        layout.create(store, plan, spec, created=plans.created(plan_path), earth=earth)
    tasks = shard_tasks(store, plan, spec)
    _check_space(store, tasks, spec)
    _run(tasks, config, scheduler, progress)
    return summarise(store)


def shard_tasks(store: str | Path, plan: gpd.GeoDataFrame, spec: DatasetSpec) -> list[ShardTask]:
    """The shards that are not finished."""
    root = layout.open_root(store)
    tasks = []
    planned = plan[plan["state"] == "planned"].drop(columns=["spec", "geometry"])
    for biome, rows in planned.groupby("biome", sort=True):
        name = layout.group_name(int(biome))
        group = root[name]
        assert isinstance(group, zarr.Group)
        records = rows.to_dict("records")
        for start in range(0, len(records), spec.store.shard_tiles):
            stop = min(start + spec.store.shard_tiles, len(records))
            if todo := writer.unfinished(group, start, stop):
                tasks.append(ShardTask(str(store), name, start, stop, spec.to_json(),
                                       tuple((i, {str(k): v for k, v in records[i].items()}) for i in todo)))
    return tasks


def _check_space(store: str | Path, tasks: list[ShardTask], spec: DatasetSpec) -> None:
    """Refuse to begin what cannot fit: half of the raw bytes is what a store needs at the least (measured 0.42)."""
    pixel = 2 * len(spec.sentinel2.bands) + (2 if spec.store.s1_dtype == "int16" else 4) * len(spec.s1_bands) + 1
    needed = sum(len(task.rows) for task in tasks) * spec.tile.size ** 2 * pixel // 2
    free = shutil.disk_usage(Path(store)).free
    if needed > free:
        raise InputError(f"store {store}: needs about {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free; "
                         "choose another STORE, or fewer tiles")


def export_shard(task: ShardTask, config: EarthConfig, threads: int) -> Counter[str]:
    """Fetch the unfinished tiles of one shard and write it; runs in a worker.

    Returns
    -------
    Counter of tiles by status.
    """
    session = connect_config(config)
    spec = DatasetSpec.from_json(task.spec)
    group = layout.open_root(task.store, "r+")[task.group]
    assert isinstance(group, zarr.Group)
    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(lambda item: (item[0], export_tile(session, spec, item[1])), task.rows)
        done = dict(results)
    writer.write_shard(group, task.start, task.stop, done)
    return Counter(layout.STATUSES[result.status] for result in done.values())


def export_tile(session: Session, spec: DatasetSpec, row: dict[str, Any]) -> TileResult:
    """Pixels of one plan row, or why there are none.

    Raises
    ------
    AccessError
        Which stops the run.
    """
    from dwplus.earth.stack import fetch_tile
    from dwplus.grid import PixelGrid

    grid = PixelGrid(int(row["epsg"]), row["x0"], row["y0"], row["scale"], int(row["size"]), int(row["size"]))
    try:
        pixels = fetch_tile(session, spec, grid, row["label_id"], row["s2_id"], row["s1_id"].split(","))
    except AccessError:
        raise
    except RefusedError as error:
        # The service refuses an asset that is gone with a 400 or 404: asking again will not help.
        status = layout.REJECTED if "not found" in str(error) else layout.FAILED
        return TileResult(status, f"{'asset_gone' if status == layout.REJECTED else 'refused'}: {error}")
    except DwplusError as error:
        kind = next((name for type_, name in FAILURES if isinstance(error, type_)), "other")
        return TileResult(layout.FAILED, f"{kind}: {error}")
    counts = writer.class_counts(pixels.label)
    share = counts.sum() / pixels.label.size
    if share < spec.quality.min_label_fraction:
        return TileResult(layout.REJECTED, f"few_labels: {share:.3f} of the tile is labelled, "
                                           f"quality.min_label_fraction is {spec.quality.min_label_fraction}")
    if not writer.valid_fraction(pixels.s2, pixels.s1, pixels.label):
        return TileResult(layout.REJECTED, "no_valid_pixel: no pixel has a label, S2 and S1")
    return TileResult(layout.EXPORTED, "", pixels.s2, pixels.s1, pixels.label)


@contextlib.contextmanager
def _client(scheduler: str) -> Iterator[distributed.Client]:
    import dask
    import distributed

    # Nothing of a run lives in Dask's own folders; the nanny's start-up advice is not for our users.
    dask.config.set({"distributed.worker.use-file-locking": False, "distributed.admin.log-length": 0})
    cores = os.cpu_count() or 1
    try:
        if scheduler == "threads":
            client = distributed.Client(processes=False, n_workers=1, threads_per_worker=cores, dashboard_address=None,
                                        memory_limit=0)
        elif scheduler == "processes":
            client = distributed.Client(processes=True, n_workers=cores, threads_per_worker=1, dashboard_address=None)
        elif "://" in scheduler:
            client = distributed.Client(scheduler, timeout="10s")
        else:
            raise InputError(f"SCHEDULER {scheduler!r}: must be threads, processes or an address such as "
                             "tcp://host:8786")
    except OSError as error:
        raise InputError(f"SCHEDULER {scheduler!r}: does not answer ({error})") from None
    try:
        yield client
    finally:
        client.close()


def _run(tasks: list[ShardTask], config: EarthConfig, scheduler: str, progress: Progress) -> None:
    import distributed

    tiles: Counter[str] = Counter()
    if not tasks:
        progress(0, 0, tiles)
        return
    with _client(scheduler) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        owners = max(1, sum(w["nthreads"] for w in workers.values()))
        share = config.share(len(workers))
        if config.project is None and (config.world is None or "://" not in config.world):
            threads = 1  # the embedded Earth of this process computes on the very cores that wait for it
        else:
            threads = max(1, share.concurrency * len(workers) // owners)
        futures = [client.submit(export_shard, task, share, threads, pure=False, retries=0) for task in tasks]
        progress(0, len(tasks), tiles)
        try:
            for done, future in enumerate(distributed.as_completed(futures), 1):
                tiles += future.result()
                progress(done, len(tasks), tiles)
        except BaseException:
            client.cancel(futures)
            raise


def by_biome_lines(summary: Summary) -> list[str]:
    """A table of counts by biome, as lines."""
    lines = [f"{'biome':<60}" + "".join(f"{s:>10}" for s in layout.STATUSES)]
    for biome, counts in summary.by_biome.items():
        lines.append(f"{f'{biome:2d} {BIOMES[biome]}':<60}" + "".join(f"{counts[s]:>10}" for s in layout.STATUSES))
    return lines
