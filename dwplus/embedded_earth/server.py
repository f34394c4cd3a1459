"""The loopback door: an HTTP server for other clients and other processes."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dwplus.embedded_earth.protocol import Answer, EmbeddedEarth, refused

#: Names under which loopback is reached.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


#: What is read of a refused body: so long for each of so many parts of 64 KiB.
_DRAIN_SECONDS, _DRAIN_PARTS = 1.0, 64


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 300
    server: _HTTPServer

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


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], earth: EmbeddedEarth) -> None:
        super().__init__(address, _Handler)
        self.earth = earth

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are the client's business."""


class Server:
    """A running server on loopback.

    Attributes
    ----------
    url : where it answers.
    """

    def __init__(self, earth: EmbeddedEarth, port: int = 0) -> None:
        self._server = _HTTPServer(("127.0.0.1", port), earth)
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
