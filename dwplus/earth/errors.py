"""Sorting what the client raises into what to do about it: try again, shrink, refuse or stop."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from typing import Any

import ee
import google.auth.exceptions

from dwplus.errors import (
    AccessError,
    AssetGoneError,
    DwplusError,
    EarthError,
    RefusedError,
    TooLargeError,
    TransientError,
)

#: Shrink: the service's words for "too much at once"; waiting does not help. Whether "too many concurrent
#: aggregations", those within one request, comes as a 400 or a 429 is not published. Source: users' reports.
_TOO_LARGE = ("user memory limit exceeded", "computation timed out", "total request size", "pixel grid dimensions",
              "over 5000 elements", "too many pixels", "request payload size exceeds",
              "too many concurrent aggregations", "output of image computation is too large",
              "computed value is too large", "object too large", "too many edges")
#: Try again: the service itself is short of memory, whatever the code.
_LOADED = ("earth engine memory capacity exceeded",)
#: Stop: a quota that does not come back within minutes, or a project that may not use the service.
_QUOTA_GONE = ("eecu", "monthly", "per month", "per day", "daily", "compute quota", "billing")
_NO_PROJECT = ("serviceusage", "has not been used in project", "is disabled", "is not registered", "not signed up")
#: Try again: a 403 that is a rate limit by another name.
_RATE = ("ratelimitexceeded", "rate limit", "per minute", "per second", "per 100 seconds")
#: Refused because an asset is not there; the service quotes its id.
_GONE = re.compile(r"\b(?:asset|image|collection|table|entity)\b.*\b(?:not found|does not exist)", re.I | re.S)
_QUOTED = re.compile(r"'([^']+)'")
#: Longest pause taken from a Retry-After header, s.
LONGEST_RETRY_AFTER = 300.0


def retry_after(header: str | None, now: dt.datetime | None = None) -> float | None:
    """Seconds a ``Retry-After`` header asks for: a number of seconds, or an HTTP date; None where it says nothing."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (moment - (now or dt.datetime.now(dt.UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None


def classify(error: BaseException) -> DwplusError:
    """The project's error for one raised by the Earth Engine client; it keeps the server's words.

    The client's exception carries text only; the HTTP answer is found on the exception it was raised from.
    """
    if isinstance(error, DwplusError):
        return error
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, google.auth.exceptions.TransportError | ConnectionError | TimeoutError):
        return TransientError(f"the connection to Earth Engine failed ({words})")
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return _no_access(words)
    if isinstance(error, ee.EEException):
        return _answered(words, getattr(error.__context__, "resp", None))
    if isinstance(error, OSError):
        return TransientError(f"the connection to Earth Engine failed ({words})")
    return EarthError(f"{type(error).__name__}: {words}")


def _answered(words: str, answer: Any) -> DwplusError:
    """An error answer of the service; ``answer`` has ``status`` and, as a mapping, the headers."""
    low = words.lower()
    status = getattr(answer, "status", None)
    if any(text in low for text in _TOO_LARGE):
        return TooLargeError(words)
    if any(text in low for text in _LOADED):
        return TransientError(words, throttled=True)
    if status == 401:
        return _no_access(words)
    if status in (403, 429) and "quota" in low and any(text in low for text in _QUOTA_GONE):
        return AccessError(f"the project's Earth Engine quota is used up ({words}); wait until it is renewed or raise "
                           "it, then run the same command again")
    wait = retry_after(answer.get("retry-after")) if hasattr(answer, "get") else None
    if status == 429 or (status == 403 and any(text in low for text in _RATE)):
        return TransientError(words, throttled=True, retry_after=wait)
    if status in (408, 500, 502, 503, 504):
        return TransientError(words, retry_after=wait)
    if status == 403 and ("quota" in low or any(text in low for text in _NO_PROJECT)):
        return AccessError(f"Earth Engine does not serve this project ({words}); register or enable it, then run the "
                           "same command again")
    if _GONE.search(words):
        quoted = _QUOTED.search(words)
        return AssetGoneError(words, asset=quoted[1] if quoted else "")
    return RefusedError(words)


def lacks_credentials(error: BaseException) -> bool:
    """Whether the client would not start for want of credentials."""
    return isinstance(error, google.auth.exceptions.DefaultCredentialsError) or "authorize" in str(error).lower()


def _no_access(words: str) -> AccessError:
    return AccessError(f"Earth Engine refused the credentials ({words}); run `earthengine authenticate`, then the same "
                       "command again")
