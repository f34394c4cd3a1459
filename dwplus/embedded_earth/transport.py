"""The in-process door: what the client takes as its HTTP library, without a socket."""

from __future__ import annotations

import urllib.parse
from typing import Any

import httplib2

from dwplus.embedded_earth.protocol import Answer, EmbeddedEarth


class Transport:
    """Answers ``request`` as :class:`httplib2.Http` does."""

    def __init__(self, earth: EmbeddedEarth) -> None:
        self._earth = earth

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None,
                redirections: int = 0, connection_type: Any = None) -> tuple[httplib2.Response, bytes]:
        """One request.

        Raises
        ------
        ConnectionError
            For an injected fault of the connection.
        """
        parts = urllib.parse.urlsplit(uri)
        query = dict(urllib.parse.parse_qsl(parts.query))
        content = body.encode() if isinstance(body, str) else body or b""
        answer = self._earth.handle(method, urllib.parse.unquote(parts.path), query, headers or {}, content)
        return response_of(answer), spoiled(answer)

    def close(self) -> None:
        """Nothing to close."""


def response_of(answer: Answer) -> httplib2.Response:
    """Status and headers as httplib2 gives them."""
    response = httplib2.Response({"status": str(answer.status), **answer.headers})
    response.status = answer.status
    return response


def spoiled(answer: Answer) -> bytes:
    """The body after an injected fault.

    Raises
    ------
    ConnectionError
        Where the connection breaks: dropped, or ended before the announced length.
    """
    kind = answer.fault.kind if answer.fault is not None else ""
    if kind == "drop":
        raise ConnectionResetError("the connection was dropped (injected)")
    if kind == "truncate":
        raise ConnectionError("the answer was cut short (injected)")
    return b"\x00\xff garbage" if kind == "garbage" else answer.body


def http_transport(earth: EmbeddedEarth) -> Transport:
    """The ``http_transport`` argument of ``ee.Initialize``."""
    return Transport(earth)
