"""Exports: long-running operations that write images and tables, in threads of their own.

What the service would put on a drive, in a bucket or among the assets goes below a folder, or stays in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import io
import json
import math
import re
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio
import rasterio.windows
from rasterio.io import MemoryFile

from dwplus.embedded_earth import pixels, tables
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import as_collection, as_image
from dwplus.embedded_earth.grid import Grid
from dwplus.embedded_earth.pixel_types import cast
from dwplus.embedded_earth.values import Image

#: Operations waiting or running at most, and how many run at once, as in the service.
MAX_QUEUED = 3_000
CONCURRENT = 2
#: Pixels of an image that may be exported unless the request says otherwise; the service's default.
MAX_PIXELS = 100_000_000
#: Finished operations that are remembered, and bytes of results that are kept in memory.
MAX_KEPT = 5_000
MAX_MEMORY = 256 * 2**20
#: Pixels of a side of the blocks in which an image is computed.
_BLOCK = 1_024
_FINISHED = ("SUCCEEDED", "FAILED", "CANCELLED")

Evaluate = Callable[[Any, Context], Any]


class _Cancelled(Exception):
    """The operation was cancelled while it ran."""


@dataclasses.dataclass
class Operation:
    """One export.

    Attributes
    ----------
    name : ``projects/P/operations/ID``.
    kind : ``EXPORT_IMAGE`` or ``EXPORT_FEATURES``.
    state : PENDING, RUNNING, CANCELLING, SUCCEEDED, FAILED or CANCELLED.
    files : where the results are; in memory without a folder.
    """

    name: str
    kind: str
    request: dict[str, Any]
    digest: str
    state: str = "PENDING"
    error: ComputeError | None = None
    progress: float = 0.0
    created: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    started: dt.datetime | None = None
    updated: dt.datetime | None = None
    ended: dt.datetime | None = None
    files: dict[str, Path | bytes] = dataclasses.field(default_factory=dict)
    context: Context | None = None

    def json(self) -> dict[str, Any]:
        """The operation as the service shows it."""
        metadata: dict[str, Any] = {
            "@type": "type.googleapis.com/google.earthengine.v1.OperationMetadata", "state": self.state,
            "description": str(self.request.get("description", "")), "type": self.kind, "attempt": 1, "priority": 100,
            "createTime": _stamp(self.created), "updateTime": _stamp(self.updated or self.created),
            "progress": self.progress}
        if self.started is not None:
            metadata["startTime"] = _stamp(self.started)
        if self.ended is not None:
            metadata["endTime"] = _stamp(self.ended)
        if self.files:
            metadata["destinationUris"] = [result.as_uri() if isinstance(result, Path) else f"memory:{name}"
                                           for name, result in self.files.items()]
        out: dict[str, Any] = {"name": self.name, "metadata": metadata}
        if self.state in _FINISHED:
            out["done"] = True
            if self.state == "FAILED" and self.error is not None:
                out["error"] = {"code": 3, "message": self.error.message}
            elif self.state == "CANCELLED":
                out["error"] = {"code": 1, "message": "Cancelled."}
            else:
                out["response"] = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return out


def _stamp(when: dt.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Operations:
    """The queue of exports of one Earth.

    Parameters
    ----------
    folder : where results are written; None keeps them in memory, the oldest dropped beyond 256 MiB.
    context : makes the context of a computation.
    evaluate : evaluates an expression.
    """

    def __init__(self, folder: Path | None, context: Callable[[], Context], evaluate: Evaluate) -> None:
        self._folder = None if folder is None else Path(folder)
        self._context, self._evaluate = context, evaluate
        self._lock = threading.Lock()
        self._all: dict[str, Operation] = {}
        self._requests: dict[tuple[str, str], Operation] = {}
        self._waiting: deque[Operation] = deque()
        self._threads = 0

    # ------------------------------------------------------------------------------------------------------ requests

    def start(self, project: str, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        """Queue an export; the same ``requestId`` with the same content is the same operation.

        Raises
        ------
        ComputeError
            For what cannot be exported, a request id that has been used, and a full queue.
        """
        digest = hashlib.sha256(json.dumps([kind, request], sort_keys=True).encode()).hexdigest()
        key = (project, str(request.get("requestId") or ""))
        with self._lock:
            known = self._requests.get(key) if key[1] else None
            if known is not None:
                if known.digest != digest:
                    raise ComputeError("A different Operation was already started with the given request_id.")
                return known.json()
            _destination(kind, request)
            if sum(operation.state not in _FINISHED for operation in self._all.values()) >= MAX_QUEUED:
                raise ComputeError(f"Too many tasks already in the queue ({MAX_QUEUED}). Please wait for some of them "
                                   "to complete.")
            operation = Operation(f"{project}/operations/{uuid.uuid4().hex[:24].upper()}", kind, request, digest)
            self._all[operation.name] = operation
            if key[1]:
                self._requests[key] = operation
            self._forget()
            self._waiting.append(operation)
            if self._threads < CONCURRENT:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name="embedded-earth-export").start()
            return operation.json()

    def get(self, name: str) -> dict[str, Any]:
        """An operation by name."""
        with self._lock:
            return self._found(name).json()

    def list(self, project: str, size: int, start: int) -> dict[str, Any]:
        """A page of a project's operations, the newest first."""
        with self._lock:
            own = [operation for name, operation in reversed(self._all.items()) if name.startswith(project + "/")]
            out: dict[str, Any] = {"operations": [operation.json() for operation in own[start:start + size]]}
            if start + size < len(own):
                out["nextPageToken"] = str(start + size)
            return out

    def cancel(self, name: str) -> dict[str, Any]:
        """Ask an operation to stop; one that has ended stays as it is."""
        with self._lock:
            operation = self._found(name)
            if operation.state == "PENDING":
                self._end(operation, "CANCELLED")
            elif operation.state == "RUNNING":
                operation.state = "CANCELLING"
                if operation.context is not None:
                    operation.context.deadline = -math.inf  # the computation ends at its next look at the clock
            return {}

    def results(self, name: str) -> dict[str, bytes]:
        """Files of an operation that has succeeded, by name."""
        with self._lock:
            files = dict(self._found(name).files)
        return {key: found.read_bytes() if isinstance(found, Path) else found for key, found in files.items()}

    def _found(self, name: str) -> Operation:
        if name not in self._all:
            raise ComputeError(f"Operation '{name[:200]}' not found.", 404)
        return self._all[name]

    def _forget(self) -> None:
        """Drop the oldest ended operations, and results beyond what memory is for."""
        ended = [operation for operation in self._all.values() if operation.state in _FINISHED]
        for operation in ended[:max(0, len(self._all) - MAX_KEPT)]:
            del self._all[operation.name]
            self._requests = {key: kept for key, kept in self._requests.items() if kept is not operation}
        held = [(operation, sum(len(f) for f in operation.files.values() if isinstance(f, bytes)))
                for operation in ended]
        excess = sum(size for _, size in held) - MAX_MEMORY
        for operation, size in held:
            if excess <= 0:
                break
            if size:
                operation.files, excess = {}, excess - size

    # ---------------------------------------------------------------------------------------------------------- work

    def _work(self) -> None:
        """Run what waits; the thread ends with the queue."""
        while True:
            with self._lock:
                while self._waiting and self._waiting[0].state != "PENDING":
                    self._waiting.popleft()
                if not self._waiting:
                    self._threads -= 1
                    return
                operation = self._waiting.popleft()
                operation.state = "RUNNING"
                operation.started = operation.updated = dt.datetime.now(dt.UTC)
                # Exports have no five minutes, and no page of elements.
                operation.context = dataclasses.replace(self._context(), deadline=math.inf)
            state, error = "SUCCEEDED", None
            try:
                with np.errstate(all="ignore"):
                    self._run(operation, operation.context)
            except _Cancelled:
                state = "CANCELLED"
            except ComputeError as found:
                state, error = "FAILED", found
            except (RecursionError, MemoryError):
                state, error = "FAILED", ComputeError("User memory limit exceeded.")
            except Exception as found:  # the queue must outlive any export
                state, error = "FAILED", ComputeError(f"An internal error has occurred ({type(found).__name__}: "
                                                      f"{found})", 500)
            with self._lock:
                if operation.state == "CANCELLING" and state == "FAILED":
                    state, error = "CANCELLED", None
                operation.error = error
                self._end(operation, state)
                self._forget()

    def _end(self, operation: Operation, state: str) -> None:
        operation.state, operation.context = state, None
        operation.ended = operation.updated = dt.datetime.now(dt.UTC)
        operation.progress = 1.0 if state == "SUCCEEDED" else operation.progress

    def _run(self, operation: Operation, context: Context) -> None:
        request = operation.request
        place, form, options = _destination(operation.kind, request)
        value = self._evaluate(request.get("expression"), context)
        _alive(operation)
        if operation.kind == "EXPORT_IMAGE":
            image = value if isinstance(value, Image) else as_image(context, value)
            if image is None:
                raise ComputeError("The expression is no image.")
            grid = _export_grid(image, request)
            nodata = _nodata(options)
            with self._file(operation, place) as file:
                _write_image(image, grid, nodata, file, operation, context)
            return
        collection = as_collection(context, value)
        if collection is None:
            raise ComputeError("The expression is no collection.")
        with self._file(operation, place) as file:
            assert not isinstance(file, Path)
            for part in tables.lines(iter(collection), form, request.get("selectors"), context):
                _alive(operation)
                file.write(part)

    @contextlib.contextmanager
    def _file(self, operation: Operation, place: str) -> Iterator[Any]:
        """A place to write to: a path beside the final one for images, an open file for tables.

        The result appears whole under its name, or not at all.
        """
        image = operation.kind == "EXPORT_IMAGE"
        if self._folder is None:
            buffer = io.BytesIO()
            yield buffer
            operation.files = {place: buffer.getvalue()}
            return
        final = self._folder / place
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            if image:
                yield part
            else:
                with part.open("wb") as file:
                    yield file
            _alive(operation)
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)
        operation.files = {place: final.resolve()}


def _alive(operation: Operation) -> None:
    operation.updated = dt.datetime.now(dt.UTC)
    if operation.state == "CANCELLING":
        raise _Cancelled


# ------------------------------------------------------------------------------------------------------- the requests


def _safe(text: Any) -> str:
    """A path below a folder: no part may leave it or hide in it."""
    parts = [re.sub(r"[^A-Za-z0-9_\-. ]", "_", part).strip(" .")[:200] for part in str(text).split("/")]
    return "/".join(part for part in parts if part)


def _destination(kind: str, request: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """Place below the exports' folder, file format and options of a request.

    Raises
    ------
    ComputeError
        For destinations and formats that there are not.
    """
    options = request.get("fileExportOptions")
    if not isinstance(options, dict):
        if request.get("assetExportOptions") is not None:
            raise ComputeError("Exports to assets are not supported by the embedded Earth: its archive is read-only.")
        raise ComputeError("Invalid export: 'fileExportOptions' are missing.")
    if kind == "EXPORT_IMAGE":
        form, end = options.get("fileFormat"), "tif"
        if form != "GEO_TIFF":
            raise ComputeError(f"Invalid file format: '{str(form)[:40]}'. The embedded Earth writes images as "
                               "GEO_TIFF.")
    else:
        form = tables.check_format(options.get("fileFormat"))
        end = tables.FORMATS[form]
        selectors = request.get("selectors")
        if selectors is not None and not (isinstance(selectors, list) and all(isinstance(s, str) for s in selectors)):
            raise ComputeError("Invalid export: 'selectors' must be a list of names.")
    drive, bucket = options.get("driveDestination"), options.get("cloudStorageDestination")
    if isinstance(drive, dict):
        where = ["drive", drive.get("folder") or "", drive.get("filenamePrefix") or request.get("description")]
    elif isinstance(bucket, dict):
        where = ["gs", bucket.get("bucket") or "", bucket.get("filenamePrefix") or request.get("description")]
    else:
        raise ComputeError("Invalid export: the destination must be a drive or a bucket.")
    name = _safe(where[2] or "export") or "export"
    return f"{_safe('/'.join(map(str, where[:2])))}/{name}.{end}", str(form), options


def _number(value: Any, default: float) -> float:
    """A number as protocol buffers wrap it: plain, or under 'value' or 'floatValue', perhaps as a text."""
    if isinstance(value, dict):
        value = value.get("value", value.get("floatValue"))
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError):
        raise ComputeError(f"Invalid export: {str(value)[:40]!r} is no number.") from None


def _nodata(options: Mapping[str, Any]) -> float | None:
    found = options.get("geoTiffOptions")
    value = found.get("noData") if isinstance(found, dict) else None
    return None if value is None else _number(value, 0.0)


def _export_grid(image: Image, request: Mapping[str, Any]) -> Grid:
    if not image.bands:
        raise ComputeError("The image has no bands.")
    found = {band.type.dtype.newbyteorder("=").name.title() for band in image.bands}
    if len(found) > 1:
        raise ComputeError("Exported bands must have compatible data types; found inconsistent types: "
                           f"{' and '.join(sorted(found))}.")
    grid = pixels.grid_of(image, request.get("grid"))
    most = _number(request.get("maxPixels"), MAX_PIXELS)
    if grid.width * grid.height > most:
        raise ComputeError(f"Export too large: specified {grid.width * grid.height} pixels (max: {int(most)}). Specify "
                           "higher maxPixels value if you intend to export a large area.")
    return grid


def _write_image(image: Image, grid: Grid, nodata: float | None, file: Path | BinaryIO, operation: Operation,
                 context: Context) -> None:
    """A tiled GeoTIFF, computed block by block. Masked pixels are ``nodata``, else 0, or NaN for floats."""
    dtype = image.bands[0].type.dtype
    fill = nodata if nodata is not None else math.nan if dtype.kind == "f" else 0
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": len(image.bands),
        "dtype": dtype.newbyteorder("=").name, "crs": grid.crs, "transform": rasterio.Affine(*grid.transform),
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    if nodata is not None:
        profile["nodata"] = nodata
    blocks = [(row, col) for row in range(0, grid.height, _BLOCK) for col in range(0, grid.width, _BLOCK)]

    def write(target: Any) -> None:
        for i, band in enumerate(image.bands, 1):
            target.set_band_description(i, band.id)
        for n, (row, col) in enumerate(blocks):
            part = grid.window(row, col, min(_BLOCK, grid.height - row), min(_BLOCK, grid.width - col))
            window = rasterio.windows.Window(col, row, part.width, part.height)
            for i, band in enumerate(image.bands, 1):
                _alive(operation)
                context.check_time()
                values, valid = band.read(part)
                values = np.asarray(cast(values, band.type))
                if valid is not None:
                    values = np.where(valid > 0, values, np.asarray(fill).astype(values.dtype))
                target.write(values, i, window=window)
            operation.progress = (n + 1) / len(blocks)

    if isinstance(file, Path):
        with rasterio.open(file, "w", **profile) as target:
            write(target)
        return
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            write(target)
        file.write(bytes(memory.read()))
