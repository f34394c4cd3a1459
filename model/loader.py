"""Batches, read ahead by threads: each tile is decoded straight into its place in the batch, pinned for a GPU."""

from __future__ import annotations

import hashlib
import math
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dwplus.errors import InputError
from dwplus.store.tiles import Pixels
from dwplus.taxonomy import IGNORE
from model.data import Raw, TileDataset


@dataclass
class Batch:
    """Samples as stored; see :class:`model.normalise.Normaliser` for shapes and units."""

    s2: Tensor
    s1: Tensor
    label: Tensor
    keep: Tensor
    index: Tensor

    def to(self, device: torch.device) -> Batch:
        """On a device; from pinned memory the copy runs beside the CPU."""
        return Batch(*(getattr(self, f).to(device, non_blocking=True) for f in ("s2", "s1", "label", "keep", "index")))

    @property
    def labelled(self) -> int:
        """Pixels with a label."""
        return int((self.label != IGNORE).sum())

    def __len__(self) -> int:
        return len(self.index)


class _Memory:
    """Memory of batches that nobody holds any more, for the next ones: fresh pages cost half as much as unpacking."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}

    def empty(self, shape: tuple[int, ...], dtype: str) -> Tensor:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        free = self._free.setdefault(size, [])
        raw = free.pop() if free else np.empty(size, "uint8")
        array = raw.view(dtype).reshape(shape)
        # The tensor, and whatever is made of it without a copy, holds this very array; with the last of them it goes.
        weakref.finalize(array, free.append, raw).atexit = False
        return torch.from_numpy(array)


class KeptTiles:
    """Decoded tiles of which more windows are to come: the ones used last.

    Parameters
    ----------
    most : tiles that are kept.
    """

    def __init__(self, data: TileDataset, most: int) -> None:
        self._data, self._most = data, most
        self._tiles: OrderedDict[int, Future[Raw]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, index: int) -> Raw:
        """The whole tile; of several threads that ask for it one decodes it, and the others wait."""
        with self._lock:
            found = self._tiles.get(index)
            first = found is None
            if found is None:
                found = self._tiles[index] = Future()
                while len(self._tiles) > self._most:
                    self._tiles.popitem(last=False)
            else:
                self._tiles.move_to_end(index)
        if first:
            try:
                found.set_result(self._data.tile(index))
            except BaseException as error:
                found.set_exception(error)
                raise
        return found.result()


class Loader:
    """Iterates over batches of given samples; taken up again in the middle, it goes on with the next batch.

    Parameters
    ----------
    batches : sample numbers, ``window * tiles + tile``; ``~number`` is a sample that fills a batch up, whose label
        becomes 255 all over.
    start : batches to pass over at the first iteration.
    keep : decoded tiles that are kept for windows to come; 0 where each has one.
    threads : readers. ahead : batches that are read before they are asked for. pin : page-locked memory, for a GPU.

    Attributes
    ----------
    waited : seconds the consumer has waited for data.
    done : batches given so far; what is read ahead does not count.
    """

    def __init__(self, data: TileDataset, batches: Sequence[Sequence[int]], *, epoch: int = 0, start: int = 0,
                 threads: int = 4, ahead: int = 3, pin: bool = False, keep: int = 0) -> None:
        self.data, self.batches, self.epoch = data, batches, epoch
        self.threads, self.ahead, self.pin = max(1, threads), max(1, ahead), pin
        self.waited, self.done = 0.0, start
        self._start = start
        self._memory = _Memory()
        self._kept = KeptTiles(data, keep) if keep else None

    def __len__(self) -> int:
        """Batches of the whole epoch."""
        return len(self.batches)

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer stands: what a checkpoint keeps beside the weights."""
        return {"epoch": self.epoch, "done": self.done, "plan": self._plan()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches that were given when the state was taken.

        Raises
        ------
        InputError
            Where the state is of another epoch or of other batches: going on would repeat and leave out samples.
        """
        if state["epoch"] != self.epoch or state["plan"] != self._plan():
            raise InputError(f"loader: the state is of epoch {state['epoch']} with {state['plan']}, this loader is of "
                             f"epoch {self.epoch} with {self._plan()}; make it with the same tiles, seed, batch size "
                             "and processes")
        self.done = self._start = int(state["done"])

    def _plan(self) -> str:
        """The batches in few words."""
        words = repr([list(batch) for batch in self.batches]).encode()
        return f"{len(self.batches)} batches ({hashlib.blake2b(words, digest_size=8).hexdigest()})"

    def _begin(self, pool: ThreadPoolExecutor, samples: Sequence[int]) -> tuple[Batch, list[Future[None]]]:
        side, n = self.data.window, len(samples)
        s1_type = "float32" if self.data.s1_dtype.startswith("float") else "int16"

        def empty(*shape: int, dtype: str) -> Tensor:
            if self.pin:  # torch keeps pinned memory for the next batch by itself
                return torch.empty(shape, dtype=getattr(torch, dtype), pin_memory=True)
            return self._memory.empty(shape, dtype)

        batch = Batch(empty(n, len(self.data.s2_bands), side, side, dtype="uint16"),
                      empty(n, len(self.data.s1_bands), side, side, dtype=s1_type),
                      empty(n, side, side, dtype="uint8"), empty(n, 2, dtype="bool"),
                      torch.tensor([max(i, ~i) % len(self.data) for i in samples]))
        into = (batch.s2.numpy(), batch.s1.numpy(), batch.label.numpy(), batch.keep.numpy())

        def fill(number: int, sample: int) -> None:
            own = Pixels(*(array[number] for array in into[:3]))
            window, tile = divmod(max(sample, ~sample), len(self.data))
            raw = self.data.raw(tile, self.epoch, own, window=window,
                                whole=None if self._kept is None else self._kept(tile))
            for target, value in zip(own, (raw.s2, raw.s1, raw.label), strict=True):
                if value is not target:
                    target[...] = value
            if sample < 0:
                own.label[...] = IGNORE
            into[3][number] = raw.keep

        return batch, [pool.submit(fill, number, sample) for number, sample in enumerate(samples)]

    def __iter__(self) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="tiles")
        under_way: deque[tuple[Batch, list[Future[None]]]] = deque()
        self.done, self._start = self._start, 0
        queue = iter(self.batches[self.done:])
        try:
            while True:
                while len(under_way) < self.ahead and (samples := next(queue, None)) is not None:
                    under_way.append(self._begin(pool, samples))
                if not under_way:
                    return
                batch, reads = under_way.popleft()
                began = time.perf_counter()
                for read in reads:
                    read.result()
                self.waited += time.perf_counter() - began
                self.done += 1
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def device_batches(loader: Loader, device: torch.device) -> Iterator[Batch]:
    """Batches on a device. On CUDA the next one is copied on a stream of its own while this one computes."""
    if device.type != "cuda":
        for batch in loader:
            yield batch
        return
    side, ready = torch.cuda.Stream(device), None
    for batch in loader:
        with torch.cuda.stream(side):
            coming = batch.to(device)
            event = side.record_event()
        if ready is not None:
            yield _arrived(*ready, device)
        ready = coming, event
    if ready is not None:
        yield _arrived(*ready, device)


def _arrived(batch: Batch, event: Any, device: torch.device) -> Batch:
    stream = torch.cuda.current_stream(device)
    stream.wait_event(event)
    for tensor in (batch.s2, batch.s1, batch.label, batch.keep, batch.index):
        # Its memory came from the side stream: it must not be given away while this stream still reads it.
        tensor.record_stream(stream)
    return batch
