"""Maps on a Dask cluster whose workers are killed: no block is lost, and none is worked for nothing."""

from __future__ import annotations

import signal
import threading
import time

import dask
import pytest
import shapely

from benchmarks.bench_country import Ground, network
from dwplus.grid import covering_tiles
from dwplus.maps.blocks import Block, Frame, Scene, WindowShape
from dwplus.maps.work import Work
from dwplus.runtime import cluster
from model.mapping import Job, map_blocks
from tests.commands import PATIENCE, workers

SHAPE = WindowShape(8, 16)


def blocks_of(count=48):
    scene = Scene("scene", "scene", "", "sr", 1_625_000_000_000, 1_625_003_600_000, 0.0)
    tiles = covering_tiles(shapely.box(5.0, 50.0, 5.3, 50.3), 128, 40.0)[:count]
    return [Block(tile.id, tile.grid, (scene,)) for tile in tiles]


def kill_all_once(work, after, stop):
    """Every worker at once, as soon as some blocks are settled."""
    while not stop.wait(0.05):
        if len(list(work.folder.glob("windows/*.json"))) >= after:
            for worker in workers():
                worker.send_signal(signal.SIGKILL)
            return


@pytest.fixture
def job(tmp_path):
    (tmp_path / "run").mkdir()
    work = Work(tmp_path / "work")
    work.prepare()
    return Job(Ground(SHAPE), str(network(tmp_path / "run")), str(tmp_path / "work"), SHAPE, "cpu")


@pytest.mark.parametrize(("allowed", "patience"), [(cluster.LOST_WORKERS, cluster.COME_BACK), (0, cluster.COME_BACK),
                                                   (cluster.LOST_WORKERS, "10ms")])
def test_all_workers_at_once_may_die(job, allowed, patience, monkeypatch):
    """What Dask holds on its workers alone is gone with them. With no loss allowed Dask gives up the tasks that were in
    work, and the next round maps their blocks; a worker that is not back in time it gives up for good."""
    monkeypatch.setattr(cluster, "LOST_WORKERS", allowed)
    monkeypatch.setattr(cluster, "COME_BACK", patience)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    blocks, work, stop = blocks_of(), Work(job.folder), threading.Event()
    assert len(blocks) >= 30
    with cluster.client_of("processes", 1) as client:
        assert dask.config.get("distributed.scheduler.allowed-failures") == allowed
        client.wait_for_workers(1, timeout=PATIENCE)
        first = {p.pid for p in workers()}
        thread = threading.Thread(target=kill_all_once, args=(work, 8, stop))
        thread.start()
        try:
            tally = map_blocks(job, Frame(blocks, SHAPE), client, lambda *_: None)
        finally:
            stop.set()
            thread.join()
        assert first and not first & {p.pid for p in workers()}, "nobody was killed"
    assert tally.line == f"{len(blocks)} blocks = {len(blocks)} mapped"
    assert all(work.has_block(block.id) for block in blocks)


def test_a_task_that_runs_again_works_only_what_is_open(job):
    from model.mapping import _task

    blocks = blocks_of(4)
    assert _task(job, blocks[:2]) == [block.id for block in blocks[:2]]
    made = {path: path.stat().st_mtime_ns for path in Work(job.folder).folder.glob("windows/*.npy")}
    time.sleep(0.01)
    assert sorted(_task(job, blocks)) == sorted(block.id for block in blocks)
    assert len(made) == 2 and all(path.stat().st_mtime_ns == stamp for path, stamp in made.items())
    assert len(list(Work(job.folder).folder.glob("windows/*.npy"))) == 4


def test_what_dask_gave_up_fails_for_now_and_settled_blocks_stay(job):
    from model.mapping import _lost, _task

    blocks, work = blocks_of(3), Work(job.folder)
    _task(job, blocks[:1])
    assert list(_lost(work, blocks, "KilledWorker")) == [block.id for block in blocks]
    states = [work.outcome(block.id)["state"] for block in blocks]
    assert states == ["mapped", "failed", "failed"]
    assert work.outcome(blocks[1].id)["reason"].startswith("transient: ")
