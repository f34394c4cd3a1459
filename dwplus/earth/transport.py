"""How bytes reach the Earth Engine client: one pool of connections, bodies read in one piece, everything bounded.

The client's own transport keeps ten connections and reads bodies 10 KiB at a time, which costs about 10 ms of CPU for
every tile of 6.5 MB; this one behaves the same otherwise (same exceptions, same proxies and certificates), but that no
answer may take longer than its time as a whole, be longer than the service's answers are, or come from elsewhere.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable
from typing import Any

import httplib2
import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from dwplus.earth import limits
from dwplus.errors import RefusedError, scrubbed

#: Connections kept open: the service's 40 and some for retries.
CONNECTIONS = 64
#: What every answer says while the service computes with less parallelism for a project whose compute is used up.
#: Source: ee/data.py of the client; https://developers.google.com/earth-engine/guides/noncommercial_tiers
QUOTA_STATUS, RESTRICTED = "x-earth-engine-quota-status", "parallelism_restricted=true"
#: Bytes of the longest answer that is taken, packed or unpacked: twice the service's limit for pixels.
LONGEST_ANSWER = 2 * limits.PIXEL_BYTES
#: Seconds for a connection to come about.
CONNECT_SECONDS = 30.0
#: Bytes read at a time where the length is not said.
PART = 1 << 20
#: Window bits of zlib by Content-Encoding.
_PACKED = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

_request = threading.local()


class _Timed(io.RawIOBase):
    """A socket's bytes, up to the deadline of the request that this thread is at."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inner = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = getattr(_request, "deadline", float("inf")) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer was not whole in time")
        self._connection.settimeout(min(left, threading.TIMEOUT_MAX))
        return self._inner.readinto(buffer)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose headers and body keep to the deadline: a server that sends a byte now and then is never silent,
    and a timeout of silence alone would wait for it for ever."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _SecureConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Connections of ours, with and without a proxy."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


class Transport:
    """An ``httplib2.Http`` look-alike over one requests session.

    Parameters
    ----------
    timeout : seconds within which an answer must be there, whole.
    longest : bytes of the longest answer that is taken.
    """

    def __init__(self, timeout: float, longest: int = LONGEST_ANSWER) -> None:
        self._timeout, self._longest = timeout, longest
        self._session = requests.Session()
        # The environment's proxies and certificates, read once instead of with every request.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._session.headers["Accept-Encoding"] = "gzip, deflate"
        self._proxies: dict[str, dict[str, str]] = {}
        adapter = _Adapter(pool_connections=8, pool_maxsize=CONNECTIONS, max_retries=0)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None,
                redirections: int | None = None, connection_type: Any = None) -> tuple[httplib2.Response, bytes]:
        """Send a request.

        Raises
        ------
        ConnectionError, TimeoutError
            As the client expects of a transport: no connection, an answer cut short, too long, or not whole in time.
        RefusedError
            Where the answer is a redirection: requests and their credentials go nowhere else.
        """
        host = urllib.parse.urlsplit(uri).netloc
        if host not in self._proxies:
            self._proxies[host] = dict(requests.utils.get_environ_proxies(uri))
        _request.deadline = time.monotonic() + self._timeout
        try:
            with self._session.request(method, uri, data=body, headers=headers, stream=True, allow_redirects=False,
                                       timeout=(min(CONNECT_SECONDS, self._timeout), self._timeout),
                                       proxies=self._proxies[host]) as answer:
                if "location" in answer.headers and 300 <= answer.status_code < 400:
                    target = urllib.parse.urlsplit(answer.headers["location"]).netloc or host
                    raise RefusedError(f"the server at {scrubbed(f'//{host}')[2:]} redirects to {target[:200]}, and "
                                       "requests are not sent on; give the address at which Earth Engine itself "
                                       "answers")
                content = self._body(answer)
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise TimeoutError(f"no whole answer within {self._timeout:g} s") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException,
                zlib.error) as error:
            raise ConnectionError(error) from error
        return httplib2.Response({**answer.headers, "status": answer.status_code}), content

    def _body(self, answer: requests.Response) -> bytes:
        """The body, unpacked; at most the longest that is taken."""
        said = answer.headers.get("content-length", "")
        if said.isdigit():
            if int(said) > self._longest:
                raise ConnectionError(f"the answer says it has {said} bytes; {self._longest} is the most taken")
            content = answer.raw.read(decode_content=False)
        else:
            parts, length = [], 0
            while part := answer.raw.read(PART, decode_content=False):
                parts.append(part)
                length += len(part)
                if length > self._longest:
                    raise ConnectionError(f"the answer has more than {self._longest} bytes")
            content = b"".join(parts)
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return bytes(content)
        if encoding not in _PACKED:
            raise ConnectionError(f"the answer is packed as {encoding[:40]!r}, which nobody asked for")
        return self._unpacked(content, _PACKED[encoding])

    def _unpacked(self, content: bytes, bits: int) -> bytes:
        """gzip or deflate, at most the longest that is taken: a small answer may unpack to a thousand times its size.
        """
        parts, left = [], self._longest + 1
        while content:
            unpacker = zlib.decompressobj(bits)
            parts.append(unpacker.decompress(content, left))
            left -= len(parts[-1])
            if left <= 0:
                raise ConnectionError(f"the answer has more than {self._longest} bytes when it is unpacked")
            if not unpacker.eof:
                raise ConnectionError("the packed answer was cut short")
            content = unpacker.unused_data
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class Watched:
    """A transport whose answers are looked at for the project's restricted mode.

    Parameters
    ----------
    inner : what sends the requests.
    tell : told of each answer whether it says so. The client would print a warning of many lines each time, which it
        does not where it sees no such header: the run says it in its own words.
    """

    def __init__(self, inner: Any, tell: Callable[[bool], None]) -> None:
        self._inner, self._tell = inner, tell

    def request(self, *arguments: Any, **more: Any) -> tuple[httplib2.Response, bytes]:
        """As the transport within."""
        response, content = self._inner.request(*arguments, **more)
        self._tell(RESTRICTED in response.pop(QUOTA_STATUS, ""))
        return response, content

    def close(self) -> None:
        """As the transport within."""
        self._inner.close()
