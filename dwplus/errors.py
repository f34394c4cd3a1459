"""What can go wrong, as types. Every message is one sentence: what is wrong, where, and what would be right."""

from __future__ import annotations


class DwplusError(Exception):
    """Root of the project's own errors; ``exit_code`` is what the command line answers with."""

    exit_code = 1


class InputError(DwplusError):
    """The user's input cannot be worked with: a spec, a region, a plan, a store, credentials."""

    exit_code = 2


class EarthError(DwplusError):
    """Earth Engine refused or failed; the message keeps the server's words."""


class HealingError(EarthError):
    """May pass by itself: too many requests, a server error, a dropped or cut-off answer."""


class TooLargeError(EarthError):
    """The request asked for too much at once: split it."""


class RefusedError(EarthError):
    """The request itself is wrong or its asset is gone: asking again does not help."""


class AccessError(EarthError):
    """No access: credentials, project or quota. The run must stop."""

    exit_code = 2
