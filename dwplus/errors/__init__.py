"""What can go wrong, as types. Every message is one sentence: what is wrong, where, and what would be right.

All of them pickle whole: what a worker process raises, its caller sees.
"""

from __future__ import annotations

import os
import re
from typing import Any

#: Put where a secret stood.
HIDDEN = "***"
#: Environment variables whose values are secrets, or say where one lies.
SECRET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_API_KEY",
                    "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN", "OPENAI_API_KEY")
_NAMES = (r"(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?secret|"
          r"authorization)")
_IN_URLS = rf"(?:{_NAMES}|key|pw|sig|signature|credential|awsaccesskeyid|x-(?:amz|goog)-[a-z-]+)"
#: What a secret looks like, and what is left of it.
_SECRETS = (
    # A user and a password within a URL: all up to the last @ before the path.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/?#\s'\"<>]*@", re.I), rf"\g<1>{HIDDEN}@"),
    (re.compile(rf"([?&;]{_IN_URLS}=)[^&#\s'\"<>]+", re.I), rf"\g<1>{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\g<1> {HIDDEN}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.S), HIDDEN),
    # name=value, "name": "value" and --name value, as configurations and command lines have them.
    (re.compile(rf"(\b[\w-]*{_NAMES}[\w-]*[\"']?\s*[:=]\s*[\"']?)(?!bearer|basic|[*])[^\s\"',;&]{{6,}}",
                re.I), rf"\g<1>{HIDDEN}"),
    (re.compile(rf"(--{_NAMES}[ =])\S+", re.I), rf"\g<1>{HIDDEN}"),
    # Keys and tokens by their form: Google's, Amazon's, signed web tokens.
    (re.compile(r"\b(?:AIza[\w-]{30,}|ya29\.[\w.-]{10,}|1//[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|"
                r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|gh[pousr]_\w{20,}|hf_\w{20,}|sk-[\w-]{20,})"), HIDDEN),
)


def scrubbed(text: str) -> str:
    """A text without secrets: passwords in URLs, keys, tokens, and the place of an account's file.

    The one function for messages, logs, plans and stores; what is not a secret stays letter by letter.
    """
    for name in SECRET_VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= 6 and value in text:
            text = text.replace(value, f"${name}")
    if not any(sign in text for sign in ":=-._/ "):
        return text
    for pattern, left in _SECRETS:
        text = pattern.sub(left, text)
    return text


def scrubbed_values(value: Any) -> Any:
    """What is about to be kept as JSON, without secrets in any of its texts."""
    if isinstance(value, dict):
        return {key: scrubbed_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed_values(inner) for inner in value]
    return scrubbed(value) if isinstance(value, str) else value


class DwplusError(Exception):
    """Root of the project's own errors; ``exit_code`` is what the command line answers with. No secret is in its
    words."""

    exit_code = 1

    def __str__(self) -> str:
        return scrubbed(super().__str__())


class InputError(DwplusError):
    """The user's input cannot be worked with: a spec, a region, a plan, a store, credentials."""

    exit_code = 2


class EmptySplitError(InputError):
    """A store has no tile that could be used in a split."""


class EarthError(DwplusError):
    """Earth Engine refused or failed; the message keeps the server's words."""


class TransientError(EarthError):
    """May pass by itself: too many requests, a server error, a dropped or cut-off answer.

    Attributes
    ----------
    throttled : the service asked for fewer requests (429).
    retry_after : seconds the service asked to wait (``Retry-After``), None where it did not say.
    """

    def __init__(self, message: str, *, throttled: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.throttled, self.retry_after = throttled, retry_after


#: Its name until version 0.1; goes with version 0.3.
HealingError = TransientError


class TooLargeError(EarthError):
    """The request asked for too much at once: split it."""


class RefusedError(EarthError):
    """The request itself is wrong or its asset is gone: asking again does not help."""


class AssetGoneError(RefusedError):
    """An asset that was asked for is not there, or no longer.

    Attributes
    ----------
    asset : its id; empty where the service did not say.
    """

    def __init__(self, message: str, *, asset: str = "") -> None:
        super().__init__(message)
        self.asset = asset


class RejectedError(DwplusError):
    """A scene that cannot be used; the message is ``<reason>: <words>``, see :mod:`dwplus.errors.reasons`."""


class StopError(DwplusError):
    """The run must stop; what is exported stays, and the same command goes on once the cause is gone."""


class SchedulerLostError(StopError):
    """The Dask scheduler that handed out the work is gone."""


class AccessError(StopError, EarthError):
    """No access: credentials, project or quota. The run must stop."""
