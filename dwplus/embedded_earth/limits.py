"""The service's limits, its texts, and the gate that enforces rate and concurrency."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dwplus.embedded_earth.errors import ComputeError

#: What every answer says while a project computes with less parallelism. Source: ee/data.py of the client.
QUOTA_STATUS, RESTRICTED = "x-earth-engine-quota-status", "parallelism_restricted=true"
TOO_MANY = "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."


@dataclass(frozen=True)
class Limits:
    """Limits of one Earth; the defaults are the service's, as far as it tells them.

    Attributes
    ----------
    pixel_bytes, pixel_side, bands : of one pixel answer; every band's mask counts a byte per pixel.
    download_bytes : of a download by URL, which was lower in earlier years: 33,554,432.
    payload_bytes : of one request body.
    elements : of a collection in one answer.
    edges : of one geometry.
    aggregations : ``reduceRegion`` and ``reduceRegions`` in one request; None for any number. The service refuses too
        many of them ("Too many concurrent aggregations"), but not at a number it tells: 20 were too many for one
        project.
    aggregations_code : HTTP status of that refusal, 400 or 429: which one is not published.
    concurrency, per_second : requests in flight and started per second; None switches the limit off.
    seconds : work on one request.
    restricted : whether every answer says that the project's compute is used up and it computes with less parallelism.
    """

    pixel_bytes: int = 50_331_648
    pixel_side: int = 32_768
    bands: int = 1_024
    download_bytes: int = 50_331_648
    payload_bytes: int = 10 * 2**20
    elements: int = 5_000
    edges: int = 2_000_000
    aggregations: int | None = None
    aggregations_code: int = 429
    concurrency: int | None = 40
    per_second: int | None = 100
    seconds: float = 300.0
    restricted: bool = False

    def check_pixels(self, width: int, height: int, item_sizes: list[int]) -> None:
        """Refuse a pixel request that is too large, in the service's words.

        Raises
        ------
        ComputeError
            Beyond a limit.
        """
        if max(width, height) > self.pixel_side:
            raise ComputeError(f"Pixel grid dimensions ({width}x{height}) must be less than or equal to "
                               f"{self.pixel_side}.")
        if len(item_sizes) > self.bands:
            raise ComputeError(f"The number of bands ({len(item_sizes)}) must be less than or equal to {self.bands}.")
        size = width * height * sum(item + 1 for item in item_sizes)
        if size > self.pixel_bytes:
            raise ComputeError(f"Total request size ({size} bytes) must be less than or equal to {self.pixel_bytes} "
                               "bytes.")


def parse_limits(texts: Sequence[str]) -> Limits:
    """Limits from texts such as ``aggregations=10``; ``none`` switches one off that may be off.

    Raises
    ------
    ValueError
        For a name or a value that there is not.
    """
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Limits)}
    values: dict[str, Any] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or name not in kinds:
            raise ValueError(f"limit {text!r}: must be NAME=VALUE with a name of {', '.join(kinds)}")
        kind = kinds[name]
        if value.lower() == "none" and "None" in kind:
            values[name] = None
        elif kind == "bool" and value.lower() in ("true", "false"):
            values[name] = value.lower() == "true"
        else:
            try:
                values[name] = float(value) if kind == "float" else int(value)
            except ValueError:
                raise ValueError(f"limit {text!r}: the value must be "
                                 f"{'true or false' if kind == 'bool' else 'a number'}") from None
            if kind == "bool" or not values[name] > 0:
                raise ValueError(f"limit {text!r}: the value must be "
                                 f"{'true or false' if kind == 'bool' else 'above 0'}")
    return Limits(**values)


class Gate:
    """Counts requests in flight and within the last second."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._active = 0
        self._starts: deque[float] = deque()
        self.peak = 0

    def enter(self) -> None:
        """Admit a request.

        Raises
        ------
        ComputeError
            429, where there is no place for it.
        """
        with self._lock:
            now = time.monotonic()
            while self._starts and self._starts[0] <= now - 1.0:
                self._starts.popleft()
            crowded = self._limits.concurrency is not None and self._active >= self._limits.concurrency
            # The service measures over a minute; a burst of a second's allowance on top is let through.
            hurried = self._limits.per_second is not None and len(self._starts) >= 2 * self._limits.per_second
            if crowded or hurried:
                raise ComputeError(TOO_MANY, 429)
            self._starts.append(now)
            self._active += 1
            self.peak = max(self.peak, self._active)

    def leave(self) -> None:
        """A request has been answered."""
        with self._lock:
            self._active -= 1
