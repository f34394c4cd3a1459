"""The embedded Earth is bounded from within, and its server answers programs on this machine only."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from dwplus.embedded_earth import EmbeddedEarth, Limits, context, open_catalog, serve
from dwplus.embedded_earth.functions import lists
from dwplus.embedded_earth.server import Server
from tests.commands import PATIENCE
from tests.unit.embedded_earth import published
from tests.unit.embedded_earth.test_array_functions import call, image

PATH = published.PATH


@pytest.fixture(scope="module")
def earth():
    return EmbeddedEarth(open_catalog(), limits=Limits(per_second=None))


def refusal(earth, values, result):
    start = time.process_time()
    status, found = published.ask(earth, {"result": result, "values": values})
    assert status == 400 and time.process_time() - start < 60
    return found


def again(name, one, other, times, start):
    """A value put together with itself over and over."""
    values = {"0": start}
    for i in range(times):
        values[str(i + 1)] = call(name, **{one: {"valueReference": str(i)}, other: {"valueReference": str(i)}})
    return values, str(times)


def test_texts_that_double(earth):
    assert "memory" in refusal(earth, *again("String.cat", "string1", "string2", 60, {"constantValue": "ab"}))


def test_lists_that_double(earth):
    assert "memory" in refusal(earth, *again("List.cat", "list", "other", 60, {"constantValue": [1, 2]}))


@pytest.fixture
def small(monkeypatch):
    """Limits a test meets in a moment."""
    monkeypatch.setattr(context, "MAX_WRITTEN", 50_000)
    monkeypatch.setattr(lists, "MAX_LIST", 50_000)


@pytest.mark.parametrize("last", [None, "List.flatten"])
def test_lists_in_lists(earth, small, last):
    values, result = again("List.add", "list", "element", 40, {"constantValue": [1]})
    if last:
        values["end"], result = call(last, list={"valueReference": result}), "end"
    assert "memory" in refusal(earth, values, result)


def test_repeats_in_repeats(earth, small):
    inner = call("List.repeat", value=1, count=50_000)
    node = call("List.repeat", value=inner, count=1_000)
    assert "memory" in refusal(earth, {"0": node}, "0")
    assert "memory" in refusal(earth, {"0": call("String", input=node)}, "0")
    long = call("List.repeat", value="x" * 10_000, count=50_000)
    assert "memory" in refusal(earth, {"0": call("List.join", list=long, separator="")}, "0")


def test_whole_numbers_do_not_grow(earth):
    status, found = published.ask(earth, dict(zip(("values", "result"), again(
        "Number.multiply", "left", "right", 40, {"constantValue": 3}), strict=True)))
    assert (status, found) == (200, "Infinity")


@pytest.mark.parametrize("node", [
    call("String.match", input="a" * 5000 + "b", regex="(a+)+$"),
    call("String.replace", input="a" * 5000 + "b", regex="(a|a)*c", replacement=""),
    call("Image.bandNames", image=call("Image.regexpRename", input=image(1), regex="(o*)*x", replacement="")),
    call("Number.format", number=1, pattern="%9d")])
def test_regular_expressions_end(earth, node):
    start = time.process_time()
    published.ask(earth, {"result": "0", "values": {"0": node}})
    assert time.process_time() - start < 10


def test_long_numbers_are_not_written_or_read(earth):
    assert "not supported" in refusal(earth, {"0": call("Number.format", number=1, pattern="%1000000000d")}, "0")
    assert "cannot parse" in refusal(earth, {"0": call("Number.parse", input="9" * 100_000, radix=36)}, "0")


ONE = {"result": "0", "values": {"0": image(1)}}


GRIDS: list[object] = ["x", [1], {"affineTransform": "x"}, {"dimensions": [1]}]
PICTURES: list[object] = ["x", {"ranges": "x"}, {"ranges": ["x"]}]
EXPRESSIONS: list[object] = [
    "x", [], {"result": "0", "values": {"0": {"integerValue": "x"}}}, {"result": "0", "values": {"0": []}},
    {"result": "0", "values": {"0": {"functionInvocationValue": [1]}}},
    {"result": "0", "values": {"0": {"arrayValue": "x"}}}]


@pytest.mark.parametrize("path, request_", [
    *(("image:computePixels", {"expression": ONE, "grid": value, "fileFormat": "NPY"}) for value in GRIDS),
    *(("image:computePixels", {"expression": ONE, "fileFormat": "PNG", "visualizationOptions": value})
      for value in PICTURES),
    *(("value:compute", {"expression": value}) for value in EXPRESSIONS)])
def test_what_is_no_object_is_a_bad_request(earth, path, request_):
    answer = earth.handle("POST", f"/v1/projects/p/{path}", {}, {}, json.dumps(request_).encode())
    assert answer.status == 400, answer.body


# -------------------------------------------------------------------------------------------------------------- server


@pytest.fixture(scope="module")
def server(earth):
    server = serve(earth).start()
    yield server
    server.close()


BODY = json.dumps({"expression": {"result": "0", "values": {"0": {"constantValue": 7}}}}).encode()
JSON = {"Content-Type": "application/json"}


def posted(server, headers, body=BODY, chunked=False):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("POST", PATH, iter([body]) if chunked else body, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("more", [{}, {"Origin": "http://localhost:8888"}, {"Host": "localhost"},
                                  {"Content-Type": "application/json; charset=utf-8"}])
def test_programs_on_this_machine_are_answered(server, more):
    assert posted(server, {**JSON, **more}) == (200, {"result": 7})


@pytest.mark.parametrize("headers, status", [
    ({**JSON, "Host": "evil.example"}, 403), ({**JSON, "Origin": "https://evil.example"}, 403),
    ({**JSON, "Origin": "null"}, 403), ({"Content-Type": "text/plain"}, 415), ({}, 415)])
def test_pages_of_others_are_refused(server, headers, status):
    found, told = posted(server, headers)
    assert found == status and told["error"]["code"] == status and told["error"]["message"]


def test_chunked_bodies_are_refused_in_words(server):
    status, told = posted(server, {**JSON, "Transfer-Encoding": "chunked"}, chunked=True)
    assert status == 411 and "Content-Length" in told["error"]["message"]


def test_many_idle_connections_shut_nobody_out(earth, monkeypatch):
    """More connections than the server has places: who idles longest gives way at once, who sends is served."""
    from dwplus.embedded_earth import server as door

    monkeypatch.setattr(door, "IDLE_SECONDS", 2.0 * PATIENCE)  # none goes by itself while the test runs
    monkeypatch.setattr(door, "WAIT_SECONDS", float(PATIENCE))
    with contextlib.closing(Server(earth, connections=8).start()) as small:
        host, port = small.url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(60)]
        while len(small._server.idle) < 8:
            time.sleep(0.01)
        for _ in range(10):
            connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            connection.request("GET", "/version")
            assert connection.getresponse().status == 200
            connection.close()
        assert threading.active_count() < 40
        for one in idle:
            one.close()


def test_where_all_places_work_the_next_is_refused_in_words(earth):
    with contextlib.closing(Server(earth, connections=4).start()) as small:
        host, port = small.url.removeprefix("http://").split(":")
        half = [socket.create_connection((host, int(port))) for _ in range(4)]
        for one in half:
            one.sendall(b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 9\r\n\r\n")
        answer = asked_until(host, int(port), 503)
        assert answer.headers["Retry-After"] == "1"
        assert "4 connections open already" in json.loads(answer.read())["error"]["message"]
        for one in half:
            one.close()
        asked_until(host, int(port), 200)


def asked_until(host, port, status):
    """The first answer of this status: what was sent before takes effect when its threads get their turn."""
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        connection.request("GET", "/version")
        answer = connection.getresponse()
        if answer.status == status:
            return answer
        assert time.monotonic() < deadline, answer.status
        connection.close()
        time.sleep(0.05)


def test_a_request_that_comes_byte_by_byte_is_given_up(earth, monkeypatch):
    from dwplus.embedded_earth import server as door

    monkeypatch.setattr(door, "READ_SECONDS", 0.5)
    monkeypatch.setattr(door, "IDLE_SECONDS", 0.5)
    with contextlib.closing(Server(earth).start()) as small:
        host, port = small.url.removeprefix("http://").split(":")
        for start in (b"", b"GET /version HTTP/1.1\r\nHost: local"):
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as one:
                one.sendall(start)
                deadline = time.monotonic() + PATIENCE
                with contextlib.suppress(OSError):
                    while True:
                        assert time.monotonic() < deadline, "not given up"
                        one.sendall(b"x" if start else b"")
                        time.sleep(0.05)
                        one.setblocking(False)
                        try:
                            if one.recv(1000) == b"":
                                break
                        except BlockingIOError:
                            pass
                        one.settimeout(PATIENCE)
