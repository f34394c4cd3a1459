"""How much a run may use: hours, and compute of the project's monthly quota."""

from __future__ import annotations

from dataclasses import dataclass

from dwplus.earth.cost import eecu_hours


@dataclass(frozen=True)
class Budget:
    """Limits of one run; None is no limit.

    Attributes
    ----------
    hours : of wall-clock time.
    eecu_hours : of compute.
    eecu_per_request : EECU-seconds of a request, as ``plan --measure`` found; None where nothing was measured: then
        compute is estimated from the time that requests take (:data:`dwplus.earth.cost.EECU_PER_SECOND`).
    """

    hours: float | None = None
    eecu_hours: float | None = None
    eecu_per_request: float | None = None

    def used(self, request_seconds: float, requests: int) -> tuple[float, str]:
        """EECU-hours used by so many requests, and how that is known: ``measured`` or ``estimated``."""
        if self.eecu_per_request is not None:
            return requests * self.eecu_per_request / 3600, "measured"
        return eecu_hours(request_seconds), "estimated"

    def spent(self, seconds: float, request_seconds: float, requests: int = 0) -> str:
        """Which limit is reached, in words; empty for none.

        Parameters
        ----------
        seconds : since the run began.
        request_seconds : the service worked on this run's requests, all together.
        requests : answered in this run.
        """
        if self.hours is not None and seconds >= self.hours * 3600:
            return f"the {self.hours:g} hours of --max-hours are over"
        used, known = self.used(request_seconds, requests)
        if self.eecu_hours is not None and used >= self.eecu_hours:
            return f"the {self.eecu_hours:g} EECU-hours of --budget-eecu-hours are used up ({known} {used:.2g})"
        return ""


#: A run that ends when it is done.
NO_LIMIT = Budget()
