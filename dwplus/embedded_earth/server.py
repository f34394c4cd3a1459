"""The loopback door: an HTTP server for other clients and other processes."""

from __future__ import annotations

import collections
import contextlib
import errno
import io
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dwplus.embedded_earth.protocol import Answer, EmbeddedEarth, refused

try:
    import resource
except ImportError:  # no such thing on Windows
    resource = None  # type: ignore[assignment]

#: Names under which loopback is reached.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


#: What is read of a refused body: so long for each of so many parts of 64 KiB.
_DRAIN_SECONDS, _DRAIN_PARTS = 1.0, 64
#: Connections open at once; each is a thread and a file. The service's clients keep 40 and some for retries.
CONNECTIONS = 256
#: Files of this process left free for whatever else it opens.
_SPARE_FILES = 64
#: Seconds without a request after which a connection is closed; within which a request, its body included, must be read
#: whole; and within which an answer must be taken.
IDLE_SECONDS, READ_SECONDS, WRITE_SECONDS = 60.0, 60.0, 120.0
#: Seconds for an idle connection's thread to end when its place is wanted; refused connections kept open to be read.
WAIT_SECONDS, REFUSED = 0.2, 32


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = IDLE_SECONDS
    server: _HTTPServer

    def setup(self) -> None:
        """Read through a clock: a request that comes byte by byte keeps no thread for ever."""
        super().setup()
        self.clock = _Clock(self.connection)
        self.rfile = io.BufferedReader(self.clock)

    def handle_one_request(self) -> None:
        """One request: waited for as long as a connection may idle, then read within its time."""
        self.clock.wait(IDLE_SECONDS)
        self.server.idles(self.connection, True)
        try:
            super().handle_one_request()
        finally:
            self.server.idles(self.connection, False)

    def parse_request(self) -> bool:
        """The first line has come: the rest must follow."""
        self.server.idles(self.connection, False)
        self.clock.wait(READ_SECONDS)
        return super().parse_request()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silence: the server's output is its URL."""

    def _refusal(self) -> tuple[int, str] | None:
        """Status and reason where a request is not for this server, or cannot be read.

        Pages of other sites reach loopback through a browser: under a name of theirs (Host), with theirs as Origin,
        or with a form, whose content is no JSON.
        """
        if urllib.parse.urlsplit(f"//{self.headers.get('Host', 'localhost')}").hostname not in _LOOPBACK:
            return 403, "The Host header must name the loopback address."
        origin = self.headers.get("Origin")
        if origin and urllib.parse.urlsplit(origin).hostname not in _LOOPBACK:
            return 403, "Requests from pages of other hosts are refused."
        if self.headers.get("Transfer-Encoding"):
            return 411, "Chunked bodies are not understood: give a Content-Length."
        kind = (self.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if self.headers.get("Content-Length", "0") != "0" and kind != "application/json":
            return 415, "The body must be application/json."
        return None

    def _drain(self) -> None:
        """Read on a little while: a connection that is closed under a client's hands loses the answer."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DRAIN_SECONDS)
            for _ in range(_DRAIN_PARTS):
                if not self.connection.recv(1 << 16):
                    return

    def _answer(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self.close_connection = True
            self._send(refused(*refusal))
            self._drain()
            return
        parts = urllib.parse.urlsplit(self.path)
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        earth = self.server.earth
        if not 0 <= length <= 2 * earth.limits.payload_bytes:
            self.close_connection = True
            self.send_error(413 if length > 0 else 400)
            return
        body = self.rfile.read(length) if length else b""
        answer = earth.handle(self.command, urllib.parse.unquote(parts.path), dict(urllib.parse.parse_qsl(parts.query)),
                              dict(self.headers.items()), body)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        kind = answer.fault.kind if answer.fault is not None else ""
        if kind == "drop":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = b"\x00\xff garbage" if kind == "garbage" else answer.body
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if kind == "truncate":
            content = content[:len(content) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
                self.wfile.write(content)
                self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = _answer


class _Clock(io.RawIOBase):
    """A connection's bytes, up to a moment."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inner = connection.makefile("rb", buffering=0)
        self.wait(IDLE_SECONDS)

    def wait(self, seconds: float) -> None:
        """From now on, so long."""
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Some bytes; TimeoutError past the moment."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            return self._inner.readinto(buffer)
        finally:
            self._connection.settimeout(WRITE_SECONDS)

    def close(self) -> None:
        """The file; the connection is the handler's."""
        self._inner.close()
        super().close()


#: What a connection too many is told, before it is closed.
_BUSY = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=UTF-8\r\nRetry-After: 1\r\n"
         b"Connection: close\r\nContent-Length: %d\r\n\r\n%s")


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], earth: EmbeddedEarth, connections: int) -> None:
        super().__init__(address, _Handler)
        self.earth = earth
        self.places = threading.BoundedSemaphore(connections)
        self.lock = threading.Lock()
        self.idle: dict[int, socket.socket] = {}
        self.refused: collections.deque[tuple[float, Any]] = collections.deque()
        body = refused(503, f"The server has {connections} connections open already: close some, or try again.").body
        self.busy = _BUSY % (len(body), body)

    def idles(self, connection: socket.socket, idle: bool) -> None:
        """Note that a connection waits for a request, or no longer does."""
        with self.lock:
            self.idle.pop(id(connection), None)
            if idle:
                self.idle[id(connection)] = connection

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for a connection where there is a place, that of the one that idles longest included; otherwise a
        refusal, at once."""
        placed = self.places.acquire(blocking=False) or (
            self.dismiss() and self.places.acquire(timeout=WAIT_SECONDS))
        if not placed:
            self.refuse(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no thread left
            self.places.release()
            self.refuse(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the connection's thread; its place is free afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def dismiss(self) -> bool:
        """End the connection that idles longest; whether there was one."""
        with self.lock:
            if not self.idle:
                return False
            connection = self.idle.pop(next(iter(self.idle)))
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # its thread wakes, and frees the place
        return True

    def refuse(self, request: Any) -> None:
        """Say that there is no place, without waiting for anybody; closed a little later, since who still sends would
        lose the answer otherwise."""
        with contextlib.suppress(OSError):
            request.settimeout(0)
            request.send(self.busy)
            request.shutdown(socket.SHUT_WR)
        self.refused.append((time.monotonic(), request))
        while len(self.refused) > REFUSED:
            self.shutdown_request(self.refused.popleft()[1])

    def service_actions(self) -> None:
        """Twice a second: close what was refused a while ago."""
        while self.refused and time.monotonic() - self.refused[0][0] > 1:
            self.shutdown_request(self.refused.popleft()[1])

    def server_close(self) -> None:
        """The port, and what was refused."""
        while self.refused:
            self.shutdown_request(self.refused.popleft()[1])
        super().server_close()

    def get_request(self) -> Any:
        """A new connection. Where the process has no file left, wait a little: those that idle are closed in time, and
        a loop that comes back at once would take a core meanwhile."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(0.1)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are the client's business."""


def _affordable() -> int:
    """Connections for which this process may open files, :data:`_SPARE_FILES` left."""
    if resource is None:
        return CONNECTIONS
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS if most == resource.RLIM_INFINITY else max(1, most - _SPARE_FILES)


class Server:
    """A running server on loopback.

    Attributes
    ----------
    url : where it answers.
    """

    def __init__(self, earth: EmbeddedEarth, port: int = 0, connections: int = CONNECTIONS) -> None:
        self._server = _HTTPServer(("127.0.0.1", port), earth, min(connections, _affordable()))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread: threading.Thread | None = None

    def start(self) -> Server:
        """Serve in a thread of this process."""
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name="embedded-earth")
        self._thread.start()
        return self

    def serve_forever(self) -> None:
        """Serve until interrupted."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop, and free the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def serve(earth: EmbeddedEarth, port: int = 0) -> Server:
    """A server bound to a port of loopback (0: any free one); not yet serving.

    Raises
    ------
    OSError
        Where the port is taken.
    """
    return Server(earth, port)
