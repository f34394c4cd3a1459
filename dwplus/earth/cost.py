"""What requests cost of a project's monthly compute."""

#: EECU-seconds taken for a second the service works on a request. The service does not say what a request cost, and
#: bills compute in seconds of a core that it spreads over several: one is the right order of magnitude, and the true
#: figure of a workload tag stands in the project's monitoring.
#: Source: https://developers.google.com/earth-engine/guides/computation_overview#eecus
EECU_PER_SECOND = 1.0


def eecu_hours(request_seconds: float) -> float:
    """Estimated EECU-hours of so many seconds of requests."""
    return request_seconds * EECU_PER_SECOND / 3600
