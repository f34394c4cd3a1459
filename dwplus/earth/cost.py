"""What requests cost of a project's monthly compute: measured by the client's profiles, else estimated from time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import ee

from dwplus.earth.session import Session
from dwplus.errors import EarthError

T = TypeVar("T")
#: EECU-seconds taken for a second the service works on a request, where nothing was measured: compute is billed in
#: seconds of a core and spread over several, so that one is the right order of magnitude.
#: Source: https://developers.google.com/earth-engine/guides/computation_overview#eecus
EECU_PER_SECOND = 1.0
#: A row of a profile: EECU-seconds, memory, count, description; the first line names the columns.
_ROW = re.compile(r"\s*(\d+(?:\.\d+)?)\s+\S+\s+\S+\s+\S")


def eecu_hours(request_seconds: float) -> float:
    """Estimated EECU-hours of so many seconds of requests."""
    return request_seconds * EECU_PER_SECOND / 3600


def eecu_seconds(profile: str) -> float:
    """EECU-seconds of a profile's table of text.

    Raises
    ------
    EarthError
        Where the text is no such table.
    """
    head, *rows = profile.splitlines() or [""]
    found = [match for row in rows if (match := _ROW.match(row))]
    if "EECU" not in head or not found:
        raise EarthError(f"the profile of a request is no table of EECU-seconds: {' '.join(profile.split())[:80]!r}")
    return sum(float(match[1]) for match in found)


def profiled(session: Session, work: Callable[[], T]) -> tuple[T, float]:
    """Do some work of requests, and ask what they cost.

    A profile is asked for by a header and fetched by one more request. It holds for this thread's requests alone.

    Parameters
    ----------
    work : sends its requests in this thread.

    Returns
    -------
    What the work returns, and its EECU-seconds; on an embedded Earth seconds of its own processor.

    Raises
    ------
    EarthError
        As the work does, or where the service sends no profile.
    """
    ids: list[str] = []
    with ee.data.profiling(ids.append):
        answer = work()
    if not ids:
        raise EarthError("the service sent no profile of the request")
    lookup = ee.ApiFunction.lookup("Profile.getProfiles")
    return answer, eecu_seconds(session.compute(lookup.call(ids=ids)))
