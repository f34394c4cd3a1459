"""What a request cost, in the service's table of text: a client asks for it with a header, and then by an id.

The service counts EECU-seconds; this Earth counts the seconds its own processor worked, and no memory.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from dwplus.embedded_earth.errors import ComputeError

#: Headers of the request and of the answer. Source: ee/data.py of the client.
ASKED, ANSWERED = "x-earth-engine-computation-profiling", "x-earth-engine-computation-profile"
#: Rows of a profile unless more are asked for (the client's text), and profiles that are kept.
DEFAULT_ROWS, KEPT = 200, 1_000
#: What is left when all functions are counted: reading pixels, and writing the answer.
REST = "(plumbing)"


class Profile:
    """Seconds and calls of the functions of one request; time within an inner call counts there only."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.rows: dict[str, tuple[float, int]] = {}
        self._began = self._since = time.thread_time()
        self._stack: list[str] = []

    def _take(self, calls: int) -> None:
        name = self._stack[-1] if self._stack else REST
        now = time.thread_time()
        seconds, count = self.rows.get(name, (0.0, 0))
        self.rows[name] = seconds + now - self._since, count + calls
        self._since = now

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Count what happens as a function's."""
        self._take(0)
        self._stack.append(f"Algorithm {name}")
        try:
            yield
        finally:
            self._take(1)
            self._stack.pop()

    def end(self) -> None:
        """The answer is written."""
        self._take(1)


class Profiles:
    """The last profiles, by id; safe between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Profile] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, profile: Profile) -> None:
        """Remember a profile."""
        with self._lock:
            self._kept[profile.id] = profile
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def table(self, ids: Sequence[str], most: int | None) -> list[tuple[float, int, str]]:
        """Seconds, calls and description of several profiles together, the dearest first.

        Raises
        ------
        ComputeError
            For an id that there is not.
        """
        total: dict[str, tuple[float, int]] = {}
        for name in ids:
            with self._lock:
                found = self._kept.get(name)
            if found is None:
                raise ComputeError(f"Profile.getProfiles: the profile '{str(name)[:64]}' was not found.")
            for what, (seconds, count) in found.rows.items():
                before = total.get(what, (0.0, 0))
                total[what] = before[0] + seconds, before[1] + count
        rows = sorted(((seconds, count, what) for what, (seconds, count) in total.items()), reverse=True)
        limit = DEFAULT_ROWS if most is None else max(1, most)
        if len(rows) > limit:
            rest = rows[limit - 1:]
            rows = [*rows[:limit - 1], (sum(row[0] for row in rest), sum(row[1] for row in rest), "(...)")]
        return rows

    def text(self, ids: Sequence[str], most: int | None) -> str:
        """The table as a text.

        The columns are those that https://geetools.readthedocs.io/en/latest/usage/profile.html shows of the service.
        """
        lines = [" EECU·s PeakMem Count  Description"]
        lines += [f"{seconds:7.3f} {0:>7} {count:>5}  {what}" for seconds, count, what in self.table(ids, most)]
        return "\n".join(lines) + "\n"

    def rows_json(self, ids: Sequence[str], most: int | None) -> str:
        """The table as JSON; the service's own layout is not published."""
        return json.dumps([{"eecu_seconds": seconds, "count": count, "description": what}
                           for seconds, count, what in self.table(ids, most)])
