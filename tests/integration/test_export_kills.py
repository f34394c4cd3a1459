"""Exports on worker processes that are killed, all at once: no tile is lost, and none is there twice."""

from __future__ import annotations

import pytest

from dwplus.earth import EarthConfig
from dwplus.export.run import export
from dwplus.runtime import cluster
from dwplus.store.verify import verify
from tests.commands import workers
from tests.plans import plan_of_sites


def files(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Seven shards of two tiles."""
    return plan_of_sites(tmp_path_factory.mktemp("plan"), "kills", sites=1, size=32, per_biome=14)


@pytest.fixture(scope="module")
def quiet(plan, tmp_path_factory):
    store = tmp_path_factory.mktemp("quiet") / "quiet.zarr"
    assert export(plan, store, EarthConfig()).complete
    return store


@pytest.mark.parametrize(("allowed", "patience"), [(cluster.LOST_WORKERS, cluster.COME_BACK), (0, cluster.COME_BACK),
                                                   (cluster.LOST_WORKERS, "10ms")])
def test_all_workers_at_once_may_die(plan, quiet, allowed, patience, tmp_path, monkeypatch):
    """With no loss allowed Dask gives up the shards that were in work, and the next round exports them; a worker that
    is not back in time it gives up for good, and others are started."""
    monkeypatch.setattr(cluster, "LOST_WORKERS", allowed)
    monkeypatch.setattr(cluster, "COME_BACK", patience)
    one_thread = cluster.client_of
    monkeypatch.setattr(cluster, "client_of", lambda scheduler, shards: one_thread(scheduler, 1))
    first: set[int] = set()
    later: set[int] = set()

    def kill_all_once(done, total, tiles, note):
        if done and not first:
            assert done < total, "nothing is left to do"
            for worker in workers():
                first.add(worker.pid)
                worker.kill()
        elif first:
            later.update(worker.pid for worker in workers())

    store = tmp_path / "store.zarr"
    summary = export(plan, store, EarthConfig(), scheduler="processes", progress=kill_all_once)
    assert first and later - first, "nobody was killed, or nobody came back"
    assert summary.complete and summary.planned == summary.exported + sum(summary.rejected.values()) == 14
    assert files(store) == files(quiet) and verify(store).faults == []
