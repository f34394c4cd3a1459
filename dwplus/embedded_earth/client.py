"""What the embedded Earth takes from the installed client: the list of functions and the discovery document.

Both ship with the client's tests. Some packagers leave tests out, and then there is no embedded Earth.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

#: Signatures of all functions, and what the client builds its methods from.
ALGORITHMS, DISCOVERY = "algorithms.json", "cloud_api_discovery_document.json"


class ClientFileError(Exception):
    """The client lacks a file that the embedded Earth is made of; the text says which, and what to do."""


def client_file(name: str) -> Path:
    """A file that ships with the client's tests, found without importing the client.

    Raises
    ------
    ClientFileError
        Where the client is not installed.
    """
    found = importlib.util.find_spec("ee")
    if found is None or not found.submodule_search_locations:
        raise ClientFileError("the embedded Earth needs Earth Engine's client: install earthengine-api")
    return Path(found.submodule_search_locations[0]) / "tests" / name


@functools.cache
def client_json(name: str) -> Any:
    """Content of such a file.

    Raises
    ------
    ClientFileError
        Where it is missing or cannot be read.
    """
    path = client_file(name)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise ClientFileError(f"the embedded Earth is made of Earth Engine's client, whose file {path} {what}: install "
                              "earthengine-api from PyPI, which brings it, or give a project") from error


def check_client() -> None:
    """Look whether everything is there.

    Raises
    ------
    ClientFileError
        Where something is not.
    """
    for name in (ALGORITHMS, DISCOVERY):
        client_json(name)
