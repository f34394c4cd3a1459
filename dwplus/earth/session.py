"""Connecting: to the service with a project, else to the embedded Earth. One session per process, as in the client."""

from __future__ import annotations

import json
import os
import queue
import threading
import urllib.parse
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import ee
import ee.deprecation
import google.auth.exceptions
from google.auth.credentials import AnonymousCredentials

from dwplus.earth import limits
from dwplus.earth.errors import classify, lacks_credentials
from dwplus.earth.limiter import Lane, Limiter
from dwplus.earth.transport import Transport, Watched
from dwplus.errors import DwplusError, InputError, scrubbed
from dwplus.taxonomy import BIOMES, CLASSES

T = TypeVar("T")

#: Project name sent to an embedded Earth, which asks for none.
EMBEDDED_PROJECT = "embedded-earth"
#: Seconds more than the service works on a request that we wait for its answer.
GRACE_SECONDS = 30
#: Seconds for a running embedded Earth to say its version.
VERSION_SECONDS = 5


@dataclass(frozen=True)
class EarthConfig:
    """How to reach an Earth; picklable, so that every worker process connects by itself.

    Attributes
    ----------
    project : Google Cloud project; None for an embedded Earth.
    world : an asset tree's folder or the URL of a running embedded Earth; None for the sample planet.
    seed : seed of the sample planet.
    concurrency, per_second : requests in flight and started per second, of all processes of a run together.
    workload : tag by which the service accounts for the requests; empty for none.
    """

    project: str | None = None
    world: str | None = None
    seed: int = 0
    concurrency: int = limits.CONCURRENT_REQUESTS
    per_second: float = limits.REQUESTS_PER_SECOND
    workload: str = field(default="", compare=False)

    @property
    def remote(self) -> bool:
        """Whether the Earth computes elsewhere, not in this process."""
        return self.project is not None or (self.world is not None and "://" in self.world)


class Cores:
    """A semaphore. Those of the standard library are written in Python, and each handing over wakes threads twice."""

    def __init__(self, number: int) -> None:
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def __enter__(self) -> None:
        self._free.get()

    def __exit__(self, *_: object) -> None:
        self._free.put(None)


@dataclass
class Session:
    """A connected Earth: its description for people, and the limiter and pools everything goes through.

    Attributes
    ----------
    limiter : for requests.
    cpu : for decoding and compressing, which are bounded apart from requests: as many at once as there are cores.
    version : of an embedded Earth, what decides its pixels, such as ``planet 2``; empty for the service, whose archive
        has none, and where a server does not say it.
    largest : the largest request (pixels) the service could work, by kind of image; learned from its refusals.
    """

    config: EarthConfig
    description: str
    limiter: Limiter = field(default_factory=Limiter)
    cpu: Cores = field(default_factory=lambda: Cores(os.cpu_count() or 1))
    largest: dict[Hashable, int] = field(default_factory=dict)
    version: str = ""

    def send(self, request: Callable[[], T], lane: Lane = "metadata") -> T:
        """Send one request through the limiter."""
        return self.limiter.send(request, lane)

    def compute(self, value: Any) -> Any:
        """``getInfo`` of an Earth Engine object through the limiter."""
        return self.send(lambda: ee.data.computeValue(value))


_lock = threading.Lock()
_current: Session | None = None


def connect(project: str | None = None, world: str | os.PathLike[str] | None = None, *, seed: int = 0,
            concurrency: int = limits.CONCURRENT_REQUESTS) -> Session:
    """Connect this process to an Earth; a second call with the same arguments returns the same session.

    Parameters
    ----------
    project : Google Cloud project with Earth Engine: the service's high-volume endpoint, with the user's stored
        credentials or a service account (GOOGLE_APPLICATION_CREDENTIALS).
    world : without a project: a folder with an asset tree, or the URL of a running embedded Earth. Neither: the
        procedural sample planet.
    seed : seed of the sample planet.
    concurrency : requests in flight at most.

    Raises
    ------
    InputError
        Both given, no credentials, a folder that is no asset tree, a URL that does not answer.
    """
    return connect_config(EarthConfig(project or None, None if not world else str(world), seed, concurrency))


def connect_config(config: EarthConfig) -> Session:
    """:func:`connect` from a config."""
    global _current
    with _lock:
        if _current is not None and _current.config == config:
            ee.data.setDefaultWorkloadTag(config.workload)
            return _current
        if _current is not None:
            ee.Reset()
            _current = None
        if config.project and config.world:
            raise InputError("a project and a world were given: --project is the service, --world an embedded Earth; "
                             "give one")
        limiter = Limiter(config.concurrency, config.per_second)
        if config.project:
            description, version = _connect_service(config.project, limiter), ""
        elif config.world and "://" in config.world:
            description, version = _connect_url(config.world, limiter), _version_at(config.world)
        else:
            description, version = _connect_embedded(config, limiter)
        # The project's own limiter is the only one that retries: two loops would multiply.
        ee.data.setMaxRetries(0)
        ee.data.setDeadline(limits.REQUEST_SECONDS * 1000)
        ee.data.setDefaultWorkloadTag(config.workload)
        _current = Session(config, description, limiter, version=version)
        return _current


def _connect_service(project: str, limiter: Limiter) -> str:
    key = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    try:
        credentials: Any = "persistent"
        if key:
            credentials, _ = google.auth.load_credentials_from_file(key, scopes=ee.oauth.SCOPES)
        ee.Initialize(credentials, project=project, url=ee.data.HIGH_VOLUME_API_BASE_URL,
                      http_transport=Watched(Transport(limits.REQUEST_SECONDS + GRACE_SECONDS), limiter.restricted_by))
    except (ee.EEException, google.auth.exceptions.GoogleAuthError, OSError) as error:
        words = " ".join(str(error).split())
        if lacks_credentials(error):
            raise InputError(f"no Earth Engine credentials for project {project!r}: run `earthengine authenticate`, or "
                             "point GOOGLE_APPLICATION_CREDENTIALS at a service account's key, or leave EE_PROJECT "
                             "empty for the embedded Earth") from error
        raise InputError(f"Earth Engine did not accept project {project!r}: {words}") from error
    return f"Earth Engine, project {project} (high-volume endpoint)"


def _quiet_start() -> None:
    # A non-empty table keeps the client from fetching its list of deprecated assets from the internet.
    if not ee.deprecation.deprecated_assets:
        ee.deprecation.deprecated_assets = {"-": None}  # type: ignore[dict-item]


def _connect_url(url: str, limiter: Limiter) -> str:
    host = urllib.parse.urlsplit(url).hostname or ""
    for name in ("no_proxy", "NO_PROXY"):  # a proxy for the internet must not see loopback traffic
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), host]))
    _quiet_start()
    try:
        ee.Initialize(AnonymousCredentials(), project=EMBEDDED_PROJECT, url=url,
                      http_transport=Watched(Transport(limits.REQUEST_SECONDS + GRACE_SECONDS), limiter.restricted_by))
    except Exception as error:
        raise InputError(f"no embedded Earth answers at {scrubbed(url)} ({classify(error)}); start one with "
                         "`dwplus earth serve`") from error
    return f"embedded Earth at {scrubbed(url)}"


def _version_at(url: str) -> str:
    """What a running embedded Earth says of itself; nothing where it does not: another program, or an earlier build."""
    try:
        answer, content = Transport(VERSION_SECONDS, 1 << 16).request(f"{url.rstrip('/')}/version")
        found = json.loads(content)["version"] if answer.status == 200 else ""
    except (DwplusError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(found)[:80]


def _connect_embedded(config: EarthConfig, limiter: Limiter) -> tuple[str, str]:
    earth = embedded_earth(config.world, config.seed)
    from dwplus.embedded_earth import http_transport

    _quiet_start()
    ee.Initialize(AnonymousCredentials(), project=EMBEDDED_PROJECT, url="http://embedded.earth",
                  http_transport=Watched(http_transport(earth), limiter.restricted_by))
    return f"embedded Earth, {earth.catalog.describe()}", str(getattr(earth.catalog, "version", ""))


def embedded_earth(world: str | None, seed: int = 0, **options: Any) -> Any:
    """An embedded Earth over an asset tree, or over the sample planet.

    Parameters
    ----------
    world : folder of an asset tree; None for the planet.
    seed : seed of the planet.
    options : passed on to :class:`dwplus.embedded_earth.EmbeddedEarth` (limits, latency_s, faults).

    Raises
    ------
    InputError
        Where the folder is no asset tree, or the client comes without the files that the embedded Earth is made of.
    """
    from dwplus.embedded_earth import EmbeddedEarth, open_catalog

    check_embedded()
    try:
        catalog = open_catalog(None if world is None else Path(world), seed, classes=CLASSES, biomes=BIOMES)
    except (ValueError, OSError) as error:
        raise InputError(f"world {world}: {error}") from error
    return EmbeddedEarth(catalog, **options)


def check_embedded() -> None:
    """Look whether an embedded Earth can be made here.

    Raises
    ------
    InputError
        Where the client comes without the files that it is made of.
    """
    from dwplus.embedded_earth import ClientFileError, check_client

    try:
        check_client()
    except ClientFileError as error:
        raise InputError(str(error)) from error


def embedded_functions() -> tuple[list[str], list[str]]:
    """Names of the service's functions that the embedded Earth supports, and of those it lacks."""
    from dwplus.embedded_earth.functions import missing, supported

    return supported(), missing()


class PlanetSite(NamedTuple):
    """A square of ground of the sample planet: its name, centre in degrees, biome (1..14) and ecoregion."""

    name: str
    lon: float
    lat: float
    biome: int
    ecoregion: str


def planet_sites() -> tuple[list[PlanetSite], float]:
    """The sample planet's sites, and their side in m."""
    from dwplus.embedded_earth.planet import sites

    found = (*sites.SITES, *getattr(sites, "MORE_SITES", ()))
    return [PlanetSite(s.name, s.lon, s.lat, s.biome, s.ecoregion) for s in found], sites.SITE_SIZE


def serve_embedded(world: str | None, *, port: int = 0, latency_s: float = 0.0, fault_rate: float = 0.0, seed: int = 0,
                   faults: Sequence[str] = (), limits: Sequence[str] = (),
                   announce: Callable[[str], None] = print) -> None:
    """Serve an embedded Earth on loopback until interrupted; announces the URL first, then what it is.

    Raises
    ------
    InputError
        Where the folder is no asset tree, the port is taken, or a fault or limit is none.
    """
    from dwplus.embedded_earth import Faults, parse_fault, parse_limits, random_faults, serve

    try:
        given = [parse_fault(text) for text in faults]
        kept = parse_limits(limits)
    except ValueError as error:
        raise InputError(str(error)) from error
    trouble = random_faults(fault_rate, seed)
    earth = embedded_earth(world, seed, latency_s=latency_s, faults=Faults([*given, *trouble.faults], seed),
                           limits=kept)
    try:
        server = serve(earth, port)
    except OSError as error:
        raise InputError(f"port {port}: {error.strerror or error}") from error
    announce(server.url)
    announce(earth.catalog.describe())
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.close()
