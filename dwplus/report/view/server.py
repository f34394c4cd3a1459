"""Serving the page on this machine alone, with scripts that the library brings along: no network is needed."""

from __future__ import annotations

import signal
from collections.abc import Callable

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import bind_sockets
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.routing import HostMatches, Rule, RuleRouter

from dwplus.errors import InputError

#: Names under which a browser of this machine may ask; any other is a page elsewhere that tries.
HOSTS = r"(localhost|127\.0\.0\.1)"


def serve(make: Callable[[Document], None], port: int, announce: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C or SIGTERM.

    Parameters
    ----------
    make : fills a reader's document. port : 0 takes a free one. announce : told the address, once it answers.

    Raises
    ------
    InputError
        Where the port is taken.
    """
    try:
        sockets, port = bind_sockets("127.0.0.1", port)
    except OSError as error:
        raise InputError(f"--port {port}: cannot be listened at ({error.strerror or error}); 0 takes a free one"
                         ) from None
    names = [f"localhost:{port}", f"127.0.0.1:{port}"]
    page = BokehTornado({"/": Application(FunctionHandler(make))}, extra_websocket_origins=names,
                        keep_alive_milliseconds=10_000)
    front = HTTPServer(RuleRouter([Rule(HostMatches(HOSTS), page)]))
    front.add_sockets(sockets)
    server = BaseServer(IOLoop.current(), page, front)
    server.start()
    announce(f"http://127.0.0.1:{port}")
    # Not as exceptions: one that is raised while garbage is collected is swallowed, and the server goes on.
    own = server.io_loop.asyncio_loop
    for number in (signal.SIGINT, signal.SIGTERM):
        own.add_signal_handler(number, server.io_loop.stop)
    try:
        server.io_loop.start()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            own.remove_signal_handler(number)
        server.stop()
        front.stop()
