"""The work of a map: every window through the network once, every block finished when its neighbours are there."""

from __future__ import annotations

import functools
import queue
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dwplus.errors import DwplusError, RefusedError, RejectedError, StopError
from dwplus.errors.reasons import Reason
from dwplus.maps.blocks import Block, Frame, WindowShape, finish
from dwplus.maps.inputs import Inputs, WindowPixels
from dwplus.maps.viewer import picture
from dwplus.maps.work import Work
from dwplus.runtime import cluster
from model.checkpoint import load
from model.distributed import device_of
from model.predict import Predictor, merged

if TYPE_CHECKING:
    import distributed

#: Windows read ahead of the network: of a CPU, which is slow, and of a GPU. A window of 608 pixels takes 9 MB.
AHEAD = {"cpu": 6, "cuda": 48}
#: Blocks a Dask task works; times a run goes over blocks that failed for a reason that may pass.
TASK_BLOCKS, ROUNDS = 8, 2
#: How often workers are looked after while none of their tasks ends.
TICK_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """What a worker needs to know, but the blocks; picklable.

    Attributes
    ----------
    run : folder of the trained run, or a checkpoint. folder : of the work. device, batch : None = of the machine.
    probabilities : whether finished blocks keep those of all classes.
    flips : whether probabilities are means over flips.
    """

    inputs: Inputs
    run: str
    folder: str
    shape: WindowShape
    device: str | None = None
    batch: int | None = None
    probabilities: bool = False
    flips: bool = False


@dataclass
class Tally:
    """What became of the blocks of a map: ``mapped``, and rejected and failed ones by reason."""

    mapped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    #: State, reason and number of dates, by block.
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The sum, in one line."""
        parts = [f"{self.mapped} mapped", *(f"{n} rejected:{why}" for why, n in sorted(self.rejected.items())),
                 *(f"{n} failed:{why}" for why, n in sorted(self.failed.items()))]
        total = self.mapped + sum(self.rejected.values()) + sum(self.failed.values())
        return f"{total} blocks = {' + '.join(parts)}"


def compute_windows(job: Job, blocks: Sequence[Block]) -> Iterator[str]:
    """Work the windows of some blocks in this process; gives the id of each that is settled.

    Pixels are read ahead by threads while the network works.

    Raises
    ------
    StopError
        Which stops the run.
    """
    job.inputs.begin()
    predictor = _predictor(job.run, job.device, job.batch, job.flips)
    work = Work(job.folder)
    todo = deque((block, scene) for block in blocks for scene in block.scenes)
    ahead = AHEAD["cuda" if predictor.device.type == "cuda" else "cpu"]
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="dwplus-windows")
    reading: deque[tuple[Block, Future[WindowPixels]]] = deque()
    dates: dict[str, list[np.ndarray]] = {}
    refusals: dict[str, list[str]] = {}
    failures: dict[str, list[str]] = {}
    waiting: list[tuple[Block, WindowPixels]] = []

    def settle(block: Block) -> str:
        found, why, failed = dates.pop(block.id, []), refusals.pop(block.id, []), failures.pop(block.id, [])
        probability = merged(found) if found and not failed else None
        if failed:
            outcome: dict[str, object] = {"state": "failed", "reason": failed[0]}
        elif probability is None or not (probability[0].any() or probability.any()):  # mostly the first class tells
            outcome = {"state": "rejected", "reason": next(
                iter(why), Reason.NO_VALID_PIXEL.says("nothing of the block was seen"))}
            probability = None
        else:
            outcome = {"state": "mapped", "reason": "; ".join(why), "dates": len(found)}
        work.save_window(block.id, probability, outcome)
        return block.id

    def forward() -> None:
        pixels = [p for _, p in waiting]
        side = job.shape.support(waiting[0][0].grid).width
        s2, s1 = ([p.s2 for p in pixels], [p.s1 for p in pixels])
        one = len(pixels) == 1  # as on a CPU: nothing to put together
        probabilities = predictor(s2[0][None] if one else np.stack(s2), s1[0][None] if one else np.stack(s1), side)
        for (block, seen), probability in zip(waiting, probabilities, strict=True):
            if block.id not in dates:  # the clearest of its scenes comes first
                frame = (seen.s2.shape[1] - block.grid.height) // 2
                core = slice(frame, frame + block.grid.height)
                if (shot := picture(seen.s2[:, core, core], predictor.s2_bands)) is not None:
                    work.save_picture(block.id, shot)
            if seen.clear is not None:
                edge = (seen.clear.shape[0] - side) // 2
                clear = seen.clear[edge:edge + side, edge:edge + side]
                if not clear.all():
                    probability *= clear
            dates.setdefault(block.id, []).append(probability)
        waiting.clear()

    try:
        left = Counter(block.id for block, _ in todo)
        done: deque[Block] = deque()
        while todo or reading or waiting:
            while todo and len(reading) < ahead:
                block, scene = todo.popleft()
                reading.append((block, pool.submit(job.inputs.read, block, scene)))
            if reading:
                block, future = reading.popleft()
                try:
                    waiting.append((block, future.result()))
                except StopError:
                    raise
                except RejectedError as error:
                    refusals.setdefault(block.id, []).append(str(error))
                except RefusedError as error:
                    refusals.setdefault(block.id, []).append(Reason.of_error(error).says(error))
                except DwplusError as error:
                    failures.setdefault(block.id, []).append(Reason.of_error(error).says(error))
                left[block.id] -= 1
                if not left[block.id]:
                    done.append(block)
            if len(waiting) >= predictor.batch or (waiting and not todo and not reading):
                forward()
            while done and not any(block is done[0] for block, _ in waiting):
                yield settle(done.popleft())
    finally:
        for _, future in reading:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


@functools.lru_cache(maxsize=2)
def _predictor(run: str, device: str | None, batch: int | None, flips: bool = False) -> Predictor:
    return Predictor(load(run), device_of(device, _turn()), batch, flips)


def _turn() -> int:
    """Which of several GPUs is this process's: workers of one machine take turns."""
    if not torch.cuda.is_available():
        return 0
    try:
        import distributed

        name = distributed.get_worker().name
    except ValueError:
        return 0
    return (int(name) if str(name).isdigit() else hash(str(name))) % torch.cuda.device_count()


def map_blocks(job: Job, frame: Frame, client: distributed.Client | None,
               progress: Callable[[int, int], None]) -> Tally:
    """Work all open blocks, in this process or on a Dask cluster, and finish them.

    Parameters
    ----------
    frame : all blocks; those without scenes are rejected as they are.
    client : None for this process.
    progress : called with (settled, in all).

    Returns
    -------
    Tally of all blocks. Where some failed, their neighbours wait unfinished for another run.

    Raises
    ------
    StopError
        Where the run cannot go on; what is done stays.
    """
    work = Work(job.folder)
    finisher = _Finisher(work, frame, job.probabilities)
    paired = [block for block in frame.blocks.values() if block.scenes]
    for _ in range(ROUNDS):
        todo = [block for block in paired if finisher.needs(block.id)]
        progress(len(paired) - len(todo), len(paired))
        settled = compute_windows(job, todo) if client is None else _on_cluster(job, todo, client)
        for count, name in enumerate(settled, start=len(paired) - len(todo) + 1):
            finisher.settled(name)
            progress(count, len(paired))
        if not any(Reason.of(finisher.outcomes[name]["reason"]) is Reason.TRANSIENT for name in finisher.failed()):
            break
    return finisher.tally()


def _on_cluster(job: Job, blocks: Sequence[Block], client: distributed.Client) -> Iterator[str]:
    """Tasks of a few blocks each, few ahead of the workers; gives the ids of settled blocks as tasks end. What Dask
    loses with its workers fails for now, and the next round tries it again."""
    from distributed import CancelledError, KilledWorker

    parts = iter([blocks[i:i + TASK_BLOCKS] for i in range(0, len(blocks), TASK_BLOCKS)])
    ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
    running: dict[Any, Sequence[Block]] = {}
    try:
        while True:
            threads = cluster.refill(client)
            while len(running) < 2 * max(1, threads) and (part := next(parts, None)):
                # The job goes with each task: what is scattered is lost with the workers that hold it.
                future = client.submit(_task, job, part, pure=False)
                running[future] = part
                future.add_done_callback(ready.put)
            if not running:
                return
            try:
                future = ready.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            part = running.pop(future)
            try:
                yield from future.result()
            except (KilledWorker, CancelledError) as error:
                if client.status != "running":  # the scheduler is gone, and with it all tasks
                    raise
                yield from _lost(Work(job.folder), part, type(error).__name__)
    except BaseException:
        client.cancel(list(running))
        raise


def _task(job: Job, blocks: Sequence[Block]) -> list[str]:
    work = Work(job.folder)
    # Dask runs a task again whose worker was lost: what that one settled is there.
    return [block.id for block in blocks if _is_settled(work, block)] + list(
        compute_windows(job, [block for block in blocks if not _is_settled(work, block)]))


def _is_settled(work: Work, block: Block) -> bool:
    state = (work.outcome(block.id) or {}).get("state")
    return state == "rejected" or (state == "mapped" and work.has_window(block.id))


def _lost(work: Work, blocks: Sequence[Block], what: str) -> Iterator[str]:
    """Blocks of a task that Dask gave up, the settled ones as they are."""
    for block in blocks:
        if not _is_settled(work, block):
            work.save_window(block.id, None, {"state": "failed", "reason": Reason.TRANSIENT.says(
                f"Dask lost the workers of this block ({what})")})
        yield block.id


class _Finisher:
    """Finishes blocks as soon as all windows that have a say in them are there, and drops windows nobody needs."""

    def __init__(self, work: Work, frame: Frame, probabilities: bool) -> None:
        self.work, self.frame, self.probabilities = work, frame, probabilities
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.finished = {name for name in frame.blocks if work.has_block(name)}
        for block in frame.blocks.values():
            if not block.scenes:
                self.outcomes[block.id] = {"state": "rejected", "reason": block.reason or Reason.NO_SCENE.value}
            elif (found := work.outcome(block.id)) and found["state"] != "failed":
                self.outcomes[block.id] = found
        # What an earlier run settled but did not come to finish.
        for name in frame.blocks:
            if name in self.outcomes and name not in self.finished:
                self._try(name)

    def needs(self, name: str) -> bool:
        """Whether a block's window must be worked."""
        outcome = self.outcomes.get(name)
        if outcome is None or outcome["state"] == "failed":
            return True
        if outcome["state"] != "mapped" or self.work.has_window(name):
            return False
        return any(other not in self.finished and self._may_be_mapped(other) for other in self.frame.touching(name))

    def _may_be_mapped(self, name: str) -> bool:
        return bool(self.outcomes.get(name, {}).get("state", "mapped") != "rejected")

    def settled(self, name: str) -> None:
        """A window is there, or is known not to come."""
        self.outcomes[name] = self.work.outcome(name) or {}
        for other in self.frame.touching(name):
            self._try(other)

    def _try(self, name: str) -> None:
        """Finish a block if it can be."""
        around = self.frame.touching(name)
        states = {other: self.outcomes.get(other, {}).get("state") for other in around}
        if states[name] != "mapped" or name in self.finished or not set(states.values()) <= {"mapped", "rejected"}:
            return
        mapped = [other for other in around if states[other] == "mapped"]
        if not all(self.work.has_window(other) for other in mapped):
            return
        grid = self.frame.blocks[name].grid
        windows = {other: (self.frame.shape.support(self.frame.blocks[other].grid), self.work.window(other))
                   for other in mapped}
        self.work.save_block(name, finish(grid, windows, self.frame.shape, self.probabilities))
        self.finished.add(name)
        for other in mapped:
            if all(one in self.finished or self.outcomes.get(one, {}).get("state") == "rejected"
                   for one in self.frame.touching(other)):
                self.work.drop_window(other)

    def failed(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome["state"] == "failed"]

    def tally(self) -> Tally:
        found = Tally(outcomes=self.outcomes)
        for outcome in self.outcomes.values():
            if outcome["state"] == "mapped":
                found.mapped += 1
                continue
            kind, reason = str(outcome["reason"]).split(":")[0], str(outcome["reason"])
            (found.rejected if outcome["state"] == "rejected" else found.failed)[kind] += 1
            found.example.setdefault(kind, reason)
        return found


def checkpoint_path(run: str) -> Path:
    """The weights behind RUN: a checkpoint, or a run's best."""
    path = Path(run)
    return path if path.suffix == ".safetensors" else path / "best.safetensors"
