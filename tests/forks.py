"""Commands in processes of their own that need not import the libraries: one process has done so, and forks.

``python forks.py serve SOCKET`` imports ``LIBRARIES``, none of this project's code, opens nothing and starts no thread;
then each ``python forks.py SOCKET [-m MODULE | -c CODE | - | FILE] ...`` is run by a fork of it, with the folder,
environment, standard streams and exit code of the process that asked, and dies with it. What is about imports, signals
or flags of Python starts a process of its own instead.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from typing import Any

#: What commands spend their first seconds on.
LIBRARIES = ("torch", "ee", "geopandas", "xarray", "rioxarray", "dask.array", "distributed", "zarr", "pyarrow.parquet",
             "matplotlib.figure", "matplotlib.backends.backend_agg", "tensorstore", "safetensors.torch", "obstore",
             "scipy.ndimage", "typer", "rich.progress", "re2", "google.auth.transport.requests", "xxhash")
LARGEST = 1 << 20


def serve(path: str) -> dict[str, Any] | None:
    """Fork for each client until standard input ends; returns in a fork with its job, else None."""
    import gc
    import importlib
    import threading

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    for name in LIBRARIES:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.freeze()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return None
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return keep(client)
        client.close()
        while _reaped():
            pass


def _reaped() -> bool:
    """Whether a fork that has ended was taken note of: its CPU time then counts as ours."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def keep(client: socket.socket) -> dict[str, Any]:
    """Fork once more and stay beside the child: its exit code goes to the client, and it dies when that is gone."""
    message, streams, _, _ = socket.recv_fds(client, LARGEST, 3)
    if not message:
        os._exit(0)
    child = os.fork()
    if child == 0:
        client.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        job: dict[str, Any] = json.loads(message)
        return job
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    watched: list[Any] = [ended, client]
    ready, _, _ = select.select(watched, [], [])
    if ended not in ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if ended in ready:
        client.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def run(job: dict[str, Any]) -> None:
    """What Python does with these arguments."""
    import runpy
    import types

    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    given = [folder for folder in job["env"].get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:1] = [job["cwd"], *given]
    what, *rest = [word for word in job["arguments"] if word != "-u"]
    if what == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what in ("-c", "-"):
        code = rest.pop(0) if what == "-c" else sys.stdin.read()
        sys.argv = [what, *rest]
        sys.path[0] = ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<stdin>" if what == "-" else "<string>", "exec"), main.__dict__)
    else:
        assert not what.startswith("-"), f"{what}: start Python itself"
        sys.argv = [what, *rest]
        sys.path[0] = os.path.dirname(os.path.abspath(what))
        runpy.run_path(what, run_name="__main__")


def ask(path: str, arguments: list[str]) -> int:
    """Have it run; returns the exit code, or dies by the signal that ended it."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(path)
    job = {"cwd": os.getcwd(), "env": dict(os.environ), "arguments": arguments}
    socket.send_fds(server, [json.dumps(job).encode()], [0, 1, 2])
    code = int(server.recv(64) or 1)
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        found = serve(sys.argv[2])
        if found is not None:
            run(found)
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
