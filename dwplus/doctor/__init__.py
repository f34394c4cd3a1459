"""Is this machine ready, and does an Earth answer as it should? Checks, and questions whose answers go into a file."""

from dwplus.doctor.checks import Check, examine

__all__ = ["Check", "examine"]
