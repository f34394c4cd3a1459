"""Faults to inject: what, where, how often. Requests to meet them are counted, so that runs can be repeated."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dwplus.embedded_earth.limits import TOO_MANY

KINDS = ("status", "drop", "truncate", "garbage", "slow", "capacity")
#: The service's words where its own memory, or a user's share of it, is used up. The HTTP code is not published.
CAPACITY = "Earth Engine memory capacity exceeded."


@dataclass(frozen=True)
class Fault:
    """One kind of trouble.

    Attributes
    ----------
    kind : ``status`` (an error answer), ``drop`` (the connection), ``truncate`` (half the body), ``garbage`` (noise as
        body), ``slow`` (the answer comes ``seconds`` later), ``capacity`` (an error answer: the service's memory is
        full).
    path : regular expression that the request's path must contain.
    code, message : of the error answer.
    probability : of hitting a matching request.
    skip, count : matching requests to let pass first, and to hit at most (None: no end).
    """

    kind: str = "status"
    path: str = ""
    code: int = 429
    message: str = TOO_MANY
    probability: float = 1.0
    skip: int = 0
    count: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault kind {self.kind!r}: one of {', '.join(KINDS)}")


def parse_fault(text: str) -> Fault:
    """A fault from ``kind=status,path=computePixels,code=503,count=3,probability=0.5,skip=1,seconds=2``.

    Raises
    ------
    ValueError
        For a key or a value that it has not.
    """
    kinds = {field.name: field.type for field in dataclasses.fields(Fault)}
    values: dict[str, Any] = {}
    for part in text.split(","):
        key, found, value = part.partition("=")
        if not found or key not in kinds:
            raise ValueError(f"fault {part!r}: must be KEY=VALUE with a key of {', '.join(kinds)}")
        try:
            values[key] = (float(value) if key in ("probability", "seconds")
                           else int(value) if key in ("code", "skip", "count") else value)
        except ValueError:
            raise ValueError(f"fault {part!r}: the value must be a number") from None
    return Fault(**values)


@dataclass
class Faults:
    """Faults with their counters and one seeded stream of chance; safe between threads."""

    faults: Sequence[Fault] = ()
    seed: int = 0
    hits: int = 0
    _seen: dict[int, int] = field(default_factory=dict)
    _used: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def meet(self, path: str) -> Fault | None:
        """The fault that hits this request, if any."""
        with self._lock:
            for i, fault in enumerate(self.faults):
                if not re.search(fault.path, path):
                    continue
                self._seen[i] = self._seen.get(i, 0) + 1
                if self._seen[i] <= fault.skip or (fault.count is not None and self._used.get(i, 0) >= fault.count):
                    continue
                if self._random.random() < fault.probability:
                    self._used[i] = self._used.get(i, 0) + 1
                    self.hits += 1
                    return fault
        return None


def random_faults(rate: float, seed: int = 0) -> Faults:
    """Trouble of every kind that heals, on a share of the computing requests.

    Raises
    ------
    ValueError
        For a rate outside 0..1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"fault rate {rate}: must lie between 0 and 1")
    if rate == 0:
        return Faults()
    where = r":compute|:getPixels"
    kinds = [Fault("status", where, 429), Fault("status", where, 503, "The service is currently unavailable."),
             Fault("status", where, 500, "An internal error has occurred"), Fault("drop", where),
             Fault("truncate", where)]
    # Chances are drawn one after the other: each takes its share of what the ones before left.
    share = rate / len(kinds)
    faults = [Fault(f.kind, f.path, f.code, f.message, share / (1 - i * share)) for i, f in enumerate(kinds)]
    return Faults(faults, seed)
