"""What stands between a user and the service: stored credentials, and what the service says of a project."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ee
import google.auth.exceptions

from dwplus.earth.session import Session
from dwplus.errors import InputError


def stored_credentials() -> str | None:
    """Which credentials :func:`dwplus.earth.connect` would take for a project; None where there are none.

    Raises
    ------
    InputError
        Where GOOGLE_APPLICATION_CREDENTIALS names a file that is no key.
    """
    key = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if key:
        try:
            google.auth.load_credentials_from_file(key, scopes=ee.oauth.SCOPES)
        except (google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
            raise InputError(f"GOOGLE_APPLICATION_CREDENTIALS {key}: is no usable key "
                             f"({' '.join(str(error).split())})") from error
        return f"key file {key}"
    own = Path(ee.oauth.get_credentials_path())
    try:
        ee.data.get_persistent_credentials()
    except ee.EEException:
        return None
    return str(own) if own.exists() else "application default credentials"


def ping(session: Session) -> float:
    """Seconds that the Earth takes to add one and one.

    Raises
    ------
    EarthError
        Where it does not answer.
    InputError
        Where it answers something else.
    """
    began = time.monotonic()
    answer = session.compute(ee.Number(1).add(1))
    if answer != 2:
        raise InputError(f"{session.description} says that 1 + 1 is {answer}")
    return time.monotonic() - began


def project_config(session: Session) -> dict[str, Any]:
    """What the service says of the session's project: name, registration, batch exports at once."""
    config: dict[str, Any] = session.send(ee.data.getProjectConfig)
    return config
