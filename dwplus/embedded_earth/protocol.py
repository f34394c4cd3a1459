"""REST v1 on one pure function: a request in, an answer out. Both doors, the transport and the server, call it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dwplus.embedded_earth import discovery, encode, maps, pixels, tables
from dwplus.embedded_earth.bands import image_of
from dwplus.embedded_earth.catalog import Catalog, Scene
from dwplus.embedded_earth.client import ALGORITHMS, client_file
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import STATUS_NAMES, ComputeError
from dwplus.embedded_earth.faults import CAPACITY, Fault, Faults
from dwplus.embedded_earth.functions.images import select_bands
from dwplus.embedded_earth.functions.registry import as_collection, as_image, call
from dwplus.embedded_earth.graph import Graph
from dwplus.embedded_earth.limits import QUOTA_STATUS, RESTRICTED, Gate, Limits
from dwplus.embedded_earth.operations import Operations
from dwplus.embedded_earth.profile import ANSWERED, ASKED, Profile, Profiles
from dwplus.embedded_earth.values import Feature, Image, TableElements

_log = logging.getLogger(__name__)
_PUBLIC = "projects/earthengine-public/assets/"
#: What the client puts before ids of projects and users that are written without "assets".
_LEGACY = "projects/earthengine-legacy/assets/"
#: Features in one page of an answer, unless asked for fewer.
_PAGE = 1_000


@dataclass(frozen=True)
class Answer:
    """Status, headers and body; ``fault`` says how a door must spoil it on its way."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: Fault | None = None


@dataclass
class EmbeddedEarth:
    """An Earth Engine in a process.

    Parameters
    ----------
    catalog : its archive.
    latency_s : seconds every computing request takes longer.
    faults : trouble to inject.
    limits : the service's by default.
    exports : folder that exports are written to; None keeps their results in memory (``operations.results``).
    """

    catalog: Catalog
    latency_s: float = 0.0
    faults: Faults = field(default_factory=Faults)
    limits: Limits = field(default_factory=Limits)
    exports: Path | None = None

    def __post_init__(self) -> None:
        self.gate = Gate(self.limits)
        self.requests = 0
        self._tables: dict[str, TableElements] = {}
        self._downloads: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self.profiles = Profiles()
        #: Of the request that a thread works on: its profile, and the expressions that it evaluated.
        self._working = threading.local()
        self.operations = Operations(self.exports, self._context, self._evaluate)

    def handle(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str],
               body: bytes) -> Answer:
        """Answer a request. Never raises: what goes wrong is an error answer."""
        asked = {name.lower(): value for name, value in headers.items()}
        profile = Profile() if asked.get(ASKED) == "1" and path.startswith("/v1/") else None
        self._working.profile = profile
        answer = self._handle(method, path, query, body)
        more: dict[str, str] = {}
        if profile is not None:
            profile.end()
            self.profiles.keep(profile)
            more[ANSWERED] = profile.id
        if self.limits.restricted and path.startswith("/v1/"):
            more[QUOTA_STATUS] = RESTRICTED
        return dataclasses.replace(answer, headers={**answer.headers, **more}) if more else answer

    def _handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        if path == "/version":  # not the service's: what a store notes of where its pixels come from
            return Answer(200, {"content-type": "application/json"},
                          json.dumps({"version": getattr(self.catalog, "version", "")}).encode())
        computing = ":compute" in path or ":getPixels" in path
        with self._lock:
            self.requests += 1
        fault = self.faults.meet(path)
        entered = False
        graphs: list[Graph] = []
        self._working.graphs = graphs
        try:
            if fault is not None and fault.kind in ("status", "capacity"):
                raise ComputeError(fault.message if fault.kind == "status" else CAPACITY, fault.code)
            if path.startswith("/v1/"):
                self.gate.enter()
                entered = True
            if computing and self.latency_s:
                time.sleep(self.latency_s)
            if fault is not None and fault.kind == "slow":
                time.sleep(fault.seconds)
            with np.errstate(all="ignore"):  # positions that no projection has become NaN, and are masked
                kind, content = self._route(method, path, query, body)
            return Answer(200, {"content-type": kind}, content, fault)
        except ComputeError as error:
            return _error(error)
        except RecursionError:
            return _error(ComputeError("The computation is nested too deep."))
        except MemoryError:
            return _error(ComputeError("User memory limit exceeded."))
        except Exception as error:  # the server must outlive any request
            _log.exception("internal error at %s", path)
            return _error(ComputeError(f"An internal error has occurred ({type(error).__name__}: {error})", 500))
        finally:
            if entered:
                self.gate.leave()
            self._working.graphs = None
            for graph in graphs:
                graph.forget()

    # -------------------------------------------------------------------------------------------------------- routes

    def _route(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
        if path == "/$discovery/rest":
            return _json(discovery.document())
        match = re.fullmatch(r"/v1/(projects/[^/:]+)(.*)", path)
        if match is None:
            raise ComputeError(f"Not found: {path[:200]}", 404)
        project, rest = match.groups()
        if len(body) > self.limits.payload_bytes:
            raise ComputeError("Request payload size exceeds the limit: "
                               f"{self.limits.payload_bytes} bytes.", 400)
        if rest == "/algorithms" and method == "GET":
            return "application/json; charset=UTF-8", client_file(ALGORITHMS).read_bytes()
        if rest == "/config":
            return _json({"name": f"{project}/config", "maxConcurrentExports": 2})
        if method == "POST":
            handlers: dict[str, Callable[[dict[str, Any]], tuple[str, bytes]]] = {
                "/value:compute": self._value, "/image:computePixels": self._compute_pixels,
                "/table:computeFeatures": self._features,
                "/thumbnails": lambda request: self._keep(f"{project}/thumbnails", request),
                "/maps": lambda request: self._keep(f"{project}/maps", request),
                "/tables": lambda request: self._keep(f"{project}/tables", request),
                "/image:export": lambda request: _json(self.operations.start(project, "EXPORT_IMAGE", request)),
                "/table:export": lambda request: _json(self.operations.start(project, "EXPORT_FEATURES", request))}
            if rest in handlers:
                return handlers[rest](_request(body))
        thumbnail = re.fullmatch(r"/thumbnails/([0-9a-f]+):getPixels", rest)
        if thumbnail:
            kept = self._downloads.get(f"{project}/thumbnails/{thumbnail[1]}")
            if kept is None:
                raise ComputeError(f"Not found: {project}/thumbnails/{thumbnail[1]}", 404)
            return self._compute_pixels(kept, dataclasses.replace(self.limits,
                                                                  pixel_bytes=self.limits.download_bytes))
        tile = re.fullmatch(r"/maps/([0-9a-f]+)/tiles/(\d{1,2})/(\d{1,9})/(\d{1,9})", rest)
        if tile:
            return self._tile(f"{project}/maps/{tile[1]}", *map(int, tile.groups()[1:]))
        table = re.fullmatch(r"/tables/([0-9a-f]+):getFeatures", rest)
        if table:
            return self._download_table(f"{project}/tables/{table[1]}")
        if rest == "/operations" or rest.startswith("/operations/"):
            return self._operation(method, project + rest, query)
        if rest.startswith("/assets/") or rest.startswith(":listAssets"):
            return self._asset(project, rest, query, body)
        raise ComputeError(f"Method not found: {method} {path[:200]}", 404)

    def _context(self) -> Context:
        limits = self.limits
        return Context(self.catalog, time.monotonic() + limits.seconds, limits.elements, self._tables,
                       edges=limits.edges, aggregations=limits.aggregations,
                       aggregations_code=limits.aggregations_code,
                       profile=getattr(self._working, "profile", None), profiles=self.profiles)

    def _evaluate(self, expression: Any, context: Context) -> Any:
        graph = Graph(expression, lambda name, arguments: call(context, name, arguments))
        graphs: list[Graph] | None = getattr(self._working, "graphs", None)
        if graphs is not None:  # an operation's are not of a request
            graphs.append(graph)
        return graph.evaluate()

    def _value(self, request: dict[str, Any]) -> tuple[str, bytes]:
        context = self._context()
        return _json({"result": encode.encode(self._evaluate(request.get("expression"), context), context)})

    def _compute_pixels(self, request: dict[str, Any], limits: Limits | None = None) -> tuple[str, bytes]:
        context = self._context()
        value = self._evaluate(request.get("expression"), context)
        image = value if isinstance(value, Image) else as_image(context, value)
        if image is None:
            raise ComputeError("The expression is no image.")
        return pixels.answer(image, request, context, limits or self.limits)

    def _tile(self, name: str, zoom: int, x: int, y: int) -> tuple[str, bytes]:
        """A tile of a kept map."""
        kept = self._downloads.get(name)
        if kept is None:
            raise ComputeError(f"Not found: {name}", 404)
        grid = maps.tile_grid(zoom, x, y)
        context = self._context()
        image = as_image(context, self._evaluate(kept.get("expression"), context))
        if image is None:
            raise ComputeError("The expression is no image.")
        if kept.get("bandIds"):
            image = image.with_bands(select_bands(image, kept["bandIds"]))
        options = kept.get("visualizationOptions")
        if options or not maps.is_visible(image):
            image = call(context, "Image.visualize", {"image": image, **maps.visualization(options)})
        return pixels.answer(image, {"fileFormat": "PNG", "grid": grid}, context, self.limits)

    def _features(self, request: dict[str, Any]) -> tuple[str, bytes]:
        context = self._context()
        value = as_collection(context, self._evaluate(request.get("expression"), context))
        if value is None:
            raise ComputeError("The expression is no collection.")
        return self._page(iter(value), request, context)

    def _page(self, elements: Any, request: Mapping[str, Any], context: Context) -> tuple[str, bytes]:
        size, start = _page_of(request)
        found = list(itertools.islice(elements, start, start + size + 1))
        features = []
        for position, element in enumerate(found[:size], start):
            feature = element if isinstance(element, Feature) else Feature(element.footprint, element.properties,
                                                                           element.id)
            encoded = encode.encode_feature(feature, context, position)
            encoded["properties"]["system:index"] = encoded.pop("id")
            features.append(encoded)
        out: dict[str, Any] = {"type": "FeatureCollection", "features": features}
        if len(found) > size:
            out["nextPageToken"] = str(start + size)
        return _json(out)

    def _keep(self, parent: str, request: dict[str, Any]) -> tuple[str, bytes]:
        """Remember a download; the client fetches it by its name."""
        name = f"{parent}/{uuid.uuid4().hex}"
        with self._lock:
            self._downloads[name] = request
            while len(self._downloads) > 1000:
                self._downloads.pop(next(iter(self._downloads)))
        return _json({"name": name})

    def _download_table(self, name: str) -> tuple[str, bytes]:
        """A kept table as a file."""
        kept = self._downloads.get(name)
        if kept is None:
            raise ComputeError(f"Not found: {name}", 404)
        context = self._context()
        form = tables.check_format(kept.get("fileFormat"))
        value = as_collection(context, self._evaluate(kept.get("expression"), context))
        if value is None:
            raise ComputeError("The expression is no collection.")
        return tables.content_type(form), b"".join(tables.lines(iter(value), form, kept.get("selectors"), context))

    def _operation(self, method: str, name: str, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Exports: list, look, cancel."""
        if method == "GET" and name.endswith("/operations"):
            size, start = _page_of(query)
            return _json(self.operations.list(name.removesuffix("/operations"), size, start))
        if method == "GET":
            return _json(self.operations.get(name))
        if method == "POST" and name.endswith(":cancel"):
            return _json(self.operations.cancel(name.removesuffix(":cancel")))
        raise ComputeError(f"Method not found: {method} {name[:200]}", 404)

    # -------------------------------------------------------------------------------------------------------- assets

    def _asset(self, project: str, rest: str, query: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
        name, verb = "", "listAssets"
        if rest.startswith("/assets/"):
            name, _, verb = rest.removeprefix("/assets/").partition(":")
        catalogued = project in ("projects/earthengine-public", "projects/earthengine-legacy")
        asset = name if catalogued else f"{project}/assets/{name}"
        if verb == "":
            return _json(self._describe(asset))
        if verb in ("listAssets", "listImages"):
            return self._list(asset, query, "images" if verb == "listImages" else "assets")
        context = self._context()
        if verb == "getPixels":
            return pixels.answer(context.image(asset), _request(body), context, self.limits)
        if verb == "listFeatures":
            return self._page(iter(context.table(asset)), query, context)
        raise ComputeError(f"Method not found: {verb[:40]}", 404)

    def _describe(self, asset: str) -> dict[str, Any]:
        kind = self.catalog.asset_type(asset)
        scene = self.catalog.image(asset) if kind in ("IMAGE", None) else None
        if scene is not None:
            return _image_asset(scene)
        if kind is None:
            raise ComputeError(f"Asset '{_name(asset)}' not found (does not exist or caller does not have access).",
                               404)
        return {"type": kind, "name": _name(asset), "id": asset, "updateTime": "2026-01-01T00:00:00Z",
                "properties": {}}

    def _list(self, asset: str, query: Mapping[str, str], key: str) -> tuple[str, bytes]:
        kind = self.catalog.asset_type(asset) if asset else "FOLDER"
        if kind is None:
            raise ComputeError(f"Asset '{_name(asset)}' not found (does not exist or caller does not have access).",
                               404)
        size, start = _page_of(query)
        if kind == "IMAGE_COLLECTION":
            scenes = self.catalog.scenes(asset) or []
            entries = [_image_asset(scene) for scene in scenes[start:start + size]]
            total = len(scenes)
        else:
            children = list(self.catalog.children(asset))
            entries = [self._describe(child) for child in children[start:start + size]]
            total = len(children)
        out: dict[str, Any] = {key: entries}
        if start + size < total:
            out["nextPageToken"] = str(start + size)
        return _json(out)


def _name(asset_id: str) -> str:
    """Full resource name of an asset."""
    if re.match(r"projects/[^/]+/assets/", asset_id):
        return asset_id
    return (_LEGACY if asset_id.split("/")[0] in ("projects", "users") else _PUBLIC) + asset_id


def _page_of(request: Mapping[str, Any]) -> tuple[int, int]:
    try:
        size = min(int(request.get("pageSize") or _PAGE), _PAGE)
        start = int(request.get("pageToken") or 0)
    except (TypeError, ValueError):
        raise ComputeError("Invalid page token or size.") from None
    if size < 1 or start < 0:
        raise ComputeError("Invalid page token or size.")
    return size, start


def _request(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ComputeError(f"Invalid JSON payload received. {type(error).__name__}.") from error
    if not isinstance(found, dict):
        raise ComputeError("Invalid JSON payload received: an object was expected.")
    return found


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json; charset=UTF-8", json.dumps(value, allow_nan=False).encode()


def refused(code: int, message: str) -> Answer:
    """An error answer of a door, which the Earth never saw."""
    return _error(ComputeError(message, code))


def _error(error: ComputeError) -> Answer:
    body = {"error": {"code": error.code, "message": error.message, "status": STATUS_NAMES.get(error.code, "UNKNOWN")}}
    return Answer(error.code, {"content-type": "application/json; charset=UTF-8"}, json.dumps(body).encode())


def _image_asset(scene: Scene) -> dict[str, Any]:
    """An image asset as ``getAsset`` shows it."""
    image = image_of(scene)
    precision = {"int": "INT", "float": "FLOAT", "double": "DOUBLE"}
    bands = []
    for spec in scene.bands:
        kind: dict[str, Any] = {"precision": precision[spec.precision]}
        if spec.minimum is not None and spec.maximum is not None:
            kind["range"] = {"min": spec.minimum, "max": spec.maximum}
        names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
        bands.append({"id": spec.id, "dataType": kind, "pyramidingPolicy": spec.pyramid.upper(), "grid": {
            "crsCode": spec.crs, "dimensions": {"width": spec.width, "height": spec.height},
            "affineTransform": dict(zip(names, spec.transform, strict=True))}})
    properties = scene.properties
    out: dict[str, Any] = {"type": "IMAGE", "name": _name(scene.id), "id": scene.id, "bands": bands,
                           "updateTime": "2026-01-01T00:00:00Z",
                           "properties": {k: v for k, v in properties.items() if not k.startswith("system:")}}
    for key, name in (("system:time_start", "startTime"), ("system:time_end", "endTime")):
        if key in properties:
            moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=properties[key])
            out[name] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if image.footprint is not None:
        out["geometry"] = image.footprint.json()
    return out
