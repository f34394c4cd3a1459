"""Commands as a user types them, run in this process: a start of its own costs seconds of imports."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

#: Seconds to wait for another process, or for what it does: a few on an idle machine, minutes where twenty others run.
#: Less than the limit of a test (``timeout`` in setup.cfg), so that what hung is said.
PATIENCE = 600


def workers() -> list[psutil.Process]:
    """Worker processes that Dask started from this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # what is dead, other tests' children among them, is none
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def stretched(seconds: float) -> float:
    """What takes so long on an idle machine, given the load of this one."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def here(module: str, *arguments: Any, cwd: str | Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module arguments`` without another process: same entry point, arguments, output and exit code.

    What is about processes (signals, environment, imports, a closed pipe) starts one instead.

    Parameters
    ----------
    module : ``dwplus``, or such as ``pipelines.train``.
    cwd : folder to run it in; None = this one.
    """
    said, complained = io.StringIO(), io.StringIO()
    argv = [module, *map(str, arguments)]
    with (mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(said),
          contextlib.redirect_stderr(complained), contextlib.chdir(cwd or ".")):
        try:
            runpy.run_module(module, run_name="__main__")
            code: Any = 0
        except SystemExit as stop:
            code = stop.code
    if isinstance(code, str):
        complained.write(code)
        code = 1
    return subprocess.CompletedProcess(argv, code or 0, said.getvalue(), complained.getvalue())
