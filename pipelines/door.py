"""``python -m pipelines.NAME`` is the command ``dwplus NAME``: its options are defined there, once."""

from __future__ import annotations

import runpy
import sys


def run_command(name: str) -> None:
    """Run a command of ``dwplus`` with the options of this process; ends the process."""
    sys.argv[1:1] = [name]
    runpy.run_module("dwplus", run_name="__main__", alter_sys=True)
