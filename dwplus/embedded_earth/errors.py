"""What the embedded Earth refuses, in the service's words."""

from __future__ import annotations

#: Google's names of the HTTP status codes in error bodies.
STATUS_NAMES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}


class ComputeError(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    message : the service's text.
    code : HTTP status.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def status(self) -> str:
        """Google's name of the status code."""
        return STATUS_NAMES.get(self.code, "UNKNOWN")


def not_found(asset_id: str, function: str, kind: str) -> ComputeError:
    """The service's answer where an asset is missing."""
    return ComputeError(f"{function}: {kind} asset '{asset_id}' not found (does not exist or caller does not have "
                        "access).")
