"""What can go wrong, as types. Every message is one sentence: what is wrong, where, and what would be right.

All of them pickle whole: what a worker process raises, its caller sees.
"""

from __future__ import annotations


class DwplusError(Exception):
    """Root of the project's own errors; ``exit_code`` is what the command line answers with."""

    exit_code = 1


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
    """A scene that cannot be used; the message is ``<reason>: <words>``, see :mod:`dwplus.reasons`."""


class StopError(DwplusError):
    """The run must stop; what is exported stays, and the same command goes on once the cause is gone."""


class AccessError(StopError, EarthError):
    """No access: credentials, project or quota. The run must stop."""
