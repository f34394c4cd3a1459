"""Sorting what the client raises into what to do about it."""

from __future__ import annotations

import ee
import google.auth.exceptions

from dwplus.errors import AccessError, DwplusError, EarthError, HealingError, RefusedError, TooLargeError

_TOO_LARGE = ("user memory limit exceeded", "computation timed out", "total request size", "pixel grid dimensions",
              "over 5000 elements", "too many pixels", "request payload size exceeds")


def classify(error: BaseException) -> DwplusError:
    """The project's error for one raised by the Earth Engine client; it keeps the server's words.

    The client's exception carries text only; the HTTP status is found on the exception it was raised from.
    """
    if isinstance(error, DwplusError):
        return error
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, google.auth.exceptions.TransportError | ConnectionError | TimeoutError):
        return HealingError(f"the connection to Earth Engine failed ({words})")
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return AccessError(f"Earth Engine refused the credentials ({words}); run `earthengine authenticate`")
    if isinstance(error, ee.EEException):
        if any(text in words.lower() for text in _TOO_LARGE):
            return TooLargeError(words)
        status = getattr(getattr(error.__context__, "resp", None), "status", None)
        if status in (429, 500, 502, 503, 504):
            return HealingError(words)
        if status == 401 or (status == 403 and "quota" in words.lower()):
            return AccessError(words)
        return RefusedError(words)
    if isinstance(error, OSError):
        return HealingError(f"the connection to Earth Engine failed ({words})")
    return EarthError(f"{type(error).__name__}: {words}")
