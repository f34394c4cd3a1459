"""What a worker does: fetch the unfinished tiles of one shard, judge and pack them, write the shard."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import math
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dwplus.earth import EarthConfig, Session, allowance, connect_config
from dwplus.errors import DwplusError, RefusedError, StopError
from dwplus.errors.reasons import Reason
from dwplus.planning import quality
from dwplus.spec import DatasetSpec
from dwplus.store import layout, writer
from dwplus.store.locks import only_writer
from dwplus.store.shards import DamageError
from dwplus.store.stops import gone_of
from dwplus.store.writer import PackedTile, TileResult

if TYPE_CHECKING:
    from dwplus.earth.stack import TileAnswer

#: Columns of a plan that a worker needs of a tile.
ROW = ("tile_id", "epsg", "x0", "y0", "scale", "size", "label_id", "s2_id", "s1_id", "s2_product", "clear_id",
       "speckle_ids")
#: New objects after which Python looks for cycles: a request makes some thousands, hardly any in a cycle.
GC_THRESHOLDS = 20_000, 20, 20
#: malloc.h of glibc: M_TRIM_THRESHOLD (bytes), M_MMAP_THRESHOLD (bytes; its largest), M_ARENA_MAX.
MALLOC_OPTIONS = {-1: 512 << 20, -3: 32 << 20, -8: 1}


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


@dataclass(frozen=True)
class ShardReport:
    """What became of one shard: tiles by status, a ledger row for each tile, and why the run must stop, if it must."""

    counts: Counter[str]
    attempts: tuple[dict[str, Any], ...]
    stop: str = ""


def keep_memory() -> None:
    """Let the C library keep what is freed: each tile takes and frees some 30 MB, and memory that went back to the
    system comes again zeroed page by page, 2.5 ms a tile. One arena instead of one a thread is 0.2 GB less at the
    peak, where no other thread has begun yet. Other C libraries know no such options and go without."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in MALLOC_OPTIONS.items():
            mallopt(option, value)


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """The threads of this process that fetch: one set for all shards in work, so that the end of one shard does not
    leave places empty."""
    gc.collect()
    gc.freeze()  # modules stay: looking through them again and again costs 3 ms a tile
    gc.set_threshold(*GC_THRESHOLDS)
    keep_memory()
    return ThreadPoolExecutor(threads, thread_name_prefix="dwplus-fetch")


@functools.lru_cache(maxsize=16)
def _biome(store: str, group: str, workload: str) -> layout.KeptGroup:
    """A group for the shards of one run, which ``workload`` names: nobody else changes its arrays meanwhile."""
    return layout.open_biome(store, group, "r+")


def export_shard(task: ShardTask, config: EarthConfig, shared: bool) -> ShardReport:
    """Fetch the unfinished tiles of one shard and write it; runs in a worker.

    Parameters
    ----------
    shared : whether this process is one of several that share an allowance.
    """
    session = connect_config(config)
    if shared:
        allowance.share_allowance(config)
    spec = DatasetSpec.from_json(task.spec)
    with only_writer(task.store, task.group, task.start) as check:
        group = _biome(task.store, task.group, config.workload)
        todo = set(writer.unfinished(group, task.start, task.stop))  # a worker of an earlier run may have been at it
        shards = writer.formats(task.store, group)
        known = writer.rows_of(group, slice(task.start, task.stop))
        classes = len(spec.labels.table.classes)
        stopping = threading.Event()

        def one(item: tuple[int, dict[str, Any]]) -> tuple[int, PackedTile | str, float]:
            began = time.monotonic()
            if stopping.is_set():
                return item[0], "", 0.0
            try:
                found = _request(session, spec, item[1])
            except StopError as error:
                stopping.set()
                return item[0], str(error), time.monotonic() - began
            with session.cpu:
                result = found if isinstance(found, TileResult) else _judge(spec, found)
                packed = writer.pack(shards, result, known[item[0] - task.start], classes)
                return item[0], packed, time.monotonic() - began

        found = list(_pool(allowance.fetchers(config)).map(one, [row for row in task.rows if row[0] in todo]))
        done = {index: tile for index, tile, _ in found if isinstance(tile, PackedTile)}
        stop = next((tile for _, tile, _ in found if isinstance(tile, str) and tile), "")
        try:
            check()
            if (gone := gone_of(task.store)) is not None:  # writing would make a second, half store in its place
                raise gone
            if done:
                writer.write_shard(group, task.start, task.stop, done, shards)
        except StopError as error:
            done, stop = {}, str(error)
        except DamageError as error:
            done, stop = {}, f"store {task.store}: {task.group} from tile {task.start} on is damaged ({error}); run " \
                             f"`dwplus repair {task.store}`, then the same command again"
    names = {index: row.get("tile_id", "") for index, row in task.rows}
    attempts = tuple(
        {"tile": names[index], "group": task.group, "index": index, "seconds": round(seconds, 3),
         **({"status": layout.STATUSES[tile.status], "reason": tile.reason}
            if isinstance(tile, PackedTile) and index in done else {"status": "stopped", "reason": stop})}
        for index, tile, seconds in found if seconds)
    return ShardReport(Counter(layout.STATUSES[tile.status] for tile in done.values()), attempts, stop)


def export_tile(session: Session, spec: DatasetSpec, row: dict[str, Any]) -> TileResult:
    """Pixels of one plan row, or why there are none.

    Raises
    ------
    StopError
        Which stops the run.
    """
    found = _request(session, spec, row)
    return found if isinstance(found, TileResult) else _judge(spec, found)


def _request(session: Session, spec: DatasetSpec, row: dict[str, Any]) -> TileAnswer | TileResult:
    """What Earth Engine answers for a plan row, or why there is no answer."""
    from dwplus.earth.stack import request_tile
    from dwplus.grid import PixelGrid

    grid = PixelGrid(int(row["epsg"]), row["x0"], row["y0"], row["scale"], int(row["size"]), int(row["size"]))
    try:
        return request_tile(session, spec, grid, row["label_id"], row["s2_id"], row["s1_id"].split(","),
                            row.get("s2_product") or None, row.get("clear_id", ""), row.get("speckle_ids", ""))
    except StopError:
        raise
    except RefusedError as error:
        # Asking again will not help: an asset that is gone is a 400 or a 404.
        return TileResult(layout.REJECTED, Reason.of_error(error).says(error))
    except DwplusError as error:
        return TileResult(layout.FAILED, Reason.of_error(error).says(error))


def _judge(spec: DatasetSpec, answer: TileAnswer) -> TileResult:
    """The pixels of an answer, or why they are not good enough."""
    pixels = answer.pixels()
    counts = writer.class_counts(pixels.label, len(spec.labels.table.classes))
    share = counts.sum() / pixels.label.size
    if share < spec.quality.min_label_fraction:
        return TileResult(layout.REJECTED, Reason.FEW_LABELS.says(
            f"{share:.3f} of the tile is labelled, quality.min_label_fraction is {spec.quality.min_label_fraction}"))
    has_s2, has_s1 = writer.has_data(pixels.s2, pixels.s1)
    if not (valid := writer.valid_fraction(has_s2, has_s1, pixels.label)):
        return TileResult(layout.REJECTED, Reason.NO_VALID_PIXEL.says("no pixel has a label, S2 and S1"))
    if reason := quality.refuse(has_s2, has_s1, spec.quality):
        return TileResult(layout.REJECTED, reason)
    if pixels.cloud is not None and math.isnan(writer.cloud_fraction(pixels.cloud)):
        return TileResult(layout.REJECTED, Reason.CLOUD_UNKNOWN.says(
            "the mask of triplets.cloud knows no pixel of the tile"))
    for one in spec.extra_arrays:
        if not one.known(pixels.extras[one.name]).any():
            return TileResult(layout.REJECTED, Reason.NO_EXTRA.says(
                f"{one.name} knows no pixel of the tile: {one.missing()}"))
    return TileResult(layout.EXPORTED, "", pixels.s2, pixels.s1, pixels.label, pixels.cloud, pixels.s2_clear,
                      counts, valid, pixels.extras)
