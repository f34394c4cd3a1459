"""Dask: workers of this process, of this machine or of a cluster. What they share of Earth Engine's quota is
:mod:`dwplus.earth.allowance`.

A cluster is started by whoever owns it and given by its scheduler's address (``SCHEDULER=tcp://host:8786``). Scheduler
and workers need this package installed, the workers also the store (a folder under the same path, or a bucket and its
credentials) and credentials for Earth Engine (GOOGLE_APPLICATION_CREDENTIALS)::

    dask scheduler --port 8786                                       # any two shells of two hosts
    dask worker tcp://host:8786 --nworkers 4 --nthreads 4

    dask_jobqueue.SLURMCluster(cores=4, processes=1, memory="8GB").scale(10)              # Slurm, PBS, LSF, SGE
    dask_kubernetes.operator.KubeCluster(image="...", n_workers=10)                       # Kubernetes
    coiled.Cluster(n_workers=10, worker_cpu=4, software="...")                            # Coiled

each followed by ``cluster.scheduler_address``. The quota bounds an export long before ten workers do: each keeps as
many shards in work as it has threads.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dwplus.errors import InputError, SchedulerLostError

if TYPE_CHECKING:
    import distributed

#: Times a shard may lose its worker before the run leaves it pending.
LOST_WORKERS = 10
#: How long a worker process of this machine may take to come back before Dask gives it up; its own 15 s are less than a
#: busy machine needs to import torch.
COME_BACK = "60s"


@contextlib.contextmanager
def client_of(scheduler: str, shards: int) -> Iterator[distributed.Client]:
    """A Dask client.

    Parameters
    ----------
    scheduler : ``threads`` (this process), ``processes`` (one worker process per core) or a scheduler's address.
    shards : how many should be in work at once; a running cluster decides that itself.

    Raises
    ------
    InputError
        For anything else, or a scheduler that does not answer.
    """
    import dask
    import distributed

    # Nothing of a run lives in Dask's own folders; the nanny's start-up advice is not for our users. Its profiler calls
    # sys._current_frames a hundred times a second: CPython 3.11 can deadlock there when a collection begins within it.
    # Its other watchers look less often than they would: fifty looks a second cost the tiles CPU.
    dask.config.set({"distributed.worker.profile.enabled": False,
                     "distributed.admin.system-monitor.interval": "5s", "distributed.admin.tick.interval": "1s",
                     "distributed.scheduler.work-stealing": False,
                     "distributed.worker.use-file-locking": False, "distributed.admin.log-length": 0,
                     "distributed.scheduler.allowed-failures": LOST_WORKERS,
                     "distributed.deploy.lost-worker-timeout": COME_BACK})
    _hush()
    cores = os.cpu_count() or 1
    try:
        # Dask's own pages would take 0.4 s to load; ours is the progress line. The scheduler listens for them all the
        # same, at any free port: its usual one may be another run's, which it would warn of.
        local = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}, "memory_limit": 0}
        if scheduler == "threads":
            client = distributed.Client(processes=False, n_workers=1, threads_per_worker=shards, **local)
        elif scheduler == "processes":
            client = distributed.Client(processes=True, n_workers=cores, threads_per_worker=math.ceil(shards / cores),
                                        **local)
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


def refill(client: distributed.Client) -> int:
    """Start worker processes of this machine in the stead of those that Dask gave up, which it does not do by itself;
    workers of a cluster that was given by its address are their owner's.

    Returns
    -------
    Threads of the workers that are there.
    """
    local: Any = client.cluster
    if local is not None and len(local.workers) < len(local.worker_spec):
        local.scale(len(local.worker_spec))
    return sum(client.nthreads().values())


def _hush() -> None:
    """No pages of Dask's traces where a worker or the scheduler is lost: the run says it in a sentence."""
    import dask

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    for name in ("distributed", *names):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A signal that comes while Dask asks its loop leaves a call behind that fails there, and tornado says so.
    logging.getLogger("tornado.application").addFilter(_not_of_dask)
    # For worker processes that this process starts: they read it when they begin.
    dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical"})


def _not_of_dask(record: logging.LogRecord) -> bool:
    """Whether a line is about an exception that was raised elsewhere than in Dask."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] != "distributed"


@contextlib.contextmanager
def watched(client: distributed.Client, scheduler: str) -> Iterator[None]:
    """While in it, a scheduler that is lost is said in a sentence.

    Raises
    ------
    SchedulerLostError
        Where it does not answer any more.
    """
    import distributed
    from distributed.comm.core import CommClosedError

    # What Dask raises of a scheduler that is gone: its connection, a client that gave it up, and what waits for both.
    gone = (CommClosedError, distributed.TimeoutError, distributed.CancelledError, concurrent.futures.CancelledError)
    try:
        yield
    except gone as error:
        raise _lost(scheduler, error) from None
    except (RuntimeError, OSError, AttributeError, TypeError, ValueError) as error:
        # A client whose scheduler went away fails in many ways; while it has one, the error is another's.
        if client.status == "running":
            raise
        raise _lost(scheduler, error) from None


def _lost(scheduler: str, error: BaseException) -> SchedulerLostError:
    words = " ".join(str(error).split())[:120] or type(error).__name__
    return SchedulerLostError(f"the Dask scheduler {scheduler} is lost ({type(error).__name__}: {words}); what is "
                              "done stays")
