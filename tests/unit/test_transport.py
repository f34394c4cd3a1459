"""Slow and strange servers: every answer is bounded in time and size, and nothing is sent elsewhere."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
import zlib

import pytest

from dwplus.earth.transport import Transport
from dwplus.errors import RefusedError
from tests.commands import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Strange:
    """A server on loopback that answers each connection by a function of the socket."""

    def __init__(self, answer):
        self.answer, self.seen = answer, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1/projects/x/value:compute"
        self.closing = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                request = b""
                while data := connection.recv(65536):
                    request += data
                    if request.endswith(b"\r\n\r\n{}"):  # the body of every request here
                        self.seen.append(request)
                        request = b""
                        self.answer(self, connection)
            except OSError:
                return  # the client had enough

    def close(self):
        self.closing.set()
        self.listener.close()


@pytest.fixture
def strange():
    opened = []

    def make(answer):
        opened.append(Strange(answer))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


def drip(server, connection, text=OK + b"Content-Length: 100000\r\n\r\n"):
    connection.sendall(text)
    while not server.closing.wait(0.05):
        connection.sendall(b"x")


def drip_headers(server, connection):
    drip(server, connection, b"HTTP/1.1 200 OK\r\nX-Long: ")


def stall(server, connection):
    connection.sendall(OK + b"Content-Length: 10\r\n\r\nabc")
    server.closing.wait(PATIENCE)


def silence(server, connection):
    server.closing.wait(PATIENCE)


def chunks_that_do_not_end(server, connection):
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while not server.closing.wait(0.02):
        connection.sendall(b"3\r\nabc\r\n")


@pytest.mark.parametrize("answer", [drip, drip_headers, stall, silence, chunks_that_do_not_end])
def test_an_answer_that_does_not_end_is_given_up_in_time(strange, answer):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no whole answer within 1 s"):
        Transport(1.0).request(strange(answer).url, "POST", "{}")
    assert 0.9 < time.monotonic() - began < PATIENCE / 2


def endless(server, connection):
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    part = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    while not server.closing.is_set():
        connection.sendall(part)


def endless_to_the_close(server, connection):
    connection.sendall(OK + b"Connection: close\r\n\r\n")
    while not server.closing.is_set():
        connection.sendall(bytes(1 << 16))


def announced(server, connection):
    connection.sendall(OK + b"Content-Length: 99999999999\r\n\r\n")
    while not server.closing.is_set():
        connection.sendall(bytes(1 << 16))


def bomb(server, connection):
    packed = gzip.compress(bytes(64 << 20))
    assert len(packed) < 1 << 17
    connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


def bombs_in_a_row(server, connection):
    packed = gzip.compress(bytes(1 << 20)) * 64
    connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


def deflated_bomb(server, connection):
    packed = zlib.compress(bytes(64 << 20))
    connection.sendall(OK + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


@pytest.mark.parametrize("answer", [endless, endless_to_the_close, announced, bomb, bombs_in_a_row, deflated_bomb])
def test_an_answer_that_is_too_long_is_given_up_in_little_memory(strange, answer):
    server, transport = strange(answer), Transport(20.0, longest=4 << 20)
    tracemalloc.start()
    began = time.monotonic()
    try:
        with pytest.raises(ConnectionError, match="bytes"):
            transport.request(server.url, "POST", "{}")
        # The bomb itself is made in this process, by the server.
        most = tracemalloc.get_traced_memory()[1] - (64 << 20) * (answer in (bomb, deflated_bomb))
    finally:
        tracemalloc.stop()
    assert most < 32 << 20 and time.monotonic() - began < 10


def elsewhere(server, connection):
    connection.sendall(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %b/x\r\nContent-Length: 0\r\n\r\n" % server.other)


def test_a_redirection_is_not_followed(strange):
    other, server = strange(silence), strange(elsewhere)
    server.other = other.url.encode()
    with pytest.raises(RefusedError, match="redirects to 127.0.0.1:.*not sent on"):
        Transport(5.0).request(server.url, "POST", "{}", {"Authorization": "Bearer x"})
    assert server.seen and not other.seen


def short(server, connection):
    connection.sendall(OK + b"Content-Length: 100\r\n\r\nabc")
    connection.shutdown(socket.SHUT_RDWR)


def long(server, connection):
    connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}and more")


def no_length(server, connection):
    connection.sendall(OK + b"Content-Length: many\r\nConnection: close\r\n\r\n{}")
    connection.shutdown(socket.SHUT_RDWR)


def cut(server, connection):
    packed = gzip.compress(b"{}" * 1000)[:-9]
    connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


def no_gzip(server, connection):
    connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nno gzip!")


def other_packing(server, connection):
    connection.sendall(OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}")


def no_http(server, connection):
    connection.sendall(b"220 mail.example ESMTP\r\n")
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [short, cut, no_gzip, other_packing, no_http])
def test_an_answer_that_is_broken_is_an_error_of_the_connection(strange, answer):
    with pytest.raises(ConnectionError):
        Transport(5.0).request(strange(answer).url, "POST", "{}")


def test_an_answer_longer_than_it_says_spoils_no_other(strange):
    server, transport, got = strange(long), Transport(5.0), []
    for _ in range(6):
        try:
            got.append(transport.request(server.url, "POST", "{}")[1])
        except ConnectionError:
            continue  # said, and tried again by the limiter
    assert len(got) >= 3 and set(got) == {b"{}"}


def test_what_is_well_comes_whole(strange):
    body = bytes(range(256)) * 40_000

    def well(server, connection):
        packed = gzip.compress(body, 1) if b"gzip" in server.seen[-1] else body
        if len(server.seen) % 2:
            connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
            return
        connection.sendall(OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(packed), 100_000):
            part = packed[start:start + 100_000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")

    server, transport = strange(well), Transport(20.0)
    for _ in range(4):
        answer, content = transport.request(server.url, "POST", "{}", {"accept-encoding": "gzip"})
        assert answer.status == 200 and content == body
    assert len(server.seen) == 4
    transport.close()
