"""How much a run may use: hours, and compute of the project's monthly quota."""

from __future__ import annotations

from dataclasses import dataclass

#: EECU-seconds taken for a second the service works on a request. The service does not say what a request cost, and
#: bills compute in seconds of a core that it spreads over several: one is the right order of magnitude, and the true
#: figure of a workload tag stands in the project's monitoring.
#: Source: https://developers.google.com/earth-engine/guides/computation_overview#eecus
EECU_PER_SECOND = 1.0


@dataclass(frozen=True)
class Budget:
    """Limits of one run; None is no limit.

    Attributes
    ----------
    hours : of wall-clock time.
    eecu_hours : of compute, as estimated by :data:`EECU_PER_SECOND`.
    """

    hours: float | None = None
    eecu_hours: float | None = None

    def spent(self, seconds: float, request_seconds: float) -> str:
        """Which limit is reached, in words; empty for none.

        Parameters
        ----------
        seconds : since the run began.
        request_seconds : the service worked on this run's requests, all together.
        """
        if self.hours is not None and seconds >= self.hours * 3600:
            return f"the {self.hours:g} hours of --max-hours are over"
        used = eecu_hours(request_seconds)
        if self.eecu_hours is not None and used >= self.eecu_hours:
            return f"the {self.eecu_hours:g} EECU-hours of --budget-eecu-hours are used up (estimated {used:.2g})"
        return ""


#: A run that ends when it is done.
NO_LIMIT = Budget()


def eecu_hours(request_seconds: float) -> float:
    """Estimated EECU-hours of so many seconds of requests."""
    return request_seconds * EECU_PER_SECOND / 3600
